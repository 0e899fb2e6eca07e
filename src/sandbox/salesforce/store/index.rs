//! Rows by value: who holds an external id, which children name a parent.
//!
//! # Promises
//! * An index is made when it is first asked for and then follows every [`Store::set`]; a look-up costs no scan. Fields that
//!   are worked out change without being set: they are looked for in a scan.
//! * It only ever grows and every find is checked against the record, so a store that is set back to an earlier snapshot
//!   needs no repair.
//! * A snapshot carries none: its first look-up would make its own.
//!
//! [`Store::set`]: super::Store::set

use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use super::Cell;
use super::Store;
use super::Value;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::ObjectIndex;

/// The indexes that were asked for.
#[derive(Debug, Default)]
pub(super) struct Indexes(HashMap<(ObjectIndex, FieldIndex), Index>);

/// Hash of a value → rows that have or had it.
#[derive(Debug, Default)]
struct Index(HashMap<u64, Rows>);

/// Nearly every value of an indexed field stands in one record only.
#[derive(Debug)]
enum Rows {
    One(u32),
    Many(Vec<u32>),
}

impl Clone for Indexes {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Indexes {
    /// Notes a value that was just set.
    pub(super) fn note(&mut self, object: ObjectIndex, row: u32, field: FieldIndex, value: Value<'_>) {
        if self.0.is_empty() {
            return;
        }
        if let (Some(index), Some(hash)) = (self.0.get_mut(&(object, field)), hash(value)) {
            index.add(hash, row);
        }
    }
}

impl Index {
    fn add(&mut self, hash: u64, row: u32) {
        match self.0.get_mut(&hash) {
            None => {
                self.0.insert(hash, Rows::One(row));
            }
            Some(Rows::One(known)) if *known == row => {}
            Some(Rows::Many(known)) if known.contains(&row) => {}
            Some(Rows::Many(known)) => known.push(row),
            Some(one @ Rows::One(_)) => {
                let Rows::One(known) = *one else { return };
                *one = Rows::Many(vec![known, row]);
            }
        }
    }

    fn get(&self, hash: u64) -> &[u32] {
        match self.0.get(&hash) {
            None => &[],
            Some(Rows::One(row)) => std::slice::from_ref(row),
            Some(Rows::Many(rows)) => rows,
        }
    }
}

/// Text without case: equal values need not be told apart here, only found.
fn hash(value: Value<'_>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Null | Value::Text("") => return None,
        Value::Text(text) => text.chars().flat_map(char::to_lowercase).for_each(|c| c.hash(&mut hasher)),
        Value::Boolean(value) => value.hash(&mut hasher),
        Value::Whole(value) => value.hash(&mut hasher),
        // Positive and negative zero are one number.
        Value::Double(value) => (value + 0.0).to_bits().hash(&mut hasher),
        Value::Row(row) => row.hash(&mut hasher),
    }
    Some(hasher.finish())
}

impl Store {
    /// The rows whose field has this value, deleted ones too, in the order of their making. Text compares without case
    /// unless the field minds it.
    pub(crate) fn find_by(&mut self, object: ObjectIndex, field: FieldIndex, value: Value<'_>) -> Vec<u32> {
        let Some(hash) = hash(value) else { return Vec::new() };
        if self.schema.objects[object].fields[field].worked_out.is_some() {
            let rows = 0..self.table(object).rows() as u32;
            return rows.filter(|row| self.holds(object, *row, field, value)).collect();
        }
        if !self.indexes.0.contains_key(&(object, field)) {
            let index = self.scan(object, field);
            self.indexes.0.insert((object, field), index);
        }
        let candidates = self.indexes.0.get(&(object, field)).map_or(&[][..], |index| index.get(hash));
        let mut rows: Vec<u32> =
            candidates.iter().copied().filter(|row| self.holds(object, *row, field, value)).collect();
        rows.sort_unstable();
        rows
    }

