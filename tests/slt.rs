//! The SQL tests: every `.slt` file under `sql/` and `tests/slt` is one test, in a session of its own.
//!
//! Sessions are those of the program, with the functions of matching. Three statements are added to SQL:
//!
//! ```text
//! SOURCE (Id id, Name string) VALUES ('001…', 'Acme')                   -- the table `source`, with Salesforce types
//! MIRROR company (Gsid GSID, Name STRING) VALUES ('1P02…', 'Acme')      -- the table `mirror_company`, with Gainsight's
//! PLAN company_sync                                                     -- the job's verdicts as the table `verdicts`
//! PLAN user_sync SECOND PASS                                            -- those of its self lookups
//! ```
//!
//! Jobs are the out-of-the-box ones and those of `tests/slt/pipelines`. `SF2GS_BLESS=1` writes the answers into the files.

#![expect(clippy::expect_used, clippy::panic, reason = "a test without the harness that clippy knows")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::ArrayFormatter;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use libtest_mimic::Arguments;
use libtest_mimic::Failed;
use libtest_mimic::Trial;
use sf2gs::config::job::Job;
use sf2gs::config::project::EngineSettings;
use sf2gs::config::project::NewProject;
use sf2gs::config::project::Project;
use sf2gs::config::project::SecretPlace;
use sf2gs::engine::Engine;
use sf2gs::land::Lake;
use sf2gs::matching;
use sf2gs::matching::MatchInputs;
use sqllogictest::AsyncDB;
use sqllogictest::DBOutput;
use sqllogictest::DefaultColumnType;
use sqllogictest::Runner;

#[expect(dead_code, reason = "the integration tests use more of it")]
#[path = "it/support/tables.rs"]
mod tables;

use tables::Table;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut files = Vec::new();
    for folder in ["sql", "tests/slt"] {
        find(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    files.sort();
    let trials = files.into_iter().map(|file| {
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).display().to_string();
        Trial::test(name, move || run(&file).map_err(Failed::from))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "slt") {
            files.push(path);
        }
    }
}

fn run(file: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(told)?;
    runtime.block_on(async {
        let project = tempfile::tempdir().map_err(told)?;
        let jobs = jobs(project.path())?;
        let lake = Lake::open("lake", project.path(), &BTreeMap::new()).await.map_err(told)?;
        let engine = Engine::new(&EngineSettings::default(), &lake).map_err(told)?;
        let connect = || {
            let ctx = engine.session();
            matching::register(&ctx);
            let jobs = jobs.clone();
            async move { Ok(Session { ctx, jobs }) }
        };
        let mut runner = Runner::new(connect);
        if std::env::var_os("SF2GS_BLESS").is_some() {
            let validator = sqllogictest::default_validator;
            let columns = sqllogictest::default_column_validator;
            let normalizer = sqllogictest::default_normalizer;
            return runner.update_test_file(file, " ", validator, normalizer, columns).await.map_err(told);
        }
        runner.run_file_async(file).await.map_err(|error| error.display(false).to_string())
    })
}

fn told(error: impl fmt::Display) -> String {
    error.to_string()
}

/// The jobs that `PLAN` knows.
fn jobs(folder: &Path) -> Result<BTreeMap<String, Job>, String> {
    let project = NewProject {
        salesforce_domain: None,
        salesforce_client_id: None,
        gainsight_url: None,
        secrets: SecretPlace::Env,
        unlimited: false,
        people_async_is_bulk: true,
        bulk: None,
    };
    project.write(folder).map_err(told)?;
    let more = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt/pipelines");
    for path in std::fs::read_dir(more).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().ok_or("a file has a name")?;
        std::fs::copy(&path, folder.join("pipelines").join(name)).map_err(told)?;
    }
    Ok(Project::load(folder).map_err(told)?.jobs)
}

struct Session {
    ctx: SessionContext,
    jobs: BTreeMap<String, Job>,
}

/// A failure as the file expects it: the message that a person reads.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refused(error: impl fmt::Display) -> Refused {
    Refused(error.to_string())
}

