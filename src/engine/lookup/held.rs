//! Records in memory, found by key.
//!
//! They stay in the batches in which they were read: put together as one they would be held twice for a while, and memory
//! touched for the first time is dear. A table leads from a key's hash to the record; keys decide.
//!
//! Records that take more than most of what memory there is are [dealt out](crate::engine::lookup::dealt) instead, and held part
//! by part.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::DynComparator;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::array::make_comparator;
use datafusion::arrow::array::new_null_array;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Literal;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use futures::stream::BoxStream;

use crate::engine::lookup::dealt::Dealer;
use crate::engine::lookup::dealt::Dealt;
use crate::engine::lookup::dealt::PARTS;
use crate::engine::lookup::key_hash::hashes;

/// Records to be found by key.
#[derive(Debug, Clone)]
pub(super) enum Records {
    /// All are held.
    Held(Arc<Held>),
    /// They are too many for that.
    Parted(Arc<Parted>),
}

/// What is held.
#[derive(Debug)]
pub(super) struct Held {
    batches: Vec<RecordBatch>,
    /// For each batch, its keys.
    keys: Vec<Vec<ArrayRef>>,
    table: Table,
    /// Its share of the memory pool, for as long as it is held.
    _memory: MemoryReservation,
}

/// Records in parts, of which one is held at a time: the parts of a key, and then what is kept of a record.
pub(super) struct Parted {
    dealt: Dealt,
    keys: usize,
}

impl Records {
    /// Reads `stream`, whose records have these `keys`, to its end. Of its columns only those at `kept` are held.
    pub(super) async fn read(
        mut stream: SendableRecordBatchStream,
        keys: &[PhysicalExprRef],
        kept: &[usize],
        context: &TaskContext,
    ) -> Result<Self> {
        let schema = stream.schema();
        let parts_of_key = keys.iter().enumerate().map(|(at, key)| {
            let kind = key.data_type(&schema)?;
            Ok(Arc::new(Field::new(format!("key {at}"), kind, true)))
        });
        let fields = parts_of_key.chain(kept.iter().map(|at| Ok(Arc::clone(&schema.fields()[*at]))));
        let dealt = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let mut reading = Reading::new(context);
        let mut dealer: Option<Dealer> = None;
        while let Some(batch) = stream.try_next().await? {
            let room = dealer.is_some() || reading.has_room_for(batch.get_array_memory_size(), context);
            if !room {
                dealer = Some(reading.deal(&dealt, context)?);
            }
            for from in (0..batch.num_rows()).step_by(Place::ROWS) {
                let part = batch.slice(from, Place::ROWS.min(batch.num_rows() - from));
                let (keys, part) = (evaluated(keys, &part)?, part.project(kept)?);
                match &mut dealer {
                    Some(dealer) => deal(dealer, &keys, &part)?,
                    None => reading.add(keys, part),
                }
            }
        }
        if dealer.is_none() && !reading.has_room_for(Table::bytes(reading.records), context) {
            dealer = Some(reading.deal(&dealt, context)?);
        }
        Ok(match dealer {
            Some(dealer) => Self::Parted(Arc::new(Parted { dealt: dealer.finish()?, keys: keys.len() })),
            None => Self::Held(Arc::new(reading.finish()?)),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Held(held) if held.batches.is_empty())
    }

    /// The types of a key's parts; none where there is no record.
    pub(super) fn key_types(&self) -> Vec<DataType> {
        match self {
            Self::Held(held) => held.keys.first().into_iter().flatten().map(|part| part.data_type().clone()).collect(),
            Self::Parted(parted) => {
                parted.dealt.schema().fields()[..parted.keys].iter().map(|field| field.data_type().clone()).collect()
            }
        }
    }

    /// The numbers of the keys that several records have, as `key_hash` gives them: each once.
    pub(super) fn repeated(&self, context: &TaskContext) -> Result<Int64Array> {
        let mut numbers = match self {
            Self::Held(held) => held.table.repeated.clone(),
            Self::Parted(parted) => {
                let each = (0..PARTS).map(|part| Ok(parted.hold(part, context)?.table.repeated));
                each.collect::<Result<Vec<_>>>()?.concat()
            }
        };
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers.into())
    }

    /// What is kept of the records, batch by batch.
    pub(super) fn batches(&self) -> BoxStream<'static, Result<RecordBatch>> {
        match self {
            Self::Held(held) => stream::iter(held.batches.clone()).map(Ok).boxed(),
            Self::Parted(parted) => {
                let parted = Arc::clone(parted);
                let parts = (0..PARTS).map(move |part| Ok::<_, DataFusionError>(stream::iter(parted.kept(part)?)));
                stream::iter(parts).try_flatten().boxed()
            }
        }
    }
}

