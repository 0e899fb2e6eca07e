//! Bulk API 2.0 query jobs: make, wait, read pages, abort, delete.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::connect::http::Method;
use crate::connect::http::StatusCode;
use crate::connect::http::excerpt;
use crate::connect::http::header;
use crate::connect::http::header::HeaderMap;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::Call;
use super::SalesforceClient;
use super::refusal;
use super::segment;

/// How jobs are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollPolicy {
    /// The first wait. The next ones double up to 200 ms, then each is half as long again as the one before.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How long a job may wait in the org's queue.
    pub queued: Duration,
    /// How long a job may be in progress without a sign of progress.
    pub stuck: Duration,
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(10),
            longest: Duration::from_secs(30),
            queued: Duration::from_secs(24 * 3_600),
            stuck: Duration::from_secs(2 * 3_600),
        }
    }
}

/// A query job as Salesforce reports it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryJob {
    /// Its id.
    pub id: String,
    /// The object that it reads.
    #[serde(default)]
    pub object: String,
    /// Where it stands.
    pub state: JobState,
    /// Rows found, once it is complete.
    pub number_records_processed: Option<u64>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// How often Salesforce itself has tried.
    pub retries: Option<u32>,
    /// Milliseconds of work.
    pub total_processing_time: Option<u64>,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum JobState {
    /// Taken, waiting behind others.
    #[serde(alias = "Open")]
    UploadComplete,
    /// At work.
    InProgress,
    /// Done; the pages can be read.
    JobComplete,
    /// Ended by somebody.
    Aborted,
    /// Ended by Salesforce.
    Failed,
    /// A state that this version does not know.
    #[serde(untagged)]
    Other(String),
}

/// One page of a job's result.
pub struct ResultPage {
    /// Rows that Salesforce says are in it; `None` if it did not say.
    pub rows: Option<u64>,
    /// Where the next page is; `None` on the last.
    pub next: Option<String>,
    /// CSV with a header row, as it comes.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for ResultPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultPage").field("rows", &self.rows).field("next", &self.next).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

/// The documentation's table says `nextRecordUrl`, its text and example `nextRecordsUrl`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinksReply {
    result_pages: Vec<Link>,
    #[serde(alias = "nextRecordUrl")]
    next_records_url: Option<String>,
    #[serde(default = "yes")]
    done: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    result_url: String,
}

fn yes() -> bool {
    true
}

/// Links to pages that can be read side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultLinks {
    /// Paths for [`SalesforceClient::result_link`].
    pub pages: Vec<String>,
    /// Path of the next links, for [`SalesforceClient::more_result_links`]; `None` when these are the last.
    pub next: Option<String>,
}

impl SalesforceClient {
    /// Starts a query job and returns its id.
    pub async fn create_query_job(&self, soql: &str, with_deleted: bool) -> Result<String> {
        let path = self.path("jobs/query");
        let operation = if with_deleted { "queryAll" } else { "query" };
        let call = Call {
            method: Method::POST,
            body: Some(json!({ "operation": operation, "query": soql, "contentType": "CSV",
                               "columnDelimiter": "COMMA", "lineEnding": "LF" })),
            // A job whose making was not heard of changes no data, ends by itself and is deleted after 7 days.
            ..Call::get(&path, CallClass::SalesforceBulk, "start a query job")
        };
        Ok(self.call_json::<Created>(call).await?.id)
    }

    /// Where a job stands.
    pub async fn query_job(&self, id: &str) -> Result<QueryJob> {
        let path = self.path(&format!("jobs/query/{}", segment(id)));
        let call = Call::get(&path, CallClass::SalesforceBulk, "ask how a query job stands");
        self.call_json(call).await.map_err(|e| refusal::job_gone(e, id))
    }

    /// Waits until a job is complete.
    pub async fn wait_for_query_job(&self, id: &str) -> Result<QueryJob> {
        let policy = &self.inner.poll;
        let mut wait = policy.first;
        // Since when the job is in the state, with the progress, that it had when last asked.
        let mut since = Instant::now();
        let mut last = None;
        loop {
            let job = self.query_job(id).await?;
            match &job.state {
                JobState::JobComplete => return Ok(job),
                JobState::Failed => return Err(self.failed(&job)),
                JobState::Aborted => {
                    return Err(Error::unavailable("the Salesforce query job was aborted by somebody else")
                        .context("job", id)
                        .hint("run the same command again; it starts a new job"));
                }
                JobState::UploadComplete | JobState::InProgress | JobState::Other(_) => {}
            }
            let now = (job.state.clone(), job.number_records_processed, job.retries);
            if last.as_ref() != Some(&now) {
                tracing::debug!(job = id, state = ?job.state, "The query job has moved on.");
                since = Instant::now();
                last = Some(now);
            }
            let (patience, doing) = match job.state {
                JobState::UploadComplete => (policy.queued, "waited in the org's queue behind other jobs"),
                _ => (policy.stuck, "been in progress without a sign of progress"),
            };
            if since.elapsed() + wait > patience {
                return Err(Error::unavailable(format!(
                    "the Salesforce query job has {doing} for {:.0?}",
                    since.elapsed()
                ))
                .context("job", id)
                .hint("look at Setup > Bulk Data Load Jobs in the org, then run the same command again"));
            }
            tokio::time::sleep(wait).await;
            let factor = if wait < Duration::from_millis(200) { 2.0 } else { 1.5 };
            wait = wait.mul_f64(factor).min(policy.longest);
        }
    }

