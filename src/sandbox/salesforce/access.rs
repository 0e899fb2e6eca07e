//! What a user may see and change: field-level security and object permissions.
//!
//! # Promises
//! * A field that is hidden from a user is to that user as if it did not exist: not in describe, not in records, and a name
//!   that no query and no write knows.
//! * A field or an object that is read-only is shown as such by describe, and a write to it is refused.

use std::collections::HashMap;

use super::schema::FieldIndex;
use super::schema::ObjectIndex;

/// What one user may not do; everything else is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    fields: HashMap<(ObjectIndex, FieldIndex), Permission>,
    objects: HashMap<ObjectIndex, Permission>,
}

/// What a user may do with a field or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Permission {
    /// Nothing: it is not there.
    Hidden,
    /// Read, not write.
    ReadOnly,
    /// Both.
    Full,
}

impl Access {
    /// Whether the user sees a field of an object that the user sees.
    pub(crate) fn sees(&self, object: ObjectIndex, field: FieldIndex) -> bool {
        self.fields.get(&(object, field)) != Some(&Permission::Hidden)
    }

    /// Whether the user may write a field.
    pub(crate) fn edits(&self, object: ObjectIndex, field: FieldIndex) -> bool {
        !self.fields.contains_key(&(object, field))
    }

    /// Whether the user sees an object.
    pub(crate) fn sees_object(&self, object: ObjectIndex) -> bool {
        self.objects.get(&object) != Some(&Permission::Hidden)
    }

    /// Whether the user may create, change and delete records of an object.
    pub(crate) fn edits_object(&self, object: ObjectIndex) -> bool {
        !self.objects.contains_key(&object)
    }

    /// Sets what the user may do with a field.
    pub(crate) fn set_field(&mut self, object: ObjectIndex, field: FieldIndex, permission: Permission) {
        match permission {
            Permission::Full => self.fields.remove(&(object, field)),
            less => self.fields.insert((object, field), less),
        };
    }

    /// Sets what the user may do with an object.
    pub(crate) fn set_object(&mut self, object: ObjectIndex, permission: Permission) {
        match permission {
            Permission::Full => self.objects.remove(&object),
            less => self.objects.insert(object, less),
        };
    }
}
