//! Several records become one.

use super::Row;
use super::Writer;
use super::Written;
use super::not_allowed;
use super::touch;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Storage;
use crate::sandbox::salesforce::store::Value;

/// Records that may be merged into another in one step.
const MOST: usize = 2;

impl Writer<'_> {
    /// Merges up to two records into a third, which gets the values of `row`: their children move to the winner, they
    /// themselves go into the recycle bin and name the winner in MasterRecordId. All time stamps move.
    pub(crate) fn merge(
        &mut self,
        object: ObjectIndex,
        winner: &str,
        losers: &[String],
        row: &Row<'_>,
    ) -> Result<Written, ApiError> {
        let schema = std::sync::Arc::clone(&self.store.schema);
        let definition = &schema.objects[object];
        let Some(master) = definition.find("MasterRecordId") else {
            return Err(not_allowed(&definition.name, "merged"));
        };
        let at = self.existing(object, winner)?;
        let refuse = |text: &str| ApiError::new(400, "INVALID_FIELD", text).fields([]);
        if losers.is_empty() || losers.len() > MOST {
            return Err(refuse("a merge takes one or two records besides the master record"));
        }
        let mut rows = Vec::new();
        for loser in losers {
            let row = self.existing(object, loser)?;
            if row == at || rows.contains(&row) {
                return Err(refuse("a record cannot be merged with itself"));
            }
            rows.push(row);
        }
        let written = self.change(object, at, row)?;
        let (user, now) = (self.caller.user, self.caller.now);
        let winner = self.store.id(object, at);
        let ways: Vec<_> = [true, false].into_iter().flat_map(|cascade| self.child_fields(object, cascade)).collect();
        for loser in rows {
            for (child, field) in ways.iter().copied().filter(|way| *way != (object, master)) {
                let stored = schema.objects[child].fields[field].storage == Storage::Row;
                for one in self.children(child, field, (object, loser)) {
                    // The winner cannot become its own parent.
                    let own = (child, one) == (object, at);
                    let value = match (own, stored) {
                        (true, _) => Value::Null,
                        (_, true) => Value::Row(at),
                        _ => Value::Text(winner.as_str()),
                    };
                    self.store.set(child, one, field, value);
                    touch(self.store, child, one, user, now);
                }
            }
            if let Some(deleted) = definition.find("IsDeleted") {
                self.store.set(object, loser, deleted, Value::Boolean(true));
            }
            self.store.set(object, loser, master, Value::Row(at));
            touch(self.store, object, loser, user, now);
        }
        Ok(written)
    }
}
