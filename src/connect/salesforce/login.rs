//! Logins, and the one session that all clones of a client share.
//!
//! # Promises
//! * One login at a time: whoever finds the session expired waits for the login under way and uses its session.
//! * A session is renewed before it can expire: after 30 minutes (orgs end them after 2 hours by default, and an
//!   answer does not say when).
//! * A rotated refresh token is handed to the [`TokenStore`] before the session is used: its predecessor is dead.
//! * A refresh token that another process has replaced, or that was authorized anew, is found before giving up.

use std::fmt;
use std::sync::Arc;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::config::connection::SalesforceAuth;
use crate::config::connection::SalesforceConnection;
use crate::config::job::SecretRef;
use crate::connect::http::Answer;
use crate::connect::http::Http;
use crate::connect::http::Method;
use crate::connect::http::Request;
use crate::connect::http::Url;
use crate::connect::http::header;
use crate::connect::http::header::HeaderMap;
use crate::connect::http::header::HeaderValue;
use crate::connect::http::is_loopback;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::telemetry::CallClass;
use crate::telemetry::Secret;

use super::bulk::PollPolicy;
use super::refusal;

/// How old a session may become before it is renewed.
const RENEW_AFTER: TimeDelta = TimeDelta::minutes(30);

/// How long the old session is used after an early renewal that failed. Each try may take the patience of a whole
/// retry policy, and all requests wait for it.
const RENEW_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(10);

/// A connection with its secrets' values.
#[derive(Debug, Clone)]
pub struct SalesforceSettings {
    /// Where logins go: the login host, the test host or the custom domain.
    pub login_url: Url,
    /// API version, such as `62.0`.
    pub api_version: String,
    /// How to log in.
    pub login: SalesforceLogin,
    /// Where a rotated refresh token is kept.
    pub store: Option<Arc<dyn TokenStore>>,
    /// Whether result pages are asked for in gzip. Worth it on every network, a waste on loopback.
    pub compress: bool,
    /// How jobs are waited for.
    pub poll: PollPolicy,
}

impl SalesforceSettings {
    /// Settings with no token store, gzip unless the org is on this machine, and the usual patience.
    pub fn new(login_url: Url, api_version: impl Into<String>, login: SalesforceLogin) -> Self {
        let compress = !is_loopback(&login_url);
        Self { login_url, api_version: api_version.into(), login, store: None, compress, poll: PollPolicy::default() }
    }

    /// The settings of a project's connection; `resolve` finds the secrets' values.
    pub fn of(
        connection: &SalesforceConnection,
        resolve: impl Fn(&SecretRef) -> Result<Secret>,
        store: Option<Arc<dyn TokenStore>>,
    ) -> Result<Self> {
        let login = match &connection.auth {
            SalesforceAuth::RefreshToken { client_id, client_secret, refresh_token } => SalesforceLogin::RefreshToken {
                client_id: client_id.clone(),
                client_secret: client_secret.as_ref().map(&resolve).transpose()?,
                refresh_token: resolve(refresh_token)?,
            },
            SalesforceAuth::ClientCredentials { client_id, client_secret } => SalesforceLogin::ClientCredentials {
                client_id: client_id.clone(),
                client_secret: resolve(client_secret)?,
            },
            SalesforceAuth::JwtBearer { client_id, username, private_key } => SalesforceLogin::JwtBearer {
                client_id: client_id.clone(),
                username: username.clone(),
                private_key: resolve(private_key)?,
            },
        };
        Ok(Self { store, ..Self::new(connection.login_url.clone(), &connection.api_version, login) })
    }
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum SalesforceLogin {
    /// `grant_type=refresh_token`.
    RefreshToken {
        /// Consumer key.
        client_id: String,
        /// Consumer secret, where the app has one.
        client_secret: Option<Secret>,
        /// The newest refresh token known.
        refresh_token: Secret,
    },
    /// `grant_type=client_credentials`; only on a custom domain.
    ClientCredentials {
        /// Consumer key.
        client_id: String,
        /// Consumer secret.
        client_secret: Secret,
    },
    /// JWT bearer, signed with RS256.
    JwtBearer {
        /// Consumer key.
        client_id: String,
        /// The user that the session is for.
        username: String,
        /// PEM of the RSA key.
        private_key: Secret,
    },
}

/// Keeps a refresh token that Salesforce has replaced.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The token that is valid from now on.
    fn rotated(&self, refresh_token: &Secret) -> Result<()>;

