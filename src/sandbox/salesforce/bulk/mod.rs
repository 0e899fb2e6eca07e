//! Bulk API 2.0 query jobs: create, show, list, abort, delete.
//!
//! A job's result is fixed when it is created: the snapshot of that moment and the numbers of its rows. Later writes do not
//! change a page, and any page can be fetched again.
//!
//! Knowingly different: the texts with which the service refuses OFFSET, aggregates and subqueries are not documented.

mod results;

use std::sync::Arc;
use std::sync::OnceLock;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde_json::Value;
use serde_json::json;

pub(super) use results::result_pages;
pub(super) use results::results;

use super::error::ApiError;
use super::format;
use super::ids::Id;
use super::org::lock;
use super::rest::Answer;
use super::rest::Call;
use super::rest::bind;
use super::rows::Dialect;
use super::soql::Bound;
use super::soql::Query;
use super::soql::Selected;
use super::store::Store;

/// How long a job that has ended is kept.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Jobs on a page of the list.
const LISTED: usize = 1000;

/// One query job.
#[derive(Clone)]
pub(super) struct Job {
    id: String,
    operation: &'static str,
    object: String,
    created_by: Id,
    created: DateTime<Utc>,
    changed: DateTime<Utc>,
    version: u32,
    delimiter: &'static str,
    line_ending: &'static str,
    state: State,
    /// Polls that will still find it in progress.
    polls: u32,
    plan: Arc<Plan>,
    rows: Arc<OnceLock<Rows>>,
}

/// What a job reads.
struct Plan {
    store: Store,
    bound: Bound,
}

/// What a job found.
struct Rows {
    rows: Arc<[u32]>,
    millis: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    UploadComplete,
    InProgress,
    JobComplete,
    Aborted,
}

const DELIMITERS: [(&str, u8); 6] =
    [("COMMA", b','), ("TAB", b'\t'), ("SEMICOLON", b';'), ("PIPE", b'|'), ("CARET", b'^'), ("BACKQUOTE", b'`')];
const LINE_ENDS: [(&str, &[u8]); 2] = [("LF", b"\n"), ("CRLF", b"\r\n")];

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    operation: Option<String>,
    query: Option<String>,
    content_type: Option<String>,
    column_delimiter: Option<String>,
    line_ending: Option<String>,
}

/// `POST /jobs/query`.
pub(super) fn create(call: &Call) -> Answer {
    let invalid = |text: String| ApiError::new(400, "INVALIDJOB", text);
    let order: Order = serde_json::from_slice(&call.body)
        .map_err(|cause| ApiError::new(400, "JSON_PARSER_ERROR", cause.to_string()))?;
    let operation = match order.operation.as_deref() {
        Some("query") => "query",
        Some("queryAll") => "queryAll",
        other => return Err(invalid(format!("Invalid operation: {}", other.unwrap_or("null")))),
    };
    if order.content_type.as_deref().is_some_and(|kind| kind != "CSV") {
        return Err(invalid("Only the content type CSV is supported".to_owned()));
    }
    let delimiter = order.column_delimiter.as_deref().unwrap_or("COMMA");
    let delimiter = DELIMITERS.iter().find(|(name, _)| *name == delimiter);
    let (delimiter, _) = delimiter.ok_or_else(|| invalid("Invalid column delimiter".to_owned()))?;
    let line_ending = order.line_ending.as_deref().unwrap_or("LF");
    let line_ending = LINE_ENDS.iter().find(|(name, _)| *name == line_ending);
    let (line_ending, _) = line_ending.ok_or_else(|| invalid("Invalid line ending".to_owned()))?;
    let text = order.query.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| invalid("A query is required".to_owned()))?;
    let query = super::soql::parse(&text)?;
    refused(&query)?;
    let (store, _, bound) = bind(call, &text)?;
    refused_fields(&store, &bound)?;
    call.org.query_job()?;

    let now = call.org.clock.now();
    let object = store.schema.objects[bound.object].name.clone();
    let plan = Arc::new(Plan { store, bound });
    let rows = Arc::new(OnceLock::new());
    let mut jobs = lock(&call.org.jobs);
    jobs.all.retain(|_, job| !job.has_ended() || now - job.changed < KEPT);
    let job = Job {
        id: jobs.next_id(),
        operation,
        object,
        created_by: Id::new(*b"005", u64::from(call.session.user)),
        created: now,
        changed: now,
        version: call.version,
        delimiter,
        line_ending,
        state: State::UploadComplete,
        polls: call.org.options.polls_in_progress,
        plan: Arc::clone(&plan),
        rows: Arc::clone(&rows),
    };
    let shown = job.show(false);
    jobs.all.insert(job.id.clone(), job);
    drop(jobs);
    let clock = call.org.clock.clone();
    call.org.in_background(move || {
        let found: Arc<[u32]> = plan.bound.rows(&plan.store, operation == "queryAll").into();
        let millis = (clock.now() - now).num_milliseconds().max(1);
        rows.get_or_init(|| Rows { rows: found, millis });
    });
    Ok(axum::Json(shown).into_response())
}

