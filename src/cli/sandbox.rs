//! `sf2gs sandbox`: both sandboxes until stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::clock::Clock;
use crate::config::project::{BulkTemplate, NewProject, SecretPlace};
use crate::error::{Error, Result};
use crate::sandbox::gainsight::{self, RunningTenant, TenantOptions};
use crate::sandbox::salesforce::{self, OrgOptions, RunningOrg};

use super::output::{self, Format};
use super::{Outcome, Shared};

/// How much is generated.
#[derive(Debug, Clone, Args)]
pub(super) struct DataArguments {
    /// Accounts; the first 503 are the companies of the S&P 500
    #[arg(long, default_value_t = 503)]
    accounts: u32,
    /// Contacts
    #[arg(long, default_value_t = 2_000)]
    contacts: u32,
    /// Opportunities
    #[arg(long, default_value_t = 400)]
    opportunities: u32,
    /// Cases, some of them owned by queues
    #[arg(long, default_value_t = 300)]
    cases: u32,
    /// Records of the custom object Subscription__c
    #[arg(long, default_value_t = 350)]
    subscriptions: u32,
    /// Users
    #[arg(long, default_value_t = 40)]
    users: u32,
    /// Seed of everything that is generated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plant no rows that must be rejected
    #[arg(long)]
    clean_data: bool,
}

impl DataArguments {
    pub(super) fn org(&self, clock: Clock) -> OrgOptions {
        OrgOptions {
            seed: self.seed,
            users: self.users as usize,
            accounts: self.accounts as usize,
            contacts: self.contacts as usize,
            opportunities: self.opportunities as usize,
            cases: self.cases as usize,
            subscriptions: self.subscriptions as usize,
            clean: self.clean_data,
            clock,
            ..OrgOptions::default()
        }
    }
}

/// How the org behaves.
#[derive(Debug, Args)]
struct OrgArguments {
    /// API requests that the org allows in 24 hours
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    daily_api_requests: u64,
    /// Bulk query jobs that the org allows in 24 hours
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    daily_bulk_query_jobs: u64,
    /// Bulk batches that the org allows in 24 hours
    #[arg(long, value_name = "N", default_value_t = 15_000)]
    daily_bulk_batches: u64,
    /// Rows of a bulk result page where a client names no number
    #[arg(long, value_name = "ROWS", default_value_t = 250_000)]
    bulk_page_rows: usize,
    /// Each refresh of a token gives a new refresh token and ends the old one
    #[arg(long)]
    rotate_refresh_tokens: bool,
    /// Where the web-server flow may send a browser back to; may be given several times
    #[arg(long, value_name = "URL")]
    callback_url: Vec<String>,
    /// PEM file of the public key whose owner may log in by JWT
    #[arg(long, value_name = "FILE")]
    jwt_public_key: Option<PathBuf>,
    /// File for the certificate of the org's own authority; a new temporary one unless given
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl OrgArguments {
    fn apply(&self, options: &mut OrgOptions) -> Result<()> {
        options.daily_api_requests = self.daily_api_requests;
        options.daily_bulk_query_jobs = self.daily_bulk_query_jobs;
        options.daily_bulk_batches = self.daily_bulk_batches;
        options.page_rows = self.bulk_page_rows;
        options.rotate_refresh_tokens = self.rotate_refresh_tokens;
        options.callback_urls.extend(self.callback_url.iter().cloned());
        if let Some(file) = &self.jwt_public_key {
            let pem = std::fs::read_to_string(file).map_err(|cause| {
                Error::config(format!("the public key `{}` cannot be read", file.display()))
                    .hint("name a PEM file with `--jwt-public-key`")
                    .source(cause)
            })?;
            options.jwt_public_key = Some(pem);
        }
        Ok(())
    }

    /// Writes the authority's certificate where clients find it.
    fn write_authority(&self, pem: &str) -> Result<PathBuf> {
        let fail = |cause: std::io::Error| {
            Error::config("the certificate of the sandbox's authority cannot be written")
                .hint("name a file that can be written with `--ca-file`")
                .source(cause)
        };
        if let Some(file) = &self.ca_file {
            std::fs::write(file, pem).map_err(fail)?;
            return Ok(file.clone());
        }
        let file = tempfile::Builder::new().prefix("sf2gs-sandbox-ca-").suffix(".pem").tempfile().map_err(fail)?;
        std::fs::write(file.path(), pem).map_err(fail)?;
        file.into_temp_path().keep().map_err(|kept| fail(kept.error))
    }
}

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
pub(super) struct SandboxArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Port of the Salesforce org; 0 takes a free one
    #[arg(long, default_value_t = 8701)]
    salesforce_port: u16,
    /// Port of the Gainsight tenant; 0 takes a free one
    #[arg(long, default_value_t = 8702)]
    gainsight_port: u16,
    /// TOML file that adds objects and fields to the org; may be given several times
    #[arg(long, value_name = "FILE")]
    schema: Vec<PathBuf>,
    /// File with records for the org: CSV named after its object, sObject tree or plan; may be given several times
    #[arg(long, value_name = "FILE")]
    import: Vec<PathBuf>,
    /// Give the org several currencies: CurrencyType, and CurrencyIsoCode on records
    #[arg(long)]
    multi_currency: bool,
    /// Switch the tenant's documented quotas off
    #[arg(long)]
    no_quotas: bool,
    #[command(flatten)]
    org: OrgArguments,
    /// Also make a project folder that points at both
    #[arg(long, value_name = "DIR")]
    init: Option<PathBuf>,
}

