//! Columns of the lake that help to find rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Int32Array;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use sf2gs::land::Commit;
use sf2gs::land::Mode;
use sf2gs::land::NUMBER_PREFIX;
use sf2gs::land::Snapshot;

use crate::land::Row;
use crate::land::Shore;
use crate::land::account;
use crate::land::batch;
use crate::land::row;
use crate::land::schema;

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_with_their_rows_and_are_not_seen() {
    let number = format!("{NUMBER_PREFIX}Id");
    let mut columns: Vec<_> = schema().fields().iter().cloned().collect();
    columns.push(Arc::new(Field::new(&number, DataType::Int32, true)));
    let columns: SchemaRef = Arc::new(Schema::new(columns));
    let numbered = |rows: &[Row]| {
        let (batch, deleted) = batch(rows);
        let numbers: Int32Array = rows.iter().map(|(id, ..)| id.parse::<i32>().ok().map(|id| id * 7)).collect();
        let cells = batch.columns().iter().cloned().chain([Arc::new(numbers) as ArrayRef]).collect();
        (RecordBatch::try_new(Arc::clone(&columns), cells).unwrap(), deleted)
    };
    for shore in [Shore::folder().await, Shore::memory()] {
        let land = async |mode, sequence, rows: &[Row]| {
            let mut writer = shore.lake.writer(&account(), Arc::clone(&columns), sequence).unwrap();
            let (batch, deleted) = numbered(rows);
            writer.write(&batch, Some(&deleted)).await.unwrap();
            let written = vec![writer.finish().await.unwrap()];
            let (key, info) = (Some("Id".to_owned()), BTreeMap::new());
            let (table, schema) = (account(), Arc::clone(&columns));
            shore.lake.commit(Commit { table, schema, key, mode, written, application: None, info }).await.unwrap()
        };
        let agree = async |snapshot: &Snapshot, rows: usize| {
            assert_eq!(snapshot.schema().fields().len(), 2, "numbers are not seen");
            assert_eq!(shore.model(snapshot).await.len(), rows);
            let read = shore.rows(snapshot.numbered().unwrap()).await;
            let ids = read.column_by_name("Id").unwrap().as_string::<i32>();
            let numbers = read.column_by_name(&number).unwrap().as_primitive::<Int32Type>();
            assert_eq!(numbers.len(), rows);
            for (id, number) in ids.iter().zip(numbers) {
                assert_eq!(number, id.unwrap().parse::<i32>().ok().map(|id| id * 7));
            }
        };
        let base: Vec<Row> = (0..1_000).map(|n| row(&format!("{n}"), n)).collect();
        agree(&land(Mode::Replace, 1, &base).await, 1_000).await;
        for n in 2..=4 {
            agree(
                &land(Mode::Merge, n, &[row("3", n), row("new", n), row(&format!("{}", 1_000 + n), n)]).await,
                1_000 + n as usize,
            )
            .await;
        }
        agree(&shore.lake.fold_changes(&shore.session(), &account()).await.unwrap().unwrap(), 1_004).await;
        agree(&shore.lake.compact_if_worth(&shore.session(), &account(), 0.0).await.unwrap().unwrap(), 1_004).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_read_by_page_are_those_that_are_read_whole() {
    let number = format!("{NUMBER_PREFIX}Id");
    let mut columns: Vec<_> = schema().fields().iter().cloned().collect();
    columns.push(Arc::new(Field::new(&number, DataType::Int32, true)));
    let columns: SchemaRef = Arc::new(Schema::new(columns));
    let shore = Shore::folder().await;
    let rows: Vec<Row> = (0..20_000).map(|n| row(&format!("{n}"), n)).collect();
    let (given, _) = batch(&rows);
    let numbers: Int32Array = (0..20_000).map(Some).collect();
    let cells = given.columns().iter().cloned().chain([Arc::new(numbers) as ArrayRef]).collect();
    let mut writer = shore.lake.writer(&account(), Arc::clone(&columns), 1).unwrap();
    writer.write(&RecordBatch::try_new(Arc::clone(&columns), cells).unwrap(), None).await.unwrap();
    let written = vec![writer.finish().await.unwrap()];
    let (key, info, mode) = (Some("Id".to_owned()), BTreeMap::new(), Mode::Replace);
    let commit = Commit { table: account(), schema: columns, key, mode, written, application: None, info };
    let snapshot = shore.lake.commit(commit).await.unwrap();
    for by_page in [true, false] {
        let session = shore.session();
        session.sql(&format!("SET datafusion.execution.parquet.enable_page_index = {by_page}")).await.unwrap();
        session.register_table("t", snapshot.numbered().unwrap()).unwrap();
        for (wanted, from) in
            [("% 7_001 = 3", [3, 7_004, 14_005].as_slice()), ("IN (0, 255, 256, 19_999)", &[0, 255, 256, 19_999])]
        {
            let wanted = wanted.replace('_', "");
            let sql = format!("SELECT \"Id\", \"Some.Value\" FROM t WHERE \"{number}\" {wanted} ORDER BY \"{number}\"");
            let read = session.sql(&sql).await.unwrap().collect().await.unwrap();
            let ids =
                read.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
            assert_eq!(ids.collect::<Vec<_>>(), from.iter().map(ToString::to_string).collect::<Vec<_>>(), "{sql}");
        }
    }
}
