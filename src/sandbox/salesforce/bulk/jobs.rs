//! What all bulk jobs share: ids, owners, times and states; how they are found, listed and forgotten.

use std::collections::BTreeMap;

use axum::response::IntoResponse;
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::classic;
use super::ingest;
use super::query;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;

/// How long a job that has ended is kept.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Jobs on a page of the list.
const LISTED: usize = 1000;

/// All bulk jobs of the org, in the order of their making.
#[derive(Default)]
pub(crate) struct Jobs {
    pub(super) queries: BTreeMap<Id, query::Job>,
    pub(super) ingests: BTreeMap<Id, ingest::Job>,
    pub(super) classics: BTreeMap<Id, classic::Job>,
    made: u64,
}

impl Jobs {
    /// The id of a new job.
    pub(super) fn next_id(&mut self) -> Id {
        self.made += 1;
        Id::new(*b"750", self.made)
    }

    /// Drops the jobs that ended long ago, with their results.
    pub(super) fn forget_old(&mut self, now: DateTime<Utc>) {
        let fresh = |ended: bool, head: &Head| !ended || now - head.changed < KEPT;
        self.queries.retain(|_, job| fresh(job.state.has_ended(), &job.head));
        self.ingests.retain(|_, job| fresh(job.state.has_ended(), &job.head));
        self.classics.retain(|_, job| fresh(job.has_ended(), &job.head));
    }
}

/// The job that a path names.
pub(super) fn find<'a, J>(jobs: &'a mut BTreeMap<Id, J>, id: &str) -> Result<&'a mut J, ApiError> {
    let id = Id::parse(id).ok_or_else(ApiError::not_found)?;
    jobs.get_mut(&id).ok_or_else(ApiError::not_found)
}

/// What every job says about itself.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: Id,
    pub(super) operation: &'static str,
    pub(super) object: String,
    pub(super) created_by: Id,
    pub(super) created: DateTime<Utc>,
    /// When its state last changed.
    pub(super) changed: DateTime<Utc>,
    pub(super) version: u32,
}

impl Head {
    /// The head of a job that the caller makes now.
    pub(super) fn new(call: &Call, id: Id, operation: &'static str, object: String) -> Self {
        let now = call.org.clock.now();
        let created_by = Id::new(*b"005", u64::from(call.session.user));
        Self { id, operation, object, created_by, created: now, changed: now, version: call.version }
    }

    /// The members that stand in every answer about a job of Bulk API 2.0.
    pub(super) fn show(&self, state: State) -> Map<String, Value> {
        members([
            ("id", json!(self.id.as_str())),
            ("operation", json!(self.operation)),
            ("object", json!(self.object)),
            ("createdById", json!(self.created_by.as_str())),
            ("createdDate", json!(format::rest_time(self.created))),
            ("systemModstamp", json!(format::rest_time(self.changed))),
            ("state", json!(state.name())),
            ("concurrencyMode", json!("Parallel")),
            ("contentType", json!("CSV")),
            ("apiVersion", json!(f64::from(self.version))),
        ])
    }
}

/// Members of a JSON object.
pub(super) fn members<const N: usize>(all: [(&str, Value); N]) -> Map<String, Value> {
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// States of a job of Bulk API 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for data; ingest only.
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Aborted,
    Failed,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Aborted => "Aborted",
            Self::Failed => "Failed",
        }
    }

    pub(super) fn has_ended(self) -> bool {
        matches!(self, Self::JobComplete | Self::Aborted | Self::Failed)
    }
}

/// How a job wants its CSV: names and what they stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Csv {
    pub(super) delimiter: &'static (&'static str, u8),
    pub(super) line_ending: &'static (&'static str, &'static [u8]),
}

const DELIMITERS: [(&str, u8); 6] =
    [("COMMA", b','), ("TAB", b'\t'), ("SEMICOLON", b';'), ("PIPE", b'|'), ("CARET", b'^'), ("BACKQUOTE", b'`')];
const LINE_ENDS: [(&str, &[u8]); 2] = [("LF", b"\n"), ("CRLF", b"\r\n")];

