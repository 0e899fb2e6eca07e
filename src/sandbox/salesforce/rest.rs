//! `/services/data`: who calls, how often, what they ask for; the answers' common headers.
//!
//! Paths are matched as lists of segments, so a slash at the end does not matter, as with the real service.

use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::IF_MODIFIED_SINCE;
use axum::http::header::LAST_MODIFIED;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use chrono::DateTime;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use serde_json::json;
use url::form_urlencoded;

use super::access::Access;
use super::bulk;
use super::collections;
use super::composite;
use super::control;
use super::describe;
use super::effects;
use super::effects::Effect;
use super::error::ApiError;
use super::oauth;
use super::org::Org;
use super::org::lock;
use super::query;
use super::records;
use super::replication;
use super::schema::ObjectIndex;
use super::sessions::Session;
use super::soap;
use super::soql;
use super::store::Store;
use super::tree;
use super::write::Caller;
use crate::sandbox::connection::Scheme;
use crate::sandbox::faults::Due;
use crate::sandbox::spoiled::html;
use crate::sandbox::spoiled::takes_gzip;

/// The oldest and the newest API version that the org speaks.
const VERSIONS: std::ops::RangeInclusive<u32> = 31..=67;
/// The longest URI, and the longest URI with headers.
const LONGEST_URI: usize = 16_384;
/// The largest body.
const LARGEST_BODY: usize = 160 << 20;
/// JSON answers from this size on are compressed for clients that offer it.
const WORTH_COMPRESSING: usize = 1024;

/// One call of the API.
pub(super) struct Call {
    pub(super) org: Arc<Org>,
    pub(super) session: Session,
    /// What the user may see and change.
    pub(super) access: Arc<Access>,
    /// The copy of the records on which the subrequests of an `allOrNone` composite work.
    pub(super) workspace: Option<Arc<Mutex<Store>>>,
    /// `67` of `/services/data/v67.0`.
    pub(super) version: u32,
    /// `/services/data/v67.0`.
    pub(super) base: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Faults that may befall it.
    pub(super) due: Option<Due<Effect>>,
}

pub(super) type Answer = Result<Response, ApiError>;

impl Call {
    /// The records as they are now.
    pub(super) fn snapshot(&self) -> Store {
        match &self.workspace {
            Some(workspace) => lock(workspace).clone(),
            None => self.org.snapshot(),
        }
    }

    /// Changes records.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        match &self.workspace {
            Some(workspace) => change(&mut lock(workspace)),
            None => self.org.write(change),
        }
    }

    /// Who writes, at this moment.
    pub(super) fn caller(&self) -> Caller {
        let now = self.writes_at().timestamp();
        Caller { user: self.session.user, now, access: Arc::clone(&self.access) }
    }

    /// The object that a path names, if the user sees it.
    pub(super) fn object(&self, name: &str) -> Result<ObjectIndex, ApiError> {
        let found = self.org.schema.find(name).filter(|object| self.access.sees_object(*object));
        found.ok_or_else(ApiError::not_found)
    }

    /// A parameter of the query string.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as a JSON object.
    pub(super) fn json(&self) -> Result<serde_json::Map<String, Value>, ApiError> {
        serde_json::from_slice(&self.body).map_err(|cause| ApiError::new(400, "JSON_PARSER_ERROR", cause.to_string()))
    }

    /// Whether the client offers to take gzip.
    pub(super) fn takes_gzip(&self) -> bool {
        takes_gzip(&self.headers)
    }
}

/// All paths of the org.
pub(super) fn routes(org: Arc<Org>) -> Router {
    control::routes().fallback(handle).with_state(org)
}

