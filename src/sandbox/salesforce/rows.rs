//! Rows of a snapshot as CSV and JSON, written straight from the columns into a byte buffer.

use super::format;
use super::schema::FieldIndex;
use super::schema::ObjectIndex;
use super::schema::Storage;
use super::soql::Bound;
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

/// Where the values of one output column lie, for the rows of one segment.
enum Source<'a> {
    Column(&'a Storage, &'a Column),
    /// A reference column: the parent's object.
    Parent(&'a Column, ObjectIndex),
    Id,
    /// Worked out, or of a parent.
    Cell(&'a Output),
}

/// The lines of some rows: every value in quotes, null as an empty one.
pub(crate) fn csv_rows(out: &mut Vec<u8>, store: &Store, bound: &Bound, rows: &[u32], dialect: Dialect) {
    let object = bound.object;
    let fields = &store.schema.objects[object].fields;
    let mut segment = usize::MAX;
    let mut sources: Vec<Source<'_>> = Vec::new();
    for row in rows {
        let at = *row as usize % SEGMENT;
        if segment != *row as usize / SEGMENT {
            segment = *row as usize / SEGMENT;
            let columns = &store.table(object).segments()[segment];
            let source = |output| source(output, fields, columns);
            sources = bound.outputs.iter().map(source).collect();
        }
        for (place, source) in sources.iter().enumerate() {
            if place > 0 {
                out.push(dialect.delimiter);
            }
            out.push(b'"');
            match source {
                Source::Id => out.extend_from_slice(store.id(object, *row).as_bytes()),
                Source::Column(storage, column) => csv_value(out, storage, column, at),
                Source::Parent(Column::Row(parents), target) => match parents.get(at) {
                    None | Some(&NO_ROW) => {}
                    Some(parent) => out.extend_from_slice(store.id(*target, *parent).as_bytes()),
                },
                Source::Parent(..) => {}
                Source::Cell(output) => {
                    if let Some((object, row)) = follow(store, object, *row, &output.path) {
                        csv_cell(out, store.cell(object, row, output.path.field));
                    }
                }
            }
            out.push(b'"');
        }
        out.extend_from_slice(dialect.line_end);
    }
}

fn source<'a>(
    output: &'a Output,
    fields: &'a [super::schema::FieldDef],
    segment: &'a super::store::Segment,
) -> Source<'a> {
    if !output.path.steps.is_empty() {
        return Source::Cell(output);
    }
    let field = &fields[output.path.field];
    let column = segment.column(output.path.field);
    match &field.storage {
        Storage::Id => Source::Id,
        Storage::Row => Source::Parent(column, field.targets[0]),
        Storage::Name { .. } | Storage::Address(_) => Source::Cell(output),
        storage => Source::Column(storage, column),
    }
}

fn csv_value(out: &mut Vec<u8>, storage: &Storage, column: &Column, at: usize) {
    match (column, storage) {
        (Column::Text(column), _) => match column.get(at) {
            Some(text) if text.quoted => csv_text(out, text.value),
            Some(text) => out.extend_from_slice(text.value.as_bytes()),
            None => {}
        },
        (Column::Whole(values), _) => match values.get(at) {
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
        (Column::Row(_) | Column::Empty, _) => {}
    }
}

fn csv_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
}

fn csv_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => {}
        Cell::Text(text) => csv_text(out, text),
        Cell::Name(first, last) => {
            if let Some(first) = first {
                csv_text(out, first);
            }
            if first.is_some() && !last.is_empty() {
                out.push(b' ');
            }
            csv_text(out, last);
        }
        Cell::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Integer(value) => format::integer(out, value),
        Cell::Double(value) => format::double(out, value),
        Cell::Date(value) => format::date(out, value as i32),
        Cell::Datetime(value) => format::datetime(out, value, b"Z"),
        Cell::Time(value) => format::time(out, value),
        Cell::Id(id) => out.extend_from_slice(id.as_bytes()),
    }
}

