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
use super::query::Cursor;
use super::schema::Schema;
use super::store::Store;
use super::store::Value;
use crate::clock::Clock;
use crate::clock::random_id;
use crate::error::Result;

/// One org.
pub(crate) struct Org {
    pub(crate) options: OrgOptions,
    pub(crate) clock: Clock,
    /// When the schema was last changed: at the start.
    pub(crate) started: DateTime<Utc>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    pub(crate) id: Id,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
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
    limits: Mutex<Limits>,
    calls: Mutex<BTreeMap<String, u64>>,
    /// The PEM of the key whose owner may log in by JWT.
    pub(crate) jwt_public_key: OnceLock<String>,
    tasks: Mutex<JoinSet<()>>,
}

/// Tokens that are good.
#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) sessions: HashMap<String, Session>,
    /// Refresh token → row of its user.
    pub(crate) refresh: HashMap<String, u32>,
}

/// A login.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Row of the user.
    pub(crate) user: u32,
    ends: DateTime<Utc>,
}

struct Limits {
    since: DateTime<Utc>,
    requests: u64,
    max_requests: u64,
    query_jobs: u64,
    max_query_jobs: u64,
    batches: u64,
    max_batches: u64,
}

impl Org {
    /// Makes the records and the credentials.
    pub(crate) fn new(options: OrgOptions, url: String) -> Result<Self> {
        let mut store = Store::new(Arc::new(Schema::built_in()?));
        let now = options.clock.now();
        let sizes = generate::Sizes {
            seed: options.seed,
            users: options.users,
            accounts: options.accounts,
            contacts: options.contacts,
            clean: options.clean,
        };
        let planted = generate::fill(&mut store, sizes, now)?;
        let mut logins = Logins::default();
        logins.refresh.insert(format!("5Aep861.{}", secret(options.seed, "refresh")), 0);
        let jwt_public_key = OnceLock::new();
        if let Some(pem) = &options.jwt_public_key {
            jwt_public_key.get_or_init(|| pem.clone());
        }
        Ok(Self {
            clock: options.clock.clone(),
            started: now,
            url,
            id: Id::new(*b"00D", 0),
            client_id: format!("3MVG9.{}", &secret(options.seed, "client")[..32]),
            client_secret: secret(options.seed, "secret").to_uppercase(),
            planted,
            schema: Arc::clone(&store.schema),
            access: RwLock::default(),
            store: RwLock::new(store),
            logins: Mutex::new(logins),
            jobs: Mutex::default(),
            cursors: Mutex::default(),
            dead_locators: Mutex::default(),
            limits: Mutex::new(Limits {
                since: now,
                requests: 0,
                max_requests: options.daily_api_requests,
                query_jobs: 0,
                max_query_jobs: 10_000,
                batches: 0,
                max_batches: 15_000,
            }),
            calls: Mutex::default(),
            jwt_public_key,
            tasks: Mutex::default(),
            options,
        })
    }

    /// The records as they are now.
    pub(crate) fn snapshot(&self) -> Store {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a user may see and change.
    pub(crate) fn access(&self, user: u32) -> Arc<Access> {
        let all = self.access.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&user).map(Arc::clone).unwrap_or_default()
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
    }

    /// Changes records.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        change(&mut self.store.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a call of a class for `/__sandbox/calls`.
    pub(crate) fn count(&self, class: &str) {
        *lock(&self.calls).entry(class.to_owned()).or_default() += 1;
    }

    /// Calls by class.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// Starts a session of a user and returns its token.
    pub(crate) fn open_session(&self, user: u32) -> String {
        let token = format!("{}!AQ.{}{}", self.id, random_id(), random_id()).replace('-', "");
        let session = Session { user, ends: self.clock.now() + self.options.session_lifetime };
        let mut logins = lock(&self.logins);
        logins.sessions.retain(|_, session| session.ends > self.clock.now());
        logins.sessions.insert(token.clone(), session);
        token
    }

