//! The tenant as its handlers see it: catalogue, records, switches, quotas, logins.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;

use axum::body::Body;
use axum::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bulk_export::Exports;
use super::bulk_import::Imports;
use super::catalog::Catalog;
use super::given::read;
use super::json::Show;
use super::people_jobs::PeopleJobs;
use super::quota::Quota;
use super::reply::INVALID_FIELD;
use super::reply::Reply;
use super::store::Store;
use super::switches::Switches;

use crate::clock::Clock;

/// Everything that a call needs.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) catalog: Catalog,
    store: RwLock<Store>,
    switches: RwLock<Arc<Switches>>,
    pub(super) quota: Quota,
    pub(super) clock: Clock,
    pub(super) logins: Logins,
    pub(super) imports: Imports,
    pub(super) exports: Exports,
    pub(super) people_jobs: PeopleJobs,
}

/// The tenant's credentials.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) access_key: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) bulk_login: String,
    pub(super) bulk_org_id: String,
    /// Token → milliseconds at which it ends.
    pub(super) tokens: Mutex<HashMap<String, i64>>,
}

impl Tenant {
    /// An empty tenant.
    pub(super) fn new(
        catalog: Catalog,
        switches: Switches,
        quota: Quota,
        clock: Clock,
        logins: Logins,
        imports: Imports,
    ) -> Self {
        catalog.set_ignore_case(switches.names_ignore_case);
        Self {
            store: RwLock::new(Store::new(&catalog)),
            catalog,
            switches: RwLock::new(Arc::new(switches)),
            quota,
            clock,
            logins,
            imports,
            exports: Exports::default(),
            people_jobs: PeopleJobs::default(),
        }
    }

    /// Milliseconds since 1970 on the tenant's clock.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    /// The records, to read.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records, to change.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The switches as they are now.
    pub(super) fn switches(&self) -> Arc<Switches> {
        Arc::clone(&self.switches.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the switches.
    pub(super) fn set_switches(&self, switches: Switches) {
        self.catalog.set_ignore_case(switches.names_ignore_case);
        *self.switches.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(switches);
    }

    /// How values are shown now.
    pub(super) fn show(&self) -> Show {
        let switches = self.switches();
        Show { dates: switches.dates, empty_text_for_null_dates: switches.empty_text_for_null_dates }
    }

    /// The object of this name, or the answer that there is none.
    pub(super) fn object(&self, name: &str) -> Result<usize, Reply> {
        self.catalog.object(name).ok_or_else(|| Reply::UnknownObject {
            instance: self.clock.now().format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        })
    }

    /// Reads a body up to the limit of JSON bodies.
    pub(super) async fn body(&self, body: Body) -> Result<Bytes, Reply> {
        axum::body::to_bytes(body, self.switches().json_body_limit).await.map_err(|_| Reply::too_large())
    }

    /// Reads a JSON body.
    pub(super) async fn json<T: DeserializeOwned>(&self, body: Body) -> Result<T, Reply> {
        parsed(&self.body(body).await?)
    }
}

/// A JSON body, which may borrow from its bytes.
pub(super) fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Reply> {
    read(body).map_err(|error| Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} ({error}).")))
}

/// Locks, also after a panic of another holder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
