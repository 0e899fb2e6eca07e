//! The plans that read a snapshot: its state now, and the rows of one commit.
//!
//! ```text
//!   base ──────────── anti join on key ──┐
//!                         ▲              ├─ union = the state now
//!   changes ─ keys ───────┘              │
//!        └── newest per key, not deleted ┘
//! ```
//!
//! A change always has a greater sequence than the base (the commit sees to it), so sequences are compared among changes
//! only; but changes that were folded into one may hold rows that a base read whole has overtaken, and those are left out.
//! A change's key is never null, and unique within its sequence. The keys of the changes are held in memory, by the side of
//! which the base streams past, or, where they are too many, go through the spill folder (see `engine`).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::Column;
use datafusion::common::JoinType;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::lit;
use datafusion::logical_expr::not;

use crate::error::Error;
use crate::error::Result;
use crate::land::scan::FileScan;
use crate::land::snapshot::DataFile;
use crate::land::snapshot::Role;
use crate::land::snapshot::Snapshot;
use crate::land::types::DELETED_COLUMN;
use crate::land::types::SEQUENCE_COLUMN;

/// The state now, with the columns that readers see.
pub(crate) fn current(snapshot: &Snapshot) -> Result<Arc<dyn TableProvider>> {
    state(snapshot, snapshot.schema())
}

/// The state now with the lake's own columns, as a compacted base keeps it.
pub(crate) fn current_physical(snapshot: &Snapshot) -> Result<Arc<dyn TableProvider>> {
    state(snapshot, &snapshot.state.physical)
}

pub(crate) fn state(snapshot: &Snapshot, columns: &SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let is_base = |file: &DataFile| file.role != Role::Change;
    let base_has_deletions = snapshot.state.base().any(|file| file.deleted > 0);
    if snapshot.change_rows() == 0 {
        if !base_has_deletions {
            return Ok(Arc::new(snapshot.scan(columns, is_base)?));
        }
        let base = table("base", snapshot.scan(&snapshot.state.physical, is_base)?)?
            .filter(not(column("base", DELETED_COLUMN)))?
            .project(visible("base", columns))?;
        return Ok(view(base.build()?));
    }
    let physical = &snapshot.state.physical;
    let (key, mut winners, keys) = changes(snapshot)?;
    if snapshot.state.changes().any(|file| file.deleted > 0) {
        winners = winners.filter(not(column("changes", DELETED_COLUMN)))?;
    }
    let winners = winners.project(visible("changes", columns))?;
    if snapshot.state.base().all(|file| file.rows == 0) {
        return Ok(view(winners.build()?));
    }
    let mut base = table("base", snapshot.scan(physical, is_base)?)?;
    if base_has_deletions {
        base = base.filter(not(column("base", DELETED_COLUMN)))?;
    }
    let on = (vec![Column::new(Some("keys"), key)], vec![Column::new(Some("base"), key)]);
    let untouched = keys.join(base.build()?, JoinType::RightAnti, on, None)?.project(visible("base", columns))?;
    Ok(view(untouched.union(winners.build()?)?.build()?))
}

/// The newest change of each key, deletions among them, with the lake's own columns.
pub(crate) fn newest_changes(snapshot: &Snapshot) -> Result<Arc<dyn TableProvider>> {
    let (_, winners, _) = changes(snapshot)?;
    Ok(view(winners.project(visible("changes", &snapshot.state.physical))?.build()?))
}

/// The key's name, the newest change of each key as `changes`, and these keys as `keys`.
fn changes(snapshot: &Snapshot) -> Result<(&str, LogicalPlanBuilder, LogicalPlanBuilder)> {
    let key = snapshot.key().ok_or_else(|| Error::bug(format!("{} has changes but no key", snapshot.table)))?;
    let overtaken = snapshot.state.changes().any(|file| file.mixed);
    let base = snapshot.state.base().map(|file| file.sequence).max().filter(|_| overtaken);
    let read = |name: &'static str| -> Result<LogicalPlanBuilder> {
        let rows = table(name, snapshot.scan(&snapshot.state.physical, |file| file.role == Role::Change)?)?;
        Ok(match base {
            Some(base) => rows.filter(column(name, SEQUENCE_COLUMN).gt(lit(base)))?,
            None => rows,
        })
    };
    let mut sequences: Vec<i64> = snapshot.state.changes().map(|file| file.sequence).collect();
    sequences.dedup(); // the files are in the order of their sequences
    if let [_] = sequences[..] {
        return Ok((key, read("changes")?, read("keys")?.project(vec![column("keys", key)])?));
    }
    let newest = || -> Result<LogicalPlanBuilder> {
        let sequence = max(column("touched", SEQUENCE_COLUMN)).alias(SEQUENCE_COLUMN);
        Ok(read("touched")?
            .aggregate(vec![column("touched", key)], vec![sequence])?
            .project(vec![column("touched", key).alias(key), plain(SEQUENCE_COLUMN)])?
            .alias("keys")?)
    };
    let on =
        |relation: &'static str| vec![Column::new(Some(relation), key), Column::new(Some(relation), SEQUENCE_COLUMN)];
    let on = (on("changes"), on("keys"));
    let winners = read("changes")?.join(newest()?.build()?, JoinType::LeftSemi, on, None)?;
    Ok((key, winners, newest()?))
}

/// The rows of one sequence, with their deletion marks.
pub(crate) fn written_at(snapshot: &Snapshot, sequence: i64) -> Result<Arc<dyn TableProvider>> {
    let mut fields: Vec<_> = snapshot.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(snapshot.state.physical.field_with_name(DELETED_COLUMN)?.clone()));
    let columns: SchemaRef = Arc::new(arrow::datatypes::Schema::new(fields));
    let holds = |file: &DataFile| file.sequence == sequence || (file.mixed && file.sequence > sequence);
    if !snapshot.state.files.iter().any(|file| holds(file) && file.mixed) {
        return Ok(Arc::new(snapshot.scan(&columns, holds)?));
    }
    let rows = table("rows", snapshot.scan(&snapshot.state.physical, holds)?)?
        .filter(column("rows", SEQUENCE_COLUMN).eq(lit(sequence)))?
        .project(visible("rows", &columns))?;
    Ok(view(rows.build()?))
}

fn table(name: &str, files: FileScan) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(files)), None)?)
}

/// A column by its whole name: names hold dots (`Owner.Email`), so they are never parsed.
fn column(relation: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(relation), name))
}

fn plain(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn visible(relation: &str, columns: &SchemaRef) -> Vec<Expr> {
    columns.fields().iter().map(|field| column(relation, field.name()).alias(field.name())).collect()
}

fn view(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(plan, None))
}
