//! A left join whose right side is held and has, as a rule, each key once: the rows pass it as they are, and get the
//! other side's columns beside theirs.
//!
//! ```text
//!   rows  ──▶ hash of the keys ──▶ place in the table ──▶ the rows' own arrays + what was found, taken from the held ones
//!   held  ──▶ read as soon as the plan begins ──▶ one batch and a table from hashes to its rows
//! ```
//!
//! The engine's own join copies every cell of every row it passes on, for it has to reckon with several matches. The
//! statement takes wide rows through up to six joins one after the other, each against a side where a key stands for one
//! record, and so does without: a batch in which no row has two matches keeps its arrays. Where keys do come several times
//! the answer is that of any left join, at the engine's own price.
//!
//! # Promises
//! * The same rows as a left hash join, in the order in which they came.
//! * What is held is asked of the session's memory pool.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::DynComparator;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::array::UInt32Builder;
use datafusion::arrow::array::make_comparator;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::compute::concat_batches;
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
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryReservation;
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
use futures::StreamExt;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use futures::future::Shared;
use futures::stream;

use crate::matching::key_hash::hashes;

/// The held side, once it is there.
type Holding = Shared<BoxFuture<'static, std::result::Result<Arc<Held>, Arc<DataFusionError>>>>;

/// The plan of such a join.
pub(super) struct LookupExec {
    rows: Arc<dyn ExecutionPlan>,
    held: Arc<dyn ExecutionPlan>,
    /// The keys: over the rows, and over what is held.
    on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
    /// The held columns that are given on.
    given: Vec<usize>,
    properties: Arc<PlanProperties>,
    holding: Mutex<Option<Holding>>,
    metrics: ExecutionPlanMetricsSet,
}

impl LookupExec {
    /// A left join on equal keys as a lookup; `None` if it is another kind of join.
    pub(super) fn of(join: &HashJoinExec) -> Option<Self> {
        let plain = *join.join_type() == JoinType::Left
            && join.filter().is_none()
            && join.null_equality() == NullEquality::NullEqualsNothing
            && !join.contains_projection();
        let given = (0..join.right().schema().fields().len()).collect();
        plain.then(|| Self::new(Arc::clone(join.left()), Arc::clone(join.right()), join.on().to_vec(), given))
    }

    fn new(
        rows: Arc<dyn ExecutionPlan>,
        held: Arc<dyn ExecutionPlan>,
        on: Vec<(PhysicalExprRef, PhysicalExprRef)>,
        given: Vec<usize>,
    ) -> Self {
        let (ours, theirs) = (rows.schema(), held.schema());
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
        let metrics = ExecutionPlanMetricsSet::new();
        Self { rows, held, on, given, properties, holding: Mutex::new(None), metrics }
    }

    /// Begins to read the held side, for all partitions of the rows together.
    fn hold(&self, context: &Arc<TaskContext>) -> Result<Holding> {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holding) = holding.as_ref() {
            return Ok(holding.clone());
        }
        let batches = self.held.execute(0, Arc::clone(context))?;
        let keys = self.on.iter().map(|(_, key)| Arc::clone(key)).collect();
        let memory = MemoryConsumer::new("LookupExec").register(context.memory_pool());
        let reading = SpawnedTask::spawn(Held::read(batches, keys, self.given.clone(), memory));
        let read = async move {
            let held = reading.join().await.map_err(|error| DataFusionError::External(Box::new(error)));
            held.flatten().map(Arc::new).map_err(Arc::new)
        };
        Ok(holding.insert(read.boxed().shared()).clone())
    }
}

impl fmt::Debug for LookupExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupExec").field("on", &self.on).field("given", &self.given).finish_non_exhaustive()
    }
}

