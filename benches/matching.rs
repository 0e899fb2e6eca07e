//! How long do the verdicts of a people job take, by number of rows?
//!
//! Contacts against as many persons and company persons and a fifth as many companies; one row in ten is new, changed
//! or wrong. `SF2GS_BENCH_ROWS=1000000 cargo bench --bench matching` asks for one size.
//!
//! And a few contacts against landed mirrors of a million records with a few changes, as in an incremental run:
//! `cargo bench --bench matching -- few`, with `SF2GS_BENCH_MIRROR=2000000` against another number of them.

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::array::TimestampMicrosecondArray;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimeUnit;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionConfig;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use sf2gs::config::job::Derive;
use sf2gs::config::job::FieldMap;
use sf2gs::config::job::Job;
use sf2gs::config::job::MatchPair;
use sf2gs::config::job::OnDelete;
use sf2gs::config::job::OnMissing;
use sf2gs::config::job::OnMultiple;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::Source;
use sf2gs::config::job::Target;
use sf2gs::config::job::TargetField;
use sf2gs::config::job::TargetObject;
use sf2gs::config::project::EngineSettings;
use sf2gs::engine::Engine;
use sf2gs::land::Commit;
use sf2gs::land::Lake;
use sf2gs::land::Mode;
use sf2gs::land::Snapshot;
use sf2gs::land::TableName;
use sf2gs::matching;
use sf2gs::matching::MatchInputs;
use sf2gs::matching::MatchPlan;
use tokio::runtime::Runtime;

const BATCH: usize = 8192;

/// A column: name, type in its system, and what a row holds.
type Column = (&'static str, &'static str, fn(&mut String, usize) -> bool);

fn id(text: &mut String, prefix: &str, number: usize) -> bool {
    write!(text, "{prefix}{number:012}AAA").is_ok()
}

fn email(text: &mut String, number: usize) -> bool {
    write!(text, "Jane.Doe{number}@Example{}.org", number % 977).is_ok()
}

const SOURCE: &[Column] = &[
    ("Id", "id", |text, row| id(text, "003", row)),
    ("FirstName", "string", |text, row| write!(text, "Jane{}", row % 5000).is_ok()),
    ("LastName", "string", |text, row| write!(text, "Doe{}", row % 70_000 + usize::from(row % 20 == 0)).is_ok()),
    // one in a hundred has none, or the one of another contact
    ("Email", "email", |text, row| match row % 200 {
        3 => false,
        4 => email(text, row - 1),
        _ => email(text, row),
    }),
    ("AccountId", "reference", |text, row| row % 100 != 5 && id(text, "001", row / 5)),
    ("ReportsToId", "reference", |text, row| row % 3 == 0 && row > 0 && id(text, "003", row - row % 5)),
];
const PERSON: &[Column] = &[
    ("Gsid", "GSID", |text, row| write!(text, "1P04P{row:031}").is_ok()),
    ("Email", "EMAIL", |text, row| write!(text, "jane.doe{row}@example{}.org", row % 977).is_ok()),
    ("FirstName", "STRING", SOURCE[1].2),
    ("LastName", "STRING", |text, row| write!(text, "Doe{}", row % 70_000).is_ok()),
];
const COMPANY_PERSON: &[Column] = &[
    ("Gsid", "GSID", |text, row| write!(text, "1P04Q{row:031}").is_ok()),
    ("Person_ID", "LOOKUP", PERSON[0].2),
    ("Company_ID", "LOOKUP", |text, row| write!(text, "1P04C{:031}", row / 5).is_ok()),
    ("ExternalContactId", "STRING", SOURCE[0].2),
    ("ExternalAccountId", "STRING", |text, row| id(text, "001", row / 5)),
    ("Manager", "LOOKUP", |text, row| row % 3 == 0 && row > 0 && write!(text, "1P04Q{:031}", row - row % 5).is_ok()),
];
const COMPANY: &[Column] = &[
    ("Gsid", "GSID", |text, row| write!(text, "1P04C{row:031}").is_ok()),
    ("SfdcAccountId", "SFDCID", |text, row| id(text, "001", row)),
];

