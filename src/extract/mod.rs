//! Bytes from both APIs become Arrow batches.
//!
//! ```text
//!  describe ─▶ schema, query ─┐
//!                             ├─▶ stream of RecordBatch, counted
//!  pages of CSV or JSON ──────┘
//! ```
//!
//! # Promises
//! * A stream yields every row that the remote system counted, or ends in an error. It is never short and successful.
//! * Nothing is guessed: types come from the remote system's own metadata, only an empty cell is null, and a cell that
//!   its type cannot hold is an error that names field, row and value.
//! * Dropping a stream stops its requests.

pub mod gainsight;
mod instants;
pub mod salesforce;
mod split;
