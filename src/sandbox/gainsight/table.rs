//! The records of one object: columns, what is deleted, and hash indexes over the keys that were asked for.
//!
//! A record's number is its row plus one, so its GSID needs no room and no index. Rows are never used twice.

use std::borrow::Cow;

use super::catalog::Field;
use super::catalog::Object;
use super::catalog::Role;
use super::cell::Cell;
use super::column::Column;
use super::column::TextColumn;
use super::column::Value;
use super::gsid::SYSTEM;
use super::gsid::pack;
use super::gsid::unpack;
use super::hash::START;
use super::hash::stir;
use super::hash::stir_text;

/// How a key compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Exact,
    /// Trimmed, letter case ignored.
    Folded,
}

/// One object's records.
#[derive(Debug)]
pub(super) struct Table {
    code: u16,
    /// The code of the object whose record number zero stands for the tenant itself.
    user_code: u16,
    roles: Vec<Role>,
    columns: Vec<Column>,
    live: Vec<u64>,
    rows: usize,
    alive: usize,
    created: Option<usize>,
    modified: Option<usize>,
    /// When the newest change was among each 64 rows: whoever asks for changes passes the others over.
    newest: Vec<i64>,
    indexes: Vec<Index>,
}

impl Table {
    /// No records yet.
    pub(super) fn new(object: &Object, user_code: u16) -> Self {
        Self {
            code: object.code,
            user_code,
            roles: object.fields.iter().map(|field| field.role).collect(),
            columns: object.fields.iter().map(column_of).collect(),
            live: Vec::new(),
            rows: 0,
            alive: 0,
            created: object.with_role(Role::CreatedDate),
            modified: object.with_role(Role::ModifiedDate),
            newest: Vec::new(),
            indexes: Vec::new(),
        }
    }

    /// Rows ever made; the highest row is one less.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Records that exist.
    pub(super) fn len(&self) -> usize {
        self.alive
    }

    /// Whether the row is a record that exists.
    #[inline]
    pub(super) fn is_live(&self, row: usize) -> bool {
        self.live.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// The id of a row in memory.
    #[inline]
    pub(super) fn id(&self, row: usize) -> i64 {
        pack(self.code, row as u64 + 1)
    }

    /// The row of an id, if the record exists.
    #[inline]
    pub(super) fn row_of(&self, id: i64) -> Option<usize> {
        let (code, number) = unpack(id);
        let row = (number as usize).checked_sub(1)?;
        (code == self.code && self.is_live(row)).then_some(row)
    }

    /// The value of a field.
    #[inline]
    pub(super) fn get(&self, row: usize, field: usize) -> Value<'_> {
        match self.roles[field] {
            Role::Gsid => Value::Int(self.id(row)),
            Role::CreatedBy | Role::ModifiedBy => Value::Int(pack(self.user_code, SYSTEM)),
            _ => self.columns[field].get(row),
        }
    }