impl fmt::Debug for Parted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parted").field("schema", self.dealt.schema()).finish_non_exhaustive()
    }
}

impl Parted {
    /// Holds the records of a part.
    ///
    /// # Errors
    /// `ResourcesExhausted` if there is no room for them.
    pub(super) fn hold(&self, part: usize, context: &TaskContext) -> Result<Held> {
        let mut reading = Reading::new(context);
        let (keys, kept) = self.columns();
        for batch in self.dealt.read(part)? {
            let batch = batch?;
            // The columns of a block are parts of one piece of memory.
            let bytes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
            reading.memory.try_grow(bytes.sum::<std::result::Result<_, _>>()?)?;
            for from in (0..batch.num_rows()).step_by(Place::ROWS) {
                let part = batch.slice(from, Place::ROWS.min(batch.num_rows() - from));
                reading.add(part.project(&keys)?.columns().to_vec(), part.project(&kept)?);
            }
        }
        reading.memory.try_grow(Table::bytes(reading.records))?;
        reading.finish()
    }

    /// What is kept of the records of a part.
    fn kept(&self, part: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let (_, kept) = self.columns();
        Ok(self.dealt.read(part)?.map(move |batch| Ok(batch?.project(&kept)?)))
    }

    fn columns(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.dealt.schema().fields().len()).partition(|at| *at < self.keys)
    }
}

/// Records on their way to be held.
struct Reading {
    batches: Vec<RecordBatch>,
    keys: Vec<Vec<ArrayRef>>,
    records: usize,
    memory: MemoryReservation,
}

impl Reading {
    fn new(context: &TaskContext) -> Self {
        let memory = MemoryConsumer::new("LookupExec").register(context.memory_pool());
        Self { batches: Vec::new(), keys: Vec::new(), records: 0, memory }
    }

    /// Whether so much more may be held, which is taken then. A quarter of the memory is left to those who hold parts, and to
    /// sorts and aggregations beside them.
    fn has_room_for(&self, bytes: usize, context: &TaskContext) -> bool {
        let pool = context.memory_pool();
        match pool.memory_limit() {
            MemoryLimit::Finite(limit) if pool.reserved() + bytes > limit / 4 * 3 => false,
            _ => self.memory.try_grow(bytes).is_ok(),
        }
    }

    fn add(&mut self, keys: Vec<ArrayRef>, batch: RecordBatch) {
        self.records += batch.num_rows();
        self.keys.push(keys);
        self.batches.push(batch);
    }

    /// Deals out all that is held, and lets go of it.
    fn deal(&mut self, schema: &SchemaRef, context: &TaskContext) -> Result<Dealer> {
        tracing::info!(
            "records do not fit into memory: they are put into the spill folder and looked at part by part, which takes \
             longer; the limit is `[engine] memory_limit` in sf2gs.toml"
        );
        let mut dealer = Dealer::new(schema, context)?;
        for (keys, batch) in self.keys.drain(..).zip(self.batches.drain(..)) {
            deal(&mut dealer, &keys, &batch)?;
        }
        self.memory.free();
        Ok(dealer)
    }

    fn finish(self) -> Result<Held> {
        let table = Table::of(&self.keys, self.records)?;
        Ok(Held { batches: self.batches, keys: self.keys, table, _memory: self.memory })
    }
}

/// Deals records out: the parts of their keys, and then what is kept of them.
fn deal(dealer: &mut Dealer, keys: &[ArrayRef], kept: &RecordBatch) -> Result<()> {
    let numbers = hashes(keys, kept.num_rows())?;
    let columns = keys.iter().chain(kept.columns()).map(Arc::clone).collect();
    dealer.deal(&RecordBatch::try_new(Arc::clone(dealer.schema()), columns)?, &numbers)
}

impl Held {
    /// What `exprs` make of the records, for [`Found::beside`].
    pub(super) fn given(&self, exprs: &[PhysicalExprRef], schema: &SchemaRef) -> Result<Vec<Given>> {
        let each = exprs.iter().map(|expr| {
            if let Some(literal) = expr.downcast_ref::<Literal>() {
                return Ok(Given::Same(literal.value().clone()));
            }
            let mut arrays = vec![new_null_array(&expr.data_type(schema)?, 1)];
            for batch in &self.batches {
                arrays.push(expr.evaluate(batch)?.into_array(batch.num_rows())?);
            }
            Ok(Given::Arrays(arrays))
        });
        each.collect()
    }

