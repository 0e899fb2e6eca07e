//! Where the next run of a job starts: its watermark, and the rows to try again.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use chrono::{DateTime, Utc};
use datafusion::common::HashSet;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Ledger;
use super::values::{micros, time};
use crate::error::Error;
use crate::error::Result;

/// Up to where a job's source has been dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// Everything that changed before is done.
    pub until: DateTime<Utc>,
    /// `Job::source_hash` of the run that moved it; another one means that everything must be read again.
    pub source_hash: String,
    /// `Job::spec_hash` of that run; another one means that every row must be compared again.
    pub spec_hash: String,
}

/// A row that waits for something that was missing, and is tried again by the next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The source row.
    pub source_id: String,
    /// Why, as in the rejects.
    pub code: String,
    /// The target field, if one is to blame.
    pub field: Option<String>,
    /// The keys that it waits for, as its pipeline writes them down. Empty: it is tried again each time.
    pub wants: Vec<String>,
}

/// What rows of a list are looked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingBy {
    /// Their source ids.
    Id,
    /// Keys that they wait for.
    Want,
}

/// Looks for rows of a job's list by many texts of which few are on it: the list may have a hundred thousand rows, and a
/// run has to do with some hundred of them.
#[derive(Debug)]
pub struct PendingSearch {
    ledger: Ledger,
    job: String,
    by: PendingBy,
    asked: usize,
    /// Hashes of all texts of the list, once more have been asked for than it pays to look for one by one.
    all: Option<HashSet<u64>>,
}

/// Texts that are looked for one by one. To read the whole list takes as long as looking for some ten thousand.
const ONE_BY_ONE: usize = 8_192;

impl PendingSearch {
    /// Adds the source ids of the rows that have one of `texts` to `found`.
    pub fn find<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>, found: &mut BTreeSet<String>) -> Result<()> {
        let (one, all) = match self.by {
            PendingBy::Id => (
                "SELECT source_id FROM pending WHERE job = ?1 AND source_id = ?2",
                "SELECT source_id FROM pending WHERE job = ?1",
            ),
            PendingBy::Want => (
                "SELECT source_id FROM pending_wants WHERE job = ?1 AND want = ?2",
                "SELECT DISTINCT want FROM pending_wants WHERE job = ?1",
            ),
        };
        self.ledger.read(|c| {
            let mut statement = c.prepare_cached(one)?;
            for text in texts {
                self.asked += 1;
                if self.asked > ONE_BY_ONE {
                    let all = match &mut self.all {
                        Some(all) => all,
                        none => none.insert(hashes(c, all, &self.job)?),
                    };
                    if !all.contains(&all.hasher().hash_one(text)) {
                        continue;
                    }
                }
                let mut rows = statement.query([&self.job, text])?;
                while let Some(row) = rows.next()? {
                    found.insert(row.get(0)?);
                }
            }
            Ok(())
        })
    }
}

/// Hashes of the texts that `query` gives of the job.
fn hashes(connection: &Connection, query: &str, job: &str) -> Result<HashSet<u64>> {
    let mut hashes: HashSet<u64> = HashSet::default();
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([job])?;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        hashes.insert(hashes.hasher().hash_one(text));
    }
    Ok(hashes)
}

/// What a run changes in the list of the rows to try again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PendingChange {
    /// Source ids that are no longer waited for; `None`: all of the list.
    pub settled: Option<Vec<String>>,
    /// Rows to try again.
    pub waiting: Vec<Pending>,
}

impl From<Vec<Pending>> for PendingChange {
    /// A list in place of the job's.
    fn from(waiting: Vec<Pending>) -> Self {
        Self { settled: None, waiting }
    }
}

/// A watermark with its job, as `activity` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkOf {
    /// The job.
    pub job: String,
    /// The run that moved it.
    pub run: String,
    /// The watermark.
    pub watermark: Watermark,
}

/// A row to try again with its job, as `activity` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingOf {
    /// The job.
    pub job: String,
    /// The run that left it.
    pub run: String,
    /// The row.
    pub pending: Pending,
}

