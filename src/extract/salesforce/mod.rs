//! Salesforce objects as Arrow batches, by Bulk API 2.0, or by REST where the Bulk API does not offer the object.
//!
//! ```text
//!  SourceRequest ─▶ prepare ─▶ Prepared { soql, schema } ─▶ read ─▶ Reading: stream of RecordBatch
//!                     │                                       │
//!              describes of the object                 job ─▶ pages (several at once) ─▶ CSV bytes ─▶ typed columns
//!              and of its parents                              counted, fetched again if cut
//! ```
//!
//! # Promises
//! * A [`Reading`] yields every row that Salesforce counted, page by page and in all, or ends in an error. It is never
//!   short and successful.
//! * [`prepare`] reports every problem of a field list at once, with the nearest right name.
//! * A user's condition is embedded so that it cannot reach beyond its parentheses ([`Soql`]).
//! * Values arrive as they were sent: only an empty cell is null, NUL bytes are removed and counted, ids have 18
//!   characters, a cell that its type cannot hold is an error with field, row and value.
//! * Memory is bounded by batches in flight, whatever the number and width of rows.
//! * Dropping a [`Reading`] stops its requests and ends and deletes its job.
//!
//! # Not here
//! Tokens, retries and limits are [`crate::connect`]'s; which window is read is decided by [`crate::pipeline`].

mod cells;
mod columns;
mod decode;
mod prepare;
mod read;
mod records;
mod soql;
mod types;

pub use decode::decode_page;
pub use prepare::Prepared;
pub use prepare::SourceRequest;
pub use prepare::prepare;
pub use read::ReadOptions;
pub use read::ReadReport;
pub use read::Reading;
pub use read::read;
pub use soql::Filter;
pub use soql::Literal;
pub use soql::Operator;
pub use soql::Soql;
