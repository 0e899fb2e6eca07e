//! `[connections.*]` of `sf2gs.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::addresses;
use super::amounts;
use super::connection::{
    BulkJob, GainsightAuth, GainsightConnection, GainsightLimits, SalesforceAuth, SalesforceConnection,
};
use super::job::SecretRef;
use super::secrets;
use super::tree::Table;
use super::words;

/// The newest version that the client was checked against.
const API_VERSION: &str = "62.0";
/// Keeps a page at some ten megabytes for rows of ordinary width.
const PAGE_ROWS: u32 = 50_000;
/// Rows become visible to queries some time after their SystemModstamp; a window ends that long before now.
const LAG: Duration = Duration::from_secs(5 * 60);
/// How far a window reaches back behind the last one, for rows that became visible even later.
const OVERLAP: Duration = Duration::from_secs(10 * 60);

/// A connection of either side.
pub(super) enum Connection {
    Salesforce(SalesforceConnection),
    Gainsight(GainsightConnection),
}

#[derive(Clone, Copy)]
enum Kind {
    Salesforce,
    Gainsight,
}

/// Reads a connection; `None` after reporting what is missing for one.
pub(super) fn read(name: &str, table: Table<'_>) -> Option<Connection> {
    if !words::is_name(name) {
        table.report(&table.place, format!("`{name}` cannot name a connection"), words::name_rule(name));
    }
    match table.need_choice("type", &[("salesforce", Kind::Salesforce), ("gainsight", Kind::Gainsight)])?.value {
        Kind::Salesforce => salesforce(name, table).map(Connection::Salesforce),
        Kind::Gainsight => gainsight(name, table).map(Connection::Gainsight),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum SalesforceGrant {
    RefreshToken,
    ClientCredentials,
    JwtBearer,
}

fn salesforce(name: &str, table: Table<'_>) -> Option<SalesforceConnection> {
    let org = table.choice("org", &[("production", false), ("sandbox", true)]);
    let domain_given = table.text("domain");
    let domain = domain_given.as_ref().and_then(|domain| {
        addresses::salesforce_domain(&domain.value)
            .map_err(|(message, hint)| table.report(&domain.place, message, hint))
            .ok()
    });
    if let (Some(org), Some(domain)) = (&org, &domain) {
        let of_sandbox = domain.host_str().is_some_and(|host| host.contains(".sandbox."));
        if of_sandbox && !org.value {
            table.warn(
                &org.place,
                "org = \"production\" has no effect, because `domain` is that of a sandbox",
                "write org = \"sandbox\", or the domain of the production org",
            );
        }
    }
    let host = if org.as_ref().is_some_and(|org| org.value) {
        "https://test.salesforce.com"
    } else {
        "https://login.salesforce.com"
    };
    let login_url = match (&domain_given, domain) {
        (Some(_), domain) => domain,
        (None, _) => Url::parse(host).ok(),
    };
    let api_version = table
        .parsed("api_version", |text| {
            let version = text.strip_prefix(['v', 'V']).unwrap_or(text);
            let number = version.strip_suffix(".0").and_then(|number| number.parse::<u32>().ok());
            // Before, Bulk results had their columns in alphabetical order instead of the query's.
            number
                .filter(|number| (50..1000).contains(number))
                .map(|_| version.to_owned())
                .ok_or_else(|| format!("write a version such as \"{API_VERSION}\", not older than 50.0"))
        })
        .map_or(API_VERSION.to_owned(), |found| found.value);
    let page_rows = table.number("page_rows", 1_000..=250_000).map_or(PAGE_ROWS, |found| found.value);
    let lag = table.parsed("lag", |text| within(text, 3600)).map_or(LAG, |found| found.value);
    let overlap = table.parsed("overlap", |text| within(text, 86_400)).map_or(OVERLAP, |found| found.value);
    let auth = salesforce_auth(&table, domain_given.is_some());
    table.end();
    Some(SalesforceConnection {
        name: name.to_owned(),
        login_url: login_url?,
        api_version,
        auth: auth?,
        page_rows,
        lag,
        overlap,
    })
}

fn salesforce_auth(table: &Table<'_>, has_domain: bool) -> Option<SalesforceAuth> {
    use SalesforceGrant::{ClientCredentials, JwtBearer, RefreshToken};
    let grants =
        [("refresh_token", RefreshToken), ("client_credentials", ClientCredentials), ("jwt_bearer", JwtBearer)];
    let grant = table.need_choice("auth", &grants);
    let client_id = table.need_text("client_id", "write the consumer key of the connected app: client_id = \"3MVG…\"");
    let client_id = client_id.map(|found| found.value);
    let Some(grant) = grant else {
        // Which of these are right depends on `auth`: none is reported.
        for key in ["client_secret", "refresh_token", "username", "private_key"] {
            table.known(key);
        }
        return None;
    };
    let unused = |keys: &[&'static str], word: &str| {
        for key in keys {
            table.without_effect(key, &format!("auth is \"{word}\""), "remove it, or change `auth`");
        }
    };
    match grant.value {
        RefreshToken => {
            unused(&["username", "private_key"], "refresh_token");
            let client_secret = secrets::read(table, "client_secret", "SF_CLIENT_SECRET");
            let refresh_token = if table.has("refresh_token") {
                secrets::read(table, "refresh_token", "SF_REFRESH_TOKEN")
            } else {
                table.known("refresh_token");
                Some(SecretRef::Ledger("refresh_token".to_owned()))
            };
            Some(SalesforceAuth::RefreshToken { client_id: client_id?, client_secret, refresh_token: refresh_token? })
        }
        ClientCredentials => {
            unused(&["username", "private_key", "refresh_token"], "client_credentials");
            if !has_domain {
                table.report(
                    &grant.place,
                    "client credentials work on a custom domain only, not on the common login hosts",
                    "add domain = \"https://your-domain.my.salesforce.com\"",
                );
            }
            let client_secret = need_secret(table, "client_secret", "SF_CLIENT_SECRET");
            Some(SalesforceAuth::ClientCredentials { client_id: client_id?, client_secret: client_secret? })
        }
        JwtBearer => {
            unused(&["client_secret", "refresh_token"], "jwt_bearer");
            let username = table.need_text("username", "write the user that the program acts as: username = \"…\"");
            let private_key = need_secret(table, "private_key", "SF_PRIVATE_KEY");
            Some(SalesforceAuth::JwtBearer {
                client_id: client_id?,
                username: username?.value,
                private_key: private_key?,
            })
        }
    }
}

fn gainsight(name: &str, table: Table<'_>) -> Option<GainsightConnection> {
    let url = table.need_text("url", "write url = \"https://your-company.gainsightcloud.com\"").and_then(|url| {
        addresses::gainsight(&url.value).map_err(|(message, hint)| table.report(&url.place, message, hint)).ok()
    });
    let auth = gainsight_auth(&table);
    let limits = gainsight_limits(&table);
    let people_async = table.choice("people_async", &[("bulk", true), ("sync", false)]);
    let person_key: Vec<String> = match table.texts("person_key") {
        Some(fields) => fields
            .into_iter()
            .filter_map(|field| {
                let plain = field.value.strip_prefix("person.").unwrap_or(&field.value).to_owned();
                if words::is_api_name(&plain) {
                    return Some(plain);
                }
                table.report(
                    &field.place,
                    format!("`{}` is not a field of `person`", field.value),
                    "write its API name, such as \"Email\"",
                );
                None
            })
            .collect(),
        None => vec!["Email".to_owned()],
    };
    if person_key.is_empty() {
        table.report(&table.missing("person_key"), "the person key has no field", "write person_key = [\"Email\"]");
    }
    let (bulk_login, bulk_org_id, bulk_jobs) = table.table("bulk").map(bulk).unwrap_or_default();
    table.end();
    if person_key.is_empty() {
        return None;
    }
    Some(GainsightConnection {
        name: name.to_owned(),
        url: url?,
        auth: auth?,
        limits,
        bulk_jobs,
        bulk_login,
        bulk_org_id,
        person_key,
        people_async_is_bulk: people_async.is_none_or(|found| found.value),
    })
}

fn gainsight_auth(table: &Table<'_>) -> Option<GainsightAuth> {
    let grant = table.need_choice("auth", &[("access_key", true), ("m2m", false)]);
    match grant.map(|found| found.value) {
        Some(true) => {
            for key in ["client_id", "client_secret"] {
                table.without_effect(key, "auth is \"access_key\"", "remove it, or write auth = \"m2m\"");
            }
            Some(GainsightAuth::AccessKey(need_secret(table, "access_key", "GS_ACCESS_KEY")?))
        }
        Some(false) => {
            table.without_effect("access_key", "auth is \"m2m\"", "remove it, or write auth = \"access_key\"");
            let client_id = table.need_text("client_id", "write the id of the machine-to-machine credentials");
            let client_secret = need_secret(table, "client_secret", "GS_CLIENT_SECRET");
            Some(GainsightAuth::M2m { client_id: client_id?.value, client_secret: client_secret? })
        }
        None => {
            for key in ["access_key", "client_id", "client_secret"] {
                table.known(key);
            }
            None
        }
    }
}

/// `limits = "unlimited"`, or a table of those that differ from the documented ones.
fn gainsight_limits(table: &Table<'_>) -> GainsightLimits {
    let mut limits = GainsightLimits::default();
    if table.is_text("limits") {
        let unlimited = table.choice("limits", &[("unlimited", true), ("documented", false)]);
        if unlimited.is_some_and(|found| found.value) {
            limits = GainsightLimits {
                sync_per_minute: None,
                sync_per_day: None,
                bulk_per_hour: None,
                bulk_per_day: None,
                users_per_hour: None,
                users_per_day: None,
                ..limits
            };
        }
        return limits;
    }
    let Some(given) = table.table("limits") else { return limits };
    for (key, limit) in [
        ("sync_per_minute", &mut limits.sync_per_minute),
        ("sync_per_day", &mut limits.sync_per_day),
        ("bulk_per_hour", &mut limits.bulk_per_hour),
        ("bulk_per_day", &mut limits.bulk_per_day),
        ("users_per_hour", &mut limits.users_per_hour),
        ("users_per_day", &mut limits.users_per_day),
    ] {
        if let Some(found) = given.limit(key) {
            *limit = found.value;
        }
    }
    if let Some(found) = given.number("concurrency", 1..=64) {
        limits.concurrency = found.value;
    }
    given.end();
    limits
}

fn bulk(table: Table<'_>) -> (Option<String>, Option<String>, BTreeMap<String, BulkJob>) {
    let login = table.need_text("login", "write the login name of the tenant's administrator");
    let org_id = table.need_text("org_id", "write the tenant's id (appOrgId), as its bulk job's page prints it");
    let mut jobs = BTreeMap::new();
    for (object, job) in table.named_tables("jobs") {
        let lower = object.to_ascii_lowercase();
        if matches!(lower.as_str(), "gsuser" | "user" | "person" | "company_person" | "people") {
            job.report(
                &job.place,
                format!("Gainsight's bulk import does not load `{object}`"),
                "remove this job: people and users have routes of their own",
            );
        }
        let id = job.need_text("id", "write the job's id, as the tenant's job page prints it");
        let keys = job.texts("keys").unwrap_or_default();
        if keys.is_empty() {
            job.need("keys", "write the update keys that the job was configured with: keys = [\"SfdcAccountId\"]");
        }
        job.end();
        if let Some(id) = id {
            let keys = keys.into_iter().map(|key| key.value).collect();
            jobs.insert(lower, BulkJob { id: id.value, keys });
        }
    }
    table.end();
    (login.map(|found| found.value), org_id.map(|found| found.value), jobs)
}

fn need_secret(table: &Table<'_>, key: &'static str, example: &str) -> Option<SecretRef> {
    if !table.has(key) {
        table.need(key, &format!("write {key} = {{ env = \"{example}\" }} and set that variable"));
        table.known(key);
        return None;
    }
    secrets::read(table, key, example)
}

fn within(text: &str, seconds: u64) -> Result<Duration, String> {
    let length = amounts::duration(text)?;
    if length <= Duration::from_secs(seconds) { Ok(length) } else { Err(format!("use at most {}h", seconds / 3600)) }
}
