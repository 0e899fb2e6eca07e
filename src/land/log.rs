//! The Delta log of one table: its state at a version, and one new entry. `deltalake` does both; nothing else is
//! taken from it (neither its scan, nor its MERGE, nor deletion vectors).

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::future::ready;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::datatypes::SchemaRef;
use deltalake::DeltaTable;
use deltalake::DeltaTableError;
use deltalake::checkpoints;
use deltalake::kernel::Action;
use deltalake::kernel::Add;
use deltalake::kernel::Metadata;
use deltalake::kernel::MetadataExt;
use deltalake::kernel::Protocol;
use deltalake::kernel::Remove;
use deltalake::kernel::StructType;
use deltalake::kernel::Transaction;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::new_metadata;
use deltalake::kernel::transaction::CommitBuilder;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::LogStoreRef;
use deltalake::logstore::StorageConfig;
use deltalake::logstore::default_logstore;
use deltalake::logstore::get_actions;
use deltalake::protocol::DeltaOperation;
use deltalake::protocol::SaveMode;
use deltalake::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::prefix::PrefixStore;
use serde_json::Value;
use serde_json::json;

use crate::error::Error;
use crate::error::Result;
use crate::land::name::TableName;
use crate::land::snapshot::DataFile;
use crate::land::snapshot::Role;
use crate::land::store::Place;
use crate::land::writer::NewFile;

/// The table property that names the key column.
const KEY: &str = "sf2gs.key";

/// The tags of a data file.
const ROLE_TAG: &str = "sf2gs.role";
const SEQUENCE_TAG: &str = "sf2gs.sequence";
const DELETED_TAG: &str = "sf2gs.deleted";
const MIXED_TAG: &str = "sf2gs.mixed";

/// A log entry is folded into a checkpoint every so many versions, so that opening a table stays quick.
const CHECKPOINT_EVERY: u64 = 20;

/// How long checkpoints remember removed files, so that a vacuum knows which of them an old version may still need.
const REMEMBERED: &str = "interval 90 days";

/// The log of one table.
pub(crate) struct Log {
    table: TableName,
    store: LogStoreRef,
    known: Known,
}

/// The newest states that this process has seen: of a log that has been read, only what is new is read again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<Mutex<HashMap<TableName, State>>>);

impl Known {
    pub(crate) fn get(&self, table: &TableName) -> Option<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    fn set(&self, table: &TableName, state: &State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), state.clone());
    }

    fn set_first(&self, table: &TableName, state: State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(table.clone()).or_insert(state);
    }

    pub(crate) fn forget(&self, table: &TableName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }
}

/// What a log says at one version.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) version: i64,
    /// With the lake's own columns.
    pub(crate) physical: SchemaRef,
    pub(crate) key: Option<String>,
    pub(crate) files: Vec<DataFile>,
    /// What `deltalake` knows; of the version before, if the last entry is our own.
    delta: DeltaTableState,
}

/// A new log entry, before it has a number.
pub(crate) struct Entry {
    /// The columns from now on, if they change.
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) key: Option<String>,
    pub(crate) add: Vec<(NewFile, Role, i64, bool)>,
    pub(crate) remove: Vec<DataFile>,
    /// The rows stay the same (compaction).
    pub(crate) same_rows: bool,
    pub(crate) application: Option<(String, i64)>,
    pub(crate) info: BTreeMap<String, String>,
    /// Tells our entry from another writer's when the answer to its creation was lost.
    pub(crate) commit_id: String,
    pub(crate) now_ms: i64,
}

/// What became of an attempt to append an entry.
pub(crate) enum Appended {
    Done(Box<State>),
    /// Another writer took the number.
    Lost,
}

impl Log {
    pub(crate) fn open(place: &Place, table: &TableName, known: &Known) -> Result<Self> {
        let url = place
            .url
            .join(&format!("{}/{}/", table.connection, table.table))
            .map_err(|error| Error::bug(format!("no URL for {table}: {error}")))?;
        let folder = place.prefix.clone().join(table.connection.as_str()).join(table.table.as_str());
        let inside = Arc::new(PrefixStore::new(Arc::clone(&place.root), folder));
        let store = default_logstore(inside, Arc::clone(&place.root), &url, &StorageConfig::default());
        Ok(Self { table: table.clone(), store, known: known.clone() })
    }

