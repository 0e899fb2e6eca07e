//! One verdict per source row: insert, update with the changed fields, unchanged, or rejected with the reason.
//!
//! ```text
//!  job (TOML) ──┐
//!  source type ─┼─▶ layout: every name and pair of types checked ─▶ statement: one SQL query ─▶ DataFusion ─▶ verdicts
//!  mirror types ┘                                                          │
//!                                                                          └─▶ `sf2gs plan` prints it
//! ```
//!
//! # Promises
//! * A job compiles to one readable statement, or to all of its problems at once; compiling reads no data.
//! * The statement gives exactly one row per row of `source`, whatever is in the tables: no cell, no duplicate on either
//!   side and no missing parent ends a run.
//! * The same tables give the same verdicts: every choice among several records or rows has a stated order.
//! * NULL or blank never matches anything.
//! * The records by which rows are judged are held as far as the session's memory has room for them; more of them go through
//!   its spill folder, part by part.
//!
//! # What the statement reads
//! `source` (the job's fields, `Id` and the cursor; one row per record) and `mirror_<object>` for each object in
//! [`objects`], with `Gsid` and the fields that the job names. The functions of [`register`] must be known to the session.
//!
//! # The rules
//! 1. **Which row counts.** Of several rows with one key the newest counts, then the higher Id; the others are
//!    `DUPLICATE_IN_SOURCE`. This is so even when the newest row is itself rejected: older data never overtakes newer data.
//! 2. **Which problem is told.** A row has at most one: an identifier that does not convert or is blank; for people, the
//!    company; a duplicate; several records in Gainsight; the operation; the other cells, then the other lookups,
//!    in the job's order.
//! 3. **What differs.** Cells compare exactly at the target's type; NULL and the empty text are the same; a multi-select
//!    has no order. Identifiers are never compared: they matched. With `on_null = "keep"` a NULL is neither compared nor written.
//! 4. **Self lookups** (a manager) use the mirror as it is. A reference that is not there yet is neither written nor
//!    compared but named in `unresolved`; after the load [`compile_second_pass`] gives the statement that settles it.
//!    `becomes.<field>` and `awaits.<field>` say, as numbers, what record a row makes and which one it waits for, so that
//!    it can as well be sent after that one, together with its reference. `wants.<field>` is the key that a lookup did not
//!    find, as text, and `own.<field>` the one that a waiting row's own record will have there.
//!    With `on_missing = "reject"` a row waits for the second pass only if its parent is another row of `source` whose
//!    identifiers are filled; else it is rejected at once.
//! 5. **Nobody is their own parent.** A self lookup that finds the record itself gives NULL, without a reject: Gainsight
//!    refuses a user who is their own manager (`GU_2410`), and Salesforce allows it.
//! 6. **People.** A person is found by the tenant's key, a company person by person and company. Of the accepted rows of
//!    one person the newest, then the one with the higher Id, says what the person's own fields are (`person_winner`).

mod functions;
mod layout;
mod narrow;
mod number;
mod problems;
mod repeated;
mod rows;
mod statement;
mod text;
mod verdict;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::runtime::SpawnedTask;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::cast;
use datafusion::physical_plan::collect;
use datafusion::prelude::ident;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;

use crate::config::job::Job;
use crate::config::job::OnMultiple;
use crate::config::job::TargetField;
use crate::engine::lookup::Index;
use crate::engine::lookup::streaming;
use crate::error::Result;
use crate::matching::statement::Script;

pub use functions::register;
pub use number::numbers;
pub use problems::remedy;

/// What a job is compiled against.
#[derive(Debug, Clone, Copy)]
pub struct MatchInputs<'a> {
    /// The job.
    pub job: &'a Job,
    /// The columns of `source`, with the Salesforce types in the fields' metadata.
    pub source: &'a SchemaRef,
    /// The columns of each mirror by object, with the Gainsight types in the fields' metadata.
    pub mirrors: &'a BTreeMap<String, SchemaRef>,
    /// The fields of `person` by which the tenant finds a person. Empty: the job's own identifiers.
    pub person_key: &'a [String],
}

/// The columns of text beside those to write. The tables' text may be of any Arrow kind; the verdicts' is `Utf8`.
const TEXTS: [&str; 11] = [
    "source_id",
    "verdict",
    "gsid",
    "changed",
    "code",
    "field",
    "message",
    "candidates",
    "unresolved",
    "person_gsid",
    "person_key",
];

fn is_text(column: &str) -> bool {
    TEXTS.contains(&column) || column.starts_with("wants.") || column.starts_with("own.")
}

