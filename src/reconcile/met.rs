//! The records that rows lead to, by id.

use std::hash::BuildHasher;

use datafusion::arrow::array::StringArray;
use datafusion::common::HashMap;
use datafusion::common::HashSet;
use datafusion::common::hash_map::Entry;

/// Ids, kept in the batches in which they came and found by their hashes.
#[derive(Debug)]
pub(super) struct Met {
    batches: Vec<StringArray>,
    /// From an id's hash to its batch and row.
    places: HashMap<u64, Place>,
    /// Ids with the hash of another.
    others: HashSet<String>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
}

impl Met {
    /// None yet, with room for so many.
    pub(super) fn with_room(ids: usize) -> Self {
        Self { batches: Vec::new(), places: HashMap::with_capacity(ids), others: HashSet::new() }
    }

    pub(super) fn add(&mut self, ids: StringArray) {
        let batch = self.batches.len();
        for (row, id) in ids.iter().enumerate() {
            let Some(id) = id else { continue };
            match self.places.entry(self.others.hasher().hash_one(id)) {
                Entry::Vacant(free) => drop(free.insert(Place { batch, row })),
                Entry::Occupied(known) => {
                    let Place { batch: other, row } = *known.get();
                    if self.batches.get(other).unwrap_or(&ids).value(row) != id {
                        self.others.insert(id.to_owned());
                    }
                }
            }
        }
        self.batches.push(ids);
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        let place = self.places.get(&self.others.hasher().hash_one(id));
        place.is_some_and(|place| self.batches[place.batch].value(place.row) == id)
            || (!self.others.is_empty() && self.others.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_met_and_nothing_else() {
        let mut met = Met::with_room(2);
        let id = |at: usize| format!("1I00{at:032}");
        met.add((0..1_000).map(|at| (at % 3 != 0).then(|| id(at))).collect());
        met.add((900..2_000).map(|at| Some(id(at))).collect());
        assert!((0..3_000).all(|at| met.contains(&id(at)) == (at < 2_000 && (at % 3 != 0 || at >= 900))));
        assert!(!met.contains(""));
    }

    #[test]
    fn ids_with_equal_hashes_are_told_apart() {
        let mut met = Met::with_room(2);
        met.add(StringArray::from(vec!["one"]));
        let hash = met.others.hasher().hash_one("two");
        met.places.insert(hash, Place { batch: 0, row: 0 });
        assert!(!met.contains("two"));
        met.add(StringArray::from(vec!["two"]));
        assert!(met.contains("one") && met.contains("two"));
    }
}