/// What the Bulk API does not take although SOQL has it.
fn refused(query: &Query) -> Result<(), ApiError> {
    let no = |what: &str| Err(ApiError::new(400, "API_ERROR", format!("Implementation restriction: {what}")));
    for selected in &query.selected {
        match selected {
            Selected::Field(_) => {}
            Selected::Count(_) | Selected::Function(_) => {
                return no("Aggregate Relationships not supported in Bulk Query");
            }
            Selected::Fields(_) => return no("FIELDS() is not supported in Bulk Query"),
            Selected::Subquery(_) => return no("Nested Query is not supported in Bulk Query"),
            Selected::TypeOf(_) => return no("TYPEOF is not supported in Bulk Query"),
        }
    }
    if query.group_by.is_some() {
        return no("GROUP BY is not supported in Bulk Query");
    }
    if query.offset.is_some() {
        return no("OFFSET is not supported in Bulk Query");
    }
    Ok(())
}

fn refused_fields(store: &Store, bound: &Bound) -> Result<(), ApiError> {
    if bound.outputs.iter().any(|output| output.path.definition(&store.schema).is_compound()) {
        return Err(ApiError::new(400, "INVALID_FIELD", "Selecting compound data not supported in Bulk Query"));
    }
    Ok(())
}

impl Job {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::JobComplete | State::Aborted)
    }

    /// A look at the job moves it on: from its making to progress, from progress to its end when the work is done.
    fn look(&mut self, now: DateTime<Utc>) {
        if self.has_ended() {
            return;
        }
        let state = if self.polls > 0 || self.rows.get().is_none() { State::InProgress } else { State::JobComplete };
        self.polls = self.polls.saturating_sub(1);
        if self.state != state {
            self.state = state;
            self.changed = now;
        }
    }

    fn dialect(&self) -> Dialect {
        let byte = DELIMITERS.iter().find(|(name, _)| *name == self.delimiter).map_or(b',', |(_, byte)| *byte);
        let line_end: &[u8] =
            LINE_ENDS.iter().find(|(name, _)| *name == self.line_ending).map_or(b"\n", |(_, end)| *end);
        Dialect { delimiter: byte, line_end }
    }

    fn show(&self, detailed: bool) -> Value {
        let mut all = json!({
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdById": self.created_by.as_str(),
            "createdDate": format::rest_time(self.created),
            "systemModstamp": format::rest_time(self.changed),
            "state": format!("{:?}", self.state),
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": self.version as f64,
            "lineEnding": self.line_ending,
            "columnDelimiter": self.delimiter,
        });
        if detailed {
            all["jobType"] = json!("V2Query");
            all["retries"] = json!(0);
            all["isPkChunkingSupported"] = json!(true);
            let done = self.rows.get().filter(|_| self.state == State::JobComplete);
            all["numberRecordsProcessed"] = json!(done.map_or(0, |done| done.rows.len()));
            all["totalProcessingTime"] = json!(done.map_or(0, |done| done.millis));
        }
        all
    }
}

/// `GET /jobs/query/{id}`.
pub(super) fn show(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    let job = find(&mut jobs.all, id)?;
    job.look(call.org.clock.now());
    Ok(axum::Json(job.show(true)).into_response())
}

/// `GET /jobs/query`: newest first, a thousand at a time.
pub(super) fn list(call: &Call) -> Answer {
    let jobs = lock(&call.org.jobs);
    let from: usize = call.parameter("queryLocator").and_then(|text| text.parse().ok()).unwrap_or(0);
    let wanted = call.parameter("jobType").is_none_or(|kind| kind == "V2Query");
    let all: Vec<_> = jobs.all.values().rev().filter(|_| wanted).collect();
    let end = (from + LISTED).min(all.len());
    let records: Vec<_> = all.get(from..end).unwrap_or_default().iter().map(|job| job.show(false)).collect();
    let more = (end < all.len()).then(|| format!("{}/jobs/query?queryLocator={end}", call.base));
    Ok(axum::Json(json!({ "done": more.is_none(), "records": records, "nextRecordsUrl": more })).into_response())
}

/// `PATCH /jobs/query/{id}` with `{"state":"Aborted"}`.
pub(super) fn abort(call: &Call, id: &str) -> Answer {
    let order = call.json()?;
    if order.get("state").and_then(Value::as_str) != Some("Aborted") {
        return Err(ApiError::new(400, "INVALIDJOBSTATE", "The state of a query job can only be set to Aborted"));
    }
    let mut jobs = lock(&call.org.jobs);
    let job = find(&mut jobs.all, id)?;
    job.look(call.org.clock.now());
    if job.has_ended() {
        let text = format!("Job is in state {:?} and cannot be aborted", job.state);
        return Err(ApiError::new(400, "INVALIDJOBSTATE", text));
    }
    job.state = State::Aborted;
    job.changed = call.org.clock.now();
    Ok(axum::Json(job.show(false)).into_response())
}

/// `DELETE /jobs/query/{id}`.
pub(super) fn delete(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    let job = find(&mut jobs.all, id)?;
    job.look(call.org.clock.now());
    if !job.has_ended() {
        let text = format!("Job is in state {:?} and cannot be deleted", job.state);
        return Err(ApiError::new(400, "INVALIDJOBSTATE", text));
    }
    let id = job.id.clone();
    jobs.all.remove(&id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn find<'a>(jobs: &'a mut std::collections::BTreeMap<String, Job>, id: &str) -> Result<&'a mut Job, ApiError> {
    let id = Id::parse(id).ok_or_else(ApiError::not_found)?;
    jobs.get_mut(id.as_str()).ok_or_else(ApiError::not_found)
}
