//! The Salesforce sandbox through HTTP, as a client sees it.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::records;
use crate::support::caller::reply_status;
use crate::support::caller::start;

#[tokio::test]
async fn three_logins_and_their_refusals() {
    let client = start(options()).await;
    let secret = client.org.client_secret().to_owned();
    assert!(client.token.starts_with(&format!("{}!", client.org.org_id())));

    let reply = client.login(&[("grant_type", "client_credentials"), ("client_secret", &secret)]).await;
    let body = reply.json();
    assert_eq!(body["instance_url"], client.org.url());
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["issued_at"].as_str().unwrap().parse::<i64>().is_ok());
    assert!(body.get("refresh_token").is_none());

    let basic = client.http.post(format!("{}/services/oauth2/token", client.org.url()));
    let basic = basic.basic_auth(client.org.client_id(), Some(&secret)).form(&[("grant_type", "client_credentials")]);
    assert_eq!(reply_status(basic).await, 200);

    for (form, error) in [
        (
            vec![("grant_type", "refresh_token"), ("client_secret", secret.as_str()), ("refresh_token", "x")],
            "invalid_grant",
        ),
        (vec![("grant_type", "client_credentials"), ("client_secret", "x")], "invalid_client"),
        (vec![("grant_type", "magic")], "unsupported_grant_type"),
        (vec![("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", "a.b.c")], "invalid_grant"),
    ] {
        let reply = client.login(&form).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (400, Some(error)), "{}", reply.text);
    }

    let info = client.get("/services/oauth2/userinfo").await.json();
    assert_eq!(info["preferred_username"], client.org.username());
    let identity = client.get(&format!("/id/{}/{}", client.org.org_id(), info["user_id"].as_str().unwrap())).await;
    assert_eq!(identity.json()["username"], client.org.username());

    client.org.end_sessions();
    let reply = client.get(&format!("{V}/limits")).await;
    assert_eq!(reply.refusal(), (401, "INVALID_SESSION_ID".to_owned()));
    assert_eq!(reply.json()[0]["message"], "Session expired or invalid");
}

#[tokio::test]
async fn a_jwt_of_the_registered_key_logs_in() {
    let client = start(options()).await;
    let pem = client.org.jwt_private_key().unwrap();
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let now = client.org.clock().now().timestamp();
    let sign = |claims: Value| {
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap()
    };
    let claims =
        |aud: &str, exp: Value, sub: &str| json!({ "iss": client.org.client_id(), "sub": sub, "aud": aud, "exp": exp });
    let me = client.org.username();
    for (claims, error) in [
        (claims("https://login.salesforce.com", json!(now + 180), me), None),
        (claims(&format!("{}/", client.org.url()), json!((now + 180) * 1000), me), None),
        (claims("https://test.salesforce.com", json!((now + 60).to_string()), me), None),
        (claims(&format!("{}/", client.org.url()), json!(now * 1000 + 300), me), None), // the Salesforce CLI's
        (claims("https://login.salesforce.com", json!(now - 1), me), Some("invalid_grant")),
        (claims("https://login.salesforce.com", json!(now + 3600), me), Some("invalid_grant")),
        (claims("https://example.com", json!(now + 60), me), Some("invalid_grant")),
        (claims("https://login.salesforce.com", json!(now + 60), "nobody@x.example"), Some("invalid_grant")),
    ] {
        let assertion = sign(claims.clone());
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let reply = client.login(&[grant, ("assertion", &assertion)]).await;
        assert_eq!(reply.json()["error"].as_str(), error, "{claims}: {}", reply.text);
    }
}

#[tokio::test]
async fn refresh_tokens_rotate_when_asked_to() {
    let client = start(OrgOptions { rotate_refresh_tokens: true, ..options() }).await;
    let secret = client.org.client_secret().to_owned();
    let first = client.org.refresh_token();
    // The login at the start used the first one up.
    let refresh = |token: String| {
        let (client, secret) = (&client, &secret);
        async move {
            let form = [("grant_type", "refresh_token"), ("client_secret", secret.as_str()), ("refresh_token", &token)];
            client.login(&form).await
        }
    };
    let reply = refresh(first).await;
    assert_eq!(reply.json()["error_description"], "expired access/refresh token");
}

