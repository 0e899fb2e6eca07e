//! Batches of the first Bulk API: add, show, list, and the request that brought one.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use chrono::DateTime;
use chrono::Utc;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Language;
use super::Refusal;
use super::chunks;
use super::jobs::Job;
use super::jobs::JobState;
use super::jobs::Task;
use super::jobs::xml_time;
use super::records;
use super::xml;
use crate::sandbox::salesforce::bulk::ingest::Purpose;
use crate::sandbox::salesforce::bulk::jobs as common;
use crate::sandbox::salesforce::bulk::load::Progress;
use crate::sandbox::salesforce::bulk::query::Found;
use crate::sandbox::salesforce::bulk::query::Plan;
use crate::sandbox::salesforce::effects::Fate;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::rest::Call;

/// The most bytes of a batch.
const LARGEST: usize = 10_000_000;

/// States of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchState {
    Queued,
    InProgress,
    Completed,
    Failed,
    NotProcessed,
}

impl BatchState {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::NotProcessed => "NotProcessed",
        }
    }

    pub(super) fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// One batch.
pub(super) struct Batch {
    pub(super) id: Id,
    job: Id,
    pub(super) state: BatchState,
    created: DateTime<Utc>,
    changed: DateTime<Utc>,
    pub(super) request: Bytes,
    pub(super) work: Work,
    /// Polls that will still find it in progress.
    polls: u32,
}

/// What a batch does.
pub(super) enum Work {
    /// Nothing: why it failed.
    Failed(String),
    /// Nothing: other batches do it.
    Split,
    Query(Query),
    Load(Arc<Progress>),
}

/// A query, or one of its chunks.
pub(super) struct Query {
    pub(super) plan: Arc<Plan>,
    pub(super) found: Found,
    /// The chunk: numbers of records.
    pub(super) range: Option<Range<u32>>,
    /// The id of its result.
    pub(super) result: Id,
}

impl Query {
    /// The rows of its result: places in what the query found.
    pub(super) fn rows(&self) -> Option<(Arc<[u32]>, Range<usize>)> {
        let rows = Arc::clone(&self.found.get()?.rows);
        let places = match &self.range {
            None => 0..rows.len(),
            // Chunks exist for queries without an order only; those find rows by their numbers.
            Some(range) => rows.partition_point(|row| *row < range.start)..rows.partition_point(|row| *row < range.end),
        };
        Some((rows, places))
    }
}

/// `POST /job/{id}/batch`.
pub(super) fn add(call: &Call, job: &mut Job) -> Result<Response, Refusal> {
    if job.state != JobState::Open {
        return Err(Refusal::new("InvalidJobState", "Batches can only be added to an open Job"));
    }
    let kind = call.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with(job.content.media_type()) {
        let text = format!("The content type of the batch is {kind}, of its job {}", job.content.media_type());
        return Err(Refusal::new("InvalidBatch", text));
    }
    if call.body.len() > LARGEST {
        return Err(Refusal::new("ClientInputError", format!("Batch size exceeds {LARGEST} bytes")));
    }
    let fate = call.fate();
    match job.task.clone() {
        _ if fate.as_ref().is_some_and(|fate| fate.message().is_some()) => {
            count(call, 1)?;
            let message = fate.as_ref().and_then(Fate::message).unwrap_or_default();
            job.push(call, call.body.clone(), Work::Failed(message.to_owned()));
        }
        Task::Query { with_deleted } => query(call, job, with_deleted)?,
        Task::Load(purpose) => {
            count(call, 1)?;
            load(call, job, &purpose);
        }
    }
    if let (Some(fate), Some(batch)) = (&fate, job.batches.last_mut()) {
        batch.polls = fate.polls();
    }
    let first = job.batches.len().checked_sub(1).map(|last| first_added(job, last));
    let batch = first.and_then(|at| job.batches.get(at));
    batch
        .map(|batch| batch.answer(StatusCode::CREATED, job.language()))
        .ok_or_else(|| Refusal::new("InternalServerError", "The batch was lost"))
}

/// The batch that the client sent: in front of the chunks it became.
fn first_added(job: &Job, last: usize) -> usize {
    (0..=last)
        .rev()
        .find(|at| !matches!(&job.batches[*at].work, Work::Query(query) if query.range.is_some()))
        .unwrap_or(last)
}

fn count(call: &Call, batches: u64) -> Result<(), Refusal> {
    call.org.bulk_batches(batches).map_err(|refusal| Refusal::new("ExceededQuota", refusal.message))
}

