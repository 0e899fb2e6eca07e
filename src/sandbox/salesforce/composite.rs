//! `/composite` and `/composite/batch`: several calls in one.
//!
//! # Promises
//! * Up to 25 subrequests run in their order; in `/composite` a later one may use the answer of an earlier one:
//!   `@{account.id}`, `@{found.records[0].Id}`.
//! * `allOrNone` undoes all subrequests when one is refused. They run on a copy that takes the place of the org's records at
//!   the end; nobody else writes meanwhile.
//!
//! Knowingly different: subrequests of one call are never collated, and the limit of five queries or collections among them
//! does not apply; the texts for more than 25 subrequests and for subrequests that cannot be nested are not documented.

use std::sync::Arc;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::http::Method;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use url::form_urlencoded;

use super::error::ApiError;
use super::org::lock;
use super::rest;
use super::rest::Answer;
use super::rest::Call;

/// Subrequests of one call.
const MOST: usize = 25;

/// The answer of one subrequest.
struct Reply {
    status: StatusCode,
    headers: Map<String, Value>,
    body: Value,
}

/// `POST /composite`.
pub(super) fn composite(call: &Call) -> Answer {
    let body = call.json()?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
    let requests = list(&body, "compositeRequest")?;
    let mut references = std::collections::HashSet::new();
    for request in requests {
        let reference = request.get("referenceId").and_then(Value::as_str).unwrap_or_default();
        if reference.is_empty() || !references.insert(reference) {
            let text = format!("Every subrequest needs a referenceId of its own; found '{reference}'");
            return Err(ApiError::new(400, "INVALID_INPUT", text));
        }
    }
    let replies = if all_or_none {
        call.write(|store| {
            let workspace = Arc::new(Mutex::new(store.clone()));
            let replies = in_order(call, requests, Some(&workspace));
            if replies.iter().all(|(_, reply)| reply.status.is_success()) {
                store.set_back(lock(&workspace).clone());
                store.forget_indexes();
            }
            replies
        })
    } else {
        in_order(call, requests, call.workspace.as_ref())
    };
    let failed = all_or_none && replies.iter().any(|(_, reply)| !reply.status.is_success());
    let shown: Vec<_> = replies
        .into_iter()
        .map(|(reference, reply)| {
            let undone = failed && reply.status.is_success();
            let (status, headers, body) = if undone {
                let text = "The transaction was rolled back since another operation in the same transaction failed.";
                (400, Map::new(), json!([{ "errorCode": "PROCESSING_HALTED", "message": text }]))
            } else {
                (reply.status.as_u16(), reply.headers, reply.body)
            };
            json!({ "body": body, "httpHeaders": headers, "httpStatusCode": status, "referenceId": reference })
        })
        .collect();
    Ok(axum::Json(json!({ "compositeResponse": shown })).into_response())
}

type Workspace = Arc<Mutex<super::store::Store>>;

fn in_order(call: &Call, requests: &[Value], workspace: Option<&Workspace>) -> Vec<(String, Reply)> {
    let mut replies: Vec<(String, Reply)> = Vec::new();
    for request in requests {
        let reference = request.get("referenceId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let reply = match resolved(request, &replies) {
            Ok(request) => {
                let text = |name| request.get(name).and_then(Value::as_str).unwrap_or_default();
                let url = text("url").trim_start_matches('/');
                match url.strip_prefix("services/data/") {
                    Some(url) => run(call, text("method"), url, request.get("body"), workspace),
                    None => refusal(&ApiError::not_found()),
                }
            }
            Err(text) => refusal(&ApiError::new(400, "PROCESSING_HALTED", text)),
        };
        replies.push((reference, reply));
    }
    replies
}

/// `POST /composite/batch`.
pub(super) fn batch(call: &Call) -> Answer {
    let body = call.json()?;
    let halt = body.get("haltOnError").and_then(Value::as_bool).unwrap_or(false);
    let requests = list(&body, "batchRequests")?;
    let mut results = Vec::new();
    let mut refused = false;
    for request in requests {
        if halt && refused {
            let text = "Batch processing halted per request";
            let result = json!([{ "errorCode": "BATCH_PROCESSING_HALTED", "message": text }]);
            results.push(json!({ "statusCode": 412, "result": result }));
            continue;
        }
        let text = |name| request.get(name).and_then(Value::as_str).unwrap_or_default();
        let url = text("url").trim_start_matches('/');
        let url = url.strip_prefix("services/data/").unwrap_or(url);
        let reply = run(call, text("method"), url, request.get("richInput"), call.workspace.as_ref());
        refused |= !reply.status.is_success();
        results.push(json!({ "statusCode": reply.status.as_u16(), "result": reply.body }));
    }
    Ok(axum::Json(json!({ "hasErrors": refused, "results": results })).into_response())
}

