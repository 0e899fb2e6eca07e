//! Verdicts of the out-of-the-box kinds of job on small tables, and how each reject reads.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use sf2gs::config::job::Job;
use sf2gs::config::job::OnMissing;
use sf2gs::config::job::OnMultiple;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::TargetObject;
use sf2gs::config::project::NewProject;
use sf2gs::config::project::Project;
use sf2gs::config::project::SecretPlace;
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
    let frame = plan.verdicts(&ctx).await.unwrap();
    let schema = frame.clone().create_physical_plan().await.unwrap().schema();
    for name in ["source_id", "verdict", "gsid", "changed", "code", "field", "message", "candidates", "unresolved"] {
        assert_eq!(schema.field_with_name(name).unwrap().data_type(), &DataType::Utf8, "{name}");
    }
    for name in ["clears", "retry"] {
        assert_eq!(schema.field_with_name(name).unwrap().data_type(), &DataType::Boolean, "{name}");
    }
    for write in &plan.writes {
        assert_eq!(schema.field_with_name(&write.column).unwrap().data_type(), &write.data_type, "{}", write.column);
    }
    rows(frame).await
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
    // the statement that people read gives the same in one piece
    let ctx = session(2);
    source.register(&ctx, "source");
    mirror.register(&ctx, "mirror_company");
    assert_eq!(rows(ctx.sql(&first.sql).await.unwrap()).await, got);
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

/// Parquet may come as views, or with dictionaries: the verdicts and their types are the same.
#[tokio::test]
async fn other_string_arrays_give_the_same_verdicts() {
    let as_kind = |table: &Table, kind: &DataType| {
        let fields = table.schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 => field.as_ref().clone().with_data_type(kind.clone()),
            _ => field.as_ref().clone(),
        });
        Table { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), rows: table.rows.clone() }
    };
    let source = accounts(&[
        &["001bm00000NMK61AAH", "New", "1", DAY1],
        &["001bm00000NMK62AAH", "Renamed", "2", DAY1],
        &["001bm00000NMK64AAH", "Twice there", "2", DAY1],
    ]);
    let mirror = companies(&[
        &["G2", "001bm00000NMK62", "Old", "2"],
        &["G4", "001bm00000NMK64AAH", "a", "NULL"],
        &["G5", "001bm00000NMK64AAH", "b", "NULL"],
    ]);
    let job = company_job();
    let mirrors = [("company", &mirror)];
    let compiled = plan(&job, &source, &mirrors, false);
    let plain = verdicts(&compiled, &source, &mirrors).await;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    for kind in [DataType::Utf8View, DataType::LargeUtf8, dictionary] {
        // the plan is made for text as the lake declares it; the session's tables may hold it in another form
        let (source, mirror) = (as_kind(&source, &kind), as_kind(&mirror, &kind));
        assert_eq!(verdicts(&compiled, &source, &[("company", &mirror)]).await, plain, "{kind}");
    }
}

fn user_job() -> Job {
    let mut job = job(TargetObject::User, "User", &["Id", "Username", "Email", "ManagerId"]);
    job.target.maps =
        vec![map("Username", "gsuser.SFDCUserName*"), map("Email", "gsuser.Email"), map("Id", "avatar.SfdcUserId")];
    job.target.derives =
        vec![derive("gsuser.Manager", "gsuser", &[("ManagerId", "SfdcUserId")], OnMultiple::Any, OnMissing::Null)];
    job
}

fn users(rows: &[&[&str]]) -> Table {
    let fields = vec![
        gs("Gsid", "GSID"),
        gs("SFDCUserName", "STRING"),
        gs("Email", "EMAIL"),
        gs("SfdcUserId", "SFDCID"),
        gs("Manager", "LOOKUP"),
    ];
    table(fields, rows)
}

fn sf_users(rows: &[&[&str]]) -> Table {
    let fields = vec![
        sf("Id", "id"),
        sf("Username", "string"),
        sf("Email", "email"),
        sf("ManagerId", "reference"),
        sf("SystemModstamp", "datetime"),
    ];
    table(fields, rows)
}

const DAY1: &str = "2026-01-01T00:00:00Z";
const DAY2: &str = "2026-01-02T00:00:00Z";

