//! What a reader finds in the pages.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::new_empty_array;
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::compute::concat;
use arrow::compute::max;
use arrow::compute::min;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int64Type;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::arrow_reader::RowSelector;
use parquet::file::statistics::Statistics;
use proptest::prelude::*;

use super::texts::TOLD_BYTES;
use super::*;

const PLAIN: FlatOptions =
    FlatOptions { dictionary: false, differences: false, compressed: false, statistics: false, page_rows: 20_000 };

/// A file of one column in one row group, as a reader sees it.
fn file(written: &[ArrayRef], nullable: bool, options: FlatOptions) -> ParquetRecordBatchReaderBuilder<Bytes> {
    let kind = written.first().map_or(DataType::Utf8, |array| array.data_type().clone());
    let schema = Arc::new(Schema::new(vec![Field::new("column", kind, nullable)]));
    let writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    let (mut writer, _) = writer.into_serialized_writer().unwrap();
    let mut column = FlatWriter::new(writer.schema_descr().column(0), options);
    for values in written {
        column.write(values).unwrap();
    }
    let chunk = column.close().unwrap();
    let mut group = writer.next_row_group().unwrap();
    let pages: Vec<Bytes> = chunk.pages.into_iter().collect();
    group.append_column(&Bytes::from(pages.concat()), chunk.close).unwrap();
    group.close().unwrap();
    ParquetRecordBatchReaderBuilder::try_new(Bytes::from(writer.into_inner().unwrap())).unwrap()
}

fn column(file: ParquetRecordBatchReaderBuilder<Bytes>) -> Vec<ArrayRef> {
    let batches: Vec<RecordBatch> = file.build().unwrap().map(std::result::Result::unwrap).collect();
    batches.iter().map(|batch| Arc::clone(batch.column(0))).collect()
}

fn read(file: ParquetRecordBatchReaderBuilder<Bytes>) -> Vec<Option<String>> {
    let read = column(file);
    let texts = read.iter().flat_map(|texts| texts.as_string::<i32>());
    texts.map(|text| text.map(ToOwned::to_owned)).collect()
}

fn arrays(texts: impl IntoIterator<Item = StringArray>) -> Vec<ArrayRef> {
    texts.into_iter().map(|texts| Arc::new(texts) as ArrayRef).collect()
}

/// The texts with those marked made null, over bytes that stay where they are.
fn covered(rows: &[(String, bool)]) -> StringArray {
    let texts = StringArray::from_iter_values(rows.iter().map(|(text, _)| text));
    let (offsets, bytes, _) = texts.into_parts();
    let nulls = NullBuffer::from_iter(rows.iter().map(|(_, valid)| *valid));
    StringArray::new(offsets, bytes, Some(nulls))
}

fn wanted(rows: &[(String, bool)]) -> impl Iterator<Item = Option<String>> {
    rows.iter().map(|(text, valid)| valid.then(|| text.clone()))
}

/// Numbers whose differences are small, need many bits, or go round the ends of the type.
fn near_a_border() -> impl Strategy<Value = i64> {
    prop_oneof![
        0..9_i64,
        -3_000_000_000..3_000_000_000_i64,
        i64::MIN..i64::MIN + 9,
        i64::MAX - 9..=i64::MAX,
        any::<i64>()
    ]
}

fn concatenated(arrays: &[ArrayRef]) -> ArrayRef {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    concat(&arrays).unwrap_or_else(|_| new_empty_array(&DataType::Null))
}

