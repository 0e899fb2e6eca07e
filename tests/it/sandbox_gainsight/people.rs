//! Users and people.

use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;

use super::Caller;

#[tokio::test]
async fn users_have_rules_of_their_own() {
    let caller = Caller::new().await;
    let user = |name: &str| json!({"FirstName": "Ada", "LastName": name, "Email": "a@x.org", "SFDCUserName": format!("{name}@x.org"), "SfdcUserId": "0055g00000AbCdEAAV"});
    let create = |records: Json| {
        let caller = &caller;
        async move { caller.post("/v1/users/services?notify=false", json!({"records": records})).await }
    };
    let records = create(json!([user("one"), user("two")])).await.records();
    let (one, two) = (records[0]["Gsid"].clone(), records[1]["Gsid"].clone());
    assert!(one.as_str().unwrap().starts_with("1P01"));
    let body = create(json!([user("three"), user("ONE")])).await.refused("GU_2411");
    assert_eq!((&body["data"]["count"], &body["data"]["records"]), (&json!(0), &Json::Null));
    assert_eq!(body["data"]["errors"][0]["invalidValue"], "ONE@x.org");
    assert!(body["data"]["errors"][0]["errorMessage"].is_string());
    assert_eq!(caller.count("gsuser").await, 2);
    create(json!([user("four"), user("four")])).await.refused("GU_2411");
    for (change, field) in [
        (json!({"Email": null}), "Email"),
        (json!({"LastName": ""}), "LastName"),
        (json!({"SFDCUserName": "no address"}), "SFDCUserName"),
        (json!({"Nonsense": 1}), "Nonsense"),
        (json!({"IsSuperAdmin": true}), "IsSuperAdmin"),
        (json!({"LicenseType": "Gold"}), "LicenseType"),
        (json!({"SystemType": "External"}), "CompanyID"),
    ] {
        let mut record = user("five");
        record.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let body = create(json!([record])).await.refused("GU_2401");
        assert_eq!(body["data"]["errors"][0]["fieldName"], field, "{body}");
    }
    let update = |key: &str, records: Json| {
        let path = format!("/v1/users/services?key={key}");
        let caller = &caller;
        async move { caller.put(&path, json!({"records": records})).await }
    };
    assert_eq!(update("Gsid", json!([{"Gsid": one, "Manager": two, "Title": "VP"}])).await.data()["count"], 1);
    update("Gsid", json!([{"Gsid": one, "Manager": one}])).await.refused("GU_2410");
    update("Email", json!([{"Email": "a@x.org"}])).await.refused("GU_2409");
    update("Gsid", json!([{"Gsid": one, "Nonsense": 1}])).await.refused("GU_2402");
    update("Gsid", json!([{"Gsid": one, "SFDCUserName": "two@x.org"}])).await.refused("GU_2411");
    update("SFDCUserName", json!([{"SFDCUserName": "nobody@x.org", "Title": "x"}])).await.refused("GU_2402");
    assert_eq!(
        update("SFDCUserName", json!([{"SFDCUserName": "Two@x.org", "SfdcUserId": "005000000000001"}])).await.data()["count"],
        1
    );
    let row = caller.query("gsuser", json!({"select": ["Name", "SFDCUserName", "SfdcUserId", "IsActiveUser", "Manager__gr.Name"], "orderBy": {"Gsid": "asc"}})).await.records();
    assert_eq!(
        row[0],
        json!({"Name": "Ada one", "SFDCUserName": "one@x.org", "SfdcUserId": "0055g00000AbCdEAAV", "IsActiveUser": true, "Manager__gr.Name": "Ada two"})
    );
    assert_eq!((&row[1]["SfdcUserId"], &row[1]["SFDCUserName"]), (&json!("005000000000001"), &json!("two@x.org")));
    caller.put("/v1/users/services/status?status=false", json!([one])).await.data();
    let list = json!({"includeTotal": true, "limit": 1, "page": 1, "orderBy": {"Name": "desc"}, "select": ["Name", "IsActiveUser"]});
    assert_eq!(
        caller.post("/v1/users/services/list", list).await.data(),
        json!({"records": [{"Name": "Ada one", "IsActiveUser": false}], "total": 2})
    );
    caller.switch(json!({"user-errors": "partial"})).await;
    let data = create(json!([user("six"), user("one")])).await.data();
    assert_eq!((&data["count"], data["errors"].as_array().unwrap().len()), (&json!(1), 1));
}

