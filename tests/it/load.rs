//! The load against the Gainsight sandbox: good rows load, each bad one has its own reason, nothing is there twice.

use std::collections::BTreeMap;
use std::collections::HashSet;

use chrono::TimeDelta;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::config::connection::GainsightLimits;
use sf2gs::config::job::TargetObject;
use sf2gs::error::ErrorKind;
use sf2gs::load::Loaded;
use sf2gs::load::code;
use sf2gs::sandbox::gainsight::Limits;
use sf2gs::sandbox::gainsight::TenantOptions;
use sf2gs::telemetry::CallClass;

use crate::support::cutting::Cut;
use crate::support::cutting::Cutting;
use crate::support::tenant::Verdict;
use crate::support::tenant::World;
use crate::support::tenant::insert;
use crate::support::tenant::job;
use crate::support::tenant::no_limits;
use crate::support::tenant::update;
use crate::support::tenant::verdicts;

const COMPANY: [&str; 4] = ["company.Name", "company.SfdcAccountId", "company.Stage", "company.Employees"];

fn company() -> TargetObject {
    TargetObject::Object("company".into())
}

fn company_job() -> sf2gs::config::job::Job {
    job(company(), &COMPANY, &["company.SfdcAccountId"])
}

/// A Salesforce id that is valid and different for every number.
fn sfid(number: usize) -> String {
    format!("001{number:012}AAA")
}

fn companies(count: usize) -> Vec<Verdict> {
    (0..count)
        .map(|at| {
            let name = format!("Company {at}, \"Größe\" 株");
            insert(format!("a{at}"), &[Some(&name), Some(&sfid(at)), Some("Adopting"), Some("12")])
        })
        .collect()
}

fn sync_calls(world: &World) -> u64 {
    world.calls.read().get(&CallClass::GainsightSync).copied().unwrap_or(0)
}

fn ids(loaded: &Loaded) -> Vec<(&str, &str)> {
    let mut found: Vec<_> = loaded.rejects.iter().map(|reject| (&*reject.source_id, reject.code)).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn three_bad_companies_of_120_are_named_and_117_are_loaded_with_few_calls() {
    let mut world = World::new().await;
    for field in ["Name", "Stage", "SfdcAccountId"] {
        world.loosen("company", field);
    }
    let mut rows = companies(120);
    rows[7].set[0] = Some("x".repeat(300));
    rows[60].set[2] = Some("No such stage".into());
    rows[61].set[1] = Some("short".into());
    let before = sync_calls(&world);
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
    assert_eq!((loaded.inserted, loaded.rejects.len()), (117, 3));
    let found = ids(&loaded);
    assert_eq!(found, [("a60", code::PICKLIST_UNKNOWN), ("a61", code::VALUE_INVALID), ("a7", code::VALUE_TOO_LONG)]);
    let stage = loaded.rejects.iter().find(|reject| reject.source_id == "a60").unwrap();
    assert!(stage.message.contains("“No such stage” of `Stage`"), "{}", stage.message);
    // Three batches, and each of the two with bad rows once more.
    assert_eq!(sync_calls(&world) - before, 5);
    assert_eq!(world.dump("company").await.len(), 117);
    let chunks = world.ledger.chunks(Some(&world.run)).unwrap();
    assert_eq!(chunks.len(), 3);
    assert!(chunks.iter().all(|chunk| chunk.ended_at.is_some()));
    assert_eq!(chunks.iter().map(|chunk| chunk.inserted).sum::<u64>(), 117);
}

#[tokio::test]
async fn whatever_is_bad_exactly_that_is_rejected() {
    use rand::RngExt as _;
    use rand::SeedableRng as _;
    for seed in 0..12 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut world = World::new().await;
        for field in ["Name", "Stage", "SfdcAccountId"] {
            world.loosen("company", field);
        }
        let mut rows = companies(random.random_range(1..230));
        let share = [0.01, 0.1, 0.5, 0.9][seed as usize % 4];
        let mut bad = HashSet::new();
        for row in &mut rows {
            for (at, value) in [(0, "x".repeat(260)), (1, "no id".to_owned()), (2, format!("Stage {}", seed % 3))] {
                if random.random_bool(share / 2.0) {
                    row.set[at] = Some(value);
                    bad.insert(row.id.clone());
                }
            }
        }
        let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
        let found: HashSet<_> = loaded.rejects.iter().map(|reject| reject.source_id.clone()).collect();
        assert_eq!(found, bad, "seed {seed}");
        assert_eq!(loaded.rejects.len(), bad.len(), "seed {seed}: one reason a row");
        assert_eq!(loaded.inserted as usize, rows.len() - bad.len());
        assert_eq!(world.dump("company").await.len(), rows.len() - bad.len());
    }
}