    /// For each of these keys the first record that has it.
    fn first(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Option<Place>>> {
        let numbers = hashes(keys, rows)?;
        let equal = self.keys.iter().map(|held| equality(keys, held)).collect::<Result<Vec<_>>>()?;
        Ok(self.table.find(&numbers, |row, place| equal[place.batch()](row, place.row())))
    }

    /// Which of these keys some record has.
    pub(super) fn has(&self, keys: &[ArrayRef], rows: usize) -> Result<BooleanArray> {
        Ok(self.first(keys, rows)?.iter().map(|place| Some(place.is_some())).collect())
    }

    /// Finds the records with these keys.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Found> {
        let found = self.first(keys, rows)?;
        let (rows_of, found) = match self.table.all(&found) {
            None => (None, found),
            Some((rows_of, found)) => (Some(rows_of), found),
        };
        let places = found.iter().map(|place| place.map_or((0, 0), |place| (place.batch() + 1, place.row()))).collect();
        Ok(Found { rows_of, places })
    }
}

/// What the records have of one column.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// An array for each batch, behind one with a NULL for rows that find nothing.
    Arrays(Vec<ArrayRef>),
    /// All the same.
    Same(ScalarValue),
}

/// The records that rows have found.
pub(super) struct Found {
    /// The row of each match, where some rows have several.
    pub(super) rows_of: Option<UInt32Array>,
    places: Vec<(usize, usize)>,
}

impl Found {
    pub(super) fn matches(&self) -> usize {
        self.places.len()
    }

    /// What stands beside the rows.
    pub(super) fn beside(&self, given: &Given) -> Result<ArrayRef> {
        let arrays = match given {
            Given::Arrays(arrays) => arrays,
            Given::Same(value) if value.is_null() => return value.to_array_of_size(self.matches()),
            Given::Same(value) => {
                let arrays = [new_null_array(&value.data_type(), 1), value.to_array()?];
                let found: Vec<_> = self.places.iter().map(|(batch, _)| ((*batch).min(1), 0)).collect();
                return Ok(interleave(&[&arrays[0], &arrays[1]], &found)?);
            }
        };
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(interleave(&arrays, &self.places)?)
    }
}