#[tokio::test]
async fn one_person_has_two_companies() {
    let caller = Caller::new().await;
    let companies = caller.insert("company", json!([{"Name": "A"}, {"Name": "B"}])).await;
    let put = |body: Json| {
        let caller = &caller;
        async move { caller.put("/v1/peoplemgmt/v1.0/people?areaName=PersonC360UI", body).await }
    };
    let jane = put(json!({"Email": "Jane@acme.com", "FirstName": "Jane", "LastName": "Doe", "companies": [{"Company_ID": companies[0], "Title": "VP", "IsPrimaryCompany": true}]})).await.data();
    let again = put(json!({"email": " jane@ACME.com ", "companies": [
        {"Company_ID": companies[0], "Role": "Champion"}, {"Company_ID": companies[1], "Title": "Advisor", "IsPrimaryCompany": true}]})).await.data();
    assert_eq!(jane["Gsid"], again["Gsid"]);
    assert_eq!((caller.count("person").await, caller.count("company_person").await), (1, 2));
    let gsid = jane["Gsid"].as_str().unwrap();
    let whole = caller.get(&format!("/v1/peoplemgmt/v1.0/people/{gsid}")).await.data();
    assert_eq!((&whole["Name"], &whole["Email"]), (&json!("Jane Doe"), &json!("jane@ACME.com")));
    let rows = whole["companies"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["Title"], &rows[0]["Role"], &rows[0]["Active"], &rows[0]["IsPrimaryCompany"]),
        (&json!("VP"), &json!("Champion"), &json!(true), &json!(false))
    );
    assert_eq!(
        (&rows[1]["Title"], &rows[1]["Company_ID"], &rows[1]["Person_ID"]),
        (&json!("Advisor"), &json!(companies[1]), &jane["Gsid"])
    );
    assert_eq!(caller.get("/v1/peoplemgmt/v1.0/people?email=JANE@acme.com").await.data()["Gsid"], jane["Gsid"]);
    caller.get("/v1/peoplemgmt/v1.0/people?email=").await.refused("GSOBJ_VQP1001");
    caller.get("/v1/peoplemgmt/v1.0/people?email=no@x.org").await.refused("GSOBJ_PEOPLE1001");
    assert_eq!(caller.get("/v1.0/api/people").await.json()["result"], true);

    let stranger = format!("1P02{}", "Z".repeat(32));
    for (body, code) in [
        (json!({}), "GSOBJ_VCRUDR1001"),
        (json!({"LastName": "x"}), "GSOBJ_VDTEMAIL1001"),
        (json!({"Email": "x"}), "GSOBJ_VDTEMAIL1001"),
        (json!({"Email": "x@y.org", "Gsid": gsid}), "GSOBJ_VCRUDR1002"),
        (json!({"Email": "x@y.org", "Shoe": 43}), "GSOBJ_VCRUDR1002"),
        (json!({"Email": "x@y.org", "EmailOptOut": "maybe"}), "GSOBJ_VDTBOOL1001"),
        (json!({"Email": "x@y.org", "LinkedinUrl": "not a url"}), "GSOBJ_VDTURL1001"),
        (json!({"Email": "x@y.org", "LastName": "x".repeat(256)}), "GSOBJ_VDTBSTR1001"),
        (json!({"Email": "x@y.org", "companies": [{"Company_ID": "1P02"}]}), "GSOBJ_VDTGSID1001"),
        (json!({"Email": "x@y.org", "companies": [{"Company_ID": stranger}]}), "GSOBJ_VDTGSID1001"),
        (json!({"Email": "x@y.org", "companies": [{"Title": "CEO"}]}), "GSOBJ_VDTGSID1001"),
        (
            json!({"Email": "x@y.org", "companies": [{"Company_ID": companies[0], "LastNpsScore": "high"}]}),
            "GSOBJ_VDTNUM1001",
        ),
    ] {
        let said = put(body).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST);
        said.refused(code);
    }
    assert_eq!(
        (caller.count("person").await, caller.count("company_person").await),
        (1, 2),
        "a refused person leaves nothing"
    );

    // Deleting a company that people hang on to is refused, deleting the person takes its companies along.
    let said = caller.delete(&format!("/v1/data/objects/company/{}", companies[0])).await;
    assert_eq!(said.status, StatusCode::INTERNAL_SERVER_ERROR);
    said.refused("GSOBJ_1003");
    let said =
        caller.send(caller.request(Method::DELETE, "/v1/peoplemgmt/v1.0/people/async").json(&json!([gsid]))).await;
    assert!(said.data()["statusId"].is_string());
    assert_eq!(
        (caller.count("person").await, caller.count("company_person").await, caller.count("record_delete_log").await),
        (0, 0, 3)
    );
    caller.delete(&format!("/v1/data/objects/company/{}", companies[0])).await.data();
}