    fn failed(&self, job: &QueryJob) -> Error {
        let said = job.error_message.as_deref().unwrap_or("no reason was given");
        // The text begins with a code of the REST API, or has the words of one.
        let code = said.split([':', ' ']).next().unwrap_or_default().trim();
        let now = self.inner.http.clock().now();
        let (kind, hint) = refusal::ruling(code, said, StatusCode::INTERNAL_SERVER_ERROR, now);
        let error = Error::new(kind, format!("the Salesforce query job failed: {}", excerpt(said.as_bytes())))
            .context("object", job.object.clone())
            .context("job", job.id.clone());
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Opens one page of a complete job's result. The same locator gives the same page as long as the job exists.
    pub async fn result_page(&self, id: &str, locator: Option<&str>, max_records: u32) -> Result<ResultPage> {
        let path = self.path(&format!("jobs/query/{}/results", segment(id)));
        let max_records = max_records.to_string();
        let mut query = vec![("maxRecords", max_records.as_str())];
        query.extend(locator.map(|locator| ("locator", locator)));
        self.open_page(&path, &query).await.map_err(|e| refusal::job_gone(e, id))
    }

    /// Opens one of the pages of a job that [`Self::result_links`] named.
    pub async fn result_link(&self, id: &str, path: &str) -> Result<ResultPage> {
        self.open_page(path, &[]).await.map_err(|e| refusal::job_gone(e, id))
    }

    async fn open_page(&self, path: &str, query: &[(&'static str, &str)]) -> Result<ResultPage> {
        let encoding = [
            (header::ACCEPT, "text/csv"),
            (header::ACCEPT_ENCODING, if self.inner.compress { "gzip" } else { "identity" }),
        ];
        let call = Call {
            query,
            headers: &encoding,
            ..Call::get(path, CallClass::SalesforceBulk, "read a page of a query's result")
        };
        let response = self.call_stream(call).await?;
        let headers = response.headers();
        Ok(ResultPage {
            rows: text_header(headers, "sforce-numberofrecords").and_then(|text| text.parse().ok()),
            // The last page says "null", as a word.
            next: text_header(headers, "sforce-locator")
                .filter(|text| !text.is_empty() && *text != "null")
                .map(str::to_owned),
            bytes: self.inner.http.body(response).boxed(),
        })
    }

    /// Links to pages that can be read side by side; `None` where the org does not offer them (before version 58).
    pub async fn result_links(&self, id: &str) -> Result<Option<ResultLinks>> {
        let path = self.path(&format!("jobs/query/{}/resultPages", segment(id)));
        match self.more_result_links(&path).await {
            Ok(links) => Ok(Some(links)),
            Err(e) if refusal::has(&e, "status", "404") => Ok(None),
            Err(e) => Err(e.context("job", id)),
        }
    }

    /// The links that follow.
    pub async fn more_result_links(&self, path: &str) -> Result<ResultLinks> {
        let call = Call::get(path, CallClass::SalesforceBulk, "list the pages of a query's result");
        let reply: LinksReply = self.call_json(call).await?;
        Ok(ResultLinks {
            pages: reply.result_pages.into_iter().map(|link| link.result_url).collect(),
            next: reply.next_records_url.filter(|_| !reply.done),
        })
    }

    /// Ends a job. One that has ended already, or is gone, is no error.
    pub async fn abort_query_job(&self, id: &str) -> Result<()> {
        let path = self.path(&format!("jobs/query/{}", segment(id)));
        let call = Call {
            method: Method::PATCH,
            body: Some(json!({ "state": "Aborted" })),
            ..Call::get(&path, CallClass::SalesforceBulk, "abort a query job")
        };
        self.gone_is_fine(call, &["400", "404"]).await.map_err(|e| e.context("job", id))
    }

    /// Deletes a job that has ended, with its results. One that is gone is no error.
    pub async fn delete_query_job(&self, id: &str) -> Result<()> {
        let path = self.path(&format!("jobs/query/{}", segment(id)));
        let call = Call { method: Method::DELETE, ..Call::get(&path, CallClass::SalesforceBulk, "delete a query job") };
        self.gone_is_fine(call, &["404"]).await.map_err(|e| e.context("job", id))
    }

    async fn gone_is_fine(&self, call: Call<'_>, fine: &[&str]) -> Result<()> {
        match self.call(call).await {
            Ok(_) => Ok(()),
            Err(e) if fine.iter().any(|status| refusal::has(&e, "status", status)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_also_unknown_ones() {
        let state = |text: &str| serde_json::from_value::<JobState>(json!(text)).unwrap();
        assert_eq!(state("UploadComplete"), JobState::UploadComplete);
        assert_eq!(state("Open"), JobState::UploadComplete);
        assert_eq!(state("JobComplete"), JobState::JobComplete);
        assert_eq!(state("Paused"), JobState::Other("Paused".to_owned()));
    }

    #[test]
    fn both_spellings_of_the_next_links_are_read() {
        for name in ["nextRecordsUrl", "nextRecordUrl"] {
            let mut reply = json!({ "resultPages": [{ "resultUrl": "/a" }], "done": false });
            reply[name] = json!("/more");
            let reply: LinksReply = serde_json::from_value(reply).unwrap();
            assert_eq!(reply.next_records_url.as_deref(), Some("/more"));
        }
    }
}
