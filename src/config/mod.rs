//! A project folder, read and checked: what a person wrote becomes types that can only be right.
//!
//! ```text
//!  sf2gs.toml      ─▶ tree: TOML     ─▶ read_*: each table by itself ─▶ check_jobs, chains: ─▶ Project
//!  pipelines/*.toml   with places       (a wrong part counts as        what they say about
//!                                        absent, reading goes on)      each other
//! ```
//!
//! # Promises
//! * Checking needs no network and changes nothing.
//! * All problems of all files are reported together, each with file, line, what is wrong and what to write instead.
//!   One mistake is one problem: what follows from a mistake elsewhere is not reported.
//! * Nothing here holds a secret's value: secrets are [references](job::SecretRef) until a connection is opened.

mod addresses;
mod amounts;
mod chains;
mod check_jobs;
mod condition;
mod fingerprint;
mod new_project;
mod problem;
mod read_connection;
mod read_job;
mod tree;
mod words;

pub mod connection;
pub mod ids;
pub mod job;
pub mod project;
pub mod secrets;

pub use condition::check as check_condition;
pub use problem::{Problem, Problems};
pub use words::nearest;
