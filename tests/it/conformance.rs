//! What our client needs of an org, asked of the sandbox always, and of a real org when the environment names one.
//!
//! | Variable | Meaning |
//! |---|---|
//! | `SF_TEST_ORG` | My Domain address of the org, such as `https://example.my.salesforce.com` |
//! | `SF_TEST_CLIENT_ID`, `SF_TEST_CLIENT_SECRET` | the app; alone they are a client-credentials login |
//! | `SF_TEST_REFRESH_TOKEN` | logs in with it instead |
//! | `SF_TEST_USERNAME`, `SF_TEST_KEY_FILE` | logs in by JWT instead |
//!
//! Nothing is written to the org. What cannot be asked of a target says `skipped: …` on stdout
//! (`cargo test --test it conformance:: -- --nocapture`).

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;
use chrono::TimeDelta;
use serde_json::json;
use sf2gs::connect::http::Url;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::error::ErrorKind;
use sf2gs::extract::salesforce::Prepared;
use sf2gs::extract::salesforce::ReadOptions;
use sf2gs::extract::salesforce::SourceRequest;
use sf2gs::extract::salesforce::prepare;
use sf2gs::sandbox::salesforce::OrgOptions;
use sf2gs::sandbox::salesforce::RunningOrg;
use sf2gs::sandbox::salesforce::serve;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::CallClass;
use sf2gs::telemetry::Secret;

use crate::support::reads::Rows;
use crate::support::reads::by_id;
use crate::support::reads::by_rest;
use crate::support::reads::of_org;
use crate::support::reads::open;
use crate::support::reads::request;
use crate::support::reads::rows;
use crate::support::visitor::Visitor;

/// Objects that every org has, and parents of theirs.
const OBJECTS: [(&str, &[&str]); 3] = [
    ("User", &["Manager.Email"]),
    ("Account", &["Owner.Email", "Owner.Manager.Username", "Parent.Name"]),
    ("Contact", &["Account.Name", "Account.Owner.Email", "ReportsTo.LastName"]),
];

/// The most records that are compared field by field.
const COMPARED: usize = 150;

/// An org to ask.
pub(crate) struct Target {
    name: String,
    settings: SalesforceSettings,
    /// The sandbox, which can be told to do what nobody does to a real org.
    sandbox: Option<RunningOrg>,
}

impl Target {
    /// A new sandbox org, with small pages.
    async fn sandbox() -> Self {
        let options = OrgOptions { users: 30, accounts: 120, contacts: 700, page_rows: 100, ..OrgOptions::default() };
        let org = serve(options, ([127, 0, 0, 1], 0).into()).await.unwrap();
        let visitor = Visitor::of(&org);
        for (object, name) in [("Account", "Name"), ("Contact", "LastName")] {
            let id = visitor.create(object, &json!({ name: "soon in the recycle bin" })).await;
            visitor.delete(object, &id).await;
        }
        Self { name: "sandbox".into(), settings: of_org(&org), sandbox: Some(org) }
    }

    /// The org that the environment names, or what is missing.
    fn of_environment() -> Result<Self, String> {
        let get = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let name = get("SF_TEST_ORG")?;
        let client_id = get("SF_TEST_CLIENT_ID")?;
        let secret = get("SF_TEST_CLIENT_SECRET").map(Secret::new);
        let login = if let Ok(token) = get("SF_TEST_REFRESH_TOKEN") {
            SalesforceLogin::RefreshToken { client_id, client_secret: secret.ok(), refresh_token: Secret::new(token) }
        } else if let Ok(username) = get("SF_TEST_USERNAME") {
            let file = get("SF_TEST_KEY_FILE")?;
            let private_key = Secret::new(std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?);
            SalesforceLogin::JwtBearer { client_id, username, private_key }
        } else {
            SalesforceLogin::ClientCredentials { client_id, client_secret: secret? }
        };
        let url = Url::parse(&name).map_err(|e| format!("SF_TEST_ORG: {e}"))?;
        Ok(Self { name, settings: SalesforceSettings::new(url, "62.0", login), sandbox: None })
    }

    fn client(&self) -> SalesforceClient {
        open(self.settings.clone(), &ApiCalls::default())
    }

    fn skipped(&self, what: &str, why: &str) {
        println!("skipped: {what} on {}: {why}", self.name);
    }

