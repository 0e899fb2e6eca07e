//! The web-server flow: `/services/oauth2/authorize`, its login and consent pages, and the code that comes of it.
//!
//! ```text
//!  app ─▶ authorize ─▶ login page ─▶ consent page ─▶ redirect_uri?code=…&state=… ─▶ token endpoint
//!             │  (cookie: no login)   (allowed before: no consent)
//!             └─▶ wrong app or redirect_uri: an error page; everything else: redirect_uri?error=…&state=…
//! ```
//!
//! # Knowingly different
//! * The pages' own addresses (`/services/oauth2/authorize/login` and `…/approve`) are not those of the service.
//! * `prompt` knows `login` and `consent`; `display` and `immediate` change nothing.

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::COOKIE;
use axum::http::header::LOCATION;
use axum::http::header::SET_COOKIE;
use axum::response::IntoResponse;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use sha2::Digest;
use sha2::Sha256;
use url::Url;
use url::form_urlencoded;

use super::Form;
use super::Granted;
use super::Refusal;
use super::apps::Scopes;
use super::pages;
use super::value;
use crate::clock::random_id;
use crate::sandbox::connection::Scheme;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::sessions::Grant;
use crate::sandbox::salesforce::sessions::user_text;

/// How long a code is good, and how long a page waits for its person.
const SHORT: TimeDelta = TimeDelta::minutes(15);
/// What the login page says of a name or a password that is wrong, of users who are inactive or frozen too.
const WRONG: &str =
    "Please check your username and password. If you still can't log in, contact your Salesforce administrator.";

/// What an app asks for.
#[derive(Debug, Clone)]
struct Asked {
    app: usize,
    redirect: Url,
    scopes: Scopes,
    state: Option<String>,
    challenge: Option<String>,
    /// The person is asked although they allowed it before.
    ask_again: bool,
}

/// A page that waits for a person.
#[derive(Debug)]
pub(in super::super) struct Page {
    asked: Asked,
    until: DateTime<Utc>,
}

/// An authorization code.
#[derive(Debug)]
pub(in super::super) struct Code {
    asked: Asked,
    user: u32,
    until: DateTime<Utc>,
    used: bool,
}

impl Asked {
    fn read(org: &Org, query: &Form) -> Result<Self, Box<Response>> {
        let page = |refusal: Refusal| Box::new(pages::error(refusal));
        let id = value(query, "client_id").unwrap_or_default();
        let app = org.apps.iter().position(|app| app.client_id == id);
        let app = app.ok_or_else(|| page(("invalid_client_id", "client identifier invalid")))?;
        let redirect = value(query, "redirect_uri").unwrap_or_default();
        let known = org.apps[app].callbacks.iter().any(|known| known == redirect);
        let redirect = Url::parse(redirect).ok().filter(|_| known);
        let redirect =
            redirect.ok_or_else(|| page(("redirect_uri_mismatch", "redirect_uri must match configuration")))?;

        let state = value(query, "state").map(str::to_owned);
        let back = |refusal: Refusal| Box::new(send_back(&redirect, state.as_deref(), Err(refusal)));
        if value(query, "response_type") != Some("code") {
            return Err(back(("unsupported_response_type", "response type is not supported")));
        }
        let scopes = Scopes::read(value(query, "scope").unwrap_or_default());
        let scopes = scopes.ok_or_else(|| back(("invalid_scope", "the requested scope is not allowed")))?;
        let challenge = value(query, "code_challenge").map(|text| text.trim_end_matches('=').to_owned());
        let method = value(query, "code_challenge_method");
        if challenge.as_ref().is_some_and(|text| text.len() != 43) || method.is_some_and(|method| method != "S256") {
            return Err(back(("invalid_request", "invalid code challenge")));
        }
        if challenge.is_none() && org.options.require_pkce {
            return Err(back(("invalid_request", "missing required code challenge")));
        }
        let ask_again = prompts(query, "consent");
        Ok(Self { app, redirect, scopes, state, challenge, ask_again })
    }

    fn back(&self, outcome: Result<&str, Refusal>) -> Response {
        send_back(&self.redirect, self.state.as_deref(), outcome)
    }
}

fn prompts(query: &Form, what: &str) -> bool {
    value(query, "prompt").is_some_and(|prompt| prompt.split_ascii_whitespace().any(|word| word == what))
}

/// Sends the browser back to the app with a code or with an error.
fn send_back(to: &Url, state: Option<&str>, outcome: Result<&str, Refusal>) -> Response {
    let mut to = to.clone();
    {
        let mut query = to.query_pairs_mut();
        match outcome {
            Ok(code) => query.append_pair("code", code),
            Err((error, description)) => {
                query.append_pair("error", error).append_pair("error_description", description)
            }
        };
        if let Some(state) = state {
            query.append_pair("state", state);
        }
    }
    (StatusCode::FOUND, [(LOCATION, to.as_str())]).into_response()
}

/// `GET` or `POST /services/oauth2/authorize`.
pub(super) fn authorize(org: &Org, headers: &HeaderMap, mut query: Form, body: &[u8]) -> Response {
    query.extend(form_urlencoded::parse(body).into_owned());
    let asked = match Asked::read(org, &query) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    match browser(org, headers).filter(|_| !prompts(&query, "login")) {
        Some(user) => ask(org, asked, user),
        None => {
            let id = wait(org, asked);
            pages::login(&id, value(&query, "login_hint").unwrap_or_default(), None)
        }
    }
}

