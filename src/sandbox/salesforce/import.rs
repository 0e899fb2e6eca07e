//! Records from files at the start: CSV of one object, sObject trees, and plans of trees.
//!
//! | File | What it is |
//! |---|---|
//! | `Account.csv` | the file's name is the object; headers are fields or parents (`Owner.Username`) |
//! | `….json` with `records` | a tree, as `sf data export tree` writes it |
//! | `….json` with a list of `sobject` and `files` | a plan: its trees in order, with references such as `@AccountRef1` |
//!
//! # Promises
//! * Files are read in the order in which they are given; all refused records of all files are told together, and then
//!   nothing starts.
//! * What another org exported can be read: its ids become new ones, and references to records of the same import follow.
//!   Fields that the org works out are left out; creation and change times are kept; IsDeleted puts into the recycle bin.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value as Json;

use super::error::ApiError;
use super::format;
use super::ids::Id;
use super::schema::FieldIndex;
use super::schema::Kind;
use super::schema::ObjectIndex;
use super::schema::Schema;
use super::store::Cell;
use super::store::Store;
use super::store::Value;
use super::tree;
use super::write;
use super::write::Caller;
use super::write::Given;
use super::write::Target;
use super::write::Writer;
use crate::error::Error;
use crate::error::Result;

/// Times that an imported record keeps.
const KEPT: [&str; 3] = ["CreatedDate", "LastModifiedDate", "SystemModstamp"];
/// Refusals that are shown; the rest is counted.
const SHOWN: usize = 20;

/// Reads files into the org.
///
/// # Errors
/// Config, if a file cannot be read or a record is refused.
pub(super) fn load(store: &mut Store, files: &[PathBuf], caller: &Caller) -> Result<()> {
    let mut import = Import { store, caller, known: HashMap::new(), refused: Vec::new() };
    for file in files {
        import.file(file)?;
    }
    if import.refused.is_empty() {
        return Ok(());
    }
    let count = import.refused.len();
    let mut text = format!("{count} records of the imported files are refused:");
    for line in import.refused.iter().take(SHOWN) {
        text.push_str("\n  ");
        text.push_str(line);
    }
    if count > SHOWN {
        text.push_str(&format!("\n  and {} more", count - SHOWN));
    }
    Err(Error::config(text).hint("correct the files; parents come before their children"))
}

struct Import<'a> {
    store: &'a mut Store,
    caller: &'a Caller,
    /// References and ids of the files → ids of this org.
    known: HashMap<String, Id>,
    refused: Vec<String>,
}

