//! An org of the Salesforce sandbox and a client that speaks plain HTTP to it.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::sandbox::salesforce::OrgOptions;
use sf2gs::sandbox::salesforce::RunningOrg;
use sf2gs::sandbox::salesforce::serve;

/// The API's paths begin so.
pub(crate) const V: &str = "/services/data/v62.0";

/// A client that is logged in.
pub(crate) struct Client {
    pub(crate) org: RunningOrg,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header of the answer, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()[0]["errorCode"].as_str().unwrap_or_default().to_owned())
    }
}

/// A small org whose clock stands still.
pub(crate) fn options() -> OrgOptions {
    let clock = Clock::held_at("2026-06-01T12:00:00Z".parse::<DateTime<chrono::Utc>>().unwrap());
    OrgOptions { users: 20, accounts: 50, contacts: 300, clock, ..OrgOptions::default() }
}

/// An org, and a client that is logged in to it.
pub(crate) async fn start(options: OrgOptions) -> Client {
    let org = serve(options, SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let http = reqwest::Client::builder().no_gzip().timeout(Duration::from_secs(60)).build().unwrap();
    let mut client = Client { org, http, token: String::new() };
    let secret = client.org.client_secret().to_owned();
    let refresh = client.org.refresh_token();
    let reply =
        client.login(&[("grant_type", "refresh_token"), ("client_secret", &secret), ("refresh_token", &refresh)]).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    client.token = reply.json()["access_token"].as_str().unwrap().to_owned();
    client
}

impl Client {
    /// A call of the token endpoint.
    pub(crate) async fn login(&self, form: &[(&str, &str)]) -> Reply {
        let url = format!("{}/services/oauth2/token", self.org.url());
        let form: Vec<_> = [("client_id", self.org.client_id())].iter().chain(form).copied().collect();
        reply(self.http.post(url).form(&form)).await
    }

    /// A call with the session's token.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.org.url())).bearer_auth(&self.token)
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.request(Method::GET, path)).await
    }

    /// A call with a JSON body.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Value) -> Reply {
        reply(self.request(method, path).json(&body)).await
    }

    /// A query, its first page.
    pub(crate) async fn query(&self, soql: &str) -> Reply {
        reply(self.request(Method::GET, &format!("{V}/query")).query(&[("q", soql)])).await
    }

    /// The creation of a bulk query job.
    pub(crate) async fn create_job(&self, operation: &str, soql: &str) -> Reply {
        self.send(Method::POST, &format!("{V}/jobs/query"), json!({ "operation": operation, "query": soql })).await
    }

    /// Creates a job and waits until it is complete.
    pub(crate) async fn job(&self, operation: &str, soql: &str) -> Value {
        let reply = self.create_job(operation, soql).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        for _ in 0..500 {
            let job = self.get(&format!("{V}/jobs/query/{id}")).await.json();
            if job["state"] == "JobComplete" {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the job does not end");
    }

    /// All rows of a job, page by page, without their headers.
    pub(crate) async fn rows(&self, job: &Value, page: usize) -> Vec<Vec<String>> {
        let id = job["id"].as_str().unwrap();
        let mut rows = Vec::new();
        let mut next = String::new();
        loop {
            let reply = self.get(&format!("{V}/jobs/query/{id}/results?maxRecords={page}{next}")).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            let read = records(&reply.text);
            assert_eq!(reply.header("sforce-numberofrecords"), read.len().to_string());
            rows.extend(read);
            match reply.header("sforce-locator") {
                "null" => break,
                locator => next = format!("&locator={locator}"),
            }
        }
        assert_eq!(job["numberRecordsProcessed"], rows.len());
        rows
    }
}

/// Sends, and reads the answer whole.
pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, text: response.text().await.unwrap() }
}

/// The records of a page behind its header; every value is quoted.
pub(crate) fn records(csv: &str) -> Vec<Vec<String>> {
    assert!(csv.starts_with('"') && csv.ends_with("\"\n"), "{csv}");
    let mut reader = csv::ReaderBuilder::new().has_headers(true).from_reader(csv.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// The status alone.
pub(crate) async fn reply_status(request: reqwest::RequestBuilder) -> u16 {
    reply(request).await.status.as_u16()
}
