//! The first Bulk API, in each of its three content types.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::options;
use crate::support::caller::records;
use crate::support::caller::reply;
use crate::support::caller::start;

const A: &str = "/services/async/59.0";
const CSV: &str = "text/csv; charset=UTF-8";
const XML: &str = "application/xml; charset=UTF-8";
const JSON: &str = "application/json";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
const NAMESPACE: &str = "xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\"";

/// A call with the session where this API has it.
async fn call(client: &Client, method: Method, path: &str, kind: &str, body: &str) -> Reply {
    let request = client.http.request(method, format!("{}{A}{path}", client.org.url()));
    let request = request.header("x-sfdc-session", &client.token).header(CONTENT_TYPE, kind);
    reply(request.body(body.to_owned())).await
}

/// The text of the first element of this name.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let from = xml.find(&open).unwrap_or_else(|| panic!("no {name} in {xml}")) + open.len();
    &xml[from..from + xml[from..].find(&close).unwrap()]
}

/// Creates a job in XML; its path.
async fn xml_job(client: &Client, operation: &str, object: &str, content: &str) -> String {
    let order = format!(
        "{HEAD}\n<jobInfo {NAMESPACE}>\n <operation>{operation}</operation>\n <object>{object}</object>\n \
         <contentType>{content}</contentType>\n</jobInfo>"
    );
    let made = call(client, Method::POST, "/job", XML, &order).await;
    assert_eq!((made.status.as_u16(), made.header("content-type")), (201, "application/xml"), "{}", made.text);
    format!("/job/{}", element(&made.text, "id"))
}

/// Creates a job in JSON; its path.
async fn json_job(client: &Client, order: Value) -> String {
    let made = call(client, Method::POST, "/job", JSON, &order.to_string()).await;
    assert_eq!(
        (made.status.as_u16(), made.header("content-type")),
        (201, "application/json;charset=UTF-8"),
        "{}",
        made.text
    );
    format!("/job/{}", made.json()["id"].as_str().unwrap())
}

