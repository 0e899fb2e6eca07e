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
use std::collections::HashMap;
use std::collections::HashSet;
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
        filled.map(|(field, keys)| format!("{field}{OF}{}", keys.value(row))).collect()
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

/// The rows that wait, as far as they are not all decided about anyway.
pub(super) fn list(world: &World, job: &Job, source: &LandedSource, everything: bool) -> Result<Option<Vec<Pending>>> {
    let all = source.run.full || everything;
    if all { Ok(None) } else { world.ledger.pending(&job.name).map(Some) }
}

/// Chooses among the rows that wait.
pub(super) async fn again(
    world: &World,
    job: &Job,
    source: &LandedSource,
    pending: Option<Vec<Pending>>,
    mirrors: &BTreeMap<String, Snapshot>,
) -> Result<Again> {
    let Some(pending) = pending else {
        return Ok(Again { ids: StringArray::from(Vec::<&str>::new()), settled: None });
    };
    let come = match world.ledger.last_success(&job.name)? {
        Some(begun) if pending.iter().any(|row| !row.wants.is_empty()) => {
            let keys = lookup_keys(job, source, mirrors)?;
            come(world, &keys, mirrors, begun.timestamp_micros(), &pending).await?
        }
        _ => HashSet::new(),
    };
    let again: BTreeSet<&str> = pending
        .iter()
        .filter(|row| row.wants.is_empty() || row.wants.iter().any(|key| come.contains(key)))
        .map(|row| row.source_id.as_str())
        .collect();
    let ids = StringArray::from_iter_values(&again);
    let mut settled = extracted(world, source, &pending).await?;
    settled.extend(again.into_iter().map(str::to_owned));
    Ok(Again { ids, settled: Some(settled) })
}

/// Those of the wanted keys that a record has which the mirrors have shown since `begun`.
async fn come(
    world: &World,
    keys: &[LookupKey],
    mirrors: &BTreeMap<String, Snapshot>,
    begun: i64,
    pending: &[Pending],
) -> Result<HashSet<String>> {
    let mut wanted: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (field, key) in pending.iter().flat_map(|row| &row.wants).filter_map(|want| want.split_once(OF)) {
        wanted.entry(field).or_default().insert(key);
    }
    let session = world.engine.session();
    matching::register(&session);
    let mut come = HashSet::new();
    for lookup in keys {
        let field = lookup.field.to_string();
        let (Some(wanted), Some(mirror)) = (wanted.get(&*field), mirrors.get(&lookup.object)) else { continue };
        let name = format!("log_{}", lookup.object);
        if !session.table_exist(name.as_str())? {
            session.register_table(name.as_str(), mirror.log()?)?;
        }
        let log = session.table(name.as_str()).await?;
        let key = session.parse_sql_expr(&lookup.key, log.schema())?;
        let mut rows =
            log.filter(ident(SEQUENCE_COLUMN).gt(lit(begun)))?.select(vec![key.alias("key")])?.execute_stream().await?;
        while let Some(batch) = rows.try_next().await? {
            let keys = cast(batch.column(0), &DataType::Utf8)?;
            let found = keys.as_string::<i32>().iter().flatten().filter(|key| wanted.contains(key));
            come.extend(found.map(|key| format!("{field}{OF}{key}")));
        }
    }
    Ok(come)
}

/// The waiting rows that the extract brings, deleted ones among them.
async fn extracted(world: &World, source: &LandedSource, pending: &[Pending]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if pending.is_empty() || source.landed.rows == 0 {
        return Ok(found);
    }
    let waiting: HashSet<&str> = pending.iter().map(|row| row.source_id.as_str()).collect();
    let session = world.engine.session();
    session.register_table("extract", Arc::clone(&source.snapshot.written_at(source.landed.sequence)?))?;
    let mut rows = session.table("extract").await?.select(vec![ident("Id")])?.execute_stream().await?;
    while let Some(batch) = rows.try_next().await? {
        let ids = cast(batch.column(0), &DataType::Utf8)?;
        found.extend(ids.as_string::<i32>().iter().flatten().filter(|id| waiting.contains(id)).map(str::to_owned));
    }
    Ok(found)
}
