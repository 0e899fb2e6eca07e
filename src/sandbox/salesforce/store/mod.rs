//! The org's records: columns in segments, cheap to copy as a whole.
//!
//! ```text
//!  Store ── Table (one per object) ── Segment (65,536 rows) ── Column (one per field)
//!    every step is an Arc: a clone is a snapshot, a write copies the columns it touches in one segment
//! ```
//!
//! # Promises
//! * A snapshot never changes: a bulk job's pages can be fetched again and again while records are written.
//! * A field that no record fills costs nothing; ids, names and compound fields are worked out, not stored.
//! * A reference to a parent in the org is the parent's row number, so following it is one look-up.

mod index;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use index::Indexes;
pub(crate) use text::TextColumn;

use super::ids::Id;
use super::schema::FieldIndex;
use super::schema::ObjectIndex;
use super::schema::Schema;
use super::schema::Storage;
use super::schema::WorkedOut;

/// Rows per segment.
pub(crate) const SEGMENT: usize = 1 << 16;
/// A reference without a value.
pub(crate) const NO_ROW: u32 = u32::MAX;
/// A number, date or datetime without a value.
pub(crate) const NO_VALUE: i64 = i64::MIN;

/// All records of the org. A clone is a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) schema: Arc<Schema>,
    tables: Vec<Table>,
    indexes: Indexes,
    /// Seconds since 1970 at which formulas such as `TODAY()` are worked out.
    pub(crate) now: i64,
}

/// The records of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    rows: usize,
    fields: usize,
    segments: Vec<Arc<Segment>>,
    /// Rows that were deleted for good, and when. Their numbers are never used again.
    erased: Arc<BTreeMap<u32, i64>>,
}

/// A run of records.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) rows: usize,
    columns: Vec<Arc<Column>>,
}

/// The values of one field in one segment.
#[derive(Debug, Clone, Default)]
pub(crate) enum Column {
    /// No record has a value, or the value is worked out.
    #[default]
    Empty,
    Text(TextColumn),
    /// Whole numbers, days, seconds, milliseconds of a day.
    Whole(Vec<i64>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    Row(Vec<u32>),
}

/// One value as the store gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(&'a str),
    /// Text that is worked out.
    Computed(String),
    /// First and last name.
    Name(Option<&'a str>, &'a str),
    Boolean(bool),
    Integer(i64),
    Double(f64),
    /// Days since 1970.
    Date(i64),
    /// Seconds since 1970.
    Datetime(i64),
    /// Milliseconds since midnight.
    Time(i64),
    /// A row of an object: its own id, or a parent.
    Id(Id),
}

/// One value as the store takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Text(&'a str),
    Boolean(bool),
    /// Whole numbers, days, seconds, milliseconds of a day: as the field stores them.
    Whole(i64),
    Double(f64),
    Row(u32),
}

impl Store {
    /// An org without records.
    pub(crate) fn new(schema: Arc<Schema>) -> Self {
        let tables =
            schema.objects.iter().map(|object| Table { fields: object.fields.len(), ..Table::default() }).collect();
        Self { schema, tables, indexes: Indexes::default(), now: 0 }
    }

    /// The records of an object.
    pub(crate) fn table(&self, object: ObjectIndex) -> &Table {
        &self.tables[object]
    }

    /// The records of an object, to write to.
    pub(crate) fn table_mut(&mut self, object: ObjectIndex) -> &mut Table {
        &mut self.tables[object]
    }

    /// The id of a record.
    pub(crate) fn id(&self, object: ObjectIndex, row: u32) -> Id {
        Id::new(self.schema.objects[object].key_prefix(), u64::from(row))
    }

    /// The row of an id of this object, deleted or not.
    pub(crate) fn row(&self, object: ObjectIndex, id: &Id) -> Option<u32> {
        if id.prefix() != self.schema.objects[object].key_prefix() {
            return None;
        }
        let row = u32::try_from(id.number()?).ok()?;
        self.tables[object].has(row).then_some(row)
    }