    /// The session of a token; use prolongs it.
    pub(crate) fn session(&self, token: &str) -> Result<Session, ApiError> {
        let now = self.clock.now();
        let mut logins = lock(&self.logins);
        match logins.sessions.get_mut(token) {
            Some(session) if session.ends > now => {
                session.ends = now + self.options.session_lifetime;
                Ok(session.clone())
            }
            _ => Err(ApiError::new(401, "INVALID_SESSION_ID", "Session expired or invalid")),
        }
    }

    /// Counts an API request against the day's limit; returns what the header says.
    pub(crate) fn request(&self) -> (Result<(), ApiError>, String) {
        let mut limits = self.limits();
        let spent = limits.requests >= limits.max_requests;
        if !spent {
            limits.requests += 1;
        }
        let info = format!("api-usage={}/{}", limits.requests, limits.max_requests);
        if spent {
            return (Err(ApiError::requests_exceeded()), info);
        }
        (Ok(()), info)
    }

    /// Counts a query job against the day's limit.
    pub(crate) fn query_job(&self) -> Result<(), ApiError> {
        let mut limits = self.limits();
        if limits.query_jobs >= limits.max_query_jobs {
            let text = format!("Max bulk v2 query jobs ({}) per 24 hrs has been reached", limits.max_query_jobs);
            return Err(ApiError::new(400, "LIMIT_EXCEEDED", text));
        }
        limits.query_jobs += 1;
        Ok(())
    }

    /// Counts batches of both Bulk APIs against the day's limit.
    pub(crate) fn bulk_batches(&self, batches: u64) -> Result<(), ApiError> {
        let mut limits = self.limits();
        if limits.batches.saturating_add(batches) > limits.max_batches {
            return Err(ApiError::new(400, "LIMIT_EXCEEDED", "ApiBatchItems Limit exceeded."));
        }
        limits.batches += batches;
        Ok(())
    }

    /// (used, most) of batches.
    pub(crate) fn batch_usage(&self) -> (u64, u64) {
        let limits = self.limits();
        (limits.batches, limits.max_batches)
    }

    /// Sets the limit of batches and what is used of it.
    pub(crate) fn set_batches(&self, used: Option<u64>, max: Option<u64>) {
        let mut limits = self.limits();
        limits.batches = used.unwrap_or(limits.batches);
        limits.max_batches = max.unwrap_or(limits.max_batches);
    }

    /// (used, most) of API requests and of query jobs.
    pub(crate) fn usage(&self) -> [(u64, u64); 2] {
        let limits = self.limits();
        [(limits.requests, limits.max_requests), (limits.query_jobs, limits.max_query_jobs)]
    }

    /// Sets limits and what is used of them.
    pub(crate) fn set_limits(&self, requests: (Option<u64>, Option<u64>), jobs: (Option<u64>, Option<u64>)) {
        let mut limits = self.limits();
        limits.requests = requests.0.unwrap_or(limits.requests);
        limits.max_requests = requests.1.unwrap_or(limits.max_requests);
        limits.query_jobs = jobs.0.unwrap_or(limits.query_jobs);
        limits.max_query_jobs = jobs.1.unwrap_or(limits.max_query_jobs);
    }

    /// The limits; a day after they began to count they begin anew.
    fn limits(&self) -> MutexGuard<'_, Limits> {
        let mut limits = lock(&self.limits);
        let now = self.clock.now();
        if now - limits.since >= TimeDelta::days(1) {
            limits.since = now;
            limits.requests = 0;
            limits.query_jobs = 0;
            limits.batches = 0;
        }
        limits
    }

    /// Runs work that would hold up the other connections; it ends with the org.
    pub(crate) fn in_background(&self, work: impl FnOnce() + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_blocking(work);
    }

    /// The refresh token that the org begins with.
    pub(crate) fn first_refresh_token(&self) -> String {
        format!("5Aep861.{}", secret(self.options.seed, "refresh"))
    }
}

/// Locks; a panic elsewhere does not stop the sandbox.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A credential that follows from the seed, so that a project finds the sandbox again after a restart.
fn secret(seed: u64, what: &str) -> String {
    let digest = Sha256::digest(format!("sf2gs sandbox org {seed} {what}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
