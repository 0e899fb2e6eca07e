//! Time: rows that come to light late, clocks that differ, and fields that disappear between two runs.

use std::collections::BTreeSet;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde_json::Value;
use serde_json::json;
use sf2gs::config::project::Project;
use sf2gs::error::ErrorKind;
use sf2gs::pipeline::RunOptions;
use sf2gs::pipeline::reconcile_jobs;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::ground;
use crate::support::ground::Left;
use crate::support::scene::Scene;
use crate::support::visitor::Visitor;

const JOB: &str = "company_sync";

/// A small clean org with a visitor in it, and a project on it.
struct Place {
    scene: Scene,
    visitor: Visitor,
    project: Project,
}

impl Place {
    fn new() -> Self {
        let org = OrgOptions { users: 5, accounts: 20, contacts: 0, clean: true, ..OrgOptions::default() };
        let scene = Scene::with(org, |_| {});
        let visitor = Visitor::of(&scene.org);
        let project = Project::load(scene.path()).map_err(|e| e.to_string()).unwrap();
        Self { scene, visitor, project }
    }

    fn run(&self) -> Left {
        let left = self.scene.block_on(ground::run(&self.project, JOB, &RunOptions::default()));
        left.outcome.as_ref().unwrap();
        left
    }

    /// Moves the org's clock.
    fn pass(&self, time: TimeDelta) {
        let url = url::Url::parse(self.scene.org.url()).unwrap().join("/__sandbox/clock").unwrap();
        self.scene.control(url, Some(json!({ "advance_seconds": time.num_seconds() })));
    }

    fn org_time(&self) -> DateTime<Utc> {
        self.scene.org.clock().now()
    }

    /// Makes an account that comes to light now with a SystemModstamp of so long ago.
    fn late(&self, name: &str, ago: TimeDelta) -> String {
        self.scene.block_on(async {
            let order = json!({
                "method": "POST", "path": "/services/data/*/sobjects/Account",
                "what": { "stamped-before": { "seconds": ago.num_seconds() } },
            });
            self.visitor.arm(&[order]).await;
            let id = self.visitor.create("Account", &json!({ "Name": name })).await;
            assert_eq!(self.visitor.armed().await[0]["fired"], 1);
            id
        })
    }

    /// What a comparison of both sides finds: kind and source id.
    fn findings(&self) -> BTreeSet<(String, String)> {
        self.scene.block_on(async {
            let world = ground::world(&self.project).await;
            let comparison = reconcile_jobs(&world, &[world.job(JOB).unwrap()]).await.unwrap().remove(0);
            let of = |finding: &sf2gs::reconcile::Finding| {
                (finding.kind.clone(), finding.source_id.clone().unwrap_or_default())
            };
            comparison.findings.iter().map(of).collect()
        })
    }
}

fn names(left: &Left, name: &str) -> usize {
    left.current.as_ref().unwrap().iter().filter(|row| row.contains(&format!("\"{name}\""))).count()
}

#[test]
fn a_row_that_comes_to_light_late_is_caught_by_the_overlap_or_found_by_a_comparison() {
    let place = Place::new();
    let first = place.run();
    // The first window ended 5 minutes before the org's time of then; the next one begins 10 minutes before that.
    let border = first.watermark.unwrap();
    place.pass(TimeDelta::minutes(20));
    let ago = |minutes| place.org_time() - border + TimeDelta::minutes(minutes);
    place.late("Late but within the overlap", ago(9));
    let too_late = place.late("Later than the overlap", ago(11));
    place.pass(TimeDelta::minutes(1));
    let second = place.run();
    assert_eq!(names(&second, "Late but within the overlap"), 1);
    assert_eq!(names(&second, "Later than the overlap"), 0);
    // The rows of the overlap came again, and each is there once.
    assert_eq!(second.current.as_ref().unwrap().len(), first.current.as_ref().unwrap().len() + 1);

    assert_eq!(place.findings(), [("missing".to_owned(), too_late)].into());
    let full =
        place.scene.block_on(ground::run(&place.project, JOB, &RunOptions { full: true, ..RunOptions::default() }));
    assert_eq!(names(&full, "Later than the overlap"), 1);
    assert_eq!(place.findings(), BTreeSet::new());
}

#[test]
fn windows_follow_the_clock_of_the_org() {
    for offset in [TimeDelta::days(3), TimeDelta::minutes(-7)] {
        let place = Place::new();
        let id = place.scene.block_on(place.visitor.create("Account", &json!({ "Name": "Before" })));
        place.pass(offset);
        // What the org knew before its clock was moved may lie in its future; a whole read comes first then.
        if offset < TimeDelta::zero() {
            place.scene.block_on(place.visitor.update("Account", &id, &json!({ "Name": "Before" })));
        }
        place.pass(TimeDelta::minutes(10));
        let first = place.run();
        let lag = place.org_time() - first.watermark.unwrap();
        assert!((TimeDelta::minutes(5)..TimeDelta::minutes(6)).contains(&lag), "{offset}: {lag}");
        assert_eq!(names(&first, "Before"), 1, "{offset}");

        place.scene.block_on(place.visitor.update("Account", &id, &json!({ "Name": "After" })));
        // Too new for the window: the org may still be about to show its neighbours.
        assert_eq!(names(&place.run(), "After"), 0, "{offset}");
        place.pass(TimeDelta::minutes(6));
        let last = place.run();
        assert_eq!((names(&last, "After"), names(&last, "Before")), (1, 0), "{offset}");
        assert!(last.watermark > first.watermark);
    }
}

#[test]
fn a_field_that_is_hidden_stops_the_run_before_its_column_is_emptied() {
    let place = Place::new();
    let first = place.run();
    let before = place.scene.contents();
    place.pass(TimeDelta::minutes(20));
    let mut describe = place.scene.block_on(place.visitor.describe("Account"));
    let fields = describe["fields"].as_array_mut().unwrap();
    fields.retain(|field| field["name"] != "NumberOfEmployees");
    let order = json!({
        "method": "GET", "path": "/services/data/*/sobjects/Account/describe", "times": Value::Null,
        "what": { "answer": { "status": 200, "body": describe } },
    });
    place.scene.block_on(place.visitor.arm(&[order]));
    for full in [false, true] {
        let left =
            place.scene.block_on(ground::run(&place.project, JOB, &RunOptions { full, ..RunOptions::default() }));
        let error = left.outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().contains("NumberOfEmployees"), "{error:?}");
        assert!(error.hint_text().unwrap().contains("may see the field"), "{error:?}");
        assert_eq!(left.landed, first.landed);
        assert_eq!(left.watermark, first.watermark);
    }
    assert_eq!(place.scene.contents(), before, "the tenant's field was emptied");
}
