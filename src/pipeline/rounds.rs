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
//! * Rows that wait for each other, and the last of very long lines, need their reference set afterwards;
//!   [`Rounds::refer`] names them.
//! * Held rows, and new rows sent at once without their reference, are kept on a shelf: what is decided about them stays.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayBuilder;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::Stream;
use futures::StreamExt;

use crate::error::Error;
use crate::error::Result;

use super::arrivals::Wanted;
use super::generations::Awaited;
use super::generations::ByKey;
use super::generations::Key;
use super::shelf::Shelf;

/// Most rounds.
const MOST: usize = 16;

/// A round reads back what the one before has made: so many rows must gain by it, which else are sent twice.
const WORTH: usize = 10;

/// Rows that wait for records of the same run, and the records that the run makes.
#[derive(Debug)]
pub(super) struct Family {
    runtime: Arc<RuntimeEnv>,
    /// Keys of the records that are made or changed by the rows sent at once.
    sent: Vec<(Key, ())>,
    held: Waiting,
    held_rows: Shelf,
    /// Keys of the records that the held rows will make.
    becomes: Vec<(Key, u32)>,
    /// New rows sent at once that wait for a reference.
    followed: Waiting,
    followed_rows: Shelf,
    /// Other rows sent at once that do.
    referring: Waiting,
    /// By field: the keys that the rows on the shelves wait for, and those of their own records.
    wanted: BTreeMap<String, Wanted>,
}

/// Rows and what they wait for.
#[derive(Debug, Default)]
struct Waiting {
    ids: StringBuilder,
    awaited: Awaited,
}

/// In which order the held rows go.
#[derive(Debug)]
pub(super) struct Rounds {
    /// How many rows each round has.
    pub(super) sizes: Vec<usize>,
    held: Arc<Mutex<Held>>,
    /// Whether the first round has a parent among the rows sent at once.
    pub(super) first_has_parents: bool,
    /// Held rows whose reference has to be set after the last round.
    pub(super) refer: HashSet<String>,
    /// New rows sent at once whose parent may come with the run.
    pub(super) follow: HashSet<String>,
    /// Rows sent at once whose parent is not among the run's rows.
    pub(super) hopeless: HashSet<String>,
    pub(super) wanted: BTreeMap<String, Wanted>,
}

/// What the shelves hold while round after round is taken from them.
#[derive(Debug)]
struct Held {
    runtime: Arc<RuntimeEnv>,
    rows: Shelf,
    /// The round of each of these rows, with [`AGAIN`] where its reference has to be set afterwards.
    round_of: Vec<u8>,
    followed: Shelf,
}

/// Marks a row that is kept when its round has gone.
const AGAIN: u8 = 0x80;

