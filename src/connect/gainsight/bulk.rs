//! Bulk import (CSV into a job that exists in the tenant) and bulk export.
//!
//! Names within `data` of the answers are not published (gainsight-api §6.1); they are read in one place here.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::clock;
use crate::connect::http::Gate;
use crate::connect::http::Method;
use crate::connect::http::Request;
use crate::connect::http::Url;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::client::Call;
use super::client::GainsightClient;
use super::envelope::Answer;
use super::login::access_key;
use super::query::Query;
use super::write::Refusal;

const IMPORT: &str = "/v1.0/admin/connector/job/bulkimport";

/// A CSV file on its way into a bulk job: rows are written straight into the multipart body.
#[derive(Debug)]
pub struct BulkFile {
    body: Vec<u8>,
    /// Where the CSV starts.
    head: usize,
    boundary: String,
}

impl BulkFile {
    /// An empty file for the job with this id.
    pub fn new(job_id: &str) -> Self {
        let boundary = format!("sf2gs-{}", clock::random_id());
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"jobId\"\r\n\r\n{job_id}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"rows.csv\"\r\n\
             Content-Type: text/csv; charset=utf-8\r\n\r\n"
        )
        .into_bytes();
        Self { head: body.len(), body, boundary }
    }

    /// Where rows are appended.
    pub fn csv(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    /// Bytes of CSV so far.
    pub fn len(&self) -> usize {
        self.body.len() - self.head
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the CSV back to an earlier [length](Self::len).
    pub fn truncate(&mut self, len: usize) {
        self.body.truncate(self.head + len);
    }

    fn finish(mut self) -> (String, Bytes) {
        self.body.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), Bytes::from(self.body))
    }
}

/// How far a bulk import has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportPhase {
    /// Not finished.
    Running,
    /// Finished; rows may have failed one by one.
    Completed,
    /// Ended without a result.
    Failed,
}

/// How a bulk import stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportStatus {
    /// How far it is.
    pub phase: ImportPhase,
    /// Rows of the file.
    pub total: Option<u64>,
    /// Rows written.
    pub succeeded: Option<u64>,
    /// Rows refused.
    pub failed: Option<u64>,
    /// Where the refused rows can be read, if anywhere.
    pub failed_rows: Option<String>,
}

/// The refused rows of a bulk import.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FailedRows {
    /// The file's columns, without the last one, which holds the reason.
    pub columns: Vec<String>,
    /// Cells of each row, and the reason.
    pub rows: Vec<(Vec<String>, String)>,
}

impl FailedRows {
    fn parse(csv: &[u8]) -> Result<Self> {
        let unreadable = |e: csv::Error| Error::unavailable("Gainsight's file of failed rows is no CSV").source(e);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(csv);
        let mut columns: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
        columns.pop();
        let mut rows = Vec::new();
        for row in reader.records() {
            let row = row.map_err(unreadable)?;
            let mut cells: Vec<String> = row.iter().map(str::to_owned).collect();
            let reason = cells.pop().unwrap_or_default();
            rows.push((cells, reason));
        }
        Ok(Self { columns, rows })
    }
}

/// How a bulk export stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportStatus {
    /// The chunks' addresses, once it is finished.
    pub chunks: Option<Vec<String>>,
    /// Rows in all.
    pub total: Option<u64>,
}