impl Ledger {
    /// The job's watermark; `None` before its first success.
    pub fn watermark(&self, job: &str) -> Result<Option<Watermark>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM watermarks WHERE job = ?1")?;
            Ok(statement.query_row([job], watermark_from_row).optional()?.map(|of| of.watermark))
        })
    }

    /// Every job's watermark.
    pub fn watermarks(&self) -> Result<Vec<WatermarkOf>> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT * FROM watermarks ORDER BY job")?;
            let rows = statement.query_map([], watermark_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The rows that later runs of the job try again, by source id.
    pub fn pending(&self, job: &str) -> Result<Vec<Pending>> {
        Ok(self.pending_of(Some(job))?.into_iter().map(|of| of.pending).collect())
    }

    /// Whether rows of the job wait.
    pub fn has_pending(&self, job: &str) -> Result<bool> {
        self.read(|c| {
            let mut statement = c.prepare_cached("SELECT 1 FROM pending WHERE job = ?1 LIMIT 1")?;
            Ok(statement.exists([job])?)
        })
    }

    /// Whether rows of the job wait for a key that begins like this.
    pub fn is_wanted(&self, job: &str, prefix: &str) -> Result<bool> {
        self.read(|c| {
            let next = "SELECT want FROM pending_wants WHERE job = ?1 AND want >= ?2 ORDER BY want LIMIT 1";
            let next: Option<String> = c.prepare_cached(next)?.query_row([job, prefix], |row| row.get(0)).optional()?;
            Ok(next.is_some_and(|want| want.starts_with(prefix)))
        })
    }

    /// Looks for rows of the job's list.
    pub fn search_pending(&self, job: &str, by: PendingBy) -> PendingSearch {
        PendingSearch { ledger: self.clone(), job: job.to_owned(), by, asked: 0, all: None }
    }

    /// The rows to try again of one job, or of all.
    pub fn pending_of(&self, job: Option<&str>) -> Result<Vec<PendingOf>> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT * FROM pending WHERE ?1 IS NULL OR job = ?1 ORDER BY job, source_id")?;
            let rows = statement.query_map([job], pending_from_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

pub(super) fn set_watermark(tx: &Transaction<'_>, job: &str, run: &str, watermark: &Watermark) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO watermarks (job, until_at, source_hash, spec_hash, run) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![job, micros(watermark.until), watermark.source_hash, watermark.spec_hash, run],
    )?;
    Ok(())
}

/// What a row has among the keys of all that tells no key: it is tried again each time.
pub const NO_KEY: &str = "";

/// Changes the job's list. A row that is named twice keeps its first reason.
pub(super) fn change(tx: &Transaction<'_>, job: &str, run: &str, change: &PendingChange) -> Result<()> {
    match &change.settled {
        None => {
            tx.execute("DELETE FROM pending WHERE job = ?1", [job])?;
            tx.execute("DELETE FROM pending_wants WHERE job = ?1", [job])?;
        }
        Some(settled) => {
            let mut delete =
                tx.prepare_cached("DELETE FROM pending WHERE job = ?1 AND source_id = ?2 RETURNING wants")?;
            let mut delete_want =
                tx.prepare_cached("DELETE FROM pending_wants WHERE job = ?1 AND want = ?2 AND source_id = ?3")?;
            for id in settled {
                let wants = delete.query_row([job, id], |row| row.get(0)).optional()?;
                let Some(wants) = wants.map(keys_of) else { continue };
                for want in each_want(&wants) {
                    delete_want.execute([job, want, id])?;
                }
            }
        }
    }
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO pending (job, source_id, code, field, run, wants) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let (mut list, mut wanted) = (Vec::new(), Vec::new());
    for row in &change.waiting {
        list.clear();
        serde_json::to_writer(&mut list, &row.wants).map_err(|e| Error::bug("a list of keys is no JSON").source(e))?;
        let wants = (!row.wants.is_empty()).then(|| String::from_utf8_lossy(&list));
        if insert.execute(params![job, row.source_id, row.code, row.field, run, wants.as_deref()])? > 0 {
            wanted.extend(each_want(&row.wants).map(|want| (want, row.source_id.as_str())));
        }
    }
    // in the table's order, which is how a list of many grows fastest
    wanted.sort_unstable();
    let mut insert =
        tx.prepare_cached("INSERT OR IGNORE INTO pending_wants (job, want, source_id) VALUES (?1, ?2, ?3)")?;
    for (want, id) in wanted {
        insert.execute([job, want, id])?;
    }
    Ok(())
}

/// What stands for a row among the keys of all.
fn each_want(wants: &[String]) -> impl Iterator<Item = &str> {
    let none = wants.is_empty().then_some(NO_KEY);
    wants.iter().map(String::as_str).chain(none)
}

/// The keys as a row of the list has them. A list that cannot be read is none, and the row is tried again.
fn keys_of(wants: Option<String>) -> Vec<String> {
    wants.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default()
}

fn watermark_from_row(row: &Row<'_>) -> rusqlite::Result<WatermarkOf> {
    Ok(WatermarkOf {
        job: row.get("job")?,
        run: row.get("run")?,
        watermark: Watermark {
            until: time(row, "until_at")?,
            source_hash: row.get("source_hash")?,
            spec_hash: row.get("spec_hash")?,
        },
    })
}

fn pending_from_row(row: &Row<'_>) -> rusqlite::Result<PendingOf> {
    Ok(PendingOf {
        job: row.get("job")?,
        run: row.get("run")?,
        pending: Pending {
            source_id: row.get("source_id")?,
            code: row.get("code")?,
            field: row.get("field")?,
            wants: keys_of(row.get("wants")?),
        },
    })
}
