//! A Gainsight sandbox with a client, a ledger and a run to load into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use datafusion::arrow;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::config::connection::BulkJob;
use sf2gs::config::connection::GainsightAuth;
use sf2gs::config::connection::GainsightConnection;
use sf2gs::config::connection::GainsightLimits;
use sf2gs::config::job::FieldMap;
use sf2gs::config::job::Job;
use sf2gs::config::job::OnDelete;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::SecretRef;
use sf2gs::config::job::Source;
use sf2gs::config::job::Target;
use sf2gs::config::job::TargetField;
use sf2gs::config::job::TargetObject;
use sf2gs::connect::gainsight::GainsightClient;
use sf2gs::connect::gainsight::GainsightLogin;
use sf2gs::connect::gainsight::GainsightSettings;
use sf2gs::connect::gainsight::ObjectMetadata;
use sf2gs::connect::http::Http;
use sf2gs::connect::http::RetryPolicy;
use sf2gs::ledger::Ledger;
use sf2gs::ledger::NewRun;
use sf2gs::load::LoadContext;
use sf2gs::load::Loaded;
use sf2gs::load::Stage;
use sf2gs::load::load;
use sf2gs::sandbox::gainsight::RunningTenant;
use sf2gs::sandbox::gainsight::Switches;
use sf2gs::sandbox::gainsight::TenantOptions;
use sf2gs::sandbox::gainsight::serve;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::Secret;
use sf2gs::telemetry::Silent;
use tokio::sync::oneshot;

pub(crate) type Metadata = BTreeMap<String, Arc<ObjectMetadata>>;

/// Limits that never make anything wait.
pub(crate) fn no_limits() -> GainsightLimits {
    GainsightLimits {
        sync_per_minute: None,
        sync_per_day: None,
        bulk_per_hour: None,
        bulk_per_day: None,
        users_per_hour: None,
        users_per_day: None,
        concurrency: 4,
    }
}

/// Settings of a client of the tenant at `url`.
pub(crate) fn settings(url: &str, access_key: &str, limits: GainsightLimits) -> GainsightSettings {
    GainsightSettings {
        url: url.parse().unwrap(),
        login: GainsightLogin::AccessKey(Secret::new(access_key)),
        limits,
        bulk_login: None,
        bulk_org_id: None,
        bulk_access_key: None,
        people_async_is_bulk: true,
        max_wait: std::time::Duration::from_secs(900),
    }
}

/// A client with short waits.
pub(crate) fn client(settings: GainsightSettings, clock: &Clock) -> (GainsightClient, ApiCalls) {
    let calls = ApiCalls::default();
    let http = Http::new(calls.clone(), clock.clone(), RetryPolicy::quick()).unwrap();
    (GainsightClient::open(settings, http).unwrap(), calls)
}

