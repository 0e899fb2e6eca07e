//! Salesforce as typed calls: logins, describes, REST queries and Bulk API 2.0 query jobs.
//!
//! ```text
//!  describe, query, limits, jobs ─▶ Call ─▶ session (one login at a time) ─▶ http ─▶ answer or one clear error
//!                                              ▲                                │
//!                                              └────── 401: new login, once ◀───┘
//! ```
//!
//! # Promises
//! * All clones of a client share one session; however many requests find it expired, one login is made.
//! * A rotated refresh token is stored before it is used.
//! * Every refusal of Salesforce becomes an [`Error`] whose kind says what to do, with its code as a place.
//! * A token is only ever sent to the instance that the login named.

mod bulk;
mod describe;
mod login;
mod refusal;
mod rest;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use chrono::DateTime;
use chrono::Utc;

use crate::connect::http::Answer;
use crate::connect::http::Backoff;
use crate::connect::http::Http;
use crate::connect::http::Method;
use crate::connect::http::Request;
use crate::connect::http::Url;
use crate::connect::http::header;
use crate::connect::http::header::HeaderMap;
use crate::connect::http::header::HeaderValue;
use crate::connect::http::redacted;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;

pub use bulk::JobState;
pub use bulk::PollPolicy;
pub use bulk::QueryJob;
pub use bulk::ResultLinks;
pub use bulk::ResultPage;
pub use describe::Describe;
pub use describe::FieldDescribe;
pub use describe::ObjectSummary;
pub use login::Identity;
pub use login::SalesforceLogin;
pub use login::SalesforceSettings;
pub use login::TokenStore;
pub use refusal::is_not_offered_by_bulk;
pub use rest::ApiUsage;
pub use rest::Limit;
pub use rest::Limits;
pub use rest::RecordPage;

use login::Session;
use login::Sessions;

/// A Salesforce org. Cheap to clone; clones share the session, the describes and the limits seen.
#[derive(Clone)]
pub struct SalesforceClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: Http,
    sessions: Sessions,
    /// `/services/data/v62.0`.
    data_path: String,
    compress: bool,
    poll: PollPolicy,
    usage: Mutex<Option<ApiUsage>>,
    describes: tokio::sync::Mutex<HashMap<String, Described>>,
}

/// When a describe was read, and what it said.
type Described = (DateTime<Utc>, Arc<Describe>);

/// One call of the API.
struct Call<'a> {
    method: Method,
    /// Absolute path, possibly with a query, as Salesforce gives it in links.
    path: &'a str,
    query: &'a [(&'static str, &'a str)],
    body: Option<serde_json::Value>,
    headers: &'a [(header::HeaderName, &'static str)],
    class: CallClass,
    idempotent: bool,
    what: &'static str,
}

impl<'a> Call<'a> {
    /// A read that may be repeated.
    fn get(path: &'a str, class: CallClass, what: &'static str) -> Self {
        Self { method: Method::GET, path, query: &[], body: None, headers: &[], class, idempotent: true, what }
    }
}

/// An answer with a good status.
enum Reply {
    Whole(Answer),
    Head(reqwest::Response),
}