impl Family {
    pub(super) fn new(runtime: &Arc<RuntimeEnv>) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            sent: Vec::new(),
            held: Waiting::default(),
            held_rows: Shelf::new(Arc::clone(runtime)),
            becomes: Vec::new(),
            followed: Waiting::default(),
            followed_rows: Shelf::new(Arc::clone(runtime)),
            referring: Waiting::default(),
            wanted: BTreeMap::new(),
        }
    }

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
        let rows = batch.num_rows();
        let [mut now, mut held, mut followed] = [(); 3].map(|()| Vec::with_capacity(rows));
        for row in 0..rows {
            let waits_for = || keys(&awaits, row);
            let lookups = waits_for().count();
            let alone = sharing.is_none_or(|rows| rows.is_null(row) || rows.value(row) <= 1);
            let may_follow =
                lookups > 0 && verdicts.value(row) == "insert" && unresolved.value(row).split(',').count() == lookups;
            let hold = may_follow && alone;
            if hold {
                let place =
                    u32::try_from(self.held()).map_err(|_| Error::bug("more rows are held than can be numbered"))?;
                self.becomes.extend(keys(&becomes, row).map(|key| (key, place)));
                self.held.push(ids.value(row), waits_for());
            } else {
                if matches!(verdicts.value(row), "insert" | "update") {
                    self.sent.extend(keys(&becomes, row).map(|key| (key, ())));
                }
                if may_follow {
                    self.followed.push(ids.value(row), waits_for());
                } else if lookups > 0 {
                    self.referring.push(ids.value(row), waits_for());
                }
            }
            now.push(!hold);
            held.push(hold);
            followed.push(may_follow && !hold);
        }
        let [now, held, followed] = [now, held, followed].map(BooleanArray::from);
        let fields: Vec<&str> = awaits.iter().map(|(field, _)| *field).collect();
        for (rows, mask) in [(&mut self.held_rows, &held), (&mut self.followed_rows, &followed)] {
            if mask.true_count() > 0 {
                let put_aside = filter_record_batch(batch, mask)?;
                for field in &fields {
                    let wanted = self.wanted.entry((*field).to_owned()).or_default();
                    for name in ["wants", "own"].map(|kind| format!("{kind}.{field}")) {
                        let keys = put_aside.column_by_name(&name).and_then(|column| column.as_string_opt::<i32>());
                        keys.into_iter().for_each(|keys| wanted.add(keys));
                    }
                }
                rows.put(put_aside)?;
            }
        }
        if now.true_count() == now.len() { Ok(batch.clone()) } else { Ok(filter_record_batch(batch, &now)?) }
    }

    /// How many rows are held.
    pub(super) fn held(&self) -> usize {
        self.held.ids.len()
    }

    /// Puts the held rows in order.
    pub(super) fn rounds(mut self) -> Rounds {
        // Nothing else is to do meanwhile, so each of the two large tables has a core.
        let (sent, becomes) = std::thread::scope(|scope| {
            let sent = scope.spawn(|| ByKey::of(&self.sent));
            let becomes = ByKey::of(&self.becomes);
            (sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), becomes)
        });
        let sent = |key: &Key| sent.get(key).is_some();
        let coming = |key: &Key| sent(key) || becomes.get(key).is_some();
        let (mut hopeless, mut follow, mut refer) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (of_new, waiting) in [(true, &mut self.followed), (false, &mut self.referring)] {
            for (row, id) in waiting.ids.finish().iter().flatten().enumerate() {
                if !waiting.awaited.of(row).iter().any(coming) {
                    hopeless.insert(id.to_owned());
                } else if of_new {
                    follow.insert(id.to_owned());
                }
            }
        }
        let (generations, circular) = self.held.awaited.generations(&becomes);
        let mut counts = [0; MOST + 2];
        for generation in &generations {
            counts[(*generation as usize).min(MOST + 1)] += 1;
        }
        let mut last = 1;
        while last < MOST && counts[last + 1] >= WORTH {
            last += 1;
        }
        let (mut sizes, mut first_has_parents) = (Vec::new(), false);
        let mut round_of = Vec::with_capacity(generations.len());
        for (row, id) in self.held.ids.finish().iter().flatten().enumerate() {
            let generation = generations[row] as usize;
            let round = generation.min(last) - 1;
            first_has_parents = first_has_parents || (round == 0 && self.held.awaited.of(row).iter().any(sent));
            let again = generation > last || circular.contains(&row);
            if again {
                refer.insert(id.to_owned());
            }
            if sizes.len() <= round {
                sizes.resize(round + 1, 0);
            }
            sizes[round] += 1;
            round_of.push(u8::try_from(round).unwrap_or_default() | if again { AGAIN } else { 0 });
        }
        Rounds {
            sizes,
            held: Arc::new(Mutex::new(Held {
                runtime: self.runtime,
                rows: self.held_rows,
                round_of,
                followed: self.followed_rows,
            })),
            first_has_parents,
            refer,
            follow,
            hopeless,
            wanted: self.wanted,
        }
    }
}

