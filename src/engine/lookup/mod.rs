//! Joins whose one side is held while the rows of the other pass it: a left join gives them the held side's columns beside
//! their own, a semi join lets those pass that find something, an anti join those that find nothing.
//!
//! ```text
//!   rows  ──▶ hash of the keys ──▶ place in the table ──▶ the rows' own arrays + what was found, taken from the held ones
//!   held  ──▶ read as soon as the plan begins, unless it is an index, which is there already
//! ```
//!
//! The engine's own left join copies every cell of every row it passes on, for it has to reckon with several matches. A job's
//! statement takes wide rows through up to six joins one after the other, each against a side where a key stands for one
//! record, and so does without: a batch in which no row has two matches keeps its arrays. Where keys do come several times
//! the answer is that of any left join, at the engine's own price.
//!
//! The engine's own joins end with an error where the held side does not fit into memory. Here both sides are then
//! [dealt out](crate::engine::lookup::dealt) by key, and part by part of the one is held while the same part of the rows
//! passes it:
//!
//! ```text
//!   rows, all partitions ──▶ dealt out ──▶ part n of the rows ──┐
//!   held ──────────────────▶ dealt out ──▶ part n is held ──────┴──▶ as above
//! ```
//!
//! # Promises
//! * The same rows as of a hash join, in the order in which they came if the other side is held whole.
//! * What is held is asked of the session's memory pool. No more than three quarters of it are taken by sides that are held
//!   whole, and of one that is not a 32nd at least has to find room.
//! * As with the engine's own exchanges, all partitions are to be asked for rows side by side.

mod dealing;
mod dealt;
mod held;
mod index;
mod key_hash;
mod rule;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::compute::not;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::Distribution;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::InputDistributionRequirements;
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::apply_expression_roots;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::filter_pushdown::ChildFilterDescription;
use datafusion::physical_plan::filter_pushdown::ChildPushdownResult;
use datafusion::physical_plan::filter_pushdown::FilterDescription;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPhase;
use datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::BaselineMetrics;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::projection::ProjectionExpr;
use datafusion::physical_plan::statistics::ChildStats;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::future::Shared;
use futures::future::ready;
use futures::stream;

use crate::engine::lookup::dealing::Dealing;
use crate::engine::lookup::dealing::Turn;
use crate::engine::lookup::dealt::Dealt;
use crate::engine::lookup::held::Given;
use crate::engine::lookup::held::Held;
use crate::engine::lookup::held::Parted;
use crate::engine::lookup::held::Records;
use crate::engine::lookup::held::evaluated;

pub(crate) use index::Index;
pub(crate) use key_hash::KeyHash;
pub(crate) use key_hash::hashes;
pub(crate) use rule::spilling;
pub(crate) use rule::streaming;

/// The held side, once it is there.
type Holding = Shared<BoxFuture<'static, std::result::Result<Arc<Side>, Arc<DataFusionError>>>>;

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All go on, with what they find beside them.
    Left,
    /// Those go on that find something.
    Semi,
    /// Those go on that find nothing.
    Anti,
}

/// The plan of such a join.
pub(crate) struct LookupExec {
    kind: Kind,
    rows: Arc<dyn ExecutionPlan>,
    held: Source,
    /// The columns that the held side has.
    theirs: SchemaRef,
    /// The keys of the rows.
    keys: Vec<PhysicalExprRef>,
    /// The held columns that are given on.
    given: Vec<usize>,
    /// Of the schema.
    metadata: HashMap<String, String>,
    properties: Arc<PlanProperties>,
    holding: Mutex<Option<Holding>>,
    /// Where the rows go if the other side is in parts.
    dealing: Arc<Dealing>,
    metrics: ExecutionPlanMetricsSet,
}

/// Where the held side comes from.
#[derive(Clone)]
enum Source {
    /// It is read, and has these keys.
    Read(Arc<dyn ExecutionPlan>, Vec<PhysicalExprRef>),
    /// It is held already, and its columns are these expressions over what is held.
    Index(Index, Vec<PhysicalExprRef>),
}

