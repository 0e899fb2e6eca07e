//! The mirrors as a few rows need them: only the records whose keys the rows look for.
//!
//! ```text
//!   source (few) ── keys ──▶ company, person, … ── keys ──▶ company_person
//!        │                       │ read once, all records of a wanted key     │
//!        └───────────────────────┴──── held under the same names ─────────────┘ ──▶ the statement, unchanged
//! ```
//!
//! The statement counts how many records share a key, finds the lowest GSID among them and lists them. Over a million
//! records that costs the same for one row as for all of them. But records whose key nobody looks for change no
//! verdict, and so the mirrors are read once beforehand: of every record just the key's columns, and the others of
//! those that are wanted. What is left is held in memory and stands in the mirrors' place.
//!
//! Where a mirror has stored [numbers](crate::matching::number) of the keys' first parts, it is they that are read of every
//! record, a sixth of a key's bytes or less, and the keys of those records alone whose numbers are wanted.
//!
//! All records of a wanted key are kept, or else two would be taken for one. Too many do no harm: keys are compared by
//! number ([`hashes`]), and a record that is looked for in one of two ways comes with both.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::common::DFSchema;
use datafusion::common::HashSet;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::EmptyRelation;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::lit;
use datafusion::logical_expr::or;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::statistics::StatisticsContext;
use futures::TryStreamExt;
use futures::future::try_join_all;

use crate::engine::lookup::hashes;
use crate::land::NUMBER_PREFIX;
use crate::matching::number;

/// Below this many rows the mirrors are narrowed; above, what is narrow already is held (see
/// [`streaming`](crate::engine::lookup::streaming)).
pub(super) const FEW: usize = 50_000;

/// What is held at most. Where more is wanted the mirrors are read as they are.
const MOST_BYTES: usize = 64 << 20;

/// Below so many rows most pages of a large mirror have no record for any of them.
const BY_PAGE: usize = 10_000;

/// One way in which the statement looks for records of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The mirror.
    pub(super) mirror: String,
    /// The key's parts, as the statement reads them there.
    pub(super) keys: Vec<String>,
    /// What else of a record the statement reads, beside its `Gsid`.
    pub(super) rest: Vec<String>,
    /// The table whose rows look for records.
    pub(super) wanted_by: String,
    /// The parts of what they look for.
    pub(super) wanted: Vec<String>,
}

/// How many rows `source` has, as far as it is `told` or the tables' statistics know.
pub(super) async fn count(ctx: &SessionContext, told: Option<usize>) -> Result<Option<usize>> {
    if told.is_some() {
        return Ok(told);
    }
    let source = ctx.table("source").await?.create_physical_plan().await?;
    let counted = StatisticsContext::new().compute(source.as_ref(), &StatisticsArgs::new())?;
    Ok(counted.num_rows.get_value().copied())
}

/// A session like `ctx` in which `source` and the mirrors of `searches` hold no more than its rows need; `None` where that
/// would be too much to hold.
pub(super) async fn narrowed(ctx: &SessionContext, searches: &[Search]) -> Result<Option<SessionContext>> {
    let Some(source) = read(ctx.table("source").await?, FEW, MOST_BYTES).await? else { return Ok(None) };
    let ctx = &by_parts(ctx, source.batches.iter().map(RecordBatch::num_rows).sum::<usize>() < BY_PAGE);
    let mut room = MOST_BYTES - source.bytes;
    let mut held = BTreeMap::from([("source".to_owned(), source)]);
    let mut left: BTreeMap<&str, Vec<&Search>> = BTreeMap::new();
    for search in searches {
        left.entry(&search.mirror).or_default().push(search);
    }
    while !left.is_empty() {
        let known = |search: &&Search| held.contains_key(&search.wanted_by);
        let (ready, waiting): (BTreeMap<_, _>, _) = left.into_iter().partition(|(_, all)| all.iter().all(known));
        if ready.is_empty() {
            return Err(DataFusionError::Internal("two mirrors wait for each other".to_owned()));
        }
        left = waiting;
        let mut frames = Vec::new();
        for (mirror, searches) in &ready {
            frames.push(wanted(ctx, mirror, searches, &held).await?);
        }
        let reading = frames.into_iter().map(|frame| read(frame, usize::MAX, room));
        for (mirror, narrow) in ready.keys().zip(try_join_all(reading).await?) {
            let Some(narrow) = narrow.filter(|narrow| narrow.bytes <= room) else { return Ok(None) };
            room -= narrow.bytes;
            held.insert((*mirror).to_owned(), narrow);
        }
    }
    session(ctx, held).map(Some)
}

