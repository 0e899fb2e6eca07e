//! What happens in Salesforce between the demo's two runs, made over its REST API as any other client would.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::error::Error;
use crate::error::Result;
use crate::sandbox::gainsight::RunningTenant;
use crate::sandbox::salesforce::RunningOrg;

use super::expect::Expected;

/// Time that passes in the org before the edits, so that the first run's window is well behind them.
const A_DAY: i64 = 86_400;
/// Time that passes after the edits: more than the five minutes by which a window lags behind the org's clock.
const TEN_MINUTES: i64 = 600;

/// A row of the generated data that must be rejected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub(super) struct Planted {
    pub(super) object: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) code: String,
}

/// What the org says it planted.
pub(super) async fn planted(org: &RunningOrg) -> Result<Vec<Planted>> {
    let visitor = Visitor::enter(org).await?;
    let answer = visitor.request(Method::GET, "/__sandbox/planted", None).await?;
    serde_json::from_value(answer).map_err(|e| Error::bug("the org's list of planted rows is not readable").source(e))
}

/// The edits that were made.
#[derive(Debug, Clone)]
pub(super) struct Edits {
    renamed_account: String,
    old_name: String,
    new_name: String,
    moved_contact: String,
    new_user: String,
    deleted_contact: String,
}

impl Edits {
    /// Each edit as a line.
    pub(super) fn lines(&self) -> Vec<String> {
        vec![
            format!("account {} renamed from “{}” to “{}”", self.renamed_account, self.old_name, self.new_name),
            format!("contact {} moved to another account", self.moved_contact),
            format!("user {} created", self.new_user),
            format!("contact {} deleted", self.deleted_contact),
        ]
    }

    /// What the second run must do: exactly this.
    pub(super) fn expected(&self) -> Vec<Expected> {
        vec![
            Expected::new("user_sync").insert(&self.new_user),
            Expected::new("company_sync").update(&self.renamed_account, "company.Name"),
            Expected::new("company_person_sync").insert(&self.moved_contact).deleted(1),
        ]
    }

    /// How many records of the tenant have no source row any more, and why.
    pub(super) fn extras(&self) -> u64 {
        2
    }

    /// The same for people.
    pub(super) fn explain_extras(&self) -> String {
        format!(
            "The {} extra company persons are meant: {} keeps its record at the account it left, and {} was deleted in \
             Salesforce only (on_delete = \"ignore\").",
            self.extras(),
            self.moved_contact,
            self.deleted_contact
        )
    }
}

/// Makes the edits.
pub(super) async fn make(org: &RunningOrg, tenant: &RunningTenant, planted: &[Planted]) -> Result<Edits> {
    let visitor = Visitor::enter(org).await?;
    visitor.pass_time(A_DAY).await?;
    visitor.pass_time_at(tenant.url(), A_DAY).await?;
    // A session does not live that long.
    let visitor = Visitor::enter(org).await?;
    let planted: BTreeSet<&str> = planted.iter().map(|row| row.id.as_str()).collect();

    let is_planted = |row: &Value| row.get("Id").and_then(Value::as_str).is_some_and(|id| planted.contains(id));
    let accounts = visitor.query("SELECT Id, Name FROM Account ORDER BY Id LIMIT 20").await?;
    let account = accounts
        .iter()
        .find(|account| !is_planted(account))
        .ok_or_else(|| Error::config("the demo needs at least one account").hint("use --accounts 10 or more"))?;
    let (renamed_account, old_name) = (text(account, "Id")?, text(account, "Name")?);
    let new_name = format!("{old_name} Global");
    let path = format!("/services/data/v62.0/sobjects/Account/{renamed_account}");
    visitor.request(Method::PATCH, &path, Some(json!({"Name": new_name}))).await?;

    // Contacts with their own e-mail addresses: moving or deleting one concerns one company person only.
    let contacts = visitor
        .query(
            "SELECT Id, AccountId, Email FROM Contact WHERE AccountId != null AND Email != null ORDER BY Id LIMIT 50",
        )
        .await?;
    let mut lone = Vec::new();
    for contact in contacts.iter().filter(|contact| !is_planted(contact)) {
        let email = text(contact, "Email")?.replace('\\', "\\\\").replace('\'', "\\'");
        if visitor.count(&format!("SELECT COUNT() FROM Contact WHERE Email = '{email}'"), true).await? == 1 {
            lone.push(contact);
        }
        if lone.len() == 2 {
            break;
        }
    }
    let [moved, gone] = lone.as_slice() else {
        return Err(Error::config("the demo needs at least two contacts to edit").hint("use --contacts 20 or more"));
    };
    let (moved_contact, deleted_contact) = (text(moved, "Id")?, text(gone, "Id")?);
    // Nobody at the new account may wait for the contact as a manager: that person's record would change as well.
    let mut elsewhere = None;
    for account in accounts.iter().filter(|account| !is_planted(account)) {
        let account = text(account, "Id")?;
        let waiting =
            format!("SELECT COUNT() FROM Contact WHERE ReportsToId = '{moved_contact}' AND AccountId = '{account}'");
        if account != text(moved, "AccountId")? && visitor.count(&waiting, false).await? == 0 {
            elsewhere = Some(account);
            break;
        }
    }
    let elsewhere = elsewhere
        .ok_or_else(|| Error::config("the demo needs at least two accounts").hint("use --accounts 10 or more"))?;
    let path = format!("/services/data/v62.0/sobjects/Contact/{moved_contact}");
    visitor.request(Method::PATCH, &path, Some(json!({"AccountId": elsewhere}))).await?;
    let path = format!("/services/data/v62.0/sobjects/Contact/{deleted_contact}");
    visitor.request(Method::DELETE, &path, None).await?;

    let managers = visitor
        .query("SELECT Id, ProfileId FROM User WHERE IsActive = true AND UserType = 'Standard' ORDER BY Id LIMIT 1")
        .await?;
    let manager = managers.first().ok_or_else(|| Error::config("the demo needs at least one active user"))?;
    let made = visitor
        .request(
            Method::POST,
            "/services/data/v62.0/sobjects/User",
            Some(json!({
                "FirstName": "Zoë", "LastName": "O’Neill-Łukasiewicz", "Email": "zoe.oneill@newcomer.example",
                "Username": "zoe.oneill@newcomer.example", "Alias": "zoneill", "TimeZoneSidKey": "Europe/Berlin",
                "LocaleSidKey": "en_IE", "LanguageLocaleKey": "en_US", "EmailEncodingKey": "UTF-8", "IsActive": true,
                "Title": "Customer Success Manager", "ManagerId": text(manager, "Id")?,
                "ProfileId": text(manager, "ProfileId")?,
            })),
        )
        .await?;
    let new_user = made
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::bug("the org did not say which user it made"))?
        .to_owned();
    visitor.pass_time(TEN_MINUTES).await?;
    Ok(Edits { renamed_account, old_name, new_name, moved_contact, new_user, deleted_contact })
}