    /// The token that was last stored, by whichever process.
    fn newest(&self) -> Result<Option<Secret>>;
}

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// 18-character id of the org.
    pub org_id: String,
    /// 18-character id of the user.
    pub user_id: String,
}

/// A login that worked.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Secret,
    pub(super) instance: Url,
    pub(super) identity: Identity,
    /// Counts the logins of this client.
    pub(super) generation: u64,
}

/// Makes sessions, one at a time.
pub(super) struct Sessions {
    http: Http,
    login_url: Url,
    store: Option<Arc<dyn TokenStore>>,
    state: Mutex<State>,
}

struct State {
    login: SalesforceLogin,
    session: Option<Arc<Session>>,
    renew_at: DateTime<Utc>,
    logins: u64,
}

/// What the token endpoint answers with.
#[derive(Deserialize)]
struct TokenReply {
    access_token: Secret,
    instance_url: String,
    id: Option<String>,
    refresh_token: Option<Secret>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
}

impl Sessions {
    pub(super) fn open(settings: SalesforceSettings, http: Http) -> Result<Self> {
        let host = settings.login_url.host_str().unwrap_or_default();
        if settings.login_url.scheme() != "https" && !is_loopback(&settings.login_url) {
            return Err(Error::config(format!("the login address of `{host}` must begin with https://")));
        }
        if matches!(settings.login, SalesforceLogin::ClientCredentials { .. })
            && matches!(host, "login.salesforce.com" | "test.salesforce.com")
        {
            return Err(Error::config(format!("{host} does not take client credentials"))
                .hint("set `domain` to the org's My Domain address, such as https://example.my.salesforce.com"));
        }
        let state = State { login: settings.login, session: None, renew_at: DateTime::UNIX_EPOCH, logins: 0 };
        Ok(Self { http, login_url: settings.login_url, store: settings.store, state: Mutex::new(state) })
    }

    /// The session, made or renewed if need be.
    pub(super) async fn current(&self) -> Result<Arc<Session>> {
        let mut state = self.state.lock().await;
        if let Some(session) = &state.session {
            if self.http.clock().now() < state.renew_at {
                return Ok(Arc::clone(session));
            }
            let old = Arc::clone(session);
            return match self.log_in(&mut state).await {
                // An early renewal is a courtesy: while the old session lives, the work goes on.
                Err(e) if e.kind() == ErrorKind::Unavailable => {
                    tracing::warn!("The Salesforce session could not be renewed early: {e}.");
                    state.renew_at = self.http.clock().now() + RENEW_AGAIN_AFTER;
                    Ok(old)
                }
                other => other,
            };
        }
        self.log_in(&mut state).await
    }

    /// A session newer than the one of this generation, which Salesforce has refused.
    pub(super) async fn renew(&self, refused: u64) -> Result<Arc<Session>> {
        let mut state = self.state.lock().await;
        match &state.session {
            Some(session) if session.generation > refused => Ok(Arc::clone(session)),
            _ => self.log_in(&mut state).await,
        }
    }