#[tokio::test]
async fn describe_limits_and_versions() {
    let client = start(options()).await;
    let versions = client.get("/services/data").await.json();
    let last = versions.as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, json!({ "label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0" }));
    assert!(
        versions
            .as_array()
            .unwrap()
            .contains(&json!({ "label": "Winter '26", "url": "/services/data/v65.0", "version": "65.0" }))
    );

    let resources = client.get(V).await.json();
    assert_eq!(resources["query"], format!("{V}/query"));
    let identity = resources["identity"].as_str().unwrap().strip_prefix(client.org.url()).unwrap();
    assert_eq!(client.get(identity).await.json()["username"], client.org.username());

    let all = client.get(&format!("{V}/sobjects/")).await.json();
    let names: Vec<_> = all["sobjects"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let all = ["Organization", "User", "Account", "Contact", "Opportunity", "Case", "Group", "Subscription__c"];
    assert_eq!(names, all);

    let contact = client.get(&format!("{V}/sobjects/contact/describe")).await.json();
    assert_eq!((contact["name"].as_str(), contact["keyPrefix"].as_str()), (Some("Contact"), Some("003")));
    let fields = contact["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(field("Email")["type"], "email");
    assert_eq!(field("Email")["length"], 80);
    assert_eq!(field("MailingStreet")["compoundFieldName"], "MailingAddress");
    assert_eq!(field("MailingAddress")["type"], "address");
    assert_eq!(field("AccountId")["referenceTo"], json!(["Account"]));
    assert_eq!(field("AccountId")["relationshipName"], "Account");
    assert_eq!(field("Id")["compoundFieldName"], Value::Null);
    for field in fields {
        assert_eq!(field.as_object().unwrap().len(), 57, "{field}");
    }
    assert_eq!(client.get(&format!("{V}/sobjects/Nothing/describe")).await.refusal(), (404, "NOT_FOUND".to_owned()));
    assert_eq!(client.get("/services/data/v12.0/limits").await.status, 404);
    assert_eq!(client.send(Method::PUT, &format!("{V}/limits"), json!({})).await.refusal().0, 405);

    let again = client.request(Method::GET, &format!("{V}/sobjects/Contact/describe"));
    let again = again.header("if-modified-since", "Mon, 01 Jun 2026 12:00:00 GMT");
    assert_eq!(reply_status(again).await, 304);

    let limits = client.get(&format!("{V}/limits")).await;
    assert!(limits.header("sforce-limit-info").starts_with("api-usage="), "{:?}", limits.headers);
    assert!(limits.header("date").starts_with("Mon, 01 Jun 2026 12:00:00"), "{:?}", limits.headers);
    let order = json!({ "DailyApiRequests": { "used": 99, "max": 100 } });
    client.send(Method::POST, "/__sandbox/limits", order).await;
    let limits = client.get(&format!("{V}/limits")).await;
    assert_eq!(limits.header("sforce-limit-info"), "api-usage=100/100");
    assert_eq!(limits.json()["DailyApiRequests"], json!({ "Max": 100, "Remaining": 0 }));
    assert_eq!(client.get(&format!("{V}/limits")).await.refusal(), (403, "REQUEST_LIMIT_EXCEEDED".to_owned()));
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 86_400 })).await;
    assert_eq!(
        client
            .login(&[("grant_type", "client_credentials"), ("client_secret", client.org.client_secret())])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_query_has_parents_and_pages() {
    let client = start(OrgOptions { contacts: 2500, ..options() }).await;
    let reply = client
        .query(
            "SELECT Id, Name, Owner.Email, Account.Name, MailingAddress FROM Contact WHERE Account.Name = '3m' LIMIT 1",
        )
        .await;
    let record = reply.json()["records"][0].clone();
    assert_eq!(record["attributes"]["type"], "Contact");
    assert_eq!(record["Account"]["Name"], "3M");
    assert_eq!(record["Owner"]["attributes"]["type"], "User");
    assert!(record["Owner"]["Email"].as_str().unwrap().contains('@'));
    assert!(reply.text.find("\"Id\"") < reply.text.find("\"Name\""), "the order of the field list");

    let mut page = client.query("SELECT Id, CreatedDate FROM Contact").await.json();
    assert_eq!(page["totalSize"], 2502, "2,500 and 4 planted, less 2 in the recycle bin");
    assert!(page["records"][0]["CreatedDate"].as_str().unwrap().ends_with(".000+0000"));
    let mut ids = Vec::new();
    loop {
        ids.extend(page["records"].as_array().unwrap().iter().map(|record| record["Id"].as_str().unwrap().to_owned()));
        match page["nextRecordsUrl"].as_str() {
            Some(next) => page = client.get(next).await.json(),
            None => break,
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2502);
    let count = client.query("SELECT COUNT() FROM Contact").await.json();
    assert_eq!((&count["totalSize"], &count["records"]), (&json!(2502), &json!([])));
    let dead = client.get(&format!("{V}/query/01gSb000000000AAAA-2000")).await;
    assert_eq!(dead.refusal(), (400, "INVALID_QUERY_LOCATOR".to_owned()));
    let unknown = client.query("SELECT Id FROM ScratchOrgInfo limit 1").await;
    assert_eq!(unknown.refusal(), (400, "INVALID_TYPE".to_owned()));
    let organization = client.query("SELECT Name, InstanceName, IsSandbox FROM Organization").await.json();
    assert_eq!(organization["totalSize"], 1);
}

#[tokio::test]
async fn a_bulk_job_from_its_making_to_its_end() {
    let client = start(OrgOptions { polls_in_progress: 1, ..options() }).await;
    let soql = "SELECT Id, Email, Owner.Email, Account.Name, MailingStreet, SystemModstamp, IsDeleted FROM Contact";
    let made = client.create_job("queryAll", soql).await.json();
    assert_eq!(made["state"], "UploadComplete");
    assert_eq!((&made["object"], &made["apiVersion"]), (&json!("Contact"), &json!(62.0)));
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("750") && id.len() == 18);
    let early = client.get(&format!("{V}/jobs/query/{id}")).await.json();
    assert_eq!(early["state"], "InProgress");
    let job = client.job("queryAll", soql).await;
    assert_eq!(job["jobType"], "V2Query");

    let rows = client.rows(&job, 100).await;
    assert_eq!(rows, client.rows(&job, 250_000).await, "page size does not matter");
    assert_eq!(rows.len(), 304);
    assert!(rows.iter().any(|row| row[4].contains('\n')), "line breaks survive");
    assert!(rows[0][5].ends_with(".000Z") && rows[0][5].len() == 24, "{:?}", rows[0]);

    let results = format!("{V}/jobs/query/{}/results", job["id"].as_str().unwrap());
    let whole = client.get(&results).await;
    assert_eq!(whole.header("content-type"), "text/csv; charset=UTF-8");
    assert_eq!(whole.header("sforce-locator"), "null");
    assert!(whole.text.starts_with(
        "\"Id\",\"Email\",\"Owner.Email\",\"Account.Name\",\"MailingStreet\",\"SystemModstamp\",\"IsDeleted\"\n"
    ));
    assert_eq!(client.get(&results.replace("v62", "v61")).await.status, 409);
    assert_eq!(client.get(&format!("{results}?locator=MTIzNDU2Nw")).await.refusal().1, "INVALID_QUERY_LOCATOR");

    let unzipped = client.request(Method::GET, &results).header("accept-encoding", "gzip, deflate");
    let response = unzipped.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_ref()), &mut text).unwrap();
    assert_eq!(text, whole.text);

    // Later writes do not change what the job found.
    let contact = &rows[0][0];
    let path = format!("{V}/sobjects/Contact/{contact}");
    assert_eq!(client.send(Method::PATCH, &path, json!({ "Email": "new@x.example" })).await.status, 204);
    assert_eq!(rows, client.rows(&job, 77).await);

    let list = client.get(&format!("{V}/jobs/query")).await.json();
    assert_eq!(list["records"].as_array().unwrap().len(), 2);
    let path = format!("{V}/jobs/query/{}", job["id"].as_str().unwrap());
    assert_eq!(client.send(Method::PATCH, &path, json!({ "state": "Aborted" })).await.refusal().0, 400);
    assert_eq!(client.send(Method::DELETE, &path, json!(null)).await.status, 204);
    assert_eq!(client.get(&path).await.status, 404);
}

