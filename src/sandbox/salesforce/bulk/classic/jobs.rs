//! Jobs of the first Bulk API: create, close, abort, show.

use axum::http::StatusCode;
use axum::response::Response;
use chrono::DateTime;
use chrono::SecondsFormat;
use chrono::Utc;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Language;
use super::Refusal;
use super::batches::Batch;
use super::batches::BatchState;
use super::chunks;
use super::chunks::Chunking;
use super::xml;
use crate::sandbox::salesforce::bulk::ingest::Purpose;
use crate::sandbox::salesforce::bulk::jobs as common;
use crate::sandbox::salesforce::bulk::jobs::Head;
use crate::sandbox::salesforce::bulk::refused;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::rest::Call;

const OPERATIONS: [&str; 7] = ["insert", "update", "upsert", "delete", "hardDelete", "query", "queryAll"];

/// What batches of a job are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Csv,
    Json,
    Xml,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }

    /// The media type of its batches.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        }
    }
}

/// States of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum JobState {
    Open,
    Closed,
    Aborted,
}

impl JobState {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Closed => "Closed",
            Self::Aborted => "Aborted",
        }
    }
}

/// What a job is for.
#[derive(Debug, Clone)]
pub(super) enum Task {
    Query { with_deleted: bool },
    Load(Purpose),
}

/// One job.
pub(in super::super) struct Job {
    pub(in super::super) head: Head,
    pub(super) content: Content,
    pub(super) state: JobState,
    pub(super) task: Task,
    pub(super) chunking: Option<Chunking>,
    serial: bool,
    pub(super) batches: Vec<Batch>,
}

/// `POST /job`.
pub(super) fn create(call: &Call) -> Result<Response, Refusal> {
    let order = order(&call.body)?;
    let text = |name: &str| order.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let operation = text("operation").unwrap_or_default();
    let operation = OPERATIONS.iter().find(|known| **known == operation).copied();
    let operation = operation.ok_or_else(|| Refusal::new("InvalidJob", "Unable to parse Job"))?;
    let content = match text("contentType").unwrap_or("XML") {
        "CSV" => Content::Csv,
        "JSON" => Content::Json,
        "XML" => Content::Xml,
        other => return Err(Refusal::new("InvalidJob", format!("Unsupported content type: {other}"))),
    };
    // Clients send the mode by name or by its number.
    let serial = matches!(text("concurrencyMode"), Some("Serial" | "1"));
    let name = text("object").unwrap_or_default();
    let unknown = |_| Refusal::new("InvalidJob", format!("Unable to find object: {name}"));
    let object = call.object(name).map_err(unknown)?;
    let object = call.org.schema.objects[object].name.clone();
    refused::supported(&object).map_err(|refusal| Refusal::new("InvalidEntity", refusal.message))?;
    let task = if operation.starts_with("query") {
        Task::Query { with_deleted: operation == "queryAll" }
    } else {
        let purpose = Purpose::new(call, &object, operation, text("externalIdFieldName"));
        let worded = |text: String| Refusal::new("InvalidJob", text.trim_start_matches("InvalidJob : "));
        Task::Load(purpose.map_err(worded)?)
    };
    let chunking = match &task {
        Task::Query { .. } => chunks::asked(&call.headers)?,
        Task::Load(_) => None,
    };
    let mut jobs = lock(&call.org.jobs);
    jobs.forget_old(call.org.clock.now());
    let head = Head::new(call, jobs.next_id(), operation, object);
    let mut job = Job { head, content, state: JobState::Open, task, chunking, serial, batches: Vec::new() };
    let language = Language::asked(&call.headers);
    let shown = job.answer(call, StatusCode::CREATED, language);
    jobs.classics.insert(job.head.id, job);
    Ok(shown)
}

/// An order as its members' text, from JSON or XML: what it is shows in its first character.
fn order(body: &[u8]) -> Result<std::collections::BTreeMap<String, String>, Refusal> {
    let unreadable = || Refusal::new("InvalidJob", "Unable to parse Job");
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    if text.trim_start().starts_with('{') {
        let read: Map<String, Value> = serde_json::from_str(text).map_err(|_| unreadable())?;
        let plain = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        return Ok(read.into_iter().map(|(name, value)| (name, plain(value))).collect());
    }
    let root = xml::read(text).map_err(|cause| Refusal::new("InvalidXML", format!("Failed to parse XML: {cause}")))?;
    if root.name != "jobInfo" {
        return Err(unreadable());
    }
    Ok(root.children.into_iter().map(|child| (child.name, child.text.trim().to_owned())).collect())
}

/// `POST /job/{id}`: closes or aborts it.
pub(super) fn change(call: &Call, job: &mut Job) -> Result<Response, Refusal> {
    let order = order(&call.body)?;
    let now = call.org.clock.now();
    job.look(now, false);
    let wrong = |text: String| Err(Refusal::new("InvalidJobState", text));
    match (order.get("state").map(String::as_str), job.state) {
        (Some("Closed"), JobState::Open) => job.set(JobState::Closed, now),
        (Some("Closed"), state) => {
            return wrong(format!("Closing already {} Job not allowed", state.name().to_lowercase()));
        }
        (Some("Aborted"), JobState::Aborted) => return wrong("Aborting already Aborted Job not allowed".to_owned()),
        (Some("Aborted"), JobState::Closed) if job.batches.iter().all(|batch| batch.state.has_ended()) => {
            return wrong("Aborting already Completed Job not allowed".to_owned());
        }
        (Some("Aborted"), _) => {
            job.set(JobState::Aborted, now);
            for batch in &mut job.batches {
                batch.abort(now);
            }
        }
        (Some("Open"), JobState::Open) | (None, _) => {}
        (Some(other), _) => return wrong(format!("Invalid job state: {other}")),
    }
    Ok(shown(call, job, StatusCode::OK))
}

