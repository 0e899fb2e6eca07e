//! How many calls a load needs, of which class, by which route, and how long the quotas make it last.
//!
//! Pure arithmetic over the documented limits (gainsight-api §9): the load chooses its route with it, `plan` prints it.

use std::fmt;

use crate::config::connection::BulkJob;
use crate::config::connection::GainsightConnection;
use crate::config::connection::GainsightLimits;
use crate::config::job::Job;
use crate::config::job::TargetObject;
use crate::telemetry::CallClass;

/// Most records in a REST call.
pub(super) const REST_ROWS: usize = 50;

/// Most bytes of CSV in a bulk import: 80 MB less room for the envelope (gainsight-api §6.1).
pub const BULK_BYTES: usize = 79_000_000;

/// Bytes of a row as CSV where nothing is known about them.
pub(super) const ROW_BYTES: u64 = 300;

/// Where nothing limits the number of files, smaller ones let encoding, sending and taking in overlap.
pub(super) const BULK_BYTES_UNLIMITED: usize = 3_000_000;

/// How rows reach the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// User management, fifty a call.
    Users,
    /// People, one a call.
    Person,
    /// People, fifty a call, answered later.
    PeopleAsync,
    /// Object REST, fifty a call.
    ObjectRest,
    /// CSV into a bulk job.
    BulkImport,
    /// Questions how asynchronous work stands.
    Status,
}

impl Route {
    /// The name in plans and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Person => "people, one by one",
            Self::PeopleAsync => "people, asynchronous",
            Self::ObjectRest => "object REST",
            Self::BulkImport => "bulk import",
            Self::Status => "status questions",
        }
    }
}

/// Rows that are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Workload {
    /// New records. For people: rows; several rows of one person share a call.
    pub inserts: u64,
    /// Records that change.
    pub updates: u64,
    /// Those among the updates that no bulk file can say: a field becomes null.
    pub only_rest: u64,
    /// Bytes of one row as CSV, as far as known; 0 for unknown.
    pub row_bytes: u64,
}

/// Calls of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCalls {
    /// Which route they take.
    pub route: Route,
    /// The quota that they use.
    pub class: CallClass,
    /// Rows that they carry.
    pub rows: u64,
    /// Rows in a full call.
    pub rows_per_call: u64,
    /// How many there are.
    pub calls: u64,
}

/// What a load needs.
#[derive(Debug, Clone, PartialEq)]
pub struct CallPlan {
    /// The route of most rows.
    pub route: Route,
    /// The calls, and one question for each that is answered later; a tenant that takes long is asked more often.
    pub calls: Vec<PlannedCalls>,
    /// Hours that the quotas impose, from a window's start.
    pub hours: f64,
}

impl CallPlan {
    /// Calls of one class.
    pub fn calls_of(&self, class: CallClass) -> u64 {
        self.calls.iter().filter(|calls| calls.class == class).map(|calls| calls.calls).sum()
    }
}

impl fmt::Display for CallPlan {
    /// `4 calls by object REST (gs_sync, 150 rows, up to 50 a call); the quotas let it end within their first windows`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.calls.is_empty() {
            return f.write_str("no calls: there is nothing to write");
        }
        for (at, calls) in self.calls.iter().enumerate() {
            let PlannedCalls { route, class, rows, rows_per_call, calls } = calls;
            let (comma, plural) = (if at > 0 { ", " } else { "" }, if *calls == 1 { "call" } else { "calls" });
            if *route == Route::Status {
                write!(f, "{comma}{calls} {plural} to ask how they stand ({})", class.name())?;
                continue;
            }
            write!(f, "{comma}{calls} {plural} by {} ({}, {rows} rows, ", route.name(), class.name())?;
            write!(f, "up to {rows_per_call} a call)")?;
        }
        match self.hours {
            none if none <= 0.0 => f.write_str("; the quotas let it end within their first windows"),
            hours if hours < 1.0 => write!(f, "; the quotas stretch it over {:.0} minutes", (hours * 60.0).ceil()),
            hours => write!(f, "; the quotas stretch it over {hours:.1} hours"),
        }
    }
}

