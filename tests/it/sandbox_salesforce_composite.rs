//! Several calls in one: composite, batch, collections, trees.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::support::caller::Client;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

async fn accounts(client: &Client) -> u64 {
    client.query("SELECT COUNT() FROM Account").await.json()["totalSize"].as_u64().unwrap()
}

#[tokio::test]
async fn later_subrequests_use_the_answers_of_earlier_ones() {
    let client = start(options()).await;
    let body = json!({ "compositeRequest": [
        { "method": "POST", "url": format!("{V}/sobjects/Account"), "referenceId": "acc", "body": { "Name": "Composite" } },
        { "method": "POST", "url": format!("{V}/sobjects/Contact"), "referenceId": "con",
          "body": { "LastName": "of @{acc.id}", "AccountId": "@{acc.id}" } },
        { "method": "GET", "url": format!("{V}/query?q=SELECT+Name,Account.Name+FROM+Contact+WHERE+Id='@{{con.id}}'"), "referenceId": "q" },
        { "method": "PATCH", "url": format!("{V}/sobjects/Contact/@{{con.id}}"), "referenceId": "up",
          "body": { "Title": "@{q.records[0].Account.Name}" } },
        { "method": "GET", "url": format!("{V}/sobjects/Contact/@{{con.id}}?fields=Title"), "referenceId": "get" },
        { "method": "GET", "url": format!("{V}/sobjects/Contact/@{{nobody.id}}"), "referenceId": "bad" },
    ]});
    let reply = client.send(Method::POST, &format!("{V}/composite"), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let all = reply.json()["compositeResponse"].clone();
    let id = all[0]["body"]["id"].as_str().unwrap();
    assert_eq!(
        all[0],
        json!({
            "body": { "id": id, "success": true, "errors": [] },
            "httpHeaders": { "Location": format!("{V}/sobjects/Account/{id}") },
            "httpStatusCode": 201, "referenceId": "acc",
        })
    );
    assert_eq!(all[2]["body"]["records"][0]["Name"], format!("of {id}"));
    assert_eq!(all[3], json!({ "body": null, "httpHeaders": {}, "httpStatusCode": 204, "referenceId": "up" }));
    assert_eq!(all[4]["body"]["Title"], "Composite");
    assert_eq!(
        (&all[5]["httpStatusCode"], &all[5]["body"][0]["errorCode"]),
        (&json!(400), &json!("PROCESSING_HALTED"))
    );
    let text = "Invalid reference specified. No value for nobody.id found in nobody. Supplied value may be null or not available";
    assert_eq!(all[5]["body"][0]["message"], text);
}

#[tokio::test]
async fn all_or_none_undoes_every_subrequest() {
    let client = start(options()).await;
    let before = accounts(&client).await;
    let account = |reference: &str, body: Value| json!({ "method": "POST", "url": format!("{V}/sobjects/Account"), "referenceId": reference, "body": body });
    let requests = json!([account("good", json!({ "Name": "A" })), account("bad", json!({}))]);
    let body = json!({ "allOrNone": true, "compositeRequest": requests });
    let all = client.send(Method::POST, &format!("{V}/composite"), body).await.json()["compositeResponse"].clone();
    let text = "The transaction was rolled back since another operation in the same transaction failed.";
    assert_eq!(
        all[0],
        json!({
            "body": [{ "errorCode": "PROCESSING_HALTED", "message": text }],
            "httpHeaders": {}, "httpStatusCode": 400, "referenceId": "good",
        })
    );
    assert_eq!(
        all[1]["body"],
        json!([{
            "message": "Required fields are missing: [Name]", "errorCode": "REQUIRED_FIELD_MISSING", "fields": ["Name"],
        }])
    );
    assert_eq!(accounts(&client).await, before);

    let body = json!({ "allOrNone": true, "compositeRequest": [account("good", json!({ "Name": "A" }))] });
    let all = client.send(Method::POST, &format!("{V}/composite"), body).await.json()["compositeResponse"].clone();
    assert_eq!(all[0]["httpStatusCode"], 201);
    assert_eq!(accounts(&client).await, before + 1);
    let many: Vec<_> = (0..26).map(|at| account(&format!("r{at}"), json!({ "Name": "x" }))).collect();
    let refused = client.send(Method::POST, &format!("{V}/composite"), json!({ "compositeRequest": many })).await;
    assert_eq!(refused.status, 400);
    let twice =
        json!({ "compositeRequest": [account("r", json!({ "Name": "x" })), account("r", json!({ "Name": "x" }))] });
    assert_eq!(client.send(Method::POST, &format!("{V}/composite"), twice).await.status, 400);
    assert_eq!(accounts(&client).await, before + 1);
}

#[tokio::test]
async fn a_batch_describes_and_halts_when_told_to() {
    let client = start(options()).await;
    let get = |url: &str| json!({ "method": "GET", "url": url });
    let body = json!({ "batchRequests": [
        get(&format!("{V}/sobjects/Account/describe")), get("v60.0/limits/"), get("v62.0/sobjects/Nothing/describe"),
    ]});
    let answer = client.send(Method::POST, &format!("{V}/composite/batch"), body).await.json();
    assert_eq!(answer["hasErrors"], true);
    assert_eq!(
        (&answer["results"][0]["statusCode"], &answer["results"][0]["result"]["name"]),
        (&json!(200), &json!("Account"))
    );
    assert!(answer["results"][1]["result"]["DailyApiRequests"]["Max"].is_u64());
    assert_eq!(
        answer["results"][2],
        json!({ "statusCode": 404, "result": [{ "errorCode": "NOT_FOUND", "message": "The requested resource does not exist" }] })
    );
    let body = json!({ "haltOnError": true, "batchRequests": [get("v62.0/nothing"), get("v62.0/limits")] });
    let answer = client.send(Method::POST, &format!("{V}/composite/batch"), body).await.json();
    assert_eq!(
        answer["results"][1],
        json!({ "statusCode": 412, "result": [{ "errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted per request" }] })
    );
}

#[tokio::test]
async fn collections_have_one_result_per_record() {
    let client = start(options()).await;
    let path = format!("{V}/composite/sobjects");
    let record = |kind: &str, mut body: Value| {
        body["attributes"] = json!({ "type": kind });
        body
    };
    let records = json!([
        record("Account", json!({ "Name": "One" })),
        record("Contact", json!({ "LastName": "x".repeat(81) })),
        record("Nothing", json!({})),
    ]);
    let made = client.send(Method::POST, &path, json!({ "records": records })).await.json();
    let id = made[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(made[0], json!({ "id": id, "success": true, "errors": [] }));
    assert_eq!(
        made[1],
        json!({ "success": false, "errors": [{
            "statusCode": "STRING_TOO_LONG", "fields": ["LastName"],
            "message": format!("Last Name: data value too large: {} (max length=80)", "x".repeat(81)),
        }]})
    );
    assert_eq!(made[2]["errors"][0]["statusCode"], "INVALID_TYPE");

    let before = accounts(&client).await;
    let undone = client.send(Method::POST, &path, json!({ "allOrNone": true, "records": records })).await;
    assert_eq!(undone.status, 200);
    assert_eq!(undone.json()[0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(accounts(&client).await, before);

    let records = json!([
        record("Account", json!({ "id": id, "Site": "S" })),
        record("Account", json!({ "id": "001Sb000000zzzz", "Site": "S" })),
        record("Account", json!({ "Site": "S" })),
    ]);
    let changed = client.send(Method::PATCH, &path, json!({ "records": records })).await.json();
    assert_eq!(changed[0], json!({ "id": id, "success": true, "errors": [] }));
    assert_eq!(changed[1]["errors"][0]["statusCode"], "INVALID_CROSS_REFERENCE_KEY");
    assert_eq!(changed[2]["errors"][0]["statusCode"], "MISSING_ARGUMENT");

    let records = json!([
        record("Subscription__c", json!({ "External_Id__c": "N1", "Account__r": { "Id": id } })),
        record("Subscription__c", json!({ "External_Id__c": "n1" })),
        record("Subscription__c", json!({ "MRR__c": 1 })),
    ]);
    let by_key = format!("{path}/Subscription__c/External_Id__c");
    let upserted = client.send(Method::PATCH, &by_key, json!({ "records": records })).await.json();
    assert_eq!(upserted[0]["created"], true);
    assert_eq!(upserted[1]["errors"][0]["message"], "Duplicate external id specified: n1");
    assert_eq!(upserted[2]["errors"][0]["message"], "External_Id__c not specified");
    let again = client.send(Method::PATCH, &by_key, json!({ "records": [records[0]] })).await.json();
    assert_eq!(again, json!([{ "id": upserted[0]["id"], "success": true, "errors": [], "created": false }]));

    let read = client.get(&format!("{path}/Account?ids={id},001Sb000000zzzz&fields=Name,Site")).await.json();
    assert_eq!(read[0]["Site"], "S");
    assert_eq!(read[1], Value::Null);
    let posted =
        client.send(Method::POST, &format!("{path}/Account"), json!({ "ids": [id], "fields": ["Name"] })).await;
    assert_eq!(posted.json()[0]["Name"], "One");

    let many = vec![record("Account", json!({ "Name": "x" })); 201];
    let refused = client.send(Method::POST, &path, json!({ "records": many })).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()),
        (
            400,
            json!([{
                "message": "record limit reached. cannot submit more than 200 records in this request",
                "errorCode": "EXCEEDED_ID_LIMIT",
            }])
        )
    );
    let gone = client.send(Method::DELETE, &format!("{path}?ids={id},nonsense"), json!(null)).await.json();
    assert_eq!(gone[0], json!({ "id": id, "success": true, "errors": [] }));
    assert_eq!(gone[1]["errors"][0]["statusCode"], "MALFORMED_ID");
}

#[tokio::test]
async fn a_tree_is_written_whole_or_not_at_all() {
    let client = start(options()).await;
    let path = format!("{V}/composite/tree/Account");
    let contact = |reference: &str, body: Value| {
        let mut body = body;
        body["attributes"] = json!({ "type": "Contact", "referenceId": reference });
        body
    };
    let tree = |email: &str| {
        json!({ "records": [
            { "attributes": { "type": "Account", "referenceId": "a1" }, "Name": "Tree",
              "Contacts": { "records": [contact("c1", json!({ "LastName": "One" })), contact("c2", json!({ "LastName": "Two", "Email": email }))] },
              "Subscriptions__r": { "records": [{ "attributes": { "type": "Subscription__c", "referenceId": "s1" }, "MRR__c": 5 }] } },
            { "attributes": { "type": "Account", "referenceId": "a2" }, "Name": "Leaf" },
        ]})
    };
    let before = accounts(&client).await;
    let refused = client.send(Method::POST, &path, tree("123")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()),
        (
            400,
            json!({ "hasErrors": true, "results": [{ "referenceId": "c2", "errors": [{
                "statusCode": "INVALID_EMAIL_ADDRESS", "message": "Email: invalid email address: 123", "fields": ["Email"],
            }]}]})
        )
    );
    assert_eq!(accounts(&client).await, before);
    let made = client.send(Method::POST, &path, tree("two@x.example")).await;
    assert_eq!((made.status.as_u16(), &made.json()["hasErrors"]), (201, &json!(false)));
    let results = made.json()["results"].clone();
    let names: Vec<_> = results.as_array().unwrap().iter().map(|one| one["referenceId"].as_str().unwrap()).collect();
    assert_eq!(names, ["a1", "a2", "c1", "c2", "s1"]);
    let account = results[0]["id"].as_str().unwrap();
    let soql = format!(
        "SELECT Name, (SELECT LastName, Account.Name FROM Contacts ORDER BY LastName DESC), \
         (SELECT MRR__c FROM Subscriptions__r LIMIT 1), Site FROM Account WHERE Id IN ('{account}', '{}')",
        results[1]["id"].as_str().unwrap()
    );
    let found = client.query(&soql).await.json();
    let record = &found["records"][0];
    assert_eq!((&record["Contacts"]["totalSize"], &record["Contacts"]["done"]), (&json!(2), &json!(true)));
    assert_eq!(record["Contacts"]["records"][0]["LastName"], "Two");
    assert_eq!(record["Contacts"]["records"][0]["Account"]["Name"], "Tree");
    assert_eq!(record["Subscriptions__r"]["records"][0]["MRR__c"], 5.0);
    assert_eq!(found["records"][1]["Contacts"], Value::Null);
    let columns =
        client.request(Method::GET, &format!("{V}/query")).query(&[("q", soql.as_str()), ("columns", "true")]);
    let columns = reply(columns).await.json()["columnMetadata"].clone();
    let names: Vec<_> = columns.as_array().unwrap().iter().map(|one| one["columnName"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Contacts", "Subscriptions__r", "Site"]);
    assert_eq!(
        (&columns[1]["aggregate"], &columns[1]["joinColumns"][1]["columnName"]),
        (&json!(true), &json!("Account.Name"))
    );
    let unknown = client.query("SELECT Id, (SELECT Id FROM Nothings) FROM Account").await;
    assert_eq!(unknown.refusal(), (400, "INVALID_TYPE".to_owned()));

    let twice = json!({ "records": [
        { "attributes": { "type": "Account", "referenceId": "a" }, "Name": "x" },
        { "attributes": { "type": "Account", "referenceId": "a" }, "Name": "y" },
    ]});
    let refused = client.send(Method::POST, &path, twice).await.json();
    assert_eq!(refused["results"][0]["errors"][0]["message"], "Duplicate ReferenceId provided in the request.");
}
