//! Mirrors of the Gainsight objects that a job writes or looks up, kept current by what changed in the tenant.
//!
//! The tenant's own `ModifiedDate` and its delete log say what changed since the last look, so our own writes, those
//! of other tools and those of a run that crashed all arrive in the same way. A mirror is read whole when there is
//! none, when a job needs a field that it lacks, and when the delete log may have forgotten (15 days).
//!
//! What a refresh costs, for an object of which `c` records are read: `⌊c / 5,000⌋ + 1` synchronous calls; above 20,000,
//! while the bulk quota has room, one bulk call and `7 + ⌈(c − 20,000) / 20,000⌉` synchronous ones (four pages, one
//! question or more how the export stands, its chunks, a look at what was deleted meanwhile, a last page). A mirror of so
//! many records that is read whole again needs no pages first: `3 + ⌈c / 20,000⌉`. The delete log costs one more call for
//! all objects of a job together, where any of them is read by its changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;

use crate::config::job::{Job, TargetObject};
use crate::connect::gainsight::{GainsightClient, ObjectMetadata};
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::extract::gainsight;
use crate::extract::gainsight::{Deletion, Way};
use crate::land::{Commit, Mode, NUMBER_PREFIX, Snapshot, SnapshotWriter, TableName};
use crate::ledger::MirrorState;
use crate::matching;

use super::pour::pour;
use super::world::World;

/// Rows modified this shortly before the last look are read again: the tenant may have shown them late.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// The same where only our own answered writes are looked for: what is missed costs a reference until the next run, which
/// reads the longer overlap. Two clocks may be three seconds apart without being noticed.
pub(super) const OWN_OVERLAP: TimeDelta = TimeDelta::seconds(3);
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

/// The fields of `object` by which any job of the project looks for records first.
fn looked_for(world: &World, connection: &str, object: &str) -> BTreeSet<String> {
    let jobs = world.project.jobs.values().filter(|job| job.gainsight == connection);
    jobs.flat_map(|job| matching::looked_for(job, &job.target.person_key()).remove(object).unwrap_or_default())
        .collect()
}

/// The name of a mirror's table.
pub(super) fn table_of(connection: &str, object: &str) -> Result<TableName> {
    TableName::new(connection, object)
}

/// Which mirrors are brought up to date, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh<'a> {
    /// All, by what has changed since the last look.
    Changes,
    /// Those of the objects that the job writes, by what has changed; the others stay as they are.
    OwnWrites,
    /// All, read whole; but by what has changed where that was done just now.
    Whole { but: &'a BTreeSet<String> },
}

impl Refresh<'_> {
    fn is_whole(self, object: &str) -> bool {
        matches!(self, Self::Whole { but } if !but.contains(object))
    }
}

/// Brings the mirrors of the objects in `metadata` up to date and returns them.
pub(super) async fn refresh(
    world: &World,
    job: &Job,
    metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
    how: Refresh<'_>,
) -> Result<BTreeMap<String, Snapshot>> {
    let client = world.gainsight(&job.gainsight).await?;
    world.reporter.begin(&job.name, "mirror", None);
    let mut mirrors = BTreeMap::new();
    let mut plans = Vec::new();
    let planning =
        metadata.iter().map(|(object, metadata)| plan(world, &client, &job.gainsight, object, metadata, how));
    for plan in futures::future::try_join_all(planning).await? {
        match plan.known {
            Some(known) if how == Refresh::OwnWrites && !writes(job, plan.object) => {
                mirrors.insert(plan.object.to_owned(), known);
            }
            _ => plans.push(plan),
        }
    }
    // The log comes first: what it names cannot also be among the changes that are read after it.
    let deletions = match plans.iter().filter_map(|plan| plan.since).min() {
        Some(since) => gainsight::deletions_since(&client, since).await?,
        None => Vec::new(),
    };
    let reading = plans.iter().map(|plan| refresh_one(world, &client, plan, &deletions));
    let read = futures::future::try_join_all(reading).await?;
    let mut rows = 0;
    for (plan, (snapshot, changed)) in plans.iter().zip(read) {
        rows += changed;
        mirrors.insert(plan.object.to_owned(), snapshot);
    }
    world.reporter.end(&job.name, "mirror", &format!("{rows} changed rows of {} Gainsight objects read", plans.len()));
    Ok(mirrors)
}

/// Whether `job` writes records of `object`.
fn writes(job: &Job, object: &str) -> bool {
    match &job.target.object {
        TargetObject::People => object == "person" || object == "company_person",
        TargetObject::User => object == "gsuser",
        TargetObject::Object(own) => object == own,
    }
}

/// How one mirror is brought up to date.
struct Plan<'a> {
    connection: &'a str,
    object: &'a str,
    metadata: &'a ObjectMetadata,
    table: TableName,
    /// The mirror as it is.
    known: Option<Snapshot>,
    /// The fields that it will have.
    fields: Vec<String>,
    /// Those of them whose numbers are kept with the records.
    numbered: BTreeSet<String>,
    /// From when on changes are read; `None` for a whole read.
    since: Option<DateTime<Utc>>,
    /// The time on the tenant's clock before anything is read.
    started: DateTime<Utc>,
}

