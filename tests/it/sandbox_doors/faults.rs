//! Every fault comes as often as ordered, does what it says, and is read back.

use std::io::Read;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::records;
use crate::support::caller::reply;
use crate::support::caller::start;

const FAULTS: &str = "/__sandbox/faults";
const CONTACTS: &str = "SELECT Id, LastName FROM Contact";

impl Client {
    async fn arm(&self, fault: Value) {
        let armed = self.send(Method::PUT, FAULTS, fault).await;
        assert_eq!(armed.status, 200, "{}", armed.text);
    }

    /// (seen, fired, left) of the only fault.
    async fn fired(&self) -> (u64, u64, Value) {
        let all = self.get(FAULTS).await.json();
        let [one] = all.as_array().unwrap().as_slice() else { panic!("{all}") };
        (one["seen"].as_u64().unwrap(), one["fired"].as_u64().unwrap(), one["left"].clone())
    }

    /// How many contacts the org has.
    async fn contacts(&self) -> Value {
        self.get("/__sandbox/counts").await.json()["Contact"]["rows"].clone()
    }
}

/// The body that came before the connection closed, and whether it closed too early.
async fn body_of(mut response: reqwest::Response) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, false),
            Err(_) => return (body, true),
        }
    }
}

#[tokio::test]
async fn an_answer_comes_for_its_calls_and_no_other() {
    let client = start(options()).await;
    let refusal = json!([{ "message": "UNABLE_TO_LOCK_ROW", "errorCode": "UNABLE_TO_LOCK_ROW" }]);
    client
        .arm(json!({
            "method": "GET", "path": "/services/data/*/query?q=*Contact", "skip": 1, "times": 2,
            "what": { "answer": { "status": 503, "body": refusal, "headers": { "retry-after": "7" } } },
        }))
        .await;
    let statuses = |soql: &'static str| {
        let client = &client;
        async move { client.query(soql).await.status.as_u16() }
    };
    assert_eq!(statuses("SELECT Id FROM Account LIMIT 1").await, 200);
    assert_eq!(statuses("SELECT Id FROM Contact LIMIT 1").await, 200, "one is skipped");
    let first = client.query("SELECT Id FROM Contact LIMIT 1").await;
    assert_eq!((first.status.as_u16(), first.json(), first.header("retry-after")), (503, refusal, "7"));
    assert_eq!(first.header("content-type"), "application/json;charset=UTF-8");
    assert!(first.header("date").starts_with("Mon, 01 Jun 2026 12:00:00"), "{:?}", first.headers);
    assert_eq!(client.fired().await, (2, 1, json!(1)));
    assert_eq!(statuses("SELECT Id FROM Contact LIMIT 1").await, 503);
    assert_eq!(statuses("SELECT Id FROM Contact LIMIT 1").await, 200, "it is used up");
    assert_eq!(client.fired().await, (4, 2, json!(0)));

    // A text goes out as it is, with the type that was ordered for it.
    let what = json!({ "answer": { "status": 200, "body": "{\"a\": ", "content_type": "application/json" } });
    client.arm(json!({ "path": format!("{V}/limits"), "times": null, "what": what })).await;
    for _ in 0..3 {
        let reply = client.get(&format!("{V}/limits")).await;
        assert_eq!((reply.text.as_str(), reply.header("content-type")), ("{\"a\": ", "application/json"));
    }
    assert_eq!(client.fired().await, (3, 3, Value::Null));
    let cleared = client.send(Method::DELETE, FAULTS, json!(null)).await;
    assert_eq!(cleared.json(), json!([]));
    assert!(client.get(&format!("{V}/limits")).await.json()["DailyApiRequests"].is_object());
}

#[tokio::test]
async fn orders_are_added_replaced_removed_and_checked() {
    let client = start(options()).await;
    let cut = json!({ "path": "/a", "what": "cut-before" });
    client.send(Method::POST, FAULTS, cut.clone()).await;
    let all = client.send(Method::POST, FAULTS, json!([cut, cut])).await.json();
    let ids: Vec<_> = all.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
    let left = client.send(Method::DELETE, &format!("{FAULTS}/2"), json!(null)).await.json();
    assert_eq!(left.as_array().unwrap().len(), 2);
    assert_eq!(client.send(Method::DELETE, &format!("{FAULTS}/2"), json!(null)).await.status, 404);
    // A list with one wrong order changes nothing.
    let wrong = client.send(Method::PUT, FAULTS, json!([cut, { "path": "/a", "what": "job-burns" }])).await;
    assert_eq!(wrong.status, 400);
    for name in ["`job-burns`", "`cut-before`", "`job-fails`"] {
        assert!(wrong.text.contains(name), "{}", wrong.text);
    }
    assert_eq!(client.get(FAULTS).await.json().as_array().unwrap().len(), 2);
    client.arm(json!([cut])).await;
    assert_eq!(client.fired().await, (0, 0, json!(1)));
}

