//! `sf2gs plan JOB|CHAIN` and `sf2gs plan --quotas`.

use clap::Args;
use datafusion::arrow::array::RecordBatch;
use serde_json::json;

use crate::config::connection::GainsightConnection;
use crate::config::job::Job;
use crate::config::project::Project;
use crate::error::Error;
use crate::error::Result;
use crate::load::RouteCost;
use crate::load::route_costs;
use crate::pipeline::JobPlan;
use crate::pipeline::plan_job;

use super::Outcome;
use super::Shared;
use super::output;
use super::output::Format;
use super::progress::count;
use super::report::batch;
use super::report::numbers;
use super::report::texts;
use super::run::named;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    /// Name of a job or a chain of the project
    #[arg(value_name = "JOB|CHAIN", required_unless_present = "quotas")]
    name: Option<String>,
    /// Rows of each verdict to show with what differs
    #[arg(long, default_value_t = 3, value_name = "ROWS")]
    samples: usize,
    /// Show what the quotas make of each job's routes instead; asks neither system
    #[arg(long)]
    quotas: bool,
    /// With --quotas: rows that changed
    #[arg(long, default_value_t = 100_000, value_name = "ROWS", requires = "quotas")]
    changed: u64,
    /// With --quotas: all rows, which a naive connector sends each time
    #[arg(long, default_value_t = 1_000_000, value_name = "ROWS", requires = "quotas")]
    all: u64,
}

pub(super) async fn plan(shared: Shared, arguments: PlanArguments) -> Result<Outcome> {
    let Some(name) = arguments.name.filter(|_| !arguments.quotas) else {
        return quotas(&shared, arguments.changed, arguments.all);
    };
    let world = shared.world().await?;
    let mut plans = Vec::new();
    for job in named(&world, &name)? {
        plans.push(plan_job(&world, job, arguments.samples).await?);
    }
    if shared.format == Format::Table {
        for plan in &plans {
            print(plan)?;
        }
    } else {
        output::document(shared.format, &plans.iter().map(as_json).collect::<Vec<_>>())?;
    }
    let rejected = plans.iter().any(|plan| plan.verdicts.contains_key("rejected"));
    Ok(if rejected { Outcome::Differences } else { Outcome::Done })
}

/// The routes of every job under the connection's quotas.
fn quotas(shared: &Shared, changed: u64, all: u64) -> Result<Outcome> {
    let project = shared.load_project()?;
    let mut costs = Vec::new();
    for job in project.jobs.values() {
        costs.extend(route_costs(job, connection_of(&project, job)?, changed, all.max(changed)));
    }
    output::rows(shared.format, &[costs_batch(&costs)?])?;
    if shared.format == Format::Table && !shared.quiet {
        output::tell(&format!(
            "For {} changed rows of {}. Naive: every row each time, fifty a call. Diff only: the changed rows, fifty a call.\n\
             Calls hold one question for each that is answered later; hours are what the quotas impose.",
            count(changed),
            count(all.max(changed)),
        ));
        for cost in costs.iter().filter(|cost| cost.closed.is_some()) {
            output::tell(&format!(
                "{}: {} is not open: {}",
                cost.job,
                cost.route.name(),
                cost.closed.unwrap_or_default()
            ));
        }
    }
    Ok(Outcome::Done)
}

fn connection_of<'p>(project: &'p Project, job: &Job) -> Result<&'p GainsightConnection> {
    project.gainsight.get(&job.gainsight).ok_or_else(|| {
        Error::bug(format!("the job {} names a connection `{}` that `check` let pass", job.name, job.gainsight))
    })
}

fn costs_batch(costs: &[RouteCost]) -> Result<RecordBatch> {
    let hours = |of: fn(&RouteCost) -> f64| texts(costs, move |cost| Some(format!("{:.1}", of(cost))));
    batch(vec![
        ("job", texts(costs, |cost| Some(cost.job.clone()))),
        ("route", texts(costs, |cost| Some(cost.route.name().to_owned()))),
        ("chosen", texts(costs, |cost| cost.chosen.then(|| "yes".to_owned()))),
        ("quota", texts(costs, |cost| Some(cost.class.name().to_owned()))),
        ("rows_per_call", numbers(costs, |cost| cost.rows_per_call)),
        ("calls", numbers(costs, |cost| cost.ours.calls)),
        ("hours", hours(|cost| cost.ours.hours)),
        ("diff_calls", numbers(costs, |cost| cost.diff_only.calls)),
        ("diff_hours", hours(|cost| cost.diff_only.hours)),
        ("naive_calls", numbers(costs, |cost| cost.naive.calls)),
        ("naive_hours", hours(|cost| cost.naive.hours)),
    ])
}

/// One plan for people: what it reads, what it would do, why not, and what that takes.
fn print(plan: &JobPlan) -> Result<()> {
    output::line(&format!("{} ({} rows of Salesforce)", plan.job, count(plan.rows)))?;
    if let Some(soql) = &plan.soql {
        output::line(&format!("\nSOQL\n  {soql}"))?;
    }
    let counts: Vec<_> = plan.verdicts.iter().map(|(verdict, rows)| format!("{} {verdict}", count(*rows))).collect();
    output::line(&format!("\nVerdicts\n  {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }))?;
    for (code, rows) in &plan.rejects {
        output::line(&format!("  rejected for {code}: {}", count(*rows)))?;
    }
    if !plan.samples.is_empty() {
        output::line("\nSamples")?;
    }
    for sample in &plan.samples {
        let what = sample.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        output::line(&format!("  {} {}{what}", sample.source_id, sample.verdict))?;
        for difference in &sample.differences {
            let shown = |value: &Option<String>| value.clone().map_or("nothing".to_owned(), |text| format!("“{text}”"));
            output::line(&format!(
                "    {}: {} → {}",
                difference.field,
                shown(&difference.before),
                shown(&difference.after)
            ))?;
        }
    }
    output::line(&format!("\nCalls\n  {}", plan.calls))?;
    for note in &plan.notes {
        output::line(&format!("  note: {note}"))?;
    }
    output::line(&format!("\nSQL\n{}", plan.sql))
}

fn as_json(plan: &JobPlan) -> serde_json::Value {
    let calls: Vec<_> = plan
        .calls
        .calls
        .iter()
        .map(|planned| {
            json!({
                "route": planned.route.name(), "quota": planned.class.name(), "rows": planned.rows,
                "rows_per_call": planned.rows_per_call, "calls": planned.calls,
            })
        })
        .collect();
    let samples: Vec<_> = plan
        .samples
        .iter()
        .map(|sample| {
            let differences: Vec<_> = sample
                .differences
                .iter()
                .map(|one| json!({"field": one.field, "before": one.before, "after": one.after}))
                .collect();
            json!({
                "source_id": sample.source_id, "verdict": sample.verdict, "gsid": sample.gsid,
                "message": sample.message, "differences": differences,
            })
        })
        .collect();
    json!({
        "job": plan.job, "rows": plan.rows, "soql": plan.soql, "verdicts": plan.verdicts, "rejects": plan.rejects,
        "samples": samples, "route": plan.calls.route.name(), "calls": calls, "hours": plan.calls.hours,
        "notes": plan.notes, "sql": plan.sql,
    })
}
