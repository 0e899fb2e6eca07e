//! Rows of a snapshot as CSV and JSON, written straight from the columns into a byte buffer.

use std::collections::HashMap;

use super::format;
use super::schema::FieldIndex;
use super::schema::ObjectIndex;
use super::schema::Storage;
use super::soql::Bound;
use super::soql::BoundPath;
use super::soql::Output;
use super::soql::follow;
use super::store::Cell;
use super::store::Column;
use super::store::NO_ROW;
use super::store::NO_VALUE;
use super::store::SEGMENT;
use super::store::Store;

/// How a bulk job wants its CSV.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) line_end: &'static [u8],
}

/// The header line.
pub(crate) fn csv_header(out: &mut Vec<u8>, bound: &Bound, dialect: Dialect) {
    for (at, output) in bound.outputs.iter().enumerate() {
        if at > 0 {
            out.push(dialect.delimiter);
        }
        out.push(b'"');
        out.extend_from_slice(output.name.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(dialect.line_end);
}

/// How the values of one output column are found, for a run of rows of one segment.
enum Source<'a> {
    /// In a column of the rows' own segment.
    Own(&'a Column),
    /// Of parents, whose rows these are.
    Parent(Vec<u32>),
    /// Text of parents. Parents lie anywhere in memory: finding all of a run before any is written lets the processor wait
    /// for many of them at once, which is three times as fast as one after the other.
    Text(Vec<Option<(&'a [u8], bool)>>),
    /// Worked out one by one, from these records.
    WorkedOut(Vec<Option<(ObjectIndex, u32)>>),
}

/// The lines of some rows: every value in quotes, null as an empty one.
pub(crate) fn csv_rows(out: &mut Vec<u8>, store: &Store, bound: &Bound, rows: &[u32], dialect: Dialect) {
    for run in rows.chunk_by(|one, next| *one as usize / SEGMENT == *next as usize / SEGMENT) {
        let sources: Vec<_> = bound.outputs.iter().map(|output| source(store, bound.object, output, run)).collect();
        for (at, row) in run.iter().enumerate() {
            for (place, (source, output)) in sources.iter().zip(&bound.outputs).enumerate() {
                if place > 0 {
                    out.push(dialect.delimiter);
                }
                out.push(b'"');
                let path = &output.path;
                match source {
                    Source::Own(column) => csv_value(out, store, path, column, *row),
                    Source::Text(texts) => csv_part(out, texts[at]),
                    Source::Parent(parents) if parents[at] != NO_ROW => {
                        let column = store.table(path.object).column(parents[at], path.field);
                        csv_value(out, store, path, column, parents[at]);
                    }
                    Source::Parent(_) => {}
                    Source::WorkedOut(records) => {
                        if let Some(record) = records[at] {
                            csv_cell(out, store.cell_of(record, path.object, path.field));
                        }
                    }
                }
                out.push(b'"');
            }
            out.extend_from_slice(dialect.line_end);
        }
    }
}

fn source<'a>(store: &'a Store, object: ObjectIndex, output: &Output, run: &[u32]) -> Source<'a> {
    let path = &output.path;
    if path.definition(&store.schema).worked_out.is_some() || store.schema.is_name(path.object) {
        return Source::WorkedOut(run.iter().map(|row| follow(store, object, *row, path)).collect());
    }
    if path.steps.is_empty() {
        let own = &store.table(object).segments()[run[0] as usize / SEGMENT];
        return Source::Own(own.column(path.field));
    }
    let parents = run.iter().map(|row| follow(store, object, *row, path).map_or(NO_ROW, |(_, row)| row)).collect();
    if path.definition(&store.schema).storage != Storage::Text {
        return Source::Parent(parents);
    }
    let table = store.table(path.object);
    let text = |row: &u32| match table.column(*row, path.field) {
        Column::Text(column) => column.bytes(*row as usize % SEGMENT),
        _ => None,
    };
    Source::Text(parents.iter().map(|row| if *row == NO_ROW { None } else { text(row) }).collect())
}

/// One value of a column; `row` is the record that it belongs to.
fn csv_value(out: &mut Vec<u8>, store: &Store, path: &BoundPath, column: &Column, row: u32) {
    let at = row as usize % SEGMENT;
    let object = path.object;
    let field = path.definition(&store.schema);
    match (column, &field.storage) {
        (Column::Text(column), _) => match column.bytes(at) {
            Some((text, false)) => out.extend_from_slice(text),
            Some((text, true)) => csv_text(out, text),
            None => {}
        },
        (_, Storage::Id) => out.extend_from_slice(store.id(object, row).as_bytes()),
        (Column::Row(parents), _) => match parents.get(at) {
            None | Some(&NO_ROW) => {}
            Some(parent) => out.extend_from_slice(store.id(field.targets[0], *parent).as_bytes()),
        },
        (Column::Whole(values), storage) => match values.get(at) {
            None | Some(&NO_VALUE) => {}
            Some(value) => match storage {
                Storage::Date => format::date(out, *value as i32),
                Storage::Datetime => format::datetime(out, *value, b"Z"),
                Storage::Time => format::time(out, *value),
                _ => format::integer(out, *value),
            },
        },
        (Column::Double(values), _) => match values.get(at) {
            Some(value) if !value.is_nan() => format::double(out, *value),
            _ => {}
        },
        (Column::Boolean(values), _) => {
            out.extend_from_slice(if values.get(at) == Some(&true) { b"true" } else { b"false" });
        }
        (Column::Empty, Storage::Boolean) => out.extend_from_slice(b"false"),
        (Column::Empty, Storage::Name { first, last }) => {
            let part = |field: usize| match store.table(object).column(row, field) {
                Column::Text(column) => column.bytes(at),
                _ => None,
            };
            let (first, last) = (first.and_then(part), part(*last));
            csv_part(out, first);
            if first.is_some() && last.is_some() {
                out.push(b' ');
            }
            csv_part(out, last);
        }
        (Column::Empty, _) => {}
    }
}

/// One value that is worked out.
fn csv_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => {}
        Cell::Text(text) => csv_text(out, text.as_bytes()),
        Cell::Computed(text) => csv_text(out, text.as_bytes()),
        Cell::Name(first, last) => csv_text(out, super::soql::joined(first, last).as_bytes()),
        Cell::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Integer(value) => format::integer(out, value),
        Cell::Double(value) => format::double(out, value),
        Cell::Date(value) => format::date(out, value as i32),
        Cell::Datetime(value) => format::datetime(out, value, b"Z"),
        Cell::Time(value) => format::time(out, value),
        Cell::Id(id) => out.extend_from_slice(id.as_bytes()),
    }
}

