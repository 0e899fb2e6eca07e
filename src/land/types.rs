//! Delta's types at the lake's border: every column is cast to the type in which it's stored, or refused with the reason.
//!
//! Delta has no unsigned integers, no time of day, no timestamps but µs (those without a zone need a table feature that
//! we don't use), and no views, large or dictionary types: these are Arrow's ways to hold a value, not types of values
//! (Delta protocol, "Primitive Types").

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::compute::CastOptions;
use arrow::compute::cast_with_options;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;

use crate::error::Error;
use crate::error::Result;

/// The column that says in which commit's sequence a row was written.
pub const SEQUENCE_COLUMN: &str = "_sf2gs_sequence";

/// The column that marks a row as a deletion of its key.
pub const DELETED_COLUMN: &str = "_sf2gs_deleted";

/// Begins the names of columns that are kept beside the rows to find them by, and that readers do not see: the rest of the
/// name is the column whose values they are numbers of. Such a number may be NULL, which says nothing of the value.
pub const NUMBER_PREFIX: &str = "_sf2gs_number.";

/// The type in which Delta stores values of `given`, or what to write instead.
fn stored_type(given: &DataType) -> Result<DataType, &'static str> {
    Ok(match given {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(..) => given.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Timestamp(_, None) => return Err("give the timestamp a time zone"),
        DataType::Time32(_) | DataType::Time64(_) => return Err("a time of day is stored as text"),
        DataType::Decimal256(..) => return Err("decimals have at most 38 digits"),
        DataType::Dictionary(_, value) => stored_type(value)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::new(stored_field(item)?)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| stored_field(field).map(Arc::new)).collect::<Result<_, _>>()?)
        }
        _ => return Err("cast it to text"),
    })
}

fn stored_field(field: &Field) -> Result<Field, &'static str> {
    // Every stored column may be null: a required one would need a table feature, and could never be left out again.
    Ok(Field::new(field.name(), stored_type(field.data_type())?, true).with_metadata(field.metadata().clone()))
}

/// How rows of one schema become rows of the lake.
#[derive(Debug, Clone)]
pub(crate) struct Border {
    given: SchemaRef,
    stored: SchemaRef,
    physical: SchemaRef,
}

impl Border {
    /// Checks `given` and works out the stored schema.
    pub(crate) fn new(given: &SchemaRef) -> Result<Self> {
        let mut fields = Vec::with_capacity(given.fields().len() + 2);
        for field in given.fields() {
            if field.name().eq_ignore_ascii_case(SEQUENCE_COLUMN) || field.name().eq_ignore_ascii_case(DELETED_COLUMN) {
                return Err(Error::config(format!("`{}` is a column of the lake itself", field.name()))
                    .hint("give the column another name"));
            }
            if fields.iter().any(|other: &Field| other.name().eq_ignore_ascii_case(field.name())) {
                return Err(Error::config(format!("the column `{}` occurs twice", field.name()))
                    .hint("Delta tells columns apart without case; rename one of them"));
            }
            // Delta protocol, "Column Mapping": without it these characters aren't allowed in names.
            if field.name().is_empty() || field.name().contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
                return Err(Error::config(format!("`{}` can't be the name of a stored column", field.name()))
                    .hint("leave out blanks and , ; { } ( ) ="));
            }
            fields.push(stored_field(field).map_err(|remedy| {
                Error::config(format!(
                    "the column `{}` has the type {}, which the lake can't store",
                    field.name(),
                    field.data_type()
                ))
                .hint(remedy)
            })?);
        }
        let stored = Arc::new(Schema::new(fields.clone()));
        fields.push(Field::new(SEQUENCE_COLUMN, DataType::Int64, true));
        fields.push(Field::new(DELETED_COLUMN, DataType::Boolean, true));
        Ok(Self { given: Arc::clone(given), stored, physical: Arc::new(Schema::new(fields)) })
    }

    /// The stored schema with the lake's own columns.
    pub(crate) fn physical(&self) -> &SchemaRef {
        &self.physical
    }

    /// Casts `batch` and adds the lake's columns.
    pub(crate) fn pass(
        &self,
        batch: &RecordBatch,
        sequence: &Int64Array,
        deleted: Option<&BooleanArray>,
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        if batch.num_columns() != self.given.fields().len() {
            return Err(Error::bug(format!(
                "a batch of {} columns was given to a writer of {}",
                batch.num_columns(),
                self.given.fields().len()
            )));
        }
        if deleted.is_some_and(|marks| marks.len() != rows) {
            return Err(Error::bug("the deletion marks don't fit the batch"));
        }
        let mut columns = Vec::with_capacity(self.physical.fields().len());
        for (index, column) in batch.columns().iter().enumerate() {
            columns.push(self.cast(index, column)?);
        }
        columns.push(Arc::new(sequence.slice(0, rows)) as ArrayRef);
        columns.push(match deleted {
            Some(marks) => Arc::new(marks.clone()),
            None => Arc::new(BooleanArray::from(vec![false; rows])),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.physical), columns, &options)?)
    }

    fn cast(&self, index: usize, column: &ArrayRef) -> Result<ArrayRef> {
        let field = self.given.field(index);
        if column.data_type() != field.data_type() {
            return Err(Error::bug(format!(
                "the column `{}` was announced as {} and came as {}",
                field.name(),
                field.data_type(),
                column.data_type()
            )));
        }
        let stored = self.stored.field(index).data_type();
        if column.data_type() == stored {
            return Ok(Arc::clone(column));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, stored, &options).map_err(|error| {
            Error::config(format!("a value of the column `{}` doesn't fit its stored type {stored}", field.name()))
                .source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use arrow::array::UInt64Array;

    use super::*;

    fn border(field: Field) -> Result<Border> {
        Border::new(&Arc::new(Schema::new(vec![field])))
    }

    #[test]
    fn arrow_ways_to_hold_a_value_become_deltas_type() {
        for (given, stored) in [
            (DataType::Utf8View, DataType::Utf8),
            (DataType::UInt32, DataType::Int64),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8)), DataType::Utf8),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
        ] {
            assert_eq!(*border(Field::new("x", given, false)).unwrap().physical().field(0).data_type(), stored);
        }
    }

    #[test]
    fn what_delta_lacks_is_refused_with_the_remedy() {
        let error = border(Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true)).unwrap_err();
        assert!(error.message().contains("`at`"), "{error}");
        assert_eq!(error.hint_text(), Some("give the timestamp a time zone"));
        assert!(border(Field::new("at", DataType::Time64(TimeUnit::Microsecond), true)).is_err());
        assert!(border(Field::new(DELETED_COLUMN, DataType::Boolean, true)).is_err());
        assert!(border(Field::new("a b", DataType::Boolean, true)).is_err());
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_not_a_null() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
        let border = Border::new(&schema).unwrap();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![u64::MAX]))]).unwrap();
        assert!(border.pass(&batch, &Int64Array::from(vec![1]), None).unwrap_err().message().contains("`n`"));
    }

    #[test]
    fn views_pass_as_text() {
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8View, true)]));
        let border = Border::new(&schema).unwrap();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(StringViewArray::from(vec![Some("a"), None]))]).unwrap();
        let passed = border.pass(&batch, &Int64Array::from(vec![7, 7]), None).unwrap();
        assert_eq!(passed.schema(), *border.physical());
    }
}
