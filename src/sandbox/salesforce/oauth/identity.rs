//! Who a token speaks for: `/services/oauth2/userinfo` and the identity page `/id/{org}/{user}`.

use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::Form;
use super::bearer_token;
use super::identity_url;
use super::value;
use crate::sandbox::connection::Scheme;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::rest::newest_version;
use crate::sandbox::salesforce::sessions::is_active;
use crate::sandbox::salesforce::sessions::user_text;

/// `GET /services/oauth2/userinfo`.
pub(super) fn user_info(org: &Org, headers: &HeaderMap, scheme: Scheme, query: &Form) -> Response {
    let Some(user) = caller(org, headers, query, "access_token") else { return bad_token() };
    let store = org.snapshot();
    let text = |field: &str| user_text(&store, user, field);
    axum::Json(json!({
        "sub": identity_url(org, scheme, user),
        "user_id": Id::new(*b"005", u64::from(user)).as_str(),
        "organization_id": org.id.as_str(),
        "preferred_username": text("Username"),
        "nickname": text("CommunityNickname"),
        "name": text("Name"),
        "given_name": text("FirstName"),
        "family_name": text("LastName"),
        "email": text("Email"),
        "email_verified": true,
        "zoneinfo": text("TimeZoneSidKey"),
        "photos": photos(org, scheme),
        "profile": format!("{}/{}", org.url_by(scheme), Id::new(*b"005", u64::from(user))),
        "picture": photos(org, scheme)["picture"],
        "address": {},
        "locale": text("LocaleSidKey"),
        "language": text("LanguageLocaleKey"),
        "active": is_active(&store, user),
        "user_type": text("UserType").to_uppercase(),
        "is_app_installed": true,
        "urls": urls(org, scheme, "{version}"),
    }))
    .into_response()
}

/// `GET /id/{org}/{user}`; the token may stand in the query, and `version` fills the addresses in.
pub(in super::super) fn identity(
    org: &Org,
    headers: &HeaderMap,
    scheme: Scheme,
    ids: (&str, &str),
    query: &Form,
) -> Response {
    org.count("oauth");
    if caller(org, headers, query, "oauth_token").is_none() {
        return bad_token();
    }
    let store = org.snapshot();
    let found = store.schema.find("User").and_then(|user| store.row(user, &Id::parse(ids.1)?));
    let Some(row) = found.filter(|_| Id::parse(ids.0) == Some(org.id)) else {
        return (StatusCode::NOT_FOUND, "Bad_Id").into_response();
    };
    let newest = newest_version();
    let version = match value(query, "version") {
        Some("latest") => newest.as_str(),
        Some(version) => version,
        None => "{version}",
    };
    let text = |field: &str| user_text(&store, row, field);
    axum::Json(json!({
        "id": identity_url(org, scheme, row),
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
        "photos": photos(org, scheme),
        "addr_street": null,
        "addr_city": null,
        "addr_state": null,
        "addr_country": null,
        "addr_zip": null,
        "mobile_phone": null,
        "mobile_phone_verified": false,
        "is_lightning_login_user": false,
        "status": { "created_date": null, "body": null },
        "urls": urls(org, scheme, version),
        "active": is_active(&store, row),
        "user_type": text("UserType").to_uppercase(),
        "language": text("LanguageLocaleKey"),
        "locale": text("LocaleSidKey"),
        "is_app_installed": true,
    }))
    .into_response()
}

/// The user of the token in the headers or in a parameter.
fn caller(org: &Org, headers: &HeaderMap, query: &Form, parameter: &str) -> Option<u32> {
    let token = bearer_token(headers).or_else(|| value(query, parameter))?;
    org.session(token).ok().map(|session| session.user)
}

fn bad_token() -> Response {
    (StatusCode::FORBIDDEN, "Bad_OAuth_Token").into_response()
}

fn photos(org: &Org, scheme: Scheme) -> Value {
    let at = org.url_by(scheme);
    json!({ "picture": format!("{at}/profilephoto/005/F"), "thumbnail": format!("{at}/profilephoto/005/T") })
}

fn urls(org: &Org, scheme: Scheme, version: &str) -> Value {
    let at = org.url_by(scheme);
    let id = org.id.as_str();
    let data = format!("{at}/services/data/v{version}");
    json!({
        "enterprise": format!("{at}/services/Soap/c/{version}/{id}"),
        "partner": format!("{at}/services/Soap/u/{version}/{id}"),
        "metadata": format!("{at}/services/Soap/m/{version}/{id}"),
        "rest": format!("{data}/"),
        "sobjects": format!("{data}/sobjects/"),
        "query": format!("{data}/query/"),
        "search": format!("{data}/search/"),
        "recent": format!("{data}/recent/"),
        "tooling_rest": format!("{data}/tooling/"),
        "tooling_soap": format!("{at}/services/Soap/T/{version}/{id}"),
        "custom_domain": at,
    })
}
