//! Every fault that the sandbox knows, met by a real run: what is landed is complete and exactly right, or the run ends
//! in one clear sentence with the right exit code and nothing is landed. Never short and successful.
//!
//! The table of faults and outcomes is printed: `cargo test --test it conformance_faults -- --nocapture`.

use std::path::Path;

use serde_json::Value;
use serde_json::json;
use sf2gs::config::project::Project;
use sf2gs::error::Error;
use sf2gs::pipeline::RunOptions;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::ground;
use crate::support::ground::Left;
use crate::support::scene::Scene;
use crate::support::visitor::Visitor;

const JOB: &str = "company_sync";

/// What a run asks for, in its order.
const LOGIN: (&str, &str) = ("POST", "/services/oauth2/token");
const CLOCK: (&str, &str) = ("GET", "/services/data/*/limits");
const DESCRIBE: (&str, &str) = ("GET", "/services/data/*/sobjects/*/describe");
const MAKE: (&str, &str) = ("POST", "/services/data/*/jobs/query");
/// The first look at the job comes before its pages.
const LOOK: (&str, &str) = ("GET", "/services/data/*/jobs/query/*");
const LINKS: (&str, &str) = ("GET", "/services/data/*/jobs/query/*/resultPages");
const PAGE: (&str, &str) = ("GET", "/services/data/*/jobs/query/*/results?");
const CLEAR: (&str, &str) = ("DELETE", "/services/data/*/jobs/query/*");

/// How pages are come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By links, several at once.
    Links,
    /// By the locator in each page's head: before API version 58.
    Walk,
}

/// What must come of a run.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// All rows, exactly.
    Whole,
    /// Nothing landed; the exit code, and words of the sentence.
    Stops(u8, &'static str),
}

struct Case {
    fault: String,
    way: Way,
    orders: Vec<Value>,
    outcome: Outcome,
}

fn order(at: (&str, &str), skip: u64, times: Option<u64>, what: &Value) -> Value {
    json!({ "method": at.0, "path": at.1, "skip": skip, "times": times, "what": what })
}

/// What may go wrong once with any call that can be repeated; the run must not notice.
fn passing() -> Vec<(&'static str, Value)> {
    vec![
        ("502 in HTML", json!({ "html": 502 })),
        (
            "500 in JSON",
            json!({ "answer": { "status": 500, "body": [{ "errorCode": "UNKNOWN_EXCEPTION", "message": "x" }] } }),
        ),
        ("503 with Retry-After", json!({ "answer": { "status": 503, "headers": { "retry-after": "0" } } })),
        ("429", json!({ "answer": { "status": 429, "body": "slow down" } })),
        ("connection cut before the call is read", json!("cut-before")),
        ("connection cut before the headers, call done", json!("cut-after")),
        ("connection cut behind the headers", json!("cut-headers")),
        ("connection cut in mid-body", json!({ "cut-body": {} })),
        ("body stands still", json!({ "stall-body": {} })),
        ("late answer", json!({ "delay": 100 })),
    ]
}

