//! The object API: writes, lookups, deletes.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::sandbox::gainsight::TenantOptions;

use super::Caller;
use super::held;

#[tokio::test]
async fn one_bad_picklist_value_stores_nothing() {
    let caller = Caller::new().await;
    let said = caller
        .post("/v1/data/objects/company", json!({"records": [{"Name": "A"}, {"Name": "B", "Stage": "xyz"}]}))
        .await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    let id = said.headers["x-gs-request-id"].to_str().unwrap();
    let wanted = format!(
        r#"{{"result":false,"errorCode":"GSOBJ_1012","errorDesc":"Invalid/Inactive value provided for picklist. (Stage = xyz).","requestId":"{id}","data":{{"count":0,"errors":[[{{"success":false,"parsedValue":["xyz"],"errors":[{{"errorMessage":"Invalid/Inactive value provided for picklist.","errorCode":"GSOBJ_1012","fieldName":"Stage","invalidValue":["xyz"]}}]}}]],"records":null}},"message":null}}"#
    );
    assert_eq!(said.text, wanted);
    assert_eq!(caller.count("company").await, 0);
}

#[tokio::test]
async fn every_refused_value_has_its_code() {
    let caller = Caller::new().await;
    let long = "x".repeat(251);
    for (record, code, desc) in [
        (json!({"Name": long}), "GSOBJ_1001", format!("Field exceeds maximum allowed length (Name = {long}).")),
        (json!({"Nam": "A"}), "GSOBJ_1002", "Invalid field, please re-check data mapping (Nam = A).".to_owned()),
        (json!({"Trend": "up"}), "GSOBJ_1002", "Invalid field, please re-check data mapping (Trend = up).".to_owned()),
        (
            json!({"Employees": "many"}),
            "GSOBJ_1002",
            "Invalid field, please re-check data mapping (Employees = many).".to_owned(),
        ),
        (
            json!({"OriginalContractDate": 210318}),
            "GSOBJ_1006",
            "Invalid dateTimes format (OriginalContractDate = 210318).".to_owned(),
        ),
        (json!({"RenewalDate": "soon"}), "GSOBJ_1006", "Invalid dateTimes format (RenewalDate = soon).".to_owned()),
        (
            json!({"Csm": "1P01"}),
            "GSOBJ_1004",
            "Either the Gainsight ID is invalid or missing, please re-check your request.".to_owned(),
        ),
        (
            json!({"SfdcAccountId": "short"}),
            "GSOBJ_1008",
            "Failed to parse value as sfdc id. (SfdcAccountId = short).".to_owned(),
        ),
        (json!({"Arr": "1,000"}), "GSOBJ_1008", "Failed to parse value as currency. (Arr = 1,000).".to_owned()),
    ] {
        let said = caller.post("/v1/data/objects/company", json!({"records": [{"Name": "good"}, record]})).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST);
        assert_eq!(said.refused(code)["errorDesc"], desc);
    }
    let said = caller
        .post("/v1/data/objects/company_person", json!({"records": [{"Active": "perhaps", "Person_ID": null}]}))
        .await;
    let body = said.refused("GSOBJ_1008");
    assert_eq!(body["errorDesc"], "Invalid Boolean Value: perhaps (Active = perhaps)");
    assert_eq!(body["data"]["errors"][0][1]["errors"][0]["errorCode"], "GSOBJ_1007");
    // 250 characters, not bytes.
    caller.insert("company", json!([{"Name": "é".repeat(250)}])).await;
    assert_eq!(caller.count("company").await, 1);
    let many: Vec<Json> = (0..51).map(|n| json!({"Name": format!("{n}")})).collect();
    let said = caller.post("/v1/data/objects/company", json!({"records": many})).await;
    assert!(said.refused("GSOBJ_1002")["errorDesc"].as_str().unwrap().contains("50"));
    let said = caller.send(caller.request(Method::POST, "/v1/data/objects/company").body("{")).await;
    said.refused("GSOBJ_1002");
    let said = caller.post("/v1/data/objects/nothing", json!({"records": [{"Name": "A"}]})).await;
    assert_eq!(said.json()["title"], "OBJECT_NOT_FOUND");
}

