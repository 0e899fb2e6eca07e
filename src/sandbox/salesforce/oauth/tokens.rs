//! `/services/oauth2/revoke` and `/services/oauth2/introspect`.

use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::Form;
use super::identity_url;
use super::refuse;
use super::value;
use crate::sandbox::connection::Scheme;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::sessions::Grant;
use crate::sandbox::salesforce::sessions::user_text;

/// An access token ends alone, a refresh token with its access tokens. The token stands in the body or in the query.
pub(super) fn revoke(org: &Org, query: &Form, headers: &HeaderMap, body: &[u8]) -> Response {
    let form = super::form(headers, body);
    let token = value(&form, "token").or_else(|| value(query, "token")).unwrap_or_default();
    if lock(&org.logins).revoke(token) {
        return StatusCode::OK.into_response();
    }
    refuse(("unsupported_token_type", "this token type is not supported"))
}

/// What a token is worth, for the app that it was given to.
pub(super) fn introspect(org: &Org, headers: &HeaderMap, scheme: Scheme, body: &[u8]) -> Response {
    let form = super::form(headers, body);
    let app = match super::app(org, &form) {
        Ok(app) => app,
        Err(refusal) => return refuse(refusal),
    };
    let token = value(&form, "token").unwrap_or_default();
    let told = match value(&form, "token_type_hint") {
        None | Some("access_token" | "refresh_token") => tell(org, scheme, token, app),
        Some(_) => return refuse(("unsupported_token_type", "this token type is not supported")),
    };
    axum::Json(told.unwrap_or_else(|| json!({ "active": false }))).into_response()
}

fn tell(org: &Org, scheme: Scheme, token: &str, app: usize) -> Option<Value> {
    let logins = lock(&org.logins);
    let now = org.clock.now();
    let session = logins.sessions.get(token).filter(|session| session.ends > now).cloned();
    let kept = logins.refresh.get(token).cloned();
    drop(logins);
    let mine = |grant: &Grant| grant.app == Some(app);
    let about = |grant: &Grant, kind: &str| {
        let store = org.snapshot();
        json!({
            "active": true,
            "scope": grant.scopes.to_string(),
            "client_id": org.apps[app].client_id,
            "username": user_text(&store, grant.user, "Username"),
            "sub": identity_url(org, scheme, grant.user),
            "token_type": kind,
        })
    };
    if let Some(session) = session.filter(|session| mine(&session.grant)) {
        let mut told = about(&session.grant, "access_token");
        told["iat"] = json!(session.since.timestamp());
        told["nbf"] = json!(session.since.timestamp());
        told["exp"] = json!(session.ends.timestamp());
        return Some(told);
    }
    kept.filter(mine).map(|grant| about(&grant, "refresh_token"))
}
