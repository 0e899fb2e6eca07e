//! Query jobs and their pages against a scripted server: whatever happens, the read is whole or it is an error.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::json;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::error::Error;
use sf2gs::error::ErrorKind;
use sf2gs::extract::salesforce::Prepared;
use sf2gs::extract::salesforce::ReadOptions;
use sf2gs::extract::salesforce::ReadReport;
use sf2gs::extract::salesforce::read;

use crate::support::org::DATA;
use crate::support::org::expired;
use crate::support::org::logins;
use crate::support::org::org;
use crate::support::org::refusal;
use crate::support::org::token;
use crate::support::scripted::Answer;
use crate::support::scripted::Scripted;

const JOB: &str = "750R0000000zxr8IAA";

fn prepared() -> Prepared {
    let id = Field::new("Id", DataType::Utf8, true).with_metadata([("sf.type".into(), "id".into())].into());
    Prepared {
        object: "Account".into(),
        soql: "SELECT Id, Name FROM Account".into(),
        schema: Arc::new(Schema::new(vec![id, Field::new("Name", DataType::Utf8, true)])),
        cursor: None,
        replaced: vec![],
    }
}

fn options() -> ReadOptions {
    ReadOptions { page_rows: 2, parallel: 1, batch_rows: 2 }
}

fn path(rest: &str) -> String {
    format!("{DATA}/jobs/query/{JOB}{rest}")
}

/// Answers that make a job, let it pass through its states and clear it up.
fn script_job(server: &Scripted, rows: u64) {
    server.push_for(
        "POST",
        &format!("{DATA}/jobs/query"),
        Answer::json(&json!({ "id": JOB, "state": "UploadComplete" })),
    );
    for state in ["UploadComplete", "InProgress", "JobComplete"] {
        script_state(server, json!({ "id": JOB, "object": "Account", "state": state, "numberRecordsProcessed": rows }));
    }
    server.push_for("PATCH", &path(""), Answer::new(200, "{}"));
    server.push_for("DELETE", &path(""), Answer::new(204, ""));
}

fn script_state(server: &Scripted, job: serde_json::Value) {
    server.push_for("GET", &path(""), Answer::json(&job));
}

fn id(number: u64) -> String {
    // ten digits and no capital letters: the last three characters are always AAA
    format!("00100{number:010}AAA")
}

fn csv(rows: std::ops::Range<u64>) -> String {
    let mut text = "\"Id\",\"Name\"\n".to_owned();
    for row in rows {
        text.push_str(&format!("\"{}\",\"Name \"\"{row}\"\",\n second line\"\n", id(row)));
    }
    text
}

fn page(rows: std::ops::Range<u64>, next: Option<&str>) -> Answer {
    let count = rows.end - rows.start;
    Answer::new(200, csv(rows))
        .header("Sforce-NumberOfRecords", &count.to_string())
        .header("Sforce-Locator", next.unwrap_or("null"))
        .header("Content-Type", "text/csv")
}

async fn outcome(client: &SalesforceClient, options: ReadOptions) -> (Vec<RecordBatch>, Result<ReadReport, Error>) {
    let mut reading = match read(client, &prepared(), options).await {
        Ok(reading) => reading,
        Err(e) => return (vec![], Err(e)),
    };
    assert!(reading.job_id().is_none_or(|job| job == JOB));
    let mut batches = Vec::new();
    while let Some(batch) = reading.next().await {
        match batch {
            Ok(batch) => batches.push(batch),
            Err(e) => {
                assert!(reading.next().await.is_none());
                return (batches, Err(e));
            }
        }
    }
    (batches, Ok(reading.report()))
}

