//! New rows whose parent is new too follow it: they are held while the others are sent, and go with their reference.
//!
//! ```text
//!  verdicts ─┬─▶ sent at once
//!            └─▶ held: new, and waiting for a record of this run ─▶ round 1: parents that are there by now
//!                                                                 ─▶ round 2: parents of round 1 …
//! ```
//!
//! Sent at once, such a row would be sent a second time for its reference: of a million contacts with managers every
//! second one. The outcome is that of ruling 7 all the same: rows first, then the references to them.
//!
//! # Promises
//! * A row is held only if it is new, alone in writing its record, and all that it waits for may come later.
//! * Each held row is in exactly one round, after all rows that it waits for, as far as these do not wait for it.
//! * Rows that wait for each other, and generations that are not worth a round of their own, need their reference set
//!   afterwards; [`Rounds::refer`] names them.

use std::collections::HashMap;
use std::collections::HashSet;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayBuilder;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::Int64Type;

use crate::error::Error;
use crate::error::Result;

/// Most rounds.
const MOST: usize = 6;

/// A round reads back what the one before has made, and decides anew: one held row in so many must gain by it.
const WORTH: usize = 10;

/// A key that a record answers to or waits for, with the place of its lookup among the job's.
type Key = (usize, i64);

/// Rows that wait for records of the same run, and the records that the run makes.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// Keys of the records that are made or changed by the rows sent at once.
    sent: Vec<Key>,
    held: Waiting,
    /// Keys of the records that the held rows will make.
    becomes: Vec<(Key, usize)>,
    /// Rows sent at once that wait for a reference.
    referring: Waiting,
}

/// Rows and what they wait for.
#[derive(Debug, Default)]
struct Waiting {
    ids: StringBuilder,
    /// Row and key, in the order of the rows.
    awaits: Vec<(usize, Key)>,
}

/// In which order the held rows go.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rounds {
    /// Source ids.
    pub(super) rounds: Vec<StringArray>,
    /// Whether the first round has a parent among the rows sent at once.
    pub(super) first_has_parents: bool,
    /// Held rows whose reference has to be set after the last round.
    pub(super) refer: HashSet<String>,
    /// Rows sent at once whose parent is not among the run's rows.
    pub(super) hopeless: HashSet<String>,
}

impl Family {
    /// Takes a batch of verdicts in and gives back the rows that are sent at once.
    pub(super) fn part(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (awaits, becomes) = (numbers(batch, "awaits."), numbers(batch, "becomes."));
        if awaits.is_empty() {
            return Ok(batch.clone());
        }
        let [ids, verdicts, unresolved] = ["source_id", "verdict", "unresolved"].map(|name| {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| Error::bug(format!("the verdicts have no text column `{name}`")))
        });
        let (ids, verdicts, unresolved) = (ids?, verdicts?, unresolved?);
        let sharing = batch.column_by_name("person_rows").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let keys = |columns: &[&Int64Array], row: usize| -> Vec<Key> {
            let filled = columns.iter().enumerate().filter(|(_, column)| column.is_valid(row));
            filled.map(|(at, column)| (at, column.value(row))).collect()
        };
        let now: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let waits = awaits.iter().any(|column| column.is_valid(row));
                let alone = sharing.is_none_or(|rows| rows.is_null(row) || rows.value(row) <= 1);
                let waits_for = if waits { keys(&awaits, row) } else { Vec::new() };
                let hold = waits
                    && alone
                    && verdicts.value(row) == "insert"
                    && unresolved.value(row).split(',').count() == waits_for.len();
                if hold {
                    let place = self.held();
                    self.becomes.extend(keys(&becomes, row).into_iter().map(|key| (key, place)));
                    self.held.push(ids.value(row), waits_for);
                } else {
                    if matches!(verdicts.value(row), "insert" | "update") {
                        self.sent.extend(keys(&becomes, row));
                    }
                    if waits {
                        self.referring.push(ids.value(row), waits_for);
                    }
                }
                Some(!hold)
            })
            .collect();
        if now.true_count() == now.len() { Ok(batch.clone()) } else { Ok(filter_record_batch(batch, &now)?) }
    }

    /// How many rows are held.
    pub(super) fn held(&self) -> usize {
        self.held.ids.len()
    }

    /// Puts the held rows in order.
    pub(super) fn rounds(mut self) -> Rounds {
        self.sent.sort_unstable();
        let sent = |key: &Key| self.sent.binary_search(key).is_ok();
        let becomes: HashMap<Key, usize> = self.becomes.iter().copied().collect();
        let mut found = Rounds::default();
        let coming = |key: &Key| sent(key) || becomes.contains_key(key);
        for (row, id) in self.referring.ids.finish().iter().flatten().enumerate() {
            if !self.referring.of(row).iter().any(|(_, key)| coming(key)) {
                found.hopeless.insert(id.to_owned());
            }
        }
        let (generations, circular) = self.held.generations(&becomes);
        let of = |generation: usize| generations.iter().filter(|one| **one == generation).count();
        let mut last = 1;
        while last < MOST && of(last + 1) * WORTH >= generations.len().max(1) {
            last += 1;
        }
        let mut rounds: Vec<StringBuilder> = Vec::new();
        for (row, id) in self.held.ids.finish().iter().flatten().enumerate() {
            let generation = generations[row];
            let round = generation.min(last) - 1;
            found.first_has_parents |= round == 0 && self.held.of(row).iter().any(|(_, key)| sent(key));
            if generation > last || circular.contains(&row) {
                found.refer.insert(id.to_owned());
            }
            if rounds.len() <= round {
                rounds.resize_with(round + 1, StringBuilder::new);
            }
            rounds[round].append_value(id);
        }
        found.rounds = rounds.iter_mut().map(StringBuilder::finish).collect();
        found
    }
}