fn list<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], ApiError> {
    let all = body.get(name).and_then(Value::as_array).filter(|all| !all.is_empty()).ok_or_else(|| {
        ApiError::new(400, "INVALID_INPUT", format!("The request must have a member {name} with its subrequests"))
    })?;
    if all.len() > MOST {
        let text = format!("Limit exceeded: {} subrequests, at most {MOST} are allowed", all.len());
        return Err(ApiError::new(400, "LIMIT_EXCEEDED", text));
    }
    Ok(all)
}

/// Runs one subrequest; `url` begins with the version.
fn run(call: &Call, method: &str, url: &str, body: Option<&Value>, workspace: Option<&Workspace>) -> Reply {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).map(rest::percent_decoded).collect();
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let [version, rest @ ..] = segments.as_slice() else { return refusal(&ApiError::not_found()) };
    let (Some(number), Ok(method)) = (rest::version(version), Method::from_bytes(method.as_bytes())) else {
        return refusal(&ApiError::not_found());
    };
    if matches!(rest, ["composite", "batch" | "graph", ..] | ["composite"] | ["jobs", ..]) {
        let text = format!("The resource {path} cannot be a subrequest");
        return refusal(&ApiError::new(400, "INVALID_INPUT", text));
    }
    let sub = Call {
        org: Arc::clone(&call.org),
        session: call.session.clone(),
        access: Arc::clone(&call.access),
        workspace: workspace.map(Arc::clone),
        version: number,
        base: format!("/services/data/{version}"),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: axum::http::HeaderMap::new(),
        body: body.filter(|body| !body.is_null()).map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
        due: call.due.clone(),
    };
    match rest::route_now(&sub, &method, rest) {
        Ok(response) => opened(response),
        Err(refused) => refusal(&refused),
    }
}

fn refusal(refused: &ApiError) -> Reply {
    opened(refused.clone().into_response())
}

/// The parts of an answer. All bodies of [`rest::route_now`] are whole, so reading one never waits.
fn opened(response: Response) -> Reply {
    use futures::FutureExt;
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).now_or_never().and_then(Result::ok).unwrap_or_default();
    let mut headers = Map::new();
    if let Some(location) = parts.headers.get("location").and_then(|location| location.to_str().ok()) {
        headers.insert("Location".to_owned(), json!(location));
    }
    Reply { status: parts.status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

/// A subrequest with its references replaced.
fn resolved(request: &Value, replies: &[(String, Reply)]) -> Result<Value, String> {
    Ok(match request {
        Value::String(text) => return replaced(text, replies),
        Value::Array(all) => Value::Array(all.iter().map(|one| resolved(one, replies)).collect::<Result<_, _>>()?),
        Value::Object(members) => {
            let mut out = Map::new();
            for (name, value) in members {
                out.insert(name.clone(), resolved(value, replies)?);
            }
            Value::Object(out)
        }
        other => other.clone(),
    })
}

/// A text that is one reference becomes its value, whatever its type; within other text it becomes text.
fn replaced(text: &str, replies: &[(String, Reply)]) -> Result<Value, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("@{") {
        let Some(length) = rest[start..].find('}') else { break };
        let path = &rest[start + 2..start + length];
        let value = looked_up(path, replies)?;
        if start == 0 && length + 1 == text.len() {
            return Ok(value);
        }
        out.push_str(&rest[..start]);
        match &value {
            Value::String(text) => out.push_str(text),
            other => out.push_str(&other.to_string()),
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

fn looked_up(path: &str, replies: &[(String, Reply)]) -> Result<Value, String> {
    let (reference, rest) = path.split_once('.').unwrap_or((path, ""));
    let (reference, first) = reference.split_once('[').unwrap_or((reference, ""));
    let missing = || {
        format!(
            "Invalid reference specified. No value for {path} found in {reference}. Supplied value may be null or not \
             available"
        )
    };
    let (_, reply) = replies.iter().find(|(known, _)| known == reference).ok_or_else(missing)?;
    if !reply.status.is_success() {
        return Err(missing());
    }
    // `a.records[0].Id` and `a[0].id` become steps: names and numbers.
    let steps = format!("{}.{rest}", first.trim_end_matches(']')).replace('[', ".").replace(']', "");
    let mut value = &reply.body;
    for step in steps.split('.').filter(|step| !step.is_empty()) {
        let next = match value {
            Value::Array(all) => step.parse::<usize>().ok().and_then(|at| all.get(at)),
            other => other.get(step),
        };
        value = next.ok_or_else(missing)?;
    }
    Ok(value.clone())
}