impl SalesforceClient {
    /// Checks the settings. Logs in when the first call is made.
    pub fn open(settings: SalesforceSettings, http: Http) -> Result<Self> {
        let data_path = format!("/services/data/v{}", settings.api_version.trim_start_matches('v'));
        let inner = Inner {
            compress: settings.compress,
            poll: settings.poll.clone(),
            sessions: Sessions::open(settings, http.clone())?,
            http,
            data_path,
            usage: Mutex::new(None),
            describes: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The org and user that the session belongs to. Logs in if need be.
    pub async fn identity(&self) -> Result<Identity> {
        Ok(self.inner.sessions.current().await?.identity.clone())
    }

    /// How much of the org's daily calls is used, as the last answer said.
    pub fn usage(&self) -> Option<ApiUsage> {
        *self.inner.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work above single requests, such as fetching a page again whose body was cut.
    pub fn backoff(&self) -> Backoff {
        self.inner.http.backoff()
    }

    /// How often such work may be tried.
    pub fn tries(&self) -> u32 {
        self.inner.http.policy().tries
    }

    /// A call whose whole answer is wanted.
    async fn call(&self, call: Call<'_>) -> Result<Answer> {
        match self.authorised(call, true).await? {
            Reply::Whole(answer) => Ok(answer),
            Reply::Head(_) => Err(Error::bug("a whole answer was asked for and not given")),
        }
    }

    /// A call whose whole answer is JSON.
    async fn call_json<T: serde::de::DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let what = call.what;
        read_json(&self.call(call).await?.body, what)
    }

    /// A call whose body is read as it comes.
    async fn call_stream(&self, call: Call<'_>) -> Result<reqwest::Response> {
        match self.authorised(call, false).await? {
            Reply::Head(response) => Ok(response),
            Reply::Whole(_) => Err(Error::bug("the head of an answer was asked for and not given")),
        }
    }

    /// Sends with the session; an expired one is renewed once.
    async fn authorised(&self, call: Call<'_>, whole: bool) -> Result<Reply> {
        let mut renewed = false;
        loop {
            let session = self.inner.sessions.current().await?;
            let request = self.request(&call, &session)?;
            let answer = if whole {
                let answer = self.inner.http.fetch(request, None).await?;
                if answer.status.is_success() {
                    self.note_usage(&answer.headers);
                    return Ok(Reply::Whole(answer));
                }
                answer
            } else {
                let response = self.inner.http.send(request, None).await?;
                if response.status().is_success() {
                    self.note_usage(response.headers());
                    return Ok(Reply::Head(response));
                }
                let (status, headers) = (response.status(), response.headers().clone());
                Answer { status, headers, body: self.inner.http.what_came(response).await }
            };
            self.note_usage(&answer.headers);
            if !renewed && refusal::is_expired_session(&answer) {
                tracing::info!("The Salesforce session has expired; logging in again.");
                self.inner.sessions.renew(session.generation).await?;
                renewed = true;
                continue;
            }
            return Err(refusal::error(&answer, call.what, self.inner.http.clock().now()));
        }
    }

    fn request(&self, call: &Call<'_>, session: &Session) -> Result<Request> {
        let mut url = session.instance.join(call.path).map_err(|e| {
            Error::unavailable(format!("Salesforce gave a link that is none: `{}`", call.path)).source(e)
        })?;
        if url.origin() != session.instance.origin() {
            return Err(Error::access(format!(
                "Salesforce gave a link to another host, {}, and the token is not sent there",
                redacted(&url)
            )));
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", session.token.reveal()))
            .map_err(|_| Error::access("the access token of the login cannot be sent in a header"))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        let mut body = Bytes::new();
        if let Some(value) = &call.body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body = value.to_string().into();
        }
        for (name, value) in call.headers {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        Ok(Request {
            method: call.method.clone(),
            url,
            headers,
            body,
            class: call.class,
            idempotent: call.idempotent,
            what: call.what,
        })
    }

    fn note_usage(&self, headers: &HeaderMap) {
        let said = headers.get("sforce-limit-info").and_then(|value| value.to_str().ok()).and_then(ApiUsage::parse);
        if let Some(usage) = said {
            *self.inner.usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
        }
    }

    /// A path under the API version in use.
    fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.inner.data_path)
    }
}

impl fmt::Debug for SalesforceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalesforceClient").field("data_path", &self.inner.data_path).finish_non_exhaustive()
    }
}

/// The JSON of an answer to `what`. Somebody in between may have answered in HTML.
fn read_json<T: serde::de::DeserializeOwned>(body: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| {
        Error::unavailable(format!(
            "Salesforce was asked to {what} and gave an answer that cannot be read: {}",
            crate::connect::http::excerpt(body)
        ))
        .hint("check that `domain` is the org's address; if it is, run the same command again")
        .source(e)
    })
}

/// A name or id as one segment of a path.
fn segment(text: &str) -> String {
    let mut url = Url::parse("http://x").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.clear().push(text);
    }
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}
