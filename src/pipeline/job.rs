//! One job, from lease to outcome.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::TryStreamExt;

use crate::config::job::Job;
use crate::connect::gainsight::{ObjectMetadata, PAGE_ROWS};
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::ledger::{Counters, Lease, Outcome, Pending, RunStatus, Watermark};
use crate::load;
use crate::load::{LoadContext, Loaded, Reject, Stage};
use crate::telemetry::checkpoint;

use super::decide::{Candidates, Decision};
use super::mirror;
use super::mirror::Refresh;
use super::record::{VerdictLog, store_rejects};
use super::report::JobReport;
use super::rounds::Family;
use super::source::{LandedSource, land_source, store_failure};
use super::world::World;

/// How a job is run.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Read the whole object, whatever the watermark says.
    pub full: bool,
    /// Stop when the rows are landed; the job's next run loads them.
    pub land_only: bool,
}

/// Runs `job` now.
pub async fn run_job(world: &World, job: &Job, options: &RunOptions) -> Result<JobReport> {
    let lease = world.ledger.acquire(&job.name)?;
    let work = async {
        let source = land_source(world, job, &lease, None, options).await?;
        if options.land_only {
            return stop_after_landing(world, job, &lease, source);
        }
        load_source(world, job, &lease, source).await
    };
    alive(world, std::slice::from_ref(&lease), work).await
}

/// Does `work` while giving signs of life; ends it when another process has taken a job over.
pub(super) async fn alive<T>(world: &World, leases: &[Lease], work: impl Future<Output = Result<T>>) -> Result<T> {
    let beat = async {
        loop {
            tokio::time::sleep(Lease::BEAT).await;
            for lease in leases {
                // A lease that nobody has was given back with its run's outcome.
                if let Err(error) = lease.heartbeat()
                    && error.kind() == ErrorKind::Conflict
                    && world.ledger.leases().is_ok_and(|held| held.iter().any(|other| other.job == lease.job()))
                {
                    return error;
                }
            }
        }
    };
    tokio::select! {
        done = work => done,
        error = beat => Err(error),
    }
}

/// Ends a run whose rows are landed before anything is loaded. The job's next run goes on from there.
pub(super) fn stop_after_landing(world: &World, job: &Job, lease: &Lease, source: LandedSource) -> Result<JobReport> {
    let counters = Counters {
        extracted: source.landed.rows - source.landed.deleted,
        deleted: source.landed.deleted,
        ..Counters::default()
    };
    let outcome = Outcome {
        status: RunStatus::Cancelled,
        counters,
        calls: source.calls.clone(),
        error: None,
        watermark: None,
        pending: None,
    };
    world.ledger.finish_run(lease, &source.run.id, &outcome)?;
    Ok(JobReport {
        run: source.run.id,
        job: job.name.clone(),
        status: outcome.status,
        counters,
        calls: source.calls,
        seconds: source.seconds,
        rejects: BTreeMap::new(),
        full: source.run.full,
        error: None,
    })
}

/// The second half of a job: mirrors, verdicts, load, outcome.
pub(super) async fn load_source(world: &World, job: &Job, lease: &Lease, source: LandedSource) -> Result<JobReport> {
    let run = source.run.id.clone();
    let (begun, before) = (Instant::now(), world.calls.read());
    let done = match decide_and_load(world, job, &source).await {
        Ok(done) => done,
        Err(error) => {
            store_failure(world, lease, &source.run, &error)?;
            return Err(error.context("job", job.name.clone()).context("run", run));
        }
    };
    let mut calls = source.calls.clone();
    calls.extend(world.calls.since(&before).into_iter().filter(|(class, _)| !class.is_salesforce()));
    let status = if done.counters.rejected > 0 { RunStatus::PartialSuccess } else { RunStatus::Success };
    let watermark =
        source.run.until.map(|until| Watermark { until, spec_hash: job.spec_hash(), source_hash: job.source_hash() });
    checkpoint("run.before_outcome");
    world.ledger.finish_run(
        lease,
        &run,
        &Outcome {
            status,
            counters: done.counters,
            calls: calls.clone(),
            error: None,
            watermark,
            pending: Some(done.pending),
        },
    )?;
    // Only now: a resumed run looks for the rows of its own extract, which compaction folds into the base.
    let table = super::source::table_of(job)?;
    if let Err(error) = world.lake.compact_if_worth(&world.engine.session(), &table, mirror::COMPACT_AT).await {
        world.reporter.warn(&format!("the lake table of {} was not compacted: {error}", job.name));
    }
    let mut rejects = BTreeMap::new();
    for reject in &done.rejects {
        *rejects.entry(reject.code.to_owned()).or_insert(0) += 1;
    }
    Ok(JobReport {
        run,
        job: job.name.clone(),
        status,
        counters: done.counters,
        calls,
        seconds: source.seconds + begun.elapsed().as_secs_f64(),
        rejects,
        full: source.run.full,
        error: None,
    })
}