    /// The value of a field.
    pub(crate) fn cell(&self, object: ObjectIndex, row: u32, field: FieldIndex) -> Cell<'_> {
        self.cell_at_depth(object, row, field, 0)
    }

    /// The value at the end of a path to `object`, which may be `Name`: what the record that was found has of it.
    pub(crate) fn cell_of(&self, found: (ObjectIndex, u32), object: ObjectIndex, field: FieldIndex) -> Cell<'_> {
        if found.0 == object {
            return self.cell(object, found.1, field);
        }
        let definition = &self.schema.objects[found.0];
        match self.schema.objects[object].fields[field].name.as_str() {
            "Type" => Cell::Text(&definition.name),
            name => {
                let named = || definition.fields.iter().position(|field| field.name_field).filter(|_| name == "Name");
                definition.find(name).or_else(named).map_or(Cell::Null, |field| self.cell(found.0, found.1, field))
            }
        }
    }

    /// The value of a field for a formula that is so many formulas deep.
    pub(crate) fn cell_at_depth(&self, object: ObjectIndex, row: u32, field: FieldIndex, depth: u32) -> Cell<'_> {
        let table = &self.tables[object];
        let definition = &self.schema.objects[object].fields[field];
        match &definition.worked_out {
            None => {}
            Some(WorkedOut::Formula(formula)) => {
                return formula.cell(self, (object, row), (definition.kind, definition.scale), depth);
            }
            Some(WorkedOut::Number(before, digits, behind)) => {
                let number = u64::from(row) + 1;
                return Cell::Computed(format!("{before}{number:0width$}{behind}", width = *digits));
            }
        }
        let at = row as usize % SEGMENT;
        let segment = table.segment(row as usize / SEGMENT);
        match &definition.storage {
            Storage::Id => Cell::Id(self.id(object, row)),
            Storage::Text => segment.text(field, at).map_or(Cell::Null, Cell::Text),
            Storage::Boolean => Cell::Boolean(segment.boolean(field, at)),
            Storage::Integer => segment.whole(field, at).map_or(Cell::Null, Cell::Integer),
            Storage::Date => segment.whole(field, at).map_or(Cell::Null, Cell::Date),
            Storage::Datetime => segment.whole(field, at).map_or(Cell::Null, Cell::Datetime),
            Storage::Time => segment.whole(field, at).map_or(Cell::Null, Cell::Time),
            Storage::Double => segment.double(field, at).map_or(Cell::Null, Cell::Double),
            Storage::Row => match segment.row(field, at) {
                NO_ROW => Cell::Null,
                parent => Cell::Id(self.id(definition.targets[0], parent)),
            },
            Storage::Name { first, last } => {
                let last = segment.text(*last, at).unwrap_or_default();
                match first.and_then(|first| segment.text(first, at)) {
                    None if last.is_empty() => Cell::Null,
                    first => Cell::Name(first, last),
                }
            }
            // Only REST shows compound fields; its writer takes them apart.
            Storage::Address(_) => Cell::Null,
        }
    }

    /// The row of the parent that a reference field names, and the parent's object.
    pub(crate) fn parent(&self, object: ObjectIndex, row: u32, field: FieldIndex) -> Option<(ObjectIndex, u32)> {
        let definition = &self.schema.objects[object].fields[field];
        if definition.storage == Storage::Row {
            let parent = self.tables[object].segment(row as usize / SEGMENT).row(field, row as usize % SEGMENT);
            return (parent != NO_ROW).then(|| (definition.targets[0], parent));
        }
        let Cell::Text(text) = self.cell(object, row, field) else { return None };
        let id = Id::parse(text)?;
        let target = self.schema.by_prefix(id.prefix()).filter(|target| definition.targets.contains(target))?;
        Some((target, self.row(target, &id)?))
    }

    /// The row behind a reference that is stored as a row.
    fn parent_row(&self, object: ObjectIndex, row: u32, field: FieldIndex) -> Option<u32> {
        if self.schema.objects[object].fields[field].storage != Storage::Row {
            return None;
        }
        let parent = self.tables[object].segment(row as usize / SEGMENT).row(field, row as usize % SEGMENT);
        (parent != NO_ROW).then_some(parent)
    }

    /// A boolean field by name; false where the object has none.
    pub(crate) fn flag(&self, object: ObjectIndex, row: u32, field: &str) -> bool {
        match self.schema.objects[object].find(field) {
            Some(field) => self.cell(object, row, field) == Cell::Boolean(true),
            None => false,
        }
    }

    /// Sets a value. The caller has checked that it fits the field.
    pub(crate) fn set(&mut self, object: ObjectIndex, row: u32, field: FieldIndex, value: Value<'_>) {
        self.tables[object].segment_mut(row as usize / SEGMENT).set(row as usize % SEGMENT, field, value);
        self.indexes.note(object, row, field, value);
    }

    /// Deletes a record for good: it is in no query and its id names nothing any more.
    pub(crate) fn erase(&mut self, object: ObjectIndex, row: u32, now: i64) {
        Arc::make_mut(&mut self.tables[object].erased).insert(row, now);
    }

    /// Undoes everything since a snapshot was taken.
    pub(crate) fn set_back(&mut self, snapshot: Self) {
        self.tables = snapshot.tables;
    }

    /// Drops the indexes, for records that were written elsewhere.
    pub(crate) fn forget_indexes(&mut self) {
        self.indexes = Indexes::default();
    }

    /// Bytes of memory in use by the columns.
    pub(crate) fn memory(&self) -> usize {
        let columns = self.tables.iter().flat_map(|table| &table.segments).flat_map(|segment| &segment.columns);
        columns.map(|column| column.memory()).sum()
    }
}

