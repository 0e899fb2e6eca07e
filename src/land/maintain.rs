//! Keeps tables small: changes are folded into the base, many small ones into one, and files that no kept version names
//! are removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use futures::TryStreamExt;
use object_store::ObjectMeta;

use crate::clock;
use crate::error::Error;
use crate::error::Result;
use crate::land::current;
use crate::land::lake::Lake;
use crate::land::log::Entry;
use crate::land::name::TableName;
use crate::land::snapshot::DataFile;
use crate::land::snapshot::Role;
use crate::land::snapshot::Snapshot;
use crate::land::store;

/// What a vacuum has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vacuumed {
    /// Data files that no kept version names, and leftovers of runs that ended before their commit.
    pub files: usize,
    /// Log entries before the oldest version that can still be read.
    pub log_entries: usize,
}

/// Files of changes that a table may have: each is opened for every reading, and a run every few minutes adds one.
const MOST_CHANGES: usize = 12;

impl Lake {
    /// Folds the changes of `table` into a new base when they are more than `share` of the base's rows (0.2 is a good
    /// share: reading pays for the changes, writing for the base), or else many of them into one. The rows stay as they
    /// are.
    ///
    /// A writer that commits meanwhile wins: then nothing is done, and the next call folds its rows as well.
    pub async fn compact_if_worth(
        &self,
        session: &SessionContext,
        table: &TableName,
        share: f64,
    ) -> Result<Option<Snapshot>> {
        // Mostly the table has just been written by this process, and then need not be looked at.
        let is_small = |table: &Snapshot| !is_worth(table, share) && table.state.changes().count() <= MOST_CHANGES;
        if self.known(table).as_ref().is_some_and(is_small) {
            return Ok(None);
        }
        match self.snapshot(table).await? {
            Some(before) if is_worth(&before, share) => self.compact(session, &before).await,
            Some(before) if !is_small(&before) => self.fold(session, &before).await,
            _ => Ok(None),
        }
    }

    /// Folds the changes of `table` into one, if it has several. Deletions among them stay, as the base has their rows.
    pub async fn fold_changes(&self, session: &SessionContext, table: &TableName) -> Result<Option<Snapshot>> {
        match self.snapshot(table).await? {
            Some(before) if before.state.changes().count() > 1 => self.fold(session, &before).await,
            _ => Ok(None),
        }
    }

    async fn fold(&self, session: &SessionContext, before: &Snapshot) -> Result<Option<Snapshot>> {
        let changes = before.state.changes().cloned().collect();
        let rows = current::newest_changes(before)?;
        self.rewrite(session, before, rows, Role::Change, changes).await
    }

    async fn compact(&self, session: &SessionContext, before: &Snapshot) -> Result<Option<Snapshot>> {
        let rows = current::current_physical(before)?;
        self.rewrite(session, before, rows, Role::Base, before.state.files.clone()).await
    }

    /// Puts `rows` in place of the files that hold them.
    async fn rewrite(
        &self,
        session: &SessionContext,
        before: &Snapshot,
        rows: Arc<dyn TableProvider>,
        role: Role,
        remove: Vec<DataFile>,
    ) -> Result<Option<Snapshot>> {
        let sequence = remove.iter().map(|file| file.sequence).max().unwrap_or(0);
        let mut writer = self.writer(&before.table, Arc::new(before.given()), sequence)?;
        let mut rows = session.read_table(rows)?.execute_stream().await?;
        while let Some(batch) = rows.next().await {
            writer.write_mixed(&batch?).await?;
        }
        let written = writer.finish().await?;
        let entry = Entry {
            schema: None,
            key: before.key().map(str::to_owned),
            add: written.files.iter().map(|file| (file.clone(), role, sequence, true)).collect(),
            remove,
            same_rows: true,
            application: None,
            info: BTreeMap::from([("sf2gs".to_owned(), "compaction".to_owned())]),
            commit_id: clock::new_id(),
            now_ms: self.clock.now().timestamp_millis(),
        };
        self.append_once(before, &entry).await
    }