/// The answer about a job, in its own language.
pub(super) fn shown(call: &Call, job: &mut Job, status: StatusCode) -> Response {
    let language = job.language();
    job.answer(call, status, language)
}

impl Job {
    /// The language of answers about it.
    pub(super) fn language(&self) -> Language {
        if self.content == Content::Json { Language::Json } else { Language::Xml }
    }

    fn set(&mut self, state: JobState, now: DateTime<Utc>) {
        self.state = state;
        self.head.changed = now;
    }

    /// Moves its batches on; only a poll of a batch uses up its polls in progress.
    pub(super) fn look(&mut self, now: DateTime<Utc>, poll: bool) {
        for batch in &mut self.batches {
            batch.look(now, poll);
        }
    }

    /// Nothing will happen to it any more.
    pub(in super::super) fn has_ended(&self) -> bool {
        self.state != JobState::Open && self.batches.iter().all(|batch| batch.state.has_ended())
    }

    /// Whether its queries are split by ids.
    pub(in super::super) fn is_chunked(&self) -> bool {
        self.chunking.is_some()
    }

    /// Whether its batches run one after the other.
    pub(in super::super) fn is_serial(&self) -> bool {
        self.serial
    }

    /// How it stands in the lists of Bulk API 2.0.
    pub(in super::super) fn listed(&self) -> Map<String, Value> {
        common::members([
            ("id", json!(self.head.id.as_str())),
            ("operation", json!(self.head.operation)),
            ("object", json!(self.head.object)),
            ("createdById", json!(self.head.created_by.as_str())),
            ("createdDate", json!(format::rest_time(self.head.created))),
            ("systemModstamp", json!(format::rest_time(self.head.changed))),
            ("state", json!(self.state.name())),
            ("concurrencyMode", json!(self.mode())),
            ("contentType", json!(self.content.name())),
            ("apiVersion", json!(f64::from(self.head.version))),
            ("jobType", json!("Classic")),
        ])
    }

    fn mode(&self) -> &'static str {
        if self.serial { "Serial" } else { "Parallel" }
    }

    fn answer(&mut self, call: &Call, status: StatusCode, language: Language) -> Response {
        self.look(call.org.clock.now(), false);
        let body = match language {
            Language::Json => Value::Object(self.json()).to_string().into_bytes(),
            Language::Xml => self.xml(),
        };
        super::reply(status, language, body)
    }

    fn external_id(&self) -> Option<&str> {
        match &self.task {
            Task::Load(purpose) => purpose.external_id.as_deref(),
            Task::Query { .. } => None,
        }
    }

    /// Its batches and rows by number, in the order of the XML answer.
    fn numbers(&self) -> [(&'static str, u64); 11] {
        let count =
            |states: &[BatchState]| self.batches.iter().filter(|batch| states.contains(&batch.state)).count() as u64;
        let sum = |number: fn(&Batch) -> u64| self.batches.iter().map(number).sum();
        [
            ("numberBatchesQueued", count(&[BatchState::Queued])),
            ("numberBatchesInProgress", count(&[BatchState::InProgress])),
            ("numberBatchesCompleted", count(&[BatchState::Completed])),
            ("numberBatchesFailed", count(&[BatchState::Failed])),
            ("numberBatchesTotal", self.batches.len() as u64),
            ("numberRecordsProcessed", sum(|batch| batch.counts().0)),
            ("numberRetries", 0),
            ("numberRecordsFailed", sum(|batch| batch.counts().1)),
            ("totalProcessingTime", sum(Batch::millis)),
            ("apiActiveProcessingTime", sum(Batch::millis)),
            ("apexProcessingTime", 0),
        ]
    }

    fn json(&self) -> Map<String, Value> {
        let mut all = self.listed();
        all.remove("jobType");
        all.extend(self.numbers().map(|(name, number)| (name.to_owned(), json!(number))));
        all.insert("assignmentRuleId".to_owned(), Value::Null);
        all.insert("externalIdFieldName".to_owned(), json!(self.external_id()));
        all.insert("fastPathEnabled".to_owned(), json!(false));
        all
    }

    fn xml(&self) -> Vec<u8> {
        let mut out = xml::Writer::new("jobInfo");
        out.element("id", self.head.id.as_str());
        out.element("operation", self.head.operation);
        out.element("object", &self.head.object);
        out.element("createdById", self.head.created_by.as_str());
        out.element("createdDate", &xml_time(self.head.created));
        out.element("systemModstamp", &xml_time(self.head.changed));
        out.element("state", self.state.name());
        if let Some(name) = self.external_id() {
            out.element("externalIdFieldName", name);
        }
        out.element("concurrencyMode", self.mode());
        out.element("contentType", self.content.name());
        for (name, number) in self.numbers() {
            out.element(name, &number.to_string());
            if name == "numberRetries" {
                out.element("apiVersion", &format!("{}.0", self.head.version));
            }
        }
        out.finish()
    }
}

/// A time as XML answers show it.
pub(super) fn xml_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