/// The cheapest way that the object allows.
pub fn plan_calls(job: &Job, connection: &GainsightConnection, work: &Workload) -> CallPlan {
    let rows = work.inserts + work.updates;
    match &job.target.object {
        TargetObject::User => by(Route::Users, connection, work),
        TargetObject::People => {
            let (later, single) = (by(Route::PeopleAsync, connection, work), by(Route::Person, connection, work));
            // Asynchronous work may take half an hour (gainsight-api §3). Of the same quota it takes a small part.
            let free = connection.limits.bulk_per_hour.is_none() && connection.limits.bulk_per_day.is_none();
            let worth = !connection.people_async_is_bulk || free || later.hours + 0.5 < single.hours;
            if rows > 1 && worth { later } else { single }
        }
        TargetObject::Object(object) => {
            let rest = by(Route::ObjectRest, connection, work);
            let one_window = u64::from(connection.limits.sync_per_minute.unwrap_or(100));
            let fits_a_window = rest.calls_of(CallClass::GainsightSync) <= one_window;
            if fits_a_window || bulk_job(job, connection, object).is_none() || work.only_rest >= rows {
                return rest;
            }
            let bulk = by(Route::BulkImport, connection, work);
            if bulk.hours <= rest.hours { bulk } else { rest }
        }
    }
}

/// What the same work takes by one route.
pub(super) fn by(route: Route, connection: &GainsightConnection, work: &Workload) -> CallPlan {
    let rows = work.inserts + work.updates;
    let full = |route: Route, class: CallClass, rows: u64, rows_per_call: u64| PlannedCalls {
        route,
        class,
        rows,
        rows_per_call,
        calls: rows.div_ceil(rows_per_call),
    };
    // Inserts and updates are different calls, so each ends with a call that may not be full.
    let batched = |route: Route, class: CallClass, inserts: u64, updates: u64| PlannedCalls {
        calls: inserts.div_ceil(REST_ROWS as u64) + updates.div_ceil(REST_ROWS as u64),
        ..full(route, class, inserts + updates, REST_ROWS as u64)
    };
    let asked = |calls: u64| PlannedCalls {
        route: Route::Status,
        class: CallClass::GainsightSync,
        rows: 0,
        rows_per_call: 0,
        calls,
    };
    let sync = CallClass::GainsightSync;
    let mut calls = match route {
        Route::Users => vec![batched(route, CallClass::GainsightUsers, work.inserts, work.updates)],
        Route::Person => vec![full(route, sync, rows, 1)],
        Route::PeopleAsync => {
            let class = if connection.people_async_is_bulk { CallClass::GainsightBulk } else { sync };
            let people = full(route, class, rows, REST_ROWS as u64);
            let asked = asked(people.calls);
            vec![people, asked]
        }
        Route::ObjectRest | Route::Status => {
            vec![batched(Route::ObjectRest, sync, work.inserts, work.updates)]
        }
        Route::BulkImport => {
            let row_bytes = if work.row_bytes == 0 { ROW_BYTES } else { work.row_bytes.min(BULK_BYTES as u64) };
            let per_file = bulk_bytes(&connection.limits) as u64 / row_bytes;
            let files = full(route, CallClass::GainsightBulk, rows.saturating_sub(work.only_rest), per_file.max(1));
            let asked = asked(files.calls);
            vec![files, asked, batched(Route::ObjectRest, sync, 0, work.only_rest)]
        }
    };
    calls.retain(|planned| planned.calls > 0);
    let hours = hours_of(&calls, &connection.limits);
    CallPlan { route, calls, hours }
}

/// The bulk job of an object, where one exists whose update keys are the job's identifiers.
pub(super) fn bulk_job<'c>(job: &Job, connection: &'c GainsightConnection, object: &str) -> Option<&'c BulkJob> {
    let found = connection.bulk_jobs.get(&object.to_lowercase())?;
    let mut ours: Vec<String> = job.target.identifiers().map(|map| map.to.field.to_lowercase()).collect();
    let mut theirs: Vec<String> = found.keys.iter().map(|key| key.to_lowercase()).collect();
    ours.sort();
    theirs.sort();
    (ours == theirs && !ours.is_empty()).then_some(found)
}

/// Most bytes of CSV in one file under these limits.
pub(super) fn bulk_bytes(limits: &GainsightLimits) -> usize {
    match (limits.bulk_per_hour, limits.bulk_per_day) {
        (None, None) => BULK_BYTES_UNLIMITED,
        _ => BULK_BYTES,
    }
}

/// The classes are used side by side, so the slowest one counts.
fn hours_of(calls: &[PlannedCalls], limits: &GainsightLimits) -> f64 {
    CallClass::ALL
        .into_iter()
        .map(|class| {
            let calls = calls.iter().filter(|planned| planned.class == class).map(|planned| planned.calls).sum();
            let (short, hours, day) = match class {
                CallClass::GainsightSync => (limits.sync_per_minute, 1.0 / 60.0, limits.sync_per_day),
                CallClass::GainsightBulk => (limits.bulk_per_hour, 1.0, limits.bulk_per_day),
                CallClass::GainsightUsers => (limits.users_per_hour, 1.0, limits.users_per_day),
                CallClass::SalesforceRest | CallClass::SalesforceBulk => (None, 0.0, None),
            };
            waited(calls, short, hours, day)
        })
        .fold(0.0, f64::max)
}

