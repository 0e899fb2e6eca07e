//! Ingest jobs of Bulk API 2.0.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::caller::Client;
use crate::support::caller::Reply;
use crate::support::caller::V;
use crate::support::caller::options;
use crate::support::caller::reply;
use crate::support::caller::start;

/// Creates a job; its path.
async fn create(client: &Client, order: Value) -> String {
    let made = client.send(Method::POST, &format!("{V}/jobs/ingest"), order).await;
    assert_eq!(made.status, 200, "{}", made.text);
    format!("{V}/jobs/ingest/{}", made.json()["id"].as_str().unwrap())
}

async fn upload(client: &Client, job: &str, csv: impl Into<reqwest::Body>) -> Reply {
    let request = client.request(Method::PUT, &format!("{job}/batches")).header(CONTENT_TYPE, "text/csv");
    reply(request.body(csv)).await
}

async fn close(client: &Client, job: &str) -> Reply {
    client.send(Method::PATCH, job, json!({ "state": "UploadComplete" })).await
}

/// The job at its end.
async fn end(client: &Client, job: &str) -> Value {
    for _ in 0..2000 {
        let shown = client.get(job).await.json();
        if !matches!(shown["state"].as_str(), Some("UploadComplete" | "InProgress")) {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the job does not end");
}

/// A whole job.
async fn run(client: &Client, order: Value, csv: &str) -> (String, Value) {
    let job = create(client, order).await;
    assert_eq!(upload(client, &job, csv.to_owned()).await.status, 201);
    assert_eq!(close(client, &job).await.status, 200);
    let ended = end(client, &job).await;
    (job, ended)
}

fn insert() -> Value {
    json!({ "object": "Contact", "operation": "insert" })
}

async fn file(client: &Client, job: &str, name: &str) -> String {
    let reply = client.get(&format!("{job}/{name}")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "text/csv; charset=UTF-8"),
        "{}",
        reply.text
    );
    reply.text
}

#[tokio::test]
async fn a_job_from_its_making_to_its_three_files() {
    let client = start(OrgOptions { polls_in_progress: 1, ..options() }).await;
    let made = client.send(Method::POST, &format!("{V}/jobs/ingest"), insert()).await.json();
    let id = made["id"].as_str().unwrap();
    let user = made["createdById"].clone();
    let job = format!("{V}/jobs/ingest/{id}");
    let head = json!({
        "id": id, "operation": "insert", "object": "Contact", "createdById": user,
        "createdDate": "2026-06-01T12:00:00.000+0000", "systemModstamp": "2026-06-01T12:00:00.000+0000",
        "state": "Open", "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": 62.0,
    });
    let with = |more: Value| {
        let mut all = head.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    let url = format!("services/data/v62.0/jobs/ingest/{id}/batches");
    assert_eq!(made, with(json!({ "contentUrl": url, "lineEnding": "LF", "columnDelimiter": "COMMA" })));
    let times = json!({
        "retries": 0, "totalProcessingTime": 0, "apiActiveProcessingTime": 0, "apexProcessingTime": 0,
        "jobType": "V2Ingest", "contentUrl": url, "lineEnding": "LF", "columnDelimiter": "COMMA",
    });
    assert_eq!(client.get(&job).await.json(), with(times.clone()), "nothing is counted before the upload");

    let csv = "LastName,Email,\"Birthdate\"\nGood,a@x.example,1970-02-03\n,b@x.example,\n\"B\"\"ad\",nope,1970-02-30\n";
    let uploaded = upload(&client, &job, csv).await;
    assert_eq!((uploaded.status.as_u16(), uploaded.text.as_str()), (201, ""));
    assert_eq!(client.get(&job).await.json()["numberRecordsProcessed"], 0);
    assert_eq!(close(&client, &job).await.json(), with(json!({ "state": "UploadComplete" })));
    assert_eq!(client.get(&job).await.json()["state"], "InProgress");
    let ended = end(&client, &job).await;
    assert_eq!(
        (&ended["state"], &ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]),
        (&json!("JobComplete"), &json!(3), &json!(2))
    );
    assert_eq!((&ended["contentUrl"], &ended["errorMessage"]), (&Value::Null, &Value::Null));

    let good = file(&client, &job, "successfulResults").await;
    let (header, row) = good.split_once('\n').unwrap();
    assert_eq!(header, "\"sf__Id\",\"sf__Created\",LastName,Email,\"Birthdate\"");
    let new = &row[1..19];
    assert_eq!(row, format!("\"{new}\",\"true\",\"Good\",\"a@x.example\",\"1970-02-03\"\n"));
    assert_eq!(client.get(&format!("{V}/sobjects/Contact/{new}")).await.json()["Birthdate"], "1970-02-03");
    let bad = file(&client, &job, "failedResults/").await;
    assert!(bad.starts_with(
        "\"sf__Id\",\"sf__Error\",LastName,Email,\"Birthdate\"\n\
         \"\",\"REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --\",\"\",\"b@x.example\",\"\"\n"
    ), "{bad}");
    assert!(bad.ends_with("--\",\"B\"\"ad\",\"nope\",\"1970-02-30\"\n"), "{bad}");
    for spelling in ["unprocessedrecords", "unprocessedRecords"] {
        assert_eq!(file(&client, &job, spelling).await, "LastName,Email,\"Birthdate\"\n");
    }
    assert_eq!(close(&client, &job).await.json()[0]["message"], "Closing already closed Job not allowed");
    assert_eq!(client.send(Method::DELETE, &job, json!(null)).await.status, 204);
    assert_eq!(client.get(&job).await.status, 404);
}

#[tokio::test]
async fn empty_leaves_a_field_alone_and_na_empties_it() {
    let client = start(options()).await;
    let (job, _) = run(&client, insert(), "LastName,Title,Fax,Department\nA,#N/A,,None\n").await;
    let id = file(&client, &job, "successfulResults").await.lines().nth(1).unwrap()[1..19].to_owned();
    let contact = format!("{V}/sobjects/Contact/{id}");
    let before = client.get(&contact).await.json();
    assert_eq!((&before["Title"], &before["Fax"], &before["Department"]), (&json!(null), &json!(null), &json!("None")));
    let update = json!({ "object": "Contact", "operation": "update", "columnDelimiter": "TAB", "lineEnding": "CRLF" });
    let csv = format!("Id\tTitle\tFax\tDepartment\r\n{}\t x \t\t#N/A\r\n", &id[..15]);
    let (job, ended) = run(&client, update, &csv).await;
    assert_eq!(ended["numberRecordsFailed"], 0, "{}", file(&client, &job, "failedResults").await);
    let after = client.get(&contact).await.json();
    assert_eq!((&after["Title"], &after["Department"]), (&json!(" x "), &json!(null)));
    let good = file(&client, &job, "successfulResults").await;
    assert_eq!(
        good,
        format!(
            "\"sf__Id\"\t\"sf__Created\"\tId\tTitle\tFax\tDepartment\r\n\"{id}\"\t\"false\"\t\"{}\"\t\" x \"\t\"\"\t\"#N/A\"\r\n",
            &id[..15]
        )
    );
}

#[tokio::test]
async fn values_survive_exactly() {
    let client = start(options()).await;
    let values = ["NA", "None", "NULL", " x ", "a\nb", "a\r\nb", "\"\"", "\"", "a,b;c\td", "🍺 שלום", "O'Neil \\"];
    let mut csv = "LastName,Description\n".to_owned();
    for (at, value) in values.iter().enumerate() {
        csv.push_str(&format!("Exact{at},\"{}\"\n", value.replace('"', "\"\"")));
    }
    let (job, ended) = run(&client, insert(), &csv).await;
    assert_eq!(ended["numberRecordsFailed"], 0, "{}", file(&client, &job, "failedResults").await);
    let found = client.job("query", "SELECT LastName, Description FROM Contact WHERE LastName LIKE 'Exact%'").await;
    let rows = client.rows(&found, 100).await;
    let read: Vec<_> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(read, values);
}

#[tokio::test]
async fn upserts_create_once_and_parents_are_named_by_their_keys() {
    let client = start(options()).await;
    let account = client.query("SELECT Id FROM Account WHERE Name = '3M'").await.json()["records"][0]["Id"].clone();
    let order = json!({ "object": "contact", "operation": "upsert", "externalIdFieldName": "email" });
    let csv = format!(
        "Email,LastName,Account.Id,Owner.Username\nnew@x.example,New,{},{}\nNEW@x.example,Twice,,\n,None,,\n",
        account.as_str().unwrap(),
        client.org.username(),
    );
    let (job, ended) = run(&client, order.clone(), &csv).await;
    assert_eq!(ended["externalIdFieldName"], "email");
    assert_eq!((&ended["object"], &ended["numberRecordsFailed"]), (&json!("Contact"), &json!(2)));
    let bad = file(&client, &job, "failedResults").await;
    assert!(bad.contains("DUPLICATE_VALUE:") && bad.contains("MISSING_ARGUMENT:Email not specified:Email --"), "{bad}");
    let (job, _) =
        run(&client, order, "Email,LastName,Owner.Username\nNEW@x.example,Changed,\nother@x.example,O,nobody\n").await;
    let good = file(&client, &job, "successfulResults").await;
    assert!(good.contains("\"false\",\"NEW@x.example\",\"Changed\""), "{good}");
    let bad = file(&client, &job, "failedResults").await;
    assert!(
        bad.contains("INVALID_FIELD:Foreign key external ID: nobody not found for field Username in entity User:"),
        "{bad}"
    );
    let found = client
        .query("SELECT LastName, Account.Name, Owner.Username FROM Contact WHERE Email = 'new@x.example'")
        .await
        .json();
    assert_eq!(found["totalSize"], 1);
    let found = &found["records"][0];
    assert_eq!((&found["LastName"], &found["Account"]["Name"]), (&json!("Changed"), &json!("3M")));
    assert_eq!(found["Owner"]["Username"], client.org.username());
}

#[tokio::test]
async fn deletes_go_to_the_recycle_bin_and_hard_deletes_do_not() {
    let client = start(options()).await;
    let ids: Vec<String> = {
        let found = client.query("SELECT Id FROM Contact LIMIT 3").await.json();
        found["records"].as_array().unwrap().iter().map(|one| one["Id"].as_str().unwrap().to_owned()).collect()
    };
    let order = |operation: &str| json!({ "object": "Contact", "operation": operation });
    let csv = format!("Id\n{}\n{}\n001000000000000AAA\n\"\"\n", ids[0], ids[0]);
    let (job, ended) = run(&client, order("delete"), &csv).await;
    assert_eq!(
        (&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]),
        (&json!(3), &json!(2)),
        "the blank line is none"
    );
    assert_eq!(file(&client, &job, "unprocessedrecords").await, "Id\n");
    let bad = file(&client, &job, "failedResults").await;
    assert!(
        bad.contains(&format!("\"{}\",\"ENTITY_IS_DELETED:entity is deleted:--\",\"{}\"", ids[0], ids[0])),
        "{bad}"
    );
    let (_, ended) = run(&client, order("hardDelete"), &format!("Id\n{}\n", ids[1])).await;
    assert_eq!(ended["numberRecordsFailed"], 0);
    let soql = format!("SELECT Id, IsDeleted FROM Contact WHERE Id IN ('{}')", ids.join("','"));
    let found = client.job("queryAll", &soql).await;
    assert_eq!(client.rows(&found, 10).await, [[ids[0].as_str(), "true"], [ids[2].as_str(), "false"]]);
}