impl Import<'_> {
    fn file(&mut self, file: &Path) -> Result<()> {
        let unreadable = |cause: std::io::Error| {
            Error::config("a file to import cannot be read").context("file", file.display().to_string()).source(cause)
        };
        let bytes = std::fs::read(file).map_err(unreadable)?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => self.csv(file, &bytes),
            Some("json") => self.json(file, &bytes),
            _ => Err(Error::config("a file to import is neither .csv nor .json")
                .context("file", file.display().to_string())
                .hint("name CSV files after their object, such as Account.csv; trees and plans end in .json")),
        }
    }

    fn object(&self, name: &str, file: &Path) -> Result<ObjectIndex> {
        self.store.schema.find(name).ok_or_else(|| {
            let all: Vec<_> = self.store.schema.objects.iter().filter(|object| !object.hidden).collect();
            let names: Vec<_> = all.iter().map(|object| object.name.as_str()).collect();
            Error::config(format!("the org has no object `{name}` to import into"))
                .context("file", file.display().to_string())
                .hint(format!("it has {}; --schema adds others", names.join(", ")))
        })
    }

    fn json(&mut self, file: &Path, bytes: &[u8]) -> Result<()> {
        let wrong = |text: &str| Error::config(text.to_owned()).context("file", file.display().to_string());
        let whole: Json =
            serde_json::from_slice(bytes).map_err(|cause| wrong("a file to import is not JSON").source(cause))?;
        if let Json::Array(steps) = &whole {
            for step in steps {
                let files = step
                    .get("files")
                    .and_then(Json::as_array)
                    .ok_or_else(|| wrong("a plan to import is a list of steps with `sobject` and `files`"))?;
                for name in files.iter().filter_map(Json::as_str) {
                    self.file(&file.with_file_name(name))?;
                }
            }
            return Ok(());
        }
        let records = whole.get("records").and_then(Json::as_array);
        let (Some(records), Json::Object(body)) = (records, &whole) else {
            return Err(wrong("a JSON file to import has neither `records` nor the steps of a plan"));
        };
        let kind = records.first().and_then(|record| record.get("attributes")?.get("type")?.as_str());
        let Some(kind) = kind else { return Ok(()) };
        let object = self.object(kind, file)?;
        let body = without_worked_out(&self.store.schema, body);
        let outcomes = tree::insert(&mut Writer::new(self.store, self.caller), object, &body, None, &self.known);
        for (reference, outcome) in outcomes {
            match outcome {
                Ok(id) => {
                    self.known.insert(reference, id);
                }
                Err(refusal) => self.refuse(file, &format!("record {reference}"), &refusal),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, file: &Path, place: &str, refusal: &ApiError) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.refused.push(format!("{name}, {place}: {}: {}", refusal.code, refusal.message));
    }

    fn csv(&mut self, file: &Path, bytes: &[u8]) -> Result<()> {
        let wrong = |cause: csv::Error| {
            Error::config("a file to import is not CSV").context("file", file.display().to_string()).source(cause)
        };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let object = self.object(&stem, file)?;
        let schema = Arc::clone(&self.store.schema);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut reader = csv::Reader::from_reader(bytes);
        let headers = reader.headers().map_err(wrong)?.clone();
        let mut targets = Vec::new();
        for header in &headers {
            let target = write::target(&schema, &self.caller.access, object, header);
            match target {
                Ok(target) => targets.push(target),
                Err(refusal) => self.refuse(file, "header", &refusal),
            }
        }
        if targets.len() < headers.len() {
            return Ok(());
        }
        let mut later = Vec::new();
        for (at, record) in reader.records().enumerate() {
            let record = record.map_err(wrong)?;
            let place = format!("row {}", at + 2);
            match self.row(object, &targets, &record) {
                Ok((id, open)) => later.extend(open.into_iter().map(|(field, old)| (place.clone(), id, field, old))),
                Err(refusal) => self.refuse(file, &place, &refusal),
            }
        }
        // References to records that stood further down in the same file.
        for (place, id, target, old) in later {
            let new = self.known.get(&old).map_or(old, |id| id.to_string());
            let values = [(target, Given::Text(&new))];
            let times = self.times(object, id);
            let outcome = Writer::new(self.store, self.caller).update(object, id.as_str(), &values);
            if let Err(refusal) = outcome {
                self.refuse(file, &place, &refusal);
            }
            if let Some(row) = self.store.row(object, &id) {
                times.into_iter().for_each(|(field, second)| self.store.set(object, row, field, Value::Whole(second)));
            }
        }
        Ok(())
    }

    /// The times that a record keeps.
    fn times(&self, object: ObjectIndex, id: Id) -> Vec<(FieldIndex, i64)> {
        let Some(row) = self.store.row(object, &id) else { return Vec::new() };
        let fields = KEPT.iter().filter_map(|name| self.store.schema.objects[object].find(name));
        let second = |field| match self.store.cell(object, row, field) {
            Cell::Datetime(second) => Some((field, second)),
            _ => None,
        };
        fields.filter_map(second).collect()
    }

    /// Writes a row; returns its id and the references that could not be followed yet.
    fn row(
        &mut self,
        object: ObjectIndex,
        targets: &[Target],
        record: &csv::StringRecord,
    ) -> Result<(Id, Vec<(Target, String)>), ApiError> {
        let schema = Arc::clone(&self.store.schema);
        let definition = &schema.objects[object];
        let mut old = None;
        let mut open = Vec::new();
        let mut kept = Vec::new();
        let mut deleted = false;
        let mut values: Vec<(Target, String)> = Vec::new();
        for (target, cell) in targets.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty()) {
            let Target::Field(at) = target else {
                match target {
                    Target::Id => old = Id::parse(cell).map(|id| id.to_string()).or(Some(cell.to_owned())),
                    _ => values.push((*target, cell.to_owned())),
                }
                continue;
            };
            let field = &definition.fields[*at];
            if KEPT.contains(&field.name.as_str()) {
                kept.push((*at, format::parse_datetime(cell).map(|micros| micros.div_euclid(1_000_000))));
            } else if field.name == "IsDeleted" {
                deleted = cell.eq_ignore_ascii_case("true");
            } else if field.writable() && field.kind == Kind::Reference {
                let canonical = Id::parse(cell).map_or_else(|| cell.to_owned(), |id| id.to_string());
                match self.known.get(&canonical) {
                    Some(id) => values.push((*target, id.to_string())),
                    None if field.targets.contains(&object) => open.push((*target, canonical)),
                    None => values.push((*target, cell.to_owned())),
                }
            } else if field.writable() {
                values.push((*target, cell.to_owned()));
            }
        }
        let given: Vec<_> = values.iter().map(|(target, cell)| (*target, Given::Text(cell))).collect();
        let id = Writer::new(self.store, self.caller).insert(object, &given)?.id;
        if let Some(old) = old {
            self.known.insert(old, id);
        }
        let Some(row) = self.store.row(object, &id) else { return Ok((id, open)) };
        for (field, second) in kept {
            if let Some(second) = second {
                self.store.set(object, row, field, Value::Whole(second));
            }
        }
        if let (true, Some(field)) = (deleted, definition.find("IsDeleted")) {
            self.store.set(object, row, field, Value::Boolean(true));
        }
        Ok((id, open))
    }
}

/// A tree without the fields that the org works out itself, at every level.
fn without_worked_out(schema: &Schema, body: &Map<String, Json>) -> Map<String, Json> {
    let mut out = Map::new();
    for (name, value) in body {
        let value = match value {
            Json::Array(records) if name == "records" => {
                Json::Array(records.iter().map(|record| record_without(schema, record)).collect())
            }
            other => other.clone(),
        };
        out.insert(name.clone(), value);
    }
    out
}

fn record_without(schema: &Schema, record: &Json) -> Json {
    let Json::Object(members) = record else { return record.clone() };
    let kind = members.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Json::as_str);
    let definition = kind.and_then(|kind| schema.find(kind)).map(|object| &schema.objects[object]);
    let mut out = Map::new();
    for (name, value) in members {
        let field = definition.and_then(|definition| Some(&definition.fields[definition.find(name)?]));
        match value {
            Json::Object(inner) if inner.contains_key("records") => {
                out.insert(name.clone(), Json::Object(without_worked_out(schema, inner)));
            }
            _ if field.is_some_and(|field| !field.writable()) => {}
            _ => {
                out.insert(name.clone(), value.clone());
            }
        }
    }
    Json::Object(out)
}
