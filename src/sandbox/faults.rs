//! Faults on order: data, armed by count, never by chance, and read back with how often they came.
//!
//! `POST /__sandbox/faults` arms one fault or a list of them, `PUT` puts a list in place of all, `GET` reads them back,
//! `DELETE` clears them and `DELETE /__sandbox/faults/{id}` one of them.
//!
//! ```json
//! { "method": "GET", "path": "/services/data/*/jobs/query/*/results?", "skip": 1, "times": 2, "what": "cut-before" }
//! ```
//!
//! `path` is compared with the beginning of path and query as the client sent them; `*` stands for any characters and a `$`
//! at the end for the end. `skip` matching calls go well before; `times` is 1 unless given, and `null` is for ever.
//!
//! | `what` | the matching call |
//! |---|---|
//! | `{"answer": {"status", "body", "content_type", "headers"}}` | is answered so; nothing is done |
//! | `{"html": 502}` | is answered with that status and an edge server's HTML page; nothing is done |
//! | `{"delay": millis}` | waits, then is done |
//! | `"cut-before"` | meets a closed connection; nothing is done |
//! | `"cut-after"` | is done; the connection closes before the first byte of the answer |
//! | `"cut-headers"` | is done; the connection closes behind the headers |
//! | `{"cut-body": {"after": bytes}}` | is done; the connection closes behind so many bytes of the body, or its half |
//! | `{"stall-body": {"after": bytes}}` | is done; after so many bytes, or its half, the body stands still until the client leaves |
//! | `"truncated-gzip"` | is done; its compressed body ends in the middle, the HTTP message does not (only where gzip is offered) |
//! | `{"headers": {"name": "value", "other": null}}` | is done; headers of the answer are set, or taken away |
//! | `{"count-header": {"name", "add"}}` | is done; a number in a header of the answer lies by so much |
//!
//! Each sandbox adds effects of its own, which it takes where they belong; one that no handler takes has not fired.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::delete;
use axum::routing::get;
use futures::future::BoxFuture;
use futures::future::Either;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;
use tower::Service;
use tower::layer::layer_fn;

use super::spoiled;

/// What a sandbox can do wrong by itself: the part of `what` that this module does not know.
pub(super) trait Effect: DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static {}

impl<E: DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static> Effect for E {}

/// For a sandbox without effects of its own.
#[derive(Debug, Clone, Deserialize)]
pub(super) enum NoEffect {}

/// What goes wrong on the wire.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wire {
    Answer(Answer),
    Html(u16),
    Delay(u64),
    CutBefore,
    CutAfter,
    CutHeaders,
    CutBody(Part),
    StallBody(Part),
    TruncatedGzip,
    Headers(BTreeMap<String, Option<String>>),
    CountHeader(CountHeader),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    /// A text as it is, or JSON.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    after: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountHeader {
    name: String,
    add: i64,
}

#[derive(Debug, Clone)]
enum What<E> {
    Wire(Wire),
    Effect(E),
}

/// A fault as it is ordered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(default)]
    method: Option<String>,
    path: String,
    #[serde(default)]
    skip: u64,
    #[serde(default = "once")]
    times: Option<u64>,
    what: Value,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of a field that may be null")]
fn once() -> Option<u64> {
    Some(1)
}

/// A fault that waits for its calls.
#[derive(Debug)]
struct Armed<E> {
    id: u64,
    order: Order,
    what: What<E>,
    /// Calls that matched.
    seen: u64,
    fired: u64,
}

/// The faults of a sandbox.
#[derive(Debug)]
pub(super) struct Faults<E>(Mutex<List<E>>);

#[derive(Debug)]
struct List<E> {
    armed: Vec<Armed<E>>,
    made: u64,
}

impl<E> Default for Faults<E> {
    fn default() -> Self {
        Self(Mutex::new(List { armed: Vec::new(), made: 0 }))
    }
}

/// The effects that are due for one call. A handler takes those that concern it.
#[derive(Debug, Clone)]
pub(super) struct Due<E> {
    faults: Arc<Faults<E>>,
    effects: Vec<(u64, E)>,
}

impl<E: Effect> Due<E> {
    /// Fires the first due effect that `pick` wants.
    pub(super) fn take<T>(&self, pick: impl Fn(&E) -> Option<T>) -> Option<T> {
        let mut wanted = self.effects.iter().filter_map(|(id, effect)| Some((*id, pick(effect)?)));
        wanted.find(|(id, _)| self.faults.fire(*id)).map(|(_, picked)| picked)
    }
}

