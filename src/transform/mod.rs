//! A job's mappings as SQL: every source cell as a value of its target's type.
//!
//! ```text
//!  source field (Salesforce type) ─┐
//!                                  ├─▶ convert ─▶ SQL expression, or the reason why this pair is impossible
//!  target field (Gainsight type) ──┘
//! ```
//!
//! # Promises
//! * Which pair of types is possible is decided when the job is compiled, from the fields' types alone; the table stands
//!   at [`convert()`].
//! * A cell never ends a run: one that does not convert becomes NULL beside a non-blank source, which [`matching`] turns
//!   into a `VALUE_INVALID` reject of its row.
//! * Nothing is rounded, cut or moved to another time zone without a [note](Conversion::note) that says so.
//!
//! [`matching`]: crate::matching

mod convert;
mod kind;
pub mod sql;

pub use convert::Conversion;
pub use convert::convert;
pub use kind::SourceKind;
pub use kind::TargetKind;
pub use kind::describe;
