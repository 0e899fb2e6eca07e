//! The Gainsight sandbox as its callers see it: every documented body, over HTTP.

use std::time::Duration;

use chrono::DateTime;
use chrono::TimeDelta;
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::sandbox::gainsight::BulkJob;
use sf2gs::sandbox::gainsight::Limits;
use sf2gs::sandbox::gainsight::LookupFile;
use sf2gs::sandbox::gainsight::Operation;
use sf2gs::sandbox::gainsight::RunningTenant;
use sf2gs::sandbox::gainsight::TenantOptions;
use sf2gs::sandbox::gainsight::serve;

struct Caller {
    tenant: RunningTenant,
    http: reqwest::Client,
    clock: Clock,
}

#[derive(Debug)]
struct Said {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Said {
    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// `data` of a call that went well.
    fn data(&self) -> Json {
        let json = self.json();
        assert_eq!((self.status, &json["result"]), (StatusCode::OK, &json!(true)), "{}", self.text);
        json["data"].clone()
    }

    fn records(&self) -> Vec<Json> {
        self.data()["records"].as_array().unwrap().clone()
    }

    fn refused(&self, code: &str) -> Json {
        let json = self.json();
        assert_eq!((&json["result"], &json["errorCode"]), (&json!(false), &json!(code)), "{}", self.text);
        json
    }
}

impl Caller {
    async fn with(options: TenantOptions) -> Self {
        let clock = options.clock.clone();
        let tenant = serve(options, ([127, 0, 0, 1], 0).into()).await.unwrap();
        Self { tenant, http: reqwest::Client::builder().no_proxy().build().unwrap(), clock }
    }

