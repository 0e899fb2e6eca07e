//! HTTP with one retry policy: every request to either system goes through [`Http::send`] or [`Http::fetch`].
//!
//! # Promises
//! * What is sent again, and when, is the table at [`RetryPolicy`] and nothing else.
//! * Every attempt is counted once in [`ApiCalls`], and waits for its [`Gate`] before it is made.
//! * An error says what was wanted, method, redacted URL, tries, time taken and the last answer.
//!
//! # Not here
//! Tokens: a 401 is returned to the caller, who holds them. Meaning of an answer: any answer that is not sent again is
//! returned, whatever its status.

mod retry;
mod text;

use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use bytes::BytesMut;
use futures::Stream;
use futures::StreamExt;
use futures::stream;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::ApiCalls;
use crate::telemetry::CallClass;

pub use reqwest::Method;
pub use reqwest::StatusCode;
pub use reqwest::Url;
pub use reqwest::header;
pub use retry::Backoff;
pub use retry::Randomness;
pub use retry::RetryPolicy;
pub use text::excerpt;
pub use text::redacted;
pub use text::status_words;

use retry::Ruling;

/// Room made beforehand for an answer that announces its length: a larger one grows as it comes.
const MOST_RESERVED: usize = 16 << 20;

/// Sends requests. Cheap to clone; clones share connections and counters.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    /// `http` on loopback: no proxy, and no certificates, so that it works on a machine that has none.
    plain: reqwest::Client,
    /// `https` on loopback: no proxy. Made when first needed, as reading the machine's certificates takes its time.
    loopback: OnceLock<reqwest::Client>,
    /// Everything else, through the proxy that the environment names, if any. Made when first needed.
    outside: OnceLock<reqwest::Client>,
    calls: ApiCalls,
    clock: Clock,
    policy: RetryPolicy,
    random: Randomness,
}

/// One request, ready to be sent more than once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Whole address, query included.
    pub url: Url,
    /// Headers, authorisation included.
    pub headers: HeaderMap,
    /// Body; empty for none.
    pub body: Bytes,
    /// The quota that each attempt uses.
    pub class: CallClass,
    /// Whether sending it twice has the effect of sending it once.
    pub idempotent: bool,
    /// What it does, after "could not": `read a describe`.
    pub what: &'static str,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, decompressed.
    pub body: Bytes,
}

/// Lets requests through as fast as a quota allows.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Returns when one attempt of this class may be made. Called before every attempt.
    async fn pass(&self, class: CallClass) -> Result<()>;
    /// A 429 was seen: the quota is tighter than was thought.
    fn refused(&self, class: CallClass);
}

/// Why an attempt has no usable answer.
enum Miss {
    /// Nothing reached the server.
    NotSent(String),
    /// The request may have been carried out.
    Unknown(String),
}