impl Rounds {
    /// The held rows of a round, as they were decided. The rounds are taken in their order: what is left of the shelf after
    /// one is put aside anew for the next, so that few rows are not looked for among all.
    pub(super) fn rows(&self, round: usize) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
        let held = Arc::clone(&self.held);
        let (rows, round_of) = {
            let mut held = lock(&held);
            let empty = Shelf::new(Arc::clone(&held.runtime));
            (std::mem::replace(&mut held.rows, empty), std::mem::take(&mut held.round_of))
        };
        let mut before = 0;
        rows.read().map(move |batch| {
            let batch = batch?;
            let marks = &round_of[before..before + batch.num_rows()];
            before += batch.num_rows();
            let mine = |mark: &u8| usize::from(*mark & !AGAIN) == round;
            let [now, later, again] = [
                marks.iter().map(|mark| Some(mine(mark))).collect::<BooleanArray>(),
                marks.iter().map(|mark| Some(!mine(mark))).collect(),
                marks.iter().map(|mark| Some(mine(mark) && mark & AGAIN != 0)).collect(),
            ];
            if later.true_count() + again.true_count() > 0 {
                let mut held = lock(&held);
                held.rows.put(filter_record_batch(&batch, &later)?)?;
                held.round_of.extend(marks.iter().filter(|mark| !mine(mark)));
                held.followed.put(filter_record_batch(&batch, &again)?)?;
            }
            Ok(filter_record_batch(&batch, &now)?)
        })
    }

    /// The rows on the shelves among `ids`, after the last round.
    pub(super) fn of(&self, ids: Arc<HashSet<String>>) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
        lock(&self.held).followed.read().map(move |batch| {
            let batch = batch?;
            let found = batch.column_by_name("source_id").and_then(|column| column.as_string_opt::<i32>());
            let found = found.ok_or_else(|| Error::bug("the verdicts have no text column `source_id`"))?;
            let mask: BooleanArray = found.iter().map(|id| Some(id.is_some_and(|id| ids.contains(id)))).collect();
            Ok(filter_record_batch(&batch, &mask)?)
        })
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn push(&mut self, id: &str, awaits: impl Iterator<Item = Key>) {
        self.ids.append_value(id);
        self.awaited.push(awaits);
    }
}

/// What is filled in a row of these columns.
fn keys<'c>(columns: &'c [(&str, &Int64Array)], row: usize) -> impl Iterator<Item = Key> + use<'c> {
    let filled = columns.iter().enumerate().filter(move |(_, (_, column))| column.is_valid(row));
    filled.map(move |(at, (_, column))| (at, column.value(row)))
}

