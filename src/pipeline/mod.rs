//! The order of the steps: the only room that knows it.
//!
//! ```text
//!  lease ▶ window ▶ describe ▶ extract ─▶ land (commit) ▶ mirrors ▶ verdicts ─▶ validate ▶ load ▶ self references
//!                                                                       │                            │
//!                                                              verdicts, rejects ─▶ lake             ▼
//!                                                       outcome + watermark + pending: one ledger transaction
//! ```
//!
//! # Promises
//! * The watermark moves only in the transaction that stores the outcome.
//! * A run that stopped after its extract was landed goes on from there; before that it starts anew. Either way the
//!   mirrors are read again first, so rows that reached the tenant before the stop are found `unchanged`.
//! * `extracted + retried = inserted + updated + unchanged + rejected`; a run that breaks it ends as a fault of ours.

mod arrivals;
mod chain;
mod decide;
mod generations;
mod job;
mod mirror;
mod online;
mod open;
mod plan;
mod pour;
mod recheck;
mod record;
mod report;
mod rounds;
mod shelf;
mod source;
mod tables;
mod waiting;
mod world;

pub use chain::run_chain;
pub use job::{RunOptions, run_job};
pub use online::check_online;
pub use plan::{Difference, JobPlan, Sample, plan_job};
pub use recheck::reconcile_jobs;
pub use report::{ChainReport, JobReport};
pub use tables::query_session;
pub use world::{Patience, World};
