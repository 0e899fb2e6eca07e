//! Bulk import: a CSV file into a job that was set up before (gainsight-api §6.1).
//!
//! Good rows load, bad rows go to a file of failed rows. Runs of one job wait for each other. The file is parsed outside
//! the store's lock and applied some thousand rows at a time, so that other calls come between.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::extract::Multipart;
use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use futures::StreamExt;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::bulk_file::Job;
use super::bulk_file::Outcome;
use super::bulk_file::load;
use super::catalog::Catalog;
use super::record::LookupFile;
use super::reply::INVALID_FIELD;
use super::reply::Reply;
use super::switches::Switches;
use super::tenant::Tenant;
use super::tenant::lock;

use crate::clock::random_id;
use crate::error::Result;

type Answer = std::result::Result<Reply, Reply>;

/// The longest request (§6.1: 80 MB).
const MOST_BYTES: u64 = 80_000_000;

/// What a bulk job does with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Every row is a new record.
    Insert,
    /// A row that matches nothing fails.
    Update,
    /// A row that matches nothing is a new record.
    Upsert,
}

/// A bulk job as an administrator sets it up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkJob {
    /// The job id that callers name.
    pub id: String,
    /// The object that it loads.
    pub object: String,
    /// What it does with a row.
    pub operation: Operation,
    /// The fields by which records are found.
    #[serde(default)]
    pub keys: Vec<String>,
    /// CSV column → field; a column that is not named here is the field of its name.
    #[serde(default)]
    pub mapping: BTreeMap<String, String>,
    /// Derived mappings, as in writes of the object API.
    #[serde(default)]
    pub lookups: HashMap<String, LookupFile>,
    /// What separates the cells.
    #[serde(default = "comma")]
    pub separator: char,
}

fn comma() -> char {
    ','
}

/// The jobs and their runs.
#[derive(Debug)]
pub(super) struct Imports {
    jobs: Vec<(Job, mpsc::UnboundedSender<Arc<Run>>)>,
    runs: Mutex<HashMap<String, Arc<Run>>>,
    /// The tenant is no more: a run that is on its way ends after its batch.
    stopping: AtomicBool,
}

/// The waiting runs of one job.
#[derive(Debug)]
pub(super) struct Queue {
    job: usize,
    runs: mpsc::UnboundedReceiver<Arc<Run>>,
}

/// One file on its way.
#[derive(Debug)]
struct Run {
    id: String,
    file: Mutex<Vec<u8>>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    /// Status polls that still say `IN_PROGRESS` after the end.
    polls_left: u32,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    Done,
}

impl Imports {
    /// Checks the jobs; each queue belongs to a [`work`] of its own.
    pub(super) fn new(catalog: &Catalog, jobs: &[BulkJob], switches: &Switches) -> Result<(Self, Vec<Queue>)> {
        let mut checked = Vec::new();
        let mut queues = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            let (sender, receiver) = mpsc::unbounded_channel();
            checked.push((Job::new(catalog, job, switches)?, sender));
            queues.push(Queue { job: number, runs: receiver });
        }
        Ok((Self { jobs: checked, runs: Mutex::default(), stopping: AtomicBool::new(false) }, queues))
    }
}

/// Ends the runs when it is dropped: a thread that loads cannot be aborted, it must be told.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) Arc<Tenant>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.imports.stopping.store(true, Ordering::Relaxed);
    }
}

/// Takes the runs of one job in the order in which they came.
pub(super) async fn work(tenant: Arc<Tenant>, mut queue: Queue) {
    while let Some(run) = queue.runs.recv().await {
        let tenant = Arc::clone(&tenant);
        let number = queue.job;
        let done = tokio::task::spawn_blocking(move || {
            lock(&run.progress).phase = Phase::Running;
            let file = std::mem::take(&mut *lock(&run.file));
            let switches = tenant.switches();
            let job = &tenant.imports.jobs[number].0;
            let outcome = load(&tenant, job, &switches, &file, |so_far| {
                let mut progress = lock(&run.progress);
                progress.outcome.total = so_far.total;
                progress.outcome.succeeded = so_far.succeeded;
                progress.outcome.failed = so_far.failed;
                !tenant.imports.stopping.load(Ordering::Relaxed)
            });
            let mut progress = lock(&run.progress);
            progress.outcome = outcome;
            progress.polls_left = switches.bulk_polls;
            progress.phase = Phase::Done;
        });
        if let Err(error) = done.await {
            tracing::warn!(%error, "A bulk import of the sandbox ended without a result.");
        }
    }
}

