//! A Salesforce org on loopback: OAuth, SOAP logins, REST, SOQL and both Bulk APIs over generated records.
//!
//! ```text
//!  /services/oauth2/*  oauth ──┐ sessions, limits
//!  /services/Soap/*    soap ───┤
//!  /services/async/*   bulk ───┤
//!  /services/data/*    rest ───┼─▶ org ─▶ soql ─▶ store (columns, snapshots) ◀─ write, generate
//!  /__sandbox/*        control ┘                    ▲
//!                                        schema: one TOML file per object
//! ```
//!
//! # Promises
//! * It is as strict as the real service where a document or a real client's recording says how that is; codes and texts are
//!   the service's own. What it knowingly does differently stands in the module that does it.
//! * A million contacts fit into some hundred megabytes, and result pages leave faster than a client can read them.
//! * Time is the [`Clock`]'s; the same seed gives the same records, ids and credentials.

mod access;
mod bulk;
mod collections;
mod composite;
mod control;
mod describe;
mod effects;
mod error;
mod format;
mod generate;
mod ids;
mod import;
mod limits;
mod oauth;
mod org;
mod query;
mod records;
mod replication;
mod rest;
mod rows;
mod schema;
mod sessions;
mod soap;
mod soql;
mod store;
mod tree;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use chrono::TimeDelta;

use super::connection::Scheme;
use super::faults::Faults;
use super::server;
use super::server::Server;
use super::tls::Tls;
use crate::clock::Clock;
use crate::error::Error;
use crate::error::Result;

/// The hosts that the org's certificate is for, and for which it takes part as a proxy.
const NAMES: [&str; 6] = [
    "login.salesforce.com",
    "test.salesforce.com",
    "*.my.salesforce.com",
    "*.sandbox.my.salesforce.com",
    "localhost",
    "127.0.0.1",
];

/// What kind of org to start.
#[derive(Debug, Clone)]
pub struct OrgOptions {
    /// Records, ids and credentials follow from it.
    pub seed: u64,
    /// Users, the integration user included.
    pub users: usize,
    /// Accounts: the first 503 are real companies, the others their subsidiaries.
    pub accounts: usize,
    /// Contacts.
    pub contacts: usize,
    /// Opportunities.
    pub opportunities: usize,
    /// Cases, some of them owned by queues.
    pub cases: usize,
    /// Records of the custom object `Subscription__c`.
    pub subscriptions: usize,
    /// Amounts have currencies of their own: there are CurrencyType and CurrencyIsoCode.
    pub multi_currency: bool,
    /// TOML files that add objects and fields.
    pub schema: Vec<PathBuf>,
    /// Files with records to begin with, besides those that are made: CSV, sObject trees, plans.
    pub import: Vec<PathBuf>,
    /// Plants no records that a sync must refuse. Planted records come on top of the sizes above.
    pub clean: bool,
    /// The org's time.
    pub clock: Clock,
    /// API requests that a day allows.
    pub daily_api_requests: u64,
    /// Jobs of bulk queries that a day allows.
    pub daily_bulk_query_jobs: u64,
    /// Batches of the first Bulk API and of ingest jobs that a day allows.
    pub daily_bulk_batches: u64,
    /// Calls longer than 20 seconds that may be open at the same time.
    pub concurrent_long_requests: usize,
    /// How long a session lives after its last use.
    pub session_lifetime: TimeDelta,
    /// Each refresh gives a new refresh token and ends the old one.
    pub rotate_refresh_tokens: bool,
    /// Where the web-server flow may send a browser back to; compared character by character.
    pub callback_urls: Vec<String>,
    /// The web-server flow asks every app for a code challenge.
    pub require_pkce: bool,
    /// PEM of the public key of the JWT bearer flow; none lets [`RunningOrg::jwt_private_key`] make a pair.
    pub jwt_public_key: Option<String>,
    /// Rows of a bulk result page when the client names no number.
    pub page_rows: usize,
    /// How often a poll finds a bulk job still in progress although its work is done.
    pub polls_in_progress: u32,
}

