//! Gainsight objects as Arrow batches: the mirror that matching compares with.
//!
//! ```text
//!  describe ─▶ schema ──────────────────────┐
//!  query, Gsid after the last one, 5,000 ─▶ records as bytes ─▶ RecordBatch
//!      ▲            the next page is asked for while this one is decoded
//! ```
//!
//! # Promises
//! * Pages follow the `Gsid`, not an offset: records written meanwhile move no other record across a page border.
//! * Both documented shapes of dates, of `data` and of "nothing found" give the same batches (gainsight-api §12, 12–14).
//! * Picklist cells hold labels, as people and sources write them; an empty text is null.

mod decode;
mod json;
mod schema;
mod values;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use futures::Stream;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::ObjectMetadata;
use crate::connect::gainsight::Operator;
use crate::connect::gainsight::PAGE_ROWS;
use crate::connect::gainsight::Query;
use crate::error::Error;
use crate::error::Result;

use decode::Decoder;

pub use schema::mirror_schema;

/// The log of deletions and its fields (gainsight-api §2.6). It reaches 15 days back.
const DELETE_LOG: &str = "record_delete_log";

/// Days that the log of deletions reaches back: a mirror that is older must be read in full.
pub const DELETE_LOG_DAYS: i64 = 15;

/// The records of one object, in the order of their ids.
pub struct MirrorReading {
    schema: SchemaRef,
    decoder: Option<Decoder>,
    pages: mpsc::Receiver<Result<Bytes>>,
    failed: Option<Error>,
    /// Stops the requests when the reading is dropped.
    _requests: JoinSet<()>,
}

impl MirrorReading {
    /// What the batches hold.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Stream for MirrorReading {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(decoder) = &mut this.decoder else { return Poll::Ready(None) };
        match this.pages.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.decoder = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some(page)) => {
                let batch = page.and_then(|page| decoder.decode(&page));
                if batch.is_err() {
                    this.decoder = None;
                }
                Poll::Ready(Some(batch))
            }
        }
    }
}

/// Reads an object: all of it, or what was modified at or after `since`. Must be called within a runtime.
pub fn read_mirror(
    client: &GainsightClient,
    metadata: &ObjectMetadata,
    fields: &[String],
    since: Option<DateTime<Utc>>,
) -> MirrorReading {
    let (sender, pages) = mpsc::channel(2);
    let mut requests = JoinSet::new();
    let (schema, decoder, failed) = match mirror_schema(metadata, fields) {
        Ok(schema) => {
            let select: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
            let since = since.filter(|_| metadata.field("ModifiedDate").is_some());
            requests.spawn(fetch_pages(client.clone(), metadata.name.clone(), select, since, sender));
            let decoder = Decoder::new(&schema, metadata);
            (schema, Some(decoder), None)
        }
        Err(error) => (Arc::new(Schema::empty()), None, Some(error)),
    };
    MirrorReading { schema, decoder, pages, failed, _requests: requests }
}

/// Sends page after page until one is short. Ends early when nobody listens.
async fn fetch_pages(
    client: GainsightClient,
    object: String,
    select: Vec<String>,
    since: Option<DateTime<Utc>>,
    sender: mpsc::Sender<Result<Bytes>>,
) {
    let mut last: Option<String> = None;
    loop {
        let mut query = Query::select(&select).order_by("Gsid").limit(PAGE_ROWS);
        if let Some(last) = &last {
            query = query.filter("Gsid", Operator::Gt, vec![json!(last)]);
        }
        if let Some(since) = since {
            // The form that live clients send (gainsight-api §2.5).
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            query = query.filter("ModifiedDate", Operator::Gte, vec![json!(since)]);
        }
        let page = match client.query(&object, &query).await {
            Ok(records) if records.is_empty() => return,
            Ok(records) => records,
            Err(error) => {
                sender.send(Err(error)).await.ok();
                return;
            }
        };
        let seen = match last_and_count(page.bytes()) {
            Ok((gsid, rows)) if last.as_ref() != Some(&gsid) => {
                last = Some(gsid);
                Ok(rows)
            }
            Ok((gsid, _)) => Err(Error::integrity(format!("a query of `{object}` answers the same page again"))
                .hint("nothing was landed; run again")
                .context("gsid", gsid)),
            Err(error) => Err(error),
        };
        let (item, rows) = match seen {
            Ok(rows) => (Ok(page.bytes().clone()), rows),
            Err(error) => (Err(error), 0),
        };
        if sender.send(item).await.is_err() || rows < PAGE_ROWS as usize {
            return;
        }
    }
}

/// The last record's id, and how many records there are (never fewer than there are).
///
/// The text searched for cannot stand within a string, where every quote is escaped.
fn last_and_count(page: &[u8]) -> Result<(String, usize)> {
    const KEY: &str = "\"Gsid\":\"";
    let text =
        std::str::from_utf8(page).map_err(|e| Error::integrity("Gainsight's records are not UTF-8").source(e))?;
    if let Some(at) = text.rfind(KEY)
        && let Some(gsid) = text[at + KEY.len()..].split('"').next()
    {
        return Ok((gsid.to_owned(), text.matches(KEY).count()));
    }
    let rows: Vec<serde_json::Map<String, Value>> =
        serde_json::from_str(text).map_err(|e| Error::integrity("Gainsight's records are no list").source(e))?;
    let last = rows.last().and_then(|row| row.iter().find(|(name, _)| name.eq_ignore_ascii_case("Gsid")));
    match last.and_then(|(_, value)| value.as_str()) {
        Some(gsid) => Ok((gsid.to_owned(), rows.len())),
        None => Err(Error::integrity("Gainsight answered a record without its `Gsid`")),
    }
}

/// The ids of records of `object` that were deleted at or after `since`. A tenant without the log tells of none.
pub async fn deleted_since(client: &GainsightClient, object: &str, since: DateTime<Utc>) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    let mut offset = 0;
    loop {
        // The log's spelling of object names is not documented: they are compared here, without case.
        let query = Query::select(["RecordId", "ObjectName", "DeletedOn"])
            .filter("DeletedOn", Operator::Gte, vec![json!(since.to_rfc3339_opts(SecondsFormat::Secs, true))])
            .order_by("DeletedOn")
            .offset(offset)
            .limit(PAGE_ROWS);
        let Some(records) = client.query_if_exists(DELETE_LOG, &query).await? else { return Ok(gone) };
        let rows = records.values()?;
        for row in &rows {
            let text = |name: &str| {
                row.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
            };
            if let (Some(id), Some(of)) = (text("RecordId"), text("ObjectName"))
                && of.eq_ignore_ascii_case(object)
            {
                gone.push(id.to_owned());
            }
        }
        if rows.len() < PAGE_ROWS as usize {
            return Ok(gone);
        }
        offset += PAGE_ROWS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_is_found_without_parsing_and_not_within_text() {
        let page = br#"[{"Gsid":"1","Name":"a"},{"Gsid":"2","Name":"\"Gsid\":\"9\""}]"#;
        assert_eq!(last_and_count(page).unwrap(), ("2".to_owned(), 2));
        let spaced = br#"[ { "gsid" : "7" } ]"#;
        assert_eq!(last_and_count(spaced).unwrap(), ("7".to_owned(), 1));
        assert!(last_and_count(br#"[{"Name":"a"}]"#).is_err());
    }
}
