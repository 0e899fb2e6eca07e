//! The first half of a job: from the window to a landed snapshot.
//!
//! Nothing of a short or broken extract is committed; a commit whose answer was lost is recognised by its
//! application transaction (`job:<name>` and the run's sequence).

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};

use crate::config::job::Job;
use crate::connect::salesforce::SalesforceClient;
use crate::error::Error;
use crate::error::Result;
use crate::extract::salesforce::{self, Prepared, ReadOptions, SourceRequest};
use crate::land::{Commit, Mode, Snapshot, TableName};
use crate::ledger::{ChainRun, Landed, Lease, NewRun, Outcome, Run, RunStatus};
use crate::telemetry::CallCounts;
use crate::telemetry::checkpoint;

use super::job::RunOptions;
use super::pour::pour;
use super::world::World;

/// Result pages downloaded at once, where Salesforce offers parallel pages.
const PARALLEL_PAGES: usize = 4;
/// Rows per Arrow batch.
const BATCH_ROWS: usize = 16_384;

/// A job's source, landed: what the second half works on.
#[derive(Debug)]
pub(super) struct LandedSource {
    pub(super) run: Run,
    pub(super) landed: Landed,
    pub(super) snapshot: Snapshot,
    /// Salesforce calls of this half. The other half makes none, so that overlapping members count their own.
    pub(super) calls: CallCounts,
    /// Wall time of this half.
    pub(super) seconds: f64,
}

/// The name of a job's landed table.
pub(super) fn table_of(job: &Job) -> Result<TableName> {
    TableName::new(&job.salesforce, &job.source.table)
}

/// The part of a run that an extract covers: `cursor >= from AND cursor < until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) until: DateTime<Utc>,
}

/// Extracts and lands `job`'s source, or finds what an interrupted run of it had landed.
pub(super) async fn land_source(
    world: &World,
    job: &Job,
    lease: &Lease,
    chain: Option<&Member>,
    options: &RunOptions,
) -> Result<LandedSource> {
    let (begun, before) = (Instant::now(), world.calls.read());
    if let Some(found) = resume(world, job, lease, chain).await? {
        return Ok(found);
    }
    let client = world.salesforce(&job.salesforce).await?;
    sweep_abandoned_jobs(world, &client, job).await?;
    let window = window(world, &client, job, chain, options).await?;
    let request = SourceRequest {
        object: job.source.object.clone(),
        fields: job.source.fields.clone(),
        condition: job.source.condition.clone(),
        from: window.from,
        until: Some(window.until),
    };
    let prepared = salesforce::prepare(&client, &request).await?;
    // Without a cursor nothing can be read incrementally; the request was then made for the whole object.
    let full = window.from.is_none() || prepared.cursor.is_none();
    let run = world.ledger.begin_run(
        lease,
        NewRun {
            chain: chain.map(|member| member.run.clone()),
            spec_hash: job.spec_hash(),
            source_hash: job.source_hash(),
            from: if full { None } else { window.from },
            until: Some(window.until),
            full,
        },
    )?;
    match extract_into_lake(world, &client, job, &prepared, &run).await {
        Ok((landed, snapshot)) => {
            let calls = world.calls.since(&before).into_iter().filter(|(class, _)| class.is_salesforce()).collect();
            Ok(LandedSource { run, landed, snapshot, calls, seconds: begun.elapsed().as_secs_f64() })
        }
        Err(error) => {
            store_failure(world, lease, &run, &error)?;
            Err(error.context("run", run.id.clone()))
        }
    }
}

/// Ends a run as failed. Its landed rows, if any, are taken up by the job's next run.
pub(super) fn store_failure(world: &World, lease: &Lease, run: &Run, error: &Error) -> Result<()> {
    world.ledger.finish_run(
        lease,
        &run.id,
        &Outcome {
            status: RunStatus::Failed,
            counters: run.counters,
            calls: CallCounts::new(),
            error: Some(error.render()),
            watermark: None,
            pending: None,
        },
    )?;
    Ok(())
}

/// A job's place in a chain run, whose members share one upper bound.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) run: ChainRun,
    pub(super) until: DateTime<Utc>,
}

