//! All records of the tenant, and what happens between objects: lookups followed, references kept whole on delete.

use super::catalog::Catalog;
use super::catalog::OnDelete;
use super::catalog::Path;
use super::catalog::Role;
use super::cell::Cell;
use super::column::Value;
use super::table::Compare;
use super::table::Table;

/// Milliseconds for which a deletion stays in the log (15 days, gainsight-api §2.6).
const LOG_KEPT_MS: i64 = 15 * 86_400_000;

/// The tables, in the catalogue's order of objects.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) tables: Vec<Table>,
    log: Option<Log>,
}

/// Where deletions are written down.
#[derive(Debug, Clone, Copy)]
struct Log {
    object: usize,
    record_id: usize,
    object_name: usize,
    deleted_on: usize,
    /// Rows before this one are gone already.
    kept_from: usize,
}

/// A record that another one holds on to.
#[derive(Debug)]
pub(super) struct Referenced;

impl Store {
    /// A tenant without records.
    pub(super) fn new(catalog: &Catalog) -> Self {
        let log = catalog.object("record_delete_log").and_then(|object| {
            let fields = &catalog.objects[object];
            Some(Log {
                object,
                record_id: fields.field("RecordId")?,
                object_name: fields.field("ObjectName")?,
                deleted_on: fields.field("DeletedOn")?,
                kept_from: 0,
            })
        });
        Self { tables: (0..catalog.objects.len()).map(|object| new_table(catalog, object)).collect(), log }
    }

    /// Makes the tables of these objects as they were at the start.
    pub(super) fn empty(&mut self, catalog: &Catalog, objects: &[usize]) {
        for object in objects {
            self.tables[*object] = new_table(catalog, *object);
            if let Some(log) = self.log.as_mut().filter(|log| log.object == *object) {
                log.kept_from = 0;
            }
        }
    }

    /// The value at the end of a path that begins at a row; null where a lookup on the way is.
    #[inline]
    pub(super) fn value(&self, path: &Path, row: usize) -> Value<'_> {
        let mut row = row;
        for hop in &path.hops {
            let Value::Int(id) = self.tables[hop.object].get(row, hop.field) else { return Value::Null };
            let Some(next) = self.tables[hop.target].row_of(id) else { return Value::Null };
            row = next;
        }
        self.tables[path.object].get(row, path.field)
    }

    /// Deletes a record, and by the lookups' rules those that belong to it; writes the log.
    pub(super) fn delete(
        &mut self,
        catalog: &Catalog,
        object: usize,
        row: usize,
        now: i64,
        refuse_referenced: bool,
    ) -> Result<(), Referenced> {
        let mut doomed = vec![(object, row)];
        let mut cleared = Vec::new();
        let mut found = Vec::new();
        let mut next = 0;
        while let Some((object, row)) = doomed.get(next).copied() {
            next += 1;
            let id = [Cell::Int(self.tables[object].id(row))];
            for (other, holder) in catalog.objects.iter().enumerate() {
                for (at, field) in holder.fields.iter().enumerate() {
                    let Some(lookup) = field.lookup.as_ref().filter(|lookup| lookup.target == Some(object)) else {
                        continue;
                    };
                    if field.role != Role::None {
                        continue;
                    }
                    self.tables[other].find(&[at], &id, Compare::Exact, &mut found);
                    for row in &found {
                        match lookup.on_delete {
                            OnDelete::Delete if doomed.contains(&(other, *row)) => {}
                            OnDelete::Delete => doomed.push((other, *row)),
                            OnDelete::SetNull => cleared.push((other, *row, at)),
                            OnDelete::None if refuse_referenced && !doomed.contains(&(other, *row)) => {
                                return Err(Referenced);
                            }
                            OnDelete::None => {}
                        }
                    }
                }
            }
        }
        for (object, row, field) in cleared {
            self.tables[object].update(row, &[(field, Cell::Null)], now);
        }
        for (object, row) in doomed {
            let id = catalog.gsids.write(self.tables[object].id(row));
            self.tables[object].delete(row);
            if let Some(log) = self.log {
                let text = |bytes: &[u8]| Cell::Text(String::from_utf8_lossy(bytes).into_owned().into());
                let entry = [
                    (log.record_id, text(&id)),
                    (log.object_name, text(catalog.objects[object].name.as_bytes())),
                    (log.deleted_on, Cell::Int(now)),
                ];
                self.tables[log.object].insert(&entry, now);
            }
        }
        Ok(())
    }

    /// Whether the log holds entries that are too old.
    pub(super) fn log_is_stale(&self, now: i64) -> bool {
        self.log.is_some_and(|log| {
            let table = &self.tables[log.object];
            log.kept_from < table.rows()
                && matches!(table.get(log.kept_from, log.deleted_on), Value::Int(at) if at < now - LOG_KEPT_MS)
        })
    }

    /// Forgets deletions older than the log keeps.
    pub(super) fn trim_log(&mut self, now: i64) {
        while self.log_is_stale(now) {
            if let Some(log) = &mut self.log {
                self.tables[log.object].delete(log.kept_from);
                log.kept_from += 1;
            }
        }
    }
}

fn new_table(catalog: &Catalog, object: usize) -> Table {
    let users = catalog.object("gsuser").map_or(0, |at| catalog.objects[at].code);
    Table::new(&catalog.objects[object], users)
}