/// A job, compiled.
#[derive(Debug, Clone)]
pub struct MatchPlan {
    /// The whole as one statement, to be read. It also runs, but [`MatchPlan::verdicts`] is many times faster.
    pub sql: String,
    /// The same by steps, of which some are worked out first.
    script: Script,
    /// The columns to write, in the job's order.
    pub writes: Vec<Write>,
    /// The lookups whose keys the verdicts tell as text: `wants.<field>` where nothing is found.
    pub lookups: Vec<LookupKey>,
    /// Conversions that a reader should know of, one sentence each.
    pub notes: Vec<String>,
    /// How the statement finds records.
    searches: Vec<narrow::Search>,
}

impl MatchPlan {
    /// The verdicts of the rows in `source`. Runs what must be worked out first; the rest runs as the frame is read.
    ///
    /// # Errors
    /// Whatever the session meets while it reads the tables.
    pub async fn verdicts(&self, ctx: &SessionContext) -> Result<DataFrame> {
        self.verdicts_of(ctx, None).await
    }

    /// The same where the number of rows in `source` is known.
    ///
    /// # Errors
    /// Whatever the session meets while it reads the tables.
    pub async fn verdicts_of(&self, ctx: &SessionContext, rows: Option<usize>) -> Result<DataFrame> {
        let few = narrow::count(ctx, rows).await?.is_some_and(|rows| rows < narrow::FEW);
        let narrowed = if few { narrow::narrowed(ctx, &self.searches).await? } else { None };
        let ctx = narrowed.as_ref().unwrap_or(ctx);
        let state = Arc::new(streaming(ctx.state()));
        let mut left = self.script.tables();
        let (mut empty, mut registered): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            // Those that read none of the ones before them that are still to come; two at a time, each as a task of its own,
            // as one core plans it.
            let (mut ready, later): (Vec<_>, Vec<_>) = left.iter().copied().partition(|table| {
                let mut before = left.iter().take_while(|other| other.name() != table.name());
                !before.any(|other| table.reads(other.name()))
            });
            let nothing: Vec<_> = ready.extract_if(.., |table| table.is_nothing(&empty)).collect();
            empty.extend(nothing.iter().map(|table| table.name()));
            let work = ready.iter().map(|table| {
                let (state, sql) = (Arc::clone(&state), table.sql(&empty));
                let keys = table.index_by().map(<[String]>::to_vec);
                async move {
                    let work = async move { work_out(&state, &sql, keys.as_deref()).await };
                    let done = SpawnedTask::spawn(work).join().await;
                    done.map_err(|error| DataFusionError::External(Box::new(error)))?
                }
            });
            let found: Vec<_> = stream::iter(work.collect::<Vec<_>>()).buffered(2).try_collect().await?;
            for (table, found) in ready.into_iter().zip(found) {
                let repeated = self.script.repeated_in(table.name()).zip(found.repeated()?);
                for (name, found) in [(table.name(), found)].into_iter().chain(repeated) {
                    ctx.deregister_table(name)?;
                    if found.is_empty() && !found.is_index() {
                        empty.push(name);
                        continue;
                    }
                    ctx.register_table(name, found.table()?)?;
                    registered.push(name);
                }
            }
            left = later;
        }
        let query = state.create_logical_plan(&self.script.query(&empty)).await?;
        // The plan has them; in the session they would outlive it.
        for name in registered {
            ctx.deregister_table(name)?;
        }
        let frame = DataFrame::new(Arc::unwrap_or_clone(state), query);
        let typed = frame.schema().fields().iter().map(|field| {
            let name = field.name();
            let write = self.writes.iter().find(|write| write.column == *name);
            match write.map(|write| &write.data_type).or_else(|| is_text(name).then_some(&DataType::Utf8)) {
                Some(kind) => cast(ident(name), kind.clone()).alias(name),
                None => ident(name),
            }
        });
        let typed: Vec<Expr> = typed.collect();
        Ok(frame.select(typed)?)
    }
}

/// A table of the statement that has been worked out.
enum WorkedOut {
    Rows(SchemaRef, Vec<RecordBatch>),
    Index(Index),
}

impl WorkedOut {
    fn is_index(&self) -> bool {
        matches!(self, Self::Index(_))
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Rows(_, batches) => batches.iter().all(|batch| batch.num_rows() == 0),
            Self::Index(index) => index.is_empty(),
        }
    }

    /// The numbers of the keys that several records of an index have.
    fn repeated(&self) -> datafusion::error::Result<Option<Self>> {
        let Self::Index(index) = self else { return Ok(None) };
        let numbers: ArrayRef = Arc::new(index.repeated().clone());
        let batch = RecordBatch::try_from_iter([("number", numbers)])?;
        Ok(Some(Self::Rows(batch.schema(), vec![batch])))
    }

    fn table(self) -> datafusion::error::Result<Arc<dyn TableProvider>> {
        match self {
            Self::Index(index) if index.is_empty() => narrow::held_table(Arc::clone(index.schema()), Vec::new()),
            Self::Index(index) => Ok(Arc::new(index)),
            Self::Rows(schema, batches) => narrow::held_table(schema, batches),
        }
    }
}

