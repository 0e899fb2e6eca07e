//! Single records of the Salesforce sandbox: external ids, changed and deleted lists, merges, permissions.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

/// Creates a record and returns its id.
async fn create(client: &Client, object: &str, body: Value) -> String {
    let reply = client.send(Method::POST, &format!("{V}/sobjects/{object}"), body).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()["id"].as_str().unwrap().to_owned()
}

async fn advance(client: &Client, seconds: i64) {
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": seconds })).await;
}

/// Status and body.
fn whole(reply: &Reply) -> (u16, Value) {
    (reply.status.as_u16(), if reply.text.is_empty() { Value::Null } else { reply.json() })
}

#[tokio::test]
async fn records_are_found_and_written_by_an_external_id() {
    let client = start(options()).await;
    let path = format!("{V}/sobjects/Subscription__c/External_Id__c");
    let made = client.send(Method::PATCH, &format!("{path}/A%2F1%20%C3%BC"), json!({ "MRR__c": 10.5 })).await;
    let (status, body) = whole(&made);
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().unwrap().to_owned();
    assert_eq!(body, json!({ "id": id, "success": true, "errors": [], "created": true }));

    let again = client.send(Method::PATCH, &format!("{path}/a%2F1%20Ü"), json!({ "Seats__c": 3 })).await;
    assert_eq!(whole(&again), (200, json!({ "id": id, "success": true, "errors": [], "created": false })));
    let old = client.send(Method::PATCH, &format!("{path}/A%2F1%20%C3%BC").replace("v62", "v45"), json!({})).await;
    assert_eq!(whole(&old), (204, Value::Null));

    let record = client.get(&format!("{path}/A%2F1%20%C3%BC?fields=External_Id__c,MRR__c,Seats__c,ARR__c")).await;
    assert_eq!(
        record.json(),
        json!({
            "attributes": { "type": "Subscription__c", "url": format!("{V}/sobjects/Subscription__c/{id}") },
            "Id": id, "External_Id__c": "A/1 ü", "MRR__c": 10.5, "Seats__c": 3.0, "ARR__c": 126.0,
        })
    );
    let body = json!({ "External_Id__c": "x" });
    let refused = client.send(Method::PATCH, &format!("{path}/x"), body).await;
    assert_eq!(
        whole(&refused),
        (
            400,
            json!([{
                "message": "The External_Id__c field should not be specified in the sobject data.",
                "errorCode": "INVALID_FIELD", "fields": ["External_Id__c"],
            }])
        )
    );
    let only = client.send(Method::PATCH, &format!("{path}/new?updateOnly=true"), json!({ "MRR__c": 1 })).await;
    assert_eq!(only.refusal(), (404, "NOT_FOUND".to_owned()));
    assert_eq!(client.get(&format!("{path}/nothing")).await.refusal(), (404, "NOT_FOUND".to_owned()));
    let wrong = client.get(&format!("{V}/sobjects/Subscription__c/MRR__c/10.5")).await;
    assert_eq!(wrong.json()[0]["message"], "Provided external ID field does not exist or is not accessible: MRR__c");
    let twice =
        client.send(Method::POST, &format!("{V}/sobjects/Subscription__c"), json!({ "External_Id__c": "A/1 Ü" })).await;
    assert_eq!(
        twice.json()[0]["message"],
        format!("duplicate value found: External_Id__c duplicates value on record with id: {id}")
    );
    let gone = client.send(Method::DELETE, &format!("{path}/A%2F1%20%C3%BC"), json!(null)).await;
    assert_eq!(whole(&gone), (204, Value::Null));
    assert_eq!(client.get(&format!("{path}/A%2F1%20%C3%BC")).await.status, 404);
}