/// A session like `ctx` whose readings are dealt out in more parts than there are threads, so that none of them reads on
/// alone for long. `by_page` leaves out pages without wanted records.
fn by_parts(ctx: &SessionContext, by_page: bool) -> SessionContext {
    let state = ctx.state();
    let config = state.config().clone().with_create_default_catalog_and_schema(false);
    let parts = 2 * config.target_partitions();
    let mut config = config.with_target_partitions(parts);
    if by_page {
        let options = &mut config.options_mut().execution.parquet;
        options.enable_page_index = true;
        // What it keeps of a condition's columns it takes by whole batches, all pages of them.
        options.max_predicate_cache_size = Some(0);
    }
    SessionContext::new_with_state(SessionStateBuilder::new_from_existing(state).with_config(config).build())
}

/// A table that is held.
struct Held {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

/// Reads `frame` to its end; `None` if that is more than so many rows or bytes.
async fn read(frame: DataFrame, most_rows: usize, most_bytes: usize) -> Result<Option<Held>> {
    let mut held = Held { schema: Arc::clone(frame.schema().inner()), batches: Vec::new(), bytes: 0 };
    let mut stream = frame.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await? {
        held.bytes += batch.get_array_memory_size();
        rows += batch.num_rows();
        if rows > most_rows || held.bytes > most_bytes {
            return Ok(None);
        }
        if batch.num_rows() > 0 {
            held.batches.push(batch);
        }
    }
    Ok(Some(held))
}

/// The records of `mirror` that `searches` can find, with the columns that the statement reads.
async fn wanted(
    ctx: &SessionContext,
    mirror: &str,
    searches: &[&Search],
    held: &BTreeMap<String, Held>,
) -> Result<DataFrame> {
    let table = ctx.table(mirror).await?;
    let (mut is_wanted, mut may_be): (Vec<Expr>, Vec<Option<Expr>>) = (Vec::new(), Vec::new());
    let mut columns: Vec<Column> = Vec::new();
    for (number, search) in searches.iter().enumerate() {
        let keys = search.keys.iter().map(|sql| table.parse_sql_expr(sql)).collect::<Result<Vec<_>>>()?;
        let rest = search.rest.iter().map(String::as_str).chain(["\"Gsid\""]);
        let rest = rest.map(|sql| table.parse_sql_expr(sql)).collect::<Result<Vec<_>>>()?;
        for column in keys.iter().chain(&rest).flat_map(Expr::column_refs) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let Some(by) = held.get(&search.wanted_by) else { continue };
        let (wanted, stored) = wanted_by(ctx, by, &search.wanted)?;
        if wanted.numbers.is_empty() {
            continue;
        }
        may_be.push(
            number_column(&keys[0], table.schema()).map(|column| stored.call(number, vec![Expr::Column(column)])),
        );
        is_wanted.push(wanted.call(number, keys));
    }
    // The numbers are a condition of their own, which the scan looks at first: of the keys only those are read whose numbers
    // have been found.
    let may_be: Option<Vec<Expr>> = may_be.into_iter().collect();
    let any = |expressions: Vec<Expr>| expressions.into_iter().reduce(or);
    let filter = match (may_be.and_then(any), any(is_wanted)) {
        (Some(may_be), Some(is_wanted)) => may_be.and(is_wanted),
        (_, is_wanted) => is_wanted.unwrap_or(lit(false)),
    };
    // in the table's order, so that the same tables always give the same plan
    let order = table.schema().columns();
    columns.sort_by_key(|column| order.iter().position(|other| other == column));
    table.filter(filter)?.select(columns.into_iter().map(Expr::Column))
}

/// The column with the stored numbers of what `key` is made of, if there is one.
fn number_column(key: &Expr, columns: &DFSchema) -> Option<Column> {
    let field = match key {
        Expr::Column(field) => field,
        Expr::ScalarFunction(call) if ["match_text", "match_id", "nullif"].contains(&call.name()) => {
            call.args.first()?.try_as_col()?
        }
        _ => return None,
    };
    let (table, column) =
        columns.qualified_field_with_unqualified_name(&format!("{NUMBER_PREFIX}{}", field.name)).ok()?;
    Some(Column::new(table.cloned(), column.name()))
}

/// A session like `ctx` with the tables that are `held` and no others. So few rows need no second thread.
fn session(ctx: &SessionContext, held: BTreeMap<String, Held>) -> Result<SessionContext> {
    let state = ctx.state();
    let config = state.config().clone().with_create_default_catalog_and_schema(true).with_target_partitions(1);

    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    let session = SessionContext::new_with_state(state);
    for (name, Held { schema, batches, .. }) in held {
        session.register_table(name, held_table(schema, batches)?)?;
    }
    Ok(session)
}

/// Batches as a table. An empty one is told as such, so that the optimiser drops every join with it.
pub(super) fn held_table(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    if batches.iter().any(|batch| batch.num_rows() > 0) {
        return Ok(Arc::new(MemTable::try_new(schema, vec![batches])?));
    }
    let nothing = EmptyRelation { produce_one_row: false, schema: Arc::new(schema.try_into()?) };
    Ok(Arc::new(ViewTable::new(LogicalPlan::EmptyRelation(nothing), None)))
}

/// What numbers are of.
#[derive(Debug, PartialEq, Eq)]
enum Of {
    /// The whole key, whose parts have these types: numbers are only equal where types are.
    Keys(Vec<DataType>),
    /// The key's first part, worked out when the record was stored.
    StoredNumbers,
}

/// The numbers of wanted keys.
#[derive(Debug)]
struct Wanted {
    of: Of,
    numbers: HashSet<i64>,
    /// A bit for the upper bits of each number: says of nearly all others at once that they are not wanted.
    bits: Vec<u64>,
}

impl Wanted {
    fn new(of: Of, numbers: HashSet<i64>) -> Self {
        let mut bits = vec![0; 1 << (Self::BITS - 6)];
        for number in &numbers {
            let (at, bit) = Self::place(*number);
            bits[at] |= bit;
        }
        Self { of, numbers, bits }
    }