    async fn log_in(&self, state: &mut State) -> Result<Arc<Session>> {
        let (login, answer) = self.ask_with_any_token(&state.login).await?;
        if !answer.status.is_success() {
            return Err(refusal::login_error(&answer, self.login_url.as_str()));
        }
        // The body holds tokens: it is not shown if it cannot be read.
        let reply: TokenReply = serde_json::from_slice(&answer.body).map_err(|_| {
            Error::access(format!("{} answered the login with something that is no token", self.login_url))
                .hint("check that `domain` is the org's address")
        })?;
        state.login = login;
        if let (Some(token), SalesforceLogin::RefreshToken { refresh_token, .. }) =
            (reply.refresh_token, &mut state.login)
            && token != *refresh_token
        {
            *refresh_token = token;
            if let Some(store) = &self.store {
                store.rotated(refresh_token)?;
            }
        }
        let instance = Url::parse(&reply.instance_url)
            .ok()
            .filter(|url| url.scheme() == "https" || is_loopback(url))
            .ok_or_else(|| {
            Error::access(format!("the login named an instance that is no https address: {}", reply.instance_url))
        })?;
        state.logins += 1;
        let session = Arc::new(Session {
            identity: identity(reply.id.as_deref(), &reply.access_token),
            token: reply.access_token,
            instance,
            generation: state.logins,
        });
        state.renew_at = self.http.clock().now() + RENEW_AFTER;
        state.session = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Asks with the refresh token that was last stored, by whichever process; where Salesforce refuses that one, with
    /// ours: the connection may have been authorized anew. Gives the login that worked, or was tried last.
    async fn ask_with_any_token(&self, ours: &SalesforceLogin) -> Result<(SalesforceLogin, Answer)> {
        let (Some(store), SalesforceLogin::RefreshToken { client_id, client_secret, refresh_token }) =
            (&self.store, ours)
        else {
            return Ok((ours.clone(), self.ask(ours).await?));
        };
        let mut tried = Vec::new();
        loop {
            let stored = store.newest()?;
            let token = match &stored {
                Some(token) if !tried.contains(token) => token.clone(),
                _ => refresh_token.clone(),
            };
            let login = SalesforceLogin::RefreshToken {
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                refresh_token: token.clone(),
            };
            let answer = self.ask(&login).await?;
            if answer.status.is_success() && stored.is_some_and(|stored| stored != token) {
                store.rotated(&token)?;
            }
            if answer.status.is_success() || token == *refresh_token {
                return Ok((login, answer));
            }
            tried.push(token);
        }
    }

    /// One request for a session.
    async fn ask(&self, login: &SalesforceLogin) -> Result<Answer> {
        let url = self
            .login_url
            .join("/services/oauth2/token")
            .map_err(|e| Error::config("the login address is no base for a URL").source(e))?;
        let form = self.form(login)?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let request = Request {
            method: Method::POST,
            url,
            headers,
            body: body.into(),
            class: CallClass::SalesforceRest,
            idempotent: true, // it makes a session; one too many does no harm
            what: "log in to Salesforce",
        };
        self.http.fetch(request, None).await
    }

    fn form(&self, login: &SalesforceLogin) -> Result<Vec<(&'static str, String)>> {
        Ok(match login {
            SalesforceLogin::RefreshToken { client_id, client_secret, refresh_token } => {
                let mut form = vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", client_id.clone()),
                    ("refresh_token", refresh_token.reveal().to_owned()),
                ];
                form.extend(client_secret.iter().map(|secret| ("client_secret", secret.reveal().to_owned())));
                form
            }
            SalesforceLogin::ClientCredentials { client_id, client_secret } => vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", client_id.clone()),
                ("client_secret", client_secret.reveal().to_owned()),
            ],
            SalesforceLogin::JwtBearer { client_id, username, private_key } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                ("assertion", self.assertion(client_id, username, private_key)?),
            ],
        })
    }

    /// The signed claim that `client_id` acts for `username`, good for three minutes.
    fn assertion(&self, client_id: &str, username: &str, private_key: &Secret) -> Result<String> {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(private_key.reveal().as_bytes()).map_err(|e| {
            Error::config("the private key of the Salesforce connection is no RSA key in PEM").source(e)
        })?;
        let audience = audience(&self.login_url);
        let claims = Claims {
            iss: client_id,
            sub: username,
            aud: &audience,
            exp: (self.http.clock().now() + TimeDelta::minutes(3)).timestamp(),
        };
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key)
            .map_err(|e| Error::config("the private key of the Salesforce connection cannot sign").source(e))
    }
}

/// Salesforce takes the login or the test host as the audience, also for logins at a custom domain.
fn audience(login_url: &Url) -> String {
    let host = login_url.host_str().unwrap_or_default();
    if is_loopback(login_url) {
        login_url.origin().ascii_serialization()
    } else if host == "test.salesforce.com" || host.contains(".sandbox.my.") {
        "https://test.salesforce.com".to_owned()
    } else {
        "https://login.salesforce.com".to_owned()
    }
}

/// `https://login.salesforce.com/id/{org}/{user}`. Without it the org's id can still be read from the token, which
/// begins with it.
fn identity(id_url: Option<&str>, token: &Secret) -> Identity {
    let mut parts = id_url.unwrap_or_default().rsplit('/');
    let user_id = parts.next().unwrap_or_default().to_owned();
    let org_id = match parts.next() {
        Some(org) if !org.is_empty() => org.to_owned(),
        _ => token.reveal().split_once('!').map(|(org, _)| org.to_owned()).unwrap_or_default(),
    };
    Identity { org_id: crate::config::ids::sf_id18(&org_id).map_or(org_id.clone(), |id| id.into_owned()), user_id }
}
