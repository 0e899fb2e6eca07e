//! Verdicts become API calls.
//!
//! ```text
//!  verdicts ─▶ validate ─▶ route ─┬─ users      POST / PUT by Gsid, 50 a call
//!  (Arrow)     (metadata)         ├─ people     one record per person with its companies; one a call or 50 later
//!                                 ├─ object     POST / PUT by Gsid, 50 a call
//!                                 └─ bulk       CSV files into a job of the tenant
//!                                        │ at most `concurrency` in flight, all through the tenant's one limiter
//!                                        ▼
//!                         accepted · refused: taken apart · unknown: looked up          each chunk in the ledger
//! ```
//!
//! # Promises
//! * Only inserts and updates are sent, and of an update only what changed.
//! * Every row ends as inserted, updated or a [`Reject`] with its own reason, or the load ends in an error.
//! * One bad row costs its batch one or two more calls, not the batch; good rows load.
//! * An insert whose outcome is unknown is looked up by key before anything is sent again: no record twice.
//! * A chunk is noted in the ledger before it is sent and again when its answer is in.
//!
//! # Not here
//! Which rows to write is decided by `matching`; quota windows are kept by [`crate::connect::gainsight::Limiter`].

mod blame;
mod bodies;
mod bulk;
mod cells;
mod decided;
mod encode;
mod lookup;
mod people;
mod plan;
mod quotas;
mod reject;
#[cfg(test)]
mod samples;
mod sender;
mod validate;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::connection::GainsightConnection;
use crate::config::job::Job;
use crate::config::job::TargetObject;
use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::telemetry::Reporter;

use bulk::Filling;
use bulk::Full;
use decided::Act;
use decided::Decided;
use decided::Layout;
use decided::Row;
use encode::PersonKeys;
use people::Person;
use plan::REST_ROWS;
use sender::Sender;
use sender::Settled;

pub use bodies::{BodyFormat, bodies};
pub use plan::{BULK_BYTES, CallPlan, PlannedCalls, Route, Workload, plan_calls};
pub use quotas::{Cost, RouteCost, route_costs};
pub use reject::{Reject, Stage, code, remedy};
pub use validate::validate;

/// What a load works with.
#[derive(Debug)]
pub struct LoadContext<'a> {
    /// The tenant.
    pub client: &'a GainsightClient,
    /// Where chunks are noted.
    pub ledger: &'a Ledger,
    /// The run's id.
    pub run: &'a str,
    /// The job.
    pub job: &'a Job,
    /// What the tenant says about each object that is written.
    pub metadata: &'a BTreeMap<String, Arc<ObjectMetadata>>,
    /// Hears of progress: one [`Reporter::advance`] for each settled chunk; steps begin and end elsewhere.
    pub reporter: &'a dyn Reporter,
    /// The connection's settings.
    pub connection: &'a GainsightConnection,
}

/// What became of a job's rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Rows that became records.
    pub inserted: u64,
    /// Rows that changed records.
    pub updated: u64,
    /// Rows that differ in nothing.
    pub unchanged: u64,
    /// Rows that matching had rejected already.
    pub rejected_before: u64,
    /// Rows rejected here, by validation or by the tenant.
    pub rejects: Vec<Reject>,
}

impl Loaded {
    fn add(&mut self, settled: Settled) {
        self.inserted += settled.inserted;
        self.updated += settled.updated;
        self.rejects.extend(settled.rejects);
    }
}

