//! Values survive exactly: written into the org by REST, extracted in bulk, landed as Parquet, read back by `sf2gs sql`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use sf2gs::sandbox::salesforce::OrgOptions;

use crate::support::scene::Scene;
use crate::support::visitor::Visitor;

/// Texts that are something else to somebody on the way.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "NA",
        "N/A",
        "None",
        "NULL",
        "null",
        "NaN",
        "#N/A",
        "true",
        "0",
        "-0",
        "1e5",
        "=1+1",
        "\\N",
        "\\n",
        "\\",
        "''",
        "  both ends  ",
        "\ttab\t",
        "line\nbreak",
        "line\r\nbreak",
        "line\rbreak",
        "\r\n",
        "\n",
        "\"",
        "\"\"",
        "\"\"\"",
        "a \"lone\" quote\", and more",
        ",",
        ",,\"",
        "\"\n\",\"\r\n",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "שלום עולם",
        "مرحبا \u{202e}بالعالم",
        "東京都",
        "e\u{301} é",
        "\u{feff}mark",
        "\u{a0}\u{200b}\u{2028}\u{2029}",
        "\u{1}\u{1f}\u{7f}",
        "\u{fffd}\u{10ffff}",
        "001bm00000NMK67",
        "2024-02-30",
        "{\"a\":1}",
        "<b>&amp;</b>",
        "%_%",
        "; DROP TABLE x; --",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("a\0b\0\0c".to_owned());
    texts.push("x".repeat(32_000));
    texts.push("ü\"\n".repeat(32_000 / 3));
    texts
}

/// An org with `rows` accounts and these records, each made by REST; what the org then says of them, by id.
fn org_with(object: &str, records: &[Value]) -> (Scene, BTreeMap<String, Value>) {
    let org = OrgOptions { users: 5, accounts: 3, contacts: 0, page_rows: 7, clean: true, ..OrgOptions::default() };
    let scene = Scene::with(org, |_| {});
    let said = scene.block_on(async {
        let visitor = Visitor::of(&scene.org);
        let mut said = BTreeMap::new();
        for record in records {
            let id = visitor.create(object, record).await;
            said.insert(id.clone(), visitor.read(object, &id).await);
        }
        said
    });
    (scene, said)
}