    /// Whether `arguments` are wanted; `search` tells the functions of one statement apart.
    fn call(self, search: usize, arguments: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(IsWanted::new(search, self)).call(arguments)
    }

    const BITS: u32 = 16;

    fn place(number: i64) -> (usize, u64) {
        let upper = number.cast_unsigned() >> (64 - Self::BITS);
        ((upper / 64) as usize, 1 << (upper % 64))
    }

    fn contains(&self, number: i64) -> bool {
        let (at, bit) = Self::place(number);
        self.bits[at] & bit != 0 && self.numbers.contains(&number)
    }
}

/// What `rows` look for by the `parts` of their keys: the keys, and the stored numbers of their first parts.
fn wanted_by(ctx: &SessionContext, rows: &Held, parts: &[String]) -> Result<(Wanted, Wanted)> {
    let schema = DFSchema::try_from(Arc::clone(&rows.schema))?;
    let parts = parts
        .iter()
        .map(|sql| ctx.create_physical_expr(ctx.parse_sql_expr(sql, &schema)?, &schema))
        .collect::<Result<Vec<_>>>()?;
    let types = parts.iter().map(|part| part.data_type(&rows.schema)).collect::<Result<Vec<_>>>()?;
    let (mut wanted, mut stored) = (HashSet::new(), HashSet::new());
    for batch in &rows.batches {
        let columns =
            parts.iter().map(|part| part.evaluate(batch)?.into_array(batch.num_rows())).collect::<Result<Vec<_>>>()?;
        let keys = hashes(&columns, batch.num_rows())?;
        let first = number::numbers(cast(&columns[0], &DataType::Utf8)?.as_string());
        stored.extend(keys.iter().zip(&first).filter_map(|(key, number)| key.and(number)).map(spread));
        wanted.extend(keys.iter().flatten());
    }
    Ok((Wanted::new(Of::Keys(types), wanted), Wanted::new(Of::StoredNumbers, stored)))
}

/// A stored number like the others, which differ in their upper bits.
fn spread(number: i32) -> i64 {
    i64::from(number) << 32 | i64::from(number.cast_unsigned())
}

/// `is_wanted(part, …)`: whether the key is one of those that are wanted. `may_be_wanted(number)`: whether it may be by its
/// stored number, as it may where there is none.
#[derive(Debug)]
struct IsWanted {
    name: String,
    signature: Signature,
    wanted: Wanted,
}

impl IsWanted {
    fn new(number: usize, wanted: Wanted) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let name = match wanted.of {
            Of::Keys(_) => "is_wanted",
            Of::StoredNumbers => "may_be_wanted",
        };
        Self { name: format!("{name}_{}", number + 1), signature, wanted }
    }
}