async fn handle(State(org): State<Arc<Org>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let scheme = parts.extensions.get().copied().unwrap_or(Scheme::Http);
    let uri = parts.uri.path_and_query().map_or("", |uri| uri.as_str());
    let headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    // The edge answers these before any API is asked, in HTML.
    if uri.len() > LONGEST_URI {
        return html(StatusCode::URI_TOO_LONG);
    }
    if uri.len() + headers > LONGEST_URI {
        return html(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return html(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let segments: Vec<_> =
        parts.uri.path().split('/').filter(|segment| !segment.is_empty()).map(percent_decoded).collect();
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match (&parts.method, segments.as_slice()) {
        (method, ["services", "oauth2", rest @ ..]) => {
            oauth::route(&org, method, rest, &parts.headers, scheme, query, &body)
        }
        (_, ["id", organization, user]) => oauth::identity(&org, &parts.headers, scheme, (organization, user), &query),
        (&Method::POST, ["services", "Soap", rest @ ..]) => soap::handle(&org, scheme, rest, &body),
        (&Method::GET, ["services", "data"]) => {
            org.count("rest");
            axum::Json(versions()).into_response()
        }
        (method, ["services", "data", version, rest @ ..]) => {
            let gzip = takes_gzip(&parts.headers);
            let asked = Asked { query, headers: parts.headers, body, due: parts.extensions.remove() };
            let mut answer = data(&org, method, version, rest, asked).await;
            if gzip {
                answer = compressed(answer).await;
            }
            answer
        }
        (method, ["services", "async", version, rest @ ..]) => {
            let asked = Asked { query, headers: parts.headers, body, due: parts.extensions.remove() };
            bulk::classic(&org, method, version, rest, asked)
        }
        _ => ApiError::not_found().into_response(),
    }
}

/// Counts the calls that are open, and refuses further ones when too many of them are long.
pub(super) async fn count_open(State(org): State<Arc<Org>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/services/data/v") {
        return next.run(request).await;
    }
    match org.limits.begin() {
        Ok(open) => {
            let response = next.run(request).await;
            drop(open);
            response
        }
        Err(refused) => refused.into_response(),
    }
}

/// A segment of a path as it was meant; a plus sign stays one.
pub(super) fn percent_decoded(segment: &str) -> std::borrow::Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, others @ ..] = rest {
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Compresses a whole JSON answer; bulk results compress themselves as they go.
async fn compressed(answer: Response) -> Response {
    let is_json =
        answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let Ok(whole) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if whole.len() < WORTH_COMPRESSING {
        return Response::from_parts(parts, Body::from(whole));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(whole.len() / 4), Compression::fast());
    match encoder.write_all(&whole).and_then(|()| encoder.finish()) {
        Ok(small) => {
            parts.headers.remove("content-length");
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Response::from_parts(parts, Body::from(small))
        }
        Err(_) => Response::from_parts(parts, Body::from(whole)),
    }
}

/// What a request brings along beside its path.
pub(super) struct Asked {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Faults that may befall the call.
    pub(super) due: Option<Due<Effect>>,
}

/// `/services/data/vNN.0/…`.
async fn data(org: &Arc<Org>, method: &Method, version: &str, rest: &[&str], asked: Asked) -> Response {
    org.count(if rest.first() == Some(&"jobs") { "bulk" } else { "rest" });
    let Some(number) = self::version(version) else { return ApiError::not_found().into_response() };
    let token = oauth::bearer_token(&asked.headers).unwrap_or_default().to_owned();
    let (call, info) = let_in(org, number, &token, asked);
    let answer = match call {
        Ok(call) => route(call, method, rest).await.unwrap_or_else(IntoResponse::into_response),
        Err(refused) => refused.into_response(),
    };
    with_limit(answer, info)
}

/// Lets a caller in who has a session and has not used up the day's requests; and what the limit's header says.
pub(super) fn let_in(
    org: &Arc<Org>,
    version: u32,
    token: &str,
    asked: Asked,
) -> (Result<Call, ApiError>, Option<String>) {
    let Asked { query, headers, body, due } = asked;
    let ends = |effect: &Effect| matches!(effect, Effect::SessionEnds).then_some(());
    if org.session(token).is_ok() && effects::take(due.as_ref(), ends).is_some() {
        lock(&org.logins).sessions.remove(token);
    }
    let session = match org.session(token) {
        Ok(session) => session,
        Err(refused) => return (Err(refused), None),
    };
    let (mut allowed, info) = org.request();
    let exceeded = |effect: &Effect| matches!(effect, Effect::RequestLimitExceeded).then_some(());
    if effects::take(due.as_ref(), exceeded).is_some() {
        allowed = Err(ApiError::requests_exceeded());
    }
    let call = allowed.and_then(|()| unpacked(&headers, body)).map(|body| {
        let base = format!("/services/data/v{version}.0");
        let access = org.access(session.user);
        let org = Arc::clone(org);
        Call { org, session, access, workspace: None, version, base, query, headers, body, due }
    });
    (call, Some(info))
}

/// Puts the limit's header on an answer.
pub(super) fn with_limit(mut answer: Response, info: Option<String>) -> Response {
    if let Some(info) = info.and_then(|info| HeaderValue::from_str(&info).ok()) {
        answer.headers_mut().insert("sforce-limit-info", info);
    }
    answer
}

/// The body without its `Content-Encoding`.
fn unpacked(headers: &HeaderMap, body: Bytes) -> Result<Bytes, ApiError> {
    if headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes() != b"gzip") {
        return Ok(body);
    }
    let mut plain = Vec::new();
    GzDecoder::new(body.as_ref())
        .take(LARGEST_BODY as u64)
        .read_to_end(&mut plain)
        .map_err(|cause| ApiError::new(400, "INVALID_CONTENT_ENCODING", cause.to_string()))?;
    Ok(plain.into())
}

/// The number of `v62.0`, if the org speaks it.
pub(super) fn version(segment: &str) -> Option<u32> {
    let text = segment.strip_prefix('v')?.strip_suffix(".0")?;
    let number = text.parse().ok()?;
    (VERSIONS.contains(&number) && number.to_string() == text).then_some(number)
}

/// Answers a call. What may take long does so beside the other connections.
async fn route(call: Call, method: &Method, rest: &[&str]) -> Answer {
    if !matches!(rest, ["query" | "queryAll"] | ["composite", ..]) {
        return route_now(&call, method, rest);
    }
    let (method, rest): (_, Vec<String>) = (method.clone(), rest.iter().map(|one| (*one).to_owned()).collect());
    let work = tokio::task::spawn_blocking(move || {
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        route_now(&call, &method, &rest)
    });
    work.await.map_err(|_| ApiError::new(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."))?
}

/// Answers a call, however long it takes.
pub(super) fn route_now(call: &Call, method: &Method, rest: &[&str]) -> Answer {
    match (method.as_str(), rest) {
        ("GET" | "HEAD", []) => Ok(axum::Json(resources(call)).into_response()),
        ("GET", ["limits"]) => Ok(axum::Json(call.org.limits.show()).into_response()),
        ("GET", ["limits", "recordCount"]) => Ok(axum::Json(record_counts(call)).into_response()),
        ("GET", ["sobjects"]) => {
            Ok(axum::Json(describe::global(&call.org.schema, &call.access, &call.base)).into_response())
        }
        ("GET", ["sobjects", object, "describe"]) => describe_object(call, object),
        ("GET", ["sobjects", object]) => {
            let summary = describe::summary(&call.org.schema, call.object(object)?, &call.access, &call.base);
            Ok(axum::Json(json!({ "objectDescribe": summary, "recentItems": [] })).into_response())
        }
        ("POST", ["sobjects", object]) => records::create(call, object),
        ("POST", ["sobjects", object, field]) if field.eq_ignore_ascii_case("Id") => records::create(call, object),
        ("GET", ["sobjects", object, "updated"]) => replication::updated(call, object),
        ("GET", ["sobjects", object, "deleted"]) => replication::deleted(call, object),
        ("GET", ["sobjects", object, id]) => records::read(call, object, id),
        ("PATCH", ["sobjects", object, id]) => records::update(call, object, id),
        ("DELETE", ["sobjects", object, id]) => records::delete(call, object, id),
        ("GET", ["sobjects", object, field, value]) => records::read_by(call, object, field, value),
        ("PATCH", ["sobjects", object, field, value]) => records::upsert(call, object, field, value),
        ("DELETE", ["sobjects", object, field, value]) => records::delete_by(call, object, field, value),
        ("GET", ["query"]) => query::start(call, false),
        ("GET", ["queryAll"]) => query::start(call, true),
        ("GET", ["query" | "queryAll", locator]) => query::next(call, locator),
        ("POST", ["composite"]) => composite::composite(call),
        ("POST", ["composite", "batch"]) => composite::batch(call),
        ("POST", ["composite", "tree", object]) => tree::create(call, object),
        ("POST", ["composite", "sobjects"]) => collections::create(call),
        ("PATCH", ["composite", "sobjects"]) => collections::update(call),
        ("DELETE", ["composite", "sobjects"]) => collections::delete(call),
        ("PATCH", ["composite", "sobjects", object, field]) => collections::upsert(call, object, field),
        ("GET" | "POST", ["composite", "sobjects", object]) => collections::read(call, object),
        (_, ["jobs", rest @ ..]) => bulk::route(call, method, rest),
        (_, [] | ["limits" | "query" | "queryAll" | "sobjects" | "composite", ..]) => {
            let text = format!("HTTP Method '{method}' not allowed. Allowed are GET, POST, PATCH, DELETE");
            Err(ApiError::new(405, "METHOD_NOT_ALLOWED", text))
        }
        _ => Err(ApiError::not_found()),
    }
}

/// `GET /sobjects/X/describe`. The schema does not change while the org runs, so whoever has it is told so.
fn describe_object(call: &Call, object: &str) -> Answer {
    let index = call.object(object)?;
    let since = call.headers.get(IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    if since.is_some_and(|since| since.timestamp() >= call.org.described().timestamp()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let modified = call.org.described().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let body = axum::Json(describe::object(&call.org.schema, index, &call.access, &call.base));
    Ok(([(LAST_MODIFIED, modified)], body).into_response())
}

/// The newest API version, as in addresses.
pub(super) fn newest_version() -> String {
    format!("{}.0", VERSIONS.end())
}

/// `GET /services/data`.
fn versions() -> Value {
    let one = |number: u32| {
        // Three releases a year; v67 is Summer '26.
        let season = ["Spring", "Summer", "Winter"][(number % 3) as usize];
        let year = 26 - i64::from((67 - number) / 3);
        json!({ "label": format!("{season} '{year:02}"), "url": format!("/services/data/v{number}.0"), "version": format!("{number}.0") })
    };
    VERSIONS.map(one).collect()
}

fn resources(call: &Call) -> Value {
    let all = ["composite", "jobs", "limits", "query", "queryAll", "sobjects"];
    let mut resources: serde_json::Map<_, _> =
        all.iter().map(|name| ((*name).to_owned(), json!(format!("{}/{name}", call.base)))).collect();
    resources.insert("identity".to_owned(), json!(oauth::identity_url(&call.org, Scheme::Http, call.session.user)));
    Value::Object(resources)
}

/// `GET /limits/recordCount?sObjects=A,B`.
fn record_counts(call: &Call) -> Value {
    let store = call.snapshot();
    let wanted = call.parameter("sObjects").unwrap_or_default();
    let counts: Vec<_> = wanted
        .split(',')
        .filter_map(|name| store.schema.find(name.trim()))
        .map(|object| json!({ "count": store.table(object).rows() - store.table(object).erased().len(), "name": store.schema.objects[object].name }))
        .collect();
    json!({ "sObjects": counts })
}

/// Reads and binds a query, for REST and for bulk jobs.
pub(super) fn bind(call: &Call, text: &str) -> Result<(Store, soql::Query, soql::Bound), ApiError> {
    let query = soql::parse(text)?;
    let store = call.snapshot();
    let bound = soql::Bound::new(&query, &store, &call.access, call.org.clock.now())?;
    Ok((store, query, bound))
}
