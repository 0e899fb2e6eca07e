//! Ingest jobs: create, upload, close, abort, show, delete.
//!
//! ```text
//!  POST ─▶ Open ─PUT batches─▶ Open ─PATCH─▶ UploadComplete ─▶ InProgress ─▶ JobComplete | Failed
//!            └────────────────────── PATCH Aborted ──────────────────┘
//! ```
//!
//! A failed job has written nothing: the upload is read as a whole before its first row is written. Rows that are refused
//! do not fail their job.

use std::sync::Arc;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::Multipart;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use chrono::DateTime;
use chrono::Utc;
use futures::FutureExt;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::columns;
use super::csv::LineEnd;
use super::csv::Reader;
use super::csv::Record;
use super::jobs;
use super::jobs::Csv;
use super::jobs::Head;
use super::jobs::State;
use super::load;
use super::load::Action;
use super::load::Progress;
use super::refused;
use crate::sandbox::salesforce::effects::Fate;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Answer;
use crate::sandbox::salesforce::rest::Call;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::write;
use crate::sandbox::salesforce::write::Caller;
use crate::sandbox::salesforce::write::Given;

/// The largest upload: 150 MB after the service has turned it into Base64.
const LARGEST: usize = 150_000_000 / 4 * 3;
/// The most characters of data in a multipart request.
const LARGEST_PART: usize = 100_000;
/// Rows that the service counts as a batch.
const BATCH: usize = 10_000;

const OPERATIONS: [&str; 5] = ["insert", "update", "upsert", "delete", "hardDelete"];

/// One ingest job.
#[derive(Clone)]
pub(crate) struct Job {
    pub(super) head: Head,
    pub(super) csv: Csv,
    pub(super) state: State,
    target: Purpose,
    assignment_rule: Option<String>,
    /// What was uploaded.
    pub(super) data: Option<Bytes>,
    /// Polls that will still find it in progress.
    polls: u32,
    /// The failure that a fault has ordered for it.
    doom: Option<String>,
    pub(super) progress: Arc<Progress>,
}

/// What is written, and how.
#[derive(Debug, Clone)]
pub(super) struct Purpose {
    pub(super) object: ObjectIndex,
    pub(super) action: Action,
    /// As the client spelt it.
    pub(super) external_id: Option<String>,
}

impl Purpose {
    /// Checks object, operation and external id of an order; both Bulk APIs refuse them alike.
    ///
    /// # Errors
    /// The text of the refusal.
    pub(super) fn new(call: &Call, object: &str, operation: &str, external_id: Option<&str>) -> Result<Self, String> {
        let index = call.object(object).map_err(|_| format!("InvalidJob : Unable to find object: {object}"))?;
        let schema = &call.org.schema;
        let action = match operation {
            "insert" => Action::Insert,
            "update" => Action::Update,
            "delete" => Action::Delete,
            "hardDelete" => Action::HardDelete,
            _ => {
                let name = external_id.unwrap_or_default();
                let definition = &schema.objects[index];
                let key = definition.find(name).filter(|field| *field == 0 || write::is_key(schema, index, *field));
                Action::Upsert(key.ok_or_else(|| {
                    format!(
                        "InvalidJob : Field name provided, {name} does not match an External ID for {}",
                        definition.name
                    )
                })?)
            }
        };
        let external_id = external_id.filter(|_| matches!(action, Action::Upsert(_))).map(str::to_owned);
        Ok(Self { object: index, action, external_id })
    }
}

/// `POST /jobs/ingest`, with the data in a second part or without.
pub(super) fn create(call: &Call) -> Answer {
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (order, data) = if kind.to_ascii_lowercase().starts_with("multipart/") {
        // The body is in memory: nothing is waited for.
        let (order, data) = parts(call).now_or_never().unwrap_or_else(|| Err(no_parts()))?;
        (order, Some(data))
    } else {
        (call.json()?, None)
    };
    let text = |name: &str| order.get(name).and_then(Value::as_str);
    let operation = jobs::choice(&order, "operation", "", &OPERATIONS)?;
    let csv = Csv::read(&order)?;
    let invalid = |text: String| ApiError::new(400, "INVALIDJOB", text);
    if operation.is_empty() {
        return Err(invalid("InvalidJob : operation is required".to_owned()));
    }
    let target = Purpose::new(call, text("object").unwrap_or_default(), operation, text("externalIdFieldName"))
        .map_err(invalid)?;
    let object = call.org.schema.objects[target.object].name.clone();
    refused::supported(&object)?;
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let fate = call.fate();
    let mut job = Job {
        head: Head::new(call, jobs.next_id(), operation, object),
        csv,
        state: State::Open,
        target,
        assignment_rule: text("assignmentRuleId").map(str::to_owned),
        data: None,
        polls: fate.as_ref().map_or(call.org.options.polls_in_progress, Fate::polls),
        doom: fate.as_ref().and_then(Fate::message).map(str::to_owned),
        progress: Arc::default(),
    };
    if let Some(data) = data {
        job.data = Some(data);
        job.close(call);
    }
    let shown = job.brief();
    jobs.ingests.insert(job.head.id, job);
    Ok(axum::Json(shown).into_response())
}

