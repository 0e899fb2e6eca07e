//! Snapshots: Parquet files under a Delta log, the current state of a table, time travel.
//!
//! # Promises
//! * A snapshot exists when its numbered log entry exists. Data files are written before under names of their own; a
//!   crash leaves garbage, never half a snapshot.
//! * Two writers of the same number: one wins, the other reads what the winner did and tries again or says why it can't.
//!   A put whose answer was lost is settled by reading the entry and looking for our own commit id, and over runs by the
//!   application's transaction: the same run lands once.
//! * A table's state costs what has changed: a merge adds the changed rows only, and reading joins them over the base.
//! * Every table is a Delta table of the oldest protocol (reader 1, writer 2), so other programs read its files. A table
//!   with a key holds older rows and deletions besides; [`SEQUENCE_COLUMN`] and [`DELETED_COLUMN`] tell them.
//!   Columns that begin with [`NUMBER_PREFIX`] help to find rows and are not seen by readers.

mod commit;
mod current;
mod encode;
mod lake;
mod log;
mod maintain;
mod name;
mod pages;
mod scan;
mod snapshot;
mod store;
mod types;
mod writer;

pub use commit::Commit;
pub use commit::Mode;
pub use lake::Lake;
pub use maintain::Vacuumed;
pub use name::TableName;
pub use snapshot::Snapshot;
pub use types::DELETED_COLUMN;
pub use types::NUMBER_PREFIX;
pub use types::SEQUENCE_COLUMN;
pub use writer::SnapshotWriter;
pub use writer::Written;
