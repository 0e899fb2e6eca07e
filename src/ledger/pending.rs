//! Where the next run of a job starts: its watermark, and the rows to try again.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use datafusion::common::HashSet;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use twox_hash::XxHash32;

use super::Ledger;
use super::values::{micros, time};
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

/// A key that a row waits for, as a number: its upper half is the lookup's, its lower half the key's. Where two keys have
/// one number a row is looked at in vain, no more. The numbers are kept in files: another way to work them out needs
/// another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want(i64);

impl Want {
    /// Stands for keys that are not known: its row is tried again each time.
    pub const UNKNOWN: Self = Self(0);
}

/// What rows wait for in one lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantsOf(u32);

impl WantsOf {
    /// Of the lookup with this name.
    pub fn lookup(name: &str) -> Self {
        Self(XxHash32::oneshot(0, name.as_bytes()))
    }

    /// That for a key.
    pub fn want(self, key: &str) -> Want {
        self.at(XxHash32::oneshot(0, key.as_bytes()))
    }

    fn at(self, key: u32) -> Want {
        Want((u64::from(self.0) << 32 | u64::from(key)).cast_signed())
    }
}

/// A row that waits for something that was missing, and is tried again by the next run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The source row.
    pub source_id: String,
    /// What it waits for. Empty: it is tried again each time.
    pub wants: Vec<Want>,
}

/// What rows of a list are looked for by: `str`, their source id, or [`Want`].
pub trait PendingKey {
    /// The source ids of the rows of job `?1` that have `?2`.
    #[doc(hidden)]
    const ONE: &str;
    /// What the rows of job `?1` have.
    #[doc(hidden)]
    const ALL: &str;

    /// As it is kept.
    #[doc(hidden)]
    fn value(&self) -> ValueRef<'_>;
}

impl PendingKey for str {
    const ONE: &str = "SELECT source_id FROM pending_rows
        WHERE list = (SELECT id FROM pending_lists WHERE job = ?1) AND source_id = ?2 LIMIT 1";
    const ALL: &str = "SELECT source_id FROM pending_rows WHERE list = (SELECT id FROM pending_lists WHERE job = ?1)";

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Text(self.as_bytes())
    }
}

impl PendingKey for Want {
    const ONE: &str = "SELECT source_id FROM pending_rows
        WHERE list = (SELECT id FROM pending_lists WHERE job = ?1) AND want = ?2";
    const ALL: &str = "SELECT want FROM pending_rows WHERE list = (SELECT id FROM pending_lists WHERE job = ?1)";

    fn value(&self) -> ValueRef<'_> {
        ValueRef::Integer(self.0)
    }
}

/// Looks for rows of a job's list by many keys of which few are on it: the list may have a hundred thousand rows, and a run
/// has to do with some hundred of them.
#[derive(Debug)]
pub struct PendingSearch<K: PendingKey + ?Sized> {
    ledger: Ledger,
    job: String,
    asked: usize,
    /// Hashes of all keys of the list, once more have been asked for than it pays to look for one by one.
    all: Option<HashSet<u64>>,
    keys: PhantomData<fn(&K)>,
}

/// Keys that are looked for one by one: to read a list of a hundred thousand takes as long as looking for some ten thousand.
const ONE_BY_ONE: usize = 8_192;

impl<K: PendingKey + ?Sized> PendingSearch<K> {
    /// Adds the source ids of the rows that have one of `keys` to `found`.
    pub fn find<'k>(&mut self, keys: impl IntoIterator<Item = &'k K>, found: &mut BTreeSet<String>) -> Result<()>
    where
        K: 'k,
    {
        self.ledger.read(|c| {
            let mut statement = c.prepare_cached(K::ONE)?;
            for key in keys {
                self.asked += 1;
                if self.asked > ONE_BY_ONE {
                    let all = match &mut self.all {
                        Some(all) => all,
                        none => none.insert(hashes(c, K::ALL, &self.job)?),
                    };
                    if !all.contains(&hash(all, key.value())?) {
                        continue;
                    }
                }
                let mut rows = statement.query(params![self.job, ToSqlOutput::Borrowed(key.value())])?;
                while let Some(row) = rows.next()? {
                    found.insert(row.get(0)?);
                }
            }
            Ok(())
        })
    }
}