    /// All fields that the Bulk API reads, and some of parents, of the records up to ten minutes ago: a living org
    /// changes while it is asked.
    async fn everything(&self, client: &SalesforceClient, object: &str, parents: &[&str]) -> SourceRequest {
        let describe = client.describe(object).await.unwrap();
        let kinds = ["base64", "complexvalue", "json"];
        let mut fields: Vec<&str> = describe
            .fields
            .iter()
            .filter(|field| !kinds.contains(&field.kind.as_str()))
            .map(|field| field.name.as_str())
            .collect();
        fields.extend(parents);
        let until = match self.sandbox {
            Some(_) => None,
            None => Some(client.org_time().await.unwrap() - TimeDelta::minutes(10)),
        };
        SourceRequest { until, ..request(object, &fields) }
    }
}

/// The list of objects and their describes speak of the same objects, and the fields that jobs need are there.
pub(crate) async fn describes_are_complete(target: &Target) {
    let client = target.client();
    let listed = client.objects().await.unwrap();
    for (object, _) in OBJECTS {
        let summary = listed.iter().find(|summary| summary.name == object).expect(object);
        let describe = client.describe(object).await.unwrap();
        assert!(summary.queryable && describe.queryable);
        assert_eq!((&describe.name, &describe.label), (&summary.name, &summary.label));
        for field in ["Id", "SystemModstamp", "CreatedDate"] {
            assert!(describe.field(field).is_some(), "{object}.{field}");
        }
        for field in describe.fields.iter().filter(|field| field.kind == "address") {
            assert!(describe.parts(&field.name).count() >= 5, "{object}.{} has no parts", field.name);
        }
    }
    let account = client.describe("Account").await.unwrap();
    assert_eq!(account.relationship("Owner").unwrap().reference_to, ["User"]);
}

/// What REST counts, Bulk gives.
pub(crate) async fn counts_agree(target: &Target) {
    let client = target.client();
    for (object, _) in OBJECTS {
        let count =
            || async { client.query_page(&format!("SELECT COUNT() FROM {object}"), false).await.unwrap().total };
        let before = count().await;
        let prepared = prepare(&client, &request(object, &["Id"])).await.unwrap();
        let (batches, report) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
        if count().await != before {
            target.skipped("counts", "the org is changing");
            continue;
        }
        let landed = by_id(&batches);
        assert_eq!(report.rows, landed.len() as u64);
        assert_eq!(landed.len() - deleted(&prepared, &landed).len(), before as usize, "{object}");
    }
}

/// However pages are cut, fetched and compressed, the rows are the same.
pub(crate) async fn pages_make_no_difference(target: &Target) {
    let client = target.client();
    for (object, parents) in OBJECTS {
        let prepared = prepare(&client, &target.everything(&client, object, parents).await).await.unwrap();
        let (batches, whole) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
        let landed = by_id(&batches);
        assert_eq!(whole.rows, landed.len() as u64);
        let some = u32::try_from(landed.len() / 5).unwrap().max(1);
        for (page_rows, parallel, batch_rows, compress) in
            [(some, 1, 5, false), (some, 4, 8_192, true), (1_000_000, 4, 64, true), (some + 1, 2, 100, false)]
        {
            let other = open(SalesforceSettings { compress, ..target.settings.clone() }, &ApiCalls::default());
            let options = ReadOptions { page_rows, parallel, batch_rows };
            let (batches, report) = rows(&other, &prepared, options).await.unwrap();
            assert_eq!(by_id(&batches), landed, "{object} {options:?} compress: {compress}");
            if parallel == 1 {
                assert!(report.pages >= whole.pages && report.rows == whole.rows, "{report:?}");
            }
        }
        // An old version of the API has no links to pages that can be read side by side.
        let api_version = "57.0".to_owned();
        let old = open(SalesforceSettings { api_version, ..target.settings.clone() }, &ApiCalls::default());
        let options = ReadOptions { page_rows: some, parallel: 3, batch_rows: 1_000 };
        assert_eq!(by_id(&rows(&old, &prepared, options).await.unwrap().0), landed, "{object} by locators");
    }
}