impl<E: Effect> Faults<E> {
    /// `routes` with these faults over them, and with their control.
    pub(super) fn over(self: &Arc<Self>, routes: Router) -> Router {
        let control = Router::new()
            .route("/__sandbox/faults", get(list::<E>).post(arm::<E>).put(replace::<E>).delete(clear::<E>))
            .route("/__sandbox/faults/{id}", delete(disarm::<E>))
            .with_state(Arc::clone(self));
        let faults = Arc::clone(self);
        routes.layer(layer_fn(move |inner| Befallen { faults: Arc::clone(&faults), inner })).merge(control)
    }

    fn list(&self) -> MutexGuard<'_, List<E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the fault is still armed; then it has fired once more.
    fn fire(&self, id: u64) -> bool {
        let mut list = self.list();
        let fault = list.armed.iter_mut().find(|fault| fault.id == id && fault.is_armed());
        fault.map(|fault| fault.fired += 1).is_some()
    }

    /// Takes a fault out; whether it was there.
    fn remove(&self, id: u64) -> bool {
        let mut list = self.list();
        let before = list.armed.len();
        list.armed.retain(|fault| fault.id != id);
        list.armed.len() < before
    }

    /// A fault that fired could do nothing to its call.
    fn unfire(&self, id: u64) {
        if let Some(fault) = self.list().armed.iter_mut().find(|fault| fault.id == id) {
            fault.fired -= 1;
        }
    }

    /// The fault on the wire that befalls this call, and the effects that may.
    fn due(self: &Arc<Self>, request: &Request) -> (Option<(u64, Wire)>, Option<Due<E>>) {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let (mut wire, mut effects) = (None, Vec::new());
        for fault in &mut self.list().armed {
            if !fault.order.matches(request.method(), target) || !fault.suits(request.headers()) {
                continue;
            }
            fault.seen += 1;
            if fault.seen <= fault.order.skip || !fault.is_armed() {
                continue;
            }
            match &fault.what {
                What::Effect(effect) => effects.push((fault.id, effect.clone())),
                What::Wire(what) if wire.is_none() => {
                    fault.fired += 1;
                    wire = Some((fault.id, what.clone()));
                }
                What::Wire(_) => {}
            }
        }
        let effects = (!effects.is_empty()).then(|| Due { faults: Arc::clone(self), effects });
        (wire, effects)
    }
}

impl Order {
    fn matches(&self, method: &Method, target: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()))
            && matches(&self.path, target)
    }
}

/// Whether `target` begins as `pattern` says.
fn matches(pattern: &str, target: &str) -> bool {
    let (pattern, to_the_end) = pattern.strip_suffix('$').map_or((pattern, false), |pattern| (pattern, true));
    let mut parts = pattern.split('*');
    let Some(mut rest) = target.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    // The last part has to stand at the end; the others each at the first place where they fit.
    let last = if to_the_end { parts.pop() } else { None };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => !to_the_end || rest.is_empty(),
    }
}

impl<E: Effect> Armed<E> {
    fn read(order: Value) -> Result<Self, String> {
        let order: Order = serde_json::from_value(order).map_err(|cause| cause.to_string())?;
        if !order.path.starts_with(['/', '*']) {
            return Err(format!("path `{}` begins with neither `/` nor `*`", order.path));
        }
        if order.times == Some(0) {
            return Err("times is 0: such a fault never comes; leave it out for 1, or write null for ever".to_owned());
        }
        let what = match Wire::deserialize(&order.what) {
            Ok(wire) => {
                wire.check()?;
                What::Wire(wire)
            }
            Err(wire) => match E::deserialize(&order.what) {
                Ok(effect) => What::Effect(effect),
                Err(effect) => return Err(format!("what: {wire}; or: {effect}")),
            },
        };
        Ok(Self { id: 0, order, what, seen: 0, fired: 0 })
    }

    fn is_armed(&self) -> bool {
        self.order.times.is_none_or(|times| self.fired < times)
    }

    /// A body can only be spoiled in a coding that the client takes.
    fn suits(&self, headers: &HeaderMap) -> bool {
        !matches!(self.what, What::Wire(Wire::TruncatedGzip)) || spoiled::takes_gzip(headers)
    }