#[tokio::test]
async fn a_page_of_html_has_the_status_of_the_edge() {
    let client = start(options()).await;
    for (status, text) in [(414, "URI Too Long"), (431, "Request Header Fields Too Large"), (502, "Bad Gateway")] {
        client.arm(json!({ "path": "/services", "what": { "html": status } })).await;
        let reply = client.get(&format!("{V}/limits")).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (status, "text/html; charset=UTF-8"));
        assert_eq!(reply.text, format!("<html><head><title>Error</title></head><body><h1>{text}</h1></body></html>"));
    }
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_work() {
    let client = start(options()).await;
    let before = client.contacts().await.as_u64().unwrap();
    let path = format!("{V}/sobjects/Contact");
    let create = || client.request(Method::POST, &path).json(&json!({ "LastName": "A" })).send();
    client.arm(json!({ "method": "POST", "path": path, "what": "cut-before" })).await;
    assert!(create().await.unwrap_err().is_request());
    assert_eq!(client.contacts().await, before);
    client.arm(json!({ "method": "POST", "path": path, "what": "cut-after" })).await;
    assert!(create().await.unwrap_err().is_request());
    assert_eq!(client.contacts().await, before + 1);
    assert_eq!(client.fired().await, (1, 1, json!(0)));
    assert_eq!(create().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_connection_is_cut_behind_the_headers_or_in_the_body() {
    let client = start(options()).await;
    let job = client.job("query", CONTACTS).await;
    let results = format!("{V}/jobs/query/{}/results", job["id"].as_str().unwrap());
    let whole = client.get(&results).await.text;
    let get = || client.request(Method::GET, &results).send();

    client.arm(json!({ "path": results, "what": "cut-headers" })).await;
    let response = get().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["sforce-locator"].as_bytes()), (200, &b"null"[..]));
    assert_eq!(body_of(response).await, (Vec::new(), true));

    client.arm(json!({ "path": results, "what": { "cut-body": { "after": 1000 } } })).await;
    assert_eq!(body_of(get().await.unwrap()).await, (whole.as_bytes()[..1000].to_vec(), true));
    client.arm(json!({ "path": results, "what": { "cut-body": {} } })).await;
    assert_eq!(body_of(get().await.unwrap()).await, (whole.as_bytes()[..whole.len() / 2].to_vec(), true));

    // An answer whose length is in its headers is cut as well, and never whole.
    let limits = format!("{V}/limits");
    let length = client.get(&limits).await.text.len();
    client.arm(json!({ "path": limits, "what": { "cut-body": { "after": 1_000_000 } } })).await;
    let response = client.request(Method::GET, &limits).send().await.unwrap();
    assert_eq!(response.content_length(), Some(length as u64));
    let (body, cut) = body_of(response).await;
    assert_eq!((body.len(), cut), (length - 1, true));
}

#[tokio::test]
async fn a_body_can_stand_still_and_an_answer_can_be_late() {
    let client = start(options()).await;
    let limits = format!("{V}/limits");
    client.arm(json!({ "path": limits, "what": { "stall-body": { "after": 10 } } })).await;
    let mut response = client.request(Method::GET, &limits).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap().len(), 10);
    assert!(tokio::time::timeout(Duration::from_millis(200), response.chunk()).await.is_err());

    client.arm(json!({ "path": limits, "what": { "delay": 300 } })).await;
    let early = client.request(Method::GET, &limits).timeout(Duration::from_millis(50)).send().await;
    assert!(early.unwrap_err().is_timeout());
    client.arm(json!({ "path": limits, "what": { "delay": 20 } })).await;
    assert_eq!(client.get(&limits).await.status, 200);
}

#[tokio::test]
async fn gzip_ends_too_early_in_a_whole_message() {
    let client = start(options()).await;
    let job = client.job("query", CONTACTS).await;
    let results = format!("{V}/jobs/query/{}/results", job["id"].as_str().unwrap());
    client.arm(json!({ "path": results, "what": "truncated-gzip" })).await;
    let plain = client.get(&results).await;
    assert_eq!(records(&plain.text).len(), 304, "whoever does not take gzip is not concerned");
    assert_eq!(client.fired().await, (0, 0, json!(1)));
    let response = client.request(Method::GET, &results).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let (body, cut) = body_of(response).await;
    assert!(!cut && body.starts_with(&[0x1f, 0x8b]));
    let mut text = Vec::new();
    let end = flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut text).unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(plain.text.as_bytes().starts_with(&text) && text.len() < plain.text.len());
    assert_eq!(client.fired().await, (1, 1, json!(0)));
}