impl Table {
    /// Records that were ever made: the end of the row numbers.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the row is there, be it in the recycle bin.
    pub(crate) fn has(&self, row: u32) -> bool {
        (row as usize) < self.rows && !self.erased.contains_key(&row)
    }

    /// Rows that were deleted for good, with the time.
    pub(crate) fn erased(&self) -> &BTreeMap<u32, i64> {
        &self.erased
    }

    /// Its runs of records, in order.
    pub(crate) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The column in which the value of a field of a record lies.
    pub(crate) fn column(&self, row: u32, field: FieldIndex) -> &Column {
        self.segment(row as usize / SEGMENT).column(field)
    }

    fn segment(&self, at: usize) -> &Segment {
        &self.segments[at]
    }

    fn segment_mut(&mut self, at: usize) -> &mut Segment {
        Arc::make_mut(&mut self.segments[at])
    }

    /// Adds a record without values and returns its row.
    pub(crate) fn append(&mut self) -> u32 {
        let row = self.rows;
        if row.is_multiple_of(SEGMENT) {
            if let Some(full) = self.segments.last_mut() {
                Arc::make_mut(full).shrink();
            }
            self.segments.push(Arc::new(Segment { rows: 0, columns: vec![Arc::default(); self.fields] }));
        }
        self.segment_mut(row / SEGMENT).rows += 1;
        self.rows += 1;
        row as u32
    }
}

impl Segment {
    /// The column of a field.
    pub(crate) fn column(&self, field: FieldIndex) -> &Column {
        &self.columns[field]
    }

    fn text(&self, field: FieldIndex, row: usize) -> Option<&str> {
        match self.column(field) {
            Column::Text(column) => column.get(row).map(|text| text.value),
            _ => None,
        }
    }

    /// A whole number, date, datetime or time.
    pub(crate) fn whole(&self, field: FieldIndex, row: usize) -> Option<i64> {
        match self.column(field) {
            Column::Whole(values) => values.get(row).copied().filter(|value| *value != NO_VALUE),
            _ => None,
        }
    }

    /// A boolean, which is never null.
    pub(crate) fn boolean(&self, field: FieldIndex, row: usize) -> bool {
        matches!(self.column(field), Column::Boolean(values) if values.get(row) == Some(&true))
    }

    /// The row of a parent, or [`NO_ROW`].
    pub(crate) fn row(&self, field: FieldIndex, row: usize) -> u32 {
        match self.column(field) {
            Column::Row(values) => values.get(row).copied().unwrap_or(NO_ROW),
            _ => NO_ROW,
        }
    }

    fn double(&self, field: FieldIndex, row: usize) -> Option<f64> {
        match self.column(field) {
            Column::Double(values) => values.get(row).copied().filter(|value| !value.is_nan()),
            _ => None,
        }
    }

