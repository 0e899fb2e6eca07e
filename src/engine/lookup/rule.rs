//! Which joins become lookups, and which side is held in memory.
//!
//! **Many records beside many rows.** A job's statement takes every row of `source` through left joins, each with one row per
//! key on its other side. Left to itself the engine holds whichever side has fewer rows, or else deals both sides out by key
//! before every join. The rows are wide and grow with each join: holding them copies every cell again and again (a million
//! mirrored records and half a million rows took seven times as long as the other way round), and dealing them out four
//! times over costs twice what the joins themselves do. So the narrow side is held, whole and once, and nothing is dealt out;
//! and as rows find one record each, they need not be copied to have it beside them (see [`lookup`](crate::engine::lookup)).
//! [`streaming`] makes a state for such statements.
//!
//! **Many keys to be chosen by.** A table's state now is its base without the keys that have changed since, and these may be
//! as many as the base has rows. The engine's own join would have to find room for all of them, or end. So in every session
//! semi and anti joins are lookups unless what they hold is known to be little: then the engine's join is as good, and tells
//! a scan which keys it is about.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::Transformed;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::logical_expr::JoinType;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::PartitionMode;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::statistics::StatisticsContext;

use crate::engine::lookup::LookupExec;

/// So many rows are held by the engine's own joins.
const FEW: usize = 50_000;

/// One step of the engine's way from a plan to a better one.
type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Sorts of one part that may find as much set aside.
const SORTS: usize = 16;

/// What every session's joins are made by: `rules`, and one that makes lookups of joins that might not fit into memory.
pub(crate) fn spilling(rules: &[Rule]) -> Vec<Rule> {
    let mut all = Vec::with_capacity(rules.len() + 1);
    for rule in rules {
        all.push(Arc::clone(rule));
        // The side that has fewer rows is chosen by then, and nothing has been done for the sake of the engine's join.
        if rule.name() == "join_selection" {
            all.push(Arc::new(SpillKeys));
        }
    }
    all
}

/// A state whose joins hold the narrow side.
pub(crate) fn streaming(state: SessionState) -> SessionState {
    // The state has its tables already; a new catalog would hide them.
    let mut config = state.config().clone().with_create_default_catalog_and_schema(false);
    // Where rows are read by several threads, in more parts than these, so that none of them reads on alone for long.
    match config.target_partitions() {
        1 => {}
        threads => config = config.with_target_partitions(4 * threads),
    }
    let parts = config.target_partitions();
    let options = config.options_mut();
    if let MemoryLimit::Finite(limit) = state.runtime_env().memory_pool.memory_limit() {
        // What sorts set aside, each in so many parts, must find room beside what is held.
        let aside = &mut options.execution.sort_spill_reservation_bytes;
        *aside = (*aside).min(limit / (parts * SORTS));
    }
    let optimizer = &mut options.optimizer;
    // The statement is written as it shall be run; a second look finds nothing more and takes as long as the first.
    optimizer.max_passes = 1;
    optimizer.join_reordering = false;
    optimizer.hash_join_single_partition_threshold = usize::MAX;
    optimizer.hash_join_single_partition_threshold_rows = usize::MAX;
    let mut rules: Vec<Rule> = vec![Arc::new(HoldRight)];
    rules.extend(state.physical_optimizers().iter().cloned());
    SessionStateBuilder::new_from_existing(state).with_config(config).with_physical_optimizer_rules(rules).build()
}

/// Makes lookups of the joins that keep the rows of their left side, or turns them round, so that the right side is the one
/// that is held.
#[derive(Debug)]
struct HoldRight;

impl PhysicalOptimizerRule for HoldRight {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let turned = plan.transform_up(|plan| match plan.downcast_ref::<HashJoinExec>() {
            Some(join) if keeps_left(join) => match LookupExec::of(join)? {
                Some(lookup) => Ok(Transformed::yes(Arc::new(lookup) as Arc<dyn ExecutionPlan>)),
                None => Ok(Transformed::yes(join.swap_inputs(PartitionMode::CollectLeft)?)),
            },
            _ => Ok(Transformed::no(plan)),
        });
        Ok(turned?.data)
    }

    fn name(&self) -> &str {
        "hold_right"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Makes lookups of semi and anti joins that would hold more than a few rows.
#[derive(Debug)]
struct SpillKeys;

impl PhysicalOptimizerRule for SpillKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let made = plan.transform_up(|plan| {
            let lookup = match plan.downcast_ref::<HashJoinExec>() {
                Some(join) if chooses(*join.join_type()) && holds_many(join)? => LookupExec::of(join)?,
                _ => None,
            };
            Ok(match lookup {
                Some(lookup) => Transformed::yes(Arc::new(lookup) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(plan),
            })
        });
        Ok(made?.data)
    }

    fn name(&self) -> &str {
        "spill_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn chooses(kind: JoinType) -> bool {
    matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::RightSemi | JoinType::RightAnti)
}

/// Whether the side that the engine would hold may have more than a few rows. What is only estimated may be wrong by far: of
/// any condition the engine reckons that one row in five meets it.
fn holds_many(join: &HashJoinExec) -> Result<bool> {
    let known = StatisticsContext::new().compute(join.left().as_ref(), &StatisticsArgs::new())?;
    Ok(!matches!(known.num_rows, Precision::Exact(rows) if rows < FEW))
}

