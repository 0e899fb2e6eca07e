//! Query jobs made in an org, so that those of a run that crashed can be removed there.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Ledger;
use super::values::time;
use crate::error::Result;

/// A query job in an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteJob {
    /// The connection.
    pub connection: String,
    /// The org's id for it.
    pub id: String,
    /// The run that made it.
    pub run: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Ledger {
    /// Notes a job that was made.
    pub fn note_remote_job(&self, run: &str, connection: &str, id: &str) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO remote_jobs (connection, id, run, created_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![connection, id, run, now])?;
            Ok(())
        })
    }

    /// Notes that a job is not needed any more: read to the end, deleted, or gone.
    pub fn remote_job_done(&self, connection: &str, id: &str) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            tx.prepare_cached("UPDATE remote_jobs SET done_at = ?3 WHERE connection = ?1 AND id = ?2")?
                .execute(params![connection, id, now])?;
            Ok(())
        })
    }

    /// Jobs left behind: not done, and of a run that no living process holds.
    pub fn abandoned_remote_jobs(&self) -> Result<Vec<RemoteJob>> {
        let alive: Vec<String> =
            self.leases()?.into_iter().filter(|lease| !lease.dead).filter_map(|lease| lease.run).collect();
        let open: Vec<RemoteJob> = self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM remote_jobs WHERE done_at IS NULL ORDER BY created_at, id")?;
            let rows = statement.query_map([], from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        Ok(open.into_iter().filter(|job| !alive.contains(&job.run)).collect())
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<RemoteJob> {
    Ok(RemoteJob {
        connection: row.get("connection")?,
        id: row.get("id")?,
        run: row.get("run")?,
        created_at: time(row, "created_at")?,
    })
}
