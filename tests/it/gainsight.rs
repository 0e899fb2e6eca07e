//! The Gainsight client and the reading of mirrors: against a scripted server for what goes wrong, against the sandbox
//! for everything else.

use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::util::pretty::pretty_format_batches;
use bytes::Bytes;
use chrono::TimeDelta;
use datafusion::arrow;
use datafusion::arrow::array::RecordBatch;
use futures::TryStreamExt;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::config::connection::GainsightLimits;
use sf2gs::connect::gainsight::GainsightClient;
use sf2gs::connect::gainsight::GainsightLogin;
use sf2gs::connect::gainsight::Operator;
use sf2gs::connect::gainsight::Query;
use sf2gs::connect::gainsight::WriteAnswer;
use sf2gs::error::ErrorKind;
use sf2gs::extract::gainsight::deleted_since;
use sf2gs::extract::gainsight::read_mirror;
use sf2gs::sandbox::gainsight::Dates;
use sf2gs::sandbox::gainsight::EmptyRead;
use sf2gs::sandbox::gainsight::ReadShape;
use sf2gs::sandbox::gainsight::Switches;
use sf2gs::telemetry::ApiCalls;
use sf2gs::telemetry::CallClass;
use sf2gs::telemetry::Secret;

use crate::support::scripted::Answer;
use crate::support::scripted::Scripted;
use crate::support::tenant::World;
use crate::support::tenant::client;
use crate::support::tenant::no_limits;
use crate::support::tenant::settings;

/// A client of a scripted server.
async fn scripted() -> (Scripted, GainsightClient, ApiCalls) {
    let server = Scripted::start().await.unwrap();
    let (client, calls) = client(settings(&server.url("/"), "key", no_limits()), &Clock::system());
    (server, client, calls)
}

fn ok(data: Json) -> Answer {
    Answer::json(
        &json!({"result": true, "errorCode": null, "errorDesc": null, "requestId": "r", "data": data, "message": null}),
    )
}

fn names() -> Query {
    Query::select(["Gsid", "Name"])
}