#[tokio::test]
async fn headers_lie_or_are_missing() {
    let client = start(options()).await;
    let job = client.job("query", CONTACTS).await;
    let results = format!("{V}/jobs/query/{}/results", job["id"].as_str().unwrap());
    let lie = json!({ "count-header": { "name": "Sforce-NumberOfRecords", "add": -2 } });
    // An answer without that header is not concerned.
    client.arm(json!({ "path": "/services/data", "what": lie })).await;
    client.get(&format!("{V}/limits")).await;
    assert_eq!(client.fired().await, (1, 0, json!(1)));
    let page = client.get(&results).await;
    assert_eq!((page.header("sforce-numberofrecords"), records(&page.text).len()), ("302", 304));
    assert_eq!(client.fired().await, (2, 1, json!(0)));

    let headers = json!({ "headers": { "sforce-locator": null, "date": "Thu, 01 Jan 1970 00:00:00 GMT" } });
    client.arm(json!({ "path": results, "what": headers })).await;
    let page = client.get(&results).await;
    assert!(!page.headers.contains_key("sforce-locator"));
    assert_eq!(page.header("date"), "Thu, 01 Jan 1970 00:00:00 GMT");
}

/// The pages of a job until one is refused: rows that came, and the refusal.
async fn read(client: &Client, job: &Value, page: usize) -> (usize, Option<Reply>) {
    let results = format!("{V}/jobs/query/{}/results?maxRecords={page}", job["id"].as_str().unwrap());
    let (mut rows, mut next) = (0, String::new());
    loop {
        let page = client.get(&format!("{results}{next}")).await;
        if page.status != 200 {
            return (rows, Some(page));
        }
        rows += records(&page.text).len();
        match page.header("sforce-locator") {
            "null" => return (rows, None),
            locator => next = format!("&locator={locator}"),
        }
    }
}

#[tokio::test]
async fn a_session_ends_in_mid_download() {
    let mut client = start(options()).await;
    let job = client.job("query", CONTACTS).await;
    client.arm(json!({ "path": "*/results", "skip": 2, "what": "session-ends" })).await;
    let (rows, refused) = read(&client, &job, 100).await;
    assert_eq!((rows, refused.unwrap().refusal()), (200, (401, "INVALID_SESSION_ID".to_owned())));
    assert_eq!(client.get(&format!("{V}/limits")).await.refusal().0, 401, "the session has ended for all calls");
    assert_eq!(client.fired().await, (3, 1, json!(0)));
    let secret = client.org.client_secret().to_owned();
    let again = client.login(&[("grant_type", "client_credentials"), ("client_secret", &secret)]).await.json();
    client.token = again["access_token"].as_str().unwrap().to_owned();
    assert_eq!(read(&client, &job, 100).await.0, 304);
}

#[tokio::test]
async fn a_locator_dies_for_good() {
    let client = start(options()).await;
    let job = client.job("query", CONTACTS).await;
    client.arm(json!({ "path": "*/results?*locator=", "skip": 1, "what": "locator-dies" })).await;
    for _ in 0..2 {
        let (rows, refused) = read(&client, &job, 100).await;
        let refused = refused.unwrap();
        assert_eq!((rows, refused.refusal()), (200, (400, "INVALID_QUERY_LOCATOR".to_owned())));
    }
    assert_eq!(read(&client, &job, 1000).await.0, 304, "the first page needs no locator");
    let other = client.job("query", CONTACTS).await;
    assert!(read(&client, &other, 100).await.1.is_none(), "another job's locators live");

    let options = ("sforce-query-options", "batchSize=200");
    let first = client.request(Method::GET, &format!("{V}/query")).query(&[("q", CONTACTS)]);
    let first = reply(first.header(options.0, options.1)).await.json();
    let next = first["nextRecordsUrl"].as_str().unwrap();
    client.arm(json!({ "path": "*/query/01g", "what": "locator-dies" })).await;
    for _ in 0..2 {
        let dead = client.get(next).await;
        assert_eq!(dead.refusal(), (400, "INVALID_QUERY_LOCATOR".to_owned()));
        assert_eq!(dead.json()[0]["message"], "invalid query locator");
    }
}