#[tokio::test]
async fn an_external_id_of_several_records_answers_with_their_addresses() {
    let client = start(options()).await;
    let mut urls = Vec::new();
    for name in ["One", "Two"] {
        let id = create(&client, "Contact", json!({ "LastName": name, "Email": "two@x.example" })).await;
        urls.push(format!("{V}/sobjects/Contact/{id}"));
    }
    let path = format!("{V}/sobjects/Contact/Email/two@x.example");
    assert_eq!(whole(&client.get(&path).await), (300, json!(urls)));
    assert_eq!(whole(&client.send(Method::PATCH, &path, json!({ "Title": "x" })).await), (300, json!(urls)));
    assert_eq!(whole(&client.send(Method::DELETE, &path, json!(null)).await), (300, json!(urls)));
}

#[tokio::test]
async fn a_created_record_says_where_it_is() {
    let client = start(options()).await;
    let path = format!("{V}/sobjects/Account");
    let body = json!({ "Name": "N", "NumberOfEmployees": "12", "Owner": { "Username": client.org.username() } });
    let reply = client.send(Method::POST, &path, body).await;
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), format!("{path}/{id}"));
    let record = client.get(&format!("{path}/{id}?fields=NumberOfEmployees,OwnerId,BillingAddress")).await.json();
    assert_eq!((&record["NumberOfEmployees"], &record["BillingAddress"]), (&json!(12), &Value::Null));
    assert!(record["OwnerId"].as_str().unwrap().starts_with("005"));
    let address = json!({ "BillingCity": "Köln", "BillingPostalCode": "01067" });
    assert_eq!(client.send(Method::PATCH, &format!("{path}/{id}"), address).await.status, 204);
    let record = client.get(&format!("{path}/{id}?fields=BillingAddress")).await.json();
    let address = json!({
        "city": "Köln", "country": null, "geocodeAccuracy": null, "latitude": null, "longitude": null,
        "postalCode": "01067", "state": null, "street": null,
    });
    assert_eq!(record["BillingAddress"], address);
    let refused = client.send(Method::PATCH, &format!("{path}/{id}"), json!({ "Id": id })).await;
    assert_eq!(refused.refusal(), (400, "INVALID_FIELD".to_owned()));
    let refused = client.send(Method::POST, &path, json!({ "Id": id, "Name": "x" })).await;
    assert_eq!(refused.refusal(), (400, "INVALID_FIELD_FOR_INSERT_UPDATE".to_owned()));
    let missing = client.get(&format!("{path}/{id}?fields=Nothing")).await;
    assert_eq!(missing.refusal(), (400, "INVALID_FIELD".to_owned()));
}

