//! Verdicts: the landed source and the mirrors, joined by the job's plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionContext, ident};

use crate::config::job::Job;
use crate::error::Error;
use crate::error::Result;
use crate::land::Snapshot;
use crate::matching;
use crate::matching::{LookupKey, MatchInputs, MatchPlan};

use super::source::LandedSource;
use super::world::World;

/// Which landed rows a plan looks at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Candidates<'a> {
    /// The rows of one extract and, from the current state, rows that an earlier run could not finish.
    Extract {
        /// The extract's sequence.
        sequence: i64,
        /// How many rows it has, without deletions.
        rows: u64,
        /// Source ids to try again.
        again: &'a StringArray,
    },
    /// The whole current state.
    Everything,
    /// Only these rows of the current state.
    Only(&'a StringArray),
}

/// A session in which `source` and the mirrors are tables, and the plan over them.
pub(super) struct Decision {
    pub(super) session: SessionContext,
    pub(super) plan: MatchPlan,
    /// How many rows the plan looks at, where that is known without counting.
    rows: Option<usize>,
}

impl Decision {
    /// Compiles `job` over what is landed.
    pub(super) async fn prepare(
        world: &World,
        job: &Job,
        source: &Snapshot,
        mirrors: &BTreeMap<String, Snapshot>,
        candidates: Candidates<'_>,
    ) -> Result<Self> {
        Self::build(world, job, source, mirrors, candidates, matching::compile).await
    }

    /// Compiles the pass that sets the references to records of the same run.
    pub(super) async fn prepare_second_pass(
        world: &World,
        job: &Job,
        source: &Snapshot,
        mirrors: &BTreeMap<String, Snapshot>,
        candidates: Candidates<'_>,
    ) -> Result<Self> {
        Self::build(world, job, source, mirrors, candidates, |inputs| {
            matching::compile_second_pass(inputs)?
                .ok_or_else(|| Error::bug(format!("`{}` has rows for a second pass, but no self lookup", job.name)))
        })
        .await
    }