impl PartialEq for IsWanted {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.wanted.numbers == other.wanted.numbers && self.wanted.of == other.wanted.of
    }
}

impl Eq for IsWanted {}

impl Hash for IsWanted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for IsWanted {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let types = match &self.wanted.of {
            Of::Keys(types) => types,
            Of::StoredNumbers => {
                let numbers = args.args[0].to_array(rows)?;
                let numbers = numbers.as_primitive::<Int32Type>();
                let wanted = |row: usize| numbers.is_null(row) || self.wanted.contains(spread(numbers.value(row)));
                let found = BooleanBuffer::collect_bool(rows, wanted);
                return Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found, None))));
            }
        };
        let parts = args.args.iter().zip(types).map(|(part, kind)| {
            let part = part.to_array(rows)?;
            if part.data_type() == kind { Ok(part) } else { Ok(cast(&part, kind)?) }
        });
        let numbers = hashes(&parts.collect::<Result<Vec<ArrayRef>>>()?, rows)?;
        let wanted = |row: usize| self.wanted.contains(numbers.value(row)) && numbers.is_valid(row);
        let found = BooleanBuffer::collect_bool(rows, wanted);
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found, None))))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int32Array;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::compute::concat_batches;
    use datafusion::prelude::SessionConfig;

    use super::*;

    fn register(ctx: &SessionContext, name: &str, columns: &[(&str, Vec<Option<String>>)]) {
        let columns = columns.iter().map(|(name, cells)| {
            let array: ArrayRef = Arc::new(StringArray::from(cells.clone()));
            (*name, array)
        });
        let _none = ctx.register_batch(name, RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    }

    fn filled(cells: impl Iterator<Item = String>) -> Vec<Option<String>> {
        cells.map(Some).collect()
    }

    fn search(mirror: &str, keys: &[&str], rest: &[&str], wanted_by: &str, wanted: &[&str]) -> Search {
        let owned = |texts: &[&str]| texts.iter().map(|text| format!("\"{text}\"")).collect();
        Search {
            mirror: mirror.to_owned(),
            keys: owned(keys),
            rest: owned(rest),
            wanted_by: wanted_by.to_owned(),
            wanted: owned(wanted),
        }
    }

    /// Ten thousand persons of whom every two share a name, and their dogs.
    fn session() -> SessionContext {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let gsids = || filled((0..10_000).map(|at| format!("P{at}")));
        let names = filled((0..10_000).map(|at| format!("name {}", at / 2)));
        register(&ctx, "persons", &[("Unread", gsids()), ("Name", names), ("Gsid", gsids())]);
        let dogs = filled((0..10_000).map(|at| format!("D{at}")));
        register(&ctx, "dogs", &[("Gsid", dogs), ("Owner", gsids()), ("Walker", gsids())]);
        let names = vec![Some("name 7".to_owned()), None, Some("nobody".to_owned())];
        let walkers = vec![Some("P4711".to_owned()), Some("P14".to_owned()), None];
        register(&ctx, "source", &[("Name", names), ("Walker", walkers)]);
        ctx
    }

    async fn ids(ctx: &SessionContext, table: &str) -> Vec<String> {
        let batches =
            ctx.sql(&format!("SELECT \"Gsid\" FROM {table} ORDER BY 1")).await.unwrap().collect().await.unwrap();
        let cells = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter());
        cells.flatten().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn all_records_of_a_wanted_key_are_kept_and_those_that_they_lead_to() {
        let searches = [
            search("dogs", &["Owner"], &[], "persons", &["Gsid"]),
            search("persons", &["Name"], &[], "source", &["Name"]),
            search("dogs", &["Walker"], &[], "source", &["Walker"]),
        ];
        let ctx = session();
        let narrow = narrowed(&ctx, &searches).await.unwrap().unwrap();
        assert_eq!(ids(&narrow, "persons").await, ["P14", "P15"]);
        assert_eq!(ids(&narrow, "dogs").await, ["D14", "D15", "D4711"]);
        let read = narrow.table("persons").await.unwrap();
        assert_eq!(read.schema().field_names().len(), 2, "only the columns that are named");
        assert_eq!(ids(&ctx, "persons").await.len(), 10_000, "the session itself stays as it is");
    }

    #[tokio::test]
    async fn stored_numbers_say_which_keys_are_read() {
        let searches = [
            search("persons", &["Name"], &[], "source", &["Name"]),
            search("persons", &["Gsid", "Name"], &[], "source", &["Walker", "Name"]),
        ];
        let ctx = session();
        let persons = ctx.table("persons").await.unwrap().collect().await.unwrap();
        let persons = concat_batches(&persons[0].schema(), &persons).unwrap();
        // the persons with such numbers as `change` makes of theirs
        let numbered = |change: &dyn Fn(usize, Option<i32>) -> Option<i32>| {
            let column = |name: &str| (name.to_owned(), Arc::clone(persons.column_by_name(name).unwrap()));
            let numbers = |field: &str| {
                let numbers = number::numbers(persons.column_by_name(field).unwrap().as_string());
                let changed: Int32Array = numbers.iter().enumerate().map(|(at, number)| change(at, number)).collect();
                (format!("{NUMBER_PREFIX}{field}"), Arc::new(changed) as ArrayRef)
            };
            let columns = ["Unread", "Name", "Gsid"].map(column).into_iter().chain(["Name", "Gsid"].map(numbers));
            ctx.deregister_table("persons").unwrap();
            let _none = ctx.register_batch("persons", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        };
        for lost in [0, 1, 3] {
            numbered(&|at, number| number.filter(|_| lost == 0 || at % lost != 0));
            let narrow = narrowed(&ctx, &searches).await.unwrap().unwrap();
            assert_eq!(ids(&narrow, "persons").await, ["P14", "P15"], "where no number is known the key is read");
            assert_eq!(narrow.table("persons").await.unwrap().schema().field_names().len(), 2, "numbers are not held");
        }
        numbered(&|_, _| Some(1));
        let narrow = narrowed(&ctx, &searches).await.unwrap().unwrap();
        assert!(ids(&narrow, "persons").await.is_empty(), "where one is known the key is not read");
    }

    #[tokio::test]
    async fn what_is_too_much_to_hold_is_not_narrowed() {
        let searches = [search("persons", &["Name"], &[], "source", &["Name"])];
        let ctx = session();
        let rows: Vec<_> = (0..=FEW).map(|at| Some(format!("name {at}"))).collect();
        ctx.deregister_table("source").unwrap();
        register(&ctx, "source", &[("Name", rows)]);
        assert_eq!(count(&ctx, None).await.unwrap(), Some(FEW + 1));
        assert!(narrowed(&ctx, &searches).await.unwrap().is_none());
        assert!(read(ctx.table("persons").await.unwrap(), usize::MAX, 1_000).await.unwrap().is_none());
    }
}
