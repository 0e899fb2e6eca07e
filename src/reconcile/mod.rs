//! Both sides compared by key: which rows agree, and for each that does not, in which way.
//!
//! The source side is what every Gainsight record should be (the verdict query over a fresh, whole read of
//! Salesforce); the target side is a fresh, whole read of the tenant. The verdicts have met the records already; what is
//! left are the records that no row leads to:
//!
//! | kind | means |
//! |---|---|
//! | `agrees` | the record is there and every mapped field is as it should be |
//! | `missing` | a source row without a record |
//! | `different` | a record with fields that differ; they are named |
//! | `rejected` | a source row that cannot have a record, with the code |
//! | `late` | a source row that changed after the last run's upper bound and is not loaded yet |
//! | `extra` | a record that came from Salesforce, but no source row leads to it |
//!
//! # Promises
//! * Every source row is counted in exactly one kind, and every `extra` record once.
//! * Memory holds what does not agree, and the ids of the records that rows lead to.

mod met;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::HashSet;
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionContext, ident, lit};
use futures::TryStreamExt;

use crate::error::Error;
use crate::error::Result;

use met::Met;

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// `missing`, `different`, `rejected`, `late` or `extra`.
    pub kind: String,
    /// Salesforce id, where a source row is concerned.
    pub source_id: Option<String>,
    /// GSID, where a record is concerned.
    pub gsid: Option<String>,
    /// Fields that differ, or the field that a reject is about.
    pub fields: Option<String>,
    /// The reject's code.
    pub code: Option<String>,
    /// The reject's message.
    pub message: Option<String>,
}

/// The outcome of one comparison.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Rows of each kind, `agrees` among them.
    pub counts: BTreeMap<String, u64>,
    /// Every row that does not agree, sorted.
    pub findings: Vec<Finding>,
}

impl Comparison {
    /// Rows of `kind`.
    pub fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// Source ids of the rows that are missing or different.
    pub fn unexplained(&self) -> Vec<String> {
        let open = self.findings.iter().filter(|finding| finding.kind == "missing" || finding.kind == "different");
        open.filter_map(|finding| finding.source_id.clone()).collect()
    }

    /// Moves a missing or different row to `rejected`: the tenant would refuse it.
    pub fn explain(&mut self, source_id: &str, code: &str, message: &str) {
        for finding in &mut self.findings {
            let open = finding.kind == "missing" || finding.kind == "different";
            if open && finding.source_id.as_deref() == Some(source_id) {
                if let Some(count) = self.counts.get_mut(&finding.kind) {
                    *count -= 1;
                }
                *self.counts.entry("rejected".to_owned()).or_insert(0) += 1;
                finding.kind = "rejected".to_owned();
                finding.code = Some(code.to_owned());
                finding.message = Some(message.to_owned());
            }
        }
    }

    /// Whether nothing is missing, different or extra. Rejected rows and late ones are explained, not differences.
    pub fn agrees(&self) -> bool {
        ["missing", "different", "extra"].into_iter().all(|kind| self.count(kind) == 0)
    }
}

/// Where a job's two sides are found in a session, beside its verdicts.
#[derive(Debug, Clone)]
pub struct Sides<'a> {
    /// Table of the source.
    pub source: &'a str,
    /// Table of the target's mirror.
    pub mirror: &'a str,
    /// How many records it has, as far as that is known.
    pub records: usize,
    /// Field of the mirror that is filled in records that came from Salesforce.
    pub came_from: &'a str,
    /// The source's cursor column and the last run's upper bound, where the job has run.
    pub late_after: Option<(&'a str, DateTime<Utc>)>,
}

impl Sides<'_> {
    /// The source rows that changed after the last run.
    async fn late(&self, session: &SessionContext) -> Result<HashSet<String>> {
        let mut late = HashSet::new();
        if let Some((cursor, until)) = self.late_after {
            let until = ScalarValue::TimestampMicrosecond(Some(until.timestamp_micros()), Some("UTC".into()));
            let rows = session.table(self.source).await?.filter(ident(cursor).gt_eq(lit(until)))?;
            let mut rows = rows.select(vec![ident("Id")])?.execute_stream().await?;
            while let Some(batch) = rows.try_next().await? {
                late.extend(column(&batch, "Id")?.iter().flatten().map(str::to_owned));
            }
        }
        Ok(late)
    }

    /// The records that came from Salesforce, without those in `met`.
    async fn extra(&self, session: &SessionContext, met: Met) -> Result<Vec<String>> {
        let met = Arc::new(met);
        let records = session.table(self.mirror).await?.filter(ident(self.came_from).is_not_null())?;
        let records = records.select(vec![ident("Gsid")])?.execute_stream_partitioned().await?;
        let parts = records.into_iter().map(|mut records| {
            let met = Arc::clone(&met);
            SpawnedTask::spawn(async move {
                let mut extra = Vec::new();
                while let Some(batch) = records.try_next().await? {
                    let ids = column(&batch, "Gsid")?;
                    extra.extend(ids.iter().flatten().filter(|id| !met.contains(id)).map(str::to_owned));
                }
                Ok::<_, Error>(extra)
            })
        });
        let mut extra = Vec::new();
        for part in parts.collect::<Vec<_>>() {
            let part = part.join().await.map_err(|error| Error::bug("a comparison has stopped").source(error))??;
            extra.extend(part);
        }
        Ok(extra)
    }
}

/// Reads a job's verdicts, which must be about its whole source, into a comparison.
pub async fn compare(
    session: &SessionContext,
    mut verdicts: SendableRecordBatchStream,
    sides: &Sides<'_>,
) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let mut met = Met::with_room(sides.records);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let late = sides.late(session).await?;
    while let Some(batch) = verdicts.try_next().await? {
        let [verdict, source_id, gsid, changed, field, code, message] =
            ["verdict", "source_id", "gsid", "changed", "field", "code", "message"].map(|name| column(&batch, name));
        let (verdict, source_id, gsid, changed) = (verdict?, source_id?, gsid?, changed?);
        let (field, code, message) = (field?, code?, message?);
        let value = |column: &StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
        for row in 0..batch.num_rows() {
            let kind = match verdict.value(row) {
                "unchanged" => "agrees",
                "rejected" => "rejected",
                _ if late.contains(source_id.value(row)) => "late",
                "insert" => "missing",
                _ => "different",
            };
            *counts.entry(kind).or_default() += 1;
            if kind != "agrees" {
                comparison.findings.push(Finding {
                    kind: kind.to_owned(),
                    source_id: value(&source_id, row),
                    gsid: value(&gsid, row),
                    fields: value(&changed, row).or_else(|| value(&field, row)),
                    code: value(&code, row),
                    message: value(&message, row),
                });
            }
        }
        met.add(gsid);
    }
    for gsid in sides.extra(session, met).await? {
        *counts.entry("extra").or_default() += 1;
        comparison.findings.push(Finding {
            kind: "extra".to_owned(),
            source_id: None,
            gsid: Some(gsid),
            fields: None,
            code: None,
            message: None,
        });
    }
    comparison.counts = counts.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
    comparison.findings.sort();
    Ok(comparison)
}

fn column(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column =
        batch.column_by_name(name).ok_or_else(|| Error::bug(format!("the comparison has no column `{name}`")))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}