/// The fields and columns with this prefix, in their order.
fn numbers<'b>(batch: &'b RecordBatch, prefix: &str) -> Vec<(&'b str, &'b Int64Array)> {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    fields
        .filter_map(|(field, column)| {
            Some((field.name().strip_prefix(prefix)?, column.as_primitive_opt::<Int64Type>()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::StringArray;
    use datafusion::prelude::SessionConfig;
    use datafusion::prelude::SessionContext;
    use futures::TryStreamExt;

    use super::*;

    /// A row: id, verdict, rows of its person, what it becomes, what it waits for.
    type Row = (&'static str, &'static str, i64, i64, Option<i64>);

    fn family() -> Family {
        Family::new(&SessionContext::new_with_config(SessionConfig::new()).runtime_env())
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let text = |of: &dyn Fn(&Row) -> Option<&'static str>| {
            Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef
        };
        let number =
            |of: &dyn Fn(&Row) -> Option<i64>| Arc::new(rows.iter().map(of).collect::<Int64Array>()) as ArrayRef;
        let wants: StringArray = rows.iter().map(|row| row.4.map(|key| key.to_string())).collect();
        RecordBatch::try_from_iter([
            ("source_id", text(&|row| Some(row.0))),
            ("verdict", text(&|row| Some(row.1))),
            ("unresolved", text(&|row| row.4.map(|_| "x.Manager"))),
            ("person_rows", number(&|row| Some(row.2))),
            ("becomes.x.Manager", number(&|row| Some(row.3))),
            ("awaits.x.Manager", number(&|row| row.4)),
            ("wants.x.Manager", Arc::new(wants)),
        ])
        .unwrap()
    }

    fn ids(batch: &RecordBatch) -> Vec<String> {
        batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    async fn all(rows: impl Stream<Item = Result<RecordBatch>>) -> Vec<String> {
        let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        batches.iter().flat_map(ids).collect()
    }

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[tokio::test]
    async fn children_follow_their_parents_whatever_the_order_of_the_rows() {
        let mut family = family();
        let mut rows = vec![
            ("grandchild", "insert", 1, 3, Some(2)),
            ("child", "insert", 1, 2, Some(1)),
            ("twin", "insert", 2, 9, Some(1)),
            ("parent", "insert", 1, 1, None),
            ("known", "update", 1, 8, Some(3)),
            ("orphan", "insert", 1, 7, Some(77)),
            ("known orphan", "update", 1, 6, Some(78)),
        ];
        // So many that they are worth a round.
        rows.extend((1..WORTH as i64).map(|at| ("another grandchild", "insert", 1, 100 + at, Some(2))));
        let now = family.part(&batch(&rows)).unwrap();
        assert_eq!(ids(&now), ["twin", "parent", "known", "known orphan"]);
        assert_eq!(family.held(), 3 + WORTH - 1);
        let rounds = family.rounds();
        assert_eq!(rounds.sizes, [2, WORTH]);
        assert_eq!(all(rounds.rows(0)).await, ["child", "orphan"]);
        assert_eq!(all(rounds.rows(1)).await[..2], ["grandchild", "another grandchild"]);
        assert!(rounds.first_has_parents);
        assert_eq!((&rounds.refer, &rounds.hopeless), (&set(&[]), &set(&["known orphan"])));
        assert_eq!(rounds.follow, set(&["twin"]));
        assert_eq!(all(rounds.of(Arc::new(rounds.follow.clone()))).await, ["twin"]);
    }

    #[tokio::test]
    async fn a_circle_and_a_long_line_end_and_their_rest_is_named() {
        let mut circle = family();
        let rows =
            batch(&[("a", "insert", 1, 1, Some(2)), ("b", "insert", 1, 2, Some(3)), ("c", "insert", 1, 3, Some(1))]);
        assert_eq!(circle.part(&rows).unwrap().num_rows(), 0);
        let rounds = circle.rounds();
        assert_eq!((rounds.sizes.iter().sum::<usize>(), rounds.refer.len(), rounds.first_has_parents), (3, 3, false));
        assert_eq!(all(rounds.rows(0)).await.len(), 3);
        assert_eq!(all(rounds.of(Arc::new(rounds.refer.clone()))).await.len(), 3);

        // A line of `length` generations with so many rows in each.
        for (length, wide, lasts) in [(8, 1, 1), (8, WORTH as i64, 8), (20, WORTH as i64, MOST)] {
            let mut line = family();
            let rows: Vec<Row> = (0..length * wide).map(|at| ("x", "insert", 1, at + wide, Some(at))).collect();
            let _ = line.part(&batch(&rows)).unwrap();
            let rounds = line.rounds();
            assert_eq!(rounds.sizes.len(), lasts, "{length} generations of {wide}");
            assert_eq!(rounds.sizes.iter().sum::<usize>() as i64, length * wide);
            assert_eq!(rounds.refer, if lasts as i64 == length { set(&[]) } else { set(&["x"]) });
        }
    }

    #[test]
    fn without_self_lookups_nothing_is_held() {
        let plain = batch(&[("a", "insert", 1, 1, Some(2))]).project(&[0, 1, 2]).unwrap();
        let mut family = family();
        assert_eq!(family.part(&plain).unwrap(), plain);
        assert!(family.rounds().sizes.is_empty());
    }
}