/// What the second half leaves behind.
#[derive(Debug, Default)]
struct Done {
    counters: Counters,
    rejects: Vec<Reject>,
    pending: Vec<Pending>,
}

async fn decide_and_load(world: &World, job: &Job, source: &LandedSource) -> Result<Done> {
    // What a stopped process had left to the tenant is waited for, so that the mirrors show its rows.
    let client = world.gainsight(&job.gainsight).await?;
    load::await_open_chunks(&client, &world.ledger, &source.run.id).await?;
    let again = waiting_ids(world, job)?;
    let candidates = candidates_of(world, job, source, &again)?;
    if source.landed.rows == 0 && again.is_empty() && !matches!(candidates, Candidates::Everything) {
        // Nothing to decide: the tenant need not be asked what it holds.
        world.ledger.record_step(&source.run.id, "load", 0, &serde_json::json!({}))?;
        return Ok(Done::default());
    }
    let metadata = world.metadata(job).await?;
    let mirrors = mirror::refresh(world, job, &metadata, Refresh::Changes).await?;

    let decision = Decision::prepare(world, job, &source.snapshot, &mirrors, candidates).await?;
    let rows = decision.source_rows().await?;

    let log = VerdictLog::begin(world, &source.run.id, &job.name)?;
    let passing = Passing { log: Some(log), family: Some(Family::default()) };
    let sending = Sending { world, job, run: &source.run.id, metadata: &metadata };
    let (first, mut passing) = sending.send("load", rows, &decision, passing).await?;
    let family = passing.family.take().unwrap_or_default();
    let held = family.held();
    let rounds = family.rounds();
    let mut total = Sent::default();
    let hopeless = rounds.hopeless;
    let mut refer: HashSet<String> = HashSet::new();
    total.take(first, |id| !hopeless.contains(id), &mut refer);
    drop(decision);
    let mut mirrors = mirrors;
    for (number, ids) in rounds.rounds.iter().enumerate() {
        if number > 0 || rounds.first_has_parents {
            mirrors = mirror::refresh(world, job, &metadata, Refresh::OwnWrites).await?;
        }
        let decision = Decision::prepare(world, job, &source.snapshot, &mirrors, Candidates::Only(ids)).await?;
        let what = format!("load of those whose parents are there, {} of {}", number + 1, rounds.rounds.len());
        let sent;
        (sent, passing) = sending.send(&what, ids.len() as u64, &decision, passing).await?;
        total.take(sent, |id| rounds.refer.contains(id), &mut refer);
    }
    if let Some(log) = passing.log {
        log.commit(world).await?;
    }
    let live = source.landed.rows - source.landed.deleted;
    let mut done = Done {
        counters: Counters {
            extracted: live,
            retried: rows.saturating_sub(live),
            deleted: source.landed.deleted,
            inserted: total.inserted,
            updated: total.updated,
            unchanged: total.unchanged,
            rejected: total.rejects.len() as u64,
            references: 0,
        },
        rejects: total.rejects,
        pending: Vec::new(),
    };
    let mut still_waiting = total.waiting;
    let refused: HashSet<&str> = done.rejects.iter().map(|reject| reject.source_id.as_str()).collect();
    let refer: BTreeSet<String> = refer.into_iter().filter(|id| !refused.contains(id.as_str())).collect();
    if total.inserted + total.updated == 0 {
        // What was not there before is not there now.
        still_waiting.extend(refer);
    } else if !refer.is_empty() {
        let refer = StringArray::from_iter_values(refer);
        let (references, unresolved) = second_pass(&sending, source, &refer).await?;
        done.counters.references = references;
        still_waiting.extend(unresolved);
    }
    done.pending = still_waiting
        .into_iter()
        .map(|source_id| Pending { source_id, code: "LOOKUP_NO_MATCH".to_owned(), field: None })
        .collect();
    world.ledger.record_step(
        &source.run.id,
        "load",
        rows,
        &serde_json::json!({"held": held, "references": done.counters.references}),
    )?;
    Ok(done)
}

/// The rows that a run decides about, `again` among them.
pub(super) fn candidates_of<'a>(
    world: &World,
    job: &Job,
    source: &LandedSource,
    again: &'a StringArray,
) -> Result<Candidates<'a>> {
    // The same rows mapped otherwise: what is landed is compared again, without a new extract.
    let remapped = world.ledger.watermark(&job.name)?.is_some_and(|watermark| watermark.spec_hash != job.spec_hash());
    Ok(if remapped && !source.run.full {
        Candidates::Everything
    } else {
        Candidates::Extract { sequence: source.landed.sequence, again }
    })
}