    /// Removes data files that have belonged to no version for `older_than`, leftovers of crashes of that age, and log
    /// entries that no kept version needs. Versions that are older can't be read afterwards.
    ///
    /// A run may be writing: its files have no version yet, so `older_than` has to be longer than the longest run.
    /// (deltalake's own vacuum commits two versions each time and counts files that are gone already; this one only
    /// removes. What the log remembers of removed files, 90 days, bounds how long old versions can be kept.)
    pub async fn vacuum(&self, table: &TableName, older_than: TimeDelta) -> Result<Vacuumed> {
        let log = self.log(table)?;
        let Some(state) = log.load(None).await? else { return Ok(Vacuumed::default()) };
        let cutoff = (self.clock.now() - older_than).timestamp_millis();
        let mut kept = log.removed_since(&state, cutoff).await?;
        kept.extend(state.files.iter().map(|file| file.name.clone()));
        let folder = self.folder(table);
        let removable = |meta: &ObjectMeta| {
            // Only the folder's own files: the log lies in a folder of its own.
            let own = folder.clone().join(meta.location.filename().unwrap_or_default()) == meta.location;
            let kept = meta.location.filename().is_none_or(|name| kept.contains(name));
            own && !kept && meta.last_modified.timestamp_millis() <= cutoff
        };
        let failed = |error| store::failed(&format!("clean up the lake table {table}"), error);
        let listed: Vec<ObjectMeta> = self.place.root.list(Some(&folder)).try_collect().await.map_err(failed)?;
        let doomed: Vec<_> = listed.into_iter().filter(removable).map(|meta| Ok(meta.location)).collect();
        let deleted: Vec<_> =
            self.place.root.delete_stream(futures::stream::iter(doomed).boxed()).try_collect().await.map_err(failed)?;
        let log_entries = log.forget_entries(&state, cutoff).await?;
        let parts = self.sweep_parts(table, cutoff).await?;
        Ok(Vacuumed { files: deleted.len() + parts, log_entries })
    }

    /// Removes unfinished uploads in a local folder: the store keeps them under `name#number` until they are whole, and
    /// doesn't list them.
    async fn sweep_parts(&self, table: &TableName, cutoff_ms: i64) -> Result<usize> {
        let (url, _) = self.store();
        let folder = match url.join(&format!("{}/{}/", table.connection, table.table)).map(|url| url.to_file_path()) {
            Ok(Ok(folder)) if url.scheme() == "file" => folder,
            _ => return Ok(0),
        };
        let unusable = |error: std::io::Error| {
            Error::unavailable(format!("can't clean up {}: {error}", folder.display())).source(error)
        };
        let mut swept = 0;
        let mut entries = tokio::fs::read_dir(&folder).await.map_err(unusable)?;
        while let Some(entry) = entries.next_entry().await.map_err(unusable)? {
            let name = entry.file_name();
            let Some(("part", _)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
            if !name.to_str().is_some_and(|name| name.contains(".parquet#")) {
                continue;
            }
            let modified = entry.metadata().await.and_then(|meta| meta.modified()).map_err(unusable)?;
            if chrono::DateTime::<chrono::Utc>::from(modified).timestamp_millis() <= cutoff_ms {
                tokio::fs::remove_file(entry.path()).await.map_err(unusable)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Removes a table with all its versions: its log first, so that no half table is seen.
    pub async fn drop_table(&self, table: &TableName) -> Result<()> {
        self.known.forget(table);
        let folder = self.folder(table);
        for path in [folder.clone().join("_delta_log"), folder] {
            let found = self.place.root.list(Some(&path)).map_ok(|meta| meta.location).boxed();
            self.place
                .root
                .delete_stream(found)
                .try_for_each(|_| async { Ok(()) })
                .await
                .map_err(|error| store::failed(&format!("remove the lake table {table}"), error))?;
        }
        Ok(())
    }
}

/// Whether the changes are more than `share` of the base's rows.
fn is_worth(table: &Snapshot, share: f64) -> bool {
    let changed = table.change_rows();
    let base = table.physical_rows() - changed;
    #[expect(clippy::cast_precision_loss, reason = "a share of rows, not a count")]
    let worth = changed > 0 && (changed as f64) > share * base as f64;
    worth
}
