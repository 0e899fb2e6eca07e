//! Pieces of work sent to the target: noted before they are sent, and again when the answer is in.
//!
//! A chunk without an end was on its way when its process ended: the target may or may not have taken it. Its rows are
//! looked up by key before they are inserted again.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Ledger;
use super::values::{count, maybe_time, stored, time};
use crate::error::Error;
use crate::error::Result;

/// A chunk that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// How it is sent: `users`, `people`, `people_async`, `object_insert`, `object_update`, `bulk`, …
    pub route: String,
    /// The object, in lower case.
    pub object: String,
    /// Rows in it.
    pub rows: u64,
    /// A hash over the keys of its rows, so that the same chunk is known again.
    pub keys_hash: String,
}

/// A chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its number in the ledger.
    pub id: i64,
    /// The run.
    pub run: String,
    /// How it was sent.
    pub route: String,
    /// The object.
    pub object: String,
    /// Rows in it.
    pub rows: u64,
    /// A hash over the keys of its rows.
    pub keys_hash: String,
    /// The target's name for it, where the work is asynchronous.
    pub status_id: Option<String>,
    /// When it was about to be sent.
    pub begun_at: DateTime<Utc>,
    /// When its answer was in.
    pub ended_at: Option<DateTime<Utc>>,
    /// Rows that became records.
    pub inserted: u64,
    /// Rows that changed records.
    pub updated: u64,
    /// Rows that were refused.
    pub rejected: u64,
}

impl Ledger {
    /// Notes a chunk before it is sent, and gives it a number.
    pub fn begin_chunk(&self, run: &str, chunk: &NewChunk) -> Result<i64> {
        let now = self.now();
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO chunks (run, route, object, rows, keys_hash, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![run, chunk.route, chunk.object, stored(chunk.rows), chunk.keys_hash, now])?;
            Ok(tx.last_insert_rowid())
        })
    }

    /// Notes the name that the target gave to an asynchronous chunk.
    pub fn note_status_id(&self, chunk: i64, status_id: &str) -> Result<()> {
        self.write(|tx| {
            let changed = tx
                .prepare_cached("UPDATE chunks SET status_id = ?2 WHERE id = ?1")?
                .execute(params![chunk, status_id])?;
            must_exist(chunk, changed)
        })
    }

    /// Notes the answer.
    pub fn end_chunk(&self, chunk: i64, inserted: u64, updated: u64, rejected: u64) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE chunks SET ended_at = ?2, inserted = ?3, updated = ?4, rejected = ?5 WHERE id = ?1",
                )?
                .execute(params![chunk, now, stored(inserted), stored(updated), stored(rejected)])?;
            must_exist(chunk, changed)
        })
    }

    /// The chunks of a run whose answer was never noted.
    pub fn open_chunks(&self, run: &str) -> Result<Vec<Chunk>> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM chunks WHERE run = ?1 AND ended_at IS NULL ORDER BY id")?;
            let rows = statement.query_map([run], from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The chunks of one run, or of all, in order.
    pub fn chunks(&self, run: Option<&str>) -> Result<Vec<Chunk>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM chunks WHERE ?1 IS NULL OR run = ?1 ORDER BY id")?;
            let rows = statement.query_map([run], from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

fn must_exist(chunk: i64, changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(Error::bug(format!("the ledger has no chunk {chunk}"))) }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Chunk> {
    Ok(Chunk {
        id: row.get("id")?,
        run: row.get("run")?,
        route: row.get("route")?,
        object: row.get("object")?,
        rows: count(row, "rows")?,
        keys_hash: row.get("keys_hash")?,
        status_id: row.get("status_id")?,
        begun_at: time(row, "begun_at")?,
        ended_at: maybe_time(row, "ended_at")?,
        inserted: count(row, "inserted")?,
        updated: count(row, "updated")?,
        rejected: count(row, "rejected")?,
    })
}
