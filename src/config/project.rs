//! A project: `sf2gs.toml` and the jobs of `pipelines/`, read and checked together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::amounts;
use super::chains;
use super::check_jobs::{self, Known};
use super::connection::{GainsightConnection, SalesforceConnection};
use super::job::Job;
use super::problem::{Place, Problem, Problems, Sink};
use super::read_connection::{self, Connection};
use super::read_job::{self, ReadJob};
use super::tree::{File, Found, Table};

pub use super::new_project::{BulkTemplate, NewProject, SecretPlace, embedded_files};

/// The project's main file.
pub const PROJECT_FILE: &str = "sf2gs.toml";
/// The folder of the jobs.
pub const JOBS_FOLDER: &str = "pipelines";
/// The folder of what the program keeps for itself.
pub const STATE_FOLDER: &str = ".sf2gs";

/// A project, valid by construction.
#[derive(Debug, Clone)]
pub struct Project {
    /// Its folder.
    pub root: PathBuf,
    /// Where snapshots are kept.
    pub lake: LakeSettings,
    /// What the engine may use.
    pub engine: EngineSettings,
    /// Salesforce connections by name.
    pub salesforce: BTreeMap<String, SalesforceConnection>,
    /// Gainsight connections by name.
    pub gainsight: BTreeMap<String, GainsightConnection>,
    /// Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    warnings: Vec<Problem>,
}

/// Where snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeSettings {
    /// A folder, relative to the project's, or a URL such as `s3://bucket/path`.
    pub url: String,
    /// Settings of the object store by its own names. Credentials come from the environment.
    pub options: BTreeMap<String, String>,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self { url: format!("{STATE_FOLDER}/lake"), options: BTreeMap::new() }
    }
}

/// What the engine may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Bytes that sorts, joins and aggregates may hold together.
    pub memory_limit_bytes: usize,
    /// Parallel streams of a plan; `None` takes one per core.
    pub threads: Option<usize>,
    /// Where operators put what does not fit; `None` is the system's temporary folder.
    pub spill_dir: Option<PathBuf>,
    /// Bytes that may be spilled at a time.
    pub spill_limit_bytes: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { memory_limit_bytes: 2 << 30, threads: None, spill_dir: None, spill_limit_bytes: 100 << 30 }
    }
}

/// Jobs that run in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name on the command line.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Its jobs in order, each once.
    pub jobs: Vec<String>,
    /// What a failed member does to those after it.
    pub on_failure: OnFailure,
}

/// What a failed member of a chain does to those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They do not run.
    Stop,
    /// They run.
    Continue,
    /// Those that depend on it, directly or not, do not run.
    SkipDependents,
}

impl Project {
    /// Reads and checks the project in the folder `root`. No network, no change.
    pub fn load(root: &Path) -> Result<Self, Problems> {
        let sink = Sink::default();
        let mut project = Self {
            root: root.to_owned(),
            lake: LakeSettings::default(),
            engine: EngineSettings::default(),
            salesforce: BTreeMap::new(),
            gainsight: BTreeMap::new(),
            jobs: BTreeMap::new(),
            chains: BTreeMap::new(),
            warnings: Vec::new(),
        };
        let mut incomplete = false;
        let mut connections = BTreeSet::new();
        let mut read_chains = Vec::new();
        match main_file(root, &sink) {
            Some(file) => match file.parse(&sink) {
                Some(tree) => {
                    let table = Table::root(&file, &tree, &sink);
                    project.read_main(table, &mut connections, &mut read_chains);
                }
                None => incomplete = true,
            },
            None => incomplete = true,
        }
        let (read, names, unread) = read_jobs(root, &sink);
        incomplete |= unread;
        if read.is_empty() && names.is_empty() && sink.problem_count() == 0 {
            sink.report(
                &Place::file(JOBS_FOLDER),
                "the project has no job",
                "add a file such as pipelines/company_sync.toml; `sf2gs init` writes the out-of-the-box jobs",
            );
        }
        let known = Known {
            salesforce: &project.salesforce,
            gainsight: &project.gainsight,
            connections: &connections,
            jobs: &names,
            incomplete,
        };
        project.jobs = check_jobs::check(read, &known, &sink);
        project.chains = chains::check(read_chains, &project.jobs, &names, incomplete, &sink);
        project.warnings = sink.end()?;
        Ok(project)
    }