/// Writes what the verdicts ask for. `known_rows` is the number of inserts and updates, where it is known: the route
/// depends on it. `first` is told what is rejected when all rows have been taken in and the tenant may still be at work;
/// the load's rejects begin with these.
///
/// Fails with [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the tenant or its quota stops it;
/// what was written stays written, and a run with fresh verdicts goes on from there.
pub async fn load(
    ctx: &LoadContext<'_>,
    mut decisions: SendableRecordBatchStream,
    known_rows: Option<u64>,
    first: Option<oneshot::Sender<Vec<Reject>>>,
) -> Result<Loaded> {
    let layout = Arc::new(Layout::new(&decisions.schema(), ctx.job, ctx.metadata)?);
    let mut loading = Loading::new(ctx, &layout);
    if let Some(rows) = known_rows {
        loading.choose(rows);
    }
    let outcome = async {
        while let Some(batch) = decisions.next().await {
            loading.take(&batch?, &layout).await?;
        }
        if let Some(first) = first {
            // Who does not listen any more does not want to know.
            let _unheard = first.send(loading.loaded.rejects.clone());
        }
        loading.finish().await
    }
    .await;
    match outcome {
        Ok(()) => Ok(loading.loaded),
        Err(error) => {
            loading.calm_down().await;
            Err(error)
        }
    }
}

/// Waits for asynchronous work that an earlier process of this run left behind, so that fresh verdicts see its result.
/// Gives the number of chunks that were open.
pub async fn await_open_chunks(client: &GainsightClient, ledger: &Ledger, run: &str) -> Result<usize> {
    let open = ledger.open_chunks(run)?;
    for chunk in &open {
        let outcome = match (&*chunk.route, &chunk.status_id) {
            ("bulk", Some(id)) => bulk::wait_for_import(client, id)
                .await
                .map(|status| (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))),
            ("people_async", Some(ids)) => await_people(client, ids).await,
            // Its request ended with its process; what arrived is found by reading the target.
            _ => Ok((0, 0)),
        };
        let (done, failed) = match outcome {
            Ok(counts) => counts,
            // A tenant that has forgotten it is not at work on it.
            Err(error) if error.kind() == ErrorKind::Config => (0, 0),
            Err(error) => return Err(error),
        };
        ledger.end_chunk(chunk.id, 0, done, failed)?;
    }
    Ok(open.len())
}

/// Waits for the people calls of one chunk. Gives how many persons were written and refused.
async fn await_people(client: &GainsightClient, ids: &str) -> Result<(u64, u64)> {
    let (mut done, mut failed) = (0, 0);
    for id in ids.split(people::IDS) {
        let status = people::wait_for_people(client, id, || Ok(())).await?;
        done += status.count;
        failed += status.errors.len() as u64;
    }
    Ok((done, failed))
}

/// The shortest wait between two questions how asynchronous work stands.
const SHORTEST: Duration = Duration::from_millis(2);

/// How long calls in flight may take to be answered after another one has failed.
const CALM: Duration = Duration::from_secs(10);

/// Most rows of one note in the ledger: a large load makes few notes, and loses little time with them.
const NOTE_ROWS: usize = 1_000;

/// How long to wait for the next question, after so long in all and the last `wait`. Where calls cost nothing, what is
/// done is known at most an eighth later than it could be; else each wait is twice the one before.
fn next_question(client: &GainsightClient, waited: Duration, wait: Duration, longest: Duration) -> Duration {
    match client.settings().limits.sync_per_minute {
        None => (waited / 8).clamp(SHORTEST, longest),
        Some(_) => (wait * 2).clamp(SHORTEST, longest),
    }
}

/// When asynchronous work is asked about first: at once where calls cost nothing.
fn first_question(client: &GainsightClient) -> Duration {
    match client.settings().limits.sync_per_minute {
        None => Duration::ZERO,
        Some(_) => client.first_wait(),
    }
}

/// Rows that one task sends.
enum Together {
    Rows(Act, Vec<Row>),
    Persons(Vec<Person>),
    File(Full),
}

/// A load on its way.
struct Loading<'a> {
    ctx: &'a LoadContext<'a>,
    sender: Arc<Sender>,
    /// Chosen from the number of rows, given or gathered.
    route: Option<Route>,
    /// Rows that one task takes: several calls where there are many.
    task_rows: usize,
    inserts: Vec<Row>,
    updates: Vec<Row>,
    persons: Vec<Person>,
    /// Rows of persons that have several.
    shared: HashMap<String, Person>,
    file: Option<Filling>,
    /// Rows gathered before the route is chosen.
    waiting: Vec<Row>,
    tasks: JoinSet<Result<Settled>>,
    loaded: Loaded,
}

