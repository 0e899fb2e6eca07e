//! `sf2gs activity [RUN]`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;

use crate::error::Error;
use crate::error::Result;
use crate::pipeline::query_session;

use super::output::{self, Format};
use super::{Outcome, Shared, report};

/// Arguments of `activity`.
#[derive(Debug, Args)]
pub(super) struct ActivityArguments {
    /// A run's id, or its beginning or end; all runs if left out
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// The rejected rows, with every input column in json, ndjson and csv
    #[arg(long)]
    rejects: bool,
    /// Only runs of this job
    #[arg(long, value_name = "JOB", conflicts_with = "run")]
    job: Option<String>,
}

pub(super) async fn activity(shared: Shared, arguments: ActivityArguments) -> Result<Outcome> {
    let world = shared.world().await?;
    let run = match &arguments.run {
        Some(prefix) => Some(world.ledger.find_run(prefix)?.id),
        None => None,
    };
    let session = query_session(&world).await?;
    if arguments.rejects {
        return rejects(&shared, &session, run.as_deref(), arguments.job.as_deref()).await;
    }
    match run {
        Some(run) => one_run(&shared, &session, &run).await,
        None => {
            let filter = match &arguments.job {
                Some(job) => format!("WHERE job = {}", literal(&world.job(job)?.name)),
                None => String::new(),
            };
            let sql = format!(
                "SELECT run, job, status, date_trunc('second', started) AS began, extracted, retried, deleted, inserted, \
                 updated, unchanged, rejected FROM activity.runs {filter} ORDER BY began DESC, run DESC"
            );
            output::rows(shared.format, &collect(&session, &sql).await?)?;
            Ok(Outcome::Done)
        }
    }
}

async fn one_run(shared: &Shared, session: &SessionContext, run: &str) -> Result<Outcome> {
    let run_is = format!("run = {}", literal(run));
    let facts = collect(session, &format!("SELECT * FROM activity.runs WHERE {run_is}")).await?;
    if shared.format != Format::Table {
        output::rows(shared.format, &facts)?;
        return Ok(Outcome::Done);
    }
    output::rows(shared.format, &[upright(&facts)?])?;
    let sections = [
        (
            "steps",
            format!("SELECT step, attempt, ended, rows, detail FROM activity.steps WHERE {run_is} ORDER BY ended"),
        ),
        (
            "chunks",
            format!(
                "SELECT route, object, count(*) AS chunks, sum(rows) AS rows, sum(inserted) AS inserted, \
                 sum(updated) AS updated, sum(rejected) AS rejected FROM activity.chunks WHERE {run_is} \
                 GROUP BY route, object ORDER BY route, object"
            ),
        ),
        (
            "rejects",
            format!(
                "SELECT code, field, count(*) AS rows, min(message) AS example FROM activity.rejects WHERE {run_is} \
                 GROUP BY code, field ORDER BY rows DESC, code, field"
            ),
        ),
    ];
    for (name, sql) in sections {
        let batches = collect(session, &sql).await?;
        if batches.iter().any(|batch| batch.num_rows() > 0) {
            output::line(name)?;
            output::rows(shared.format, &batches)?;
        }
    }
    Ok(Outcome::Done)
}

/// One row as two columns, for reading.
fn upright(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let mut names = Vec::new();
    let mut values: Vec<Option<String>> = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let text = cast(column, &DataType::Utf8)?;
            let text = text.as_string::<i32>();
            names.push(Some(field.name().clone()));
            values.push(text.is_valid(0).then(|| text.value(0).to_owned()));
        }
    }
    report::batch(vec![
        ("run", Arc::new(names.into_iter().collect::<StringArray>())),
        ("", Arc::new(values.into_iter().collect::<StringArray>())),
    ])
}

