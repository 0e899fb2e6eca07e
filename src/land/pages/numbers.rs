//! Pages of numbers of 64 bits and of booleans.

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use parquet::basic::Encoding;
use parquet::file::statistics::Statistics;

use super::PAGE_BYTES;
use super::Result;
use super::encodings;
use super::other_type;

/// What is known of a column of numbers.
pub(super) struct Numbers {
    differences: bool,
    ends: Option<(i64, i64)>,
    /// The numbers of a page.
    page: Vec<i64>,
}

impl Numbers {
    pub(super) fn new(differences: bool) -> Self {
        Self { differences, ends: None, page: Vec::new() }
    }

    pub(super) fn add_page(&mut self, held: &[ArrayRef], statistics: bool, page: &mut Vec<u8>) -> Result<Encoding> {
        self.page.clear();
        for array in held {
            let numbers = numbers(array).ok_or_else(other_type)?;
            match array.nulls() {
                Some(nulls) if nulls.null_count() > 0 => {
                    self.page.extend(numbers.iter().zip(nulls).filter(|(_, valid)| *valid).map(|(number, _)| *number));
                }
                _ => self.page.extend_from_slice(numbers),
            }
        }
        if statistics && let (Some(least), Some(greatest)) = (self.page.iter().min(), self.page.iter().max()) {
            let (before, after) = self.ends.unwrap_or((*least, *greatest));
            self.ends = Some((before.min(*least), after.max(*greatest)));
        }
        page.reserve(size_of_val(self.page.as_slice()) + 64);
        if self.differences {
            encodings::add_differences(&self.page, page);
            return Ok(Encoding::DELTA_BINARY_PACKED);
        }
        self.page.iter().for_each(|number| page.extend_from_slice(&number.to_le_bytes()));
        Ok(Encoding::PLAIN)
    }

    pub(super) fn told(self, nulls: u64) -> Statistics {
        let (least, greatest) = self.ends.unzip();
        Statistics::int64(least, greatest, None, Some(nulls), false)
    }
}

/// How many of so many numbers fit into a page that holds so many bytes, and how long they are; at least the `least`.
pub(super) fn fit(most: usize, held: usize, least: usize) -> (usize, usize) {
    let rows = (PAGE_BYTES.saturating_sub(held) / size_of::<i64>()).clamp(least, most);
    (rows, rows * size_of::<i64>())
}

fn numbers(array: &ArrayRef) -> Option<&ScalarBuffer<i64>> {
    let whole = array.as_primitive_opt::<Int64Type>().map(|numbers| numbers.values());
    whole.or_else(|| array.as_primitive_opt::<TimestampMicrosecondType>().map(|instants| instants.values()))
}

/// Which booleans a column has held.
#[derive(Default)]
pub(super) struct Flags {
    no: bool,
    yes: bool,
}

impl Flags {
    pub(super) fn add_page(&mut self, held: &[ArrayRef], page: &mut Vec<u8>) -> Result<Encoding> {
        let mut bits = BooleanBufferBuilder::new(held.iter().map(|flags| flags.len()).sum());
        for flags in held {
            let flags = flags.as_boolean_opt().ok_or_else(other_type)?;
            if flags.null_count() == 0 {
                bits.append_buffer(flags.values());
            } else {
                flags.iter().flatten().for_each(|flag| bits.append(flag));
            }
            self.yes |= flags.has_true();
            self.no |= flags.has_false();
        }
        page.extend_from_slice(bits.as_slice());
        Ok(Encoding::PLAIN)
    }

    pub(super) fn told(self, nulls: u64) -> Statistics {
        let some = self.no || self.yes;
        Statistics::boolean(some.then_some(!self.no), some.then_some(self.yes), None, Some(nulls), false)
    }
}