pub(super) fn evaluated(keys: &[PhysicalExprRef], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Whether a row on one side and a row on the other have equal keys.
fn equality(these: &[ArrayRef], those: &[ArrayRef]) -> Result<impl Fn(usize, usize) -> bool + use<>> {
    let parts = these
        .iter()
        .zip(those)
        .map(|(this, that)| Ok(make_comparator(this.as_ref(), that.as_ref(), SortOptions::default())?))
        .collect::<Result<Vec<DynComparator>>>()?;
    Ok(move |this, that| parts.iter().all(|part| part(this, that).is_eq()))
}

/// A held record: the number of its batch, and its row there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

impl Place {
    /// Rows of a batch at most; there can be as many batches, less one.
    pub(super) const ROWS: usize = 1 << 16;

    fn new(batch: usize, row: usize) -> Result<Self> {
        match u16::try_from(batch) {
            Ok(batch) if batch < u16::MAX => Ok(Self(u32::from(batch) << 16 | (row % Self::ROWS) as u32)),
            _ => Err(DataFusionError::Execution("a lookup cannot hold so many records".to_owned())),
        }
    }

    fn batch(self) -> usize {
        (self.0 >> 16) as usize
    }

    fn row(self) -> usize {
        self.0 as usize % Self::ROWS
    }
}

/// From keys' hashes to the record that has the key, and from that to others with the same key.
#[derive(Debug)]
struct Table {
    /// A record's place, below the upper half of its key's hash, or [`FREE`]. Looked through from a hash's own slot on.
    slots: Vec<u64>,
    shift: u32,
    /// The next record with the same key.
    next: HashMap<Place, Place>,
    /// The numbers of keys that come again, each as often as it does.
    repeated: Vec<i64>,
}

const UPPER: u64 = !(u32::MAX as u64);

/// No record: the place would be in the batch that there cannot be. Memory that begins as zeros would be mapped twice, to
/// be read and then to be written, which halts all threads.
const FREE: u64 = u64::MAX;

impl Table {
    /// Twice as many slots as records or more, so that hardly any slot but the first is looked at.
    fn slots(records: usize) -> usize {
        (records.max(1) * 2).next_power_of_two()
    }

    fn bytes(records: usize) -> usize {
        Self::slots(records) * size_of::<u64>()
    }

    fn of(keys: &[Vec<ArrayRef>], records: usize) -> Result<Self> {
        let slots = Self::slots(records);
        let shift = 64 - slots.trailing_zeros();
        let mut table = Self { slots: vec![FREE; slots], shift, next: HashMap::default(), repeated: Vec::new() };
        // From the last to the first, so that of several records with one key the first is found first.
        for (batch, keys_here) in keys.iter().enumerate().rev() {
            let rows = keys_here.first().map_or(0, Array::len);
            let numbers = hashes(keys_here, rows)?;
            for row in (0..rows).rev().filter(|row| numbers.is_valid(*row)) {
                let hash = numbers.value(row).cast_unsigned();
                let place = Place::new(batch, row)?;
                // What cannot be compared at all is told where the rows are compared.
                let same = |there: Place, those| equality(keys_here, those).is_ok_and(|equal| equal(row, there.row()));
                let (slot, there) =
                    table.look(hash, |other| keys.get(other.batch()).is_some_and(|those| same(other, those)));
                if let Some(other) = there {
                    table.next.insert(place, other);
                    table.repeated.push(numbers.value(row));
                }
                table.slots[slot] = hash & UPPER | u64::from(place.0);
            }
        }
        Ok(table)
    }

    /// The slot of a key and the record in it; where there is none, the slot that it would take.
    fn look(&self, hash: u64, mut is_it: impl FnMut(Place) -> bool) -> (usize, Option<Place>) {
        let mut slot = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let entry = self.slots[slot];
            if entry == FREE {
                return (slot, None);
            }
            let place = Place((entry & !UPPER) as u32);
            if entry & UPPER == hash & UPPER && is_it(place) {
                return (slot, Some(place));
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// For each key the first record that has it.
    fn find(&self, numbers: &Int64Array, equal: impl Fn(usize, Place) -> bool) -> Vec<Option<Place>> {
        // The records by their hashes first, then the keys: so the many places in memory are asked for at the same time
        // and not one after the other.
        let likely = |number: i64| self.look(number.cast_unsigned(), |_| true).1;
        let likely: Vec<Option<Place>> = numbers.iter().map(|number| number.and_then(likely)).collect();
        let sure = |(row, likely): (usize, Option<Place>)| match likely? {
            place if equal(row, place) => Some(place),
            _ => self.look(numbers.value(row).cast_unsigned(), |place| equal(row, place)).1,
        };
        likely.into_iter().enumerate().map(sure).collect()
    }

    /// Where a key has several records: for each match its row, and the record. `None` where `found` is all there is.
    fn all(&self, found: &[Option<Place>]) -> Option<(UInt32Array, Vec<Option<Place>>)> {
        if self.next.is_empty() || !found.iter().flatten().any(|place| self.next.contains_key(place)) {
            return None;
        }
        let (mut rows, mut all) = (Vec::new(), Vec::new());
        for (row, first) in (0_u32..).zip(found) {
            rows.push(row);
            all.push(*first);
            let mut last = *first;
            while let Some(more) = last.and_then(|place| self.next.get(&place)) {
                rows.push(row);
                all.push(Some(*more));
                last = Some(*more);
            }
        }
        Some((UInt32Array::from(rows), all))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    async fn read(limit: usize) -> (Records, Arc<dyn MemoryPool>) {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(limit, 1.0).build_arc().unwrap();
        let pool = Arc::clone(&runtime.memory_pool);
        let context = TaskContext::default().with_runtime(runtime);
        let batches: Vec<RecordBatch> = (0..100)
            .map(|at| {
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(at * 1_000..(at + 1) * 1_000));
                RecordBatch::try_from_iter([("key", Arc::clone(&numbers)), ("kept", numbers)]).unwrap()
            })
            .collect();
        let rows = RecordBatchStreamAdapter::new(batches[0].schema(), stream::iter(batches).map(Ok));
        let key: PhysicalExprRef = Arc::new(Column::new("key", 0));
        (Records::read(Box::pin(rows), &[key], &[1], &context).await.unwrap(), pool)
    }

    #[tokio::test]
    async fn a_quarter_of_the_memory_is_left_to_parts_and_others() {
        let (records, pool) = read(1 << 30).await;
        let taken = pool.reserved();
        assert!(matches!(records, Records::Held(_)) && taken > 1_600_000);
        for (limit, whole) in [(taken * 7 / 5, true), (taken * 6 / 5, false), (taken / 2, false)] {
            let (records, pool) = read(limit).await;
            assert_eq!(matches!(records, Records::Held(_)), whole, "{taken} of {limit}");
            assert_eq!(pool.reserved(), if whole { taken } else { 0 });
        }
    }
}