/// Hours from the first call to the last one when both windows start together.
fn waited(calls: u64, short: Option<u32>, short_hours: f64, day: Option<u32>) -> f64 {
    let Some(last) = calls.checked_sub(1) else { return 0.0 };
    let (days, rest) = match day.map(u64::from).filter(|limit| *limit > 0) {
        Some(limit) => (last / limit, last % limit),
        None => (0, last),
    };
    let windows = short.map(u64::from).filter(|limit| *limit > 0).map_or(0, |limit| rest / limit);
    days as f64 * 24.0 + windows as f64 * short_hours
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::samples;

    fn work(inserts: u64, updates: u64) -> Workload {
        Workload { inserts, updates, ..Workload::default() }
    }

    fn company_job() -> Job {
        samples::job(TargetObject::Object("company".into()), &[("company", "SfdcAccountId", true)])
    }

    #[test]
    fn few_rows_go_by_rest_and_many_by_bulk() {
        let connection = samples::connection();
        let few = plan_calls(&company_job(), &connection, &work(120, 30));
        assert_eq!((few.route, few.calls_of(CallClass::GainsightSync), few.hours), (Route::ObjectRest, 4, 0.0));
        let many = plan_calls(&company_job(), &connection, &work(200_000, 0));
        assert_eq!((many.route, many.calls_of(CallClass::GainsightBulk), many.hours), (Route::BulkImport, 1, 0.0));
        let mut clearing = work(0, 200_000);
        clearing.only_rest = 100;
        let both = plan_calls(&company_job(), &connection, &clearing);
        assert_eq!(both.calls_of(CallClass::GainsightSync), 1 + 2, "a question, and two calls of 50");
    }

    #[test]
    fn a_plan_reads_as_a_sentence() {
        let connection = samples::connection();
        let text = plan_calls(&company_job(), &connection, &work(120, 30)).to_string();
        assert_eq!(
            text,
            "4 calls by object REST (gs_sync, 150 rows, up to 50 a call); the quotas let it end within their first windows"
        );
        let users = samples::job(TargetObject::User, &[("gsuser", "SFDCUserName", true)]);
        let text = plan_calls(&users, &connection, &work(20_000, 0)).to_string();
        assert!(text.ends_with("the quotas stretch it over 3.0 hours"), "{text}");
        assert_eq!(plan_calls(&users, &connection, &work(0, 0)).to_string(), "no calls: there is nothing to write");
    }

    #[test]
    fn a_bulk_job_with_other_keys_is_none_of_ours() {
        let mut connection = samples::connection();
        connection.bulk_jobs.insert("company".into(), BulkJob { id: "j".into(), keys: vec!["Name".into()] });
        let plan = plan_calls(&company_job(), &connection, &work(200_000, 0));
        assert_eq!(plan.route, Route::ObjectRest);
        assert_eq!(plan.calls_of(CallClass::GainsightSync), 4_000);
        assert!((plan.hours - 39.0 / 60.0).abs() < 1e-9);
    }

    #[test]
    fn people_take_the_route_that_the_quotas_make_faster() {
        let job = samples::job(TargetObject::People, &[("person", "Email", true)]);
        let mut connection = samples::connection();
        // 100 a minute one by one against 10 an hour of fifty.
        assert_eq!(plan_calls(&job, &connection, &work(10_000, 0)).route, Route::Person);
        connection.limits.bulk_per_hour = Some(1_000);
        connection.limits.bulk_per_day = Some(100_000);
        assert_eq!(plan_calls(&job, &connection, &work(10_000, 0)).route, Route::PeopleAsync);
        connection.people_async_is_bulk = false;
        let plan = plan_calls(&job, &connection, &work(10_000, 0));
        // Each call, and the question what became of it.
        assert_eq!((plan.route, plan.calls_of(CallClass::GainsightSync)), (Route::PeopleAsync, 400));
        assert_eq!(plan_calls(&job, &connection, &work(1, 0)).route, Route::Person);
    }

    #[test]
    fn users_last_as_long_as_their_quota() {
        let job = samples::job(TargetObject::User, &[("gsuser", "SFDCUserName", true)]);
        let plan = plan_calls(&job, &samples::connection(), &work(20_000, 0));
        assert_eq!(plan.calls_of(CallClass::GainsightUsers), 400);
        assert!((plan.hours - 3.0).abs() < 1e-9);
        let plan = plan_calls(&job, &samples::connection(), &work(100_000, 0));
        assert!((plan.hours - (24.0 + 9.0)).abs() < 1e-9, "{}", plan.hours);
    }
}
