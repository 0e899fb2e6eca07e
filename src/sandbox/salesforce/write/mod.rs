//! Writing records: the one seam behind REST, composite, Bulk 2.0 ingest, Bulk v1 and data that is imported at the start.
//!
//! ```text
//!  REST body {"Account":{"Ext__c":"x"}} ─┐
//!                                         ├─▶ Target + Given ─▶ Writer: insert · update · upsert · delete ─▶ Written
//!  CSV header Account.Ext__c, cell "x"  ─┘                                                                 or ApiError
//! ```
//!
//! A caller works out once where values go ([`target`] for a header, [`from_json`] for a body), then hands the values of
//! each record to a [`Writer`]:
//!
//! ```text
//! let caller = call.caller();
//! org.write(|store| {
//!     let targets = headers.map(|header| target(&store.schema, &caller.access, object, header))?;
//!     let mut writer = Writer::new(store, &caller);
//!     for record in records {                       // at most 200, then writer.next_chunk()
//!         let values = targets.zip(record).map(|(target, cell)| (target, Given::Text(cell)));
//!         match writer.upsert(object, key, &values) {
//!             Ok(Written { id, created }) => …,
//!             Err(refusal) => …,                    // refusal.code, .message, .fields
//!         }
//!     }
//! });
//! ```
//!
//! # Promises
//! * A record is checked as a whole before any of it is written: a refused one leaves nothing behind.
//! * What is written is checked as the service checks it: known and writable fields, types, lengths, required values,
//!   unique values, references, the caller's permissions.
//! * A change moves LastModifiedDate and SystemModstamp to the caller's time, in whole seconds. A delete puts the record into
//!   the recycle bin, with the children that go with it; a hard delete leaves nothing but its entry in the deletion log.
//! * External ids, unique values and children are found through indexes: a hundred thousand upserts scan no table.
//!
//! Knowingly different: a reference to a record in the recycle bin stays until the record is deleted for good (the service
//! empties it at once and fills it again on undelete). An account with cases or won opportunities can be deleted. There are
//! no triggers, validation rules, duplicate rules, sharing rules or row locks. Blanks around texts stay, as they do in files.
//! A custom record without a name has none (the service gives it its id). Of two equal external ids in one chunk only the
//! second is refused.

mod delete;
mod merge;
mod target;
mod values;

use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use target::Target;
pub(crate) use target::from_json;
pub(crate) use target::target;

use super::access::Access;
use super::error::ApiError;
use super::ids::Id;
use super::schema::FieldIndex;
use super::schema::Kind;
use super::schema::ObjectIndex;
use super::schema::Schema;
use super::store::Store;
use super::store::Value;
use values::Checked;

/// Who writes, and when.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Row of the user.
    pub(crate) user: u32,
    /// Seconds since 1970.
    pub(crate) now: i64,
    pub(crate) access: Arc<Access>,
}

/// One value as the caller gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    /// A member of a JSON body; null empties the field.
    Json(&'a serde_json::Value),
    /// A cell of a CSV file: empty leaves the field alone, `#N/A` empties it.
    Text(&'a str),
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) id: Id,
    pub(crate) created: bool,
}

/// Writes records of one org, one after the other.
pub(crate) struct Writer<'a> {
    pub(super) store: &'a mut Store,
    pub(super) caller: &'a Caller,
    /// External ids that were upserted in this chunk, in lower case.
    upserted: HashSet<String>,
}

/// The values of one record.
pub(crate) type Row<'a> = [(Target, Given<'a>)];

impl<'a> Writer<'a> {
    /// A writer for this caller.
    pub(crate) fn new(store: &'a mut Store, caller: &'a Caller) -> Self {
        Self { store, caller, upserted: HashSet::new() }
    }

    /// Begins a new chunk (200 records in the service): only within one may no external id come twice.
    pub(crate) fn next_chunk(&mut self) {
        self.upserted.clear();
    }

    /// The records as they are now.
    pub(crate) fn store(&self) -> &Store {
        self.store
    }

