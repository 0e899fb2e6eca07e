//! The web-server flow, clicked through as a person does: every form is sent with the fields that were served.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;
use sha2::Digest;
use sha2::Sha256;
use url::Url;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

const CALLBACK: &str = "http://localhost:1717/OauthRedirect";
const VERIFIER: &str = "a-verifier-of-an-app-that-is-at-least-43-characters-long";

/// A browser: it keeps one cookie and follows no redirect by itself.
struct Browser<'c> {
    client: &'c Client,
    http: reqwest::Client,
    cookie: Option<String>,
}

/// The only form of a page.
#[derive(Debug)]
struct Form {
    action: String,
    /// Inputs with their values as served.
    fields: Vec<(String, String)>,
    /// Buttons, by name and value.
    buttons: Vec<(String, String)>,
}

impl Form {
    fn of(page: &Reply) -> Self {
        assert_eq!(page.header("content-type"), "text/html; charset=UTF-8");
        assert_eq!((page.header("x-frame-options"), page.header("cache-control")), ("DENY", "no-cache, no-store"));
        let tags: Vec<&str> = page.text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
        let of =
            |kind: &str| tags.iter().copied().filter(|tag| tag.starts_with(&format!("{kind} "))).collect::<Vec<_>>();
        let [form] = of("form").try_into().unwrap_or_else(|all| panic!("{all:?}: {}", page.text));
        assert_eq!(attribute(form, "method"), "post");
        let pair = |tag: &&str| (attribute(tag, "name"), attribute(tag, "value"));
        Self {
            action: attribute(form, "action"),
            fields: of("input").iter().map(pair).collect(),
            buttons: of("button").iter().map(pair).collect(),
        }
    }

    fn fill(&mut self, name: &str, value: &str) {
        let field = self.fields.iter_mut().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}"));
        value.clone_into(&mut field.1);
    }
}