/// The number that orders the rows of a run among those of others: when the run began, in microseconds.
pub(super) fn sequence_of(run: &Run) -> i64 {
    run.started_at.timestamp_micros()
}

/// The job's last run, if it stopped after its rows were landed and the job is still the same.
async fn resume(world: &World, job: &Job, lease: &Lease, chain: Option<&Member>) -> Result<Option<LandedSource>> {
    let Some(run) = world.ledger.last_run(&job.name)?.filter(|run| !run.status.succeeded()) else { return Ok(None) };
    let table = table_of(job)?;
    let sequence = sequence_of(&run);
    let known = world.ledger.landed(Some(&run.id))?.into_iter().next();
    let landed = match known {
        Some(landed) => Some(landed),
        // The commit may have happened although the ledger did not hear of it.
        None => match world.lake.application_version(&table, &application(job)).await? {
            Some(version) if version == sequence => landed_of(world, &run, &table, sequence).await?,
            _ => None,
        },
    };
    let Some(landed) = landed.filter(|_| run.spec_hash == job.spec_hash()) else {
        if run.status == RunStatus::Running {
            let reason = "stopped before its rows were landed, or the job was changed since";
            world.ledger.abandon_run(lease, &run.id, reason)?;
        }
        return Ok(None);
    };
    let run = world.ledger.resume_run(lease, &run.id, chain.map(|member| member.run.clone()))?;
    let snapshot = world
        .lake
        .snapshot(&table)
        .await?
        .ok_or_else(|| Error::integrity(format!("the landed table {table} is gone from the lake")))?;
    world.ledger.set_landed(&landed)?;
    world.reporter.end(
        &job.name,
        "resume",
        &format!("goes on with the {} rows that run {} landed", landed.rows, run.id),
    );
    Ok(Some(LandedSource { run, landed, snapshot, calls: CallCounts::new(), seconds: 0.0 }))
}

/// What a commit landed whose answer the ledger never saw.
async fn landed_of(world: &World, run: &Run, table: &TableName, sequence: i64) -> Result<Option<Landed>> {
    let Some(snapshot) = world.lake.snapshot(table).await? else { return Ok(None) };
    let session = world.engine.session();
    session.register_table("landed", snapshot.written_at(sequence)?)?;
    let live = session.table("landed").await?.filter(datafusion::prelude::ident("_sf2gs_deleted").is_false())?;
    let rows = session.table("landed").await?.count().await? as u64;
    let deleted = rows - live.count().await? as u64;
    Ok(Some(Landed {
        run: run.id.clone(),
        table: table.to_string(),
        sequence,
        version: snapshot.version(),
        rows,
        deleted,
    }))
}

/// Query jobs that a stopped process left in the org are aborted and deleted, so that they do not use its limits.
async fn sweep_abandoned_jobs(world: &World, client: &SalesforceClient, job: &Job) -> Result<()> {
    let abandoned = world.ledger.abandoned_remote_jobs()?;
    for left in abandoned.into_iter().filter(|left| left.connection == job.salesforce) {
        if let Err(error) = client.abort_query_job(&left.id).await {
            tracing::debug!(job = left.id, "An abandoned query job was not aborted: {error}");
        }
        if let Err(error) = client.delete_query_job(&left.id).await {
            tracing::debug!(job = left.id, "An abandoned query job was not deleted: {error}");
        }
        world.ledger.remote_job_done(&left.connection, &left.id)?;
    }
    Ok(())
}

async fn window(
    world: &World,
    client: &SalesforceClient,
    job: &Job,
    chain: Option<&Member>,
    options: &RunOptions,
) -> Result<Window> {
    let connection = world.salesforce_connection(&job.salesforce)?;
    let until = match chain {
        Some(member) => member.until,
        None => upper_bound(client, connection.lag).await?,
    };
    if options.full {
        return Ok(Window { from: None, until });
    }
    let from = world
        .ledger
        .watermark(&job.name)?
        .filter(|watermark| watermark.source_hash == job.source_hash())
        .map(|watermark| watermark.until - connection.overlap);
    Ok(Window { from, until })
}

