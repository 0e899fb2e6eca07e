//! What every call passes first: login, allow list, quota (gainsight-api §1 and §9); and the token endpoint.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::BoxFuture;
use futures::future::Either;
use serde_json::json;
use tower::Service;

use super::quota::Class;
use super::reply::Reply;
use super::switches::PeopleAsyncClass;
use super::switches::Switches;
use super::switches::TokenFailure;
use super::tenant::Tenant;
use super::tenant::lock;

use crate::clock::random_id;

/// Seconds for which a token is good (§1.2).
const TOKEN_SECONDS: i64 = 86_400;

/// What a call to an existing route counts as.
fn class_of(method: &Method, path: &str, people_async: PeopleAsyncClass) -> Class {
    let path = path.trim_start_matches('/');
    let bulk = match *method {
        Method::POST => path == "v1.0/admin/connector/job/bulkimport" || path.starts_with("v3/exports/data/bulk/"),
        Method::PUT | Method::DELETE => {
            path == "v1/peoplemgmt/v1.0/people/async" && people_async == PeopleAsyncClass::Bulk
        }
        _ => false,
    };
    if bulk {
        Class::Bulk
    } else if path.starts_with("v1/users/services") {
        Class::Users
    } else {
        Class::Sync
    }
}

/// Routes behind the gate.
#[derive(Debug, Clone)]
pub(super) struct Gated<S> {
    pub(super) tenant: Arc<Tenant>,
    pub(super) inner: S,
}

impl<S> Service<Request> for Gated<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let switches = self.tenant.switches();
        let class = class_of(request.method(), request.uri().path(), switches.people_async_class);
        if let Some(response) = refusal(&self.tenant, &switches, class, request.headers()) {
            return Either::Right(Box::pin(async { Ok(response) }));
        }
        let answer = self.inner.call(request);
        if switches.failed_calls_count {
            return Either::Left(answer);
        }
        let tenant = Arc::clone(&self.tenant);
        Either::Right(Box::pin(async move {
            let response = answer.await?;
            if response.status().as_u16() >= 400 {
                tenant.quota.give_back(class);
            }
            Ok(response)
        }))
    }
}

/// The answer in the gateway's place, unless it lets the call pass.
fn refusal(tenant: &Tenant, switches: &Switches, class: Class, headers: &HeaderMap) -> Option<Response> {
    if let Err(reply) = login(tenant, headers) {
        return Some(reply.into_response());
    }
    if !switches.address_allowed {
        let text = "IP Address does not lie in range of whitelisted ips";
        return Some(Reply::fail(StatusCode::FORBIDDEN, "GS_APIG_2402", text, b"null".to_vec()).into_response());
    }
    let taken = tenant.quota.take(class, tenant.clock.now().timestamp(), switches.failed_calls_count);
    let refused = taken.err()?;
    let mut response = match class {
        Class::Users => Reply::fail(StatusCode::TOO_MANY_REQUESTS, "GU_2400", "Too many request", b"null".to_vec()),
        _ => Reply::Gateway { status: StatusCode::TOO_MANY_REQUESTS, code: "GS_APIG_2404", text: "Too many requests" },
    }
    .into_response();
    if let Ok(value) = HeaderValue::from_str(&refused.limits) {
        response.headers_mut().insert("x-ratelimit-limit", value);
    }
    if switches.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(refused.wait));
    }
    Some(response)
}

/// The access key, or a token that has not ended.
pub(super) fn login(tenant: &Tenant, headers: &HeaderMap) -> Result<(), Reply> {
    if let Some(key) = headers.get("accesskey") {
        return if key.as_bytes() == tenant.logins.access_key.as_bytes() { Ok(()) } else { Err(Reply::unauthorized()) };
    }
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let ends = token.and_then(|(_, token)| lock(&tenant.logins.tokens).get(token.trim()).copied());
    if ends.is_some_and(|ends| tenant.now() < ends) { Ok(()) } else { Err(Reply::unauthorized()) }
}

/// `POST /v1/users/m2m/oauth/token`: the body may be anything, live clients send a form or nothing.
pub(super) async fn token(State(tenant): State<Arc<Tenant>>, headers: HeaderMap) -> Response {
    let counted = tenant.quota.take(Class::Token, tenant.clock.now().timestamp(), true);
    if counted.is_err() {
        return Reply::unauthorized().into_response();
    }
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, text)| BASE64.decode(text.trim()).ok());
    let wanted = format!("{}:{}", tenant.logins.client_id, tenant.logins.client_secret);
    if given.as_deref() != Some(wanted.as_bytes()) {
        return match tenant.switches().token_failure {
            TokenFailure::Gateway => Reply::unauthorized().into_response(),
            TokenFailure::Oauth => {
                (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": "invalid_client"}))).into_response()
            }
        };
    }
    let token = format!("{}{}", random_id(), random_id()).replace('-', "");
    let now = tenant.now();
    let mut tokens = lock(&tenant.logins.tokens);
    tokens.retain(|_, ends| *ends > now);
    tokens.insert(token.clone(), now + TOKEN_SECONDS * 1000);
    drop(tokens);
    // No envelope (§1.2).
    axum::Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})).into_response()
}

/// No such route: of the object API `GSOBJ_1023`, elsewhere the gateway's 404.
pub(super) async fn nowhere(State(tenant): State<Arc<Tenant>>, request: Request) -> Reply {
    if !request.uri().path().starts_with("/v1/data/objects") {
        return Reply::unknown_route();
    }
    match login(&tenant, request.headers()) {
        Ok(()) => Reply::bad("GSOBJ_1023", "Invalid API called, please refer to API documentation"),
        Err(reply) => reply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_the_class_of_their_page() {
        let class = |method, path| class_of(&method, path, PeopleAsyncClass::Bulk);
        assert_eq!(class(Method::POST, "/v1.0/admin/connector/job/bulkimport"), Class::Bulk);
        assert_eq!(class(Method::GET, "//v1.0/admin/connector/job/bulkimport/status/1"), Class::Sync);
        assert_eq!(class(Method::POST, "/v3/exports/data/bulk/company"), Class::Bulk);
        assert_eq!(class(Method::PUT, "/v1/peoplemgmt/v1.0/people/async"), Class::Bulk);
        assert_eq!(class(Method::GET, "/v1/peoplemgmt/v1.0/people/async/status/1"), Class::Sync);
        assert_eq!(class(Method::PUT, "/v1/users/services"), Class::Users);
        assert_eq!(class(Method::POST, "/v1/data/objects/query/gsuser"), Class::Sync);
    }
}