#[tokio::test]
async fn a_manager_may_come_later_and_nobody_is_their_own() {
    let source = sf_users(&[
        &["005000000000001AAA", "BOSS@x.org ", " boss@x.org ", "005000000000001AAA", DAY1],
        &["005000000000002AAA", "new.self@x.org", "n@x.org", "005000000000002AAA", DAY1],
        &["005000000000003AAA", "new@x.org", "n@x.org", "005000000000004AAA", DAY1],
        &["005000000000004AAA", "newboss@x.org", "n@x.org", "NULL", DAY1],
        &["005000000000005AAA", "old@x.org", "old@x.org", "005000000000001", DAY1],
        &["005000000000006AAA", "old@X.org", "old@x.org", "NULL", DAY2],
    ]);
    let mirror = users(&[
        &["U1", "boss@X.org", "boss@x.org", "005000000000001AAA", "U5"],
        &["U5", "OLD@x.org", "old@x.org", "005000000000005AAA", "U9"],
        &["U9", "gone@x.org", "gone@x.org", "005000000000009AAA", "NULL"],
    ]);
    let mirrors = [("gsuser", &mirror)];
    let mut job = user_job();
    let columns = ["source_id", "verdict", "gsid", "changed", "code", "retry", "unresolved", "set.gsuser.Manager"];
    let got = verdicts(&plan(&job, &source, &mirrors, false), &source, &mirrors).await;
    assert_eq!(
        column(&got, &columns),
        [
            // its own manager: none
            "005000000000001AAA update U1 gsuser.Manager NULL false NULL NULL",
            "005000000000002AAA insert NULL NULL NULL false NULL NULL",
            // comes with this very run
            "005000000000003AAA insert NULL NULL NULL false gsuser.Manager NULL",
            "005000000000004AAA insert NULL NULL NULL false NULL NULL",
            // older than the row of the same username
            "005000000000005AAA rejected U5 NULL DUPLICATE_IN_SOURCE false NULL U1",
            "005000000000006AAA update U5 avatar.SfdcUserId,gsuser.Manager NULL false NULL NULL",
        ]
    );
    assert_eq!(
        text(&got[4], "message"),
        "The row 005000000000006AAA is newer and has the same SFDCUserName 'old@x.org'; it was used and this row was not."
    );

    // a manager who must be there: one that comes with this run is waited for, any other is a reject
    job.target.derives[0].on_missing = OnMissing::Reject;
    let mut strict = source.clone();
    strict.rows.push(
        vec!["005000000000007AAA", "x@x.org", "x@x.org", "00500000000000zAAA", DAY1]
            .into_iter()
            .map(|cell| Some(cell.to_owned()))
            .collect(),
    );
    let got = verdicts(&plan(&job, &strict, &mirrors, false), &strict, &mirrors).await;
    assert_eq!(
        column(&got, &["verdict", "code", "retry", "unresolved"]),
        [
            "update NULL false NULL",
            "insert NULL false NULL",
            "insert NULL false gsuser.Manager",
            "rejected LOOKUP_NO_MATCH false NULL",
            "rejected DUPLICATE_IN_SOURCE false NULL",
            "rejected LOOKUP_NO_MATCH false NULL",
            "rejected LOOKUP_NO_MATCH true NULL",
        ]
    );
    assert_eq!(text(&got[5], "message"), "ManagerId is empty, so no user can be found for Manager.");
    assert_eq!(
        text(&got[6], "message"),
        "No user in Gainsight has SfdcUserId '00500000000000zAAA' (from ManagerId), so Manager cannot be filled."
    );

    // after the load, the second pass settles the row that waited
    let waiting = sf_users(&[&["005000000000003AAA", "new@x.org", "n@x.org", "005000000000004AAA", DAY1]]);
    let loaded = users(&[
        &["U13", "new@x.org", "n@x.org", "005000000000003AAA", "NULL"],
        &["U14", "newboss@x.org", "n@x.org", "005000000000004AAA", "NULL"],
    ]);
    let mirrors = [("gsuser", &loaded)];
    let second = plan(&job, &waiting, &mirrors, true);
    assert_eq!(second.writes.len(), 2);
    let got = verdicts(&second, &waiting, &mirrors).await;
    assert_eq!(column(&got, &columns), ["005000000000003AAA update U13 gsuser.Manager NULL false NULL U14"]);
    // the manager's own insert was refused: the row says so, and is tried again
    let loaded = users(&[&["U13", "new@x.org", "n@x.org", "005000000000003AAA", "NULL"]]);
    let mirrors = [("gsuser", &loaded)];
    let got = verdicts(&second, &waiting, &mirrors).await;
    assert_eq!(column(&got, &["verdict", "code", "retry"]), ["rejected LOOKUP_NO_MATCH true"]);
}

