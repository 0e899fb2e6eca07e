//! The state of a running org: records, sessions, bulk jobs, query cursors, limits and counters.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::RwLock;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use sha2::Digest;
use sha2::Sha256;
use tokio::task::JoinSet;

use super::OrgOptions;
use super::access::Access;
use super::bulk::Jobs;
use super::error::ApiError;
use super::generate;
use super::generate::Planted;
use super::ids::Id;
use super::import;
use super::limits::Limits;
use super::oauth;
use super::oauth::App;
use super::oauth::Scopes;
use super::query::Cursor;
use super::schema::Schema;
use super::schema::SchemaOptions;
use super::sessions::Grant;
use super::sessions::Logins;
use super::store::Store;
use super::store::Value;
use super::write::Caller;
use crate::clock::Clock;
use crate::error::Result;
use crate::sandbox::connection::Scheme;

/// One org.
pub(crate) struct Org {
    pub(crate) options: OrgOptions,
    pub(crate) clock: Clock,
    /// When describes last changed: at the start, or when permissions were set.
    described: RwLock<DateTime<Utc>>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    pub(crate) id: Id,
    /// The first is the org's own; the others are in every org.
    pub(crate) apps: Vec<App>,
    /// The password of all users.
    pub(super) password: String,
    /// What stands behind the password of a login through an API.
    pub(super) security_token: String,
    pub(crate) planted: Vec<Planted>,
    pub(crate) schema: Arc<Schema>,
    /// Users with less than full access.
    access: RwLock<HashMap<u32, Arc<Access>>>,
    store: RwLock<Store>,
    pub(crate) logins: Mutex<Logins>,
    pub(crate) jobs: Mutex<Jobs>,
    pub(crate) cursors: Mutex<VecDeque<(String, Arc<Cursor>)>>,
    /// Locators that a fault has ended, by the query that they belong to.
    pub(crate) dead_locators: Mutex<HashSet<String>>,
    pub(super) limits: Limits,
    calls: Mutex<BTreeMap<String, u64>>,
    /// The PEM of the key whose owner may log in by JWT.
    pub(crate) jwt_public_key: OnceLock<String>,
    tasks: Mutex<JoinSet<()>>,
}

impl Org {
    /// Makes the records and the credentials.
    pub(crate) fn new(options: OrgOptions, url: String) -> Result<Self> {
        let schema = SchemaOptions { multi_currency: options.multi_currency, files: options.schema.clone() };
        let mut store = Store::new(Arc::new(Schema::load(&schema)?));
        let now = options.clock.now();
        let sizes = generate::Sizes {
            seed: options.seed,
            users: options.users,
            accounts: options.accounts,
            contacts: options.contacts,
            opportunities: options.opportunities,
            cases: options.cases,
            subscriptions: options.subscriptions,
            clean: options.clean,
        };
        let planted = generate::fill(&mut store, sizes, now)?;
        let caller = Caller { user: 0, now: now.timestamp(), access: Arc::default() };
        import::load(&mut store, &options.import, &caller)?;
        let mut logins = Logins::default();
        let grant = Grant { user: 0, app: Some(0), scopes: Scopes::usual(), family: logins.family() };
        logins.refresh.insert(first_refresh_token(options.seed), grant);
        let jwt_public_key = OnceLock::new();
        if let Some(pem) = &options.jwt_public_key {
            jwt_public_key.get_or_init(|| pem.clone());
        }
        Ok(Self {
            clock: options.clock.clone(),
            described: RwLock::new(now),
            url,
            id: Id::new(*b"00D", 0),
            apps: vec![
                App {
                    name: "sf2gs",
                    client_id: format!("3MVG9.{}", &secret(options.seed, "client")[..32]),
                    client_secret: Some(secret(options.seed, "secret").to_uppercase()),
                    callbacks: options.callback_urls.clone(),
                },
                oauth::platform_cli(),
            ],
            password: format!("Pw1{}", &secret(options.seed, "password")[..12]),
            security_token: secret(options.seed, "security token")[..24].to_owned(),
            planted,
            schema: Arc::clone(&store.schema),
            access: RwLock::default(),
            store: RwLock::new(store),
            logins: Mutex::new(logins),
            jobs: Mutex::default(),
            cursors: Mutex::default(),
            dead_locators: Mutex::default(),
            limits: Limits::new(&options),
            calls: Mutex::default(),
            jwt_public_key,
            tasks: Mutex::default(),
            options,
        })
    }

    /// The records as they are now.
    pub(crate) fn snapshot(&self) -> Store {
        let mut store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        store.now = self.clock.now().timestamp();
        store
    }

    /// What a user may see and change.
    pub(crate) fn access(&self, user: u32) -> Arc<Access> {
        let all = self.access.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&user).map(Arc::clone).unwrap_or_default()
    }

    /// When describes last changed.
    pub(crate) fn described(&self) -> DateTime<Utc> {
        *self.described.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row of the user with this user name.
    pub(crate) fn user_named(&self, name: &str) -> Option<u32> {
        let users = self.schema.find("User")?;
        let field = self.schema.objects[users].find("Username")?;
        self.write(|store| store.find_by(users, field, Value::Text(name)).first().copied())
    }

    /// Changes what a user may see and change; calls that run already keep what they had.
    pub(crate) fn grant(&self, user: u32, change: impl FnOnce(&mut Access)) {
        let mut all = self.access.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(all.entry(user).or_default()));
        // A client that has a describe of this very second must fetch it again.
        *self.described.write().unwrap_or_else(PoisonError::into_inner) = self.clock.now() + TimeDelta::seconds(1);
    }

    /// Changes records.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        store.now = self.clock.now().timestamp();
        change(&mut store)
    }

    /// Counts a call of a class for `/__sandbox/calls`.
    pub(crate) fn count(&self, class: &str) {
        *lock(&self.calls).entry(class.to_owned()).or_default() += 1;
    }

    /// Calls by class.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// Counts an API request against the day's limit; returns what the header says.
    pub(crate) fn request(&self) -> (Result<(), ApiError>, String) {
        self.limits.request()
    }

    /// Counts a query job against the day's limit.
    pub(crate) fn query_job(&self) -> Result<(), ApiError> {
        self.limits.query_job()
    }

    /// Counts batches of both Bulk APIs against the day's limit.
    pub(crate) fn bulk_batches(&self, batches: u64) -> Result<(), ApiError> {
        self.limits.batches(batches)
    }

    /// The org's address as a client sees it that comes by this scheme.
    pub(super) fn url_by(&self, scheme: Scheme) -> String {
        format!("{}{}", scheme.name(), self.url.trim_start_matches("http"))
    }

    /// Runs work that would hold up the other connections; it ends with the org.
    pub(crate) fn in_background(&self, work: impl FnOnce() + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_blocking(work);
    }

    /// The refresh token that the org begins with.
    pub(crate) fn first_refresh_token(&self) -> String {
        first_refresh_token(self.options.seed)
    }
}

/// Locks; a panic elsewhere does not stop the sandbox.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The refresh token that an org begins with.
fn first_refresh_token(seed: u64) -> String {
    format!("5Aep861.{}", secret(seed, "refresh"))
}

/// A credential that follows from the seed, so that a project finds the sandbox again after a restart.
fn secret(seed: u64, what: &str) -> String {
    let digest = Sha256::digest(format!("sf2gs sandbox org {seed} {what}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
