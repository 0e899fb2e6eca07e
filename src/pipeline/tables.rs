//! The session behind `sf2gs sql`: `lake.<connection>.<table>` and `activity.<table>`.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;

use crate::error::Error;
use crate::error::Result;
use crate::land::TableName;
use crate::ledger::{Run, RunFilter};
use crate::matching;

use super::record;
use super::world::World;

/// A session over everything that the project has stored.
pub async fn query_session(world: &World) -> Result<SessionContext> {
    let session = world.engine.session();
    matching::register(&session);
    world.engine.catalogs(&session).await?;
    let activity = Arc::new(MemorySchemaProvider::new());
    let runs = world.ledger.runs(&RunFilter::default())?;
    activity.register_table("runs".to_owned(), memory(runs_batch(&runs)?)?)?;
    activity.register_table("steps".to_owned(), memory(steps_batch(world)?)?)?;
    activity.register_table("chunks".to_owned(), memory(chunks_batch(world)?)?)?;
    for (name, schema) in [("verdicts", record::verdict_schema()), ("rejects", record::reject_schema())] {
        let table = TableName::new(record::ACTIVITY, name)?;
        let provider = match world.lake.snapshot(&table).await? {
            Some(snapshot) => snapshot.current()?,
            None => memory(RecordBatch::new_empty(schema))?,
        };
        activity.register_table(name.to_owned(), provider)?;
    }
    let default = session
        .catalog(session.state().config_options().catalog.default_catalog.as_str())
        .ok_or_else(|| Error::bug("the session has no default catalog"))?;
    default.register_schema("activity", activity)?;
    Ok(session)
}

fn memory(batch: RecordBatch) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let schema: SchemaRef = Arc::new(Schema::new(
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect::<Vec<_>>(),
    ));
    Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())?)
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
}

fn times<T>(rows: &[T], of: impl Fn(&T) -> Option<chrono::DateTime<chrono::Utc>>) -> ArrayRef {
    let micros = rows.iter().map(|row| of(row).map(|time| time.timestamp_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// `activity.runs`.
pub(super) fn runs_batch(runs: &[Run]) -> Result<RecordBatch> {
    batch(vec![
        ("run", texts(runs, |run| Some(run.id.clone()))),
        ("job", texts(runs, |run| Some(run.job.clone()))),
        ("chain_run", texts(runs, |run| run.chain.as_ref().map(|chain| chain.id.clone()))),
        ("status", texts(runs, |run| Some(run.status.to_string()))),
        ("started", times(runs, |run| Some(run.started_at))),
        ("ended", times(runs, |run| run.ended_at)),
        ("full", Arc::new(BooleanArray::from_iter(runs.iter().map(|run| Some(run.full))))),
        ("window_from", times(runs, |run| run.from)),
        ("window_until", times(runs, |run| run.until)),
        ("extracted", numbers(runs, |run| run.counters.extracted)),
        ("retried", numbers(runs, |run| run.counters.retried)),
        ("deleted", numbers(runs, |run| run.counters.deleted)),
        ("inserted", numbers(runs, |run| run.counters.inserted)),
        ("updated", numbers(runs, |run| run.counters.updated)),
        ("unchanged", numbers(runs, |run| run.counters.unchanged)),
        ("rejected", numbers(runs, |run| run.counters.rejected)),
        ("references", numbers(runs, |run| run.counters.references)),
        (
            "calls",
            texts(runs, |run| {
                serde_json::to_string(
                    &run.calls
                        .iter()
                        .map(|(class, calls)| (class.name(), calls))
                        .collect::<std::collections::BTreeMap<_, _>>(),
                )
                .ok()
            }),
        ),
        ("error", texts(runs, |run| run.error.clone())),
    ])
}

fn steps_batch(world: &World) -> Result<RecordBatch> {
    let steps = world.ledger.steps(None)?;
    batch(vec![
        ("run", texts(&steps, |step| Some(step.run.clone()))),
        ("step", texts(&steps, |step| Some(step.step.clone()))),
        ("attempt", numbers(&steps, |step| u64::from(step.attempt))),
        ("ended", times(&steps, |step| Some(step.ended_at))),
        ("rows", numbers(&steps, |step| step.rows)),
        ("detail", texts(&steps, |step| Some(step.detail.to_string()))),
    ])
}

fn chunks_batch(world: &World) -> Result<RecordBatch> {
    let chunks = world.ledger.chunks(None)?;
    batch(vec![
        ("run", texts(&chunks, |chunk| Some(chunk.run.clone()))),
        ("chunk", Arc::new(Int64Array::from_iter_values(chunks.iter().map(|chunk| chunk.id)))),
        ("route", texts(&chunks, |chunk| Some(chunk.route.clone()))),
        ("object", texts(&chunks, |chunk| Some(chunk.object.clone()))),
        ("rows", numbers(&chunks, |chunk| chunk.rows)),
        ("begun", times(&chunks, |chunk| Some(chunk.begun_at))),
        ("ended", times(&chunks, |chunk| chunk.ended_at)),
        ("inserted", numbers(&chunks, |chunk| chunk.inserted)),
        ("updated", numbers(&chunks, |chunk| chunk.updated)),
        ("rejected", numbers(&chunks, |chunk| chunk.rejected)),
    ])
}