#[tokio::test]
async fn a_wrong_upload_fails_the_job_and_writes_nothing() {
    let client = start(options()).await;
    let ending = |setting: &str| {
        format!("ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}")
    };
    let order = |operation: &str, line_ending: &str| json!({ "object": "Contact", "operation": operation, "lineEnding": line_ending });
    for (order, csv, message) in [
        (
            order("insert", "LF"),
            "LastName,Nothing__c\nA,B\n",
            "InvalidBatch : Field name not found : Nothing__c".to_owned(),
        ),
        (
            order("insert", "LF"),
            "\u{feff}LastName\nA\n",
            "InvalidBatch : Field name not found : \u{feff}LastName".to_owned(),
        ),
        (order("insert", "LF"), "LastName\r\nA\r\n", ending("LF")),
        (order("insert", "CRLF"), "LastName\nA\n", ending("CRLF")),
        (
            order("insert", "LF"),
            "LastName,Fax\nA,B\nC, \"D\"\n",
            "InvalidBatch : Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote"
                .to_owned(),
        ),
        (
            order("insert", "LF"),
            "LastName,Nobody.Email\nA,b\n",
            "InvalidBatch : Unable to find relationship: Nobody".to_owned(),
        ),
        (
            order("insert", "LF"),
            "LastName,Account:Account.Id\nA,b\n",
            "InvalidBatch : type is not needed for non polymorphic foreign key references: Account".to_owned(),
        ),
        (
            order("insert", "LF"),
            "LastName,Account.Fax\nA,b\n",
            "InvalidBatch : Field name not found : Account.Fax".to_owned(),
        ),
        (order("update", "LF"), "LastName\nA\n", "InvalidBatch : Field name not found : Id".to_owned()),
        (
            order("delete", "LF"),
            "Id,LastName\n003,A\n",
            "InvalidBatch : The 'delete' batch must contain only ids".to_owned(),
        ),
        (order("insert", "LF"), "", "InvalidBatch : Records not found".to_owned()),
    ] {
        let (job, ended) = run(&client, order, csv).await;
        assert_eq!((&ended["state"], &ended["errorMessage"]), (&json!("Failed"), &json!(message)), "{csv:?}");
        assert_eq!((&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]), (&json!(0), &json!(0)));
        // The test's client takes the mark away that the org gives back.
        let given = csv.trim_start_matches('\u{feff}').trim_end();
        assert_eq!(file(&client, &job, "unprocessedrecords").await.trim_end(), given, "{csv:?}");
        assert_eq!(file(&client, &job, "successfulResults").await.lines().count(), 1);
    }
    let (job, ended) = run(&client, order("insert", "LF"), "LastName\n").await;
    assert_eq!((&ended["state"], &ended["numberRecordsProcessed"]), (&json!("JobComplete"), &json!(0)));
    assert_eq!(file(&client, &job, "successfulResults").await, "\"sf__Id\",\"sf__Created\",LastName\n");
    let bytes = create(&client, insert()).await;
    assert_eq!(upload(&client, &bytes, b"LastName\n\xff\n".to_vec()).await.status, 201);
    close(&client, &bytes).await;
    assert_eq!(end(&client, &bytes).await["state"], "Failed");
}

