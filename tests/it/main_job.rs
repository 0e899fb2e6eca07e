//! The main job, end to end, by the real program over HTTP.

use std::collections::BTreeMap;
use std::process::Command;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use chrono::TimeDelta;
use serde_json::Value;
use sf2gs::clock::Clock;
use sf2gs::engine::Engine;
use sf2gs::engine::EngineSettings;
use sf2gs::land::Lake;
use sf2gs::land::NUMBER_PREFIX;
use sf2gs::land::TableName;
use sf2gs::matching::numbers;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::scene::Scene;

const CHAIN: &str = "salesforce_company_person_sync";

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
}

#[test]
fn the_demo_ends_as_planted() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sf2gs"))
        .args(["demo", "--accounts", "60", "--contacts", "300", "--users", "15", "--dir"])
        .arg(folder.path().join("demo"))
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("row for row"), "{stdout}");
    assert!(stdout.contains("VALUE_TOO_LONG"), "{stdout}");
}

#[test]
fn clean_data_leaves_no_rejects_and_exits_0() {
    let org = OrgOptions { seed: 3, users: 10, accounts: 20, contacts: 60, clean: true, ..OrgOptions::default() };
    let scene = Scene::with(org, |_| {});
    let ran = scene.run(&["run", CHAIN, "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for job in json(&ran.stdout) {
        assert_eq!(job["rejected"], 0, "{job}");
        assert_eq!(job["extracted"], job["inserted"], "{job}");
    }
}

#[test]
fn a_second_run_sends_nothing_and_a_full_one_finds_everything_unchanged() {
    let scene = Scene::new();
    assert_eq!(scene.run(&["run", CHAIN]).code, 1);
    let before = scene.contents();
    let second = scene.run(&["run", CHAIN, "--format", "json"]);
    for job in json(&second.stdout) {
        assert_eq!((&job["inserted"], &job["updated"]), (&0.into(), &0.into()), "{job}");
    }
    let full = scene.run(&["run", CHAIN, "--full", "--format", "json"]);
    for job in json(&full.stdout) {
        assert_eq!((&job["inserted"], &job["updated"]), (&0.into(), &0.into()), "{job}");
        assert!(job["unchanged"].as_u64().unwrap() > 0, "{job}");
    }
    assert_eq!(scene.contents(), before);
}

#[test]
fn rows_can_be_landed_first_and_loaded_later() {
    let scene = Scene::new();
    let nothing = scene.contents();
    let landed = scene.run(&["run", CHAIN, "--land-only", "--format", "json"]);
    assert_eq!(landed.code, 0, "{}", landed.stderr);
    assert_eq!(scene.contents(), nothing);
    let loaded = scene.run(&["run", CHAIN, "--format", "json"]);
    assert_eq!(loaded.code, 1, "{}", loaded.stderr);
    for (first, second) in json(&landed.stdout).iter().zip(&json(&loaded.stdout)) {
        assert_eq!((&first["status"], &first["inserted"]), (&"cancelled".into(), &0.into()), "{first}");
        assert_eq!(
            (&first["run"], &first["extracted"], &first["deleted"]),
            (&second["run"], &second["extracted"], &second["deleted"])
        );
        assert!(second["inserted"].as_u64().unwrap() > 0, "{second}");
        assert!(!second["calls"].as_str().unwrap().contains("sf_bulk"), "{second}");
    }
}

#[test]
fn rejects_can_be_read_as_csv_with_every_input_column() {
    let scene = Scene::new();
    scene.run(&["run", CHAIN]);
    let rejects = scene.run(&["activity", "--rejects", "--format", "csv"]);
    assert_eq!(rejects.code, 0, "{}", rejects.stderr);
    let header = rejects.stdout.lines().next().unwrap();
    for column in
        ["run", "job", "source_id", "stage", "code", "message", "remedy", "input.Id", "input.Email", "input.Name"]
    {
        assert!(header.split(',').any(|name| name == column), "{column} in {header}");
    }
    for code in ["LOOKUP_NO_MATCH", "BLANK_IDENTIFIER", "DUPLICATE_IN_SOURCE", "VALUE_TOO_LONG"] {
        assert!(rejects.stdout.contains(code), "{code} in {}", rejects.stdout);
    }
}

#[test]
fn activity_lists_runs_and_shows_one() {
    let scene = Scene::new();
    scene.run(&["run", CHAIN]);
    let list = scene.run(&["activity", "--format", "json"]);
    assert_eq!(list.code, 0, "{}", list.stderr);
    let runs = json(&list.stdout);
    assert_eq!(runs.len(), 3, "{}", list.stdout);
    let one = scene.run(&["activity", runs[0]["run"].as_str().unwrap()]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    for section in ["steps", "chunks", "rejects"] {
        assert!(one.stdout.contains(section), "{section} in {}", one.stdout);
    }
    let wrong = scene.run(&["activity", "ffffffff"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

#[test]
fn sql_reads_the_lake_and_the_activity() {
    let scene = Scene::new();
    scene.run(&["run", CHAIN]);
    let counted = scene.run(&["sql", "SELECT count(*) AS n FROM lake.salesforce.account", "--format", "json"]);
    let verdicts = scene.run(&[
        "sql",
        "SELECT count(*) AS n FROM activity.verdicts WHERE job = 'company_sync'",
        "--format",
        "json",
    ]);
    assert_eq!(json(&counted.stdout), json(&verdicts.stdout), "{} {}", counted.stderr, verdicts.stderr);
    let wrong = scene.run(&["sql", "SELECT Nmae FROM lake.salesforce.account"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("hint:"), "{}", wrong.stderr);
    let conditions: Vec<String> = (0..700).map(|n| format!("\"Name\" <> 'account {n}'")).collect();
    let query = format!("SELECT count(*) AS n FROM lake.salesforce.account WHERE {}", conditions.join(" AND "));
    let long = scene.run(&["sql", &query, "--format", "json"]);
    assert_eq!(json(&long.stdout), json(&counted.stdout), "a long statement: {}", long.stderr);
}

#[test]
fn a_project_with_five_mistakes_names_all_five_and_sends_nothing() {
    let scene = Scene::new();
    let file = scene.path().join("pipelines/company_sync.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong = text
        .replace("object = \"company\"", "object = \"company\"\noperation = \"upsrt\"\non_nul = \"overwrite\"")
        .replace("identifier = true", "identifier = \"yes\"")
        .replace("from = \"NumberOfEmployees\"", "from = \"NumberOfEmployes\"")
        .replace("depends_on = [\"user_sync\"]", "depends_on = [\"user_snc\"]");
    assert_ne!(text, wrong);
    std::fs::write(&file, wrong).unwrap();
    let url = url::Url::parse(scene.org.url()).unwrap().join("/__sandbox/calls").unwrap();
    let before = scene.control(url.clone(), None);
    let ran = scene.run(&["run", CHAIN]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    for said in ["upsrt", "identifier", "NumberOfEmployes", "on_nul", "user_snc"] {
        assert!(ran.stderr.contains(said), "`{said}` in:\n{}", ran.stderr);
    }
    assert!(ran.stderr.matches("line ").count() >= 5, "{}", ran.stderr);
    assert_eq!(scene.control(url, None), before, "something was sent");
}

#[test]
fn a_chain_does_with_a_failure_what_it_says_and_the_next_run_makes_up_for_it() {
    let undisturbed = Scene::new();
    assert_eq!(undisturbed.run(&["run", CHAIN]).code, 1);
    let wanted = undisturbed.contents();
    let order = serde_json::json!({
        "method": "GET", "path": "/services/data/*/sobjects/Account/describe", "times": null,
        "what": { "answer": { "status": 403, "body": "[{\"errorCode\":\"INSUFFICIENT_ACCESS\",\"message\":\"no\"}]" } },
    });
    for (policy, skipped) in [
        ("stop", Some("company_person_sync: skipped, as `company_sync` failed and the chain stops at a failure")),
        ("continue", None),
        ("skip_dependents", Some("company_person_sync: skipped, as it depends on `company_sync`, which failed")),
    ] {
        let scene = Scene::new();
        let file = scene.path().join("sf2gs.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = text.replace("on_failure = \"stop\"", &format!("on_failure = \"{policy}\""));
        assert!(policy == "stop" || changed != text);
        std::fs::write(&file, changed).unwrap();
        let faults = url::Url::parse(scene.org.url()).unwrap().join("/__sandbox/faults").unwrap();
        scene.control(faults.clone(), Some(order.clone()));

        let ran = scene.run(&["run", CHAIN, "--format", "json"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("error: Salesforce did not describe an object: no"), "{}", ran.stderr);
        assert!(ran.stderr.contains("member: company_sync"), "{}", ran.stderr);
        let jobs = json(&ran.stdout);
        let status = |at: usize| (jobs[at]["job"].as_str().unwrap(), jobs[at]["status"].as_str().unwrap());
        assert_eq!([status(0), status(1)], [("user_sync", "success"), ("company_sync", "failed")], "{policy}");
        assert!(jobs[1]["error"].as_str().unwrap().contains("describe"), "{}", jobs[1]);
        match skipped {
            // Not even read.
            Some(words) => {
                assert!(ran.stderr.contains(words), "{}", ran.stderr);
                assert!(jobs.len() == 2 && !ran.stderr.contains("of Contact landed"), "{}", ran.stderr);
            }
            None => assert_eq!(status(2), ("company_person_sync", "partial_success")),
        }
        assert_eq!((scene.dump("gsuser").len(), scene.dump("company").len()), (undisturbed.dump("gsuser").len(), 0));

        let armed: Vec<Value> = json(&scene.control(faults.clone(), None));
        let fault = faults.join(&format!("faults/{}", armed[0]["id"])).unwrap();
        scene.block_on(async {
            reqwest::Client::builder().no_proxy().build().unwrap().delete(fault).send().await.unwrap()
        });
        let again = scene.run(&["run", CHAIN]);
        assert_eq!(again.code, 1, "{}", again.stderr);
        assert_eq!(scene.contents(), wanted, "{policy}");
    }
}

#[test]
fn a_chain_reads_on_while_a_load_takes_its_time() {
    let scene = Scene::new();
    let slow =
        serde_json::json!({ "method": "POST", "path": "/v1/users/services", "times": 1, "what": { "delay": 8_000 } });
    scene.control(scene.tenant.url().join("/__sandbox/faults").unwrap(), Some(slow));
    let ran = scene.run(&["run", CHAIN]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let place = |words: &str| ran.stderr.find(words).unwrap_or_else(|| panic!("`{words}` in:\n{}", ran.stderr));
    // Users whose managers are there now are loaded after the slow call has been answered.
    let later = place("user_sync: load of those whose parents are there");
    for landed in ["rows of Account landed", "rows of Contact landed"] {
        assert!(place(landed) < later, "`{landed}` comes too late:\n{}", ran.stderr);
    }
}

#[test]
fn parents_are_asked_for_by_their_keys_and_else_read_with_all_that_is_new() {
    let ended = |in_for_texts: bool| {
        let org = OrgOptions { seed: 7, users: 40, accounts: 30, contacts: 400, ..OrgOptions::default() };
        let scene = Scene::with(org, |options| options.switches.in_for_texts = in_for_texts);
        let ran = scene.run(&["run", CHAIN]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("company_person_sync: load of those whose parents are there, 2 of"),
            "{}",
            ran.stderr
        );
        let url = scene.tenant.url().join("/__sandbox/calls").unwrap();
        let calls: BTreeMap<String, Value> = serde_json::from_str(&scene.control(url, None)).unwrap();
        (scene.contents(), calls)
    };
    let ((by_keys, few), (by_time, more)) = (ended(true), ended(false));
    assert_eq!(by_keys, by_time);
    // A tenant that does not answer is asked once by each of the two jobs whose rows follow others.
    let sync = |calls: &BTreeMap<String, Value>| calls["accepted"]["sync"].as_u64().unwrap();
    assert_eq!(sync(&more), sync(&few) + 2, "{few:?} {more:?}");
}

#[test]
fn a_wrong_name_lists_the_right_ones() {
    let scene = Scene::new();
    let ran = scene.run(&["run", "company"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("company_sync"), "{}", ran.stderr);
}

#[test]
fn a_reject_for_a_missing_parent_is_tried_again_when_the_parent_arrives() {
    let scene = Scene::new();
    // Contacts before their accounts: all wait.
    let early = scene.run(&["run", "company_person_sync", "--format", "json"]);
    assert_eq!(early.code, 1, "{}", early.stderr);
    let early = &json(&early.stdout)[0];
    assert_eq!(early["inserted"], 0, "{early}");
    scene.run(&["run", "user_sync"]);
    scene.run(&["run", "company_sync"]);
    let late = scene.run(&["run", "company_person_sync", "--format", "json"]);
    let late = &json(&late.stdout)[0];
    assert!(late["inserted"].as_u64().unwrap() > 100, "no contact changed, but their companies are there now: {late}");
    assert!(late["retried"].as_u64().unwrap() > 100, "{late}");
    // What still waits is left alone until something comes that it could be waiting for.
    let still = scene.run(&["run", "company_person_sync", "--format", "json"]);
    let still = &json(&still.stdout)[0];
    assert_eq!((&still["retried"], &still["rejected"]), (&0.into(), &0.into()), "{still}");
}

#[test]
fn a_chain_is_reconciled_with_one_whole_look_at_each_gainsight_object() {
    let clock = Clock::system();
    let org = OrgOptions { seed: 7, users: 12, accounts: 40, contacts: 150, ..OrgOptions::default() };
    let scene = Scene::with(org, |tenant| tenant.clock = clock.clone());
    // Long enough apart that no look overlaps what was written before the one before.
    for _ in 0..2 {
        scene.run(&["run", CHAIN]);
        clock.advance(TimeDelta::seconds(60));
    }
    let version = |object: &str| {
        let table = TableName::new("gainsight", object).unwrap();
        scene.block_on(async {
            let lake = Lake::open(".sf2gs/lake", scene.path(), &BTreeMap::new()).await.unwrap();
            lake.snapshot(&table).await.unwrap().unwrap().version()
        })
    };
    let before = ["gsuser", "company", "person", "company_person"].map(|object| (object, version(object)));
    assert_eq!(scene.run(&["reconcile", CHAIN]).code, 0);
    // Two of the jobs use companies.
    assert_eq!(
        before.map(|(object, before)| (object, before + 1)),
        before.map(|(object, _)| (object, version(object)))
    );
}

#[test]
fn a_mirror_has_the_numbers_of_its_keys_whoever_has_changed_them() {
    let clock = Clock::system();
    let org = OrgOptions { seed: 7, users: 12, accounts: 40, contacts: 150, ..OrgOptions::default() };
    let scene = Scene::with(org, |tenant| tenant.clock = clock.clone());
    for _ in 0..3 {
        scene.run(&["run", CHAIN]);
        clock.advance(TimeDelta::seconds(60));
    }
    // without rows to load a job does not look at its mirror
    scene.run(&["run", "user_sync", "--full"]);
    let keys = [
        ("gsuser", "SFDCUserName"),
        ("company", "SfdcAccountId"),
        ("person", "Email"),
        ("company_person", "ExternalContactId"),
        ("company_person", "Person_ID"),
    ];
    for (object, field) in keys {
        let table = TableName::new("gainsight", object).unwrap();
        scene.block_on(async {
            let lake = Lake::open(".sf2gs/lake", scene.path(), &BTreeMap::new()).await.unwrap();
            let engine = Engine::new(&EngineSettings::default(), &lake).unwrap();
            let rows = lake.snapshot(&table).await.unwrap().unwrap().numbered().unwrap();
            let rows = engine.session().read_table(rows).unwrap().collect().await.unwrap();
            let mut seen = 0;
            for batch in rows {
                let texts = batch.column_by_name(field).unwrap().as_string::<i32>();
                let kept = batch.column_by_name(&format!("{NUMBER_PREFIX}{field}")).expect(object);
                assert_eq!(*kept.as_primitive::<Int32Type>(), numbers(texts), "{object}.{field}");
                seen += batch.num_rows();
            }
            assert!(seen > 5, "{object}");
        });
    }
}
