//! How a tenant is logged in to: a header with the access key, or a bearer token that is fetched when needed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::error::Result;
use crate::telemetry::Secret;

/// A token is renewed so long before it ends.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// The credentials of a connection, values included.
#[derive(Debug, Clone)]
pub enum GainsightLogin {
    /// `accesskey` header.
    AccessKey(Secret),
    /// Machine-to-machine OAuth.
    M2m {
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: Secret,
    },
}

/// The token in use. The lock is held while a new one is fetched, so that there is one login at a time.
#[derive(Debug, Default)]
pub(super) struct TokenCell(pub(super) Mutex<Option<Token>>);

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) value: Secret,
    ends: DateTime<Utc>,
}

impl Token {
    pub(super) fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now + MARGIN < self.ends
    }

    /// Reads the token endpoint's answer, which has no envelope (gainsight-api §1.2).
    pub(super) fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Reply {
            access_token: Secret,
            #[serde(default = "a_day")]
            expires_in: i64,
        }
        fn a_day() -> i64 {
            86_400
        }
        let reply: Reply = serde_json::from_slice(body)
            .map_err(|e| Error::access("Gainsight's token answer holds no access token").source(e))?;
        let lifetime = TimeDelta::try_seconds(reply.expires_in).unwrap_or(TimeDelta::hours(1));
        // A token shorter than twice the margin is still used for half its time.
        Ok(Self { value: reply.access_token, ends: now + lifetime.max(MARGIN * 2) })
    }
}

pub(super) fn basic(client_id: &str, client_secret: &Secret) -> Result<HeaderValue> {
    hidden(&format!("Basic {}", STANDARD.encode(format!("{client_id}:{}", client_secret.reveal()))))
}

pub(super) fn access_key(headers: &mut HeaderMap, key: &Secret) -> Result<()> {
    headers.insert(HeaderName::from_static("accesskey"), hidden(key.reveal())?);
    Ok(())
}

pub(super) fn bearer(headers: &mut HeaderMap, token: &Token) -> Result<()> {
    headers.insert(reqwest::header::AUTHORIZATION, hidden(&format!("Bearer {}", token.value.reveal()))?);
    Ok(())
}

/// A header value that logs do not show.
fn hidden(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::access("a Gainsight credential holds characters that no header can carry")
            .hint("check the environment variable or file that it comes from")
    })?;
    value.set_sensitive(true);
    Ok(value)
}