fn keeps_left(join: &HashJoinExec) -> bool {
    matches!(join.join_type(), JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti) && !join.null_aware
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::compute::concat_batches;
    use datafusion::dataframe::DataFrame;
    use datafusion::execution::context::SessionContext;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionConfig;

    use super::*;

    const QUERY: &str = "SELECT s.id, s.word, l.word AS found FROM source s LEFT JOIN lookup l ON s.id = l.id \
        WHERE NOT EXISTS (SELECT 1 FROM gone g WHERE g.id = s.id) ORDER BY s.id";

    fn register(ctx: &SessionContext, name: &str, ids: impl Iterator<Item = i64>) {
        let ids: Vec<i64> = ids.collect();
        let words: StringArray = ids.iter().map(|id| (id % 7 != 0).then(|| format!("{name} {id}"))).collect();
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(Int64Array::from(ids))), ("word", Arc::new(words))];
        let _ = ctx.register_batch(name, RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    }

    /// `source`, of which every third row has a `lookup`, and every tenth is `gone`.
    fn session(rows: i64) -> SessionContext {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        register(&ctx, "source", 0..rows);
        register(&ctx, "lookup", (0..2 * rows).step_by(3));
        register(&ctx, "gone", (0..rows).step_by(10));
        ctx
    }

    async fn frame(state: SessionState, query: &str) -> DataFrame {
        let plan = state.create_logical_plan(query).await.unwrap();
        DataFrame::new(state, plan)
    }

    async fn joins(state: SessionState, query: &str) -> Vec<String> {
        let plan = frame(state, query).await.create_physical_plan().await.unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        let is_join = |line: &&str| line.contains("JoinExec") || line.contains("LookupExec");
        text.lines().filter(is_join).map(|line| line.trim().to_owned()).collect()
    }

    #[tokio::test]
    async fn many_rows_stream_past_what_is_held_and_the_answer_is_the_same() {
        let ctx = session(FEW as i64);
        let state = streaming(ctx.state());
        let joins = joins(state.clone(), QUERY).await;
        assert_eq!(joins.len(), 2, "{joins:?}");
        for kind in ["LookupExec: on=[(id@0, id@0)]", "LookupExec: anti, on=[(id@0, id@0)]"] {
            assert!(joins.iter().any(|join| join.contains(kind)), "{kind} {joins:?}");
        }
        let [held, plain] = [frame(state, QUERY).await, frame(ctx.state(), QUERY).await].map(|frame| frame.collect());
        let (held, plain) = (held.await.unwrap(), plain.await.unwrap());
        let schema = held[0].schema();
        let whole = |batches: &[RecordBatch]| concat_batches(&schema, batches).unwrap();
        assert_eq!(whole(&held), whole(&plain));
        assert_eq!(whole(&held).num_rows(), FEW * 9 / 10);
    }

    #[tokio::test]
    async fn what_is_known_to_be_little_is_left_to_the_engines_joins() {
        let ctx = session(FEW as i64 + 1);
        let rules = spilling(ctx.state().physical_optimizers());
        let state = SessionStateBuilder::new_from_existing(ctx.state()).with_physical_optimizer_rules(rules).build();
        register(&ctx, "changed", (0..FEW as i64 + 1).rev());
        for (query, spills) in [
            ("SELECT * FROM source LEFT ANTI JOIN gone ON gone.id = source.id", false),
            ("SELECT * FROM source LEFT SEMI JOIN gone ON gone.id = source.id", false),
            ("SELECT * FROM gone LEFT ANTI JOIN source ON gone.id = source.id", false),
            ("SELECT * FROM source LEFT ANTI JOIN changed ON changed.id = source.id", true),
            ("SELECT * FROM source LEFT SEMI JOIN changed ON changed.id = source.id", true),
            ("SELECT * FROM changed RIGHT ANTI JOIN lookup ON changed.id = lookup.id", true),
            ("SELECT * FROM source JOIN changed ON changed.id = source.id", false),
        ] {
            let joins = joins(state.clone(), query).await;
            assert!(joins.len() == 1 && joins[0].contains("LookupExec") == spills, "{query}: {joins:?}");
            let sorted = format!("{query} ORDER BY 1");
            let [made, plain] = [frame(state.clone(), &sorted).await, frame(ctx.state(), &sorted).await];
            let schema = Arc::clone(made.schema().inner());
            let (made, plain) = (made.collect().await.unwrap(), plain.collect().await.unwrap());
            let whole = |batches: &[RecordBatch]| concat_batches(&schema, batches).unwrap();
            assert_eq!(whole(&made), whole(&plain), "{query}");
        }
    }

    #[test]
    fn sorts_set_no_more_aside_than_there_is_room_for() {
        let aside = |limit: usize| {
            let runtime = RuntimeEnvBuilder::new().with_memory_limit(limit, 1.0).build_arc().unwrap();
            let config = SessionConfig::new().with_target_partitions(2);
            let state = streaming(SessionContext::new_with_config_rt(config, runtime).state());
            state.config().target_partitions() * state.config_options().execution.sort_spill_reservation_bytes
        };
        assert_eq!(aside(64 << 20) * SORTS, 64 << 20);
        assert!(aside(64 << 30) * SORTS < 64 << 30, "where there is much, no more than the engine wants");
    }
}