    async fn build(
        world: &World,
        job: &Job,
        source: &Snapshot,
        mirrors: &BTreeMap<String, Snapshot>,
        candidates: Candidates<'_>,
        compile: impl FnOnce(&MatchInputs<'_>) -> Result<MatchPlan>,
    ) -> Result<Self> {
        let session = world.engine.session();
        matching::register(&session);
        let rows = match candidates {
            Candidates::Only(ids) => Some(ids.len()),
            Candidates::Extract { rows, again, .. } if again.is_empty() => usize::try_from(rows).ok(),
            Candidates::Extract { .. } | Candidates::Everything => None,
        };
        let columns = source_columns(source);
        register_source(&session, job, source, &columns, candidates).await?;
        let mut schemas = BTreeMap::new();
        for (object, mirror) in mirrors {
            schemas.insert(object.clone(), Arc::clone(mirror.schema()));
            session.register_table(format!("mirror_{object}"), mirror.numbered()?)?;
        }
        let schema = Arc::clone(session.table("source").await?.schema().inner());
        // Field metadata does not survive SQL; the landed schema has it.
        let schema = with_metadata(&schema, source.schema());
        let person_key = job.target.person_key();
        let plan = compile(&MatchInputs { job, source: &schema, mirrors: &schemas, person_key: &person_key })?;
        Ok(Self { session, plan, rows })
    }

    /// Runs the plan. It is made by a task of its own: that takes a core for tens of milliseconds, in which extracts go on.
    pub(super) async fn stream(&self) -> Result<SendableRecordBatchStream> {
        let (session, plan, rows) = (self.session.clone(), self.plan.clone(), self.rows);
        let made = SpawnedTask::spawn(async move { plan.verdicts_of(&session, rows).await?.execute_stream().await });
        Ok(made.join().await.map_err(|e| Error::bug("the task that plans a job stopped").source(e))??)
    }

    /// Runs the plan for the verdicts alone, without what would be written.
    pub(super) async fn comparison(&self) -> Result<SendableRecordBatchStream> {
        let verdicts = self.plan.verdicts_of(&self.session, self.rows).await?;
        let columns = ["source_id", "verdict", "gsid", "changed", "code", "field", "message"];
        Ok(verdicts.select(columns.map(ident).to_vec())?.execute_stream().await?)
    }

    /// How many rows the plan looks at.
    pub(super) async fn source_rows(&self) -> Result<u64> {
        if let Some(rows) = self.rows {
            return Ok(rows as u64);
        }
        Ok(self.session.table("source").await?.count().await? as u64)
    }
}

/// By what the lookups of `job` find their records.
pub(super) fn lookup_keys(
    job: &Job,
    source: &LandedSource,
    mirrors: &BTreeMap<String, Snapshot>,
) -> Result<Vec<LookupKey>> {
    let schemas = mirrors.iter().map(|(object, mirror)| (object.clone(), Arc::clone(mirror.schema()))).collect();
    let inputs =
        MatchInputs { job, source: source.snapshot.schema(), mirrors: &schemas, person_key: &job.target.person_key() };
    Ok(matching::compile(&inputs)?.lookups)
}

/// The columns of the source without what the lake adds.
fn source_columns(source: &Snapshot) -> Vec<String> {
    source
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .filter(|name| !name.starts_with("_sf2gs_"))
        .collect()
}

async fn register_source(
    session: &SessionContext,
    job: &Job,
    source: &Snapshot,
    columns: &[String],
    candidates: Candidates<'_>,
) -> Result<()> {
    let list = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let sql = match candidates {
        Candidates::Everything => {
            session.register_table("source_current", source.current()?)?;
            format!("SELECT {list} FROM source_current")
        }
        Candidates::Only(ids) => {
            session.register_table("source_current", source.current()?)?;
            session.register_table("source_ids", ids_table(ids)?)?;
            format!(
                "SELECT {list} FROM source_current LEFT SEMI JOIN source_ids ON source_current.\"Id\" = source_ids.\"Id\""
            )
        }
        Candidates::Extract { sequence, again, .. } => {
            session.register_table("source_extract", source.written_at(sequence)?)?;
            let extract = format!("SELECT {list} FROM source_extract WHERE NOT \"_sf2gs_deleted\"");
            if again.is_empty() {
                extract
            } else {
                session.register_table("source_current", source.current()?)?;
                session.register_table("source_ids", ids_table(again)?)?;
                // Worked out once: the plan reads its source several times, and these rows are few among all.
                let rows = session
                    .sql(&format!(
                        "SELECT {list} FROM ({}) again \
                         LEFT ANTI JOIN source_extract ON again.\"Id\" = source_extract.\"Id\"",
                        again_sql(job, &list)
                    ))
                    .await?;
                session.register_table("source_again", rows.cache().await?.into_view())?;
                format!("{extract} UNION ALL SELECT {list} FROM source_again")
            }
        }
    };
    let view = session.sql(&sql).await?.into_view();
    session.register_table("source", view)?;
    Ok(())
}

/// The rows to try again, and with them every row of the same key: which of them wins is decided among all, as in a
/// whole read, so that an old row that comes up again does not overwrite what a newer one has set.
fn again_sql(job: &Job, list: &str) -> String {
    let by_id = "source_current LEFT SEMI JOIN source_ids ON source_current.\"Id\" = source_ids.\"Id\"";
    let keys: Vec<_> = job.target.identifiers().map(|map| format!("match_text({})", quoted(&map.from))).collect();
    if keys.is_empty() || job.target.identifiers().all(|map| map.from == "Id") {
        return format!("SELECT {list} FROM {by_id}");
    }
    let named: Vec<_> = keys.iter().enumerate().map(|(at, key)| format!("{key} AS k{at}")).collect();
    let equal: Vec<_> = (0..keys.len()).map(|at| format!("others.k{at} = wanted.k{at}")).collect();
    let (named, equal) = (named.join(", "), equal.join(" AND "));
    format!(
        "SELECT {list} FROM {by_id} UNION ALL \
         SELECT {list} FROM (SELECT *, {named} FROM source_current) others \
         LEFT SEMI JOIN (SELECT {named} FROM {by_id}) wanted ON {equal} \
         LEFT ANTI JOIN source_ids ON others.\"Id\" = source_ids.\"Id\""
    )
}

fn ids_table(ids: &StringArray) -> Result<Arc<dyn TableProvider>> {
    let schema = Arc::new(Schema::new(vec![Field::new("Id", DataType::Utf8, false)]));
    let column: ArrayRef = Arc::new(ids.clone());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

fn with_metadata(schema: &SchemaRef, landed: &SchemaRef) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match landed.field_with_name(field.name()) {
            Ok(known) => Arc::new(field.as_ref().clone().with_metadata(known.metadata().clone())),
            Err(_) => Arc::clone(field),
        })
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

/// A name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