impl<'a> Loading<'a> {
    fn new(ctx: &'a LoadContext<'a>, layout: &Layout) -> Self {
        let person_keys = PersonKeys::new(layout, &ctx.connection.person_key);
        let target = ctx.job.target.object.clone();
        let sender = Sender::new(ctx.client.clone(), ctx.ledger.clone(), ctx.run.to_owned(), target, person_keys);
        Self {
            ctx,
            sender: Arc::new(sender),
            route: None,
            task_rows: REST_ROWS,
            inserts: Vec::new(),
            updates: Vec::new(),
            persons: Vec::new(),
            shared: HashMap::new(),
            file: None,
            waiting: Vec::new(),
            tasks: JoinSet::new(),
            loaded: Loaded::default(),
        }
    }

    /// Settles the route for about so many rows.
    fn choose(&mut self, rows: u64) {
        let work = Workload { inserts: rows, ..Workload::default() };
        let route = plan_calls(self.ctx.job, self.ctx.connection, &work).route;
        if route == Route::BulkImport
            && let TargetObject::Object(object) = &self.ctx.job.target.object
            && let Some(bulk) = plan::bulk_job(self.ctx.job, self.ctx.connection, object)
        {
            self.file = Some(Filling::new(&bulk.id, plan::bulk_bytes(&self.ctx.connection.limits)));
        }
        tracing::info!(object = %self.ctx.job.target.object, rows, route = route.name(), "Loading about {rows} rows.");
        self.route = Some(route);
        // Every task of the first rounds shall find work; beyond that, few notes matter more.
        let share = usize::try_from(rows).unwrap_or(usize::MAX) / (4 * self.ctx.connection.limits.concurrency.max(1));
        self.task_rows = (share / REST_ROWS * REST_ROWS).clamp(REST_ROWS, NOTE_ROWS);
    }

    /// Takes a batch of verdicts in.
    async fn take(&mut self, batch: &RecordBatch, layout: &Arc<Layout>) -> Result<()> {
        let decided = Arc::new(Decided::new(batch, layout)?);
        let bad = validate::check(&decided, &self.ctx.job.target.object);
        let sharing = decided.sharing(batch)?;
        let mut next_bad = bad.iter().peekable();
        let mut next_apart = 0..;
        self.ctx.reporter.advance(bad.len() as u64);
        for at in 0..decided.rows() {
            let row = match &sharing {
                Some((several, apart)) if several.value(at) => Row::new(apart, next_apart.next().unwrap_or(0)),
                _ => Row::new(&decided, at),
            };
            if next_bad.next_if(|(row, _)| *row == at).is_some() {
                continue;
            }
            match decided.act(at) {
                Some(_) if self.route.is_none() => self.wait_for_route(row).await?,
                Some(_) => {
                    if let Some(full) = self.add(row) {
                        self.send(full).await?;
                    }
                }
                None if decided.verdict(at) == "unchanged" => self.loaded.unchanged += 1,
                None => self.loaded.rejected_before += 1,
            }
        }
        self.loaded.rejects.extend(bad.into_iter().map(|(_, reject)| reject));
        Ok(())
    }

    async fn wait_for_route(&mut self, row: Row) -> Result<()> {
        self.waiting.push(row);
        // More than any route's small case: the number does not matter any more.
        if self.waiting.len() > 20_000 {
            self.choose(u64::from(u32::MAX));
            self.add_waiting().await?;
        }
        Ok(())
    }

    async fn add_waiting(&mut self) -> Result<()> {
        for row in std::mem::take(&mut self.waiting) {
            if let Some(full) = self.add(row) {
                self.send(full).await?;
            }
        }
        Ok(())
    }