fn query(call: &Call, job: &mut Job, with_deleted: bool) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(&call.body).into_owned();
    let plan = match Plan::new(call, text.trim()) {
        Ok(plan) => Arc::new(plan),
        Err(refusal) => {
            count(call, 1)?;
            let why = format!("InvalidBatch : Failed to process query: {}: {}", refusal.code, refusal.message);
            job.push(call, call.body.clone(), Work::Failed(why));
            return Ok(());
        }
    };
    let ranges = match job.chunking.as_ref().map(|chunking| chunks::split(chunking, &plan, &text)).transpose() {
        Ok(ranges) => ranges.flatten(),
        Err(why) => {
            count(call, 1)?;
            job.push(call, call.body.clone(), Work::Failed(why));
            return Ok(());
        }
    };
    count(call, 1 + ranges.as_ref().map_or(0, |ranges| ranges.len() as u64))?;
    let found = plan.start(&call.org, with_deleted);
    let one = |range: Option<Range<u32>>, request: Bytes, job: &mut Job| {
        let result = job.next_result();
        let (plan, found) = (Arc::clone(&plan), Arc::clone(&found));
        job.push(call, request, Work::Query(Query { plan, found, range, result }));
    };
    match ranges {
        None => one(None, call.body.clone(), job),
        Some(ranges) => {
            job.push(call, call.body.clone(), Work::Split);
            for range in ranges {
                let request = chunks::query_text(&plan, text.trim(), &range);
                one(Some(range), request.into_bytes().into(), job);
            }
        }
    }
    Ok(())
}

fn load(call: &Call, job: &mut Job, purpose: &Purpose) {
    let progress = Arc::new(Progress::default());
    let work = records::Work {
        caller: call.caller(),
        object: purpose.object,
        action: purpose.action,
        content: job.content,
        data: call.body.clone(),
    };
    let shared = Arc::clone(&progress);
    super::in_background(call, move |org| {
        if !shared.begin() {
            return;
        }
        let began = org.clock.now();
        let ended = work.run(org, &shared);
        shared.end((org.clock.now() - began).num_milliseconds().max(1), ended.err());
    });
    job.push(call, call.body.clone(), Work::Load(progress));
}

impl Job {
    fn push(&mut self, call: &Call, request: Bytes, work: Work) {
        let now = call.org.clock.now();
        let id = self.next_batch();
        let (polls, state) = (call.org.options.polls_in_progress, BatchState::Queued);
        let job = self.head.id;
        self.batches.push(Batch { id, job, state, created: now, changed: now, request, work, polls });
    }

    /// Ids of batches and results follow from the id of their job: jobs are made one after the other.
    fn next_batch(&self) -> Id {
        Id::new(*b"751", self.sequence())
    }

    fn next_result(&self) -> Id {
        Id::new(*b"752", self.sequence())
    }

    fn sequence(&self) -> u64 {
        (self.head.id.number().unwrap_or(0) << 16) + self.batches.len() as u64
    }

    /// The batch that a path names.
    pub(super) fn batch(&self, id: &str) -> Result<&Batch, Refusal> {
        let known = Id::parse(id).and_then(|id| self.batches.iter().find(|batch| batch.id == id));
        known.ok_or_else(|| Refusal::new("InvalidBatch", format!("Invalid batch id: {id}")))
    }
}

/// `GET /job/{id}/batch`.
pub(super) fn list(call: &Call, job: &mut Job) -> Response {
    job.look(call.org.clock.now(), true);
    let language = job.language();
    let body = match language {
        Language::Json => {
            let all: Vec<_> = job.batches.iter().map(Batch::json).collect();
            json!({ "batchInfo": all }).to_string().into_bytes()
        }
        Language::Xml => {
            let mut out = xml::Writer::new("batchInfoList");
            for batch in &job.batches {
                out.open("batchInfo");
                batch.xml(&mut out);
                out.close();
            }
            out.finish()
        }
    };
    super::reply(StatusCode::OK, language, body)
}

/// `GET /job/{id}/batch/{id}`.
pub(super) fn show(call: &Call, job: &mut Job, id: &str) -> Result<Response, Refusal> {
    let wanted = job.batch(id)?.id;
    let now = call.org.clock.now();
    for batch in job.batches.iter_mut().filter(|batch| batch.id == wanted) {
        batch.look(now, true);
    }
    Ok(job.batch(id)?.answer(StatusCode::OK, job.language()))
}