#[tokio::test]
async fn result_pages_are_links_to_all_rows() {
    let client = start(OrgOptions { page_rows: 40, ..options() }).await;
    let job = client.job("queryAll", "SELECT Id FROM Contact").await;
    let mut next = Some(format!("{V}/jobs/query/{}/resultPages", job["id"].as_str().unwrap()));
    let mut rows = Vec::new();
    let mut answers = 0;
    while let Some(path) = next {
        let answer = client.get(&path).await.json();
        answers += 1;
        assert!(answer["resultPages"].as_array().unwrap().len() <= 5);
        for page in answer["resultPages"].as_array().unwrap() {
            rows.extend(records(&client.get(page["resultUrl"].as_str().unwrap()).await.text));
        }
        next = answer["nextRecordsUrl"].as_str().map(str::to_owned);
        assert_eq!(answer["done"], next.is_none());
    }
    assert_eq!(answers, 2);
    assert_eq!(rows, client.rows(&job, 1000).await);
    let old = client.get(&format!("/services/data/v57.0/jobs/query/{}/resultPages", job["id"].as_str().unwrap())).await;
    assert_eq!(old.status, 404);
}

#[tokio::test]
async fn an_empty_result_is_a_header() {
    let client = start(options()).await;
    let job = client.job("query", "SELECT Id, Name FROM Account WHERE Name = 'nobody'").await;
    let reply = client.get(&format!("{V}/jobs/query/{}/results?maxRecords=10", job["id"].as_str().unwrap())).await;
    assert_eq!((reply.text.as_str(), reply.header("sforce-locator")), ("\"Id\",\"Name\"\n", "null"));
    assert_eq!(reply.header("sforce-numberofrecords"), "0");
}

