//! `plan` says what `run` then does, and does none of it.

use serde_json::Value;

use crate::support::scene::Scene;

const CHAIN: &str = "salesforce_company_person_sync";

fn json(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
}

#[test]
fn what_was_planned_is_what_a_run_does() {
    let scene = Scene::new();
    assert_eq!(scene.run(&["run", "user_sync"]).code, 0);
    let before = scene.contents();
    let planned = scene.run(&["plan", "company_sync", "--format", "json"]);
    assert_eq!(planned.code, 1, "one planted name is too long: {}", planned.stderr);
    assert_eq!(scene.contents(), before, "something was written");
    let plan = &json(&planned.stdout)[0];
    assert!(plan["soql"].as_str().unwrap().contains("FROM Account"), "{plan}");
    assert!(plan["sql"].as_str().unwrap().contains("mirror_company"), "{plan}");
    assert_eq!(plan["rejects"]["VALUE_TOO_LONG"], 1, "{plan}");
    assert_eq!(plan["route"], "object REST");
    assert_eq!(plan["calls"][0]["rows"], plan["verdicts"]["insert"], "{plan}");

    let ran = scene.run(&["run", "company_sync", "--format", "json"]);
    let job = &json(&ran.stdout)[0];
    assert_eq!((&job["inserted"], &job["rejected"]), (&plan["verdicts"]["insert"], &plan["verdicts"]["rejected"]));

    let again = scene.run(&["plan", "company_sync", "--format", "json"]);
    assert_eq!(json(&again.stdout)[0]["verdicts"].get("insert"), None, "{}", again.stdout);
}

#[test]
fn a_sample_shows_the_value_that_is_there_and_the_one_that_comes() {
    let scene = Scene::new();
    scene.run(&["run", CHAIN]);
    let company = scene.dump("company").into_iter().next().unwrap();
    let url = scene.tenant.url().join("/v1/data/objects/company").unwrap();
    let gsid = company["Gsid"].as_str().unwrap();
    scene.put(url, &[("keys", "Gsid")], &serde_json::json!({"records": [{"Gsid": gsid, "Name": "Renamed by hand"}]}));
    // The landed accounts are compared again when the job changes.
    let file = scene.path().join("pipelines/company_sync.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("object = \"company\"", "object = \"company\"\non_null = \"keep\"")).unwrap();
    let planned = scene.run(&["plan", "company_sync", "--format", "json"]);
    let plan = &json(&planned.stdout)[0];
    let samples = plan["samples"].as_array().unwrap();
    let update = samples.iter().find(|sample| sample["verdict"] == "update").unwrap_or_else(|| panic!("{plan}"));
    let expected =
        serde_json::json!([{"field": "company.Name", "before": "Renamed by hand", "after": company["Name"]}]);
    assert_eq!(update["differences"], expected);
    let table = scene.run(&["plan", "company_sync"]);
    for said in ["SOQL", "Verdicts", "1 update", "“Renamed by hand” →", "Calls", "object REST", "SQL"] {
        assert!(table.stdout.contains(said), "{said} in {}", table.stdout);
    }
}

#[test]
fn the_table_of_quotas_needs_no_system_to_answer() {
    let scene = Scene::new();
    let said = scene.run(&["plan", "--quotas", "--format", "json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let routes = json(&said.stdout);
    let of = |job: &str| routes.iter().filter(|route| route["job"] == job).collect::<Vec<_>>();
    assert_eq!((of("user_sync").len(), of("company_sync").len(), of("company_person_sync").len()), (1, 2, 2));
    for job in ["user_sync", "company_sync", "company_person_sync"] {
        assert_eq!(of(job).iter().filter(|route| route["chosen"] == "yes").count(), 1, "{routes:?}");
    }
    assert_eq!(of("user_sync")[0]["calls"], 2_000);
    let wrong = scene.run(&["plan"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

#[test]
fn managers_go_first_so_that_hardly_any_reference_is_set_afterwards() {
    let scene = Scene::new();
    scene.run(&["run", CHAIN]);
    let with_manager = scene.dump("company_person").iter().filter(|row| row["Manager"].is_string()).count();
    assert!(with_manager > 20, "{with_manager}");
    let steps = scene.run(&[
        "sql",
        "SELECT detail FROM activity.steps WHERE step = 'load' AND detail LIKE '%held%' ORDER BY detail",
        "--format",
        "json",
    ]);
    let details: Vec<Value> =
        json(&steps.stdout).iter().map(|row| serde_json::from_str(row["detail"].as_str().unwrap()).unwrap()).collect();
    let held: u64 = details.iter().filter_map(|detail| detail["held"].as_u64()).sum();
    let references: u64 = details.iter().filter_map(|detail| detail["references"].as_u64()).sum();
    assert!(held > 20 && references * 10 < held, "{details:?}");
    let compared = scene.run(&["reconcile", "company_person_sync", "--format", "json"]);
    assert!(json(&compared.stdout).iter().all(|row| row["different"] == 0), "{}", compared.stdout);
}
