//! What jobs say about each other, about connections and about the key of people.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::{GainsightConnection, SalesforceConnection};
use super::job::{Job, TargetObject};
use super::problem::Sink;
use super::read_job::ReadJob;
use super::tree::Found;
use super::words;

/// What jobs may name.
pub(super) struct Known<'a> {
    pub(super) salesforce: &'a BTreeMap<String, SalesforceConnection>,
    pub(super) gainsight: &'a BTreeMap<String, GainsightConnection>,
    /// Every connection that is written, with problems or not: a job that names one of these is not to blame.
    pub(super) connections: &'a BTreeSet<String>,
    /// Every job that is written.
    pub(super) jobs: &'a BTreeSet<String>,
    /// Whether a file could not be read, so that names may be missing from these lists.
    pub(super) incomplete: bool,
}

/// Checks the jobs together and fills in what they leave to the project.
pub(super) fn check(mut read: Vec<ReadJob>, known: &Known<'_>, sink: &Sink) -> BTreeMap<String, Job> {
    for job in &mut read {
        job.job.salesforce =
            connection(job.salesforce.as_ref(), "salesforce", known.salesforce.keys(), job, known, sink);
        job.job.gainsight = connection(job.gainsight.as_ref(), "gainsight", known.gainsight.keys(), job, known, sink);
        dependencies(job, known, sink);
        match job.job.target.object {
            TargetObject::People => people_key(job, known, sink),
            _ => identifiers(job, sink),
        }
    }
    tables(&read, sink);
    cycles(&read, sink);
    read.into_iter().map(|read| (read.job.name.clone(), read.job)).collect()
}

/// The connection that a job names, or the one that it means: the only one, or the one with the usual name.
fn connection<'a>(
    named: Option<&Found<String>>,
    kind: &str,
    of_kind: impl Iterator<Item = &'a String> + Clone,
    read: &ReadJob,
    known: &Known<'_>,
    sink: &Sink,
) -> String {
    let names = || of_kind.clone().map(String::as_str);
    match named {
        Some(named) => {
            if !names().any(|name| name == named.value) && !known.incomplete {
                if known.connections.contains(&named.value) {
                    if known.salesforce.contains_key(&named.value) || known.gainsight.contains_key(&named.value) {
                        let hint = words::meant(&named.value, names());
                        sink.report(&named.place, format!("`{}` is not a {kind} connection", named.value), hint);
                    }
                } else {
                    let hint = format!("{}; connections are in sf2gs.toml", words::meant(&named.value, names()));
                    sink.report(&named.place, format!("there is no connection `{}`", named.value), hint);
                }
            }
            named.value.clone()
        }
        None => {
            let all: Vec<&str> = names().collect();
            // It may be the one that is meant.
            let broken = known.salesforce.len() + known.gainsight.len() < known.connections.len();
            match all.as_slice() {
                [only] => (*only).to_owned(),
                many if many.contains(&kind) => kind.to_owned(),
                [] if known.incomplete || broken => kind.to_owned(),
                [] => {
                    let place = if kind == "salesforce" { &read.places.source } else { &read.places.target };
                    sink.report(
                        place,
                        format!("the project has no {kind} connection"),
                        format!("add [connections.{kind}] with type = \"{kind}\" to sf2gs.toml"),
                    );
                    String::new()
                }
                many => {
                    let place = if kind == "salesforce" { &read.places.source } else { &read.places.target };
                    sink.report(
                        place,
                        format!("the project has several {kind} connections, and the job does not say which"),
                        format!("add connection = \"{}\" (or {})", many[0], many[1..].join(", ")),
                    );
                    String::new()
                }
            }
        }
    }
}

fn dependencies(read: &ReadJob, known: &Known<'_>, sink: &Sink) {
    let mut seen = BTreeSet::new();
    for job in &read.depends_on {
        if job.value == read.job.name {
            sink.report(&job.place, "the job depends on itself", "remove it");
        } else if !seen.insert(&job.value) {
            sink.report(&job.place, format!("`{}` is named twice", job.value), "remove one of the two");
        } else if !known.jobs.contains(&job.value) && !known.incomplete {
            let hint =
                words::meant(&job.value, known.jobs.iter().map(String::as_str).filter(|name| *name != read.job.name));
            sink.report(&job.place, format!("there is no job `{}`", job.value), hint);
        }
    }
}

fn identifiers(read: &ReadJob, sink: &Sink) {
    let target = &read.job.target;
    if !read.flawed && target.identifiers().next().is_none() {
        let hint = match target.object {
            TargetObject::User => "add identifier = true to the mapping of `SFDCUserName`",
            _ => "add identifier = true to the mapping that names a record, such as the Salesforce id",
        };
        sink.report(&read.places.target, "no mapping is an identifier, so no record could be found again", hint);
    }
}

