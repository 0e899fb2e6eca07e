//! One job, from lease to outcome.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use futures::stream::BoxStream;
use tokio::sync::oneshot;

use crate::config::job::Job;
use crate::connect::gainsight::{GainsightClient, ObjectMetadata};
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::ledger::{Counters, Lease, Outcome, PendingChange, Run, RunStatus, Watermark};
use crate::load;
use crate::load::{LoadContext, Loaded, Reject, Stage};
use crate::telemetry::checkpoint;

use super::arrivals::Arrivals;
use super::arrivals::Asked;
use super::decide::{Candidates, Decision};
use super::mirror;
use super::mirror::Refresh;
use super::record::{RejectLog, VerdictLog};
use super::report::JobReport;
use super::rounds::{Family, Rounds};
use super::source::{LandedSource, land_source, store_failure};
use super::waiting;
use super::waiting::{Listed, Waiting, Wants};
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
    let _ahead = world.look_ahead(&[job])?;
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
    pending: PendingChange,
}

async fn decide_and_load(world: &World, job: &Job, source: &LandedSource) -> Result<Done> {
    // What a stopped process had left to the tenant is waited for, so that the mirrors show its rows.
    let client = world.gainsight(&job.gainsight).await?;
    load::await_open_chunks(&client, &world.ledger, &source.run.id).await?;
    let everything = waiting::all_anew(world, job, source)?;
    let listing = waiting::list(world, job, source, everything);
    let refreshing = async {
        let metadata = world.metadata(job).await?;
        let mirrors = mirror::refresh(world, job, &metadata, Refresh::Changes).await?;
        Ok((metadata, mirrors))
    };
    let (pending, (metadata, mirrors)) = if source.landed.rows == 0 && !everything {
        let pending = listing.await?;
        if pending.as_ref().is_none_or(Listed::is_empty) {
            // Nothing to decide: the tenant need not be asked what it holds.
            world.ledger.record_step(&source.run.id, "load", 0, &serde_json::json!({}))?;
            return Ok(Done::default());
        }
        (pending, refreshing.await?)
    } else {
        futures::future::try_join(listing, refreshing).await?
    };
    let again = waiting::again(world, job, source, pending, &mirrors).await?;
    if source.landed.rows == 0 && !everything && again.ids.is_empty() {
        world.ledger.record_step(&source.run.id, "load", 0, &serde_json::json!({}))?;
        return Ok(Done { pending: again.after(Waiting::new()), ..Done::default() });
    }
    let candidates = candidates_of(source, everything, &again.ids);

    let decision = Decision::prepare(world, job, &source.snapshot, &mirrors, candidates).await?;
    let rows = decision.source_rows().await?;

    let log = VerdictLog::begin(world, &source.run)?;
    let family = Family::new(&decision.session.runtime_env());
    let ((tell, told), (tell_first, first)) = (oneshot::channel(), oneshot::channel());
    let passing = Passing { log: Some(log), family: Some(family), rejects: Some(tell), first: Some(tell_first) };
    let sending = Sending { world, job, run: &source.run, metadata: &metadata };
    let verdicts = decision.stream().await?;
    let schema = verdicts.schema();
    // What the verdicts and the first look at the cells reject is known when the last row has passed; it is written with its
    // input while the tenant works on. It counts when all is sent: a run that is interrupted before decides again.
    let rejecting = async {
        let mut rejected = RejectLog::begin(world, &source.run)?;
        let rejects: Vec<Reject> = told.await.unwrap_or_default();
        rejected.write(&decision, &rejects).await?;
        let first: Vec<Reject> = first.await.unwrap_or_default();
        rejected.write(&decision, &first).await?;
        rejected.pause();
        Ok((rejects, first.len(), rejected))
    };
    let writing = all_rounds(&sending, &client, &decision, (verdicts, rows), passing);
    let ((mut rejects, first, mut rejected), written) = futures::future::try_join(rejecting, writing).await?;
    let Written { mut total, mut refer, rounds, held, mut arrivals, sent, log } = written;
    rejected.write(&decision, total.rejects.get(first..).unwrap_or_default()).await?;
    rejects.append(&mut total.rejects);
    match log {
        Some(log) => futures::future::try_join(rejected.commit(), log.commit()).await.map(drop)?,
        None => rejected.commit().await?,
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
            rejected: rejects.len() as u64,
            references: 0,
        },
        rejects,
        pending: PendingChange::default(),
    };
    let mut still_waiting = total.waiting;
    let refused: HashSet<&str> = done.rejects.iter().map(|reject| reject.source_id.as_str()).collect();
    refer.retain(|id, _| !refused.contains(id.as_str()));
    if total.inserted + total.updated == 0 {
        // What was not there before is not there now.
        still_waiting.extend(refer);
    } else if !refer.is_empty() {
        // New rows are on the shelves; of others it is not known what else has changed, so they are decided again.
        let on_shelves = |id: &String| rounds.refer.contains(id) || rounds.follow.contains(id);
        let (new, others): (Waiting, Waiting) = refer.into_iter().partition(|(id, _)| on_shelves(id));
        if !new.is_empty() {
            let ids = Arc::new(new.into_keys().collect::<HashSet<_>>());
            let rows = rounds.of(Arc::clone(&ids));
            let (few, rows) = if_few(ids.len(), rows).await?;
            let asked = few.as_deref().map_or(Asked::All, Asked::ParentsAndOwn);
            arrivals.read(&client, &decision.session, &metadata, sent, asked).await?;
            done.counters.references +=
                references(&sending, &decision, &schema, arrivals, rows, &mut still_waiting).await?;
        }
        drop(decision);
        if !others.is_empty() {
            let others = StringArray::from_iter_values(others.into_keys());
            let (references, unresolved) = second_pass(&sending, source, &others).await?;
            done.counters.references += references;
            still_waiting.extend(unresolved);
        }
    }
    done.pending = again.after(still_waiting);
    world.ledger.record_step(
        &source.run.id,
        "load",
        rows,
        &serde_json::json!({"held": held, "references": done.counters.references}),
    )?;
    Ok(done)
}