/// `POST /v1.0/admin/connector/job/bulkimport`.
pub(super) async fn start(State(tenant): State<Arc<Tenant>>, request: Request) -> Answer {
    if !is_administrator(&tenant, request.headers()) {
        return Err(Reply::unauthorized());
    }
    let length = request.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BYTES) {
        drain(request.into_body()).await;
        return Err(Reply::too_large());
    }
    let bad = |text: String| Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} ({text})."));
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(error.body_text()))?;
    let mut file = None;
    let mut job_id = None;
    let mut total = 0;
    while let Some(mut part) = form.next_field().await.map_err(|error| bad(error.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        let mut bytes = Vec::with_capacity(if name == "file" { length.unwrap_or(0) as usize } else { 0 });
        while let Some(chunk) = part.chunk().await.map_err(|error| bad(error.body_text()))? {
            total += chunk.len() as u64;
            if total > MOST_BYTES {
                return Err(Reply::too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        match name.as_str() {
            "file" => file = Some(bytes),
            "jobId" => job_id = String::from_utf8(bytes).ok(),
            _ => {}
        }
    }
    let file = file.ok_or_else(|| bad("file = null".to_owned()))?;
    let job_id = job_id.ok_or_else(|| bad("jobId = null".to_owned()))?;
    let (job, sender) = tenant
        .imports
        .jobs
        .iter()
        .find(|(job, _)| job.id == job_id.trim())
        .ok_or_else(|| bad(format!("jobId = {job_id}")))?;
    if !job.has_rows(&file) {
        return Err(Reply::bad("GS_7571", "No data found in the file"));
    }
    job.columns(&tenant.catalog, &tenant.switches(), &file).map_err(bad)?;
    let run = Arc::new(Run {
        id: random_id(),
        file: Mutex::new(file),
        progress: Mutex::new(Progress { phase: Phase::Waiting, polls_left: 0, outcome: Outcome::default() }),
    });
    lock(&tenant.imports.runs).insert(run.id.clone(), Arc::clone(&run));
    let reply = Reply::json(&json!({"statusId": run.id}));
    if sender.send(run).is_err() {
        return Err(Reply::fail(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "GU_1101",
            "Oops, something went wrong",
            b"null".to_vec(),
        ));
    }
    Ok(reply)
}

/// The connection's own headers name its user and the tenant.
fn is_administrator(tenant: &Tenant, headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value.as_bytes() == wanted.as_bytes());
    is("loginName", &tenant.logins.bulk_login) && is("appOrgId", &tenant.logins.bulk_org_id)
}

/// Reads a body that is refused to its end, so that the caller hears the answer and not a cut connection.
async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    let mut left = 4 * MOST_BYTES;
    while let Some(Ok(chunk)) = stream.next().await {
        left = left.saturating_sub(chunk.len() as u64);
        if left == 0 {
            return;
        }
    }
}

fn run_of(tenant: &Tenant, id: &str) -> std::result::Result<Arc<Run>, Reply> {
    let run = lock(&tenant.imports.runs).get(id).map(Arc::clone);
    run.ok_or_else(|| Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} (statusId = {id}).")))
}

/// `GET /v1.0/admin/connector/job/bulkimport/status/{statusId}`.
pub(super) async fn status(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Answer {
    let run = run_of(&tenant, &id)?;
    let mut progress = lock(&run.progress);
    let phase = match progress.phase {
        Phase::Waiting => "INIT",
        Phase::Running => "IN_PROGRESS",
        Phase::Done if progress.polls_left > 0 => {
            progress.polls_left -= 1;
            "IN_PROGRESS"
        }
        Phase::Done => "COMPLETED",
    };
    let outcome = &progress.outcome;
    let mut data = json!({
        "jobStatus": phase, "totalRecords": outcome.total, "successCount": outcome.succeeded,
        "failureCount": outcome.failed,
    });
    if let (true, Some(map)) = (phase == "COMPLETED" && outcome.failed > 0, data.as_object_mut()) {
        let path = format!("/v1.0/admin/connector/job/bulkimport/failed/{id}");
        map.insert("failedRecordsUrl".to_owned(), path.into());
    }
    Ok(Reply::json(&data))
}

/// `GET /v1.0/admin/connector/job/bulkimport/failed/{statusId}`, where the status says that the failed rows are.
pub(super) async fn failed_rows(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Answer {
    let run = run_of(&tenant, &id)?;
    let csv = lock(&run.progress).outcome.failed_rows.clone();
    Ok(Reply::csv(csv))
}
