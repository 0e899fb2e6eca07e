//! A table that is worked out once and then found by key: what the statement calls `…_all`.
//!
//! The statement leads its rows past a mirror up to three times: to see which keys several records share, with the rows
//! that share a key, and with all rows. Each time the engine would read the mirror, and make its hash table, anew. So
//! they are made once. Which keys come again is then known without looking, and a [`LookupExec`](crate::engine::lookup)
//! whose other side is such a table takes it as it is. To everyone else it is a table in memory.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::catalog::TableProvider;
use datafusion::common::project_schema;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::DisplayAs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::Partitioning;
use datafusion::physical_plan::PlanProperties;
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::engine::lookup::held::Records;

/// The table.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    schema: SchemaRef,
    /// The columns of the key.
    keys: Vec<usize>,
    records: Records,
    /// The numbers of the keys that several records have.
    repeated: Int64Array,
}

impl Index {
    /// Runs `plan`, whose rows are to be found by the columns named in `keys`.
    pub(crate) async fn of(plan: Arc<dyn ExecutionPlan>, keys: &[String], context: Arc<TaskContext>) -> Result<Self> {
        let schema = plan.schema();
        let stream = execute_stream(plan, Arc::clone(&context))?;
        let keys = keys.iter().map(|key| Ok(schema.index_of(key)?)).collect::<Result<Vec<_>>>()?;
        let by: Vec<PhysicalExprRef> = keys.iter().map(|at| column(&schema, *at)).collect();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let records = Records::read(stream, &by, &all, &context).await?;
        let repeated = records.repeated(&context)?;
        Ok(Self { schema, keys, records, repeated })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// The columns of the key.
    pub(super) fn keys(&self) -> &[usize] {
        &self.keys
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The numbers of the keys that several records have.
    pub(crate) fn repeated(&self) -> &Int64Array {
        &self.repeated
    }

    /// The index that `plan` reads, if it reads nothing else and passes on all of it, and its columns as expressions over
    /// the index's.
    pub(super) fn read_by(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<(Self, Vec<PhysicalExprRef>)>> {
        if let Some(scan) = plan.downcast_ref::<IndexExec>() {
            let columns = scan.projection.iter().map(|at| column(&scan.index.schema, *at)).collect();
            return Ok(Some((scan.index.clone(), columns)));
        }
        let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
        let Some((index, columns)) = Self::read_by(projection.input())? else { return Ok(None) };
        let over = |part: &PhysicalExprRef| {
            let moved = Arc::clone(part).transform(|part| match part.downcast_ref::<Column>() {
                Some(column) => Ok(Transformed::yes(Arc::clone(&columns[column.index()]))),
                None => Ok(Transformed::no(part)),
            });
            Ok(moved?.data)
        };
        let exprs = projection.expr().iter().map(|part| over(&part.expr)).collect::<Result<Vec<_>>>()?;
        Ok(Some((index, exprs)))
    }
}

fn column(schema: &SchemaRef, at: usize) -> PhysicalExprRef {
    Arc::new(Column::new(schema.field(at).name(), at))
}

#[async_trait]
impl TableProvider for Index {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(IndexExec { index: self.clone(), projection, schema, properties }))
    }
}

/// Reads an index as a table.
#[derive(Debug)]
struct IndexExec {
    index: Index,
    projection: Vec<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for IndexExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "IndexExec: [{}]", names.join(", "))
    }
}

