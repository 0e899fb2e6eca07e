//! Logins by OAuth 2.0: the token endpoint and its grants.
//!
//! | grant | as the service has it |
//! |---|---|
//! | `refresh_token` | the reply has no refresh token unless they rotate; then a new one, and the old one is dead |
//! | `client_credentials` | in the body or as Basic; not on login or test hosts; runs as the integration user |
//! | `urn:ietf:params:oauth:grant-type:jwt-bearer` | RS256; `exp` as seconds, text or milliseconds; no refresh token |
//! | `password` | the password with the security token behind it; no refresh token |
//! | `authorization_code` | from [`authorize`], once, within a quarter of an hour, with the verifier of its challenge |
//!
//! # Knowingly different
//! * All users have one password and one security token, and have approved the app for the JWT bearer flow.
//! * No address is trusted: a login through an API always needs the security token.
//! * An `exp` in milliseconds, which the Salesforce CLI sends, may be up to three minutes old: it is only 300 ms ahead.
//! * There is no `openid` scope, hence no `id_token`; no device, hybrid, token exchange or user-agent flow.
//! * Login rates are not limited, and no identity is verified by e-mail.
//! * A frozen user is refused as `authentication failure` by password and as `inactive_user` by the other grants.
//! * A code is spent by a failed attempt, too.

mod apps;
mod authorize;
mod identity;
mod jwt;
mod pages;
mod tokens;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use url::form_urlencoded;

use super::error::ApiError;
use super::ids::Id;
use super::org::Org;
use super::org::lock;
use super::sessions::Grant;
use super::sessions::user_named;
use crate::sandbox::connection::Scheme;

pub(super) use apps::App;
pub(super) use apps::CLI_CALLBACK;
pub(super) use apps::Scopes;
pub(super) use apps::platform_cli;
pub(super) use authorize::Code;
pub(super) use authorize::Page;
pub(super) use identity::identity;
pub(super) use jwt::make_pair;

pub(super) type Form = Vec<(String, String)>;

/// Error and description of a refusal.
type Refusal = (&'static str, &'static str);

/// A refusal in the form of OAuth.
fn refuse((error, description): Refusal) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (StatusCode::BAD_REQUEST, [(CACHE_CONTROL, "no-cache, no-store")], axum::Json(body)).into_response()
}

