//! `sf2gs` moves Salesforce into Gainsight as a dataflow of Arrow record batches.
//!
//! ```text
//!  Salesforce                                                                                   Gainsight
//!      │  Bulk 2.0 CSV pages                         Bulk import CSV · object REST · people · users ▲
//!      ▼                                                                                            │
//!   connect ─▶ extract ─▶ land ─▶ transform ─▶ matching ─▶ load ────────────────────────────────────┘
//!               Arrow     Parquet   SQL:        joins:       batches, quotas,      │
//!               batches   snapshot  prepare,    one verdict  rejects               ▼
//!                                   map         per row                        reconcile (both sides by key)
//!                                       ▲           ▲
//!                                       └─── mirror of the Gainsight keys and mapped fields (landed the same way)
//! ```
//!
//! Data goes one way: a room hands on an Arrow stream or a landed snapshot, never a callback. Only [`pipeline`] knows
//! the order. `tests/it/layers.rs` checks the imports of every room against the table below.
//!
//! | Room | One line | May import |
//! |---|---|---|
//! | [`error`] | every failure, named by what the reader must do | – |
//! | [`clock`] | time and ids: the one door | – |
//! | [`telemetry`] | secrets, call counters, progress, logs | ground |
//! | [`config`] | a project folder, read and checked | ground |
//! | [`connect`] | HTTP with one retry policy, logins, limits; both APIs as typed calls; no Arrow | ground |
//! | [`extract`] | describe → Arrow schema, SOQL, pages → batches, for both sides | connect, ground |
//! | [`land`] | snapshots: Parquet files under a Delta log, current state, time travel | ground |
//! | [`engine`] | builds every session: limits, functions, catalogs, joins that spill | land, ground |
//! | [`transform`] | a job's mappings as SQL over the landed source | engine, land, ground |
//! | [`matching`] | key functions and the joins that give each row its verdict | transform, engine, land, ground |
//! | [`ledger`] | runs, steps, chunks, watermarks, leases in SQLite | ground |
//! | [`load`] | verdicts → API calls, pre-validation, taking refused batches apart | connect, land, ledger, ground |
//! | [`reconcile`] | both sides by key: missing, extra, different, duplicate | engine, land, ledger, ground |
//! | [`pipeline`] | the order of the steps, resume, chains | all but cli and sandbox |
//! | [`sandbox`] | a Salesforce org and a Gainsight tenant on loopback, strangers to the client | error, clock |
//! | [`cli`] | one file per verb; the only room that prints | all |
//!
//! Ground is `error`, `clock`, `telemetry` and `config`.

pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
pub mod engine;
pub mod error;
pub mod extract;
pub mod land;
pub mod ledger;
pub mod load;
pub mod matching;
pub mod pipeline;
pub mod reconcile;
pub mod sandbox;
pub mod telemetry;
pub mod transform;