    /// What is allowed but probably not meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    fn read_main(
        &mut self,
        table: Table<'_>,
        connections: &mut BTreeSet<String>,
        read_chains: &mut Vec<chains::ReadChain>,
    ) {
        if let Some(lake) = table.table("lake") {
            self.lake = read_lake(lake);
        }
        if let Some(engine) = table.table("engine") {
            self.engine = read_engine(engine, &self.root);
        }
        if !table.has("connections") {
            table.need("connections", "add [connections.salesforce] and [connections.gainsight]");
        }
        for (name, connection) in table.named_tables("connections") {
            connections.insert(name.clone());
            match read_connection::read(&name, connection) {
                Some(Connection::Salesforce(connection)) => {
                    self.salesforce.insert(name, connection);
                }
                Some(Connection::Gainsight(connection)) => {
                    self.gainsight.insert(name, connection);
                }
                None => {}
            }
        }
        for (name, chain) in table.named_tables("chains") {
            read_chains.push(chains::read(name, chain));
        }
        table.end();
    }
}

fn main_file(root: &Path, sink: &Sink) -> Option<File> {
    match std::fs::read_to_string(root.join(PROJECT_FILE)) {
        Ok(text) => Some(File::new(PROJECT_FILE, text)),
        Err(e) => {
            let (message, hint) = if e.kind() == std::io::ErrorKind::NotFound {
                (format!("there is none in {}", folder_name(root)), "`sf2gs init` makes a project; -C names its folder")
            } else {
                (format!("it cannot be read: {e}"), "save it as text (UTF-8) that you may read")
            };
            sink.report(&Place::file(PROJECT_FILE), message, hint);
            None
        }
    }
}

fn folder_name(root: &Path) -> String {
    if root.as_os_str().is_empty() || root == Path::new(".") {
        "this folder".to_owned()
    } else {
        format!("the folder {}", root.display())
    }
}

/// Every job file, in the order of their names; the names of all jobs; whether some file could not be read.
fn read_jobs(root: &Path, sink: &Sink) -> (Vec<ReadJob>, BTreeSet<String>, bool) {
    let mut files: Vec<String> = std::fs::read_dir(root.join(JOBS_FOLDER))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && !name.starts_with('.'))
        .collect();
    files.sort();
    let mut jobs = Vec::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut unread = false;
    for name in files {
        let path = format!("{JOBS_FOLDER}/{name}");
        let text = match std::fs::read_to_string(root.join(&path)) {
            Ok(text) => text,
            Err(e) => {
                sink.report(
                    &Place::file(&path),
                    format!("it cannot be read: {e}"),
                    "save it as text (UTF-8) that you may read",
                );
                unread = true;
                continue;
            }
        };
        let file = File::new(&path, text);
        let Some(tree) = file.parse(sink) else {
            unread = true;
            continue;
        };
        let (name, job) = read_job::read(Table::root(&file, &tree, sink));
        let Some(Found { value: name, place }) = name else {
            unread = true;
            continue;
        };
        match names.get(&name) {
            Some(other) => {
                sink.report(&place, format!("`{name}` is the name of the job in {other} too"), "rename one of the two")
            }
            None => {
                names.insert(name, path);
                jobs.extend(job);
            }
        }
    }
    (jobs, names.into_keys().collect(), unread)
}

fn read_lake(table: Table<'_>) -> LakeSettings {
    let mut lake = LakeSettings::default();
    if let Some(url) = table.text("url") {
        lake.url = url.value;
    }
    if let Some(options) = table.table("options") {
        for (name, option) in options.named_texts() {
            let lower = name.to_ascii_lowercase();
            if ["secret", "token", "password", "access_key"].iter().any(|word| lower.contains(word)) {
                options.report(
                    &option.place,
                    format!("`{name}` is a credential, and this file may be shared"),
                    format!("remove it and set the environment variable {}", name.to_ascii_uppercase()),
                );
            }
            lake.options.insert(name, option.value);
        }
    }
    table.end();
    lake
}

fn read_engine(table: Table<'_>, root: &Path) -> EngineSettings {
    let mut engine = EngineSettings::default();
    if let Some(found) = table.parsed("memory_limit", amounts::bytes) {
        engine.memory_limit_bytes = usize::try_from(found.value).unwrap_or(usize::MAX);
        if found.value < 64 << 20 {
            table.report(&found.place, "sorts and joins cannot work in less than 64MB", "write at least \"64MB\"");
        }
    }
    engine.threads = table.number("threads", 1..=1024).map(|found| found.value);
    engine.spill_dir = table.text("spill_dir").map(|found| root.join(found.value));
    if let Some(found) = table.parsed("spill_limit", amounts::bytes) {
        engine.spill_limit_bytes = found.value;
    }
    table.end();
    engine
}