/// What was written, and what is known of the rows that have no reference yet.
struct Written {
    total: Sent,
    /// Rows whose reference may be there by now.
    refer: Waiting,
    rounds: Rounds,
    /// Rows that waited for others.
    held: usize,
    arrivals: Arrivals,
    /// Rows sent last.
    sent: u64,
    log: Option<VerdictLog>,
}

/// Sends the verdicts, and then the rows that follow others, round by round.
async fn all_rounds(
    sending: &Sending<'_>,
    client: &GainsightClient,
    decision: &Decision,
    (verdicts, rows): (SendableRecordBatchStream, u64),
    passing: Passing,
) -> Result<Written> {
    let begun = client.tenant_time();
    let schema = verdicts.schema();
    let (first, mut passing) = sending.send("load", rows, verdicts, passing).await?;
    let family = passing.family.take().unwrap_or_else(|| Family::new(&decision.session.runtime_env()));
    let held = family.held();
    let mut rounds = family.rounds();
    let wanted = std::mem::take(&mut rounds.wanted);
    let lookups = decision.plan.lookups.iter();
    let lookups = lookups.filter_map(|key| Some((key.clone(), wanted.get(&key.field.to_string())?.clone())));
    let mut arrivals = Arrivals::new(lookups.collect(), begun);
    let mut total = Sent::default();
    let mut refer = Waiting::new();
    let mut sent = first.0.inserted + first.0.updated;
    total.take(first, |id| !rounds.hopeless.contains(id), &mut refer);
    for (number, rows) in rounds.sizes.iter().enumerate() {
        let (few, held) = if_few(*rows, rounds.rows(number)).await?;
        if number > 0 || rounds.first_has_parents {
            let asked = few.as_deref().map_or(Asked::All, Asked::Parents);
            arrivals.read(client, &decision.session, sending.metadata, sent, asked).await?;
        }
        let what = format!("load of those whose parents are there, {} of {}", number + 1, rounds.sizes.len());
        let come = Arc::new(arrivals);
        let complete = Arc::clone(&come);
        let held = held.and_then(move |batch| std::future::ready(complete.complete(&batch)));
        let done;
        (done, passing) = sending.send(&what, *rows as u64, verdicts_of(&schema, held), passing).await?;
        sent = done.0.inserted + done.0.updated;
        arrivals = Arc::into_inner(come).ok_or_else(|| Error::bug("rows of a round are on their way after its end"))?;
        total.take(done, |id| rounds.refer.contains(id), &mut refer);
    }
    Ok(Written { total, refer, rounds, held, arrivals, sent, log: passing.log })
}

/// Rows of which so many are gone through before they are sent, for the keys that they wait for.
const FEW: usize = 4_096;

