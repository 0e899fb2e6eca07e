//! Limits are counted as documented, can be set low, and the longest addresses are refused at the edge.

use reqwest::Method;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

#[tokio::test]
async fn every_reply_tells_what_is_used_and_the_last_request_is_the_last() {
    let client = start(OrgOptions { daily_api_requests: 4, ..options() }).await;
    assert_eq!(client.get("/services/data").await.header("sforce-limit-info"), "", "that needs no session");
    for (path, status, used) in [
        (format!("{V}/limits"), 200, "api-usage=1/4"),
        (format!("{V}/nothing"), 404, "api-usage=2/4"),
        (format!("{V}/query?q=SELECT"), 400, "api-usage=3/4"),
        (format!("{V}/sobjects/Account/describe"), 200, "api-usage=4/4"),
        (format!("{V}/limits"), 403, "api-usage=4/4"),
    ] {
        let reply = client.get(&path).await;
        assert_eq!((reply.status.as_u16(), reply.header("sforce-limit-info")), (status, used), "{path}");
    }
    let refused = client.get(&format!("{V}/sobjects")).await;
    let text = json!([{ "message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED" }]);
    assert_eq!(refused.json(), text);
    // A day later, to the quarter of an hour, it is free again.
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 86_400 + 900 })).await;
    let secret = client.org.client_secret().to_owned();
    let again = client.login(&[("grant_type", "client_credentials"), ("client_secret", &secret)]).await.json();
    let limits = client.http.get(format!("{}{V}/limits", client.org.url()));
    let limits = reply(limits.bearer_auth(again["access_token"].as_str().unwrap())).await;
    assert_eq!(limits.json()["DailyApiRequests"], json!({ "Max": 4, "Remaining": 3 }));
}

#[tokio::test]
async fn query_jobs_have_a_limit_of_their_own() {
    let client = start(OrgOptions { daily_bulk_query_jobs: 1, ..options() }).await;
    let soql = "SELECT Id FROM Account";
    assert_eq!(client.create_job("query", "SELECT Nothing FROM Account").await.status, 400, "that is not counted");
    assert_eq!(client.create_job("query", soql).await.status, 200);
    let refused = client.create_job("query", soql).await;
    assert_eq!(refused.refusal(), (400, "LIMIT_EXCEEDED".to_owned()));
    assert_eq!(refused.json()[0]["message"], "Max bulk v2 query jobs (1) per 24 hrs has been reached");
    let limits = client.get(&format!("{V}/limits")).await.json();
    assert_eq!(limits["DailyBulkV2QueryJobs"], json!({ "Max": 1, "Remaining": 0 }));
    assert_eq!(limits["DailyBulkApiBatches"]["Max"], 15_000);
    let order = json!({ "DailyBulkV2QueryJobs": { "max": 10 }, "DailyBulkApiBatches": { "used": 3, "max": 5 } });
    let set = client.send(Method::POST, "/__sandbox/limits", order).await.json();
    assert_eq!(set["DailyBulkV2QueryJobs"], json!({ "Max": 10, "Remaining": 9 }));
    assert_eq!(set["DailyBulkApiBatches"], json!({ "Max": 5, "Remaining": 2 }));
    assert_eq!(client.create_job("query", soql).await.status, 200);
}

#[tokio::test]
async fn few_long_calls_may_be_open_at_once() {
    let client = start(OrgOptions { concurrent_long_requests: 1, ..options() }).await;
    let limits = format!("{V}/limits");
    let stall = json!({ "method": "GET", "path": format!("{V}/sobjects"), "what": { "delay": 60_000 } });
    client.send(Method::PUT, "/__sandbox/faults", stall).await;
    let long = client.request(Method::GET, &format!("{V}/sobjects")).send();
    let mut long = Box::pin(long);
    // The long call has begun when the fault has seen it.
    loop {
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), &mut long).await.is_err());
        if client.get("/__sandbox/faults").await.json()[0]["fired"] == 1 {
            break;
        }
    }
    assert_eq!(client.get(&limits).await.status, 200, "it is not long yet");
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 20 })).await;
    let refused = client.get(&limits).await;
    assert_eq!(refused.refusal(), (403, "REQUEST_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(refused.json()[0]["message"], "ConcurrentPerOrgLongTxn Limit exceeded.");
    // A client that leaves ends its call.
    drop(long);
    while client.get(&limits).await.status == 403 {}
}

#[tokio::test]
async fn addresses_have_an_end() {
    let client = start(options()).await;
    let uri = |length: usize| {
        let path = format!("{V}/query?q=");
        format!("{path}{}", "x".repeat(length - path.len()))
    };
    let too_long = client.get(&uri(16_385)).await;
    assert_eq!((too_long.status.as_u16(), too_long.header("content-type")), (414, "text/html; charset=UTF-8"));
    assert!(too_long.text.contains("URI Too Long"), "{}", too_long.text);
    let with_headers = client.get(&uri(16_384)).await;
    assert_eq!((with_headers.status.as_u16(), with_headers.header("content-type")), (431, "text/html; charset=UTF-8"));
    let padded = client.request(Method::GET, &format!("{V}/limits")).header("x-padding", "x".repeat(16_384));
    assert_eq!(reply(padded).await.status, 431);
    assert_eq!(client.get(&uri(15_000)).await.refusal(), (400, "MALFORMED_QUERY".to_owned()));
}

#[tokio::test]
async fn all_listed_versions_are_served_and_no_other() {
    let client = start(options()).await;
    let versions = client.get("/services/data").await.json();
    let versions: Vec<_> = versions.as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap()).collect();
    for wanted in 50..=67 {
        assert!(versions.contains(&format!("{wanted}.0").as_str()), "{versions:?}");
    }
    for version in &versions {
        assert_eq!(client.get(&format!("/services/data/v{version}/sobjects/Account/describe")).await.status, 200);
    }
    for version in ["v68.0", "v1.0", "v62", "v62.1", "62.0", "v0.0", "vX.0", "v+62.0"] {
        let refused = client.get(&format!("/services/data/{version}/limits")).await;
        assert_eq!(refused.refusal(), (404, "NOT_FOUND".to_owned()), "{version}");
        assert_eq!(refused.json()[0]["message"], "The requested resource does not exist");
    }
}
