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
fn killed_again_and_again() {
    ends_the_same_after(&["load.answered", "land.before_commit", "load.answered:3", "extract.batch", "load.answered"]);
}