/// People are found by the tenant's person key, so a job has nothing to choose: the mappings of the key's fields are its
/// identifiers. A job with a `person_key` of its own uses that one.
fn people_key(read: &mut ReadJob, known: &Known<'_>, sink: &Sink) {
    let own = read.person_key.as_ref().map(|fields| {
        let plain = |field: &Found<String>| field.value.strip_prefix("person.").unwrap_or(&field.value).to_owned();
        fields.iter().map(plain).collect::<Vec<_>>()
    });
    let (key, whose) = match (own, known.gainsight.get(&read.job.gainsight)) {
        (Some(own), _) => (own, "the job's person key"),
        (None, Some(tenant)) => (tenant.person_key.clone(), "the tenant's person key"),
        (None, None) => return,
    };
    let mut missing: BTreeSet<&String> = key.iter().collect();
    for (map, place) in read.job.target.maps.iter_mut().zip(&read.places.maps) {
        let of_key = key.iter().find(|field| map.to.object == "person" && field.eq_ignore_ascii_case(&map.to.field));
        match of_key {
            Some(field) => {
                missing.remove(field);
                map.identifier = true;
            }
            None if map.identifier && map.to.object == "person" => sink.report(
                place,
                format!("`{}` is marked as identifier, but {whose} is {}", map.to, key.join(" + ")),
                format!(
                    "remove `identifier` here, or write person_key = [\"{}\"] under [target] to override the tenant's",
                    map.to.field
                ),
            ),
            None => {}
        }
    }
    if read.flawed {
        return;
    }
    for field in missing {
        sink.report(
            &read.places.target,
            format!("`person.{field}` is part of {whose}, but nothing is mapped to it"),
            format!("add [[target.map]] with to = \"person.{field}\""),
        );
    }
    let target = &read.job.target;
    let mut company = target.maps.iter().map(|map| &map.to).chain(target.derives.iter().map(|derive| &derive.to));
    if !company.any(|to| to.object == "company_person" && to.field.eq_ignore_ascii_case("Company_ID")) {
        sink.report(
            &read.places.target,
            "nothing is mapped to `company_person.Company_ID`, and people belong to companies",
            "add [[target.derive]] with to = \"company_person.Company_ID\" and lookup = \"company\"",
        );
    }
}

/// Two jobs may share a landed table only if they land the same.
fn tables(read: &[ReadJob], sink: &Sink) {
    let mut first: BTreeMap<(&str, &str), &ReadJob> = BTreeMap::new();
    for one in read {
        let key = (one.job.salesforce.as_str(), one.job.source.table.as_str());
        let Some(other) = first.get(&key) else {
            first.insert(key, one);
            continue;
        };
        let sorted = |job: &Job| job.source.fields.iter().cloned().collect::<BTreeSet<_>>();
        let differ = if one.job.source.object != other.job.source.object {
            Some("another object")
        } else if sorted(&one.job) != sorted(&other.job) {
            Some("other fields")
        } else if one.job.source.condition != other.job.source.condition {
            Some("another condition")
        } else {
            None
        };
        if let Some(what) = differ {
            sink.report(
                &one.places.source,
                format!(
                    "the job lands {what} in the table `{}` that `{}` lands too",
                    one.job.source.table, other.job.name
                ),
                format!(
                    "give it a table of its own: add table = \"{}_{}\" under [source]",
                    one.job.source.table, one.job.name
                ),
            );
        }
    }
}

/// Dependencies that come back to where they began. Each circle is told once.
fn cycles(read: &[ReadJob], sink: &Sink) {
    let jobs: BTreeMap<&str, &ReadJob> = read.iter().map(|one| (one.job.name.as_str(), one)).collect();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for start in jobs.keys() {
        if told.contains(start) {
            continue;
        }
        if let Some(circle) = circle_from(start, &jobs) {
            told.extend(circle.iter().copied());
            let place = jobs[start].depends_on.first().map_or(&jobs[start].places.source, |found| &found.place);
            sink.report(
                place,
                format!("the jobs depend on each other in a circle: {} → {start}", circle.join(" → ")),
                "remove one of these dependencies",
            );
        }
    }
}

fn circle_from<'a>(start: &'a str, jobs: &BTreeMap<&'a str, &'a ReadJob>) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![start]];
    while let Some(path) = paths.pop() {
        let Some(job) = path.last().and_then(|name| jobs.get(name)) else { continue };
        for next in &job.job.depends_on {
            if next == start {
                if path.len() > 1 {
                    return Some(path);
                }
            } else if seen.insert(next.as_str()) {
                paths.push(path.iter().copied().chain([next.as_str()]).collect());
            }
        }
    }
    None
}
