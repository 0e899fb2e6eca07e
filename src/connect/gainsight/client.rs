//! The client: headers, logins, quota, envelope; describe and query.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use chrono::DateTime;
use chrono::Utc;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::DATE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use serde_json::Map;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::connection::GainsightLimits;
use crate::connect::http::Gate;
use crate::connect::http::Http;
use crate::connect::http::Method;
use crate::connect::http::Request;
use crate::connect::http::StatusCode;
use crate::connect::http::Url;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::telemetry::CallClass;
use crate::telemetry::Secret;

use super::envelope::Answer;
use super::envelope::Failure;
use super::limiter::Limiter;
pub use super::login::GainsightLogin;
use super::login::Token;
use super::login::TokenCell;
use super::login::access_key;
use super::login::basic;
use super::login::bearer;
use super::metadata::ObjectMetadata;
use super::query::Query;

/// How often one request may be answered with "over quota" before the run gives up.
const QUOTA_TRIES: u32 = 4;

/// A connection, resolved: values instead of references.
#[derive(Debug, Clone)]
pub struct GainsightSettings {
    /// `https://<customer>.gainsightcloud.com`.
    pub url: Url,
    /// Credentials.
    pub login: GainsightLogin,
    /// The tenant's quotas.
    pub limits: GainsightLimits,
    /// `loginName` of bulk imports.
    pub bulk_login: Option<String>,
    /// `appOrgId` of bulk imports.
    pub bulk_org_id: Option<String>,
    /// Bulk imports take the access key; an M2M connection may name one for them.
    pub bulk_access_key: Option<Secret>,
    /// Whether `/people/async` counts against the bulk quota.
    pub people_async_is_bulk: bool,
    /// How long a call may wait for quota: [`MAX_WAIT`](super::MAX_WAIT) unless there is a reason.
    pub max_wait: std::time::Duration,
}

/// One tenant. Clones share login, quota and cache.
#[derive(Debug, Clone)]
pub struct GainsightClient {
    inner: Arc<Inner>,
}

struct Inner {
    settings: GainsightSettings,
    http: Http,
    limiter: Limiter,
    token: TokenCell,
    described: Mutex<HashMap<String, Arc<ObjectMetadata>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GainsightClient").field("url", &self.settings.url.as_str()).finish_non_exhaustive()
    }
}

/// The records of a query as raw JSON: an array of objects.
#[derive(Debug, Clone)]
pub struct Records {
    bytes: Bytes,
}

impl Records {
    /// The array.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, b'[' | b']'))
    }

    /// The records as JSON objects, for small answers.
    pub fn values(&self) -> Result<Vec<Map<String, Value>>> {
        serde_json::from_slice(&self.bytes)
            .map_err(|e| Error::unavailable("Gainsight's records are not a list of objects").source(e))
    }
}

/// One request of ours, before login and quota.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Bytes,
    pub(super) content_type: HeaderValue,
    pub(super) headers: HeaderMap,
    pub(super) class: CallClass,
    pub(super) idempotent: bool,
    /// The answer is expected to hold many records.
    pub(super) records: bool,
    pub(super) what: &'static str,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: &'a str, what: &'static str) -> Self {
        Self {
            idempotent: method != Method::POST,
            method,
            path,
            query: &[],
            body: Bytes::new(),
            content_type: HeaderValue::from_static("application/json"),
            headers: HeaderMap::new(),
            class: CallClass::GainsightSync,
            records: false,
            what,
        }
    }
}

impl GainsightClient {
    /// Prepares a connection; nothing is sent yet.
    pub fn open(settings: GainsightSettings, http: Http) -> Result<Self> {
        let limiter = Limiter::with_max_wait(&settings.limits, http.clock().clone(), settings.max_wait);
        Self::with_limiter(settings, http, limiter)
    }