/// Runs what gives a table, or an index by `keys`.
async fn work_out(state: &SessionState, sql: &str, keys: Option<&[String]>) -> datafusion::error::Result<WorkedOut> {
    let plan = state.create_logical_plan(sql).await?;
    let plan = state.create_physical_plan(&plan).await?;
    match keys {
        Some(keys) => Index::of(plan, keys, state.task_ctx()).await.map(WorkedOut::Index),
        None => Ok(WorkedOut::Rows(plan.schema(), collect(plan, state.task_ctx()).await?)),
    }
}

/// A column of the verdicts that goes to Gainsight.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Where it goes.
    pub field: TargetField,
    /// The column's name: `set.<object>.<Field>`.
    pub column: String,
    /// The column's type, which is the mirror's.
    pub data_type: DataType,
    /// Whether it is part of the key, and so never in `changed`.
    pub identifier: bool,
}

/// By what a lookup finds its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupKey {
    /// The field that takes the record's GSID.
    pub field: TargetField,
    /// The object searched.
    pub object: String,
    /// A record's key as text: SQL over the columns of its mirror. NULL where a part is blank.
    pub key: String,
    /// Those columns.
    pub columns: Vec<String>,
    /// The column with a key's first part, where that is an id: the tenant can be asked for ids as they are.
    pub id: Option<String>,
    /// Of several records the one with the lowest GSID counts, or else none.
    pub lowest: bool,
}

impl LookupKey {
    /// The first part of a key as text.
    pub fn first_part(key: &str) -> &str {
        key.split(layout::BETWEEN_PARTS).next().unwrap_or(key)
    }
}

/// The Gainsight objects whose mirrors a job needs, each with the fields that are read (`Gsid` comes with all).
pub fn objects(job: &Job, person_key: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    layout::objects(job, person_key)
}

/// The Gainsight objects in whose mirrors a job looks for records, each with the fields that are the first part of a key.
pub fn looked_for(job: &Job, person_key: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    layout::looked_for(job, person_key)
}

/// Compiles `job`: the statement that gives every row of `source` its verdict.
///
/// # Errors
/// [`Config`](crate::error::ErrorKind::Config), naming every impossible mapping of the job.
pub fn compile(inputs: &MatchInputs<'_>) -> Result<MatchPlan> {
    let layout = layout::Layout::new(inputs, layout::Pass::Rows)?;
    Ok(plan(&layout))
}

/// Compiles the second pass: the statement that settles the self lookups which [`compile`]'s verdicts name in `unresolved`.
///
/// It runs after the load, over a `source` of just those rows (less those that the load rejected) and mirrors that have
/// been refreshed. Its verdicts are about the self lookups alone: `update`, `unchanged`, or a reject; `unresolved` is
/// always NULL, and `retry` says which rows still wait for a parent. `None` if the job has no self lookup.
///
/// # Errors
/// As [`compile`].
pub fn compile_second_pass(inputs: &MatchInputs<'_>) -> Result<Option<MatchPlan>> {
    let layout = layout::Layout::new(inputs, layout::Pass::References)?;
    Ok(layout.lookups.iter().any(|lookup| lookup.is_self).then(|| plan(&layout)))
}

fn plan(layout: &layout::Layout<'_>) -> MatchPlan {
    let (script, searches) = rows::write(layout);
    let cells = layout.cells.iter().map(|cell| (&cell.to, &cell.mirror, cell.identifier));
    let lookups = layout.lookups.iter().map(|lookup| (&lookup.to, &lookup.mirror, lookup.identifier));
    let writes = cells.chain(lookups).map(|(field, mirror, identifier)| Write {
        field: field.clone(),
        column: format!("set.{field}"),
        data_type: mirror.data_type.clone(),
        identifier,
    });
    let lookups = layout.lookups.iter().filter(|lookup| lookup.is_text()).map(|lookup| LookupKey {
        field: lookup.to.clone(),
        object: lookup.object.clone(),
        key: layout::as_text(lookup.pairs.iter().map(|pair| &pair.mirror)),
        columns: lookup.pairs.iter().map(|pair| pair.column.clone()).collect(),
        id: lookup
            .pairs
            .first()
            .filter(|first| first.mirror.starts_with("match_id("))
            .map(|first| first.column.clone()),
        lowest: lookup.on_multiple == OnMultiple::Any,
    });
    let (writes, lookups, notes) = (writes.collect(), lookups.collect(), layout.notes.clone());
    MatchPlan { sql: script.whole(), script, writes, lookups, notes, searches }
}