    /// Adds a record.
    pub(super) fn insert(&mut self, cells: &[(usize, Cell<'_>)], now: i64) -> usize {
        let row = self.rows;
        self.rows += 1;
        self.alive += 1;
        if self.live.len() <= row / 64 {
            self.live.push(0);
            self.newest.push(now);
        }
        self.changed(row, now);
        self.live[row / 64] |= 1 << (row % 64);
        for (field, cell) in cells {
            self.columns[*field].set(row, cell);
        }
        for field in [self.created, self.modified].into_iter().flatten() {
            self.columns[field].set(row, &Cell::Int(now));
        }
        for index in &mut self.indexes {
            index.add(&self.columns, row);
        }
        row
    }

    /// Changes some fields of a record.
    pub(super) fn update(&mut self, row: usize, cells: &[(usize, Cell<'_>)], now: i64) {
        for (field, cell) in cells {
            self.columns[*field].set(row, cell);
        }
        if let Some(field) = self.modified {
            self.columns[field].set(row, &Cell::Int(now));
        }
        self.changed(row, now);
        for index in &mut self.indexes {
            if cells.iter().any(|(field, _)| index.fields.contains(field)) {
                index.add(&self.columns, row);
                index.rebuild_if_stale(&self.columns, &self.live, self.rows);
            }
        }
    }

    fn changed(&mut self, row: usize, now: i64) {
        if let Some(newest) = self.newest.get_mut(row / 64) {
            *newest = now.max(*newest);
        }
    }

    /// Whether the row may have been changed at `since` or later, as far as `field` tells.
    #[inline]
    pub(super) fn may_be_changed(&self, row: usize, field: usize, since: i64) -> bool {
        self.modified != Some(field) || self.newest.get(row / 64).is_none_or(|newest| *newest >= since)
    }

    /// Takes a record away.
    pub(super) fn delete(&mut self, row: usize) {
        if self.is_live(row) {
            self.live[row / 64] &= !(1 << (row % 64));
            self.alive -= 1;
        }
    }

    /// Makes sure that this key can be found quickly; returns which index it is.
    pub(super) fn index(&mut self, fields: &[usize], compare: Compare) -> usize {
        if let Some(at) = self.index_of(fields, compare) {
            return at;
        }
        let mut index = Index::new(fields, compare);
        for row in 0..self.rows {
            if self.is_live(row) {
                index.add(&self.columns, row);
            }
        }
        self.indexes.push(index);
        self.indexes.len() - 1
    }

    /// The index over this key, if there is one already.
    pub(super) fn index_of(&self, fields: &[usize], compare: Compare) -> Option<usize> {
        self.indexes.iter().position(|index| index.compare == compare && index.fields == fields)
    }

    /// The records whose key fields have these values, oldest first. A null part finds nothing.
    pub(super) fn find(&mut self, fields: &[usize], key: &[Cell<'_>], compare: Compare, found: &mut Vec<usize>) {
        found.clear();
        if let ([field], [Cell::Int(id)]) = (fields, key)
            && self.roles[*field] == Role::Gsid
        {
            found.extend(self.row_of(*id));
            return;
        }
        // The id of a record is in no column, so it cannot be part of a hash: find by it, then check the rest.
        if let Some(at) = fields.iter().position(|field| self.roles[*field] == Role::Gsid) {
            if let Cell::Int(id) = key[at]
                && let Some(row) = self.row_of(id)
                && fields.iter().zip(key).all(|(field, cell)| same(self.get(row, *field), cell, compare))
            {
                found.push(row);
            }
            return;
        }
        let at = self.index(fields, compare);
        self.find_at(at, key, found);
    }

    /// The oldest of the records that [`find`](Self::find) finds.
    pub(super) fn find_first(&mut self, fields: &[usize], key: &[Cell<'_>], compare: Compare) -> Option<usize> {
        if fields.iter().any(|field| self.roles[*field] == Role::Gsid) {
            let mut found = Vec::new();
            self.find(fields, key, compare, &mut found);
            return found.first().copied();
        }
        let at = self.index(fields, compare);
        let mut first: Option<usize> = None;
        self.each_at(at, key, |row| first = Some(first.map_or(row, |before| before.min(row))));
        first
    }

    /// As [`find`](Self::find), in an index that exists.
    pub(super) fn find_at(&self, index: usize, key: &[Cell<'_>], found: &mut Vec<usize>) {
        found.clear();
        self.each_at(index, key, |row| found.push(row));
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
    }

    /// Tells of each record with a key, in no order, of some more than once.
    fn each_at(&self, index: usize, key: &[Cell<'_>], mut tell: impl FnMut(usize)) {
        let index = &self.indexes[index];
        let Some(hash) = hash_key(key.iter().map(as_value), index.compare) else { return };
        let mut next = index.head(hash);
        while next != NONE {
            let entry = index.entries[next as usize];
            let row = entry.row as usize;
            let matches = || {
                index
                    .fields
                    .iter()
                    .zip(key)
                    .all(|(field, cell)| same(self.columns[*field].get(row), cell, index.compare))
            };
            if self.is_live(row) && matches() {
                tell(row);
            }
            next = entry.next;
        }
    }
}

fn column_of(field: &Field) -> Column {
    use super::catalog::Kind;
    match field.kind {
        kind if kind.is_text() => Column::Text(TextColumn::default()),
        Kind::Multi => Column::Text(TextColumn::default()),
        Kind::Boolean => Column::Bool(Vec::new()),
        _ => Column::Int(Vec::new()),
    }
}

fn as_value<'a>(cell: &'a Cell<'_>) -> Value<'a> {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::Text(text.as_bytes()),
        Cell::Int(value) => Value::Int(*value),
        Cell::Bool(value) => Value::Bool(*value),
    }
}

/// Whether a kept value equals a given one; null equals nothing.
pub(super) fn same(value: Value<'_>, cell: &Cell<'_>, compare: Compare) -> bool {
    match (value, as_value(cell)) {
        (Value::Text(left), Value::Text(right)) => {
            left == right || (compare == Compare::Folded && fold(left) == fold(right))
        }
        (Value::Null, _) | (_, Value::Null) => false,
        (left, right) => left == right,
    }
}

/// The text trimmed and in lower case.
pub(super) fn fold(text: &[u8]) -> Cow<'_, [u8]> {
    let trimmed = text.trim_ascii();
    if trimmed.is_ascii() {
        // All bytes are looked at, as that goes many at a time.
        if trimmed.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase()) {
            Cow::Owned(trimmed.to_ascii_lowercase())
        } else {
            Cow::Borrowed(trimmed)
        }
    } else {
        Cow::Owned(String::from_utf8_lossy(text).trim().to_lowercase().into_bytes())
    }
}

const NONE: u32 = u32::MAX;

/// Rows by the hash of their key: a chain per hash, so that a value shared by many rows costs no more than one of its own.
/// A changed row is added again; what it no longer matches is seen when it is looked at.
#[derive(Debug)]
struct Index {
    fields: Vec<usize>,
    compare: Compare,
    /// Where chains begin: a power of two of places, at most half of them taken; a hash stands in the first free one from
    /// its own.
    heads: Vec<Head>,
    taken: usize,
    entries: Vec<Entry>,
}

/// The newest entry of a hash, with half of the hash: to find nothing, no entry has to be looked at.
#[derive(Debug, Clone, Copy)]
struct Head {
    half: u32,
    entry: u32,
}

const FREE: Head = Head { half: 0, entry: NONE };

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    row: u32,
    next: u32,
}

impl Index {
    fn new(fields: &[usize], compare: Compare) -> Self {
        Self { fields: fields.to_vec(), compare, heads: vec![FREE; 64], taken: 0, entries: Vec::new() }
    }

    /// The place of a hash: its own, or the free one where it would stand.
    fn place(&self, hash: u64) -> usize {
        let last = self.heads.len() - 1;
        let mut at = hash as usize & last;
        loop {
            let Head { half, entry } = self.heads[at];
            if entry == NONE || (half == (hash >> 32) as u32 && self.entries[entry as usize].hash == hash) {
                return at;
            }
            at = (at + 1) & last;
        }
    }

    /// The newest entry of a hash.
    fn head(&self, hash: u64) -> u32 {
        self.heads[self.place(hash)].entry
    }

    fn add(&mut self, columns: &[Column], row: usize) {
        let Some(hash) = hash_key(self.fields.iter().map(|field| columns[*field].get(row)), self.compare) else {
            return;
        };
        let place = self.place(hash);
        let next = self.heads[place].entry;
        if next == NONE {
            self.taken += 1;
        } else if self.entries[next as usize].row == row as u32 {
            return;
        }
        self.heads[place] = Head { half: (hash >> 32) as u32, entry: self.entries.len() as u32 };
        self.entries.push(Entry { hash, row: row as u32, next });
        if 2 * self.taken > self.heads.len() {
            self.spread();
        }
    }

    /// Doubles the places.
    fn spread(&mut self) {
        self.heads = vec![FREE; 2 * self.heads.len()];
        for at in 0..self.entries.len() {
            let hash = self.entries[at].hash;
            let place = self.place(hash);
            self.heads[place] = Head { half: (hash >> 32) as u32, entry: at as u32 };
        }
    }

    fn rebuild_if_stale(&mut self, columns: &[Column], live: &[u64], rows: usize) {
        if self.entries.len() < 2 * rows + 1024 {
            return;
        }
        self.heads.fill(FREE);
        self.taken = 0;
        self.entries.clear();
        for row in (0..rows).filter(|row| live[row / 64] & (1 << (row % 64)) != 0) {
            self.add(columns, row);
        }
    }
}

/// The hash of a whole key; none if a part is null.
fn hash_key<'a>(key: impl Iterator<Item = Value<'a>>, compare: Compare) -> Option<u64> {
    let mut hash = START;
    for value in key {
        match value {
            Value::Null => return None,
            Value::Int(value) => hash = stir(hash, value as u64),
            Value::Bool(value) => hash = stir(hash, u64::from(value)),
            Value::Text(text) => {
                hash = stir_text(hash, &if compare == Compare::Folded { fold(text) } else { Cow::Borrowed(text) });
            }
        }
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::gainsight::catalog::Catalog;

    fn person() -> (Catalog, Table) {
        let catalog = Catalog::read("test", &[]).unwrap();
        let table = Table::new(&catalog.objects[catalog.object("person").unwrap()], 0);
        (catalog, table)
    }

    fn email(text: &str) -> Cell<'_> {
        Cell::Text(text.into())
    }

    #[test]
    fn keys_are_found_folded_after_changes_and_deletes() {
        let (_, mut table) = person();
        let mut found = Vec::new();
        let first = table.insert(&[(1, email("Ada@X.org"))], 0);
        table.find(&[1], &[email(" ada@x.ORG ")], Compare::Folded, &mut found);
        assert_eq!(found, [first]);
        table.find(&[1], &[email("ada@x.org")], Compare::Exact, &mut found);
        assert!(found.is_empty());
        let second = table.insert(&[(1, email("b@x.org"))], 0);
        for _ in 0..2000 {
            table.update(first, &[(1, email("c@x.org"))], 0);
            table.update(first, &[(1, email("b@x.org"))], 0);
        }
        table.find(&[1], &[email("b@x.org")], Compare::Folded, &mut found);
        assert_eq!(found, [first, second]);
        table.delete(first);
        table.find(&[1], &[email("b@x.org")], Compare::Folded, &mut found);
        assert_eq!((found.as_slice(), table.len()), ([second].as_slice(), 1));
        table.find(&[1], &[Cell::Null], Compare::Folded, &mut found);
        assert!(found.is_empty());
        let id = table.id(second);
        table.find(&[0, 1], &[Cell::Int(id), email("b@x.org")], Compare::Exact, &mut found);
        assert_eq!(found, [second]);
    }
}
