//! The data model of the Salesforce sandbox: custom objects, formulas, picklists, queues, currencies, files at the start.

use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;
use sf2gs::sandbox::salesforce::serve;

use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::start;

fn field(describe: &Value, name: &str) -> Value {
    let fields = describe["fields"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("no field {name}")).clone()
}

#[tokio::test]
async fn a_custom_object_is_described() {
    let client = start(options()).await;
    let describe = client.get(&format!("{V}/sobjects/Subscription__c/describe")).await.json();
    assert_eq!((&describe["custom"], &describe["keyPrefix"]), (&json!(true), &json!("a00")));
    let key = field(&describe, "External_Id__c");
    assert_eq!(
        (&key["externalId"], &key["unique"], &key["idLookup"], &key["custom"]),
        (&json!(true), &json!(true), &json!(true), &json!(true))
    );
    let account = field(&describe, "Account__c");
    assert_eq!((&account["relationshipName"], &account["referenceTo"]), (&json!("Account__r"), &json!(["Account"])));
    let owner = field(&describe, "OwnerId");
    assert_eq!(
        (&owner["referenceTo"], &owner["polymorphicForeignKey"], &owner["namePointing"]),
        (&json!(["Group", "User"]), &json!(true), &json!(true))
    );
    let status = field(&describe, "Status__c");
    assert_eq!(
        (&status["picklistValues"][0], &status["picklistValues"][5]),
        (
            &json!({ "active": true, "defaultValue": true, "label": "Draft", "validFor": null, "value": "Draft" }),
            &json!({ "active": false, "defaultValue": false, "label": "Pilot", "validFor": null, "value": "Pilot" })
        )
    );
    let formula = field(&describe, "ARR__c");
    assert_eq!(
        (&formula["calculated"], &formula["calculatedFormula"], &formula["type"]),
        (&json!(true), &json!("MRR__c * 12"), &json!("currency"))
    );
    assert_eq!((&formula["createable"], &formula["updateable"]), (&json!(false), &json!(false)));
    assert_eq!(field(&describe, "Name")["autoNumber"], true);
    assert_eq!(
        (&field(&describe, "Terms__c")["length"], &field(&describe, "Terms__c")["filterable"]),
        (&json!(131_072), &json!(false))
    );
    assert_eq!(field(&describe, "Auto_Renew__c")["defaultValue"], true);
    let account = client.get(&format!("{V}/sobjects/Account/describe")).await.json();
    let children = account["childRelationships"].as_array().unwrap();
    assert!(
        children.iter().any(|child| child["relationshipName"] == "Subscriptions__r" && child["field"] == "Account__c")
    );
}

#[tokio::test]
async fn formulas_follow_their_inputs_and_move_no_time_stamp() {
    let client = start(options()).await;
    let account = client.query("SELECT Id FROM Account LIMIT 1").await.json()["records"][0]["Id"].clone();
    let account = account.as_str().unwrap();
    client.send(Method::PATCH, &format!("{V}/sobjects/Account/{account}"), json!({ "Industry": "Energy" })).await;
    let body = json!({
        "Account__c": account, "MRR__c": 100.1, "End_Date__c": "2026-06-11", "Auto_Renew__c": false, "Status__c": "Active",
    });
    let made = client.send(Method::POST, &format!("{V}/sobjects/Subscription__c"), body).await.json();
    let id = made["id"].as_str().unwrap();
    let fields = "Name, ARR__c, Days_To_Renewal__c, Account_Industry__c, Renewal_Risk__c, SystemModstamp";
    let soql = format!("SELECT {fields} FROM Subscription__c WHERE Id = '{id}'");
    let before = client.rows(&client.job("query", &soql).await, 10).await;
    let stamp = "2026-06-01T12:00:00.000Z";
    assert_eq!(before, [["SUB-00351", "1201.2", "10.0", "Energy", "High", stamp]]);

    client.send(Method::POST, "/__sandbox/clock", json!({ "advance_seconds": 3 * 86_400 })).await;
    let token = client.org.client_secret().to_owned();
    let login = client.login(&[("grant_type", "client_credentials"), ("client_secret", &token)]).await.json();
    let client = crate::support::caller::Client { token: login["access_token"].as_str().unwrap().to_owned(), ..client };
    client.send(Method::PATCH, &format!("{V}/sobjects/Account/{account}"), json!({ "Industry": "Retail" })).await;
    let after = client.rows(&client.job("query", &soql).await, 10).await;
    assert_eq!(after, [["SUB-00351", "1201.2", "7.0", "Retail", "High", stamp]]);
    let soql = "SELECT Id FROM Subscription__c WHERE Account_Industry__c = 'retail' AND Days_To_Renewal__c = 7 AND ARR__c > 1201 ORDER BY ARR__c";
    let found = client.query(soql).await.json();
    assert_eq!((&found["totalSize"], &found["records"][0]["Id"]), (&json!(1), &json!(id)));
    let found = client.query("SELECT Id FROM Subscription__c WHERE Name = 'sub-00351'").await.json();
    assert_eq!(found["records"][0]["Id"], id);
}

