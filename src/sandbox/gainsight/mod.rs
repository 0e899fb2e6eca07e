//! A Gainsight tenant on loopback, as strict as the real service, written from gainsight-api alone.
//!
//! ```text
//!  HTTP ─▶ gate ─────▶ objects · users · people · people_jobs · bulk_import · bulk_export · meta
//!          login,          │ record, cell: names and values checked     │ query, scan
//!          quota           ▼                                            ▼
//!                     store ─▶ table ─▶ column            catalog: objects and fields from schema files
//! ```
//!
//! # Promises
//! * It shares no types with the client: one misunderstanding cannot hide on both sides.
//! * A call is checked as a whole before anything is written; refusals have the documented codes and bodies.
//! * Quotas are fixed windows on the tenant's own [`Clock`](crate::clock::Clock); failed calls and 429s count.
//! * What no page documents is a named switch ([`Switches`]) with a default that can be defended.
//! * A million people and as many company people stay well under a gigabyte; a page of 5,000 rows costs its own rows.
//!
//! Everything that only a sandbox has lies under `/__sandbox/`: `calls`, `counts`, `dump/{object}`, `empty`,
//! `switches`, `quotas`, `faults` and `clock`.

mod bulk_export;
mod bulk_file;
mod bulk_import;
mod catalog;
mod cell;
mod column;
mod control;
mod dates;
mod expression;
mod faults;
mod gate;
mod given;
mod gsid;
mod hash;
mod json;
mod meta;
mod objects;
mod people;
mod people_jobs;
mod people_quick;
mod query;
mod quota;
mod record;
mod reply;
mod routes;
mod scan;
mod store;
mod switches;
mod table;
mod tenant;
mod users;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::task::JoinSet;
use url::Url;

use self::bulk_import::Imports;
use self::bulk_import::StopOnDrop;
use self::catalog::Catalog;
use self::quota::Quota;
use self::tenant::Logins;
use self::tenant::Tenant;

use crate::clock::Clock;
use crate::clock::random_id;
use crate::error::Error;
use crate::error::Result;
use crate::sandbox::faults::Faults;
use crate::sandbox::faults::NoEffect;
use crate::sandbox::server::Server;

pub use self::bulk_import::BulkJob;
pub use self::bulk_import::Operation;
pub use self::quota::Limits;
pub use self::record::LookupFile;
pub use self::switches::BulkRows;
pub use self::switches::Dates;
pub use self::switches::EmptyCells;
pub use self::switches::EmptyRead;
pub use self::switches::EmptyTexts;
pub use self::switches::Nulls;
pub use self::switches::PeopleAsyncClass;
pub use self::switches::ReadShape;
pub use self::switches::RepeatedKeys;
pub use self::switches::SeveralMatches;
pub use self::switches::Switches;
pub use self::switches::TokenFailure;
pub use self::switches::UnknownId;
pub use self::switches::UnmatchedRows;
pub use self::switches::Unwanted;
pub use self::switches::UserErrors;

/// How a tenant is set up.
#[derive(Debug, Clone)]
pub struct TenantOptions {
    /// Whether calls over the limit are refused.
    pub quotas: bool,
    /// The limits, where quotas are on.
    pub limits: Limits,
    /// The tenant's time: record dates, token ends, quota windows, the `Date` header.
    pub clock: Clock,
    /// The undocumented points.
    pub switches: Switches,
    /// The bulk jobs that an administrator has set up.
    pub bulk_jobs: Vec<BulkJob>,
    /// Texts of further schema files: objects, and fields of objects that exist.
    pub schemas: Vec<String>,
    /// Makes the tenant's part of all GSIDs.
    pub name: String,
    /// The access key; a random one if there is none.
    pub access_key: Option<String>,
}

