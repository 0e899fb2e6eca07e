//! `[chains.*]` of `sf2gs.toml`: jobs in order.

use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use super::problem::{Place, Sink};
use super::project::{Chain, OnFailure};
use super::tree::{Found, Table};
use super::words;

/// A chain as it is written.
pub(super) struct ReadChain {
    chain: Chain,
    place: Place,
    jobs: Vec<Found<String>>,
}

pub(super) fn read(name: String, table: Table<'_>) -> ReadChain {
    if !words::is_name(&name) {
        table.report(&table.place, format!("`{name}` cannot name a chain"), words::name_rule(&name));
    }
    let title = table.text("title").map_or_else(|| name.clone(), |found| found.value);
    let jobs = table.texts("jobs");
    if jobs.as_ref().is_none_or(Vec::is_empty) {
        table.need("jobs", "name its jobs in order: jobs = [\"user_sync\", \"company_sync\"]");
    }
    let jobs = jobs.unwrap_or_default();
    let on_failure = table
        .choice(
            "on_failure",
            &[
                ("stop", OnFailure::Stop),
                ("continue", OnFailure::Continue),
                ("skip_dependents", OnFailure::SkipDependents),
            ],
        )
        .map_or(OnFailure::Stop, |found| found.value);
    let place = table.place.clone();
    table.end();
    let members = jobs.iter().map(|job| job.value.clone()).collect();
    ReadChain { chain: Chain { name, title, jobs: members, on_failure }, place, jobs }
}

/// Checks the chains against the jobs. `names` are those of all jobs that are written, sound or not.
pub(super) fn check(
    read: Vec<ReadChain>,
    jobs: &BTreeMap<String, Job>,
    names: &BTreeSet<String>,
    incomplete: bool,
    sink: &Sink,
) -> BTreeMap<String, Chain> {
    for chain in &read {
        if names.contains(&chain.chain.name) {
            let hint = "rename one of the two: `sf2gs run` takes the name of either";
            sink.report(&chain.place, format!("there is also a job named `{}`", chain.chain.name), hint);
        }
        members(chain, names, incomplete, sink);
        order(chain, jobs, sink);
    }
    read.into_iter().map(|read| (read.chain.name.clone(), read.chain)).collect()
}

fn members(chain: &ReadChain, names: &BTreeSet<String>, incomplete: bool, sink: &Sink) {
    let mut seen = BTreeSet::new();
    for job in &chain.jobs {
        if !seen.insert(&job.value) {
            sink.report(&job.place, format!("`{}` is named twice", job.value), "remove one of the two");
        } else if !names.contains(&job.value) && !incomplete {
            let hint = words::meant(&job.value, names.iter().map(String::as_str));
            sink.report(&job.place, format!("there is no job `{}`", job.value), hint);
        }
    }
}

/// A job must come after those that it depends on, and should come after those that load what it looks up.
fn order(chain: &ReadChain, jobs: &BTreeMap<String, Job>, sink: &Sink) {
    let position = |name: &str| chain.jobs.iter().position(|member| member.value == name);
    let loads = |job: &Job, object: &str| job.target.object.objects().contains(&object);
    let mut connections: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (index, member) in chain.jobs.iter().enumerate() {
        let Some(job) = jobs.get(&member.value) else { continue };
        connections.insert((&job.salesforce, &job.gainsight));
        for needed in &job.depends_on {
            match position(needed) {
                Some(other) if other > index => sink.report(
                    &member.place,
                    format!("`{}` depends on `{needed}`, which comes later in the chain", job.name),
                    format!("put \"{needed}\" before \"{}\"", job.name),
                ),
                Some(_) => {}
                None if jobs.contains_key(needed) => sink.warn(
                    &member.place,
                    format!("`{}` depends on `{needed}`, which is not in the chain", job.name),
                    format!("add \"{needed}\" before it, or make sure that it has run"),
                ),
                None => {}
            }
        }
        let looked_up: BTreeSet<&str> = job.target.derives.iter().map(|derive| derive.lookup.as_str()).collect();
        for object in looked_up.into_iter().filter(|object| !loads(job, object)) {
            let loaded_at =
                chain.jobs.iter().position(|other| jobs.get(&other.value).is_some_and(|other| loads(other, object)));
            match loaded_at {
                Some(at) if at < index => {}
                Some(at) => {
                    let later = chain.jobs.get(at).map_or("", |found| found.value.as_str());
                    sink.warn(
                        &member.place,
                        format!("`{}` looks up `{object}`, which `{later}` loads later in the chain", job.name),
                        format!(
                            "put \"{later}\" before \"{}\", or its new records are found only by the next run",
                            job.name
                        ),
                    );
                }
                None => {
                    let loader = jobs.values().find(|other| loads(other, object));
                    let hint = match loader {
                        Some(loader) => format!("add \"{}\" before it, or make sure that it has run", loader.name),
                        None => format!("make sure that something else fills `{object}`"),
                    };
                    sink.warn(
                        &member.place,
                        format!("`{}` looks up `{object}`, which nothing before it in the chain loads", job.name),
                        hint,
                    );
                }
            }
        }
    }
    if connections.len() > 1 {
        let message = format!("the members of `{}` use different connections", chain.chain.name);
        sink.warn(
            &chain.place,
            message,
            "their windows end by the clock of the first member's org; split the chain if that is not meant",
        );
    }
}