    fn scan(&self, object: ObjectIndex, field: FieldIndex) -> Index {
        let mut index = Index::default();
        for row in 0..self.table(object).rows() as u32 {
            let parent = self.parent_row(object, row, field);
            let value = match (parent, self.cell(object, row, field)) {
                (Some(parent), _) => Value::Row(parent),
                (_, Cell::Text(text)) => Value::Text(text),
                (_, Cell::Boolean(value)) => Value::Boolean(value),
                (_, Cell::Integer(value) | Cell::Date(value) | Cell::Datetime(value) | Cell::Time(value)) => {
                    Value::Whole(value)
                }
                (_, Cell::Double(value)) => Value::Double(value),
                _ => Value::Null,
            };
            if let Some(hash) = hash(value) {
                index.add(hash, row);
            }
        }
        index
    }

    fn holds(&self, object: ObjectIndex, row: u32, field: FieldIndex, value: Value<'_>) -> bool {
        if !self.table(object).has(row) {
            return false;
        }
        match (value, self.cell(object, row, field)) {
            (Value::Row(parent), _) => self.parent_row(object, row, field) == Some(parent),
            (Value::Text(wanted), Cell::Text(text)) => self.same_text(object, field, wanted, text),
            (Value::Text(wanted), Cell::Computed(text)) => self.same_text(object, field, wanted, &text),
            (Value::Boolean(wanted), Cell::Boolean(value)) => wanted == value,
            (
                Value::Whole(wanted),
                Cell::Integer(value) | Cell::Date(value) | Cell::Datetime(value) | Cell::Time(value),
            ) => wanted == value,
            (Value::Double(wanted), Cell::Double(value)) => wanted == value,
            _ => false,
        }
    }

    fn same_text(&self, object: ObjectIndex, field: FieldIndex, left: &str, right: &str) -> bool {
        if self.schema.objects[object].fields[field].case_sensitive {
            return left == right;
        }
        left.chars().flat_map(char::to_lowercase).eq(right.chars().flat_map(char::to_lowercase))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::schema::Schema;
    use super::*;

    #[test]
    fn values_are_found_after_every_change_and_after_a_step_back() {
        let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
        let contact = store.schema.find("Contact").unwrap();
        let email = store.schema.objects[contact].find("Email").unwrap();
        for address in ["a@x.example", "b@x.example", "A@X.example"] {
            let row = store.table_mut(contact).append();
            store.set(contact, row, email, Value::Text(address));
        }
        assert_eq!(store.find_by(contact, email, Value::Text("A@x.EXAMPLE")), [0, 2]);
        let before = store.clone();
        store.set(contact, 0, email, Value::Text("c@x.example"));
        let row = store.table_mut(contact).append();
        store.set(contact, row, email, Value::Text("a@x.example"));
        assert_eq!(store.find_by(contact, email, Value::Text("a@x.example")), [2, 3]);
        assert_eq!(store.find_by(contact, email, Value::Text("c@x.example")), [0]);
        store.set_back(before);
        assert_eq!(store.find_by(contact, email, Value::Text("a@x.example")), [0, 2]);
        assert_eq!(store.find_by(contact, email, Value::Text("c@x.example")), [] as [u32; 0]);
        assert_eq!(store.find_by(contact, email, Value::Text("")), [] as [u32; 0]);
    }

    #[test]
    fn children_are_found_by_their_parent() {
        let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
        let contact = store.schema.find("Contact").unwrap();
        let account = store.schema.find("Account").unwrap();
        let parent = store.schema.objects[contact].find("AccountId").unwrap();
        let accounts = [store.table_mut(account).append(), store.table_mut(account).append()];
        for of in [0, 1, 0] {
            let row = store.table_mut(contact).append();
            store.set(contact, row, parent, Value::Row(accounts[of]));
        }
        assert_eq!(store.find_by(contact, parent, Value::Row(0)), [0, 2]);
        store.set(contact, 0, parent, Value::Row(1));
        assert_eq!(store.find_by(contact, parent, Value::Row(0)), [2]);
        assert_eq!(store.find_by(contact, parent, Value::Row(1)), [0, 1]);
        store.erase(contact, 1, 7);
        assert_eq!(store.find_by(contact, parent, Value::Row(1)), [0]);
    }
}
