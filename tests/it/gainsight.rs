//! The Gainsight client and the reading of mirrors: against a scripted server for what goes wrong, against the sandbox
//! for everything else.

use std::time::Duration;

use arrow::array::AsArray;
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
use sf2gs::connect::gainsight::BulkFile;
use sf2gs::connect::gainsight::GainsightClient;
use sf2gs::connect::gainsight::GainsightLogin;
use sf2gs::connect::gainsight::ImportPhase;
use sf2gs::connect::gainsight::Operator;
use sf2gs::connect::gainsight::Query;
use sf2gs::connect::gainsight::WriteAnswer;
use sf2gs::error::ErrorKind;
use sf2gs::extract::gainsight::Way;
use sf2gs::extract::gainsight::deletions_since;
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
    let reading = read_mirror(&client, &metadata, &["Name".to_owned()], Some(since), Way::Quickest);
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
        read_mirror(&client, &metadata, &[], None, Way::Quickest).try_collect().await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Integrity);
    server.push(ok(json!([{"Name": "no id"}])));
    let outcome: sf2gs::error::Result<Vec<RecordBatch>> =
        read_mirror(&client, &metadata, &[], None, Way::Quickest).try_collect().await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Integrity);
}

/// The mirror of the sandbox's companies as a table.
async fn mirror(world: &World) -> RecordBatch {
    let fields = ["Name", "Employees", "Arr", "Stage", "RenewalDate", "Csm"].map(str::to_owned);
    let reading = read_mirror(&world.client, &world.metadata["company"], &fields, None, Way::Quickest);
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
    assert!(deletions_since(&world.client, since).await.unwrap().is_empty());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = world.tenant.url().join(&format!("/v1/data/objects/company/{}", gsids[1])).unwrap();
    http.delete(url).header("accesskey", &world.tenant.access_key).send().await.unwrap();
    let gone = deletions_since(&world.client, since).await.unwrap();
    assert_eq!(gone.iter().map(|gone| &gone.gsid).collect::<Vec<_>>(), [&gsids[1]]);
    assert!(gone[0].object.eq_ignore_ascii_case("company") && gone[0].since(since));
    assert!(!gone[0].since(since + TimeDelta::minutes(5)), "{gone:?}");
}

