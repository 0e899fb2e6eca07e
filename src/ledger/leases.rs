//! One live holder per job.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::Ledger;
use super::holder::Holder;
use super::values::time;
use crate::clock;
use crate::error::Error;
use crate::error::Result;

/// A holder that has been silent for longer can be replaced.
const SILENCE: TimeDelta = TimeDelta::minutes(2);

/// The right to run a job, until it is dropped or its run is finished.
#[derive(Debug)]
pub struct Lease {
    ledger: Ledger,
    job: String,
    token: String,
}

/// A lease as `activity` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// The job.
    pub job: String,
    /// The run that is going on, once it has begun.
    pub run: Option<String>,
    /// Process id of the holder.
    pub process: u32,
    /// Since when.
    pub acquired_at: DateTime<Utc>,
    /// The last sign of life.
    pub heartbeat_at: DateTime<Utc>,
    /// Whether the holder is gone or too long silent, so that the next run takes over.
    pub dead: bool,
}

impl Lease {
    /// How often [`Self::heartbeat`] should be called.
    pub const BEAT: Duration = Duration::from_secs(20);

    /// The job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// A sign of life. Fails with a conflict once somebody else has taken the job over: then stop at once.
    pub fn heartbeat(&self) -> Result<()> {
        let now = self.ledger.now();
        self.ledger.write(|tx| {
            tx.prepare_cached("UPDATE leases SET heartbeat_at = ?3 WHERE job = ?1 AND token = ?2")?
                .execute(params![self.job, self.token, now])?;
            self.must_hold(tx)
        })
    }

    /// Inside a transaction: whether the job is still ours, so that a holder that was replaced changes nothing.
    pub(super) fn must_hold(&self, tx: &Transaction<'_>) -> Result<()> {
        let held: bool = tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM leases WHERE job = ?1 AND token = ?2)")?
            .query_row(params![self.job, self.token], |row| row.get(0))?;
        if held {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "another process took the job `{}` over, because this one gave no sign of life",
            self.job
        ))
        .hint("look at `sf2gs activity`; nothing is lost, the other run goes on from what was landed"))
    }

    pub(super) fn holds(&self, tx: &Transaction<'_>, run: &str) -> Result<()> {
        self.must_hold(tx)?;
        tx.prepare_cached("UPDATE leases SET run = ?2 WHERE job = ?1")?.execute(params![self.job, run])?;
        Ok(())
    }

    pub(super) fn release(&self, tx: &Transaction<'_>) -> Result<()> {
        tx.prepare_cached("DELETE FROM leases WHERE job = ?1 AND token = ?2")?
            .execute(params![self.job, self.token])?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(e) = self.ledger.write(|tx| self.release(tx)) {
            tracing::warn!(job = self.job, "The lease of job `{}` could not be given back: {e}", self.job);
        }
    }
}

impl Ledger {
    /// Takes the job, or fails with a conflict that names who has it. A holder that is gone or silent is replaced.
    pub fn acquire(&self, job: &str) -> Result<Lease> {
        let (now, token, this) = (self.now(), clock::random_id(), Holder::this());
        self.write_durably(|tx| {
            let held = tx
                .query_row("SELECT * FROM leases WHERE job = ?1", [job], |row| info(row, now))
                .optional()?
                .filter(|lease| !lease.dead);
            if let Some(other) = held {
                let run = other.run.map(|run| format!(", run {run}")).unwrap_or_default();
                return Err(Error::conflict(format!(
                    "the job `{job}` is already running (process {}, since {}{run})",
                    other.process,
                    other.acquired_at.format("%Y-%m-%d %H:%M:%S UTC")
                ))
                .hint("wait until it is done; `sf2gs activity` shows how far it is"));
            }
            tx.execute(
                "INSERT OR REPLACE INTO leases (job, token, run, machine, process, process_start, acquired_at, heartbeat_at)
                 VALUES (?1, ?2, NULL, ?3, ?4, ?5, ?6, ?6)",
                params![job, token, this.machine, this.process, this.process_start, now],
            )?;
            Ok(())
        })?;
        Ok(Lease { ledger: self.clone(), job: job.to_owned(), token })
    }

    /// Every lease, by job.
    pub fn leases(&self) -> Result<Vec<LeaseInfo>> {
        let now = self.now();
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM leases ORDER BY job")?;
            let rows = statement.query_map([], |row| info(row, now))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn info(row: &Row<'_>, now: i64) -> rusqlite::Result<LeaseInfo> {
    let heartbeat_at = time(row, "heartbeat_at")?;
    let holder =
        Holder { machine: row.get("machine")?, process: row.get("process")?, process_start: row.get("process_start")? };
    let silent = DateTime::from_timestamp_micros(now).is_some_and(|now| now - heartbeat_at > SILENCE);
    Ok(LeaseInfo {
        job: row.get("job")?,
        run: row.get("run")?,
        process: holder.process,
        acquired_at: time(row, "acquired_at")?,
        heartbeat_at,
        dead: silent || holder.is_gone(),
    })
}
