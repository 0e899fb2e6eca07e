//! Asynchronous people calls: upsert and delete of up to 50, and what became of them (gainsight-api §3; the paths and
//! bodies are guesses, §12 items 27 and 29).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::json;

use super::cell::Fault;
use super::cell::Reason;
use super::faults::people_error;
use super::given::Record;
use super::objects::MOST_RECORDS;
use super::people::Fields;
use super::people::PersonBody;
use super::people::upsert;
use super::people::write_short;
use super::people_quick::Persons;
use super::reply::INVALID_FIELD;
use super::reply::Reply;
use super::tenant::Tenant;
use super::tenant::lock;
use super::tenant::parsed;

use crate::clock::random_id;

type Answer = Result<Reply, Reply>;

/// What became of each call. A million people in calls of 50 are 20,000 of these, so only rows are kept.
#[derive(Debug, Default)]
pub(super) struct PeopleJobs {
    jobs: Mutex<HashMap<String, Job>>,
}

impl PeopleJobs {
    /// As if no call had been made.
    pub(super) fn forget(&self) {
        lock(&self.jobs).clear();
    }
}

#[derive(Debug)]
struct Job {
    /// Status polls that still say `IN_PROGRESS`.
    polls_left: u32,
    rows: Vec<u32>,
    deleted: bool,
    errors: Vec<Json>,
}

#[derive(Debug, Deserialize)]
struct ManyBody<'a> {
    #[serde(borrow, default)]
    records: Vec<Record<'a>>,
}

fn counted(tenant: &Tenant, count: usize) -> Result<(), Reply> {
    match count {
        0 => Err(Reply::bad("GSOBJ_VCRUDR1001", "Row info is null")),
        1..=MOST_RECORDS => Ok(()),
        _ => Err(Reply::bad(
            &tenant.switches().too_many_records_code,
            format!("{count} records given, maximum {MOST_RECORDS} records are allowed in one call"),
        )),
    }
}

/// `PUT /v1/peoplemgmt/v1.0/people/async`: good rows load, bad ones are listed with their number.
pub(super) async fn put_many(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    let body = tenant.body(body).await?;
    let switches = tenant.switches();
    let quick = Persons::read(&tenant.catalog, &switches, &body);
    if let Some(persons) = quick.filter(|persons| counted(&tenant, persons.len()).is_ok()) {
        let now = tenant.now();
        let written = persons.write(&mut tenant.write(), now);
        if let Some(rows) = written {
            let job = Job { polls_left: switches.people_async_polls, rows, deleted: false, errors: Vec::new() };
            return Ok(accepted(&tenant, job));
        }
    }
    let body: ManyBody<'_> = parsed(&body)?;
    counted(&tenant, body.records.len())?;
    let now = tenant.now();
    let mut rows = Vec::with_capacity(body.records.len());
    let mut errors = Vec::new();
    let mut store = tenant.write();
    for (number, record) in body.records.into_iter().enumerate() {
        let written =
            PersonBody::of(record).and_then(|body| upsert(&tenant.catalog, &switches, &mut store, &body, now));
        match written {
            Ok(row) => rows.push(row as u32),
            Err(faults) => errors.extend(faults.iter().map(|fault| people_error(fault, Some(number)))),
        }
    }
    drop(store);
    Ok(accepted(&tenant, Job { polls_left: switches.people_async_polls, rows, deleted: false, errors }))
}

/// `DELETE /v1/peoplemgmt/v1.0/people/async` with a list of GSIDs (bare, or under `gsids` or `records`).
pub(super) async fn delete_many(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    let Some(fields) = Fields::of(&tenant.catalog) else { return Err(Reply::unknown_route()) };
    let body: Json = tenant.json(body).await?;
    let list = body.as_array().or_else(|| body.get("gsids")?.as_array()).or_else(|| body.get("records")?.as_array());
    let ids: Option<Vec<&str>> =
        list.and_then(|list| list.iter().map(|one| one.as_str().or_else(|| one.get("Gsid")?.as_str())).collect());
    let ids = ids.ok_or_else(|| Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} (a list of GSIDs is expected).")))?;
    counted(&tenant, ids.len())?;
    let switches = tenant.switches();
    let now = tenant.now();
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    let mut store = tenant.write();
    for (number, id) in ids.iter().enumerate() {
        let row = tenant.catalog.gsids.read(id.as_bytes()).and_then(|id| store.tables[fields.person].row_of(id));
        let deleted = row.filter(|row| {
            store.delete(&tenant.catalog, fields.person, *row, now, switches.referenced_delete_refused).is_ok()
        });
        match deleted {
            Some(row) => rows.push(row as u32),
            None => errors.push(people_error(&Fault::new(Reason::NoMatch, "Gsid", Json::from(*id)), Some(number))),
        }
    }
    drop(store);
    Ok(accepted(&tenant, Job { polls_left: switches.people_async_polls, rows, deleted: true, errors }))
}

fn accepted(tenant: &Tenant, job: Job) -> Reply {
    let id = random_id();
    let reply = Reply::Ok(format!("{{\"statusId\":\"{id}\"}}").into_bytes());
    lock(&tenant.people_jobs.jobs).insert(id, job);
    reply
}

/// `GET /v1/peoplemgmt/v1.0/people/async/status/{statusId}`.
pub(super) async fn status(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Answer {
    let mut jobs = lock(&tenant.people_jobs.jobs);
    let job = jobs.get_mut(&id).ok_or_else(|| Reply::bad("GSOBJ_VQP1001", format!("Unknown status id ({id}).")))?;
    if job.polls_left > 0 {
        job.polls_left -= 1;
        return Ok(Reply::json(&json!({"status": "IN_PROGRESS", "count": 0, "errors": [], "people": []})));
    }
    let errors = Json::from(job.errors.clone());
    let mut data = format!("{{\"status\":\"COMPLETED\",\"count\":{},\"errors\":{errors},\"people\":[", job.rows.len())
        .into_bytes();
    let (rows, deleted) = (job.rows.clone(), job.deleted);
    drop(jobs);
    if !deleted {
        let store = tenant.read();
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            write_short(&tenant, &store, *row as usize, &mut data);
        }
    }
    data.extend_from_slice(b"]}");
    Ok(Reply::Ok(data))
}