impl Default for OrgOptions {
    /// The demo: 40 users, 503 accounts, 2,000 contacts, an Enterprise org's limits.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 40,
            accounts: 503,
            contacts: 2000,
            opportunities: 400,
            cases: 300,
            subscriptions: 350,
            multi_currency: false,
            schema: Vec::new(),
            import: Vec::new(),
            clean: false,
            clock: Clock::system(),
            daily_api_requests: 100_000,
            daily_bulk_query_jobs: 10_000,
            daily_bulk_batches: 15_000,
            concurrent_long_requests: 25,
            session_lifetime: TimeDelta::hours(2),
            rotate_refresh_tokens: false,
            callback_urls: vec![oauth::CLI_CALLBACK.to_owned()],
            require_pkce: false,
            jwt_public_key: None,
            page_rows: 250_000,
            polls_in_progress: 0,
        }
    }
}

/// An org that is listening. Dropping it ends it.
pub struct RunningOrg {
    org: Arc<org::Org>,
    https_url: String,
    tls: Tls,
    server: Server,
}

/// Starts an org on `address`; port 0 takes a free one.
///
/// # Errors
/// Config, if the address cannot be bound, or a schema file or a file to import is wrong.
pub async fn serve(options: OrgOptions, address: SocketAddr) -> Result<RunningOrg> {
    let bound = server::bind(address).await?;
    let url = format!("http://{}", bound.address());
    // A million records take seconds to make: other tasks go on meanwhile.
    let made = tokio::task::spawn_blocking(move || org::Org::new(options, url)).await;
    let org = made.map_err(|cause| Error::bug("the sandbox's records could not be made").source(cause))??;
    let org = Arc::new(org);
    let routes = rest::routes(Arc::clone(&org));
    let routes = Arc::new(Faults::<effects::Effect>::default()).over(routes);
    let routes = routes.layer(from_fn_with_state(Arc::clone(&org), rest::count_open));
    let tls = Tls::new(&NAMES)?;
    let server = Server::on(bound, routes, org.clock.clone(), Some(tls.clone()));
    Ok(RunningOrg { https_url: org.url_by(Scheme::Https), org, tls, server })
}

impl RunningOrg {
    /// `http://127.0.0.1:PORT`: login host and instance at once.
    pub fn url(&self) -> &str {
        &self.org.url
    }

    /// `https://127.0.0.1:PORT`: the same port speaks both. Clients have to trust [`authority`](Self::authority).
    pub fn https_url(&self) -> &str {
        &self.https_url
    }

    /// The certificate, as PEM, of the authority that vouches for the org's hosts.
    pub fn authority(&self) -> &str {
        self.tls.authority()
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The org's 18-character id.
    pub fn org_id(&self) -> &str {
        self.org.id.as_str()
    }

    /// Consumer key of the connected app.
    pub fn client_id(&self) -> &str {
        &self.org.apps[0].client_id
    }

    /// Consumer secret of the connected app.
    pub fn client_secret(&self) -> &str {
        self.org.apps[0].client_secret.as_deref().unwrap_or_default()
    }

    /// The refresh token that the org begins with.
    pub fn refresh_token(&self) -> String {
        self.org.first_refresh_token()
    }

    /// User name of the integration user, as whom the connected app runs.
    pub fn username(&self) -> &'static str {
        "integration@sandbox.example"
    }

    /// The password of all users.
    pub fn password(&self) -> &str {
        &self.org.password
    }

    /// What stands behind the password in a login through an API.
    pub fn security_token(&self) -> &str {
        &self.org.security_token
    }

    /// The org's clock; moving it moves the `Date` header and all time stamps to come.
    pub fn clock(&self) -> Clock {
        self.org.clock.clone()
    }

    /// Makes a key pair for the JWT bearer flow, registers its public half and returns the private one as PEM (PKCS #8).
    ///
    /// # Errors
    /// Config, if a key is registered already; then its owner has the private half.
    pub fn jwt_private_key(&self) -> Result<String> {
        oauth::make_pair(&self.org.jwt_public_key)
    }

    /// Ends every session, as an administrator can.
    pub fn end_sessions(&self) {
        org::lock(&self.org.logins).end(None, false);
    }

    /// Lets open answers finish, then ends.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