#[tokio::test]
async fn bad_cells_that_the_metadata_tells_cost_no_call_at_all() {
    let world = World::new().await;
    let mut rows = companies(50);
    rows[1].set[0] = Some("x".repeat(251));
    rows[2].set[2] = Some("No such stage".into());
    let before = sync_calls(&world);
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
    assert_eq!(ids(&loaded), [("a1", code::VALUE_TOO_LONG), ("a2", code::PICKLIST_UNKNOWN)]);
    assert_eq!(sync_calls(&world) - before, 1);
}

#[tokio::test]
async fn updates_send_what_changed_and_say_which_records_are_gone() {
    let world = World::new().await;
    let records: Vec<Json> = (0..3)
        .map(|at| json!({"Name": format!("Old {at}"), "SfdcAccountId": sfid(at), "Stage": "Adopting", "Employees": 5}))
        .collect();
    let gsids = world.insert("company", json!(records)).await;
    let gone = format!("{}ZZZZ", &gsids[0][..32]);
    let mut rows = vec![
        update("a0", &gsids[0], "company.Name", &[Some("New"), Some(&sfid(0)), Some("Launched"), Some("9")]),
        update("a1", &gsids[1], "company.Stage,company.Employees", &[Some("x"), Some(&sfid(1)), None, None]),
        update("a2", &gone, "company.Name", &[Some("Nowhere"), Some(&sfid(2)), None, None]),
    ];
    rows[1].clears = true;
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
    assert_eq!((loaded.updated, ids(&loaded)), (2, vec![("a2", code::NOT_FOUND)]));
    let dump = world.dump("company").await;
    assert_eq!(dump[0]["Name"], "New");
    assert_eq!(dump[0]["Employees"], 5);
    assert_eq!(dump[1]["Name"], "Old 1");
    assert_eq!((&dump[1]["Stage"], &dump[1]["Employees"]), (&Json::Null, &Json::Null));
}

const PEOPLE: [&str; 4] = ["person.Email", "person.FirstName", "company_person.Company_ID", "company_person.Title"];

fn people_job() -> sf2gs::config::job::Job {
    job(TargetObject::People, &PEOPLE, &["person.Email", "company_person.Company_ID"])
}

