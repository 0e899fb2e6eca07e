//! A bound query → rows. Tests run over whole columns of a segment, one mask per test.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::HashSet;

use super::ast::Operator;
use super::bind::Bound;
use super::bind::BoundPath;
use super::like::Pattern;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Storage;
use crate::sandbox::salesforce::store::Cell;
use crate::sandbox::salesforce::store::Column;
use crate::sandbox::salesforce::store::SEGMENT;
use crate::sandbox::salesforce::store::Segment;
use crate::sandbox::salesforce::store::Store;

/// A condition on a row.
#[derive(Debug)]
pub(super) enum Test {
    And(Vec<Self>),
    /// Of nothing: never true.
    Or(Vec<Self>),
    Not(Box<Self>),
    Leaf(BoundPath, Check),
}

/// A condition on one value. Null passes [`Check::Null`] only.
#[derive(Debug)]
pub(super) enum Check {
    Null,
    Boolean(bool),
    /// Whole numbers, days, seconds: from, to, both included.
    Whole(i64, i64),
    Number(Operator, f64),
    /// One of these, in lower case.
    Text(HashSet<String>),
    TextOrder(Operator, String),
    Like(Pattern),
    /// All of these values of a multi-select picklist.
    Includes(Vec<String>),
    /// The row of an id: from, to, both included.
    Rows(i64, i64),
    /// The row of an id is one of these.
    RowSet(HashSet<u32>),
}

impl Test {
    /// One test that is true if any of these is, all of one field: its texts and its rows become sets.
    pub(super) fn any_of(tests: Vec<Self>) -> Self {
        let mut path = None;
        let mut texts = HashSet::new();
        let mut rows = HashSet::new();
        let mut others = Vec::new();
        for test in tests {
            match test {
                Self::Leaf(of, Check::Text(values)) => {
                    texts.extend(values);
                    path = Some(of);
                }
                Self::Leaf(of, Check::Rows(from, to)) if from == to && u32::try_from(from).is_ok() => {
                    rows.insert(from as u32);
                    path = Some(of);
                }
                other => others.push(other),
            }
        }
        if let Some(path) = path {
            others.push(Self::Leaf(path, if rows.is_empty() { Check::Text(texts) } else { Check::RowSet(rows) }));
        }
        Self::Or(others)
    }

    pub(super) fn negated_if(self, negated: bool) -> Self {
        if negated { Self::Not(Box::new(self)) } else { self }
    }

    /// Which rows of a segment pass.
    fn mask(&self, store: &Store, object: ObjectIndex, first: u32, segment: &Segment) -> Vec<bool> {
        match self {
            Self::And(tests) => join(tests, true, store, object, first, segment),
            Self::Or(tests) => join(tests, false, store, object, first, segment),
            Self::Not(inner) => {
                let mut mask = inner.mask(store, object, first, segment);
                mask.iter_mut().for_each(|pass| *pass = !*pass);
                mask
            }
            Self::Leaf(path, check) => {
                if path.steps.is_empty()
                    && let Some(mask) = column_mask(path, check, segment)
                {
                    return mask;
                }
                (first..first + segment.rows as u32)
                    .map(|row| check.passes(store, follow(store, object, row, path), path))
                    .collect()
            }
        }
    }
}

fn join(tests: &[Test], and: bool, store: &Store, object: ObjectIndex, first: u32, segment: &Segment) -> Vec<bool> {
    let mut mask = vec![and; segment.rows];
    for test in tests {
        let other = test.mask(store, object, first, segment);
        if and {
            mask.iter_mut().zip(&other).for_each(|(mine, theirs)| *mine &= theirs);
        } else {
            mask.iter_mut().zip(&other).for_each(|(mine, theirs)| *mine |= theirs);
        }
    }
    mask
}

/// The quick ways: tests of a column as it lies in memory.
fn column_mask(path: &BoundPath, check: &Check, segment: &Segment) -> Option<Vec<bool>> {
    let mut mask: Vec<bool> = match (check, segment.column(path.field)) {
        (Check::Whole(from, to), Column::Whole(values)) => {
            // No value lies below every range: it is the smallest number of all.
            values.iter().map(|value| value >= from && value <= to).collect()
        }
        (Check::Boolean(wanted), Column::Boolean(values)) => {
            let mut mask: Vec<bool> = values.iter().map(|value| value == wanted).collect();
            mask.resize(segment.rows, !wanted);
            mask
        }
        (Check::Text(wanted), Column::Text(column))
            if wanted.len() == 1 && wanted.iter().all(|text| text.is_ascii()) =>
        {
            let wanted = wanted.iter().next()?;
            let rows = 0..segment.rows;
            rows.map(|row| column.get(row).is_some_and(|text| text.value.eq_ignore_ascii_case(wanted))).collect()
        }
        _ => return None,
    };
    mask.resize(segment.rows, false);
    Some(mask)
}