    fn show(&self) -> Value {
        json!({
            "id": self.id,
            "method": self.order.method,
            "path": self.order.path,
            "skip": self.order.skip,
            "times": self.order.times,
            "what": self.order.what,
            "seen": self.seen,
            "fired": self.fired,
            "left": self.order.times.map(|times| times - self.fired),
        })
    }
}

impl Wire {
    fn check(&self) -> Result<(), String> {
        let status = |status: u16| match status {
            200..=599 => Ok(()),
            _ => Err(format!("status {status} is not one of an answer (200 to 599)")),
        };
        match self {
            Self::Answer(answer) => {
                status(answer.status)?;
                changes(&answer.headers)?;
                answer.content_type.as_ref().map_or(Ok(()), |kind| header_value(kind).map(drop))
            }
            Self::Html(code) => status(*code),
            Self::Headers(headers) => changes(headers).map(drop),
            Self::CountHeader(count) => header_name(&count.name).map(drop),
            _ => Ok(()),
        }
    }
}

type Changes = Vec<(HeaderName, Option<HeaderValue>)>;

fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))
}

fn header_value(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(value).map_err(|_| format!("`{value}` cannot stand in a header"))
}

fn changes(headers: &BTreeMap<String, Option<String>>) -> Result<Changes, String> {
    let change = |(name, value): (&String, &Option<String>)| {
        Ok((header_name(name)?, value.as_ref().map(|value| header_value(value)).transpose()?))
    };
    headers.iter().map(change).collect()
}

fn change(response: &mut Response, headers: &BTreeMap<String, Option<String>>) {
    for (name, value) in changes(headers).unwrap_or_default() {
        if name == header::DATE {
            response.extensions_mut().insert(spoiled::OwnDate);
        }
        match value {
            Some(value) => response.headers_mut().insert(name, value),
            None => response.headers_mut().remove(name),
        };
    }
}

impl Answer {
    fn response(&self) -> Response {
        let (body, kind) = match &self.body {
            Value::Null => (String::new(), None),
            Value::String(text) => (text.clone(), Some("text/plain; charset=utf-8")),
            json => (json.to_string(), Some("application/json;charset=UTF-8")),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = self.content_type.as_deref().or(kind).and_then(|kind| HeaderValue::try_from(kind).ok());
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        change(&mut response, &self.headers);
        response
    }
}

/// Routes to whose calls faults may happen.
#[derive(Debug)]
struct Befallen<E, S> {
    faults: Arc<Faults<E>>,
    inner: S,
}

impl<E, S: Clone> Clone for Befallen<E, S> {
    fn clone(&self) -> Self {
        Self { faults: Arc::clone(&self.faults), inner: self.inner.clone() }
    }
}

impl<E: Effect, S> Service<Request> for Befallen<E, S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if self.faults.list().armed.is_empty() || request.uri().path().starts_with("/__sandbox/") {
            return Either::Left(self.inner.call(request));
        }
        let other = self.inner.clone();
        // The one that said it is ready is the one to call.
        let inner = std::mem::replace(&mut self.inner, other);
        Either::Right(Box::pin(befall(Arc::clone(&self.faults), request, inner)))
    }
}

/// Lets what is armed happen to a call.
async fn befall<E, S>(faults: Arc<Faults<E>>, mut request: Request, mut inner: S) -> Result<Response, Infallible>
where
    E: Effect,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let (wire, due) = faults.due(&request);
    if let Some(due) = due {
        request.extensions_mut().insert(due);
    }
    let Some((id, wire)) = wire else { return inner.call(request).await };
    match &wire {
        Wire::Answer(answer) => return Ok(answer.response()),
        Wire::Html(code) => {
            return Ok(spoiled::html(StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY)));
        }
        Wire::CutBefore => return Ok(spoiled::cut()),
        Wire::Delay(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
        _ => {}
    }
    let mut response = inner.call(request).await?;
    Ok(match wire {
        Wire::CutAfter => spoiled::cut(),
        Wire::CutHeaders => spoiled::part(response, Some(0), spoiled::End::Cut).await,
        Wire::CutBody(part) => spoiled::part(response, part.after, spoiled::End::Cut).await,
        Wire::StallBody(part) => spoiled::part(response, part.after, spoiled::End::Stall).await,
        Wire::TruncatedGzip => spoiled::truncated(response).await,
        Wire::Headers(headers) => {
            change(&mut response, &headers);
            response
        }
        Wire::CountHeader(count) => {
            if !spoiled::count(&mut response, &count.name, count.add) {
                faults.unfire(id);
            }
            response
        }
        Wire::Answer(_) | Wire::Html(_) | Wire::CutBefore | Wire::Delay(_) => response,
    })
}