async fn people_with_a_shared_address(world: &World) {
    let gsids = world.insert("company", json!([{"Name": "A"}, {"Name": "B"}])).await;
    let shared = |id: &str, email: &str, name: &str, company: &str, winner: bool| Verdict {
        person_key: Some("jane@x.org".into()),
        person_rows: 2,
        person_winner: winner,
        ..insert(id, &[Some(email), Some(name), Some(company), Some("VP")])
    };
    let rows = [
        shared("c0", "jane@x.org", "Jan", &gsids[0], false),
        insert("c1", &[Some("o'neil@x.org"), Some("Zoë"), Some(&gsids[0]), None]),
        insert("c2", &[Some("not an address"), Some("Bad"), Some(&gsids[1]), None]),
        insert("c3", &[Some("ok@x.org"), Some("No company"), Some(&"0".repeat(36)), None]),
        shared("c4", "Jane@X.org", "Jane", &gsids[1], true),
    ];
    let loaded = world.load(&people_job(), verdicts(&PEOPLE, &rows)).await.unwrap();
    assert_eq!(loaded.inserted, 3);
    let found = ids(&loaded);
    assert_eq!(found, [("c2", code::VALUE_INVALID), ("c3", code::VALUE_INVALID)]);
    let persons = world.dump("person").await;
    let names: BTreeMap<String, String> = persons
        .iter()
        .map(|p| (p["Email"].as_str().unwrap().to_lowercase(), p["FirstName"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(names, [("jane@x.org".into(), "Jane".into()), ("o'neil@x.org".into(), "Zoë".into())].into());
    assert_eq!(world.dump("company_person").await.len(), 3);
}

#[tokio::test]
async fn people_of_one_address_become_one_person_with_two_companies() {
    let world = World::new().await;
    people_with_a_shared_address(&world).await;
    assert_eq!(world.calls.read().get(&CallClass::GainsightBulk), Some(&1));
}

#[tokio::test]
async fn people_one_by_one_end_as_asynchronous_ones_do() {
    let mut world = World::new().await;
    world.connection.limits = GainsightLimits::default();
    people_with_a_shared_address(&world).await;
    assert_eq!(world.calls.read().get(&CallClass::GainsightBulk), None);
}

#[tokio::test]
async fn a_person_with_one_good_and_one_bad_company_keeps_the_good_one() {
    for one_by_one in [false, true] {
        let mut world = World::new().await;
        if one_by_one {
            world.connection.limits = GainsightLimits::default();
        }
        let gsids = world.insert("company", json!([{"Name": "A"}])).await;
        let row = |id: &str, company: &str, winner: bool| Verdict {
            person_key: Some("jane@x.org".into()),
            person_rows: 2,
            person_winner: winner,
            ..insert(id, &[Some("jane@x.org"), Some("Jane"), Some(company), None])
        };
        let rows = [row("c0", &gsids[0], true), row("c1", &"0".repeat(36), false)];
        let loaded = world.load(&people_job(), verdicts(&PEOPLE, &rows)).await.unwrap();
        assert_eq!((loaded.inserted, ids(&loaded)), (1, vec![("c1", code::VALUE_INVALID)]), "{one_by_one}");
        assert_eq!(world.dump("company_person").await.len(), 1);
    }
}

const USER: [&str; 4] = ["gsuser.Name", "gsuser.Email", "gsuser.SFDCUserName", "avatar.SfdcUserId"];

#[tokio::test]
async fn users_are_created_and_updated_whether_bad_ones_fail_the_call_or_not() {
    for partial in [false, true] {
        let mut world = World::new().await;
        world.loosen("gsuser", "Email");
        if partial {
            world.switch(|switches| switches.user_errors = sf2gs::sandbox::gainsight::UserErrors::Partial);
        }
        let job = job(TargetObject::User, &USER, &["gsuser.SFDCUserName"]);
        let user = |at: usize, email: &str| {
            let id = format!("005{at:012}AAA");
            insert(format!("u{at}"), &[Some("Ann"), Some(email), Some(&format!("user{at}@x.org")), Some(&id)])
        };
        let mut rows: Vec<_> = (0..60).map(|at| user(at, &format!("user{at}@x.org"))).collect();
        rows[3].set[1] = Some("not an address".into());
        let loaded = world.load(&job, verdicts(&USER, &rows)).await.unwrap();
        assert_eq!((loaded.inserted, loaded.rejects.len()), (59, 1), "{partial}: {:?}", loaded.rejects);
        assert_eq!(loaded.rejects[0].source_id, "u3");
        let users = world.dump("gsuser").await;
        let known: BTreeMap<&str, &str> =
            users.iter().filter_map(|user| Some((user["SFDCUserName"].as_str()?, user["Gsid"].as_str()?))).collect();
        assert_eq!(users.iter().filter(|user| user["SfdcUserId"].as_str().is_some()).count(), 59);
        let set = [Some("Anna"), Some("user0@x.org"), Some("user0@x.org"), None];
        let rows = [update("u0", known["user0@x.org"], "gsuser.Name", &set)];
        let loaded = world.load(&job, verdicts(&USER, &rows)).await.unwrap();
        assert_eq!(loaded.updated, 1);
        assert_eq!(world.dump("gsuser").await.iter().filter(|user| user["Name"] == "Anna").count(), 1);
    }
}

async fn bulk_with_bad_rows(world: &mut World) -> Loaded {
    world.loosen("company", "Stage");
    let mut rows = companies(6_000);
    for at in (0..6_000).step_by(1_000) {
        rows[at].set[2] = Some("No such stage".into());
    }
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
    assert_eq!(loaded.inserted, 5_994);
    assert!(ids(&loaded).iter().all(|(_, code)| *code == code::PICKLIST_UNKNOWN), "{:?}", loaded.rejects[0]);
    assert_eq!(loaded.rejects.len(), 6);
    let keys: HashSet<String> =
        world.dump("company").await.iter().map(|c| c["SfdcAccountId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 5_994);
    loaded
}

#[tokio::test]
async fn many_companies_go_by_bulk_and_failed_rows_keep_their_reason() {
    let mut world = World::new().await;
    let loaded = bulk_with_bad_rows(&mut world).await;
    assert!(loaded.rejects[0].message.contains("“No such stage” of `Stage`"), "{}", loaded.rejects[0].message);
    assert_eq!(world.calls.read().get(&CallClass::GainsightBulk), Some(&1));
    assert_eq!(world.ledger.chunks(Some(&world.run)).unwrap()[0].route, "bulk");
}

#[tokio::test]
async fn failed_rows_without_a_file_are_found_by_reading_back() {
    // A proxy that hides where the failed rows are stands for tenants that do not say.
    let options = TenantOptions { quotas: false, ..TenantOptions::default() };
    let mut world = World::with(options, no_limits(), |url| url).await;
    let hiding = crate::support::hiding::Hiding::of(world.tenant.url(), "failedRecordsUrl", "notShownHere").await;
    let mut settings = world.client.settings().clone();
    settings.url = hiding.url().parse().unwrap();
    (world.client, world.calls) = crate::support::tenant::client(settings, &Clock::system());
    bulk_with_bad_rows(&mut world).await;
}

#[tokio::test]
async fn rows_that_clear_or_keep_a_field_do_not_go_by_bulk() {
    let world = World::new().await;
    let records: Vec<Json> =
        (0..5_100).map(|at| json!({"Name": "Old", "SfdcAccountId": sfid(at), "Employees": 5})).collect();
    let gsids = world.insert("company", json!(records)).await;
    let mut rows: Vec<_> = gsids
        .iter()
        .enumerate()
        .map(|(at, gsid)| {
            update(format!("a{at}"), gsid, "company.Name", &[Some("New"), Some(&sfid(at)), None, Some("5")])
        })
        .collect();
    rows[0] = update("a0", &gsids[0], "company.Employees", &[Some("Old"), Some(&sfid(0)), None, None]);
    rows[0].clears = true;
    let before = sync_calls(&world);
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap();
    assert_eq!((loaded.updated, loaded.rejects.len()), (5_100, 0));
    let dump = world.dump("company").await;
    assert_eq!((&dump[0]["Name"], &dump[0]["Employees"]), (&json!("Old"), &Json::Null));
    assert_eq!(dump.iter().filter(|company| company["Name"] == "New").count(), 5_099);
    let chunks = world.ledger.chunks(Some(&world.run)).unwrap();
    assert_eq!(chunks.iter().filter(|chunk| chunk.route == "object_update").map(|chunk| chunk.rows).sum::<u64>(), 1);
    // 102 without bulk jobs; how often those are asked after depends on the time that they take.
    assert!(sync_calls(&world) - before < 50);
}

#[tokio::test]
async fn quotas_are_kept_and_the_next_window_goes_on() {
    let clock = Clock::held_at("2026-03-01T10:00:30Z".parse().unwrap());
    let limits = Limits { sync_per_minute: Some(10), ..Limits::default() };
    let options = TenantOptions { clock: clock.clone(), limits, ..TenantOptions::default() };
    let ours = GainsightLimits { sync_per_minute: Some(10), ..GainsightLimits::default() };
    let world = World::with(options, ours, |url| url).await; // describes four objects
    let time = clock.clone();
    let moving = tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            time.advance(TimeDelta::seconds(7));
        }
    });
    // 25 batches are more than two windows hold, and no bulk job has these keys.
    let job = job(company(), &COMPANY, &["company.Name"]);
    let loaded = world.load(&job, verdicts(&COMPANY, &companies(1_250))).await.unwrap();
    moving.abort();
    assert_eq!((loaded.inserted, loaded.rejects.len()), (1_250, 0));
    // Not one call was refused for quota.
    assert_eq!(sync_calls(&world), 4 + 25);
}

#[tokio::test]
async fn a_tighter_tenant_than_configured_is_noticed_and_waited_for() {
    let clock = Clock::held_at("2026-03-01T10:00:30Z".parse().unwrap());
    let limits = Limits { sync_per_minute: Some(6), ..Limits::default() };
    let options = TenantOptions { clock: clock.clone(), limits, ..TenantOptions::default() };
    let world = World::with(options, GainsightLimits::default(), |url| url).await;
    let time = clock.clone();
    let moving = tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            time.advance(TimeDelta::seconds(20));
        }
    });
    let loaded = world.load(&company_job(), verdicts(&COMPANY, &companies(250))).await.unwrap();
    moving.abort();
    assert_eq!((loaded.inserted, world.dump("company").await.len()), (250, 250));
}

