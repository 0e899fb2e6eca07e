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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Rows with the keys that they wait for, among few keys of two lookups.
    fn rows(keys: &[Vec<Key>]) -> Awaited {
        let mut awaited = Awaited::default();
        keys.iter().for_each(|keys| awaited.push(keys.iter().copied()));
        awaited
    }

    #[test]
    fn a_key_of_one_lookup_is_none_of_another() {
        let becomes = ByKey::of(&[((1, 7), 0), ((0, 8), 1)]);
        assert_eq!((becomes.get(&(1, 7)), becomes.get(&(0, 8))), (Some(0), Some(1)));
        assert_eq!([(0, 7), (1, 8), (2, 7)].map(|key| becomes.get(&key)), [None; 3]);
        let (generations, circular) = rows(&[vec![(0, 7)], vec![(1, 7), (0, 8)], vec![(1, 8)]]).generations(&becomes);
        assert_eq!((generations, circular), (vec![1, 2, 1], HashSet::from([1])), "the second waits for itself too");
    }

    proptest! {
        #[test]
        fn the_last_entry_of_a_key_counts(entries in prop::collection::vec(((0_usize..3, -3_i64..3), 0_u32..9), 0..40)) {
            let (by_key, plain) = (ByKey::of(&entries), entries.iter().copied().collect::<BTreeMap<_, _>>());
            for key in (0..4).flat_map(|lookup| (-4..4).map(move |key| (lookup, key))) {
                prop_assert_eq!(by_key.get(&key), plain.get(&key).copied());
            }
        }

        /// Row `n` makes the record with the number `n` of either lookup, and a row may wait for rows before or after it.
        #[test]
        fn a_generation_is_one_more_than_that_of_the_latest_parent(
            parents in prop::collection::vec(prop::collection::vec((0_usize..2, 0_i64..40), 0..3), 1..30),
            order in any::<prop::sample::Index>(),
        ) {
            // Without circles: only rows before it in some turn of the rows.
            let (count, shift) = (parents.len(), order.index(parents.len()));
            let place = |row: i64| (row as usize + shift) % count;
            let parents: Vec<Vec<Key>> = parents.into_iter().enumerate().map(|(row, keys)| {
                let earlier = |key: &Key| key.1 as usize >= count || place(key.1) < place(row as i64);
                keys.into_iter().filter(earlier).collect()
            }).collect();
            let makes = (0..count).flat_map(|row| (0..2).map(move |lookup| ((lookup, row as i64), row as u32)));
            let (generations, circular) = rows(&parents).generations(&ByKey::of(&makes.collect::<Vec<_>>()));
            prop_assert!(circular.is_empty());
            for (row, keys) in parents.iter().enumerate() {
                let of_parents = keys.iter().filter_map(|key| generations.get(key.1 as usize));
                prop_assert_eq!(generations[row], 1 + of_parents.max().copied().unwrap_or(0));
            }
        }
    }
}