#[tokio::test]
async fn bulk_refuses_what_the_service_refuses() {
    let client = start(options()).await;
    for (soql, code) in [
        ("SELECT Id, BillingAddress FROM Account", "INVALID_FIELD"),
        ("SELECT COUNT() FROM Account", "API_ERROR"),
        ("SELECT MAX(CreatedDate) FROM Account", "API_ERROR"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "API_ERROR"),
        ("SELECT Name FROM Account GROUP BY Name", "API_ERROR"),
        ("SELECT Id FROM Account LIMIT 10 OFFSET 5", "API_ERROR"),
        ("SELECT Id, Nothing FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
        ("SELECT Id FORM Account", "MALFORMED_QUERY"),
    ] {
        let reply = client.create_job("query", soql).await;
        assert_eq!(reply.refusal(), (400, code.to_owned()), "{soql}: {}", reply.text);
    }
    assert_eq!(client.create_job("insert", "SELECT Id FROM Account").await.refusal().0, 400);
}

#[tokio::test]
async fn records_are_written_and_found_by_a_window() {
    let client = start(options()).await;
    let account = client.query("SELECT Id FROM Account WHERE Name = '3M'").await.json()["records"][0]["Id"].clone();
    let from = "2026-06-01T11:55:00Z";
    let window = format!(
        "SELECT Id, LastName, IsDeleted FROM Contact WHERE SystemModstamp >= {from} AND SystemModstamp < 2026-06-02T00:00:00Z"
    );
    assert!(client.rows(&client.job("queryAll", &window).await, 10).await.is_empty());

    let path = format!("{V}/sobjects/Contact");
    let body = json!({ "LastName": "O'Brien \"X\"\n2", "AccountId": account, "Email": "x@y.example", "Birthdate": "1970-02-03" });
    let reply = client.send(Method::POST, &path, body).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["success"]), (201, &json!(true)));
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let record = client.get(&format!("{path}/{id}")).await.json();
    assert_eq!(record["LastModifiedDate"], "2026-06-01T12:00:00.000+0000");
    assert_eq!((&record["Birthdate"], &record["Name"]), (&json!("1970-02-03"), &json!("O'Brien \"X\"\n2")));
    let rows = client.rows(&client.job("queryAll", &window).await, 10).await;
    assert_eq!(rows, [[id.as_str(), "O'Brien \"X\"\n2", "false"]]);

    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 60 })).await;
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{id}"), json!(null)).await.status, 204);
    assert_eq!(client.get(&format!("{path}/{id}")).await.refusal(), (404, "ENTITY_IS_DELETED".to_owned()));
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{id}"), json!(null)).await.status, 404);
    assert!(client.rows(&client.job("query", &window).await, 10).await.is_empty());
    let rows = client.rows(&client.job("queryAll", &window).await, 10).await;
    assert_eq!(rows, [[id.as_str(), "O'Brien \"X\"\n2", "true"]]);

    // An account takes its contacts with it.
    let reply =
        client.send(Method::DELETE, &format!("{V}/sobjects/Account/{}", account.as_str().unwrap()), json!(null)).await;
    assert_eq!(reply.status, 204);
    let left =
        client.query(&format!("SELECT COUNT() FROM Contact WHERE AccountId = '{}'", account.as_str().unwrap())).await;
    assert_eq!(left.json()["totalSize"], 0);
}

