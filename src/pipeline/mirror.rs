//! Mirrors of the Gainsight objects that a job writes or looks up, kept current by what changed in the tenant.
//!
//! The tenant's own `ModifiedDate` and its delete log say what changed since the last look, so our own writes, those
//! of other tools and those of a run that crashed all arrive in the same way. A mirror is read whole when there is
//! none, when a job needs a field that it lacks, and when the delete log may have forgotten (15 days).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::SchemaRef;
use futures::TryStreamExt;

use crate::config::job::Job;
use crate::connect::gainsight::{GainsightClient, ObjectMetadata};
use crate::error::Error;
use crate::error::Result;
use crate::extract::gainsight;
use crate::land::{Commit, Mode, Snapshot, TableName};
use crate::ledger::MirrorState;
use crate::matching;

use super::world::World;

/// Rows modified this shortly before the last look are read again: the tenant may have shown them late.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// Share of a table's base that changes may reach before they are folded in.
pub(super) const COMPACT_AT: f64 = 0.2;
/// `record_delete_log` keeps 15 days (gainsight-api §2.6); one day is left as margin.
const DELETE_LOG_REACH: TimeDelta = TimeDelta::days(14);

/// Every Gainsight object that `job` writes or looks up.
pub(super) fn objects_of(job: &Job) -> BTreeSet<String> {
    matching::objects(job, &job.target.person_key()).into_keys().collect()
}

/// The fields of `object` that any job of the project maps, matches by or derives: a mirror serves them all.
pub(super) fn fields_of(world: &World, connection: &str, object: &str) -> BTreeSet<String> {
    let jobs = world.project.jobs.values().filter(|job| job.gainsight == connection);
    jobs.flat_map(|job| matching::objects(job, &job.target.person_key()).remove(object).unwrap_or_default()).collect()
}

/// The name of a mirror's table.
pub(super) fn table_of(connection: &str, object: &str) -> Result<TableName> {
    TableName::new(connection, object)
}

/// Brings the mirrors of all `objects` up to date and returns them.
pub(super) async fn refresh(
    world: &World,
    job: &Job,
    metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
    whole: bool,
) -> Result<BTreeMap<String, Snapshot>> {
    let client = world.gainsight(&job.gainsight).await?;
    world.reporter.begin(&job.name, "mirror", None);
    let mut mirrors = BTreeMap::new();
    let mut rows = 0;
    for (object, metadata) in metadata {
        let (snapshot, read) = refresh_one(world, &client, &job.gainsight, object, metadata, whole).await?;
        rows += read;
        mirrors.insert(object.clone(), snapshot);
    }
    world.reporter.end(
        &job.name,
        "mirror",
        &format!("{rows} changed rows of {} Gainsight objects read", mirrors.len()),
    );
    Ok(mirrors)
}

async fn refresh_one(
    world: &World,
    client: &GainsightClient,
    connection: &str,
    object: &str,
    metadata: &Arc<ObjectMetadata>,
    whole: bool,
) -> Result<(Snapshot, u64)> {
    let table = table_of(connection, object)?;
    let wanted = fields_of(world, connection, object);
    let started = client.tenant_time();
    let state = world.ledger.mirror_state(connection, object)?;
    let since = state
        .as_ref()
        .filter(|state| !whole && wanted.iter().all(|field| state.fields.contains(field)))
        .filter(|state| started - state.refreshed_until < DELETE_LOG_REACH)
        .map(|state| state.refreshed_until - OVERLAP);
    let known = world.lake.snapshot(&table).await?;
    let since = since.filter(|_| known.is_some());

    let fields: Vec<String> = match (&since, &state) {
        // The fields that the mirror has already stay, so that its schema does not change back and forth.
        (Some(_), Some(state)) => state.fields.clone(),
        _ => wanted.iter().cloned().collect(),
    };
    let schema = gainsight::mirror_schema(metadata, &fields)?;
    let sequence = world.clock.now().timestamp_micros();
    let mut writer = world.lake.writer(&table, Arc::clone(&schema), sequence)?;
    let mut rows = 0;
    let mut stream = gainsight::read_mirror(client, metadata, &fields, since);
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows() as u64;
        world.reporter.advance(batch.num_rows() as u64);
        writer.write(&batch, None).await?;
    }
    if let Some(since) = since {
        let gone = gainsight::deleted_since(client, object, since).await?;
        if !gone.is_empty() {
            rows += gone.len() as u64;
            let batch = deletions(&schema, &gone)?;
            let mask = BooleanArray::from(vec![true; gone.len()]);
            writer.write(&batch, Some(&mask)).await?;
        }
    }
    let written = writer.finish().await?;
    let snapshot = match (known, rows) {
        // Nothing changed: no new version for nothing.
        (Some(known), 0) if since.is_some() => known,
        _ => {
            world
                .lake
                .commit(Commit {
                    table: table.clone(),
                    schema,
                    key: Some("Gsid".to_owned()),
                    mode: if since.is_some() { Mode::Merge } else { Mode::Replace },
                    written: vec![written],
                    application: None,
                    info: BTreeMap::new(),
                })
                .await?
        }
    };
    let compacted = world.lake.compact_if_worth(&world.engine.session(), &table, COMPACT_AT).await?;
    let snapshot = compacted.unwrap_or(snapshot);
    world.ledger.set_mirror_state(
        connection,
        object,
        &MirrorState { fields: fields.into_iter().collect(), refreshed_until: started },
    )?;
    Ok((snapshot, rows))
}

/// Rows that say "this GSID is gone": everything but the key is null.
fn deletions(schema: &SchemaRef, gone: &[String]) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "Gsid" => Arc::new(StringArray::from_iter_values(gone)) as ArrayRef,
            _ => new_null_array(field.data_type(), gone.len()),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|e| Error::bug("a mirror's key is not nullable text").source(e))
}