/// Waits for the end of a batch.
async fn end(client: &Client, batch: &str) -> Reply {
    for _ in 0..2000 {
        let shown = call(client, Method::GET, batch, JSON, "").await;
        if !shown.text.contains("Queued") && !shown.text.contains("InProgress") {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the batch does not end");
}

/// Adds a batch and waits for its end; its path.
async fn batch(client: &Client, job: &str, kind: &str, body: &str) -> (String, Reply) {
    let added = call(client, Method::POST, &format!("{job}/batch"), kind, body).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let id = match added.header("content-type") {
        "application/xml" => element(&added.text, "id").to_owned(),
        _ => added.json()["id"].as_str().unwrap().to_owned(),
    };
    let path = format!("{job}/batch/{id}");
    let ended = end(client, &path).await;
    (path, ended)
}

#[tokio::test]
async fn a_query_in_csv_answers_in_xml() {
    let client = start(OrgOptions { polls_in_progress: 1, ..options() }).await;
    // The taps order in JSON and read the id from JSON although the content is CSV.
    let job = json_job(&client, json!({ "operation": "queryAll", "object": "Account", "contentType": "CSV" })).await;
    let id = &job[5..];
    let added = call(&client, Method::POST, &format!("{job}/batch"), CSV, "SELECT Id, Name FROM Account LIMIT 2").await;
    let batch_id = element(&added.text, "id").to_owned();
    assert_eq!(
        added.text,
        format!(
            "{HEAD}<batchInfo\n   {NAMESPACE}>\n <id>{batch_id}</id>\n <jobId>{id}</jobId>\n <state>Queued</state>\n \
             <createdDate>2026-06-01T12:00:00.000Z</createdDate>\n <systemModstamp>2026-06-01T12:00:00.000Z</systemModstamp>\n \
             <numberRecordsProcessed>0</numberRecordsProcessed>\n <numberRecordsFailed>0</numberRecordsFailed>\n \
             <totalProcessingTime>0</totalProcessingTime>\n <apiActiveProcessingTime>0</apiActiveProcessingTime>\n \
             <apexProcessingTime>0</apexProcessingTime>\n</batchInfo>"
        )
    );
    let path = format!("{job}/batch/{batch_id}");
    let early = call(&client, Method::GET, &format!("{path}/result"), CSV, "").await;
    assert_eq!((early.status.as_u16(), element(&early.text, "exceptionCode")), (400, "InvalidBatch"));
    assert_eq!(element(&call(&client, Method::GET, &path, CSV, "").await.text, "state"), "InProgress");
    let ended = end(&client, &path).await;
    assert_eq!((element(&ended.text, "state"), element(&ended.text, "numberRecordsProcessed")), ("Completed", "2"));

    let closed = call(&client, Method::POST, &job, JSON, "{\"state\":\"Closed\"}").await;
    assert_eq!((closed.status.as_u16(), element(&closed.text, "state")), (200, "Closed"));
    let shown = call(&client, Method::GET, &job, JSON, "").await.text;
    for (name, text) in [
        ("numberBatchesCompleted", "1"),
        ("numberBatchesTotal", "1"),
        ("apiVersion", "59.0"),
        ("concurrencyMode", "Parallel"),
    ] {
        assert_eq!(element(&shown, name), text);
    }
    let list = call(&client, Method::GET, &format!("{path}/result"), CSV, "").await;
    let result = element(&list.text, "result").to_owned();
    assert_eq!(list.text, format!("{HEAD}<result-list\n   {NAMESPACE}>\n <result>{result}</result>\n</result-list>"));
    assert!(result.starts_with("752"));
    let rows = call(&client, Method::GET, &format!("{path}/result/{result}"), CSV, "").await;
    assert_eq!(rows.header("content-type"), "text/csv; charset=UTF-8");
    assert!(rows.text.starts_with("\"Id\",\"Name\"\n"));
    assert_eq!(records(&rows.text).len(), 2);
    assert_eq!(
        call(&client, Method::GET, &format!("{path}/request"), CSV, "").await.text,
        "SELECT Id, Name FROM Account LIMIT 2"
    );
    let again =
        call(&client, Method::POST, &job, XML, &format!("<jobInfo {NAMESPACE}><state>Closed</state></jobInfo>")).await;
    assert_eq!(
        (element(&again.text, "exceptionCode"), element(&again.text, "exceptionMessage")),
        ("InvalidJobState", "Closing already closed Job not allowed")
    );
    let late = call(&client, Method::POST, &format!("{job}/batch"), CSV, "SELECT Id FROM Account").await;
    assert_eq!(element(&late.text, "exceptionCode"), "InvalidJobState");

    let job = xml_job(&client, "query", "Account", "CSV").await;
    let (path, _) = batch(&client, &job, CSV, "SELECT Id FROM Account WHERE Name = 'nobody'").await;
    let list = call(&client, Method::GET, &format!("{path}/result"), CSV, "").await;
    let rows = call(&client, Method::GET, &format!("{path}/result/{}", element(&list.text, "result")), CSV, "").await;
    assert_eq!(rows.text, "Records not found for this query");
}

#[tokio::test]
async fn a_query_in_json_has_times_in_milliseconds() {
    let client = start(options()).await;
    let order = json!({ "operation": "query", "object": "Contact", "concurrencyMode": 0, "contentType": "JSON" });
    let made = call(&client, Method::POST, "/job", JSON, &order.to_string()).await.json();
    assert_eq!(
        (&made["state"], &made["apiVersion"], &made["concurrencyMode"]),
        (&json!("Open"), &json!(59.0), &json!("Parallel"))
    );
    assert_eq!(
        (&made["createdDate"], &made["externalIdFieldName"]),
        (&json!("2026-06-01T12:00:00.000+0000"), &Value::Null)
    );
    let job = format!("/job/{}", made["id"].as_str().unwrap());
    let soql = "SELECT Id, Email, CreatedDate, Birthdate, Owner.CreatedDate, IsDeleted FROM Contact WHERE Email != null ORDER BY Id LIMIT 3";
    let (path, ended) = batch(&client, &job, JSON, soql).await;
    assert_eq!(
        (&ended.json()["state"], &ended.json()["stateMessage"], &ended.json()["jobId"]),
        (&json!("Completed"), &Value::Null, &made["id"])
    );
    let list = call(&client, Method::GET, &format!("{path}/result"), JSON, "").await.json();
    let rows = call(&client, Method::GET, &format!("{path}/result/{}", list[0].as_str().unwrap()), JSON, "").await;
    let rows = rows.json();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    let plain = client.query(soql).await.json()["records"].clone();
    for (one, other) in rows.as_array().unwrap().iter().zip(plain.as_array().unwrap()) {
        let millis = |time: &Value| {
            let time = chrono::DateTime::parse_from_str(time.as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.3f%z").unwrap();
            json!(time.timestamp_millis())
        };
        assert_eq!(
            (&one["Id"], &one["Email"], &one["IsDeleted"]),
            (&other["Id"], &other["Email"], &other["IsDeleted"])
        );
        assert_eq!(one["CreatedDate"], millis(&other["CreatedDate"]));
        assert_eq!(one["Owner"]["CreatedDate"], millis(&other["Owner"]["CreatedDate"]));
        let id = other["Id"].as_str().unwrap();
        assert_eq!(
            one["attributes"],
            json!({ "type": "Contact", "url": format!("/services/data/v59.0/sobjects/Contact/{id}") })
        );
    }
    let all = call(&client, Method::GET, &format!("{job}/batch"), JSON, "").await.json();
    assert_eq!(all["batchInfo"].as_array().unwrap().len(), 1);
    let (path, _) = batch(&client, &job, JSON, "SELECT Id FROM Contact WHERE Email = 'no@one.example'").await;
    let list = call(&client, Method::GET, &format!("{path}/result"), JSON, "").await.json();
    let rows = call(&client, Method::GET, &format!("{path}/result/{}", list[0].as_str().unwrap()), JSON, "").await;
    assert_eq!(rows.json(), json!([]));
}

#[tokio::test]
async fn a_query_in_xml_repeats_the_id() {
    let client = start(options()).await;
    let job = xml_job(&client, "query", "Account", "XML").await;
    let (path, _) =
        batch(&client, &job, XML, "SELECT Id, Name, Fax, Owner.Username FROM Account WHERE Name = '3M'").await;
    let list = call(&client, Method::GET, &format!("{path}/result"), XML, "").await;
    let rows =
        call(&client, Method::GET, &format!("{path}/result/{}", element(&list.text, "result")), XML, "").await.text;
    let id = element(&rows, "Id").to_owned();
    let xsi = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";
    let username = element(&rows, "Username");
    let fax = if rows.contains("<Fax xsi:nil") {
        "<Fax xsi:nil=\"true\"/>".to_owned()
    } else {
        format!("<Fax>{}</Fax>", element(&rows, "Fax"))
    };
    assert_eq!(
        rows,
        format!(
            "{HEAD}<queryResult {NAMESPACE} {xsi}><records xsi:type=\"sObject\"><type>Account</type><Id>{id}</Id><Id>{id}</Id>\
             <Name>3M</Name>{fax}<Owner xsi:type=\"sObject\"><type>User</type><Id xsi:nil=\"true\"/>\
             <Username>{username}</Username></Owner></records></queryResult>"
        )
    );
}

#[tokio::test]
async fn rows_come_in_and_are_answered_in_each_content_type() {
    let client = start(options()).await;
    let tricky = "a < b & \"c\"\n🍺";

    let job = xml_job(&client, "insert", "Contact", "CSV").await;
    let csv = "LastName,Description,Account.Id\r\nCsv,\"a < b & \"\"c\"\"\n🍺\",\r\n,x,\r\n";
    let (path, ended) = batch(&client, &job, CSV, csv).await;
    assert_eq!((element(&ended.text, "state"), element(&ended.text, "numberRecordsFailed")), ("Completed", "1"));
    let results = call(&client, Method::GET, &format!("{path}/result"), CSV, "").await;
    assert_eq!(results.header("content-type"), "text/csv; charset=UTF-8");
    let lines: Vec<_> = results.text.lines().collect();
    assert_eq!(lines[0], "\"Id\",\"Success\",\"Created\",\"Error\"");
    assert!(lines[1].starts_with("\"003") && lines[1].ends_with("\",\"true\",\"true\",\"\""), "{}", lines[1]);
    assert_eq!(
        lines[2],
        "\"\",\"false\",\"false\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\""
    );
    assert_eq!(call(&client, Method::GET, &format!("{path}/request"), CSV, "").await.text, csv);

    let order =
        json!({ "operation": "upsert", "object": "Contact", "externalIdFieldName": "Email", "contentType": "JSON" });
    let job = json_job(&client, order).await;
    let rows = json!([
        { "Email": "json@x.example", "LastName": "Json", "Description": tricky, "Owner": { "Username": client.org.username() }, "DoNotCall": true },
        { "attributes": { "type": "Contact" }, "Email": "nope", "LastName": "J" },
    ]);
    let (path, ended) = batch(&client, &job, JSON, &rows.to_string()).await;
    assert_eq!(
        (&ended.json()["state"], &ended.json()["numberRecordsFailed"]),
        (&json!("Completed"), &json!(1)),
        "{}",
        ended.text
    );
    let results = call(&client, Method::GET, &format!("{path}/result"), JSON, "").await.json();
    assert_eq!(
        (&results[0]["success"], &results[0]["created"], &results[0]["errors"]),
        (&json!(true), &json!(true), &json!([]))
    );
    let error = json!({
        "message": "Email: invalid email address: nope", "fields": ["Email"], "statusCode": "INVALID_EMAIL_ADDRESS",
        "extendedErrorDetails": null,
    });
    assert_eq!(results[1], json!({ "success": false, "created": false, "id": null, "errors": [error] }));
    assert_eq!(call(&client, Method::GET, &format!("{path}/request"), JSON, "").await.json(), rows);

    let job = xml_job(&client, "insert", "Contact", "XML").await;
    let rows = format!(
        "{HEAD}<sObjects {NAMESPACE} xmlns:xsi=\"x\"><sObject><LastName>Xml</LastName>\
         <Description>a &lt; b &amp; \"c\"\n&#x1F37A;</Description><Fax xsi:nil=\"true\"/>\
         <Owner><sObject><Username>{}</Username></sObject></Owner></sObject><sObject><Fax>1</Fax></sObject></sObjects>",
        client.org.username()
    );
    let (path, ended) = batch(&client, &job, XML, &rows).await;
    assert_eq!(element(&ended.text, "state"), "Completed", "{}", ended.text);
    let results = call(&client, Method::GET, &format!("{path}/result"), XML, "").await.text;
    let id = element(&results, "id").to_owned();
    assert_eq!(
        results,
        format!(
            "{HEAD}<results\n   {NAMESPACE}>\n <result>\n  <id>{id}</id>\n  <success>true</success>\n  <created>true</created>\n \
             </result>\n <result>\n  <errors>\n   <fields>LastName</fields>\n   <message>Required fields are missing: [LastName]</message>\n   \
             <statusCode>REQUIRED_FIELD_MISSING</statusCode>\n  </errors>\n  <success>false</success>\n  <created>false</created>\n \
             </result>\n</results>"
        )
    );
    let found = client
        .job(
            "query",
            "SELECT LastName, Description FROM Contact WHERE LastName IN ('Csv','Json','Xml') ORDER BY LastName",
        )
        .await;
    assert_eq!(client.rows(&found, 10).await, [["Csv", tricky], ["Json", tricky], ["Xml", tricky]]);
}

#[tokio::test]
async fn updates_and_deletes_name_their_records() {
    let client = start(options()).await;
    let found = client.query("SELECT Id FROM Contact LIMIT 2").await.json()["records"].clone();
    let ids: Vec<_> = (0..2).map(|at| found[at]["Id"].as_str().unwrap().to_owned()).collect();
    let job = json_job(&client, json!({ "operation": "update", "object": "Contact", "contentType": "JSON" })).await;
    let rows = json!([{ "Id": ids[0], "Title": "New" }, { "Id": ids[1], "Email": "nope" }]);
    let (path, _) = batch(&client, &job, JSON, &rows.to_string()).await;
    let results = call(&client, Method::GET, &format!("{path}/result"), JSON, "").await.json();
    assert_eq!(results[0], json!({ "success": true, "created": false, "id": ids[0], "errors": [] }));
    assert_eq!((&results[1]["success"], &results[1]["id"]), (&json!(false), &json!(ids[1])));
    let job = json_job(&client, json!({ "operation": "delete", "object": "Contact", "contentType": "JSON" })).await;
    let (_, ended) = batch(&client, &job, JSON, &json!([{ "Id": ids[0] }]).to_string()).await;
    assert_eq!((&ended.json()["state"], &ended.json()["numberRecordsFailed"]), (&json!("Completed"), &json!(0)));
    let left = client.query(&format!("SELECT Id FROM Contact WHERE Id IN ('{}','{}')", ids[0], ids[1])).await.json();
    assert_eq!(left["totalSize"], 1);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_says_why() {
    let client = start(options()).await;
    for (operation, content, kind, body, message) in [
        ("query", "CSV", CSV, "SELECT Nothing FROM Account", "InvalidBatch : Failed to process query: INVALID_FIELD: "),
        ("query", "CSV", CSV, "SELECT COUNT() FROM Account", "InvalidBatch : Failed to process query: API_ERROR: "),
        ("insert", "CSV", CSV, "Name,Nothing__c\nA,B\n", "InvalidBatch : Field name not found : Nothing__c"),
        ("insert", "CSV", CSV, "Name\n", "InvalidBatch : Records not found"),
        (
            "insert",
            "XML",
            XML,
            "<sObjects><sObject><Nothing/></sObject></sObjects>",
            "InvalidBatch : Field name not found : Nothing",
        ),
        ("insert", "XML", XML, "<sObjects><sObject>", "InvalidBatch : Failed to parse XML. "),
        ("update", "CSV", CSV, "Name\nA\n", "InvalidBatch : Field name not found : Id"),
    ] {
        let job = xml_job(&client, operation, "Account", content).await;
        let (path, ended) = batch(&client, &job, kind, body).await;
        assert_eq!(element(&ended.text, "state"), "Failed");
        let shown = element(&ended.text, "stateMessage");
        assert!(shown.starts_with(message), "{shown}");
        let results = call(&client, Method::GET, &format!("{path}/result"), kind, "").await;
        assert_eq!(
            (results.status.as_u16(), element(&results.text, "exceptionMessage")),
            (400, "Records not processed")
        );
    }
    let job = json_job(&client, json!({ "operation": "insert", "object": "Account", "contentType": "JSON" })).await;
    for (body, message) in [
        ("[{\"Nothing__c\":1}]", "InvalidBatch : Field name not found : Nothing__c"),
        ("{\"Name\":\"A\"}", "InvalidBatch : Failed to parse JSON. "),
    ] {
        let (path, ended) = batch(&client, &job, JSON, body).await;
        let ended = ended.json();
        assert!(ended["stateMessage"].as_str().unwrap().starts_with(message), "{ended}");
        let results = call(&client, Method::GET, &format!("{path}/result"), JSON, "").await.json();
        assert_eq!(results, json!({ "exceptionCode": "InvalidBatch", "exceptionMessage": "Records not processed" }));
    }
    let rows: Vec<_> = (0..10_001).map(|at| json!({ "Name": format!("N{at}") })).collect();
    let (_, ended) = batch(&client, &job, JSON, &json!(rows).to_string()).await;
    assert_eq!(
        ended.json()["stateMessage"],
        "InvalidBatch : Exceeded number of records : 10002. Number of records should be less than or equal to 10001"
    );
}

#[tokio::test]
async fn pk_chunking_makes_several_batches_of_one_query() {
    let client = start(options()).await;
    let order = json!({ "operation": "query", "object": "Contact", "contentType": "CSV" }).to_string();
    let request = client.request(Method::POST, &format!("{A}/job")).header("sforce-enable-pkchunking", "chunkSize=100");
    let made = reply(request.header(CONTENT_TYPE, JSON).body(order)).await;
    assert_eq!(made.status, 201, "the bearer's token is as good as the session header: {}", made.text);
    let job = format!("/job/{}", made.json()["id"].as_str().unwrap());
    let soql = "SELECT Id, Email FROM Contact WHERE Email != null";
    let (_, ended) = batch(&client, &job, CSV, soql).await;
    assert_eq!(element(&ended.text, "state"), "NotProcessed");
    let all = end(&client, &format!("{job}/batch")).await.text;
    let ids: Vec<_> = all.split("<batchInfo>").skip(1).map(|one| (element(one, "id"), element(one, "state"))).collect();
    let states: Vec<_> = ids.iter().map(|(_, state)| *state).collect();
    assert_eq!(states, ["NotProcessed", "Completed", "Completed", "Completed", "Completed"], "304 contacts");
    let mut rows = Vec::new();
    for (id, _) in &ids[1..] {
        let list = call(&client, Method::GET, &format!("{job}/batch/{id}/result"), CSV, "").await;
        let path = format!("{job}/batch/{id}/result/{}", element(&list.text, "result"));
        rows.extend(records(&call(&client, Method::GET, &path, CSV, "").await.text));
        let request = call(&client, Method::GET, &format!("{job}/batch/{id}/request"), CSV, "").await.text;
        assert!(request.starts_with("SELECT Id, Email FROM Contact WHERE (Email != null) AND Id >= '003"), "{request}");
    }
    let plain = client.job("query", soql).await;
    assert_eq!(rows, client.rows(&plain, 1000).await);
    let chunked = client.get("/services/data/v62.0/jobs/query?isPkChunkingEnabled=true").await.json();
    assert_eq!(chunked["records"].as_array().unwrap().len(), 1);
    // An order switches chunking off.
    let (path, ended) = batch(&client, &job, CSV, "SELECT Id FROM Contact ORDER BY Id").await;
    assert_eq!(element(&ended.text, "state"), "Completed");
    assert_eq!(call(&client, Method::GET, &format!("{path}/result"), CSV, "").await.status, 200);
}

#[tokio::test]
async fn refusals_have_the_shape_of_this_api() {
    let client = start(options()).await;
    let url = format!("{}{A}/job", client.org.url());
    let stranger = client.http.post(&url).header("x-sfdc-session", "x").header(CONTENT_TYPE, XML).body("");
    let refused = reply(stranger).await;
    assert_eq!((refused.status.as_u16(), refused.text.as_str()), (400, format!(
        "{HEAD}<error\n   {NAMESPACE}>\n <exceptionCode>InvalidSessionId</exceptionCode>\n <exceptionMessage>Invalid session id</exceptionMessage>\n</error>"
    ).as_str()));
    let stranger = client.http.post(&url).header(CONTENT_TYPE, JSON).body("{}");
    let refused = reply(stranger).await;
    assert_eq!(
        refused.json(),
        json!({ "exceptionCode": "InvalidSessionId", "exceptionMessage": "Invalid session id" })
    );
    for (path, body, code) in [
        ("/job", "{\"operation\":\"INSERT\",\"object\":\"Account\",\"contentType\":\"CSV\"}", "InvalidJob"),
        ("/job", "{\"operation\":\"insert\",\"object\":\"Nothing\",\"contentType\":\"CSV\"}", "InvalidJob"),
        ("/job", "{\"operation\":\"insert\",\"object\":\"Account\",\"contentType\":\"ZIP_CSV\"}", "InvalidJob"),
        (
            "/job",
            "{\"operation\":\"upsert\",\"object\":\"Account\",\"contentType\":\"CSV\",\"externalIdFieldName\":\"Fax\"}",
            "InvalidJob",
        ),
        ("/job", "<jobInfo>", "InvalidXML"),
        ("/job/750000000000000AAA", "{\"state\":\"Closed\"}", "InvalidJob"),
        ("/jobs", "{}", "InvalidUrl"),
    ] {
        let refused = call(&client, Method::POST, path, JSON, body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["exceptionCode"].clone()),
            (400, json!(code)),
            "{path} {body}"
        );
    }
    let job = json_job(&client, json!({ "operation": "insert", "object": "Account", "contentType": "JSON" })).await;
    let other = reply(client.request(Method::GET, &format!("/services/async/60.0{job}"))).await;
    assert_eq!(other.json()["exceptionCode"], "InvalidVersion");
    let wrong = call(&client, Method::POST, &format!("{job}/batch"), CSV, "Name\nA\n").await;
    assert_eq!(wrong.json()["exceptionCode"], "InvalidBatch");
    let unknown = call(&client, Method::GET, &format!("{job}/batch/751000000000000AAA"), JSON, "").await;
    assert_eq!(unknown.json()["exceptionCode"], "InvalidBatch");
    client.send(Method::POST, "/__sandbox/limits", json!({ "DailyBulkApiBatches": { "max": 0 } })).await;
    let spent = call(&client, Method::POST, &format!("{job}/batch"), JSON, "[]").await.json();
    assert_eq!(spent, json!({ "exceptionCode": "ExceededQuota", "exceptionMessage": "ApiBatchItems Limit exceeded." }));
}

#[tokio::test]
async fn an_aborted_job_leaves_its_queued_batches() {
    let client = start(OrgOptions { polls_in_progress: 1000, ..options() }).await;
    let job = json_job(&client, json!({ "operation": "query", "object": "Account", "contentType": "JSON" })).await;
    let added = call(&client, Method::POST, &format!("{job}/batch"), JSON, "SELECT Id FROM Account").await.json();
    assert_eq!(added["state"], "Queued");
    let aborted = call(&client, Method::POST, &job, JSON, "{\"state\":\"Aborted\"}").await.json();
    assert_eq!((&aborted["state"], &aborted["numberBatchesTotal"]), (&json!("Aborted"), &json!(1)));
    let shown = call(&client, Method::GET, &format!("{job}/batch/{}", added["id"].as_str().unwrap()), JSON, "").await;
    assert_eq!(shown.json()["state"], "NotProcessed");
    let again = call(&client, Method::POST, &job, JSON, "{\"state\":\"Aborted\"}").await.json();
    assert_eq!(again["exceptionCode"], "InvalidJobState");
}

#[tokio::test]
async fn a_fault_fails_or_holds_up_the_next_batch() {
    let client = start(options()).await;
    let job = json_job(&client, json!({ "operation": "query", "object": "Account", "contentType": "JSON" })).await;
    for (what, states) in [
        (json!({ "job-fails": { "after_polls": 1, "message": "QUERY_TIMEOUT" } }), ["InProgress", "Failed"]),
        (json!({ "job-stuck": {} }), ["InProgress", "InProgress"]),
    ] {
        let fault = json!({ "method": "POST", "path": "/services/async/*/batch", "what": what });
        let armed = client.send(Method::POST, "/__sandbox/faults", fault).await;
        assert!(armed.status.is_success(), "{}", armed.text);
        let added = call(&client, Method::POST, &format!("{job}/batch"), JSON, "SELECT Id FROM Account").await.json();
        let path = format!("{job}/batch/{}", added["id"].as_str().unwrap());
        for state in states {
            assert_eq!(call(&client, Method::GET, &path, JSON, "").await.json()["state"], state);
        }
    }
    let fault = json!({ "path": "/services/async/", "what": "session-ends" });
    client.send(Method::POST, "/__sandbox/faults", fault).await;
    let refused = call(&client, Method::GET, &job, JSON, "").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["exceptionCode"]), (400, &json!("InvalidSessionId")));
}
