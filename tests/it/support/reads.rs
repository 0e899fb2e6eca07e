//! Reads of an org's objects, and their values in a spelling that REST's can be compared with.

use std::collections::BTreeMap;
use std::collections::HashMap;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Date32Type;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::ArrayFormatter;
use chrono::DateTime;
use chrono::NaiveDate;
use futures::TryStreamExt;
use serde_json::value::RawValue;
use sf2gs::clock::Clock;
use sf2gs::connect::http::Http;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::connect::http::Url;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::error::Result;
use sf2gs::extract::salesforce::Prepared;
use sf2gs::extract::salesforce::ReadOptions;
use sf2gs::extract::salesforce::ReadReport;
use sf2gs::extract::salesforce::SourceRequest;
use sf2gs::extract::salesforce::read;
use sf2gs::sandbox::salesforce::RunningOrg;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::Secret;

/// Cells by record, as texts.
pub(crate) type Rows = BTreeMap<String, Vec<Option<String>>>;

/// Settings that log in to a sandbox org with its first refresh token.
pub(crate) fn of_org(org: &RunningOrg) -> SalesforceSettings {
    let login = SalesforceLogin::RefreshToken {
        client_id: org.client_id().to_owned(),
        client_secret: Some(Secret::new(org.client_secret())),
        refresh_token: Secret::new(org.refresh_token()),
    };
    SalesforceSettings::new(Url::parse(org.url()).unwrap(), "62.0", login)
}

/// A client that is not patient.
pub(crate) fn open(settings: SalesforceSettings, calls: &ApiCalls) -> SalesforceClient {
    let http = Http::new(calls.clone(), Clock::system(), RetryPolicy::quick()).unwrap();
    SalesforceClient::open(settings, http).unwrap()
}

/// These fields of all records.
pub(crate) fn request(object: &str, fields: &[&str]) -> SourceRequest {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    SourceRequest { object: object.into(), fields, condition: None, from: None, until: None }
}

/// All rows.
pub(crate) async fn rows(
    client: &SalesforceClient,
    prepared: &Prepared,
    options: ReadOptions,
) -> Result<(Vec<RecordBatch>, ReadReport)> {
    let mut reading = read(client, prepared, options).await?;
    let batches = (&mut reading).try_collect().await?;
    Ok((batches, reading.report()))
}

/// Every cell as text in one spelling, by record.
pub(crate) fn by_id(batches: &[RecordBatch]) -> Rows {
    let mut all = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
            let id = cells[0].clone().unwrap();
            assert!(all.insert(id, cells).is_none(), "a record came twice");
        }
    }
    all
}

fn cell(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => {
            let formatter = ArrayFormatter::try_new(column, &Default::default()).unwrap();
            plain(&formatter.value(row).to_string())
        }
        DataType::Date32 => {
            NaiveDate::from_epoch_days(column.as_primitive::<Date32Type>().value(row)).unwrap().to_string()
        }
        DataType::Timestamp(_, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
        }
        other => unreachable!("{other}"),
    })
}

/// A number without an exponent and without zeros that say nothing; `true` and `false` as they are.
fn plain(number: &str) -> String {
    match number.parse::<f64>() {
        Ok(value) if number.contains(['e', 'E']) => return value.to_string(),
        _ => {}
    }
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => number.to_owned(),
    }
}

/// The rows of a small query by REST, in the spelling and the order of columns of `prepared`.
pub(crate) async fn by_rest(client: &SalesforceClient, prepared: &Prepared) -> Result<Rows> {
    let mut page = client.query_page(&prepared.soql, false).await?;
    let mut all = BTreeMap::new();
    loop {
        for record in &page.records {
            let cells = prepared.schema.fields().iter().map(|field| {
                let path: Vec<_> = field.name().split('.').collect();
                of_rest(record, &path, field.data_type())
            });
            let cells: Vec<_> = cells.collect();
            all.insert(cells[0].clone().unwrap(), cells);
        }
        match page.next {
            Some(next) => page = client.next_query_page(&next).await?,
            None => return Ok(all),
        }
    }
}

fn of_rest(record: &RawValue, path: &[&str], column: &DataType) -> Option<String> {
    let mut value = record;
    for step in path {
        let members: HashMap<String, &RawValue> = serde_json::from_str(value.get()).unwrap();
        value = members[*step];
        if value.get() == "null" {
            return None;
        }
    }
    let text = value.get();
    Some(match column {
        _ if text.starts_with('"') => serde_json::from_str(text).unwrap(),
        DataType::Float64 => text.parse::<f64>().unwrap().to_string(),
        _ => plain(text),
    })
}
