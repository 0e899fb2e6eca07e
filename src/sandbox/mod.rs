//! A Salesforce org and a Gainsight tenant on loopback, as strict as the real services.
//!
//! # Promises
//! * The sandboxes share no types with the client code: one misunderstanding cannot hide on both sides.
//! * They are data-driven: objects, fields and limits are files and settings, not code.
//! * All control over them lies under `/__sandbox/`, outside every path of the real services.

mod connection;
mod faults;
pub mod gainsight;
pub mod salesforce;
pub mod server;
mod spoiled;
mod tls;