#[tokio::test]
async fn a_used_up_hour_ends_the_load_with_the_time_to_come_back() {
    let clock = Clock::held_at("2026-03-01T10:05:00Z".parse().unwrap());
    let options = TenantOptions { clock, ..TenantOptions::default() };
    let limits = GainsightLimits { users_per_hour: Some(1), ..GainsightLimits::default() };
    let world = World::with(options, limits, |url| url).await;
    let job = job(TargetObject::User, &USER, &["gsuser.SFDCUserName"]);
    let rows: Vec<_> = (0..120)
        .map(|at| {
            let name = format!("user{at}@x.org");
            insert(format!("u{at}"), &[Some("Ann"), Some(&name), Some(&name), None])
        })
        .collect();
    let error = world.load(&job, verdicts(&USER, &rows)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hint_text().unwrap().contains("2026-03-01 11:00 UTC"), "{error:?}");
}

#[tokio::test]
async fn a_cut_connection_during_an_insert_makes_no_duplicate() {
    for cut in [Cut::Answer, Cut::Request] {
        let options = TenantOptions { quotas: false, ..TenantOptions::default() };
        let mut world = World::with(options, no_limits(), |url| url).await;
        let proxy = Cutting::before(world.tenant.url().as_str(), "POST /v1/data/objects/company ", 2, cut).await;
        let mut settings = world.client.settings().clone();
        settings.url = proxy.url().parse().unwrap();
        (world.client, world.calls) = crate::support::tenant::client(settings, &Clock::system());
        let loaded = world.load(&company_job(), verdicts(&COMPANY, &companies(120))).await.unwrap();
        assert!(proxy.done());
        assert_eq!((loaded.inserted, loaded.rejects.len()), (120, 0), "{cut:?}");
        let dump = world.dump("company").await;
        let keys: HashSet<_> = dump.iter().map(|company| company["SfdcAccountId"].as_str().unwrap()).collect();
        assert_eq!((dump.len(), keys.len()), (120, 120), "{cut:?}");
        // Each batch that was cut off is sent again only where it had not arrived.
        assert_eq!(proxy.seen(), if cut == Cut::Answer { 3 } else { 5 });
    }
}

