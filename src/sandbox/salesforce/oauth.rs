//! Logins: `/services/oauth2/token`, `revoke`, `userinfo`, and the identity page `/id/{org}/{user}`.
//!
//! Knowingly different: every login runs as the integration user except that of the JWT bearer flow, which names one.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
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
use super::jwt;
use super::org::Org;
use super::org::lock;
use super::schema::ObjectIndex;
use super::store::Cell;
use super::store::Store;
use crate::clock::random_id;

type Form = Vec<(String, String)>;

/// A refusal in the form of OAuth.
fn refuse(error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

fn value<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// `POST /services/oauth2/token`.
pub(super) fn token(org: &Arc<Org>, headers: &HeaderMap, body: &[u8]) -> Response {
    org.count("oauth");
    let mut form: Form = form_urlencoded::parse(body).into_owned().collect();
    if let Some((id, secret)) = basic(headers) {
        form.retain(|(key, _)| key != "client_id" && key != "client_secret");
        form.extend([("client_id".to_owned(), id), ("client_secret".to_owned(), secret)]);
    }
    match value(&form, "grant_type") {
        Some("refresh_token") => refresh(org, &form),
        Some("client_credentials") => client_credentials(org, headers, &form),
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => bearer(org, &form),
        _ => refuse("unsupported_grant_type", "grant type not supported"),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// Checks the connected app and its secret.
fn client(org: &Org, form: &Form) -> Result<(), [&'static str; 2]> {
    if value(form, "client_id") != Some(&org.client_id) {
        return Err(["invalid_client_id", "client identifier invalid"]);
    }
    if value(form, "client_secret") != Some(&org.client_secret) {
        return Err(["invalid_client", "invalid client credentials"]);
    }
    Ok(())
}

fn refresh(org: &Arc<Org>, form: &Form) -> Response {
    if let Err([error, description]) = client(org, form) {
        return refuse(error, description);
    }
    let token = value(form, "refresh_token").unwrap_or_default();
    let mut logins = lock(&org.logins);
    let Some(user) = logins.refresh.get(token).copied() else {
        return refuse("invalid_grant", "expired access/refresh token");
    };
    let rotated = org.options.rotate_refresh_tokens.then(|| format!("5Aep861.{}", random_id().replace('-', "")));
    if let Some(new) = &rotated {
        logins.refresh.remove(token);
        logins.refresh.insert(new.clone(), user);
    }
    drop(logins);
    grant(org, user, rotated)
}

fn client_credentials(org: &Arc<Org>, headers: &HeaderMap, form: &Form) -> Response {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.starts_with("login.salesforce.com") || host.starts_with("test.salesforce.com") {
        return refuse("invalid_grant", "request not supported on this domain");
    }
    match client(org, form) {
        Ok(()) => grant(org, 0, None),
        Err([error, description]) => refuse(error, description),
    }
}

fn bearer(org: &Arc<Org>, form: &Form) -> Response {
    let audiences = ["https://login.salesforce.com", "https://test.salesforce.com", org.url.as_str()];
    let assertion = value(form, "assertion").unwrap_or_default();
    let now = org.clock.now().timestamp();
    let checked = jwt::check(assertion, org.jwt_public_key.get(), &org.client_id, &audiences, now);
    let username = match checked {
        Ok(username) => username,
        Err("client identifier invalid") => return refuse("invalid_client_id", "client identifier invalid"),
        Err(description) => return refuse("invalid_grant", description),
    };
    let store = org.snapshot();
    match user_named(&store, &username) {
        Some(row) if store.schema.find("User").is_some_and(|user| store.flag(user, row, "IsActive")) => {
            grant(org, row, None)
        }
        Some(_) => refuse("inactive_user", "user is inactive"),
        None => refuse("invalid_grant", "user hasn't approved this consumer"),
    }
}

fn user_named(store: &Store, username: &str) -> Option<u32> {
    let user = store.schema.find("User")?;
    let field = store.schema.objects[user].find("Username")?;
    (0..store.table(user).rows() as u32)
        .find(|row| matches!(store.cell(user, *row, field), Cell::Text(text) if text.eq_ignore_ascii_case(username)))
}

fn grant(org: &Arc<Org>, user: u32, refresh_token: Option<String>) -> Response {
    let token = org.open_session(user);
    let identity = identity_url(org, user);
    let issued = org.clock.now().timestamp_millis().to_string();
    let mut body = json!({
        "access_token": token,
        "signature": signature(&org.client_secret, &format!("{identity}{issued}")),
        "scope": "id api refresh_token",
        "instance_url": org.url,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued,
        "api_instance_url": "https://api.salesforce.com",
    });
    if let Some(token) = refresh_token {
        body["refresh_token"] = json!(token);
    }
    axum::Json(body).into_response()
}

fn identity_url(org: &Org, user: u32) -> String {
    format!("{}/id/{}/{}", org.url, org.id, Id::new(*b"005", u64::from(user)))
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

/// `POST /services/oauth2/revoke`: an access token, or a refresh token.
pub(super) fn revoke(org: &Org, body: &[u8]) -> Response {
    org.count("oauth");
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let token = value(&form, "token").unwrap_or_default();
    let mut logins = lock(&org.logins);
    let session = logins.sessions.remove(token).is_some();
    if logins.refresh.remove(token).is_some() || session {
        return StatusCode::OK.into_response();
    }
    refuse("unsupported_token_type", "this token type is not supported")
}

/// The token of a request: `Authorization: Bearer …` or `OAuth …`.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("OAuth ")).map(str::trim)
}

/// `GET /services/oauth2/userinfo`.
pub(super) fn user_info(org: &Org, headers: &HeaderMap) -> Response {
    org.count("oauth");
    let Ok(session) = org.session(bearer_token(headers).unwrap_or_default()) else {
        return (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response();
    };
    let store = org.snapshot();
    let Some(user) = store.schema.find("User") else { return ApiError::not_found().into_response() };
    let text = |field: &str| text(&store, user, session.user, field);
    axum::Json(json!({
        "sub": identity_url(org, session.user),
        "user_id": Id::new(*b"005", u64::from(session.user)).as_str(),
        "organization_id": org.id.as_str(),
        "preferred_username": text("Username"),
        "nickname": text("CommunityNickname"),
        "name": text("Name"),
        "given_name": text("FirstName"),
        "family_name": text("LastName"),
        "email": text("Email"),
        "email_verified": true,
        "zoneinfo": text("TimeZoneSidKey"),
        "locale": text("LocaleSidKey"),
        "language": text("LanguageLocaleKey"),
        "active": store.flag(user, session.user, "IsActive"),
        "user_type": text("UserType").to_uppercase(),
        "urls": urls(org),
    }))
    .into_response()
}

/// `GET /id/{org}/{user}`; the token may stand in the query.
pub(super) fn identity(org: &Org, headers: &HeaderMap, ids: (&str, &str), query: &Form) -> Response {
    org.count("oauth");
    let token = bearer_token(headers).or_else(|| value(query, "oauth_token"));
    if org.session(token.unwrap_or_default()).is_err() {
        return (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response();
    }
    let store = org.snapshot();
    let found = store.schema.find("User").and_then(|user| Some((user, store.row(user, &Id::parse(ids.1)?)?)));
    let Some((user, row)) = found.filter(|_| Id::parse(ids.0) == Some(org.id)) else {
        return (StatusCode::NOT_FOUND, "Bad_Id").into_response();
    };
    let text = |field: &str| text(&store, user, row, field);
    axum::Json(json!({
        "id": identity_url(org, row),
        "asserted_user": true,
        "user_id": Id::new(*b"005", u64::from(row)).as_str(),
        "organization_id": org.id.as_str(),
        "username": text("Username"),
        "nick_name": text("CommunityNickname"),
        "display_name": text("Name"),
        "email": text("Email"),
        "email_verified": true,
        "first_name": text("FirstName"),
        "last_name": text("LastName"),
        "timezone": text("TimeZoneSidKey"),
        "active": store.flag(user, row, "IsActive"),
        "user_type": text("UserType").to_uppercase(),
        "language": text("LanguageLocaleKey"),
        "locale": text("LocaleSidKey"),
        "urls": urls(org),
    }))
    .into_response()
}

fn urls(org: &Org) -> serde_json::Value {
    let at = &org.url;
    json!({
        "rest": format!("{at}/services/data/v{{version}}/"),
        "sobjects": format!("{at}/services/data/v{{version}}/sobjects/"),
        "query": format!("{at}/services/data/v{{version}}/query/"),
    })
}

fn text(store: &Store, user: ObjectIndex, row: u32, field: &str) -> String {
    let Some(field) = store.schema.objects[user].find(field) else { return String::new() };
    match store.cell(user, row, field) {
        Cell::Text(text) => text.to_owned(),
        Cell::Name(first, last) => super::soql::joined(first, last),
        _ => String::new(),
    }
}