    /// What the caller may see and change.
    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.caller.access)
    }

    /// Creates a record.
    pub(crate) fn insert(&mut self, object: ObjectIndex, row: &Row<'_>) -> Result<Written, ApiError> {
        let definition = &self.store.schema.objects[object];
        if !definition.createable {
            return Err(not_allowed(&definition.name, "created"));
        }
        self.may_edit(object)?;
        if row.iter().any(|(target, given)| matches!(target, Target::Id) && !given.is_blank()) {
            let text = "cannot specify Id in an insert call";
            return Err(ApiError::new(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text).fields(["Id"]));
        }
        let mut values = self.check(object, row, None)?;
        self.add_defaults(object, &mut values)?;
        let schema = Arc::clone(&self.store.schema);
        let row = self.store.table_mut(object).append();
        for (field, value) in &values {
            self.store.set(object, row, *field, value.value());
        }
        let (user, now) = (self.caller.user, self.caller.now);
        for (name, value) in [("CreatedDate", Value::Whole(now)), ("CreatedById", Value::Row(user))] {
            if let Some(field) = schema.objects[object].find(name) {
                self.store.set(object, row, field, value);
            }
        }
        touch(self.store, object, row, user, now);
        Ok(Written { id: self.store.id(object, row), created: true })
    }

    /// Changes the record with this id, of 15 or 18 characters.
    pub(crate) fn update(&mut self, object: ObjectIndex, id: &str, row: &Row<'_>) -> Result<Written, ApiError> {
        let at = self.existing(object, id)?;
        if let Some((_, given)) = row.iter().find(|(target, _)| matches!(target, Target::Id))
            && !given.text().is_some_and(|text| text.is_empty() || Id::parse(&text) == Some(self.store.id(object, at)))
        {
            let text = "cannot change the Id of a record";
            return Err(ApiError::new(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text).fields(["Id"]));
        }
        self.change(object, at, row)
    }

    /// Changes the record whose `key` has the value that the row gives it, or creates one with it. A `key` of kind id
    /// changes a record, and creates one only where the row gives no id.
    pub(crate) fn upsert(&mut self, object: ObjectIndex, key: FieldIndex, row: &Row<'_>) -> Result<Written, ApiError> {
        let schema = Arc::clone(&self.store.schema);
        let field = &schema.objects[object].fields[key];
        let given = row.iter().find(|(target, _)| match target {
            Target::Id => field.kind == Kind::Id,
            Target::Field(at) => *at == key,
            Target::Parent { .. } => false,
        });
        if field.kind == Kind::Id {
            return match given.and_then(|(_, given)| given.text()).filter(|text| !text.is_empty()) {
                Some(id) => self.update(object, &id, row),
                None => self.insert(object, row),
            };
        }
        let Some((_, given)) = given.filter(|(_, given)| !given.is_blank()) else {
            let text = format!("{} not specified", field.name);
            return Err(ApiError::new(400, "MISSING_ARGUMENT", text).fields([&field.name]));
        };
        let value = self.convert(object, key, *given)?.unwrap_or(Checked::Plain(Value::Null));
        if let Some(text) = given.text()
            && !self.upserted.insert(format!("{object} {}", text.to_lowercase()))
        {
            let text = format!("Duplicate external id specified: {text}");
            return Err(ApiError::new(400, "DUPLICATE_VALUE", text).fields([&field.name]));
        }
        match self.matching(object, key, value.value()).as_slice() {
            [] => self.insert(object, row),
            [one] => self.change(object, *one, row),
            several => {
                let ids: Vec<_> = several.iter().map(|row| self.store.id(object, *row).to_string()).collect();
                let text = format!("More than one record found for external id field: [{}]", ids.join(", "));
                Err(ApiError::new(400, "DUPLICATE_VALUE", text).fields([&field.name]))
            }
        }
    }

    /// The records outside the recycle bin whose field has this value.
    pub(crate) fn matching(&mut self, object: ObjectIndex, field: FieldIndex, value: Value<'_>) -> Vec<u32> {
        let mut rows = self.store.find_by(object, field, value);
        rows.retain(|row| !self.store.flag(object, *row, "IsDeleted"));
        rows
    }

    /// The records outside the recycle bin whose external id is written so.
    pub(crate) fn by_external_id(
        &mut self,
        object: ObjectIndex,
        field: FieldIndex,
        text: &str,
    ) -> Result<Vec<u32>, ApiError> {
        let value = self.convert(object, field, Given::Text(text))?;
        Ok(value.map(|value| self.matching(object, field, value.value())).unwrap_or_default())
    }

    fn change(&mut self, object: ObjectIndex, at: u32, row: &Row<'_>) -> Result<Written, ApiError> {
        let definition = &self.store.schema.objects[object];
        if !definition.updateable {
            return Err(not_allowed(&definition.name, "updated"));
        }
        self.may_edit(object)?;
        let values = self.check(object, row, Some(at))?;
        for (field, value) in &values {
            self.store.set(object, at, *field, value.value());
        }
        touch(self.store, object, at, self.caller.user, self.caller.now);
        Ok(Written { id: self.store.id(object, at), created: false })
    }

    /// The row of a record that is to be written.
    pub(super) fn existing(&self, object: ObjectIndex, id: &str) -> Result<u32, ApiError> {
        let definition = &self.store.schema.objects[object];
        let malformed = || {
            let label = definition.fields.first().map_or("Id", |field| field.label.as_str());
            ApiError::new(400, "MALFORMED_ID", format!("{label}: id value of incorrect type: {id}")).fields(["Id"])
        };
        let parsed = Id::parse(id).ok_or_else(malformed)?;
        if parsed.prefix() != definition.key_prefix() {
            return Err(malformed());
        }
        let unknown = || ApiError::new(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").fields([]);
        let row = self.store.row(object, &parsed).ok_or_else(unknown)?;
        if self.store.flag(object, row, "IsDeleted") {
            return Err(ApiError::new(400, "ENTITY_IS_DELETED", "entity is deleted").fields([]));
        }
        Ok(row)
    }

    pub(super) fn may_edit(&self, object: ObjectIndex) -> Result<(), ApiError> {
        if self.caller.access.edits_object(object) {
            return Ok(());
        }
        let text = "insufficient access rights on object id";
        Err(ApiError::new(403, "INSUFFICIENT_ACCESS_OR_READONLY", text).fields([]))
    }

    /// Fills the values that a new record has by itself, then asks for those that it must have.
    fn add_defaults(&mut self, object: ObjectIndex, values: &mut Vec<(FieldIndex, Checked)>) -> Result<(), ApiError> {
        let schema = Arc::clone(&self.store.schema);
        let mut missing = Vec::new();
        for (at, field) in schema.objects[object].fields.iter().enumerate() {
            let given = values.iter().position(|(known, _)| *known == at);
            if given.is_some_and(|given| values[given].1.value() != Value::Null) {
                continue;
            }
            match &field.default {
                Some(default) if default == "user" && field.kind == Kind::Reference => {
                    values.push((at, self.user_reference(object, at)));
                }
                // An empty picklist that was asked for stays empty where that is allowed.
                Some(_) if given.is_some() && field.nillable => {}
                Some(default) => {
                    if let Some(value) = self.convert(object, at, Given::Text(default))? {
                        values.push((at, value));
                    }
                }
                None if !field.nillable && field.writable() && field.kind != Kind::Boolean => {
                    missing.push(field.name.clone());
                }
                None => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!("Required fields are missing: [{}]", missing.join(", "));
        let mut refused = ApiError::new(400, "REQUIRED_FIELD_MISSING", text);
        refused.fields = Some(missing);
        Err(refused)
    }

    /// The caller as the value of a reference.
    fn user_reference(&self, object: ObjectIndex, field: FieldIndex) -> Checked {
        let schema = &self.store.schema;
        match (schema.objects[object].fields[field].storage == super::schema::Storage::Row, schema.find("User")) {
            (false, Some(users)) => Checked::Text(self.store.id(users, self.caller.user).to_string()),
            _ => Checked::Plain(Value::Row(self.caller.user)),
        }
    }
}

impl Given<'_> {
    /// No value: in a CSV file that leaves the field alone, in JSON it empties it.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Json(value) => value.is_null() || value.as_str() == Some(""),
            Self::Text(text) => text.is_empty() || *text == NULL,
        }
    }

    /// The value as text, if it is a plain one.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Json(serde_json::Value::String(text)) => Some(text.clone()),
            Self::Json(serde_json::Value::Null) => Some(String::new()),
            Self::Json(serde_json::Value::Number(number)) => Some(number.to_string()),
            Self::Json(_) => None,
            Self::Text(text) => Some((*text).to_owned()),
        }
    }
}