/// The two parts of a request that brings its data along: `job` in JSON and `content` in CSV.
async fn parts(call: &Call) -> Result<(Map<String, Value>, Bytes), ApiError> {
    let wrong = |text: String| ApiError::new(400, "INVALIDMULTIPARTREQUEST", text);
    let mut request = Request::new(Body::from(call.body.clone()));
    *request.headers_mut() = call.headers.clone();
    let mut form = Multipart::from_request(request, &()).await.map_err(|cause| wrong(cause.body_text()))?;
    let (mut order, mut content) = (None, None);
    while let Some(part) = form.next_field().await.map_err(|cause| wrong(cause.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|cause| wrong(cause.body_text()))?;
        match name.as_str() {
            "job" => {
                let read = serde_json::from_slice(&bytes);
                order = Some(read.map_err(|cause| ApiError::new(400, "JSON_PARSER_ERROR", cause.to_string()))?);
            }
            "content" => content = Some(bytes),
            other => return Err(wrong(format!("Unexpected part: {other}"))),
        }
    }
    match (order, content) {
        (Some(order), Some(content)) if String::from_utf8_lossy(&content).chars().count() <= LARGEST_PART => {
            Ok((order, content))
        }
        (Some(_), Some(_)) => {
            Err(wrong(format!("The job data of a multipart request cannot be longer than {LARGEST_PART} characters")))
        }
        _ => Err(no_parts()),
    }
}

fn no_parts() -> ApiError {
    ApiError::new(400, "INVALIDMULTIPARTREQUEST", "A multipart request has the parts job and content")
}

/// `PUT /jobs/ingest/{id}/batches`.
pub(super) fn upload(call: &Call, id: &str) -> Answer {
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("text/csv") {
        return Err(ApiError::new(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            format!("Content-Type header {kind} is not text/csv"),
        ));
    }
    if call.body.len() > LARGEST {
        let text = format!("Maximum size of request reached. Maximum size of request is {LARGEST} bytes.");
        return Err(ApiError::new(413, "EXCEEDED_MAX_SIZE_REQUEST", text));
    }
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.ingests, id)?;
    if job.state != State::Open {
        return Err(jobs::wrong_state(format!("Uploading to Job in state {} not allowed", job.state.name())));
    }
    if job.data.is_some() {
        let text = format!(
            "Found multiple contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current Job then create a \
             new Job and make sure you only do 'PUT' once on a given Job.",
            &job.head.id.as_str()[..15]
        );
        return Err(ApiError::new(400, "BULK_API_ERROR", text));
    }
    job.data = Some(call.body.clone());
    Ok(StatusCode::CREATED.into_response())
}

/// `PATCH /jobs/ingest/{id}` with `UploadComplete` or `Aborted`.
pub(super) fn change(call: &Call, id: &str) -> Answer {
    let order = call.json()?;
    let state = jobs::choice(&order, "state", "", &["UploadComplete", "Aborted"])?;
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.ingests, id)?;
    let now = call.org.clock.now();
    job.look(now, false);
    match state {
        "UploadComplete" if job.state == State::Open => job.close(call),
        "UploadComplete" => {
            let state = if job.state == State::Aborted { "aborted" } else { "closed" };
            return Err(jobs::wrong_state(format!("Closing already {state} Job not allowed")));
        }
        "Aborted" if job.state.has_ended() => return Err(jobs::no_abort(job.state)),
        "Aborted" => {
            job.progress.stop();
            job.set(State::Aborted, now);
        }
        _ => return Err(ApiError::new(400, "API_ERROR", "The request must have the property state")),
    }
    let mut all = job.head.show(job.state);
    job.show_external_id(&mut all);
    Ok(axum::Json(all).into_response())
}

/// `GET /jobs/ingest/{id}`.
pub(super) fn show(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let job = jobs::find(&mut jobs.ingests, id)?;
    job.look(call.org.clock.now(), true);
    Ok(axum::Json(job.full()).into_response())
}

