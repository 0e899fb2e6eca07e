//! Bulk import and export.

use reqwest::Method;
use reqwest::StatusCode;
use serde_json::json;
use sf2gs::sandbox::gainsight::BulkJob;
use sf2gs::sandbox::gainsight::LookupFile;
use sf2gs::sandbox::gainsight::Operation;
use sf2gs::sandbox::gainsight::TenantOptions;
use sf2gs::sandbox::gainsight::serve;

use super::Caller;

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
