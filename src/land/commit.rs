//! What a commit asks for, and the rules by which it becomes a log entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;

use crate::error::Error;
use crate::error::Result;
use crate::land::log::Entry;
use crate::land::log::State;
use crate::land::name::TableName;
use crate::land::snapshot::DataFile;
use crate::land::snapshot::Role;
use crate::land::types::Border;
use crate::land::types::DELETED_COLUMN;
use crate::land::types::SEQUENCE_COLUMN;
use crate::land::writer::Written;

/// How new rows stand to those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A full read: the rows are the whole table. Changes of a greater sequence stay on top.
    Replace,
    /// Each row stands for its key from now on. Needs a key, and a table that has the same columns or fewer.
    Merge,
    /// Rows are added to a table without a key.
    Append,
    /// As [`Mode::Append`], in place of all that was added before with the same sequence: whoever writes does so again.
    Anew,
}

/// New rows to be made visible at once.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The table; it's made if it doesn't exist.
    pub table: TableName,
    /// The columns as they were given to the writer.
    pub schema: SchemaRef,
    /// The column whose value tells rows apart.
    pub key: Option<String>,
    /// How the rows stand to those before.
    pub mode: Mode,
    /// The rows, all of one sequence.
    pub written: Vec<Written>,
    /// An application's name and its counter. A commit whose counter isn't greater than the last one of the same name
    /// has happened before: it returns the table and adds nothing.
    pub application: Option<(String, i64)>,
    /// Kept in the log beside the entry.
    pub info: BTreeMap<String, String>,
}

impl Commit {
    /// The commit as an entry after `before`; the columns are those of the border.
    pub(crate) fn entry(&self, before: Option<&State>, commit_id: &str, now_ms: i64) -> Result<Entry> {
        let border = Border::new(&self.schema)?;
        let physical = border.physical();
        let sequence = self.sequence()?;
        if let Some(written) = self.written.iter().find(|written| written.schema != *physical) {
            return Err(Error::bug(format!("{}: the rows have other columns than the commit", self.table))
                .context("columns", format!("{:?}", names(&written.schema))));
        }
        self.check_key(physical)?;
        let (schema, key, role, remove) = match (self.mode, before) {
            (Mode::Replace, before) => {
                let role = if self.key.is_some() { Role::Base } else { Role::Part };
                let changed = before.is_none_or(|state| state.physical != *physical || state.key != self.key);
                let remove = match before {
                    Some(state) => self.replaced(state, sequence)?,
                    None => Vec::new(),
                };
                // Changes that stay on top keep the columns that only they have.
                let stays = before.is_some_and(|state| remove.len() < state.files.len());
                let schema = match before {
                    Some(state) if changed && stays => self.evolved(state, physical, false)?,
                    _ => changed.then(|| Arc::clone(physical)),
                };
                (schema, self.key.clone(), role, remove)
            }
            (Mode::Merge, None) => {
                return Err(Error::conflict(format!("{} has no rows yet that could be changed", self.table))
                    .hint("a full read comes first: run with --full"));
            }
            (Mode::Merge, Some(state)) => {
                if self.key.is_none() || self.key != state.key {
                    return Err(Error::config(format!(
                        "{} tells rows apart by {}, not by {}",
                        self.table,
                        named(state.key.as_deref()),
                        named(self.key.as_deref())
                    ))
                    .hint("run with --full"));
                }
                self.check_order(state, sequence)?;
                // The first rows of an empty table are its base: there is nothing that reading would join them over.
                let role = if state.files.iter().all(|file| file.rows == 0) { Role::Base } else { Role::Change };
                (self.evolved(state, physical, true)?, self.key.clone(), role, Vec::new())
            }
            (Mode::Append | Mode::Anew, _) if self.key.is_some() => {
                return Err(Error::bug(format!("{}: rows with a key are merged, not appended", self.table)));
            }
            (Mode::Append | Mode::Anew, None) => (Some(Arc::clone(physical)), None, Role::Part, Vec::new()),
            (Mode::Append | Mode::Anew, Some(state)) => {
                if state.key.is_some() {
                    return Err(Error::bug(format!("{} has a key: rows are merged into it", self.table)));
                }
                let before =
                    |file: &&DataFile| self.mode == Mode::Anew && Some(file.sequence) == sequence && !file.mixed;
                let remove = state.files.iter().filter(before).cloned().collect();
                (self.evolved(state, physical, false)?, None, Role::Part, remove)
            }
        };
        let add = self
            .written
            .iter()
            .flat_map(|written| {
                written.files.iter().map(move |file| (file.clone(), role, written.sequence, written.mixed))
            })
            .collect();
        Ok(Entry {
            schema,
            key,
            add,
            remove,
            same_rows: false,
            application: self.application.clone(),
            info: self.info.clone(),
            commit_id: commit_id.to_owned(),
            now_ms,
        })
    }