#[tokio::test]
async fn a_query_reads_all_documented_shapes_and_sends_the_key() {
    let (server, client, _) = scripted().await;
    server.push(ok(json!({"records": [{"Gsid": "1"}]})));
    server.push(ok(json!([{"Gsid": "1"}])));
    server.push(ok(json!({"records": []})));
    server.push(ok(Json::Null));
    server.push(Answer::new(400, r#"{"result":false,"errorCode":"GSOBJ_1011","errorDesc":"No entity matches"}"#));
    server.push(Answer::json(
        &json!({"result": false, "errorCode": "GSOBJ_1XXX", "errorDesc": "No data found for given criteria"}),
    ));
    for rows in [1, 1, 0, 0, 0, 0] {
        let records = client.query("company", &names()).await.unwrap();
        assert_eq!((records.is_empty(), records.values().unwrap().len()), (rows == 0, rows));
    }
    let asked = &server.received()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/data/objects/query/company"));
    assert_eq!(asked.header("accesskey"), Some("key"));
}

#[tokio::test]
async fn a_false_result_in_a_200_is_a_failure() {
    let (server, client, _) = scripted().await;
    server.push(Answer::json(
        &json!({"result": false, "errorCode": "GSOBJ_1002", "errorDesc": "Invalid field", "requestId": "r-7"}),
    ));
    let error = client.query("company", &names()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("GSOBJ_1002: Invalid field"));
    assert!(error.places().contains(&("request", "r-7".to_owned())));
}

#[tokio::test]
async fn an_insert_without_an_answer_is_sent_once_and_its_outcome_is_unknown() {
    let (server, client, _) = scripted().await;
    for answer in [
        Answer::cut_before_headers(),
        ok(json!({})).cut_after_headers(),
        Answer::new(500, r#"{"result":false,"errorCode":"GU_1101","errorDesc":"Oops, something went wrong"}"#),
        Answer::new(502, "<html>Bad Gateway</html>"),
    ] {
        server.push(answer);
        let before = server.requests();
        let answer = client.insert("company", Bytes::from_static(b"{\"records\":[]}")).await.unwrap();
        assert!(matches!(answer, WriteAnswer::Unknown(_)), "{answer:?}");
        assert_eq!(server.requests(), before + 1);
    }
}

#[tokio::test]
async fn an_update_without_an_answer_is_sent_again() {
    let (server, client, _) = scripted().await;
    server.push(Answer::cut_before_headers());
    server.push(Answer::new(500, "{}"));
    server.push(ok(json!({"count": 1, "records": [{"Gsid": "1"}]})));
    let answer = client.update("company", "Gsid", Bytes::from_static(b"{}")).await.unwrap();
    assert!(matches!(answer, WriteAnswer::Accepted(accepted) if accepted.gsids == ["1"]));
    assert_eq!(server.requests(), 3);
    assert_eq!(server.received()[0].path, "/v1/data/objects/company?keys=Gsid");
}

#[tokio::test]
async fn what_no_row_can_be_blamed_for_is_an_error() {
    let (server, client, _) = scripted().await;
    for (status, code, kind) in [
        (401, "GS_APIG_2401", ErrorKind::Access),
        (403, "GS_APIG_2402", ErrorKind::Access),
        (404, "GS_APIG_1000", ErrorKind::Config),
        (400, "GSOBJ_1024", ErrorKind::Access),
    ] {
        let body = json!({"result": false, "errorCode": code, "errorDesc": "no", "requestId": "r", "message": "no"});
        server.push(Answer::new(status, body.to_string()));
        assert_eq!(client.insert("company", Bytes::new()).await.unwrap_err().kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn every_wording_of_too_many_calls_waits_for_the_next_window() {
    for (status, code) in [(429, "GS_APIG_2404"), (429, "GU_2400"), (200, "GS_APIG_2404"), (400, "GU_2400")] {
        let server = Scripted::start().await.unwrap();
        let clock = Clock::held_at("2026-03-01T10:00:10Z".parse().unwrap());
        let (client, _) = client(settings(&server.url("/"), "key", GainsightLimits::default()), &clock);
        server.push(Answer::new(status, json!({"result": false, "errorCode": code}).to_string()));
        server.push(ok(json!({"records": []})));
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.insert("company", Bytes::new()).await }
        });
        while server.requests() < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(server.requests(), 1, "{code} must wait");
        clock.advance(TimeDelta::seconds(51));
        let answer = asking.await.unwrap().unwrap();
        assert!(matches!(answer, WriteAnswer::Accepted(_)), "{status} {code}: {answer:?}");
    }
}

#[tokio::test]
async fn the_tenants_clock_is_read_from_the_date_header() {
    let (server, client, _) = scripted().await;
    server.push(ok(json!([])).header("date", "Sun, 01 Mar 2026 10:00:00 GMT"));
    client.query("company", &names()).await.unwrap();
    let off = client.tenant_time() - "2026-03-01T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(off.num_seconds().abs() < 5, "{off}");
}

#[tokio::test]
async fn an_m2m_token_is_fetched_once_and_renewed_once_when_refused() {
    let server = Scripted::start().await.unwrap();
    let mut settings = settings(&server.url("/"), "unused", no_limits());
    settings.login = GainsightLogin::M2m { client_id: "id".into(), client_secret: Secret::new("secret") };
    let (client, _) = client(settings, &Clock::system());
    let token =
        |value: &str| Answer::json(&json!({"access_token": value, "token_type": "Bearer", "expires_in": 86400}));
    server.push_for("POST", "/v1/users/m2m/oauth/token", token("one").delayed(Duration::from_millis(30)));
    for _ in 0..8 {
        server.push_for("POST", "/v1/data", ok(json!([])));
    }
    let query = names();
    futures::future::try_join_all((0..8).map(|_| client.query("company", &query))).await.unwrap();
    let logins = |server: &Scripted| server.received().iter().filter(|asked| asked.path.ends_with("/token")).count();
    assert_eq!(logins(&server), 1);
    server.push_for("POST", "/v1/data", Answer::new(401, r#"{"result":false,"errorCode":"GS_APIG_2401"}"#));
    server.push_for("POST", "/v1/users/m2m/oauth/token", token("two"));
    server.push_for("POST", "/v1/data", ok(json!([])));
    client.query("company", &query).await.unwrap();
    assert_eq!(server.received().last().unwrap().header("authorization"), Some("Bearer two"));
    for _ in 0..2 {
        server.push_for("POST", "/v1/data", Answer::new(401, r#"{"result":false,"errorCode":"GS_APIG_2401"}"#));
    }
    server.push_for("POST", "/v1/users/m2m/oauth/token", token("three"));
    assert_eq!(client.query("company", &query).await.unwrap_err().kind(), ErrorKind::Access);
    assert_eq!(logins(&server), 3);
}

#[tokio::test]
async fn a_page_is_followed_by_the_records_after_its_last_id() {
    let (server, client, _) = scripted().await;
    let company = json!([{"objectName": "company", "fields": [
        {"fieldName": "Gsid", "dataType": "GSID", "meta": {}},
        {"fieldName": "Name", "dataType": "STRING", "meta": {}},
        {"fieldName": "ModifiedDate", "dataType": "DATETIME", "meta": {}}]}]);
    server.push(ok(company));
    let page = |from: usize, to: usize| {
        let rows: Vec<_> = (from..to).map(|at| json!({"Gsid": format!("{at:05}"), "Name": "x"})).collect();
        ok(json!({"records": rows}))
    };
    server.push(page(0, 5_000));
    server.push(page(5_000, 5_010));
    let metadata = client.describe("Company").await.unwrap();
    client.describe("company").await.unwrap();
    let since = "2026-03-01T10:00:00.5Z".parse().unwrap();
    let reading = read_mirror(&client, &metadata, &["Name".to_owned()], Some(since));
    let rows: usize =
        reading.map_ok(|batch| batch.num_rows()).try_fold(0, |a, b| async move { Ok(a + b) }).await.unwrap();
    assert_eq!(rows, 5_010);
    let asked = server.received();
    assert_eq!(asked.len(), 3, "the describe is asked once, and a short page is the last");
    let second: Json = serde_json::from_slice(&asked[2].body).unwrap();
    assert_eq!(second["where"]["conditions"][0]["value"], json!(["04999"]));
    assert_eq!(second["where"]["conditions"][1]["value"], json!(["2026-03-01T10:00:00Z"]));
}

#[tokio::test]
async fn a_tenant_that_repeats_a_page_or_breaks_one_is_found_out() {
    let (server, client, _) = scripted().await;
    let fields = ["Gsid", "Name"].map(|name| sf2gs::connect::gainsight::FieldMetadata::new(name, Default::default()));
    let metadata = sf2gs::connect::gainsight::ObjectMetadata::new("company", "Company", fields.into());
    let rows: Vec<_> = (0..5_000).map(|at| json!({"Gsid": format!("{at:05}")})).collect();
    server.push(ok(json!(rows)));
    server.push(ok(json!(rows)));
    let outcome: sf2gs::error::Result<Vec<RecordBatch>> =
        read_mirror(&client, &metadata, &[], None).try_collect().await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Integrity);
    server.push(ok(json!([{"Name": "no id"}])));
    let outcome: sf2gs::error::Result<Vec<RecordBatch>> =
        read_mirror(&client, &metadata, &[], None).try_collect().await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Integrity);
}

/// The mirror of the sandbox's companies as a table.
async fn mirror(world: &World) -> RecordBatch {
    let fields = ["Name", "Employees", "Arr", "Stage", "RenewalDate", "Csm"].map(str::to_owned);
    let reading = read_mirror(&world.client, &world.metadata["company"], &fields, None);
    let schema = reading.schema();
    let batches: Vec<_> = reading.try_collect().await.unwrap();
    concat_batches(&schema, &batches).unwrap()
}

#[tokio::test]
async fn every_shape_that_a_tenant_may_have_gives_the_same_mirror() {
    let world = World::new().await;
    let empty = mirror(&world).await;
    assert_eq!(empty.num_rows(), 0);
    let records = json!([
        {"Name": "A \"quoted\", Größe 株\nline", "Employees": 7, "Arr": 12.5, "Stage": "Adopting", "RenewalDate": "2026-01-31"},
        {"Name": "B"},
    ]);
    let gsids = world.insert("company", records).await;
    let plain = mirror(&world).await;
    let shown = pretty_format_batches(&[plain.project(&[1, 2, 3, 4, 5]).unwrap()]).unwrap().to_string();
    assert!(shown.contains("| 7         | 12.50 | Adopting | 2026-01-31  |"), "{shown}");
    for change in [
        Switches { dates: Dates::EpochMs, ..Switches::default() },
        Switches { read_shape: ReadShape::List, empty_read: EmptyRead::Gsobj1011, ..Switches::default() },
        Switches { empty_text_for_null_dates: true, ..Switches::default() },
    ] {
        world.tenant.set_switches(change.clone());
        assert_eq!(mirror(&world).await, plain, "{change:?}");
        let none = names().filter("Name", Operator::Eq, vec![json!("nobody")]);
        assert!(world.client.query("company", &none).await.unwrap().is_empty());
    }
    let since = world.client.tenant_time() - TimeDelta::minutes(1);
    assert!(deleted_since(&world.client, "company", since).await.unwrap().is_empty());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = world.tenant.url().join(&format!("/v1/data/objects/company/{}", gsids[1])).unwrap();
    http.delete(url).header("accesskey", &world.tenant.access_key).send().await.unwrap();
    assert_eq!(deleted_since(&world.client, "company", since).await.unwrap(), [gsids[1].clone()]);
}

#[tokio::test]
async fn a_tenant_without_the_log_of_deletions_tells_of_none() {
    let (server, client, _) = scripted().await;
    server.push(Answer::new(404, r#"{"requestId":"r","result":false,"title":"OBJECT_NOT_FOUND","detail":"Requested object not found.","errorDesc":"Requested object not found."}"#));
    let since = "2026-03-01T10:00:00Z".parse().unwrap();
    assert!(deleted_since(&client, "company", since).await.unwrap().is_empty());
    server.push(Answer::new(
        404,
        r#"{"requestId":"r","result":false,"title":"OBJECT_NOT_FOUND","errorDesc":"Requested object not found."}"#,
    ));
    let error = client.describe("nothing__gc").await.unwrap_err();
    assert_eq!(error.message(), "the tenant has no object `nothing__gc`");
}

#[tokio::test]
async fn calls_are_counted_in_the_class_whose_quota_they_use() {
    let world = World::new().await;
    let before = world.calls.read();
    world.client.create_users(Bytes::from_static(br#"{"records":[]}"#)).await.unwrap();
    world.client.put_people_async(Bytes::from_static(br#"{"records":[]}"#)).await.ok();
    world.client.query("company", &names()).await.unwrap();
    let counted = world.calls.since(&before);
    let expected =
        [(CallClass::GainsightSync, 1), (CallClass::GainsightBulk, 1), (CallClass::GainsightUsers, 1)].into();
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn an_export_gives_all_records_as_csv() {
    let world = World::new().await;
    let records: Vec<Json> = (0..30).map(|at| json!({"Name": format!("C{at}")})).collect();
    world.insert("company", json!(records)).await;
    let status = world.client.start_export("company", &names()).await.unwrap();
    let chunks = loop {
        match world.client.export_status(&status).await.unwrap().chunks {
            Some(chunks) => break chunks,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let csv = world.client.export_chunk(&chunks[0]).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&csv).lines().count(), 31);
}
