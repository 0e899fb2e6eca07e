//! A left join whose right side is held and has, as a rule, each key once: the rows pass it as they are, and get the
//! other side's columns beside theirs.
//!
//! ```text
//!   rows  ──▶ hash of the keys ──▶ place in the table ──▶ the rows' own arrays + what was found, taken from the held ones
//!   held  ──▶ read as soon as the plan begins ──▶ batches, and a table from hashes to their rows
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
use datafusion::arrow::array::make_comparator;
use datafusion::arrow::array::new_null_array;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::compute::interleave;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;
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

/// What is held: batches as they were read, and where a key's record is among them. Put together as one batch they would
/// be held twice for a while, and memory touched for the first time is dear.
struct Held {
    /// For each column that is given on, its arrays: first one with a NULL, for rows that find nothing.
    given: Vec<Vec<ArrayRef>>,
    /// For each batch, its keys.
    keys: Vec<Vec<ArrayRef>>,
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
        let schema = stream.schema();
        let mut columns: Vec<Vec<ArrayRef>> =
            given.iter().map(|at| vec![new_null_array(schema.field(*at).data_type(), 1)]).collect();
        let mut held_keys = Vec::new();
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            memory.try_grow(batch.get_array_memory_size())?;
            rows += batch.num_rows();
            for from in (0..batch.num_rows()).step_by(Place::ROWS) {
                let part = batch.slice(from, Place::ROWS.min(batch.num_rows() - from));
                for (column, at) in columns.iter_mut().zip(&given) {
                    column.push(Arc::clone(part.column(*at)));
                }
                held_keys.push(evaluated(&keys, &part)?);
            }
        }
        memory.try_grow(Table::bytes(rows))?;
        let table = Table::of(&held_keys, rows)?;
        Ok(Self { given: columns, keys: held_keys, table, _memory: memory })
    }

    /// The rows with what is found for them.
    fn beside(&self, rows: &RecordBatch, keys: &[PhysicalExprRef], schema: &SchemaRef) -> Result<RecordBatch> {
        let keys = evaluated(keys, rows)?;
        let numbers = hashes(&keys, rows.num_rows())?;
        let equal = self.keys.iter().map(|held| equality(&keys, held)).collect::<Result<Vec<_>>>()?;
        let found = self.table.find(&numbers, |row, place| equal[place.batch()](row, place.row()));
        let (mut columns, found) = match self.table.all(&found) {
            None => (rows.columns().to_vec(), found),
            Some((rows_of, found)) => {
                let columns = rows.columns().iter().map(|column| take(column, &rows_of, None));
                (columns.collect::<std::result::Result<Vec<_>, _>>()?, found)
            }
        };
        let places: Vec<(usize, usize)> =
            found.iter().map(|place| place.map_or((0, 0), |place| (place.batch() + 1, place.row()))).collect();
        for arrays in &self.given {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            columns.push(interleave(&arrays, &places)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}

fn evaluated(keys: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Whether a row on one side and a row on the other have equal keys.
fn equality(these: &[ArrayRef], those: &[ArrayRef]) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    let parts = these
        .iter()
        .zip(those)
        .map(|(this, that)| Ok(make_comparator(this.as_ref(), that.as_ref(), SortOptions::default())?))
        .collect::<Result<Vec<DynComparator>>>()?;
    Ok(move |this, that| parts.iter().all(|part| part(this, that).is_eq()))
}

/// A held record: the number of its batch, and its row there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(u32);

impl Place {
    /// Rows of a batch at most; there can be as many batches, less one.
    const ROWS: usize = 1 << 16;

    fn new(batch: usize, row: usize) -> Result<Self> {
        match u16::try_from(batch) {
            Ok(batch) if batch < u16::MAX => Ok(Self(u32::from(batch) << 16 | (row % Self::ROWS) as u32)),
            _ => Err(DataFusionError::Execution("a lookup cannot hold so many records".to_owned())),
        }
    }

    fn batch(self) -> usize {
        (self.0 >> 16) as usize
    }

    fn row(self) -> usize {
        self.0 as usize % Self::ROWS
    }
}

/// From keys' hashes to the record that has the key, and from that to others with the same key.
struct Table {
    /// A record's place, below the upper half of its key's hash, or [`FREE`]. Looked through from a hash's own slot on.
    slots: Vec<u64>,
    shift: u32,
    /// The next record with the same key.
    next: HashMap<Place, Place>,
}

const UPPER: u64 = !(u32::MAX as u64);

/// No record: the place would be in the batch that there cannot be. Memory that begins as zeros would be mapped twice, to
/// be read and then to be written, which halts all threads.
const FREE: u64 = u64::MAX;

impl Table {
    /// Twice as many slots as records or more, so that hardly any slot but the first is looked at.
    fn slots(records: usize) -> usize {
        (records.max(1) * 2).next_power_of_two()
    }

    fn bytes(records: usize) -> usize {
        Self::slots(records) * size_of::<u64>()
    }

    fn of(keys: &[Vec<ArrayRef>], records: usize) -> Result<Self> {
        let slots = Self::slots(records);
        let mut table = Self { slots: vec![FREE; slots], shift: 64 - slots.trailing_zeros(), next: HashMap::default() };
        // From the last to the first, so that of several records with one key the first is found first.
        for (batch, keys_here) in keys.iter().enumerate().rev() {
            let rows = keys_here.first().map_or(0, Array::len);
            let numbers = hashes(keys_here, rows)?;
            for row in (0..rows).rev().filter(|row| numbers.is_valid(*row)) {
                let hash = numbers.value(row).cast_unsigned();
                let place = Place::new(batch, row)?;
                // What cannot be compared at all is told where the rows are compared.
                let same = |there: Place, those| equality(keys_here, those).is_ok_and(|equal| equal(row, there.row()));
                let (slot, there) =
                    table.look(hash, |other| keys.get(other.batch()).is_some_and(|those| same(other, those)));
                if let Some(other) = there {
                    table.next.insert(place, other);
                }
                table.slots[slot] = hash & UPPER | u64::from(place.0);
            }
        }
        Ok(table)
    }

    /// The slot of a key and the record in it; where there is none, the slot that it would take.
    fn look(&self, hash: u64, mut is_it: impl FnMut(Place) -> bool) -> (usize, Option<Place>) {
        let mut slot = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let entry = self.slots[slot];
            if entry == FREE {
                return (slot, None);
            }
            let place = Place((entry & !UPPER) as u32);
            if entry & UPPER == hash & UPPER && is_it(place) {
                return (slot, Some(place));
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// For each key the first record that has it.
    fn find(&self, numbers: &Int64Array, equal: impl Fn(usize, Place) -> bool) -> Vec<Option<Place>> {
        // The records by their hashes first, then the keys: so the many places in memory are asked for at the same time
        // and not one after the other.
        let likely = |number: i64| self.look(number.cast_unsigned(), |_| true).1;
        let likely: Vec<Option<Place>> = numbers.iter().map(|number| number.and_then(likely)).collect();
        let sure = |(row, likely): (usize, Option<Place>)| match likely? {
            place if equal(row, place) => Some(place),
            _ => self.look(numbers.value(row).cast_unsigned(), |place| equal(row, place)).1,
        };
        likely.into_iter().enumerate().map(sure).collect()
    }

    /// Where a key has several records: for each match its row, and the record. `None` where `found` is all there is.
    fn all(&self, found: &[Option<Place>]) -> Option<(UInt32Array, Vec<Option<Place>>)> {
        if self.next.is_empty() || !found.iter().flatten().any(|place| self.next.contains_key(place)) {
            return None;
        }
        let (mut rows, mut all) = (Vec::new(), Vec::new());
        for (row, first) in (0_u32..).zip(found) {
            rows.push(row);
            all.push(*first);
            let mut last = *first;
            while let Some(more) = last.and_then(|place| self.next.get(&place)) {
                rows.push(row);
                all.push(Some(*more));
                last = Some(*more);
            }
        }
        Some((UInt32Array::from(rows), all))
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
