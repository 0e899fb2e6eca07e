//! Logins, quotas, metadata and faults.

use chrono::DateTime;
use chrono::TimeDelta;
use reqwest::Method;
use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::clock::Clock;
use sf2gs::sandbox::gainsight::Limits;
use sf2gs::sandbox::gainsight::TenantOptions;

use super::Caller;

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
async fn faults_come_as_often_as_ordered() {
    let caller = Caller::new().await;
    let order = |what: Json| {
        let body = json!({"method": "POST", "path": "/v1/data/objects/company", "times": 1, "what": what});
        let caller = &caller;
        async move { assert_eq!(caller.post("/__sandbox/faults", body).await.status, StatusCode::OK) }
    };
    let insert = || caller.request(Method::POST, "/v1/data/objects/company").json(&json!({"records": [{"Name": "A"}]}));
    async fn is_cut(request: reqwest::RequestBuilder) -> bool {
        match request.send().await {
            Err(_) => true,
            Ok(response) => response.bytes().await.is_err(),
        }
    }
    order(json!("cut-before")).await;
    assert!(is_cut(insert()).await);
    assert_eq!(caller.count("company").await, 0);
    order(json!("cut-after")).await;
    assert!(is_cut(insert()).await);
    assert_eq!(caller.count("company").await, 1);
    order(json!({"answer": {"status": 502, "body": "<html>Bad Gateway</html>"}})).await;
    assert_eq!(caller.send(insert()).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(caller.send(insert()).await.status, StatusCode::OK);
    let armed = caller.get("/__sandbox/faults").await.json();
    assert!(armed.as_array().unwrap().iter().all(|one| one["fired"] == 1));
}

#[tokio::test]
async fn an_emptied_tenant_is_as_new() {
    let caller = Caller::new().await;
    let first = caller.insert("company", json!([{"Name": "A"}, {"Name": "B"}])).await;
    caller
        .put("/v1/peoplemgmt/v1.0/people", json!({"Email": "a@x.org", "companies": [{"Company_ID": first[0]}]}))
        .await;
    let emptied = caller.post("/__sandbox/empty", json!({"objects": ["person", "company_person"]})).await.json();
    assert_eq!(
        (&emptied["person"], &emptied["company_person"], &emptied["company"]),
        (&json!(0), &json!(0), &json!(2))
    );
    assert_eq!(caller.names(json!({"name": "Gsid", "value": [first[1]], "operator": "EQ"})).await, ["B"]);
    caller.delete(&format!("/v1/data/objects/company/{}", first[1])).await;
    caller.post("/__sandbox/empty", json!({})).await;
    assert_eq!((caller.count("company").await, caller.count("record_delete_log").await), (0, 0));
    assert_eq!(caller.insert("company", json!([{"Name": "C"}])).await, first[..1]);
    assert_eq!(caller.post("/__sandbox/empty", json!({"objects": ["nothing"]})).await.status, StatusCode::NOT_FOUND);
}