/// The other side.
enum Side {
    Whole(Arc<Whole>),
    Parts(Parts),
}

/// Records that are held, and for each column that is given on what it has of them.
struct Whole {
    held: Arc<Held>,
    given: Vec<Given>,
}

/// Records in parts, and the columns that are given on as expressions over what is kept of them.
#[derive(Clone)]
struct Parts {
    parted: Arc<Parted>,
    given: Vec<PhysicalExprRef>,
    kept: SchemaRef,
}

/// What a partition makes of its rows.
#[derive(Clone)]
struct Way {
    kind: Kind,
    keys: Vec<PhysicalExprRef>,
    schema: SchemaRef,
    metrics: BaselineMetrics,
}

impl LookupExec {
    /// A join on equal keys as a lookup; `None` if it is of another kind.
    fn of(join: &HashJoinExec) -> Result<Option<Self>> {
        let plain = join.filter().is_none()
            && join.null_equality() == NullEquality::NullEqualsNothing
            && !join.null_aware
            && !join.contains_projection();
        let (kind, rows_are_left) = match join.join_type() {
            JoinType::Left => (Kind::Left, true),
            JoinType::LeftSemi => (Kind::Semi, true),
            JoinType::LeftAnti => (Kind::Anti, true),
            JoinType::RightSemi => (Kind::Semi, false),
            JoinType::RightAnti => (Kind::Anti, false),
            _ => return Ok(None),
        };
        if !plain {
            return Ok(None);
        }
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
        let (rows, ours, held, theirs) = match rows_are_left {
            true => (join.left(), left_keys, join.right(), right_keys),
            false => (join.right(), right_keys, join.left(), left_keys),
        };
        let columns = held.schema();
        let given = match kind {
            Kind::Left => (0..columns.fields().len()).collect(),
            Kind::Semi | Kind::Anti => Vec::new(),
        };
        let (source, keys) = match Self::index(rows, &ours, held, &theirs)? {
            Some(found) => found,
            None => (Source::Read(Arc::clone(held), theirs), ours),
        };
        let metadata = join.schema().metadata().clone();
        Ok(Some(Self::new(kind, Arc::clone(rows), source, columns, keys, given, metadata)))
    }

    /// The index that is the `held` side, and the rows' keys in its order; `None` if it is none or the join is not by its
    /// key.
    fn index(
        rows: &Arc<dyn ExecutionPlan>,
        ours: &[PhysicalExprRef],
        held: &Arc<dyn ExecutionPlan>,
        theirs: &[PhysicalExprRef],
    ) -> Result<Option<(Source, Vec<PhysicalExprRef>)>> {
        let Some((index, columns)) = Index::read_by(held)? else { return Ok(None) };
        let column_of = |expr: &PhysicalExprRef| expr.downcast_ref::<Column>().map(Column::index);
        let joined: Vec<Option<usize>> =
            theirs.iter().map(|theirs| column_of(theirs).and_then(|at| columns.get(at)).and_then(column_of)).collect();
        let mut keys = Vec::new();
        for (key, kind) in index.keys().iter().zip(index.records().key_types()) {
            let Some(at) = joined.iter().position(|column| *column == Some(*key)) else { return Ok(None) };
            // Numbers are only equal where types are.
            if ours[at].data_type(&rows.schema())? != kind {
                return Ok(None);
            }
            keys.push(Arc::clone(&ours[at]));
        }
        Ok((keys.len() == joined.len()).then(|| (Source::Index(index, columns), keys)))
    }