/// Keeps what is asked until its page comes back.
fn wait(org: &Org, asked: Asked) -> String {
    let now = org.clock.now();
    let id = random_id();
    let mut logins = lock(&org.logins);
    logins.pages.retain(|_, page| page.until > now);
    logins.pages.insert(id.clone(), Page { asked, until: now + SHORT });
    id
}

/// What the page with this number was about; it is used up.
fn came_back(org: &Org, form: &Form) -> Result<Asked, Box<Response>> {
    let now = org.clock.now();
    let page = lock(&org.logins).pages.remove(value(form, "request").unwrap_or_default());
    let page = page.filter(|page| page.until > now);
    let lost = || Box::new(pages::error(("invalid_request", "this page is too old, or was sent already")));
    page.map(|page| page.asked).ok_or_else(lost)
}

/// Asks the person, unless they have allowed the same before.
fn ask(org: &Org, asked: Asked, user: u32) -> Response {
    let known = lock(&org.logins).allowed.contains(&(user, asked.app, asked.scopes.clone()));
    if known && !asked.ask_again {
        return allow(org, asked, user);
    }
    let username = user_text(&org.snapshot(), user, "Username");
    let (app, wants) = (org.apps[asked.app].name, asked.scopes.descriptions());
    let id = wait(org, asked);
    pages::consent(&id, app, &username, &wants)
}

/// `POST /services/oauth2/authorize/login`: the login page comes back.
pub(super) fn login(org: &Org, scheme: Scheme, body: &[u8]) -> Response {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let asked = match came_back(org, &form) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let username = value(&form, "username").unwrap_or_default();
    let Some(user) = org.log_in(username, value(&form, "pw").unwrap_or_default()) else {
        return pages::login(&wait(org, asked), username, Some(WRONG));
    };
    let cookie = random_id();
    lock(&org.logins).browsers.insert(cookie.clone(), (user, org.clock.now() + org.options.session_lifetime));
    let mut response = ask(org, asked, user);
    let secure = if scheme == Scheme::Https { "; Secure" } else { "" };
    let cookie = format!("sid={cookie}; Path=/; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// `POST /services/oauth2/authorize/approve`: the consent page comes back.
pub(super) fn approve(org: &Org, headers: &HeaderMap, body: &[u8]) -> Response {
    let form: Form = form_urlencoded::parse(body).into_owned().collect();
    let asked = match came_back(org, &form) {
        Ok(asked) => asked,
        Err(refused) => return *refused,
    };
    let Some(user) = browser(org, headers) else { return pages::login(&wait(org, asked), "", None) };
    match value(&form, "decision") {
        Some("Allow") => {
            lock(&org.logins).allowed.insert((user, asked.app, asked.scopes.clone()));
            allow(org, asked, user)
        }
        _ => asked.back(Err(("access_denied", "end-user denied authorization"))),
    }
}

/// The user who is logged in to the browser.
fn browser(org: &Org, headers: &HeaderMap) -> Option<u32> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ids = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|one| one.trim().strip_prefix("sid="));
    let (user, ends) = ids.find_map(|id| lock(&org.logins).browsers.get(id).copied())?;
    (ends > org.clock.now() && org.may_log_in(&org.snapshot(), user)).then_some(user)
}

fn allow(org: &Org, asked: Asked, user: u32) -> Response {
    let now = org.clock.now();
    let code = format!("aPrx{}{}", random_id(), random_id()).replace('-', "");
    let response = asked.back(Ok(&code));
    let mut logins = lock(&org.logins);
    logins.codes.retain(|_, code| code.until + SHORT > now);
    logins.codes.insert(code, Code { asked, user, until: now + SHORT, used: false });
    response
}

/// `grant_type=authorization_code`.
pub(super) fn redeem(org: &Org, form: &Form) -> Granted {
    let app = super::app(org, form)?;
    let now = org.clock.now();
    let mut logins = lock(&org.logins);
    let code = logins.codes.get_mut(value(form, "code").unwrap_or_default());
    let code = code.filter(|code| code.asked.app == app).ok_or(("invalid_grant", "invalid authorization code"))?;
    // Whatever comes of it, a code is good for one attempt.
    if std::mem::replace(&mut code.used, true) || code.until <= now {
        return Err(("invalid_grant", "expired authorization code"));
    }
    let (asked, user) = (code.asked.clone(), code.user);
    if value(form, "redirect_uri").and_then(|given| Url::parse(given).ok()) != Some(asked.redirect) {
        return Err(("redirect_uri_mismatch", "redirect_uri must match configuration"));
    }
    let verified = value(form, "code_verifier").map(|text| BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text)));
    if verified != asked.challenge {
        return Err(("invalid_grant", "invalid code verifier"));
    }
    let grant = Grant { user, app: Some(app), scopes: asked.scopes, family: logins.family() };
    let refresh_token = grant.scopes.offline().then(|| logins.keep(grant.clone()));
    drop(logins);
    if !org.may_log_in(&org.snapshot(), user) {
        return Err(("inactive_user", "user is inactive"));
    }
    Ok((grant, refresh_token))
}
