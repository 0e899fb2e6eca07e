//! Builds every session: limits, spill folder, functions, catalogs, and joins that keep to the limits.
//!
//! # Promises
//! * All sessions of one [`Engine`] share one memory limit, one spill folder and one cache of file footers.
//! * When memory runs out, the error says who holds it. What a table's state is made of, and what a job's rows are judged by,
//!   goes through the spill folder instead ([`lookup`]).
//! * `lake.<connection>.<table>` is the table's state now; `lake_version('connection.table', n)` is an earlier one. Tables
//!   are opened when a query names them. An unknown name is answered with the nearest known one.

mod catalog;
pub(crate) mod lookup;
mod session;
mod version;

pub use crate::config::project::EngineSettings;
pub use catalog::LakeCatalog;
pub use session::Engine;
