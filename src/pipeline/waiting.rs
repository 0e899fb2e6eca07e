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
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::ident;
use datafusion::prelude::lit;
use futures::TryStreamExt;

use crate::config::job::Job;
use crate::error::Result;
use crate::land::SEQUENCE_COLUMN;
use crate::land::Snapshot;
use crate::ledger::Pending;
use crate::ledger::PendingChange;
use crate::ledger::Want;
use crate::ledger::WantsOf;
use crate::matching;

use super::decide::lookup_keys;
use super::source::LandedSource;
use super::world::World;

/// Source ids with what they wait for.
pub(super) type Waiting = BTreeMap<String, Vec<Want>>;

/// The keys that the rows of a batch wait for.
pub(super) struct Wants(Vec<(WantsOf, StringArray)>);

impl Wants {
    pub(super) fn of(verdicts: &RecordBatch) -> Result<Self> {
        let fields = verdicts.schema_ref().fields().iter().zip(verdicts.columns());
        let wants = fields.filter_map(|(field, column)| Some((field.name().strip_prefix("wants.")?, column)));
        let texts = wants.map(|(field, column)| {
            let text = cast(column, &DataType::Utf8)?;
            Ok((WantsOf::lookup(field), text.as_string::<i32>().clone()))
        });
        Ok(Self(texts.collect::<Result<_>>()?))
    }

    /// What a row waits for.
    pub(super) fn at(&self, row: usize) -> Vec<Want> {
        let filled = self.0.iter().filter(|(_, keys)| keys.is_valid(row));
        filled.map(|(lookup, keys)| lookup.want(keys.value(row))).collect()
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
        let waiting = waiting.into_iter().map(|(source_id, wants)| Pending { source_id, wants });
        PendingChange { settled: self.settled, waiting: waiting.collect() }
    }
}

/// Whether every row is decided about, so that the list is made anew.
pub(super) fn all_anew(world: &World, job: &Job, source: &LandedSource) -> Result<bool> {
    // The same rows mapped otherwise: what is landed is compared again, without a new extract.
    let remapped = world.ledger.watermark(&job.name)?.is_some_and(|watermark| watermark.spec_hash != job.spec_hash());
    Ok(remapped && !source.run.full)
}

/// The rows that wait before a run, as far as it has to look among them.
#[derive(Debug)]
pub(super) struct Listed {
    is_empty: bool,
    /// Those of them that the extract brings, deleted ones among them.
    extracted: BTreeSet<String>,
}

impl Listed {
    /// Whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }
}

/// The rows that wait, as far as they are not all decided about anyway.
pub(super) async fn list(world: &World, job: &Job, source: &LandedSource, everything: bool) -> Result<Option<Listed>> {
    if source.run.full || everything {
        return Ok(None);
    }
    let is_empty = !world.ledger.has_pending(&job.name)?;
    let extracted = if is_empty { BTreeSet::new() } else { extracted(world, job, source).await? };
    Ok(Some(Listed { is_empty, extracted }))
}

/// Chooses among the rows that wait.
pub(super) async fn again(
    world: &World,
    job: &Job,
    source: &LandedSource,
    listed: Option<Listed>,
    mirrors: &BTreeMap<String, Snapshot>,
) -> Result<Again> {
    let (due, settled) = match listed {
        None => (BTreeSet::new(), None),
        Some(Listed { is_empty: true, .. }) => (BTreeSet::new(), Some(Vec::new())),
        Some(Listed { extracted, .. }) => {
            let due = due(world, job, source, mirrors).await?;
            let settled = extracted.into_iter().chain(due.iter().cloned()).collect();
            (due, Some(settled))
        }
    };
    Ok(Again { ids: StringArray::from_iter_values(due), settled })
}

/// The waiting rows that are worth another look: those that tell no key, and those for whose keys the mirrors have shown a
/// record since the last success.
async fn due(
    world: &World,
    job: &Job,
    source: &LandedSource,
    mirrors: &BTreeMap<String, Snapshot>,
) -> Result<BTreeSet<String>> {
    let mut due = BTreeSet::new();
    let mut search = world.ledger.search_pending::<Want>(&job.name);
    search.find([&Want::UNKNOWN], &mut due)?;
    let Some(begun) = world.ledger.last_success(&job.name)? else { return Ok(due) };
    let session = world.engine.session();
    matching::register(&session);
    for lookup in lookup_keys(job, source, mirrors)? {
        let Some(mirror) = mirrors.get(&lookup.object) else { continue };
        // Nobody may wait for a record of this lookup, and its mirror may have a million new ones.
        let wants = WantsOf::lookup(&lookup.field.to_string());
        if !world.ledger.has_pending_of(&job.name, wants)? {
            continue;
        }
        let name = format!("log_{}", lookup.object);
        if !session.table_exist(name.as_str())? {
            session.register_table(name.as_str(), mirror.log()?)?;
        }
        let log = session.table(name.as_str()).await?;
        let key = session.parse_sql_expr(&lookup.key, log.schema())?;
        let is_new = ident(SEQUENCE_COLUMN).gt(lit(begun.timestamp_micros()));
        let mut records = log.filter(is_new)?.select(vec![key.alias("key")])?.execute_stream().await?;
        while let Some(batch) = records.try_next().await? {
            let keys = cast(batch.column(0), &DataType::Utf8)?;
            let wants: Vec<_> = keys.as_string::<i32>().iter().flatten().map(|key| wants.want(key)).collect();
            search.find(&wants, &mut due)?;
        }
    }
    Ok(due)
}

/// Those of the waiting rows that the extract brings, deleted ones among them.
async fn extracted(world: &World, job: &Job, source: &LandedSource) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    if source.landed.rows == 0 {
        return Ok(found);
    }
    let mut search = world.ledger.search_pending::<str>(&job.name);
    let session = world.engine.session();
    session.register_table("extract", Arc::clone(&source.snapshot.written_at(source.landed.sequence)?))?;
    let mut rows = session.table("extract").await?.select(vec![ident("Id")])?.execute_stream().await?;
    while let Some(batch) = rows.try_next().await? {
        let ids = cast(batch.column(0), &DataType::Utf8)?;
        search.find(ids.as_string::<i32>().iter().flatten(), &mut found)?;
    }
    Ok(found)
}
