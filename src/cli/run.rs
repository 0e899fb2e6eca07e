//! `sf2gs run JOB|CHAIN`.

use clap::Args;

use crate::config::job::Job;
use crate::error::Error;
use crate::error::Result;
use crate::ledger::RunStatus;
use crate::pipeline::{ChainReport, JobReport, RunOptions, World, run_chain, run_job};

use super::output::{self, Format};
use super::progress::count;
use super::{Outcome, Shared, report};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Name of a job or a chain of the project
    #[arg(value_name = "JOB|CHAIN")]
    name: String,
    /// Read whole objects, whatever was read before
    #[arg(long)]
    full: bool,
    /// Stop when the rows are in the lake, and write nothing to Gainsight; the next run loads them
    #[arg(long)]
    land_only: bool,
}

pub(super) async fn run(shared: Shared, arguments: RunArguments) -> Result<Outcome> {
    let world = shared.world().await?;
    let options = RunOptions { full: arguments.full, land_only: arguments.land_only };
    let ChainReport { jobs, skipped, failures } = execute(&world, &arguments.name, &options).await?;
    output::rows(shared.format, &[report::jobs_batch(&jobs, shared.format)?])?;
    if shared.format == Format::Table && !shared.quiet {
        explain(&jobs);
    }
    for (job, reason) in skipped {
        output::tell(&format!("{job}: skipped, as {reason}"));
    }
    // The first is what the program ends with.
    let mut failures = failures.into_iter().map(|(_, error)| error);
    let first = failures.next();
    failures.for_each(|error| output::complain(&error.render()));
    if let Some(error) = first {
        return Err(error);
    }
    if arguments.land_only && jobs.iter().all(|job| job.status == RunStatus::Cancelled) {
        return Ok(Outcome::Done);
    }
    Ok(if jobs.iter().all(|job| job.status == RunStatus::Success) { Outcome::Done } else { Outcome::Differences })
}

/// Runs what `name` says; a chain wins nothing over a job, since `check` keeps their names apart.
pub(super) async fn execute(world: &World, name: &str, options: &RunOptions) -> Result<ChainReport> {
    if let Some(chain) = world.project.chains.get(name) {
        return run_chain(world, chain, options).await;
    }
    let mut ran = ChainReport::default();
    for job in named(world, name)? {
        ran.jobs.push(run_job(world, job, options).await?);
    }
    Ok(ran)
}

/// The jobs that `name` means: a chain's, in their order, or the one.
pub(super) fn named<'w>(world: &'w World, name: &str) -> Result<Vec<&'w Job>> {
    if let Some(chain) = world.project.chains.get(name) {
        return chain.jobs.iter().map(|job| world.job(job)).collect();
    }
    if world.project.jobs.contains_key(name) {
        return Ok(vec![world.job(name)?]);
    }
    let mut known: Vec<_> = world.project.chains.keys().chain(world.project.jobs.keys()).map(String::as_str).collect();
    known.sort_unstable();
    Err(Error::config(format!("there is no job or chain named `{name}` in this project"))
        .hint(format!("use one of: {}", known.join(", "))))
}

/// What a person should look at next.
fn explain(jobs: &[JobReport]) {
    for job in jobs.iter().filter(|job| job.counters.rejected > 0) {
        let reasons: Vec<_> = job.rejects.iter().map(|(code, rows)| format!("{} {code}", count(*rows))).collect();
        output::tell(&format!(
            "{}: {} rejected ({}). See why: sf2gs activity {} --rejects",
            job.job,
            count(job.counters.rejected),
            reasons.join(", "),
            job.run
        ));
    }
    let idle = |job: &&JobReport| job.error.is_none() && job.counters.extracted == 0 && job.counters.retried == 0;
    for job in jobs.iter().filter(idle) {
        output::tell(&format!("{}: Salesforce had no new or changed rows", job.job));
    }
}
