//! The life of a run: begun under a lease, resumed after a crash, finished in one transaction.

use std::fmt;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::values::{calls_from_row, calls_to_json, count, maybe_time, micros, stored, time};
use super::{Lease, Ledger, PendingChange, Watermark};
use crate::clock;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallCounts;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It has begun and has no outcome: it is going on, or it crashed.
    Running,
    /// Everything is as the job says.
    Success,
    /// Some rows were rejected, the others are loaded.
    PartialSuccess,
    /// It stopped; the watermark did not move.
    Failed,
    /// A person stopped it; the watermark did not move.
    Cancelled,
}

impl RunStatus {
    const ALL: [Self; 5] = [Self::Running, Self::Success, Self::PartialSuccess, Self::Failed, Self::Cancelled];

    /// The word in tables and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partial_success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job's outcome counts: what depends on it may go on.
    pub fn succeeded(self) -> bool {
        matches!(self, Self::Success | Self::PartialSuccess)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became of the rows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counters {
    /// Rows that Salesforce gave, deleted ones left out, one per record.
    pub extracted: u64,
    /// Rows of earlier runs that were tried again.
    pub retried: u64,
    /// Deletions that were landed; not part of [`Self::extracted`].
    pub deleted: u64,
    /// Rows that became new records.
    pub inserted: u64,
    /// Rows that changed records.
    pub updated: u64,
    /// Rows whose records were already right.
    pub unchanged: u64,
    /// Rows that were not loaded.
    pub rejected: u64,
    /// References written afterwards to records that this run made; no rows of their own.
    pub references: u64,
}

impl Counters {
    /// `extracted + retried = inserted + updated + unchanged + rejected`, or a fault of ours.
    pub fn check(&self) -> Result<()> {
        let read = self.extracted + self.retried;
        let told = self.inserted + self.updated + self.unchanged + self.rejected;
        if read == told {
            return Ok(());
        }
        Err(Error::bug(format!(
            "the run read {read} rows ({} extracted, {} tried again) but accounts for {told} ({} inserted, {} updated, \
             {} unchanged, {} rejected)",
            self.extracted, self.retried, self.inserted, self.updated, self.unchanged, self.rejected
        ))
        .hint("please report this with the run id; the watermark did not move"))
    }
}

/// The place of a run in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRun {
    /// Shared by the runs of one start of the chain.
    pub id: String,
    /// The chain's name.
    pub name: String,
    /// The run's place, from 1.
    pub order: u32,
}

/// A run that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewRun {
    /// Its place, if a chain started it.
    pub chain: Option<ChainRun>,
    /// `Job::source_hash`: what is read.
    pub source_hash: String,
    /// `Job::spec_hash`: what is read and how it is mapped.
    pub spec_hash: String,
    /// Lower bound of the window, included; none for a full read.
    pub from: Option<DateTime<Utc>>,
    /// Upper bound of the window, excluded; none where the object has no cursor.
    pub until: Option<DateTime<Utc>>,
    /// Whether everything is read.
    pub full: bool,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id; sorts by start.
    pub id: String,
    /// The job's name.
    pub job: String,
    /// Its place in a chain.
    pub chain: Option<ChainRun>,
    /// How it stands.
    pub status: RunStatus,
    /// How often it was begun: above one after a crash.
    pub attempts: u32,
    /// When it was begun first.
    pub started_at: DateTime<Utc>,
    /// When its outcome was stored.
    pub ended_at: Option<DateTime<Utc>>,
    /// Lower bound of the window, included.
    pub from: Option<DateTime<Utc>>,
    /// Upper bound of the window, excluded.
    pub until: Option<DateTime<Utc>>,
    /// Whether everything was read.
    pub full: bool,
    /// `Job::source_hash` at the start.
    pub source_hash: String,
    /// `Job::spec_hash` at the start.
    pub spec_hash: String,
    /// What became of the rows.
    pub counters: Counters,
    /// Remote calls by class.
    pub calls: CallCounts,
    /// Why it failed.
    pub error: Option<String>,
}

