//! Columns that grow cell by cell, straight from the bytes of a page.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::BooleanBufferBuilder;
use datafusion::arrow::array::NullBufferBuilder;
use datafusion::arrow::array::PrimitiveArray;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::buffer::ScalarBuffer;
use datafusion::arrow::datatypes::ArrowPrimitiveType;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Date32Type;
use datafusion::arrow::datatypes::Decimal128Type;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::error::ArrowError;

use crate::extract::split;
use crate::extract::split::ColumnSpans;
use crate::extract::split::Span;

use super::cells;
use super::types::SF_TYPE;

/// A column under construction. An empty cell is null, and nothing else is.
pub(super) struct Column {
    kind: Kind,
    nulls: NullBufferBuilder,
    /// Decimal cells that had more digits than the field's scale.
    rounded: u64,
}

enum Kind {
    Text(Texts),
    /// The record's own id: must be there and be one.
    Id(Texts),
    /// Another record's id, made 18 characters; text that is no id stays as it is.
    Reference(Texts),
    Boolean(BooleanBufferBuilder),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Date(Vec<i32>),
    Instant(Vec<i64>),
}

/// Which texts a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ids {
    /// Ids, made 18 characters; nothing is none.
    Only,
    /// Ids, made 18 characters, and other texts as they are.
    Made,
    /// All as they are.
    Any,
}

/// The buffers of a text column.
struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

/// Cells up to this long, and up to twice as long, are copied with what follows them, which the next cell is written over:
/// a copy of one length takes a fraction of the time of one of just the right length.
const WIDE: usize = 32;

/// Bytes of cells that are on their way into a column: so few that they stay next to the processor.
const NEAR_BYTES: usize = 2_048;

/// Cells that are on their way into a column.
struct Near {
    bytes: [u8; NEAR_BYTES],
    filled: usize,
}

impl Near {
    /// Adds the first so many of `N` bytes if there is room for all of them.
    #[inline]
    fn push_wide<const N: usize>(&mut self, wide: &[u8; N], length: usize) -> bool {
        let room = self.bytes.get_mut(self.filled..).and_then(<[u8]>::first_chunk_mut);
        let Some(room) = room.filter(|_| length <= N) else { return false };
        *room = *wide;
        self.filled += length;
        true
    }

    /// Adds a cell of `bytes` that is taken as it is, and is short, and not among the last bytes; says whether it did.
    #[inline]
    fn push<const ANY: bool>(&mut self, bytes: &[u8], span: Span, ids: Ids) -> bool {
        let (rest, length) = (bytes.get(span.start()..).unwrap_or_default(), span.length());
        let Some(wide) = rest.first_chunk::<WIDE>().filter(|_| !span.doubled()) else { return false };
        if length <= WIDE {
            let taken = ANY || (length == 0 && ids == Ids::Made) || cells::is_id18(&wide[..length]);
            return taken && self.push_wide(wide, length);
        }
        ANY && rest.first_chunk::<{ 2 * WIDE }>().is_some_and(|wide| self.push_wide(wide, length))
    }

    fn empty_into(&mut self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.bytes[..self.filled]);
        self.filled = 0;
    }
}