#[tokio::test]
async fn multi_select_picklists_are_searched_by_their_values() {
    let client = start(options()).await;
    for (key, products) in [("p1", "Core;Surveys"), ("p2", "Analytics"), ("p3", "Core;Analytics;Journeys")] {
        let path = format!("{V}/sobjects/Subscription__c/External_Id__c/{key}");
        client.send(Method::PATCH, &path, json!({ "Products__c": products })).await;
    }
    for (condition, expected) in [
        ("INCLUDES ('Core')", vec!["p1", "p3"]),
        ("INCLUDES ('Core;Surveys', 'Journeys')", vec!["p1", "p3"]),
        ("EXCLUDES ('Core')", vec!["p2"]),
        ("= 'Analytics'", vec!["p2"]),
    ] {
        let soql = format!(
            "SELECT External_Id__c FROM Subscription__c WHERE External_Id__c LIKE 'p_' AND Products__c {condition}"
        );
        let found = client.query(&soql).await.json();
        let keys: Vec<_> = found["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["External_Id__c"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(keys, expected, "{condition}");
    }
    let refused = client.query("SELECT Id FROM Subscription__c ORDER BY Products__c").await;
    assert_eq!(refused.refusal(), (400, "MALFORMED_QUERY".to_owned()));
}

#[tokio::test]
async fn a_queue_or_a_user_owns_a_case() {
    let client = start(options()).await;
    let queue = client.query("SELECT Id, Email FROM Group WHERE Type = 'Queue' AND Email != null").await.json();
    let queue = queue["records"][0].clone();
    let contact =
        client.query("SELECT Id, Email FROM Contact WHERE Email != null LIMIT 1").await.json()["records"][0].clone();
    let body = json!({ "Subject": "Q", "OwnerId": queue["Id"], "ContactId": contact["Id"] });
    let made = client.send(Method::POST, &format!("{V}/sobjects/Case"), body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let soql = format!(
        "SELECT CaseNumber, Owner.Name, Owner.Email, Owner.Type, ContactEmail, IsClosed, Status FROM Case WHERE Id = '{id}'"
    );
    let rows = client.rows(&client.job("query", &soql).await, 10).await;
    assert_eq!(
        rows,
        [[
            "00000301",
            "Tier 1 Support",
            "tier1@sandbox.example",
            "Group",
            contact["Email"].as_str().unwrap(),
            "false",
            "New"
        ]]
    );
    let record = client.query(&soql).await.json()["records"][0].clone();
    assert_eq!(
        record["Owner"],
        json!({
            "attributes": { "type": "Name", "url": format!("{V}/sobjects/Group/{}", queue["Id"].as_str().unwrap()) },
            "Name": "Tier 1 Support", "Email": "tier1@sandbox.example", "Type": "Group",
        })
    );
    let by_type = |kind: &str| format!("SELECT COUNT() FROM Case WHERE Owner.Type = '{kind}'");
    let queues = client.query(&by_type("Group")).await.json()["totalSize"].as_u64().unwrap();
    let users = client.query(&by_type("User")).await.json()["totalSize"].as_u64().unwrap();
    assert!(queues > 10 && users > 10 && queues + users == 301, "{queues} {users}");
    let of_users = client.query("SELECT COUNT() FROM Case WHERE OwnerId IN (SELECT Id FROM User)").await.json();
    assert_eq!(of_users["totalSize"], users);
    let wrong = json!({ "Subject": "Q", "OwnerId": contact["Id"] });
    assert_eq!(client.send(Method::POST, &format!("{V}/sobjects/Case"), wrong).await.refusal().1, "MALFORMED_ID");
    let by_name =
        json!({ "Subject": "Q", "Owner": { "attributes": { "type": "User" }, "Username": client.org.username() } });
    assert_eq!(client.send(Method::POST, &format!("{V}/sobjects/Case"), by_name).await.status, 201);
    let deal = client.query("SELECT ExpectedRevenue, Amount, Probability, IsClosed, IsWon, FiscalYear, CloseDate FROM Opportunity WHERE StageName = 'Closed Won' AND Amount != null LIMIT 1").await;
    let deal = deal.json()["records"][0].clone();
    assert_eq!(
        (&deal["IsClosed"], &deal["IsWon"], &deal["ExpectedRevenue"]),
        (&json!(true), &json!(true), &deal["Amount"])
    );
    assert!(deal["CloseDate"].as_str().unwrap().starts_with(&deal["FiscalYear"].to_string()));
}

#[tokio::test]
async fn currencies_are_there_only_where_the_org_has_several() {
    let single = start(options()).await;
    assert_eq!(single.query("SELECT IsoCode FROM CurrencyType").await.refusal(), (400, "INVALID_TYPE".to_owned()));
    assert_eq!(single.query("SELECT CurrencyIsoCode FROM Account").await.refusal(), (400, "INVALID_FIELD".to_owned()));
    let several = start(OrgOptions { multi_currency: true, ..options() }).await;
    let types = several
        .query("SELECT IsoCode, ConversionRate, DecimalPlaces, IsActive FROM CurrencyType WHERE IsCorporate = true")
        .await;
    let corporate = types.json()["records"][0].clone();
    assert_eq!(
        (&corporate["IsoCode"], &corporate["ConversionRate"], &corporate["DecimalPlaces"]),
        (&json!("USD"), &json!(1.0), &json!(2))
    );
    let soql = "SELECT COUNT() FROM Opportunity WHERE CurrencyIsoCode IN ('EUR', 'GBP')";
    assert!(several.query(soql).await.json()["totalSize"].as_u64().unwrap() > 50);
    let made = several.send(Method::POST, &format!("{V}/sobjects/Account"), json!({ "Name": "A" })).await.json();
    let account =
        several.get(&format!("{V}/sobjects/Account/{}?fields=CurrencyIsoCode", made["id"].as_str().unwrap())).await;
    assert_eq!(account.json()["CurrencyIsoCode"], "USD");
    let wrong = several
        .send(Method::POST, &format!("{V}/sobjects/Account"), json!({ "Name": "A", "CurrencyIsoCode": "XXX" }))
        .await;
    assert_eq!(wrong.refusal().1, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST");
}

/// Writes a file into a fresh folder.
fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const SCHEMA: &str = r#"
[[object]]
name = "Project__c"
auto_number = "P-{000}"
fields = [
  { name = "Ext__c", label = "Ext", type = "string", length = 10, external_id = true, unique = true },
  { name = "Account__c", label = "Account", type = "reference", reference_to = ["Account"] },
  { name = "Budget__c", label = "Budget", type = "currency" },
  { name = "Half__c", label = "Half", type = "currency", formula = "Budget__c / 2" },
]

[[object]]
name = "Account"
fields = [{ name = "Tier__c", label = "Tier", type = "picklist", values = ["A", "B"], default = "B" }]
"#;

#[tokio::test]
async fn a_schema_file_adds_objects_and_fields() {
    let folder = tempfile::tempdir().unwrap();
    let schema = vec![file(&folder, "schema.toml", SCHEMA)];
    let client = start(OrgOptions { schema, ..options() }).await;
    let describe = client.get(&format!("{V}/sobjects/Project__c/describe")).await.json();
    assert_eq!((&describe["label"], &describe["keyPrefix"]), (&json!("Project"), &json!("a01")));
    let made = client.send(Method::POST, &format!("{V}/sobjects/Account"), json!({ "Name": "A" })).await.json();
    let record = client.get(&format!("{V}/sobjects/Account/{}?fields=Tier__c", made["id"].as_str().unwrap())).await;
    assert_eq!(record.json()["Tier__c"], "B");
    let path = format!("{V}/sobjects/Project__c/Ext__c/x1");
    let body = json!({ "Budget__c": 11, "Account__c": made["id"] });
    assert_eq!(client.send(Method::PATCH, &path, body).await.status, 201);
    let record = client.get(&path).await.json();
    assert_eq!((&record["Name"], &record["Half__c"]), (&json!("P-001"), &json!(5.5)));
    let found = client.query("SELECT Account__r.Tier__c, Owner.Name FROM Project__c").await.json();
    assert_eq!(found["records"][0]["Account__r"]["Tier__c"], "B");
}

#[tokio::test]
async fn a_wrong_schema_file_is_told_whole() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
[[object]]
name = "Project"
colour = "red"
fields = [
  { name = "Ext__c", label = "Ext", type = "strnig" },
  { name = "Sum__c", label = "Sum", type = "double", formula = "Nothing__c + 1" },
  { name = "Pick__c", label = "Pick", type = "picklist" },
  { name = "Ref__c", label = "Ref", type = "reference" },
  { name = "Pick__c", label = "Pick", type = "boolean" },
]
"#;
    let schema = vec![file(&folder, "wrong.toml", text)];
    let refused = serve(OrgOptions { schema, ..options() }, SocketAddr::from(([127, 0, 0, 1], 0))).await;
    let refused = refused.err().unwrap();
    let text = refused.message().to_owned();
    for part in [
        "the schema file has 7 mistakes:",
        "Project: `colour` is not known",
        "Project: a custom name has letters",
        "Project.Ext__c: unknown variant `strnig`",
        "Project.Sum__c: formula: Project has no field `Nothing__c`",
        "Project.Pick__c: a picklist needs `values`",
        "Project.Ref__c: a reference names its parents",
        "Project.Pick__c: the field is there twice",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(refused.kind().exit_code(), 2);
}

#[tokio::test]
async fn files_fill_the_org_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    // As two exports of another org: ids of that org, fields that this org works out, children before their parents.
    let accounts = "Id,Name,ParentId,CreatedDate,SystemModstamp,IsDeleted\n\
                    001bm00000NMK68AAH,\"Kid, \"\"Inc.\"\"\",001bm00000NMK67AAH,2020-01-02T03:04:05.000Z,2021-01-02T03:04:05.000Z,false\n\
                    001bm00000NMK67AAH,Parent,,2020-01-02T03:04:05.000Z,2021-01-02T03:04:05.000Z,false\n";
    let contacts = "LastName,AccountId,Email\nSmith,001bm00000NMK67AAH,s@x.example\n";
    let tree = json!({ "records": [{
        "attributes": { "type": "Account", "referenceId": "AccountRef1" }, "Name": "Tree",
        "Contacts": { "records": [{ "attributes": { "type": "Contact", "referenceId": "ContactRef1" }, "LastName": "Leaf", "Name": "Leaf" }] },
    }]});
    let planned = json!({ "records": [{
        "attributes": { "type": "Case", "referenceId": "CaseRef1" }, "Subject": "planned", "ContactId": "@ContactRef1",
    }]});
    let plan = json!([
        { "sobject": "Account", "saveRefs": true, "resolveRefs": false, "files": ["Accounts.json"] },
        { "sobject": "Case", "saveRefs": false, "resolveRefs": true, "files": ["Cases.json"] },
    ]);
    file(&folder, "Accounts.json", &tree.to_string());
    file(&folder, "Cases.json", &planned.to_string());
    let import = vec![
        file(&folder, "Account.csv", accounts),
        file(&folder, "Contact.csv", contacts),
        file(&folder, "plan.json", &plan.to_string()),
    ];
    let empty =
        OrgOptions { accounts: 0, contacts: 0, opportunities: 0, cases: 0, subscriptions: 0, clean: true, ..options() };
    let client = start(OrgOptions { import, ..empty.clone() }).await;
    let soql = "SELECT Name, Parent.Name, CreatedDate, SystemModstamp FROM Account WHERE ParentId != null";
    let rows = client.rows(&client.job("query", soql).await, 10).await;
    assert_eq!(rows, [["Kid, \"Inc.\"", "Parent", "2020-01-02T03:04:05.000Z", "2021-01-02T03:04:05.000Z"]]);
    let rows = client.rows(&client.job("query", "SELECT LastName, Account.Name FROM Contact").await, 10).await;
    assert_eq!(rows, [["Smith", "Parent"], ["Leaf", "Tree"]]);
    let rows = client.rows(&client.job("query", "SELECT Subject, Contact.LastName FROM Case").await, 10).await;
    assert_eq!(rows, [["planned", "Leaf"]]);

    let wrong = vec![file(&folder, "Contact.csv", "LastName,Email\n,x@y.example\nB,nope\n")];
    let refused = serve(OrgOptions { import: wrong, ..empty }, SocketAddr::from(([127, 0, 0, 1], 0))).await;
    assert_eq!(
        refused.err().unwrap().message(),
        "2 records of the imported files are refused:\n  \
         Contact.csv, row 2: REQUIRED_FIELD_MISSING: Required fields are missing: [LastName]\n  \
         Contact.csv, row 3: INVALID_EMAIL_ADDRESS: Email: invalid email address: nope"
    );
}