#[tokio::test]
async fn a_tenant_without_the_log_of_deletions_tells_of_none() {
    let (server, client, _) = scripted().await;
    server.push(Answer::new(404, r#"{"requestId":"r","result":false,"title":"OBJECT_NOT_FOUND","detail":"Requested object not found.","errorDesc":"Requested object not found."}"#));
    let since = "2026-03-01T10:00:00Z".parse().unwrap();
    assert!(deletions_since(&client, since).await.unwrap().is_empty());
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

fn fields(names: &[&str]) -> sf2gs::connect::gainsight::ObjectMetadata {
    let fields = names.iter().map(|name| sf2gs::connect::gainsight::FieldMetadata::new(*name, Default::default()));
    sf2gs::connect::gainsight::ObjectMetadata::new("company", "Company", fields.collect())
}

/// Four full pages, after which an export is worth its calls.
fn push_full_pages(server: &Scripted) {
    for page in 0..4 {
        let rows: Vec<_> = (0..5_000).map(|at| json!({"Gsid": format!("{:06}", page * 5_000 + at)})).collect();
        server.push(ok(json!({"records": rows})));
    }
}

async fn ids(client: &GainsightClient, way: Way) -> sf2gs::error::Result<Vec<String>> {
    let batches: Vec<_> = read_mirror(client, &fields(&["Gsid"]), &[], None, way).try_collect().await?;
    let columns = batches.iter().map(|batch| batch.column(0).as_string::<i32>());
    Ok(columns.flat_map(|ids| ids.iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect())
}

#[tokio::test]
async fn many_records_come_by_an_export_and_one_page_shows_that_nothing_follows() {
    let (server, client, calls) = scripted().await;
    push_full_pages(&server);
    server.push(ok(json!({"statusURL": "v3/exports/data/bulk/status/1"})));
    server.push(ok(json!({"jobStatus": "IN_PROGRESS"})));
    server.push(ok(json!({"jobStatus": "COMPLETED", "totalRecords": 2, "chunkDetails": [{"chunkURL": "chunk/0"}]})));
    server.push(Answer::new(200, "Gsid\n020000\n020001\n"));
    server.push(ok(json!({"records": []}))); // nothing was deleted meanwhile
    server.push(ok(json!({"records": [{"Gsid": "020002"}]})));
    let found = ids(&client, Way::Quickest).await.unwrap();
    assert_eq!(found, (0..20_003).map(|at| format!("{at:06}")).collect::<Vec<_>>());
    let asked = server.received();
    let start: Json = serde_json::from_slice(&asked[4].body).unwrap();
    assert_eq!(start["where"]["conditions"][0]["value"], json!(["019999"]));
    let last: Json = serde_json::from_slice(&asked[9].body).unwrap();
    assert_eq!(last["where"]["conditions"][0]["value"], json!(["020001"]));
    assert_eq!(calls.read()[&CallClass::GainsightBulk], 1);
}

#[tokio::test]
async fn where_many_records_are_known_of_an_export_comes_first() {
    assert_eq!((Way::for_at_least(19_999), Way::for_at_least(20_000)), (Way::Quickest, Way::Export));
    let (server, client, calls) = scripted().await;
    server.push(ok(json!({"statusURL": "v3/exports/data/bulk/status/1"})));
    server.push(ok(json!({"jobStatus": "COMPLETED", "totalRecords": 2, "chunkDetails": [{"chunkURL": "chunk/0"}]})));
    server.push(Answer::new(200, "Gsid\n000000\n000001\n"));
    server.push(ok(json!({"records": []}))); // nothing was deleted meanwhile
    server.push(ok(json!({"records": [{"Gsid": "000002"}]})));
    assert_eq!(ids(&client, Way::Export).await.unwrap(), ["000000", "000001", "000002"]);
    let asked = server.received();
    assert!(!String::from_utf8_lossy(&asked[0].body).contains("conditions"), "all records: {:?}", asked[0]);
    let last: Json = serde_json::from_slice(&asked[4].body).unwrap();
    assert_eq!(last["where"]["conditions"][0]["value"], json!(["000001"]));
    assert_eq!((asked.len(), calls.read()[&CallClass::GainsightBulk]), (5, 1));
}

#[tokio::test]
async fn a_tenant_that_refuses_to_export_is_read_by_pages() {
    let (server, client, _) = scripted().await;
    push_full_pages(&server);
    server.push(Answer::new(400, r#"{"result":false,"errorCode":"GSOBJ_ESS_9150","errorDesc":"no"}"#));
    server.push(ok(json!({"records": [{"Gsid": "020000"}]})));
    assert_eq!(ids(&client, Way::Quickest).await.unwrap().len(), 20_001);
    push_full_pages(&server);
    server.push(ok(json!({"records": [{"Gsid": "020000"}]})));
    assert_eq!(ids(&client, Way::Pages).await.unwrap().len(), 20_001, "nothing but pages is asked for");
}

#[tokio::test]
async fn an_export_that_cannot_be_trusted_is_an_error() {
    for (total, csv, deleted, why) in [
        (3, "Gsid\n020000\n020001\n", json!([]), "has 2 rows instead of 3"),
        (2, "Gsid\n020001\n020000\n", json!([]), "does not give its records in order"),
        (2, "Gsid\n020000\n020000\n", json!([]), "does not give its records in order"),
        (2, "Name\nA\nB\n", json!([]), "it has no `Gsid`"),
        (
            2,
            "Gsid\n020000\n020001\n",
            json!([{"RecordId": "000001", "ObjectName": "Company", "DeletedOn": "2026-03-01T10:00:00Z"}]),
            "was made while records were deleted",
        ),
    ] {
        let (server, client, _) = scripted().await;
        push_full_pages(&server);
        server.push(ok(json!({"statusURL": "v3/exports/data/bulk/status/1"})));
        server.push(ok(
            json!({"jobStatus": "COMPLETED", "totalRecords": total, "chunkDetails": [{"chunkURL": "chunk/0"}]}),
        ));
        server.push(Answer::new(200, csv));
        server.push(ok(json!({"records": deleted})));
        let error = ids(&client, Way::Quickest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error:?}");
        assert!(error.message().contains(why), "{error:?}");
    }
}

#[tokio::test]
async fn both_ways_give_the_same_mirror() {
    let world = World::new().await;
    let mut file = BulkFile::new(&world.tenant.bulk_jobs[0].id);
    file.csv().extend_from_slice(b"Name,SfdcAccountId,Employees,Industry\n");
    for at in 0..42_000 {
        let name = if at % 7 == 0 { format!("\"Row \"\"{at}\"\", and\nmore\"") } else { format!("R{at}") };
        let employees = if at % 3 == 0 { String::new() } else { at.to_string() };
        let row = format!("{name},001{at:012},{employees},\n");
        file.csv().extend_from_slice(row.as_bytes());
    }
    let import = world.client.bulk_import(file).await.unwrap().unwrap();
    while world.client.import_status(&import).await.unwrap().phase == ImportPhase::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = world.calls.read();
    let mirror = async |way| {
        let wanted = ["Name", "SfdcAccountId", "Employees", "Industry"].map(str::to_owned);
        let batches: Vec<RecordBatch> =
            read_mirror(&world.client, &world.metadata["company"], &wanted, None, way).try_collect().await.unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let quick = mirror(Way::Quickest).await;
    let calls = world.calls.since(&before);
    assert_eq!(quick.num_rows(), 42_000);
    assert_eq!(calls[&CallClass::GainsightBulk], 1, "{calls:?}");
    assert!(calls[&CallClass::GainsightSync] <= 10, "{calls:?}");
    assert_eq!(quick, mirror(Way::Pages).await);
}