/// Hashes of what `query` gives of the job.
fn hashes(connection: &Connection, query: &str, job: &str) -> Result<HashSet<u64>> {
    let mut hashes = HashSet::default();
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([job])?;
    while let Some(row) = rows.next()? {
        hashes.insert(hash(&hashes, row.get_ref(0)?)?);
    }
    Ok(hashes)
}

fn hash(hashes: &HashSet<u64>, value: ValueRef<'_>) -> Result<u64> {
    Ok(match value {
        ValueRef::Text(text) => hashes.hasher().hash_one(text),
        value => hashes.hasher().hash_one(value.as_i64().map_err(rusqlite::Error::from)?),
    })
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
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT source_id, want FROM pending_rows WHERE list = (SELECT id FROM pending_lists WHERE job = ?1)
                 ORDER BY source_id, want",
            )?;
            let mut rows = statement.query([job])?;
            let mut list: Vec<Pending> = Vec::new();
            while let Some(row) = rows.next()? {
                let (source_id, want): (String, _) = (row.get(0)?, Want(row.get(1)?));
                let want = (want != Want::UNKNOWN).then_some(want);
                match list.last_mut().filter(|last| last.source_id == source_id) {
                    Some(last) => last.wants.extend(want),
                    None => list.push(Pending { source_id, wants: want.into_iter().collect() }),
                }
            }
            Ok(list)
        })
    }

    /// Whether rows of the job wait.
    pub fn has_pending(&self, job: &str) -> Result<bool> {
        self.read(|c| {
            let any = "SELECT 1 FROM pending_rows WHERE list = (SELECT id FROM pending_lists WHERE job = ?1)";
            Ok(c.prepare_cached(any)?.exists([job])?)
        })
    }

    /// Whether rows of the job wait for anything in a lookup.
    pub fn has_pending_of(&self, job: &str, lookup: WantsOf) -> Result<bool> {
        self.read(|c| {
            let any = "SELECT 1 FROM pending_rows
                WHERE list = (SELECT id FROM pending_lists WHERE job = ?1) AND want BETWEEN ?2 AND ?3";
            Ok(c.prepare_cached(any)?.exists(params![job, lookup.at(0).0, lookup.at(u32::MAX).0])?)
        })
    }

    /// Looks for rows of the job's list.
    pub fn search_pending<K: PendingKey + ?Sized>(&self, job: &str) -> PendingSearch<K> {
        PendingSearch { ledger: self.clone(), job: job.to_owned(), asked: 0, all: None, keys: PhantomData }
    }
}

pub(super) fn set_watermark(tx: &Transaction<'_>, job: &str, run: &str, watermark: &Watermark) -> Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO watermarks (job, until_at, source_hash, spec_hash, run) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![job, micros(watermark.until), watermark.source_hash, watermark.spec_hash, run],
    )?;
    Ok(())
}

/// Changes the job's list. A row that is named again waits for either.
pub(super) fn change(tx: &Transaction<'_>, job: &str, change: &PendingChange) -> Result<()> {
    tx.execute("INSERT OR IGNORE INTO pending_lists (job) VALUES (?1)", [job])?;
    let list: i64 = tx.query_row("SELECT id FROM pending_lists WHERE job = ?1", [job], |row| row.get(0))?;
    match &change.settled {
        None => {
            tx.execute("DELETE FROM pending_rows WHERE list = ?1", [list])?;
        }
        Some(settled) => {
            let mut delete = tx.prepare_cached("DELETE FROM pending_rows WHERE list = ?1 AND source_id = ?2")?;
            for id in settled {
                delete.execute(params![list, id])?;
            }
        }
    }
    let mut insert =
        tx.prepare_cached("INSERT OR IGNORE INTO pending_rows (list, source_id, want) VALUES (?1, ?2, ?3)")?;
    for row in &change.waiting {
        let unknown = row.wants.is_empty().then_some(Want::UNKNOWN);
        for want in row.wants.iter().copied().chain(unknown) {
            insert.execute(params![list, row.source_id, want.0])?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_stay_what_they_are() {
        let manager = WantsOf::lookup("company_person.Manager");
        assert_eq!(manager.want("jane@x.org"), Want(8_072_573_256_340_581_104));
        assert!(manager.at(0) <= manager.want("a") && manager.want("a") <= manager.at(u32::MAX));
    }
}
