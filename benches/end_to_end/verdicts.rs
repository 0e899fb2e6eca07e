//! The verdicts of the out-of-the-box people job over Parquet files, as a process: the harness measures it beside others.
//!
//! `verdicts FOLDER` reads `contact.parquet` and `mirror_<object>.parquet` there and prints, as JSON, how many rows got
//! which verdict.

#![expect(clippy::print_stdout, reason = "a program whose answer is on stdout")]

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimeUnit;
use datafusion::prelude::ParquetReadOptions;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use sf2gs::clock::Clock;
use sf2gs::config::project::EngineSettings;
use sf2gs::config::project::NewProject;
use sf2gs::config::project::Project;
use sf2gs::config::project::SecretPlace;
use sf2gs::engine::Engine;
use sf2gs::error::Error;
use sf2gs::error::Result;
use sf2gs::land::Lake;
use sf2gs::matching;
use sf2gs::matching::MatchInputs;

/// Columns with their types in their own system.
type Columns = &'static [(&'static str, &'static str)];

const CONTACT: Columns = &[
    ("Id", "id"),
    ("FirstName", "string"),
    ("LastName", "string"),
    ("Email", "email"),
    ("AccountId", "reference"),
    ("ReportsToId", "reference"),
];
const MIRRORS: &[(&str, Columns)] = &[
    ("company", &[("Gsid", "GSID"), ("SfdcAccountId", "SFDCID")]),
    ("person", &[("Gsid", "GSID"), ("Email", "EMAIL"), ("FirstName", "STRING"), ("LastName", "STRING")]),
    (
        "company_person",
        &[
            ("Gsid", "GSID"),
            ("Person_ID", "LOOKUP"),
            ("Company_ID", "LOOKUP"),
            ("ExternalContactId", "STRING"),
            ("ExternalAccountId", "STRING"),
            ("Manager", "LOOKUP"),
        ],
    ),
];

fn fields(columns: Columns, system: &str) -> Vec<Field> {
    let field = |(name, kind): &(&str, &str)| {
        let metadata = HashMap::from([(format!("{system}.type"), (*kind).to_owned())]);
        Field::new(*name, DataType::Utf8, true).with_metadata(metadata)
    };
    columns.iter().map(field).collect()
}

async fn table(session: &SessionContext, name: &str, file: &Path, fields: Vec<Field>) -> Result<SchemaRef> {
    let schema = Schema::new(fields);
    let options = ParquetReadOptions::default().schema(&schema);
    session.register_parquet(name, file.to_string_lossy(), options).await?;
    Ok(Arc::new(schema))
}

async fn verdicts(folder: &Path) -> Result<BTreeMap<String, usize>> {
    let scratch = tempfile::tempdir().map_err(|error| Error::unavailable("no folder").source(error))?;
    let project = NewProject {
        salesforce_domain: None,
        salesforce_client_id: None,
        gainsight_url: None,
        secrets: SecretPlace::Env,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    };
    project.write(scratch.path())?;
    let project = Project::load(scratch.path()).map_err(Error::from)?;
    let job = &project.jobs["company_person_sync"];
    let lake = Lake::open("lake", scratch.path(), &BTreeMap::new()).await?.with_clock(Clock::system());
    let session = Engine::new(&EngineSettings::default(), &lake)?.session();
    matching::register(&session);

    let mut columns = fields(CONTACT, "sf");
    columns.push(Field::new("SystemModstamp", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true));
    let source = table(&session, "source", &folder.join("contact.parquet"), columns).await?;
    let mut mirrors = BTreeMap::new();
    for (object, columns) in MIRRORS {
        let name = format!("mirror_{object}");
        let file = folder.join(format!("{name}.parquet"));
        mirrors.insert((*object).to_owned(), table(&session, &name, &file, fields(columns, "gs")).await?);
    }
    let inputs = MatchInputs { job, source: &source, mirrors: &mirrors, person_key: &["Email".to_owned()] };
    let plan = matching::compile(&inputs)?;
    let mut stream = plan.verdicts(&session).await?.execute_stream().await?;
    let mut counts = BTreeMap::new();
    while let Some(batch) = stream.try_next().await? {
        let column = |name| {
            let column = batch.column_by_name(name).map(|column| column.as_string::<i32>());
            column.ok_or_else(|| Error::bug(format!("the verdicts have no column `{name}`")))
        };
        for (verdict, code) in column("verdict")?.iter().zip(column("code")?) {
            let key = code.or(verdict).unwrap_or_default();
            match counts.get_mut(key) {
                Some(count) => *count += 1,
                None => drop(counts.insert(key.to_owned(), 1)),
            }
        }
    }
    Ok(counts)
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| Error::config("the folder of the tables is missing"))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Error::unavailable("no runtime").source(error))?;
    let counts = runtime.block_on(verdicts(Path::new(&folder)))?;
    println!("{}", serde_json::json!(counts));
    Ok(())
}