fn table(columns: &[Column], key: &str, rows: usize) -> (SchemaRef, Vec<RecordBatch>) {
    let mut fields: Vec<Field> = columns
        .iter()
        .map(|(name, kind, _)| {
            let metadata = HashMap::from([(key.to_owned(), (*kind).to_owned())]);
            Field::new(*name, DataType::Utf8, true).with_metadata(metadata)
        })
        .collect();
    if key == "sf.type" {
        fields.push(Field::new("SystemModstamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true));
    }
    let schema = Arc::new(Schema::new(fields));
    let batches = (0..rows).step_by(BATCH).map(|start| {
        let end = rows.min(start + BATCH);
        let mut text = String::new();
        let mut arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|(_, _, cell)| {
                let mut builder = StringBuilder::new();
                for row in start..end {
                    text.clear();
                    let filled = cell(&mut text, row);
                    builder.append_option(filled.then_some(&text));
                }
                Arc::new(builder.finish()) as ArrayRef
            })
            .collect();
        if key == "sf.type" {
            let stamps = (start..end).map(|row| 1_770_000_000_000_000 + row as i64);
            arrays.push(Arc::new(TimestampMicrosecondArray::from_iter_values(stamps).with_timezone("UTC")));
        }
        RecordBatch::try_new(Arc::clone(&schema), arrays).expect("columns fit")
    });
    let batches = batches.collect();
    (schema, batches)
}

fn job() -> Job {
    let target = |text: &str| {
        let (object, field) = text.split_once('.').expect("object.Field");
        TargetField { object: object.to_owned(), field: field.to_owned() }
    };
    let map = |from: &str, to: &str| FieldMap {
        from: from.to_owned(),
        to: target(to),
        identifier: false,
        on_null: OnNull::Overwrite,
    };
    let derive = |to: &str, lookup: &str, pairs: &[(&str, &str)], on_multiple, on_missing| Derive {
        to: target(to),
        lookup: lookup.to_owned(),
        pairs: pairs.iter().map(|(from, to)| MatchPair { from: (*from).to_owned(), to: (*to).to_owned() }).collect(),
        on_multiple,
        on_missing,
    };
    Job {
        name: "company_person_sync".to_owned(),
        title: "Company Person Sync".to_owned(),
        salesforce: "salesforce".to_owned(),
        gainsight: "gainsight".to_owned(),
        depends_on: Vec::new(),
        source: Source {
            object: "Contact".to_owned(),
            table: "contact".to_owned(),
            fields: SOURCE.iter().map(|column| column.0.to_owned()).collect(),
            condition: None,
        },
        target: Target {
            object: TargetObject::People,
            operation: Operation::Upsert,
            on_null: OnNull::Overwrite,
            on_delete: OnDelete::Ignore,
            maps: vec![
                map("FirstName", "person.FirstName"),
                map("LastName", "person.LastName"),
                map("Email", "person.Email"),
                map("Id", "company_person.ExternalContactId"),
                map("AccountId", "company_person.ExternalAccountId"),
            ],
            derives: vec![
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
            ],
        },
    }
}

/// The tables of `rows` contacts, of whom nineteen in twenty are in Gainsight, and the plan.
fn prepared(rows: usize) -> (SessionContext, MatchPlan) {
    let config = SessionConfig::new().with_target_partitions(2);
    let ctx = SessionContext::new_with_config(config);
    matching::register(&ctx);
    let known = rows - rows / 20;
    let (source, batches) = table(SOURCE, "sf.type", rows);
    register(&ctx, "source", &source, batches);
    let mut mirrors = BTreeMap::new();
    for (object, columns, rows) in
        [("person", PERSON, known), ("company_person", COMPANY_PERSON, known), ("company", COMPANY, rows / 5)]
    {
        let (schema, batches) = table(columns, "gs.type", rows);
        register(&ctx, &format!("mirror_{object}"), &schema, batches);
        mirrors.insert(object.to_owned(), schema);
    }
    let job = job();
    let inputs = MatchInputs { job: &job, source: &source, mirrors: &mirrors, person_key: &["Email".to_owned()] };
    let plan = matching::compile(&inputs).expect("a job that compiles");
    (ctx, plan)
}

fn register(ctx: &SessionContext, name: &str, schema: &SchemaRef, batches: Vec<RecordBatch>) {
    let mut parts = vec![Vec::new(), Vec::new()];
    batches.into_iter().enumerate().for_each(|(at, batch)| parts[at % 2].push(batch));
    let provider = MemTable::try_new(Arc::clone(schema), parts).expect("one schema");
    ctx.register_table(name, Arc::new(provider)).expect("a free name");
}

/// `rows` of the contacts of [`landed`] mirrors of `known` records, spread among all of them.
fn few(rows: usize, known: usize) -> (SchemaRef, Vec<RecordBatch>) {
    let (schema, batches) = table(SOURCE, "sf.type", known + known / 20);
    let step = (known + known / 20) / rows;
    let batches: Vec<RecordBatch> = batches
        .iter()
        .enumerate()
        .map(|(at, batch)| {
            let wanted: BooleanArray =
                (0..batch.num_rows()).map(|row| Some((at * BATCH + row).is_multiple_of(step))).collect();
            filter_record_batch(batch, &wanted).expect("as many flags as rows")
        })
        .collect();
    let whole = concat_batches(&schema, &batches).expect("one schema");
    (schema, vec![whole.slice(0, rows)])
}

/// A lake with the mirrors of `known` contacts, and in each of them the changes of two runs.
async fn landed(folder: &Path, known: usize) -> (Engine, BTreeMap<String, Snapshot>) {
    let lake = Lake::open("lake", folder, &BTreeMap::new()).await.expect("a lake");
    let engine = Engine::new(&EngineSettings::default(), &lake).expect("an engine");
    let mut mirrors = BTreeMap::new();
    for (object, columns, rows) in
        [("person", PERSON, known), ("company_person", COMPANY_PERSON, known), ("company", COMPANY, known / 5)]
    {
        let (schema, batches) = table(columns, "gs.type", rows);
        let name = TableName::new("gainsight", object).expect("a name");
        let changes: Vec<RecordBatch> = batches.iter().map(|batch| batch.slice(0, 10)).collect();
        for (sequence, rows) in [(1, &batches), (2, &changes), (3, &changes)] {
            let mut writer = lake.writer(&name, Arc::clone(&schema), sequence).expect("a writer");
            for batch in rows {
                writer.write(batch, None).await.expect("rows that fit");
            }
            let commit = Commit {
                table: name.clone(),
                schema: Arc::clone(&schema),
                key: Some("Gsid".to_owned()),
                mode: if sequence == 1 { Mode::Replace } else { Mode::Merge },
                written: vec![writer.finish().await.expect("files")],
                application: None,
                info: BTreeMap::new(),
            };
            mirrors.insert(object.to_owned(), lake.commit(commit).await.expect("a commit"));
        }
    }
    (engine, mirrors)
}

fn few_people(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let asked = std::env::var("SF2GS_BENCH_MIRROR").ok().and_then(|rows| rows.parse().ok());
    let known = asked.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = criterion.benchmark_group(format!("few against {known}"));
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    let mut tables = None;
    for rows in [1_000, 12_000] {
        let (source, batches) = few(rows, known);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            let (engine, mirrors) = tables.get_or_insert_with(|| runtime.block_on(landed(folder.path(), known)));
            bencher.iter(|| {
                // all that a run does: a new session, the tables, the plan, the verdicts
                let ctx = engine.session();
                matching::register(&ctx);
                register(&ctx, "source", &source, batches.clone());
                let mut schemas = BTreeMap::new();
                for (object, mirror) in mirrors.iter() {
                    let table = mirror.current().expect("a table");
                    schemas.insert(object.clone(), table.schema());
                    ctx.register_table(format!("mirror_{object}"), table).expect("a free name");
                }
                let job = job();
                let key = ["Email".to_owned()];
                let inputs = MatchInputs { job: &job, source: &source, mirrors: &schemas, person_key: &key };
                let plan = matching::compile(&inputs).expect("a job that compiles");
                assert_eq!(runtime.block_on(verdicts(&ctx, &plan)), rows);
            });
        });
    }
    group.finish();
}

/// Reads the verdicts to the end, as the loader does.
async fn verdicts(ctx: &SessionContext, plan: &MatchPlan) -> usize {
    let mut stream = plan.verdicts(ctx).await.expect("a plan").execute_stream().await.expect("a stream");
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += black_box(batch.expect("a batch")).num_rows();
    }
    rows
}

fn people(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let asked = std::env::var("SF2GS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let sizes: Vec<usize> = asked.map_or(vec![10_000, 100_000], |rows| vec![rows]);
    let mut group = criterion.benchmark_group("people verdicts");
    group.sample_size(10).warm_up_time(Duration::from_secs(3)).measurement_time(Duration::from_secs(10));
    for rows in sizes {
        let (ctx, plan) = prepared(rows);
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| assert_eq!(runtime.block_on(verdicts(&ctx, &plan)), rows));
        });
    }
    group.finish();
}

criterion_group!(benches, people, few_people);
criterion_main!(benches);
