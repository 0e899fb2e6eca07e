//! Result pages of a query job, written as they are sent.
//!
//! Every page begins with the header line. `Sforce-Locator` names the next page; on the last one it is the text `null`.
//! A locator says where its page begins and stays good as long as the job exists.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use super::jobs;
use super::jobs::State;
use super::query::Job;
use super::stream;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;
use crate::sandbox::salesforce::rows;

/// Rows that are written between two looks at the size of the chunk.
const STEP: usize = 128;
/// The API version that brought `resultPages`.
const PAGES_SINCE: u32 = 58;
/// Links in an answer of `resultPages`.
const LINKS: usize = 5;

/// `GET /jobs/query/{id}/results?locator=&maxRecords=`.
pub(super) fn results(call: &Call, id: &str) -> Answer {
    let (job, all) = finished(call, id)?;
    let from = locator(call, job.head.id, all.len())?;
    let most = match call.parameter("maxRecords") {
        None => call.org.options.page_rows,
        Some(text) => text.parse().ok().filter(|most| *most > 0).ok_or_else(|| {
            ApiError::new(400, "INVALID_FIELD", format!("maxRecords must be a positive number: {text}"))
        })?,
    };
    let end = from.saturating_add(most).min(all.len());
    let next = if end < all.len() { encode(end) } else { "null".to_owned() };
    let mut answer = page(&job, Arc::clone(&all), from, end, call.takes_gzip());
    let headers = answer.headers_mut();
    headers.insert("sforce-numberofrecords", HeaderValue::from(end - from));
    if let Ok(next) = HeaderValue::from_str(&next) {
        headers.insert("sforce-locator", next);
    }
    Ok(answer)
}

/// The header line and some rows.
fn page(job: &Job, all: Arc<[u32]>, from: usize, end: usize, gzip: bool) -> axum::response::Response {
    let (plan, dialect) = (Arc::clone(&job.plan), job.dialect());
    let mut next = from;
    let mut header = true;
    stream::streamed(stream::CSV, gzip, move |out| {
        if std::mem::take(&mut header) {
            rows::csv_header(out, &plan.bound, dialect);
        }
        while out.len() < stream::CHUNK && next < end {
            let stop = (next + STEP).min(end);
            rows::csv_rows(out, &plan.store, &plan.bound, &all[next..stop], dialect);
            next = stop;
        }
        next < end
    })
}

/// `GET /jobs/query/{id}/resultPages`: up to five links, which can be fetched at once.
pub(super) fn result_pages(call: &Call, id: &str) -> Answer {
    if call.version < PAGES_SINCE {
        return Err(ApiError::not_found());
    }
    let (job, all) = finished(call, id)?;
    let mut from = locator(call, job.head.id, all.len())?;
    let at = format!("{}/jobs/query/{}", call.base, job.head.id);
    let page = call.org.options.page_rows.max(1);
    let mut links = Vec::new();
    loop {
        let end = (from + page).min(all.len());
        links.push(json!({ "resultUrl": format!("{at}/results?locator={}", encode(from)) }));
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
    let job = jobs::find(&mut jobs.queries, id)?;
    if job.head.version != call.version {
        let text =
            format!("The job was made with API version {}.0; its results are read with the same", job.head.version);
        return Err(ApiError::new(409, "CONFLICT", text));
    }
    job.look(call.org.clock.now());
    match job.found.get() {
        Some(rows) if job.state == State::JobComplete => Ok((job.clone(), Arc::clone(&rows.rows))),
        _ => {
            let text = format!("Results are available when the job is complete; it is {}", job.state.name());
            Err(ApiError::new(400, "INVALIDJOBSTATE", text))
        }
    }
}

fn encode(row: usize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(row.to_string())
}

/// The row that the locator of a request names; the first without one.
fn locator(call: &Call, job: Id, rows: usize) -> Result<usize, ApiError> {
    let Some(text) = call.parameter("locator") else { return Ok(0) };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let row = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<usize>().ok());
    let alive = !call.locator_is_dead(&format!("{job} {text}"));
    row.filter(|row| alive && (*row == 0 || *row < rows))
        .ok_or_else(|| ApiError::new(400, "INVALID_QUERY_LOCATOR", format!("invalid query locator: {text}")))
}
