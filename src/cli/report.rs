//! Run reports as rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{Field, Schema};

use crate::error::Result;
use crate::pipeline::JobReport;
use crate::reconcile::Comparison;

use super::output::Format;

/// Columns with their names as a batch.
pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())?)
}

pub(super) fn texts<T>(rows: &[T], of: impl Fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

pub(super) fn numbers<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
}

/// One row per job: what came in, what became of it, what it cost.
pub(super) fn jobs_batch(jobs: &[JobReport], format: Format) -> Result<RecordBatch> {
    // Both the whole id and its end are understood where a run is asked for; a table has room for the end.
    let run = |job: &JobReport| match format {
        Format::Table => job.run.chars().skip(job.run.chars().count().saturating_sub(8)).collect(),
        _ => job.run.clone(),
    };
    let seconds = Float64Array::from_iter_values(jobs.iter().map(|job| (job.seconds * 100.0).round() / 100.0));
    let mut columns = vec![
        ("job", texts(jobs, |job| Some(job.job.clone()))),
        ("status", texts(jobs, |job| Some(job.status.to_string()))),
        ("extracted", numbers(jobs, |job| job.counters.extracted)),
        ("retried", numbers(jobs, |job| job.counters.retried)),
        ("deleted", numbers(jobs, |job| job.counters.deleted)),
        ("inserted", numbers(jobs, |job| job.counters.inserted)),
        ("updated", numbers(jobs, |job| job.counters.updated)),
        ("unchanged", numbers(jobs, |job| job.counters.unchanged)),
        ("rejected", numbers(jobs, |job| job.counters.rejected)),
        ("calls", texts(jobs, |job| Some(calls(job)))),
        ("seconds", Arc::new(seconds)),
        ("run", texts(jobs, |job| Some(run(job)))),
    ];
    if format != Format::Table {
        columns.push(("error", texts(jobs, |job| job.error.clone())));
    }
    batch(columns)
}

fn calls(job: &JobReport) -> String {
    let classes: Vec<_> = job.calls.iter().map(|(class, calls)| format!("{} {calls}", class.name())).collect();
    classes.join(", ")
}

/// One row per job: how many rows are of each kind.
pub(super) fn comparisons_batch(comparisons: &[(String, Comparison)]) -> Result<RecordBatch> {
    let kind = |kind: &'static str| numbers(comparisons, move |(_, comparison)| comparison.count(kind));
    batch(vec![
        ("job", texts(comparisons, |(job, _)| Some(job.clone()))),
        ("agrees", kind("agrees")),
        ("missing", kind("missing")),
        ("different", kind("different")),
        ("extra", kind("extra")),
        ("rejected", kind("rejected")),
        ("late", kind("late")),
    ])
}

/// One row per finding of a comparison.
pub(super) fn findings_batch(comparisons: &[(String, Comparison)]) -> Result<RecordBatch> {
    let findings: Vec<_> = comparisons
        .iter()
        .flat_map(|(job, comparison)| comparison.findings.iter().map(move |finding| (job, finding)))
        .collect();
    batch(vec![
        ("job", texts(&findings, |(job, _)| Some((*job).clone()))),
        ("kind", texts(&findings, |(_, finding)| Some(finding.kind.clone()))),
        ("source_id", texts(&findings, |(_, finding)| finding.source_id.clone())),
        ("gsid", texts(&findings, |(_, finding)| finding.gsid.clone())),
        ("fields", texts(&findings, |(_, finding)| finding.fields.clone())),
        ("code", texts(&findings, |(_, finding)| finding.code.clone())),
        ("message", texts(&findings, |(_, finding)| finding.message.clone())),
    ])
}
