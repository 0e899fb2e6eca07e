//! How fast do verdicts become the CSV of a bulk import and the JSON of people calls?
//!
//! To beat: 3,000,000 rows/s of CSV and 2,000,000 rows/s of JSON on one thread of the machine where this was set up.
//! `cargo bench --bench encode`

#![expect(clippy::expect_used, reason = "a benchmark stops at the first surprise")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use sf2gs::config::job::Job;
use sf2gs::config::project::NewProject;
use sf2gs::config::project::Project;
use sf2gs::config::project::SecretPlace;
use sf2gs::connect::gainsight::DataType;
use sf2gs::connect::gainsight::FieldMetadata;
use sf2gs::connect::gainsight::ObjectMetadata;
use sf2gs::load::BodyFormat;
use sf2gs::load::bodies;

/// Rows of a batch, as the verdicts come.
const ROWS: usize = 8_192;

fn text(cell: impl Fn(usize) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..ROWS).map(cell)))
}

fn none() -> ArrayRef {
    Arc::new(StringArray::new_null(ROWS))
}

fn verdicts(cells: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let yes: ArrayRef = Arc::new(BooleanArray::from(vec![true; ROWS]));
    let no: ArrayRef = Arc::new(BooleanArray::from(vec![false; ROWS]));
    let mut columns = vec![
        ("source_id", text(|row| format!("003Sb{row:010}IAA"))),
        ("verdict", text(|_| "insert".to_owned())),
        ("gsid", none()),
        ("changed", none()),
        ("clears", no),
        ("person_gsid", none()),
        ("person_key", text(|row| format!("jane.doe{row}@example{}.org", row % 977))),
        ("person_rows", Arc::new(Int64Array::from(vec![1; ROWS]))),
        ("person_winner", yes),
    ];
    columns.extend(cells);
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn companies() -> RecordBatch {
    verdicts(vec![
        ("set.company.SfdcAccountId", text(|row| format!("001Sb{row:010}IAA"))),
        ("set.company.Name", text(|row| format!("Company {row}, \"The\" Best Inc."))),
        ("set.company.Employees", Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| row * 7)))),
    ])
}

fn people() -> RecordBatch {
    verdicts(vec![
        ("set.person.FirstName", text(|row| format!("Jane{}", row % 5_000))),
        ("set.person.LastName", text(|row| format!("Doe{row}"))),
        ("set.person.Email", text(|row| format!("Jane.Doe{row}@Example{}.org", row % 977))),
        ("set.company_person.ExternalContactId", text(|row| format!("003Sb{row:010}IAA"))),
        ("set.company_person.ExternalAccountId", text(|row| format!("001Sb{:010}IAA", row / 5))),
        ("set.company_person.Company_ID", text(|row| format!("1P02{:032}", row / 5))),
        ("set.company_person.Manager", none()),
    ])
}

fn metadata(batch: &RecordBatch) -> BTreeMap<String, Arc<ObjectMetadata>> {
    let mut fields: BTreeMap<String, Vec<FieldMetadata>> = BTreeMap::new();
    for field in batch.schema().fields() {
        if let Some((object, name)) = field.name().strip_prefix("set.").and_then(|path| path.split_once('.')) {
            let kind = if name == "Employees" { DataType::Number } else { DataType::String };
            fields.entry(object.to_owned()).or_default().push(FieldMetadata::new(name, kind));
        }
    }
    let described = fields.into_iter().map(|(object, fields)| {
        let metadata = ObjectMetadata::new(object.as_str(), object.as_str(), fields);
        (object, Arc::new(metadata))
    });
    described.collect()
}

/// An out-of-the-box job.
fn job(name: &str) -> Job {
    let folder = tempfile::tempdir().expect("a folder");
    let project = NewProject {
        salesforce_domain: None,
        salesforce_client_id: None,
        gainsight_url: None,
        secrets: SecretPlace::Env,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    };
    project.write(folder.path()).expect("a project");
    Project::load(folder.path()).expect("the embedded project").jobs[name].clone()
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
    for (name, job, batch, format) in [
        ("companies as CSV", job("company_sync"), companies(), BodyFormat::Csv),
        ("people as JSON", job("company_person_sync"), people(), BodyFormat::Json),
    ] {
        let metadata = metadata(&batch);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(bodies(&batch, &job, &metadata, format).expect("rows that can be written")));
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
