//! The lake: opens tables, writes new files, commits them.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::task::JoinSet;
use url::Url;

use crate::clock;
use crate::clock::Clock;
use crate::error::Error;
use crate::error::Result;
use crate::land::commit::Commit;
use crate::land::encode::Codec;
use crate::land::log::Appended;
use crate::land::log::Entry;
use crate::land::log::Known;
use crate::land::log::Log;
use crate::land::log::State;
use crate::land::log::unsigned;
use crate::land::name::TableName;
use crate::land::snapshot::Snapshot;
use crate::land::store;
use crate::land::store::Place;
use crate::land::writer::SnapshotWriter;

/// How often a commit is tried again after another writer took its number.
const ATTEMPTS: usize = 20;

/// The lake of a project. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) known: Known,
}

impl Lake {
    /// Opens the lake at `url`: a folder (a relative one lies inside `project`) or `s3://bucket/prefix` with `options`
    /// and the environment. A place where files can't be created atomically is refused.
    pub async fn open(url: &str, project: &FilePath, options: &BTreeMap<String, String>) -> Result<Self> {
        let place = store::open(url, project, options)?;
        if place.url.scheme() == "s3" {
            store::check_conditional_put(&place).await?;
        }
        Ok(Self { place, clock: Clock::system(), known: Known::default() })
    }

    /// A lake on a store of the caller's; `url` names it, such as `memory:///lake`.
    pub fn on(url: &str, store: Arc<dyn ObjectStore>) -> Result<Self> {
        Ok(Self { place: store::on(url, store)?, clock: Clock::system(), known: Known::default() })
    }

    /// The same lake with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where the lake lies, and the store at the root of that storage.
    pub fn store(&self) -> (Url, Arc<dyn ObjectStore>) {
        (self.place.url.clone(), Arc::clone(&self.place.root))
    }