/// The org's clock minus the lag, in whole seconds (the precision of SystemModstamp).
pub(super) async fn upper_bound(client: &SalesforceClient, lag: std::time::Duration) -> Result<DateTime<Utc>> {
    let now = client.org_time().await?;
    let bound = now - lag;
    Ok(DateTime::from_timestamp(bound.timestamp(), 0).unwrap_or(bound))
}

fn application(job: &Job) -> String {
    format!("job:{}", job.name)
}

/// Which rows `queryAll` shows as deleted.
pub(super) fn deleted_mask(batch: &RecordBatch) -> Option<BooleanArray> {
    batch.column_by_name("IsDeleted").map(|column| column.as_boolean().clone())
}

async fn extract_into_lake(
    world: &World,
    client: &SalesforceClient,
    job: &Job,
    prepared: &Prepared,
    run: &Run,
) -> Result<(Landed, Snapshot)> {
    let connection = world.salesforce_connection(&job.salesforce)?;
    let (table, sequence) = (table_of(job)?, sequence_of(run));
    tracing::info!(job = job.name, soql = prepared.soql, "reading {}", job.source.object);
    world.reporter.begin(&job.name, "extract", None);
    let options = ReadOptions { page_rows: connection.page_rows, parallel: PARALLEL_PAGES, batch_rows: BATCH_ROWS };
    let reading = salesforce::read(client, prepared, options).await?;
    if let Some(id) = reading.job_id() {
        world.ledger.note_remote_job(&run.id, &job.salesforce, id)?;
    }

    let writer = world.lake.writer(&table, Arc::clone(&prepared.schema), sequence)?;
    let reporter = Arc::clone(&world.reporter);
    let (reading, writer) = pour(reading, writer, move |batch| {
        reporter.advance(batch.num_rows() as u64);
        checkpoint("extract.batch");
        deleted_mask(batch)
    })
    .await?;
    let report = reading.report();
    if let Some(id) = reading.job_id() {
        world.ledger.remote_job_done(&job.salesforce, id)?;
    }
    let written = writer.finish().await?;
    let deleted = written.deleted();
    if written.rows() != report.rows {
        return Err(Error::bug(format!(
            "{} rows were read but {} were written to the lake",
            report.rows,
            written.rows()
        )));
    }
    world.ledger.record_step(
        &run.id,
        "extract",
        report.rows,
        &serde_json::json!({
            "soql": prepared.soql, "pages": report.pages, "bytes": report.bytes,
            "nul_bytes": report.nul_bytes, "rounded_cells": report.rounded_cells,
        }),
    )?;
    if report.nul_bytes > 0 {
        world.reporter.warn(&format!(
            "{} NUL bytes were removed from the values of {}: no text of the lake or of Gainsight can hold them",
            report.nul_bytes, job.source.object
        ));
    }
    if report.rounded_cells > 0 {
        world.reporter.warn(&format!(
            "{} currency values of {} have more digits than their field says and were rounded",
            report.rounded_cells, job.source.object
        ));
    }
    checkpoint("land.before_commit");
    let snapshot = world
        .lake
        .commit(Commit {
            table: table.clone(),
            schema: Arc::clone(&prepared.schema),
            key: Some("Id".to_owned()),
            mode: if run.full { Mode::Replace } else { Mode::Merge },
            written: vec![written],
            application: Some((application(job), sequence)),
            info: [("sf2gs.run".to_owned(), run.id.clone())].into(),
        })
        .await?;
    checkpoint("land.after_commit");
    let landed = Landed {
        run: run.id.clone(),
        table: table.to_string(),
        sequence,
        version: snapshot.version(),
        rows: report.rows,
        deleted,
    };
    world.ledger.set_landed(&landed)?;
    let kind = if run.full { "whole object" } else { "changes" };
    world.reporter.end(
        &job.name,
        "extract",
        &format!("{} rows of {} landed ({kind}, {deleted} deleted)", report.rows, job.source.object),
    );
    Ok((landed, snapshot))
}