proptest! {
    #[test]
    fn texts_read_back_as_written(
        pieces in prop::collection::vec(prop::collection::vec(("(é|a|\\PC{0,40}|[a-c]{18}|(001bm0000é){1,2}[0-9]{0,9})", prop::bool::weighted(0.9)), 0..300), 0..6),
        page_rows in 1_usize..400,
        (compressed, statistics, skipped) in (any::<bool>(), any::<bool>(), 0_usize..3),
        dictionary in any::<bool>(),
    ) {
        let arrays = arrays(pieces.iter().map(|rows| {
            let texts = covered(rows);
            texts.slice(skipped.min(rows.len()), rows.len() - skipped.min(rows.len()))
        }));
        let file = file(&arrays, true, FlatOptions { dictionary, compressed, statistics, page_rows, ..PLAIN });
        let wanted: Vec<_> = pieces.iter().flat_map(|rows| wanted(rows).skip(skipped)).collect();
        let chunk = file.metadata().row_group(0).column(0).clone();
        prop_assert_eq!(chunk.num_values() as usize, wanted.len());
        if let Some(known) = chunk.statistics() {
            prop_assert_eq!(known.null_count_opt(), Some(wanted.iter().filter(|text| text.is_none()).count() as u64));
            let told = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            let ends = (wanted.iter().flatten().min().cloned(), wanted.iter().flatten().max().cloned());
            let short = [&ends.0, &ends.1].iter().all(|text| text.as_ref().is_some_and(|text| text.len() <= TOLD_BYTES));
            prop_assert_eq!((told(known.min_bytes_opt()), told(known.max_bytes_opt())), if short { ends } else { (None, None) });
        }
        prop_assert_eq!(chunk.statistics().is_some(), statistics);
        prop_assert_eq!(read(file), wanted);
    }

    #[test]
    fn lengths_of_any_width_read_back(lengths in prop::collection::vec((0_u32..12).prop_flat_map(|bits| 0..1_usize << bits), 1..700)) {
        let texts: StringArray = lengths.iter().map(|length| Some("x".repeat(*length))).collect();
        let options = FlatOptions { compressed: true, ..PLAIN };
        let found: Vec<usize> = read(file(&arrays([texts]), false, options)).iter().flatten().map(String::len).collect();
        prop_assert_eq!(found, lengths);
    }

    #[test]
    fn numbers_and_booleans_read_back_as_written(
        pieces in prop::collection::vec(prop::collection::vec((near_a_border(), prop::bool::weighted(0.9)), 0..300), 1..6),
        page_rows in 1_usize..400,
        (differences, compressed, statistics) in (any::<bool>(), any::<bool>(), any::<bool>()),
        (nulls, skipped) in (any::<bool>(), 0_usize..3),
    ) {
        let options = FlatOptions { differences, compressed, statistics, page_rows, ..PLAIN };
        let skipped = |array: ArrayRef| array.slice(skipped.min(array.len()), array.len() - skipped.min(array.len()));
        let as_arrays = |of: &dyn Fn(Vec<i64>, Option<NullBuffer>) -> ArrayRef| -> Vec<ArrayRef> {
            let each = pieces.iter().map(|rows| {
                let valid = nulls.then(|| NullBuffer::from_iter(rows.iter().map(|(_, valid)| *valid)));
                skipped(of(rows.iter().map(|(number, _)| *number).collect(), valid))
            });
            each.collect()
        };
        let numbers = as_arrays(&|numbers, nulls| Arc::new(Int64Array::new(numbers.into(), nulls)));
        let instants = as_arrays(&|numbers, nulls| {
            Arc::new(TimestampMicrosecondArray::new(numbers.into(), nulls).with_timezone("UTC"))
        });
        let flags = as_arrays(&|numbers, nulls| {
            Arc::new(BooleanArray::new(numbers.iter().map(|number| number % 3 == 0).collect(), nulls))
        });
        for written in [numbers, instants, flags] {
            let wanted = concatenated(&written);
            let file = file(&written, nulls, options);
            let chunk = file.metadata().row_group(0).column(0).clone();
            prop_assert_eq!(chunk.num_values() as usize, wanted.len());
            prop_assert_eq!(chunk.statistics().is_some(), statistics);
            let ends = match chunk.statistics() {
                Some(Statistics::Int64(known)) => Some((known.min_opt().copied(), known.max_opt().copied())),
                Some(Statistics::Boolean(known)) => {
                    let wide = |flag: Option<&bool>| flag.map(|flag| i64::from(*flag));
                    Some((wide(known.min_opt()), wide(known.max_opt())))
                }
                _ => None,
            };
            if let Some(ends) = ends {
                let values = cast(&wanted, &DataType::Int64).unwrap();
                let values = values.as_primitive::<Int64Type>();
                prop_assert_eq!(ends, (min(values), max(values)));
                prop_assert_eq!(chunk.statistics().unwrap().null_count_opt(), Some(wanted.null_count() as u64));
            }
            let read = column(file);
            if !wanted.is_empty() {
                prop_assert_eq!(&concatenated(&read), &wanted);
            }
        }
    }
}

#[test]
fn texts_that_repeat_are_named_by_numbers_until_too_many_differ() {
    let options = FlatOptions { dictionary: true, statistics: true, page_rows: 1_000, ..PLAIN };
    let encodings = |file: &ParquetRecordBatchReaderBuilder<Bytes>| {
        let found = file.metadata().row_group(0).column(0).encodings().collect::<Vec<_>>();
        (found.contains(&Encoding::RLE_DICTIONARY), found.contains(&Encoding::DELTA_LENGTH_BYTE_ARRAY))
    };
    let none = StringArray::new_null(2_500);
    let one: StringArray = (0..2_500).map(|_| Some("one")).collect();
    let runs: StringArray = (0..9_000).map(|n| (n % 11 != 0).then(|| (n / 40 % 70).to_string())).collect();
    let long: StringArray = (0..9_000).map(|n| Some(format!("{:0400}", n / 2))).collect();
    for (arrays, wanted) in [
        (vec![none.clone()], (true, false)),
        (vec![one.clone()], (true, false)),
        (vec![none, one, runs.clone()], (true, false)),
        (vec![runs.clone(), long, runs], (true, true)),
    ] {
        let all: Vec<_> = arrays.iter().flatten().map(|text| text.map(ToOwned::to_owned)).collect();
        let written = file(&self::arrays(arrays), true, options);
        assert_eq!(encodings(&written), wanted);
        assert_eq!(read(written), all);
    }
}

#[test]
fn pages_end_by_bytes_and_by_rows_and_can_be_skipped() {
    let texts: StringArray = (0..20_000).map(|n| (n % 7 != 0).then(|| format!("{n:018}"))).collect();
    let long = StringArray::from(vec![Some("x".repeat(3 * PAGE_BYTES)), None, Some("y".to_owned())]);
    let options = FlatOptions { page_rows: 3_000, ..PLAIN };
    let arrays = arrays([texts.slice(0, 2_500), texts.slice(2_500, 17_500), long]);
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    let writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    let (writer, _) = writer.into_serialized_writer().unwrap();
    let mut column = FlatWriter::new(writer.schema_descr().column(0), options);
    for texts in &arrays {
        column.write(texts).unwrap();
    }
    let index = column.close().unwrap().close.offset_index.unwrap();
    let begins: Vec<i64> = index.page_locations().iter().map(|page| page.first_row_index).collect();
    assert_eq!(begins, [0, 3_000, 6_000, 9_000, 12_000, 15_000, 18_000, 20_000, 20_001]);
    let whole = read(file(&arrays, true, options));
    let selection = RowSelection::from(vec![
        RowSelector::skip(7_001),
        RowSelector::select(5),
        RowSelector::skip(12_993),
        RowSelector::select(4),
    ]);
    let some = read(file(&arrays, true, options).with_row_selection(selection));
    assert_eq!(some, [&whole[7_001..7_006], &whole[19_999..20_003]].concat());
}
