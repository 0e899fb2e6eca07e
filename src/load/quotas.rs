//! What the tenant's quotas make of a load, route by route, beside two other ways to work.
//!
//! The score under quotas is calls. For each route that an object has: how many rows a call carries, how many calls so
//! many changed rows take, and how long the quotas make them last; and what it takes a connector that sends every row
//! each time, and one that sends the changed rows, both fifty a call. All numbers are the planner's own
//! ([`plan_calls`](super::plan_calls)), with which a load chooses its route.

use crate::config::connection::GainsightConnection;
use crate::config::job::Job;
use crate::config::job::TargetObject;
use crate::telemetry::CallClass;

use super::plan::CallPlan;
use super::plan::Route;
use super::plan::Workload;
use super::plan::bulk_job;
use super::plan::by;
use super::plan::plan_calls;

/// One route of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCost {
    /// The job.
    pub job: String,
    /// The object that is written: `user`, `company`, `people`.
    pub object: String,
    /// The route.
    pub route: Route,
    /// Whether a load of so many rows takes it.
    pub chosen: bool,
    /// Why the route is not open to the job, if it is not.
    pub closed: Option<&'static str>,
    /// The quota of its calls.
    pub class: CallClass,
    /// Rows in a full call.
    pub rows_per_call: u64,
    /// What the changed rows take.
    pub ours: Cost,
    /// What every row takes, each time, fifty a call.
    pub naive: Cost,
    /// What the changed rows take, fifty a call.
    pub diff_only: Cost,
}

/// Calls, and the hours that the quotas make them last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// All calls, questions among them.
    pub calls: u64,
    /// Hours from a window's start.
    pub hours: f64,
}

impl Cost {
    fn of(plan: &CallPlan) -> Self {
        Self { calls: plan.calls.iter().map(|planned| planned.calls).sum(), hours: plan.hours }
    }
}

/// Every route of `job` for `changed` rows of `all`.
pub fn route_costs(job: &Job, connection: &GainsightConnection, changed: u64, all: u64) -> Vec<RouteCost> {
    let work = |rows: u64| Workload { updates: rows, ..Workload::default() };
    let object = &job.target.object;
    let (routes, fifty): (&[Route], Route) = match object {
        TargetObject::User => (&[Route::Users], Route::Users),
        TargetObject::People => (&[Route::Person, Route::PeopleAsync], Route::PeopleAsync),
        TargetObject::Object(_) => (&[Route::ObjectRest, Route::BulkImport], Route::ObjectRest),
    };
    let chosen = plan_calls(job, connection, &work(changed)).route;
    let (naive, diff_only) = (by(fifty, connection, &work(all)), by(fifty, connection, &work(changed)));
    let costs = routes.iter().map(|route| {
        let plan = by(*route, connection, &work(changed));
        let no_job = match object {
            TargetObject::Object(name) => *route == Route::BulkImport && bulk_job(job, connection, name).is_none(),
            TargetObject::User | TargetObject::People => false,
        };
        let main = plan.calls.iter().find(|planned| planned.route == *route);
        RouteCost {
            job: job.name.clone(),
            object: object.to_string(),
            route: *route,
            chosen: *route == chosen,
            closed: no_job.then_some("no bulk job with the job's identifiers as its keys is configured"),
            class: main.map_or(CallClass::GainsightSync, |planned| planned.class),
            rows_per_call: main.map_or(0, |planned| planned.rows_per_call),
            ours: Cost::of(&plan),
            naive: Cost::of(&naive),
            diff_only: Cost::of(&diff_only),
        }
    });
    costs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::samples;

    #[test]
    fn the_documented_quotas_decide_what_a_hundred_thousand_rows_take() {
        let connection = samples::connection();
        let cost = |object: TargetObject, maps: &[(&str, &str, bool)]| {
            route_costs(&samples::job(object, maps), &connection, 100_000, 1_000_000)
        };
        let users = cost(TargetObject::User, &[("gsuser", "SFDCUserName", true)]);
        assert_eq!((users.len(), users[0].ours.calls, users[0].naive.calls), (1, 2_000, 20_000));
        let company = cost(TargetObject::Object("company".into()), &[("company", "SfdcAccountId", true)]);
        let [rest, bulk] = &company[..] else { panic!("{company:?}") };
        assert_eq!((rest.ours.calls, rest.chosen, bulk.chosen), (2_000, false, true));
        // One file and one question, against 20,000 calls of which a minute takes 100.
        assert_eq!((bulk.ours.calls, bulk.naive.calls, bulk.ours.hours), (2, 20_000, 0.0));
        assert!((bulk.naive.hours - 199.0 / 60.0).abs() < 0.01, "{}", bulk.naive.hours);
        let people = cost(TargetObject::People, &[("person", "Email", true)]);
        let [single, later] = &people[..] else { panic!("{people:?}") };
        assert_eq!((single.ours.calls, later.ours.calls), (100_000, 2 * 2_000));
        // 50,000 a day against a hundred of fifty.
        assert!(single.chosen && single.ours.hours < 48.0 && later.ours.hours > 400.0);
        assert_eq!(later.naive.calls, 2 * 20_000);
        assert!(company.iter().all(|route| route.closed.is_none()));
    }

    #[test]
    fn a_route_that_is_not_open_says_why() {
        let mut connection = samples::connection();
        connection.bulk_jobs.clear();
        let job = samples::job(TargetObject::Object("company".into()), &[("company", "SfdcAccountId", true)]);
        let costs = route_costs(&job, &connection, 100_000, 1_000_000);
        assert!(costs[0].chosen && costs[0].closed.is_none() && costs[1].closed.is_some());
    }
}
