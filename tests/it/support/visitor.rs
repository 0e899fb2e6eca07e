//! Somebody who works in the org by its REST API, apart from the client under test.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::RunningOrg;

use crate::support::org::DATA;

/// Logs in anew for every call, so that it does not matter when sessions end.
pub(crate) struct Visitor {
    http: reqwest::Client,
    url: String,
    client_id: String,
    client_secret: String,
}

impl Visitor {
    /// A visitor of this org.
    pub(crate) fn of(org: &RunningOrg) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: org.url().to_owned(),
            client_id: org.client_id().to_owned(),
            client_secret: org.client_secret().to_owned(),
        }
    }

    async fn log_in(&self) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.as_str()),
        ];
        let login = self.http.post(format!("{}/services/oauth2/token", self.url)).form(&form);
        let answer: Value = login.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// One call; its answer must be good.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let mut request =
            self.http.request(method.clone(), format!("{}{DATA}/{path}", self.url)).bearer_auth(self.log_in().await);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a record and gives its id.
    pub(crate) async fn create(&self, object: &str, fields: &Value) -> String {
        let made = self.call(Method::POST, &format!("sobjects/{object}"), Some(fields)).await;
        made["id"].as_str().unwrap_or_else(|| panic!("no id: {made}")).to_owned()
    }

    /// Changes a record.
    pub(crate) async fn update(&self, object: &str, id: &str, fields: &Value) {
        self.call(Method::PATCH, &format!("sobjects/{object}/{id}"), Some(fields)).await;
    }

    /// Puts a record into the recycle bin.
    pub(crate) async fn delete(&self, object: &str, id: &str) {
        self.call(Method::DELETE, &format!("sobjects/{object}/{id}"), None).await;
    }

    /// A record as the org has it.
    pub(crate) async fn read(&self, object: &str, id: &str) -> Value {
        self.call(Method::GET, &format!("sobjects/{object}/{id}"), None).await
    }

    /// What the org says about an object.
    pub(crate) async fn describe(&self, object: &str) -> Value {
        self.call(Method::GET, &format!("sobjects/{object}/describe"), None).await
    }

    /// Puts a list of faults in place of those that are armed, and gives them back.
    pub(crate) async fn arm(&self, orders: &[Value]) -> Vec<Value> {
        self.faults(Method::PUT, &json!(orders)).await
    }

    /// The faults that are armed, with how often they came.
    pub(crate) async fn armed(&self) -> Vec<Value> {
        self.faults(Method::GET, &Value::Null).await
    }

    async fn faults(&self, method: Method, orders: &Value) -> Vec<Value> {
        let request = self.http.request(method, format!("{}/__sandbox/faults", self.url)).json(orders);
        let answer = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }
}
