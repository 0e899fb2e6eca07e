//! A job's plan: all but the write.
//!
//! The source is extracted and landed and the mirrors are read, as a run would do; then the verdicts are counted instead
//! of sent. Nothing is written to the tenant and the watermark stays, so the job's next run takes up what was landed here.

use std::collections::BTreeMap;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::ident;
use datafusion::prelude::lit;
use futures::TryStreamExt;

use crate::config::job::Job;
use crate::error::Error;
use crate::error::Result;
use crate::load;
use crate::load::CallPlan;
use crate::load::Workload;
use crate::load::plan_calls;

use super::decide::Decision;
use super::job::RunOptions;
use super::job::alive;
use super::job::candidates_of;
use super::job::stop_after_landing;
use super::mirror;
use super::mirror::Refresh;
use super::source::LandedSource;
use super::source::land_source;
use super::source::store_failure;
use super::waiting;
use super::world::World;

/// Most samples of one verdict.
const MOST_SAMPLES: usize = 100;

/// What a run of a job would do.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// The job.
    pub job: String,
    /// Source rows that it looks at.
    pub rows: u64,
    /// What Salesforce was asked; none where an earlier extract is taken up.
    pub soql: Option<String>,
    /// The statement that gives the verdicts.
    pub sql: String,
    /// Rows by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Rejected rows by code.
    pub rejects: BTreeMap<String, u64>,
    /// Some rows of each verdict but `unchanged`.
    pub samples: Vec<Sample>,
    /// What the load takes.
    pub calls: CallPlan,
    /// Conversions that a reader should know of.
    pub notes: Vec<String>,
}

/// A row and what would be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The source row.
    pub source_id: String,
    /// Its verdict.
    pub verdict: String,
    /// The record that it meets.
    pub gsid: Option<String>,
    /// Why it is rejected.
    pub message: Option<String>,
    /// What would be written.
    pub differences: Vec<Difference>,
}

/// One field that would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `company.Name`.
    pub field: String,
    /// Its value in Gainsight.
    pub before: Option<String>,
    /// Its value afterwards.
    pub after: Option<String>,
}

/// Plans `job`, with up to `samples` rows of each verdict.
pub async fn plan_job(world: &World, job: &Job, samples: usize) -> Result<JobPlan> {
    let lease = world.ledger.acquire(&job.name)?;
    let work = async {
        let source = land_source(world, job, &lease, None, &RunOptions::default()).await?;
        let planned = plan_landed(world, job, &source, samples.min(MOST_SAMPLES)).await;
        match &planned {
            Ok(_) => {
                stop_after_landing(world, job, &lease, source)?;
            }
            Err(error) => store_failure(world, &lease, &source.run, error)?,
        }
        planned
    };
    alive(world, std::slice::from_ref(&lease), work).await
}