fn text(row: &Value, field: &str) -> Result<String> {
    let text = row.get(field).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Error::bug(format!("the org gave an answer without `{field}`")))
}

/// Somebody who works in the org.
#[derive(Debug)]
pub(super) struct Visitor {
    client: reqwest::Client,
    url: url::Url,
    token: String,
}

impl Visitor {
    pub(super) async fn enter(org: &RunningOrg) -> Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|e| Error::unavailable("no HTTP client could be made").source(e))?;
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", org.client_id()),
            ("client_secret", org.client_secret()),
            ("refresh_token", &org.refresh_token()),
        ];
        let url = org.url().parse().map_err(|e: url::ParseError| Error::bug("the org has no address").source(e))?;
        let mut visitor = Self { client, url, token: String::new() };
        let request = visitor.client.post(visitor.at("/services/oauth2/token")?).form(&form);
        let answer = visitor.answer(request).await?;
        visitor.token = text(&answer, "access_token")?;
        Ok(visitor)
    }

    fn at(&self, path: &str) -> Result<url::Url> {
        self.url.join(path).map_err(|e| Error::bug(format!("`{path}` is not a path")).source(e))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let failed = |e: reqwest::Error| Error::bug("the sandbox did not answer").source(e);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(Error::bug(format!("the sandbox answered {status}: {body}")));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&body).map_err(|e| Error::bug("the sandbox did not answer with JSON").source(e))
    }

    pub(super) async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, self.at(path)?).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.answer(request).await
    }

    pub(super) async fn query(&self, soql: &str) -> Result<Vec<Value>> {
        let request =
            self.client.get(self.at("/services/data/v62.0/query")?).query(&[("q", soql)]).bearer_auth(&self.token);
        let answer = self.answer(request).await?;
        let records = answer.get("records").and_then(Value::as_array).cloned();
        records.ok_or_else(|| Error::bug("the org answered a query without a list of records"))
    }

    /// Counts the rows of a `COUNT()` query; with deleted ones, also those in the recycle bin.
    pub(super) async fn count(&self, soql: &str, with_deleted: bool) -> Result<u64> {
        let resource = if with_deleted { "queryAll" } else { "query" };
        let url = self.at(&format!("/services/data/v62.0/{resource}"))?;
        let request = self.client.get(url).query(&[("q", soql)]).bearer_auth(&self.token);
        let answer = self.answer(request).await?;
        answer.get("totalSize").and_then(Value::as_u64).ok_or_else(|| Error::bug("the org did not count"))
    }

    async fn pass_time_at(&self, system: &url::Url, seconds: i64) -> Result<()> {
        let clock = system.join("/__sandbox/clock").map_err(|e| Error::bug("the tenant has no clock").source(e))?;
        self.answer(self.client.post(clock).json(&json!({"advance_seconds": seconds}))).await?;
        Ok(())
    }

    async fn pass_time(&self, seconds: i64) -> Result<()> {
        self.request(Method::POST, "/__sandbox/clock", Some(json!({"advance_seconds": seconds}))).await?;
        Ok(())
    }
}