async fn plan<'a>(
    world: &World,
    client: &GainsightClient,
    connection: &'a str,
    object: &'a str,
    metadata: &'a ObjectMetadata,
    how: Refresh<'_>,
) -> Result<Plan<'a>> {
    let table = table_of(connection, object)?;
    let wanted = fields_of(world, connection, object);
    let started = client.tenant_time();
    let state = world.ledger.mirror_state(connection, object)?;
    let known = world.lake.snapshot(&table).await?;
    let since = state
        .as_ref()
        .filter(|state| !how.is_whole(object) && wanted.iter().all(|field| state.fields.contains(field)))
        .filter(|state| started - state.refreshed_until < DELETE_LOG_REACH)
        .map(|state| state.refreshed_until - if how == Refresh::OwnWrites { OWN_OVERLAP } else { OVERLAP })
        .filter(|_| known.is_some());
    let fields = match (&since, state) {
        // The fields that the mirror has already stay, so that its schema does not change back and forth.
        (Some(_), Some(state)) => state.fields,
        _ => wanted.into_iter().collect(),
    };
    let numbered = match known.as_ref().filter(|_| since.is_some()) {
        Some(known) => {
            let columns = known.given();
            columns
                .fields()
                .iter()
                .filter_map(|field| field.name().strip_prefix(NUMBER_PREFIX))
                .map(str::to_owned)
                .collect()
        }
        None => looked_for(world, connection, object),
    };
    Ok(Plan { connection, object, metadata, table, known, fields, numbered, since, started })
}

async fn refresh_one(
    world: &World,
    client: &GainsightClient,
    plan: &Plan<'_>,
    deletions: &[Deletion],
) -> Result<(Snapshot, u64)> {
    let schema = gainsight::mirror_schema(plan.metadata, &plan.fields)?;
    let numbered = Numbered::new(&schema, &plan.numbered);
    let schema = Arc::clone(&numbered.schema);
    let there = plan.known.as_ref().filter(|_| plan.since.is_none()).map_or(0, Snapshot::physical_rows);
    let written = match read_changes(world, client, plan, &numbered, Way::for_at_least(there)).await {
        Err(error) if error.kind() == ErrorKind::Integrity => {
            tracing::warn!(object = plan.object, "Reading again, page by page: {error}.");
            read_changes(world, client, plan, &numbered, Way::Pages).await
        }
        done => done,
    };
    let mut writer = written?;
    if let Some(since) = plan.since {
        let gone = deletions.iter().filter(|gone| gone.object.eq_ignore_ascii_case(plan.object) && gone.since(since));
        let gone: Vec<&str> = gone.map(|gone| gone.gsid.as_str()).collect();
        if !gone.is_empty() {
            let batch = deleted_rows(&schema, &gone)?;
            let mask = BooleanArray::from(vec![true; gone.len()]);
            writer.write(&batch, Some(&mask)).await?;
        }
    }
    let written = writer.finish().await?;
    let rows = written.rows();
    let snapshot = match &plan.known {
        // Nothing changed: no new version for nothing.
        Some(known) if rows == 0 && plan.since.is_some() => known.clone(),
        _ => {
            world
                .lake
                .commit(Commit {
                    table: plan.table.clone(),
                    schema,
                    key: Some("Gsid".to_owned()),
                    mode: if plan.since.is_some() { Mode::Merge } else { Mode::Replace },
                    written: vec![written],
                    application: None,
                    info: BTreeMap::new(),
                })
                .await?
        }
    };
    let compacted = world.lake.compact_if_worth(&world.engine.session(), &plan.table, COMPACT_AT).await?;
    let snapshot = compacted.unwrap_or(snapshot);
    world.ledger.set_mirror_state(
        plan.connection,
        plan.object,
        &MirrorState { fields: plan.fields.clone(), refreshed_until: plan.started },
    )?;
    Ok((snapshot, rows))
}

/// A writer that holds what has changed.
async fn read_changes(
    world: &World,
    client: &GainsightClient,
    plan: &Plan<'_>,
    numbered: &Numbered,
    way: Way,
) -> Result<SnapshotWriter> {
    let sequence = world.clock.now().timestamp_micros();
    let writer = world.lake.writer(&plan.table, Arc::clone(&numbered.schema), sequence)?;
    let reading = gainsight::read_mirror(client, plan.metadata, &plan.fields, plan.since, way);
    let reporter = Arc::clone(&world.reporter);
    let numbered = numbered.clone();
    let reading = reading.map(move |batch| numbered.add(&batch?));
    let (_, writer) = pour(reading, writer, move |batch| {
        reporter.advance(batch.num_rows() as u64);
        None
    })
    .await?;
    Ok(writer)
}

/// How a mirror's rows get the numbers by which they are found.
#[derive(Debug, Clone)]
struct Numbered {
    /// The mirror's columns and those with numbers.
    schema: SchemaRef,
    /// The columns that have numbers.
    columns: Vec<usize>,
}

impl Numbered {
    fn new(mirror: &SchemaRef, fields: &BTreeSet<String>) -> Self {
        let given = mirror.fields().iter().enumerate();
        let texts = given.filter(|(_, field)| fields.contains(field.name()) && *field.data_type() == DataType::Utf8);
        let (columns, numbers): (_, Vec<_>) = texts
            .map(|(at, field)| {
                (at, Arc::new(Field::new(format!("{NUMBER_PREFIX}{}", field.name()), DataType::Int32, true)))
            })
            .unzip();
        let fields: Vec<_> = mirror.fields().iter().cloned().chain(numbers).collect();
        Self { schema: Arc::new(Schema::new(fields)), columns }
    }

    fn add(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let numbers =
            self.columns.iter().map(|at| -> ArrayRef { Arc::new(matching::numbers(rows.column(*at).as_string())) });
        let columns = rows.columns().iter().cloned().chain(numbers).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Rows that say "this GSID is gone": everything but the key is null.
fn deleted_rows(schema: &SchemaRef, gone: &[&str]) -> Result<RecordBatch> {
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