async fn plan_landed(world: &World, job: &Job, source: &LandedSource, samples: usize) -> Result<JobPlan> {
    let metadata = world.metadata(job).await?;
    let mirrors = mirror::refresh(world, job, &metadata, Refresh::Changes).await?;
    let everything = waiting::all_anew(world, job, source)?;
    let pending = waiting::list(world, job, source, everything).await?;
    let again = waiting::again(world, job, source, pending, &mirrors).await?;
    let candidates = candidates_of(source, everything, &again.ids);
    let decision = Decision::prepare(world, job, &source.snapshot, &mirrors, candidates).await?;
    let soql = world.ledger.steps(Some(&source.run.id))?.into_iter().rev().find(|step| step.step == "extract");
    let mut plan = JobPlan {
        job: job.name.clone(),
        rows: 0,
        soql: soql.and_then(|step| Some(step.detail.get("soql")?.as_str()?.to_owned())),
        sql: decision.plan.sql.clone(),
        verdicts: BTreeMap::new(),
        rejects: BTreeMap::new(),
        samples: Vec::new(),
        calls: plan_calls(job, world.gainsight_connection(&job.gainsight)?, &Workload::default()),
        notes: decision.plan.notes.clone(),
    };
    let mut only_rest = 0;
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut stream = decision.stream().await?;
    while let Some(batch) = stream.try_next().await? {
        plan.rows += batch.num_rows() as u64;
        // What the load would refuse to send.
        let (batch, refused) = load::validate(&batch, job, &metadata)?;
        for reject in refused {
            *plan.verdicts.entry("rejected".to_owned()).or_default() += 1;
            *plan.rejects.entry(reject.code.to_owned()).or_default() += 1;
            let taken = taken.entry("rejected".to_owned()).or_default();
            if *taken < samples {
                *taken += 1;
                plan.samples.push(Sample {
                    source_id: reject.source_id,
                    verdict: "rejected".to_owned(),
                    gsid: None,
                    message: Some(reject.message),
                    differences: Vec::new(),
                });
            }
        }
        let verdicts = Text::of(&batch, "verdict")?;
        let codes = Text::of(&batch, "code")?;
        let clears = batch.column_by_name("clears").and_then(|column| column.as_boolean_opt());
        for row in 0..batch.num_rows() {
            let verdict = verdicts.at(row).unwrap_or_default();
            *plan.verdicts.entry(verdict.clone()).or_default() += 1;
            if let Some(code) = codes.at(row) {
                *plan.rejects.entry(code).or_default() += 1;
            }
            only_rest += u64::from(clears.is_some_and(|clears| clears.is_valid(row) && clears.value(row)));
            let taken = taken.entry(verdict.clone()).or_default();
            if verdict != "unchanged" && *taken < samples {
                *taken += 1;
                plan.samples.push(sample(&decision, &batch, row, verdict).await?);
            }
        }
    }
    let count = |verdict: &str| plan.verdicts.get(verdict).copied().unwrap_or(0);
    let work = Workload { inserts: count("insert"), updates: count("update"), only_rest, row_bytes: 0 };
    plan.calls = plan_calls(job, world.gainsight_connection(&job.gainsight)?, &work);
    Ok(plan)
}

/// One row with the fields that it would write.
async fn sample(decision: &Decision, batch: &RecordBatch, row: usize, verdict: String) -> Result<Sample> {
    let text = |name: &str| Ok::<_, Error>(Text::of(batch, name)?.at(row));
    let optional = |name: &str| if batch.column_by_name(name).is_some() { text(name) } else { Ok(None) };
    let (gsid, changed, person) = (text("gsid")?, text("changed")?.unwrap_or_default(), optional("person_gsid")?);
    let mut differences = Vec::new();
    for write in decision.plan.writes.iter().filter(|_| verdict != "rejected") {
        let field = write.field.to_string();
        let after = text(&write.column)?;
        if verdict == "update" && !changed.split(',').any(|name| name == field) {
            continue;
        }
        let record = if write.field.object == "person" { person.as_ref() } else { gsid.as_ref() };
        let before = match record {
            Some(gsid) if verdict == "update" => {
                value_of(decision, &write.field.object, &write.field.field, gsid).await?
            }
            _ => None,
        };
        if before.is_some() || after.is_some() {
            differences.push(Difference { field, before, after });
        }
    }
    let source_id = text("source_id")?.unwrap_or_default();
    Ok(Sample { source_id, verdict, gsid, message: text("message")?, differences })
}

/// The value that a record has in the mirror.
async fn value_of(decision: &Decision, object: &str, field: &str, gsid: &str) -> Result<Option<String>> {
    // An avatar's fields stand in the user's record.
    let object = if object == "avatar" { "gsuser" } else { object };
    let table = decision.session.table(format!("mirror_{object}")).await?;
    let named = |name: &str| table.schema().fields().iter().find(|one| one.name().eq_ignore_ascii_case(name)).cloned();
    let Some(column) = named(field) else { return Ok(None) };
    let value = ident(column.name().as_str()).alias("value");
    let frame = table.clone().filter(ident("Gsid").eq(lit(gsid)))?.select(vec![value])?;
    let found = frame.collect().await?;
    let value = found.iter().find(|batch| batch.num_rows() > 0).map(|batch| Text::of(batch, "value")).transpose()?;
    Ok(value.and_then(|value| value.at(0)))
}

/// A column as text.
struct Text(ArrayRef);

impl Text {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self> {
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| Error::bug(format!("the verdict query has no column `{name}`")))?;
        Ok(Self(cast(column, &DataType::Utf8)?))
    }

    fn at(&self, row: usize) -> Option<String> {
        let column = self.0.as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    }
}
