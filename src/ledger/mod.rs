//! What happened, in SQLite: runs, steps, chunks, watermarks, leases, mirrors, tokens and edits.
//!
//! ```text
//!  acquire ─▶ begin_run ─▶ record_step · set_landed · begin_chunk/end_chunk ─▶ finish_run
//!  (lease)      │  or resume_run of an unfinished one                            one transaction: outcome,
//!               ▼                                                                watermark, pending, lease
//!            heartbeats while it works
//! ```
//!
//! # Promises
//! * A watermark moves in the transaction that stores the outcome of its run, or not at all.
//! * A job has one live holder. A holder that is gone, or silent for two minutes, can be replaced, and then cannot
//!   finish its run any more.
//! * After `kill -9` at any point the file is whole and tells what had been landed and which chunks were on their way.
//! * The file can be read and written by its owner only, because it keeps tokens.
//!
//! # Durability
//! Write-ahead log with `synchronous = NORMAL`: a crash of the program loses nothing; a power cut can lose the last
//! commits, never the file. What must outlive a power cut (the start and the outcome of a run, a rotated token) is
//! committed under `synchronous = FULL`, which also makes everything before it durable. So a power cut can lose the end
//! of an unfinished run's list of chunks; that is why a resumed load looks its keys up before it inserts.
//! Chunks are not worth one `fsync` each: a large load has tens of thousands.
//!
//! # Not here
//! Verdicts and rejects are data and live in the lake. What happens to a job that failed is decided by `pipeline`.

mod audit;
mod chunks;
mod holder;
mod leases;
mod listing;
mod mirrors;
mod pending;
mod progress;
mod remote_jobs;
mod runs;
mod schema;
mod tokens;
mod values;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::clock::Clock;
use crate::error::Error;
use crate::error::Result;

pub use audit::{Edit, NewEdit};
pub use chunks::{Chunk, NewChunk};
pub use leases::{Lease, LeaseInfo};
pub use listing::RunFilter;
pub use mirrors::MirrorState;
pub use pending::{Pending, PendingChange, PendingKey, PendingSearch, Want, WantsOf, Watermark, WatermarkOf};
pub use progress::{Landed, Step};
pub use remote_jobs::RemoteJob;
pub use runs::{ChainRun, Counters, NewRun, Outcome, Run, RunStatus};

/// How long a call waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(10);

/// The ledger of one project. Cheap to clone; clones share one connection.
#[derive(Debug, Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Mutex<Connection>,
    clock: Clock,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger at `path`, made (with its folder) if it does not exist, and brings its tables up to date.
    pub fn open(path: &Path, clock: Clock) -> Result<Self> {
        let place = |e: Error| e.context("ledger", path.display().to_string());
        make_private_file(path).map_err(|e| {
            place(Error::unavailable("the ledger's file cannot be made").source(e))
                .hint("make the folder writable, or run in another project folder")
        })?;
        let mut connection = Connection::open(path).map_err(|e| place(e.into()))?;
        prepare(&connection).and_then(|()| schema::migrate(&mut connection)).map_err(place)?;
        Ok(Self { inner: Arc::new(Inner { connection: Mutex::new(connection), clock, path: path.to_owned() }) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    fn now(&self) -> i64 {
        self.inner.clock.now().timestamp_micros()
    }

    /// The connection. A panic elsewhere cannot have left it half-way: a transaction rolls back when it is dropped.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&self.connection()).map_err(|e| self.at(e))
    }

    /// Writes in one transaction, safe against a crash of the program.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        commit(&mut self.connection(), work).map_err(|e| self.at(e))
    }

    /// Writes in one transaction, safe against a power cut too.
    fn write_durably<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut connection = self.connection();
        connection.pragma_update(None, "synchronous", "FULL").map_err(Error::from)?;
        let done = commit(&mut connection, work);
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(Error::from)?;
        done.map_err(|e| self.at(e))
    }

    fn at(&self, e: Error) -> Error {
        e.context("ledger", self.inner.path.display().to_string())
    }
}

/// `IMMEDIATE`, because a transaction that reads first and writes later fails without waiting when another one wrote.
fn commit<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// SQLite gives the files beside it (`-wal`, `-shm`) the mode of the main file, so that one is enough.
fn make_private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        options.mode(0o600);
        folder.mode(0o700);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder.create(parent)?;
    }
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    drop(file);
    Ok(())
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match e.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::unavailable("another process keeps the ledger locked").hint("run again when it is done").source(e)
            }
            Some(ErrorCode::DiskFull) => Self::unavailable("the disk that holds the ledger is full")
                .hint("free some space and run again")
                .source(e),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::unavailable("the ledger cannot be written").hint("check the owner and mode of the file").source(e)
            }
            Some(ErrorCode::NotADatabase) => Self::config("the ledger's file is not a SQLite database")
                .hint("move it away; a new one is made, and the next run of each job is a full one")
                .source(e),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure) => {
                Self::unavailable("the ledger's file cannot be read; the disk may be damaged")
                    .hint("restore it from a backup, or move it away: the next run of each job is then a full one")
                    .source(e)
            }
            _ => Self::bug("the ledger refused a statement").source(e),
        }
    }
}
