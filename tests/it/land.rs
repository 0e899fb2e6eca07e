//! The lake: what is committed is read back, at every version, on a folder and in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
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
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
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
        for rows in rows.chunks(3) {
            let (batch, deleted) = batch(rows);
            writer.write(&batch, Some(&deleted)).await?;
        }
        let written = writer.finish().await?;
        self.lake
            .commit(Commit {
                table,
                schema: schema(),
                key: Some("Id".to_owned()),
                mode,
                written: vec![written],
                application: run,
                info: BTreeMap::from([("run".to_owned(), sequence.to_string())]),
            })
            .await
    }

    pub(crate) fn session(&self) -> SessionContext {
        self.engine.session()
    }

    async fn rows(&self, table: Arc<dyn TableProvider>) -> RecordBatch {
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

    async fn model(&self, snapshot: &Snapshot) -> BTreeMap<String, Option<i64>> {
        let rows = self.rows(snapshot.current().unwrap()).await;
        let ids = rows.column_by_name("Id").unwrap().as_string::<i32>();
        let values = rows.column_by_name("Some.Value").unwrap().as_primitive::<Int64Type>();
        let model: BTreeMap<_, _> = ids.iter().zip(values.iter()).map(|(id, n)| (id.unwrap().to_owned(), n)).collect();
        assert_eq!(model.len(), rows.num_rows(), "a key occurs twice");
        model
    }
}

/// Key, value, deleted.
pub(crate) type Row = (String, Option<i64>, bool);

pub(crate) fn row(id: &str, value: i64) -> Row {
    (id.to_owned(), Some(value), false)
}

fn gone(id: &str) -> Row {
    (id.to_owned(), None, true)
}

pub(crate) fn account() -> TableName {
    TableName::new("salesforce", "Account").unwrap()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("Id", DataType::Utf8, false)
            .with_metadata([("sf.label".to_owned(), "Account ID".to_owned())].into()),
        Field::new("Some.Value", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> (RecordBatch, BooleanArray) {
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
