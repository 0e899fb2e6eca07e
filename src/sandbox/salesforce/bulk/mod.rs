//! Bulk API 2.0: records out of the org, many at a time.
//!
//! ```text
//!  /services/data/vNN.0/jobs/query   query ──▶ results (pages of CSV)     jobs: ids, states, lists
//!                                      └─▶ refused: what no bulk query may be
//! ```
//!
//! # Promises
//! * States, members of answers, headers, codes and texts are the service's, as far as a document or a recording of a real
//!   org shows them.
//! * Work runs away from the connections; a poll finds a job in progress as often as the org was told.
//!
//! # Knowingly different
//! * The texts with which the service refuses OFFSET, aggregates and subqueries in a bulk query and a missing operation, and
//!   what it says about results that are not there yet, are not documented.
//! * A page of results holds a fixed number of rows when the client names none; the service decides by size.

mod jobs;
mod query;
mod refused;
mod results;
mod stream;

use axum::http::Method;

pub(super) use jobs::Jobs;

use super::error::ApiError;
use super::rest::Answer;
use super::rest::Call;

/// `/services/data/vNN.0/jobs/…`.
pub(super) fn route(call: &Call, method: &Method, rest: &[&str]) -> Answer {
    match (method.as_str(), rest) {
        ("GET", ["query"]) => jobs::list(call),
        ("POST", ["query"]) => query::create(call),
        ("GET", ["query", id]) => query::show(call, id),
        ("PATCH", ["query", id]) => query::abort(call, id),
        ("DELETE", ["query", id]) => query::delete(call, id),
        ("GET", ["query", id, "results"]) => results::results(call, id),
        ("GET", ["query", id, pages]) if pages.eq_ignore_ascii_case("resultPages") => results::result_pages(call, id),
        (_, ["query"] | ["query", _]) => Err(not_allowed(method, "GET, POST, PATCH, DELETE")),
        _ => Err(ApiError::not_found()),
    }
}

fn not_allowed(method: &Method, allowed: &str) -> ApiError {
    ApiError::new(405, "METHOD_NOT_ALLOWED", format!("HTTP Method '{method}' not allowed. Allowed are {allowed}"))
}
