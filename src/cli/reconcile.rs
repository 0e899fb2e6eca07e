//! `sf2gs reconcile JOB|CHAIN`.

use clap::Args;

use crate::error::Error;
use crate::error::Result;
use crate::pipeline::{World, reconcile_jobs};
use crate::reconcile::Comparison;

use super::output::{self, Format};
use super::{Outcome, Shared, report};

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArguments {
    /// Name of a job or a chain of the project
    #[arg(value_name = "JOB|CHAIN")]
    name: String,
    /// List every row that does not agree instead of the counts
    #[arg(long)]
    findings: bool,
}

pub(super) async fn reconcile(shared: Shared, arguments: ReconcileArguments) -> Result<Outcome> {
    let world = shared.world().await?;
    let comparisons = compare(&world, &arguments.name).await?;
    let batch = if arguments.findings {
        report::findings_batch(&comparisons)?
    } else {
        report::comparisons_batch(&comparisons)?
    };
    output::rows(shared.format, &[batch])?;
    let agree = comparisons.iter().all(|(_, comparison)| comparison.agrees());
    if !agree && !arguments.findings && shared.format == Format::Table && !shared.quiet {
        output::tell(&format!("the two sides differ. See where: sf2gs reconcile {} --findings", arguments.name));
    }
    Ok(if agree { Outcome::Done } else { Outcome::Differences })
}

/// Compares every job that `name` stands for.
pub(super) async fn compare(world: &World, name: &str) -> Result<Vec<(String, Comparison)>> {
    let names = match world.project.chains.get(name) {
        Some(chain) => chain.jobs.clone(),
        None if world.project.jobs.contains_key(name) => vec![name.to_owned()],
        None => {
            return Err(Error::config(format!("there is no job or chain named `{name}` in this project"))
                .hint("`sf2gs check` lists the jobs and chains of the project"));
        }
    };
    let jobs = names.iter().map(|name| world.job(name)).collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().zip(reconcile_jobs(world, &jobs).await?).collect())
}