impl GainsightClient {
    fn bulk_headers(&self) -> Result<HeaderMap> {
        let settings = self.settings();
        let mut headers = HeaderMap::new();
        for (name, value) in [("loginname", &settings.bulk_login), ("apporgid", &settings.bulk_org_id)] {
            if let Some(value) = value {
                let value = HeaderValue::from_str(value)
                    .map_err(|_| Error::config(format!("the bulk setting for `{name}` cannot be sent in a header")))?;
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if let Some(key) = &settings.bulk_access_key {
            access_key(&mut headers, key)?;
        }
        Ok(headers)
    }

    /// Hands a file to a bulk job; the answer is a status id. The job is an upsert, so a repeat does no harm.
    pub async fn bulk_import(&self, file: BulkFile) -> Result<Result<String, Refusal>> {
        let (content_type, body) = file.finish();
        let mut call = Call::new(Method::POST, IMPORT, "hand a file to a bulk import");
        call.class = CallClass::GainsightBulk;
        call.idempotent = true;
        call.headers = self.bulk_headers()?;
        call.content_type = HeaderValue::from_str(&content_type).map_err(|e| Error::bug("bad boundary").source(e))?;
        call.body = body;
        let answer = self.call(call).await?;
        if let Some(failure) = answer.failure {
            return match failure.status {
                200 | 400 => Ok(Err(failure.into())),
                413 => Err(Error::bug("a bulk import file was larger than Gainsight takes")
                    .source(failure.into_error("take a bulk import file"))),
                _ => Err(failure.into_error("take a bulk import file")),
            };
        }
        #[derive(Deserialize)]
        struct Started {
            #[serde(rename = "statusId", alias = "statusID", alias = "StatusId")]
            status_id: String,
        }
        let data = answer.data().unwrap_or_default();
        let started: Started = serde_json::from_slice(&data)
            .map_err(|e| Error::unavailable("Gainsight took the file but named no status id").source(e))?;
        Ok(Ok(started.status_id))
    }

    /// Asks how a bulk import stands.
    pub async fn import_status(&self, status_id: &str) -> Result<ImportStatus> {
        let path = format!("{IMPORT}/status/{status_id}");
        let mut call = Call::new(Method::GET, &path, "ask how a bulk import stands");
        call.headers = self.bulk_headers()?;
        let answer = self.call(call).await?;
        if let Some(failure) = answer.failure {
            return Err(failure.into_error("say how a bulk import stands"));
        }
        import_status(&answer)
    }

    /// Reads the refused rows from where [`ImportStatus::failed_rows`] points.
    pub async fn failed_rows(&self, address: &str) -> Result<FailedRows> {
        FailedRows::parse(&self.file(address, "read the failed rows of a bulk import").await?)
    }

    /// Starts an export; the answer is where its status is found.
    pub async fn start_export(&self, object: &str, query: &Query) -> Result<String> {
        let path = format!("/v3/exports/data/bulk/{object}");
        let mut call = Call::new(Method::POST, &path, "start a bulk export");
        call.class = CallClass::GainsightBulk;
        call.idempotent = true;
        call.body = Bytes::from(query.export_body());
        let answer = self.call(call).await?;
        if let Some(failure) = answer.failure {
            return Err(failure.into_error("start a bulk export").context("object", object.to_owned()));
        }
        #[derive(Deserialize)]
        struct Started {
            #[serde(rename = "statusURL", alias = "statusUrl")]
            status_url: String,
        }
        let started: Started = serde_json::from_slice(&answer.data().unwrap_or_default())
            .map_err(|e| Error::unavailable("Gainsight started an export but named no status address").source(e))?;
        Ok(started.status_url)
    }

    /// Asks how an export stands.
    pub async fn export_status(&self, address: &str) -> Result<ExportStatus> {
        let body = self.file(address, "ask how a bulk export stands").await?;
        let answer = Answer::parse(reqwest::StatusCode::OK, body);
        if let Some(failure) = answer.failure {
            return Err(failure.into_error("say how a bulk export stands"));
        }
        export_status(&answer)
    }

    /// Reads one chunk of an export as CSV.
    pub async fn export_chunk(&self, address: &str) -> Result<Bytes> {
        self.file(address, "read a chunk of a bulk export").await
    }

    /// Fetches a file from an address that the tenant gave. Only the tenant's own host sees the credentials.
    async fn file(&self, address: &str, what: &'static str) -> Result<Bytes> {
        let base = &self.settings().url;
        let url: Url = base
            .join(address)
            .map_err(|e| Error::unavailable(format!("Gainsight named an address that is none: {address}")).source(e))?;
        let mut headers = HeaderMap::new();
        if url.origin() == base.origin() {
            headers = self.bulk_headers()?;
            self.authorize(&mut headers).await?;
        }
        let class = CallClass::GainsightSync;
        let request = Request { method: Method::GET, url, headers, body: Bytes::new(), class, idempotent: true, what };
        let answer = self.http().fetch(request, Some(self.limiter() as &dyn Gate)).await?;
        self.observe(&answer.headers);
        if !answer.status.is_success() {
            let failure = Answer::parse(answer.status, answer.body).failure;
            return Err(failure.map_or_else(|| Error::unavailable("no file"), |failure| failure.into_error(what)));
        }
        Ok(answer.body)
    }
}

fn import_status(answer: &Answer) -> Result<ImportStatus> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        #[serde(alias = "status")]
        job_status: String,
        #[serde(alias = "totalCount")]
        total_records: Option<u64>,
        #[serde(alias = "successRecords")]
        success_count: Option<u64>,
        #[serde(alias = "failedCount", alias = "failedRecords")]
        failure_count: Option<u64>,
        #[serde(alias = "failedRecordsURL", alias = "errorFileUrl")]
        failed_records_url: Option<String>,
    }
    let raw: Raw = serde_json::from_slice(&answer.data().unwrap_or_default())
        .map_err(|e| Error::unavailable("Gainsight's status of a bulk import cannot be read").source(e))?;
    let phase = match raw.job_status.to_ascii_uppercase().as_str() {
        "COMPLETED" | "SUCCESS" | "PARTIAL_SUCCESS" => ImportPhase::Completed,
        "FAILED" | "FAILURE" | "ABORTED" => ImportPhase::Failed,
        _ => ImportPhase::Running,
    };
    Ok(ImportStatus {
        phase,
        total: raw.total_records,
        succeeded: raw.success_count,
        failed: raw.failure_count,
        failed_rows: raw.failed_records_url.filter(|url| !url.is_empty()),
    })
}

