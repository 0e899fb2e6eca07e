//! Reconciliation of a job: both sides read whole and fresh, so that it also proves the incremental runs complete.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::StringArray;
use futures::TryStreamExt;

use crate::config::job::{Job, TargetObject};
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Error;
use crate::error::Result;
use crate::extract::salesforce::{self, ReadOptions, SourceRequest};
use crate::land::{Commit, Mode, Snapshot, TableName};
use crate::load;
use crate::load::Reject;
use crate::reconcile;
use crate::reconcile::{Comparison, Sides};

use super::decide::{Candidates, Decision};
use super::mirror;
use super::mirror::Refresh;
use super::pour::pour;
use super::source::deleted_mask;
use super::world::World;

/// Compares both sides of each of `jobs`. Nothing is written to either. A Gainsight object that several of them use is
/// read whole once, and by its changes for the others; the next job is read while one is compared.
pub async fn reconcile_jobs(world: &World, jobs: &[&Job]) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::with_capacity(jobs.len());
    let mut whole = BTreeMap::new();
    let Some(first) = jobs.first() else { return Ok(comparisons) };
    let mut read = read_both(world, first, &mut whole).await?;
    for (index, job) in jobs.iter().enumerate() {
        let reading = async {
            match jobs.get(index + 1) {
                Some(next) => read_both(world, next, &mut whole).await.map(Some),
                None => Ok(None),
            }
        };
        let (comparison, next) = futures::future::try_join(compare(world, job, &read), reading).await?;
        comparisons.push(comparison);
        let Some(next) = next else { break };
        read = next;
    }
    Ok(comparisons)
}

/// Both sides of a job, as they are landed.
struct BothSides {
    source: Snapshot,
    /// The source's cursor column.
    cursor: Option<String>,
    mirrors: BTreeMap<String, Snapshot>,
    metadata: BTreeMap<String, Arc<ObjectMetadata>>,
}

/// Reads both sides of `job`. `whole` names the objects of each connection that have been read whole.
async fn read_both(world: &World, job: &Job, whole: &mut BTreeMap<String, BTreeSet<String>>) -> Result<BothSides> {
    let whole = whole.entry(job.gainsight.clone()).or_default();
    let metadata = world.metadata(job).await?;
    let refresh = mirror::refresh(world, job, &metadata, Refresh::Whole { but: whole });
    let ((source, cursor), mirrors) = futures::future::try_join(read_source(world, job), refresh).await?;
    whole.extend(metadata.keys().cloned());
    Ok(BothSides { source, cursor, mirrors, metadata })
}

async fn compare(world: &World, job: &Job, read: &BothSides) -> Result<Comparison> {
    let BothSides { source, cursor, mirrors, metadata } = read;
    let decision = Decision::prepare(world, job, source, mirrors, Candidates::Everything).await?;
    let watermark = world.ledger.watermark(&job.name)?;
    let came_from = came_from(job)?;
    let mirror = format!("mirror_{}", job.target.object.primary());
    let records = mirrors.get(job.target.object.primary()).map(Snapshot::physical_rows);
    let sides = Sides {
        source: "source",
        mirror: &mirror,
        records: records.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(0),
        came_from: &came_from,
        late_after: cursor.as_deref().zip(watermark.map(|watermark| watermark.until)),
    };
    world.reporter.begin(&job.name, "reconcile", None);
    let mut comparison = reconcile::compare(&decision.session, decision.comparison().await?, &sides).await?;
    let open = comparison.unexplained();
    if !open.is_empty() {
        for reject in refused_cells(world, job, source, mirrors, metadata, &StringArray::from(open)).await? {
            comparison.explain(&reject.source_id, reject.code, &reject.message);
        }
    }
    world.reporter.end(&job.name, "reconcile", &format!("{} rows agree", comparison.count("agrees")));
    Ok(comparison)
}

/// Which of the rows that are not as they should be cannot be, because the tenant would refuse one of their cells.
async fn refused_cells(
    world: &World,
    job: &Job,
    source: &Snapshot,
    mirrors: &BTreeMap<String, Snapshot>,
    metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
    ids: &StringArray,
) -> Result<Vec<Reject>> {
    let decision = Decision::prepare(world, job, source, mirrors, Candidates::Only(ids)).await?;
    let mut stream = decision.stream().await?;
    let mut rejects = Vec::new();
    while let Some(batch) = stream.try_next().await? {
        let (_, refused) = load::validate(&batch, job, metadata)?;
        rejects.extend(refused);
    }
    Ok(rejects)
}

/// The target field that is fed from the Salesforce id, or else the first identifier: it is filled in records that
/// came from Salesforce.
fn came_from(job: &Job) -> Result<String> {
    let primary = match job.target.object {
        TargetObject::User => ["gsuser", "avatar"],
        _ => [job.target.object.primary(), ""],
    };
    let maps = || job.target.maps.iter().filter(|map| primary.contains(&map.to.object.as_str()));
    maps()
        .find(|map| map.from == "Id")
        .or_else(|| maps().find(|map| map.identifier))
        .map(|map| map.to.field.clone())
        .ok_or_else(|| {
            Error::config(format!(
                "`{}` maps neither Id nor an identifier to {}",
                job.name,
                job.target.object.primary()
            ))
            .hint("map `Id` to a field of the target, so that its records can be told from others")
        })
}

async fn read_source(world: &World, job: &Job) -> Result<(Snapshot, Option<String>)> {
    let client = world.salesforce(&job.salesforce).await?;
    let connection = world.salesforce_connection(&job.salesforce)?;
    let request = SourceRequest {
        object: job.source.object.clone(),
        fields: job.source.fields.clone(),
        condition: job.source.condition.clone(),
        from: None,
        until: None,
    };
    let prepared = salesforce::prepare(&client, &request).await?;
    let options = ReadOptions { page_rows: connection.page_rows, parallel: 4, batch_rows: 16_384 };
    let table = TableName::new("reconcile", &job.source.table)?;
    let reading = salesforce::read(&client, &prepared, options).await?;
    let writer = world.lake.writer(&table, Arc::clone(&prepared.schema), world.clock.now().timestamp_micros())?;
    let (_, writer) = pour(reading, writer, deleted_mask).await?;
    let snapshot = world
        .lake
        .commit(Commit {
            table,
            schema: Arc::clone(&prepared.schema),
            key: Some("Id".to_owned()),
            mode: Mode::Replace,
            written: vec![writer.finish().await?],
            application: None,
            info: BTreeMap::new(),
        })
        .await?;
    Ok((snapshot, prepared.cursor.clone()))
}
