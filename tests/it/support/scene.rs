//! Both sandboxes in the test's own process, a project folder that points at them, and the real program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sf2gs::clock::Clock;
use sf2gs::config::project::{BulkTemplate, NewProject, SecretPlace};
use sf2gs::config::secrets::write_secret_file;
use sf2gs::sandbox::gainsight::{self, RunningTenant, TenantOptions};
use sf2gs::sandbox::salesforce::{self, OrgOptions, RunningOrg};

/// What a run of the program left: exit code and both streams.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A world for one test.
pub(crate) struct Scene {
    pub(crate) org: RunningOrg,
    pub(crate) tenant: RunningTenant,
    pub(crate) folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    /// A small org with planted rejects and an empty tenant without quotas.
    pub(crate) fn new() -> Self {
        Self::with(OrgOptions { seed: 7, users: 12, accounts: 40, contacts: 150, ..OrgOptions::default() }, |_| {})
    }

    /// A world of the given org; `adjust` changes the tenant's options.
    pub(crate) fn with(org: OrgOptions, adjust: impl FnOnce(&mut TenantOptions)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let anywhere = ([127, 0, 0, 1], 0).into();
        let mut options = TenantOptions { quotas: false, clock: Clock::system(), ..TenantOptions::default() };
        adjust(&mut options);
        let org = runtime.block_on(salesforce::serve(org, anywhere)).unwrap();
        let tenant = runtime.block_on(gainsight::serve(options, anywhere)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { org, tenant, folder, runtime };
        scene.write_project();
        scene
    }

    fn write_project(&self) {
        let jobs = &self.tenant.bulk_jobs;
        NewProject {
            salesforce_domain: Some(self.org.url().to_string()),
            salesforce_client_id: Some(self.org.client_id().to_owned()),
            gainsight_url: Some(self.tenant.url().to_string()),
            secrets: SecretPlace::Files,
            unlimited: true,
            people_async_is_bulk: false,
            bulk: Some(BulkTemplate {
                login: self.tenant.bulk_login.clone(),
                org_id: self.tenant.bulk_org_id.clone(),
                jobs: jobs.iter().map(|job| (job.object.clone(), job.id.clone(), job.keys.clone())).collect(),
            }),
        }
        .write(self.path())
        .unwrap();
        let secrets = self.path().join(".sf2gs/secrets");
        for (name, value) in [
            ("sf_client_secret", self.org.client_secret().to_owned()),
            ("sf_refresh_token", self.org.refresh_token()),
            ("gs_access_key", self.tenant.access_key.clone()),
        ] {
            write_secret_file(&secrets.join(name), &value).unwrap();
        }
    }

    /// The project folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A copy of the project as it is now, in a folder of its own.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        copy(self.path(), folder.path());
        folder
    }

    /// Does `work` on the runtime of the sandboxes.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The program, pointed at the project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sf2gs"));
        command.arg("-C").arg(self.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the program until it reaches `point`, then kills it as `kill -9` does.
    pub(crate) fn kill_at(&self, point: &str, arguments: &[&str]) {
        let reached: PathBuf = self.path().join(".sf2gs").join("reached");
        drop(std::fs::remove_file(&reached));
        let mut child = self
            .command(arguments)
            .env("SF2GS_PAUSE_AT", point)
            .env("SF2GS_PAUSE_FILE", &reached)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            if reached.exists() {
                child.kill().unwrap();
                child.wait().unwrap();
                return;
            }
            if let Some(status) = child.try_wait().unwrap() {
                let output = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                panic!("the program ended ({status}) before it reached {point}:\n{said}");
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the program did not reach {point} within a minute");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A request to a control endpoint of a sandbox.
    pub(crate) fn control(&self, url: url::Url, body: Option<Value>) -> String {
        self.runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = match body {
                Some(body) => client.post(url).json(&body),
                None => client.get(url),
            };
            request.send().await.unwrap().text().await.unwrap()
        })
    }

    /// A write of another tool to the tenant.
    pub(crate) fn put(&self, mut url: url::Url, query: &[(&str, &str)], body: &Value) {
        url.query_pairs_mut().extend_pairs(query);
        self.runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.put(url).header("accesskey", &self.tenant.access_key).json(body);
            let said: Value = request.send().await.unwrap().json().await.unwrap();
            assert_eq!(said["result"], true, "{said}");
        });
    }

    /// All rows of a tenant's object.
    pub(crate) fn dump(&self, object: &str) -> Vec<BTreeMap<String, Value>> {
        let url = self.tenant.url().join(&format!("/__sandbox/dump/{object}")).unwrap();
        self.control(url, None).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The tenant's records in words that two tenants can be compared in: GSIDs replaced by what they lead to, ids and
    /// times of the tenant left out, sorted. A record that is there twice is there twice.
    pub(crate) fn contents(&self) -> Vec<String> {
        let names = |object: &str, name: &str| -> BTreeMap<String, String> {
            self.dump(object).iter().map(|row| (said(row, "Gsid"), said(row, name))).collect()
        };
        let mut meaning = names("gsuser", "SFDCUserName");
        meaning.extend(names("company", "SfdcAccountId"));
        meaning.extend(names("person", "Email"));
        meaning.extend(names("company_person", "ExternalContactId"));
        let mut contents = Vec::new();
        for object in ["gsuser", "company", "person", "company_person"] {
            for mut row in self.dump(object) {
                for own in ["Gsid", "CreatedDate", "ModifiedDate", "CreatedBy", "ModifiedBy"] {
                    row.remove(own);
                }
                for value in row.values_mut() {
                    if let Some(other) = value.as_str().and_then(|gsid| meaning.get(gsid)) {
                        *value = Value::String(format!("→{other}"));
                    }
                }
                row.retain(|_, value| !value.is_null());
                contents.push(format!("{object} {}", serde_json::to_string(&row).unwrap()));
            }
        }
        contents.sort();
        contents
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn said(row: &BTreeMap<String, Value>, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