    fn new(
        kind: Kind,
        rows: Arc<dyn ExecutionPlan>,
        held: Source,
        theirs: SchemaRef,
        keys: Vec<PhysicalExprRef>,
        given: Vec<usize>,
        metadata: HashMap<String, String>,
    ) -> Self {
        let mut fields = rows.schema().fields().to_vec();
        fields.extend(given.iter().map(|at| Arc::new(theirs.field(*at).clone().with_nullable(true))));
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata.clone()));
        let partitions = rows.output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let (holding, dealing) = (Mutex::new(None), Dealing::new(partitions));
        let metrics = ExecutionPlanMetricsSet::new();
        Self { kind, rows, held, theirs, keys, given, metadata, properties, holding, dealing, metrics }
    }

    /// The same join of other inputs, of whose held columns these are given on.
    fn with(&self, rows: Arc<dyn ExecutionPlan>, held: Source, given: Vec<usize>) -> Self {
        let (theirs, keys, metadata) = (Arc::clone(&self.theirs), self.keys.clone(), self.metadata.clone());
        Self::new(self.kind, rows, held, theirs, keys, given, metadata)
    }

    /// Begins to read the held side, for all partitions of the rows together.
    fn hold(&self, context: &Arc<TaskContext>) -> Result<Holding> {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holding) = holding.as_ref() {
            return Ok(holding.clone());
        }
        let read = match &self.held {
            Source::Index(index, columns) => {
                let given: Vec<_> = self.given.iter().map(|at| Arc::clone(&columns[*at])).collect();
                ready(Ok(Arc::new(Side::of(index.records(), given, index.schema())?))).boxed()
            }
            Source::Read(plan, keys) => {
                let stream = plan.execute(0, Arc::clone(context))?;
                let (keys, kept, context) = (keys.clone(), self.given.clone(), Arc::clone(context));
                let reading = SpawnedTask::spawn(async move {
                    let schema = Arc::new(stream.schema().project(&kept)?);
                    let records = Records::read(stream, &keys, &kept, &context).await?;
                    let given = (0..kept.len())
                        .map(|at| Arc::new(Column::new(schema.field(at).name(), at)) as PhysicalExprRef)
                        .collect();
                    Side::of(&records, given, &schema)
                });
                async move {
                    let side = reading.join().await.map_err(|error| DataFusionError::External(Box::new(error)));
                    side.flatten().map(Arc::new).map_err(Arc::new)
                }
                .boxed()
            }
        };
        Ok(holding.insert(read.shared()).clone())
    }

    /// The held side as a plan, where it is one.
    fn read(&self) -> Option<&Arc<dyn ExecutionPlan>> {
        match &self.held {
            Source::Read(plan, _) => Some(plan),
            Source::Index(..) => None,
        }
    }
}

impl Side {
    /// Of these records, of which what is kept has the columns `kept`.
    fn of(records: &Records, given: Vec<PhysicalExprRef>, kept: &SchemaRef) -> Result<Self> {
        Ok(match records {
            Records::Held(held) => Self::Whole(Arc::new(Whole::of(Arc::clone(held), &given, kept)?)),
            Records::Parted(parted) => Self::Parts(Parts { parted: Arc::clone(parted), given, kept: Arc::clone(kept) }),
        })
    }
}

impl Way {
    /// The rows with what is found for them.
    fn past(
        self,
        side: Arc<Whole>,
        rows: impl Stream<Item = Result<RecordBatch>>,
    ) -> impl Stream<Item = Result<RecordBatch>> {
        rows.map(move |batch| {
            let _timer = self.metrics.elapsed_compute().timer();
            let found = match self.kind {
                Kind::Left => side.beside(&batch?, &self.keys, &self.schema)?,
                Kind::Semi => side.chosen(&batch?, &self.keys, true)?,
                Kind::Anti => side.chosen(&batch?, &self.keys, false)?,
            };
            self.metrics.record_output(found.num_rows());
            Ok(found)
        })
        .try_filter(|batch| ready(batch.num_rows() > 0))
    }

