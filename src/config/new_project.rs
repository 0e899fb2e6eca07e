//! A new project folder with the out-of-the-box jobs.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::addresses;
use crate::error::Error;
use crate::error::Result;

/// The out-of-the-box jobs and what keeps the program's own files out of version control, by path.
const FILES: &[(&str, &str)] = &[
    (".gitignore", "# ledger, local lake, secrets\n.sf2gs/\n"),
    ("pipelines/company_person_sync.toml", include_str!("../../pipelines/company_person_sync.toml")),
    ("pipelines/company_sync.toml", include_str!("../../pipelines/company_sync.toml")),
    ("pipelines/user_sync.toml", include_str!("../../pipelines/user_sync.toml")),
];

/// What is known about the two sides of a new project; the rest is left for a person to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProject {
    /// The org's custom domain.
    pub salesforce_domain: Option<String>,
    /// The consumer key of the connected app.
    pub salesforce_client_id: Option<String>,
    /// The tenant's address.
    pub gainsight_url: Option<String>,
    /// Where the secrets will be.
    pub secrets: SecretPlace,
    /// Whether the tenant has no quotas.
    pub unlimited: bool,
    /// Whether asynchronous people calls count against the bulk quota.
    pub people_async_is_bulk: bool,
    /// The tenant's bulk import jobs.
    pub bulk: Option<BulkTemplate>,
}

/// Where the secrets of a new project will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// The environment variables `SF_CLIENT_SECRET`, `SF_REFRESH_TOKEN` and `GS_ACCESS_KEY`.
    Env,
    /// The files `sf_client_secret`, `sf_refresh_token` and `gs_access_key` in `.sf2gs/secrets`.
    Files,
}

impl SecretPlace {
    fn of(self, variable: &str) -> String {
        match self {
            Self::Env => format!("{{ env = \"{variable}\" }}"),
            Self::Files => format!("{{ file = \".sf2gs/secrets/{}\" }}", variable.to_ascii_lowercase()),
        }
    }
}

/// Bulk import in a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkTemplate {
    /// Login name.
    pub login: String,
    /// The tenant's id.
    pub org_id: String,
    /// Object, job id and update keys of each job.
    pub jobs: Vec<(String, String, Vec<String>)>,
}

/// The files of a new project that are always the same, by path.
pub fn embedded_files() -> &'static [(&'static str, &'static str)] {
    FILES
}

impl NewProject {
    /// Writes the project into `folder`, which is made if it does not exist. A file that exists is never replaced: then
    /// nothing is written, and the error names it. Gives the paths of the files written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let refused = |(message, hint): (String, String)| Error::config(message).hint(hint);
        if let Some(domain) = &self.salesforce_domain {
            addresses::salesforce_domain(domain).map_err(refused)?;
        }
        if let Some(url) = &self.gainsight_url {
            addresses::gainsight(url).map_err(refused)?;
        }
        let main = self.main_file();
        let mut files: Vec<(PathBuf, &str)> = vec![(folder.join(super::project::PROJECT_FILE), &main)];
        files.extend(FILES.iter().map(|(path, text)| (folder.join(path), *text)));
        let existing: Vec<_> =
            files.iter().filter(|(path, _)| path.exists()).map(|(path, _)| path.display().to_string()).collect();
        if !existing.is_empty() {
            return Err(Error::config(format!(
                "there are files already that a new project would replace: {}",
                existing.join(", ")
            ))
            .hint("take another folder, or move them away"));
        }
        for (path, text) in &files {
            write_new(path, text).map_err(|e| {
                Error::unavailable(format!("{} cannot be written", path.display()))
                    .hint("make the folder writable")
                    .source(e)
            })?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    fn main_file(&self) -> String {
        let domain = match &self.salesforce_domain {
            Some(domain) => format!("domain = {}", quoted(domain)),
            None => {
                "# domain = \"https://your-domain.my.salesforce.com\"   # if the org has a custom domain".to_owned()
            }
        };
        let client_id = self.salesforce_client_id.as_deref().unwrap_or("the consumer key of your connected app");
        let url = self.gainsight_url.as_deref().unwrap_or("https://your-company.gainsightcloud.com");
        let limits = if self.unlimited {
            "limits = \"unlimited\""
        } else {
            "# limits = { sync_per_minute = 100, bulk_per_hour = 10 }   # the documented quotas; \"unlimited\" switches them off"
        };
        format!(
            r#"# An sf2gs project: the connections and chains. The jobs are in pipelines/*.toml.
# `sf2gs check` reports every mistake with its line; `sf2gs check --online` also asks both systems.

[lake]
url = ".sf2gs/lake"          # a folder, or s3://bucket/path with credentials from the environment

[engine]
memory_limit = "2GB"         # for sorts and joins; what does not fit is spilled to disk

[connections.salesforce]
type = "salesforce"
org = "production"           # production | sandbox
{domain}
auth = "refresh_token"       # refresh_token | client_credentials | jwt_bearer
client_id = {client_id}
# Secrets stand in the environment or in files, never here.
client_secret = {client_secret}
refresh_token = {refresh_token}

[connections.gainsight]
type = "gainsight"
url = {url}
auth = "access_key"          # access_key | m2m
access_key = {access_key}
person_key = ["Email"]       # the tenant's person resolution key
people_async = "{people_async}"        # the quota that asynchronous people calls use: bulk | sync
{limits}
{bulk}
# User, then Company, then Company Person: each finds what the ones before it loaded.
[chains.salesforce_company_person_sync]
title = "Salesforce_Company Person Sync"
jobs = ["user_sync", "company_sync", "company_person_sync"]
on_failure = "stop"          # stop | continue | skip_dependents
"#,
            client_id = quoted(client_id),
            client_secret = self.secrets.of("SF_CLIENT_SECRET"),
            refresh_token = self.secrets.of("SF_REFRESH_TOKEN"),
            url = quoted(url),
            access_key = self.secrets.of("GS_ACCESS_KEY"),
            people_async = if self.people_async_is_bulk { "bulk" } else { "sync" },
            bulk = self.bulk_lines(),
        )
    }

    fn bulk_lines(&self) -> String {
        let Some(bulk) = &self.bulk else {
            return r#"
# Bulk import is the cheapest route for many rows. It needs an upsert job made in the tenant, once per object.
# [connections.gainsight.bulk]
# login = "admin@your-company.com"
# org_id = "…"
# [connections.gainsight.bulk.jobs.company]
# id = "…"                     # as the job's page prints it
# keys = ["SfdcAccountId"]     # the update keys that it was configured with
"#
            .to_owned();
        };
        let mut lines = format!(
            "\n[connections.gainsight.bulk]\nlogin = {}\norg_id = {}\n",
            quoted(&bulk.login),
            quoted(&bulk.org_id)
        );
        for (object, id, keys) in &bulk.jobs {
            let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
            lines.push_str(&format!(
                "\n[connections.gainsight.bulk.jobs.{object}]\nid = {}\nkeys = [{}]\n",
                quoted(id),
                keys.join(", ")
            ));
        }
        lines
    }
}

/// A TOML text. JSON's escapes are a part of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