async fn rejects(shared: &Shared, session: &SessionContext, run: Option<&str>, job: Option<&str>) -> Result<Outcome> {
    let mut conditions = Vec::new();
    conditions.extend(run.map(|run| format!("run = {}", literal(run))));
    conditions.extend(job.map(|job| format!("job = {}", literal(job))));
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = if shared.format == Format::Table {
        format!(
            "SELECT job, source_id, code, field, message, remedy FROM activity.rejects {filter} \
             ORDER BY job, code, source_id"
        )
    } else {
        format!("SELECT * FROM activity.rejects {filter} ORDER BY run, job, code, source_id")
    };
    let mut batches = collect(session, &sql).await?;
    if shared.format != Format::Table {
        batches = batches.iter().map(with_input_columns).collect::<Result<_>>()?;
        batches = unite(&batches)?;
    }
    if shared.format == Format::Csv {
        batches = batches.iter().map(harmless).collect::<Result<_>>()?;
    }
    output::rows(shared.format, &batches)?;
    Ok(Outcome::Done)
}

async fn collect(session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let frame = session.sql(sql).await?;
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await?;
    Ok(vec![concat_batches(&schema, &batches)?])
}

/// Every column of the input row in place of its JSON.
fn with_input_columns(batch: &RecordBatch) -> Result<RecordBatch> {
    let at = batch.schema().index_of("input")?;
    let input = cast(batch.column(at), &DataType::Utf8)?;
    let input = input.as_string::<i32>();
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let text = if input.is_valid(row) { input.value(row) } else { "{}" };
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|e| Error::integrity("the rejects table holds an input row that is not JSON").source(e))?;
        rows.push(object);
    }
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.keys()).collect();
    let mut columns: Vec<(String, ArrayRef)> = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .enumerate()
        .filter(|(index, _)| *index != at)
        .map(|(_, (field, column))| (field.name().clone(), Arc::clone(column)))
        .collect();
    for name in &names {
        let values = rows.iter().map(|row| match row.get(*name) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        });
        columns.push((format!("input.{name}"), Arc::new(values.collect::<StringArray>())));
    }
    report::batch(columns.iter().map(|(name, column)| (name.as_str(), Arc::clone(column))).collect())
}

fn unite(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    match batches.first() {
        Some(first) => Ok(vec![concat_batches(&first.schema(), batches)?]),
        None => Ok(Vec::new()),
    }
}

/// Text cells that a spreadsheet would run as a formula get a leading apostrophe.
fn harmless(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let text = cast(column, &DataType::Utf8)?;
                let cells = text.as_string::<i32>().iter().map(|cell| {
                    cell.map(|cell| match cell.as_bytes().first() {
                        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') => format!("'{cell}"),
                        _ => cell.to_owned(),
                    })
                });
                Ok(Arc::new(cells.collect::<StringArray>()) as ArrayRef)
            }
            _ => Ok(Arc::clone(column)),
        })
        .collect::<Result<Vec<_>>>()?;
    let names = batch.schema();
    report::batch(names.fields().iter().zip(columns).map(|(field, column)| (field.name().as_str(), column)).collect())
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_made_harmless_and_other_cells_stay() {
        let cells = StringArray::from(vec![Some("=1+1"), Some("@x"), Some("a=b"), None]);
        let batch = report::batch(vec![("cell", Arc::new(cells) as ArrayRef)]).unwrap();
        let safe = harmless(&batch).unwrap();
        let expected = StringArray::from(vec![Some("'=1+1"), Some("'@x"), Some("a=b"), None]);
        assert_eq!(safe.column(0).as_string::<i32>(), &expected);
    }

    #[test]
    fn the_input_row_becomes_columns() {
        let batch = report::batch(vec![
            ("code", Arc::new(StringArray::from(vec!["X"])) as ArrayRef),
            ("input", Arc::new(StringArray::from(vec![r#"{"Id":"003","N":5}"#])) as ArrayRef),
        ])
        .unwrap();
        let wide = with_input_columns(&batch).unwrap();
        let names: Vec<_> = wide.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["code", "input.Id", "input.N"]);
    }
}
