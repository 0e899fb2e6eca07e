//! The first Bulk API: `/services/async/NN.0/job…`.
//!
//! ```text
//!  POST job ─▶ Open ─▶ POST job/{id}/batch (CSV, XML, JSON, or SOQL) ─▶ Queued ─▶ InProgress ─▶ Completed | Failed
//!                └─▶ POST job/{id} Closed | Aborted                        └─▶ NotProcessed (aborted, or split by ids)
//!  GET job/{id}/batch/{id}/result ─▶ what became of each row, or the list of results of a query ─▶ …/result/{id}
//! ```
//!
//! # Promises
//! * Answers about jobs and batches are in JSON for JSON jobs, in XML for XML and CSV jobs; where no job is known the
//!   request's `Content-Type` decides, and XML is the default.
//! * A batch that cannot be read fails as a whole and says why in its `stateMessage`; a row that is refused does not fail
//!   its batch.
//! * With PK chunking a query becomes several batches, one per range of ids; the batch that brought it is `NotProcessed`.
//!
//! # Knowingly different
//! * The texts about unknown jobs and batches, wrong content types, jobs that are not open, and sizes of chunks are not
//!   documented; codes are those of the service.
//! * Batches of binary attachments (ZIP) are refused. A query is never retried, so it has exactly one result.
//! * XML cannot carry control characters, NUL among them: they are left out of XML results.
//! * In XML, the text `#N/A` empties a field as in CSV.
//! * Chunks count this org's records, not the numbers in their ids; there are no empty ones at the end.

mod batches;
mod chunks;
mod jobs;
mod records;
mod results;
mod xml;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::json;

pub(super) use jobs::Job;

use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::oauth;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest;
use crate::sandbox::salesforce::rest::Asked;
use crate::sandbox::salesforce::rest::Call;

/// The namespace of every XML answer.
const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

/// Languages of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Json,
    Xml,
}

impl Language {
    /// The language that a request asks for where no job decides.
    fn asked(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.to_ascii_lowercase().starts_with("application/json") { Self::Json } else { Self::Xml }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=UTF-8",
            Self::Xml => "application/xml",
        }
    }
}

/// A refusal in the shape of this API.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    #[cfg(test)]
    fn code(&self) -> &'static str {
        self.code
    }

    /// A refusal of the org itself, in the words of this API.
    fn of(error: &ApiError) -> Self {
        let (code, message) = match error.code {
            "INVALID_SESSION_ID" => ("InvalidSessionId", "Invalid session id".to_owned()),
            "REQUEST_LIMIT_EXCEEDED" => ("ExceededQuota", error.message.clone()),
            _ => ("ClientInputError", error.message.clone()),
        };
        Self::new(code, message)
    }

    /// The answer.
    fn answer(&self, language: Language) -> Response {
        let body = match language {
            Language::Json => {
                json!({ "exceptionCode": self.code, "exceptionMessage": self.message }).to_string().into_bytes()
            }
            Language::Xml => {
                let mut out = xml::Writer::new("error");
                out.element("exceptionCode", self.code);
                out.element("exceptionMessage", &self.message);
                out.finish()
            }
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, [(CONTENT_TYPE, language.content_type())], body).into_response()
    }
}

type Answer = Result<Response, (Refusal, Language)>;

/// `/services/async/NN.0/…`.
pub(in super::super) fn serve(org: &Arc<Org>, method: &Method, version: &str, rest: &[&str], asked: Asked) -> Response {
    org.count("bulk");
    let language = Language::asked(&asked.headers);
    let Some(number) = rest::version(&format!("v{version}")) else {
        return Refusal::new("InvalidVersion", format!("Api version {version} not supported")).answer(language);
    };
    let session = asked.headers.get("x-sfdc-session").and_then(|token| token.to_str().ok());
    let token = session.or_else(|| oauth::bearer_token(&asked.headers)).unwrap_or_default().to_owned();
    let (call, info) = rest::let_in(org, number, &token, asked);
    let answered = match call {
        Ok(call) => answer(&call, method, rest),
        Err(refusal) => Refusal::of(&refusal).answer(language),
    };
    rest::with_limit(answered, info)
}

/// A call of a caller who is known.
fn answer(call: &Call, method: &Method, rest: &[&str]) -> Response {
    let asked = Language::asked(&call.headers);
    let answered = match (method.as_str(), rest) {
        ("POST", ["job"]) => jobs::create(call).map_err(|refusal| (refusal, asked)),
        ("POST", ["job", id]) => with_job(call, id, |job| jobs::change(call, job)),
        ("GET", ["job", id]) => with_job(call, id, |job| Ok(jobs::shown(call, job, StatusCode::OK))),
        ("POST", ["job", id, "batch"]) => with_job(call, id, |job| batches::add(call, job)),
        ("GET", ["job", id, "batch"]) => with_job(call, id, |job| Ok(batches::list(call, job))),
        ("GET", ["job", id, "batch", batch]) => with_job(call, id, |job| batches::show(call, job, batch)),
        ("GET", ["job", id, "batch", batch, "request"]) => with_job(call, id, |job| batches::request(job, batch)),
        ("GET", ["job", id, "batch", batch, "result"]) => with_job(call, id, |job| results::list(call, job, batch)),
        ("GET", ["job", id, "batch", batch, "result", result]) => {
            with_job(call, id, |job| results::rows(call, job, batch, result))
        }
        (_, ["job", ..]) => {
            let text = format!("HTTP Method '{method}' not allowed");
            Err((Refusal { status: 405, ..Refusal::new("MethodNotAllowed", text) }, asked))
        }
        _ => Err((Refusal::new("InvalidUrl", "Unable to parse the URL"), asked)),
    };
    answered.unwrap_or_else(|(refusal, language)| refusal.answer(language))
}

/// Does something with the job that a path names; it must be asked for in its own API version.
fn with_job(call: &Call, id: &str, work: impl FnOnce(&mut Job) -> Result<Response, Refusal>) -> Answer {
    let asked = Language::asked(&call.headers);
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let unknown = || (Refusal::new("InvalidJob", format!("Invalid job id: {id}")), asked);
    let key = Id::parse(id).ok_or_else(unknown)?;
    let job = jobs.classics.get_mut(&key).ok_or_else(unknown)?;
    let language = job.language();
    if job.head.version != call.version {
        let text = format!("The job was created with API version {}.0", job.head.version);
        return Err((Refusal::new("InvalidVersion", text), language));
    }
    work(job).map_err(|refusal| (refusal, language))
}

/// A whole body in the language of a job.
fn reply(status: StatusCode, language: Language, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, language.content_type())], body).into_response()
}

/// Work that outlives the call.
fn in_background(call: &Call, work: impl FnOnce(&Arc<Org>) + Send + 'static) {
    let org = Arc::clone(&call.org);
    call.org.in_background(move || work(&org));
}
