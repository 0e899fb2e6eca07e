//! What is asked of the tenant for a mirror, and in which order it comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::ObjectMetadata;
use crate::connect::gainsight::Operator;
use crate::connect::gainsight::PAGE_ROWS;
use crate::connect::gainsight::Query;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::Way;
use super::decode::Decoder;
use super::deletions_since;

/// After so many full pages in a row an export is asked for: it costs a start, a question, a look at the deletions, and
/// a call for four pages.
pub(super) const FULL_PAGES: u64 = 4;

/// Bulk calls that an export leaves to the loads.
const BULK_RESERVE: u32 = 4;

/// Chunks of an export on their way at once.
const CHUNKS: usize = 3;

/// Longest wait between two questions how an export stands.
const LONGEST: Duration = Duration::from_secs(10);

/// An export is waited for at most so long; then the pages take its place.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Some records.
#[derive(Debug)]
pub(super) enum Part {
    /// JSON of the query API.
    Page(Bytes),
    /// A chunk of an export, decoded.
    Chunk(RecordBatch),
}

/// One reading.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) client: GainsightClient,
    pub(super) metadata: Arc<ObjectMetadata>,
    pub(super) schema: SchemaRef,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) way: Way,
    pub(super) sender: mpsc::Sender<Result<Part>>,
}

/// Nobody listens any more.
struct Unwanted;

impl Fetching {
    /// Sends part after part until a page is short. Ends early when nobody listens.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.parts().await {
            // Nobody listens only when the reading was dropped, and then nobody wants the error.
            self.sender.send(Err(error)).await.ok();
        }
    }

    async fn parts(&mut self) -> Result<()> {
        let mut last: Option<String> = None;
        let mut full_pages = if self.way == Way::Export { FULL_PAGES } else { 0 };
        loop {
            if full_pages >= FULL_PAGES && self.may_export() {
                match self.export(last.as_deref()).await? {
                    Ok(end) => last = end.or(last),
                    Err(Unwanted) => return Ok(()),
                }
                // One page shows whether anything follows; if it is full, another export does.
                full_pages = FULL_PAGES - 1;
            }
            let page = self.client.query(&self.metadata.name, &self.after(last.as_deref()).limit(PAGE_ROWS)).await?;
            if page.is_empty() {
                return Ok(());
            }
            let (gsid, rows) = last_and_count(page.bytes())?;
            if last.as_ref() == Some(&gsid) {
                return Err(Error::integrity(format!(
                    "a query of `{}` answers the same page again",
                    self.metadata.name
                ))
                .hint("nothing was landed; run again")
                .context("gsid", gsid));
            }
            last = Some(gsid);
            full_pages += 1;
            let unwanted = self.sender.send(Ok(Part::Page(page.bytes().clone()))).await.is_err();
            if unwanted || rows < PAGE_ROWS as usize {
                return Ok(());
            }
        }
    }

    /// The records after the one with the id `last`, in order.
    fn after(&self, last: Option<&str>) -> Query {
        let mut query = Query::select(self.schema.fields().iter().map(|field| field.name())).order_by("Gsid");
        if let Some(last) = last {
            query = query.filter("Gsid", Operator::Gt, vec![json!(last)]);
        }
        if let Some(since) = self.since {
            // The form that live clients send (gainsight-api §2.5).
            let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
            query = query.filter("ModifiedDate", Operator::Gte, vec![json!(since)]);
        }
        query
    }

    fn may_export(&self) -> bool {
        self.way != Way::Pages && self.client.limiter().has_room(CallClass::GainsightBulk, 1 + BULK_RESERVE)
    }

    /// Sends the records after `last` by an export and gives the id of the last one, if there is any. A tenant that does
    /// not export is read by pages.
    async fn export(&mut self, last: Option<&str>) -> Result<std::result::Result<Option<String>, Unwanted>> {
        let started = self.client.tenant_time();
        let (chunks, total) = match self.finished_export(last).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(object = self.metadata.name, "Reading page by page, as there is no export: {error}.");
                self.way = Way::Pages;
                return Ok(Ok(None));
            }
        };
        let mut chunks = stream::iter(chunks).map(|address| self.chunk(address)).buffered(CHUNKS);
        let (mut rows, mut end) = (0, last.unwrap_or_default().to_owned());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| Error::bug("a task that read an export stopped").source(e))??;
            end = last_ascending(&chunk, end).ok_or_else(|| self.doubtful("does not give its records in order"))?;
            rows += chunk.num_rows() as u64;
            if chunk.num_rows() > 0 && self.sender.send(Ok(Part::Chunk(chunk))).await.is_err() {
                return Ok(Err(Unwanted));
            }
        }
        if rows != total {
            return Err(self.doubtful(&format!("has {rows} rows instead of {total}")));
        }
        // Whether a chunk is cut out when it is asked for is not documented: a record that goes would move others across
        // the border of two chunks.
        let gone = deletions_since(&self.client, started).await?;
        if gone.iter().any(|gone| gone.object.eq_ignore_ascii_case(&self.metadata.name)) {
            return Err(self.doubtful("was made while records were deleted"));
        }
        Ok(Ok(Some(end).filter(|end| !end.is_empty())))
    }

    /// The chunks' addresses and the number of rows in all.
    async fn finished_export(&self, last: Option<&str>) -> Result<(Vec<String>, u64)> {
        let address = self.client.start_export(&self.metadata.name, &self.after(last)).await?;
        let begun = Instant::now();
        let mut wait = self.client.first_wait();
        loop {
            let status = self.client.export_status(&address).await?;
            match (status.chunks, status.total) {
                (Some(chunks), Some(total)) => return Ok((chunks, total)),
                (Some(_), None) => return Err(Error::unavailable("it does not say how many rows it has")),
                (None, _) if begun.elapsed() > PATIENCE => return Err(Error::unavailable("it takes too long")),
                (None, _) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    fn chunk(&self, address: String) -> SpawnedTask<Result<RecordBatch>> {
        let (client, schema, metadata) = (self.client.clone(), Arc::clone(&self.schema), Arc::clone(&self.metadata));
        SpawnedTask::spawn(async move {
            let csv = client.export_chunk(&address).await?;
            Decoder::new(&schema, &metadata).decode_export(&csv)
        })
    }

    fn doubtful(&self, why: &str) -> Error {
        Error::integrity(format!("an export of `{}` {why}", self.metadata.name))
    }
}

/// The last id of a chunk, if all of its ids ascend from `before`.
fn last_ascending(chunk: &RecordBatch, before: String) -> Option<String> {
    let ids = chunk.column(0).as_string::<i32>();
    let mut last = before.as_str();
    for id in ids {
        last = id.filter(|id| last < *id)?;
    }
    Some(last.to_owned())
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