#[tokio::test]
async fn records_are_written_read_and_deleted_in_any_case() {
    let caller = Caller::new().await;
    let said = caller
        .post("/v1/data/objects/COMPANY", json!({"records": [
            {"name": "Acme", "ARR": 100000.5, "Employees": 250, "RenewalDate": "01-31-2025", "Stage": "Adopting", "SfdcAccountId": "0015g00000AbCdEAAV", "Tags": ["Reference", "Partner"]},
            {"name": "Bolt"}]}))
        .await;
    let records = said.records();
    let gsid = records[0]["Gsid"].as_str().unwrap();
    assert!(gsid.len() == 36 && gsid.starts_with("1P02") && records[1]["Gsid"].as_str().unwrap() > gsid);
    assert_eq!(
        (&records[0]["Arr"], &said.data()["count"], &records[1]["Name"]),
        (&json!(100000.5), &json!(2), &json!("Bolt"))
    );
    let id = said.headers["x-gs-request-id"].to_str().unwrap().to_owned();
    assert!(said.text.starts_with(&format!(r#"{{"result":true,"errorCode":null,"errorDesc":null,"requestId":"{id}","data":{{"count":2,"errors":null,"records":[{{"Gsid":"#)));

    let one = caller.get(&format!("/v1/data/objects/company/{gsid}")).await.records().remove(0);
    assert_eq!(
        (&one["Name"], &one["Arr"], &one["RenewalDate"]),
        (&json!("Acme"), &json!(100000.5), &json!("2025-01-31"))
    );
    assert_eq!((&one["CreatedDate"], &one["Status"]), (&json!("2026-03-01T10:00:00Z"), &Json::Null));
    assert!(one["Stage"].as_str().unwrap().starts_with("1I00"));
    assert_eq!(one["Tags"].as_array().unwrap().len(), 2);

    caller.clock.advance(TimeDelta::seconds(90));
    let said = caller
        .put(
            "/v1/data/objects/company?keys=Gsid",
            json!({"records": [{"Gsid": gsid, "BillingAddress": "1 Main St", "Stage": one["Stage"]}]}),
        )
        .await;
    assert_eq!(said.records(), [json!({"Gsid": gsid, "BillingAddress": "1 Main St", "Stage": one["Stage"]})]);
    let one = caller.get(&format!("/v1/data/objects/company/{gsid}")).await.records().remove(0);
    assert_eq!((&one["Name"], &one["ModifiedDate"]), (&json!("Acme"), &json!("2026-03-01T10:01:30Z")));

    let said = caller.delete(&format!("/v1/data/objects/Company/{gsid}")).await;
    assert_eq!(said.data(), format!("Record with GSID: {gsid} successfully deleted."));
    caller.delete(&format!("/v1/data/objects/Company/{gsid}")).await.refused("GSOBJ_1011");
    caller.delete("/v1/data/objects/Company/1P02").await.refused("GSOBJ_1004");
    caller.delete("/v1/data/objects/Company/").await.refused("GSOBJ_1004");
    let log = json!({"select": ["RecordId", "ObjectName", "DeletedOn"]});
    let entries = caller.query("record_delete_log", log.clone()).await.records();
    assert_eq!(entries, [json!({"RecordId": gsid, "ObjectName": "company", "DeletedOn": "2026-03-01T10:01:30Z"})]);
    caller.clock.advance(TimeDelta::days(16));
    assert_eq!(caller.query("record_delete_log", log).await.records().len(), 0);
}

#[tokio::test]
async fn updates_go_by_keys_and_say_what_they_missed() {
    let caller = Caller::new().await;
    let ids = caller
        .insert("company", json!([{"Name": "A", "Employees": 1}, {"Name": "A", "Employees": 2}, {"Name": "B"}]))
        .await;
    let update = |keys: &str, records: Json| {
        let path = format!("/v1/data/objects/company?keys={keys}");
        let caller = &caller;
        async move { caller.put(&path, json!({"records": records})).await }
    };
    let said = update("Name", json!([{"Name": "A", "Industry": "Retail"}])).await;
    assert_eq!(said.data()["count"], 2, "a key that matches several updates them all");
    let said = update("Name,employees", json!([{"Name": "A", "Employees": 2, "Industry": "Banking"}])).await;
    assert_eq!(said.records(), [json!({"Gsid": ids[1], "Name": "A", "Employees": 2, "Industry": "Banking"})]);
    let said = update("Name", json!([{"Name": "C", "Industry": "X"}])).await;
    assert_eq!(
        said.refused("GSOBJ_1011")["errorDesc"],
        "No entity matches the given criteria, please re-check your request"
    );
    let said = update("Name", json!([{"Name": "C", "Industry": "X"}, {"Name": "B", "Industry": "X"}])).await;
    assert_eq!(said.data()["count"], 1);
    assert_eq!(said.data()["errors"][0][0]["errors"][0]["invalidValue"], "C");
    caller.switch(json!({"unmatched-rows": "all-or-nothing"})).await;
    update("Name", json!([{"Name": "C", "Industry": "Y"}, {"Name": "B", "Industry": "Y"}])).await.refused("GSOBJ_1011");
    assert_eq!(caller.names(json!({"name": "Industry", "operator": "EQ", "value": ["Y"]})).await.len(), 0);
    update("Gsid", json!([{"Industry": "X"}])).await.refused("GSOBJ_1004");
    update("Name", json!([{"Industry": "X"}])).await.refused("GSOBJ_1007");
    update("Name,Industry,Employees,SfdcAccountId", json!([{"Name": "A"}])).await.refused("GSOBJ_1002");
    update("Stage", json!([{"Stage": "Churn"}])).await.refused("GSOBJ_1002");
    update("", json!([{"Name": "A"}])).await.refused("GSOBJ_1002");
    // null clears, absent leaves.
    update("Gsid", json!([{"Gsid": ids[2], "Industry": null}])).await.data();
    assert_eq!(caller.names(json!({"name": "Industry", "operator": "IS_NULL", "value": []})).await, ["B"]);
}

#[tokio::test]
async fn lookups_in_writes_are_resolved() {
    let caller = Caller::new().await;
    let user = |n: u32| json!({"FirstName": "Ada", "LastName": format!("Low{}", n / 2), "Email": "a@x.org", "SFDCUserName": format!("a{n}@x.org")});
    caller.post("/v1/users/services", json!({"records": [user(0), user(2), user(3)]})).await.data();
    let lookup = |multi: &str, none: &str| {
        json!({"Csm": {"fields": {"First": "FirstName", "Last": "LastName"}, "lookupField": "Gsid",
               "objectName": "GsUser", "multiMatchOption": multi, "onNoMatch": none}})
    };
    let insert = |last: &str, lookups: Json| {
        let body = json!({"records": [{"Name": last, "First": "Ada", "Last": last}], "lookups": lookups});
        let caller = &caller;
        async move { caller.post("/v1/data/objects/company", body).await }
    };
    let said = insert("Low0", lookup("MARKASERROR", "ERROR")).await;
    let csm = said.records()[0]["Csm"].as_str().unwrap().to_owned();
    assert!(csm.starts_with("1P01") && said.records()[0].get("First").is_none());
    assert!(insert("Low1", lookup("FIRSTMATCH", "ERROR")).await.records()[0]["Csm"].is_string());
    insert("Low1", lookup("MARKASERROR", "ERROR")).await.refused("GSOBJ_1008");
    insert("Nobody", lookup("FIRSTMATCH", "ERROR")).await.refused("GSOBJ_1008");
    assert_eq!(insert("Nobody", lookup("FIRSTMATCH", "NULLABLE")).await.records()[0]["Csm"], Json::Null);
    let mut default = lookup("FIRSTMATCH", "DEFAULTVALUE");
    default["Csm"]["defaultValue"] = json!(csm);
    assert_eq!(insert("Nobody", default).await.records()[0]["Csm"], json!(csm));
    let mut wrong = lookup("FIRSTMATCH", "ERROR");
    wrong["Csm"]["objectName"] = json!("person");
    insert("Low0", wrong).await.refused("GSOBJ_1002");
    // A raw id needs no lookup, but a record.
    caller.insert("company", json!([{"Name": "raw", "Csm": csm}])).await;
    let stranger = format!("1P01{}", "Z".repeat(32));
    let record = json!({"records": [{"Name": "raw", "Csm": stranger}]});
    caller.post("/v1/data/objects/company", record.clone()).await.refused("GSOBJ_1004");
    caller.switch(json!({"raw-lookups-must-exist": false})).await;
    assert_eq!(caller.post("/v1/data/objects/company", record).await.records()[0]["Csm"], json!(stranger));
}

#[tokio::test]
async fn a_dump_has_every_record_and_custom_objects_are_files() {
    let schema = r#"{"name": "usage__gc", "label": "Usage", "fields": [
        {"name": "Gsid", "label": "GSID", "type": "GSID", "role": "gsid"},
        {"name": "Day__gc", "label": "Day", "type": "DATETIME", "custom": true},
        {"name": "Share__gc", "label": "Share", "type": "PERCENTAGE", "custom": true},
        {"name": "Company__gc", "label": "Company", "type": "LOOKUP", "custom": true, "lookup": {"object": "company", "on_delete": "DELETE"}}]}"#;
    let caller = Caller::with(TenantOptions {
        quotas: false,
        schemas: vec![schema.to_owned()],
        clock: held(),
        ..TenantOptions::default()
    })
    .await;
    let company = caller.insert("company", json!([{"Name": "A"}])).await;
    let record = json!({"Day__gc": "2022-07-01T06:36:00.000-07:00", "Share__gc": 12.5, "Company__gc": company[0]});
    let ids = caller.insert("usage__gc", json!([record])).await;
    let said = caller.post("/v1/data/objects/usage__gc", json!({"records": [{"Share__gc": "much"}]})).await;
    assert_eq!(said.refused("GSOBJ_1008")["errorDesc"], "Failed to parse value as percentage. (Share__gc = much).");
    caller.post("/v1/data/objects/usage__gc", json!({"records": [{"Day__gc": "today"}]})).await.refused("GSOBJ_1005");
    let dump = caller.get("/__sandbox/dump/usage__gc").await.text;
    let line: Json = serde_json::from_str(dump.trim_end()).unwrap();
    assert_eq!(
        line,
        json!({"Gsid": ids[0], "Day__gc": "2022-07-01T13:36:00Z", "Share__gc": 12.5, "Company__gc": company[0]})
    );
    caller.delete(&format!("/v1/data/objects/company/{}", company[0])).await.data();
    assert_eq!(caller.count("usage__gc").await, 0);
}