    /// The state at `version`, or at the newest; `None` if there is no table.
    pub(crate) async fn load(&self, version: Option<u64>) -> Result<Option<State>> {
        if version.is_none()
            && let Some(state) = self.newer(self.known.get(&self.table)).await
        {
            return state.map(Some);
        }
        match DeltaTableState::try_new(self.store.as_ref(), version).await {
            Ok(delta) => {
                let state = State::read(&self.table, delta)?;
                if version.is_none() {
                    self.known.set(&self.table, &state);
                }
                Ok(Some(state))
            }
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => match self.store.is_delta_table_location().await {
                Ok(false) => Ok(None),
                _ => Err(self.failed("read", error)),
            },
        }
    }

    /// Reads the newest state for whoever loads the table later, if nobody has until then. What goes wrong is met again there.
    pub(crate) async fn look_ahead(&self) {
        if self.known.get(&self.table).is_none()
            && let Ok(delta) = DeltaTableState::try_new(self.store.as_ref(), None).await
            && let Ok(state) = State::read(&self.table, delta)
        {
            self.known.set_first(&self.table, state);
        }
    }

    /// A state that is known, brought up to date; `None` if there is none, or if it cannot be: then all is read anew.
    async fn newer(&self, known: Option<State>) -> Option<Result<State>> {
        let known = known?;
        let mut delta = known.delta.clone();
        delta.update(self.store.as_ref(), None).await.ok()?;
        // Of a table that was dropped meanwhile nothing later is found, and nothing of what is known is there.
        self.store.read_commit_entry(delta.version()).await.ok()??;
        if delta.version() == known.delta.version() && known.is_whole() {
            return Some(Ok(known));
        }
        let state = State::read(&self.table, delta);
        state.iter().for_each(|state| self.known.set(&self.table, state));
        Some(state)
    }

    /// The newest version of the application's transactions.
    pub(crate) async fn application_version(&self, state: &State, application: &str) -> Result<Option<i64>> {
        state
            .delta
            .transaction_version(self.store.as_ref(), application)
            .await
            .map_err(|error| self.failed("read", error))
    }

    /// Appends `entry` after `before`, or says that another writer was first.
    pub(crate) async fn append(&self, before: Option<&State>, entry: &Entry) -> Result<Appended> {
        let actions = self.actions(before, entry)?;
        let mut info: HashMap<String, Value> =
            entry.info.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        info.insert("commitId".to_owned(), Value::String(entry.commit_id.clone()));
        let mut properties = CommitProperties::default()
            .with_metadata(info)
            .with_max_retries(0) // what a lost race means is decided by us
            .with_create_checkpoint(false) // its failure would look like a failed commit
            .with_cleanup_expired_logs(Some(false));
        if let Some((application, version)) = &entry.application {
            properties = properties.with_application_transaction(Transaction::new(application, *version));
        }
        let operation = if entry.same_rows {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        } else {
            let mode = if entry.remove.is_empty() { SaveMode::Append } else { SaveMode::Overwrite };
            DeltaOperation::Write { mode, partition_by: None, predicate: None }
        };
        let base = before.map(|state| &state.delta as _);
        let commit =
            CommitBuilder::from(properties).with_actions(actions).build(base, Arc::clone(&self.store), operation);
        let outcome = async {
            let done = commit.into_prepared_commit_future().await?.await?;
            // What our entry makes of a table is known without reading the log again.
            if before.is_some() { Ok(None) } else { done.await.map(|done| Some(done.snapshot())) }
        };
        let number = before.map_or(0, |state| unsigned(state.version) + 1);
        match outcome.await {
            Ok(first) => {
                let state = match (before, first) {
                    (Some(before), _) => self.after(before, entry)?,
                    (None, Some(first)) => State::read(&self.table, first)?,
                    (None, None) => return Err(Error::bug("a table begins with its first version")),
                };
                self.checkpoint(&state).await;
                self.known.set(&self.table, &state);
                Ok(Appended::Done(Box::new(state)))
            }
            // Whatever went wrong, the entry decides: ours (the answer was lost), another's, or none.
            Err(error) => match self.store.read_commit_entry(number).await {
                Ok(Some(bytes)) => {
                    let ours = get_actions(number, &bytes).is_ok_and(|actions| {
                        actions.iter().any(|action| match action {
                            Action::CommitInfo(info) => {
                                info.info.get("commitId").and_then(Value::as_str) == Some(&entry.commit_id)
                            }
                            _ => false,
                        })
                    });
                    if !ours {
                        return Ok(Appended::Lost);
                    }
                    match self.load(Some(number)).await? {
                        Some(state) => Ok(Appended::Done(Box::new(state))),
                        None => Err(self.failed("commit to", error)),
                    }
                }
                _ if lost(&error) => Ok(Appended::Lost),
                _ => Err(self.failed("commit to", error)),
            },
        }
    }

