//! Reads from the sandbox org, where the sandbox alone can be brought into the state.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::DateTime;
use chrono::TimeDelta;
use futures::StreamExt;
use sf2gs::connect::salesforce::SalesforceClient;
use sf2gs::connect::salesforce::SalesforceLogin;
use sf2gs::connect::salesforce::SalesforceSettings;
use sf2gs::error::ErrorKind;
use sf2gs::extract::salesforce::ReadOptions;
use sf2gs::extract::salesforce::SourceRequest;
use sf2gs::extract::salesforce::prepare;
use sf2gs::extract::salesforce::read;
use sf2gs::sandbox::salesforce::OrgOptions;
use sf2gs::sandbox::salesforce::RunningOrg;
use sf2gs::sandbox::salesforce::serve;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::CallClass;
use sf2gs::telemetry::Secret;

use crate::support::reads::by_id;
use crate::support::reads::of_org;
use crate::support::reads::open;
use crate::support::reads::request;
use crate::support::reads::rows;

async fn org(options: OrgOptions) -> RunningOrg {
    serve(options, ([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn client(org: &RunningOrg) -> SalesforceClient {
    open(of_org(org), &ApiCalls::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_read_with_few_calls() {
    let org = org(OrgOptions::default()).await;
    let calls = ApiCalls::default();
    let client = open(of_org(&org), &calls);
    let full = request("Account", &["Name"]);
    let prepared = prepare(&client, &full).await.unwrap();
    let (batches, _) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    let at = prepared.schema.index_of("SystemModstamp").unwrap();
    let mut stamps: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(at).as_primitive::<TimestampMicrosecondType>().values().to_vec())
        .collect();
    stamps.sort();
    let (from, until) = (stamps[stamps.len() / 4], stamps[stamps.len() / 2]);
    let wanted = stamps.iter().filter(|stamp| (from..until).contains(stamp)).count();
    let time = |micros| DateTime::from_timestamp_micros(micros);
    let window = SourceRequest { from: time(from), until: time(until), ..full };
    let before = calls.read();
    let prepared = prepare(&client, &window).await.unwrap();
    let (_, report) = rows(&client, &prepared, ReadOptions::default()).await.unwrap();
    assert_eq!(report.rows, wanted as u64);
    // make, poll (once or twice), one page, delete; the describe and the session are known
    let used = calls.since(&before);
    assert!(!used.contains_key(&CallClass::SalesforceRest), "{used:?}");
    assert!(used[&CallClass::SalesforceBulk] <= 5, "{used:?}");
    assert!(client.usage().unwrap().used > 0);
    let org_time = client.org_time().await.unwrap();
    assert!((org_time - org.clock().now()).abs() < TimeDelta::seconds(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_in_mid_download_do_no_harm() {
    let org = org(OrgOptions { contacts: 3_000, rotate_refresh_tokens: true, ..OrgOptions::default() }).await;
    let client = client(&org);
    let prepared = prepare(&client, &request("Contact", &["LastName"])).await.unwrap();
    let options = ReadOptions { page_rows: 20, parallel: 1, batch_rows: 10 };
    let mut reading = read(&client, &prepared, options).await.unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = reading.next().await {
        batches.push(batch.unwrap());
        if batches.len() % 50 == 0 {
            org.end_sessions();
        }
    }
    assert!(by_id(&batches).len() >= 3_000);
}

#[tokio::test]
async fn every_way_of_logging_in_works() {
    let jwt_public_key = Some(include_str!("support/jwt_test_key.pub.pem").to_owned());
    let org = org(OrgOptions { jwt_public_key, ..OrgOptions::default() }).await;
    let private_key = Secret::new(include_str!("support/jwt_test_key.pem"));
    let client_id = org.client_id().to_owned();
    for login in [
        SalesforceLogin::ClientCredentials {
            client_id: client_id.clone(),
            client_secret: Secret::new(org.client_secret()),
        },
        SalesforceLogin::JwtBearer { client_id, username: org.username().to_owned(), private_key },
    ] {
        let client = open(SalesforceSettings { login, ..of_org(&org) }, &ApiCalls::default());
        assert_eq!(client.identity().await.unwrap().org_id, org.org_id());
        assert!(client.objects().await.unwrap().iter().any(|object| object.name == "Account"));
    }
    let refresh_token = Secret::new("wrong");
    let login = SalesforceLogin::RefreshToken {
        client_id: org.client_id().to_owned(),
        client_secret: Some(Secret::new(org.client_secret())),
        refresh_token,
    };
    let client = open(SalesforceSettings { login, ..of_org(&org) }, &ApiCalls::default());
    assert_eq!(client.identity().await.unwrap_err().kind(), ErrorKind::Access);
}

#[tokio::test]
async fn mistakes_are_told_with_the_right_name() {
    let org = org(OrgOptions::default()).await;
    let client = client(&org);
    let error = prepare(&client, &request("Acount", &["Name"])).await.unwrap_err();
    assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Config, Some("did you mean `Account`?")));
    let error = prepare(&client, &request("Account", &["Nmae", "Owner.Emial"])).await.unwrap_err();
    assert!(error.message().contains("`Name`") && error.message().contains("`Owner.Email`"), "{error}");

    let addresses = prepare(&client, &request("Account", &["BillingAddress"])).await.unwrap();
    assert!(addresses.replaced[0].1.contains(&"BillingCity".to_owned()), "{:?}", addresses.replaced);

    for (condition, word) in [("Colour = 'x'", "Colour"), ("Name 'x'", "unexpected")] {
        let request = SourceRequest { condition: Some(condition.into()), ..request("Account", &["Name"]) };
        let prepared = prepare(&client, &request).await.unwrap();
        let error = rows(&client, &prepared, ReadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().to_lowercase().contains(&word.to_lowercase()), "{error:?}");
    }
}

#[tokio::test]
async fn an_exhausted_org_says_when_to_come_back() {
    let org = org(OrgOptions { daily_api_requests: 3, ..OrgOptions::default() }).await;
    let client = client(&org);
    let prepared = prepare(&client, &request("Account", &["Name"])).await.unwrap();
    let error = rows(&client, &prepared, ReadOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.hint_text().unwrap().contains("24 hours"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_objects_are_read_at_once_by_clones() {
    let org = org(OrgOptions::default()).await;
    let client = Arc::new(client(&org));
    let reads = ["User", "Account", "Contact"].map(|object| {
        let client = Arc::clone(&client);
        async move {
            let prepared = prepare(&client, &request(object, &["Id"])).await?;
            rows(&client, &prepared, ReadOptions::default()).await
        }
    });
    for read in futures::future::join_all(reads).await {
        assert!(read.unwrap().1.rows >= 40);
    }
}
