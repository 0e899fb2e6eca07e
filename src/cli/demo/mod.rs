//! `sf2gs demo`: the main job, from two empty sandboxes to a reconciliation.
//!
//! Everything goes over HTTP as against the real services. The demo knows what was planted in the data: it ends with 0
//! only when the outcome is exactly that, row for row, and with 4 otherwise.

mod changes;
mod expect;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::clock::Clock;
use crate::config::project::Project;
use crate::error::Error;
use crate::error::Result;
use crate::pipeline::{JobReport, RunOptions, World};
use crate::sandbox::gainsight::{self, TenantOptions};
use crate::sandbox::salesforce;

use super::output::{self, Format};
use super::{Outcome, Shared, reconcile, report, run, sandbox};

/// The chain that the demo runs.
const CHAIN: &str = "salesforce_company_person_sync";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Project folder to make; a new temporary one if left out
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    data: sandbox::DataArguments,
    /// Hold the tenant's documented quotas instead of switching them off
    #[arg(long)]
    quotas: bool,
}

pub(super) async fn demo(shared: Shared, arguments: DemoArguments) -> Result<Outcome> {
    let begun = Instant::now();
    let table = shared.format == Format::Table && !shared.quiet;
    let say = |text: &str| if table { output::line(text) } else { Ok(()) };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

    let org = salesforce::serve(arguments.data.org(Clock::system()), anywhere).await?;
    let tenant = gainsight::serve(
        TenantOptions { quotas: arguments.quotas, clock: Clock::system(), ..TenantOptions::default() },
        anywhere,
    )
    .await?;
    let folder = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => temporary_folder()?,
    };
    sandbox::write_project(&folder, &org, &tenant, arguments.quotas)?;
    say(&format!(
        "A Salesforce org at {} and an empty Gainsight tenant at {}.\nThe project: {}\n",
        org.url(),
        tenant.url(),
        folder.display()
    ))?;

    let project = Project::load(&folder).map_err(Error::from)?;
    let world = World::open(project, shared.reporter(), Clock::system()).await?;
    let planted = changes::planted(&org).await?;

    say("1. The chain from an empty tenant")?;
    let first = chain(&world).await?;
    show(&shared, &first)?;
    let expected_first = expect::first_run(&org, &planted).await?;
    let mut wrong = expect::check_run(&world, &first, &expected_first).await?;
    if table {
        show_reasons(&shared, &world, &first).await?;
    }

    say("\n2. People change Salesforce: an account is renamed, a contact moves, a user joins, a contact is deleted")?;
    let edits = changes::make(&org, &tenant, &planted).await?;
    for line in edits.lines() {
        say(&format!("   {line}"))?;
    }
    let second = chain(&world).await?;
    show(&shared, &second)?;
    wrong.extend(expect::check_run(&world, &second, &edits.expected()).await?);

    say("\n3. Both sides compared by key")?;
    let comparisons = reconcile::compare(&world, CHAIN).await?;
    output::rows(shared.format, &[report::comparisons_batch(&comparisons)?])?;
    wrong.extend(expect::check_reconciliation(&comparisons, &planted, &edits));
    say(&format!("   {}", edits.explain_extras()))?;

    if !wrong.is_empty() {
        return Err(Error::bug(format!("the demo's outcome is not what was planted: {}", wrong.join("; ")))
            .hint("please report this with the seed and the sizes"));
    }
    say(&format!(
        "\nEverything is as planted, row for row. {:.1} s in all.\nLook next:\n  sf2gs -C {dir} activity\n  sf2gs -C {dir} activity {run} --rejects\n  sf2gs -C {dir} sql 'SELECT \"Industry\", count(*) FROM lake.salesforce.account GROUP BY 1 ORDER BY 2 DESC'\n  the lake (Delta tables): {lake}",
        begun.elapsed().as_secs_f64(),
        dir = folder.display(),
        run = first.last().map(|job| job.run.as_str()).unwrap_or_default(),
        lake = folder.join(".sf2gs/lake").display(),
    ))?;
    Ok(Outcome::Done)
}

/// Runs the chain; the demo ends with its first failure.
async fn chain(world: &World) -> Result<Vec<JobReport>> {
    let ran = run::execute(world, CHAIN, &RunOptions::default()).await?;
    match ran.failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(ran.jobs),
    }
}

fn show(shared: &Shared, jobs: &[JobReport]) -> Result<()> {
    output::rows(shared.format, &[report::jobs_batch(jobs, shared.format)?])
}

async fn show_reasons(shared: &Shared, world: &World, jobs: &[JobReport]) -> Result<()> {
    let runs: Vec<_> = jobs.iter().map(|job| format!("'{}'", job.run)).collect();
    let session = crate::pipeline::query_session(world).await?;
    let sql = format!(
        "SELECT job, source_id, code, message, remedy FROM activity.rejects WHERE run IN ({}) ORDER BY job, code, source_id LIMIT 20",
        runs.join(", ")
    );
    let batches = session.sql(&sql).await?.collect().await?;
    if batches.iter().any(|batch| batch.num_rows() > 0) {
        output::line("   Rejected, with the reason and what to do:")?;
        output::rows(shared.format, &batches)?;
    }
    Ok(())
}

fn temporary_folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix("sf2gs-demo-")
        .tempdir()
        .map_err(|e| Error::unavailable("no temporary folder could be made").source(e))?;
    // Kept: the point of a demo is to look at what it left.
    let path: &Path = &folder.keep();
    Ok(path.to_path_buf())
}