/// The rows, and where they are few, all of them at once as well.
async fn if_few(
    count: usize,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> Result<(Option<Vec<RecordBatch>>, BoxStream<'static, Result<RecordBatch>>)> {
    if count > FEW {
        return Ok((None, rows.boxed()));
    }
    let few: Vec<RecordBatch> = rows.try_collect().await?;
    Ok((Some(few.clone()), stream::iter(few.into_iter().map(Ok)).boxed()))
}

/// Sets the references of rows that are written by now. Gives their number.
async fn references(
    sending: &Sending<'_>,
    decision: &Decision,
    schema: &SchemaRef,
    arrivals: Arrivals,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    waiting: &mut Waiting,
) -> Result<u64> {
    let Sending { world, job, .. } = *sending;
    let mut updates = Vec::new();
    let mut rows = std::pin::pin!(rows);
    while let Some(batch) = rows.try_next().await? {
        updates.push(Ok(arrivals.updates(&batch, waiting)?));
    }
    let count: usize = updates.iter().flatten().map(RecordBatch::num_rows).sum();
    world.reporter.begin(&job.name, "references", Some(count as u64));
    let updates = verdicts_of(schema, stream::iter(updates));
    let (loaded, ..) = sending.load(updates, Passing::default()).await?;
    world.reporter.end(&job.name, "references", &format!("{} set", loaded.updated));
    // The rows themselves are written and counted; that a reference was refused is told all the same.
    sending.keep_rejects(decision, &loaded.rejects).await?;
    Ok(loaded.updated)
}

fn verdicts_of(
    schema: &SchemaRef,
    verdicts: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), verdicts.map_err(Into::into)))
}

/// The rows that a run decides about, `again` among them.
pub(super) fn candidates_of<'a>(source: &LandedSource, everything: bool, again: &'a StringArray) -> Candidates<'a> {
    match everything {
        true => Candidates::Everything,
        false => Candidates::Extract {
            sequence: source.landed.sequence,
            rows: source.landed.rows - source.landed.deleted,
            again,
        },
    }
}

/// What passed by on the way to the load.
#[derive(Debug, Default)]
struct Watched {
    /// Rows whose parent is missing: tried again by a later run.
    waiting: Waiting,
    /// Rows whose self lookup may find a record of this run.
    self_references: Waiting,
    /// Rows that the verdicts reject, where nobody else has been told of them.
    rejects: Vec<Reject>,
    /// How many the verdicts reject.
    rejected: usize,
}

/// What the verdicts pass on their way to the load.
#[derive(Debug, Default)]
struct Passing {
    /// Keeps the verdicts.
    log: Option<VerdictLog>,
    /// Holds the rows that follow others.
    family: Option<Family>,
    /// Is told what the verdicts reject when the last has passed.
    rejects: Option<oneshot::Sender<Vec<Reject>>>,
    /// Is told what the load rejects before the tenant has answered all.
    first: Option<oneshot::Sender<Vec<Reject>>>,
}

/// What became of all rows of a run so far.
#[derive(Debug, Default)]
struct Sent {
    inserted: u64,
    updated: u64,
    unchanged: u64,
    rejects: Vec<Reject>,
    waiting: Waiting,
}

impl Sent {
    /// Adds what became of some. Of the rows without their reference, those that `may_come` go to `refer`.
    fn take(&mut self, (loaded, watched): (Loaded, Watched), may_come: impl Fn(&str) -> bool, refer: &mut Waiting) {
        self.inserted += loaded.inserted;
        self.updated += loaded.updated;
        self.unchanged += loaded.unchanged;
        self.rejects.extend(watched.rejects);
        self.rejects.extend(loaded.rejects);
        self.waiting.extend(watched.waiting);
        for (id, wants) in watched.self_references {
            let list = if may_come(&id) { &mut *refer } else { &mut self.waiting };
            list.insert(id, wants);
        }
    }
}

/// Sends verdicts of one run to the tenant.
#[derive(Clone, Copy)]
struct Sending<'a> {
    world: &'a World,
    job: &'a Job,
    run: &'a Run,
    metadata: &'a BTreeMap<String, Arc<ObjectMetadata>>,
}