impl Run {
    /// The end of the id, short enough to type; `Ledger::find_run` understands it.
    pub fn short_id(&self) -> &str {
        self.id.len().checked_sub(8).and_then(|start| self.id.get(start..)).unwrap_or(&self.id)
    }

    /// From the first start to the outcome.
    pub fn seconds(&self) -> Option<f64> {
        let micros = (self.ended_at? - self.started_at).num_microseconds()?;
        Some(micros as f64 / 1e6)
    }

    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let status: String = row.get("status")?;
        let chain_run: Option<String> = row.get("chain_run")?;
        Ok(Self {
            id: row.get("id")?,
            job: row.get("job")?,
            chain: match chain_run {
                Some(id) => Some(ChainRun { id, name: row.get("chain")?, order: row.get("chain_order")? }),
                None => None,
            },
            status: RunStatus::ALL.into_iter().find(|known| known.name() == status).unwrap_or(RunStatus::Failed),
            attempts: row.get("attempts")?,
            started_at: time(row, "started_at")?,
            ended_at: maybe_time(row, "ended_at")?,
            from: maybe_time(row, "from_at")?,
            until: maybe_time(row, "until_at")?,
            full: row.get("full_read")?,
            source_hash: row.get("source_hash")?,
            spec_hash: row.get("spec_hash")?,
            counters: Counters {
                extracted: count(row, "extracted")?,
                retried: count(row, "retried")?,
                deleted: count(row, "deleted")?,
                inserted: count(row, "inserted")?,
                updated: count(row, "updated")?,
                unchanged: count(row, "unchanged")?,
                rejected: count(row, "rejected")?,
                references: count(row, "refs")?,
            },
            calls: calls_from_row(row, "calls")?,
            error: row.get("error")?,
        })
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Anything but [`RunStatus::Running`].
    pub status: RunStatus,
    /// What became of the rows.
    pub counters: Counters,
    /// Remote calls of this attempt; those of earlier attempts are kept and added to.
    pub calls: CallCounts,
    /// Why it failed, as a person reads it.
    pub error: Option<String>,
    /// The job's new watermark; `None` leaves the old one. Refused where the run did not succeed.
    pub watermark: Option<Watermark>,
    /// Rows to try again another time; `None` leaves the job's list.
    pub pending: Option<PendingChange>,
}