    /// The same with a limiter that other clients of the tenant share.
    pub fn with_limiter(settings: GainsightSettings, http: Http, limiter: Limiter) -> Result<Self> {
        if settings.url.cannot_be_a_base() {
            return Err(Error::config("the `url` of the Gainsight connection is no web address")
                .hint("write it like https://customer.gainsightcloud.com"));
        }
        let inner =
            Inner { settings, http, limiter, token: TokenCell::default(), described: Mutex::new(HashMap::new()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The tenant's quotas as this client keeps them.
    pub fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// What the client was opened with.
    pub fn settings(&self) -> &GainsightSettings {
        &self.inner.settings
    }

    /// The shortest wait of the retry policy in force: work above single requests paces itself by it.
    pub fn first_wait(&self) -> std::time::Duration {
        self.inner.http.policy().first_wait
    }

    pub(super) fn http(&self) -> &Http {
        &self.inner.http
    }

    /// The time on the tenant's clock: the last `Date` header, carried on.
    pub fn tenant_time(&self) -> DateTime<Utc> {
        self.inner.limiter.now()
    }

    /// Describes an object; asked once per client.
    pub async fn describe(&self, object: &str) -> Result<Arc<ObjectMetadata>> {
        let name = object.to_lowercase();
        let cached = self.inner.described.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(metadata) = cached {
            return Ok(metadata);
        }
        let path = format!("/v1/meta/services/objects/{name}/describe");
        let mut call = Call::new(Method::GET, &path, "describe an object");
        // Estuary sends all flags false; `idd` and `ic` are the ones that others set (gainsight-api §7).
        call.query = &[("ic", "false"), ("cl", "0"), ("idd", "false"), ("ihc", "false"), ("piec", "false")];
        let answer = self.call(call).await?;
        let unknown = || {
            Error::config(format!("the tenant has no object `{name}`"))
                .hint("check the object's API name, or whether this tenant has it")
        };
        if let Some(failure) = answer.failure {
            return Err(if failure.is_unknown_object() { unknown() } else { failure.into_error("describe an object") }
                .context("object", name));
        }
        let data = answer.data().ok_or_else(unknown)?;
        let metadata = super::metadata::parse(&data)
            .map_err(|e| Error::unavailable(format!("Gainsight's describe of `{name}` cannot be read")).source(e))?
            .ok_or_else(unknown)?;
        let metadata = Arc::new(metadata);
        self.inner.described.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&metadata));
        Ok(metadata)
    }

    /// Runs a query. Nothing found is an empty list, however the tenant words it.
    pub async fn query(&self, object: &str, query: &Query) -> Result<Records> {
        self.try_query(object, query)
            .await?
            .map_err(|failure| failure.into_error("read records").context("object", object.to_owned()))
    }

    /// Runs a query of an object that may not exist: then there is no answer.
    pub async fn query_if_exists(&self, object: &str, query: &Query) -> Result<Option<Records>> {
        match self.try_query(object, query).await? {
            Ok(records) => Ok(Some(records)),
            Err(failure) if failure.is_unknown_object() => Ok(None),
            Err(failure) => Err(failure.into_error("read records").context("object", object.to_owned())),
        }
    }

    /// Runs a query; a refusal is a value.
    pub async fn try_query(&self, object: &str, query: &Query) -> Result<Result<Records, Failure>> {
        let path = format!("/v1/data/objects/query/{object}");
        let mut call = Call::new(Method::POST, &path, "read records");
        call.body = Bytes::from(query.body());
        call.idempotent = true;
        call.records = true;
        let answer = self.call(call).await?;
        if let Some(bytes) = answer.records() {
            return Ok(Ok(Records { bytes }));
        }
        let empty = || Records { bytes: Bytes::from_static(b"[]") };
        if let Some(failure) = answer.failure {
            return Ok(if failure.is_nothing_found() { Ok(empty()) } else { Err(failure) });
        }
        let Some(data) = answer.data() else { return Ok(Ok(empty())) };
        Ok(Ok(Records { bytes: records_of(&data)? }))
    }

    /// Sends one call: logs in where needed, waits for quota, reads the envelope.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer> {
        let mut url = self.inner.settings.url.clone();
        url.set_path(call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut refused = 0;
        let mut renewed = false;
        loop {
            let (token, answer) = self.once(&call, url.clone()).await?;
            if answer.status == StatusCode::UNAUTHORIZED && token.is_some() && !renewed {
                renewed = true;
                self.forget(token).await;
                continue;
            }
            // A 429 was retried by `Http`; the other wordings of the same refusal come with any status.
            if answer.is_over_quota() && refused < QUOTA_TRIES {
                refused += 1;
                self.inner.limiter.refused(call.class);
                continue;
            }
            return Ok(answer);
        }
    }

    async fn once(&self, call: &Call<'_>, url: Url) -> Result<(Option<Token>, Answer)> {
        let mut headers = call.headers.clone();
        headers.insert(CONTENT_TYPE, call.content_type.clone());
        let token = self.authorize(&mut headers).await?;
        let request = Request {
            method: call.method.clone(),
            url,
            headers,
            body: call.body.clone(),
            class: call.class,
            idempotent: call.idempotent,
            what: call.what,
        };
        let answer = self.inner.http.fetch(request, Some(&self.inner.limiter as &dyn Gate)).await?;
        self.observe(&answer.headers);
        let parse = if call.records { Answer::parse_records } else { Answer::parse };
        Ok((token, parse(answer.status, answer.body)))
    }

    pub(super) fn observe(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        if let Some(Ok(date)) = date.map(DateTime::parse_from_rfc2822) {
            self.inner.limiter.observe(date.with_timezone(&Utc));
        }
    }

    /// Adds the credentials, after a login where there is no fresh token.
    pub(super) async fn authorize(&self, headers: &mut HeaderMap) -> Result<Option<Token>> {
        match &self.inner.settings.login {
            GainsightLogin::AccessKey(key) => {
                access_key(headers, key)?;
                Ok(None)
            }
            GainsightLogin::M2m { client_id, client_secret } => {
                let mut cell = self.inner.token.0.lock().await;
                let fresh = cell.take().filter(|token| token.is_fresh(self.inner.http.clock().now()));
                let token = match fresh {
                    Some(token) => token,
                    None => self.log_in(client_id, client_secret).await?,
                };
                *cell = Some(token.clone());
                bearer(headers, &token)?;
                Ok(Some(token))
            }
        }
    }

    async fn log_in(&self, client_id: &str, client_secret: &Secret) -> Result<Token> {
        let mut url = self.inner.settings.url.clone();
        url.set_path("/v1/users/m2m/oauth/token");
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::AUTHORIZATION, basic(client_id, client_secret)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let request = Request {
            method: Method::POST,
            url,
            headers,
            body: Bytes::from_static(b"grant_type=client_credentials"),
            class: CallClass::GainsightSync,
            idempotent: true,
            what: "log in to Gainsight",
        };
        let answer = self.inner.http.fetch(request, Some(&self.inner.limiter as &dyn Gate)).await?;
        self.observe(&answer.headers);
        if !answer.status.is_success() {
            let answer = Answer::parse(answer.status, answer.body);
            return Err(match answer.failure {
                Some(failure) if (400..500).contains(&failure.status) => {
                    Error::access("Gainsight refused the M2M client id and secret")
                        .hint("check them in the tenant's M2M OAuth page; a deleted credential stops working at once")
                }
                Some(failure) => failure.into_error("log in"),
                None => Error::new(ErrorKind::Access, "Gainsight gave no token"),
            });
        }
        Token::parse(&answer.body, self.inner.http.clock().now())
    }

    /// Drops a token that was refused, unless another task has replaced it already.
    async fn forget(&self, refused: Option<Token>) {
        let mut cell = self.inner.token.0.lock().await;
        if let (Some(held), Some(refused)) = (&*cell, refused)
            && held.value == refused.value
        {
            *cell = None;
        }
    }
}

/// The list in `data`: the list itself, or `records` within it (gainsight-api §2.5 knows both).
fn records_of(data: &Bytes) -> Result<Bytes> {
    #[derive(serde::Deserialize)]
    struct Held<'a> {
        #[serde(borrow)]
        records: Option<&'a RawValue>,
    }
    if data.first() == Some(&b'[') {
        return Ok(data.clone());
    }
    let held: Held<'_> = serde_json::from_slice(data)
        .map_err(|e| Error::unavailable("Gainsight's answer to a query holds no records").source(e))?;
    Ok(match held.records {
        Some(records) if records.get() != "null" => data.slice_ref(records.get().as_bytes()),
        _ => Bytes::from_static(b"[]"),
    })
}
