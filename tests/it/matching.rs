//! Verdicts of the out-of-the-box kinds of job on small tables, and how each reject reads.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::SchemaRef;
use sf2gs::config::job::Job;
use sf2gs::config::job::OnMissing;
use sf2gs::config::job::OnMultiple;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::TargetObject;
use sf2gs::matching;
use sf2gs::matching::MatchInputs;
use sf2gs::matching::MatchPlan;

use crate::support::tables::Cell;
use crate::support::tables::Table;
use crate::support::tables::derive;
use crate::support::tables::gs;
use crate::support::tables::job;
use crate::support::tables::map;
use crate::support::tables::rows;
use crate::support::tables::session;
use crate::support::tables::sf;
use crate::support::tables::table;

fn plan(job: &Job, source: &Table, mirrors: &[(&str, &Table)], second: bool) -> MatchPlan {
    let schemas: BTreeMap<String, SchemaRef> =
        mirrors.iter().map(|(name, table)| ((*name).to_owned(), Arc::clone(&table.schema))).collect();
    let key = ["Email".to_owned()];
    let inputs = MatchInputs { job, source: &source.schema, mirrors: &schemas, person_key: &key };
    if second {
        matching::compile_second_pass(&inputs).expect("a job that compiles").expect("a job with a self lookup")
    } else {
        matching::compile(&inputs).expect("a job that compiles")
    }
}

/// The verdicts, and whether the statement's columns are what the loader is promised.
async fn verdicts(plan: &MatchPlan, source: &Table, mirrors: &[(&str, &Table)]) -> Vec<HashMap<String, Cell>> {
    let ctx = session(2);
    source.register(&ctx, "source");
    for (name, table) in mirrors {
        table.register(&ctx, &format!("mirror_{name}"));
    }
    let got = rows(&ctx, &plan.sql).await;
    let schema = ctx.sql(&plan.sql).await.unwrap().create_physical_plan().await.unwrap().schema();
    for name in ["source_id", "verdict", "gsid", "changed", "code", "field", "message", "candidates", "unresolved"] {
        assert_eq!(schema.field_with_name(name).unwrap().data_type(), &DataType::Utf8, "{name}");
    }
    for name in ["clears", "retry"] {
        assert_eq!(schema.field_with_name(name).unwrap().data_type(), &DataType::Boolean, "{name}");
    }
    for write in &plan.writes {
        assert_eq!(schema.field_with_name(&write.column).unwrap().data_type(), &write.data_type, "{}", write.column);
    }
    got
}

fn text<'a>(row: &'a HashMap<String, Cell>, column: &str) -> &'a str {
    row[column].as_deref().unwrap_or("NULL")
}

fn column(rows: &[HashMap<String, Cell>], columns: &[&str]) -> Vec<String> {
    rows.iter().map(|row| columns.iter().map(|name| text(row, name)).collect::<Vec<_>>().join(" ")).collect()
}

fn company_job() -> Job {
    let mut job = job(TargetObject::Object("company".into()), "Account", &["Id", "Name", "NumberOfEmployees"]);
    job.target.maps = vec![
        map("Id", "company.SfdcAccountId*"),
        map("Name", "company.Name"),
        map("NumberOfEmployees", "company.Employees"),
    ];
    job
}

fn companies(rows: &[&[&str]]) -> Table {
    table(
        vec![gs("Gsid", "GSID"), gs("SfdcAccountId", "SFDCID"), gs("Name", "STRING"), gs("Employees", "NUMBER")],
        rows,
    )
}

fn accounts(rows: &[&[&str]]) -> Table {
    table(
        vec![sf("Id", "id"), sf("Name", "string"), sf("NumberOfEmployees", "int"), sf("SystemModstamp", "datetime")],
        rows,
    )
}

#[tokio::test]
async fn a_company_is_inserted_updated_or_left() {
    let source = accounts(&[
        &["001bm00000NMK61AAH", "New", "1", "2026-01-01T00:00:00Z"],
        &["001bm00000NMK62AAH", "Renamed", "NULL", "2026-01-01T00:00:00Z"],
        &["001bm00000NMK67AAH", "Same", "7", "2026-01-01T00:00:00Z"],
        &["001bm00000NMK64AAH", "Twice there", "4", "2026-01-01T00:00:00Z"],
    ]);
    let mirror = companies(&[
        &["G2", "001bm00000NMK62AAH", "Old", "5"],
        &["G3", "001bm00000NMK67", "Same", "7"],
        &["G5", "001bm00000NMK64AAH", "a", "NULL"],
        &["G4", "001bm00000NMK64AAH", "b", "NULL"],
        &["G9", "NULL", "by hand", "NULL"],
    ]);
    let mirrors = [("company", &mirror)];
    let mut job = company_job();
    let first = plan(&job, &source, &mirrors, false);
    let got = verdicts(&first, &source, &mirrors).await;
    assert_eq!(
        column(&got, &["source_id", "verdict", "gsid", "changed", "clears", "code", "set.company.Name"]),
        [
            "001bm00000NMK61AAH insert NULL NULL false NULL New",
            "001bm00000NMK62AAH update G2 company.Name,company.Employees true NULL Renamed",
            "001bm00000NMK64AAH rejected NULL NULL false AMBIGUOUS_TARGET Twice there",
            "001bm00000NMK67AAH unchanged G3 NULL false NULL Same",
        ]
    );
    assert_eq!(text(&got[2], "candidates"), "G4, G5");
    assert_eq!(
        text(&got[2], "message"),
        "2 company records in Gainsight have SfdcAccountId '001bm00000NMK64AAH'; it is not clear which one is meant."
    );
    // nothing comes and goes in what the loader is promised
    for write in &first.writes {
        assert!(got[0].contains_key(&write.column), "{} is missing", write.column);
    }
    assert_eq!(first.writes[2].data_type, DataType::Int64);

    job.target.maps[2].on_null = OnNull::Keep;
    let got = verdicts(&plan(&job, &source, &mirrors, false), &source, &mirrors).await;
    assert_eq!(column(&got[1..2], &["verdict", "changed", "clears"]), ["update company.Name false"]);

    job.target.operation = Operation::Insert;
    let got = verdicts(&plan(&job, &source, &mirrors, false), &source, &mirrors).await;
    assert_eq!(column(&got, &["code"]), ["NULL", "ALREADY_EXISTS", "AMBIGUOUS_TARGET", "ALREADY_EXISTS"]);
    job.target.operation = Operation::Update;
    let got = verdicts(&plan(&job, &source, &mirrors, false), &source, &mirrors).await;
    assert_eq!(column(&got, &["code"]), ["NOT_FOUND", "NULL", "AMBIGUOUS_TARGET", "NULL"]);
}