#[async_trait]
impl AsyncDB for Session {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let words: Vec<&str> = sql.split_whitespace().collect();
        match words.as_slice() {
            ["SOURCE", ..] => self.create("source", &sql["SOURCE".len()..], false).await,
            ["MIRROR", object, ..] => {
                let rest = &sql[sql.find(object).unwrap_or(0) + object.len()..];
                self.create(&format!("mirror_{object}"), rest, true).await
            }
            ["PLAN", job] => self.plan(job, false).await,
            ["PLAN", job, "SECOND", "PASS"] => self.plan(job, true).await,
            _ => self.query(sql).await,
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "local"
    }
}

impl Session {
    async fn query(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let frame = self.ctx.sql(sql).await.map_err(refused)?;
        let plan = frame.create_physical_plan().await.map_err(refused)?;
        let schema = plan.schema();
        let batches = collect(plan, self.ctx.task_ctx()).await.map_err(refused)?;
        if schema.fields().is_empty() {
            return Ok(DBOutput::StatementComplete(0));
        }
        let types = schema.fields().iter().map(|field| match field.data_type() {
            kind if kind.is_integer() => DefaultColumnType::Integer,
            kind if kind.is_numeric() => DefaultColumnType::FloatingPoint,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DefaultColumnType::Text,
            _ => DefaultColumnType::Any,
        });
        let mut rows = Vec::new();
        for cells in cells(&batches)? {
            rows.push(cells.into_iter().map(|cell| shown(cell.as_deref())).collect());
        }
        Ok(DBOutput::Rows { types: types.collect(), rows })
    }

    /// A table with the types of either system: `(Id id, Name string) VALUES …`.
    async fn create(&self, name: &str, text: &str, gainsight: bool) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let (columns, values) = text
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .ok_or_else(|| refused("write the columns in brackets"))?;
        let fields = columns.split(',').map(|column| {
            let (name, kind) = column.trim().split_once(' ').ok_or_else(|| refused("a column is a name and a type"))?;
            Ok(if gainsight { tables::gs(name, kind.trim()) } else { tables::sf(name, kind.trim()) })
        });
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, Refused>>()?));
        let rows = if values.trim().is_empty() {
            Vec::new()
        } else {
            let frame = self.ctx.sql(&format!("SELECT * FROM ({values})")).await.map_err(refused)?;
            cells(&frame.collect().await.map_err(refused)?)?
        };
        Table { schema, rows }.register(&self.ctx, name);
        Ok(DBOutput::StatementComplete(0))
    }

    async fn plan(&self, job: &str, second: bool) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let job = self.jobs.get(job).ok_or_else(|| refused(format!("there is no job {job}")))?;
        let key = ["Email".to_owned()];
        let schema = async |name: &str| -> Result<SchemaRef, Refused> {
            Ok(self.ctx.table_provider(name).await.map_err(refused)?.schema())
        };
        let source = schema("source").await?;
        let mut mirrors = BTreeMap::new();
        for object in matching::objects(job, &key).into_keys() {
            let mirror = schema(&format!("mirror_{object}")).await?;
            mirrors.insert(object, mirror);
        }
        let inputs = MatchInputs { job, source: &source, mirrors: &mirrors, person_key: &key };
        let plan = if second {
            matching::compile_second_pass(&inputs).map_err(refused)?.ok_or_else(|| refused("no self lookup"))?
        } else {
            matching::compile(&inputs).map_err(refused)?
        };
        let frame = plan.verdicts(&self.ctx).await.map_err(refused)?;
        self.ctx.deregister_table("verdicts").map_err(refused)?;
        self.ctx.register_table("verdicts", frame.cache().await.map_err(refused)?.into_view()).map_err(refused)?;
        Ok(DBOutput::StatementComplete(0))
    }
}

/// The cells of all rows as text.
fn cells(batches: &[RecordBatch]) -> Result<Vec<Vec<tables::Cell>>, Refused> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| Ok((column, ArrayFormatter::try_new(column, &options).map_err(refused)?)))
            .collect::<Result<_, Refused>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|(column, text)| {
                let filled = column.is_valid(row) && *column.data_type() != DataType::Null;
                filled.then(|| text.value(row).to_string())
            });
            rows.push(cells.collect());
        }
    }
    Ok(rows)
}

/// A cell in a test file: NULL, and white space that can be seen.
fn shown(cell: Option<&str>) -> String {
    match cell {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) if text != text.trim() => format!("[{text}]"),
        Some(text) => text.to_owned(),
    }
}
