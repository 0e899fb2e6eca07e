//! Connections, checked: how each side is reached, without any secret's value.

use std::collections::BTreeMap;

use url::Url;

use super::job::SecretRef;

/// A Salesforce org.
#[derive(Debug, Clone, PartialEq)]
pub struct SalesforceConnection {
    /// Name of the connection, also the lake's first name part.
    pub name: String,
    /// Where logins go: the login host, the test host or the custom domain. `http` only on loopback.
    pub login_url: Url,
    /// API version, such as `62.0`.
    pub api_version: String,
    /// How it logs in.
    pub auth: SalesforceAuth,
    /// Rows asked for per result page.
    pub page_rows: u32,
    /// How far behind the org's clock a window ends.
    pub lag: std::time::Duration,
    /// How far a window reaches back behind the last one's end.
    pub overlap: std::time::Duration,
}

/// How Salesforce is logged in to.
#[derive(Debug, Clone, PartialEq)]
pub enum SalesforceAuth {
    /// `grant_type=refresh_token`.
    RefreshToken {
        /// Consumer key.
        client_id: String,
        /// Consumer secret, where the app has one.
        client_secret: Option<SecretRef>,
        /// The token; a rotated one is kept in the ledger's token store.
        refresh_token: SecretRef,
    },
    /// `grant_type=client_credentials`; only on a custom domain.
    ClientCredentials {
        /// Consumer key.
        client_id: String,
        /// Consumer secret.
        client_secret: SecretRef,
    },
    /// JWT bearer.
    JwtBearer {
        /// Consumer key.
        client_id: String,
        /// User that is impersonated.
        username: String,
        /// PEM of the private key.
        private_key: SecretRef,
    },
}

/// A Gainsight tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct GainsightConnection {
    /// Name of the connection.
    pub name: String,
    /// `https://<customer>.gainsightcloud.com`; `http` only on loopback.
    pub url: Url,
    /// How it is logged in to.
    pub auth: GainsightAuth,
    /// The tenant's quotas.
    pub limits: GainsightLimits,
    /// Bulk import jobs made in the tenant, by object in lower case.
    pub bulk_jobs: BTreeMap<String, BulkJob>,
    /// `loginName` of bulk imports, with [`Self::bulk_org_id`].
    pub bulk_login: Option<String>,
    /// `appOrgId` of bulk imports.
    pub bulk_org_id: Option<String>,
    /// The tenant's person resolution key, fields of `person`.
    pub person_key: Vec<String>,
    /// Whether `/people/async` counts against the bulk quota (the worst case, and the default) or the synchronous one.
    pub people_async_is_bulk: bool,
}

/// How Gainsight is logged in to.
#[derive(Debug, Clone, PartialEq)]
pub enum GainsightAuth {
    /// `accesskey` header.
    AccessKey(SecretRef),
    /// Machine-to-machine OAuth.
    M2m {
        /// Client id.
        client_id: String,
        /// Client secret.
        client_secret: SecretRef,
    },
}

/// A bulk import job that exists in the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkJob {
    /// Its id, as the tenant's job page prints it.
    pub id: String,
    /// The update keys that the job was configured with; the job must be an upsert. Used only where they equal the
    /// identifiers of ours.
    pub keys: Vec<String>,
}

/// Calls allowed per clock-aligned window; `None` means that the tenant does not limit the class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GainsightLimits {
    /// Synchronous calls a minute.
    pub sync_per_minute: Option<u32>,
    /// Synchronous calls a day.
    pub sync_per_day: Option<u32>,
    /// Bulk and asynchronous calls an hour.
    pub bulk_per_hour: Option<u32>,
    /// Bulk and asynchronous calls a day.
    pub bulk_per_day: Option<u32>,
    /// User management calls an hour.
    pub users_per_hour: Option<u32>,
    /// User management calls a day.
    pub users_per_day: Option<u32>,
    /// Requests in flight at once.
    pub concurrency: usize,
}

impl Default for GainsightLimits {
    /// The documented quotas (gainsight-api §9).
    fn default() -> Self {
        Self {
            sync_per_minute: Some(100),
            sync_per_day: Some(50_000),
            bulk_per_hour: Some(10),
            bulk_per_day: Some(100),
            users_per_hour: Some(100),
            users_per_day: Some(1_000),
            concurrency: 16,
        }
    }
}