    /// All tables, by name.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let connections = self.folders(&self.place.prefix).await?;
        let mut found: Vec<TableName> = futures::stream::iter(connections)
            .map(|connection| async move {
                let tables = self.folders(&connection).await?;
                let mut names = Vec::new();
                for folder in tables {
                    let logged = self.folders(&folder).await?.iter().any(|path| path.filename() == Some("_delta_log"));
                    if let (true, Some(connection), Some(table)) = (logged, connection.filename(), folder.filename())
                        && let Ok(name) = TableName::new(connection, table)
                    {
                        names.push(name);
                    }
                }
                Ok::<_, Error>(names)
            })
            .buffered(8)
            .try_concat()
            .await?;
        found.sort();
        Ok(found)
    }

    async fn folders(&self, path: &Path) -> Result<Vec<Path>> {
        let listed = self.place.root.list_with_delimiter(Some(path)).await;
        Ok(listed.map_err(|error| store::failed("list the lake's tables", error))?.common_prefixes)
    }

    /// The newest version of a table; `None` if there is none.
    pub async fn snapshot(&self, table: &TableName) -> Result<Option<Snapshot>> {
        Ok(self.log(table)?.load(None).await?.map(|state| self.as_snapshot(table, state)))
    }

    /// Begins to read where tables stand, beside whatever is done before they are needed: then only what is new is read.
    /// Dropping what is returned ends it.
    pub fn look_ahead(&self, tables: impl IntoIterator<Item = TableName>) -> JoinSet<()> {
        tables
            .into_iter()
            .map(|table| {
                let lake = self.clone();
                async move {
                    if let Ok(log) = lake.log(&table) {
                        log.look_ahead().await;
                    }
                }
            })
            .collect()
    }

    /// The newest version that this process has seen, if it has seen any.
    pub(crate) fn known(&self, table: &TableName) -> Option<Snapshot> {
        self.known.get(table).map(|state| self.as_snapshot(table, state))
    }

    /// An earlier version of a table.
    pub async fn snapshot_at(&self, table: &TableName, version: i64) -> Result<Snapshot> {
        let log = self.log(table)?;
        let newest = log.load(None).await?.ok_or_else(|| {
            Error::config(format!("there is no table {table} in the lake"))
                .hint("`sf2gs sql \"show tables\"` lists them")
        })?;
        if version < 0 || version > newest.version {
            return Err(Error::config(format!("{table} has no version {version}"))
                .hint(format!("its versions are 0 to {}", newest.version)));
        }
        let gone = || {
            Error::config(format!("version {version} of {table} is no longer kept"))
                .hint("a vacuum took it; a later version may still be there")
        };
        let state = log.load(Some(unsigned(version))).await.map_err(|error| gone().source(error))?.ok_or_else(gone)?;
        // The log may remember what a vacuum has taken: that is told here, not in the middle of a query.
        let removed = state.files.iter().filter(|file| newest.files.iter().all(|other| other.name != file.name));
        let paths: Vec<Path> = removed.map(|file| self.folder(table).join(file.name.as_str())).collect();
        let missing = futures::stream::iter(paths)
            .map(|path| async move { self.place.root.head(&path).await })
            .buffer_unordered(8)
            .any(async |found| matches!(found, Err(object_store::Error::NotFound { .. })))
            .await;
        if missing { Err(gone()) } else { Ok(self.as_snapshot(table, state)) }
    }

    /// A writer of new rows of `table`. `sequence` says which rows of a key are newer: it's greater than those of all
    /// commits before (see [`Snapshot::last_sequence`]).
    pub fn writer(&self, table: &TableName, schema: SchemaRef, sequence: i64) -> Result<SnapshotWriter> {
        let codec = if self.place.is_local() { Codec::Quick } else { Codec::Small };
        SnapshotWriter::new(Arc::clone(&self.place.root), self.folder(table), &schema, sequence, codec)
    }

    /// Makes the rows of `commit` visible, all at once or not at all, and exactly once per application version.
    pub async fn commit(&self, commit: Commit) -> Result<Snapshot> {
        let log = self.log(&commit.table)?;
        let commit_id = clock::new_id();
        for _ in 0..ATTEMPTS {
            let before = log.load(None).await?;
            if let (Some((application, version)), Some(state)) = (&commit.application, &before)
                && log.application_version(state, application).await?.is_some_and(|done| done >= *version)
            {
                return Ok(self.as_snapshot(&commit.table, state.clone()));
            }
            let entry = commit.entry(before.as_ref(), &commit_id, self.clock.now().timestamp_millis())?;
            if let Appended::Done(state) = log.append(before.as_ref(), &entry).await? {
                return Ok(self.as_snapshot(&commit.table, *state));
            }
        }
        Err(Error::conflict(format!("{} is written by others all the time", commit.table)).hint("run again"))
    }

    /// Appends `entry` after exactly `before`; `None` if another writer was first.
    pub(crate) async fn append_once(&self, before: &Snapshot, entry: &Entry) -> Result<Option<Snapshot>> {
        match self.log(&before.table)?.append(Some(&before.state), entry).await? {
            Appended::Done(state) => Ok(Some(self.as_snapshot(&before.table, *state))),
            Appended::Lost => Ok(None),
        }
    }

    /// The newest counter that `application` has committed to `table`.
    pub async fn application_version(&self, table: &TableName, application: &str) -> Result<Option<i64>> {
        let log = self.log(table)?;
        match log.load(None).await? {
            Some(state) => log.application_version(&state, application).await,
            None => Ok(None),
        }
    }

    pub(crate) fn log(&self, table: &TableName) -> Result<Log> {
        Log::open(&self.place, table, &self.known)
    }

    pub(crate) fn folder(&self, table: &TableName) -> Path {
        self.place.prefix.clone().join(table.connection.as_str()).join(table.table.as_str())
    }

    fn as_snapshot(&self, table: &TableName, state: State) -> Snapshot {
        Snapshot::new(self.place.clone(), table.clone(), state)
    }
}