impl Texts {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets }
    }

    /// Adds cells of `bytes`. Gives whether any is empty, or the number of the first that is not taken.
    fn push_all(&mut self, bytes: &[u8], cells: ColumnSpans<'_>, ids: Ids) -> Result<bool, usize> {
        match ids {
            Ids::Any => self.push_as::<true>(bytes, cells, ids),
            Ids::Only | Ids::Made => self.push_as::<false>(bytes, cells, ids),
        }
    }

    fn push_as<const ANY: bool>(&mut self, bytes: &[u8], cells: ColumnSpans<'_>, ids: Ids) -> Result<bool, usize> {
        let mut any_empty = false;
        let mut near = Near { bytes: [0; NEAR_BYTES], filled: 0 };
        let Self { bytes: texts, offsets } = self;
        let mut begin = texts.len();
        let rows = offsets.len();
        offsets.resize(rows + cells.rows(), 0);
        for ((row, span), offset) in cells.iter().enumerate().zip(&mut offsets[rows..]) {
            any_empty |= span.is_empty();
            if !near.push::<ANY>(bytes, span, ids) {
                near.empty_into(texts);
                push_slowly(texts, bytes, span, ids).ok_or(row)?;
                begin = texts.len();
            }
            *offset = (begin + near.filled) as i32;
        }
        near.empty_into(texts);
        // A block ends with a cell that is as long as that.
        if i32::try_from(texts.len()).is_err() { Err(cells.rows().saturating_sub(1)) } else { Ok(any_empty) }
    }

    /// Takes the bytes and offsets, and makes room for as many.
    fn take(&mut self) -> (Vec<u8>, Vec<i32>) {
        let used = self.bytes.len();
        let next = Self::with_capacity(self.offsets.len(), used + used / 8 + 2 * WIDE);
        let Self { bytes, offsets, .. } = std::mem::replace(self, next);
        (bytes, offsets)
    }
}

/// Adds a cell of `bytes`; `None` if it is not taken.
#[inline(never)]
fn push_slowly(texts: &mut Vec<u8>, bytes: &[u8], span: Span, ids: Ids) -> Option<()> {
    let mut scratch = Vec::new();
    let cell = split::cell(bytes, span, &mut scratch);
    let id = if ids == Ids::Any || cell.is_empty() { None } else { cells::id(cell) };
    if ids == Ids::Only && id.is_none() {
        return None;
    }
    texts.extend_from_slice(id.as_deref().unwrap_or(cell));
    Some(())
}

