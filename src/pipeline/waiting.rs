//! Rows of earlier runs that wait for a record, and which of them are worth another look.
//!
//! A row waits for keys that no record had. Only a record that is new or changed since can have them now, so the mirrors'
//! changes say which rows to decide about again: thousands that wait for what never comes cost next to nothing.
//!
//! # Promises
//! * A row is looked at again in the first run whose mirrors show a record with a key that it waits for.
//! * A row whose keys are not written down is looked at each time.
//! * A row that the extract brings anyway is decided with it, and is then no longer on the list unless it waits again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::HashSet;
use datafusion::common::runtime::SpawnedTask;
use datafusion::prelude::ident;
use datafusion::prelude::lit;
use futures::TryStreamExt;

use crate::config::job::Job;
use crate::error::Error;
use crate::error::Result;
use crate::land::SEQUENCE_COLUMN;
use crate::land::Snapshot;
use crate::ledger::Pending;
use crate::ledger::PendingChange;
use crate::ledger::PendingList;
use crate::ledger::key_text;
use crate::matching;
use crate::matching::LookupKey;

use super::decide::lookup_keys;
use super::source::LandedSource;
use super::world::World;

/// Between a field's name and the key that it waits for.
const OF: char = '\u{1f}';

/// Source ids with what they wait for.
pub(super) type Waiting = BTreeMap<String, Vec<String>>;

/// The keys that the rows of a batch wait for.
pub(super) struct Wants(Vec<(String, StringArray)>);

impl Wants {
    pub(super) fn of(verdicts: &RecordBatch) -> Result<Self> {
        let fields = verdicts.schema_ref().fields().iter().zip(verdicts.columns());
        let wants = fields.filter_map(|(field, column)| Some((field.name().strip_prefix("wants.")?, column)));
        let texts = wants.map(|(field, column)| {
            let text = cast(column, &DataType::Utf8)?;
            Ok((field.to_owned(), text.as_string::<i32>().clone()))
        });
        Ok(Self(texts.collect::<Result<_>>()?))
    }

    /// What a row waits for, as the ledger keeps it.
    pub(super) fn at(&self, row: usize) -> Vec<String> {
        let filled = self.0.iter().filter(|(_, keys)| keys.is_valid(row));
        filled.map(|(field, keys)| want(field, keys.value(row))).collect()
    }
}

/// The list of a job before a run.
#[derive(Debug)]
pub(super) struct Again {
    /// Rows to decide about again.
    pub(super) ids: StringArray,
    /// What the run takes off the list; `None`: everything.
    settled: Option<Vec<String>>,
}

impl Again {
    /// The list after the run, with the rows that wait by now.
    pub(super) fn after(self, waiting: Waiting) -> PendingChange {
        let waiting = waiting.into_iter().map(|(source_id, wants)| Pending {
            source_id,
            code: "LOOKUP_NO_MATCH".to_owned(),
            field: None,
            wants,
        });
        PendingChange { settled: self.settled, waiting: waiting.collect() }
    }
}

/// Whether every row is decided about, so that the list is made anew.
pub(super) fn all_anew(world: &World, job: &Job, source: &LandedSource) -> Result<bool> {
    // The same rows mapped otherwise: what is landed is compared again, without a new extract.
    let remapped = world.ledger.watermark(&job.name)?.is_some_and(|watermark| watermark.spec_hash != job.spec_hash());
    Ok(remapped && !source.run.full)
}

/// The rows that wait, being read: thousands take a while, and the source takes one too.
#[derive(Debug)]
pub(super) struct Reading(SpawnedTask<Result<PendingList>>);

impl Reading {
    /// Begins to read. The job's lease must be held: nobody else changes the list then.
    pub(super) fn begin(world: &World, job: &Job) -> Self {
        let (ledger, job) = (world.ledger.clone(), job.name.clone());
        Self(SpawnedTask::spawn_blocking(move || ledger.pending_list(&job)))
    }

    async fn end(self) -> Result<PendingList> {
        self.0.join().await.map_err(|error| Error::bug("the list of waiting rows was not read").source(error))?
    }
}

/// The rows that wait before a run.
#[derive(Debug)]
pub(super) struct Listed {
    rows: PendingList,
    /// Those of them that the extract brings, deleted ones among them.
    extracted: Vec<String>,
}