/// The world behind a proxy that cuts `count` requests that start so.
async fn behind(start: &str, count: i64, cut: Cut) -> (World, Cutting) {
    let mut world = World::new().await;
    let proxy = Cutting::before(world.tenant.url().as_str(), start, count, cut).await;
    let mut settings = world.client.settings().clone();
    settings.url = proxy.url().parse().unwrap();
    (world.client, world.calls) = crate::support::tenant::client(settings, &Clock::system());
    (world, proxy)
}

#[tokio::test]
async fn other_writes_survive_a_cut_connection_too() {
    for cut in [Cut::Answer, Cut::Request] {
        let (world, proxy) = behind("POST /v1.0/admin/connector/job/bulkimport ", 1, cut).await;
        let loaded = world.load(&company_job(), verdicts(&COMPANY, &companies(5_100))).await.unwrap();
        assert!(proxy.done());
        assert_eq!((loaded.inserted, world.dump("company").await.len()), (5_100, 5_100), "{cut:?}");

        for route in ["PUT /v1/peoplemgmt/v1.0/people/async ", "PUT /v1/peoplemgmt/v1.0/people "] {
            let (mut world, proxy) = behind(route, 2, cut).await;
            if !route.contains("async") {
                world.connection.limits = GainsightLimits::default();
            }
            let gsids = world.insert("company", json!([{"Name": "A"}])).await;
            let emails: Vec<_> = (0..120).map(|at| format!("p{at}@x.org")).collect();
            let rows: Vec<_> =
                emails.iter().map(|email| insert(email, &[Some(email), Some("P"), Some(&gsids[0]), None])).collect();
            let loaded = world.load(&people_job(), verdicts(&PEOPLE, &rows)).await.unwrap();
            assert!(proxy.done());
            assert_eq!((loaded.inserted, world.dump("person").await.len()), (120, 120), "{route} {cut:?}");
            assert_eq!(world.dump("company_person").await.len(), 120);
        }

        let (world, proxy) = behind("POST /v1/users/services", 1, cut).await;
        let job = job(TargetObject::User, &USER, &["gsuser.SFDCUserName"]);
        let names: Vec<_> = (0..60).map(|at| format!("user{at}@x.org")).collect();
        let rows: Vec<_> =
            names.iter().map(|name| insert(name, &[Some("Ann"), Some(name), Some(name), None])).collect();
        let before = world.dump("gsuser").await.len();
        let loaded = world.load(&job, verdicts(&USER, &rows)).await.unwrap();
        assert!(proxy.done());
        assert_eq!((loaded.inserted, world.dump("gsuser").await.len() - before), (60, 60), "{cut:?}");
    }
}

