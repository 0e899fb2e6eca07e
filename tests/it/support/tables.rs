//! Small tables for a session, written as rows of cells.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

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

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::datatypes::TimeUnit;
use datafusion::arrow::util::display::ArrayFormatter;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionConfig;
use datafusion::prelude::SessionContext;

/// A cell, as text.
pub(crate) type Cell = Option<String>;

/// A table of text cells; the schema says what they are.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A moment's type on both sides.
pub(crate) fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A Salesforce field.
pub(crate) fn sf(name: &str, kind: &str) -> Field {
    let data_type = match kind {
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "double" => DataType::Float64,
        "currency" => DataType::Decimal128(18, 4),
        "date" => DataType::Date32,
        "datetime" => moment(),
        _ => DataType::Utf8,
    };
    Field::new(name, data_type, true).with_metadata(HashMap::from([("sf.type".to_owned(), kind.to_owned())]))
}

/// A Gainsight field.
pub(crate) fn gs(name: &str, kind: &str) -> Field {
    let data_type = match kind {
        "BOOLEAN" => DataType::Boolean,
        "NUMBER" => DataType::Int64,
        "CURRENCY" => DataType::Decimal128(28, 2),
        "DATE" => DataType::Date32,
        "DATETIME" => moment(),
        _ => DataType::Utf8,
    };
    Field::new(name, data_type, true).with_metadata(HashMap::from([("gs.type".to_owned(), kind.to_owned())]))
}

/// A table from literals; `NULL` is null.
pub(crate) fn table(fields: Vec<Field>, rows: &[&[&str]]) -> Table {
    let cell = |text: &&str| (*text != "NULL").then(|| (*text).to_owned());
    Table {
        schema: Arc::new(Schema::new(fields)),
        rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
    }
}

impl Table {
    /// The rows as one batch, every cell cast from its text.
    pub(crate) fn batch(&self) -> RecordBatch {
        let columns = self.schema.fields().iter().enumerate().map(|(at, field)| {
            let texts: ArrayRef = Arc::new(self.rows.iter().map(|row| row[at].as_deref()).collect::<StringArray>());
            let typed = cast(&texts, field.data_type()).expect("a cell of its type");
            assert_eq!(
                typed.null_count(),
                texts.null_count(),
                "a cell of {} is not a {}",
                field.name(),
                field.data_type()
            );
            typed
        });
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options).expect("columns fit")
    }

    /// Puts the table under `name`, in place of what was there.
    pub(crate) fn register(&self, ctx: &SessionContext, name: &str) {
        ctx.deregister_table(name).expect("a session with tables");
        let provider = MemTable::try_new(Arc::clone(&self.schema), vec![vec![self.batch()]]).expect("one schema");
        ctx.register_table(name, Arc::new(provider)).expect("a free name");
    }
}

/// A session with the functions of matching.
pub(crate) fn session(partitions: usize) -> SessionContext {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    sf2gs::matching::register(&ctx);
    ctx
}

/// The same where no lookup has room for more than a few records at a time, and how often one was refused.
pub(crate) fn session_without_room(partitions: usize) -> (SessionContext, Arc<NoRoom>) {
    let pool = Arc::new(NoRoom::default());
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool) as _).build_arc().expect("a runtime");
    let config = SessionConfig::new().with_target_partitions(partitions);
    let ctx = SessionContext::new_with_config_rt(config, runtime);
    sf2gs::matching::register(&ctx);
    (ctx, pool)
}

/// Memory for everything but large lookups.
#[derive(Debug, Default)]
pub(crate) struct NoRoom {
    refused: AtomicUsize,
}

impl NoRoom {
    /// What one lookup may hold: some records of the worlds, in most cases not all.
    const BYTES: usize = 3_000;

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MemoryPool::name(self))
    }
}

impl MemoryPool for NoRoom {
    fn name(&self) -> &str {
        "no room"
    }

    fn grow(&self, _: &MemoryReservation, _: usize) {}

    fn shrink(&self, _: &MemoryReservation, _: usize) {}

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        if reservation.consumer().name() == "LookupExec" && reservation.size() + additional > Self::BYTES {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(DataFusionError::ResourcesExhausted("no room".to_owned()));
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        0
    }
}

/// What a frame gives, as text cells by column name, ordered by the first column.
pub(crate) async fn rows(frame: DataFrame) -> Vec<HashMap<String, Cell>> {
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await.unwrap_or_else(|error| panic!("{error}"));
    let schema = plan.schema();
    let batches = collect(plan, task).await.unwrap_or_else(|error| panic!("{error}"));
    let batch = concat_batches(&schema, &batches).expect("one schema");
    let options = FormatOptions::default();
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| {
            let formatter = ArrayFormatter::try_new(column, &options).expect("printable");
            (0..column.len())
                .map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()))
                .collect::<Vec<Cell>>()
        })
        .collect();
    let mut rows: Vec<HashMap<String, Cell>> = (0..batch.num_rows())
        .map(|row| {
            schema
                .fields()
                .iter()
                .zip(&columns)
                .map(|(field, column)| (field.name().clone(), column[row].clone()))
                .collect()
        })
        .collect();
    let first = schema.field(0).name().clone();
    rows.sort_by(|a, b| a[&first].cmp(&b[&first]));
    rows
}

/// A job of `object` with these fields and nothing mapped yet.
pub(crate) fn job(object: TargetObject, source: &str, fields: &[&str]) -> Job {
    Job {
        name: format!("{object}_sync"),
        title: format!("{object} Sync"),
        salesforce: "salesforce".to_owned(),
        gainsight: "gainsight".to_owned(),
        depends_on: Vec::new(),
        source: Source {
            object: source.to_owned(),
            table: source.to_lowercase(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            condition: None,
        },
        target: Target {
            object,
            operation: Operation::Upsert,
            on_null: OnNull::Overwrite,
            on_delete: OnDelete::Ignore,
            maps: Vec::new(),
            derives: Vec::new(),
        },
    }
}

/// `company.Name` as a field.
pub(crate) fn field(name: &str) -> TargetField {
    let (object, field) = name.split_once('.').expect("object.Field");
    TargetField { object: object.to_owned(), field: field.to_owned() }
}

/// A direct mapping; a `*` behind the target makes it an identifier.
pub(crate) fn map(from: &str, to: &str) -> FieldMap {
    let (to, identifier) = to.strip_suffix('*').map_or((to, false), |to| (to, true));
    FieldMap { from: from.to_owned(), to: field(to), identifier, on_null: OnNull::Overwrite }
}

/// A derived mapping.
pub(crate) fn derive(
    to: &str,
    lookup: &str,
    pairs: &[(&str, &str)],
    on_multiple: OnMultiple,
    on_missing: OnMissing,
) -> Derive {
    let pair = |(from, to): &(&str, &str)| MatchPair { from: (*from).to_owned(), to: (*to).to_owned() };
    Derive {
        to: field(to),
        lookup: lookup.to_owned(),
        pairs: pairs.iter().map(pair).collect(),
        on_multiple,
        on_missing,
    }
}