impl Http {
    /// Opens no connection yet.
    pub fn new(calls: ApiCalls, clock: Clock, policy: RetryPolicy) -> Result<Self> {
        let inner = Inner {
            plain: built(builder(&policy).no_proxy().tls_certs_only([]))?,
            loopback: OnceLock::new(),
            outside: OnceLock::new(),
            calls,
            clock,
            policy,
            random: Arc::new(rand::random::<f64>),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The policy in force.
    pub fn policy(&self) -> &RetryPolicy {
        &self.inner.policy
    }

    /// The clock in use.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The counters in use.
    pub fn calls(&self) -> &ApiCalls {
        &self.inner.calls
    }

    /// Waits for work above single requests, such as fetching a page again whose body was cut.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(&self.inner.policy, Arc::clone(&self.inner.random))
    }

    /// Sends, again where the policy says so, and returns the head of the first answer that is not sent again. Read
    /// its body with [`Http::body`], which notices a silent server. A body that breaks off is the caller's to deal
    /// with; [`Http::fetch`] deals with it.
    pub async fn send(&self, request: Request, gate: Option<&dyn Gate>) -> Result<reqwest::Response> {
        self.attempts(&request, gate, |response| async move { Ok(response) }).await
    }

    /// As [`Http::send`], with the whole body read: a body that breaks off counts as "no (whole) answer".
    pub async fn fetch(&self, request: Request, gate: Option<&dyn Gate>) -> Result<Answer> {
        self.attempts(&request, gate, |response| async move {
            let (status, headers) = (response.status(), response.headers().clone());
            let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
            let mut body = BytesMut::with_capacity(announced.unwrap_or(0).min(MOST_RESERVED));
            let mut chunks = std::pin::pin!(self.chunks(response));
            while let Some(chunk) = chunks.next().await {
                body.extend_from_slice(&chunk.map_err(Miss::Unknown)?);
            }
            Ok(Answer { status, headers, body: body.freeze() })
        })
        .await
    }

    /// The body in chunks. A connection that breaks, ends early, or is silent for too long is an error of kind
    /// [`Unavailable`](crate::error::ErrorKind::Unavailable).
    pub fn body(&self, response: reqwest::Response) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let url = redacted(response.url());
        self.chunks(response).map(move |chunk| {
            chunk.map_err(|e| {
                Error::unavailable(format!("the answer of {url} broke off: {e}")).hint("run the same command again")
            })
        })
    }

    fn chunks(
        &self,
        response: reqwest::Response,
    ) -> impl Stream<Item = std::result::Result<Bytes, String>> + Send + use<> {
        let idle = self.inner.policy.idle;
        stream::unfold(Some(response), move |response| async move {
            let mut response = response?;
            match tokio::time::timeout(idle, response.chunk()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
                Ok(Ok(None)) => None,
                Ok(Err(e)) => Some((Err(root_cause(&e)), None)),
                Err(_) => Some((Err(format!("nothing came for {:.0?}", idle)), None)),
            }
        })
    }

