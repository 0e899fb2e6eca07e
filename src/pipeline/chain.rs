//! A chain: members in order, one upper bound for all, the next extracts beside this load.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::mpsc;

use crate::clock;
use crate::config::job::Job;
use crate::config::project::{Chain, OnFailure};
use crate::error::Error;
use crate::error::Result;
use crate::ledger::{ChainRun, Lease};

use super::job::{RunOptions, alive, load_source, stop_after_landing};
use super::report::{ChainReport, JobReport};
use super::source::{Member, land_source, upper_bound};
use super::world::World;

/// Runs the members of `chain`: extracts go on beside the loads before them, two at most ahead of the
/// load, and both are strictly in order.
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
    let running = async { Ok(run_members(world, chain, &jobs, &leases, &members, options).await) };
    alive(world, &leases, running).await
}

async fn run_members(
    world: &World,
    chain: &Chain,
    jobs: &[&Job],
    leases: &[Lease],
    members: &[Member],
    options: &RunOptions,
) -> ChainReport {
    let fate = Mutex::new(Fate::default());
    // What one extract needs of this machine is bounded, and they are few; a third that is landed would gain nothing.
    let (ahead, mut landed) = mpsc::channel(1);
    let landing = async {
        for ((job, lease), member) in jobs.iter().zip(leases).zip(members) {
            let skipped = {
                let fate = lock(&fate);
                fate.must_skip(chain, job, &fate.not_landed).is_some()
            };
            let landed = if skipped { None } else { Some(land_source(world, job, lease, Some(member), options).await) };
            if !matches!(landed, Some(Ok(_))) {
                lock(&fate).not_landed.push(job.name.clone());
            }
            if ahead.send(landed).await.is_err() {
                break;
            }
        }
    };
    let loading = async {
        let mut done = Vec::new();
        for (job, lease) in jobs.iter().zip(leases) {
            let landed = landed.recv().await.flatten();
            let reason = lock(&fate).must_skip(chain, job, &[]);
            if let Some(reason) = reason {
                lock(&fate).skipped.push((job.name.clone(), reason));
                continue;
            }
            let outcome = match landed {
                Some(Ok(landed)) if options.land_only => stop_after_landing(world, job, lease, landed),
                Some(Ok(landed)) => load_source(world, job, lease, landed).await,
                // A load says itself whose it is.
                Some(Err(error)) => Err(error.context("member", job.name.clone())),
                None => Err(Error::bug("a member of a chain was not landed")),
            };
            match outcome {
                Ok(report) => done.push(report),
                Err(error) => {
                    done.push(failure(job, &error));
                    lock(&fate).failures.push((job.name.clone(), error));
                }
            }
        }
        done
    };
    let ((), done) = futures::join!(landing, loading);
    let Fate { failures, skipped, .. } = fate.into_inner().unwrap_or_else(PoisonError::into_inner);
    ChainReport { jobs: done, skipped, failures }
}

/// What did not come to its end.
#[derive(Debug, Default)]
struct Fate {
    failures: Vec<(String, Error)>,
    /// Members whose extract failed or was left out, known before it is their turn.
    not_landed: Vec<String>,
    /// With the reason.
    skipped: Vec<(String, String)>,
}

fn lock(fate: &Mutex<Fate>) -> MutexGuard<'_, Fate> {
    fate.lock().unwrap_or_else(PoisonError::into_inner)
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
        error: Some(error.to_string()),
    }
}

impl Fate {
    /// Why a member does not run after what failed before it; `also` failed too.
    fn must_skip(&self, chain: &Chain, job: &Job, also: &[String]) -> Option<String> {
        let mut failed = self.failures.iter().map(|(name, _)| name).chain(also);
        let depends_on = |name: &&String| job.depends_on.contains(name);
        match chain.on_failure {
            OnFailure::Stop => failed.next().map(|first| format!("`{first}` failed and the chain stops at a failure")),
            OnFailure::Continue => None,
            OnFailure::SkipDependents => {
                let failed = failed.find(depends_on).map(|name| format!("it depends on `{name}`, which failed"));
                failed.or_else(|| {
                    let name = self.skipped.iter().map(|(name, _)| name).find(depends_on)?;
                    Some(format!("it depends on `{name}`, which was skipped"))
                })
            }
        }
    }
}