/// Rows of earlier runs that wait for a parent.
pub(super) fn waiting_ids(world: &World, job: &Job) -> Result<StringArray> {
    let ids: BTreeSet<String> = world.ledger.pending(&job.name)?.into_iter().map(|pending| pending.source_id).collect();
    Ok(StringArray::from_iter_values(ids))
}

/// What passed by on the way to the load.
#[derive(Debug)]
struct Watched {
    /// Rows whose parent is missing: tried again by the next run.
    waiting: BTreeSet<String>,
    /// Rows whose self lookup may find a record of this run. They may be many, so they take little room each.
    self_references: StringArray,
    /// Rows that the verdicts reject.
    rejects: Vec<Reject>,
}

/// [`Watched`] while it grows.
#[derive(Debug, Default)]
struct Watching {
    waiting: BTreeSet<String>,
    self_references: StringBuilder,
    rejects: Vec<Reject>,
}

impl Watching {
    fn end(mut self) -> Watched {
        Watched { waiting: self.waiting, self_references: self.self_references.finish(), rejects: self.rejects }
    }
}

/// What the verdicts pass on their way to the load.
#[derive(Debug, Default)]
struct Passing {
    /// Keeps the verdicts.
    log: Option<VerdictLog>,
    /// Holds the rows that follow others.
    family: Option<Family>,
}

/// What became of all rows of a run so far.
#[derive(Debug, Default)]
struct Sent {
    inserted: u64,
    updated: u64,
    unchanged: u64,
    rejects: Vec<Reject>,
    waiting: BTreeSet<String>,
}

impl Sent {
    /// Adds what became of some. Of the rows without their reference, those that `may_come` go to `refer`.
    fn take(
        &mut self,
        (loaded, watched): (Loaded, Watched),
        may_come: impl Fn(&str) -> bool,
        refer: &mut HashSet<String>,
    ) {
        self.inserted += loaded.inserted;
        self.updated += loaded.updated;
        self.unchanged += loaded.unchanged;
        self.rejects.extend(watched.rejects);
        self.rejects.extend(loaded.rejects);
        self.waiting.extend(watched.waiting);
        for id in watched.self_references.iter().flatten() {
            if may_come(id) {
                refer.insert(id.to_owned());
            } else {
                self.waiting.insert(id.to_owned());
            }
        }
    }
}

/// Sends verdicts of one run to the tenant.
#[derive(Clone, Copy)]
struct Sending<'a> {
    world: &'a World,
    job: &'a Job,
    run: &'a str,
    metadata: &'a BTreeMap<String, Arc<ObjectMetadata>>,
}

impl Sending<'_> {
    /// Sends a plan's output, and stores its rejects with their input.
    async fn send(
        &self,
        step: &str,
        rows: u64,
        decision: &Decision,
        passing: Passing,
    ) -> Result<((Loaded, Watched), Passing)> {
        let Self { world, job, run, .. } = *self;
        world.reporter.begin(&job.name, step, Some(rows));
        let (loaded, watched, passing) = self.load(decision.stream().await?, passing).await?;
        let rejected = watched.rejects.len() + loaded.rejects.len();
        world.reporter.end(
            &job.name,
            step,
            &format!(
                "{} inserted, {} updated, {} unchanged, {rejected} rejected",
                loaded.inserted, loaded.updated, loaded.unchanged
            ),
        );
        store_rejects(world, run, &job.name, decision, watched.rejects.iter().chain(&loaded.rejects)).await?;
        Ok(((loaded, watched), passing))
    }

    /// Loads verdicts, keeping them and what has to be looked at again.
    async fn load(
        &self,
        decisions: SendableRecordBatchStream,
        mut passing: Passing,
    ) -> Result<(Loaded, Watched, Passing)> {
        let Self { world, job, run, metadata } = *self;
        let client = world.gainsight(&job.gainsight).await?;
        let connection = world.gainsight_connection(&job.gainsight)?;
        let reporter = &*world.reporter;
        let context = LoadContext { client: &client, ledger: &world.ledger, run, job, metadata, reporter, connection };
        let self_fields: Vec<String> = job
            .target
            .derives
            .iter()
            .filter(|derive| derive.lookup == derive.to.object)
            .map(|derive| derive.to.to_string())
            .collect();
        // The log and the lists are filled on the way; the channel keeps a slow tenant from filling the memory.
        let schema = decisions.schema();
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, 2);
        let sender = builder.tx();
        let (give_back, taken_back) = tokio::sync::oneshot::channel();
        builder.spawn(async move {
            let mut decisions = decisions;
            let mut watching = Watching::default();
            while let Some(batch) = decisions.try_next().await? {
                let batch = match &mut passing.family {
                    Some(family) => family.part(&batch)?,
                    None => batch,
                };
                watch(&batch, &self_fields, &mut watching)?;
                if let Some(log) = &mut passing.log {
                    log.write(&batch).await?;
                }
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
            drop(sender);
            // Nobody waits only when the load has failed, and then the failure is what matters.
            let _gone = give_back.send((watching.end(), passing));
            Ok(())
        });
        let loaded = load::load(&context, builder.build(), None).await?;
        let (watched, passing) =
            taken_back.await.map_err(|_| Error::bug("the verdicts ended before their stream did"))?;
        Ok((loaded, watched, passing))
    }
}

