//! Sessions: the lake in SQL, limits, and what is said about names that don't exist.

use std::sync::Arc;

use datafusion::prelude::SessionContext;
use sf2gs::engine::Engine;
use sf2gs::engine::EngineSettings;
use sf2gs::error::Error;
use sf2gs::error::ErrorKind;
use sf2gs::land::Mode;
use sf2gs::land::SEQUENCE_COLUMN;

use crate::land::Shore;
use crate::land::account;
use crate::land::gone;
use crate::land::row;

async fn answer(session: &SessionContext, sql: &str) -> Result<String, Error> {
    let batches = session.sql(sql).await?.collect().await?;
    Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
}

async fn filled() -> (Shore, SessionContext) {
    let shore = Shore::folder().await;
    shore.land(Mode::Replace, 1, &[row("a", 1), row("b", 2)]).await.unwrap();
    shore.land(Mode::Merge, 2, &[row("c", 3), gone("a")]).await.unwrap();
    let session = shore.session();
    shore.engine.catalogs(&session).await.unwrap();
    (shore, session)
}

async fn the_lake_is_a_catalog_with_its_past() {
    let (shore, session) = filled().await;
    let now = answer(&session, r#"select * from lake.salesforce.account order by "Id""#).await.unwrap();
    let drawn = ["| Id | Some.Value |", "| b  | 2          |", "| c  | 3          |"];
    assert_eq!(now.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>(), drawn);
    let then = r#"select "Id" from lake_version('salesforce.account', 0) order by "Id""#;
    let then = answer(&session, then).await.unwrap();
    assert_eq!(then.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>(), ["| Id |", "| a  |", "| b  |"]);
    // what is landed later is seen by the same session
    shore.land(Mode::Merge, 3, &[row("d", 4)]).await.unwrap();
    let count = answer(&session, "select count(*) as n from LAKE.Salesforce.ACCOUNT").await.unwrap();
    assert!(count.contains("| 3 |"), "{count}");
    let tables = "select table_schema, table_name from information_schema.tables where table_catalog = 'lake' and table_schema != 'information_schema'";
    let tables = answer(&session, tables).await.unwrap();
    assert!(tables.contains("salesforce") && tables.contains("account"), "{tables}");
    assert!(answer(&session, &format!("select {SEQUENCE_COLUMN} from lake.salesforce.account")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lake_is_a_catalog_with_its_past_on_many_threads() {
    the_lake_is_a_catalog_with_its_past().await;
}

#[tokio::test]
async fn the_lake_is_a_catalog_with_its_past_on_one_thread() {
    the_lake_is_a_catalog_with_its_past().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_answered_with_the_nearest() {
    let (_shore, session) = filled().await;
    for (sql, hint) in [
        ("select * from lake.salesforce.acount", "did you mean `lake.salesforce.account`?"),
        ("select * from lake.salesforec.account", "did you mean `lake.salesforce.account`?"),
        ("select * from lake.gainsight.account", "did you mean `lake.salesforce.account`?"),
        ("select * from lake.salesforce.opportunity", "it has salesforce.account"),
        ("select * from lake_version('salesforce.acount', 0)", "did you mean `lake.salesforce.account`?"),
        ("select * from lake_version('salesforce.account', 9)", "its versions are 0 to 1"),
        ("select * from lake_version('salesforce.account')", "such as `lake_version('salesforce.account', 3)`"),
        ("select * from lake_version('account', 1)", "write it as `connection.table`"),
    ] {
        let error = answer(&session, sql).await.unwrap_err();
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Config, Some(hint)), "{sql}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_memory_is_told_with_who_holds_it() {
    let (shore, _) = filled().await;
    let settings = EngineSettings {
        memory_limit_bytes: 1 << 20,
        threads: Some(2),
        spill_dir: Some(std::env::temp_dir().join("sf2gs-spill-test")),
        spill_limit_bytes: 1 << 20,
    };
    let engine = Engine::new(&settings, &shore.lake).unwrap();
    assert_eq!(engine.threads(), 2);
    let sql = "select a.value, count(*) from generate_series(1, 2000000) a join generate_series(1, 2000000) b on a.value = b.value group by a.value";
    let error = answer(&engine.session(), sql).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.hint_text().unwrap().contains("memory_limit"), "{error:?}");
    assert!(error.message().contains("HashJoin"), "{error}");
    // sorting spills instead
    let settings = EngineSettings { memory_limit_bytes: 8 << 20, spill_limit_bytes: 1 << 30, ..settings };
    let session = Engine::new(&settings, &shore.lake).unwrap().session();
    let sorted = "select value from generate_series(1, 1000000) order by value desc";
    let batches = session.sql(sorted).await.unwrap().collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1_000_000);
}

/// What a table is now, and what is left of it when its changes are folded, where neither its base nor its changes fit.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_more_changes_than_memory_is_read_and_compacted() {
    let id = |number: i64| format!("a key that is long, as no Salesforce id is, so that fewer will do {number:06}");
    let shore = Shore::folder().await;
    let base: Vec<_> = (0..120_000).map(|number| row(&id(number), number)).collect();
    shore.land(Mode::Replace, 1, &base).await.unwrap();
    let changed = (0..70_000).map(|number| if number % 100 == 0 { gone(&id(number)) } else { row(&id(number), -1) });
    shore.land(Mode::Merge, 2, &changed.collect::<Vec<_>>()).await.unwrap();
    let spill = tempfile::tempdir().unwrap();
    let settings = EngineSettings {
        memory_limit_bytes: 16 << 20,
        threads: Some(2),
        spill_dir: Some(spill.path().to_owned()),
        spill_limit_bytes: 1 << 30,
    };
    let engine = Engine::new(&settings, &shore.lake).unwrap();
    let told = async |session: &SessionContext| {
        let table = shore.lake.snapshot(&account()).await.unwrap().unwrap().current().unwrap();
        session.register_table("t", table).unwrap();
        let sql = r#"select count(*), sum("Some.Value"), min("Id"), max("Id") from t"#;
        // gone, changed, and long as it was in the base: what a join looks for is asked of the files before the changes are
        let few = [100, 50, 75_000, 119_999].map(|number| format!("('{}')", id(number))).join(", ");
        let few = format!(r#"select "Id", "Some.Value" from t join (values {few}) v(id) on "Id" = v.id order by 1"#);
        let told = (answer(session, sql).await.unwrap(), answer(session, &few).await.unwrap());
        session.deregister_table("t").unwrap();
        told
    };
    for (sequence, from) in [(3, 60_000), (4, 90_000)] {
        let whole = told(&shore.session()).await;
        assert_eq!(told(&engine.session()).await, whole, "before {sequence}");
        let changed: Vec<_> = (from..from + 60_000).map(|number| row(&id(number), sequence)).collect();
        shore.land(Mode::Merge, sequence, &changed).await.unwrap();
    }
    let whole = told(&shore.session()).await;
    assert!(whole.0.contains("149400"), "150,000, of which 600 are gone: {}", whole.0);
    assert_eq!(told(&engine.session()).await, whole);
    shore.lake.fold_changes(&engine.session(), &account()).await.unwrap().expect("three become one");
    assert_eq!(told(&engine.session()).await, whole);
    shore.lake.compact_if_worth(&engine.session(), &account(), 0.2).await.unwrap().expect("more than a fifth");
    assert_eq!(told(&engine.session()).await, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_filters_into_files_changes_no_answer() {
    let (shore, session) = filled().await;
    let table = shore.lake.snapshot(&account()).await.unwrap().unwrap().current().unwrap();
    session.register_table("t", Arc::clone(&table)).unwrap();
    let sql = r#"select "Id" from t where "Some.Value" > 1 and "Id" <> 'c' order by 1"#;
    let pushed = answer(&session, sql).await.unwrap();
    for setting in ["execution.parquet.pushdown_filters", "optimizer.enable_dynamic_filter_pushdown"] {
        session.sql(&format!("set datafusion.{setting} = false")).await.unwrap();
        assert_eq!(answer(&session, sql).await.unwrap(), pushed, "{setting}");
    }
    session.sql("set datafusion.execution.parquet.schema_force_view_types = false").await.unwrap();
    assert_eq!(answer(&session, sql).await.unwrap(), pushed);
}