/// `queryAll` gives what is in the recycle bin, marked, and a plain query does not.
pub(crate) async fn deletions_are_seen(target: &Target) {
    let client = target.client();
    for object in ["Account", "Contact"] {
        let prepared = prepare(&client, &request(object, &["Id"])).await.unwrap();
        let landed = by_id(&rows(&client, &prepared, ReadOptions::default()).await.unwrap().0);
        let gone = deleted(&prepared, &landed);
        match gone.iter().next() {
            Some(id) => {
                let found = client.query(&format!("SELECT Id FROM {object} WHERE Id = '{id}'")).await.unwrap();
                assert!(found.is_empty(), "{found:?}");
            }
            None if target.sandbox.is_some() => panic!("the sandbox holds no deleted {object}"),
            None => target.skipped("deletions", &format!("no {object} is in the recycle bin")),
        }
    }
}

fn deleted(prepared: &Prepared, landed: &Rows) -> BTreeSet<String> {
    let Ok(at) = prepared.schema.index_of("IsDeleted") else { return BTreeSet::new() };
    landed.iter().filter(|(_, cells)| cells[at].as_deref() == Some("true")).map(|(id, _)| id.clone()).collect()
}

/// Two windows that meet give each row of the whole once.
pub(crate) async fn windows_that_meet_are_the_whole(target: &Target) {
    let client = target.client();
    let whole = target.everything(&client, "Account", &[]).await;
    let whole = SourceRequest { fields: vec!["Name".into()], ..whole };
    let prepared = prepare(&client, &whole).await.unwrap();
    assert_eq!(prepared.cursor.as_deref(), Some("SystemModstamp"));
    let (batches, _) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    let at = prepared.schema.index_of("SystemModstamp").unwrap();
    let mut stamps: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(at).as_primitive::<TimestampMicrosecondType>().values().to_vec())
        .collect();
    stamps.sort();
    if stamps.is_empty() {
        return target.skipped("windows", "there is no Account");
    }
    let border = DateTime::from_timestamp_micros(stamps[stamps.len() / 2]);
    let mut joined = Rows::new();
    for window in [SourceRequest { until: border, ..whole.clone() }, SourceRequest { from: border, ..whole.clone() }] {
        let prepared = prepare(&client, &window).await.unwrap();
        for (id, cells) in by_id(&rows(&client, &prepared, ReadOptions::default()).await.unwrap().0) {
            assert!(joined.insert(id, cells).is_none(), "a row lies in both windows");
        }
    }
    assert_eq!(joined, by_id(&batches));
}

/// Every field of Bulk's is what REST says.
pub(crate) async fn values_are_what_rest_says(target: &Target) {
    let client = target.client();
    for (object, parents) in OBJECTS {
        let first = format!("SELECT Id FROM {object} ORDER BY SystemModstamp DESC, Id LIMIT {COMPARED}");
        let ids: Vec<_> = client
            .query(&first)
            .await
            .unwrap()
            .iter()
            .map(|row| format!("'{}'", row["Id"].as_str().unwrap()))
            .collect();
        let everything = target.everything(&client, object, parents).await;
        let condition = Some(format!("Id IN ({})", ids.join(",")));
        let compared = SourceRequest { condition, ..everything };
        let prepared = prepare(&client, &compared).await.unwrap();
        let landed = by_id(&rows(&client, &prepared, ReadOptions::default()).await.unwrap().0);
        // REST takes its query in the address: the records are asked for in portions.
        let mut said = Rows::new();
        let narrow = prepared.soql.split(" WHERE ").next().unwrap();
        for ids in ids.chunks(20) {
            let soql = format!("{narrow} WHERE Id IN ({})", ids.join(","));
            said.extend(by_rest(&client, &Prepared { soql, ..prepared.clone() }).await.unwrap());
        }
        for (id, cells) in &landed {
            let names = prepared.schema.fields().iter().map(|field| field.name());
            for ((name, bulk), rest) in names.zip(cells).zip(&said[id]) {
                assert_eq!(bulk, rest, "{object} {id} {name}");
            }
        }
        if landed.is_empty() {
            target.skipped("values", &format!("there is no {object} older than ten minutes"));
        }
    }
}

