//! Bulk API 2.0 and the first Bulk API: records out of the org and into it, many at a time.
//!
//! ```text
//!  /services/data/vNN.0/jobs/query   query ──▶ results (pages of CSV)             jobs: ids, states, lists
//!  /services/data/vNN.0/jobs/ingest  ingest ─▶ csv ─▶ columns ─▶ load ─▶ write    refused: what no bulk query may be
//!  /services/async/NN.0/job          classic (jobs, batches, results)              stream: bodies as they are written
//! ```
//!
//! # Promises
//! * States, members of answers, headers, codes and texts are the service's, as far as a document or a recording of a real
//!   org shows them.
//! * Work runs away from the connections; a poll finds a job in progress as often as the org was told.
//!
//! # Knowingly different
//! * The texts with which the service refuses OFFSET, aggregates and subqueries in a bulk query, a missing operation, a
//!   wrong multipart request and a locator of a list are not documented; nor is what it says about results that are not
//!   there yet.
//! * A page of results holds a fixed number of rows when the client names none; the service decides by size.
//! * Ingest jobs write their rows in order, on one thread: no lock is ever contended, nothing is retried.
//! * An ingest job that fails has written nothing. The service may have written some of its batches.
//! * Line breaks of the other kind within quotes are values. Some reports say that the service takes them for line ends.
//! * Values behind the last column of the header are ignored; what the service does with them is not documented.
//! * An upload without a header fails its job, one without rows does not. A job stays open as long as it likes.
//! * Every user may hard delete; the service asks for a permission.
//! * A multipart request has its parts by name; the service may be laxer.
//! * Blank lines of an upload are no records. Data that is not UTF-8, or too large, is refused in words of ours.
//! * A second upload to a job answers 400 `BULK_API_ERROR`; some reports name `INVALIDJOB`.

mod classic;
mod columns;
mod csv;
mod ingest;
mod ingest_results;
mod jobs;
mod load;
mod query;
mod refused;
mod results;
mod stream;

use axum::http::Method;

pub(super) use classic::serve as classic;
pub(super) use jobs::Jobs;

use super::error::ApiError;
use super::rest::Answer;
use super::rest::Call;

/// `/services/data/vNN.0/jobs/…`.
pub(super) fn route(call: &Call, method: &Method, rest: &[&str]) -> Answer {
    match (method.as_str(), rest) {
        ("GET", ["query"]) => jobs::list(call, jobs::List::Query),
        ("POST", ["query"]) => query::create(call),
        ("GET", ["query", id]) => query::show(call, id),
        ("PATCH", ["query", id]) => query::abort(call, id),
        ("DELETE", ["query", id]) => query::delete(call, id),
        ("GET", ["query", id, "results"]) => results::results(call, id),
        ("GET", ["query", id, pages]) if pages.eq_ignore_ascii_case("resultPages") => results::result_pages(call, id),
        ("GET", ["ingest"]) => jobs::list(call, jobs::List::Ingest),
        ("POST", ["ingest"]) => ingest::create(call),
        ("GET", ["ingest", id]) => ingest::show(call, id),
        ("PATCH", ["ingest", id]) => ingest::change(call, id),
        ("DELETE", ["ingest", id]) => ingest::delete(call, id),
        ("PUT", ["ingest", id, "batches"]) => ingest::upload(call, id),
        ("GET", ["ingest", id, file]) if ingest_results::is_file(file) => ingest_results::file(call, id, file),
        (_, ["query" | "ingest"] | ["query" | "ingest", _]) => Err(not_allowed(method, "GET, POST, PATCH, DELETE")),
        (_, ["ingest", _, "batches"]) => Err(not_allowed(method, "PUT")),
        _ => Err(ApiError::not_found()),
    }
}

fn not_allowed(method: &Method, allowed: &str) -> ApiError {
    ApiError::new(405, "METHOD_NOT_ALLOWED", format!("HTTP Method '{method}' not allowed. Allowed are {allowed}"))
}