fn people_job() -> Job {
    let mut job =
        job(TargetObject::People, "Contact", &["Id", "FirstName", "Email", "Title", "AccountId", "ReportsToId"]);
    job.target.maps = vec![
        map("FirstName", "person.FirstName"),
        map("Email", "person.Email"),
        map("Title", "company_person.Title"),
        map("Id", "company_person.ExternalContactId"),
        map("AccountId", "company_person.ExternalAccountId"),
    ];
    job.target.derives = vec![
        derive(
            "company_person.Company_ID",
            "company",
            &[("AccountId", "SfdcAccountId")],
            OnMultiple::Error,
            OnMissing::Reject,
        ),
        derive(
            "company_person.Manager",
            "company_person",
            &[("ReportsToId", "ExternalContactId"), ("AccountId", "ExternalAccountId")],
            OnMultiple::Any,
            OnMissing::Null,
        ),
    ];
    job
}

fn contacts(rows: &[&[&str]]) -> Table {
    let fields = vec![
        sf("Id", "id"),
        sf("FirstName", "string"),
        sf("Email", "email"),
        sf("Title", "string"),
        sf("AccountId", "reference"),
        sf("ReportsToId", "reference"),
        sf("SystemModstamp", "datetime"),
    ];
    table(fields, rows)
}

fn persons(rows: &[&[&str]]) -> Table {
    table(vec![gs("Gsid", "GSID"), gs("Email", "EMAIL"), gs("FirstName", "STRING")], rows)
}

fn company_persons(rows: &[&[&str]]) -> Table {
    let fields = vec![
        gs("Gsid", "GSID"),
        gs("Person_ID", "LOOKUP"),
        gs("Company_ID", "LOOKUP"),
        gs("Title", "STRING"),
        gs("ExternalContactId", "STRING"),
        gs("ExternalAccountId", "STRING"),
        gs("Manager", "LOOKUP"),
    ];
    table(fields, rows)
}

