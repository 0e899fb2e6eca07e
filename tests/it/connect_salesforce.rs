//! Logins and sessions against a scripted server.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use chrono::DateTime;
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::connect::http::Url;
use sf2gs::connect::salesforce::ApiUsage;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::connect::salesforce::TokenStore;
use sf2gs::error::ErrorKind;
use sf2gs::telemetry::Secret;

use crate::support::org::DATA;
use crate::support::org::client;
use crate::support::org::expired;
use crate::support::org::logins;
use crate::support::org::org;
use crate::support::org::refusal;
use crate::support::org::settings;
use crate::support::org::token;
use crate::support::scripted::Answer;
use crate::support::scripted::Scripted;

fn job(id: &str) -> Answer {
    Answer::json(&json!({ "id": id, "object": "Account", "state": "JobComplete", "numberRecordsProcessed": 3 }))
}

#[tokio::test]
async fn a_refresh_token_gets_a_session_and_the_org() {
    let (server, client) = org().await;
    let identity = client.identity().await.unwrap();
    assert_eq!(identity.org_id, "00Dxx0000001gPLEAY");
    assert_eq!(identity.user_id, "005xx000001SwiUAAS");
    let form = server.received()[0].text();
    assert_eq!(
        form,
        "grant_type=refresh_token&client_id=client&refresh_token=first+refresh+token&client_secret=client+secret"
    );
    server.push(job("750").header("Sforce-Limit-Info", "api-usage=18/5000; per-app-api-usage=1/2(appName=x)"));
    client.query_job("750").await.unwrap();
    assert_eq!(server.received()[1].header("authorization"), Some("Bearer 00Dxx0000001gPL!token1"));
    assert_eq!(client.usage(), Some(ApiUsage { used: 18, allowed: 5_000 }));
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn however_many_find_the_session_expired_one_login_is_made() {
    let (server, client) = org().await;
    client.identity().await.unwrap();
    server.push_for("POST", "/services/oauth2/token", token(&server, 2));
    let ids: Vec<String> = (0..12).map(|number| format!("750{number}x")).collect();
    for id in &ids {
        server.push_for("GET", &format!("{DATA}/jobs/query/{id}"), expired());
        server.push_for("GET", &format!("{DATA}/jobs/query/{id}"), job(id));
    }
    let jobs = join_all(ids.iter().map(|id| client.query_job(id))).await;
    for (job, id) in jobs.into_iter().zip(&ids) {
        assert_eq!(job.unwrap().id, *id);
    }
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn a_session_refused_twice_is_an_access_error() {
    let (server, client) = org().await;
    server.push_for("POST", "/services/oauth2/token", token(&server, 2));
    server.push_for("GET", DATA, expired());
    server.push_for("GET", DATA, expired());
    let error = client.query_job("750").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert_eq!(logins(&server), 2);
}

#[tokio::test]
async fn two_texts_do_not_lead_to_a_new_login() {
    for text in ["This session is not valid for use with the REST API", "Connected app is not attached to Agent"] {
        let (server, client) = org().await;
        server.push_for("GET", DATA, refusal(401, "INVALID_SESSION_ID", text));
        let error = client.query_job("750").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Access);
        assert!(error.message().contains(text), "{error:?}");
        assert_eq!(logins(&server), 1);
    }
}

#[tokio::test]
async fn a_session_is_renewed_before_it_ends_and_kept_if_that_fails() {
    let server = Scripted::start().await.unwrap();
    let clock = Clock::held_at(DateTime::UNIX_EPOCH);
    let client = client(settings(&server), &clock);
    server.push(token(&server, 1));
    client.identity().await.unwrap();
    clock.advance(TimeDelta::minutes(29));
    client.identity().await.unwrap();
    assert_eq!(logins(&server), 1);
    clock.advance(TimeDelta::minutes(1));
    for _ in 0..4 {
        server.push(Answer::new(500, "no"));
    }
    client.identity().await.unwrap();
    assert_eq!(logins(&server), 5);
    // A login host that is down is not asked before every call.
    clock.advance(TimeDelta::minutes(9));
    client.identity().await.unwrap();
    assert_eq!(logins(&server), 5);
    clock.advance(TimeDelta::minutes(1));
    server.push(token(&server, 2));
    client.identity().await.unwrap();
    client.identity().await.unwrap();
    assert_eq!(logins(&server), 6);
}

/// Keeps every token it was given; the last is the newest.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<String>>);

impl Kept {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TokenStore for Kept {
    fn rotated(&self, refresh_token: &Secret) -> sf2gs::error::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(refresh_token.reveal().to_owned());
        Ok(())
    }

    fn newest(&self) -> sf2gs::error::Result<Option<Secret>> {
        Ok(self.all().pop().map(Secret::new))
    }
}

/// A client that keeps its tokens in `kept`.
fn keeping(server: &Scripted, kept: &Arc<Kept>, clock: &Clock) -> SalesforceClient {
    let store: Arc<dyn TokenStore> = Arc::<Kept>::clone(kept);
    client(SalesforceSettings { store: Some(store), ..settings(server) }, clock)
}

fn dead_token() -> Answer {
    let body = json!({ "error": "invalid_grant", "error_description": "expired access/refresh token" });
    Answer::new(400, body.to_string())
}

#[tokio::test]
async fn a_rotated_refresh_token_is_stored_and_used() {
    let server = Scripted::start().await.unwrap();
    let kept = Arc::new(Kept::default());
    let clock = Clock::held_at(DateTime::UNIX_EPOCH);
    let client = keeping(&server, &kept, &clock);
    let rotated = json!({ "access_token": "a!b", "instance_url": server.url(""), "refresh_token": "second" });
    server.push(Answer::json(&rotated));
    client.identity().await.unwrap();
    clock.advance(TimeDelta::hours(1));
    server.push(token(&server, 2));
    client.identity().await.unwrap();
    assert_eq!(kept.all(), ["second"]);
    assert!(server.received()[1].text().contains("refresh_token=second"));
}

#[tokio::test]
async fn a_token_that_another_process_has_rotated_is_used() {
    let server = Scripted::start().await.unwrap();
    let kept = Arc::new(Kept::default());
    let clock = Clock::held_at(DateTime::UNIX_EPOCH);
    let client = keeping(&server, &kept, &clock);
    server.push(token(&server, 1));
    client.identity().await.unwrap();
    kept.rotated(&Secret::new("of another process")).unwrap();
    clock.advance(TimeDelta::hours(1));
    server.push(token(&server, 2));
    client.identity().await.unwrap();
    assert_eq!(logins(&server), 2);
    assert!(server.received()[1].text().contains("refresh_token=of+another+process"));
}

#[tokio::test]
async fn a_connection_that_was_authorized_anew_is_not_held_back_by_a_dead_token() {
    let server = Scripted::start().await.unwrap();
    let kept = Arc::new(Kept::default());
    kept.rotated(&Secret::new("dead")).unwrap();
    let client = keeping(&server, &kept, &Clock::system());
    server.push(dead_token());
    server.push(token(&server, 1));
    client.identity().await.unwrap();
    assert!(server.received()[0].text().contains("refresh_token=dead"));
    assert!(server.received()[1].text().contains("refresh_token=first+refresh+token"));
    assert_eq!(kept.all(), ["dead", "first refresh token"]);

    // If both are dead, that is the end.
    let client = keeping(&server, &kept, &Clock::system());
    kept.rotated(&Secret::new("dead too")).unwrap();
    server.push(dead_token());
    server.push(dead_token());
    let error = client.identity().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert_eq!(logins(&server), 4);
}

#[tokio::test]
async fn client_credentials_need_a_domain() {
    let login = || SalesforceLogin::ClientCredentials { client_id: "c".into(), client_secret: Secret::new("s") };
    let http = sf2gs::connect::http::Http::new(Default::default(), Clock::system(), Default::default()).unwrap();
    for host in ["https://login.salesforce.com", "https://test.salesforce.com"] {
        let settings = SalesforceSettings::new(Url::parse(host).unwrap(), "62.0", login());
        let error = SalesforceClient::open(settings, http.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().unwrap().contains("my.salesforce.com"));
    }
    let server = Scripted::start().await.unwrap();
    server.push(token(&server, 1));
    let client = client(SalesforceSettings { login: login(), ..settings(&server) }, &Clock::system());
    client.identity().await.unwrap();
    assert_eq!(server.received()[0].text(), "grant_type=client_credentials&client_id=c&client_secret=s");
}

#[tokio::test]
async fn a_jwt_says_who_for_whom_and_for_how_long() {
    let server = Scripted::start().await.unwrap();
    let key = include_str!("support/jwt_test_key.pem");
    let login = SalesforceLogin::JwtBearer {
        client_id: "consumer".into(),
        username: "admin@example.com".into(),
        private_key: Secret::new(key),
    };
    let clock = Clock::held_at(DateTime::from_timestamp(1_000, 0).unwrap());
    let client = client(SalesforceSettings { login, ..settings(&server) }, &clock);
    server.push(token(&server, 1));
    client.identity().await.unwrap();
    let form = server.received()[0].text();
    let fields: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!(fields[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let claims = fields[1].1.split('.').nth(1).unwrap().to_owned();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims, json!({ "iss": "consumer", "sub": "admin@example.com", "aud": server.url(""), "exp": 1_180 }));
}

#[tokio::test]
async fn a_refused_login_is_told_without_its_secrets() {
    let (server, _) = org().await;
    let server_two = Scripted::start().await.unwrap();
    drop(server);
    server_two.push(dead_token());
    let client = client(settings(&server_two), &Clock::system());
    let error = client.identity().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    let text = error.render();
    assert!(text.contains("expired access/refresh token") && text.contains("authorize the connection again"), "{text}");
    assert!(!text.contains("first refresh token") && !text.contains("client secret"), "{text}");
    assert!(!format!("{client:?}").contains("secret"));
}

#[tokio::test]
async fn a_token_is_not_sent_to_another_host() {
    let (server, client) = org().await;
    let elsewhere = Scripted::start().await.unwrap();
    let page =
        json!({ "totalSize": 2, "done": false, "nextRecordsUrl": elsewhere.url("/x"), "records": [{"Id": "1"}] });
    server.push_for("GET", DATA, Answer::json(&page));
    let error = client.query("SELECT Id FROM Account").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_small_query_is_read_over_its_pages() {
    let (server, client) = org().await;
    let row = |id: &str| {
        json!({ "attributes": { "type": "Account" }, "Id": id,
                                 "Owner": { "attributes": { "type": "User" }, "Email": "x" } })
    };
    let next = format!("{DATA}/query/01g-2000");
    server.push_for(
        "GET",
        DATA,
        Answer::json(&json!({ "totalSize": 2, "done": false, "nextRecordsUrl": next, "records": [row("1")] })),
    );
    server.push_for("GET", &next, Answer::json(&json!({ "totalSize": 2, "done": true, "records": [row("2")] })));
    let rows = client.query("SELECT Id, Owner.Email FROM Account WHERE Name = 'a+b'").await.unwrap();
    assert_eq!(
        serde_json::to_value(&rows).unwrap(),
        json!([
            { "Id": "1", "Owner": { "Email": "x" } }, { "Id": "2", "Owner": { "Email": "x" } }
        ])
    );
    assert!(server.received()[1].path.contains("%27a%2Bb%27"), "{}", server.received()[1].path);
}

#[tokio::test]
async fn the_orgs_clock_is_the_date_of_its_answer() {
    let (server, client) = org().await;
    let limits = json!({ "DailyApiRequests": { "Max": 15_000, "Remaining": 14_998 }, "Odd": 5 });
    server.push_for("GET", DATA, Answer::json(&limits).header("Date", "Thu, 01 Jan 2026 00:00:30 GMT"));
    let (limits, time) = client.limits().await.unwrap();
    assert_eq!(limits["DailyApiRequests"].remaining, 14_998);
    assert_eq!(time.to_rfc3339(), "2026-01-01T00:00:30+00:00");
}

#[tokio::test]
async fn a_query_is_never_short_and_successful() {
    let rows = |ids: &[&str]| ids.iter().map(|id| json!({ "Id": id })).collect::<Vec<_>>();
    let next = format!("{DATA}/query/01g-1");
    let cases = [
        (
            vec![json!({ "totalSize": 2, "done": true, "records": rows(&["1"]) })],
            "counted 2 rows of a query but sent 1",
        ),
        (vec![json!({ "totalSize": 1, "done": true, "records": rows(&["1", "2"]) })], "counted 1 rows"),
        (vec![json!({ "totalSize": 2, "done": false, "records": rows(&["1"]) })], "does not say where"),
        (
            vec![json!({ "totalSize": 9, "done": false, "nextRecordsUrl": next, "records": rows(&["1"]) }); 2],
            "the same rows of a query twice",
        ),
    ];
    for (answers, words) in cases {
        let (server, client) = org().await;
        for answer in answers {
            server.push_for("GET", DATA, Answer::json(&answer));
        }
        let error = client.query("SELECT Id FROM Account").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
        assert!(error.message().contains(words) && error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_page_of_somebody_in_between_is_not_the_orgs_clock() {
    let (server, client) = org().await;
    let page = Answer::new(200, "<html><title>Please log in to the network</title></html>");
    server.push_for("GET", DATA, page.header("Date", "Thu, 01 Jan 2026 00:00:30 GMT"));
    let error = client.org_time().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("Please log in to the network"), "{error:?}");
}

#[tokio::test]
async fn a_describe_is_read_again_when_it_is_old() {
    let server = Scripted::start().await.unwrap();
    let clock = Clock::held_at(DateTime::UNIX_EPOCH);
    let client = client(settings(&server), &clock);
    server.push_for("POST", "/services/oauth2/token", token(&server, 1));
    let describe = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|name| json!({ "name": name, "type": "string" })).collect();
        Answer::json(&json!({ "name": "Account", "fields": fields }))
    };
    server.push_for("GET", DATA, describe(&["Id", "Name"]));
    for minutes in [0, 4] {
        clock.advance(TimeDelta::minutes(minutes));
        assert_eq!(client.describe("Account").await.unwrap().fields.len(), 2);
    }
    clock.advance(TimeDelta::minutes(1));
    server.push_for("GET", DATA, describe(&["Id"]));
    assert_eq!(client.describe("Account").await.unwrap().fields.len(), 1, "a field was hidden meanwhile");
}

#[tokio::test]
async fn a_refusal_that_breaks_off_is_a_refusal_all_the_same() {
    let (server, client) = org().await;
    let body = json!([{ "message": "no", "errorCode": "INSUFFICIENT_ACCESS" }]).to_string();
    server.push_for("GET", DATA, Answer::new(403, format!("{body}     ")).cut_after(body.len()));
    let error = client.result_page("750", None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access, "{error:?}");
    assert!(error.message().contains("INSUFFICIENT_ACCESS"), "{error:?}");
}
