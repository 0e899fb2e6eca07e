//! How fast do batches become a committed snapshot of Parquet, compressed with LZ4 as in every lake on a disk?
//!
//! To beat: DuckDB writes such rows as zstd Parquet at about 1,300,000 rows/s on two cores of the machine where this was
//! set up. `cargo bench --bench landing`

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]

mod contacts;

use std::collections::BTreeMap;
use std::sync::Arc;

use criterion::BatchSize;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use datafusion::arrow::array::RecordBatch;
use sf2gs::extract::salesforce::decode_page;
use sf2gs::land::Commit;
use sf2gs::land::Lake;
use sf2gs::land::Mode;
use sf2gs::land::TableName;
use tokio::runtime::Runtime;

async fn land(lake: &Lake, batches: &[RecordBatch]) -> usize {
    let table = TableName::new("salesforce", "contact").expect("a name");
    let schema = contacts::schema();
    let mut writer = lake.writer(&table, Arc::clone(&schema), 1).expect("a writer");
    for batch in batches {
        writer.write(batch, None).await.expect("rows that fit");
    }
    let written = writer.finish().await.expect("files");
    let rows = written.rows() as usize;
    let commit = Commit {
        table,
        schema,
        key: Some("Id".to_owned()),
        mode: Mode::Replace,
        written: vec![written],
        application: None,
        info: BTreeMap::new(),
    };
    lake.commit(commit).await.expect("a commit");
    rows
}

fn landing(criterion: &mut Criterion) {
    let rows = contacts::asked_rows(400_000);
    let runtime = Runtime::new().expect("a runtime");
    let batches = decode_page(&contacts::schema(), &contacts::page(rows), 16_384).expect("a page");
    let mut group = criterion.benchmark_group("landing");
    group.sample_size(10).throughput(Throughput::Elements(rows as u64));
    group.bench_function(format!("{rows} contacts"), |bencher| {
        bencher.iter_batched(
            || {
                let folder = tempfile::tempdir().expect("a folder");
                let lake = runtime.block_on(Lake::open("lake", folder.path(), &BTreeMap::new())).expect("a lake");
                (lake, folder)
            },
            |(lake, folder)| {
                assert_eq!(runtime.block_on(land(&lake, &batches)), rows);
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, landing);
criterion_main!(benches);