    /// The loop behind [`Http::send`] and [`Http::fetch`]; `take` reads what is wanted of an answer that is returned.
    async fn attempts<T, F, W>(&self, request: &Request, gate: Option<&dyn Gate>, take: F) -> Result<T>
    where
        F: Fn(reqwest::Response) -> W + Send + Sync,
        W: Future<Output = std::result::Result<T, Miss>> + Send,
        T: Send,
    {
        let started = Instant::now();
        let mut backoff = self.backoff();
        let mut tried = 0;
        loop {
            if let Some(gate) = gate {
                gate.pass(request.class).await?;
            }
            tried += 1;
            self.inner.calls.count(request.class);
            let outcome = match self.attempt(request).await {
                Ok(response) => {
                    let status = response.status();
                    if status == StatusCode::TOO_MANY_REQUESTS
                        && let Some(gate) = gate
                    {
                        gate.refused(request.class);
                    }
                    match retry::ruling(status, response.headers(), request.idempotent, self.inner.clock.now()) {
                        Ruling::Return => match take(response).await {
                            Ok(value) => return Ok(value),
                            Err(miss) => Err(miss),
                        },
                        Ruling::Again => Ok((None, self.last_words(response).await)),
                        Ruling::After(wait) => Ok((wait, self.last_words(response).await)),
                    }
                }
                Err(miss) => Err(miss),
            };
            let (named, last) = match outcome {
                Ok((wait, last)) => (wait, last),
                Err(Miss::NotSent(last)) => (None, last),
                Err(Miss::Unknown(last)) if request.idempotent => (None, last),
                Err(Miss::Unknown(last)) => {
                    return Err(self.failure(request, tried, started, &last).hint(
                        "the request was sent and may have been carried out: what it wrote has to be looked up before \
                         it is sent again",
                    ));
                }
            };
            let wait = named.unwrap_or_else(|| backoff.next_wait());
            if tried >= self.inner.policy.tries || started.elapsed().saturating_add(wait) > self.inner.policy.total {
                let error = self.failure(request, tried, started, &last);
                return Err(match named {
                    Some(wait) => error.hint(format!(
                        "the server asks to be left alone for {}; run the same command again after that",
                        words(wait)
                    )),
                    None => error.hint("run the same command again; it resumes where this run stopped"),
                });
            }
            tracing::warn!(
                tries = tried,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "Sending {} {} again in {:.1?}: {last}.",
                request.method,
                redacted(&request.url),
                wait,
            );
            tokio::time::sleep(wait).await;
        }
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client> {
        let policy = &self.inner.policy;
        match (is_loopback(url), url.scheme()) {
            (true, "http") => Ok(&self.inner.plain),
            (true, _) => lazily(&self.inner.loopback, || builder(policy).no_proxy()),
            (false, _) => lazily(&self.inner.outside, || builder(policy)),
        }
    }

    /// One attempt, up to the head of the answer.
    async fn attempt(&self, request: &Request) -> std::result::Result<reqwest::Response, Miss> {
        let client = self.client(&request.url).map_err(|e| Miss::NotSent(e.to_string()))?;
        let mut builder = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        }
        let upload = Duration::from_secs(request.body.len() as u64 / 100_000);
        let patience = self.inner.policy.answer_within + upload;
        match tokio::time::timeout(patience, builder.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) if e.is_connect() || e.is_builder() => {
                Err(Miss::NotSent(format!("no connection ({})", root_cause(&e))))
            }
            Ok(Err(e)) => Err(Miss::Unknown(format!("no answer ({})", root_cause(&e)))),
            Err(_) => Err(Miss::Unknown(format!("no answer within {}", words(patience)))),
        }
    }

    /// What came of a refusal's body, cut at 64 kB: a refusal that breaks off is one all the same.
    pub(super) async fn what_came(&self, response: reqwest::Response) -> Bytes {
        let mut body = BytesMut::new();
        let mut chunks = std::pin::pin!(self.chunks(response));
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > 64 * 1024 {
                break;
            }
        }
        body.freeze()
    }

    /// Status and words of an answer that is not returned.
    async fn last_words(&self, response: reqwest::Response) -> String {
        format!("{}, {}", status_words(response.status()), excerpt(&self.what_came(response).await))
    }

    fn failure(&self, request: &Request, tried: u32, started: Instant, last: &str) -> Error {
        let tries = if tried == 1 { "1 try".to_owned() } else { format!("{tried} tries") };
        Error::unavailable(format!(
            "could not {}: {} {} gave no usable answer in {tries} and {:.1} s; the last: {last}",
            request.what,
            request.method,
            redacted(&request.url),
            started.elapsed().as_secs_f64(),
        ))
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("policy", &self.inner.policy).finish_non_exhaustive()
    }
}

fn builder(policy: &RetryPolicy) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("sf2gs/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none()) // a token must not follow a redirect to another host
        .connect_timeout(policy.connect_within)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(50)) // shorter than the edges' own, so that they rarely hang up
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder.build().map_err(|e| {
        Error::unavailable(format!("the HTTP client could not be set up: {}", root_cause(&e)))
            .hint("check that this machine has CA certificates, or name a file of them in SSL_CERT_FILE")
    })
}

/// Two first users may both make a client; one of the two is kept.
fn lazily(cell: &OnceLock<reqwest::Client>, make: impl FnOnce() -> reqwest::ClientBuilder) -> Result<&reqwest::Client> {
    if let Some(client) = cell.get() {
        return Ok(client);
    }
    let client = built(make())?;
    Ok(cell.get_or_init(|| client))
}

/// The innermost cause: reqwest's own text repeats the URL with its query.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request could not be made".to_owned(),
        None => cause.to_string(),
    }
}

/// Whether the URL stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A wait for people: `45 s`, `12 min`, `3 h`.
fn words(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7_200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3_600)),
    }
}