fn csv_part(out: &mut Vec<u8>, part: Option<(&[u8], bool)>) {
    match part {
        Some((text, false)) => out.extend_from_slice(text),
        Some((text, true)) => csv_text(out, text),
        None => {}
    }
}

fn csv_text(out: &mut Vec<u8>, text: &[u8]) {
    for part in text.split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
}

/// The shape of a JSON record: fields and parents in the order in which the query names them.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) object: ObjectIndex,
    pub(crate) members: Vec<(String, Member)>,
    /// Dates and times as milliseconds since 1970, as JSON of the first Bulk API has them.
    in_millis: bool,
}

/// One member of a record.
#[derive(Debug)]
pub(crate) enum Member {
    Field(FieldIndex),
    Parent(FieldIndex, Shape),
    /// The records of a subquery by the row of their parent.
    Children(Shape, HashMap<u32, Vec<u32>>),
}

impl Shape {
    /// The shape of a query's records.
    pub(crate) fn of(bound: &Bound) -> Self {
        let mut shape = Self { object: bound.object, members: Vec::new(), in_millis: false };
        for output in &bound.outputs {
            let mut names: Vec<&str> = output.name.split('.').collect();
            let last = names.pop().unwrap_or_default();
            let mut node = &mut shape;
            for (name, (field, target)) in names.iter().zip(&output.path.steps) {
                let known = node.members.iter().position(|(known, _)| known == name);
                let at = known.unwrap_or_else(|| {
                    let parent = Self { object: *target, members: Vec::new(), in_millis: false };
                    node.members.push(((*name).to_owned(), Member::Parent(*field, parent)));
                    node.members.len() - 1
                });
                let Member::Parent(_, parent) = &mut node.members[at].1 else { return shape };
                node = parent;
            }
            node.members.push((last.to_owned(), Member::Field(output.path.field)));
        }
        shape
    }

