//! Rows as the bodies of calls, written straight from the columns.

use bytes::Bytes;

use super::decided::Act;
use super::decided::Layout;
use super::decided::Row;

/// `{"records":[…]}` for objects and users.
pub(super) fn records(rows: &[Row]) -> Bytes {
    list(rows, record)
}

/// `{"records":[…]}` with one person per group of rows.
pub(super) fn people(persons: &[Vec<Row>], keys: &PersonKeys) -> Bytes {
    list(persons, |rows, out| person(rows, keys, out))
}

fn list<T>(items: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(64 + 512 * items.len());
    out.extend_from_slice(b"{\"records\":[");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, &mut out);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

/// Writes the members of an object with commas between them.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Members<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &[u8]) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.extend_from_slice(key);
        self.out
    }

    fn field(&mut self, row: &Row, field: usize) {
        let meta = &row.layout().fields[field];
        let out = self.key(&meta.json_key);
        row.cells(field).write_json(row.at(), meta.is_list(), out);
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// One object or user: an insert leaves nulls out, an update sends its changed fields and the id.
fn record(row: &Row, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    match row.act() {
        Act::Insert => {
            for field in 0..row.layout().fields.len() {
                if !row.cells(field).is_empty(row.at()) {
                    members.field(row, field);
                }
            }
        }
        Act::Update => {
            super::cells::write_json_text(row.gsid().unwrap_or_default(), members.key(b"\"Gsid\":"));
            let sent = row.counting();
            for field in 0..row.layout().fields.len() {
                if sent.has(field) {
                    members.field(row, field);
                }
            }
        }
    }
    members.close();
}

/// The fields by which the tenant knows a person again, always sent: its resolution key and the e-mail address, which
/// the call demands (gainsight-api §3).
#[derive(Debug, Clone)]
pub(super) struct PersonKeys(Vec<bool>);

impl PersonKeys {
    pub(super) fn new(layout: &Layout, resolution_key: &[String]) -> Self {
        let is_key = |name: &str| name == "Email" || resolution_key.iter().any(|key| key.eq_ignore_ascii_case(name));
        Self(layout.fields.iter().map(|field| field.object == "person" && is_key(&field.name)).collect())
    }

    pub(super) fn has(&self, field: usize) -> bool {
        self.0.get(field).copied().unwrap_or(false)
    }
}

/// One person with a company for each row.
pub(super) fn person(rows: &[Row], keys: &PersonKeys, out: &mut Vec<u8>) {
    let Some(any) = rows.first() else { return };
    let winner = rows.iter().find(|row| row.wins());
    // A new person whose winning row was rejected gets the fields of a row that was not.
    let speaker = winner.unwrap_or(any);
    let speaks = winner.is_some() || !speaker.has_person();
    let mut members = Members::open(out);
    for (field, meta) in any.layout().fields.iter().enumerate() {
        if meta.object != "person" {
            continue;
        }
        let empty = speaker.cells(field).is_empty(speaker.at());
        let sent = match speaker.act() {
            _ if keys.has(field) => !empty,
            _ if !speaks => false,
            Act::Update => speaker.counting().has(field),
            // A new company person of a person that exists: an overwriting null clears the person's field.
            Act::Insert if speaker.has_person() => !empty || !meta.keep,
            Act::Insert => !empty,
        };
        if sent {
            members.field(speaker, field);
        }
    }
    let companies: Vec<&Row> = rows.iter().filter(|row| has_company(row)).collect();
    if !companies.is_empty() {
        let out = members.key(b"\"companies\":");
        out.push(b'[');
        for (at, row) in companies.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            company(row, out);
        }
        out.push(b']');
    }
    members.close();
}

/// Whether the row says something about the company person; an update may be about the person alone.
fn has_company(row: &Row) -> bool {
    let sent = row.counting();
    row.act() == Act::Insert
        || row.layout().fields.iter().enumerate().any(|(at, field)| field.object == "company_person" && sent.has(at))
}

fn company(row: &Row, out: &mut Vec<u8>) {
    let sent = row.counting();
    let mut members = Members::open(out);
    for (field, meta) in row.layout().fields.iter().enumerate() {
        if meta.object != "company_person" {
            continue;
        }
        let empty = row.cells(field).is_empty(row.at());
        let write = match row.act() {
            _ if meta.name == "Company_ID" => !empty,
            Act::Insert => !empty,
            Act::Update => sent.has(field),
        };
        if write {
            members.field(row, field);
        }
    }
    members.close();
}