impl DisplayAs for LookupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<_> = self.on.iter().map(|(row, held)| format!("({row}, {held})")).collect();
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
        InputDistributionRequirements::new(vec![Distribution::UnspecifiedDistribution, Distribution::SinglePartition])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows, &self.held]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&PhysicalExprRef) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.on.iter().flat_map(|(row, held)| [Arc::clone(row), Arc::clone(held)]), f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([rows, held]) => Ok(Arc::new(Self::new(rows, held, self.on.clone(), self.given.clone()))),
            Err(other) => Err(DataFusionError::Internal(format!("a lookup has two inputs, not {}", other.len()))),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // What the joins below hold is asked for here as well, so that all of it is read at the same time.
        let holding = self.hold(&context)?;
        let rows = self.rows.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let keys: Vec<_> = self.on.iter().map(|(key, _)| Arc::clone(key)).collect();
        let schema = self.schema();
        let given_on = Arc::clone(&schema);
        let found = stream::once(async move {
            let held = holding.await.map_err(DataFusionError::Shared)?;
            Ok::<_, DataFusionError>(rows.map(move |batch| {
                let _timer = metrics.elapsed_compute().timer();
                let found = held.beside(&batch?, &keys, &schema)?;
                metrics.record_output(found.num_rows());
                Ok(found)
            }))
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
        let lookup = Self::new(Arc::clone(&self.rows), Arc::clone(&self.held), self.on.clone(), given);
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

/// What is held: the columns that are given on, the keys, and where a key's row is.
struct Held {
    columns: Vec<ArrayRef>,
    keys: Vec<ArrayRef>,
    table: Table,
    /// Its share of the memory pool, for as long as it is held.
    _memory: MemoryReservation,
}

impl Held {
    async fn read(
        mut stream: SendableRecordBatchStream,
        keys: Vec<PhysicalExprRef>,
        given: Vec<usize>,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            memory.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
        }
        let whole = concat_batches(&stream.schema(), &batches)?;
        drop(batches);
        memory.try_resize(whole.get_array_memory_size() + Table::bytes(whole.num_rows()))?;
        let keys = evaluated(&keys, &whole)?;
        let table = Table::of(&keys, whole.num_rows())?;
        let columns = given.iter().map(|at| Arc::clone(whole.column(*at))).collect();
        Ok(Self { columns, keys, table, _memory: memory })
    }

    /// The rows with what is found for them.
    fn beside(&self, rows: &RecordBatch, keys: &[PhysicalExprRef], schema: &SchemaRef) -> Result<RecordBatch> {
        let keys = evaluated(keys, rows)?;
        let numbers = hashes(&keys, rows.num_rows())?;
        let equal = equality(&keys, &self.keys)?;
        let found = self.table.find(&numbers, &equal);
        let (mut columns, found) = match self.table.all(&found) {
            None => (rows.columns().to_vec(), found),
            Some((places, found)) => {
                let columns = rows.columns().iter().map(|column| take(column, &places, None));
                (columns.collect::<std::result::Result<Vec<_>, _>>()?, found)
            }
        };
        let count = found.len();
        for column in &self.columns {
            columns.push(take(column, &found, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}

fn evaluated(keys: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Whether a row on one side and a row on the other have equal keys.
fn equality(these: &[ArrayRef], those: &[ArrayRef]) -> Result<impl Fn(usize, usize) -> bool> {
    let parts = these
        .iter()
        .zip(those)
        .map(|(this, that)| Ok(make_comparator(this.as_ref(), that.as_ref(), SortOptions::default())?))
        .collect::<Result<Vec<DynComparator>>>()?;
    Ok(move |this, that| parts.iter().all(|part| part(this, that).is_eq()))
}

/// From keys' hashes to the row that has the key, and from that to others with the same key.
struct Table {
    /// A row, below the upper half of its hash, or [`FREE`]. Looked through from a hash's own slot on.
    slots: Vec<u64>,
    shift: u32,
    /// For every row, and one, the next row with its key; empty where each key is there once.
    next: Vec<u32>,
}

const UPPER: u64 = !(u32::MAX as u64);

/// No row. Memory that begins as zeros would be mapped twice, to be read and then to be written, which halts all threads.
const FREE: u64 = u64::MAX;

impl Table {
    /// Twice as many slots as rows or more, so that hardly any slot but the first is looked at.
    fn slots(rows: usize) -> usize {
        (rows.max(1) * 2).next_power_of_two()
    }

    fn bytes(rows: usize) -> usize {
        Self::slots(rows) * size_of::<u64>()
    }

    fn of(keys: &[ArrayRef], rows: usize) -> Result<Self> {
        if rows >= u32::MAX as usize {
            return Err(DataFusionError::Execution(format!("{rows} records are more than a lookup can hold")));
        }
        let slots = Self::slots(rows);
        let mut table = Self { slots: vec![FREE; slots], shift: 64 - slots.trailing_zeros(), next: Vec::new() };
        let numbers = hashes(keys, rows)?;
        let equal = equality(keys, keys)?;
        // From the last to the first, so that of several rows with one key the first is found first.
        for row in (0..rows).rev().filter(|row| numbers.is_valid(*row)) {
            let hash = numbers.value(row).cast_unsigned();
            let entry = hash & UPPER | row as u64;
            let (slot, there) = table.look(hash, |other| equal(row, other));
            if let Some(other) = there {
                table.next.resize(rows, 0);
                table.next[row] = other + 1;
            }
            table.slots[slot] = entry;
        }
        Ok(table)
    }

    /// The slot of a key and the row in it; where there is none, the slot that it would take.
    fn look(&self, hash: u64, is_it: impl Fn(usize) -> bool) -> (usize, Option<u32>) {
        let mut slot = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let entry = self.slots[slot];
            if entry == FREE {
                return (slot, None);
            }
            let row = (entry & !UPPER) as u32;
            if entry & UPPER == hash & UPPER && is_it(row as usize) {
                return (slot, Some(row));
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// For each key the first row that has it.
    fn find(&self, numbers: &Int64Array, equal: &impl Fn(usize, usize) -> bool) -> UInt32Array {
        let look =
            |(row, number): (usize, Option<i64>)| self.look(number?.cast_unsigned(), |other| equal(row, other)).1;
        numbers.iter().enumerate().map(look).collect()
    }

    /// Where a key has several rows: for each match, its key's place and its row. `None` where `found` is all there is.
    fn all(&self, found: &UInt32Array) -> Option<(UInt32Array, UInt32Array)> {
        let further = |row: u32| self.next.get(row as usize).and_then(|next| next.checked_sub(1));
        if !found.iter().flatten().any(|row| further(row).is_some()) {
            return None;
        }
        let (mut places, mut rows) = (UInt32Builder::new(), UInt32Builder::new());
        for (place, first) in (0_u32..).zip(found) {
            places.append_value(place);
            rows.append_option(first);
            let mut row = first;
            while let Some(more) = row.and_then(further) {
                places.append_value(place);
                rows.append_value(more);
                row = Some(more);
            }
        }
        Some((places.finish(), rows.finish()))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::dataframe::DataFrame;
    use datafusion::execution::SessionState;
    use datafusion::execution::context::SessionContext;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionConfig;

    use super::*;
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
    async fn what_is_held_is_asked_of_the_memory_pool() {
        let ctx = session(2);
        let small = RuntimeEnvBuilder::new().with_memory_limit(20_000, 1.0).build_arc().unwrap();
        let state = SessionContext::new_with_config_rt(ctx.copied_config(), small);
        let tables = ["source", "one"];
        for name in tables {
            state.register_table(name, ctx.table_provider(name).await.unwrap()).unwrap();
        }
        let query = "SELECT s.id, o.gsid FROM source s LEFT JOIN one o ON o.word = s.word";
        let error = rows(streaming(state.state()), query).await.unwrap_err();
        assert!(error.to_string().contains("LookupExec"), "{error}");
    }
}
