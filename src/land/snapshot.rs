//! A table at one version: its files, and the tables that can be read from them.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;

use crate::error::Error;
use crate::error::Result;
use crate::land::current;
use crate::land::log::State;
use crate::land::name::TableName;
use crate::land::scan::FileScan;
use crate::land::store::Place;
use crate::land::types::DELETED_COLUMN;
use crate::land::types::NUMBER_PREFIX;
use crate::land::types::SEQUENCE_COLUMN;

/// What the rows of a data file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A full state of the table.
    Base,
    /// Newer rows, each standing for its key.
    Change,
    /// Rows of a table without a key.
    Part,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Change => "change",
            Self::Part => "part",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Base, Self::Change, Self::Part].into_iter().find(|role| role.word() == word)
    }
}

/// A data file as the log names it.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
    pub(crate) rows: u64,
    pub(crate) deleted: u64,
    pub(crate) role: Role,
    /// The sequence of its rows; the newest of them in a mixed file.
    pub(crate) sequence: i64,
    pub(crate) mixed: bool,
}

/// A table version that can be read again at any time, until a vacuum takes its files.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) place: Place,
    pub(crate) table: TableName,
    pub(crate) state: Arc<State>,
    schema: SchemaRef,
}

impl Snapshot {
    pub(crate) fn new(place: Place, table: TableName, state: State) -> Self {
        let schema = Arc::new(chosen(&state, |name| is_given(name) && !name.starts_with(NUMBER_PREFIX)));
        Self { place, table, schema, state: Arc::new(state) }
    }

    /// The table.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The version, counted from 0.
    pub fn version(&self) -> i64 {
        self.state.version
    }

    /// The columns that readers see.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The column whose value tells rows apart, unless rows are only ever appended.
    pub fn key(&self) -> Option<&str> {
        self.state.key.as_deref()
    }

    /// The rows in all files: older versions of a row and deletions among them.
    pub fn physical_rows(&self) -> u64 {
        self.state.files.iter().map(|file| file.rows).sum()
    }

    /// The rows in change files.
    pub fn change_rows(&self) -> u64 {
        self.state.changes().map(|file| file.rows).sum()
    }

    /// The rows of [`current`](Self::current), where they can be told without reading.
    pub fn rows(&self) -> Option<u64> {
        (self.change_rows() == 0).then(|| self.state.files.iter().map(|file| file.rows - file.deleted).sum())
    }

    /// The size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.state.files.iter().map(|file| file.size).sum()
    }

    /// The newest sequence that any file holds. A new commit's sequence has to be greater.
    pub fn last_sequence(&self) -> Option<i64> {
        self.state.files.iter().map(|file| file.sequence).max()
    }

    /// The state now: the base without the keys that have newer rows, and the newest row of each of those, without
    /// deletions. Filters and projections reach the files.
    pub fn current(&self) -> Result<Arc<dyn TableProvider>> {
        current::current(self)
    }

    /// The columns that a writer of the table is given: those that readers see, and those with numbers.
    pub fn given(&self) -> Schema {
        chosen(&self.state, is_given)
    }

    /// [`current`](Self::current) with the columns of numbers ([`NUMBER_PREFIX`](crate::land::NUMBER_PREFIX)).
    pub fn numbered(&self) -> Result<Arc<dyn TableProvider>> {
        current::state(self, &Arc::new(self.given()))
    }

    /// The rows written with `sequence`, deletions among them; they are marked in [`DELETED_COLUMN`].
    pub fn written_at(&self, sequence: i64) -> Result<Arc<dyn TableProvider>> {
        current::written_at(self, sequence)
    }

    /// All rows in all files with [`SEQUENCE_COLUMN`] and [`DELETED_COLUMN`].
    pub fn log(&self) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(self.scan(&self.state.physical, |_| true)?))
    }

    /// The files' addresses, for engines that read them by themselves.
    pub fn file_uris(&self) -> Result<Vec<String>> {
        let folder = format!("{}/{}/", self.table.connection, self.table.table);
        let base = self.place.url.join(&folder).map_err(|error| Error::bug(error.to_string()))?;
        Ok(self.state.files.iter().map(|file| format!("{base}{}", file.name)).collect())
    }

    /// A scan of the files that `choose` takes, with the columns of `schema`.
    pub(crate) fn scan(&self, schema: &SchemaRef, choose: impl Fn(&DataFile) -> bool) -> Result<FileScan> {
        let files = self.state.files.iter().filter(|file| choose(file)).cloned().collect();
        FileScan::new(&self.place, &self.table, Arc::clone(schema), files)
    }
}

fn is_given(column: &str) -> bool {
    column != SEQUENCE_COLUMN && column != DELETED_COLUMN
}

fn chosen(state: &State, choose: impl Fn(&str) -> bool) -> Schema {
    Schema::new(state.physical.fields().iter().filter(|field| choose(field.name())).cloned().collect::<Vec<_>>())
}

impl State {
    pub(crate) fn changes(&self) -> impl Iterator<Item = &DataFile> {
        self.files.iter().filter(|file| file.role == Role::Change)
    }

    pub(crate) fn base(&self) -> impl Iterator<Item = &DataFile> {
        self.files.iter().filter(|file| file.role != Role::Change)
    }
}
