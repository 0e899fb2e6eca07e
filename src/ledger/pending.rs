//! Where the next run of a job starts: its watermark, and the rows to try again.

use std::hash::BuildHasher;
use std::ops::Range;

use chrono::{DateTime, Utc};
use datafusion::common::HashSet;
use rusqlite::types::FromSqlError;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::value::RawValue;

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

/// A job's list as it is kept: each run reads it, of thousands of rows, and looks at few.
#[derive(Debug, Clone, Default)]
pub struct PendingList {
    texts: String,
    /// Where in the texts each row's source id is, and which of the keys are its own.
    rows: Vec<(Range<usize>, Range<usize>)>,
    /// Where in the texts each key is.
    keys: Vec<Range<usize>>,
    /// The keys' hashes.
    hashes: HashSet<u64>,
}

impl PendingList {
    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each row's source id, in order, and the keys that it waits for, as [`key_text`] gives them. No keys: it is tried again
    /// each time.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl ExactSizeIterator<Item = &str>)> {
        let key = |at: &Range<usize>| &self.texts[at.clone()];
        self.rows.iter().map(move |(id, keys)| (&self.texts[id.clone()], self.keys[keys.clone()].iter().map(key)))
    }

    /// Whether the row of that id waits.
    pub fn contains(&self, source_id: &str) -> bool {
        self.rows.binary_search_by(|(id, _)| self.texts[id.clone()].cmp(source_id)).is_ok()
    }

    /// Whether a row waits for this key: a no is certain.
    pub fn may_want(&self, key: &str) -> bool {
        self.hashes.contains(&self.hashes.hasher().hash_one(key))
    }

    fn add(&mut self, source_id: &str, wants: Option<&str>) {
        let id = self.text(source_id);
        let first = self.keys.len();
        keys_of(wants.unwrap_or_default(), |key| {
            self.hashes.insert(self.hashes.hasher().hash_one(key));
            let key = self.text(key);
            self.keys.push(key);
        });
        self.rows.push((id, first..self.keys.len()));
    }

    fn text(&mut self, text: &str) -> Range<usize> {
        let from = self.texts.len();
        self.texts.push_str(text);
        from..self.texts.len()
    }
}

/// Hands each key of a list to `take`. A list that cannot be read is none, and the row is tried again.
fn keys_of<'a>(wants: &'a str, mut take: impl FnMut(&'a str)) {
    // Nearly all lists: texts without quotes of their own.
    if let Some(list) = wants.strip_prefix("[\"").and_then(|list| list.strip_suffix("\"]"))
        && !list.contains("\\\"")
    {
        let keys = list.split("\",\"");
        if keys.clone().all(|key| memchr::memchr(b'"', key.as_bytes()).is_none()) {
            return keys.for_each(take);
        }
    }
    let keys: Vec<&RawValue> = serde_json::from_str(wants).unwrap_or_default();
    keys.into_iter().for_each(|key| take(inside(key.get())));
}

/// A JSON text without the quotes around it.
fn inside(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// A key as a [`PendingList`] shows it: as in a JSON text, so that nothing of a list has to be rewritten.
pub fn key_text(key: &str) -> String {
    inside(&serde_json::Value::from(key).to_string()).to_owned()
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

    /// The same as they are kept, which takes a fraction of the time. Read by a connection of its own: everyone else would
    /// wait for the many rows.
    pub fn pending_list(&self, job: &str) -> Result<PendingList> {
        self.read_apart(|c| {
            let mut statement =
                c.prepare_cached("SELECT source_id, wants FROM pending WHERE job = ?1 ORDER BY source_id")?;
            let mut rows = statement.query([job])?;
            let mut list = PendingList::default();
            while let Some(row) = rows.next()? {
                let (id, wants) = (row.get_ref(0)?, row.get_ref(1)?);
                let text = |e: FromSqlError| rusqlite::Error::from(e);
                list.add(id.as_str().map_err(text)?, wants.as_str_or_null().map_err(text)?);
            }
            Ok(list)
        })
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

/// Changes the job's list. A row that is named twice keeps its first reason.
pub(super) fn change(tx: &Transaction<'_>, job: &str, run: &str, change: &PendingChange) -> Result<()> {
    match &change.settled {
        None => {
            tx.execute("DELETE FROM pending WHERE job = ?1", [job])?;
        }
        Some(settled) => {
            let mut delete = tx.prepare_cached("DELETE FROM pending WHERE job = ?1 AND source_id = ?2")?;
            for id in settled {
                delete.execute(params![job, id])?;
            }
        }
    }
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO pending (job, source_id, code, field, run, wants) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut list = Vec::new();
    for row in &change.waiting {
        list.clear();
        serde_json::to_writer(&mut list, &row.wants).map_err(|e| Error::bug("a list of keys is no JSON").source(e))?;
        let wants = (!row.wants.is_empty()).then(|| String::from_utf8_lossy(&list));
        insert.execute(params![job, row.source_id, row.code, row.field, run, wants.as_deref()])?;
    }
    Ok(())
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
    let wants: Option<String> = row.get("wants")?;
    Ok(PendingOf {
        job: row.get("job")?,
        run: row.get("run")?,
        pending: Pending {
            source_id: row.get("source_id")?,
            code: row.get("code")?,
            field: row.get("field")?,
            // A list that cannot be read is none, and the row is tried again.
            wants: wants.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_plain_keys_is_read_as_any_other() {
        for keys in [
            &[][..],
            &[""],
            &["person.Manager\u{1f}a@example.com"],
            &["one", "two"],
            &["a \"quoted\" key", "back\\slash", "a,b", "] ["],
            &["\\"],
            &["\""],
            &["\",\""],
            &["ü\n"],
        ] {
            let list = serde_json::json!(keys).to_string();
            let mut read = Vec::new();
            keys_of(&list, |key| read.push(key.to_owned()));
            assert_eq!(read, keys.iter().map(|key| key_text(key)).collect::<Vec<_>>(), "{list}");
        }
        for broken in ["", "[", "{}", "[1", "[\"a\"", "\"a\"]", "[\"a\",]", "[\"a\" \"b\"]", "[\"a\"b\"]"] {
            keys_of(broken, |key| panic!("{broken} gives {key}"));
        }
    }
}
