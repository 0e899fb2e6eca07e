//! A Salesforce client on a scripted server.

use std::time::Duration;

use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::connect::http::Http;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::connect::http::Url;
use sf2gs::connect::salesforce::PollPolicy;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::Secret;

use super::scripted::Answer;
use super::scripted::Scripted;

/// Where the API's paths begin.
pub(crate) const DATA: &str = "/services/data/v62.0";

/// Settings that log in with a refresh token and are not patient.
pub(crate) fn settings(server: &Scripted) -> SalesforceSettings {
    let login = SalesforceLogin::RefreshToken {
        client_id: "client".into(),
        client_secret: Some(Secret::new("client secret")),
        refresh_token: Secret::new("first refresh token"),
    };
    let url = Url::parse(&server.url("")).unwrap();
    SalesforceSettings {
        poll: PollPolicy {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(5),
            queued: Duration::from_millis(200),
            stuck: Duration::from_millis(100),
        },
        ..SalesforceSettings::new(url, "62.0", login)
    }
}

/// A client with these settings and a clock of its own.
pub(crate) fn client(settings: SalesforceSettings, clock: &Clock) -> SalesforceClient {
    let http = Http::new(ApiCalls::default(), clock.clone(), RetryPolicy::quick()).unwrap();
    SalesforceClient::open(settings, http).unwrap()
}

/// A server that takes one login, and a client on it.
pub(crate) async fn org() -> (Scripted, SalesforceClient) {
    let server = Scripted::start().await.unwrap();
    server.push_for("POST", "/services/oauth2/token", token(&server, 1));
    let client = client(settings(&server), &Clock::system());
    (server, client)
}

/// The answer to the n-th login.
pub(crate) fn token(server: &Scripted, number: u32) -> Answer {
    Answer::json(&json!({
        "access_token": format!("00Dxx0000001gPL!token{number}"),
        "instance_url": server.url(""),
        "id": "https://login.salesforce.com/id/00Dxx0000001gPLEAY/005xx000001SwiUAAS",
        "token_type": "Bearer", "issued_at": "1278448101416", "scope": "api refresh_token",
    }))
}

/// A refusal as Salesforce writes it.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::new(status, json!([{ "message": message, "errorCode": code }]).to_string())
        .header("content-type", "application/json")
}

/// What an expired session gets.
pub(crate) fn expired() -> Answer {
    refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
}

/// How many logins there were.
pub(crate) fn logins(server: &Scripted) -> usize {
    server.received().iter().filter(|request| request.path == "/services/oauth2/token").count()
}