    /// The state that `entry` makes of `before`.
    fn after(&self, before: &State, entry: &Entry) -> Result<State> {
        let removed: HashSet<&str> = entry.remove.iter().map(|file| file.name.as_str()).collect();
        let mut files: Vec<DataFile> =
            before.files.iter().filter(|file| !removed.contains(file.name.as_str())).cloned().collect();
        files.extend(entry.add.iter().map(|(file, role, sequence, mixed)| DataFile {
            name: file.name.clone(),
            size: file.size,
            modified_ms: entry.now_ms,
            rows: file.rows,
            deleted: file.deleted,
            role: *role,
            sequence: *sequence,
            mixed: *mixed,
        }));
        State::sort(&mut files);
        let (physical, key) = match &entry.schema {
            Some(schema) => (State::columns(&self.table, &self.kernel(schema)?)?, entry.key.clone()),
            None => (Arc::clone(&before.physical), before.key.clone()),
        };
        Ok(State { version: before.version + 1, physical, key, files, delta: before.delta.clone() })
    }

    fn actions(&self, before: Option<&State>, entry: &Entry) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        match (before, &entry.schema) {
            (None, None) => return Err(Error::bug("a table begins with its schema")),
            (None, Some(schema)) => {
                // Version 1 and 2: nothing in our tables needs more, so every reader of Delta can open them.
                let protocol: Protocol = serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
                    .map_err(|error| Error::bug("no Delta protocol").source(error))?;
                actions.push(Action::Protocol(protocol));
                let mut settings = vec![
                    ("delta.enableExpiredLogCleanup", "false".to_owned()),
                    ("delta.deletedFileRetentionDuration", REMEMBERED.to_owned()),
                ];
                settings.extend(entry.key.iter().map(|key| (KEY, key.clone())));
                let metadata = new_metadata(&self.kernel(schema)?, Vec::<String>::new(), settings)
                    .and_then(|metadata| metadata.with_name(self.table.to_string()))
                    .map_err(|error| self.failed("commit to", error.into()))?;
                actions.push(Action::Metadata(metadata));
            }
            (Some(_), None) => {}
            (Some(state), Some(schema)) => {
                let mut metadata: Metadata = state.delta.metadata().clone();
                metadata = metadata
                    .with_schema(&self.kernel(schema)?)
                    .and_then(|metadata| match &entry.key {
                        Some(key) => metadata.add_config_key(KEY.to_owned(), key.clone()),
                        None => metadata.remove_config_key(KEY),
                    })
                    .map_err(|error| self.failed("commit to", error.into()))?;
                actions.push(Action::Metadata(metadata));
            }
        }
        for file in &entry.remove {
            actions.push(Action::Remove(Remove {
                path: file.name.clone(),
                data_change: !entry.same_rows,
                deletion_timestamp: Some(entry.now_ms),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::new()),
                size: i64::try_from(file.size).ok(),
                ..Remove::default()
            }));
        }
        for (file, role, sequence, mixed) in &entry.add {
            let tag = |name: &str, value: String| (name.to_owned(), Some(value));
            let mut tags = HashMap::from([
                tag(ROLE_TAG, role.word().to_owned()),
                tag(SEQUENCE_TAG, sequence.to_string()),
                tag(DELETED_TAG, file.deleted.to_string()),
            ]);
            if *mixed {
                tags.extend([tag(MIXED_TAG, "true".to_owned())]);
            }
            actions.push(Action::Add(Add {
                path: file.name.clone(),
                size: i64::try_from(file.size).map_err(|_| Error::bug("a data file of impossible size"))?,
                modification_time: entry.now_ms,
                data_change: !entry.same_rows,
                stats: Some(json!({"numRecords": file.rows, "nullCount": file.nulls}).to_string()),
                tags: Some(tags),
                ..Add::default()
            }));
        }
        Ok(actions)
    }

    fn kernel(&self, schema: &SchemaRef) -> Result<StructType> {
        schema
            .as_ref()
            .try_into_kernel()
            .map_err(|error| Error::bug(format!("the columns of {} aren't Delta's: {error}", self.table)).source(error))
    }

    /// Folds the log. A failure costs only time when the table is opened, so it's told and left.
    async fn checkpoint(&self, state: &State) {
        if !(unsigned(state.version) + 1).is_multiple_of(CHECKPOINT_EVERY) {
            return;
        }
        let mut table = DeltaTable::new(Arc::clone(&self.store));
        let outcome = match table.load_version(unsigned(state.version)).await {
            Ok(()) => checkpoints::create_checkpoint(&table, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(table = %self.table, version = state.version, %error, "no checkpoint of the log");
        }
    }

    /// The files that have been removed since `cutoff_ms`: versions before may still be read.
    pub(crate) async fn removed_since(&self, state: &State, cutoff_ms: i64) -> Result<HashSet<String>> {
        state
            .delta
            .all_tombstones(self.store.as_ref())
            .try_filter(|file| ready(file.deletion_timestamp().is_some_and(|at| at > cutoff_ms)))
            .map_ok(|file| file.path().into_owned())
            .try_collect()
            .await
            .map_err(|error| self.failed("read", error))
    }

    /// Removes log entries older than `cutoff_ms` that lie before a checkpoint of the same age.
    pub(crate) async fn forget_entries(&self, state: &State, cutoff_ms: i64) -> Result<usize> {
        checkpoints::cleanup_expired_logs_for(unsigned(state.version), self.store.as_ref(), cutoff_ms, None)
            .await
            .map_err(|error| self.failed("clean up", error))
    }

    pub(crate) fn failed(&self, verb: &str, error: DeltaTableError) -> Error {
        let sentence = format!("can't {verb} the lake table {}", self.table);
        match error {
            DeltaTableError::ObjectStore { source } => crate::land::store::failed(&sentence, source),
            other => Error::unavailable(format!("{sentence}: {other}")).source(other),
        }
    }
}

