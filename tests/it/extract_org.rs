//! Reads from the sandbox org: what lands must equal what REST says, however it was read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Date32Type;
use arrow::datatypes::Decimal128Type;
use arrow::datatypes::Float64Type;
use arrow::datatypes::Int32Type;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;
use chrono::NaiveDate;
use chrono::TimeDelta;
use futures::StreamExt;
use futures::TryStreamExt;
use serde_json::Value;
use sf2gs::clock::Clock;
use sf2gs::connect::http::Http;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::connect::http::Url;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::error::ErrorKind;
use sf2gs::error::Result;
use sf2gs::extract::salesforce::Prepared;
use sf2gs::extract::salesforce::ReadOptions;
use sf2gs::extract::salesforce::ReadReport;
use sf2gs::extract::salesforce::SourceRequest;
use sf2gs::extract::salesforce::prepare;
use sf2gs::extract::salesforce::read;
use sf2gs::sandbox::salesforce::OrgOptions;
use sf2gs::sandbox::salesforce::RunningOrg;
use sf2gs::sandbox::salesforce::serve;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::CallClass;
use sf2gs::telemetry::Secret;

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn org(options: OrgOptions) -> RunningOrg {
    serve(options, FREE).await.unwrap()
}

fn settings(org: &RunningOrg) -> SalesforceSettings {
    let login = SalesforceLogin::RefreshToken {
        client_id: org.client_id().to_owned(),
        client_secret: Some(Secret::new(org.client_secret())),
        refresh_token: Secret::new(org.refresh_token()),
    };
    SalesforceSettings::new(Url::parse(org.url()).unwrap(), "62.0", login)
}

fn open(settings: SalesforceSettings, calls: &ApiCalls, clock: Clock) -> SalesforceClient {
    SalesforceClient::open(settings, Http::new(calls.clone(), clock, RetryPolicy::quick()).unwrap()).unwrap()
}

fn client(org: &RunningOrg) -> SalesforceClient {
    open(settings(org), &ApiCalls::default(), Clock::system())
}

fn request(object: &str, fields: &[&str]) -> SourceRequest {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    SourceRequest { object: object.into(), fields, condition: None, from: None, until: None }
}

async fn rows(
    client: &SalesforceClient,
    prepared: &Prepared,
    options: ReadOptions,
) -> Result<(Vec<RecordBatch>, ReadReport)> {
    let mut reading = read(client, prepared, options).await?;
    let batches = (&mut reading).try_collect().await?;
    Ok((batches, reading.report()))
}

/// Every cell as text in one spelling, by record.
fn by_id(batches: &[RecordBatch]) -> BTreeMap<String, Vec<Option<String>>> {
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
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(_, scale) => {
            let units = column.as_primitive::<Decimal128Type>().value(row) as f64;
            (units / 10_f64.powi(i32::from(*scale))).to_string()
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

/// A record of the REST API in the same spelling.
fn of_rest(record: &serde_json::Map<String, Value>, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(&Value::Object(record.clone()), |value, step| value.get(step)).cloned();
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.as_f64().unwrap().to_string()),
        other => Some(other.to_string()),
    }
}