impl ExecutionPlan for IndexExec {
    fn name(&self) -> &'static str {
        "IndexExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&PhysicalExprRef) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.len() {
            0 => Ok(self),
            more => Err(DataFusionError::Internal(format!("an index has no inputs, not {more}"))),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let projection = self.projection.clone();
        let batches = self.index.records.batches().map(move |batch| Ok(batch?.project(&projection)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::dataframe::DataFrame;
    use datafusion::execution::SessionState;
    use datafusion::execution::context::SessionContext;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::logical_expr::ScalarUDF;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionConfig;

    use super::*;
    use crate::engine::lookup::key_hash::KeyHash;
    use crate::engine::lookup::rule::streaming;

    /// Rows and records with words, of which some are NULL.
    async fn session() -> SessionContext {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2).with_batch_size(100));
        let words = |rows: i64, step: i64| -> ArrayRef {
            Arc::new(
                (0..rows)
                    .map(|at| (at % 7 != 0).then(|| format!("word {}", at * step % rows)))
                    .collect::<StringArray>(),
            )
        };
        let ids = |rows: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..rows)) };
        let source = [("id", ids(900)), ("word", words(900, 7)), ("other", ids(900))];
        let _none = ctx.register_batch("source", RecordBatch::try_from_iter(source).unwrap()).unwrap();
        let mirror = [("word", words(300, 11)), ("number", ids(300)), ("gsid", ids(300))];
        let _none = ctx.register_batch("mirror", RecordBatch::try_from_iter(mirror).unwrap()).unwrap();
        ctx
    }

    async fn index(ctx: &SessionContext, sql: &str, keys: &[&str]) -> Index {
        let frame = ctx.sql(sql).await.unwrap();
        let context = Arc::new(frame.task_ctx());
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        Index::of(frame.create_physical_plan().await.unwrap(), &keys, context).await.unwrap()
    }

    async fn run(state: &SessionState, query: &str) -> (String, String) {
        let plan = state.create_logical_plan(query).await.unwrap();
        let physical = state.create_physical_plan(&plan).await.unwrap();
        let text = displayable(physical.as_ref()).indent(false).to_string();
        let batches = DataFrame::new(state.clone(), plan).collect().await.unwrap();
        (pretty_format_batches(&batches).unwrap().to_string(), text)
    }

    #[tokio::test]
    async fn a_lookup_takes_the_index_as_it_is_and_finds_what_a_join_finds() {
        const QUERY: &str = "SELECT s.id, f.gsid, f.hits, f.nothing FROM source s LEFT JOIN \
            (SELECT number, word AS key, gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS nothing FROM mirror) f \
            ON f.key = s.word AND f.number = s.other ORDER BY 1, 2";
        let ctx = session().await;
        let (expected, _) = run(&ctx.state(), QUERY).await;
        let found = index(&ctx, "SELECT gsid, word, number FROM mirror", &["word", "number"]).await;
        assert!(found.repeated().is_empty());
        let by_word = index(&ctx, "SELECT gsid, word, number FROM mirror", &["word"]).await;
        for (index, reads) in [(found, 0), (by_word, 1)] {
            ctx.deregister_table("mirror").unwrap();
            ctx.register_table("mirror", Arc::new(index)).unwrap();
            let (rows, plan) = run(&streaming(ctx.state()), QUERY).await;
            assert_eq!(rows, expected);
            assert!(rows.contains("| 1 "), "some are found");
            assert!(plan.contains("LookupExec"), "{plan}");
            assert_eq!(plan.matches("IndexExec").count(), reads, "read only by who needs another key: {plan}");
        }
    }

    #[tokio::test]
    async fn an_index_knows_which_keys_come_again() {
        let ctx = session().await;
        let twice = "SELECT word, gsid FROM mirror UNION ALL SELECT word, gsid FROM mirror WHERE gsid % 3 = 0";
        let found = index(&ctx, twice, &["word"]).await;
        ctx.register_udf(ScalarUDF::from(KeyHash::new()));
        let numbers =
            "SELECT DISTINCT key_hash(word) AS n FROM mirror WHERE gsid % 3 = 0 AND word IS NOT NULL ORDER BY 1";
        let numbers = ctx.sql(numbers).await.unwrap().collect().await.unwrap();
        let numbers: Vec<i64> =
            numbers.iter().flat_map(|batch| batch["n"].as_primitive::<Int64Type>().values().to_vec()).collect();
        assert!(numbers.len() > 50);
        assert_eq!(found.repeated().values().to_vec(), numbers);
    }

    #[tokio::test]
    async fn an_index_that_does_not_fit_into_memory_is_the_same_in_parts() {
        let whole = session().await;
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(10_000, 1.0).build_arc().unwrap();
        let short = SessionContext::new_with_config_rt(whole.copied_config(), runtime);
        for name in ["source", "mirror"] {
            short.register_table(name, whole.table_provider(name).await.unwrap()).unwrap();
        }
        let records = "SELECT word, gsid FROM mirror UNION ALL SELECT word, gsid FROM mirror WHERE gsid % 3 = 0";
        let (held, parted) = (index(&whole, records, &["word"]).await, index(&short, records, &["word"]).await);
        assert!(matches!(held.records(), Records::Held(_)) && matches!(parted.records(), Records::Parted(_)));
        assert_eq!(held.repeated(), parted.repeated());
        assert_eq!(held.records().key_types(), parted.records().key_types());
        let queries = [
            "SELECT s.id, f.gsid FROM source s LEFT JOIN found f ON f.word = s.word",
            "SELECT gsid, word FROM found",
            "SELECT count(*) FROM found",
        ];
        for (ctx, index) in [(&whole, held), (&short, parted)] {
            ctx.register_table("found", Arc::new(index)).unwrap();
        }
        for query in queries {
            let lines = async |ctx: &SessionContext| {
                let (rows, plan) = run(&streaming(ctx.state()), query).await;
                assert_eq!(plan.contains("LookupExec"), query.contains("JOIN"), "{plan}");
                let mut lines: Vec<String> = rows.lines().map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            assert_eq!(lines(&short).await, lines(&whole).await, "{query}");
        }
    }
}