fn lost(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::MaxCommitAttempts(_) | TransactionError::CommitConflict(_)
            }
    )
}

/// Delta's versions count from 0, so the sign is never needed; ours are signed because SQL's integers are.
pub(crate) fn unsigned(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

impl State {
    fn read(table: &TableName, delta: DeltaTableState) -> Result<Self> {
        let foreign = |what: &str| foreign(table, what);
        let physical = Self::columns(table, delta.schema().as_ref())?;
        let mut files = Vec::new();
        for view in delta.log_data().iter() {
            #[expect(deprecated, reason = "the only door to a file's tags")]
            let add = view.add_action();
            if add.deletion_vector.is_some() {
                return Err(foreign("has deletion vectors"));
            }
            let tag = |name: &str| add.tags.as_ref().and_then(|tags| tags.get(name)).and_then(Option::as_deref);
            let number = |name: &str| tag(name).and_then(|text| text.parse::<i64>().ok());
            let (Some(role), Some(sequence), Some(rows)) =
                (tag(ROLE_TAG).and_then(Role::parse), number(SEQUENCE_TAG), view.num_records())
            else {
                return Err(foreign("has a data file that sf2gs didn't write"));
            };
            files.push(DataFile {
                rows: rows as u64,
                size: u64::try_from(add.size).unwrap_or(0),
                modified_ms: add.modification_time,
                role,
                sequence,
                deleted: number(DELETED_TAG).and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
                mixed: tag(MIXED_TAG) == Some("true"),
                name: add.path,
            });
        }
        Self::sort(&mut files);
        Ok(Self {
            version: i64::try_from(delta.version()).map_err(|_| Error::bug("a version beyond counting"))?,
            physical,
            key: delta.metadata().configuration().get(KEY).cloned(),
            files,
            delta,
        })
    }

    /// The log gives the newest first; a stable order makes plans and tests repeatable.
    fn sort(files: &mut [DataFile]) {
        files.sort_by(|a, b| (a.sequence, &a.name).cmp(&(b.sequence, &b.name)));
    }

    /// Delta's columns as Arrow's.
    fn columns(table: &TableName, delta: &StructType) -> Result<SchemaRef> {
        let physical: arrow::datatypes::Schema =
            delta.try_into_arrow().map_err(|error| foreign(table, "has columns of a foreign type").source(error))?;
        Ok(Arc::new(physical))
    }

    /// Whether `deltalake` knows it too.
    fn is_whole(&self) -> bool {
        i64::try_from(self.delta.version()) == Ok(self.version)
    }
}

fn foreign(table: &TableName, what: &str) -> Error {
    Error::config(format!("the lake table {table} {what}"))
        .hint("another program has changed it; restore the version before, or remove the table and run with --full")
}