    /// The shape of a query's records with the children that its subqueries find.
    pub(crate) fn with_children(bound: &Bound, store: &Store, with_deleted: bool) -> Self {
        let mut shape = Self::of(bound);
        for (before, children) in bound.children.iter().enumerate() {
            let inner = Self::with_children(&children.bound, store, with_deleted);
            let found = children.bound.by_parent(store, (bound.object, children.field), with_deleted);
            // Fields of one parent share a member, so there may be fewer members than fields.
            let at = (children.after + before).min(shape.members.len());
            shape.members.insert(at, (children.name.clone(), Member::Children(inner, found)));
        }
        shape
    }

    /// These fields of an object.
    pub(crate) fn of_object(store: &Store, object: ObjectIndex, fields: &[FieldIndex]) -> Self {
        let definition = &store.schema.objects[object];
        let name = |field: &FieldIndex| definition.fields[*field].name.clone();
        let members = fields.iter().map(|field| (name(field), Member::Field(*field))).collect();
        Self { object, members, in_millis: false }
    }

    /// The same with dates and datetimes as milliseconds.
    pub(crate) fn with_times_in_millis(mut self) -> Self {
        self.in_millis = true;
        let members = self.members.into_iter().map(|(name, member)| match member {
            Member::Field(field) => (name, Member::Field(field)),
            Member::Parent(field, parent) => (name, Member::Parent(field, parent.with_times_in_millis())),
            Member::Children(shape, found) => (name, Member::Children(shape.with_times_in_millis(), found)),
        });
        self.members = members.collect();
        self
    }

    /// Writes one record; `base` is `/services/data/vNN.0`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, store: &Store, row: u32, base: &str) {
        self.write_record(out, store, (self.object, row), base);
    }

    /// Writes a record that may be of another object than the shape's, if that is `Name`.
    fn write_record(&self, out: &mut Vec<u8>, store: &Store, (object, row): (ObjectIndex, u32), base: &str) {
        let kind = &store.schema.objects[self.object].name;
        let name = &store.schema.objects[object].name;
        let id = store.id(object, row);
        out.extend_from_slice(
            format!("{{\"attributes\":{{\"type\":\"{kind}\",\"url\":\"{base}/sobjects/{name}/{id}\"}}").as_bytes(),
        );
        for (name, member) in &self.members {
            out.push(b',');
            format::json_text(out, name);
            out.push(b':');
            match member {
                Member::Field(field) => {
                    let cell = store.cell_of((object, row), self.object, *field);
                    match Some(&cell).filter(|_| self.in_millis).and_then(millis) {
                        Some(value) => format::integer(out, value),
                        None if object == self.object => json_field(out, store, object, row, *field),
                        None => json_cell(out, cell),
                    }
                }
                Member::Parent(field, parent) => match store.parent(object, row, *field) {
                    Some(found) if found.0 == parent.object || store.schema.is_name(parent.object) => {
                        parent.write_record(out, store, found, base);
                    }
                    _ => out.extend_from_slice(b"null"),
                },
                Member::Children(shape, found) => match found.get(&row) {
                    Some(rows) => {
                        out.extend_from_slice(
                            format!("{{\"totalSize\":{},\"done\":true,\"records\":[", rows.len()).as_bytes(),
                        );
                        for (at, row) in rows.iter().enumerate() {
                            if at > 0 {
                                out.push(b',');
                            }
                            shape.write(out, store, *row, base);
                        }
                        out.extend_from_slice(b"]}");
                    }
                    None => out.extend_from_slice(b"null"),
                },
            }
        }
        out.push(b'}');
    }
}