    fn set(&mut self, row: usize, field: FieldIndex, value: Value<'_>) {
        let column = &mut self.columns[field];
        if value == Value::Null && matches!(**column, Column::Empty) {
            return;
        }
        Arc::make_mut(column).set(row, value);
    }

    fn shrink(&mut self) {
        for column in &mut self.columns {
            match Arc::make_mut(column) {
                Column::Empty => {}
                Column::Text(text) => text.shrink(),
                Column::Whole(values) => values.shrink_to_fit(),
                Column::Double(values) => values.shrink_to_fit(),
                Column::Boolean(values) => values.shrink_to_fit(),
                Column::Row(values) => values.shrink_to_fit(),
            }
        }
    }
}

impl Column {
    fn set(&mut self, row: usize, value: Value<'_>) {
        match (&mut *self, value) {
            (Self::Empty, Value::Text(_)) => *self = Self::Text(TextColumn::default()),
            (Self::Empty, Value::Boolean(_)) => *self = Self::Boolean(Vec::new()),
            (Self::Empty, Value::Whole(_)) => *self = Self::Whole(Vec::new()),
            (Self::Empty, Value::Double(_)) => *self = Self::Double(Vec::new()),
            (Self::Empty, Value::Row(_)) => *self = Self::Row(Vec::new()),
            _ => {}
        }
        match (self, value) {
            (Self::Text(column), Value::Text(text)) => column.set(row, Some(text)),
            (Self::Text(column), _) => column.set(row, None),
            (Self::Boolean(values), value) => put(values, row, false, value == Value::Boolean(true)),
            (Self::Whole(values), Value::Whole(value)) => put(values, row, NO_VALUE, value),
            (Self::Whole(values), _) => put(values, row, NO_VALUE, NO_VALUE),
            (Self::Double(values), Value::Double(value)) => put(values, row, f64::NAN, value),
            (Self::Double(values), _) => put(values, row, f64::NAN, f64::NAN),
            (Self::Row(values), Value::Row(value)) => put(values, row, NO_ROW, value),
            (Self::Row(values), _) => put(values, row, NO_ROW, NO_ROW),
            (Self::Empty, _) => {}
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Text(column) => column.memory(),
            Self::Whole(values) => values.capacity() * 8,
            Self::Double(values) => values.capacity() * 8,
            Self::Boolean(values) => values.capacity(),
            Self::Row(values) => values.capacity() * 4,
        }
    }
}

fn put<T: Copy>(values: &mut Vec<T>, row: usize, none: T, value: T) {
    if values.len() <= row {
        values.resize(row + 1, none);
    }
    values[row] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_does_not_change() {
        let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
        let contact = store.schema.find("Contact").unwrap();
        let account = store.schema.find("Account").unwrap();
        let field = |name: &str| store.schema.objects[contact].find(name).unwrap();
        let (last, first, name, parent) = (field("LastName"), field("FirstName"), field("Name"), field("AccountId"));
        store.table_mut(account).append();
        for _ in 0..SEGMENT + 3 {
            store.table_mut(contact).append();
        }
        let row = SEGMENT as u32 + 2;
        store.set(contact, row, last, Value::Text("Müller"));
        let before = store.clone();
        store.set(contact, row, last, Value::Text("O'Neil"));
        store.set(contact, row, first, Value::Text("Ann"));
        store.set(contact, row, parent, Value::Row(0));
        assert_eq!(before.cell(contact, row, name), Cell::Name(None, "Müller"));
        assert_eq!(store.cell(contact, row, name), Cell::Name(Some("Ann"), "O'Neil"));
        assert_eq!(before.parent(contact, row, parent), None);
        assert_eq!(store.parent(contact, row, parent), Some((account, 0)));
        assert_eq!(store.cell(contact, row, parent), Cell::Id(Id::new(*b"001", 0)));
        let id = store.id(contact, row);
        assert_eq!(store.row(contact, &id), Some(row));
        assert_eq!(store.row(account, &id), None);
        assert_eq!(store.row(contact, &Id::new(*b"003", row as u64 + 1)), None);
    }
}