impl Check {
    fn passes(&self, store: &Store, at: Option<(ObjectIndex, u32)>, path: &BoundPath) -> bool {
        let Some((object, row)) = at else { return matches!(self, Self::Null | Self::Boolean(false)) };
        if let Self::Rows(from, to) = self {
            return row_at(store, object, row, path).is_some_and(|row| (*from..=*to).contains(&i64::from(row)));
        }
        if let Self::RowSet(rows) = self {
            return row_at(store, object, row, path).is_some_and(|row| rows.contains(&row));
        }
        match (self, store.cell_of((object, row), path.object, path.field)) {
            (Self::Null, cell) => cell == Cell::Null,
            (Self::Boolean(wanted), Cell::Boolean(value)) => *wanted == value,
            (
                Self::Whole(from, to),
                Cell::Integer(value) | Cell::Date(value) | Cell::Datetime(value) | Cell::Time(value),
            ) => value >= *from && value <= *to,
            (Self::Number(operator, wanted), Cell::Double(value)) => {
                value.partial_cmp(wanted).is_some_and(|order| holds(*operator, order))
            }
            (_, Cell::Text(value)) => self.text(&value.to_lowercase()),
            (_, Cell::Computed(value)) => self.text(&value.to_lowercase()),
            (_, Cell::Id(id)) => self.text(&id.as_str().to_lowercase()),
            (_, Cell::Name(first, last)) => self.text(&joined(first, last).to_lowercase()),
            _ => false,
        }
    }

    fn text(&self, value: &str) -> bool {
        match self {
            Self::Text(wanted) => wanted.contains(value),
            Self::TextOrder(operator, wanted) => holds(*operator, value.cmp(wanted)),
            Self::Like(pattern) => pattern.matches(value),
            Self::Includes(wanted) => wanted.iter().all(|one| value.split(';').any(|chosen| chosen == one)),
            _ => false,
        }
    }
}

fn holds(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::Like => false,
    }
}

/// A whole name.
pub(crate) fn joined(first: Option<&str>, last: &str) -> String {
    match first {
        Some(first) if last.is_empty() => first.to_owned(),
        Some(first) => format!("{first} {last}"),
        None => last.to_owned(),
    }
}

/// The record that holds the field at the end of a path.
pub(crate) fn follow(store: &Store, object: ObjectIndex, row: u32, path: &BoundPath) -> Option<(ObjectIndex, u32)> {
    let mut at = (object, row);
    for (field, target) in &path.steps {
        at = store.parent(at.0, at.1, *field)?;
        if at.0 != *target && !store.schema.is_name(*target) {
            return None;
        }
    }
    Some(at)
}

/// The row that the id at the end of a path names.
pub(super) fn row_of(store: &Store, object: ObjectIndex, row: u32, path: &BoundPath) -> Option<u32> {
    let (object, row) = follow(store, object, row, path)?;
    row_at(store, object, row, path)
}

fn row_at(store: &Store, object: ObjectIndex, row: u32, path: &BoundPath) -> Option<u32> {
    if object != path.object {
        return None;
    }
    match store.schema.objects[object].fields[path.field].storage {
        Storage::Id => Some(row),
        _ => store.parent(object, row, path.field).map(|(_, row)| row),
    }
}

impl Bound {
    /// The rows of the answer, in its order. Deleted ones only if asked for.
    pub(crate) fn rows(&self, store: &Store, with_deleted: bool) -> Vec<u32> {
        let wanted = self.limit.map_or(u64::MAX, |limit| limit.saturating_add(self.offset));
        let mut rows = self.rows_within(store, with_deleted, wanted);
        self.cut(&mut rows);
        rows
    }