impl Waiting {
    fn push(&mut self, id: &str, awaits: Vec<Key>) {
        let row = self.ids.len();
        self.ids.append_value(id);
        self.awaits.extend(awaits.into_iter().map(|key| (row, key)));
    }

    fn of(&self, row: usize) -> &[(usize, Key)] {
        let from = self.awaits.partition_point(|(one, _)| *one < row);
        let to = self.awaits.partition_point(|(one, _)| *one <= row);
        &self.awaits[from..to]
    }

    /// Each row's generation, from 1, and the rows that wait, at last, for themselves.
    fn generations(&self, becomes: &HashMap<Key, usize>) -> (Vec<usize>, HashSet<usize>) {
        const UNKNOWN: usize = 0;
        const OPEN: usize = usize::MAX;
        let mut generations = vec![UNKNOWN; self.ids.len()];
        let mut circular = HashSet::new();
        for start in 0..self.ids.len() {
            let mut path = vec![start];
            while let Some(&row) = path.last() {
                if generations[row] != UNKNOWN && generations[row] != OPEN {
                    path.pop();
                    continue;
                }
                generations[row] = OPEN;
                let mut generation = 1;
                let mut open = None;
                for parent in self.of(row).iter().filter_map(|(_, key)| becomes.get(key).copied()) {
                    match generations[parent] {
                        UNKNOWN => open = Some(parent),
                        OPEN => {
                            circular.insert(row);
                        }
                        known => generation = generation.max(known + 1),
                    }
                }
                match open {
                    Some(parent) => path.push(parent),
                    None => {
                        generations[row] = generation;
                        path.pop();
                    }
                }
            }
        }
        (generations, circular)
    }
}

/// The columns with this prefix, in their order.
fn numbers<'b>(batch: &'b RecordBatch, prefix: &str) -> Vec<&'b Int64Array> {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    fields
        .filter(|(field, _)| field.name().starts_with(prefix))
        .filter_map(|(_, column)| column.as_primitive_opt::<Int64Type>())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::ArrayRef;

    use super::*;

    /// A row: id, verdict, rows of its person, what it becomes, what it waits for.
    type Row = (&'static str, &'static str, i64, i64, Option<i64>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let text = |of: &dyn Fn(&Row) -> Option<&'static str>| {
            Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef
        };
        let number =
            |of: &dyn Fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
        RecordBatch::try_from_iter([
            ("source_id", text(&|row| Some(row.0))),
            ("verdict", text(&|row| Some(row.1))),
            ("unresolved", text(&|row| row.4.map(|_| "x.Manager"))),
            ("person_rows", number(&|row| Some(row.2))),
            ("becomes.x.Manager", number(&|row| Some(row.3))),
            ("awaits.x.Manager", number(&|row| row.4)),
        ])
        .unwrap()
    }

    fn ids(batch: &RecordBatch) -> Vec<&str> {
        batch.column(0).as_string::<i32>().iter().flatten().collect()
    }

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn children_follow_their_parents_whatever_the_order_of_the_rows() {
        let mut family = Family::default();
        let first = batch(&[
            ("grandchild", "insert", 1, 3, Some(2)),
            ("child", "insert", 1, 2, Some(1)),
            ("twin", "insert", 2, 9, Some(1)),
            ("parent", "insert", 1, 1, None),
            ("known", "update", 1, 8, Some(3)),
            ("orphan", "insert", 1, 7, Some(77)),
            ("known orphan", "update", 1, 6, Some(78)),
        ]);
        let now = family.part(&first).unwrap();
        assert_eq!(ids(&now), ["twin", "parent", "known", "known orphan"]);
        assert_eq!(family.held(), 3);
        let rounds = family.rounds();
        assert_eq!(rounds.rounds, [StringArray::from(vec!["child", "orphan"]), StringArray::from(vec!["grandchild"])]);
        assert!(rounds.first_has_parents);
        assert_eq!((rounds.refer, rounds.hopeless), (HashSet::new(), set(&["known orphan"])));
    }

    #[test]
    fn a_circle_and_a_long_line_end_and_their_rest_is_named() {
        let mut family = Family::default();
        let circle =
            batch(&[("a", "insert", 1, 1, Some(2)), ("b", "insert", 1, 2, Some(3)), ("c", "insert", 1, 3, Some(1))]);
        assert_eq!(family.part(&circle).unwrap().num_rows(), 0);
        let rounds = family.rounds();
        assert_eq!(rounds.rounds.iter().map(StringArray::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!((rounds.refer.len(), rounds.first_has_parents), (1, false));

        for (length, lasts) in [(8, MOST), (100, 1)] {
            let mut family = Family::default();
            let line: Vec<Row> = (0..length).map(|at| ("x", "insert", 1, at + 1, Some(at))).collect();
            let _ = family.part(&batch(&line)).unwrap();
            let rounds = family.rounds();
            assert_eq!(rounds.rounds.len(), lasts, "a generation of a hundredth is not worth a round");
            assert_eq!(rounds.rounds.iter().map(StringArray::len).sum::<usize>() as i64, length);
            assert_eq!(rounds.refer, set(&["x"]));
        }
    }

    #[test]
    fn without_self_lookups_nothing_is_held() {
        let plain = batch(&[("a", "insert", 1, 1, Some(2))]).project(&[0, 1, 2]).unwrap();
        let mut family = Family::default();
        assert_eq!(family.part(&plain).unwrap(), plain);
        assert_eq!(family.rounds(), Rounds::default());
    }
}
