//! Describes, limits and small queries.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connect::http::header;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::Call;
use super::SalesforceClient;
use super::describe::Describe;
use super::describe::ObjectSummary;
use super::read_json;
use super::segment;

/// The longest query in an address: Salesforce takes 16,384 bytes of address and headers together.
const LONGEST_QUERY: usize = 14_000;

/// What a query is called in errors.
const RUN_A_QUERY: &str = "run a query";

/// How long a describe is taken for true: fields come, go and are hidden while a long-lived process runs.
const DESCRIBE_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(5);

/// How much of the org's calls of 24 hours is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiUsage {
    /// Calls used.
    pub used: u64,
    /// Calls allowed.
    pub allowed: u64,
}

impl ApiUsage {
    /// Reads `Sforce-Limit-Info`: `api-usage=18/5000; per-app-api-usage=17/250(appName=…)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let org = text.split(';').map(str::trim).find_map(|part| part.strip_prefix("api-usage="))?;
        let (used, allowed) = org.split_once('/')?;
        Some(Self { used: used.trim().parse().ok()?, allowed: allowed.trim().parse().ok()? })
    }
}

/// The org's limits by name: allowed and left.
pub type Limits = BTreeMap<String, Limit>;

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Limit {
    /// Allowed in the limit's period.
    pub max: i64,
    /// Left of it.
    pub remaining: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryReply {
    total_size: u64,
    done: bool,
    next_records_url: Option<String>,
    records: Vec<Box<RawValue>>,
}

/// Some of a query's rows.
#[derive(Debug, Clone)]
pub struct RecordPage {
    /// Rows of the whole query.
    pub total: u64,
    /// Where the next rows are, for [`SalesforceClient::next_query_page`]; `None` on the last page.
    pub next: Option<String>,
    /// The rows as they came, each a JSON object with `attributes`.
    pub records: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct GlobalReply {
    sobjects: Vec<ObjectSummary>,
}

impl SalesforceClient {
    /// The org's limits, and the org's clock.
    pub async fn limits(&self) -> Result<(Limits, DateTime<Utc>)> {
        let path = self.path("limits");
        let answer = self.call(Call::get(&path, CallClass::SalesforceRest, "read the org's limits")).await?;
        let date = answer.headers.get(header::DATE).and_then(|value| value.to_str().ok());
        let time = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()).ok_or_else(|| {
            Error::unavailable("Salesforce's answer has no `Date` header, so the org's clock is not known")
                .hint("check for a proxy that removes it")
        })?;
        // A page of somebody in between also has a date, but not the org's.
        let all: BTreeMap<String, Value> = read_json(&answer.body, "read the org's limits")?;
        let limits = all
            .into_iter()
            .filter_map(|(name, value)| serde_json::from_value(value).ok().map(|limit| (name, limit)))
            .collect();
        Ok((limits, time.with_timezone(&Utc)))
    }

    /// The org's clock, to the second, as its last answer's head was made.
    pub async fn org_time(&self) -> Result<DateTime<Utc>> {
        Ok(self.limits().await?.1)
    }

    /// The objects that the user may see.
    pub async fn objects(&self) -> Result<Vec<ObjectSummary>> {
        let path = self.path("sobjects");
        let call = Call::get(&path, CallClass::SalesforceRest, "list the objects of the org");
        Ok(self.call_json::<GlobalReply>(call).await?.sobjects)
    }

    /// The object's describe, read once in five minutes by this client and its clones.
    pub async fn describe(&self, object: &str) -> Result<Arc<Describe>> {
        let mut known = self.inner.describes.lock().await;
        let now = self.inner.http.clock().now();
        if let Some((read_at, describe)) = known.get(object)
            && now - *read_at < DESCRIBE_AGAIN_AFTER
        {
            return Ok(Arc::clone(describe));
        }
        let path = self.path(&format!("sobjects/{}/describe", segment(object)));
        let call = Call::get(&path, CallClass::SalesforceRest, "describe an object");
        let describe: Arc<Describe> = self.call_json(call).await.map_err(|e| e.context("object", object))?;
        known.insert(object.to_owned(), (now, Arc::clone(&describe)));
        Ok(describe)
    }

    /// The first rows of a query, up to 2,000; with `with_deleted` also those in the recycle bin.
    pub async fn query_page(&self, soql: &str, with_deleted: bool) -> Result<RecordPage> {
        let length: usize = url::form_urlencoded::byte_serialize(soql.as_bytes()).map(str::len).sum();
        if length > LONGEST_QUERY {
            return Err(Error::config(format!(
                "the query makes {length} bytes, too many for the REST API, which takes it in the address"
            ))
            .hint("ask for fewer fields or a shorter condition, or read an object that the Bulk API offers"));
        }
        let path = self.path(if with_deleted { "queryAll" } else { "query" });
        let query = [("q", soql)];
        self.records(Call { query: &query, ..Call::get(&path, CallClass::SalesforceRest, RUN_A_QUERY) }).await
    }

    /// The rows that follow.
    pub async fn next_query_page(&self, path: &str) -> Result<RecordPage> {
        self.records(Call::get(path, CallClass::SalesforceRest, RUN_A_QUERY)).await
    }

    async fn records(&self, call: Call<'_>) -> Result<RecordPage> {
        let QueryReply { total_size: total, done, next_records_url, records } = self.call_json(call).await?;
        match (done, next_records_url) {
            (true, _) => Ok(RecordPage { total, next: None, records }),
            (false, Some(next)) => Ok(RecordPage { total, next: Some(next), records }),
            (false, None) => Err(Error::integrity("Salesforce has more rows of a query and does not say where")
                .hint("run the same command again")),
        }
    }

    /// The rows of a query that are few: they are held in memory, as JSON without `attributes`.
    pub async fn query(&self, soql: &str) -> Result<Vec<Map<String, Value>>> {
        let mut page = self.query_page(soql, false).await?;
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        loop {
            for record in &page.records {
                let mut record: Map<String, Value> = serde_json::from_str(record.get()).map_err(|e| {
                    Error::integrity("Salesforce sent a row that is no JSON object")
                        .hint("run the same command again")
                        .source(e)
                })?;
                without_attributes(&mut record);
                rows.push(record);
            }
            match page.next.take() {
                Some(next) if seen.insert(next.clone()) => page = self.next_query_page(&next).await?,
                Some(_) => {
                    return Err(Error::integrity("Salesforce named the same rows of a query twice")
                        .hint("run the same command again"));
                }
                None if rows.len() as u64 == page.total => return Ok(rows),
                None => {
                    return Err(Error::integrity(format!(
                        "Salesforce counted {} rows of a query but sent {}",
                        page.total,
                        rows.len()
                    ))
                    .hint("run the same command again"));
                }
            }
        }
    }
}

/// Removes type and address of the record and of the parents in it.
fn without_attributes(record: &mut Map<String, Value>) {
    record.remove("attributes");
    for value in record.values_mut() {
        if let Value::Object(parent) = value {
            without_attributes(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_header_is_read_with_and_without_the_app() {
        let usage = Some(ApiUsage { used: 18, allowed: 5_000 });
        assert_eq!(ApiUsage::parse("api-usage=18/5000"), usage);
        assert_eq!(ApiUsage::parse("api-usage=18/5000; per-app-api-usage=17/250(appName=x)"), usage);
        assert_eq!(ApiUsage::parse("per-app-api-usage=17/250(appName=x)"), None);
    }
}