impl Csv {
    /// Reads `contentType`, `columnDelimiter` and `lineEnding` of an order.
    pub(super) fn read(order: &Map<String, Value>) -> Result<Self, ApiError> {
        choice(order, "contentType", "CSV", &["CSV"])?;
        let delimiter = choice(order, "columnDelimiter", "COMMA", &DELIMITERS.map(|(name, _)| name))?;
        let line_ending = choice(order, "lineEnding", "LF", &LINE_ENDS.map(|(name, _)| name))?;
        let delimiter = DELIMITERS.iter().find(|(name, _)| *name == delimiter).unwrap_or(&DELIMITERS[0]);
        let line_ending = LINE_ENDS.iter().find(|(name, _)| *name == line_ending).unwrap_or(&LINE_ENDS[0]);
        Ok(Self { delimiter, line_ending })
    }

    /// Adds both names to an answer.
    pub(super) fn show(self, all: &mut Map<String, Value>) {
        all.insert("columnDelimiter".to_owned(), json!(self.delimiter.0));
        all.insert("lineEnding".to_owned(), json!(self.line_ending.0));
    }
}

/// A property of an order that takes one of some values.
pub(super) fn choice(
    order: &Map<String, Value>,
    property: &str,
    default: &'static str,
    allowed: &[&'static str],
) -> Result<&'static str, ApiError> {
    let given = match order.get(property) {
        None | Some(Value::Null) => return Ok(default),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    allowed.iter().find(|known| **known == given).copied().ok_or_else(|| {
        ApiError::new(400, "API_ERROR", format!("Invalid value: '{given}' supplied for property: '{property}'"))
    })
}

/// Which of the two lists is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Query,
    Ingest,
}

/// `GET /jobs/query` and `GET /jobs/ingest`: a thousand at a time.
pub(super) fn list(call: &Call, which: List) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let own = if which == List::Query { "V2Query" } else { "V2Ingest" };
    // Without a filter a list shows its own kind and the jobs of the first Bulk API.
    let wanted = |kind: &str| match call.parameter("jobType") {
        Some(asked) => asked == kind,
        None => kind == own || kind == "Classic",
    };
    let chunked = call.parameter("isPkChunkingEnabled").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let serial = call.parameter("concurrencyMode").map(|mode| mode.eq_ignore_ascii_case("serial"));
    let mut shown: Vec<(Id, Map<String, Value>)> = Vec::new();
    // Only jobs of the first Bulk API are chunked at the client's wish, and only they can be serial.
    if !chunked && serial != Some(true) && wanted("V2Query") {
        shown.extend(jobs.queries.values().map(|job| (job.head.id, job.listed())));
    }
    if !chunked && serial != Some(true) && wanted("V2Ingest") {
        shown.extend(jobs.ingests.values().map(|job| (job.head.id, job.listed())));
    }
    if wanted("Classic") {
        let all = jobs.classics.values().filter(|job| job.is_chunked() || !chunked);
        let all = all.filter(|job| serial.is_none_or(|serial| job.is_serial() == serial));
        shown.extend(all.map(|job| (job.head.id, job.listed())));
    }
    drop(jobs);
    shown.sort_by_key(|(id, _)| *id);
    let from = match call.parameter("queryLocator") {
        None => 0,
        Some(text) => text
            .rsplit_once('-')
            .and_then(|(id, from)| Id::parse(id).and(from.parse().ok()))
            .ok_or_else(|| ApiError::new(400, "INVALID_QUERY_LOCATOR", "invalid query locator"))?,
    };
    let total = shown.len();
    let end = (from + LISTED).min(total);
    let records: Vec<_> = shown.into_iter().skip(from).take(LISTED).map(|(_, job)| Value::Object(job)).collect();
    let resource = if which == List::Query { "query" } else { "ingest" };
    let next =
        (end < total).then(|| format!("{}/jobs/{resource}?queryLocator={}-{end}", call.base, Id::new(*b"01g", 0)));
    Ok(axum::Json(json!({ "done": next.is_none(), "records": records, "nextRecordsUrl": next })).into_response())
}

/// An order that does not fit the state of its job.
pub(super) fn wrong_state(text: impl Into<String>) -> ApiError {
    ApiError::new(400, "INVALIDJOBSTATE", text)
}

/// Only a job that is still at work can be aborted.
pub(super) fn no_abort(state: State) -> ApiError {
    let state = if state == State::JobComplete { "Completed" } else { state.name() };
    wrong_state(format!("Aborting already {state} Job not allowed"))
}

/// A job that is still at work cannot be deleted.
pub(super) fn no_delete(state: State) -> ApiError {
    wrong_state(format!("Deleting Job in state {} not allowed", state.name()))
}