impl Default for TenantOptions {
    fn default() -> Self {
        Self {
            quotas: true,
            limits: Limits::default(),
            clock: Clock::system(),
            switches: Switches::default(),
            bulk_jobs: vec![BulkJob {
                id: "2b7a3f5e-6f0c-4f0e-9a57-5d6c1d0e8b11".to_owned(),
                object: "company".to_owned(),
                operation: Operation::Upsert,
                keys: vec!["SfdcAccountId".to_owned()],
                mapping: std::collections::BTreeMap::new(),
                lookups: HashMap::new(),
                separator: ',',
            }],
            schemas: Vec::new(),
            name: "sandbox".to_owned(),
            access_key: None,
        }
    }
}

/// A bulk job as callers need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownJob {
    /// The object that it loads.
    pub object: String,
    /// The job id.
    pub id: String,
    /// The fields by which it finds records.
    pub keys: Vec<String>,
}

/// A tenant that is listening. Dropping it ends it and everything that it does.
#[derive(Debug)]
pub struct RunningTenant {
    server: Server,
    url: Url,
    tasks: JoinSet<()>,
    tenant: Arc<Tenant>,
    _stop: StopOnDrop,
    /// The access key.
    pub access_key: String,
    /// The client id of the M2M login.
    pub m2m_client_id: String,
    /// The client secret of the M2M login.
    pub m2m_client_secret: String,
    /// The `loginName` of the bulk import.
    pub bulk_login: String,
    /// The `appOrgId` of the bulk import.
    pub bulk_org_id: String,
    /// The bulk jobs.
    pub bulk_jobs: Vec<KnownJob>,
}

impl RunningTenant {
    /// Where it listens.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The tenant's clock; clones move with it.
    pub fn clock(&self) -> &Clock {
        &self.tenant.clock
    }

    /// Changes the switches, as `PUT /__sandbox/switches` does.
    pub fn set_switches(&self, switches: Switches) {
        self.tenant.set_switches(switches);
    }

    /// Finishes open answers and ends.
    pub async fn shutdown(mut self) {
        self.tasks.abort_all();
        self.server.stop().await;
    }
}

/// Starts a tenant without records on an address (port 0 takes a free one).
///
/// # Errors
/// Config, if the address is taken or a schema file or a bulk job is wrong.
pub async fn serve(options: TenantOptions, address: SocketAddr) -> Result<RunningTenant> {
    let catalog = Catalog::read(&options.name, &options.schemas)?;
    let (imports, queues) = Imports::new(&catalog, &options.bulk_jobs, &options.switches)?;
    let logins = Logins {
        access_key: options.access_key.unwrap_or_else(random_id),
        client_id: random_id(),
        client_secret: random_id(),
        bulk_login: "admin@sandbox.example".to_owned(),
        bulk_org_id: random_id(),
        tokens: Mutex::default(),
    };
    let quota = Quota::new(options.quotas.then_some(options.limits));
    let bulk_jobs =
        options.bulk_jobs.into_iter().map(|job| KnownJob { object: job.object, id: job.id, keys: job.keys }).collect();
    let clock = options.clock;
    let tenant = Arc::new(Tenant::new(catalog, options.switches, quota, clock.clone(), logins, imports));
    let routes = Arc::new(Faults::<NoEffect>::default()).over(routes::router(&tenant));
    let server = Server::start(routes, clock, address).await?;
    let url = Url::parse(&server.url()).map_err(|error| Error::bug("the sandbox has no address").source(error))?;
    let mut tasks = JoinSet::new();
    for queue in queues {
        tasks.spawn(bulk_import::work(Arc::clone(&tenant), queue));
    }
    Ok(RunningTenant {
        server,
        url,
        tasks,
        access_key: tenant.logins.access_key.clone(),
        m2m_client_id: tenant.logins.client_id.clone(),
        m2m_client_secret: tenant.logins.client_secret.clone(),
        bulk_login: tenant.logins.bulk_login.clone(),
        bulk_org_id: tenant.logins.bulk_org_id.clone(),
        bulk_jobs,
        _stop: StopOnDrop(Arc::clone(&tenant)),
        tenant,
    })
}
