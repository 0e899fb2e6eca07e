//! A chain: members in order, one upper bound for all, the next extract beside this load.

use crate::clock;
use crate::config::job::Job;
use crate::config::project::{Chain, OnFailure};
use crate::error::Error;
use crate::error::Result;
use crate::ledger::{ChainRun, Lease};

use super::job::{RunOptions, alive, load_source, stop_after_landing};
use super::report::{ChainReport, JobReport};
use super::source::{LandedSource, Member, land_source, upper_bound};
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
    let _ahead = world.look_ahead(&jobs)?;
    let client = world.salesforce(&first.salesforce).await?;
    let lag = world.salesforce_connection(&first.salesforce)?.lag;
    let until = upper_bound(&client, lag).await?;
    let id = clock::new_id();
    let members: Vec<_> = (1..=jobs.len() as u32)
        .map(|order| Member { run: ChainRun { id: id.clone(), name: chain.name.clone(), order }, until })
        .collect();
    alive(world, &leases, run_members(world, chain, &jobs, &leases, &members, options)).await
}

async fn run_members(
    world: &World,
    chain: &Chain,
    jobs: &[&Job],
    leases: &[Lease],
    members: &[Member],
    options: &RunOptions,
) -> Result<ChainReport> {
    let id = members.first().map(|member| member.run.id.clone()).unwrap_or_default();
    let mut report = ChainReport { id, chain: chain.name.clone(), jobs: Vec::new(), skipped: Vec::new() };
    let mut failed: Vec<(String, Error)> = Vec::new();
    let mut ahead: Option<Result<LandedSource>> = None;
    let land = |index: usize| async move {
        match (jobs.get(index), leases.get(index), members.get(index)) {
            (Some(job), Some(lease), Some(member)) => Some(land_source(world, job, lease, Some(member), options).await),
            _ => None,
        }
    };
    for (index, (job, lease)) in jobs.iter().zip(leases).enumerate() {
        if let Some(reason) = must_skip(chain, job, &failed, &report.skipped) {
            report.skipped.push((job.name.clone(), reason));
            ahead = None;
            continue;
        }
        let landed = match ahead.take() {
            Some(landed) => Some(landed),
            None => land(index).await,
        };
        let loading = async {
            match landed {
                Some(Ok(landed)) if options.land_only => stop_after_landing(world, job, lease, landed),
                Some(Ok(landed)) => load_source(world, job, lease, landed).await,
                Some(Err(error)) => Err(error),
                None => Err(Error::bug("a chain has fewer leases than members")),
            }
        };
        let (outcome, next) = futures::join!(loading, land(index + 1));
        ahead = next;
        match outcome {
            Ok(done) => report.jobs.push(done),
            Err(error) => {
                report.jobs.push(failure(job, &error));
                failed.push((job.name.clone(), error));
            }
        }
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
fn must_skip(chain: &Chain, job: &Job, failed: &[(String, Error)], skipped: &[(String, String)]) -> Option<String> {
    let (first, _) = failed.first()?;
    match chain.on_failure {
        OnFailure::Stop => Some(format!("`{first}` failed and the chain stops at a failure")),
        OnFailure::Continue => None,
        OnFailure::SkipDependents => failed
            .iter()
            .find(|(name, _)| job.depends_on.contains(name))
            .map(|(name, _)| format!("it depends on `{name}`, which failed"))
            .or_else(|| {
                let (name, _) = skipped.iter().find(|(name, _)| job.depends_on.contains(name))?;
                Some(format!("it depends on `{name}`, which was skipped"))
            }),
    }
}