fn value<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The fields of a body, those of a Basic login instead of its own.
fn form(headers: &HeaderMap, body: &[u8]) -> Form {
    let mut form: Form = form_urlencoded::parse(body).into_owned().collect();
    if let Some((id, secret)) = basic(headers) {
        form.retain(|(key, _)| key != "client_id" && key != "client_secret");
        form.extend([("client_id".to_owned(), id), ("client_secret".to_owned(), secret)]);
    }
    form
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The app of a form, if its secret is right.
fn app(org: &Org, form: &Form) -> Result<usize, Refusal> {
    let id = value(form, "client_id").unwrap_or_default();
    let app = org.apps.iter().position(|app| app.client_id == id);
    let app = app.ok_or(("invalid_client_id", "client identifier invalid"))?;
    match &org.apps[app].client_secret {
        Some(secret) if value(form, "client_secret") != Some(secret) => {
            Err(("invalid_client", "invalid client credentials"))
        }
        _ => Ok(app),
    }
}

/// `/services/oauth2/…`.
pub(super) fn route(
    org: &Arc<Org>,
    method: &Method,
    rest: &[&str],
    headers: &HeaderMap,
    scheme: Scheme,
    query: Form,
    body: &[u8],
) -> Response {
    org.count("oauth");
    match (method.as_str(), rest) {
        ("POST", ["token"]) => token(org, headers, scheme, body),
        (_, ["token"]) => refuse(("invalid_request", "must use HTTP POST")),
        ("GET" | "POST", ["authorize"]) => authorize::authorize(org, headers, query, body),
        ("POST", ["authorize", "login"]) => authorize::login(org, scheme, body),
        ("POST", ["authorize", "approve"]) => authorize::approve(org, headers, body),
        ("GET" | "POST", ["revoke"]) => tokens::revoke(org, &query, headers, body),
        ("POST", ["introspect"]) => tokens::introspect(org, headers, scheme, body),
        ("GET" | "POST", ["userinfo"]) => identity::user_info(org, headers, scheme, &query),
        _ => ApiError::not_found().into_response(),
    }
}

/// `POST /services/oauth2/token`.
fn token(org: &Arc<Org>, headers: &HeaderMap, scheme: Scheme, body: &[u8]) -> Response {
    let form = form(headers, body);
    let granted = match value(&form, "grant_type") {
        Some("refresh_token") => refresh(org, &form),
        Some("client_credentials") => client_credentials(org, headers, &form),
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => bearer(org, &form),
        Some("password") => password(org, &form),
        Some("authorization_code") => authorize::redeem(org, &form),
        _ => Err(("unsupported_grant_type", "grant type not supported")),
    };
    match granted {
        Ok((grant, refresh_token)) => reply(org, scheme, grant, refresh_token),
        Err(refusal) => refuse(refusal),
    }
}

/// A grant, and the refresh token that goes out with it.
type Granted = Result<(Grant, Option<String>), Refusal>;

fn refresh(org: &Org, form: &Form) -> Granted {
    const DEAD: Refusal = ("invalid_grant", "expired access/refresh token");
    let app = app(org, form)?;
    let token = value(form, "refresh_token").unwrap_or_default();
    let store = org.snapshot();
    let grant = lock(&org.logins).refresh.get(token).filter(|grant| grant.app == Some(app)).cloned().ok_or(DEAD)?;
    if !org.may_log_in(&store, grant.user) {
        return Err(("inactive_user", "user is inactive"));
    }
    if !org.options.rotate_refresh_tokens {
        return Ok((grant, None));
    }
    let mut logins = lock(&org.logins);
    // Of two who bring the same token at once one comes too late.
    let grant = logins.refresh.remove(token).ok_or(DEAD)?;
    let new = logins.keep(grant.clone());
    Ok((grant, Some(new)))
}

fn client_credentials(org: &Org, headers: &HeaderMap, form: &Form) -> Granted {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.starts_with("login.salesforce.com") || host.starts_with("test.salesforce.com") {
        return Err(("invalid_grant", "request not supported on this domain"));
    }
    let app = app(org, form)?;
    if org.apps[app].client_secret.is_none() {
        return Err(("invalid_client", "invalid client credentials"));
    }
    // The integration user, whom the app runs as.
    if !org.may_log_in(&org.snapshot(), 0) {
        return Err(("invalid_grant", "no client credentials user enabled"));
    }
    Ok((grant(org, 0, app), None))
}

/// A grant of what is usual.
fn grant(org: &Org, user: u32, app: usize) -> Grant {
    Grant { user, app: Some(app), scopes: Scopes::usual(), family: lock(&org.logins).family() }
}

fn password(org: &Org, form: &Form) -> Granted {
    let app = app(org, form)?;
    let (name, word) = (value(form, "username").unwrap_or_default(), value(form, "password").unwrap_or_default());
    let user = org.log_in_from_outside(name, word).ok_or(("invalid_grant", "authentication failure"))?;
    Ok((grant(org, user, app), None))
}

fn bearer(org: &Org, form: &Form) -> Granted {
    let mine = [Scheme::Http, Scheme::Https].map(|scheme| org.url_by(scheme));
    let audiences = ["https://login.salesforce.com", "https://test.salesforce.com", mine[0].as_str(), mine[1].as_str()];
    let assertion = value(form, "assertion").unwrap_or_default();
    let now = org.clock.now().timestamp();
    let username = jwt::check(assertion, org.jwt_public_key.get(), &org.apps[0].client_id, &audiences, now)?;
    let store = org.snapshot();
    match user_named(&store, &username) {
        Some(user) if org.may_log_in(&store, user) => Ok((grant(org, user, 0), None)),
        Some(_) => Err(("inactive_user", "user is inactive")),
        None => Err(("invalid_grant", "user hasn't approved this consumer")),
    }
}

fn reply(org: &Org, scheme: Scheme, grant: Grant, refresh_token: Option<String>) -> Response {
    let identity = identity_url(org, scheme, grant.user);
    let issued = org.clock.now().timestamp_millis().to_string();
    let secret = grant.app.and_then(|app| org.apps[app].client_secret.as_deref()).unwrap_or_default();
    let mut body = json!({
        "signature": signature(secret, &format!("{identity}{issued}")),
        "scope": grant.scopes.to_string(),
        "instance_url": org.url_by(scheme),
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued,
        "api_instance_url": "https://api.salesforce.com",
        "access_token": org.open_session(grant),
    });
    if let Some(token) = refresh_token {
        body["refresh_token"] = json!(token);
    }
    ([(CACHE_CONTROL, "no-cache, no-store")], axum::Json(body)).into_response()
}

/// Where the identity page of a user is.
pub(super) fn identity_url(org: &Org, scheme: Scheme, user: u32) -> String {
    format!("{}/id/{}/{}", org.url_by(scheme), org.id, Id::new(*b"005", u64::from(user)))
}

/// HMAC-SHA256 (RFC 2104) in Base64; the keys here are never longer than a block.
fn signature(key: &str, message: &str) -> String {
    let mut block = [0u8; 64];
    block.iter_mut().zip(key.bytes()).for_each(|(place, byte)| *place = byte);
    let hash = |pad: u8, message: &[u8]| {
        let mut digest = Sha256::new();
        digest.update(block.map(|byte| byte ^ pad));
        digest.update(message);
        digest.finalize()
    };
    let inner = hash(0x36, message.as_bytes());
    BASE64_STANDARD.encode(hash(0x5c, &inner))
}

/// The token of a request: `Authorization: Bearer …` or `OAuth …`.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("OAuth ")).map(str::trim)
}