/// The cell that empties a field.
pub(crate) const NULL: &str = "#N/A";

/// Moves the audit fields.
pub(crate) fn touch(store: &mut Store, object: ObjectIndex, row: u32, user: u32, now: i64) {
    let values = [
        ("LastModifiedDate", Value::Whole(now)),
        ("SystemModstamp", Value::Whole(now)),
        ("LastModifiedById", Value::Row(user)),
    ];
    for (name, value) in values {
        if let Some(field) = store.schema.objects[object].find(name) {
            store.set(object, row, field, value);
        }
    }
}

/// An operation that the object does not have.
pub(super) fn not_allowed(object: &str, what: &str) -> ApiError {
    ApiError::new(400, "INVALID_TYPE_FOR_OPERATION", format!("entity type cannot be {what}: {object}")).fields([])
}

/// A name that the object does not have.
pub(crate) fn no_such_column(name: &str, object: &str) -> ApiError {
    ApiError::new(400, "INVALID_FIELD", format!("No such column '{name}' on sobject of type {object}"))
}

/// Whether records can be found by the values of a field: an external id, or a standard field that serves as one.
pub(crate) fn is_key(schema: &Schema, object: ObjectIndex, field: FieldIndex) -> bool {
    let field = &schema.objects[object].fields[field];
    field.kind == Kind::Id || field.external_id || field.id_lookup
}

#[cfg(test)]
mod tests;