#[tokio::test]
async fn a_job_fails_or_is_stuck() {
    let client = start(options()).await;
    let jobs = format!("{V}/jobs/query");
    let states = |id: String, looks: usize| {
        let (client, jobs) = (&client, &jobs);
        async move {
            let mut all = Vec::new();
            for _ in 0..looks {
                all.push(client.get(&format!("{jobs}/{id}")).await.json());
            }
            all
        }
    };
    let create = || async { client.create_job("query", CONTACTS).await.json()["id"].as_str().unwrap().to_owned() };

    client.arm(json!({ "method": "POST", "path": jobs, "what": { "job-fails": { "after_polls": 2 } } })).await;
    let id = create().await;
    let looks = states(id.clone(), 4).await;
    let of = |name: &str| looks.iter().map(|look| look[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("state"), ["InProgress", "InProgress", "Failed", "Failed"]);
    assert_eq!(of("errorMessage")[3], "QUERY_TIMEOUT : Your query request was running for too long.");
    let refused = client.get(&format!("{jobs}/{id}/results")).await;
    assert_eq!(refused.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    assert_eq!(client.send(Method::DELETE, &format!("{jobs}/{id}"), json!(null)).await.status, 204);

    let what = json!({ "job-fails": { "message": "InternalServerError : Retried more than fifteen times" } });
    client.arm(json!({ "method": "POST", "path": jobs, "what": what })).await;
    let looks = states(create().await, 1).await;
    assert_eq!(looks[0]["errorMessage"], "InternalServerError : Retried more than fifteen times");

    client.arm(json!({ "method": "POST", "path": jobs, "what": { "job-stuck": { "polls": 3 } } })).await;
    let id = create().await;
    assert!(states(id.clone(), 3).await.iter().all(|look| look["state"] == "InProgress"));
    let mut state = Value::Null;
    for _ in 0..500 {
        state = states(id.clone(), 1).await[0]["state"].clone();
        if state == "JobComplete" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state, "JobComplete");

    client.arm(json!({ "method": "POST", "path": jobs, "what": { "job-stuck": {} } })).await;
    let id = create().await;
    assert!(states(id.clone(), 50).await.iter().all(|look| look["state"] == "InProgress"));
    let aborted = client.send(Method::PATCH, &format!("{jobs}/{id}"), json!({ "state": "Aborted" })).await.json();
    assert_eq!(aborted["state"], "Aborted");
    // One fault per job: the next is whole.
    assert_eq!(client.job("query", CONTACTS).await["numberRecordsProcessed"], 304);
}

#[tokio::test]
async fn the_limit_is_said_to_be_exceeded() {
    let client = start(options()).await;
    client.arm(json!({ "path": format!("{V}/jobs"), "times": 2, "what": "request-limit-exceeded" })).await;
    assert_eq!(client.get(&format!("{V}/limits")).await.status, 200);
    for _ in 0..2 {
        let refused = client.create_job("query", CONTACTS).await;
        assert_eq!(refused.refusal(), (403, "REQUEST_LIMIT_EXCEEDED".to_owned()));
        assert_eq!(refused.json()[0]["message"], "TotalRequests Limit exceeded.");
    }
    assert_eq!(client.create_job("query", CONTACTS).await.status, 200);
}

#[tokio::test]
async fn a_row_comes_late_into_a_window_that_was_read() {
    let client = start(options()).await;
    let window = "SELECT LastName, SystemModstamp FROM Contact WHERE SystemModstamp >= 2026-06-01T11:50:00Z \
                  AND SystemModstamp < 2026-06-01T11:55:00Z";
    assert!(client.rows(&client.job("query", window).await, 100).await.is_empty());
    client
        .arm(json!({ "path": format!("{V}/sobjects/Contact"), "what": { "stamped-before": { "seconds": 420 } } }))
        .await;
    let created = client.send(Method::POST, &format!("{V}/sobjects/Contact"), json!({ "LastName": "Late" })).await;
    assert_eq!(created.status, 201);
    let rows = client.rows(&client.job("query", window).await, 100).await;
    assert_eq!(rows, [["Late", "2026-06-01T11:53:00.000Z"]]);
    assert_eq!(client.fired().await, (1, 1, json!(0)));
}

#[tokio::test]
async fn an_effect_that_no_handler_takes_stays_armed() {
    let client = start(options()).await;
    client.arm(json!([{ "path": "/services", "what": "locator-dies" }])).await;
    client.get(&format!("{V}/limits")).await;
    client.query("SELECT Id FROM Account LIMIT 1").await;
    assert_eq!(client.fired().await, (2, 0, json!(1)));
}

#[tokio::test]
async fn the_clock_can_be_wrong() {
    let client = start(options()).await;
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": -7200 })).await;
    let reply = client.get(&format!("{V}/limits")).await;
    assert_eq!(reply.header("date"), "Mon, 01 Jun 2026 10:00:00 GMT");
}