    /// Adds a row to those that go together; gives them back when they are enough. Nothing is waited for here, as nearly
    /// all rows are only added.
    fn add(&mut self, row: Row) -> Option<Together> {
        if self.ctx.job.target.object == TargetObject::People {
            if row.person_rows() > 1 {
                self.shared.entry(row.person_key().to_owned()).or_default().push(row);
                return None;
            }
            return self.add_person(vec![row]);
        }
        if let Some(file) = &mut self.file
            && bulk::can_carry(&row)
        {
            return file.push(row).map(Together::File);
        }
        let act = row.act();
        let gathered = match act {
            Act::Insert => &mut self.inserts,
            Act::Update => &mut self.updates,
        };
        gathered.push(row);
        (gathered.len() >= self.task_rows).then(|| Together::Rows(act, std::mem::take(gathered)))
    }

    fn add_person(&mut self, person: Person) -> Option<Together> {
        self.persons.push(person);
        let full = match self.route {
            Some(Route::PeopleAsync) => self.task_rows,
            // One by one: several in a task only to keep the notes few.
            _ => self.task_rows / 5,
        };
        (self.persons.len() >= full).then(|| Together::Persons(std::mem::take(&mut self.persons)))
    }

    /// Begins a task that sends what goes together.
    async fn send(&mut self, together: Together) -> Result<()> {
        let concurrency = self.ctx.connection.limits.concurrency;
        let most = if matches!(together, Together::File(_)) { concurrency.min(bulk::IN_FLIGHT) } else { concurrency };
        self.room(most).await?;
        let sender = Arc::clone(&self.sender);
        match together {
            Together::Rows(act, rows) => self.tasks.spawn(async move { sender.rest(act, rows).await }),
            Together::Persons(persons) if self.route == Some(Route::PeopleAsync) => {
                self.tasks.spawn(async move { sender.people(persons).await })
            }
            Together::Persons(persons) => self.tasks.spawn(async move { sender.persons(persons).await }),
            Together::File(full) => {
                tracing::info!(object = %self.ctx.job.target.object, rows = full.rows(), "Sending a bulk file.");
                self.tasks.spawn(sender.import(full))
            }
        };
        Ok(())
    }

    /// Waits until fewer than `most` tasks are in flight.
    async fn room(&mut self, most: usize) -> Result<()> {
        while let Some(done) = self.tasks.try_join_next() {
            self.settle(done)?;
        }
        while self.tasks.len() >= most.max(1) {
            let Some(done) = self.tasks.join_next().await else { break };
            self.settle(done)?;
        }
        Ok(())
    }

    fn settle(&mut self, done: Result<Result<Settled>, tokio::task::JoinError>) -> Result<()> {
        let settled = done.map_err(|e| Error::bug("a task of the load ended in a panic").source(e))??;
        self.ctx.reporter.advance(settled.rows());
        self.loaded.add(settled);
        Ok(())
    }

    /// After a failure: what is on its way gets a moment to be answered, so that as little as possible stays unknown.
    async fn calm_down(&mut self) {
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CALM, answered).await.is_err() {
            tracing::warn!("Some calls had no answer yet when the load stopped; the next run finds out what they did.");
        }
    }

    async fn finish(&mut self) -> Result<()> {
        if self.route.is_none() && !self.waiting.is_empty() {
            self.choose(self.waiting.len() as u64);
            self.add_waiting().await?;
        }
        for person in std::mem::take(&mut self.shared).into_values() {
            if let Some(full) = self.add_person(person) {
                self.send(full).await?;
            }
        }
        if !self.persons.is_empty() {
            let persons = std::mem::take(&mut self.persons);
            self.send(Together::Persons(persons)).await?;
        }
        for (act, rows) in
            [(Act::Insert, std::mem::take(&mut self.inserts)), (Act::Update, std::mem::take(&mut self.updates))]
        {
            if !rows.is_empty() {
                self.send(Together::Rows(act, rows)).await?;
            }
        }
        if let Some(full) = self.file.as_mut().and_then(Filling::take) {
            self.send(Together::File(full)).await?;
        }
        self.room(1).await
    }
}
