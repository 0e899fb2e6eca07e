//! The planner's arithmetic is what happens: the calls that it predicts are the calls that the tenant counts.

use std::collections::BTreeMap;

use serde_json::json;
use sf2gs::config::connection::GainsightLimits;
use sf2gs::config::job::Job;
use sf2gs::config::job::TargetObject;
use sf2gs::load::Route;
use sf2gs::load::Workload;
use sf2gs::load::plan_calls;
use sf2gs::load::route_costs;
use sf2gs::telemetry::CallClass;

use crate::support::tenant::Verdict;
use crate::support::tenant::World;
use crate::support::tenant::insert;
use crate::support::tenant::job;
use crate::support::tenant::update;
use crate::support::tenant::verdicts;

const COMPANY: [&str; 3] = ["company.Name", "company.SfdcAccountId", "company.Employees"];
const USER: [&str; 4] = ["gsuser.Name", "gsuser.Email", "gsuser.SFDCUserName", "avatar.SfdcUserId"];
const PEOPLE: [&str; 2] = ["person.Email", "company_person.Company_ID"];

fn sfid(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:012}AAA")
}

/// Loads and compares: calls by quota class as the plan says them and as the tenant counted them.
async fn as_planned(world: &World, job: &Job, columns: &[&str], rows: &[Verdict]) -> Route {
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict == verdict).count() as u64;
    let work = Workload { inserts: count("insert"), updates: count("update"), ..Workload::default() };
    let plan = plan_calls(job, &world.connection, &work);
    let before = world.counted().await;
    let loaded = world.load(job, verdicts(columns, rows)).await.unwrap();
    assert_eq!((loaded.inserted, loaded.updated), (work.inserts, work.updates), "{:?}", loaded.rejects);
    let after = world.counted().await;
    let classes =
        [("sync", CallClass::GainsightSync), ("bulk", CallClass::GainsightBulk), ("users", CallClass::GainsightUsers)];
    let counted: BTreeMap<&str, u64> = classes
        .iter()
        .map(|(name, _)| (*name, after.get(*name).unwrap_or(&0) - before.get(*name).unwrap_or(&0)))
        .collect();
    let mut planned: BTreeMap<&str, u64> = classes.iter().map(|(name, class)| (*name, plan.calls_of(*class))).collect();
    if plan.route == Route::BulkImport {
        // How often a file is asked about depends on how long the tenant works on it: once at least.
        assert!(counted["sync"] >= planned["sync"], "{counted:?} {plan}");
        planned.insert("sync", counted["sync"]);
    }
    assert_eq!(counted, planned, "{plan}");
    plan.route
}

#[tokio::test]
async fn the_tenant_counts_the_calls_that_were_planned_by_every_route() {
    let mut world = World::new().await;
    let users = job(TargetObject::User, &USER, &["gsuser.SFDCUserName"]);
    let rows: Vec<_> = (0..130)
        .map(|at| {
            let name = format!("user{at}@x.org");
            insert(format!("u{at}"), &[Some(&name), Some(&name), Some(&name), Some(&sfid("005", at))])
        })
        .collect();
    assert_eq!(as_planned(&world, &users, &USER, &rows).await, Route::Users);

    let companies = job(TargetObject::Object("company".into()), &COMPANY, &["company.SfdcAccountId"]);
    let company = |at: usize| insert(format!("a{at}"), &[Some("Name"), Some(&sfid("001", at)), Some("7")]);
    let some: Vec<_> = (0..120).map(company).collect();
    assert_eq!(as_planned(&world, &companies, &COMPANY, &some).await, Route::ObjectRest);
    let gsids: Vec<String> =
        world.dump("company").await.iter().map(|one| one["Gsid"].as_str().unwrap().to_owned()).collect();
    let mut mixed: Vec<_> = (0..90)
        .map(|at| {
            let set = [Some("Other"), Some(&*sfid("001", at)), Some("7")];
            update(format!("a{at}"), &gsids[at], "company.Name", &set)
        })
        .collect();
    mixed.extend((120..180).map(company));
    assert_eq!(as_planned(&world, &companies, &COMPANY, &mixed).await, Route::ObjectRest);
    let many: Vec<_> = (1_000..7_200).map(company).collect();
    assert_eq!(as_planned(&world, &companies, &COMPANY, &many).await, Route::BulkImport);

    let people = job(TargetObject::People, &PEOPLE, &["person.Email", "company_person.Company_ID"]);
    let person = |at: usize| insert(format!("c{at}"), &[Some(&format!("p{at}@x.org")), Some(&gsids[at % gsids.len()])]);
    let some: Vec<_> = (0..230).map(person).collect();
    assert_eq!(as_planned(&world, &people, &PEOPLE, &some).await, Route::PeopleAsync);
    // Under the documented quotas asynchronous calls are the slower way.
    world.connection.limits = GainsightLimits { concurrency: 4, ..GainsightLimits::default() };
    let some: Vec<_> = (1_000..1_070).map(person).collect();
    assert_eq!(as_planned(&world, &people, &PEOPLE, &some).await, Route::Person);
}

#[tokio::test]
async fn the_table_of_routes_names_what_a_load_takes() {
    let world = World::new().await;
    let companies = job(TargetObject::Object("company".into()), &COMPANY, &["company.SfdcAccountId"]);
    let mut connection = world.connection.clone();
    connection.limits = GainsightLimits::default();
    let costs = route_costs(&companies, &connection, 100_000, 1_000_000);
    let chosen: Vec<_> = costs.iter().filter(|cost| cost.chosen).map(|cost| cost.route).collect();
    assert_eq!(chosen, [Route::BulkImport]);
    let plan = plan_calls(&companies, &connection, &Workload { updates: 100_000, ..Workload::default() });
    let calls: u64 = plan.calls.iter().map(|planned| planned.calls).sum();
    assert_eq!(costs.iter().find(|cost| cost.chosen).unwrap().ours.calls, calls);
    let table = serde_json::to_value(costs.iter().map(|cost| cost.naive.calls).collect::<Vec<_>>()).unwrap();
    assert_eq!(table, json!([20_000, 20_000]));
}