/// A date or a datetime in milliseconds since 1970.
fn millis(cell: &Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Date(days) => Some(days * 86_400_000),
        Cell::Datetime(seconds) => Some(seconds * 1000),
        _ => None,
    }
}

fn json_field(out: &mut Vec<u8>, store: &Store, object: ObjectIndex, row: u32, field: FieldIndex) {
    if let Storage::Address(parts) = &store.schema.objects[object].fields[field].storage {
        let cells: Vec<_> = parts.iter().map(|(key, part)| (*key, store.cell(object, row, *part))).collect();
        if cells.iter().all(|(_, cell)| *cell == Cell::Null) {
            return out.extend_from_slice(b"null");
        }
        for (at, (key, cell)) in cells.iter().enumerate() {
            out.push(if at == 0 { b'{' } else { b',' });
            format::json_text(out, key);
            out.push(b':');
            json_cell(out, cell.clone());
        }
        return out.push(b'}');
    }
    json_cell(out, store.cell(object, row, field));
}

fn json_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Text(text) => format::json_text(out, text),
        Cell::Computed(text) => format::json_text(out, &text),
        Cell::Name(first, last) => format::json_text(out, &super::soql::joined(first, last)),
        Cell::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Integer(value) => format::integer(out, value),
        Cell::Double(value) => format::double(out, value),
        Cell::Date(value) => quoted(out, |out| format::date(out, value as i32)),
        Cell::Datetime(value) => quoted(out, |out| format::datetime(out, value, b"+0000")),
        Cell::Time(value) => quoted(out, |out| format::time(out, value)),
        Cell::Id(id) => quoted(out, |out| out.extend_from_slice(id.as_bytes())),
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::super::access::Access;
    use super::super::schema::Schema;
    use super::super::soql;
    use super::super::store::Value;
    use super::*;

    const COMMA: Dialect = Dialect { delimiter: b',', line_end: b"\n" };

    fn org() -> Store {
        let mut store = Store::new(Arc::new(Schema::built_in().unwrap()));
        for (object, values) in [
            ("User", vec![("LastName", Value::Text("Own \"er\"")), ("FirstName", Value::Text("A,"))]),
            (
                "Account",
                vec![
                    ("Name", Value::Text("Zoë's \"Bar\",\r\n2 🍺")),
                    ("OwnerId", Value::Row(0)),
                    ("AnnualRevenue", Value::Double(3.5e8)),
                    ("NumberOfEmployees", Value::Whole(-7)),
                    ("LastActivityDate", Value::Whole(0)),
                    ("CreatedDate", Value::Whole(86_399)),
                    ("BillingCity", Value::Text("Köln")),
                    ("BillingPostalCode", Value::Text("01067")),
                ],
            ),
            ("Account", vec![("Name", Value::Text("NULL"))]),
            ("Contact", vec![("AccountId", Value::Row(0))]),
        ] {
            let object = store.schema.find(object).unwrap();
            let row = store.table_mut(object).append();
            for (field, value) in values {
                let field = store.schema.objects[object].find(field).unwrap();
                store.set(object, row, field, value);
            }
        }
        store
    }

    fn bound(store: &Store, text: &str) -> Bound {
        Bound::new(&soql::parse(text).unwrap(), store, &Access::default(), DateTime::UNIX_EPOCH).unwrap()
    }

    fn csv(store: &Store, text: &str, dialect: Dialect) -> String {
        let bound = bound(store, text);
        let mut out = Vec::new();
        csv_header(&mut out, &bound, dialect);
        csv_rows(&mut out, store, &bound, &bound.rows(store, false), dialect);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_quotes_everything_and_doubles_quotes() {
        let store = org();
        let query = "SELECT Name, AnnualRevenue, NumberOfEmployees, LastActivityDate, CreatedDate, IsDeleted, Fax, Owner.Name FROM Account";
        assert_eq!(
            csv(&store, query, COMMA),
            "\"Name\",\"AnnualRevenue\",\"NumberOfEmployees\",\"LastActivityDate\",\"CreatedDate\",\"IsDeleted\",\"Fax\",\"Owner.Name\"\n\
             \"Zoë's \"\"Bar\"\",\r\n2 🍺\",\"3.5E8\",\"-7\",\"1970-01-01\",\"1970-01-01T23:59:59.000Z\",\"false\",\"\",\"A, Own \"\"er\"\"\"\n\
             \"NULL\",\"\",\"\",\"\",\"\",\"false\",\"\",\"\"\n"
        );
        let other = Dialect { delimiter: b'\t', line_end: b"\r\n" };
        let query = "SELECT Id, OwnerId FROM Account LIMIT 1";
        let ids = (store.id(2, 0), store.id(1, 0));
        assert_eq!(csv(&store, query, other), format!("\"Id\"\t\"OwnerId\"\r\n\"{}\"\t\"{}\"\r\n", ids.0, ids.1));
    }

    /// The one value of a page of one row and one column.
    fn only(page: &str) -> String {
        let mut reader = ::csv::Reader::from_reader(page.as_bytes());
        reader.records().next().unwrap().unwrap()[0].to_owned()
    }

    #[test]
    fn every_column_is_the_same_alone_through_a_parent_and_in_json() {
        let store = org();
        let account = &store.schema.objects[2];
        for field in account.fields.iter().filter(|field| !field.is_compound()) {
            let name = &field.name;
            let alone = csv(&store, &format!("SELECT {name} FROM Account LIMIT 1"), COMMA);
            let parent = csv(&store, &format!("SELECT Account.{name} FROM Contact"), COMMA);
            assert_eq!(only(&alone), only(&parent), "{name}");
            let bound = bound(&store, &format!("SELECT {name} FROM Account LIMIT 1"));
            let mut out = Vec::new();
            Shape::of(&bound).write(&mut out, &store, 0, "");
            let shown = match &serde_json::from_slice::<serde_json::Value>(&out).unwrap()[name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.replace(".000+0000", ".000Z"),
                serde_json::Value::Number(number) if number.is_f64() => "3.5E8".to_owned(),
                other => other.to_string(),
            };
            assert_eq!(only(&alone), shown, "{name}");
        }
    }

    #[test]
    fn json_nests_parents_and_takes_addresses_apart() {
        let store = org();
        let bound = bound(
            &store,
            "SELECT Name, Owner.Name, BillingAddress, ShippingAddress, Owner.LastName, CreatedDate, AnnualRevenue FROM Account",
        );
        let shape = Shape::of(&bound);
        let mut out = Vec::new();
        shape.write(&mut out, &store, 0, "/services/data/v62.0");
        let record: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(record["Name"], "Zoë's \"Bar\",\r\n2 🍺");
        assert_eq!(record["Owner"]["Name"], "A, Own \"er\"");
        assert_eq!(record["Owner"]["LastName"], "Own \"er\"");
        assert_eq!(record["BillingAddress"]["postalCode"], "01067");
        assert_eq!(record["BillingAddress"]["street"], serde_json::Value::Null);
        assert_eq!(record["ShippingAddress"], serde_json::Value::Null);
        assert_eq!(record["CreatedDate"], "1970-01-01T23:59:59.000+0000");
        assert_eq!(record["AnnualRevenue"], 350_000_000.0);
        let mut out = Vec::new();
        shape.write(&mut out, &store, 1, "");
        assert!(String::from_utf8(out).unwrap().contains("\"Owner\":null"));
    }
}
