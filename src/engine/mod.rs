//! Builds every session: limits, spill folder, functions, catalogs.
//!
//! # Promises
//! * All sessions of one [`Engine`] share one memory limit, one spill folder and one cache of file footers.
//! * When memory runs out, the error says who holds it.
//! * `lake.<connection>.<table>` is the table's state now; `lake_version('connection.table', n)` is an earlier one. Tables
//!   are opened when a query names them. An unknown name is answered with the nearest known one.

mod catalog;
mod session;
mod version;

pub use crate::config::project::EngineSettings;
pub use catalog::LakeCatalog;
pub use session::Engine;
