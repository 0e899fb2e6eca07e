//! A project folder, read and checked: what a person wrote becomes types that can only be right.
//!
//! ```text
//!  sf2gs.toml, pipelines/*.toml ─▶ raw (serde, with places) ─▶ check: every problem at once ─▶ Project
//! ```
//!
//! # Promises
//! * Checking needs no network and changes nothing.
//! * All problems of all files are reported together, each with file, line, what is wrong and what to write instead.
//! * Nothing here holds a secret's value: secrets are [references](job::SecretRef) until a connection is opened.

pub mod connection;
pub mod ids;
pub mod job;
