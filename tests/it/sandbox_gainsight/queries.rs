//! The query API.

use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;

use super::Caller;

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