/// An attribute of a tag; empty if it has none.
fn attribute(tag: &str, name: &str) -> String {
    let Some((_, rest)) = tag.split_once(&format!(" {name}=\"")) else { return String::new() };
    let raw = rest.split('"').next().unwrap();
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(raw.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The parameters with which an app is sent back to.
fn returned(reply: &Reply) -> (String, Vec<(String, String)>) {
    assert_eq!(reply.status, 302, "{}", reply.text);
    let mut url = Url::parse(reply.header("location")).unwrap();
    let parameters = url.query_pairs().into_owned().collect();
    url.set_query(None);
    (url.to_string(), parameters)
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

impl<'c> Browser<'c> {
    fn new(client: &'c Client) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { client, http, cookie: None }
    }

    async fn go(&mut self, request: reqwest::RequestBuilder) -> Reply {
        let request = match &self.cookie {
            Some(cookie) => request.header("cookie", format!("other=1; {cookie}")),
            None => request,
        };
        let page = reply(request).await;
        if let Some((cookie, rest)) = page.header("set-cookie").split_once(';') {
            assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax");
            self.cookie = Some(cookie.to_owned());
        }
        page
    }

    /// Opens the app's link; `more` replaces parameters of the same name.
    async fn open(&mut self, more: &[(&str, &str)]) -> Reply {
        let id = self.client.org.client_id().to_owned();
        let mut query = pairs(&[
            ("response_type", "code"),
            ("client_id", &id),
            ("redirect_uri", CALLBACK),
            ("state", "a state & more"),
            ("code_challenge", &challenge()),
            ("code_challenge_method", "S256"),
        ]);
        query.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
        query.extend(pairs(more).into_iter().filter(|(_, value)| !value.is_empty()));
        let url = format!("{}/services/oauth2/authorize", self.client.org.url());
        self.go(self.http.get(url).query(&query)).await
    }

    /// Sends a form, by one of its buttons.
    async fn send(&mut self, form: &Form, button: &str) -> Reply {
        let mut fields = form.fields.clone();
        let pressed = form.buttons.iter().find(|(_, value)| value == button);
        fields.push(pressed.unwrap_or_else(|| panic!("no {button}: {form:?}")).clone());
        let url = format!("{}{}", self.client.org.url(), form.action);
        self.go(self.http.post(url).form(&fields)).await
    }

    /// Logs in on the page that is shown.
    async fn log_in(&mut self, page: &Reply, password: &str) -> Reply {
        let mut form = Form::of(page);
        form.fill("username", self.client.org.username());
        form.fill("pw", password);
        self.send(&form, "Log In").await
    }

    /// From the app's link to its code.
    async fn code(&mut self, more: &[(&str, &str)]) -> String {
        let mut page = self.open(more).await;
        if page.text.contains("name=\"pw\"") {
            page = self.log_in(&page, self.client.org.password()).await;
        }
        if page.status == 200 {
            page = self.send(&Form::of(&page), "Allow").await;
        }
        let (_, parameters) = returned(&page);
        parameters.into_iter().find(|(name, _)| name == "code").unwrap().1
    }
}

/// Exchanges a code; `more` replaces parameters of the same name.
async fn redeem(client: &Client, code: &str, more: &[(&str, &str)]) -> Reply {
    let usual =
        [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    let mut form: Vec<_> = usual.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| name != other)).collect();
    form.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    client.grant(&form).await
}

fn error_of(reply: &Reply) -> (Value, Value) {
    assert_eq!(reply.status, 400, "{}", reply.text);
    (reply.json()["error"].clone(), reply.json()["error_description"].clone())
}

#[tokio::test]
async fn a_person_clicks_through_to_tokens() {
    let client = start(options()).await;
    let mut browser = Browser::new(&client);
    let page = browser.open(&[("login_hint", "\"><script>alert(1)</script>")]).await;
    assert!(!page.text.contains("<script>"), "{}", page.text);
    assert!(Form::of(&page).fields.contains(&("username".to_owned(), "\"><script>alert(1)</script>".to_owned())));

    let wrong = browser.log_in(&page, "wrong").await;
    assert_eq!(wrong.status, 200);
    assert!(wrong.text.contains("Please check your username and password."), "{}", wrong.text);
    assert!(browser.cookie.is_none());
    let consent = browser.log_in(&wrong, client.org.password()).await;
    assert!(consent.text.contains("Allow Access?") && consent.text.contains("Manage user data via APIs"));
    assert!(consent.text.contains(client.org.username()), "{}", consent.text);
    let (to, parameters) = returned(&browser.send(&Form::of(&consent), "Allow").await);
    assert_eq!(to, CALLBACK);
    let [(name, code), state] = parameters.try_into().unwrap();
    assert_eq!((name.as_str(), state), ("code", ("state".to_owned(), "a state & more".to_owned())));

    let reply = redeem(&client, &code, &[]).await.json();
    for name in ["access_token", "refresh_token", "instance_url", "id", "signature", "issued_at"] {
        assert!(reply[name].is_string(), "{name}: {reply}");
    }
    assert_eq!((&reply["scope"], &reply["token_type"]), (&json!("api id refresh_token"), &json!("Bearer")));
    assert_eq!(client.status_with(reply["access_token"].as_str().unwrap()).await, 200);
    let refresh = reply["refresh_token"].as_str().unwrap();
    let again = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await.json();
    assert_eq!(client.status_with(again["access_token"].as_str().unwrap()).await, 200);

    // A page that was sent is used up.
    let stale = browser.send(&Form::of(&consent), "Allow").await;
    assert_eq!(stale.status, 400);
}

#[tokio::test]
async fn whoever_was_here_before_is_not_asked_again() {
    let client = start(options()).await;
    let mut browser = Browser::new(&client);
    browser.code(&[]).await;
    let (_, parameters) = returned(&browser.open(&[]).await);
    assert_eq!(parameters[0].0, "code", "logged in and allowed");
    let consent = browser.open(&[("prompt", "consent")]).await;
    assert!(consent.text.contains("Allow Access?"));
    let login = browser.open(&[("prompt", "login")]).await;
    assert!(login.text.contains("name=\"pw\""));
    let wider = browser.open(&[("scope", "full refresh_token")]).await;
    assert!(wider.text.contains("Full access"), "other scopes are asked for: {}", wider.text);
    let order = json!({ "username": client.org.username() });
    client.send(Method::POST, "/__sandbox/sessions/revoke", order).await;
    assert!(browser.open(&[]).await.text.contains("name=\"pw\""), "the login of the browser ended too");
}

#[tokio::test]
async fn a_no_sends_back_an_error() {
    let client = start(options()).await;
    let mut browser = Browser::new(&client);
    let page = browser.open(&[]).await;
    let consent = browser.log_in(&page, client.org.password()).await;
    let (to, parameters) = returned(&browser.send(&Form::of(&consent), "Deny").await);
    assert_eq!(to, CALLBACK);
    let denied = [
        ("error", "access_denied"),
        ("error_description", "end-user denied authorization"),
        ("state", "a state & more"),
    ];
    assert_eq!(parameters, pairs(&denied));
    // Consent belongs to whoever is logged in: without the cookie the page is not taken.
    let mut other = Browser::new(&client);
    let page = browser.open(&[]).await;
    let login = other.send(&Form::of(&page), "Allow").await;
    assert!(login.text.contains("name=\"pw\""), "{}", login.text);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let client = start(OrgOptions { callback_urls: vec!["https://app.example/cb?x=1".to_owned()], ..options() }).await;
    let mut browser = Browser::new(&client);
    for uri in ["https://evil.example/", "https://app.example/cb", "https://app.example/cb?x=1&y=2", CALLBACK, ""] {
        let page = browser.open(&[("redirect_uri", uri)]).await;
        assert_eq!(page.status, 400, "{uri}");
        assert!(page.text.contains("error=redirect_uri_mismatch"), "{}", page.text);
    }
    let page = browser.open(&[("client_id", "nobody")]).await;
    assert!(page.status == 400 && page.text.contains("error=invalid_client_id"), "{}", page.text);
    let back = browser.open(&[("redirect_uri", "https://app.example/cb?x=1"), ("scope", "everything")]).await;
    let (to, parameters) = returned(&back);
    assert_eq!(
        (to.as_str(), &parameters[0], &parameters[1]),
        ("https://app.example/cb", &pairs(&[("x", "1")])[0], &pairs(&[("error", "invalid_scope")])[0])
    );
}

#[tokio::test]
async fn wrong_requests_are_told_to_the_app() {
    let client = start(OrgOptions { require_pkce: true, ..options() }).await;
    let mut browser = Browser::new(&client);
    for (parameter, value, error, description) in [
        ("response_type", "token", "unsupported_response_type", "response type is not supported"),
        ("scope", "api magic", "invalid_scope", "the requested scope is not allowed"),
        ("code_challenge", "", "invalid_request", "missing required code challenge"),
        ("code_challenge", "short", "invalid_request", "invalid code challenge"),
        ("code_challenge_method", "plain", "invalid_request", "invalid code challenge"),
    ] {
        let (_, parameters) = returned(&browser.open(&[(parameter, value)]).await);
        let wanted = [("error", error), ("error_description", description), ("state", "a state & more")];
        assert_eq!(parameters, pairs(&wanted), "{parameter}={value}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_for_a_while_and_for_its_app() {
    let client = start(options()).await;
    let mut browser = Browser::new(&client);
    let expired = (json!("invalid_grant"), json!("expired authorization code"));

    let code = browser.code(&[]).await;
    assert_eq!(redeem(&client, &code, &[]).await.status, 200);
    assert_eq!(error_of(&redeem(&client, &code, &[]).await), expired, "single use");
    let unknown = (json!("invalid_grant"), json!("invalid authorization code"));
    assert_eq!(error_of(&redeem(&client, "x", &[]).await), unknown);

    let code = browser.code(&[]).await;
    let mine = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    let public: Vec<_> = mine.into_iter().chain([("code_verifier", VERIFIER), ("client_id", "PlatformCLI")]).collect();
    let other = client.post_form("/services/oauth2/token", &public);
    assert_eq!(error_of(&other.await), unknown, "another app's code");
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 900 })).await;
    assert_eq!(error_of(&redeem(&client, &code, &[]).await), expired);

    for (more, error) in [
        (
            [("redirect_uri", "https://app.example/cb")],
            ("redirect_uri_mismatch", "redirect_uri must match configuration"),
        ),
        ([("code_verifier", "")], ("invalid_grant", "invalid code verifier")),
        ([("code_verifier", "another")], ("invalid_grant", "invalid code verifier")),
    ] {
        let code = browser.code(&[]).await;
        assert_eq!(error_of(&redeem(&client, &code, &more).await), (json!(error.0), json!(error.1)), "{more:?}");
        assert_eq!(error_of(&redeem(&client, &code, &[]).await), expired, "one attempt");
    }
    // Without a challenge there is nothing to verify, and without `refresh_token` among the scopes no such token.
    let code = browser.code(&[("code_challenge", ""), ("code_challenge_method", ""), ("scope", "api")]).await;
    let reply = redeem(&client, &code, &[("code_verifier", "")]).await.json();
    assert_eq!((&reply["scope"], reply.get("refresh_token")), (&json!("api"), None));
}

#[tokio::test]
async fn a_rotated_refresh_token_is_good_once() {
    let client = start(OrgOptions { rotate_refresh_tokens: true, ..options() }).await;
    let code = Browser::new(&client).code(&[]).await;
    let mut token = redeem(&client, &code, &[]).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let first = token.clone();
    let mut session = String::new();
    for _ in 0..3 {
        let reply = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await.json();
        let new = reply["refresh_token"].as_str().unwrap().to_owned();
        assert_ne!(new, token);
        let dead = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await;
        assert_eq!(error_of(&dead), (json!("invalid_grant"), json!("expired access/refresh token")));
        token = new;
        reply["access_token"].as_str().unwrap().clone_into(&mut session);
    }
    assert_eq!(client.status_with(&session).await, 200);
    assert_eq!(client.post_form("/services/oauth2/revoke", &[("token", &first)]).await.status, 400);
    assert_eq!(client.post_form("/services/oauth2/revoke", &[("token", &token)]).await.status, 200);
    assert_eq!(client.status_with(&session).await, 401, "all tokens of the grant end");
}