#[tokio::test]
async fn orders_and_uploads_are_refused_in_the_services_words() {
    let client = start(options()).await;
    for (order, code, message) in [
        (json!({ "object": "", "operation": "insert" }), "INVALIDJOB", "InvalidJob : Unable to find object: "),
        (
            json!({ "object": "Nothing__c", "operation": "insert" }),
            "INVALIDJOB",
            "InvalidJob : Unable to find object: Nothing__c",
        ),
        (
            json!({ "object": "Account", "operation": "" }),
            "API_ERROR",
            "Invalid value: '' supplied for property: 'operation'",
        ),
        (
            json!({ "object": "Account", "operation": "insert", "contentType": "XML" }),
            "API_ERROR",
            "Invalid value: 'XML' supplied for property: 'contentType'",
        ),
        (
            json!({ "object": "Account", "operation": "upsert", "externalIdFieldName": "Fax" }),
            "INVALIDJOB",
            "InvalidJob : Field name provided, Fax does not match an External ID for Account",
        ),
        (
            json!({ "object": "Account", "operation": "upsert" }),
            "INVALIDJOB",
            "InvalidJob : Field name provided,  does not match an External ID for Account",
        ),
    ] {
        let reply = client.send(Method::POST, &format!("{V}/jobs/ingest"), order).await;
        assert_eq!(reply.refusal(), (400, code.to_owned()), "{}", reply.text);
        assert_eq!(reply.json()[0]["message"], message);
    }
    let job = create(&client, insert()).await;
    let text =
        client.request(Method::PUT, &format!("{job}/batches")).header(CONTENT_TYPE, "application/json").body("[]");
    assert_eq!(reply(text).await.status, 415);
    assert_eq!(client.get(&format!("{job}/successfulResults")).await.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    assert_eq!(client.send(Method::DELETE, &job, json!(null)).await.refusal(), (400, "INVALIDJOBSTATE".to_owned()));
    assert_eq!(upload(&client, &job, "LastName\nA\n").await.status, 201);
    let second = upload(&client, &job, "LastName\nB\n").await;
    assert_eq!(second.status, 400);
    let message = second.json()[0]["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("Found multiple contents for job: <750") && message.ends_with("'PUT' once on a given Job."),
        "{message}"
    );
    let aborted = client.send(Method::PATCH, &job, json!({ "state": "Aborted" })).await.json();
    assert_eq!(aborted["state"], "Aborted");
    assert_eq!(close(&client, &job).await.json()[0]["message"], "Closing already aborted Job not allowed");
    assert_eq!(upload(&client, &job, "LastName\nA\n").await.status, 400);
    assert_eq!(file(&client, &job, "unprocessedrecords").await, "LastName\nA\n");
    let limit = json!({ "DailyBulkApiBatches": { "used": 0, "max": 1 } });
    client.send(Method::POST, "/__sandbox/limits", limit).await;
    let mut csv = "LastName\n".to_owned();
    csv.push_str(&"A\n".repeat(10_001));
    let (job, ended) = run(&client, insert(), &csv).await;
    assert_eq!(ended["errorMessage"], "ExceededQuota : ApiBatchItems Limit exceeded.");
    assert_eq!(file(&client, &job, "unprocessedrecords").await, csv);
}

#[tokio::test]
async fn a_multipart_request_brings_its_data_along() {
    let client = start(options()).await;
    let body = "--BOUNDARY\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n\
                {\"object\":\"Contact\",\"contentType\":\"CSV\",\"operation\":\"insert\",\"lineEnding\":\"LF\"}\r\n\
                --BOUNDARY\r\nContent-Type: text/csv\r\n\
                Content-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\n\
                FirstName,LastName\nAstro,Nomical\nHootie,McOwl\r\n--BOUNDARY--\r\n";
    let send = |body: String| {
        let request = client.request(Method::POST, &format!("{V}/jobs/ingest"));
        reply(request.header(CONTENT_TYPE, "multipart/form-data; boundary=BOUNDARY").body(body))
    };
    let made = send(body.to_owned()).await;
    assert_eq!((made.status.as_u16(), &made.json()["state"]), (200, &json!("UploadComplete")), "{}", made.text);
    let job = format!("{V}/jobs/ingest/{}", made.json()["id"].as_str().unwrap());
    let ended = end(&client, &job).await;
    assert_eq!((&ended["state"], &ended["numberRecordsProcessed"]), (&json!("JobComplete"), &json!(2)), "{ended}");
    assert!(file(&client, &job, "successfulResults").await.contains(",\"Hootie\",\"McOwl\"\n"));
    let long = body.replace("Nomical", &"x".repeat(100_000));
    assert_eq!(send(long).await.status, 400);
    assert_eq!(send(body.replace("name=\"content\"", "name=\"data\"")).await.status, 400);
}

#[tokio::test]
async fn many_rows_are_written_while_others_are_answered() {
    let client = start(options()).await;
    let job =
        create(&client, json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Email" })).await;
    let mut csv = "LastName,Email\n".to_owned();
    for at in 0..20_000 {
        csv.push_str(&format!("Many,many{at}@x.example\n"));
    }
    assert_eq!(upload(&client, &job, csv).await.status, 201);
    close(&client, &job).await;
    assert_eq!(client.get(&format!("{V}/limits")).await.status, 200);
    let ended = end(&client, &job).await;
    assert_eq!((&ended["numberRecordsProcessed"], &ended["numberRecordsFailed"]), (&json!(20_000), &json!(0)));
    let found = client.query("SELECT COUNT() FROM Contact WHERE LastName = 'Many'").await.json();
    assert_eq!(found["totalSize"], 20_000);
    let zipped = client.request(Method::GET, &format!("{job}/successfulResults")).header("accept-encoding", "gzip");
    let response = zipped.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    let bytes = response.bytes().await.unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_ref()), &mut text).unwrap();
    assert_eq!(text.lines().count(), 20_001);
    assert_eq!(text, file(&client, &job, "successfulResults").await);
}

#[tokio::test]
async fn a_fault_fails_or_holds_up_the_next_job() {
    let client = start(options()).await;
    let what = json!({ "job-fails": { "after_polls": 1, "message": "InternalServerError" } });
    let fault = json!({ "method": "POST", "path": "/services/data/*/jobs/ingest", "what": what });
    let armed = client.send(Method::POST, "/__sandbox/faults", fault).await;
    assert!(armed.status.is_success(), "{}", armed.text);
    let job = create(&client, insert()).await;
    assert_eq!(upload(&client, &job, "LastName\nA\n").await.status, 201);
    close(&client, &job).await;
    assert_eq!(client.get(&job).await.json()["state"], "InProgress");
    let ended = client.get(&job).await.json();
    assert_eq!((&ended["state"], &ended["errorMessage"]), (&json!("Failed"), &json!("InternalServerError")));
    assert_eq!(file(&client, &job, "unprocessedrecords").await, "LastName\nA\n");
    let (_, ended) = run(&client, insert(), "LastName\nA\n").await;
    assert_eq!(ended["state"], "JobComplete");
}