/// The shape of a JSON record: fields and parents in the order in which the query names them.
#[derive(Debug)]
pub(crate) struct Shape {
    object: ObjectIndex,
    members: Vec<(String, Member)>,
}

#[derive(Debug)]
enum Member {
    Field(FieldIndex),
    Parent(FieldIndex, Shape),
}

impl Shape {
    /// The shape of a query's records.
    pub(crate) fn of(bound: &Bound) -> Self {
        let mut shape = Self { object: bound.object, members: Vec::new() };
        for output in &bound.outputs {
            let mut names: Vec<&str> = output.name.split('.').collect();
            let last = names.pop().unwrap_or_default();
            let mut node = &mut shape;
            for (name, (field, target)) in names.iter().zip(&output.path.steps) {
                let known = node.members.iter().position(|(known, _)| known == name);
                let at = known.unwrap_or_else(|| {
                    let parent = Self { object: *target, members: Vec::new() };
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

    /// All fields of an object, or those named.
    pub(crate) fn of_object(store: &Store, object: ObjectIndex, fields: Option<&[FieldIndex]>) -> Self {
        let definition = &store.schema.objects[object];
        let all: Vec<_> = (0..definition.fields.len()).collect();
        let members = fields
            .unwrap_or(&all)
            .iter()
            .map(|field| (definition.fields[*field].name.clone(), Member::Field(*field)))
            .collect();
        Self { object, members }
    }

    /// Writes one record; `base` is `/services/data/vNN.0`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, store: &Store, row: u32, base: &str) {
        let name = &store.schema.objects[self.object].name;
        let id = store.id(self.object, row);
        out.extend_from_slice(
            format!("{{\"attributes\":{{\"type\":\"{name}\",\"url\":\"{base}/sobjects/{name}/{id}\"}}").as_bytes(),
        );
        for (name, member) in &self.members {
            out.push(b',');
            format::json_text(out, name);
            out.push(b':');
            match member {
                Member::Field(field) => json_field(out, store, self.object, row, *field),
                Member::Parent(field, parent) => match store.parent(self.object, row, *field) {
                    Some((object, row)) if object == parent.object => parent.write(out, store, row, base),
                    _ => out.extend_from_slice(b"null"),
                },
            }
        }
        out.push(b'}');
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
            json_cell(out, *cell);
        }
        return out.push(b'}');
    }
    json_cell(out, store.cell(object, row, field));
}

fn json_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Text(text) => format::json_text(out, text),
        Cell::Name(first, last) => format::json_text(out, &super::soql::joined(first, last)),
        Cell::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Cell::Integer(value) => format::integer(out, value),
        Cell::Double(value) => format::double(out, value),
        Cell::Date(_) | Cell::Datetime(_) | Cell::Time(_) | Cell::Id(_) => {
            out.push(b'"');
            match cell {
                Cell::Datetime(value) => format::datetime(out, value, b"+0000"),
                other => csv_cell(out, other),
            }
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

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
        Bound::new(&soql::parse(text).unwrap(), store, DateTime::UNIX_EPOCH).unwrap()
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

    #[test]
    fn every_column_reads_the_same_alone_and_through_a_parent() {
        let store = org();
        let account = &store.schema.objects[2];
        for field in account.fields.iter().filter(|field| !field.is_compound()) {
            let alone = csv(&store, &format!("SELECT {} FROM Account", field.name), COMMA);
            let object = bound(&store, &format!("SELECT {} FROM Account", field.name));
            let mut cells = Vec::new();
            for row in 0..2 {
                cells.push(b'"');
                csv_cell(&mut cells, store.cell(2, row, object.outputs[0].path.field));
                cells.extend_from_slice(b"\"\n");
            }
            assert_eq!(alone, format!("\"{}\"\n{}", field.name, String::from_utf8(cells).unwrap()));
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
