//! Measurements; they run only when asked for.

use reqwest::StatusCode;
use serde_json::Value as Json;
use serde_json::json;
use sf2gs::sandbox::gainsight::TenantOptions;

use super::Caller;

/// Prints how fast bulk files are taken. Run it alone and optimised:
/// `cargo test --release --test it bulk_import_speed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bulk_import_speed() {
    let caller = Caller::with(TenantOptions { quotas: false, ..TenantOptions::default() }).await;
    let rows = 500_000;
    let mut csv = "Name,SfdcAccountId,Industry,Employees,BillingAddress,Arr,RenewalDate,Stage\n".to_owned();
    for n in 0..rows {
        csv.push_str(&format!(
            "\"Company {n}, Inc\",0015g{n:010}AAV,Information Technology,{n},\"{n} Main St, Springfield\",{n}.25,2026-03-{:02},Adopting\n",
            n % 28 + 1
        ));
    }
    for round in ["inserted", "updated", "updated"] {
        let bytes = csv.clone().into_bytes();
        let size = bytes.len() as f64 / 1e6;
        let begun = std::time::Instant::now();
        let said = caller.import(bytes).await;
        let taken = begun.elapsed().as_secs_f64();
        let status = caller.import_end(&said).await;
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(status["failureCount"], 0);
        println!(
            "{rows} rows {round} ({size:.0} MB): {seconds:.2} s, {:.0} rows/s; upload {taken:.2} s; {}",
            f64::from(rows) / seconds,
            memory()
        );
    }
}

/// Prints how fast people load and what they cost in memory:
/// `cargo test --release --test it people_speed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn people_speed() {
    let caller = Caller::with(TenantOptions { quotas: false, ..TenantOptions::default() }).await;
    let mut csv = "Name,SfdcAccountId\n".to_owned();
    for n in 0..2000 {
        csv.push_str(&format!("Company {n},0015g{n:010}AAV\n"));
    }
    caller.imported(csv).await;
    let companies = caller.query("company", json!({"select": ["Gsid"]})).await.records();
    let people: usize = std::env::var("PEOPLE").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    println!("empty: {}", memory());
    let begun = std::time::Instant::now();
    for from in (0..people).step_by(50) {
        let records: Vec<Json> = (from..from + 50)
            .map(|n| json!({"Email": format!("person.number{n}@company{}.example.com", n % 2000), "FirstName": format!("First{n}"), "LastName": format!("Last{n}"),
                "companies": [{"Company_ID": companies[n % 2000]["Gsid"], "Title": "Head of Something", "ExternalContactId": format!("0035g{n:010}AAV"), "ExternalAccountId": format!("0015g{:010}AAV", n % 2000)}]}))
            .collect();
        let said = caller.put("/v1/peoplemgmt/v1.0/people/async", json!({"records": records})).await;
        assert_eq!(said.status, StatusCode::OK);
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{people} people: {seconds:.1} s, {:.0} a second; {}", people as f64 / seconds, memory());
    let begun = std::time::Instant::now();
    let mut last = String::new();
    let mut read = 0;
    loop {
        let body = json!({"select": ["Gsid", "Person_ID", "Company_ID", "Title", "ExternalContactId", "ModifiedDate"], "orderBy": {"Gsid": "asc"}, "limit": 5000,
            "where": {"conditions": [{"name": "Gsid", "operator": "GT", "value": [last]}]}});
        let records = caller.query("company_person", body).await.records();
        let Some(end) = records.last() else { break };
        read += records.len();
        last = end["Gsid"].as_str().unwrap().to_owned();
    }
    println!("{read} company people read: {:.1} s (with parsing here); {}", begun.elapsed().as_secs_f64(), memory());
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines: Vec<&str> =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")).collect();
    lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}
