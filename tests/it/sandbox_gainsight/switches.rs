//! The other settings of the undocumented points.

use serde_json::Value as Json;
use serde_json::json;

use super::Caller;

#[tokio::test]
async fn the_other_settings_of_the_undocumented_points_work() {
    let caller = Caller::new().await;
    let company = "/v1/data/objects/company";
    caller.insert("company", json!([{"Name": "A", "Industry": "x"}, {"Name": "A"}])).await;
    let update = |record: Json| {
        let caller = &caller;
        async move { caller.put("/v1/data/objects/company?keys=Name", json!({"records": [record]})).await }
    };
    caller.switch(json!({"several-matches": "update-first"})).await;
    assert_eq!(update(json!({"Name": "A", "Employees": 1})).await.data()["count"], 1);
    caller.switch(json!({"several-matches": "refuse"})).await;
    update(json!({"Name": "A", "Employees": 1})).await.refused("GSOBJ_1002");
    caller.switch(json!({"several-matches": "update-all", "repeated-keys": "refuse", "nulls": "ignore", "empty-texts": "null"})).await;
    let twice = json!({"records": [{"Name": "A", "Employees": 1}, {"Name": "A", "Employees": 2}]});
    caller.put("/v1/data/objects/company?keys=Name", twice).await.refused("GSOBJ_1002");
    update(json!({"Name": "A", "Industry": null})).await.data();
    assert_eq!(caller.names(json!({"name": "Industry", "operator": "EQ", "value": ["x"]})).await, ["A"]);
    update(json!({"Name": "A", "Industry": ""})).await.data();
    assert_eq!(caller.names(json!({"name": "Industry", "operator": "IS_NULL", "value": []})).await, ["A", "A"]);
    caller.switch(json!({"unique-fields": ["company.SfdcAccountId"], "unknown-fields": "ignore", "read-only-fields": "ignore"})).await;
    let record = json!({"Name": "B", "SfdcAccountId": "001000000000001", "Nonsense": 1, "Trend": "up"});
    caller.post(company, json!({"records": [record, record]})).await.refused("GSOBJ_1002");
    caller.insert("company", json!([record])).await;
    caller.post(company, json!({"records": [record]})).await.refused("GSOBJ_1002");
    caller
        .switch(json!({"delete-unknown-id": "gsobj-1004", "too-many-records-code": "GSOBJ_1008", "max-offset": 1}))
        .await;
    caller.delete(&format!("{company}/1P02{}", "Z".repeat(32))).await.refused("GSOBJ_1004");
    caller.post(company, json!({"records": vec![json!({"Name": "x"}); 51]})).await.refused("GSOBJ_1008");
    caller.query("company", json!({"select": ["Name"], "offset": 2})).await.refused("GSOBJ_1002");
    caller.switch(json!({"parentheses": false})).await;
    let condition = json!({"name": "Name", "alias": "A", "operator": "EQ", "value": ["B"]});
    caller
        .query("company", json!({"select": ["Name"], "where": {"conditions": [condition], "expression": "(A)"}}))
        .await
        .refused("GSOBJ_1002");
    caller.switch(json!({"strict-operators": false, "text-operators-ignore-case": true})).await;
    assert_eq!(caller.names(json!({"name": "Name", "operator": "BTW", "value": ["A", "B"]})).await, ["A", "A", "B"]);
    assert_eq!(caller.names(json!({"name": "Name", "operator": "STARTS_WITH", "value": ["b"]})).await, ["B"]);
    caller.switch(json!({"names-ignore-case": false, "unknown-fields": "refuse"})).await;
    caller.post(company, json!({"records": [{"name": "C"}]})).await.refused("GSOBJ_1002");
    assert_eq!(caller.get("/v1/meta/services/objects/Company/describe").await.json()["title"], "OBJECT_NOT_FOUND");
    caller.insert("company", json!([{"Name": "C"}])).await;

    caller.switch(json!({"bulk-rows": "all-or-nothing", "unique-fields": []})).await;
    let status = caller.imported("Name,SfdcAccountId\nX,001000000000009\nY,short\n").await;
    assert_eq!(
        (&status["successCount"], &status["failureCount"], caller.count("company").await),
        (&json!(0), &json!(2), 4)
    );
    let status = caller.imported("Name,SfdcAccountId\nX,001000000000009\nY,001000000000009\nZ,001000000000010\n").await;
    assert_eq!(
        (&status["successCount"], &status["failureCount"]),
        (&json!(0), &json!(3)),
        "the repeated key is a bad row"
    );
    caller.switch(json!({"bulk-rows": "partial", "bulk-unknown-columns": "ignore", "bulk-polls": 1, "bulk-error-column": "Reason"})).await;
    let status = caller.imported("Name,SfdcAccountId,Nonsense\nX,001000000000009,1\nY,001000000000009,2\n").await;
    assert_eq!((&status["successCount"], &status["failureCount"]), (&json!(1), &json!(1)));
    let failed = caller.get(status["failedRecordsUrl"].as_str().unwrap()).await.text;
    assert!(failed.starts_with("Name,SfdcAccountId,Nonsense,Reason\nY,"), "{failed}");
    caller.switch(json!({"token-failure": "oauth"})).await;
    let url = caller.tenant.url().join("/v1/users/m2m/oauth/token").unwrap();
    assert_eq!(caller.send(caller.http.post(url)).await.json(), json!({"error": "invalid_client"}));
}
