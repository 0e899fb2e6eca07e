//! How long does it take to open a table with a long history?
//!
//! To beat: 5 ms for 200 commits, a year of working days, on the machine where this was set up.
//! `cargo bench --bench log_replay`

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]

mod contacts;

use std::collections::BTreeMap;
use std::sync::Arc;

use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use sf2gs::extract::salesforce::decode_page;
use sf2gs::land::Commit;
use sf2gs::land::Lake;
use sf2gs::land::Mode;
use sf2gs::land::TableName;
use tokio::runtime::Runtime;

async fn history(lake: &Lake, table: &TableName, commits: usize) {
    let schema = contacts::schema();
    let batches = decode_page(&schema, &contacts::page(10), 16_384).expect("a page");
    for sequence in 0..commits as i64 {
        let mut writer = lake.writer(table, Arc::clone(&schema), sequence + 1).expect("a writer");
        for batch in &batches {
            writer.write(batch, None).await.expect("rows that fit");
        }
        let commit = Commit {
            table: table.clone(),
            schema: Arc::clone(&schema),
            key: Some("Id".to_owned()),
            mode: if sequence == 0 { Mode::Replace } else { Mode::Merge },
            written: vec![writer.finish().await.expect("files")],
            application: Some(("job:bench".to_owned(), sequence + 1)),
            info: BTreeMap::new(),
        };
        lake.commit(commit).await.expect("a commit");
    }
}

fn replay(criterion: &mut Criterion) {
    let commits = contacts::asked_rows(200).min(1_000) / if contacts::only_tested() { 40 } else { 1 };
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let lake = runtime.block_on(Lake::open("lake", folder.path(), &BTreeMap::new())).expect("a lake");
    let table = TableName::new("salesforce", "contact").expect("a name");
    runtime.block_on(history(&lake, &table, commits));
    let mut group = criterion.benchmark_group("log replay");
    group.sample_size(20);
    group.bench_function(format!("{commits} commits"), |bencher| {
        bencher.iter(|| {
            // A lake of its own: one that has read the log before reads only what is new.
            let lake = runtime.block_on(Lake::open("lake", folder.path(), &BTreeMap::new())).expect("a lake");
            let snapshot = runtime.block_on(lake.snapshot(&table)).expect("a log").expect("a table");
            assert_eq!(snapshot.version(), commits as i64 - 1);
        });
    });
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