/// Has `job` extract these fields, runs it and gives the landed rows by id.
fn landed(scene: &Scene, job: &str, object: &str, fields: &[&str]) -> BTreeMap<String, Value> {
    let file = scene.path().join(format!("pipelines/{job}.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let names = fields.iter().map(|field| format!("\"{field}\", ")).collect::<String>();
    let wider = text.replacen("fields = [", &format!("fields = [{names}"), 1);
    assert_ne!(text, wider);
    std::fs::write(&file, wider).unwrap();
    // The org's clock is ahead, so that the records lie before the window's end.
    scene.control(
        url::Url::parse(scene.org.url()).unwrap().join("/__sandbox/clock").unwrap(),
        Some(json!({ "advance_seconds": 600 })),
    );
    let ran = scene.run(&["run", job, "--land-only"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let columns = fields.iter().map(|field| format!(", \"{field}\"")).collect::<String>();
    let query = format!("SELECT \"Id\"{columns} FROM lake.salesforce.{}", object.to_lowercase());
    let ran = scene.run(&["sql", &query, "--format", "ndjson"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["Id"].as_str().unwrap().to_owned(), row)
    };
    ran.stdout.lines().map(row).collect()
}

/// A job of a user's own on the custom object.
const SUBSCRIPTIONS: &str = r#"
name = "subscriptions"

[source]
object = "Subscription__c"
fields = ["Id", "Name", "Account__c", "MRR__c", "Seats__c", "Start_Date__c", "End_Date__c", "Auto_Renew__c", "Terms__c"]

[target]
object = "company"

[[target.map]]
from = "Id"
to = "SfdcAccountId"
identifier = true

[[target.map]]
from = "Name"
to = "Name"
"#;

#[test]
fn long_texts_amounts_dates_and_short_ids_survive() {
    // The longest text area that there is, of characters that are one, two, three and four bytes long.
    let long: String = "aü東👩\n\"".chars().cycle().take(131_072).collect();
    let org = OrgOptions { users: 5, accounts: 3, contacts: 0, page_rows: 7, clean: true, ..OrgOptions::default() };
    let scene = Scene::with(org, |_| {});
    let (parent, ids) = scene.block_on(async {
        let visitor = Visitor::of(&scene.org);
        let parent = visitor.create("Account", &json!({ "Name": "parent" })).await;
        let record = |mrr: Value, seats: Value, start: Value, terms: &str| {
            json!({ "Account__c": parent[..15], "MRR__c": mrr, "Seats__c": seats, "Start_Date__c": start,
                    "End_Date__c": "4000-12-31", "Auto_Renew__c": false, "Terms__c": terms })
        };
        let mut ids = Vec::new();
        for record in [
            record(json!(1_234_567_890_123.45), json!(999_999_999_999_999_u64), json!("1700-01-01"), &long),
            record(json!(-0.01), json!(-1), json!("1999-12-31"), "NA"),
            record(json!(0), json!(null), json!(null), "0.10"),
        ] {
            ids.push(visitor.create("Subscription__c", &record).await);
        }
        (parent, ids)
    });
    std::fs::write(scene.path().join("pipelines/subscriptions.toml"), SUBSCRIPTIONS).unwrap();
    scene.control(
        url::Url::parse(scene.org.url()).unwrap().join("/__sandbox/clock").unwrap(),
        Some(json!({ "advance_seconds": 600 })),
    );
    let ran = scene.run(&["run", "subscriptions", "--land-only"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let query = "SELECT \"Id\" AS id, \"Account__c\" AS account, CAST(\"MRR__c\" AS VARCHAR) AS mrr, \
                 CAST(CAST(\"Seats__c\" AS DECIMAL(18, 0)) AS VARCHAR) AS seats, \
                 CAST(\"Start_Date__c\" AS VARCHAR) AS starts, CAST(\"End_Date__c\" AS VARCHAR) AS ends, \
                 \"Auto_Renew__c\" AS renews, \"Terms__c\" AS terms FROM lake.salesforce.subscription__c";
    let ran = scene.run(&["sql", query, "--format", "ndjson"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
    let wanted = [
        (Some("1234567890123.45"), Some("999999999999999"), Some("1700-01-01"), long.as_str()),
        (Some("-0.01"), Some("-1"), Some("1999-12-31"), "NA"),
        (Some("0.00"), None, None, "0.10"),
    ];
    for (id, (mrr, seats, start, terms)) in ids.iter().zip(wanted) {
        let row = row(id);
        assert_eq!((row["account"].as_str(), row["renews"].as_bool()), (Some(parent.as_str()), Some(false)), "{id}");
        assert_eq!((row["mrr"].as_str(), row["seats"].as_str()), (mrr, seats), "{id}");
        assert_eq!((row["starts"].as_str(), row["ends"].as_str()), (start, Some("4000-12-31")), "{id}");
        assert!(row["terms"] == terms, "the terms of {id} are not the same");
    }
}

#[test]
fn huge_and_tiny_numbers_survive() {
    let schema = tempfile::NamedTempFile::new().unwrap();
    // A number field of Salesforce has 18 digits at most, wherever its point is.
    let fields = r#"
        [[object]]
        name = "Account"
        fields = [
            { name = "Huge__c", label = "Huge", type = "double", precision = 18, scale = 0 },
            { name = "Tiny__c", label = "Tiny", type = "double", precision = 18, scale = 17 },
        ]
    "#;
    std::fs::write(schema.path(), fields).unwrap();
    let numbers = [
        (99_999_999_999_999_984.0, 1e-17),
        (-99_999_999_999_999_984.0, -1e-17),
        (9_007_199_254_740_992.0, 0.1),
        (1e17, 9.999_999_999_999_998),
        (-1.0, 0.000_000_123_456_789_01),
        (0.0, 0.0),
    ];
    let org = OrgOptions {
        users: 5,
        accounts: 3,
        contacts: 0,
        page_rows: 7,
        clean: true,
        schema: vec![schema.path().to_owned()],
        ..OrgOptions::default()
    };
    let scene = Scene::with(org, |_| {});
    let ids = scene.block_on(async {
        let visitor = Visitor::of(&scene.org);
        let mut ids = Vec::new();
        for (huge, tiny) in numbers {
            ids.push(visitor.create("Account", &json!({ "Name": "n", "Huge__c": huge, "Tiny__c": tiny })).await);
        }
        ids
    });
    let landed = landed(&scene, "company_sync", "Account", &["Huge__c", "Tiny__c"]);
    for (id, (huge, tiny)) in ids.iter().zip(numbers) {
        let number = |field: &str| -> f64 {
            let value = &landed[id][field];
            value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap()
        };
        assert_eq!((number("Huge__c"), number("Tiny__c")), (huge, tiny), "{id}");
    }
}

#[test]
fn texts_survive() {
    let texts = texts();
    let records: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| json!({ "Name": format!("case {at}"), "Description": text }))
        .collect();
    let (scene, said) = org_with("Account", &records);
    let landed = landed(&scene, "company_sync", "Account", &["Description"]);
    let mut nuls = 0;
    for (id, record) in &said {
        let text = record["Description"].as_str().unwrap();
        nuls += text.matches('\0').count();
        assert_eq!(landed[id]["Description"].as_str(), Some(text.replace('\0', "").as_str()), "{}", record["Name"]);
    }
    // What the org keeps is what was written; only then is the comparison worth something.
    let kept: Vec<&str> = said.values().map(|record| record["Description"].as_str().unwrap()).collect();
    for text in &texts {
        assert!(kept.contains(&text.as_str()) || kept.contains(&text.trim()), "the org has lost {text:?}");
    }
    assert_eq!(nuls, 3);
    let steps = scene.run(&["sql", "SELECT detail FROM activity.steps WHERE step = 'extract'", "--format", "ndjson"]);
    assert!(steps.stdout.contains("\\\"nul_bytes\\\":3"), "{}", steps.stdout);
}