/// All fields that the Bulk API reads, and some of parents.
async fn everything(client: &SalesforceClient, object: &str, parents: &[&str]) -> SourceRequest {
    let describe = client.describe(object).await.unwrap();
    let mut fields: Vec<&str> =
        describe.fields.iter().filter(|field| field.kind != "base64").map(|field| field.name.as_str()).collect();
    fields.extend(parents);
    request(object, &fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bulk_gives_is_what_rest_says_field_by_field() {
    let org =
        org(OrgOptions { users: 30, accounts: 120, contacts: 700, page_rows: 100, ..OrgOptions::default() }).await;
    let client = client(&org);
    for (object, parents) in [
        ("User", vec!["Manager.Email"]),
        ("Account", vec!["Owner.Email", "Owner.Manager.Username", "Parent.Name"]),
        ("Contact", vec!["Account.Name", "Account.Owner.Email", "ReportsTo.LastName"]),
    ] {
        let prepared = prepare(&client, &everything(&client, object, &parents).await).await.unwrap();
        let (batches, report) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
        let landed = by_id(&batches);
        assert_eq!(report.rows, landed.len() as u64);
        let names: Vec<_> = prepared.schema.fields().iter().map(|field| field.name().clone()).collect();
        let records = client.query(&prepared.soql).await.unwrap();
        for record in &records {
            let cells = &landed[record["Id"].as_str().unwrap()];
            for (name, cell) in names.iter().zip(cells) {
                assert_eq!(*cell, of_rest(record, name), "{object} {} {name}", record["Id"]);
            }
        }
        assert!(!records.is_empty());
        let deleted = landed.len() - records.len();
        let says = names.iter().position(|name| name == "IsDeleted");
        let marked = says.map_or(0, |at| landed.values().filter(|cells| cells[at].as_deref() == Some("true")).count());
        assert_eq!(deleted, marked, "{object}: only deleted rows are unknown to a plain query");

        // However the pages are cut and fetched, the rows are the same.
        for (page_rows, parallel, batch_rows, compress) in
            [(7, 1, 5, false), (50, 4, 8_192, false), (1_000_000, 4, 64, true), (33, 2, 1, true)]
        {
            let other = open(SalesforceSettings { compress, ..settings(&org) }, &ApiCalls::default(), Clock::system());
            let options = ReadOptions { page_rows, parallel, batch_rows };
            let (batches, _) = rows(&other, &prepared, options).await.unwrap();
            assert_eq!(by_id(&batches), landed, "{object} {options:?} {compress}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_read_with_few_calls() {
    let org = org(OrgOptions::default()).await;
    let calls = ApiCalls::default();
    let client = open(settings(&org), &calls, Clock::system());
    let full = request("Account", &["Name"]);
    let prepared = prepare(&client, &full).await.unwrap();
    let (batches, _) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    let at = prepared.schema.index_of("SystemModstamp").unwrap();
    let mut stamps: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(at).as_primitive::<TimestampMicrosecondType>().values().to_vec())
        .collect();
    stamps.sort();
    let (from, until) = (stamps[stamps.len() / 4], stamps[stamps.len() / 2]);
    let wanted = stamps.iter().filter(|stamp| (from..until).contains(stamp)).count();
    let time = |micros| DateTime::from_timestamp_micros(micros);
    let window = SourceRequest { from: time(from), until: time(until), ..full };
    let before = calls.read();
    let prepared = prepare(&client, &window).await.unwrap();
    let (_, report) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    assert_eq!(report.rows, wanted as u64);
    // make, poll (once or twice), one page, delete; the describe and the session are known
    let used = calls.since(&before);
    assert!(!used.contains_key(&CallClass::SalesforceRest), "{used:?}");
    assert!(used[&CallClass::SalesforceBulk] <= 5, "{used:?}");
    assert!(client.usage().unwrap().used > 0);
    let org_time = client.org_time().await.unwrap();
    assert!((org_time - org.clock().now()).abs() < TimeDelta::seconds(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_in_mid_download_do_no_harm() {
    let org = org(OrgOptions { contacts: 3_000, rotate_refresh_tokens: true, ..OrgOptions::default() }).await;
    let client = client(&org);
    let prepared = prepare(&client, &request("Contact", &["LastName"])).await.unwrap();
    let options = ReadOptions { page_rows: 20, parallel: 1, batch_rows: 10 };
    let mut reading = read(&client, &prepared, options).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = reading.next().await {
        batches.push(batch.unwrap());
        if batches.len() % 50 == 0 {
            org.end_sessions();
        }
    }
    assert!(by_id(&batches).len() >= 3_000);
}

#[tokio::test]
async fn every_way_of_logging_in_works() {
    let jwt_public_key = Some(include_str!("support/jwt_test_key.pub.pem").to_owned());
    let org = org(OrgOptions { jwt_public_key, ..OrgOptions::default() }).await;
    let private_key = Secret::new(include_str!("support/jwt_test_key.pem"));
    let client_id = org.client_id().to_owned();
    for login in [
        SalesforceLogin::ClientCredentials {
            client_id: client_id.clone(),
            client_secret: Secret::new(org.client_secret()),
        },
        SalesforceLogin::JwtBearer { client_id, username: org.username().to_owned(), private_key },
    ] {
        let client = open(SalesforceSettings { login, ..settings(&org) }, &ApiCalls::default(), Clock::system());
        assert_eq!(client.identity().await.unwrap().org_id, org.org_id());
        assert!(client.objects().await.unwrap().iter().any(|object| object.name == "Account"));
    }
    let refresh_token = Secret::new("wrong");
    let login = SalesforceLogin::RefreshToken {
        client_id: org.client_id().to_owned(),
        client_secret: Some(Secret::new(org.client_secret())),
        refresh_token,
    };
    let client = open(SalesforceSettings { login, ..settings(&org) }, &ApiCalls::default(), Clock::system());
    assert_eq!(client.identity().await.unwrap_err().kind(), ErrorKind::Access);
}

#[tokio::test]
async fn mistakes_are_told_with_the_right_name() {
    let org = org(OrgOptions::default()).await;
    let client = client(&org);
    let error = prepare(&client, &request("Acount", &["Name"])).await.unwrap_err();
    assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Config, Some("did you mean `Account`?")));
    let error = prepare(&client, &request("Account", &["Nmae", "Owner.Emial"])).await.unwrap_err();
    assert!(error.message().contains("`Name`") && error.message().contains("`Owner.Email`"), "{error}");

    let addresses = prepare(&client, &request("Account", &["BillingAddress"])).await.unwrap();
    assert!(addresses.replaced[0].1.contains(&"BillingCity".to_owned()), "{:?}", addresses.replaced);

    for (condition, word) in [("Colour = 'x'", "Colour"), ("Name 'x'", "unexpected")] {
        let request = SourceRequest { condition: Some(condition.into()), ..request("Account", &["Name"]) };
        let prepared = prepare(&client, &request).await.unwrap();
        let error = rows(&client, &prepared, ReadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().to_lowercase().contains(&word.to_lowercase()), "{error:?}");
    }
}

#[tokio::test]
async fn an_exhausted_org_says_when_to_come_back() {
    let org = org(OrgOptions { daily_api_requests: 3, ..OrgOptions::default() }).await;
    let client = client(&org);
    let prepared = prepare(&client, &request("Account", &["Name"])).await.unwrap();
    let error = rows(&client, &prepared, ReadOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.hint_text().unwrap().contains("24 hours"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_objects_are_read_at_once_by_clones() {
    let org = org(OrgOptions::default()).await;
    let client = Arc::new(client(&org));
    let reads = ["User", "Account", "Contact"].map(|object| {
        let client = Arc::clone(&client);
        async move {
            let prepared = prepare(&client, &request(object, &["Id"])).await?;
            rows(&client, &prepared, ReadOptions::default()).await
        }
    });
    for read in futures::future::join_all(reads).await {
        assert!(read.unwrap().1.rows >= 40);
    }
}
