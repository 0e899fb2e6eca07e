//! Gainsight objects as Arrow batches: the mirror that matching compares with.
//!
//! ```text
//!  describe ─▶ schema ────────────────────────────────────────┐
//!  query, Gsid after the last one, 5,000 ─▶ records as JSON ─▶ RecordBatch
//!  bulk export, where there are many ─▶ chunks of 20,000 as CSV ─▶┘
//!      ▲          the next part is asked for while this one is decoded
//! ```
//!
//! # Promises
//! * Pages follow the `Gsid`, not an offset: records written meanwhile move no other record across a page border.
//! * An export is trusted only if it has as many rows as it says, each id once and in order, nothing was deleted
//!   meanwhile, and no record follows its last one unseen. Both ways give the same batches.
//! * Both documented shapes of dates, of `data` and of "nothing found" give the same batches (gainsight-api §12, 12–14).
//! * Picklist cells hold labels, as people and sources write them; an empty text is null.

mod columns;
mod decode;
mod fetch;
mod json;
mod schema;
mod values;

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

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
use fetch::Fetching;
use fetch::Part;

pub use schema::mirror_schema;

/// The log of deletions and its fields (gainsight-api §2.6). It reaches 15 days back.
const DELETE_LOG: &str = "record_delete_log";

/// Days that the log of deletions reaches back: a mirror that is older must be read in full.
pub const DELETE_LOG_DAYS: i64 = 15;

/// How a mirror is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By pages of the query API, and by a bulk export once there are many and the quota has room for it: an export
    /// brings four times as many rows a call.
    Quickest,
    /// The same without the first pages, as there are many.
    Export,
    /// By pages of the query API alone.
    Pages,
}

impl Way {
    /// The quickest way where at least so many records are there.
    pub fn for_at_least(rows: u64) -> Self {
        if rows >= fetch::FULL_PAGES * u64::from(PAGE_ROWS) { Self::Export } else { Self::Quickest }
    }
}

/// The records of one object, in the order of their ids.
pub struct MirrorReading {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    failed: Option<Error>,
    /// The requests and the decoding. They end when the reading is dropped.
    tasks: JoinSet<()>,
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
        match ready!(this.batches.poll_recv(cx)) {
            Some(batch) => Poll::Ready(Some(batch)),
            // A reading is whole only if its tasks came to their end.
            None => match ready!(this.tasks.poll_join_next(cx)) {
                Some(Err(dead)) => {
                    this.tasks.abort_all();
                    Poll::Ready(Some(Err(Error::bug("a task that read a mirror stopped").source(dead))))
                }
                Some(Ok(())) => self.poll_next(cx),
                None => Poll::Ready(None),
            },
        }
    }
}

/// Reads an object: all of it, or what was modified at or after `since`. Must be called within a runtime.
///
/// A reading by export that cannot be trusted ends in an error of kind
/// [`Integrity`](crate::error::ErrorKind::Integrity): it is then read again by [`Way::Pages`].
pub fn read_mirror(
    client: &GainsightClient,
    metadata: &ObjectMetadata,
    fields: &[String],
    since: Option<DateTime<Utc>>,
    way: Way,
) -> MirrorReading {
    let (sender, batches) = mpsc::channel(2);
    let mut tasks = JoinSet::new();
    let (schema, failed) = match mirror_schema(metadata, fields) {
        Ok(schema) => {
            let (part_sender, parts) = mpsc::channel(2);
            let decoder = Decoder::new(&schema, metadata);
            tasks.spawn(decode_parts(decoder, parts, sender));
            let fetching = Fetching {
                client: client.clone(),
                metadata: Arc::new(metadata.clone()),
                schema: Arc::clone(&schema),
                since: since.filter(|_| metadata.field("ModifiedDate").is_some()),
                way,
                sender: part_sender,
            };
            tasks.spawn(fetching.run());
            (schema, None)
        }
        Err(error) => (Arc::new(Schema::empty()), Some(error)),
    };
    MirrorReading { schema, batches, failed, tasks }
}

/// Reads the records that have one of `keys` in `field`, in no order. `None` where the tenant does not answer such a
/// question: the documents list `IN` for numbers alone (gainsight-api §2.5).
pub async fn read_by_keys(
    client: &GainsightClient,
    metadata: &ObjectMetadata,
    fields: &[String],
    field: &str,
    keys: &[&str],
) -> Result<Option<RecordBatch>> {
    let schema = mirror_schema(metadata, fields)?;
    let query = Query::select(schema.fields().iter().map(|field| field.name()))
        .filter(field, Operator::In, keys.iter().map(|key| json!(key)).collect())
        .limit(PAGE_ROWS);
    let Ok(records) = client.try_query(&metadata.name, &query).await? else { return Ok(None) };
    let batch = Decoder::new(&schema, metadata).decode(records.bytes())?;
    // A full page may be a cut one.
    Ok((batch.num_rows() < PAGE_ROWS as usize).then_some(batch))
}

/// Decodes while the next parts are on their way. Ends at the first error, and when nobody listens.
async fn decode_parts(
    mut decoder: Decoder,
    mut parts: mpsc::Receiver<Result<Part>>,
    sender: mpsc::Sender<Result<RecordBatch>>,
) {
    while let Some(part) = parts.recv().await {
        let batch = part.and_then(|part| match part {
            Part::Page(json) => decoder.decode(&json),
            Part::Chunk(batch) => Ok(batch),
        });
        let over = batch.is_err();
        if sender.send(batch).await.is_err() || over {
            return;
        }
    }
}

/// A record that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The object, as the log spells it.
    pub object: String,
    /// The record's id.
    pub gsid: String,
    /// When it was deleted, if that can be read.
    pub at: Option<DateTime<Utc>>,
}

impl Deletion {
    /// Whether the record may have gone at or after `since`.
    pub fn since(&self, since: DateTime<Utc>) -> bool {
        self.at.is_none_or(|at| at.timestamp() >= since.timestamp())
    }
}

/// The records of all objects that were deleted at or after `since`. A tenant without the log tells of none.
pub async fn deletions_since(client: &GainsightClient, since: DateTime<Utc>) -> Result<Vec<Deletion>> {
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
            let value = |name: &str| row.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            let text = |name: &str| value(name).and_then(Value::as_str);
            if let (Some(gsid), Some(object)) = (text("RecordId"), text("ObjectName")) {
                let at = value("DeletedOn").and_then(|at| match at {
                    Value::String(text) => values::instant(text),
                    other => values::instant(&other.to_string()),
                });
                let at = at.and_then(DateTime::from_timestamp_micros);
                gone.push(Deletion { object: object.to_owned(), gsid: gsid.to_owned(), at });
            }
        }
        if rows.len() < PAGE_ROWS as usize {
            return Ok(gone);
        }
        offset += PAGE_ROWS;
    }
}
