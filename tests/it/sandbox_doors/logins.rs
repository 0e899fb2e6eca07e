//! Grants that need no browser, and what becomes of tokens.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

impl Client {
    /// A call of the token endpoint with the secret of the app.
    pub(super) async fn grant(&self, form: &[(&str, &str)]) -> Reply {
        let form: Vec<_> = [("client_secret", self.org.client_secret())].iter().chain(form).copied().collect();
        self.login(&form).await
    }

    /// `limits` with a token.
    pub(super) async fn status_with(&self, token: &str) -> u16 {
        let request = self.http.get(format!("{}{V}/limits", self.org.url())).bearer_auth(token);
        reply(request).await.status.as_u16()
    }

    pub(super) async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        reply(self.http.post(format!("{}{path}", self.org.url())).form(form)).await
    }

    /// The name of a user who can log in and is not the integration user.
    pub(super) async fn somebody(&self) -> (String, String) {
        let found = self.query("SELECT Id, Username FROM User WHERE IsActive = true LIMIT 3").await.json();
        let text = |name: &str| found["records"][2][name].as_str().unwrap().to_owned();
        (text("Id"), text("Username"))
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name}: {value}")).to_owned()
}

/// Status, error and description.
fn refused(reply: &Reply) -> (u16, String, String) {
    (reply.status.as_u16(), text(&reply.json(), "error"), text(&reply.json(), "error_description"))
}

fn refusal(error: &str, description: &str) -> (u16, String, String) {
    (400, error.to_owned(), description.to_owned())
}

#[tokio::test]
async fn an_access_token_looks_like_a_real_one() {
    let client = start(options()).await;
    let (org, rest) = client.token.split_once('!').unwrap();
    assert!(org.starts_with("00D") && org.len() == 18, "{}", client.token);
    let word = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == '.';
    assert!(!rest.is_empty() && rest.chars().all(word), "{}", client.token);
}

#[tokio::test]
async fn a_password_needs_the_security_token_behind_it() {
    let client = start(options()).await;
    let (id, name) = client.somebody().await;
    let password = client.org.password().to_owned();
    let whole = format!("{password}{}", client.org.security_token());
    let grant = ("grant_type", "password");
    let reply = client.grant(&[grant, ("username", &name.to_uppercase()), ("password", &whole)]).await.json();
    assert!(text(&reply, "id").ends_with(&id), "{reply}");
    assert!(reply.get("refresh_token").is_none());
    assert_eq!(client.status_with(&text(&reply, "access_token")).await, 200);
    let failure = refusal("invalid_grant", "authentication failure");
    for (name, word) in [(name.as_str(), password.as_str()), (&name, "x"), ("nobody@x.example", &whole), (&name, "")] {
        let reply = client.grant(&[grant, ("username", name), ("password", word)]).await;
        assert_eq!(refused(&reply), failure, "{name} {word}");
    }
}

#[tokio::test]
async fn the_app_is_checked_before_the_user() {
    let client = start(options()).await;
    let at = "/services/oauth2/token";
    let refresh = client.org.refresh_token();
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let with = |id: &'static str, secret: Option<&'static str>| {
        let mut form = grant.to_vec();
        form.push(("client_id", id));
        form.extend(secret.map(|secret| ("client_secret", secret)));
        form
    };
    let unknown = client.post_form(at, &with("3MVG9.nobody", Some("x"))).await;
    assert_eq!(refused(&unknown), refusal("invalid_client_id", "client identifier invalid"));
    let no_secret = client.login(&grant).await;
    assert_eq!(refused(&no_secret), refusal("invalid_client", "invalid client credentials"));
    // The public app exists, and the token is not its own.
    let other = client.post_form(at, &with("PlatformCLI", None)).await;
    assert_eq!(refused(&other), refusal("invalid_grant", "expired access/refresh token"));
    let public = client.post_form(at, &[("grant_type", "client_credentials"), ("client_id", "PlatformCLI")]).await;
    assert_eq!(refused(&public), refusal("invalid_client", "invalid client credentials"));
    let get = reply(client.http.get(format!("{}{at}?grant_type=refresh_token", client.org.url()))).await;
    assert_eq!(refused(&get), refusal("invalid_request", "must use HTTP POST"));
    assert_eq!(client.post_form(at, &[]).await.json()["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_refresh_token_that_does_not_rotate_is_good_again() {
    let client = start(options()).await;
    let first = client.org.refresh_token();
    for _ in 0..2 {
        let reply = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &first)]).await.json();
        assert!(reply["access_token"].is_string() && reply.get("refresh_token").is_none(), "{reply}");
    }
}

#[tokio::test]
async fn who_is_inactive_or_frozen_stays_outside() {
    let client = start(options()).await;
    let (id, name) = client.somebody().await;
    let whole = format!("{}{}", client.org.password(), client.org.security_token());
    let form = [("grant_type", "password"), ("username", name.as_str()), ("password", &whole)];
    let session = text(&client.grant(&form).await.json(), "access_token");

    let freeze = |frozen: bool| json!({ "username": name, "frozen": frozen });
    client.send(Method::POST, "/__sandbox/users/freeze", freeze(true)).await;
    assert_eq!(refused(&client.grant(&form).await), refusal("invalid_grant", "authentication failure"));
    assert_eq!(client.status_with(&session).await, 200, "a session that is open stays");
    client.send(Method::POST, "/__sandbox/users/freeze", freeze(false)).await;
    assert_eq!(client.grant(&form).await.status, 200);

    let path = format!("{V}/sobjects/User/{id}");
    assert_eq!(client.send(Method::PATCH, &path, json!({ "IsActive": false })).await.status, 204);
    assert_eq!(client.status_with(&session).await, 401);
    assert_eq!(refused(&client.grant(&form).await), refusal("invalid_grant", "authentication failure"));
}

