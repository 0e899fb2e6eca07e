//! Verdicts as the bodies that a load would send, without sending them: for benchmarks of the formats.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;

use crate::config::job::Job;
use crate::config::job::TargetObject;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Result;

use super::decided::Decided;
use super::decided::Layout;
use super::decided::Row;
use super::encode;
use super::encode::PersonKeys;
use super::plan::REST_ROWS;

/// What the bodies are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// One CSV file, as bulk imports take it.
    Csv,
    /// JSON, fifty records a body; for people, each row a person of its own.
    Json,
}

/// The bodies for all inserts and updates of a batch of verdicts.
pub fn bodies(
    batch: &RecordBatch,
    job: &Job,
    metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
    format: BodyFormat,
) -> Result<Vec<Bytes>> {
    let layout = Arc::new(Layout::new(&batch.schema(), job, metadata)?);
    let decided = Arc::new(Decided::new(batch, &layout)?);
    let rows = (0..decided.rows()).filter(|at| decided.act(*at).is_some()).map(|at| Row::new(&decided, at));
    let rows: Vec<Row> = rows.collect();
    if format == BodyFormat::Csv {
        let mut file = Vec::new();
        encode::csv_header(&layout, &mut file);
        for row in &rows {
            encode::csv_row(row, &mut file);
        }
        return Ok(vec![file.into()]);
    }
    if job.target.object != TargetObject::People {
        return Ok(rows.chunks(REST_ROWS).map(encode::records).collect());
    }
    let keys = PersonKeys::new(&layout, &["Email".to_owned()]);
    let persons: Vec<Vec<Row>> = rows.into_iter().map(|row| vec![row]).collect();
    Ok(persons.chunks(REST_ROWS).map(|persons| encode::people(persons, &keys)).collect())
}
