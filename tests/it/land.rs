//! The lake: what is committed is read back, at every version, on a folder and in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Date32Array;
use arrow::array::Decimal128Array;
use arrow::array::Float64Array;
use arrow::array::Int32Array;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use chrono::TimeDelta;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use sf2gs::clock::Clock;
use sf2gs::engine::Engine;
use sf2gs::engine::EngineSettings;
use sf2gs::error::ErrorKind;
use sf2gs::error::Result;
use sf2gs::land::Commit;
use sf2gs::land::DELETED_COLUMN;
use sf2gs::land::Lake;
use sf2gs::land::Mode;
use sf2gs::land::Snapshot;
use sf2gs::land::TableName;

use crate::support::flaky::Flaky;

/// A lake and what keeps it alive.
pub(crate) struct Shore {
    pub(crate) lake: Lake,
    pub(crate) engine: Engine,
    folder: Option<tempfile::TempDir>,
}

impl Shore {
    /// A lake in a folder.
    pub(crate) async fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open(".sf2gs/lake", folder.path(), &BTreeMap::new()).await.unwrap();
        Self::with(lake, Some(folder))
    }

    /// A lake in memory.
    pub(crate) fn memory() -> Self {
        Self::with(Lake::on("memory:///some/lake", Arc::new(InMemory::new())).unwrap(), None)
    }

    fn with(lake: Lake, folder: Option<tempfile::TempDir>) -> Self {
        let settings = EngineSettings { threads: Some(2), ..EngineSettings::default() };
        let engine = Engine::new(&settings, &lake).unwrap();
        Self { lake, engine, folder }
    }

    pub(crate) async fn land(&self, mode: Mode, sequence: i64, rows: &[Row]) -> Result<Snapshot> {
        self.land_as(mode, sequence, rows, None).await
    }

    async fn land_as(&self, mode: Mode, sequence: i64, rows: &[Row], run: Option<(String, i64)>) -> Result<Snapshot> {
        let table = account();
        let mut writer = self.lake.writer(&table, schema(), sequence)?;
        for rows in rows.chunks(3.max(rows.len() / 50)) {
            let (batch, deleted) = batch(rows);
            writer.write(&batch, Some(&deleted)).await?;
        }
        let written = writer.finish().await?;
        let commit = Commit {
            table,
            schema: schema(),
            key: Some("Id".to_owned()),
            mode,
            written: vec![written],
            application: run,
            info: BTreeMap::from([("run".to_owned(), sequence.to_string())]),
        };
        let snapshot = self.lake.commit(commit).await?;
        as_the_log_says(&self.lake, &snapshot).await;
        Ok(snapshot)
    }

    pub(crate) fn session(&self) -> SessionContext {
        self.engine.session()
    }

    pub(crate) async fn rows(&self, table: Arc<dyn TableProvider>) -> RecordBatch {
        let schema = table.schema();
        let batches = self.session().read_table(table).unwrap().collect().await.unwrap();
        for batch in &batches {
            assert_eq!(batch.schema().fields(), schema.fields());
        }
        concat_batches(&schema, &batches).unwrap()
    }

    async fn sql(&self, snapshot: &Snapshot, sql: &str) -> String {
        let session = self.session();
        session.register_table("t", snapshot.current().unwrap()).unwrap();
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    }

    pub(crate) async fn model(&self, snapshot: &Snapshot) -> BTreeMap<String, Option<i64>> {
        let rows = self.rows(snapshot.current().unwrap()).await;
        let ids = rows.column_by_name("Id").unwrap().as_string::<i32>();
        let values = rows.column_by_name("Some.Value").unwrap().as_primitive::<Int64Type>();
        let model: BTreeMap<_, _> = ids.iter().zip(values.iter()).map(|(id, n)| (id.unwrap().to_owned(), n)).collect();
        assert_eq!(model.len(), rows.num_rows(), "a key occurs twice");
        model
    }
}

/// What a commit gives back is what another process finds in the log.
async fn as_the_log_says(lake: &Lake, snapshot: &Snapshot) {
    let (url, store) = lake.store();
    let other = Lake::on(url.as_str(), store).unwrap();
    let read = other.snapshot_at(snapshot.table(), snapshot.version()).await.unwrap();
    let told = |snapshot: &Snapshot| {
        let current = snapshot.current().unwrap().schema();
        let log = snapshot.log().unwrap();
        let files = (snapshot.file_uris().unwrap(), snapshot.bytes(), snapshot.physical_rows(), snapshot.change_rows());
        let of_rows = (snapshot.rows(), snapshot.last_sequence(), snapshot.key().map(str::to_owned));
        (snapshot.version(), Arc::clone(snapshot.schema()), current, log.schema(), files, of_rows)
    };
    assert_eq!(told(snapshot), told(&read));
}

/// Key, value, deleted.
pub(crate) type Row = (String, Option<i64>, bool);