impl Listed {
    /// Whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The rows that wait, as far as they are not all decided about anyway; `reading` may have begun with the source.
pub(super) async fn list(
    world: &World,
    job: &Job,
    source: &LandedSource,
    everything: bool,
    reading: Option<Reading>,
) -> Result<Option<Listed>> {
    if source.run.full || everything {
        return Ok(None);
    }
    let rows = reading.unwrap_or_else(|| Reading::begin(world, job)).end().await?;
    let extracted = extracted(world, source, &rows).await?;
    Ok(Some(Listed { rows, extracted }))
}

/// Chooses among the rows that wait.
pub(super) async fn again(
    world: &World,
    job: &Job,
    source: &LandedSource,
    listed: Option<Listed>,
    mirrors: &BTreeMap<String, Snapshot>,
) -> Result<Again> {
    let Some(Listed { rows, extracted: mut settled }) = listed else {
        return Ok(Again { ids: StringArray::from(Vec::<&str>::new()), settled: None });
    };
    let come = match world.ledger.last_success(&job.name)? {
        Some(begun) if rows.iter().any(|(_, wants)| wants.len() > 0) => {
            let keys = lookup_keys(job, source, mirrors)?;
            come(world, &keys, mirrors, begun.timestamp_micros(), &rows).await?
        }
        _ => HashSet::default(),
    };
    let due = rows.iter().filter_map(|(id, mut wants)| {
        let is_due = wants.len() == 0 || wants.any(|key| come.contains(key));
        is_due.then_some(id)
    });
    let again: Vec<&str> = due.collect();
    settled.extend(again.iter().map(|id| (*id).to_owned()));
    Ok(Again { ids: StringArray::from(again), settled: Some(settled) })
}

/// The keys of records which the mirrors have shown since `begun`: all for which one of `rows` waits, and few others.
async fn come(
    world: &World,
    keys: &[LookupKey],
    mirrors: &BTreeMap<String, Snapshot>,
    begun: i64,
    rows: &PendingList,
) -> Result<HashSet<String>> {
    let session = world.engine.session();
    matching::register(&session);
    let mut come = HashSet::default();
    for lookup in keys {
        let Some(mirror) = mirrors.get(&lookup.object) else { continue };
        // Nobody may wait for a record of this lookup, and its mirror may have a million new ones.
        let prefix = key_text(&want(&lookup.field, ""));
        if !rows.iter().any(|(_, mut wants)| wants.any(|key| key.starts_with(&prefix))) {
            continue;
        }
        let name = format!("log_{}", lookup.object);
        if !session.table_exist(name.as_str())? {
            session.register_table(name.as_str(), mirror.log()?)?;
        }
        let log = session.table(name.as_str()).await?;
        let key = session.parse_sql_expr(&lookup.key, log.schema())?;
        let mut records =
            log.filter(ident(SEQUENCE_COLUMN).gt(lit(begun)))?.select(vec![key.alias("key")])?.execute_stream().await?;
        while let Some(batch) = records.try_next().await? {
            let keys = cast(batch.column(0), &DataType::Utf8)?;
            let texts = keys.as_string::<i32>().iter().flatten().map(|key| key_text(&want(&lookup.field, key)));
            come.extend(texts.filter(|key| rows.may_want(key)));
        }
    }
    Ok(come)
}

/// What a row waits for, as the ledger keeps it.
fn want(field: &impl Display, key: &str) -> String {
    format!("{field}{OF}{key}")
}

/// Those of the waiting rows that the extract brings, deleted ones among them.
async fn extracted(world: &World, source: &LandedSource, waiting: &PendingList) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if waiting.is_empty() || source.landed.rows == 0 {
        return Ok(found);
    }
    let session = world.engine.session();
    session.register_table("extract", Arc::clone(&source.snapshot.written_at(source.landed.sequence)?))?;
    let mut rows = session.table("extract").await?.select(vec![ident("Id")])?.execute_stream().await?;
    while let Some(batch) = rows.try_next().await? {
        let ids = cast(batch.column(0), &DataType::Utf8)?;
        found.extend(ids.as_string::<i32>().iter().flatten().filter(|id| waiting.contains(id)).map(str::to_owned));
    }
    Ok(found)
}