fn watch(batch: &RecordBatch, self_fields: &[String], watched: &mut Watching) -> Result<()> {
    watch_rejects(batch, &mut watched.rejects)?;
    let retry = flag(batch, "retry")?;
    let unresolved = text(batch, "unresolved")?;
    let ids = text(batch, "source_id")?;
    if retry.true_count() == 0 && unresolved.null_count() == unresolved.len() {
        return Ok(());
    }
    let (ids, unresolved) = (ids.as_string::<i32>(), unresolved.as_string::<i32>());
    for row in 0..batch.num_rows() {
        let fields = if unresolved.is_valid(row) { unresolved.value(row) } else { "" };
        let by_self = fields.split(',').any(|field| self_fields.iter().any(|own| own == field));
        if by_self {
            watched.self_references.append_value(ids.value(row));
        } else if retry.is_valid(row) && retry.value(row) {
            watched.waiting.insert(ids.value(row).to_owned());
        }
    }
    Ok(())
}

fn watch_rejects(batch: &RecordBatch, rejects: &mut Vec<Reject>) -> Result<()> {
    let codes = text(batch, "code")?;
    if codes.null_count() == codes.len() {
        return Ok(());
    }
    let columns = ["source_id", "field", "message", "candidates"].map(|name| text(batch, name));
    let [ids, fields, messages, candidates] = columns;
    let (ids, fields, messages, candidates) = (ids?, fields?, messages?, candidates?);
    let codes = codes.as_string::<i32>();
    let value = |column: &Arc<dyn Array>, row: usize| {
        let column = column.as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    for row in (0..batch.num_rows()).filter(|row| codes.is_valid(*row)) {
        let code = load::code::known(codes.value(row))
            .ok_or_else(|| Error::bug(format!("the verdict query gives an unknown code `{}`", codes.value(row))))?;
        rejects.push(Reject {
            source_id: value(&ids, row).unwrap_or_default(),
            stage: Stage::Match,
            field: value(&fields, row),
            code,
            message: value(&messages, row).unwrap_or_default(),
            candidates: value(&candidates, row),
            remedy: load::remedy(code).to_owned(),
        });
    }
    Ok(())
}

fn text(batch: &RecordBatch, name: &str) -> Result<Arc<dyn Array>> {
    let column =
        batch.column_by_name(name).ok_or_else(|| Error::bug(format!("the verdict query has no column `{name}`")))?;
    Ok(cast(column, &DataType::Utf8)?)
}

fn flag(batch: &RecordBatch, name: &str) -> Result<BooleanArray> {
    let column =
        batch.column_by_name(name).ok_or_else(|| Error::bug(format!("the verdict query has no column `{name}`")))?;
    Ok(column.as_boolean().clone())
}

/// References of rows created in this run: the mirrors are read again and only the rows concerned are decided again.
/// Gives the number of references set and the rows that still have none.
async fn second_pass(
    sending: &Sending<'_>,
    source: &LandedSource,
    ids: &StringArray,
) -> Result<(u64, BTreeSet<String>)> {
    let Sending { world, job, metadata, .. } = *sending;
    let mirrors = mirror::refresh(world, job, metadata, Refresh::OwnWrites).await?;
    let candidates = Candidates::Only(ids);
    let decision = Decision::prepare_second_pass(world, job, &source.snapshot, &mirrors, candidates).await?;
    world.reporter.begin(&job.name, "references", Some(ids.len() as u64));
    let (loaded, watched, _) = sending.load(decision.stream().await?, Passing::default()).await?;
    world.reporter.end(&job.name, "references", &format!("{} set", loaded.updated));
    // The rows themselves are written and counted; that a reference was refused is told all the same.
    store_rejects(world, sending.run, &job.name, &decision, loaded.rejects.iter()).await?;
    if loaded.updated > u64::from(PAGE_ROWS) {
        // Read back now, while the run that made them pays for it, and not in the next one. A few come with the page
        // that the next run asks for anyway.
        mirror::refresh(world, job, metadata, Refresh::OwnWrites).await?;
    }
    let mut unresolved = watched.waiting;
    unresolved.extend(watched.self_references.iter().flatten().map(str::to_owned));
    Ok((loaded.updated, unresolved))
}
