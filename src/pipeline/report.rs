//! What a run did, as the command line and the tests read it.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::ledger::{Counters, RunStatus};
use crate::telemetry::CallCounts;

/// One job's run.
#[derive(Debug, Clone)]
pub struct JobReport {
    /// The run's id.
    pub run: String,
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub status: RunStatus,
    /// Rows by what became of them.
    pub counters: Counters,
    /// Remote calls by quota class.
    pub calls: CallCounts,
    /// Wall time.
    pub seconds: f64,
    /// Rejected rows by code.
    pub rejects: BTreeMap<String, u64>,
    /// Whether the whole object was read.
    pub full: bool,
    /// What stopped it, for a failed run.
    pub error: Option<String>,
}

/// A chain's run.
#[derive(Debug, Default)]
pub struct ChainReport {
    /// Members that ran or failed, in order.
    pub jobs: Vec<JobReport>,
    /// Members that did not run, with the reason.
    pub skipped: Vec<(String, String)>,
    /// What stopped members, by their names.
    pub failures: Vec<(String, Error)>,
}