    fn sequence(&self) -> Result<Option<i64>> {
        let mut sequences = self.written.iter().map(|written| written.sequence);
        let first = sequences.next();
        if sequences.any(|sequence| Some(sequence) != first) {
            return Err(Error::bug(format!("{}: one commit has rows of several sequences", self.table)));
        }
        Ok(first)
    }

    fn check_key(&self, physical: &Schema) -> Result<()> {
        let Some(key) = &self.key else {
            return match self.written.iter().map(Written::deleted).sum::<u64>() {
                0 => Ok(()),
                rows => Err(Error::bug(format!("{}: {rows} deletions in a table without a key", self.table))),
            };
        };
        if physical.field_with_name(key).is_err() {
            return Err(Error::bug(format!("{} has no column `{key}` to tell its rows apart", self.table)));
        }
        let files = self.written.iter().flat_map(|written| &written.files);
        let nulls: u64 = files.map(|file| file.nulls.get(key).copied().unwrap_or(0)).sum();
        if nulls > 0 {
            return Err(Error::integrity(format!("{}: {nulls} rows came without their key `{key}`", self.table))
                .hint("nothing was committed; run again"));
        }
        Ok(())
    }

    /// The files that a full read of `sequence` takes the place of.
    fn replaced(&self, state: &State, sequence: Option<i64>) -> Result<Vec<DataFile>> {
        let sequence = sequence.unwrap_or(i64::MAX);
        if let Some(base) = state.base().find(|file| file.role == Role::Base && file.sequence >= sequence) {
            return Err(self.overtaken(sequence, base.sequence));
        }
        let stays = |file: &&DataFile| self.key.is_some() && file.role == Role::Change && file.sequence >= sequence;
        if state.changes().any(|file| file.sequence == sequence) {
            return Err(self.overtaken(sequence, sequence));
        }
        Ok(state.files.iter().filter(|file| !stays(file)).cloned().collect())
    }

    /// A change must be newer than the base, or a deletion that the base has forgotten could come back; and no two
    /// commits may share a sequence, or neither of two rows of a key would be the newer.
    fn check_order(&self, state: &State, sequence: Option<i64>) -> Result<()> {
        let Some(sequence) = sequence else { return Ok(()) };
        let newer = state.base().map(|file| file.sequence).max().filter(|base| *base >= sequence);
        let same = state.changes().map(|file| file.sequence).find(|change| *change == sequence);
        match newer.or(same) {
            Some(other) => Err(self.overtaken(sequence, other)),
            None => Ok(()),
        }
    }

    fn overtaken(&self, ours: i64, other: i64) -> Error {
        Error::conflict(format!("rows of sequence {ours} come too late for {}: it holds sequence {other}", self.table))
            .hint("another run has landed the same table; run again")
    }

    /// The table's columns after this commit, if they change: new ones are added as nullable, and none goes.
    fn evolved(&self, state: &State, physical: &Schema, complete: bool) -> Result<Option<SchemaRef>> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        for old in state.physical.fields() {
            match physical.field_with_name(old.name()) {
                Ok(new) if new.data_type() != old.data_type() => {
                    return Err(Error::config(format!(
                        "`{}` of {} has changed from {} to {}",
                        old.name(),
                        self.table,
                        old.data_type(),
                        new.data_type()
                    ))
                    .hint("run with --full, so that all rows are read as they are now"));
                }
                Ok(new) => fields.push(Arc::new(new.clone())),
                Err(_) if complete => {
                    return Err(Error::config(format!(
                        "the changed rows of {} lack its column `{}`",
                        self.table,
                        old.name()
                    ))
                    .hint("run with --full, so that the column goes from all rows at once"));
                }
                Err(_) => fields.push(Arc::clone(old)),
            }
        }
        let own = |name: &str| name == SEQUENCE_COLUMN || name == DELETED_COLUMN;
        let place = fields.iter().position(|field| own(field.name())).unwrap_or(fields.len());
        let fresh: Vec<_> = physical
            .fields()
            .iter()
            .filter(|field| state.physical.field_with_name(field.name()).is_err())
            .cloned()
            .collect();
        fields.splice(place..place, fresh);
        let schema = Schema::new(fields);
        Ok((schema != *state.physical).then(|| Arc::new(schema)))
    }
}

fn named(key: Option<&str>) -> String {
    key.map_or_else(|| "no column".to_owned(), |key| format!("`{key}`"))
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}
