//! Runs, found and listed.

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::values::micros;
use super::{Ledger, Run, RunStatus};
use crate::error::Error;
use crate::error::Result;

/// Shorter parts of an id are not looked up: they hit by accident.
const SHORTEST: usize = 4;

/// Which runs to list. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Only of this job.
    pub job: Option<String>,
    /// Only of this start of a chain.
    pub chain_run: Option<String>,
    /// Only with this status.
    pub status: Option<RunStatus>,
    /// Only begun at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// At most so many, the newest.
    pub limit: Option<u32>,
}

impl Ledger {
    /// Runs, newest first.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT * FROM runs
                 WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR chain_run = ?2) AND (?3 IS NULL OR status = ?3)
                   AND (?4 IS NULL OR started_at >= ?4)
                 ORDER BY started_at DESC, id DESC LIMIT coalesce(?5, -1)",
            )?;
            let rows = statement.query_map(
                params![
                    filter.job,
                    filter.chain_run,
                    filter.status.map(RunStatus::name),
                    filter.since.map(micros),
                    filter.limit
                ],
                Run::from_row,
            )?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The run with this id, or with an id that begins or ends like this. Ids begin with the time, so the ends of two
    /// differ sooner than their beginnings.
    pub fn find_run(&self, id: &str) -> Result<Run> {
        let wanted = id.to_ascii_lowercase();
        if wanted.len() < SHORTEST || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::config(format!("`{id}` is not a run id"))
                .hint("give the id that `sf2gs activity` shows, or at least its first or last 4 characters"));
        }
        let found: Vec<Run> = self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT * FROM runs WHERE id = ?1 OR id LIKE ?1 || '%' OR id LIKE '%' || ?1
                 ORDER BY id <> ?1, started_at DESC LIMIT 6",
            )?;
            let rows = statement.query_map([&wanted], Run::from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        let exact = found.first().is_some_and(|run| run.id == wanted);
        match found.len() {
            0 => Err(Error::config(format!("there is no run `{id}`")).hint("`sf2gs activity` lists the runs")),
            1 => Ok(found),
            _ if exact => Ok(found),
            _ => {
                let ids: Vec<&str> = found.iter().map(|run| run.id.as_str()).collect();
                Err(Error::config(format!("several runs are called `{id}`"))
                    .hint(format!("one of: {}", ids.join(", "))))
            }
        }?
        .into_iter()
        .next()
        .ok_or_else(|| Error::bug("a run was found and lost"))
    }
}