#[tokio::test]
async fn wrong_records_are_refused_in_words() {
    let client = start(options()).await;
    for (object, body, code, part) in [
        ("Contact", json!({ "FirstName": "A" }), "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]"),
        (
            "Contact",
            json!({ "LastName": "A", "Nothing": 1 }),
            "INVALID_FIELD",
            "No such column 'Nothing' on sobject of type Contact",
        ),
        (
            "Contact",
            json!({ "LastName": "A", "Name": "B" }),
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            "Unable to create/update fields: Name.",
        ),
        ("Contact", json!({ "LastName": "x".repeat(81) }), "STRING_TOO_LONG", "(max length=80)"),
        (
            "Contact",
            json!({ "LastName": "A", "Email": "nope" }),
            "INVALID_EMAIL_ADDRESS",
            "invalid email address: nope",
        ),
        (
            "Contact",
            json!({ "LastName": "A", "AccountId": "005Sb0000000000" }),
            "MALFORMED_ID",
            "id value of incorrect type",
        ),
        (
            "Contact",
            json!({ "LastName": "A", "DoNotCall": "yes" }),
            "JSON_PARSER_ERROR",
            "Cannot deserialize instance of boolean",
        ),
        ("Contact", json!({ "LastName": 5 }), "JSON_PARSER_ERROR", "Cannot deserialize instance of string"),
        (
            "Account",
            json!({ "Name": "A", "NumberOfEmployees": 123_456_789 }),
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Employees",
        ),
        ("Organization", json!({ "Name": "A" }), "INVALID_TYPE_FOR_OPERATION", "Organization"),
    ] {
        let reply = client.send(Method::POST, &format!("{V}/sobjects/{object}"), body).await;
        assert_eq!(reply.refusal(), (400, code.to_owned()), "{}", reply.text);
        assert!(reply.text.contains(part), "{}", reply.text);
    }
    let user = json!({
        "Username": client.org.username().to_uppercase(), "LastName": "New", "Email": "n@x.example", "Alias": "new",
        "ProfileId": "00eSb0000000Ab1", "TimeZoneSidKey": "Europe/Berlin", "LocaleSidKey": "de_DE",
        "LanguageLocaleKey": "de", "EmailEncodingKey": "UTF-8", "IsActive": true,
    });
    let path = format!("{V}/sobjects/User");
    assert_eq!(client.send(Method::POST, &path, user.clone()).await.refusal().1, "DUPLICATE_USERNAME");
    let mut other = user;
    other["Username"] = json!("new@x.example");
    let reply = client.send(Method::POST, &path, other).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let user = client.get(&format!("{path}/{id}")).await.json();
    assert_eq!((&user["UserType"], &user["IsActive"]), (&json!("Standard"), &json!(true)));
    assert_eq!(client.send(Method::DELETE, &format!("{path}/{id}"), json!(null)).await.refusal().0, 400);
}

#[tokio::test]
async fn what_is_planted_is_listed_and_calls_are_counted() {
    let client = start(options()).await;
    let planted = client.get("/__sandbox/planted").await.json();
    let codes: Vec<_> = planted.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["VALUE_TOO_LONG", "LOOKUP_NO_MATCH", "BLANK_IDENTIFIER", "DUPLICATE_IN_SOURCE"]);
    let counts = client.get("/__sandbox/counts").await.json();
    assert_eq!(counts["Account"], json!({ "rows": 51, "deleted": 0 }));
    client.get(&format!("{V}/limits")).await;
    let calls = client.get("/__sandbox/calls").await.json();
    assert_eq!(calls, json!({ "oauth": 1, "rest": 1 }));
}

#[tokio::test]
async fn a_busy_day_can_be_made() {
    let client = start(options()).await;
    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 600 })).await;
    let order = json!({ "object": "Contact", "field": "Title", "value": "Changed {}", "every": 10 });
    let changed = client.send(Method::POST, "/__sandbox/change", order).await.json()["changed"].clone();
    assert_eq!(changed, 31);
    let soql = "SELECT Id, Title FROM Contact WHERE SystemModstamp >= 2026-06-01T12:10:00Z";
    let rows = client.rows(&client.job("queryAll", soql).await, 1000).await;
    assert_eq!((rows.len(), rows[1][1].as_str()), (31, "Changed 10"));
}
