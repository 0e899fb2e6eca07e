//! What a run has done so far: its steps, and what it landed.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Ledger;
use super::values::{count, json, stored, time};
use crate::error::Result;

/// A step of a run that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The run.
    pub run: String,
    /// Its place, from 1.
    pub order: u32,
    /// The attempt that did it, from 1.
    pub attempt: u32,
    /// Its name: `extract`, `mirror company`, `match`, `load`, …
    pub step: String,
    /// When it was done.
    pub ended_at: DateTime<Utc>,
    /// Rows that it dealt with.
    pub rows: u64,
    /// More about it: seconds, bytes, the SOQL, …
    pub detail: serde_json::Value,
}

/// A snapshot that a run committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The run.
    pub run: String,
    /// The table's name in the lake, `connection.table`.
    pub table: String,
    /// The sequence under which its rows were written.
    pub sequence: i64,
    /// The table's version that holds them.
    pub version: i64,
    /// Rows written, deletions among them.
    pub rows: u64,
    /// Deletions written.
    pub deleted: u64,
}

impl Ledger {
    /// Notes that a step is done.
    pub fn record_step(&self, run: &str, step: &str, rows: u64, detail: &serde_json::Value) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO steps (run, ordinal, attempt, step, ended_at, rows, detail)
                 SELECT ?1, (SELECT coalesce(max(ordinal), 0) + 1 FROM steps WHERE run = ?1), attempts, ?2, ?3, ?4, ?5
                 FROM runs WHERE id = ?1",
            )?
            .execute(params![run, step, now, stored(rows), detail.to_string()])?;
            Ok(())
        })
    }

    /// Notes that the run committed a snapshot, in place of an earlier note about the same table.
    pub fn set_landed(&self, landed: &Landed) -> Result<()> {
        self.write_durably(|tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO landed (run, name, sequence, version, rows, deleted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                landed.run,
                landed.table,
                landed.sequence,
                landed.version,
                stored(landed.rows),
                stored(landed.deleted)
            ])?;
            Ok(())
        })
    }

    /// The steps of one run, or of all, in order.
    pub fn steps(&self, run: Option<&str>) -> Result<Vec<Step>> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM steps WHERE ?1 IS NULL OR run = ?1 ORDER BY run, ordinal")?;
            let rows = statement.query_map([run], step_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What one run landed, or all did, by table.
    pub fn landed(&self, run: Option<&str>) -> Result<Vec<Landed>> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM landed WHERE ?1 IS NULL OR run = ?1 ORDER BY run, name")?;
            let rows = statement.query_map([run], landed_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn step_from_row(row: &Row<'_>) -> rusqlite::Result<Step> {
    Ok(Step {
        run: row.get("run")?,
        order: row.get("ordinal")?,
        attempt: row.get("attempt")?,
        step: row.get("step")?,
        ended_at: time(row, "ended_at")?,
        rows: count(row, "rows")?,
        detail: json(row, "detail")?,
    })
}

fn landed_from_row(row: &Row<'_>) -> rusqlite::Result<Landed> {
    Ok(Landed {
        run: row.get("run")?,
        table: row.get("name")?,
        sequence: row.get("sequence")?,
        version: row.get("version")?,
        rows: count(row, "rows")?,
        deleted: count(row, "deleted")?,
    })
}