/// The header line of a bulk import.
pub(super) fn csv_header(layout: &Layout, out: &mut Vec<u8>) {
    for (at, field) in layout.fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        super::cells::write_csv_text(&field.name, out);
    }
    out.push(b'\n');
}

/// One line of a bulk import: all fields, empty for null.
pub(super) fn csv_row(row: &Row, out: &mut Vec<u8>) {
    for field in 0..row.layout().fields.len() {
        if field > 0 {
            out.push(b',');
        }
        row.cells(field).write_csv(row.at(), out);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::BooleanArray;
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::array::StringArray;
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::config::job::TargetObject;
    use crate::connect::gainsight::DataType;
    use crate::connect::gainsight::FieldMetadata;
    use crate::connect::gainsight::ObjectMetadata;
    use crate::load::decided::Decided;
    use crate::load::samples;

    fn value(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn inserts_leave_nulls_out_and_updates_send_what_changed() {
        let (batch, job, metadata) = samples::companies(&[
            ("insert", "A \"b\"", Some("0015g00000AbCdEAAV"), None, None),
            ("update", "C", None, None, Some("company.Name,company.Stage")),
        ]);
        let layout = Arc::new(Layout::new(&batch.schema(), &job, &metadata).unwrap());
        let decided = Arc::new(Decided::new(&batch, &layout).unwrap());
        let rows = [Row::new(&decided, 0), Row::new(&decided, 1)];
        assert_eq!(
            value(&records(&rows)),
            json!({"records": [
                {"Name": "A \"b\"", "SfdcAccountId": "0015g00000AbCdEAAV"},
                {"Gsid": "000000000000000000000000000000000001", "Name": "C", "Stage": null},
            ]})
        );
        let mut csv = Vec::new();
        csv_header(&layout, &mut csv);
        csv_row(&rows[0], &mut csv);
        assert_eq!(String::from_utf8(csv).unwrap(), "Name,SfdcAccountId,Stage\n\"A \"\"b\"\"\",0015g00000AbCdEAAV,\n");
    }

    #[test]
    fn a_person_takes_its_fields_from_the_winner_and_a_company_from_each_row() {
        let text = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        let batch = RecordBatch::try_from_iter([
            ("source_id", text(&[Some("a"), Some("b"), Some("c")])),
            ("verdict", text(&[Some("insert"), Some("insert"), Some("update")])),
            ("gsid", text(&[None, None, Some("1C01")])),
            ("changed", text(&[None, None, Some("person.FirstName")])),
            ("person_gsid", text(&[None, None, Some("1P04")])),
            ("person_winner", Arc::new(BooleanArray::from(vec![false, true, true]))),
            ("set.person.Email", text(&[Some("j@x.org"), Some("J@x.org"), Some("k@x.org")])),
            ("set.person.FirstName", text(&[Some("Old"), Some("Jane"), None])),
            ("set.company_person.Company_ID", text(&[Some("1P02A"), Some("1P02B"), Some("1P02A")])),
            ("set.company_person.Title", text(&[None, Some("VP"), Some("x")])),
        ])
        .unwrap();
        let object = |name: &str, fields: &[&str]| {
            let fields = fields.iter().map(|field| FieldMetadata::new(*field, DataType::String)).collect();
            (name.to_owned(), Arc::new(ObjectMetadata::new(name, name, fields)))
        };
        let metadata =
            [object("person", &["Email", "FirstName"]), object("company_person", &["Company_ID", "Title"])].into();
        let job = samples::job(TargetObject::People, &[("person", "Email", true)]);
        let layout = Arc::new(Layout::new(&batch.schema(), &job, &metadata).unwrap());
        let decided = Arc::new(Decided::new(&batch, &layout).unwrap());
        let keys = PersonKeys::new(&layout, &["Email".to_owned()]);
        let mut out = Vec::new();
        person(&[Row::new(&decided, 0), Row::new(&decided, 1)], &keys, &mut out);
        assert_eq!(
            value(&out),
            json!({"Email": "J@x.org", "FirstName": "Jane", "companies": [{"Company_ID": "1P02A"}, {"Company_ID": "1P02B", "Title": "VP"}]})
        );
        let mut out = Vec::new();
        person(&[Row::new(&decided, 2)], &keys, &mut out);
        assert_eq!(value(&out), json!({"Email": "k@x.org", "FirstName": null}));
    }
}