    /// The same, of those parts of the rows that no other partition takes.
    fn past_parts(
        self,
        side: Parts,
        dealing: Arc<Dealing>,
        rows: Arc<Dealt>,
        context: Arc<TaskContext>,
    ) -> impl Stream<Item = Result<RecordBatch>> {
        let free = Arc::clone(&dealing);
        stream::iter(std::iter::from_fn(move || free.next()))
            .then(move |part| {
                let (way, side, dealing) = (self.clone(), side.clone(), Arc::clone(&dealing));
                let (rows, context) = (Arc::clone(&rows), Arc::clone(&context));
                async move {
                    let (held, permit) = dealing.held(|| side.parted.hold(part, &context)).await?;
                    let whole = Whole::of(Arc::new(held), &side.given, &side.kept)?;
                    let rows = stream::iter(rows.read(part)?);
                    Ok::<_, DataFusionError>(way.past(Arc::new(whole), rows).inspect(move |_| {
                        let _kept_as_long = &permit;
                    }))
                }
            })
            .try_flatten()
    }
}

impl Whole {
    fn of(held: Arc<Held>, given: &[PhysicalExprRef], kept: &SchemaRef) -> Result<Self> {
        Ok(Self { given: held.given(given, kept)?, held })
    }

    /// The rows with what is found for them.
    fn beside(&self, rows: &RecordBatch, keys: &[PhysicalExprRef], schema: &SchemaRef) -> Result<RecordBatch> {
        let found = self.held.find(&evaluated(keys, rows)?, rows.num_rows())?;
        let mut columns = match &found.rows_of {
            None => rows.columns().to_vec(),
            Some(rows_of) => {
                let columns = rows.columns().iter().map(|column| take(column, rows_of, None));
                columns.collect::<std::result::Result<Vec<_>, _>>()?
            }
        };
        for given in &self.given {
            columns.push(found.beside(given)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(found.matches()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }

    /// The rows for which something is `found`, or nothing.
    fn chosen(&self, rows: &RecordBatch, keys: &[PhysicalExprRef], found: bool) -> Result<RecordBatch> {
        let has = self.held.has(&evaluated(keys, rows)?, rows.num_rows())?;
        let chosen = if found { has } else { not(&has)? };
        // A copy of all of them would be the same again.
        if chosen.true_count() == rows.num_rows() { Ok(rows.clone()) } else { Ok(filter_record_batch(rows, &chosen)?) }
    }
}

impl fmt::Debug for LookupExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupExec").field("keys", &self.keys).field("given", &self.given).finish_non_exhaustive()
    }
}

impl DisplayAs for LookupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theirs: Vec<String> = match &self.held {
            Source::Read(_, keys) => keys.iter().map(ToString::to_string).collect(),
            Source::Index(index, _) => index.keys().iter().map(|at| index.schema().field(*at).name().clone()).collect(),
        };
        let on: Vec<_> = self.keys.iter().zip(theirs).map(|(row, held)| format!("({row}, {held})")).collect();
        let kind = match self.kind {
            Kind::Left => "",
            Kind::Semi => " semi,",
            Kind::Anti => " anti,",
        };
        write!(f, "LookupExec:{kind} on=[{}]", on.join(", "))
    }
}

