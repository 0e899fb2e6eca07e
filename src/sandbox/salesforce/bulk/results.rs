//! Result pages of a query job, written as they are sent.
//!
//! Every page begins with the header line. `Sforce-Locator` names the next page; on the last one it is the text `null`.
//! A locator says where its page begins and stays good as long as the job exists.

use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use serde_json::json;

use super::Job;
use super::Plan;
use super::State;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;
use crate::sandbox::salesforce::rows;
use crate::sandbox::salesforce::rows::Dialect;

/// Bytes of a chunk; the buffer is a little larger so that it need not grow.
const CHUNK: usize = 112 << 10;
/// Rows that are written between two looks at the size of the chunk.
const STEP: usize = 128;
/// The API version that brought `resultPages`.
const PAGES_SINCE: u32 = 58;
/// Links in an answer of `resultPages`.
const LINKS: usize = 5;

/// `GET /jobs/query/{id}/results?locator=&maxRecords=`.
pub(in super::super) fn results(call: &Call, id: &str) -> Answer {
    let (job, all) = finished(call, id)?;
    let from = locator(call, all.len())?;
    let most = match call.parameter("maxRecords") {
        None => call.org.options.page_rows,
        Some(text) => text.parse().ok().filter(|most| *most > 0).ok_or_else(|| {
            ApiError::new(400, "INVALID_FIELD", format!("maxRecords must be a positive number: {text}"))
        })?,
    };
    let end = from.saturating_add(most).min(all.len());
    let next = if end < all.len() { encode(end) } else { "null".to_owned() };
    let page = Page {
        plan: Arc::clone(&job.plan),
        rows: Arc::clone(&all),
        next: from,
        end,
        dialect: job.dialect(),
        gzip: call.takes_gzip().then(|| GzEncoder::new(Vec::with_capacity(CHUNK), Compression::fast())),
        state: Progress::Header,
    };
    let gzip = page.gzip.is_some();
    let chunks = stream::unfold(page, |mut page| async move {
        let chunk = page.chunk()?;
        Some((chunk, page))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=UTF-8"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert("sforce-numberofrecords", HeaderValue::from(end - from));
    if let Ok(next) = HeaderValue::from_str(&next) {
        headers.insert("sforce-locator", next);
    }
    Ok(response)
}

/// `GET /jobs/query/{id}/resultPages`: up to five links, which can be fetched at once.
pub(in super::super) fn result_pages(call: &Call, id: &str) -> Answer {
    if call.version < PAGES_SINCE {
        return Err(ApiError::not_found());
    }
    let (job, all) = finished(call, id)?;
    let mut from = locator(call, all.len())?;
    let at = format!("{}/jobs/query/{}", call.base, job.id);
    let page = call.org.options.page_rows.max(1);
    let mut links = Vec::new();
    loop {
        let end = (from + page).min(all.len());
        links.push(json!({ "resultUrl": format!("{at}/results?locator={}&maxRecords={page}", encode(from)) }));
        from = end;
        if from >= all.len() || links.len() == LINKS {
            break;
        }
    }
    let done = from >= all.len();
    let mut body = json!({ "resultPages": links, "done": done });
    if !done {
        body["nextRecordsUrl"] = json!(format!("{at}/resultPages?locator={}", encode(from)));
    }
    Ok(axum::Json(body).into_response())
}

/// A complete job asked for in its own API version, and its rows.
fn finished(call: &Call, id: &str) -> Result<(Job, Arc<[u32]>), ApiError> {
    let mut jobs = lock(&call.org.jobs);
    let job = super::find(&mut jobs.all, id)?;
    if job.version != call.version {
        let text = format!("The job was made with API version {}.0; its results are read with the same", job.version);
        return Err(ApiError::new(409, "CONFLICT", text));
    }
    job.look(call.org.clock.now());
    match job.rows.get() {
        Some(rows) if job.state == State::JobComplete => Ok((job.clone(), Arc::clone(&rows.rows))),
        _ => {
            let text = format!("Results are available when the job is complete; it is {:?}", job.state);
            Err(ApiError::new(400, "INVALIDJOBSTATE", text))
        }
    }
}

fn encode(row: usize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(row.to_string())
}

/// The row that the locator of a request names; the first without one.
fn locator(call: &Call, rows: usize) -> Result<usize, ApiError> {
    let Some(text) = call.parameter("locator") else { return Ok(0) };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let row = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<usize>().ok());
    row.filter(|row| *row == 0 || *row < rows)
        .ok_or_else(|| ApiError::new(400, "INVALID_QUERY_LOCATOR", format!("invalid query locator: {text}")))
}

/// A page that is being sent.
struct Page {
    plan: Arc<Plan>,
    rows: Arc<[u32]>,
    next: usize,
    end: usize,
    dialect: Dialect,
    gzip: Option<GzEncoder<Vec<u8>>>,
    state: Progress,
}

#[derive(PartialEq)]
enum Progress {
    Header,
    Rows,
    Ended,
}

impl Page {
    /// The next bytes; none behind the end.
    fn chunk(&mut self) -> Option<std::io::Result<Bytes>> {
        if self.state == Progress::Ended {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK + (CHUNK >> 3));
        if self.state == Progress::Header {
            rows::csv_header(&mut out, &self.plan.bound, self.dialect);
            self.state = Progress::Rows;
        }
        while out.len() < CHUNK && self.next < self.end {
            let end = (self.next + STEP).min(self.end);
            rows::csv_rows(&mut out, &self.plan.store, &self.plan.bound, &self.rows[self.next..end], self.dialect);
            self.next = end;
        }
        if self.next == self.end {
            self.state = Progress::Ended;
        }
        match self.gzip.take() {
            None => Some(Ok(out.into())),
            Some(encoder) => Some(self.compress(encoder, &out)),
        }
    }

    fn compress(&mut self, mut encoder: GzEncoder<Vec<u8>>, plain: &[u8]) -> std::io::Result<Bytes> {
        encoder.write_all(plain)?;
        if self.state == Progress::Ended {
            return Ok(encoder.finish()?.into());
        }
        let ready = std::mem::replace(encoder.get_mut(), Vec::with_capacity(CHUNK));
        self.gzip = Some(encoder);
        Ok(ready.into())
    }
}