    async fn new() -> Self {
        Self::with(TenantOptions { quotas: false, clock: held(), ..TenantOptions::default() }).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.tenant.url().as_str().trim_end_matches('/'));
        self.http.request(method, url).header("AccessKey", &self.tenant.access_key)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Said {
        let response = request.send().await.unwrap();
        Said { status: response.status(), headers: response.headers().clone(), text: response.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Said {
        self.send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Json) -> Said {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    async fn put(&self, path: &str, body: Json) -> Said {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    async fn delete(&self, path: &str) -> Said {
        self.send(self.request(Method::DELETE, path)).await
    }

    async fn insert(&self, object: &str, records: Json) -> Vec<String> {
        let said = self.post(&format!("/v1/data/objects/{object}"), json!({"records": records})).await;
        said.records().iter().map(|record| record["Gsid"].as_str().unwrap().to_owned()).collect()
    }

    async fn query(&self, object: &str, body: Json) -> Said {
        self.post(&format!("/v1/data/objects/query/{object}"), body).await
    }

    /// The names of the companies that a condition finds.
    async fn names(&self, condition: Json) -> Vec<String> {
        let body = json!({"select": ["Name"], "where": {"conditions": [condition]}, "orderBy": {"Name": "asc"}});
        let records = self.query("company", body).await.records();
        records.iter().map(|record| record["Name"].as_str().unwrap_or("").to_owned()).collect()
    }

    async fn count(&self, object: &str) -> u64 {
        self.get("/__sandbox/counts").await.json()[object].as_u64().unwrap()
    }

    async fn switch(&self, changes: Json) {
        let said = self.put("/__sandbox/switches", changes).await;
        assert_eq!(said.status, StatusCode::OK, "{}", said.text);
    }

    async fn import(&self, csv: impl Into<Vec<u8>>) -> Said {
        self.import_as(csv, &self.tenant.bulk_jobs[0].id).await
    }

    async fn import_as(&self, csv: impl Into<Vec<u8>>, job: &str) -> Said {
        let file = reqwest::multipart::Part::bytes(csv.into()).file_name("a.csv").mime_str("text/csv").unwrap();
        let form = reqwest::multipart::Form::new().part("file", file).text("jobId", job.to_owned());
        let request = self
            .request(Method::POST, "/v1.0/admin/connector/job/bulkimport")
            .header("loginName", &self.tenant.bulk_login)
            .header("appOrgId", &self.tenant.bulk_org_id);
        self.send(request.multipart(form)).await
    }

    async fn imported(&self, csv: impl Into<Vec<u8>>) -> Json {
        let said = self.import(csv).await;
        self.import_end(&said).await
    }

    async fn import_end(&self, said: &Said) -> Json {
        let id = said.data()["statusId"].as_str().unwrap().to_owned();
        for _ in 0..2000 {
            let status = self.get(&format!("//v1.0/admin/connector/job/bulkimport/status/{id}")).await.data();
            if status["jobStatus"] == "COMPLETED" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the import does not end");
    }
}

fn held() -> Clock {
    Clock::held_at(DateTime::parse_from_rfc3339("2026-03-01T10:00:00Z").unwrap().to_utc())
}

#[tokio::test]
async fn no_key_is_the_gateways_401() {
    let caller = Caller::new().await;
    let url = caller.tenant.url().join("/v1/data/objects/query/company").unwrap();
    for request in [
        caller.http.post(url.clone()),
        caller.http.post(url.clone()).header("accesskey", "wrong"),
        caller.http.post(url.clone()).bearer_auth("wrong"),
    ] {
        let said = caller.send(request.body("{}")).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED);
        let id = said.headers["x-gs-request-id"].to_str().unwrap();
        assert_eq!(said.headers["x-request-id"], id);
        let wanted = format!(
            r#"{{"result":false,"errorCode":"GS_APIG_2401","errorDesc":"Unauthorized","requestId":"{id}","message":"Unauthorized"}}"#
        );
        assert_eq!(said.text, wanted);
    }
    let said = caller.get("/v1/nothing/here").await;
    assert_eq!(
        (said.status, said.refused("GS_APIG_1000")["errorDesc"].clone()),
        (StatusCode::NOT_FOUND, json!("Not Found"))
    );
    let said = caller.get("/v1/data/objects/a/b/c/d").await;
    said.refused("GSOBJ_1023");
    caller.switch(json!({"address-allowed": false})).await;
    assert_eq!(caller.get("/v1/meta/services/objects/list").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_is_good_for_a_day() {
    let caller = Caller::new().await;
    let url = caller.tenant.url().join("/v1/users/m2m/oauth/token").unwrap();
    let wrong = caller.http.post(url.clone()).basic_auth("x", Some("y"));
    assert_eq!(caller.send(wrong).await.status, StatusCode::UNAUTHORIZED);
    let right = caller.http.post(url).basic_auth(&caller.tenant.m2m_client_id, Some(&caller.tenant.m2m_client_secret));
    let token = caller.send(right).await.json();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(86400)));
    let list = || {
        let url = caller.tenant.url().join("/v1/meta/services/objects/list").unwrap();
        caller.send(caller.http.get(url).bearer_auth(token["access_token"].as_str().unwrap()))
    };
    assert_eq!(list().await.status, StatusCode::OK);
    caller.clock.advance(TimeDelta::days(1));
    assert_eq!(list().await.status, StatusCode::UNAUTHORIZED);
}

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
async fn queries_know_all_operators() {
    let caller = Caller::new().await;
    let user = json!({"records": [{"Name": "Ada Low", "Email": "ada@x.org", "SFDCUserName": "ada@x.org"}]});
    let csm = caller.post("/v1/users/services", user).await.records()[0]["Gsid"].clone();
    let ids = caller
        .insert("company", json!([
            {"Name": "Acme Ltd", "Employees": 10, "Arr": 1.5, "Stage": "Launched", "RenewalDate": "2024-01-31", "Csm": csm, "Tags": ["Strategic"]},
            {"Name": "Bolt Ltd", "Employees": 20, "Arr": 2.5, "Stage": "Adopting", "RenewalDate": "2024-02-29"},
            {"Name": "Core Inc", "Employees": 30, "Stage": "Churn", "RenewalDate": "2024-03-31", "Tags": ["Strategic", "Partner"]},
            {"Name": "Dunn"}]))
        .await;
    for (name, operator, value, wanted) in [
        ("Name", "EQ", json!(["Dunn"]), "Dunn"),
        ("name", "ne", json!(["Dunn"]), "Acme Ltd,Bolt Ltd,Core Inc"),
        ("Name", "GT", json!(["Bolt Ltd"]), "Core Inc,Dunn"),
        ("Name", "LTE", json!(["Bolt Ltd"]), "Acme Ltd,Bolt Ltd"),
        ("Name", "IN", json!(["Dunn", "Nobody", "Core Inc"]), "Core Inc,Dunn"),
        ("Name", "CONTAINS", json!(["Lt"]), "Acme Ltd,Bolt Ltd"),
        ("Name", "DOES_NOT_CONTAINS", json!(["Lt"]), "Core Inc,Dunn"),
        ("Name", "STARTS_WITH", json!(["Co"]), "Core Inc"),
        ("Name", "ENDS_WITH", json!(["td"]), "Acme Ltd,Bolt Ltd"),
        ("Employees", "GTE", json!([20]), "Bolt Ltd,Core Inc"),
        ("Employees", "LT", json!(["20"]), "Acme Ltd"),
        ("Employees", "NOT_IN", json!([10, 20]), "Core Inc"),
        ("Employees", "IS_NULL", json!([]), "Dunn"),
        ("Arr", "EQ", json!([2.5]), "Bolt Ltd"),
        ("Arr", "IS_NOT_NULL", json!([]), "Acme Ltd,Bolt Ltd"),
        ("RenewalDate", "BTW", json!(["02-01-2024", "03-31-2024"]), "Bolt Ltd,Core Inc"),
        ("RenewalDate", "GT", json!(["2024-02-29"]), "Core Inc"),
        ("CreatedDate", "GTE", json!(["2026-03-01T10:00:00+00:00"]), "Acme Ltd,Bolt Ltd,Core Inc,Dunn"),
        ("CreatedDate", "GT", json!(["2026-03-01T10:00Z"]), ""),
        ("Stage", "IN", json!(["Launched", "Adopting"]), "Acme Ltd,Bolt Ltd"),
        ("Stage", "EQ", json!(["No such stage"]), ""),
        ("Stage", "EXCLUDES", json!(["Churn"]), "Acme Ltd,Bolt Ltd"),
        ("Stage", "CONTAINS", json!(["hur"]), "Core Inc"),
        ("Tags", "INCLUDES", json!(["Partner", "Reference"]), "Core Inc"),
        ("Tags", "EXCLUDES", json!(["Partner"]), "Acme Ltd"),
        ("Gsid", "GT", json!([ids[1]]), "Core Inc,Dunn"),
        ("Gsid", "GTE", json!([ids[3]]), "Dunn"),
        ("Gsid", "LT", json!([ids[1]]), "Acme Ltd"),
        ("Gsid", "IN", json!([ids[0], "x"]), "Acme Ltd"),
        ("Csm", "EQ", json!([csm]), "Acme Ltd"),
        ("csm__gr.email", "EQ", json!(["ada@x.org"]), "Acme Ltd"),
    ] {
        let found = caller.names(json!({"name": name, "alias": "A", "operator": operator, "value": value})).await;
        assert_eq!(found.join(","), wanted, "{name} {operator} {value}");
    }
    for (name, operator, value) in [
        ("Name", "BTW", json!(["A", "B"])),
        ("Name", "EQ", json!("Dunn")),
        ("Name", "EQ", json!([])),
        ("Name", "LIKE", json!(["D"])),
        ("Nam", "EQ", json!(["D"])),
        ("Employees", "EQ", json!(["many"])),
        ("RenewalDate", "GT", json!(["soon"])),
        ("Stage", "INCLUDES", json!(["No such stage"])),
        ("Trend__gr.Name", "EQ", json!(["D"])),
    ] {
        let body = json!({"select": ["Name"], "where": {"conditions": [{"name": name, "operator": operator, "value": value}]}});
        caller.query("company", body).await.refused("GSOBJ_1002");
    }
}

#[tokio::test]
async fn queries_have_expressions_order_pages_and_paths() {
    let caller = Caller::new().await;
    let user = json!({"records": [{"Name": "Ada Low", "Email": "ada@x.org", "SFDCUserName": "ada@x.org"}]});
    let csm = caller.post("/v1/users/services", user).await.records()[0]["Gsid"].clone();
    let company = caller.insert("company", json!([{"Name": "Acme", "Csm": csm}])).await;
    let person =
        json!({"Email": "jo@x.org", "LastName": "Jo", "companies": [{"Company_ID": company[0], "Title": "VP"}]});
    caller.put("/v1/peoplemgmt/v1.0/people", person).await.data();
    let body = json!({"select": ["title", "Company_ID__gr.csm__gr.name", "person_id__gr.Email", "Manager__gr.Title"]});
    let record = json!({"Title": "VP", "Company_ID__gr.Csm__gr.Name": "Ada Low", "Person_ID__gr.Email": "jo@x.org", "Manager__gr.Title": null});
    assert_eq!(caller.query("company_person", body).await.records(), [record]);

    let records: Vec<Json> = (0..9).map(|n| json!({"Name": format!("N{n}"), "Employees": n % 3})).collect();
    caller.insert("company", json!(records)).await;
    let condition = |alias: &str, name: &str, operator: &str, value: Json| json!({"name": name, "alias": alias, "operator": operator, "value": value});
    let conditions = json!([
        condition("A", "Name", "EQ", json!(["N0"])),
        condition("B", "Employees", "EQ", json!([1])),
        condition("C", "Name", "GT", json!(["N3"])),
    ]);
    let names = |expression: &str| {
        let body = json!({"select": ["Name"], "where": {"conditions": conditions, "expression": expression},
                          "orderBy": {"Employees": "desc", "Name": "DESC"}, "limit": 100, "offset": 0});
        let caller = &caller;
        async move {
            let records = caller.query("company", body).await.records();
            records.iter().map(|record| record["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(",")
        }
    };
    assert_eq!(names("A OR B AND C").await, "N7,N4,N0");
    assert_eq!(names("(A OR B) AND C").await, "N7,N4");
    let page = |offset: usize| {
        let body = json!({"select": ["Name"], "orderBy": {"Name": "asc"}, "limit": 4, "offset": offset});
        let caller = &caller;
        async move { caller.query("company", body).await.records().len() }
    };
    assert_eq!((page(0).await, page(4).await, page(8).await, page(12).await), (4, 4, 2, 0));
    caller.query("company", json!({"select": ["Name"], "limit": 5001})).await.refused("GSOBJ_1002");
    caller.query("company", json!({"limit": 5})).await.refused("GSOBJ_1002");
    caller.query("company", json!({"select": ["Name"], "orderBy": {"Name": "up"}})).await.refused("GSOBJ_1002");
    let said = caller
        .query("company", json!({"select": ["Name"], "where": {"conditions": conditions, "expression": "A AND D"}}))
        .await;
    said.refused("GSOBJ_1002");
}

#[tokio::test]
async fn reads_have_the_shape_that_the_switches_say() {
    let caller = Caller::new().await;
    caller.insert("company", json!([{"Name": "A", "RenewalDate": "2024-01-31"}, {"Name": "B"}])).await;
    let body = json!({"select": ["Name", "RenewalDate", "CreatedDate"], "where": {"conditions": [{"name": "Name", "operator": "EQ", "value": ["A"]}]}});
    assert_eq!(
        caller.query("company", body.clone()).await.records(),
        [json!({"Name": "A", "RenewalDate": "2024-01-31", "CreatedDate": "2026-03-01T10:00:00Z"})]
    );
    let nothing =
        json!({"select": ["Name"], "where": {"conditions": [{"name": "Name", "operator": "EQ", "value": ["Z"]}]}});
    let said = caller.query("company", nothing.clone()).await;
    assert!(said.text.contains(r#""data":{"records":[]},"message":null"#), "{}", said.text);
    caller.switch(json!({"dates": "epoch-ms", "read-shape": "list", "empty-read": "gsobj-1011", "empty-text-for-null-dates": true})).await;
    let data = caller.query("company", body).await.data();
    assert_eq!(
        data,
        json!([{"Name": "A", "RenewalDate": 1_706_659_200_000_i64, "CreatedDate": 1_772_359_200_000_i64}])
    );
    caller.query("company", nothing).await.refused("GSOBJ_1011");
    let data = caller
        .query("company", json!({"select": ["RenewalDate"], "orderBy": {"Name": "desc"}, "limit": 1}))
        .await
        .data();
    assert_eq!(data, json!([{"RenewalDate": ""}]));
    assert_eq!(caller.put("/__sandbox/switches", json!({"dates": "roman"})).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn keyset_pages_over_many_rows_see_each_row_once() {
    let caller = Caller::new().await;
    let mut csv = "Name,SfdcAccountId\n".to_owned();
    for n in 0..12_000 {
        csv.push_str(&format!("Company {n},001{n:012}\n"));
    }
    assert_eq!(caller.imported(csv).await["successCount"], 12_000);
    let mut last = String::new();
    let mut pages = Vec::new();
    loop {
        let body = json!({"select": ["Gsid", "Name"], "orderBy": {"Gsid": "asc"}, "limit": 5000, "where": {"conditions": [
            {"name": "Gsid", "alias": "A", "operator": "GT", "value": [last]},
            {"name": "ModifiedDate", "alias": "B", "operator": "GTE", "value": ["2026-03-01T10:00:00Z"]}], "expression": "A AND B"}});
        let records = caller.query("company", body).await.records();
        pages.push(records.len());
        let Some(end) = records.last() else { break };
        assert!(records[0]["Gsid"].as_str().unwrap() > last.as_str());
        last = end["Gsid"].as_str().unwrap().to_owned();
    }
    assert_eq!(pages, [5000, 5000, 2000, 0]);
    let found = caller
        .names(json!({"name": "SfdcAccountId", "operator": "IN", "value": ["001000000011999", "001000000000000"]}))
        .await;
    assert_eq!(found, ["Company 0", "Company 11999"]);
}

#[tokio::test]
async fn metadata_describes_objects_fields_and_dropdowns() {
    let caller = Caller::new().await;
    let list = caller.get("/v1/meta/services/objects/list?po=company&em=false").await.data();
    let company = list.as_array().unwrap().iter().find(|object| object["objectName"] == "company").unwrap().clone();
    assert_eq!((&company["objectType"], company["keyPrefix"].as_str().unwrap().len()), (&json!("STANDARD"), 18));
    assert_eq!(
        caller
            .post("/v1/meta/services/objects/", json!({"externalUse": "true"}))
            .await
            .data()
            .as_array()
            .unwrap()
            .len(),
        list.as_array().unwrap().len()
    );
    let object = caller.get("/v1/meta/services/objects/Company/describe?ic=false&cl=0").await.data()[0].clone();
    assert_eq!((&object["source"], &object["dataStore"]), (&json!("MDA"), &json!("HAPOSTGRES")));
    let fields = object["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["fieldName"] == name).unwrap();
    assert_eq!((&field("Name")["dataType"], &field("Name")["meta"]["length"]), (&json!("STRING"), &json!(250)));
    assert_eq!(field("Csm")["meta"]["lookupDetail"]["lookupName"], "Csm__gr");
    assert_eq!(field("Arr")["meta"]["decimalPlaces"], 2);
    assert_eq!(field("Gsid")["meta"]["fieldGroupType"], "SYSTEM");
    let stage = field("Stage");
    assert!(
        stage["options"]
            .as_array()
            .unwrap()
            .iter()
            .any(|option| option["label"] == "Adopting" && option["value"].as_str().unwrap().starts_with("1I00"))
    );
    let category = stage["meta"]["properties"]["PICKLIST_CATEGORY_ID"].as_str().unwrap();
    let dropdown = caller.get(&format!("/v1/meta/services/dropdowns/{category}")).await.data();
    assert_eq!(
        (&dropdown["categoryDetails"]["count"], &dropdown["categoryDetails"]["limit"]),
        (&json!(6), &json!(500))
    );
    assert_eq!(dropdown["childItems"][0]["gsid"], stage["options"][0]["value"]);
    let body = json!({"objectNames": ["gsuser", "Person"], "populatePickListOptions": "true", "removeHidden": "true"});
    assert_eq!(caller.post("/v1/meta/services/objects/describe", body).await.data().as_array().unwrap().len(), 2);
    let said = caller.get("/v1/meta/services/objects/nothing/describe").await;
    let body = said.json();
    assert_eq!(
        (&body["title"], &body["detail"], &body["errorDesc"], &body["instance"]),
        (
            &json!("OBJECT_NOT_FOUND"),
            &json!("Requested object not found."),
            &json!("Requested object not found."),
            &json!("2026-03-01 10:00:00 UTC")
        )
    );
}

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
    let again = put(json!({"email": " jane@ACME.com", "companies": [
        {"Company_ID": companies[0], "Role": "Champion"}, {"Company_ID": companies[1], "Title": "Advisor", "IsPrimaryCompany": true}]})).await;
    // The address has a blank before it, which an address may not have; trimmed is how the key compares, not the value.
    again.refused("GSOBJ_VDTEMAIL1001");
    let again = put(json!({"email": "jane@ACME.com", "companies": [
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

#[tokio::test]
async fn bulk_import_loads_good_rows_and_lists_bad_ones() {
    let caller = Caller::new().await;
    let csv = "Name,SfdcAccountId,Employees,Stage,RenewalDate\n\
               Acme,0015g00000AbCdEAAV,250,Adopting,2025-01-31\n\
               \"Bolt, \"\"Inc\"\"\r\nSecond line\",001000000000002,,,\n\
               Core,short,30,,\n\
               Dunn,001000000000004,many,xyz,\n\
               Edge,,1,,\n\
               Fewer,001000000000006\n\
               Acme again,0015g00000AbCdEAAV,,,\n";
    let status = caller.imported(csv).await;
    assert_eq!(
        (&status["totalRecords"], &status["successCount"], &status["failureCount"]),
        (&json!(7), &json!(3), &json!(4))
    );
    let failed = caller.get(status["failedRecordsUrl"].as_str().unwrap()).await.text;
    assert_eq!(
        failed,
        "Name,SfdcAccountId,Employees,Stage,RenewalDate,ERROR_MESSAGE\n\
         Core,short,30,,,GSOBJ_1008: Failed to parse value as sfdc id. (SfdcAccountId = short).\n\
         Dunn,001000000000004,many,xyz,,\"GSOBJ_1002: Invalid field, please re-check data mapping (Employees = many).; GSOBJ_1012: Invalid/Inactive value provided for picklist. (Stage = xyz).\"\n\
         Edge,,1,,,GSOBJ_1007: Invalid field value (SfdcAccountId = null).\n\
         Fewer,001000000000006,\"GSOBJ_1002: Invalid field, please re-check data mapping (number of columns = 2).\"\n"
    );
    let rows =
        caller.query("company", json!({"select": ["Name", "Employees"], "orderBy": {"Gsid": "asc"}})).await.records();
    // The last row of a key wins; its empty cells leave what is there.
    assert_eq!(
        rows,
        [
            json!({"Name": "Acme again", "Employees": 250}),
            json!({"Name": "Bolt, \"Inc\"\r\nSecond line", "Employees": null})
        ]
    );
    caller.switch(json!({"bulk-empty-cells": "clear"})).await;
    let status = caller.imported("SfdcAccountId,Employees\n0015g00000AbCdEAAV,\n").await;
    assert_eq!((&status["successCount"], status.get("failedRecordsUrl")), (&json!(1), None));
    let rows = caller.query("company", json!({"select": ["Employees"], "orderBy": {"Gsid": "asc"}})).await.records();
    assert_eq!(rows[0], json!({"Employees": null}));
}

#[tokio::test]
async fn bulk_import_refuses_what_is_no_file() {
    let caller = Caller::new().await;
    let said = caller.import("Name,SfdcAccountId\n").await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    said.refused("GS_7571");
    caller.import("").await.refused("GS_7571");
    caller.import("Name,Nonsense,SfdcAccountId\na,b,c\n").await.refused("GSOBJ_1002");
    caller.import("Name\na\n").await.refused("GSOBJ_1002");
    caller.import_as("Name,SfdcAccountId\na,001000000000001\n", "no such job").await.refused("GSOBJ_1002");
    let form = reqwest::multipart::Form::new().text("jobId", "x");
    let request = caller.request(Method::POST, "/v1.0/admin/connector/job/bulkimport").multipart(form);
    assert_eq!(caller.send(request).await.status, StatusCode::UNAUTHORIZED, "loginName and appOrgId are missing");
    let mut big = b"Name,SfdcAccountId\n".to_vec();
    big.resize(80_000_000, b'x');
    let said = caller.import(big).await;
    assert_eq!(said.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(said.text.contains("413 Request Entity Too Large"));
    caller.get("/v1.0/admin/connector/job/bulkimport/status/nothing").await.refused("GSOBJ_1002");
}

#[tokio::test]
async fn bulk_jobs_are_data() {
    let lookup = LookupFile {
        fields: [("Owner".to_owned(), "SfdcUserId".to_owned())].into(),
        lookup_field: Some("Gsid".to_owned()),
        object_name: "gsuser".to_owned(),
        multi_match_option: Some("MARKASERROR".to_owned()),
        on_no_match: Some("ERROR".to_owned()),
        default_value: None,
    };
    let job = |id: &str, operation, keys: &[&str]| BulkJob {
        id: id.to_owned(),
        object: "company".to_owned(),
        operation,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        mapping: [("Account Name".to_owned(), "Name".to_owned())].into(),
        lookups: [("Csm".to_owned(), lookup.clone())].into(),
        separator: '\t',
    };
    let jobs = vec![job("new", Operation::Insert, &[]), job("change", Operation::Update, &["Name"])];
    let caller = Caller::with(TenantOptions { quotas: false, bulk_jobs: jobs, ..TenantOptions::default() }).await;
    let user = json!({"records": [{"Name": "Ada", "Email": "a@x.org", "SFDCUserName": "a@x.org", "SfdcUserId": "005000000000001"}]});
    caller.post("/v1/users/services", user).await.data();
    let said = caller.import_as("account name\tOwner\nA\t005000000000001\nB\t005000000000002\n", "new").await;
    let status = caller.import_end(&said).await;
    assert_eq!((&status["successCount"], &status["failureCount"]), (&json!(1), &json!(1)));
    let said = caller
        .import_as("Account Name\tIndustry\tOwner\nA\tRetail\t005000000000001\nZ\tRetail\t005000000000001\n", "change")
        .await;
    let status = caller.import_end(&said).await;
    assert_eq!((&status["successCount"], &status["failureCount"]), (&json!(1), &json!(1)));
    let rows = caller.query("company", json!({"select": ["Name", "Industry", "Csm__gr.Name"]})).await.records();
    assert_eq!(rows, [json!({"Name": "A", "Industry": "Retail", "Csm__gr.Name": "Ada"})]);
    for object in ["gsuser", "person", "company_person", "nothing"] {
        let wrong = BulkJob {
            object: object.to_owned(),
            mapping: Default::default(),
            lookups: Default::default(),
            ..job("x", Operation::Insert, &[])
        };
        let options = TenantOptions { bulk_jobs: vec![wrong], ..TenantOptions::default() };
        assert!(serve(options, ([127, 0, 0, 1], 0).into()).await.is_err(), "{object}");
    }
}

#[tokio::test]
async fn runs_of_one_job_wait_for_each_other() {
    let caller = Caller::new().await;
    let file = |stage: &str| {
        let mut csv = "SfdcAccountId,Industry\n".to_owned();
        for n in 0..3000 {
            csv.push_str(&format!("001{n:012},{stage}\n"));
        }
        csv
    };
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(caller.import(file(&format!("I{n}"))).await);
    }
    for run in &runs {
        assert_eq!(caller.import_end(run).await["successCount"], 3000);
    }
    assert_eq!(caller.count("company").await, 3000);
    let found = caller.names(json!({"name": "Industry", "operator": "NE", "value": ["I3"]})).await;
    assert_eq!(found.len(), 0, "the last run was the last");
}

#[tokio::test]
async fn bulk_export_gives_csv_in_chunks() {
    let caller = Caller::new().await;
    let mut csv = "Name,SfdcAccountId\n".to_owned();
    for n in 0..20_001 {
        csv.push_str(&format!("\"C, {n}\",001{n:012}\n"));
    }
    caller.imported(csv).await;
    let start = caller
        .post(
            "/v3/exports/data/bulk/company",
            json!({"select": ["Gsid", "Name", "RenewalDate"], "orderBy": {"Gsid": "asc"}}),
        )
        .await
        .data();
    let status = caller.get(&format!("/{}", start["statusURL"].as_str().unwrap())).await.data();
    assert_eq!((&status["jobStatus"], &status["totalRecords"]), (&json!("COMPLETED"), &json!(20_001)));
    let chunks = status["chunkDetails"].as_array().unwrap();
    assert_eq!((chunks.len(), &chunks[1]["offset"], &chunks[1]["limit"]), (2, &json!(20_000), &json!(1)));
    let text = caller.get(&format!("/{}", chunks[1]["chunkURL"].as_str().unwrap())).await.text;
    let (head, row) = text.split_once('\n').unwrap();
    assert_eq!(head, "Gsid,Name,RenewalDate");
    assert!(row.starts_with("1P02") && row.ends_with(",\"C, 20000\",\n"), "{row}");
    caller.post("/v3/exports/data/bulk/company", json!({})).await.refused("GSOBJ_ESS_9104");
    caller.post("/v3/exports/data/bulk/company", json!({"select": ["Nonsense"]})).await.refused("GSOBJ_ESS_9150");
}

#[tokio::test]
async fn quotas_are_windows_on_the_clock() {
    let clock = Clock::held_at(DateTime::parse_from_rfc3339("2026-03-01T10:00:59Z").unwrap().to_utc());
    let limits =
        Limits { sync_per_minute: Some(3), users_per_hour: Some(1), bulk_per_hour: Some(1), ..Limits::default() };
    let caller = Caller::with(TenantOptions { clock, limits, ..TenantOptions::default() }).await;
    let list = "/v1/meta/services/objects/list";
    for _ in 0..2 {
        caller.get(list).await.data();
    }
    // A refused call uses up the quota as well.
    caller.query("company", json!({})).await.refused("GSOBJ_1002");
    let said = caller.get(list).await;
    assert_eq!(
        (said.status, said.headers["x-ratelimit-limit"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "3, 50000")
    );
    assert!(said.headers.get("retry-after").is_none());
    let id = said.headers["x-gs-request-id"].to_str().unwrap();
    let wanted = format!(
        r#"{{"result":false,"errorCode":"GS_APIG_2404","errorDesc":"Too many requests","requestId":"{id}","message":"Too many requests"}}"#
    );
    assert_eq!(said.text, wanted);
    // The next minute begins a second later.
    caller.clock.advance(TimeDelta::seconds(1));
    caller.get(list).await.data();
    caller.post("/v1/users/services", json!({"records": []})).await.refused("GU_2401");
    let said = caller.post("/v1/users/services", json!({"records": []})).await;
    assert_eq!(
        (said.status, said.refused("GU_2400")["errorDesc"].clone()),
        (StatusCode::TOO_MANY_REQUESTS, json!("Too many request"))
    );
    // People async counts as bulk, or as sync if the switch says so.
    let people = || caller.put("/v1/peoplemgmt/v1.0/people/async", json!({"records": [{"Email": "a@x.org"}]}));
    people().await.data();
    caller.switch(json!({"retry-after": true})).await;
    let said = people().await;
    assert_eq!((said.status, said.headers["retry-after"].to_str().unwrap()), (StatusCode::TOO_MANY_REQUESTS, "3540"));
    caller.switch(json!({"people-async-class": "sync"})).await;
    people().await.data();
    let calls = caller.get("/__sandbox/calls").await.json();
    assert_eq!(
        calls,
        json!({"accepted": {"sync": 6, "users": 2, "bulk": 2}, "refused": {"sync": 1, "users": 1, "bulk": 1}})
    );
    caller.put("/__sandbox/quotas", Json::Null).await;
    for _ in 0..10 {
        people().await.data();
    }
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