impl ExecutionPlan for LookupExec {
    fn name(&self) -> &'static str {
        "LookupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let read = self.read().map(|_| Distribution::SinglePartition);
        InputDistributionRequirements::new(std::iter::once(Distribution::UnspecifiedDistribution).chain(read).collect())
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.rows).chain(self.read()).collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&PhysicalExprRef) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let theirs = match &self.held {
            Source::Read(_, keys) => keys.as_slice(),
            Source::Index(..) => &[],
        };
        apply_expression_roots(self.keys.iter().chain(theirs).cloned(), f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inputs = children.len();
        let mut children = children.into_iter();
        let (rows, held) = match (children.next(), children.next(), &self.held) {
            (Some(rows), Some(held), Source::Read(_, keys)) if inputs == 2 => (rows, Source::Read(held, keys.clone())),
            (Some(rows), None, Source::Index(..)) => (rows, self.held.clone()),
            _ => return Err(DataFusionError::Internal(format!("a lookup cannot have {inputs} inputs"))),
        };
        Ok(Arc::new(self.with(rows, held, self.given.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // What the joins below hold is asked for here as well, so that all of it is read at the same time.
        let holding = self.hold(&context)?;
        let rows = self.rows.execute(partition, Arc::clone(&context))?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (kind, keys) = (self.kind, self.keys.clone());
        let schema = self.schema();
        let given_on = Arc::clone(&schema);
        let (dealing, turn) = (Arc::clone(&self.dealing), Turn::new(&self.dealing));
        let found = stream::once(async move {
            let side = holding.await.map_err(DataFusionError::Shared)?;
            let way = Way { kind, keys, schema, metrics };
            Ok::<_, DataFusionError>(match &*side {
                Side::Whole(whole) => way.past(Arc::clone(whole), rows).boxed(),
                Side::Parts(parts) => {
                    let rows = turn.deal(rows, &way.keys, &context).await?;
                    way.past_parts(parts.clone(), dealing, rows, context).boxed()
                }
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(given_on, found.try_flatten())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        std::iter::once(ChildStats::At(partition)).chain(self.read().map(|_| ChildStats::Skip)).collect()
    }

    /// As many rows as there are, or fewer.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut known = Statistics::new_unknown(&self.schema());
        if let (Kind::Semi | Kind::Anti, Some(rows)) = (self.kind, inputs.first()) {
            known.num_rows = rows.num_rows.to_inexact();
        }
        Ok(Arc::new(known))
    }

    /// A condition on rows that are only chosen among is as well asked before.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<PhysicalExprRef>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let of_rows = match self.kind {
            Kind::Left => ChildFilterDescription::all_unsupported(&filters),
            Kind::Semi | Kind::Anti => ChildFilterDescription::from_child(&filters, &self.rows)?,
        };
        let all = FilterDescription::new().with_child(of_rows);
        Ok(match self.read() {
            Some(_) => all.with_child(ChildFilterDescription::all_unsupported(&filters)),
            None => all,
        })
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_any(result))
    }

    /// The rows' columns cost nothing; of the held ones only those stay that are read above.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let first = self.rows.schema().fields().len();
        let read: Vec<usize> = projection
            .expr()
            .iter()
            .flat_map(|part| collect_columns(&part.expr))
            .map(|column| column.index())
            .collect();
        let kept: Vec<usize> = (0..self.given.len()).filter(|at| read.contains(&(first + at))).collect();
        if kept.len() == self.given.len() {
            return Ok(None);
        }
        let given = kept.iter().map(|at| self.given[*at]).collect();
        let lookup = self.with(Arc::clone(&self.rows), self.held.clone(), given);
        let moved = |expr: &PhysicalExprRef| {
            Arc::clone(expr).transform(|part| match part.downcast_ref::<Column>() {
                Some(column) if column.index() >= first => {
                    let now = kept.iter().position(|at| first + at == column.index());
                    let now =
                        now.ok_or_else(|| DataFusionError::Internal(format!("{column} is read, but not kept")))?;
                    Ok(Transformed::yes(Arc::new(Column::new(column.name(), first + now)) as PhysicalExprRef))
                }
                _ => Ok(Transformed::no(part)),
            })
        };
        let exprs = projection
            .expr()
            .iter()
            .map(|part| Ok(ProjectionExpr { expr: moved(&part.expr)?.data, alias: part.alias.clone() }));
        Ok(Some(Arc::new(ProjectionExec::try_new(exprs.collect::<Result<Vec<_>>>()?, Arc::new(lookup))?)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::dataframe::DataFrame;
    use datafusion::execution::SessionState;
    use datafusion::execution::context::SessionContext;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::collect;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionConfig;

    use super::*;
    use crate::engine::lookup::held::Place;
    use crate::engine::lookup::rule::streaming;

    fn register(ctx: &SessionContext, name: &str, columns: &[(&str, ArrayRef)]) {
        let columns = columns.iter().map(|(name, column)| (*name, Arc::clone(column), true));
        let _ = ctx.register_batch(name, RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    }

    /// Rows whose keys of two parts are now and then NULL, records of which some share a key, and a table without rows.
    fn session(partitions: usize) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(500);
        let ctx = SessionContext::new_with_config(config);
        let word = |at: i64, nulls: i64| (at % nulls != 0).then(|| format!("word {}", at % 700));
        let words = |rows: i64, nulls: i64| -> ArrayRef {
            Arc::new((0..rows).map(|at| word(at * 7919, nulls)).collect::<StringArray>())
        };
        let numbers = |rows: i64, range: i64| -> ArrayRef {
            Arc::new((0..rows).map(|at| (at % 11 != 0).then_some(at * 31 % range)).collect::<Int64Array>())
        };
        let ids = |rows: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..rows)) };
        register(&ctx, "source", &[("id", ids(3_000)), ("word", words(3_000, 13)), ("number", numbers(3_000, 4))]);
        register(&ctx, "one", &[("word", words(690, 17)), ("gsid", ids(690)), ("unread", ids(690))]);
        register(&ctx, "many", &[("number", numbers(900, 5)), ("gsid", ids(900)), ("word", words(900, 19))]);
        register(&ctx, "none", &[("word", words(0, 2)), ("gsid", ids(0))]);
        ctx
    }

    const QUERY: &str = "SELECT s.id, s.word, o.gsid AS one, m.gsid AS many, n.gsid AS none FROM source s \
        LEFT JOIN one o ON o.word = s.word \
        LEFT JOIN many m ON m.word = s.word AND m.number = s.number \
        LEFT JOIN none n ON n.word = o.word";

    /// Rows that are only chosen among, by keys that come several times, are NULL, or are none at all.
    const CHOSEN: [&str; 4] = [
        "SELECT s.* FROM source s LEFT SEMI JOIN many m ON m.word = s.word AND m.number = s.number",
        "SELECT s.* FROM source s LEFT ANTI JOIN many m ON m.word = s.word AND m.number = s.number",
        "SELECT s.* FROM source s LEFT ANTI JOIN none n ON n.word = s.word",
        "SELECT count(*) FROM source s LEFT SEMI JOIN one o ON o.word = s.word",
    ];

    async fn rows(state: SessionState, query: &str) -> Result<Vec<RecordBatch>> {
        let plan = state.create_logical_plan(query).await?;
        DataFrame::new(state, plan).collect().await
    }

    #[tokio::test]
    async fn the_same_rows_as_the_engines_own_join() {
        for partitions in [1, 3] {
            let ctx = session(partitions);
            let sorted = format!("{QUERY} ORDER BY 1, 2, 3, 4, 5");
            let lookup = rows(streaming(ctx.state()), &sorted).await.unwrap();
            let plain = rows(ctx.state(), &sorted).await.unwrap();
            let count = plain.iter().map(RecordBatch::num_rows).sum::<usize>();
            assert!(count > 3_000, "some rows have several matches");
            assert_eq!(
                pretty_format_batches(&lookup).unwrap().to_string(),
                pretty_format_batches(&plain).unwrap().to_string()
            );
        }
    }

    #[tokio::test]
    async fn rows_are_chosen_as_by_the_engines_own_joins() {
        for query in CHOSEN {
            let ctx = session(3);
            let plain = sorted(&rows(ctx.state(), query).await.unwrap());
            assert!(plain.len() > 4, "some are chosen: {query}");
            for (bytes, parts) in [(1_000_000, false), (15_000, !query.contains("none"))] {
                let limited = with_memory(bytes, 3).await;
                let state = streaming(limited.state());
                let plan = state.create_physical_plan(&state.create_logical_plan(query).await.unwrap()).await.unwrap();
                let found = collect(Arc::clone(&plan), limited.task_ctx()).await.unwrap();
                assert_eq!((in_parts(&plan), sorted(&found)), (vec![parts], plain.clone()), "{query}");
            }
        }
    }

    #[tokio::test]
    async fn rows_keep_their_order_and_columns_that_nobody_reads_are_not_looked_up() {
        let state = streaming(session(1).state());
        let query = "SELECT s.id, o.gsid FROM source s LEFT JOIN one o ON o.word = s.word";
        let found = rows(state.clone(), query).await.unwrap();
        let ids: Vec<i64> =
            found.iter().flat_map(|batch| batch["id"].as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(ids, (0..3_000).collect::<Vec<_>>());
        let plan = state.create_physical_plan(&state.create_logical_plan(query).await.unwrap()).await.unwrap();
        let mut lookups = Vec::new();
        plan.apply(|part| {
            lookups.extend(part.downcast_ref::<LookupExec>().map(|lookup| lookup.given.len()));
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        assert_eq!(lookups, [1], "{}", displayable(plan.as_ref()).indent(false));
    }

    #[tokio::test]
    async fn a_batch_of_more_rows_than_a_place_can_name_is_held_in_parts() {
        const ROWS: i64 = 2 * Place::ROWS as i64 + 100;
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_batch_size(1 << 20));
        let ids = |step: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..ROWS).step_by(step))) };
        register(&ctx, "source", &[("id", ids(1))]);
        register(&ctx, "held", &[("id", ids(3)), ("word", ids(3))]);
        register(&ctx, "large", &[("id", ids(1)), ("word", ids(1))]);
        let state = streaming(ctx.state());
        let count = "SELECT count(*) AS n, count(h.word) AS held, sum(h.word - s.id) AS zero, sum(l.word - s.id) AS too \
            FROM source s LEFT JOIN held h ON h.id = s.id LEFT JOIN large l ON l.id = s.id";
        let found = rows(state, count).await.unwrap();
        let numbers: Vec<i64> =
            found[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect();
        assert_eq!(numbers, [ROWS, (ROWS + 2) / 3, 0, 0]);
    }

    /// The tables of [`session`] where lookups have so many bytes of memory.
    async fn with_memory(bytes: usize, partitions: usize) -> SessionContext {
        let ctx = session(partitions);
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).build_arc().unwrap();
        let limited = SessionContext::new_with_config_rt(ctx.copied_config(), runtime);
        for name in ["source", "one", "many", "none"] {
            limited.register_table(name, ctx.table_provider(name).await.unwrap()).unwrap();
        }
        limited
    }

    fn sorted(batches: &[RecordBatch]) -> Vec<String> {
        let text = pretty_format_batches(batches).unwrap().to_string();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// Of the lookups of a plan that has run: whether the other side was in parts.
    fn in_parts(plan: &Arc<dyn ExecutionPlan>) -> Vec<bool> {
        let mut found = Vec::new();
        plan.apply(|part| {
            if let Some(lookup) = part.downcast_ref::<LookupExec>() {
                let holding = lookup.holding.lock().unwrap().clone().unwrap();
                found.push(matches!(*holding.now_or_never().unwrap().unwrap(), Side::Parts(_)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        found
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_is_looked_at_in_parts_and_the_answer_is_the_same() {
        for partitions in [1, 3] {
            let plain = sorted(&rows(session(partitions).state(), QUERY).await.unwrap());
            // of the table without rows there is nothing to part
            for (bytes, expected) in [(1_000_000, [false, false, false]), (20_000, [false, true, true])] {
                let limited = with_memory(bytes, partitions).await;
                let state = streaming(limited.state());
                let plan = state.create_physical_plan(&state.create_logical_plan(QUERY).await.unwrap()).await.unwrap();
                let found = collect(Arc::clone(&plan), limited.task_ctx()).await.unwrap();
                assert_eq!(in_parts(&plan), expected, "{bytes}");
                assert_eq!(sorted(&found), plain);
                drop(plan);
                let runtime = limited.runtime_env();
                assert_eq!((runtime.memory_pool.reserved(), runtime.disk_manager.used_disk_space()), (0, 0));
            }
        }
    }

    #[tokio::test]
    async fn a_part_that_does_not_fit_is_an_error_that_names_the_lookup() {
        let limited = with_memory(400, 2).await;
        let query = "SELECT s.id, o.gsid FROM source s LEFT JOIN one o ON o.word = s.word";
        let error = rows(streaming(limited.state()), query).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
        assert!(error.to_string().contains("LookupExec"), "{error}");
    }
}