impl Sending<'_> {
    /// Keeps what was refused after the run's own rejects.
    async fn keep_rejects(&self, decision: &Decision, rejects: &[Reject]) -> Result<()> {
        let mut log = RejectLog::more(self.world, self.run)?;
        log.write(decision, rejects).await?;
        log.commit().await
    }

    /// Sends verdicts.
    async fn send(
        &self,
        step: &str,
        rows: u64,
        verdicts: SendableRecordBatchStream,
        passing: Passing,
    ) -> Result<((Loaded, Watched), Passing)> {
        let Self { world, job, .. } = *self;
        world.reporter.begin(&job.name, step, Some(rows));
        let (loaded, watched, passing) = self.load(verdicts, passing).await?;
        let rejected = watched.rejected + loaded.rejects.len();
        world.reporter.end(
            &job.name,
            step,
            &format!(
                "{} inserted, {} updated, {} unchanged, {rejected} rejected",
                loaded.inserted, loaded.updated, loaded.unchanged
            ),
        );
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
        let context =
            LoadContext { client: &client, ledger: &world.ledger, run: &run.id, job, metadata, reporter, connection };
        let self_fields: Vec<String> = job
            .target
            .derives
            .iter()
            .filter(|derive| derive.lookup == derive.to.object)
            .map(|derive| derive.to.to_string())
            .collect();
        let first = passing.first.take();
        // The log and the lists are filled on the way; the channel keeps a slow tenant from filling the memory.
        let schema = decisions.schema();
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, 2);
        let sender = builder.tx();
        let (give_back, taken_back) = oneshot::channel();
        builder.spawn(async move {
            let mut decisions = decisions;
            let mut watched = Watched::default();
            while let Some(batch) = decisions.try_next().await? {
                let batch = match &mut passing.family {
                    Some(family) => family.part(&batch)?,
                    None => batch,
                };
                watch(&batch, &self_fields, &mut watched)?;
                if let Some(log) = &mut passing.log {
                    log.write(&batch).await?;
                }
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
            drop((sender, decisions));
            if let Some(log) = &mut passing.log
                && passing.family.as_ref().is_some_and(|family| family.held() == 0)
            {
                log.pause();
            }
            watched.rejected = watched.rejects.len();
            if let Some(tell) = passing.rejects.take() {
                let _unheard = tell.send(std::mem::take(&mut watched.rejects));
            }
            // Nobody waits only when the load has failed, and then the failure is what matters.
            let _gone = give_back.send((watched, passing));
            Ok(())
        });
        let loaded = load::load(&context, builder.build(), None, first).await?;
        let (watched, passing) =
            taken_back.await.map_err(|_| Error::bug("the verdicts ended before their stream did"))?;
        Ok((loaded, watched, passing))
    }
}

fn watch(batch: &RecordBatch, self_fields: &[String], watched: &mut Watched) -> Result<()> {
    watch_rejects(batch, &mut watched.rejects)?;
    let retry = flag(batch, "retry")?;
    let unresolved = text(batch, "unresolved")?;
    let ids = text(batch, "source_id")?;
    if retry.true_count() == 0 && unresolved.null_count() == unresolved.len() {
        return Ok(());
    }
    let (ids, unresolved, wants) = (ids.as_string::<i32>(), unresolved.as_string::<i32>(), Wants::of(batch)?);
    for row in 0..batch.num_rows() {
        let fields = if unresolved.is_valid(row) { unresolved.value(row) } else { "" };
        let by_self = fields.split(',').any(|field| self_fields.iter().any(|own| own == field));
        if by_self {
            watched.self_references.insert(ids.value(row).to_owned(), wants.at(row));
        } else if retry.is_valid(row) && retry.value(row) {
            watched.waiting.insert(ids.value(row).to_owned(), wants.at(row));
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

pub(super) fn text(batch: &RecordBatch, name: &str) -> Result<Arc<dyn Array>> {
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
async fn second_pass(sending: &Sending<'_>, source: &LandedSource, ids: &StringArray) -> Result<(u64, Waiting)> {
    let Sending { world, job, metadata, .. } = *sending;
    let mirrors = mirror::refresh(world, job, metadata, Refresh::OwnWrites).await?;
    let candidates = Candidates::Only(ids);
    let decision = Decision::prepare_second_pass(world, job, &source.snapshot, &mirrors, candidates).await?;
    world.reporter.begin(&job.name, "references", Some(ids.len() as u64));
    let (loaded, watched, _) = sending.load(decision.stream().await?, Passing::default()).await?;
    world.reporter.end(&job.name, "references", &format!("{} set", loaded.updated));
    // The rows themselves are written and counted; that a reference was refused is told all the same.
    sending.keep_rejects(&decision, &loaded.rejects).await?;
    let mut unresolved = watched.waiting;
    unresolved.extend(watched.self_references);
    Ok((loaded.updated, unresolved))
}