#[tokio::test]
async fn sessions_end_by_time_by_order_and_by_revocation() {
    let client = start(options()).await;
    let refresh = client.org.refresh_token();
    let fresh = || async {
        let reply = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
        text(&reply.json(), "access_token")
    };
    let advance = |seconds: i64| client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": seconds }));

    let one = fresh().await;
    advance(7_199).await;
    assert_eq!(client.status_with(&one).await, 200, "use prolongs it");
    advance(7_199).await;
    assert_eq!(client.status_with(&one).await, 200);
    advance(7_200).await;
    assert_eq!(client.status_with(&one).await, 401);

    let (one, two) = (fresh().await, fresh().await);
    assert_eq!(client.post_form("/services/oauth2/revoke", &[("token", &one)]).await.status, 200);
    assert_eq!(
        (client.status_with(&one).await, client.status_with(&two).await),
        (401, 200),
        "an access token ends alone"
    );
    let gone = client.post_form("/services/oauth2/revoke", &[("token", &one)]).await;
    assert_eq!(refused(&gone), refusal("unsupported_token_type", "this token type is not supported"));

    let nobody = client.send(Method::POST, "/__sandbox/sessions/expire", json!({ "username": "x@y.example" })).await;
    assert_eq!(nobody.status, 404);
    let order = json!({ "username": client.org.username() });
    assert_eq!(client.send(Method::POST, "/__sandbox/sessions/expire", order).await.json(), json!({ "ended": 1 }));
    assert_eq!(client.status_with(&two).await, 401);

    let three = fresh().await;
    let at = format!("{}/services/oauth2/revoke?token={refresh}", client.org.url());
    assert_eq!(reply(client.http.get(at)).await.status, 200);
    assert_eq!(client.status_with(&three).await, 401, "with a refresh token its access tokens end");
    let dead = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(refused(&dead), refusal("invalid_grant", "expired access/refresh token"));
}

#[tokio::test]
async fn everything_can_be_revoked_at_once() {
    let client = start(options()).await;
    let ended = client.send(Method::POST, "/__sandbox/sessions/revoke", json!({})).await.json();
    assert_eq!(ended, json!({ "ended": 2 }), "a session and a refresh token");
    assert_eq!(client.status_with(&client.token).await, 401);
    let dead = client.grant(&[("grant_type", "refresh_token"), ("refresh_token", &client.org.refresh_token())]).await;
    assert_eq!(dead.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn introspection_tells_the_app_about_its_own_tokens() {
    let client = start(options()).await;
    let at = "/services/oauth2/introspect";
    let (id, secret) = (client.org.client_id().to_owned(), client.org.client_secret().to_owned());
    let app = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
    let ask = |token: &str| {
        let form: Vec<_> =
            app.into_iter().chain([("token", token)]).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let client = &client;
        async move {
            let form: Vec<_> = form.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            client.post_form(at, &form).await.json()
        }
    };
    let told = ask(&client.token).await;
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("access_token")));
    assert_eq!(
        (told["client_id"].as_str(), told["username"].as_str()),
        (Some(id.as_str()), Some(client.org.username()))
    );
    let now = client.org.clock().now().timestamp();
    assert_eq!((&told["iat"], &told["exp"]), (&json!(now), &json!(now + 7200)));
    assert_eq!(told["scope"], "api id refresh_token");
    assert_eq!(ask(&client.org.refresh_token()).await["token_type"], "refresh_token");
    assert_eq!(ask("x").await, json!({ "active": false }));
    let wrong = client.post_form(at, &[("client_id", &id), ("client_secret", "x"), ("token", &client.token)]).await;
    assert_eq!(refused(&wrong), refusal("invalid_client", "invalid client credentials"));
    let basic = client.http.post(format!("{}{at}", client.org.url())).basic_auth(&id, Some(&secret));
    assert_eq!(reply(basic.form(&[("token", &client.token)])).await.json()["active"], true);
    client.org.end_sessions();
    assert_eq!(ask(&client.token).await, json!({ "active": false }));
}

#[tokio::test]
async fn userinfo_and_identity_know_the_user() {
    let client = start(options()).await;
    let info = client.get("/services/oauth2/userinfo").await.json();
    for name in ["user_id", "organization_id", "preferred_username", "name", "email", "zoneinfo", "locale"] {
        assert!(!text(&info, name).is_empty(), "{name}");
    }
    assert_eq!(text(&info, "organization_id"), client.org.org_id());
    let path = format!("/id/{}/{}", client.org.org_id(), text(&info, "user_id"));
    let in_query = format!("{}{path}?format=json&version=latest&oauth_token={}", client.org.url(), client.token);
    let identity = reply(client.http.get(in_query)).await.json();
    assert_eq!(text(&identity, "username"), client.org.username());
    assert_eq!(text(&identity["urls"], "rest"), format!("{}/services/data/v67.0/", client.org.url()));
    assert_eq!(text(&client.get(&path).await.json()["urls"], "partner").matches("{version}").count(), 1);
    let elsewhere = client.get(&format!("/id/00D000000000000AAA/{}", text(&info, "user_id"))).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.text.as_str()), (404, "Bad_Id"));
    client.org.end_sessions();
    for path in ["/services/oauth2/userinfo", &path] {
        let refused = client.get(path).await;
        assert_eq!((refused.status.as_u16(), refused.text.as_str()), (403, "Bad_OAuth_Token"));
    }
}
