//! Query jobs: create, show, abort, delete.
//!
//! A job's result is fixed when it is created: the snapshot of that moment and the numbers of its rows. Later writes do not
//! change a page, and any page can be fetched again.

use std::sync::Arc;
use std::sync::OnceLock;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::DateTime;
use chrono::Utc;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::jobs;
use super::jobs::Csv;
use super::jobs::Head;
use super::jobs::State;
use super::refused;
use crate::sandbox::salesforce::effects::Fate;
use crate::sandbox::salesforce::effects::Look;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;
use crate::sandbox::salesforce::rest::bind;
use crate::sandbox::salesforce::rows::Dialect;
use crate::sandbox::salesforce::soql;
use crate::sandbox::salesforce::soql::Bound;
use crate::sandbox::salesforce::store::Store;

/// Up to this API version the columns stand in alphabetical order, whatever the query says.
const SORTED_UP_TO: u32 = 49;

/// One query job.
#[derive(Clone)]
pub(crate) struct Job {
    pub(super) head: Head,
    pub(super) csv: Csv,
    pub(super) state: State,
    /// Polls that will still find it in progress.
    polls: u32,
    /// What a fault has ordered for it.
    fate: Option<Fate>,
    error: Option<String>,
    pub(super) plan: Arc<Plan>,
    pub(super) found: Found,
}

/// What a query reads.
pub(super) struct Plan {
    pub(super) store: Store,
    pub(super) bound: Bound,
}

/// The rows of a query, there when its work is done.
pub(super) type Found = Arc<OnceLock<Rows>>;

/// What a query found.
pub(super) struct Rows {
    pub(super) rows: Arc<[u32]>,
    pub(super) millis: i64,
}

impl Plan {
    /// Reads a query, refuses what bulk queries cannot have, and takes the snapshot that it will read.
    pub(super) fn new(call: &Call, text: &str) -> Result<Self, ApiError> {
        refused::clauses(&soql::parse(text)?)?;
        let (store, _, bound) = bind(call, text)?;
        refused::supported(&store.schema.objects[bound.object].name)?;
        refused::fields(&store, &bound)?;
        Ok(Self { store, bound })
    }

    /// The object that is read.
    pub(super) fn object(&self) -> &str {
        &self.store.schema.objects[self.bound.object].name
    }

    /// Finds the rows away from the connections.
    pub(super) fn start(self: &Arc<Self>, org: &Arc<Org>, with_deleted: bool) -> Found {
        let found = Found::default();
        let (plan, result, clock) = (Arc::clone(self), Arc::clone(&found), org.clock.clone());
        let began = clock.now();
        org.in_background(move || {
            let rows: Arc<[u32]> = plan.bound.rows(&plan.store, with_deleted).into();
            let millis = (clock.now() - began).num_milliseconds().max(1);
            result.get_or_init(|| Rows { rows, millis });
        });
        found
    }
}

/// `POST /jobs/query`.
pub(super) fn create(call: &Call) -> Answer {
    let order = call.json()?;
    let operation = jobs::choice(&order, "operation", "", &["query", "queryAll"])?;
    let missing = |what: &str| ApiError::new(400, "INVALIDJOB", format!("InvalidJob : {what} is required"));
    if operation.is_empty() {
        return Err(missing("operation"));
    }
    let csv = Csv::read(&order)?;
    let text = order.get("query").and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let mut plan = Plan::new(call, text.ok_or_else(|| missing("query"))?)?;
    if call.version <= SORTED_UP_TO {
        plan.bound.outputs.sort_by(|one, next| one.name.cmp(&next.name));
    }
    call.org.query_job()?;
    let plan = Arc::new(plan);
    let found = plan.start(&call.org, operation == "queryAll");
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let head = Head::new(call, jobs.next_id(), operation, plan.object().to_owned());
    let polls = call.org.options.polls_in_progress;
    let (state, fate) = (State::UploadComplete, call.fate());
    let job = Job { head, csv, state, polls, fate, error: None, plan, found };
    let shown = job.brief();
    jobs.queries.insert(job.head.id, job);
    Ok(axum::Json(shown).into_response())
}

impl Job {
    /// A look at the job moves it on: from its making to progress, from progress to its end when the work is done.
    pub(super) fn look(&mut self, now: DateTime<Utc>) {
        if self.state.has_ended() {
            return;
        }
        let state = match self.fate.as_mut().map_or(Look::Free, Fate::look) {
            Look::Failed(message) => {
                self.error = Some(message);
                State::Failed
            }
            Look::Free if self.polls == 0 && self.found.get().is_some() => State::JobComplete,
            Look::Free | Look::InProgress => State::InProgress,
        };
        self.polls = self.polls.saturating_sub(1);
        self.set(state, now);
    }

    fn set(&mut self, state: State, now: DateTime<Utc>) {
        if self.state != state {
            self.state = state;
            self.head.changed = now;
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        Dialect { delimiter: self.csv.delimiter.1, line_end: self.csv.line_ending.1 }
    }

    /// The answer to its making.
    fn brief(&self) -> Map<String, Value> {
        let mut all = self.head.show(self.state);
        self.csv.show(&mut all);
        all
    }

    /// How it stands in a list.
    pub(super) fn listed(&self) -> Map<String, Value> {
        let mut all = self.brief();
        all.insert("jobType".to_owned(), json!("V2Query"));
        all
    }

    /// The answer to a poll.
    fn full(&self) -> Map<String, Value> {
        let done = self.found.get().filter(|_| self.state == State::JobComplete);
        let mut all = self.listed();
        all.extend(jobs::members([
            ("isPkChunkingSupported", json!(refused::chunkable(self.plan.object()))),
            ("numberRecordsProcessed", json!(done.map_or(0, |done| done.rows.len()))),
            ("retries", json!(0)),
            ("totalProcessingTime", json!(done.map_or(0, |done| done.millis))),
        ]));
        if let Some(error) = &self.error {
            all.insert("errorMessage".to_owned(), json!(error));
        }
        all
    }
}

/// `GET /jobs/query/{id}`.
pub(super) fn show(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let job = jobs::find(&mut jobs.queries, id)?;
    job.look(call.org.clock.now());
    Ok(axum::Json(job.full()).into_response())
}

/// `PATCH /jobs/query/{id}` with `{"state":"Aborted"}`.
pub(super) fn abort(call: &Call, id: &str) -> Answer {
    let order = call.json()?;
    let state = jobs::choice(&order, "state", "", &["Aborted", "UploadComplete"])?;
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.queries, id)?;
    let now = call.org.clock.now();
    job.look(now);
    if state != "Aborted" {
        return Err(jobs::wrong_state("The state of a query job can only be set to Aborted"));
    }
    if job.state.has_ended() {
        return Err(jobs::no_abort(job.state));
    }
    job.set(State::Aborted, now);
    Ok(axum::Json(job.head.show(job.state)).into_response())
}

/// `DELETE /jobs/query/{id}`.
pub(super) fn delete(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.queries, id)?;
    job.look(call.org.clock.now());
    if !job.state.has_ended() {
        return Err(jobs::no_delete(job.state));
    }
    let id = job.head.id;
    jobs.queries.remove(&id);
    Ok(StatusCode::NO_CONTENT.into_response())
}
