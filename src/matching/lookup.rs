//! A left join whose right side is held and has, as a rule, each key once: the rows pass it as they are, and get the
//! other side's columns beside theirs.
//!
//! ```text
//!   rows  ──▶ hash of the keys ──▶ place in the table ──▶ the rows' own arrays + what was found, taken from the held ones
//!   held  ──▶ read as soon as the plan begins, unless it is an index, which is there already
//! ```
//!
//! The engine's own join copies every cell of every row it passes on, for it has to reckon with several matches. The
//! statement takes wide rows through up to six joins one after the other, each against a side where a key stands for one
//! record, and so does without: a batch in which no row has two matches keeps its arrays. Where keys do come several times
//! the answer is that of any left join, at the engine's own price.
//!
//! Where the other side does not fit into memory, both sides are [dealt out](crate::matching::dealt) by key, and then part
//! by part of the one is held while the same part of the rows passes it:
//!
//! ```text
//!   rows, all partitions ──▶ dealt out ──▶ part n of the rows ──┐
//!   held ──────────────────▶ dealt out ──▶ part n is held ──────┴──▶ as above
//! ```
//!
//! # Promises
//! * The same rows as a left hash join, in the order in which they came if the other side is held whole.
//! * What is held is asked of the session's memory pool. No more than three quarters of it are taken by sides that are held
//!   whole, and of one that is not a 32nd at least has to find room.
//! * As with the engine's own exchanges, all partitions are to be asked for rows side by side.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
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
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::BaselineMetrics;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::projection::ProjectionExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::FutureExt;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::future::Shared;
use futures::future::ready;
use futures::stream;

use crate::matching::dealing::Dealing;
use crate::matching::dealing::Turn;
use crate::matching::dealt::Dealt;
use crate::matching::held::Given;
use crate::matching::held::Held;
use crate::matching::held::Parted;
use crate::matching::held::Records;
use crate::matching::held::evaluated;
use crate::matching::index::Index;

/// The held side, once it is there.
type Holding = Shared<BoxFuture<'static, std::result::Result<Arc<Side>, Arc<DataFusionError>>>>;

/// The plan of such a join.
pub(super) struct LookupExec {
    rows: Arc<dyn ExecutionPlan>,
    held: Source,
    /// The columns that the held side has.
    theirs: SchemaRef,
    /// The keys of the rows.
    keys: Vec<PhysicalExprRef>,
    /// The held columns that are given on.
    given: Vec<usize>,
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
    keys: Vec<PhysicalExprRef>,
    schema: SchemaRef,
    metrics: BaselineMetrics,
}

impl LookupExec {
    /// A left join on equal keys as a lookup; `None` if it is another kind of join.
    pub(super) fn of(join: &HashJoinExec) -> Result<Option<Self>> {
        let plain = *join.join_type() == JoinType::Left
            && join.filter().is_none()
            && join.null_equality() == NullEquality::NullEqualsNothing
            && !join.contains_projection();
        if !plain {
            return Ok(None);
        }
        let (theirs, given) = (join.right().schema(), (0..join.right().schema().fields().len()).collect());
        let (ours, held_keys): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
        let (held, keys) = match Self::index(join)? {
            Some(found) => found,
            None => (Source::Read(Arc::clone(join.right()), held_keys), ours),
        };
        Ok(Some(Self::new(Arc::clone(join.left()), held, theirs, keys, given)))
    }

    /// The index on the right side of `join`, and the rows' keys in its order; `None` if there is none or the join is not by
    /// its key.
    fn index(join: &HashJoinExec) -> Result<Option<(Source, Vec<PhysicalExprRef>)>> {
        let Some((index, columns)) = Index::read_by(join.right())? else { return Ok(None) };
        let column_of = |expr: &PhysicalExprRef| expr.downcast_ref::<Column>().map(Column::index);
        let joined: Vec<Option<usize>> = join
            .on()
            .iter()
            .map(|(_, theirs)| column_of(theirs).and_then(|at| columns.get(at)).and_then(column_of))
            .collect();
        let mut keys = Vec::new();
        for (key, kind) in index.keys().iter().zip(index.records().key_types()) {
            let Some(at) = joined.iter().position(|column| *column == Some(*key)) else { return Ok(None) };
            let ours = &join.on()[at].0;
            // Numbers are only equal where types are.
            if ours.data_type(&join.left().schema())? != kind {
                return Ok(None);
            }
            keys.push(Arc::clone(ours));
        }
        Ok((keys.len() == joined.len()).then(|| (Source::Index(index, columns), keys)))
    }

    fn new(
        rows: Arc<dyn ExecutionPlan>,
        held: Source,
        theirs: SchemaRef,
        keys: Vec<PhysicalExprRef>,
        given: Vec<usize>,
    ) -> Self {
        let ours = rows.schema();
        let mut fields = ours.fields().to_vec();
        fields.extend(given.iter().map(|at| Arc::new(theirs.field(*at).clone().with_nullable(true))));
        let schema = Arc::new(Schema::new_with_metadata(fields, ours.metadata().clone()));
        let partitions = rows.output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        let (holding, dealing) = (Mutex::new(None), Dealing::new(partitions));
        let metrics = ExecutionPlanMetricsSet::new();
        Self { rows, held, theirs, keys, given, properties, holding, dealing, metrics }
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
            let found = side.beside(&batch?, &self.keys, &self.schema)?;
            self.metrics.record_output(found.num_rows());
            Ok(found)
        })
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
        write!(f, "LookupExec: on=[{}]", on.join(", "))
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
        let theirs = Arc::clone(&self.theirs);
        Ok(Arc::new(Self::new(rows, held, theirs, self.keys.clone(), self.given.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // What the joins below hold is asked for here as well, so that all of it is read at the same time.
        let holding = self.hold(&context)?;
        let rows = self.rows.execute(partition, Arc::clone(&context))?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let keys = self.keys.clone();
        let schema = self.schema();
        let given_on = Arc::clone(&schema);
        let (dealing, turn) = (Arc::clone(&self.dealing), Turn::new(&self.dealing));
        let found = stream::once(async move {
            let side = holding.await.map_err(DataFusionError::Shared)?;
            let way = Way { keys, schema, metrics };
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
        let theirs = Arc::clone(&self.theirs);
        let lookup = Self::new(Arc::clone(&self.rows), self.held.clone(), theirs, self.keys.clone(), given);
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
    use crate::matching::held::Place;
    use crate::matching::hold::streaming;

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
            let sorted = |batches: &[RecordBatch]| {
                let text = pretty_format_batches(batches).unwrap().to_string();
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
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
