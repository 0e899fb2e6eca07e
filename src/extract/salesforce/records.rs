//! Rows that come by REST, as JSON, become the same batches as those that come by Bulk.
//!
//! Each value is made the text that Bulk writes for it and goes into the same columns: numbers keep all their digits,
//! an empty text is null.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::connect::salesforce::SalesforceClient;
use crate::error::Error;
use crate::error::Result;

use super::columns::Column;
use super::decode::PageCounts;
use super::decode::bad_value;
use super::prepare::Prepared;

/// Reads all rows of a query, those in the recycle bin included; `add` hears what each page came to.
pub(super) async fn read(
    client: &SalesforceClient,
    prepared: &Prepared,
    batch_rows: usize,
    sender: &mpsc::Sender<Result<RecordBatch>>,
    add: impl Fn(PageCounts),
) -> Result<()> {
    let mut page = client.query_page(&prepared.soql, true).await?;
    let counted = page.total;
    let mut received = 0;
    let mut seen = HashSet::new();
    loop {
        let (batches, counts) = decode(&prepared.schema, &page.records, batch_rows)?;
        received += counts.rows;
        add(counts);
        for batch in batches {
            if sender.send(Ok(batch)).await.is_err() {
                return Err(Error::unavailable("the reader of the rows has stopped"));
            }
        }
        match page.next.take() {
            Some(next) if seen.insert(next.clone()) => page = client.next_query_page(&next).await?,
            Some(_) => return Err(wrong("Salesforce named the same rows of a query twice".to_owned())),
            None if received == counted => return Ok(()),
            None => return Err(wrong(format!("Salesforce counted {counted} rows but sent {received}"))),
        }
    }
}

/// The rows of one page.
fn decode(schema: &SchemaRef, records: &[Box<RawValue>], batch_rows: usize) -> Result<(Vec<RecordBatch>, PageCounts)> {
    let paths: Vec<Vec<&str>> = schema.fields().iter().map(|field| field.name().split('.').collect()).collect();
    let mut counts = PageCounts::default();
    let mut batches = Vec::new();
    for records in records.chunks(batch_rows.max(1)) {
        let columns = schema.fields().iter().map(|field| {
            Column::new(field, records.len())
                .ok_or_else(|| Error::bug(format!("column `{}` has a type that is not read", field.name())))
        });
        let mut columns: Vec<Column> = columns.collect::<Result<_>>()?;
        for record in records {
            counts.bytes += record.get().len() as u64;
            let record: Members = parsed(record)?;
            for (index, (column, path)) in columns.iter_mut().zip(&paths).enumerate() {
                let (text, nuls) = cell(&record, path)?;
                counts.nul_bytes += nuls;
                if column.push(text.as_bytes()).is_none() {
                    let id = cell(&record, &["Id"])?.0;
                    return Err(bad_value(schema.field(index).name(), &id, &text, column.wanted()));
                }
            }
        }
        let arrays = columns.iter_mut().map(Column::take).collect::<std::result::Result<Vec<_>, _>>()?;
        batches.push(RecordBatch::try_new(Arc::clone(schema), arrays)?);
        counts.rows += records.len() as u64;
        counts.rounded += columns.iter().map(Column::rounded).sum::<u64>();
    }
    Ok((batches, counts))
}

/// A JSON object whose values have not been looked at.
type Members<'a> = HashMap<String, &'a RawValue>;

/// The text of a value as Bulk would write it, and how many NUL characters it had.
fn cell<'a>(record: &Members<'a>, path: &[&str]) -> Result<(Cow<'a, str>, u64)> {
    let (step, rest) = path.split_first().unwrap_or((&"", &[]));
    let value = *record.get(*step).ok_or_else(|| wrong(format!("Salesforce sent a row without `{step}`")))?;
    if !rest.is_empty() && value.get() != "null" {
        return cell(&parsed(value)?, rest);
    }
    match value.get() {
        "null" => Ok((Cow::Borrowed(""), 0)), // also where there is no such parent
        text if text.starts_with('"') => {
            let text: String = parsed(value)?;
            let nuls = text.bytes().filter(|byte| *byte == 0).count() as u64;
            Ok((Cow::Owned(if nuls > 0 { text.replace('\0', "") } else { text }), nuls))
        }
        text if text.starts_with(['{', '[']) => Err(wrong(format!("Salesforce sent more than one value as `{step}`"))),
        plain => Ok((Cow::Borrowed(plain), 0)),
    }
}

fn parsed<'a, T: serde::Deserialize<'a>>(value: &'a RawValue) -> Result<T> {
    serde_json::from_str(value.get())
        .map_err(|e| wrong("Salesforce sent a row of another shape than was asked for".to_owned()).source(e))
}

fn wrong(sentence: String) -> Error {
    Error::integrity(sentence).hint("nothing was landed; run the same command again")
}