    /// The first `wanted` rows at least.
    fn rows_within(&self, store: &Store, with_deleted: bool, wanted: u64) -> Vec<u32> {
        let deleted = store.schema.objects[self.object].find("IsDeleted");
        let mut rows = Vec::new();
        for (number, segment) in store.table(self.object).segments().iter().enumerate() {
            if self.order.is_empty() && rows.len() as u64 >= wanted {
                break;
            }
            let first = (number * SEGMENT) as u32;
            let mut mask = self.test.as_ref().map(|test| test.mask(store, self.object, first, segment));
            for (row, _) in store.table(self.object).erased().range(first..first + segment.rows as u32) {
                mask.get_or_insert_with(|| vec![true; segment.rows])[(row - first) as usize] = false;
            }
            for at in 0..segment.rows {
                let pass = mask.as_ref().is_none_or(|mask| mask[at]);
                let gone = !with_deleted && deleted.is_some_and(|field| segment.boolean(field, at));
                if pass && !gone {
                    rows.push(first + at as u32);
                }
            }
        }
        if !self.order.is_empty() {
            rows = self.sorted(store, rows);
        }
        rows
    }

    /// The children of each parent that `field` names, for a subquery: its order, limit and offset hold for each parent.
    pub(crate) fn by_parent(
        &self,
        store: &Store,
        (object, field): (ObjectIndex, FieldIndex),
        with_deleted: bool,
    ) -> HashMap<u32, Vec<u32>> {
        let all = self.rows_within(store, with_deleted, u64::MAX);
        let mut found: HashMap<u32, Vec<u32>> = HashMap::new();
        for row in all {
            if let Some((_, parent)) = store.parent(self.object, row, field).filter(|(of, _)| *of == object) {
                found.entry(parent).or_default().push(row);
            }
        }
        for rows in found.values_mut() {
            self.cut(rows);
        }
        found.retain(|_, rows| !rows.is_empty());
        found
    }

    fn cut(&self, rows: &mut Vec<u32>) {
        let from = usize::try_from(self.offset).unwrap_or(usize::MAX).min(rows.len());
        rows.drain(..from);
        rows.truncate(self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    }

    fn sorted(&self, store: &Store, rows: Vec<u32>) -> Vec<u32> {
        let mut keyed: Vec<(Vec<Key>, u32)> = rows
            .into_iter()
            .map(|row| (self.order.iter().map(|key| Key::new(store, self.object, row, &key.path)).collect(), row))
            .collect();
        keyed.sort_by(|(left, left_row), (right, right_row)| {
            let mut keys = left.iter().zip(right).zip(&self.order);
            keys.find_map(|((left, right), key)| {
                let order = match (left == &Key::Null, right == &Key::Null) {
                    (true, true) => Ordering::Equal,
                    // Nulls come first unless told otherwise, also when descending.
                    (true, false) => {
                        if key.nulls_last {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    (false, true) => {
                        if key.nulls_last {
                            Ordering::Less
                        } else {
                            Ordering::Greater
                        }
                    }
                    (false, false) => {
                        let order = left.partial_cmp(right).unwrap_or(Ordering::Equal);
                        if key.descending { order.reverse() } else { order }
                    }
                };
                order.is_ne().then_some(order)
            })
            .unwrap_or_else(|| left_row.cmp(right_row))
        });
        keyed.into_iter().map(|(_, row)| row).collect()
    }
}

#[derive(Debug, PartialEq, PartialOrd)]
enum Key {
    Null,
    Whole(i64),
    Number(f64),
    Text(String),
}

impl Key {
    fn new(store: &Store, object: ObjectIndex, row: u32, path: &BoundPath) -> Self {
        let Some((object, row)) = follow(store, object, row, path) else { return Self::Null };
        match store.cell_of((object, row), path.object, path.field) {
            Cell::Null => Self::Null,
            Cell::Boolean(value) => Self::Whole(i64::from(value)),
            Cell::Integer(value) | Cell::Date(value) | Cell::Datetime(value) | Cell::Time(value) => Self::Whole(value),
            Cell::Double(value) => Self::Number(value),
            Cell::Text(text) => Self::Text(text.to_lowercase()),
            Cell::Computed(text) => Self::Text(text.to_lowercase()),
            Cell::Id(id) if object != path.object => Self::Text(id.as_str().to_lowercase()),
            Cell::Name(first, last) => Self::Text(joined(first, last).to_lowercase()),
            Cell::Id(_) => row_at(store, object, row, path).map_or(Self::Null, |row| Self::Whole(i64::from(row))),
        }
    }
}