pub(super) async fn sandbox(shared: Shared, arguments: SandboxArguments) -> Result<Outcome> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut options = arguments.data.org(Clock::system());
    options.schema = arguments.schema;
    options.import = arguments.import;
    options.multi_currency = arguments.multi_currency;
    arguments.org.apply(&mut options)?;
    let org = salesforce::serve(options, at(arguments.salesforce_port)).await?;
    let authority = arguments.org.write_authority(org.authority())?;
    let options = TenantOptions { quotas: !arguments.no_quotas, clock: Clock::system(), ..TenantOptions::default() };
    let tenant = gainsight::serve(options, at(arguments.gainsight_port)).await?;
    if let Some(folder) = &arguments.init {
        write_project(folder, &org, &tenant, !arguments.no_quotas)?;
    }
    if shared.format == Format::Table {
        for line in describe(&org, &tenant, &authority, arguments.init.as_deref()) {
            output::line(&line)?;
        }
    } else {
        output::line(&settings(&org, &tenant, &authority).to_string())?;
    }
    // Ctrl-C ends the process through the command line's own handler.
    std::future::pending::<()>().await;
    Ok(Outcome::Done)
}

fn settings(org: &RunningOrg, tenant: &RunningTenant, authority: &Path) -> serde_json::Value {
    serde_json::json!({
        "salesforce": {
            "url": org.url(), "client_id": org.client_id(), "client_secret": org.client_secret(),
            "refresh_token": org.refresh_token(), "username": org.username(), "password": org.password(),
            "security_token": org.security_token(), "https_url": org.https_url(), "ca_file": authority,
            "org_id": org.org_id(),
        },
        "gainsight": {
            "url": tenant.url(), "access_key": tenant.access_key, "m2m_client_id": tenant.m2m_client_id,
            "m2m_client_secret": tenant.m2m_client_secret, "bulk_login": tenant.bulk_login,
            "bulk_org_id": tenant.bulk_org_id,
            "bulk_jobs": tenant.bulk_jobs.iter().map(|job| serde_json::json!({"object": job.object, "id": job.id, "keys": job.keys})).collect::<Vec<_>>(),
        },
    })
}

fn describe(org: &RunningOrg, tenant: &RunningTenant, authority: &Path, project: Option<&Path>) -> Vec<String> {
    let mut lines = vec![
        format!("Salesforce org    {}  (or {})", org.url(), org.https_url()),
        format!("  log in as       {}", org.username()),
        format!("  password        {}  security token {}", org.password(), org.security_token()),
        format!("  certificates    {}", authority.display()),
        format!("Gainsight tenant  {}", tenant.url()),
        String::new(),
    ];
    match project {
        Some(folder) => lines
            .push(format!("In another terminal:\n  sf2gs -C {} run salesforce_company_person_sync", folder.display())),
        None => {
            lines.push("In another terminal:".to_owned());
            lines.push(format!("  export SF_CLIENT_SECRET={}", org.client_secret()));
            lines.push(format!("  export SF_REFRESH_TOKEN={}", org.refresh_token()));
            lines.push(format!("  export GS_ACCESS_KEY={}", tenant.access_key));
            lines.push(format!(
                "  sf2gs init my-sync --salesforce {} --client-id {} --gainsight {}",
                org.url(),
                org.client_id(),
                tenant.url()
            ));
            lines.push("  sf2gs -C my-sync run salesforce_company_person_sync".to_owned());
        }
    }
    lines.push(String::new());
    lines.push("Ctrl-C stops both; their data is gone then.".to_owned());
    lines
}

/// Makes a project folder that points at the two sandboxes, its secrets in files that only the owner can read.
pub(super) fn write_project(folder: &Path, org: &RunningOrg, tenant: &RunningTenant, quotas: bool) -> Result<()> {
    let secrets = [
        ("sf_client_secret", org.client_secret().to_owned()),
        ("sf_refresh_token", org.refresh_token()),
        ("gs_access_key", tenant.access_key.clone()),
    ];
    let project = NewProject {
        salesforce_domain: Some(org.url().to_string()),
        salesforce_client_id: Some(org.client_id().to_owned()),
        gainsight_url: Some(tenant.url().to_string()),
        secrets: SecretPlace::Files,
        unlimited: !quotas,
        people_async_is_bulk: quotas,
        bulk: Some(BulkTemplate {
            login: tenant.bulk_login.clone(),
            org_id: tenant.bulk_org_id.clone(),
            jobs: tenant.bulk_jobs.iter().map(|job| (job.object.clone(), job.id.clone(), job.keys.clone())).collect(),
        }),
    };
    project.write(folder)?;
    for (name, value) in secrets {
        crate::config::secrets::write_secret_file(&folder.join(".sf2gs").join("secrets").join(name), &value)?;
    }
    Ok(())
}
