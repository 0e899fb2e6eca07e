//! Records of a batch, in CSV, JSON or XML.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Map;
use serde_json::Value;

use super::jobs::Content;
use super::xml;
use super::xml::Element;
use crate::sandbox::salesforce::bulk::columns;
use crate::sandbox::salesforce::bulk::csv::LineEnd;
use crate::sandbox::salesforce::bulk::csv::Reader;
use crate::sandbox::salesforce::bulk::csv::Record;
use crate::sandbox::salesforce::bulk::load;
use crate::sandbox::salesforce::bulk::load::Action;
use crate::sandbox::salesforce::bulk::load::Progress;
use crate::sandbox::salesforce::bulk::load::Row;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::schema::ObjectDef;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Schema;
use crate::sandbox::salesforce::write;
use crate::sandbox::salesforce::write::Caller;
use crate::sandbox::salesforce::write::Given;

/// The most records of a batch.
const MOST: usize = 10_000;

/// The work of a batch of records.
pub(super) struct Work {
    pub(super) caller: Caller,
    pub(super) object: ObjectIndex,
    pub(super) action: Action,
    pub(super) content: Content,
    pub(super) data: Bytes,
}

impl Work {
    /// Reads all records, then writes them.
    ///
    /// # Errors
    /// The batch's `stateMessage`.
    pub(super) fn run(&self, org: &Org, progress: &Progress) -> Result<(), String> {
        let text = std::str::from_utf8(&self.data)
            .map_err(|_| "ClientInputError : The data is not encoded in UTF-8".to_owned())?;
        let schema = Arc::clone(&org.schema);
        match self.content {
            Content::Csv => self.csv(org, progress, &schema, text),
            Content::Json => {
                let records: Vec<Map<String, Value>> = serde_json::from_str(text)
                    .map_err(|cause| format!("InvalidBatch : Failed to parse JSON. {cause}"))?;
                let rows = records.iter().map(|record| self.json(&schema, record)).collect::<Result<Vec<_>, _>>()?;
                self.write(org, progress, &schema, rows)
            }
            Content::Xml => {
                let root = xml::read(text).map_err(|cause| format!("InvalidBatch : Failed to parse XML. {cause}"))?;
                if root.name != "sObjects" {
                    return Err(format!("InvalidBatch : Failed to parse XML. Unexpected element {}", root.name));
                }
                let rows =
                    root.children.iter().map(|record| self.xml(&schema, record)).collect::<Result<Vec<_>, _>>()?;
                self.write(org, progress, &schema, rows)
            }
        }
    }

    fn csv(&self, org: &Org, progress: &Progress, schema: &Schema, text: &str) -> Result<(), String> {
        let mut reader = Reader::new(text, b',', LineEnd::Any);
        let mut header = Record::default();
        let mut records = Vec::new();
        if reader.header(&mut header)? {
            loop {
                let mut record = Record::default();
                if !reader.next(&mut record)? {
                    break;
                }
                records.push(record);
            }
        }
        let names = (0..header.len()).map(|at| header.get(at));
        let targets = columns::targets(schema, &self.caller, self.object, self.action, names)?;
        let rows = records.iter().map(|record| {
            targets.iter().enumerate().map(|(at, target)| (*target, Given::Text(record.get(at)))).collect()
        });
        self.write(org, progress, schema, rows.collect())
    }

    fn json<'a>(&self, schema: &Schema, record: &'a Map<String, Value>) -> Result<Row<'a>, String> {
        let definition = &schema.objects[self.object];
        if let Some(name) = record.iter().find_map(|(name, value)| unknown(definition, name, value)) {
            return Err(format!("InvalidBatch : Field name not found : {name}"));
        }
        write::from_json(schema, &self.caller.access, self.object, record)
            .map_err(|refusal| format!("InvalidBatch : {}", refusal.message))
    }

    fn xml<'a>(&self, schema: &Schema, record: &'a Element) -> Result<Row<'a>, String> {
        let mut row = Row::new();
        for member in &record.children {
            let given = |element: &'a Element| {
                if element.nil { Given::Json(&Value::Null) } else { Given::Text(element.text.as_str()) }
            };
            let one = |name: &str| columns::one(schema, &self.caller, self.object, name);
            // A parent stands in an element of its own: `<Owner><sObject><Ext__c>x</Ext__c></sObject></Owner>`.
            let Some(parent) = member.children.iter().find(|child| child.name == "sObject") else {
                if member.name != "type" {
                    row.push((one(&member.name)?, given(member)));
                }
                continue;
            };
            let kind = parent.child("type").map(|kind| format!("{kind}:")).unwrap_or_default();
            for key in parent.children.iter().filter(|key| key.name != "type") {
                row.push((one(&format!("{kind}{}.{}", member.name, key.name))?, given(key)));
            }
        }
        Ok(row)
    }

    fn write(&self, org: &Org, progress: &Progress, schema: &Schema, rows: Vec<Row<'_>>) -> Result<(), String> {
        if rows.is_empty() {
            return Err("InvalidBatch : Records not found".to_owned());
        }
        if rows.len() > MOST {
            // The service counts the header line.
            let (count, most) = (rows.len() + 1, MOST + 1);
            return Err(format!(
                "InvalidBatch : Exceeded number of records : {count}. Number of records should be less than or equal to \
                 {most}"
            ));
        }
        for row in &rows {
            let targets: Vec<_> = row.iter().map(|(target, _)| *target).collect();
            columns::complete(schema, self.object, self.action, &targets)?;
        }
        let mut rows = rows.into_iter().enumerate().map(|(at, row)| (u32::try_from(at).unwrap_or(u32::MAX), row));
        while !progress.is_stopped() {
            let outcomes = load::write(org, &self.caller, self.object, self.action, rows.by_ref().take(load::CHUNK));
            if outcomes.is_empty() {
                break;
            }
            progress.add(outcomes);
        }
        Ok(())
    }
}

/// A member that names neither a field nor a parent.
fn unknown<'a>(definition: &ObjectDef, name: &'a str, value: &Value) -> Option<&'a str> {
    let known = name == "attributes"
        || definition.find(name).is_some()
        || (value.is_object() && definition.relationship(name).is_some());
    (!known).then_some(name)
}
