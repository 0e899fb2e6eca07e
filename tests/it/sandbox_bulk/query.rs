//! Query jobs: what the tests of the whole org leave out.

use reqwest::Method;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::start;

#[tokio::test]
async fn an_aborted_job_has_no_results_and_can_be_deleted() {
    let client = start(OrgOptions { polls_in_progress: 1000, ..options() }).await;
    let made = client.create_job("query", "SELECT Id FROM Account").await.json();
    let path = format!("{V}/jobs/query/{}", made["id"].as_str().unwrap());
    assert_eq!(client.get(&format!("{path}/results")).await.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    assert_eq!(client.send(Method::DELETE, &path, json!(null)).await.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    let wrong = client.send(Method::PATCH, &path, json!({ "state": "Paused" })).await;
    assert_eq!(wrong.json()[0]["message"], "Invalid value: 'Paused' supplied for property: 'state'");
    let aborted = client.send(Method::PATCH, &path, json!({ "state": "Aborted" })).await;
    assert_eq!((aborted.status.as_u16(), &aborted.json()["state"]), (200, &json!("Aborted")));
    let again = client.send(Method::PATCH, &path, json!({ "state": "Aborted" })).await;
    assert_eq!(again.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    assert_eq!(again.json()[0]["message"], "Aborting already Aborted Job not allowed");
    assert_eq!(client.get(&format!("{path}/results")).await.status, 400);
    assert_eq!(client.send(Method::DELETE, &path, json!(null)).await.status, 204);
    assert_eq!(client.get(&path).await.refusal(), (404, "NOT_FOUND".to_owned()));
    assert_eq!(client.send(Method::PUT, &path, json!({})).await.status, 405);
}

#[tokio::test]
async fn a_complete_job_cannot_be_aborted_and_is_kept_for_seven_days() {
    let client = start(options()).await;
    let job = client.job("query", "SELECT Id FROM Account").await;
    assert_eq!((&job["isPkChunkingSupported"], &job["retries"]), (&json!(true), &json!(0)));
    let path = format!("{V}/jobs/query/{}", job["id"].as_str().unwrap());
    let refused = client.send(Method::PATCH, &path, json!({ "state": "Aborted" })).await;
    assert_eq!(refused.json()[0]["message"], "Aborting already Completed Job not allowed");
    let day = 86_400;
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 7 * day - 60 })).await;
    let client = {
        // The session has run out meanwhile.
        let secret = client.org.client_secret().to_owned();
        let reply = client.login(&[("grant_type", "client_credentials"), ("client_secret", &secret)]).await;
        crate::support::caller::Client { token: reply.json()["access_token"].as_str().unwrap().to_owned(), ..client }
    };
    assert_eq!(client.get(&path).await.status, 200);
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 120 })).await;
    assert_eq!(client.get(&path).await.status, 404);
}

#[tokio::test]
async fn old_versions_have_their_columns_in_alphabetical_order() {
    let client = start(options()).await;
    let old = "/services/data/v49.0";
    let order = json!({ "operation": "query", "query": "SELECT Name, Id, Fax FROM Account LIMIT 1" });
    let made = client.send(Method::POST, &format!("{old}/jobs/query"), order).await.json();
    let path = format!("{old}/jobs/query/{}", made["id"].as_str().unwrap());
    while client.get(&path).await.json()["state"] != "JobComplete" {
        tokio::task::yield_now().await;
    }
    let page = client.get(&format!("{path}/results")).await.text;
    assert!(page.starts_with("\"Fax\",\"Id\",\"Name\"\n"), "{page}");
}

#[tokio::test]
async fn lists_show_jobs_by_kind_a_thousand_at_a_time() {
    let client = start(options()).await;
    for _ in 0..1001 {
        assert_eq!(client.create_job("query", "SELECT Id FROM Organization").await.status, 200);
    }
    let order = json!({ "operation": "insert", "object": "Account" });
    client.send(Method::POST, &format!("{V}/jobs/ingest"), order).await;
    let order = json!({ "operation": "query", "object": "Account", "contentType": "CSV" });
    let classic = client.request(Method::POST, "/services/async/62.0/job").json(&order);
    assert_eq!(classic.send().await.unwrap().status(), 201);

    let first = client.get(&format!("{V}/jobs/query")).await.json();
    assert_eq!((&first["done"], first["records"].as_array().unwrap().len()), (&json!(false), 1000));
    let next = first["nextRecordsUrl"].as_str().unwrap();
    assert!(next.starts_with(&format!("{V}/jobs/query?queryLocator=01g")) && next.ends_with("-1000"), "{next}");
    let rest = client.get(next).await.json();
    let kinds: Vec<_> = rest["records"].as_array().unwrap().iter().map(|job| job["jobType"].clone()).collect();
    assert_eq!(
        (kinds, &rest["done"], &rest["nextRecordsUrl"]),
        (vec![json!("V2Query"), json!("Classic")], &json!(true), &json!(null))
    );
    for (list, filter, count) in [
        ("query", "jobType=V2Ingest", 1),
        ("query", "jobType=Classic", 1),
        ("query", "concurrencyMode=serial", 0),
        ("query", "isPkChunkingEnabled=true", 0),
        ("ingest", "concurrencyMode=parallel", 2),
        ("ingest", "jobType=V2Ingest", 1),
    ] {
        let found = client.get(&format!("{V}/jobs/{list}?{filter}")).await.json();
        assert_eq!(found["records"].as_array().unwrap().len(), count, "{list} {filter}");
    }
    let wrong = client.get(&format!("{V}/jobs/query?queryLocator=next")).await;
    assert_eq!(wrong.refusal(), (400, "INVALID_QUERY_LOCATOR".to_owned()));
}

#[tokio::test]
async fn orders_that_make_no_job_are_refused() {
    let client = start(options()).await;
    for (order, code, text) in [
        (
            json!({ "operation": "insert", "query": "SELECT Id FROM Account" }),
            "API_ERROR",
            "Invalid value: 'insert' supplied for property: 'operation'",
        ),
        (
            json!({ "operation": "query", "query": "SELECT Id FROM Account", "contentType": "JSON" }),
            "API_ERROR",
            "Invalid value: 'JSON' supplied for property: 'contentType'",
        ),
        (
            json!({ "operation": "query", "query": "SELECT Id FROM Account", "columnDelimiter": "," }),
            "API_ERROR",
            "Invalid value: ',' supplied for property: 'columnDelimiter'",
        ),
        (
            json!({ "operation": "query", "query": "SELECT Id FROM Account", "lineEnding": "CR" }),
            "API_ERROR",
            "Invalid value: 'CR' supplied for property: 'lineEnding'",
        ),
        (
            json!({ "operation": "query", "query": "SELECT BillingAddress FROM Account" }),
            "INVALID_FIELD",
            "Selecting compound data not supported in Bulk Query",
        ),
        (json!({ "operation": "query" }), "INVALIDJOB", "InvalidJob : query is required"),
    ] {
        let reply = client.send(Method::POST, &format!("{V}/jobs/query"), order).await;
        assert_eq!(reply.refusal(), (400, code.to_owned()), "{}", reply.text);
        assert_eq!(reply.json()[0]["message"], text);
    }
    let broken = client.request(Method::POST, &format!("{V}/jobs/query")).body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
}
