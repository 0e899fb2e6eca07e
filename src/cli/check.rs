//! `sf2gs check`.

use clap::Args;

use crate::error::Result;

use super::{Outcome, Shared, output, report};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Also log in to both systems and check every field against them
    #[arg(long)]
    online: bool,
}

pub(super) async fn check(shared: &Shared, arguments: CheckArguments) -> Result<Outcome> {
    let project = shared.load_project()?;
    let jobs: Vec<_> = project.jobs.values().cloned().collect();
    let chain_of = |name: &str| {
        let chains: Vec<_> = project
            .chains
            .values()
            .filter(|chain| chain.jobs.iter().any(|job| job == name))
            .map(|chain| chain.name.clone())
            .collect();
        chains.join(", ")
    };
    if arguments.online {
        let world = shared.world().await?;
        for job in &jobs {
            crate::pipeline::check_online(&world, job).await?;
        }
    }
    output::rows(
        shared.format,
        &[report::batch(vec![
            ("job", report::texts(&jobs, |job| Some(job.name.clone()))),
            ("reads", report::texts(&jobs, |job| Some(format!("{}.{}", job.salesforce, job.source.object)))),
            ("writes", report::texts(&jobs, |job| Some(format!("{}.{}", job.gainsight, job.target.object)))),
            ("mappings", report::numbers(&jobs, |job| (job.target.maps.len() + job.target.derives.len()) as u64)),
            ("chains", report::texts(&jobs, |job| Some(chain_of(&job.name)))),
        ])?],
    )?;
    if !shared.quiet {
        let depth = if arguments.online { "the project fits both systems" } else { "the project has no problems" };
        output::tell(depth);
    }
    Ok(Outcome::Done)
}
