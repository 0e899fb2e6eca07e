//! What every step needs: the project opened, with its ledger, lake, engine and clients.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use futures::future::try_join_all;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config;
use crate::config::connection::{GainsightConnection, SalesforceConnection};
use crate::config::job::{Job, SecretRef};
use crate::config::project::Project;
use crate::connect::gainsight::{GainsightClient, ObjectMetadata};
use crate::connect::http::{Http, RetryPolicy};
use crate::connect::salesforce::{PollPolicy, SalesforceClient, SalesforceSettings};
use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::land::{Lake, TableName};
use crate::ledger::Ledger;
use crate::telemetry::{ApiCalls, Reporter, Secret};

use super::mirror;
use super::open;
use super::record::ACTIVITY;
use super::source;

/// How long remote systems are waited for before a run gives up.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// For a request that fails.
    pub retry: RetryPolicy,
    /// For a Salesforce job.
    pub poll: PollPolicy,
}

/// A project, opened.
#[derive(Debug)]
pub struct World {
    /// The project's files, checked.
    pub project: Project,
    /// Runs, chunks, watermarks.
    pub ledger: Ledger,
    /// Snapshots.
    pub lake: Lake,
    /// Sessions.
    pub engine: Engine,
    /// Remote calls of this process.
    pub calls: ApiCalls,
    /// Time.
    pub clock: Clock,
    /// Progress.
    pub reporter: Arc<dyn Reporter>,
    http: Http,
    poll: PollPolicy,
    salesforce: Mutex<HashMap<String, SalesforceClient>>,
    gainsight: Mutex<HashMap<String, GainsightClient>>,
}

impl World {
    /// Opens the lake and the ledger of `project`. No remote system is asked yet.
    pub async fn open(project: Project, reporter: Arc<dyn Reporter>, clock: Clock) -> Result<Self> {
        Self::open_with(project, reporter, clock, Patience::default()).await
    }

    /// [`World::open`] with another patience.
    pub async fn open_with(
        project: Project,
        reporter: Arc<dyn Reporter>,
        clock: Clock,
        patience: Patience,
    ) -> Result<Self> {
        let ledger = Ledger::open(&project.root.join(".sf2gs").join("ledger.db"), clock.clone())?;
        let lake = Lake::open(&project.lake.url, &project.root, &project.lake.options).await?;
        let engine = Engine::new(&project.engine, &lake)?;
        let calls = ApiCalls::default();
        let http = Http::new(calls.clone(), clock.clone(), patience.retry)?;
        Ok(Self {
            project,
            ledger,
            lake,
            engine,
            calls,
            clock,
            reporter,
            http,
            poll: patience.poll,
            salesforce: Mutex::default(),
            gainsight: Mutex::default(),
        })
    }

    /// The job of that name, or an error that lists the names.
    pub fn job(&self, name: &str) -> Result<&Job> {
        self.project.jobs.get(name).ok_or_else(|| unknown("job", name, self.project.jobs.keys()))
    }

    pub(super) fn salesforce_connection(&self, name: &str) -> Result<&SalesforceConnection> {
        self.project
            .salesforce
            .get(name)
            .ok_or_else(|| unknown("Salesforce connection", name, self.project.salesforce.keys()))
    }

    pub(super) fn gainsight_connection(&self, name: &str) -> Result<&GainsightConnection> {
        self.project
            .gainsight
            .get(name)
            .ok_or_else(|| unknown("Gainsight connection", name, self.project.gainsight.keys()))
    }

    fn secret(&self, secret: &SecretRef, connection: &str) -> Result<Secret> {
        config::secrets::resolve(secret, &self.project.root, |name| self.ledger.token(connection, name))
    }

    /// The client of a Salesforce connection; one per process, so that logins are shared.
    pub(super) async fn salesforce(&self, name: &str) -> Result<SalesforceClient> {
        let mut clients = self.salesforce.lock().await;
        if let Some(client) = clients.get(name) {
            return Ok(client.clone());
        }
        let connection = self.salesforce_connection(name)?;
        let settings = open::salesforce_settings(connection, &self.ledger, |secret| self.secret(secret, name))?;
        let settings = SalesforceSettings { poll: self.poll.clone(), ..settings };
        let client = SalesforceClient::open(settings, self.http.clone())?;
        clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    /// The client of a Gainsight connection; one per process, so that its limiter sees every call.
    pub(super) async fn gainsight(&self, name: &str) -> Result<GainsightClient> {
        let mut clients = self.gainsight.lock().await;
        if let Some(client) = clients.get(name) {
            return Ok(client.clone());
        }
        let connection = self.gainsight_connection(name)?;
        let settings = open::gainsight_settings(connection, |secret| self.secret(secret, name))?;
        let client = GainsightClient::open(settings, self.http.clone())?;
        clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    /// Metadata of every Gainsight object that `job` writes or looks up.
    pub(super) async fn metadata(&self, job: &Job) -> Result<BTreeMap<String, Arc<ObjectMetadata>>> {
        let client = self.gainsight(&job.gainsight).await?;
        let objects = mirror::objects_of(job);
        let described = try_join_all(objects.iter().map(|object| client.describe(object))).await?;
        Ok(objects.into_iter().zip(described).collect())
    }

    /// Begins to read where the tables of `jobs` stand, which run one after the other.
    pub(super) fn look_ahead(&self, jobs: &[&Job]) -> Result<JoinSet<()>> {
        let mut tables = Vec::new();
        for job in jobs {
            tables.push(source::table_of(job)?);
            for object in mirror::objects_of(job) {
                tables.push(mirror::table_of(&job.gainsight, &object)?);
            }
        }
        tables.push(TableName::new(ACTIVITY, "verdicts")?);
        tables.push(TableName::new(ACTIVITY, "rejects")?);
        let mut seen = HashSet::new();
        tables.retain(|table| seen.insert(table.clone()));
        Ok(self.lake.look_ahead(tables))
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<_> = known.map(String::as_str).collect();
    let error = Error::config(format!("there is no {what} named `{name}` in this project"));
    if known.is_empty() {
        error.hint(format!("the project has no {what} yet; `sf2gs init` makes the out-of-the-box ones"))
    } else {
        error.hint(format!("use one of: {}", known.join(", ")))
    }
}