/// `GET /job/{id}/batch/{id}/request`.
pub(super) fn request(job: &Job, id: &str) -> Result<Response, Refusal> {
    let batch = job.batch(id)?;
    let kind = format!("{};charset=UTF-8", job.content.media_type());
    Ok(([(CONTENT_TYPE, kind)], batch.request.clone()).into_response())
}

impl Batch {
    /// A look moves it on.
    pub(super) fn look(&mut self, now: DateTime<Utc>, poll: bool) {
        if self.state.has_ended() {
            return;
        }
        let ended = match &self.work {
            Work::Failed(_) => Some(BatchState::Failed),
            Work::Split => Some(BatchState::NotProcessed),
            Work::Query(query) => query.found.get().map(|_| BatchState::Completed),
            Work::Load(progress) => progress.ended().map(|(_, error)| match error {
                Some(_) => BatchState::Failed,
                None => BatchState::Completed,
            }),
        };
        let state = match ended {
            Some(state) if self.polls == 0 => state,
            _ if poll => BatchState::InProgress,
            _ => self.state,
        };
        self.polls = self.polls.saturating_sub(u32::from(poll));
        if state != self.state {
            self.state = state;
            self.changed = now;
        }
    }

    /// The job is aborted: what has not begun does not begin, and the rest goes on to its end.
    pub(super) fn abort(&mut self, now: DateTime<Utc>) {
        let prevented = match &self.work {
            Work::Load(progress) => progress.prevent(),
            _ => true,
        };
        if prevented && self.state == BatchState::Queued {
            self.state = BatchState::NotProcessed;
            self.changed = now;
        }
    }

    /// Rows processed, and those of them that were refused.
    pub(super) fn counts(&self) -> (u64, u64) {
        match &self.work {
            Work::Load(progress) => {
                let (processed, failed) = progress.counts();
                (processed as u64, failed as u64)
            }
            Work::Query(query) if self.state == BatchState::Completed => {
                (query.rows().map_or(0, |(_, places)| places.len() as u64), 0)
            }
            _ => (0, 0),
        }
    }

    /// How long it took.
    pub(super) fn millis(&self) -> u64 {
        let millis = match &self.work {
            Work::Load(progress) => progress.ended().map(|(millis, _)| millis),
            Work::Query(query) => query.found.get().map(|found| found.millis),
            Work::Failed(_) | Work::Split => None,
        };
        millis.filter(|_| self.state.has_ended()).and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0)
    }

    /// Why it failed.
    fn message(&self) -> Option<String> {
        match &self.work {
            _ if self.state != BatchState::Failed => None,
            Work::Failed(why) => Some(why.clone()),
            Work::Load(progress) => progress.ended().and_then(|(_, error)| error),
            Work::Query(_) | Work::Split => None,
        }
    }

    fn numbers(&self) -> [(&'static str, u64); 5] {
        let (processed, failed) = self.counts();
        [
            ("numberRecordsProcessed", processed),
            ("numberRecordsFailed", failed),
            ("totalProcessingTime", self.millis()),
            ("apiActiveProcessingTime", self.millis()),
            ("apexProcessingTime", 0),
        ]
    }

    fn answer(&self, status: StatusCode, language: Language) -> Response {
        let body = match language {
            Language::Json => Value::Object(self.json()).to_string().into_bytes(),
            Language::Xml => {
                let mut out = xml::Writer::new("batchInfo");
                self.xml(&mut out);
                out.finish()
            }
        };
        super::reply(status, language, body)
    }

    fn json(&self) -> Map<String, Value> {
        let mut all = common::members([
            ("id", json!(self.id.as_str())),
            ("jobId", json!(self.job.as_str())),
            ("state", json!(self.state.name())),
            ("stateMessage", json!(self.message())),
            ("createdDate", json!(format::rest_time(self.created))),
            ("systemModstamp", json!(format::rest_time(self.changed))),
        ]);
        all.extend(self.numbers().map(|(name, number)| (name.to_owned(), json!(number))));
        all
    }

    fn xml(&self, out: &mut xml::Writer) {
        out.element("id", self.id.as_str());
        out.element("jobId", self.job.as_str());
        out.element("state", self.state.name());
        if let Some(message) = self.message() {
            out.element("stateMessage", &message);
        }
        out.element("createdDate", &xml_time(self.created));
        out.element("systemModstamp", &xml_time(self.changed));
        for (name, number) in self.numbers() {
            out.element(name, &number.to_string());
        }
    }
}
