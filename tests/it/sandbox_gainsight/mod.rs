//! The Gainsight sandbox as its callers see it: every documented body, over HTTP.

mod bulk;
mod gateway;
mod objects;
mod people;
mod queries;
mod speed;
mod switches;

use std::time::Duration;

use chrono::DateTime;
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::sandbox::gainsight::RunningTenant;
use sf2gs::sandbox::gainsight::TenantOptions;
use sf2gs::sandbox::gainsight::serve;

struct Caller {
    tenant: RunningTenant,
    http: reqwest::Client,
    clock: Clock,
}

#[derive(Debug)]
struct Said {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Said {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// `data` of a call that went well.
    fn data(&self) -> Json {
        let json = self.json();
        assert_eq!((self.status, &json["result"]), (StatusCode::OK, &json!(true)), "{}", self.text);
        json["data"].clone()
    }

    fn records(&self) -> Vec<Json> {
        self.data()["records"].as_array().unwrap().clone()
    }

    fn refused(&self, code: &str) -> Json {
        let json = self.json();
        assert_eq!((&json["result"], &json["errorCode"]), (&json!(false), &json!(code)), "{}", self.text);
        json
    }
}

impl Caller {
    async fn with(options: TenantOptions) -> Self {
        let clock = options.clock.clone();
        let tenant = serve(options, ([127, 0, 0, 1], 0).into()).await.unwrap();
        Self { tenant, http: reqwest::Client::builder().no_proxy().build().unwrap(), clock }
    }

    async fn new() -> Self {
        Self::with(TenantOptions { quotas: false, clock: held(), ..TenantOptions::default() }).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.tenant.url().as_str().trim_end_matches('/'));
        self.http.request(method, url).header("AccessKey", &self.tenant.access_key)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Said {
        let response = request.send().await.unwrap();
        Said { status: response.status(), headers: response.headers().clone(), text: response.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Said {
        self.send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Json) -> Said {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    async fn put(&self, path: &str, body: Json) -> Said {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    async fn delete(&self, path: &str) -> Said {
        self.send(self.request(Method::DELETE, path)).await
    }

    async fn insert(&self, object: &str, records: Json) -> Vec<String> {
        let said = self.post(&format!("/v1/data/objects/{object}"), json!({"records": records})).await;
        said.records().iter().map(|record| record["Gsid"].as_str().unwrap().to_owned()).collect()
    }

    async fn query(&self, object: &str, body: Json) -> Said {
        self.post(&format!("/v1/data/objects/query/{object}"), body).await
    }

    /// The names of the companies that a condition finds.
    async fn names(&self, condition: Json) -> Vec<String> {
        let body = json!({"select": ["Name"], "where": {"conditions": [condition]}, "orderBy": {"Name": "asc"}});
        let records = self.query("company", body).await.records();
        records.iter().map(|record| record["Name"].as_str().unwrap_or("").to_owned()).collect()
    }

    async fn count(&self, object: &str) -> u64 {
        self.get("/__sandbox/counts").await.json()[object].as_u64().unwrap()
    }

    async fn switch(&self, changes: Json) {
        let said = self.put("/__sandbox/switches", changes).await;
        assert_eq!(said.status, StatusCode::OK, "{}", said.text);
    }

    async fn import(&self, csv: impl Into<Vec<u8>>) -> Said {
        self.import_as(csv, &self.tenant.bulk_jobs[0].id).await
    }

    async fn import_as(&self, csv: impl Into<Vec<u8>>, job: &str) -> Said {
        let file = reqwest::multipart::Part::bytes(csv.into()).file_name("a.csv").mime_str("text/csv").unwrap();
        let form = reqwest::multipart::Form::new().part("file", file).text("jobId", job.to_owned());
        let request = self
            .request(Method::POST, "/v1.0/admin/connector/job/bulkimport")
            .header("loginName", &self.tenant.bulk_login)
            .header("appOrgId", &self.tenant.bulk_org_id);
        self.send(request.multipart(form)).await
    }

    async fn imported(&self, csv: impl Into<Vec<u8>>) -> Json {
        let said = self.import(csv).await;
        self.import_end(&said).await
    }

    async fn import_end(&self, said: &Said) -> Json {
        let id = said.data()["statusId"].as_str().unwrap().to_owned();
        for _ in 0..12_000 {
            let status = self.get(&format!("//v1.0/admin/connector/job/bulkimport/status/{id}")).await.data();
            if status["jobStatus"] == "COMPLETED" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the import does not end");
    }
}

fn held() -> Clock {
    Clock::held_at(DateTime::parse_from_rfc3339("2026-03-01T10:00:00Z").unwrap().to_utc())
}
