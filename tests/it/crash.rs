//! The plug is pulled (`kill -9`) at named points; the next run brings the tenant to where an undisturbed run brings it.
//! The sandboxes live in the test's process and survive.

use crate::support::scene::Scene;

const CHAIN: &str = "salesforce_company_person_sync";

/// What an undisturbed run leaves.
fn undisturbed() -> Vec<String> {
    let scene = Scene::new();
    let ran = scene.run(&["run", CHAIN]);
    assert_eq!(ran.code, 1, "planted rejects make it partial: {}", ran.stderr);
    scene.contents()
}

/// Kills a run at each of `points`, one after the other, then lets one run end.
fn ends_the_same_after(points: &[&str]) {
    let scene = Scene::new();
    for point in points {
        scene.kill_at(point, &["run", CHAIN]);
    }
    let ran = scene.run(&["run", CHAIN]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let (found, wanted) = (scene.contents(), undisturbed());
    for line in &wanted {
        assert!(found.contains(line), "missing after the crash: {line}");
    }
    for line in &found {
        assert!(wanted.contains(line), "not there without the crash: {line}");
    }
    assert_eq!(found.len(), wanted.len(), "a record is there twice");
    // And nothing is left to do.
    let again = scene.run(&["run", CHAIN, "--full", "--format", "json"]);
    assert!(!again.stdout.contains("\"inserted\":1"), "{}", again.stdout);
}

#[test]
fn killed_in_the_middle_of_an_extract() {
    ends_the_same_after(&["extract.batch"]);
}

#[test]
fn killed_before_the_commit_of_the_landed_rows() {
    ends_the_same_after(&["land.before_commit:2"]);
}

#[test]
fn killed_after_the_commit_before_the_ledger_heard_of_it() {
    ends_the_same_after(&["land.after_commit:3"]);
}

#[test]
fn killed_in_the_load_after_a_chunk_was_sent_and_before_its_answer_was_stored() {
    ends_the_same_after(&["load.answered:2"]);
}

#[test]
fn killed_after_all_was_sent_before_the_outcome_was_stored() {
    ends_the_same_after(&["run.before_outcome:2", "run.before_outcome:2"]);
}

#[test]
fn what_a_killed_run_said_of_its_rows_is_not_told_twice() {
    let scene = Scene::new();
    let (rejects, verdicts) = (
        "SELECT job, count(*) AS rows, count(DISTINCT source_id) AS ids FROM activity.rejects GROUP BY job ORDER BY job",
        "SELECT job, count(*) AS rows, count(DISTINCT source_id) AS ids FROM activity.verdicts GROUP BY job ORDER BY job",
    );
    // The last job is killed when its verdicts and rejects are in the lake, and its outcome in no ledger.
    for _ in 0..2 {
        scene.kill_at("run.before_outcome:3", &["run", CHAIN]);
    }
    assert_eq!(scene.run(&["run", CHAIN]).code, 1);
    for sql in [rejects, verdicts] {
        let told = scene.run(&["sql", sql, "--format", "json"]);
        assert_eq!(told.code, 0, "{}", told.stderr);
        let told: Vec<serde_json::Value> = serde_json::from_str(&told.stdout).unwrap();
        assert!(told.iter().any(|row| row["job"] == "company_person_sync"), "{told:?}");
        for row in &told {
            assert_eq!(row["rows"], row["ids"], "{row}");
        }
    }
}

#[test]
fn killed_again_and_again() {
    // Extracts first: those that go on beside a load are landed when it is killed, or not.
    ends_the_same_after(&[
        "extract.batch",
        "land.before_commit:2",
        "load.answered",
        "load.answered:3",
        "load.answered",
    ]);
}