pub(crate) fn row(id: &str, value: i64) -> Row {
    (id.to_owned(), Some(value), false)
}

pub(crate) fn gone(id: &str) -> Row {
    (id.to_owned(), None, true)
}

pub(crate) fn account() -> TableName {
    TableName::new("salesforce", "Account").unwrap()
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("Id", DataType::Utf8, false)
            .with_metadata([("sf.label".to_owned(), "Account ID".to_owned())].into()),
        Field::new("Some.Value", DataType::Int64, true),
    ]))
}

pub(crate) fn batch(rows: &[Row]) -> (RecordBatch, BooleanArray) {
    let ids: StringArray = rows.iter().map(|(id, ..)| Some(id)).collect();
    let values: Int64Array = rows.iter().map(|(_, value, _)| *value).collect();
    let deleted: BooleanArray = rows.iter().map(|(.., deleted)| Some(*deleted)).collect();
    (RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(values)]).unwrap(), deleted)
}

fn model<const N: usize>(rows: [(&str, i64); N]) -> BTreeMap<String, Option<i64>> {
    rows.into_iter().map(|(id, value)| (id.to_owned(), Some(value))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_read_and_changes_make_the_state_now_on_both_stores() {
    for shore in [Shore::folder().await, Shore::memory()] {
        assert!(shore.lake.snapshot(&account()).await.unwrap().is_none());
        let first = shore.land(Mode::Replace, 10, &[row("a", 1), row("b", 2), row("c", 3), row("d", 4)]).await.unwrap();
        assert_eq!((first.version(), first.rows()), (0, Some(4)));
        assert_eq!(first.schema().field(0).metadata()["sf.label"], "Account ID");
        let second = shore.land(Mode::Merge, 11, &[row("b", 20), gone("c"), row("e", 5)]).await.unwrap();
        assert_eq!(shore.model(&second).await, model([("a", 1), ("b", 20), ("d", 4), ("e", 5)]));
        let third = shore.land(Mode::Merge, 12, &[row("b", 21), row("c", 30), gone("e"), gone("x")]).await.unwrap();
        assert_eq!(shore.model(&third).await, model([("a", 1), ("b", 21), ("c", 30), ("d", 4)]));

        // each version is there still
        assert_eq!(shore.model(&first).await.len(), 4);
        let again = shore.lake.snapshot_at(&account(), 1).await.unwrap();
        assert_eq!(shore.model(&again).await, shore.model(&second).await);
        assert!(shore.lake.snapshot_at(&account(), 3).await.unwrap_err().hint_text().unwrap().contains("0 to 2"));
        assert_eq!(shore.lake.tables().await.unwrap(), [account()]);

        // the rows of one commit, with its deletions
        let written = shore.rows(third.written_at(12).unwrap()).await;
        assert_eq!(written.num_rows(), 4);
        assert_eq!(written.column_by_name(DELETED_COLUMN).unwrap().as_boolean().true_count(), 2);
        assert_eq!(shore.rows(third.log().unwrap()).await.num_rows(), 11);

        // a full read takes the place of all
        let fourth = shore.land(Mode::Replace, 13, &[row("z", 9), gone("y")]).await.unwrap();
        assert_eq!(shore.model(&fourth).await, model([("z", 9)]));
        assert_eq!(fourth.file_uris().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_run_lands_once() {
    for shore in [Shore::folder().await, Shore::memory()] {
        let run = |n| Some(("account".to_owned(), n));
        shore.land_as(Mode::Replace, 1, &[row("a", 1)], run(1)).await.unwrap();
        let landed = shore.land_as(Mode::Merge, 2, &[row("b", 2)], run(2)).await.unwrap();
        let again = shore.land_as(Mode::Merge, 2, &[row("b", 2)], run(2)).await.unwrap();
        assert_eq!((again.version(), again.physical_rows()), (landed.version(), 2));
        // an older run that wakes up late adds nothing either
        let late = shore.land_as(Mode::Merge, 3, &[row("c", 3)], run(1)).await.unwrap();
        assert_eq!(late.version(), landed.version());
        assert_eq!(shore.lake.application_version(&account(), "account").await.unwrap(), Some(2));
        assert_eq!(shore.lake.application_version(&account(), "other").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_race_and_neither_is_lost() {
    for shore in [Shore::folder().await, Shore::memory()] {
        // even the table's making is raced
        let made = futures::future::join_all((1..=4).map(|n| {
            let shore = &shore;
            async move { shore.land(Mode::Replace, n, &[row("base", n)]).await.map(|_| n) }
        }))
        .await;
        let newest = made.iter().flatten().max().copied().unwrap();
        assert_eq!(newest, 4, "the newest full read always wins");
        for lost in made.into_iter().filter_map(Result::err) {
            assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost}");
        }
        let outcomes = futures::future::join_all((10..20).map(|n| {
            let shore = &shore;
            async move { shore.land(Mode::Merge, n, &[row("base", n), row(&format!("own {n}"), n)]).await }
        }))
        .await;
        assert!(outcomes.iter().all(Result::is_ok));
        let snapshot = shore.lake.snapshot(&account()).await.unwrap().unwrap();
        let state = shore.model(&snapshot).await;
        assert_eq!((state.len(), state["base"]), (11, Some(19)));
        // a full read that began before the last changes leaves those on top
        let snapshot = shore.land(Mode::Replace, 15_000, &[row("base", 0)]).await.unwrap();
        assert_eq!(shore.model(&snapshot).await, model([("base", 0)]));
        let late = shore.land(Mode::Merge, 14_000, &[row("base", 1)]).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict);
        shore.land(Mode::Merge, 15_005, &[row("new", 5)]).await.unwrap();
        let snapshot = shore.land(Mode::Replace, 15_003, &[row("base", 3)]).await.unwrap();
        assert_eq!(shore.model(&snapshot).await, model([("base", 3), ("new", 5)]));
        let same = shore.land(Mode::Merge, 15_005, &[row("new", 6)]).await.unwrap_err();
        assert_eq!(same.kind(), ErrorKind::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_found_again() {
    let flaky = Arc::new(Flaky::default());
    let store: Arc<dyn ObjectStore> = Arc::clone(&flaky) as _;
    let shore = Shore::with(Lake::on("memory:///lake", store).unwrap(), None);
    shore.land(Mode::Replace, 1, &[row("a", 1)]).await.unwrap();
    flaky.lose_answers(1);
    let snapshot = shore.land(Mode::Merge, 2, &[row("b", 2)]).await.unwrap();
    assert_eq!((snapshot.version(), shore.model(&snapshot).await), (1, model([("a", 1), ("b", 2)])));
    assert_eq!(flaky.lost(), 1);
    // an entry that wasn't made is an error, and the next attempt lands
    flaky.refuse(1);
    let error = shore.land(Mode::Merge, 3, &[row("c", 3)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let snapshot = shore.land(Mode::Merge, 3, &[row("c", 3)]).await.unwrap();
    assert_eq!((snapshot.version(), shore.model(&snapshot).await.len()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_invisible_and_swept_up() {
    for shore in [Shore::folder().await, Shore::memory()] {
        let clock = Clock::system();
        let lake = shore.lake.clone().with_clock(clock.clone());
        shore.land(Mode::Replace, 1, &[row("a", 1), row("b", 2)]).await.unwrap();
        // written, never committed
        let mut writer = lake.writer(&account(), schema(), 2).unwrap();
        writer.write(&batch(&[row("c", 3)]).0, None).await.unwrap();
        let written = writer.finish().await.unwrap();
        assert_eq!((written.rows(), written.files()), (1, 1));
        // dropped in the middle
        let mut writer = lake.writer(&account(), schema(), 2).unwrap();
        writer.write(&batch(&[row("d", 3)]).0, None).await.unwrap();
        drop(writer);
        if let Some(folder) = &shore.folder {
            // what a killed process leaves of an upload
            std::fs::write(folder.path().join(".sf2gs/lake/salesforce/account/part-2-x.parquet#1"), "PAR1").unwrap();
        }
        let snapshot = shore.land(Mode::Replace, 3, &[row("z", 9)]).await.unwrap();
        assert_eq!(shore.model(&snapshot).await, model([("z", 9)]));

        let week = TimeDelta::days(7);
        assert_eq!(lake.vacuum(&account(), week).await.unwrap().files, 0, "all is younger than a week");
        clock.advance(TimeDelta::days(8));
        let swept = lake.vacuum(&account(), week).await.unwrap();
        assert_eq!(swept.files, 2 + usize::from(shore.folder.is_some()), "the orphan, the replaced base, the part");
        let snapshot = lake.snapshot(&account()).await.unwrap().unwrap();
        assert_eq!(shore.model(&snapshot).await, model([("z", 9)]));
        assert_eq!(lake.vacuum(&account(), week).await.unwrap().files, 0);
        let taken = lake.snapshot_at(&account(), 0).await.unwrap_err();
        assert!(taken.message().contains("no longer kept"), "{taken}");
        lake.drop_table(&account()).await.unwrap();
        assert!(lake.snapshot(&account()).await.unwrap().is_none());
        assert!(lake.tables().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_see_each_others_commits_and_that_a_table_is_gone() {
    let one = Shore::folder().await;
    let folder = one.folder.as_ref().unwrap().path();
    let other = Shore::with(Lake::open(".sf2gs/lake", folder, &BTreeMap::new()).await.unwrap(), None);
    one.land(Mode::Replace, 1, &[row("a", 1)]).await.unwrap();
    other.land(Mode::Merge, 2, &[row("b", 2)]).await.unwrap();
    one.land(Mode::Merge, 3, &[row("c", 3), gone("a")]).await.unwrap();
    let snapshot = other.land(Mode::Merge, 4, &[row("b", 4)]).await.unwrap();
    assert_eq!((snapshot.version(), other.model(&snapshot).await), (3, model([("b", 4), ("c", 3)])));
    let seen = one.lake.snapshot(&account()).await.unwrap().unwrap();
    assert_eq!((seen.version(), one.model(&seen).await), (3, model([("b", 4), ("c", 3)])));
    // What a third reads ahead is no longer the newest when it is needed.
    let third = Shore::with(Lake::open(".sf2gs/lake", folder, &BTreeMap::new()).await.unwrap(), None);
    let missing = TableName::new("salesforce", "missing").unwrap();
    third.lake.look_ahead([account(), missing.clone()]).join_all().await;
    one.land(Mode::Merge, 5, &[row("c", 5)]).await.unwrap();
    let seen = third.lake.snapshot(&account()).await.unwrap().unwrap();
    assert_eq!((seen.version(), third.model(&seen).await), (4, model([("b", 4), ("c", 5)])));
    assert!(third.lake.snapshot(&missing).await.unwrap().is_none());
    other.lake.drop_table(&account()).await.unwrap();
    assert!(one.lake.snapshot(&account()).await.unwrap().is_none());
    let anew = one.land(Mode::Replace, 6, &[row("d", 6)]).await.unwrap();
    assert_eq!((anew.version(), one.model(&anew).await), (0, model([("d", 6)])));
    third.lake.look_ahead([account()]).join_all().await;
    let seen = third.lake.snapshot(&account()).await.unwrap().unwrap();
    assert_eq!((seen.version(), third.model(&seen).await), (0, model([("d", 6)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_added_and_never_silently_lost_or_changed() {
    let shore = Shore::memory();
    let wide: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("Id", DataType::Utf8, false),
        Field::new("Some.Value", DataType::Int64, true),
        Field::new("Added", DataType::Utf8View, false),
    ]));
    let land = async |schema: &SchemaRef, mode, sequence, columns: Vec<ArrayRef>| {
        let mut writer = shore.lake.writer(&account(), Arc::clone(schema), sequence).unwrap();
        writer.write(&RecordBatch::try_new(Arc::clone(schema), columns).unwrap(), None).await.unwrap();
        let written = vec![writer.finish().await.unwrap()];
        let (key, info) = (Some("Id".to_owned()), BTreeMap::new());
        let schema = Arc::clone(schema);
        let commit = Commit { table: account(), schema, key, mode, written, application: None, info };
        let landed = shore.lake.commit(commit).await;
        if let Ok(snapshot) = &landed {
            as_the_log_says(&shore.lake, snapshot).await;
        }
        landed
    };
    shore.land(Mode::Replace, 1, &[row("a", 1), row("b", 2)]).await.unwrap();
    let ids = |ids: &[&str]| -> ArrayRef { Arc::new(StringArray::from(ids.to_vec())) };
    let values = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let added = |text: &str| -> ArrayRef { Arc::new(arrow::array::StringViewArray::from(vec![text])) };
    let snapshot = land(&wide, Mode::Merge, 2, vec![ids(&["b"]), values(&[20]), added("new")]).await.unwrap();
    let state = shore.sql(&snapshot, r#"select "Id", "Some.Value" as v, "Added" from t order by "Id""#).await;
    insta::assert_snapshot!(state, @r"
    +----+----+-------+
    | Id | v  | Added |
    +----+----+-------+
    | a  | 1  |       |
    | b  | 20 | new   |
    +----+----+-------+
    ");
    // the version before knows nothing of it
    assert_eq!(shore.lake.snapshot_at(&account(), 0).await.unwrap().schema().fields().len(), 2);

    let lacking = shore.land(Mode::Merge, 3, &[row("c", 3)]).await.unwrap_err();
    assert!(lacking.message().contains("`Added`"), "{lacking}");
    let narrow: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("Id", DataType::Utf8, false),
        Field::new("Some.Value", DataType::Int32, true),
        Field::new("Added", DataType::Utf8, true),
    ]));
    let changed: Vec<ArrayRef> = vec![ids(&["c"]), Arc::new(Int32Array::from(vec![3])), ids(&["x"])];
    let error = land(&narrow, Mode::Merge, 3, changed.clone()).await.unwrap_err();
    assert!(error.message().contains("from Int64 to Int32") && error.hint_text().unwrap().contains("--full"));
    // a full read may change what it likes
    let snapshot = land(&narrow, Mode::Replace, 3, changed).await.unwrap();
    assert_eq!(*snapshot.schema().field(1).data_type(), DataType::Int32);
    // a row without its key is refused
    let nulls: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec![None::<&str>])), Arc::new(Int32Array::from(vec![3])), ids(&["x"])];
    let nullable: SchemaRef = Arc::new(Schema::new(
        narrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ));
    assert_eq!(land(&nullable, Mode::Merge, 4, nulls).await.unwrap_err().kind(), ErrorKind::Integrity);
}

/// A row of small values, one of large ones, one of nulls.
fn all_types() -> RecordBatch {
    let utc = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("int", DataType::Int32, true),
        Field::new("long", DataType::Int64, true),
        Field::new("double", DataType::Float64, true),
        Field::new("money", DataType::Decimal128(18, 2), true),
        Field::new("huge", DataType::Decimal128(38, 0), true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", utc, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some(""), Some("line\r\nbreak, \"quote\" \u{1F600}"), None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        Arc::new(Float64Array::from(vec![Some(f64::MIN_POSITIVE), Some(-0.0), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(-1), Some(999_999_999_999_999_999), None])
                .with_precision_and_scale(18, 2)
                .unwrap(),
        ),
        Arc::new(
            Decimal128Array::from(vec![Some(10_i128.pow(38) - 1), Some(1 - 10_i128.pow(38)), None])
                .with_precision_and_scale(38, 0)
                .unwrap(),
        ),
        Arc::new(Date32Array::from(vec![Some(-719_162), Some(2_932_896), None])),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(-1), Some(253_402_300_799_999_999), None]).with_timezone("UTC"),
        ),
    ];
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_survives_with_its_nulls_and_limits() {
    let given = all_types();
    let schema = given.schema();
    for shore in [Shore::folder().await, Shore::memory()] {
        let table = TableName::new("activity", "types").unwrap();
        let mut writer = shore.lake.writer(&table, Arc::clone(&schema), 1).unwrap();
        writer.write(&given, None).await.unwrap();
        let written = vec![writer.finish().await.unwrap()];
        let commit = Commit {
            table: table.clone(),
            schema: Arc::clone(&schema),
            key: None,
            mode: Mode::Append,
            written,
            application: None,
            info: BTreeMap::new(),
        };
        let snapshot = shore.lake.commit(commit.clone()).await.unwrap();
        assert_eq!(shore.rows(snapshot.current().unwrap()).await, given);
        // who writes anew replaces what it has written, and no one else's rows
        for (sequence, mode, rows) in
            [(2, Mode::Append, 6), (2, Mode::Anew, 6), (2, Mode::Append, 9), (2, Mode::Anew, 6)]
        {
            let mut writer = shore.lake.writer(&table, Arc::clone(&schema), sequence).unwrap();
            writer.write(&given, None).await.unwrap();
            let written = vec![writer.finish().await.unwrap()];
            let after = shore.lake.commit(Commit { written, mode, ..commit.clone() }).await.unwrap();
            assert_eq!(after.rows(), Some(rows), "{mode:?}");
        }
        let nothing = vec![shore.lake.writer(&table, Arc::clone(&schema), 2).unwrap().finish().await.unwrap()];
        let after = shore.lake.commit(Commit { written: nothing, mode: Mode::Anew, ..commit.clone() }).await.unwrap();
        assert_eq!(shore.rows(after.current().unwrap()).await, given);
        // an empty commit keeps the table; nothing is added
        let empty = shore.lake.commit(Commit { written: vec![], ..commit.clone() }).await.unwrap();
        assert_eq!((empty.version(), empty.rows()), (6, Some(3)));
        // an empty table has its columns
        let name = TableName::new("activity", "empty").unwrap();
        let writer = shore.lake.writer(&name, Arc::clone(&schema), 1).unwrap();
        let written = writer.finish().await.unwrap();
        assert_eq!((written.files(), written.rows()), (0, 0));
        let empty = shore
            .lake
            .commit(Commit { table: name, written: vec![written], mode: Mode::Replace, ..commit })
            .await
            .unwrap();
        let rows = shore.rows(empty.current().unwrap()).await;
        assert_eq!((rows.num_rows(), rows.schema()), (0, Arc::clone(&schema)));
        assert!(shore.sql(&empty, "select count(*) as n from t").await.contains("| 0 |"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_base_and_changes_are_right_and_reach_the_files() {
    let shore = Shore::folder().await;
    let base: Vec<Row> = (0..1_000).map(|n| row(&format!("{n:04}"), n)).collect();
    let plain = shore.land(Mode::Replace, 1, &base).await.unwrap();
    let count = shore.sql(&plain, "explain select count(*) from t").await;
    assert!(!count.contains("DataSourceExec"), "the log knows the count:\n{count}");

    shore.land(Mode::Merge, 2, &[row("0007", -7), gone("0008"), row("new", 1)]).await.unwrap();
    let changed = shore.land(Mode::Merge, 3, &[row("0009", -9), row("0007", -70)]).await.unwrap();
    for (sql, answer) in [
        ("select count(*) as n from t", "1000"),
        (r#"select count(*) as n from t where "Some.Value" < 0"#, "2"),
        (r#"select "Some.Value" as n from t where "Id" = '0007'"#, "-70"),
        (r#"select count(*) as n from t where "Id" = '0008'"#, "0"),
        (r#"select sum("Some.Value") as n from t where "Id" in ('0009', '0010', 'new')"#, "2"),
        (r#"select count(*) as n from (select "Id" from t limit 17)"#, "17"),
        (r#"select count(distinct "Id") as n from t"#, "1000"),
    ] {
        let said = shore.sql(&changed, sql).await;
        assert!(said.contains(&format!("| {answer:<4} |")) || said.contains(&format!("| {answer} |")), "{sql}\n{said}");
    }
    let plan = shore.sql(&changed, r#"explain select "Id" from t where "Some.Value" = 5"#).await;
    assert!(plan.contains("RightAnti"), "the base streams past the changed keys:\n{plan}");
    assert!(plan.matches("predicate=Some.Value").count() >= 2, "filters reach both sides:\n{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_the_rows_and_the_history() {
    for shore in [Shore::folder().await, Shore::memory()] {
        let base: Vec<Row> = (0..20).map(|n| row(&format!("{n}"), n)).collect();
        shore.land(Mode::Replace, 1, &base).await.unwrap();
        let second = shore.land(Mode::Merge, 2, &[row("3", 33), gone("4")]).await.unwrap();
        assert!(shore.lake.compact_if_worth(&shore.session(), &account(), 0.2).await.unwrap().is_none());
        let third = shore.land(Mode::Merge, 3, &[row("5", 55), row("3", 333), row("new", 0)]).await.unwrap();
        let before = shore.model(&third).await;
        let compacted = shore.lake.compact_if_worth(&shore.session(), &account(), 0.2).await.unwrap().unwrap();
        assert_eq!((compacted.rows(), compacted.change_rows()), (Some(20), 0));
        assert_eq!(shore.model(&compacted).await, before);
        assert_eq!(shore.rows(compacted.written_at(3).unwrap()).await.num_rows(), 3);
        assert_eq!(
            shore.model(&shore.lake.snapshot_at(&account(), second.version()).await.unwrap()).await["3"],
            Some(33)
        );
        assert!(shore.lake.compact_if_worth(&shore.session(), &account(), 0.0).await.unwrap().is_none());
        // what comes after goes on top; what comes too late is told so
        let after = shore.land(Mode::Merge, 4, &[gone("5")]).await.unwrap();
        assert_eq!(shore.model(&after).await.len(), 19);
        assert_eq!(shore.land(Mode::Merge, 3, &[row("5", 1)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_changes_become_one() {
    for shore in [Shore::folder().await, Shore::memory()] {
        let base: Vec<Row> = (0..1_000).map(|n| row(&format!("{n}"), n)).collect();
        let mut before = shore.land(Mode::Replace, 1, &base).await.unwrap();
        for n in 2..=14 {
            assert!(shore.lake.compact_if_worth(&shore.session(), &account(), 0.2).await.unwrap().is_none(), "{n}");
            let changes = [row("a", n), row(&format!("{n}"), -n), gone(&format!("{}", 100 + n))];
            before = shore.land(Mode::Merge, n, &changes).await.unwrap();
        }
        assert_eq!((before.file_uris().unwrap().len(), before.change_rows()), (14, 39));
        let folded = shore.lake.compact_if_worth(&shore.session(), &account(), 0.2).await.unwrap().unwrap();
        as_the_log_says(&shore.lake, &folded).await;
        assert_eq!((folded.file_uris().unwrap().len(), folded.change_rows()), (2, 27));
        assert_eq!(shore.model(&folded).await, shore.model(&before).await);
        assert_eq!(shore.rows(folded.written_at(14).unwrap()).await.num_rows(), 3);
        assert_eq!(shore.model(&shore.lake.snapshot_at(&account(), 3).await.unwrap()).await["a"], Some(4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_that_became_one_a_whole_read_overtakes_the_older() {
    let shore = Shore::folder().await;
    shore.land(Mode::Replace, 10, &[row("a", 10), row("b", 10), row("c", 10)]).await.unwrap();
    shore.land(Mode::Merge, 20, &[row("a", 20), gone("b"), row("d", 20)]).await.unwrap();
    shore.land(Mode::Merge, 40, &[row("c", 40)]).await.unwrap();
    shore.lake.fold_changes(&shore.session(), &account()).await.unwrap().unwrap();
    let now = shore.land(Mode::Replace, 30, &[row("a", 30), row("b", 30), row("c", 30)]).await.unwrap();
    assert_eq!(shore.model(&now).await, model([("a", 30), ("b", 30), ("c", 40)]));
    let now = shore.land(Mode::Merge, 50, &[row("b", 50), row("e", 50)]).await.unwrap();
    assert_eq!(shore.model(&now).await, model([("a", 30), ("b", 50), ("c", 40), ("e", 50)]));
    let folded = shore.lake.fold_changes(&shore.session(), &account()).await.unwrap().unwrap();
    assert_eq!(shore.model(&folded).await, shore.model(&now).await);
    assert_eq!(folded.change_rows(), 3, "what is overtaken is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_folded_into_checkpoints() {
    let shore = Shore::folder().await;
    shore.land(Mode::Replace, 1, &[row("a", 0)]).await.unwrap();
    for n in 2..=45 {
        shore.land_as(Mode::Merge, n, &[row("a", n), row(&format!("k{n}"), n)], Some(("job".into(), n))).await.unwrap();
    }
    let log = shore.folder.as_ref().unwrap().path().join(".sf2gs/lake/salesforce/account/_delta_log");
    let checkpoints = std::fs::read_dir(log)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".checkpoint.parquet"));
    assert_eq!(checkpoints.count(), 2);
    // read from the checkpoint: tags, transactions and rows are all there
    let snapshot = shore.lake.snapshot(&account()).await.unwrap().unwrap();
    assert_eq!((snapshot.version(), snapshot.last_sequence()), (44, Some(45)));
    let state = shore.model(&snapshot).await;
    assert_eq!((state.len(), state["a"], state["k2"]), (45, Some(45), Some(2)));
    assert_eq!(shore.lake.application_version(&account(), "job").await.unwrap(), Some(45));
    assert_eq!(shore.model(&shore.lake.snapshot_at(&account(), 30).await.unwrap()).await.len(), 31);
}

/// Writes `$SF2GS_PEERS_OUT/lake` and what we read from it as `connection.table.csv`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/peers/run calls it: other programs read what it writes"]
async fn a_lake_for_peers() {
    let out = std::path::PathBuf::from(std::env::var_os("SF2GS_PEERS_OUT").expect("called by tests/peers/run"));
    let lake = Lake::open("lake", &out, &BTreeMap::new()).await.unwrap();
    let shore = Shore::with(lake, None);
    let base: Vec<Row> = (0..5_000).map(|n| row(&format!("{n:05}"), n)).collect();
    shore.land(Mode::Replace, 1, &base).await.unwrap();
    for n in 2..=50 {
        shore
            .land(Mode::Merge, n, &[row(&format!("{:05}", n * 7), -n), gone(&format!("{:05}", n * 7 - 14))])
            .await
            .unwrap();
        if n == 30 {
            shore.lake.compact_if_worth(&shore.session(), &account(), 0.0).await.unwrap().unwrap();
        }
    }
    let given = all_types();
    for (name, rows, mode) in [("types", 3, Mode::Append), ("empty", 0, Mode::Replace)] {
        let table = TableName::new("activity", name).unwrap();
        for sequence in 1..=2 {
            let mut writer = shore.lake.writer(&table, given.schema(), sequence).unwrap();
            writer.write(&given.slice(0, rows), None).await.unwrap();
            let written = vec![writer.finish().await.unwrap()];
            let (table, schema, info) = (table.clone(), given.schema(), BTreeMap::new());
            let commit = Commit { table, schema, key: None, mode, written, application: None, info };
            shore.lake.commit(commit).await.unwrap();
        }
    }
    for table in shore.lake.tables().await.unwrap() {
        let snapshot = shore.lake.snapshot(&table).await.unwrap().unwrap();
        let rows = shore.rows(snapshot.current().unwrap()).await;
        let file = std::fs::File::create(out.join(format!("{table}.csv"))).unwrap();
        arrow::csv::Writer::new(file).write(&rows).unwrap();
        if rows.num_rows() == 0 {
            let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
            std::fs::write(out.join(format!("{table}.csv")), names.join(",") + "\n").unwrap();
        }
    }
}

/// The lake in a bucket of an S3 that nobody here wrote, at `$SF2GS_PEERS_S3`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/peers/run calls it: it starts an S3 on this machine"]
async fn a_lake_in_a_bucket() {
    let endpoint = std::env::var("SF2GS_PEERS_S3").expect("called by tests/peers/run");
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("region", "us-east-1"),
        ("access_key_id", "test"),
        ("secret_access_key", "test"),
    ];
    let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let lake = Lake::open("s3://lake/some/folder", std::path::Path::new("."), &options).await.unwrap();
    let shore = Shore::with(lake, None);
    let run = |n| Some(("account".to_owned(), n));
    shore.land_as(Mode::Replace, 1, &[row("a", 1), row("b", 2)], run(1)).await.unwrap();
    shore.land_as(Mode::Merge, 2, &[row("b", 20), gone("a"), row("c", 3)], run(2)).await.unwrap();
    let again = shore.land_as(Mode::Merge, 2, &[row("b", 20)], run(2)).await.unwrap();
    assert_eq!((again.version(), shore.model(&again).await), (1, model([("b", 20), ("c", 3)])));
    let raced = futures::future::join_all((10..15).map(|n| {
        let shore = &shore;
        async move { shore.land(Mode::Merge, n, &[row("b", n), row(&format!("own {n}"), n)]).await }
    }));
    assert!(raced.await.iter().all(Result::is_ok));
    let compacted = shore.lake.compact_if_worth(&shore.session(), &account(), 0.2).await.unwrap().unwrap();
    let state = shore.model(&compacted).await;
    assert_eq!((state.len(), state["b"]), (7, Some(14)));
    assert_eq!(shore.lake.tables().await.unwrap(), [account()]);
    // a file of several parts
    let table = TableName::new("salesforce", "large").unwrap();
    let rows = 640_000;
    let mut writer = shore.lake.writer(&table, schema(), 1).unwrap();
    for from in (0..rows).step_by(8_000) {
        let ids: StringArray = (from..from + 8_000).map(|_| Some(sf2gs::clock::random_id())).collect();
        let values = Int64Array::from_iter_values(from..from + 8_000);
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(values)]).unwrap();
        writer.write(&batch, None).await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert!(written.bytes() > 10 << 20, "smaller files go up in one piece");
    let commit = Commit {
        table: table.clone(),
        schema: schema(),
        key: Some("Id".to_owned()),
        mode: Mode::Replace,
        written: vec![written],
        application: None,
        info: BTreeMap::new(),
    };
    let snapshot = shore.lake.commit(commit).await.unwrap();
    let total = shore.sql(&snapshot, r#"select sum("Some.Value") as n, count(distinct "Id") as k from t"#).await;
    assert!(total.contains(&format!("| {} | {rows} |", rows * (rows - 1) / 2)), "{total}");
    shore.lake.drop_table(&account()).await.unwrap();
    assert_eq!(shore.lake.tables().await.unwrap(), [table]);
}

/// What a history does next.
#[derive(Debug, Clone)]
enum Step {
    Replace(Vec<(u8, i64, bool)>),
    Merge(Vec<(u8, i64, bool)>),
    Compact,
    Fold,
    Again,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = || prop::collection::vec((0_u8..12, any::<i64>(), prop::bool::weighted(0.25)), 0..8);
    let step = prop_oneof![
        1 => rows().prop_map(Step::Replace),
        6 => rows().prop_map(Step::Merge),
        1 => Just(Step::Compact),
        2 => Just(Step::Fold),
        1 => Just(Step::Again),
    ];
    prop::collection::vec(step, 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_history_equals_a_map(steps in steps(), in_memory: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(history(steps, in_memory));
    }
}

async fn history(steps: Vec<Step>, in_memory: bool) {
    let shore = if in_memory { Shore::memory() } else { Shore::folder().await };
    let mut map: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let mut versions = Vec::new();
    shore.land_as(Mode::Replace, 0, &[], Some(("run".to_owned(), 0))).await.unwrap();
    versions.push(map.clone());
    let mut last = (Mode::Replace, 0, Vec::new());
    for (sequence, step) in (1_i64..).zip(steps) {
        match step {
            Step::Replace(rows) | Step::Merge(rows) if rows.is_empty() => {
                last = (Mode::Merge, sequence, Vec::new());
            }
            Step::Replace(rows) => {
                map.clear();
                last = (Mode::Replace, sequence, once(rows));
            }
            Step::Merge(rows) => last = (Mode::Merge, sequence, once(rows)),
            Step::Compact => {
                let done = shore.lake.compact_if_worth(&shore.session(), &account(), 0.0).await.unwrap();
                versions.extend(done.map(|_| map.clone()));
                continue;
            }
            Step::Fold => {
                let done = shore.lake.fold_changes(&shore.session(), &account()).await.unwrap();
                versions.extend(done.map(|_| map.clone()));
                continue;
            }
            Step::Again => {
                let version = versions.len() as i64 - 1;
                let again = shore.land_as(last.0, last.1, &last.2, Some(("run".to_owned(), last.1))).await.unwrap();
                assert_eq!(again.version(), version);
                continue;
            }
        }
        let (mode, _, rows) = &last;
        shore.land_as(*mode, sequence, rows, Some(("run".to_owned(), sequence))).await.unwrap();
        for (id, value, deleted) in rows {
            if *deleted {
                map.remove(id);
            } else {
                map.insert(id.clone(), *value);
            }
        }
        versions.push(map.clone());
    }
    for (version, then) in versions.iter().enumerate() {
        let snapshot = shore.lake.snapshot_at(&account(), version as i64).await.unwrap();
        assert_eq!(shore.model(&snapshot).await, *then, "version {version}");
        if let Some(rows) = snapshot.rows() {
            assert_eq!(rows, then.len() as u64);
        }
    }
}

/// Rows with each key once, as an extract hands them over.
fn once(rows: Vec<(u8, i64, bool)>) -> Vec<Row> {
    let rows: BTreeMap<u8, Row> =
        rows.into_iter().map(|(key, value, deleted)| (key, (format!("k{key}"), Some(value), deleted))).collect();
    rows.into_values().collect()
}