/// `DELETE /jobs/ingest/{id}`.
pub(super) fn delete(call: &Call, id: &str) -> Answer {
    let mut jobs = lock(&call.org.jobs);
    let job = jobs::find(&mut jobs.ingests, id)?;
    job.look(call.org.clock.now(), false);
    if !job.state.has_ended() && job.state != State::UploadComplete {
        return Err(jobs::no_delete(job.state));
    }
    job.progress.stop();
    let id = job.head.id;
    jobs.ingests.remove(&id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Job {
    /// Ends the upload and starts the work.
    fn close(&mut self, call: &Call) {
        self.set(State::UploadComplete, call.org.clock.now());
        if let Some(message) = self.doom.take() {
            return self.progress.end(1, Some(message));
        }
        let task = Task {
            caller: call.caller(),
            object: self.target.object,
            action: self.target.action,
            data: self.data.clone().unwrap_or_default(),
            delimiter: self.csv.delimiter.1,
            line_end: if self.csv.line_ending.0 == "LF" { LineEnd::Lf } else { LineEnd::CrLf },
        };
        let (org, progress) = (Arc::clone(&call.org), Arc::clone(&self.progress));
        call.org.in_background(move || {
            if !progress.begin() {
                return;
            }
            let began = org.clock.now();
            let ended = task.run(&org, &progress);
            progress.end((org.clock.now() - began).num_milliseconds().max(1), ended.err());
        });
    }

    /// A look at the job moves it on; only a poll uses up the polls in progress.
    pub(super) fn look(&mut self, now: DateTime<Utc>, poll: bool) {
        if self.state.has_ended() || self.state == State::Open {
            return;
        }
        let state = match self.progress.ended() {
            Some((_, error)) if self.polls == 0 => {
                if error.is_some() {
                    State::Failed
                } else {
                    State::JobComplete
                }
            }
            _ if poll => State::InProgress,
            _ => self.state,
        };
        self.polls = self.polls.saturating_sub(u32::from(poll));
        self.set(state, now);
    }

    fn set(&mut self, state: State, now: DateTime<Utc>) {
        if self.state != state {
            self.state = state;
            self.head.changed = now;
        }
    }

    fn show_external_id(&self, all: &mut Map<String, Value>) {
        if let Some(name) = &self.target.external_id {
            all.insert("externalIdFieldName".to_owned(), json!(name));
        }
        if let Some(rule) = &self.assignment_rule {
            all.insert("assignmentRuleId".to_owned(), json!(rule));
        }
    }

    /// The answer to its making.
    fn brief(&self) -> Map<String, Value> {
        let mut all = self.head.show(self.state);
        self.show_external_id(&mut all);
        self.csv.show(&mut all);
        if self.state == State::Open {
            let version = self.head.version;
            let url = format!("services/data/v{version}.0/jobs/ingest/{}/batches", self.head.id);
            all.insert("contentUrl".to_owned(), json!(url));
        }
        all
    }

    /// How it stands in a list.
    pub(super) fn listed(&self) -> Map<String, Value> {
        let mut all = self.brief();
        all.insert("jobType".to_owned(), json!("V2Ingest"));
        all
    }

    /// The answer to a poll.
    fn full(&self) -> Map<String, Value> {
        let mut all = self.listed();
        let ended = self.progress.ended().filter(|_| self.state.has_ended());
        let (millis, error) = ended.unwrap_or_default();
        all.extend(jobs::members([
            ("apexProcessingTime", json!(0)),
            ("apiActiveProcessingTime", json!(millis)),
            ("retries", json!(0)),
            ("totalProcessingTime", json!(millis)),
        ]));
        // Before the upload the service counts nothing.
        if self.data.is_some() {
            let (processed, failed) = self.progress.counts();
            all.insert("numberRecordsFailed".to_owned(), json!(failed));
            all.insert("numberRecordsProcessed".to_owned(), json!(processed));
        }
        if let Some(error) = error.filter(|_| self.state == State::Failed) {
            all.insert("errorMessage".to_owned(), json!(error));
        }
        all
    }
}

/// The work of a closed job.
struct Task {
    caller: Caller,
    object: ObjectIndex,
    action: Action,
    data: Bytes,
    delimiter: u8,
    line_end: LineEnd,
}

impl Task {
    /// Reads everything, then writes row by row.
    fn run(&self, org: &Org, progress: &Progress) -> Result<(), String> {
        let text = std::str::from_utf8(&self.data)
            .map_err(|_| "ClientInputError : The data is not encoded in UTF-8".to_owned())?;
        let mut reader = Reader::new(text, self.delimiter, self.line_end);
        let mut header = Record::default();
        if !reader.header(&mut header)? {
            return Err("InvalidBatch : Records not found".to_owned());
        }
        let mut ahead = reader.clone();
        let mut record = Record::default();
        let mut rows = 0usize;
        while ahead.next(&mut record)? {
            rows += 1;
        }
        let schema = Arc::clone(&org.schema);
        let names = (0..header.len()).map(|at| header.get(at));
        let targets = columns::targets(&schema, &self.caller, self.object, self.action, names)?;
        org.bulk_batches(rows.div_ceil(BATCH).max(1) as u64)
            .map_err(|refusal| format!("ExceededQuota : {}", refusal.message))?;
        let mut records: Vec<Record> = std::iter::repeat_with(Record::default).take(load::CHUNK).collect();
        while !progress.is_stopped() {
            let mut filled = 0;
            while filled < records.len() && reader.next(&mut records[filled])? {
                filled += 1;
            }
            if filled == 0 {
                break;
            }
            let rows = records[..filled].iter().map(|record| {
                let values = targets.iter().enumerate().map(|(at, target)| (*target, Given::Text(record.get(at))));
                (u32::try_from(record.place.start).unwrap_or(u32::MAX), values.collect())
            });
            progress.add(load::write(org, &self.caller, self.object, self.action, rows));
        }
        Ok(())
    }
}