/// An expired session is renewed in mid-download, and nobody notices.
pub(crate) async fn sessions_are_renewed(target: &Target) {
    let Some(org) = &target.sandbox else {
        return target.skipped("the end of a session", "sessions of a real org are not ended");
    };
    let calls = ApiCalls::default();
    let client = open(target.settings.clone(), &calls);
    client.identity().await.unwrap();
    let before = calls.read()[&CallClass::SalesforceRest];
    for round in 1..=3 {
        org.end_sessions();
        let client = client.clone();
        let reads = OBJECTS.map(|(object, _)| {
            let client = client.clone();
            async move {
                let prepared = prepare(&client, &request(object, &["Id"])).await.unwrap();
                rows(&client, &prepared, ReadOptions { page_rows: 20, ..ReadOptions::default() }).await.unwrap()
            }
        });
        futures::future::join_all(reads).await;
        let tokens = calls.read()[&CallClass::SalesforceRest] - before;
        // Three describes once, and one login a round, whoever found the session expired.
        assert!(tokens <= 3 + 3 + round, "{tokens} calls of REST in round {round}");
    }
}

/// The org tells its limits, its clock, and what is used.
pub(crate) async fn limits_are_told(target: &Target) {
    let client = target.client();
    let (limits, time) = client.limits().await.unwrap();
    for name in ["DailyApiRequests", "DailyBulkV2QueryJobs", "DailyBulkV2QueryFileStorageMB"] {
        let limit = limits.get(name).expect(name);
        assert!(limit.remaining <= limit.max && limit.max > 0, "{name}: {limit:?}");
    }
    assert!((time - sf2gs::clock::Clock::system().now()).abs() < TimeDelta::days(1), "{time}");
    let usage = client.usage().unwrap();
    assert!(usage.used > 0 && usage.used <= usage.allowed, "{usage:?}");
    assert_eq!(client.identity().await.unwrap().org_id.len(), 18);
}

/// Refusals are told as what they are.
pub(crate) async fn refusals_are_told(target: &Target) {
    let client = target.client();
    let error = prepare(&client, &request("Acount", &["Name"])).await.unwrap_err();
    assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Config, Some("did you mean `Account`?")));
    let error = prepare(&client, &request("Account", &["Nmae"])).await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("`Name`"), "{error:?}");
    for condition in ["Colour = 'x'", "Name 'x'"] {
        let request = SourceRequest { condition: Some(condition.into()), ..request("Account", &["Name"]) };
        let prepared = prepare(&client, &request).await.unwrap();
        let error = rows(&client, &prepared, ReadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    }
    let gone = client.query_job("750000000000001AAA").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Unavailable, "{gone:?}");
}

/// A query that no address can hold is read by a job, and refused for REST in words of ours.
pub(crate) async fn long_queries_are_read(target: &Target) {
    let client = target.client();
    let mut fields = Vec::new();
    for (object, ways) in [
        ("Account", ["", "Parent.", "Parent.Parent.", "Parent.Parent.Parent.", "Parent.Parent.Parent.Parent."]),
        ("User", ["Owner.", "Parent.Owner.", "Parent.Parent.Owner.", "CreatedBy.", "Parent.Parent.Parent.Owner."]),
    ] {
        let describe = client.describe(object).await.unwrap();
        let kinds = ["base64", "complexvalue", "json", "address", "location"];
        let names = describe.fields.iter().filter(|field| !kinds.contains(&field.kind.as_str()));
        fields.extend(names.flat_map(|field| ways.map(|way| format!("{way}{}", field.name))));
    }
    let condition = Some("Name = 'no account has this name'".to_owned());
    let whole = SourceRequest { fields, condition, ..request("Account", &[]) };
    let prepared = prepare(&client, &whole).await.unwrap();
    assert!(prepared.soql.len() > 14_000, "{}", prepared.soql.len());
    let (_, report) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    assert_eq!(report.rows, 0);
    let error = client.query(&prepared.soql).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
}

async fn all(target: &Target) {
    macro_rules! ask {
        ($($what:ident),*) => {$(
            $what(target).await;
            println!("{}: {}", target.name, stringify!($what).replace('_', " "));
        )*};
    }
    ask!(
        describes_are_complete,
        counts_agree,
        pages_make_no_difference,
        deletions_are_seen,
        windows_that_meet_are_the_whole,
        values_are_what_rest_says,
        sessions_are_renewed,
        limits_are_told,
        refusals_are_told,
        long_queries_are_read
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_is_an_org() {
    all(&Target::sandbox().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_org_is_an_org() {
    match Target::of_environment() {
        Ok(target) => all(&target).await,
        Err(missing) => println!("skipped: no real org was asked, as {missing}"),
    }
}
