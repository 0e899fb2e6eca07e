//! `repeated(number)`: the numbers that come more than once, as a list; NULL is none.
//!
//! It asks of a million keys which of them need a second look, and the answer is nearly always: hardly any. Grouping and
//! counting would build a table of all of them. Here the numbers are kept as they come, and gone through twice at the end:
//! the first time each marks a bit, and one that finds its bit marked marks another; the second time only the numbers
//! with that other mark are sorted and compared.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::ListArray;
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::AggregateUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::scalar::ScalarValue;

/// Bits for each number: so many that most numbers have one of their own.
const BITS: usize = 16;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Repeated {
    signature: Signature,
}

impl Repeated {
    pub(super) fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Repeated {
    fn name(&self) -> &str {
        "repeated"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item()))
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Numbers::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[numbers]", args.name), DataType::List(item()), true))])
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

fn list(numbers: Vec<i64>) -> ScalarValue {
    let offsets = OffsetBuffer::from_lengths([numbers.len()]);
    ScalarValue::List(Arc::new(ListArray::new(item(), offsets, Arc::new(Int64Array::from(numbers)), None)))
}

/// The numbers so far.
#[derive(Debug, Default)]
struct Numbers {
    all: Vec<i64>,
}

impl Numbers {
    fn add(&mut self, numbers: &Int64Array) {
        match numbers.null_count() {
            0 => self.all.extend_from_slice(numbers.values()),
            _ => self.all.extend(numbers.iter().flatten()),
        }
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for numbers in values {
            self.add(numbers.as_primitive::<Int64Type>());
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for lists in states {
            for numbers in lists.as_list::<i32>().iter().flatten() {
                self.add(numbers.as_primitive::<Int64Type>());
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(std::mem::take(&mut self.all))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(list(repeated(&std::mem::take(&mut self.all))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.all.capacity() * size_of::<i64>()
    }
}

/// Those of `all` that are there more than once, each once, in order.
fn repeated(all: &[i64]) -> Vec<i64> {
    let mut once = Marks::for_numbers(all.len());
    let mut again = Marks::for_numbers(all.len());
    for number in all {
        if once.mark(*number) {
            again.mark(*number);
        }
    }
    let mut suspects: Vec<i64> = all.iter().copied().filter(|number| again.has(*number)).collect();
    suspects.sort_unstable();
    let mut found: Vec<i64> = suspects.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    found.dedup();
    found
}

/// A bit for every number, which several may share. Bits begin as ones: memory that begins as zeros would be mapped twice,
/// to be read and then to be written.
struct Marks {
    bits: Vec<u64>,
    shift: u32,
}

impl Marks {
    fn for_numbers(count: usize) -> Self {
        let bits = (count.max(4) * BITS).next_power_of_two();
        Self { bits: vec![u64::MAX; bits / 64], shift: 64 - bits.trailing_zeros() }
    }

    fn place(&self, number: i64) -> (usize, u64) {
        // Numbers need not be spread out: multiplied by an odd constant their upper bits are.
        let bit = number.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    /// Sets the mark, and says whether it was there.
    fn mark(&mut self, number: i64) -> bool {
        let (at, bit) = self.place(number);
        let was = self.bits[at] & bit == 0;
        self.bits[at] &= !bit;
        was
    }

    fn has(&self, number: i64) -> bool {
        let (at, bit) = self.place(number);
        self.bits[at] & bit == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::RecordBatch;
    use datafusion::execution::context::SessionContext;
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::prelude::SessionConfig;

    use super::*;

    #[test]
    fn the_same_as_counting() {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).cast_signed()
        };
        for (count, range) in [(0, 1), (1, 1), (2, 1), (50, 20), (10_000, 1 << 30), (10_000, 9_000), (3_000, 3)] {
            let all: Vec<i64> = (0..count).map(|_| next() % range - range / 2).collect();
            let mut counts = BTreeMap::new();
            for number in &all {
                *counts.entry(*number).or_insert(0) += 1;
            }
            let expected: Vec<i64> = counts.into_iter().filter(|(_, times)| *times > 1).map(|(n, _)| n).collect();
            assert_eq!(repeated(&all), expected, "{count} of {range}");
        }
    }

    #[tokio::test]
    async fn as_a_query_over_several_threads() {
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3));
        ctx.register_udaf(AggregateUDF::new_from_impl(Repeated::new()));
        let ask = async |sql: &str| {
            let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
            let cells = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter());
            cells.flatten().collect::<Vec<_>>()
        };
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
        let _ = ctx.register_batch("rows", RecordBatch::try_from_iter([("value", values)]).unwrap()).unwrap();
        let rows = "SELECT CASE WHEN value % 5 = 0 THEN NULL ELSE value % 40000 END AS number FROM rows";
        let found = ask(&format!("SELECT unnest(repeated(number)) AS number FROM ({rows})")).await;
        assert_eq!(found, (0..10_000).filter(|number| number % 5 != 0).collect::<Vec<_>>());
        let none = "SELECT unnest(repeated(value)) AS number FROM rows";
        assert_eq!(ask(none).await, Vec::<i64>::new());
        assert_eq!(ask(&format!("SELECT value FROM rows WHERE value IN ({none})")).await, Vec::<i64>::new());
    }
}