async fn list<E: Effect>(State(faults): State<Arc<Faults<E>>>) -> Response {
    let all: Vec<_> = faults.list().armed.iter().map(Armed::show).collect();
    axum::Json(all).into_response()
}

/// Reads one order or a list of them.
fn orders<E: Effect>(body: &[u8]) -> Result<Vec<Armed<E>>, String> {
    let body: Value = serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
    let orders = match body {
        Value::Array(orders) => orders,
        one => vec![one],
    };
    orders.into_iter().map(Armed::read).collect()
}

/// Arms what a body orders, all of it or nothing; `anew` clears the others first.
fn take_in<E: Effect>(faults: &Faults<E>, body: &[u8], anew: bool) -> Result<(), String> {
    let orders = orders(body)?;
    let mut list = faults.list();
    if anew {
        list.armed.clear();
    }
    for mut fault in orders {
        list.made += 1;
        fault.id = list.made;
        list.armed.push(fault);
    }
    Ok(())
}

async fn arm<E: Effect>(State(faults): State<Arc<Faults<E>>>, body: Bytes) -> Response {
    match take_in(&faults, &body, false) {
        Ok(()) => list(State(faults)).await,
        Err(text) => (StatusCode::BAD_REQUEST, text).into_response(),
    }
}

async fn replace<E: Effect>(State(faults): State<Arc<Faults<E>>>, body: Bytes) -> Response {
    match take_in(&faults, &body, true) {
        Ok(()) => list(State(faults)).await,
        Err(text) => (StatusCode::BAD_REQUEST, text).into_response(),
    }
}

async fn clear<E: Effect>(State(faults): State<Arc<Faults<E>>>) -> Response {
    faults.list().armed.clear();
    list(State(faults)).await
}

async fn disarm<E: Effect>(State(faults): State<Arc<Faults<E>>>, Path(id): Path<u64>) -> Response {
    if !faults.remove(id) {
        return (StatusCode::NOT_FOUND, format!("no fault has the id {id}")).into_response();
    }
    list(State(faults)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_beginning_unless_it_is_ended() {
        for (pattern, target, fits) in [
            ("/a", "/a", true),
            ("/a", "/abc?d", true),
            ("/a$", "/abc", false),
            ("/a$", "/a", true),
            ("/a/*/c", "/a/b/c/d", true),
            ("/a/*/c$", "/a/b/c/d", false),
            ("/a/*/c$", "/a/c/d/c", true),
            ("/a/*c$", "/a/c", true),
            ("/a/*", "/a/", true),
            ("*locator=*", "/results?maxRecords=5&locator=abc", true),
            ("*/results$", "/jobs/results?locator=abc", false),
            ("*/results?*locator=", "/jobs/results?maxRecords=2&locator=x", true),
            ("*aa$", "/a", false),
            ("/b", "/a", false),
        ] {
            assert_eq!(matches(pattern, target), fits, "{pattern} {target}");
        }
    }

    #[test]
    fn wrong_orders_are_refused_in_words() {
        for (order, part) in [
            (json!({"path": "/a", "what": "explode"}), "unknown variant `explode`"),
            (json!({"path": "a", "what": "cut-before"}), "begins with neither"),
            (json!({"path": "/a", "times": 0, "what": "cut-before"}), "never comes"),
            (json!({"path": "/a", "what": {"html": 99}}), "status 99"),
            (json!({"path": "/a", "what": {"headers": {"a b": "c"}}}), "`a b`"),
            (json!({"path": "/a", "what": {"headers": {"a": "c\nd"}}}), "cannot stand in a header"),
            (json!({"path": "/a", "what": "cut-before", "when": 1}), "unknown field `when`"),
            (json!({"what": "cut-before"}), "missing field `path`"),
        ] {
            let refused = orders::<NoEffect>(order.to_string().as_bytes()).unwrap_err();
            assert!(refused.contains(part), "{order}: {refused}");
        }
    }
}