#[tokio::test]
async fn changed_and_deleted_records_are_listed_by_time() {
    let client = start(options()).await;
    let path = format!("{V}/sobjects/Account");
    let first = create(&client, "Account", json!({ "Name": "First" })).await;
    let second = create(&client, "Account", json!({ "Name": "Second" })).await;
    let third = create(&client, "Account", json!({ "Name": "Third" })).await;
    advance(&client, 300).await;
    client.send(Method::DELETE, &format!("{path}/{second}"), json!(null)).await;
    client.send(Method::POST, "/__sandbox/records/hard_delete", json!({ "ids": [third] })).await;
    advance(&client, 300).await;

    let window = "start=2026-06-01T11:59:59%2B00:00&end=2026-06-01T12:30:00Z";
    let updated = client.get(&format!("{path}/updated?{window}")).await;
    assert_eq!(whole(&updated), (200, json!({ "ids": [first], "latestDateCovered": "2026-06-01T12:10:00.000+0000" })));
    let deleted = client.get(&format!("{path}/deleted/?{window}")).await;
    assert_eq!(
        deleted.json(),
        json!({
            "deletedRecords": [
                { "deletedDate": "2026-06-01T12:05:00.000+0000", "id": second },
                { "deletedDate": "2026-06-01T12:05:00.000+0000", "id": third },
            ],
            "earliestDateAvailable": "2026-05-02T12:10:00.000+0000",
            "latestDateCovered": "2026-06-01T12:10:00.000+0000",
        })
    );
    for window in [
        "start=2026-06-01T12:00:00Z&end=2026-06-01T12:00:59Z",
        "start=2026-04-01T12:00:00Z&end=2026-06-01T12:00:00Z",
        "start=yesterday&end=2026-06-01T12:00:00Z",
    ] {
        let refused = client.get(&format!("{path}/updated?{window}")).await;
        assert_eq!(refused.refusal(), (400, "INVALID_REPLICATION_DATE".to_owned()), "{window}");
    }
    let gone = client.get(&format!("{path}/{third}")).await;
    assert_eq!(gone.refusal(), (404, "NOT_FOUND".to_owned()));
    let rows = client.rows(&client.job("queryAll", "SELECT Id FROM Account").await, 1000).await;
    assert!(rows.iter().any(|row| row[0] == second) && rows.iter().all(|row| row[0] != third));
    let counts = client.get(&format!("{V}/limits/recordCount?sObjects=Account,Nothing,contact")).await.json();
    let names: Vec<_> = counts["sObjects"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Account", "Contact"]);
    assert_eq!(counts["sObjects"][0]["count"], rows.len());
}

#[tokio::test]
async fn a_merge_moves_children_and_names_the_winner() {
    let client = start(options()).await;
    let winner = create(&client, "Account", json!({ "Name": "Winner" })).await;
    let loser = create(&client, "Account", json!({ "Name": "Loser", "Site": "S" })).await;
    let contact = create(&client, "Contact", json!({ "LastName": "C", "AccountId": loser })).await;
    let subscription = create(&client, "Subscription__c", json!({ "Account__c": loser })).await;
    advance(&client, 120).await;
    let order = json!({ "master": winner, "merge": [loser], "fields": { "Site": "S" } });
    let merged = client.send(Method::POST, "/__sandbox/merge", order).await;
    assert_eq!(whole(&merged), (200, json!({ "id": winner, "success": true, "errors": [] })));

    let soql = "SELECT Id, IsDeleted, MasterRecordId, SystemModstamp, Site FROM Account WHERE SystemModstamp >= 2026-06-01T12:02:00Z";
    let rows = client.rows(&client.job("queryAll", soql).await, 10).await;
    let stamp = "2026-06-01T12:02:00.000Z";
    assert_eq!(rows, [[winner.as_str(), "false", "", stamp, "S"], [&loser, "true", &winner, stamp, "S"]]);
    let soql = "SELECT Id, AccountId, SystemModstamp FROM Contact WHERE SystemModstamp >= 2026-06-01T12:02:00Z";
    let rows = client.rows(&client.job("queryAll", soql).await, 10).await;
    assert_eq!(rows, [[contact.as_str(), &winner, stamp]]);
    let record = client.get(&format!("{V}/sobjects/Subscription__c/{subscription}?fields=Account__c")).await.json();
    assert_eq!(record["Account__c"], winner.as_str());
    let again = client.send(Method::POST, "/__sandbox/merge", json!({ "master": winner, "merge": [loser] })).await;
    assert_eq!(again.refusal(), (400, "ENTITY_IS_DELETED".to_owned()));
}

#[tokio::test]
async fn a_hidden_field_is_not_there_and_a_read_only_one_cannot_be_written() {
    let client = start(OrgOptions { contacts: 10, ..options() }).await;
    let grant =
        |field: &str, permission: &str| json!({ "object": "Contact", "field": field, "permission": permission });
    for (field, permission) in [("Email", "hidden"), ("Title", "read_only")] {
        let reply = client.send(Method::POST, "/__sandbox/permissions", grant(field, permission)).await;
        assert_eq!(reply.json(), json!({ "set": true }));
    }
    let describe = client.get(&format!("{V}/sobjects/Contact/describe")).await.json();
    let fields = describe["fields"].as_array().unwrap();
    assert!(fields.iter().all(|field| field["name"] != "Email"));
    let title = fields.iter().find(|field| field["name"] == "Title").unwrap();
    assert_eq!((&title["updateable"], &title["createable"]), (&json!(false), &json!(false)));

    let refused = client.query("SELECT Id, Email FROM Contact").await;
    assert_eq!(refused.refusal(), (400, "INVALID_FIELD".to_owned()));
    assert!(refused.text.contains("No such column 'Email' on entity 'Contact'."), "{}", refused.text);
    let refused = client.create_job("query", "SELECT Id FROM Contact WHERE Email != null").await;
    assert_eq!(refused.refusal(), (400, "INVALID_FIELD".to_owned()));
    let record = client.query("SELECT FIELDS(ALL) FROM Contact LIMIT 1").await.json()["records"][0].clone();
    assert!(record.get("Email").is_none() && record.get("LastName").is_some());
    let path = format!("{V}/sobjects/Contact");
    let id = record["Id"].as_str().unwrap();
    assert!(client.get(&format!("{path}/{id}")).await.json().get("Email").is_none());
    let refused = client.send(Method::PATCH, &format!("{path}/{id}"), json!({ "Title": "x" })).await;
    assert_eq!(refused.refusal(), (400, "INVALID_FIELD_FOR_INSERT_UPDATE".to_owned()));

    client.send(Method::POST, "/__sandbox/permissions", json!({ "object": "Case", "permission": "hidden" })).await;
    assert_eq!(client.query("SELECT Id FROM Case").await.refusal(), (400, "INVALID_TYPE".to_owned()));
    assert_eq!(client.get(&format!("{V}/sobjects/Case/describe")).await.status, 404);
    client.send(Method::POST, "/__sandbox/permissions", grant("Email", "full")).await;
    assert_eq!(client.query("SELECT Id, Email FROM Contact").await.status, 200);
}

#[tokio::test]
async fn a_large_text_and_every_kind_of_value_come_back_as_they_went_in() {
    let client = start(options()).await;
    let terms = format!(" NA\0\r\n\"{}\n", "ä\"".repeat(65_000));
    let body = json!({
        "External_Id__c": " #N/A ", "Terms__c": terms, "MRR__c": 12_345_678_901_234.56, "Start_Date__c": "1700-01-01",
        "End_Date__c": "4000-12-31", "Products__c": "Surveys;Core", "Auto_Renew__c": false, "Status__c": "Active",
    });
    let id = create(&client, "Subscription__c", body).await;
    let fields = "External_Id__c,Terms__c,MRR__c,Start_Date__c,End_Date__c,Products__c,Auto_Renew__c";
    let record = client.get(&format!("{V}/sobjects/Subscription__c/{id}?fields={fields}")).await.json();
    assert_eq!(record["External_Id__c"], " #N/A ");
    assert_eq!(record["Terms__c"], terms.as_str());
    assert_eq!(record["MRR__c"], 12_345_678_901_234.56);
    assert_eq!((&record["Start_Date__c"], &record["End_Date__c"]), (&json!("1700-01-01"), &json!("4000-12-31")));
    assert_eq!(record["Products__c"], "Core;Surveys");
    assert_eq!(record["Auto_Renew__c"], false);
    let path = format!("{V}/sobjects/Subscription__c");
    for (body, code) in [
        (json!({ "Terms__c": "x".repeat(131_073) }), "STRING_TOO_LONG"),
        (json!({ "Status__c": "Pilot" }), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        (json!({ "Products__c": "Core;Nothing" }), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        (json!({ "MRR__c": 1e15 }), "NUMBER_OUTSIDE_VALID_RANGE"),
        (json!({ "ARR__c": 1 }), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (json!({ "Start_Date__c": "4001-01-01" }), "JSON_PARSER_ERROR"),
    ] {
        assert_eq!(client.send(Method::POST, &path, body).await.refusal(), (400, code.to_owned()));
    }
    let gzip = client.request(Method::GET, &format!("{path}/{id}")).header("accept-encoding", "gzip");
    assert_eq!(reply(gzip).await.status, 200);
}
