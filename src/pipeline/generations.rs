//! Which rows follow which: a row's generation is one more than the latest among the rows whose records it waits for.
//!
//! # Promises
//! * Rows that wait for each other have generations too, and at least one of each circle is named as circular.
//! * Of millions of rows: every key is looked up once, and one lookup does not wait for the one before.

use std::collections::HashSet;

use datafusion::common::HashMap;

/// A key that a record answers to or waits for, with the place of its lookup among the job's.
pub(super) type Key = (usize, i64);

/// No row.
const NONE: u32 = u32::MAX;

/// What is known of keys, lookup by lookup: half the memory of a table whose entries name the lookup.
#[derive(Debug)]
pub(super) struct ByKey<V>(Vec<HashMap<i64, V>>);

impl<V: Copy> ByKey<V> {
    /// Of entries with one key the last counts.
    pub(super) fn of(entries: &[(Key, V)]) -> Self {
        let mut counts = Vec::new();
        for ((lookup, _), _) in entries {
            if counts.len() <= *lookup {
                counts.resize(lookup + 1, 0);
            }
            counts[*lookup] += 1;
        }
        let mut maps: Vec<_> =
            counts.into_iter().map(|count| HashMap::with_capacity_and_hasher(count, Default::default())).collect();
        for ((lookup, key), value) in entries {
            maps[*lookup].insert(*key, *value);
        }
        Self(maps)
    }

    pub(super) fn get(&self, (lookup, key): &Key) -> Option<V> {
        self.0.get(*lookup)?.get(key).copied()
    }
}

/// What rows wait for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Row after row.
    keys: Vec<Key>,
    /// Where each row's keys end.
    ends: Vec<usize>,
}

impl Awaited {
    pub(super) fn push(&mut self, keys: impl Iterator<Item = Key>) {
        self.keys.extend(keys);
        self.ends.push(self.keys.len());
    }

    pub(super) fn of(&self, row: usize) -> &[Key] {
        &self.keys[self.range(row)]
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        row.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[row]
    }

    /// Each row's generation, from 1, and the rows that wait, at last, for themselves. `becomes` says which row makes the
    /// record with a key.
    pub(super) fn generations(&self, becomes: &ByKey<u32>) -> (Vec<u32>, HashSet<usize>) {
        const UNKNOWN: u32 = 0;
        const OPEN: u32 = u32::MAX;
        let parents: Vec<u32> = self.keys.iter().map(|key| becomes.get(key).unwrap_or(NONE)).collect();
        let mut generations = vec![UNKNOWN; self.ends.len()];
        let mut circular = HashSet::new();
        let mut path = Vec::new();
        for start in 0..generations.len() {
            path.push(start);
            while let Some(&row) = path.last() {
                if generations[row] != UNKNOWN && generations[row] != OPEN {
                    path.pop();
                    continue;
                }
                generations[row] = OPEN;
                let mut generation = 1;
                let mut open = None;
                for parent in parents[self.range(row)].iter().filter(|parent| **parent != NONE) {
                    let parent = *parent as usize;
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
