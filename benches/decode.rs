//! How fast does a result page of Salesforce become Arrow batches?
//!
//! To beat: arrow-csv decodes such pages at 900 MB/s on one thread of the machine where this was set up; with types, ids
//! of 18 characters and NUL bytes looked for, the page decoder is to stay above half of that.
//! `cargo bench --bench decode`

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]

mod contacts;

use std::hint::black_box;

use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use sf2gs::extract::salesforce::decode_page;

fn pages(criterion: &mut Criterion) {
    let rows = contacts::asked_rows(50_000);
    let page = contacts::page(rows);
    let schema = contacts::schema();
    let mut group = criterion.benchmark_group("page decode");
    group.sample_size(20).throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function(format!("{rows} contacts"), |bencher| {
        bencher.iter(|| {
            let batches = decode_page(&schema, &page, 16_384).expect("a page");
            assert_eq!(black_box(batches).iter().map(|batch| batch.num_rows()).sum::<usize>(), rows);
        });
    });
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
