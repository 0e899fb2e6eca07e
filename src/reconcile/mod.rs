//! Both sides compared by key: which rows agree, and for each that does not, in which way.
//!
//! The source side is what every Gainsight record should be (the verdict query over a fresh, whole read of
//! Salesforce); the target side is a fresh, whole read of the tenant. One full outer join by GSID meets them:
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
//! * Memory holds only what does not agree.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use crate::error::Error;
use crate::error::Result;

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

/// The comparison of a job's verdicts with a mirror, as SQL over the session in which both can be planned.
#[derive(Debug, Clone)]
pub struct Sides<'a> {
    /// Table of the job's verdicts.
    pub verdicts: &'a str,
    /// Table of the target's mirror.
    pub mirror: &'a str,
    /// Field of the mirror that is filled in records that came from Salesforce.
    pub came_from: &'a str,
    /// The source's cursor column and the last run's upper bound, where the job has run.
    pub late_after: Option<(&'a str, DateTime<Utc>)>,
}

impl Sides<'_> {
    /// The statement whose rows [`compare`] reads.
    pub fn sql(&self) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let late = match self.late_after {
            Some((cursor, until)) => format!(
                "SELECT \"Id\" AS late_id FROM source WHERE {} >= TIMESTAMP '{}'",
                quoted(cursor),
                until.format("%Y-%m-%dT%H:%M:%S%.6fZ")
            ),
            None => "SELECT CAST(NULL AS VARCHAR) AS late_id WHERE FALSE".to_owned(),
        };
        format!(
            "SELECT CASE WHEN v.source_id IS NULL THEN 'extra'\n\
             \x20           WHEN v.verdict = 'unchanged' THEN 'agrees'\n\
             \x20           WHEN v.verdict = 'rejected' THEN 'rejected'\n\
             \x20           WHEN l.late_id IS NOT NULL THEN 'late'\n\
             \x20           WHEN v.verdict = 'insert' THEN 'missing'\n\
             \x20           ELSE 'different' END AS kind,\n\
             \x20      v.source_id, coalesce(v.gsid, t.gsid) AS gsid, coalesce(v.changed, v.field) AS fields, v.code, v.message\n\
             FROM {verdicts} v\n\
             FULL OUTER JOIN (SELECT \"Gsid\" AS gsid FROM {mirror} WHERE {came_from} IS NOT NULL) t ON v.gsid = t.gsid\n\
             LEFT JOIN ({late}) l ON v.source_id = l.late_id",
            verdicts = self.verdicts,
            mirror = self.mirror,
            came_from = quoted(self.came_from),
        )
    }
}

/// Reads the rows of [`Sides::sql`] into a comparison.
pub async fn compare(mut rows: SendableRecordBatchStream) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    while let Some(batch) = rows.try_next().await? {
        let kinds = column(&batch, "kind")?;
        let [source_id, gsid, fields, code, message] =
            ["source_id", "gsid", "fields", "code", "message"].map(|name| column(&batch, name));
        let (source_id, gsid, fields, code, message) = (source_id?, gsid?, fields?, code?, message?);
        let value = |column: &StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
        for row in 0..batch.num_rows() {
            let kind = kinds.value(row);
            match comparison.counts.get_mut(kind) {
                Some(count) => *count += 1,
                None => {
                    comparison.counts.insert(kind.to_owned(), 1);
                }
            }
            if kind != "agrees" {
                comparison.findings.push(Finding {
                    kind: kind.to_owned(),
                    source_id: value(&source_id, row),
                    gsid: value(&gsid, row),
                    fields: value(&fields, row),
                    code: value(&code, row),
                    message: value(&message, row),
                });
            }
        }
    }
    comparison.findings.sort();
    Ok(comparison)
}

fn column(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column =
        batch.column_by_name(name).ok_or_else(|| Error::bug(format!("the comparison has no column `{name}`")))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}