fn ids(batches: &[RecordBatch]) -> Vec<String> {
    let column = |batch: &RecordBatch| {
        batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

fn expected(rows: std::ops::Range<u64>) -> Vec<String> {
    rows.map(id).collect()
}

fn asked(server: &Scripted, method: &str, path_end: &str) -> usize {
    server.received().iter().filter(|request| request.method == method && request.path.ends_with(path_end)).count()
}

#[tokio::test]
async fn pages_are_walked_counted_and_the_job_is_deleted() {
    let (server, client) = org().await;
    script_job(&server, 5);
    server.push_for("GET", &path("/results?maxRecords=2"), page(0..2, Some("MTAw")));
    server.push_for("GET", &path("/results?maxRecords=2&locator=MTAw"), page(2..4, Some("MTAx")));
    server.push_for("GET", &path("/results?maxRecords=2&locator=MTAx"), page(4..5, None));
    let (batches, report) = outcome(&client, options()).await;
    let report = report.unwrap();
    assert_eq!(ids(&batches), expected(0..5));
    assert_eq!((report.rows, report.pages, report.nul_bytes), (5, 3, 0));
    assert_eq!(batches[0].column(1).as_string::<i32>().value(0), "Name \"0\",\n second line");
    let create: serde_json::Value = serde_json::from_slice(&server.received()[1].body).unwrap();
    assert_eq!(create["operation"], "queryAll");
    assert_eq!(create["query"], "SELECT Id, Name FROM Account");
    assert_eq!(asked(&server, "DELETE", JOB), 1);
    assert_eq!(asked(&server, "PATCH", JOB), 0);
}

#[tokio::test]
async fn no_rows_is_a_whole_read() {
    let (server, client) = org().await;
    script_job(&server, 0);
    server.push_for("GET", &path("/results"), page(0..0, None));
    let (batches, report) = outcome(&client, options()).await;
    assert_eq!((batches.len(), report.unwrap().rows), (0, 0));
}

#[tokio::test]
async fn linked_pages_are_read_side_by_side() {
    let (server, client) = org().await;
    script_job(&server, 12);
    let links = |from: u64, to: u64, next: Option<&str>| {
        let pages: Vec<_> =
            (from..to).map(|n| json!({ "resultUrl": path(&format!("/results?locator=L{n}")) })).collect();
        Answer::json(&json!({ "resultPages": pages, "nextRecordsUrl": next, "done": next.is_none() }))
    };
    let more = path("/resultPages?locator=more");
    server.push_for("GET", &more, links(5, 6, None));
    server.push_for("GET", &path("/resultPages"), links(0, 5, Some(&more)));
    for n in 0..6 {
        let slow = Duration::from_millis(if n == 0 { 100 } else { 0 });
        server.push_for(
            "GET",
            &path(&format!("/results?locator=L{n}")),
            page(n * 2..n * 2 + 2, Some("x")).delayed(slow),
        );
    }
    let (batches, report) = outcome(&client, ReadOptions { parallel: 3, ..options() }).await;
    assert_eq!(report.unwrap().pages, 6);
    let mut got = ids(&batches);
    assert_ne!(got, expected(0..12), "the slow first page did not hold up the others");
    got.sort();
    assert_eq!(got, expected(0..12));
}

#[tokio::test]
async fn an_org_without_links_is_walked() {
    let (server, client) = org().await;
    script_job(&server, 4);
    server.push_for("GET", &path("/resultPages"), refusal(404, "NOT_FOUND", "The requested resource does not exist"));
    server.push_for("GET", &path("/results?maxRecords=2&locator=B"), page(2..4, None));
    server.push_for("GET", &path("/results"), page(0..2, Some("B")));
    let (batches, _) = outcome(&client, ReadOptions { parallel: 3, ..options() }).await;
    let mut got = ids(&batches);
    got.sort();
    assert_eq!(got, expected(0..4));
}

#[tokio::test]
async fn a_page_that_breaks_off_is_read_again_and_each_row_comes_once() {
    for cut in [0, 14, 40, 150, 260, 300] {
        let (server, client) = org().await;
        script_job(&server, 6);
        server.push_for("GET", &path("/results"), page(0..6, None).cut_after(cut));
        server.push_for("GET", &path("/results"), page(0..6, None).cut_after(cut + 20));
        server.push_for("GET", &path("/results"), page(0..6, None));
        let (batches, report) = outcome(&client, options()).await;
        assert_eq!(report.unwrap().rows, 6, "cut after {cut} bytes");
        assert_eq!(ids(&batches), expected(0..6));
    }
}

/// Where pages end and where each is cut the first time, in shares of what there is.
fn borders() -> impl Strategy<Value = (Vec<u64>, Vec<f64>)> {
    (prop::collection::btree_set(1_u64..40, 0..6), prop::collection::vec(0.0..1.0, 7))
        .prop_map(|(ends, cuts)| (ends.into_iter().chain([40]).collect(), cuts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn wherever_pages_end_and_break_off_each_row_comes_once_and_in_order(
        (ends, cuts) in borders(), batch_rows in 1_usize..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (server, client) = org().await;
            script_job(&server, 40);
            let mut from = 0;
            for (index, (end, cut)) in ends.iter().zip(&cuts).enumerate() {
                let next = (*end < 40).then(|| format!("L{end}"));
                let at = if index == 0 { String::new() } else { format!("&locator=L{from}") };
                let at = path(&format!("/results?maxRecords=2{at}"));
                let cut = (csv(from..*end).len() as f64 * cut) as usize;
                let answer = page(from..*end, next.as_deref());
                server.push_for("GET", &at, answer.clone().cut_after(cut));
                server.push_for("GET", &at, answer);
                from = *end;
            }
            let (batches, report) = outcome(&client, ReadOptions { batch_rows, ..options() }).await;
            assert_eq!(report.unwrap().pages, ends.len() as u64);
            assert_eq!(ids(&batches), expected(0..40));
            assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
        });
    }
}

#[tokio::test]
async fn a_page_that_never_comes_whole_is_an_error() {
    let (server, client) = org().await;
    script_job(&server, 6);
    for _ in 0..4 {
        server.push_for("GET", &path("/results"), page(0..6, None).cut_after(150));
    }
    let (_, report) = outcome(&client, options()).await;
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(asked(&server, "DELETE", JOB), 1);
    assert_eq!(asked(&server, "PATCH", JOB), 1);
}

#[tokio::test]
async fn a_silent_page_is_read_again() {
    let (server, client) = org().await;
    script_job(&server, 3);
    server.push_for("GET", &path("/results"), page(0..3, None).silent_after(100));
    server.push_for("GET", &path("/results"), page(0..3, None));
    let (batches, report) = outcome(&client, options()).await;
    report.unwrap();
    assert_eq!(ids(&batches), expected(0..3));
}

#[tokio::test]
async fn gzip_is_taken_and_a_truncated_one_is_read_again() {
    let (server, client) = org().await;
    script_job(&server, 50);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(csv(0..50).as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let answer = |bytes: &[u8]| {
        Answer::new(200, bytes)
            .header("Sforce-NumberOfRecords", "50")
            .header("Sforce-Locator", "null")
            .header("Content-Encoding", "gzip")
    };
    server.push_for("GET", &path("/results"), answer(&gzip[..gzip.len() - 20]));
    server.push_for("GET", &path("/results"), answer(&gzip));
    let (batches, report) = outcome(&client, ReadOptions { page_rows: 100, ..options() }).await;
    report.unwrap();
    assert_eq!(ids(&batches), expected(0..50));
}

#[tokio::test]
async fn a_session_that_ends_in_mid_download_is_renewed() {
    let (server, client) = org().await;
    server.push_for("POST", "/services/oauth2/token", token(&server, 2));
    script_job(&server, 4);
    server.push_for("GET", &path("/results?maxRecords=2&locator=B"), expired());
    server.push_for("GET", &path("/results?maxRecords=2&locator=B"), page(2..4, None));
    server.push_for("GET", &path("/results"), page(0..2, Some("B")));
    let (batches, report) = outcome(&client, options()).await;
    report.unwrap();
    assert_eq!(ids(&batches), expected(0..4));
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn no_read_is_short_and_successful() {
    let lying =
        |answer: Answer, rows: &str| answer.header("Sforce-NumberOfRecords", rows).header("Sforce-Locator", "null");
    let cases: Vec<(&str, u64, Vec<Answer>, ErrorKind, &str)> = vec![
        (
            "page count too high",
            3,
            vec![lying(Answer::new(200, csv(0..2)), "3")],
            ErrorKind::Integrity,
            "3 rows but sent 2",
        ),
        (
            "page count too low",
            2,
            vec![lying(Answer::new(200, csv(0..2)), "1")],
            ErrorKind::Integrity,
            "1 rows but sent 2",
        ),
        ("no page count", 2, vec![Answer::new(200, csv(0..2))], ErrorKind::Integrity, "did not say how many rows"),
        ("fewer than the job", 3, vec![page(0..2, None)], ErrorKind::Integrity, "counted 3 rows but sent 2"),
        ("more than the job", 1, vec![page(0..2, None)], ErrorKind::Integrity, "counted 1 rows but sent 2"),
        ("the same page again", 9, vec![page(0..2, Some("A")), page(2..4, Some("A"))], ErrorKind::Integrity, "twice"),
        ("no header row", 2, vec![lying(Answer::new(200, ""), "0")], ErrorKind::Integrity, "header row"),
        (
            "HTML in a 200",
            2,
            vec![lying(Answer::new(200, "<html>Maintenance</html>"), "2")],
            ErrorKind::Integrity,
            "no CSV",
        ),
        (
            "a locator that dies",
            4,
            vec![page(0..2, Some("A")), refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")],
            ErrorKind::Unavailable,
            "invalid query locator",
        ),
        (
            "out of calls",
            2,
            vec![refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")],
            ErrorKind::Unavailable,
            "TotalRequests",
        ),
        (
            "another API version",
            2,
            vec![refusal(409, "API_VERSION_MISMATCH", "The job was created with another version")],
            ErrorKind::Config,
            "another version",
        ),
        (
            "HTML in a 414",
            2,
            vec![Answer::new(414, "<html><title>Too long</title></html>")],
            ErrorKind::Config,
            "Too long",
        ),
        (
            "HTML in every 502",
            2,
            (0..4).map(|_| Answer::new(502, "<html><title>Bad Gateway</title></html>")).collect(),
            ErrorKind::Unavailable,
            "Bad Gateway",
        ),
    ];
    for (name, rows, answers, kind, words) in cases {
        let (server, client) = org().await;
        script_job(&server, rows);
        for answer in answers {
            server.push_for("GET", &path("/results"), answer);
        }
        let (_, report) = outcome(&client, options()).await;
        let error = report.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
        assert!(error.message().contains(words), "{name}: {error:?}");
        assert!(error.hint_text().is_some(), "{name}: {error:?}");
        assert_eq!(asked(&server, "DELETE", JOB), 1, "{name}");
    }
}

#[tokio::test]
async fn a_job_that_fails_is_aborted_or_stays_is_one_clear_error() {
    let failed =
        |message: &str| vec![json!({ "id": JOB, "object": "Account", "state": "Failed", "errorMessage": message })];
    let stuck = |state: &str| vec![json!({ "id": JOB, "object": "Account", "state": state }); 200];
    let cases = [
        (failed("InternalServerError : retried 15 times"), ErrorKind::Unavailable, "retried 15 times"),
        (failed("MALFORMED_QUERY: unexpected token: x"), ErrorKind::Config, "unexpected token"),
        (vec![json!({ "id": JOB, "state": "Aborted" })], ErrorKind::Unavailable, "aborted by somebody else"),
        (stuck("InProgress"), ErrorKind::Unavailable, "in progress without a sign of progress"),
        (stuck("UploadComplete"), ErrorKind::Unavailable, "queue behind other jobs"),
    ];
    for (states, kind, words) in cases {
        let (server, client) = org().await;
        server.push_for("POST", &format!("{DATA}/jobs/query"), Answer::json(&json!({ "id": JOB })));
        server.push_for("PATCH", &path(""), refusal(400, "INVALIDJOBSTATE", "the job has ended"));
        server.push_for("DELETE", &path(""), Answer::new(204, ""));
        for state in states {
            script_state(&server, state);
        }
        let (_, report) = outcome(&client, options()).await;
        let error = report.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(words), "{error:?}");
        assert_eq!(asked(&server, "DELETE", JOB), 1);
    }
}

#[tokio::test]
async fn a_job_that_is_gone_is_told_as_such() {
    let not_found = || refusal(404, "NOT_FOUND", "The requested resource does not exist");
    // … while it is waited for
    let (server, client) = org().await;
    server.push_for("POST", &format!("{DATA}/jobs/query"), Answer::json(&json!({ "id": JOB })));
    for method in ["GET", "PATCH", "DELETE"] {
        server.push_for(method, &path(""), not_found());
    }
    let (_, report) = outcome(&client, options()).await;
    let error = report.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("is gone") && error.hint_text().unwrap().contains("new job"), "{error:?}");

    // … between its pages, by either way to them
    for linked in [false, true] {
        let (server, client) = org().await;
        script_job(&server, 4);
        let links: Vec<_> = (0..2).map(|n| json!({ "resultUrl": path(&format!("/results?locator=L{n}")) })).collect();
        server.push_for("GET", &path("/resultPages"), Answer::json(&json!({ "resultPages": links, "done": true })));
        server.push_for("GET", &path("/results"), page(0..2, Some("L1")));
        server.push_for("GET", &path("/results"), not_found());
        let parallel = if linked { 2 } else { 1 };
        let (_, report) = outcome(&client, ReadOptions { parallel, ..options() }).await;
        let error = report.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("is gone"), "{error:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_another_when_asked_for_again_is_an_error() {
    let (server, client) = org().await;
    script_job(&server, 6);
    server.push_for("GET", &path("/results"), page(0..6, None).cut_after(260));
    server.push_for("GET", &path("/results"), page(0..2, None));
    let (_, report) = outcome(&client, options()).await;
    let error = report.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
    assert!(error.message().contains("another page"), "{error:?}");
}

fn not_bulk() -> Answer {
    refusal(400, "INVALIDENTITY", "Entity 'Account' is not supported by the Bulk API.")
}

fn rest_page(total: u64, rows: std::ops::Range<u64>, next: Option<&str>) -> Answer {
    let records: Vec<_> = rows
        .map(|row| json!({ "attributes": { "type": "Account" }, "Id": id(row), "Name": format!("Name {row}\u{0}") }))
        .collect();
    Answer::json(&json!({ "totalSize": total, "done": next.is_none(), "nextRecordsUrl": next, "records": records }))
}

#[tokio::test]
async fn an_object_that_bulk_does_not_offer_is_read_by_rest() {
    let next = format!("{DATA}/query/01g-2");
    // Salesforce says so when the job is made, or by the job's failure.
    for late in [false, true] {
        let (server, client) = org().await;
        if late {
            server.push_for("POST", &format!("{DATA}/jobs/query"), Answer::json(&json!({ "id": JOB })));
            let message = "INVALIDENTITY: Entity 'Account' is not supported by the Bulk API.";
            script_state(&server, json!({ "id": JOB, "state": "Failed", "errorMessage": message }));
            server.push_for("PATCH", &path(""), Answer::new(200, "{}"));
            server.push_for("DELETE", &path(""), Answer::new(204, ""));
        } else {
            server.push_for("POST", &format!("{DATA}/jobs/query"), not_bulk());
        }
        server.push_for("GET", &format!("{DATA}/queryAll?q="), rest_page(5, 0..3, Some(&next)));
        server.push_for("GET", &next, rest_page(5, 3..5, None));
        let (batches, report) = outcome(&client, options()).await;
        let report = report.unwrap();
        assert_eq!(ids(&batches), expected(0..5));
        assert_eq!((report.rows, report.pages, report.nul_bytes), (5, 2, 5));
        assert_eq!(batches[0].column(1).as_string::<i32>().value(0), "Name 0");
        assert_eq!(asked(&server, "DELETE", JOB), usize::from(late));
    }
}

#[tokio::test]
async fn no_read_by_rest_is_short_and_successful() {
    let next = format!("{DATA}/query/01g-2");
    let odd = |record: serde_json::Value| Answer::json(&json!({ "totalSize": 1, "done": true, "records": [record] }));
    let cases = [
        (vec![rest_page(3, 0..2, None)], ErrorKind::Integrity, "counted 3 rows but sent 2"),
        (vec![rest_page(9, 0..2, Some(&next)), rest_page(9, 2..4, Some(&next))], ErrorKind::Integrity, "twice"),
        (
            vec![rest_page(4, 0..2, Some(&next)), refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")],
            ErrorKind::Unavailable,
            "invalid query locator",
        ),
        (vec![refusal(400, "INVALID_TYPE", "sObject type 'Account' is not supported.")], ErrorKind::Config, "Account"),
        (vec![odd(json!({ "Id": id(1) }))], ErrorKind::Integrity, "without `Name`"),
        (vec![odd(json!({ "Id": id(1), "Name": { "first": "x" } }))], ErrorKind::Integrity, "more than one value"),
        (vec![odd(json!({ "Id": "1", "Name": "x" }))], ErrorKind::Integrity, "not a Salesforce id"),
    ];
    for (answers, kind, words) in cases {
        let (server, client) = org().await;
        server.push_for("POST", &format!("{DATA}/jobs/query"), not_bulk());
        for answer in answers {
            server.push_for("GET", &format!("{DATA}/query"), answer);
        }
        let (_, report) = outcome(&client, options()).await;
        let error = report.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(words) && error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_reading_that_is_dropped_ends_and_deletes_its_job() {
    for orderly in [false, true] {
        let (server, client) = org().await;
        script_job(&server, 100);
        server.push_for("GET", &path("/results"), page(0..50, Some("B")));
        server.push_for("GET", &path("/results"), page(50..100, None).silent_after(100));
        let mut reading = read(&client, &prepared(), options()).await.unwrap();
        reading.next().await.unwrap().unwrap();
        if orderly {
            reading.close().await;
        } else {
            drop(reading);
            for _ in 0..200 {
                if asked(&server, "DELETE", JOB) > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!((asked(&server, "PATCH", JOB), asked(&server, "DELETE", JOB)), (1, 1));
    }
}
