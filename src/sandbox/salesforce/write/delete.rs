//! Into the recycle bin, out of it, and out of the org.

use std::sync::Arc;

use super::Writer;
use super::Written;
use super::not_allowed;
use super::touch;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Storage;
use crate::sandbox::salesforce::store::Value;

impl Writer<'_> {
    /// Puts a record into the recycle bin, and with it the children that go with their parent.
    pub(crate) fn delete(&mut self, object: ObjectIndex, id: &str) -> Result<Written, ApiError> {
        let row = self.deletable(object, id, false)?;
        self.bin(object, row);
        Ok(Written { id: self.store.id(object, row), created: false })
    }

    /// Deletes a record for good, in the recycle bin or not: its children go with it or lose their reference.
    pub(crate) fn hard_delete(&mut self, object: ObjectIndex, id: &str) -> Result<Written, ApiError> {
        let row = self.deletable(object, id, true)?;
        let id = self.store.id(object, row);
        self.erase(object, row);
        Ok(Written { id, created: false })
    }

    /// Takes a record out of the recycle bin, and with it the children that went with it at the same time.
    pub(crate) fn undelete(&mut self, object: ObjectIndex, id: &str) -> Result<Written, ApiError> {
        let unknown = || ApiError::new(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id").fields([]);
        let row = Id::parse(id).and_then(|id| self.store.row(object, &id)).ok_or_else(unknown)?;
        if !self.store.flag(object, row, "IsDeleted") {
            let text = "Entity is not in the recycle bin";
            return Err(ApiError::new(400, "UNDELETE_FAILED", text).fields([]));
        }
        self.may_edit(object)?;
        let (user, now) = (self.caller.user, self.caller.now);
        let stamp = self.stamp(object, row);
        let mut all = vec![(object, row)];
        let mut next = 0;
        while let Some((object, row)) = all.get(next).copied() {
            next += 1;
            for (child, field) in self.child_fields(object, true) {
                let children = self.children(child, field, (object, row));
                let gone = children.into_iter().filter(|one| self.store.flag(child, *one, "IsDeleted"));
                let with_it: Vec<_> = gone.filter(|one| self.stamp(child, *one) == stamp).collect();
                all.extend(with_it.into_iter().map(|one| (child, one)).filter(|one| *one != (object, row)));
            }
            if let Some(deleted) = self.store.schema.objects[object].find("IsDeleted") {
                self.store.set(object, row, deleted, Value::Boolean(false));
                touch(self.store, object, row, user, now);
            }
        }
        Ok(Written { id: self.store.id(object, row), created: false })
    }

    fn deletable(&self, object: ObjectIndex, id: &str, from_bin: bool) -> Result<u32, ApiError> {
        let definition = &self.store.schema.objects[object];
        if !definition.deletable || definition.find("IsDeleted").is_none() {
            return Err(not_allowed(&definition.name, "deleted"));
        }
        let binned = Id::parse(id).and_then(|id| self.store.row(object, &id)).filter(|_| from_bin);
        let row = match binned {
            Some(row) => row,
            None => self.existing(object, id)?,
        };
        self.may_edit(object)?;
        Ok(row)
    }

    fn bin(&mut self, object: ObjectIndex, row: u32) {
        let (user, now) = (self.caller.user, self.caller.now);
        let mut all = vec![(object, row)];
        while let Some((object, row)) = all.pop() {
            let Some(deleted) = self.store.schema.objects[object].find("IsDeleted") else { continue };
            if self.store.flag(object, row, "IsDeleted") {
                continue;
            }
            self.store.set(object, row, deleted, Value::Boolean(true));
            touch(self.store, object, row, user, now);
            for (child, field) in self.child_fields(object, true) {
                all.extend(self.children(child, field, (object, row)).into_iter().map(|one| (child, one)));
            }
        }
    }

    fn erase(&mut self, object: ObjectIndex, row: u32) {
        let (user, now) = (self.caller.user, self.caller.now);
        let mut all = vec![(object, row)];
        while let Some((object, row)) = all.pop() {
            for (child, field) in self.child_fields(object, true) {
                all.extend(self.children(child, field, (object, row)).into_iter().map(|one| (child, one)));
            }
            for (child, field) in self.child_fields(object, false) {
                for one in self.children(child, field, (object, row)) {
                    self.store.set(child, one, field, Value::Null);
                    touch(self.store, child, one, user, now);
                }
            }
            self.store.erase(object, row, now);
        }
    }

    /// The reference fields of all objects that may name a record of this one: those whose records go with it, or the others.
    pub(super) fn child_fields(&self, object: ObjectIndex, cascade: bool) -> Vec<(ObjectIndex, FieldIndex)> {
        let schema = Arc::clone(&self.store.schema);
        let mut fields = Vec::new();
        for (child, definition) in schema.objects.iter().enumerate() {
            for (at, field) in definition.fields.iter().enumerate() {
                if field.cascade_delete == cascade && field.targets.contains(&object) {
                    fields.push((child, at));
                }
            }
        }
        fields
    }

    /// The records that name a parent in a field.
    pub(super) fn children(
        &mut self,
        child: ObjectIndex,
        field: FieldIndex,
        (object, row): (ObjectIndex, u32),
    ) -> Vec<u32> {
        if self.store.schema.objects[child].fields[field].storage == Storage::Row {
            return self.store.find_by(child, field, Value::Row(row));
        }
        let id = self.store.id(object, row);
        self.store.find_by(child, field, Value::Text(id.as_str()))
    }

    /// When a record was last touched.
    fn stamp(&self, object: ObjectIndex, row: u32) -> Option<i64> {
        let field = self.store.schema.objects[object].find("SystemModstamp")?;
        match self.store.cell(object, row, field) {
            crate::sandbox::salesforce::store::Cell::Datetime(seconds) => Some(seconds),
            _ => None,
        }
    }
}
