//! A chain: members in order, one upper bound for all, the next extract beside this load.

use crate::config::job::Job;
use crate::config::project::{Chain, OnFailure};
use crate::clock;
use crate::error::Error;
use crate::error::Result;

use super::job::{RunOptions, land_member, load_source};
use super::report::{ChainReport, JobReport};
use super::source::{ChainRun, LandedSource, upper_bound};
use super::world::World;

/// Runs the members of `chain`: extracts may overlap the load before them, loads are strictly in order.
pub async fn run_chain(world: &World, chain: &Chain, options: &RunOptions) -> Result<ChainReport> {
    let jobs = chain.jobs.iter().map(|name| world.job(name)).collect::<Result<Vec<_>>>()?;
    let Some(first) = jobs.first() else {
        return Err(Error::config(format!("the chain `{}` has no jobs", chain.name)).hint("add `jobs = [\"…\"]`"));
    };
    let mut leases = Vec::new();
    for job in &jobs {
        leases.push(world.ledger.acquire(&job.name)?);
    }
    let client = world.salesforce(&first.salesforce).await?;
    let lag = world.salesforce_connection(&first.salesforce)?.lag;
    let run = ChainRun { id: clock::new_id(), until: upper_bound(&client, lag).await? };
    let mut report = ChainReport { id: run.id.clone(), chain: chain.name.clone(), jobs: Vec::new(), skipped: Vec::new() };

    let mut failed: Vec<(String, Error)> = Vec::new();
    let mut ahead: Option<Result<LandedSource>> = None;
    for (index, job) in jobs.iter().enumerate() {
        if let Some(reason) = must_skip(chain, job, &failed) {
            report.skipped.push((job.name.clone(), reason));
            ahead = None;
            continue;
        }
        let landed = match ahead.take() {
            Some(landed) => landed,
            None => land_member(world, job, &run, options).await,
        };
        let loading = async {
            match landed {
                Ok(landed) => load_source(world, job, landed).await,
                Err(error) => Err(error),
            }
        };
        let next = async {
            match jobs.get(index + 1) {
                Some(next) => Some(land_member(world, next, &run, options).await),
                None => None,
            }
        };
        let (outcome, next_landed) = futures::join!(loading, next);
        ahead = next_landed;
        match outcome {
            Ok(done) => report.jobs.push(done),
            Err(error) => {
                world.reporter.warn(&error.render());
                report.jobs.push(failure(job, &error));
                failed.push((job.name.clone(), error));
            }
        }
    }
    for lease in leases {
        lease.release()?;
    }
    match failed.into_iter().next() {
        Some((_, error)) if chain.on_failure == OnFailure::Stop => Err(error),
        _ => Ok(report),
    }
}

fn failure(job: &Job, error: &Error) -> JobReport {
    JobReport {
        run: error.places().iter().find(|(key, _)| *key == "run").map(|(_, run)| run.clone()).unwrap_or_default(),
        job: job.name.clone(),
        status: crate::ledger::RunStatus::Failed,
        counters: Default::default(),
        calls: Default::default(),
        seconds: 0.0,
        rejects: Default::default(),
        full: false,
        error: Some(error.render()),
    }
}

/// Why a member does not run after what failed before it.
fn must_skip(chain: &Chain, job: &Job, failed: &[(String, Error)]) -> Option<String> {
    let (first, _) = failed.first()?;
    match chain.on_failure {
        OnFailure::Stop => Some(format!("`{first}` failed and the chain stops at a failure")),
        OnFailure::Continue => None,
        OnFailure::SkipDependents => failed
            .iter()
            .find(|(name, _)| job.depends_on.contains(name))
            .map(|(name, _)| format!("it depends on `{name}`, which failed")),
    }
}