fn cases() -> Vec<Case> {
    use Outcome::Stops;
    use Outcome::Whole;
    let mut cases = Vec::new();
    let mut case = |fault: String, way, orders: Vec<Value>, outcome| cases.push(Case { fault, way, orders, outcome });
    // Whole answers are all read in the same way: of each kind of fault one.
    let calls = [
        ("login", LOGIN),
        ("org's clock", CLOCK),
        ("describe", DESCRIBE),
        ("job's creation", MAKE),
        ("look at the job", LOOK),
        ("list of pages", LINKS),
    ];
    for (call, at) in calls {
        for (name, what) in passing().into_iter().step_by(2) {
            case(format!("{name}: {call}"), Way::Links, vec![order(at, 0, Some(1), &what)], Whole);
        }
    }
    for (call, at) in [("login", LOGIN), ("job's creation", MAKE)] {
        case(format!("outcome unknown: {call}"), Way::Links, vec![order(at, 0, Some(1), &json!("cut-after"))], Whole);
    }
    for (name, what) in passing() {
        case(format!("{name}: third page"), Way::Links, vec![order(PAGE, 2, Some(1), &what)], Whole);
    }
    for (name, what) in passing() {
        case(format!("{name}: page by locator"), Way::Walk, vec![order(PAGE, 2, Some(1), &what)], Whole);
        case(format!("{name}, three times: a page"), Way::Walk, vec![order(PAGE, 1, Some(3), &what)], Whole);
    }
    case("500 in JSON: deletion of the job".into(), Way::Links, vec![order(CLEAR, 0, None, &passing()[1].1)], Whole);
    for bytes in [1, 10, 100, 1_000] {
        let what = json!({ "cut-body": { "after": bytes } });
        case(
            format!("cut after {bytes} bytes: every page once"),
            Way::Walk,
            vec![order(PAGE, 0, Some(1), &what), order(PAGE, 3, Some(1), &what)],
            Whole,
        );
    }
    // For ever.
    for (call, at) in
        [("login", LOGIN), ("org's clock", CLOCK), ("describe", DESCRIBE), ("look at the job", LOOK), ("page", PAGE)]
    {
        for (name, what, words) in [
            ("502 in HTML", json!({ "html": 502 }), "502"),
            ("429", json!({ "answer": { "status": 429, "body": "slow down" } }), "429"),
            ("connection cut before the headers", json!("cut-after"), "4 tries"),
            ("connection cut in mid-body", json!({ "cut-body": {} }), "4 tries"),
        ] {
            case(format!("{name}, for ever: {call}"), Way::Links, vec![order(at, 0, None, &what)], Stops(3, words));
        }
    }
    let stall = json!({ "stall-body": { "after": 40 } });
    case(
        "body stands still, for ever: page".into(),
        Way::Walk,
        vec![order(PAGE, 1, None, &stall)],
        Stops(3, "nothing came for"),
    );
    // Refusals.
    for (at, call) in [
        (CLOCK, "org's clock"),
        (DESCRIBE, "describe"),
        (MAKE, "job's creation"),
        (LOOK, "look at the job"),
        (LINKS, "list of pages"),
        (PAGE, "page"),
    ] {
        let limit = json!("request-limit-exceeded");
        case(
            format!("REQUEST_LIMIT_EXCEEDED: {call}"),
            Way::Links,
            vec![order(at, 0, None, &limit)],
            Stops(3, "TotalRequests Limit exceeded"),
        );
        case(
            format!("session ends before: {call}"),
            Way::Links,
            vec![order(at, 0, Some(1), &json!("session-ends"))],
            Whole,
        );
    }
    case(
        "session ends in mid-download".into(),
        Way::Walk,
        vec![order(PAGE, 2, Some(1), &json!("session-ends"))],
        Whole,
    );
    case(
        "session ends before every other page".into(),
        Way::Walk,
        (0..3).map(|n| order(PAGE, n * 2, Some(1), &json!("session-ends"))).collect(),
        Whole,
    );
    let expired = json!({ "answer": { "status": 401, "body": [{ "errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid" }] } });
    case(
        "every session is refused: page".into(),
        Way::Links,
        vec![order(PAGE, 0, None, &expired)],
        Stops(3, "INVALID_SESSION_ID"),
    );
    for (status, exit) in [(414, 2), (431, 2), (403, 3), (404, 3), (420, 3)] {
        case(
            format!("{status} in HTML: page"),
            Way::Links,
            vec![order(PAGE, 1, None, &json!({ "html": status }))],
            Stops(exit, if status == 404 { "is gone" } else { "Salesforce did not read a page" }),
        );
    }
    case(
        "200 in HTML: describe".into(),
        Way::Links,
        vec![order(DESCRIBE, 0, None, &json!({ "html": 200 }))],
        Stops(3, "cannot be read"),
    );
    case(
        "200 in HTML: page".into(),
        Way::Links,
        vec![order(PAGE, 1, Some(1), &json!({ "html": 200 }))],
        Stops(3, "did not say how many rows"),
    );
    case(
        "204 without a body: page".into(),
        Way::Links,
        vec![order(PAGE, 1, Some(1), &json!({ "answer": { "status": 204 } }))],
        Stops(3, "did not say how many rows"),
    );
    let renewal = json!({ "answer": { "status": 400, "body": { "error": "invalid_grant", "error_description": "expired access/refresh token" } } });
    case(
        "the refresh token is dead".into(),
        Way::Links,
        vec![order(LOGIN, 0, None, &renewal)],
        Stops(3, "expired access/refresh token"),
    );
    let hidden = json!({ "answer": { "status": 400, "body": [{ "errorCode": "INVALID_FIELD", "message": "No such column 'AnnualRevenue' on entity 'Account'." }] } });
    case(
        "a field is hidden between describe and query".into(),
        Way::Links,
        vec![order(MAKE, 0, None, &hidden)],
        Stops(2, "AnnualRevenue"),
    );
    // The result.
    for (name, way) in [("by link", Way::Links), ("by locator", Way::Walk)] {
        case(
            format!("locator dies: page {name}"),
            way,
            vec![order(PAGE, 2, None, &json!("locator-dies"))],
            Stops(3, "invalid query locator"),
        );
        for add in [-1, 1] {
            let lie = json!({ "count-header": { "name": "Sforce-NumberOfRecords", "add": add } });
            case(
                format!("a page counts {add:+} rows: {name}"),
                way,
                vec![order(PAGE, 1, Some(1), &lie)],
                Stops(3, "said that a page has"),
            );
        }
        let none = json!({ "headers": { "Sforce-NumberOfRecords": null } });
        case(
            format!("a page does not count its rows: {name}"),
            way,
            vec![order(PAGE, 1, Some(1), &none)],
            Stops(3, "did not say how many rows"),
        );
    }
    let early = json!({ "headers": { "Sforce-Locator": "null" } });
    case(
        "a page says that it is the last and is not".into(),
        Way::Walk,
        vec![order(PAGE, 2, Some(1), &early)],
        Stops(3, "rows but sent"),
    );
    let loops = json!({ "headers": { "Sforce-Locator": "NDA" } });
    case(
        "a page names an earlier one as the next".into(),
        Way::Walk,
        vec![order(PAGE, 3, None, &loops)],
        Stops(3, "the same page"),
    );
    let no_more = json!({ "answer": { "status": 200, "body": { "resultPages": [], "done": true } } });
    case(
        "the list of pages ends early".into(),
        Way::Links,
        vec![order(LINKS, 1, None, &no_more)],
        Stops(3, "rows but sent"),
    );
    case(
        "no list of pages: the pages are walked".into(),
        Way::Links,
        vec![order(LINKS, 0, None, &json!({ "html": 404 }))],
        Whole,
    );
    // The job.
    case(
        "the job fails at once".into(),
        Way::Links,
        vec![order(MAKE, 0, None, &json!({ "job-fails": {} }))],
        Stops(3, "running for too long"),
    );
    case(
        "the job fails after two looks".into(),
        Way::Links,
        vec![order(
            MAKE,
            0,
            None,
            &json!({ "job-fails": { "after_polls": 2, "message": "InternalServerError : retried 15 times" } }),
        )],
        Stops(3, "retried 15 times"),
    );
    case(
        "the job fails as its object is not for Bulk: read by REST".into(),
        Way::Links,
        vec![order(
            MAKE,
            0,
            None,
            &json!({ "job-fails": { "message": "INVALIDENTITY : Entity 'Account' is not supported by the Bulk API." } }),
        )],
        Whole,
    );
    case(
        "the object is not for Bulk: read by REST".into(),
        Way::Links,
        vec![order(
            MAKE,
            0,
            None,
            &json!({ "answer": { "status": 400, "body": [{ "errorCode": "INVALIDENTITY", "message": "Entity 'Account' is not supported by the Bulk API." }] } }),
        )],
        Whole,
    );
    case(
        "the job stays in progress for five looks".into(),
        Way::Links,
        vec![order(MAKE, 0, None, &json!({ "job-stuck": { "polls": 5 } }))],
        Whole,
    );
    case(
        "the job stays in progress for ever".into(),
        Way::Links,
        vec![order(MAKE, 0, None, &json!({ "job-stuck": {} }))],
        Stops(3, "without a sign of progress"),
    );
    let spent = json!({ "answer": { "status": 400, "body": [{ "errorCode": "LIMIT_EXCEEDED", "message": "Max bulk v2 query jobs (10000) per 24 hrs has been reached" }] } });
    case("the day's jobs are used up".into(), Way::Links, vec![order(MAKE, 0, None, &spent)], Stops(3, "per 24 hrs"));
    case(
        "no `Date` from the org".into(),
        Way::Links,
        vec![order(CLOCK, 0, None, &json!({ "headers": { "Date": null } }))],
        Stops(3, "`Date`"),
    );
    cases
}