#[tokio::test]
async fn people_lookups_and_other_keys() {
    let caller = Caller::new().await;
    let company = caller.insert("company", json!([{"Name": "A", "SfdcAccountId": "001000000000001"}])).await;
    let lookups = json!({"Company_ID": {"fields": {"Account": "SfdcAccountId"}, "lookupField": "Gsid", "objectName": "company", "multiMatchOption": "MARKASERROR", "onNoMatch": "ERROR"}});
    let put = |email: &str, record: &str, account: &str| {
        let body = json!({"Email": email, "LastName": "x", "ExternalRecordID__gc": record, "companies": [{"Account": account, "Title": "VP"}], "lookups": lookups});
        let caller = &caller;
        async move { caller.put("/v1.0/api/people", body).await }
    };
    put("a@x.org", "r1", "001000000000001").await.data();
    put("b@x.org", "r2", "001000000000002").await.refused("GSOBJ_VDTGSID1001");
    let rows = caller.query("company_person", json!({"select": ["Company_ID", "Title"]})).await.records();
    assert_eq!(rows, [json!({"Company_ID": company[0], "Title": "VP"})]);
    caller.switch(json!({"person-key": ["ExternalRecordID__gc"]})).await;
    put("other@x.org", "R1", "001000000000001").await.data();
    assert_eq!((caller.count("person").await, caller.count("company_person").await), (1, 1));
}

#[tokio::test]
async fn async_people_load_row_by_row() {
    let caller = Caller::new().await;
    let company = caller.insert("company", json!([{"Name": "A"}])).await;
    caller.switch(json!({"people-async-polls": 1})).await;
    let records = json!([
        {"Email": "a@x.org", "companies": [{"Company_ID": company[0], "ExternalContactId": "003"}]},
        {"Email": "bad", "Shoe": 1},
        {"Email": "c@x.org", "companies": [{"Company_ID": "1P02"}]},
        {"Email": "d@x.org"}]);
    let id = caller.put("/v1/peoplemgmt/v1.0/people/async", json!({"records": records})).await.data()["statusId"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/peoplemgmt/v1.0/people/async/status/{id}");
    assert_eq!(caller.get(&path).await.data()["status"], "IN_PROGRESS");
    let status = caller.get(&path).await.data();
    assert_eq!((&status["status"], &status["count"]), (&json!("COMPLETED"), &json!(2)));
    assert_eq!(status["people"][1]["Email"], "d@x.org");
    let errors = status["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| error["rowNumber"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(
        errors[2],
        json!({"rowNumber": 2, "fieldName": "Company_ID", "value": "1P02", "errorCode": "GSOBJ_VDTGSID1001", "message": "Invalid GSID value"})
    );
    assert_eq!((caller.count("person").await, caller.count("company_person").await), (2, 1));
    let many: Vec<Json> = (0..51).map(|n| json!({"Email": format!("{n}@x.org")})).collect();
    caller.put("/v1/peoplemgmt/v1.0/people/async", json!({"records": many})).await.refused("GSOBJ_1002");
}
