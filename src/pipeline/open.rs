//! Connections opened: references to secrets become values, and clients are made of them.

use std::sync::Arc;

use crate::config::connection::{GainsightAuth, GainsightConnection, SalesforceAuth, SalesforceConnection};
use crate::config::job::SecretRef;
use crate::connect::gainsight::{GainsightLogin, GainsightSettings, MAX_WAIT};
use crate::connect::salesforce::{SalesforceLogin, SalesforceSettings, TokenStore};
use crate::error::Result;
use crate::ledger::Ledger;
use crate::telemetry::Secret;

/// Name of a rotated refresh token in the ledger's token store.
const REFRESH_TOKEN: &str = "refresh_token";

/// A refresh token that Salesforce has replaced outlives the process in the ledger.
#[derive(Debug)]
struct KeptTokens {
    ledger: Ledger,
    connection: String,
}

impl TokenStore for KeptTokens {
    fn rotated(&self, refresh_token: &Secret) -> Result<()> {
        self.ledger.store_token(&self.connection, REFRESH_TOKEN, refresh_token)
    }

    fn newest(&self) -> Result<Option<Secret>> {
        self.ledger.token(&self.connection, REFRESH_TOKEN)
    }
}

/// A Salesforce connection with its secrets' values.
pub(super) fn salesforce_settings(
    connection: &SalesforceConnection,
    ledger: &Ledger,
    resolve: impl Fn(&SecretRef) -> Result<Secret>,
) -> Result<SalesforceSettings> {
    let login = match &connection.auth {
        SalesforceAuth::RefreshToken { client_id, client_secret, refresh_token } => SalesforceLogin::RefreshToken {
            client_id: client_id.clone(),
            client_secret: client_secret.as_ref().map(&resolve).transpose()?,
            refresh_token: match resolve(refresh_token) {
                Ok(token) => token,
                Err(e) => ledger.token(&connection.name, REFRESH_TOKEN)?.ok_or(e)?,
            },
        },
        SalesforceAuth::ClientCredentials { client_id, client_secret } => {
            SalesforceLogin::ClientCredentials { client_id: client_id.clone(), client_secret: resolve(client_secret)? }
        }
        SalesforceAuth::JwtBearer { client_id, username, private_key } => SalesforceLogin::JwtBearer {
            client_id: client_id.clone(),
            username: username.clone(),
            private_key: resolve(private_key)?,
        },
    };
    let mut settings = SalesforceSettings::new(connection.login_url.clone(), connection.api_version.clone(), login);
    settings.store = Some(Arc::new(KeptTokens { ledger: ledger.clone(), connection: connection.name.clone() }));
    Ok(settings)
}

/// A Gainsight connection with its secrets' values.
pub(super) fn gainsight_settings(
    connection: &GainsightConnection,
    resolve: impl Fn(&SecretRef) -> Result<Secret>,
) -> Result<GainsightSettings> {
    let login = match &connection.auth {
        GainsightAuth::AccessKey(key) => GainsightLogin::AccessKey(resolve(key)?),
        GainsightAuth::M2m { client_id, client_secret } => {
            GainsightLogin::M2m { client_id: client_id.clone(), client_secret: resolve(client_secret)? }
        }
    };
    Ok(GainsightSettings {
        url: connection.url.clone(),
        login,
        limits: connection.limits.clone(),
        bulk_login: connection.bulk_login.clone(),
        bulk_org_id: connection.bulk_org_id.clone(),
        bulk_access_key: None,
        people_async_is_bulk: connection.people_async_is_bulk,
        max_wait: MAX_WAIT,
    })
}