impl Column {
    /// A column for this field; `None` for a type that no Salesforce field becomes.
    pub(super) fn new(field: &Field, rows: usize) -> Option<Self> {
        let texts = || Texts::with_capacity(rows, rows * 16);
        let kind = match field.data_type() {
            DataType::Utf8 => match field.metadata().get(SF_TYPE).map(String::as_str) {
                Some("id") if !field.name().contains('.') => Kind::Id(texts()),
                Some("id" | "reference" | "masterrecord") => Kind::Reference(texts()),
                _ => Kind::Text(texts()),
            },
            DataType::Boolean => Kind::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Int32 => Kind::Int32(Vec::with_capacity(rows)),
            DataType::Int64 => Kind::Int64(Vec::with_capacity(rows)),
            DataType::Float64 => Kind::Float64(Vec::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                Kind::Decimal { values: Vec::with_capacity(rows), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Kind::Date(Vec::with_capacity(rows)),
            DataType::Timestamp(_, _) => Kind::Instant(Vec::with_capacity(rows)),
            _ => return None,
        };
        Some(Self { kind, nulls: NullBufferBuilder::new(rows), rounded: 0 })
    }

    /// Adds a cell; `None` if it is no value of this column.
    pub(super) fn push(&mut self, cell: &[u8]) -> Option<()> {
        let cells = ColumnSpans { cells: &[Span::whole(cell)?], width: 1, column: 0 };
        self.push_all(cell, cells).ok()
    }

    /// Adds cells of `bytes`; the number of the first that is no value of this column.
    pub(super) fn push_all(&mut self, bytes: &[u8], cells: ColumnSpans<'_>) -> Result<(), usize> {
        let any_empty = match &mut self.kind {
            Kind::Text(texts) => texts.push_all(bytes, cells, Ids::Any),
            Kind::Id(texts) => texts.push_all(bytes, cells, Ids::Only),
            Kind::Reference(texts) => texts.push_all(bytes, cells, Ids::Made),
            Kind::Boolean(values) => read_all(bytes, cells, cells::boolean, |value| values.append(value)),
            Kind::Int32(values) => {
                let read = |cell: &[u8]| i32::try_from(cells::integer(cell)?).ok();
                read_all(bytes, cells, read, |value| values.push(value))
            }
            Kind::Int64(values) => read_all(bytes, cells, cells::integer, |value| values.push(value)),
            Kind::Float64(values) => read_all(bytes, cells, cells::float, |value| values.push(value)),
            Kind::Date(values) => read_all(bytes, cells, cells::day, |value| values.push(value)),
            Kind::Instant(values) => read_all(bytes, cells, cells::instant, |value| values.push(value)),
            Kind::Decimal { values, precision, scale } => {
                let most = 10_u128.pow(u32::from(*precision));
                let read = |cell: &[u8]| cells::decimal(cell, *scale).filter(|(value, _)| value.unsigned_abs() < most);
                read_all(bytes, cells, read, |(value, inexact)| {
                    self.rounded += u64::from(inexact);
                    values.push(value);
                })
            }
        }?;
        if any_empty {
            self.nulls.append_buffer(&NullBuffer::new(cells.filled()));
        } else {
            self.nulls.append_n_non_nulls(cells.rows());
        }
        Ok(())
    }

    /// What a value of this column is called.
    pub(super) fn wanted(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text that fits",
            Kind::Id(_) | Kind::Reference(_) => "a Salesforce id",
            Kind::Boolean(_) => "true or false",
            Kind::Int32(_) => "a whole number of 32 bits",
            Kind::Int64(_) => "a whole number of 64 bits",
            Kind::Float64(_) => "a number",
            Kind::Decimal { .. } => "a decimal number of the field's precision",
            Kind::Date(_) => "a day",
            Kind::Instant(_) => "an instant",
        }
    }

    /// Cells rounded so far.
    pub(super) fn rounded(&self) -> u64 {
        self.rounded
    }

    /// Takes what was added as an array. Fails if a text is not UTF-8.
    pub(super) fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.kind {
            Kind::Text(texts) | Kind::Id(texts) | Kind::Reference(texts) => {
                let (bytes, offsets) = texts.take();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?)
            }
            Kind::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Kind::Int32(values) => Arc::new(PrimitiveArray::<Int32Type>::new(taken::<Int32Type>(values), nulls)),
            Kind::Int64(values) => Arc::new(PrimitiveArray::<Int64Type>::new(taken::<Int64Type>(values), nulls)),
            Kind::Float64(values) => Arc::new(PrimitiveArray::<Float64Type>::new(taken::<Float64Type>(values), nulls)),
            Kind::Date(values) => Arc::new(PrimitiveArray::<Date32Type>::new(taken::<Date32Type>(values), nulls)),
            Kind::Instant(values) => {
                let values = taken::<TimestampMicrosecondType>(values);
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls).with_timezone("UTC"))
            }
            Kind::Decimal { values, precision, scale } => {
                let array = PrimitiveArray::<Decimal128Type>::new(taken::<Decimal128Type>(values), nulls);
                Arc::new(array.with_data_type(DataType::Decimal128(*precision, *scale)))
            }
        })
    }
}

/// Reads cells of `bytes` one by one and adds their values, the default for one that is empty. Gives whether any is empty,
/// or the number of the first that cannot be read.
#[inline]
fn read_all<T: Default>(
    bytes: &[u8],
    cells: ColumnSpans<'_>,
    read: impl Fn(&[u8]) -> Option<T>,
    mut add: impl FnMut(T),
) -> Result<bool, usize> {
    let mut any_empty = false;
    let mut scratch = Vec::new();
    for (row, span) in cells.iter().enumerate() {
        let cell = split::cell(bytes, span, &mut scratch);
        any_empty |= cell.is_empty();
        add(if cell.is_empty() { T::default() } else { read(cell).ok_or(row)? });
    }
    Ok(any_empty)
}

fn taken<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> ScalarBuffer<T::Native> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room).into()
}