pub(crate) struct World {
    pub(crate) tenant: RunningTenant,
    pub(crate) client: GainsightClient,
    pub(crate) calls: ApiCalls,
    pub(crate) ledger: Ledger,
    pub(crate) run: String,
    pub(crate) connection: GainsightConnection,
    pub(crate) metadata: Metadata,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl World {
    /// A tenant without quotas.
    pub(crate) async fn new() -> Self {
        let options = TenantOptions { quotas: false, ..TenantOptions::default() };
        Self::with(options, no_limits(), |url| url).await
    }

    /// A tenant, and a client that keeps these limits and reaches it by what `through` makes of its address.
    pub(crate) async fn with(
        options: TenantOptions,
        limits: GainsightLimits,
        through: impl FnOnce(String) -> String,
    ) -> Self {
        let clock = options.clock.clone();
        let tenant = serve(options, ([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = through(tenant.url().to_string());
        let bulk_jobs = tenant
            .bulk_jobs
            .iter()
            .map(|job| (job.object.clone(), BulkJob { id: job.id.clone(), keys: job.keys.clone() }))
            .collect();
        let connection = GainsightConnection {
            name: "gainsight".into(),
            url: url.parse().unwrap(),
            auth: GainsightAuth::AccessKey(SecretRef::Env("GS_ACCESS_KEY".into())),
            limits: limits.clone(),
            bulk_jobs,
            bulk_login: Some(tenant.bulk_login.clone()),
            bulk_org_id: Some(tenant.bulk_org_id.clone()),
            person_key: vec!["Email".into()],
            people_async_is_bulk: true,
        };
        let mut settings = settings(&url, &tenant.access_key, limits);
        settings.bulk_login = connection.bulk_login.clone();
        settings.bulk_org_id = connection.bulk_org_id.clone();
        let (client, calls) = client(settings, &clock);
        let mut metadata = Metadata::new();
        for object in ["gsuser", "company", "person", "company_person"] {
            metadata.insert(object.to_owned(), client.describe(object).await.unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("ledger.db"), clock).unwrap();
        let lease = ledger.acquire("test_sync").unwrap();
        let new =
            NewRun { chain: None, source_hash: "s".into(), spec_hash: "m".into(), from: None, until: None, full: true };
        let run = ledger.begin_run(&lease, new).unwrap().id;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { tenant, client, calls, ledger, run, connection, metadata, http, _folder: folder }
    }

    /// Loads these verdicts. What the load tells first must be what its rejects begin with, and all that it found by itself.
    pub(crate) async fn load(&self, job: &Job, batch: RecordBatch) -> sf2gs::error::Result<Loaded> {
        let written = batch.num_rows() as u64;
        let ctx = LoadContext {
            client: &self.client,
            ledger: &self.ledger,
            run: &self.run,
            job,
            metadata: &self.metadata,
            reporter: &Silent,
            connection: &self.connection,
        };
        let (tell, told) = oneshot::channel();
        let loaded = load(&ctx, stream(batch), Some(written), Some(tell)).await?;
        let first = told.await.unwrap();
        let (begin, later) = loaded.rejects.split_at(first.len());
        assert_eq!(begin, first);
        assert!(later.iter().all(|reject| reject.stage == Stage::Load), "{later:?}");
        Ok(loaded)
    }

    /// Changes one field of the metadata that the load checks with, so that the tenant is the one who refuses.
    pub(crate) fn loosen(&mut self, object: &str, field: &str) {
        let known = &self.metadata[object];
        let mut fields = known.fields.clone();
        let found = fields.iter_mut().find(|one| one.name == field).unwrap();
        found.length = None;
        found.options.clear();
        found.data_type = sf2gs::connect::gainsight::DataType::Other;
        let loose = ObjectMetadata::new(object, known.label.clone(), fields);
        self.metadata.insert(object.to_owned(), Arc::new(loose));
    }

    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        let mut switches = Switches::default();
        change(&mut switches);
        self.tenant.set_switches(switches);
    }

    /// Every record of an object.
    pub(crate) async fn dump(&self, object: &str) -> Vec<Json> {
        let url = self.tenant.url().join(&format!("/__sandbox/dump/{object}")).unwrap();
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The calls that the tenant has counted, by class.
    pub(crate) async fn counted(&self) -> BTreeMap<String, u64> {
        let url = self.tenant.url().join("/__sandbox/calls").unwrap();
        let said: Json = self.http.get(url).send().await.unwrap().json().await.unwrap();
        serde_json::from_value(said["accepted"].clone()).unwrap()
    }

    /// A direct insert, past the client; gives the ids.
    pub(crate) async fn insert(&self, object: &str, records: Json) -> Vec<String> {
        let mut ids = Vec::new();
        for some in records.as_array().unwrap().chunks(50) {
            let url = self.tenant.url().join(&format!("/v1/data/objects/{object}")).unwrap();
            let request = self.http.post(url).header("accesskey", &self.tenant.access_key);
            let said: Json =
                request.body(json!({"records": some}).to_string()).send().await.unwrap().json().await.unwrap();
            assert_eq!(said["result"], json!(true), "{said}");
            let records = said["data"]["records"].as_array().unwrap();
            ids.extend(records.iter().map(|record| record["Gsid"].as_str().unwrap().to_owned()));
        }
        ids
    }
}

/// A batch as a stream, in pieces as an engine would give it.
pub(crate) fn stream(batch: RecordBatch) -> SendableRecordBatchStream {
    let schema = batch.schema();
    let pieces: Vec<_> =
        (0..batch.num_rows()).step_by(1000).map(|at| Ok(batch.slice(at, 1000.min(batch.num_rows() - at)))).collect();
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(pieces)))
}

/// One row of verdicts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) id: String,
    pub(crate) verdict: &'static str,
    pub(crate) gsid: Option<String>,
    pub(crate) changed: Option<String>,
    pub(crate) clears: bool,
    pub(crate) person_gsid: Option<String>,
    pub(crate) person_key: Option<String>,
    pub(crate) person_rows: i64,
    pub(crate) person_winner: bool,
    /// One for each written column.
    pub(crate) set: Vec<Option<String>>,
}

/// An insert with these values.
pub(crate) fn insert(id: impl Into<String>, set: &[Option<&str>]) -> Verdict {
    Verdict {
        id: id.into(),
        verdict: "insert",
        set: set.iter().map(|value| value.map(str::to_owned)).collect(),
        person_rows: 1,
        person_winner: true,
        ..Verdict::default()
    }
}

/// An update of `gsid` with these values.
pub(crate) fn update(id: impl Into<String>, gsid: &str, changed: &str, set: &[Option<&str>]) -> Verdict {
    Verdict { verdict: "update", gsid: Some(gsid.into()), changed: Some(changed.into()), ..insert(id, set) }
}

/// Verdicts as matching gives them; `columns` are the written ones, such as `company.Name`.
pub(crate) fn verdicts(columns: &[&str], rows: &[Verdict]) -> RecordBatch {
    let text = |get: &dyn Fn(&Verdict) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<StringArray>())
    };
    let flag = |get: &dyn Fn(&Verdict) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(get(row))).collect::<BooleanArray>())
    };
    let mut batch = vec![
        ("source_id".to_owned(), text(&|row| Some(row.id.clone()))),
        ("verdict".to_owned(), text(&|row| Some(row.verdict.to_owned()))),
        ("gsid".to_owned(), text(&|row| row.gsid.clone())),
        ("changed".to_owned(), text(&|row| row.changed.clone())),
        ("clears".to_owned(), flag(&|row| row.clears)),
        ("person_gsid".to_owned(), text(&|row| row.person_gsid.clone())),
        ("person_key".to_owned(), text(&|row| row.person_key.clone())),
        (
            "person_rows".to_owned(),
            Arc::new(rows.iter().map(|row| row.person_rows).collect::<Int64Array>()) as ArrayRef,
        ),
        ("person_winner".to_owned(), flag(&|row| row.person_winner)),
    ];
    for (at, column) in columns.iter().enumerate() {
        batch.push((format!("set.{column}"), text(&|row| row.set.get(at).cloned().flatten())));
    }
    RecordBatch::try_from_iter_with_nullable(batch.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

/// A job that writes these columns; the ones after `*` are identifiers.
pub(crate) fn job(object: TargetObject, columns: &[&str], identifiers: &[&str]) -> Job {
    let maps = columns
        .iter()
        .map(|column| {
            let (object, field) = column.split_once('.').unwrap();
            FieldMap {
                from: field.to_owned(),
                to: TargetField { object: object.to_owned(), field: field.to_owned() },
                identifier: identifiers.contains(column),
                on_null: OnNull::Overwrite,
            }
        })
        .collect();
    Job {
        name: "test_sync".into(),
        title: "Test Sync".into(),
        salesforce: "salesforce".into(),
        gainsight: "gainsight".into(),
        depends_on: Vec::new(),
        source: Source {
            object: "Account".into(),
            table: "account".into(),
            fields: vec!["Id".into()],
            condition: None,
        },
        target: Target {
            object,
            operation: Operation::Upsert,
            on_null: OnNull::Overwrite,
            on_delete: OnDelete::Ignore,
            maps,
            derives: Vec::new(),
        },
    }
}
