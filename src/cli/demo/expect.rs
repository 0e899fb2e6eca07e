//! What each run of the demo must do, held against what the ledger and the lake say that it did.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;

use crate::error::Error;
use crate::error::Result;
use crate::pipeline::{JobReport, World, query_session};
use crate::reconcile::Comparison;
use crate::sandbox::salesforce::RunningOrg;

use super::changes::{Edits, Planted, Visitor};

/// What one job of a run must do.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    job: String,
    /// Inserted rows: each by its id, or only how many where nobody could name a million.
    inserted: Inserted,
    /// Updated rows with their changed fields.
    updated: BTreeMap<String, String>,
    /// Rejected rows with their codes.
    rejected: BTreeSet<(String, String)>,
    deleted: u64,
}

#[derive(Debug, Clone)]
enum Inserted {
    These(BTreeSet<String>),
    Count(u64),
}

impl Default for Inserted {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Inserted {
    fn count(&self) -> u64 {
        match self {
            Self::These(ids) => ids.len() as u64,
            Self::Count(count) => *count,
        }
    }
}

impl Expected {
    pub(super) fn new(job: &str) -> Self {
        Self { job: job.to_owned(), ..Self::default() }
    }

    pub(super) fn insert(mut self, id: &str) -> Self {
        if let Inserted::These(ids) = &mut self.inserted {
            ids.insert(id.to_owned());
        }
        self
    }

    pub(super) fn update(mut self, id: &str, fields: &str) -> Self {
        self.updated.insert(id.to_owned(), fields.to_owned());
        self
    }

    pub(super) fn deleted(mut self, rows: u64) -> Self {
        self.deleted = rows;
        self
    }
}

/// From an empty tenant every live row is inserted but the planted ones.
pub(super) async fn first_run(org: &RunningOrg, planted: &[Planted]) -> Result<Vec<Expected>> {
    let visitor = Visitor::enter(org).await?;
    let jobs = [
        ("user_sync", "User", "SELECT COUNT() FROM User WHERE IsActive = true AND UserType = 'Standard'"),
        ("company_sync", "Account", "SELECT COUNT() FROM Account"),
        ("company_person_sync", "Contact", "SELECT COUNT() FROM Contact"),
    ];
    let mut expected = Vec::new();
    for (job, object, soql) in jobs {
        let rows = visitor.count(soql).await?;
        let rejected: BTreeSet<_> =
            planted.iter().filter(|row| row.object == object).map(|row| (row.id.clone(), row.code.clone())).collect();
        expected.push(Expected {
            inserted: Inserted::Count(rows - rejected.len() as u64),
            rejected,
            ..Expected::new(job)
        });
    }
    Ok(expected)
}

/// Everything in which a run differs from what it had to do.
pub(super) async fn check_run(world: &World, jobs: &[JobReport], expected: &[Expected]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for expected in expected {
        let Some(job) = jobs.iter().find(|job| job.job == expected.job) else {
            wrong.push(format!("{} did not run", expected.job));
            continue;
        };
        let seen = Seen::of(world, job).await?;
        let mut differs = |what: &str, found: String, wanted: String| {
            if found != wanted {
                wrong.push(format!("{}: {what}: {found} instead of {wanted}", expected.job));
            }
        };
        differs("inserted", job.counters.inserted.to_string(), expected.inserted.count().to_string());
        differs("updated", job.counters.updated.to_string(), expected.updated.len().to_string());
        differs("deleted", job.counters.deleted.to_string(), expected.deleted.to_string());
        differs("rejects", format!("{:?}", seen.rejected), format!("{:?}", expected.rejected));
        if let Inserted::These(ids) = &expected.inserted {
            differs("inserted rows", format!("{:?}", seen.inserted), format!("{ids:?}"));
            differs("updated rows", format!("{:?}", seen.updated), format!("{:?}", expected.updated));
        }
    }
    Ok(wrong)
}

/// What the lake says of a run.
#[derive(Debug, Default)]
struct Seen {
    inserted: BTreeSet<String>,
    updated: BTreeMap<String, String>,
    rejected: BTreeSet<(String, String)>,
}

impl Seen {
    async fn of(world: &World, job: &JobReport) -> Result<Self> {
        let session = query_session(world).await?;
        let mut seen = Self::default();
        let rejects = format!("SELECT source_id, code FROM activity.rejects WHERE run = '{}'", job.run);
        for [id, code] in rows(&session.sql(&rejects).await?.collect().await?)? {
            seen.rejected.insert((id, code));
        }
        // A million inserts are counted, not listed.
        if job.counters.inserted + job.counters.updated < 10_000 {
            for (verdict, column) in [("insert", "verdict"), ("update", "changed")] {
                let sql = format!(
                    "SELECT source_id, {column} FROM activity.verdicts WHERE run = '{}' AND verdict = '{verdict}'",
                    job.run
                );
                for [id, value] in rows(&session.sql(&sql).await?.collect().await?)? {
                    if verdict == "insert" {
                        seen.inserted.insert(id);
                    } else {
                        seen.updated.insert(id, value);
                    }
                }
            }
        }
        Ok(seen)
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<[String; 2]>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns =
            batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
        let [first, second] = columns.as_slice() else {
            return Err(Error::bug("the demo's query has other columns than it asked for"));
        };
        let (first, second) = (first.as_string::<i32>(), second.as_string::<i32>());
        for row in 0..batch.num_rows() {
            let value = |column: &StringArray| {
                if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
            };
            rows.push([value(first), value(second)]);
        }
    }
    Ok(rows)
}

/// Everything in which the reconciliation differs from what was planted and edited.
pub(super) fn check_reconciliation(
    comparisons: &[(String, Comparison)],
    planted: &[Planted],
    edits: &Edits,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (job, comparison) in comparisons {
        let extra = if job == "company_person_sync" { edits.extras() } else { 0 };
        for (kind, wanted) in [("missing", 0), ("different", 0), ("late", 0), ("extra", extra)] {
            if comparison.count(kind) != wanted {
                let examples: Vec<_> = comparison
                    .findings
                    .iter()
                    .filter(|finding| finding.kind == kind)
                    .take(3)
                    .map(|finding| format!("{:?}/{:?} {:?}", finding.source_id, finding.gsid, finding.fields))
                    .collect();
                wrong.push(format!(
                    "{job}: {} {kind} instead of {wanted} ({})",
                    comparison.count(kind),
                    examples.join(", ")
                ));
            }
        }
    }
    let found: BTreeSet<_> = comparisons
        .iter()
        .flat_map(|(_, comparison)| &comparison.findings)
        .filter(|finding| finding.kind == "rejected")
        .map(|finding| finding.source_id.clone().unwrap_or_default())
        .collect();
    let wanted: BTreeSet<_> = planted.iter().map(|row| row.id.clone()).collect();
    if found != wanted {
        wrong.push(format!("reconcile: rejected {found:?} instead of {wanted:?}"));
    }
    wrong
}