#[tokio::test]
async fn a_contact_becomes_a_person_at_a_company() {
    let source = contacts(&[
        &["003A1", "Jane", "Jane@x.org", "CEO", "001A1", "NULL", DAY1],
        &["003A2", "Janet", "jane@X.org ", "CFO", "001A2", "NULL", DAY2],
        &["003A3", "Old Jane", "jane@x.org", "Old", "001A1", "NULL", "2025-01-01T00:00:00Z"],
        &["003A4", "No", "NULL", "NULL", "001A1", "NULL", DAY1],
        &["003A5", "No", "no@x.org", "NULL", "NULL", "NULL", DAY1],
        &["003A6", "No", "later@x.org", "NULL", "001A9", "NULL", DAY1],
        &["003A7", "Two", "two@x.org", "NULL", "001A3", "NULL", DAY1],
        &["003A8", "Twin", "twin@x.org", "NULL", "001A1", "NULL", DAY1],
        &["003A9", "New", "new@x.org", "NULL", "001A1", "003A1", DAY1],
    ]);
    let company = table(
        vec![gs("Gsid", "GSID"), gs("SfdcAccountId", "SFDCID")],
        &[&["C1", "001A1"], &["C2", "001A2"], &["C3", "001A3"], &["C4", "001A3"]],
    );
    let person =
        persons(&[&["P1", "jane@x.org", "Jane"], &["P2", "twin@x.org", "Twin"], &["P3", "TWIN@x.org", "Twin"]]);
    let company_person = company_persons(&[&["CP1", "P1", "C1", "CEO", "003A1", "001A1", "NULL"]]);
    let mirrors = [("company", &company), ("person", &person), ("company_person", &company_person)];
    let job = people_job();
    let plan = plan(&job, &source, &mirrors, false);
    let got = verdicts(&plan, &source, &mirrors).await;
    assert_eq!(
        column(
            &got,
            &[
                "source_id",
                "verdict",
                "gsid",
                "changed",
                "code",
                "retry",
                "person_gsid",
                "person_rows",
                "person_winner"
            ]
        ),
        [
            // Janet is newer: her name counts for the person, Jane's row is only about the company
            "003A1 unchanged CP1 NULL NULL false P1 2 false",
            "003A2 insert NULL NULL NULL false P1 2 true",
            "003A3 rejected CP1 NULL DUPLICATE_IN_SOURCE false P1 2 false",
            "003A4 rejected NULL NULL BLANK_IDENTIFIER false NULL 0 false",
            "003A5 rejected NULL NULL LOOKUP_NO_MATCH false NULL 0 false",
            "003A6 rejected NULL NULL LOOKUP_NO_MATCH true NULL 0 false",
            "003A7 rejected NULL NULL LOOKUP_MULTIPLE false NULL 0 false",
            "003A8 rejected NULL NULL AMBIGUOUS_TARGET false NULL 0 false",
            "003A9 insert NULL NULL NULL false NULL 1 true",
        ]
    );
    assert_eq!(text(&got[8], "set.company_person.Manager"), "CP1");
    assert_eq!(text(&got[0], "person_key"), "jane@x.org");
    assert_eq!(text(&got[1], "set.person.Email"), "jane@X.org");
    let messages = column(&got[2..8], &["message"]);
    assert_eq!(
        messages,
        [
            "The row 003A1 is newer and has the same Email 'jane@x.org' at the same company; it was used and this row was not.",
            "Email is empty, but by it the person is found in Gainsight.",
            "AccountId is empty, so no company can be found for Company_ID.",
            "No company in Gainsight has SfdcAccountId '001A9' (from AccountId), so Company_ID cannot be filled.",
            "2 company records in Gainsight have SfdcAccountId '001A3' (from AccountId), and Company_ID takes only one.",
            "2 person records in Gainsight have Email 'twin@x.org'; it is not clear which one is meant.",
        ]
    );
}

/// `sql/matching/<job>.sql` shows what `sf2gs plan` prints of each shipped job, for people to review.
#[test]
fn the_statements_in_sql_are_those_of_the_shipped_jobs() {
    let folder = tempfile::tempdir().unwrap();
    NewProject {
        salesforce_domain: None,
        salesforce_client_id: None,
        gainsight_url: None,
        secrets: SecretPlace::Env,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    }
    .write(folder.path())
    .unwrap();
    let jobs = Project::load(folder.path()).unwrap().jobs;
    let key = ["Email".to_owned()];
    for job in jobs.values() {
        let mut fields: Vec<_> = job.source.fields.iter().map(|name| sf(name, sf_type(name))).collect();
        fields.push(sf("SystemModstamp", "datetime"));
        let source: SchemaRef = Arc::new(Schema::new(fields));
        let mirrors = matching::objects(job, &key).into_iter().map(|(object, fields)| {
            let fields: Vec<_> = fields.iter().map(|name| gs(name, gs_type(name))).collect();
            (object, Arc::new(Schema::new(fields)))
        });
        let mirrors = mirrors.collect();
        let inputs = MatchInputs { job, source: &source, mirrors: &mirrors, person_key: &key };
        let said = matching::compile(&inputs).unwrap().sql;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sql/matching/{}.sql", job.name));
        if std::env::var_os("SF2GS_BLESS").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == said, "{} is not what the job compiles to; SF2GS_BLESS=1 writes it anew", path.display());
    }
}

fn sf_type(name: &str) -> &'static str {
    match name {
        "Id" => "id",
        "AccountId" | "ManagerId" | "ReportsToId" => "reference",
        "NumberOfEmployees" => "int",
        _ => "string",
    }
}

fn gs_type(name: &str) -> &'static str {
    match name {
        "Gsid" => "GSID",
        "Email" => "EMAIL",
        "Employees" => "NUMBER",
        "Manager" | "Person_ID" | "Company_ID" => "LOOKUP",
        "SfdcAccountId" | "SfdcUserId" => "SFDCID",
        _ => "STRING",
    }
}