/// A project on the scene's sandboxes, with pages of 20 rows and fields of every kind.
fn project(folder: &Path, way: Way) -> Project {
    let mut project = Project::load(folder).map_err(|e| e.to_string()).unwrap();
    for connection in project.salesforce.values_mut() {
        connection.page_rows = 20;
        connection.api_version = if way == Way::Links { "62.0" } else { "57.0" }.to_owned();
    }
    let job = project.jobs.get_mut(JOB).unwrap();
    job.source.fields.extend(
        ["AnnualRevenue", "BillingAddress", "Description", "LastModifiedDate", "Owner.Email", "Parent.Name", "Website"]
            .map(str::to_owned),
    );
    project
}

async fn run(project: &Project) -> Left {
    ground::run(project, JOB, &RunOptions { land_only: true, ..RunOptions::default() }).await
}

#[test]
fn every_fault_ends_whole_or_in_one_clear_sentence() {
    let org = OrgOptions { users: 8, accounts: 130, contacts: 0, page_rows: 20, ..OrgOptions::default() };
    let scene = Scene::with(org, |_| {});
    let visitor = Visitor::of(&scene.org);
    let fresh = || scene.copy();
    let undisturbed = scene.block_on(run(&project(fresh().path(), Way::Links)));
    undisturbed.outcome.unwrap();
    let wanted = undisturbed.landed.unwrap();
    assert!(wanted.len() > 130, "{}", wanted.len());

    let mut table =
        "| fault | pages by | outcome | exit | calls | what is said |\n|---|---|---|---|---|---|\n".to_owned();
    let mut wrong = Vec::new();
    for Case { fault, way, orders, outcome } in cases() {
        let armed = scene.block_on(visitor.arm(&orders));
        assert_eq!(armed.len(), orders.len(), "{fault}");
        let folder = fresh();
        let project = project(folder.path(), way);
        let left = scene.block_on(run(&project));
        let mut complain = |what: String| wrong.push(format!("{fault} ({way:?}): {what}"));
        for order in scene.block_on(visitor.armed()) {
            let (fired, times) = (order["fired"].as_u64().unwrap(), order["times"].as_u64());
            if fired == 0 || times.is_some_and(|times| fired != times) {
                complain(format!("it did not come as ordered: {order}"));
            }
        }
        scene.block_on(visitor.arm(&[]));
        let (words, exit, said) = match &left.outcome {
            Ok(_) => ("complete and equal", 0, String::new()),
            Err(error) => ("stopped, nothing landed", error.kind().exit_code(), one_line(error)),
        };
        table.push_str(&format!("| {fault} | {way:?} | {words} | {exit} | {} | {said} |\n", left.calls));
        match (outcome, &left.outcome) {
            (Outcome::Whole, Ok(_)) => {
                if left.landed.as_ref() != Some(&wanted) {
                    complain(format!("other rows were landed: {}", difference(&wanted, left.landed.as_deref())));
                }
            }
            (Outcome::Stops(code, words), Err(error)) => {
                if code != exit || !error.message().contains(words) || error.hint_text().is_none() {
                    complain(format!("exit {code} and `{words}` were wanted: {error:?}"));
                }
                if error.message().contains('<') || error.message().contains('\n') {
                    complain(format!("the sentence is none: {error}"));
                }
                if left.landed.is_some() {
                    complain("something was landed".to_owned());
                }
                // And when the fault is gone, the same command brings what is right.
                let again = scene.block_on(run(&project));
                if again.landed.as_ref() != Some(&wanted) {
                    complain(format!(
                        "the next run did not make it good: {:?}",
                        again.outcome.map(|report| report.counters)
                    ));
                }
            }
            (_, came) => complain(format!("{outcome:?} was wanted: {:?}", came.as_ref().map(|report| report.counters))),
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{} of the outcomes are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// An error as a cell of the table.
fn one_line(error: &Error) -> String {
    let numbers = regex_free(error.message());
    numbers.replace('|', "/").replace("\n", " ")
}

/// The sentence without the port and the seconds, which differ from run to run.
fn regex_free(sentence: &str) -> String {
    let mut text = sentence.to_owned();
    while let Some(at) = text.find("http://127.0.0.1:") {
        let end = text[at + 17..].find(|letter: char| !letter.is_ascii_digit()).map_or(text.len(), |end| at + 17 + end);
        text.replace_range(at..end, "");
    }
    text
}

/// The first row that is not as it should be.
fn difference(wanted: &[String], landed: Option<&[String]>) -> String {
    let Some(landed) = landed else { return "none at all".to_owned() };
    let first = wanted.iter().zip(landed).find(|(wanted, landed)| wanted != landed);
    format!("{} instead of {}; the first that differs: {first:?}", landed.len(), wanted.len())
}