fn export_status(answer: &Answer) -> Result<ExportStatus> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw {
        job_status: String,
        total_records: Option<u64>,
        chunk_details: Option<Vec<Chunk>>,
    }
    #[derive(Deserialize)]
    struct Chunk {
        #[serde(rename = "chunkURL", alias = "chunkUrl")]
        url: String,
    }
    let raw: Raw = serde_json::from_slice(&answer.data().unwrap_or_default())
        .map_err(|e| Error::unavailable("Gainsight's status of a bulk export cannot be read").source(e))?;
    let chunks = match raw.job_status.to_ascii_uppercase().as_str() {
        "COMPLETED" => Some(raw.chunk_details.unwrap_or_default().into_iter().map(|chunk| chunk.url).collect()),
        "FAILED" | "ABORTED" => {
            return Err(Error::unavailable("Gainsight's bulk export ended without a result").hint("run again"));
        }
        _ => None,
    };
    Ok(ExportStatus { chunks, total: raw.total_records })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_multipart_body_around_the_csv() {
        let mut file = BulkFile::new("job-1");
        assert!(file.is_empty());
        file.csv().extend_from_slice(b"Name\nA\nB\n");
        file.truncate("Name\nA\n".len());
        assert_eq!(file.len(), 7);
        let (content_type, body) = file.finish();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(content_type.starts_with("multipart/form-data; boundary=sf2gs-"));
        assert!(text.contains("name=\"jobId\"\r\n\r\njob-1\r\n"));
        assert!(text.contains("charset=utf-8\r\n\r\nName\nA\n\r\n--sf2gs-"));
    }

    #[test]
    fn failed_rows_carry_their_reason_in_the_last_column() {
        let rows = FailedRows::parse(b"Id,Name,ERROR_MESSAGE\n1,\"a,b\",too long\n").unwrap();
        assert_eq!(rows.columns, ["Id", "Name"]);
        assert_eq!(rows.rows, [(vec!["1".to_owned(), "a,b".to_owned()], "too long".to_owned())]);
    }

    #[test]
    fn a_status_is_read_by_its_documented_and_guessed_names() {
        let body = br#"{"result":true,"data":{"jobStatus":"COMPLETED","totalRecords":10,"successCount":9,"failureCount":1,"failedRecordsUrl":"/x.csv"}}"#;
        let status = import_status(&Answer::parse(reqwest::StatusCode::OK, Bytes::from_static(body))).unwrap();
        assert_eq!(status.phase, ImportPhase::Completed);
        assert_eq!((status.total, status.failed), (Some(10), Some(1)));
        assert_eq!(status.failed_rows.as_deref(), Some("/x.csv"));
    }
}
