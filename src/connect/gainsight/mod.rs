//! A Gainsight tenant as typed calls.
//!
//! ```text
//!  describe ─ query ─ export ──┐                        ┌─ waits for the tenant's quota (Limiter)
//!  insert ─ update ─ users ────┼─▶ GainsightClient ─▶ Http ─ one retry policy
//!  people ─ bulk import ───────┘      │                 └─ Answer: `result`, never the status alone
//!                                     └─ access key, or M2M token with one login at a time
//! ```
//!
//! # Promises
//! * A write answers [`WriteAnswer::Accepted`] or [`WriteAnswer::Refused`] with the refused cells; only what is neither
//!   (no access, no connection, no quota, unknown outcome) is an [`Error`](crate::error::Error).
//! * An insert is never sent twice by itself: where its outcome is unknown the answer says so ([`WriteAnswer::Unknown`]).
//! * Rows leave as raw bytes; nothing here knows Arrow.

mod bulk;
mod client;
mod envelope;
mod limiter;
mod login;
mod metadata;
mod people;
mod query;
mod write;

pub use bulk::{BulkFile, ExportStatus, FailedRows, ImportPhase, ImportStatus};
pub use client::{GainsightClient, GainsightLogin, GainsightSettings, Records};
pub use envelope::{CellError, Failure};
pub use limiter::{Limiter, MAX_WAIT, is_quota};
pub use metadata::{DataType, FieldMetadata, ObjectMetadata, PicklistOption};
pub use people::PeopleStatus;
pub use query::{Operator, PAGE_ROWS, Query};
pub use write::{Accepted, Refusal, WriteAnswer};