impl Ledger {
    /// Begins a run of the lease's job.
    pub fn begin_run(&self, lease: &Lease, new: NewRun) -> Result<Run> {
        let (id, now) = (clock::new_id(), self.now());
        self.write_durably(|tx| {
            tx.execute(
                "INSERT INTO runs (id, job, chain_run, chain, chain_order, status, started_at, from_at, until_at, full_read,
                                   source_hash, spec_hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'running', ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    id,
                    lease.job(),
                    new.chain.as_ref().map(|chain| &chain.id),
                    new.chain.as_ref().map(|chain| &chain.name),
                    new.chain.as_ref().map(|chain| chain.order),
                    now,
                    new.from.map(micros),
                    new.until.map(micros),
                    new.full,
                    new.source_hash,
                    new.spec_hash,
                ],
            )?;
            lease.holds(tx, &id)?;
            one_run(tx, &id)
        })
    }

    /// The newest run of the job, if it has no outcome. Asked while holding the job's lease, it is one whose process is
    /// gone; what it had landed is in [`Self::landed`], what it had sent in [`Self::chunks`].
    pub fn unfinished_run(&self, job: &str) -> Result<Option<Run>> {
        Ok(self.last_run(job)?.filter(|run| run.status == RunStatus::Running))
    }

    /// The newest run of the job.
    pub fn last_run(&self, job: &str) -> Result<Option<Run>> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM runs WHERE job = ?1 ORDER BY started_at DESC, id DESC LIMIT 1")?;
            Ok(statement.query_row([job], Run::from_row).optional()?)
        })
    }

    /// When the job's last successful run began.
    pub fn last_success(&self, job: &str) -> Result<Option<DateTime<Utc>>> {
        let names = [RunStatus::Success, RunStatus::PartialSuccess].map(RunStatus::name);
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT * FROM runs WHERE job = ?1 AND status IN (?2, ?3) ORDER BY started_at DESC LIMIT 1",
            )?;
            let found = statement.query_row(params![job, names[0], names[1]], Run::from_row).optional()?;
            Ok(found.map(|run| run.started_at))
        })
    }

    /// Takes up a run that crashed, failed or was cancelled, under its old id and window. `chain` moves it into the chain
    /// run that resumes it.
    pub fn resume_run(&self, lease: &Lease, run: &str, chain: Option<ChainRun>) -> Result<Run> {
        self.write_durably(|tx| {
            let changed = tx.execute(
                "UPDATE runs SET status = 'running', attempts = attempts + 1, ended_at = NULL, error = NULL,
                        chain_run = coalesce(?3, chain_run), chain = coalesce(?4, chain), chain_order = coalesce(?5, chain_order)
                 WHERE id = ?1 AND job = ?2 AND status IN ('running', 'failed', 'cancelled')",
                params![
                    run,
                    lease.job(),
                    chain.as_ref().map(|chain| &chain.id),
                    chain.as_ref().map(|chain| &chain.name),
                    chain.as_ref().map(|chain| chain.order),
                ],
            )?;
            if changed == 0 {
                return Err(Error::bug(format!("run {run} of job `{}` is over and cannot be resumed", lease.job())));
            }
            lease.holds(tx, run)?;
            one_run(tx, run)
        })
    }

    /// Gives up a run that a process which is gone had left open, so that another can begin under the same lease.
    pub fn abandon_run(&self, lease: &Lease, run: &str, reason: &str) -> Result<()> {
        let now = self.now();
        self.write_durably(|tx| {
            lease.must_hold(tx)?;
            tx.execute(
                "UPDATE runs SET status = 'failed', ended_at = ?2, error = ?3 WHERE id = ?1 AND status = 'running'",
                params![run, now, reason],
            )?;
            Ok(())
        })
    }

    /// Stores the outcome: with it, in one transaction, the watermark, the rows to try again, and the end of the lease.
    pub fn finish_run(&self, lease: &Lease, run: &str, outcome: &Outcome) -> Result<Run> {
        if outcome.status == RunStatus::Running {
            return Err(Error::bug("a run cannot end as running"));
        }
        if outcome.status.succeeded() {
            outcome.counters.check()?;
        } else if outcome.watermark.is_some() {
            return Err(Error::bug(format!("a run that ended as {} cannot move the watermark", outcome.status)));
        }
        let now = self.now();
        self.write_durably(|tx| {
            lease.must_hold(tx)?;
            let before = one_run(tx, run)?;
            if before.status != RunStatus::Running || before.job != lease.job() {
                return Err(Error::bug(format!("run {run} is {} and cannot be finished", before.status)));
            }
            let mut calls = before.calls;
            for (class, made) in &outcome.calls {
                *calls.entry(*class).or_default() += made;
            }
            let counters = &outcome.counters;
            tx.execute(
                "UPDATE runs SET status = ?2, ended_at = ?3, extracted = ?4, retried = ?5, deleted = ?6, inserted = ?7,
                        updated = ?8, unchanged = ?9, rejected = ?10, refs = ?11, calls = ?12, error = ?13
                 WHERE id = ?1",
                params![
                    run,
                    outcome.status.name(),
                    now,
                    stored(counters.extracted),
                    stored(counters.retried),
                    stored(counters.deleted),
                    stored(counters.inserted),
                    stored(counters.updated),
                    stored(counters.unchanged),
                    stored(counters.rejected),
                    stored(counters.references),
                    calls_to_json(&calls),
                    outcome.error,
                ],
            )?;
            if let Some(watermark) = &outcome.watermark {
                super::pending::set_watermark(tx, lease.job(), run, watermark)?;
            }
            if let Some(pending) = &outcome.pending {
                super::pending::change(tx, lease.job(), pending)?;
            }
            lease.release(tx)?;
            one_run(tx, run)
        })
    }
}

pub(super) fn one_run(c: &rusqlite::Connection, id: &str) -> Result<Run> {
    c.prepare_cached("SELECT * FROM runs WHERE id = ?1")?
        .query_row([id], Run::from_row)
        .optional()?
        .ok_or_else(|| Error::bug(format!("the ledger has no run {id}")))
}
