//! Describes, limits and small queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use chrono::Utc;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

use crate::connect::http::header;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

use super::Call;
use super::SalesforceClient;
use super::describe::Describe;
use super::describe::ObjectSummary;
use super::segment;

/// The longest query in an address: Salesforce takes 16,384 bytes of address and headers together.
const LONGEST_QUERY: usize = 14_000;

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
    done: bool,
    next_records_url: Option<String>,
    records: Vec<Map<String, Value>>,
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
        let all: BTreeMap<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
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

    /// Forgets the describes, so that the next run of a long-lived client sees new fields.
    pub async fn forget_describes(&self) {
        self.inner.describes.lock().await.clear();
    }

    /// The object's describe, read once by this client and its clones.
    pub async fn describe(&self, object: &str) -> Result<Arc<Describe>> {
        let mut known = self.inner.describes.lock().await;
        if let Some(describe) = known.get(object) {
            return Ok(Arc::clone(describe));
        }
        let path = self.path(&format!("sobjects/{}/describe", segment(object)));
        let call = Call::get(&path, CallClass::SalesforceRest, "describe an object");
        let describe: Arc<Describe> = self.call_json(call).await.map_err(|e| e.context("object", object))?;
        known.insert(object.to_owned(), Arc::clone(&describe));
        Ok(describe)
    }

    /// The rows of a query that are few: they are held in memory, as JSON without `attributes`.
    pub async fn query(&self, soql: &str) -> Result<Vec<Map<String, Value>>> {
        let length: usize = url::form_urlencoded::byte_serialize(soql.as_bytes()).map(str::len).sum();
        if length > LONGEST_QUERY {
            return Err(Error::config(format!(
                "the query makes {length} bytes, too many for the REST API, which takes it in the address"
            ))
            .hint("ask for fewer fields, or read the object by a job"));
        }
        const WHAT: &str = "run a query";
        let path = self.path("query");
        let query = [("q", soql)];
        let first = Call { query: &query, ..Call::get(&path, CallClass::SalesforceRest, WHAT) };
        let mut reply: QueryReply = self.call_json(first).await?;
        let mut rows = Vec::new();
        loop {
            rows.extend(reply.records.into_iter().map(|mut record| {
                without_attributes(&mut record);
                record
            }));
            match reply.next_records_url {
                Some(next) if !reply.done => {
                    reply = self.call_json(Call::get(&next, CallClass::SalesforceRest, WHAT)).await?;
                }
                _ => return Ok(rows),
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