#[tokio::test]
async fn work_that_an_earlier_process_left_behind_is_waited_for() {
    let world = World::new().await;
    let chunk = |route: &str| sf2gs::ledger::NewChunk {
        route: route.into(),
        object: "company".into(),
        rows: 2,
        keys_hash: String::new(),
    };
    let job = &world.tenant.bulk_jobs[0].id;
    let mut file = sf2gs::connect::gainsight::BulkFile::new(job);
    file.csv().extend_from_slice(format!("Name,SfdcAccountId\nA,{}\nB,{}\n", sfid(1), sfid(2)).as_bytes());
    let status = world.client.bulk_import(file).await.unwrap().unwrap();
    world.switch(|switches| switches.bulk_polls = 3);
    let id = world.ledger.begin_chunk(&world.run, &chunk("bulk")).unwrap();
    world.ledger.note_status_id(id, &status).unwrap();
    let id = world.ledger.begin_chunk(&world.run, &chunk("bulk")).unwrap();
    world.ledger.note_status_id(id, "forgotten").unwrap();
    world.ledger.begin_chunk(&world.run, &chunk("object_insert")).unwrap();
    assert_eq!(sf2gs::load::await_open_chunks(&world.client, &world.ledger, &world.run).await.unwrap(), 3);
    assert!(world.ledger.open_chunks(&world.run).unwrap().is_empty());
    assert_eq!(world.dump("company").await.len(), 2);
}

#[tokio::test]
async fn a_tenant_that_takes_nothing_is_not_asked_forever() {
    let mut world = World::new().await;
    world.loosen("company", "Stage");
    let mut rows = companies(4_000);
    for row in &mut rows {
        row.set[2] = Some("No such stage".into());
    }
    let before = sync_calls(&world);
    let error = world.load(&company_job(), verdicts(&COMPANY, &rows)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("picklist"), "{error:?}");
    assert!(sync_calls(&world) - before < 20);
}
