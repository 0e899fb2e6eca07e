//! Columns of texts to Parquet pages, straight from Arrow's buffers.
//!
//! The texts of a column lie one behind the other already, so a page of lengths and texts (`DELTA_LENGTH_BYTE_ARRAY`) is
//! mostly one copy, where the Parquet crate takes value by value; and the texts that are worth a dictionary are mostly
//! short, so that to know one again takes two comparisons of numbers.
//!
//! # Promises
//! * A reader finds the values that the Parquet crate would have written, nulls included.
//! * A page ends before [`PAGE_BYTES`] of texts, or before it would name [`DICTIONARY_BYTES`] of them by number, but for a
//!   text that is longer by itself, and after so many rows.
//! * A dictionary that grows larger than [`DICTIONARY_BYTES`] is used no more in its row group.
//! * The least and the greatest text are told where that is asked for and neither is longer than [`TOLD_BYTES`].

mod dictionary;
mod encodings;

use arrow::array::Array;
use arrow::array::StringArray;
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::column::page::CompressedPage;
use parquet::column::page::Page;
use parquet::column::page::PageWriter;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::metadata::OffsetIndexBuilder;
use parquet::file::statistics::Statistics;
use parquet::file::statistics::ValueStatistics;
use parquet::file::writer::SerializedPageWriter;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::ColumnDescPtr;

use self::dictionary::Dictionary;

type Result<T> = std::result::Result<T, ParquetError>;

/// Bytes of a page before it is compressed: small enough to stay in a core's own cache from then until it is written, and
/// again from when it is read until its values are taken out.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// Bytes of texts in a dictionary: one that outgrows a core's own cache is slower than none.
const DICTIONARY_BYTES: usize = 1 << 20;

/// Bytes of a least or greatest text: of a longer one, a reader would have to be told that it was cut.
const TOLD_BYTES: usize = 64;

/// How a column is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextOptions {
    /// Texts that come again are written once a row group.
    pub(super) dictionary: bool,
    /// LZ4, or as the texts are.
    pub(super) compressed: bool,
    /// The least and the greatest text are told.
    pub(super) statistics: bool,
    /// Rows of a page at most.
    pub(super) page_rows: usize,
}

/// A column of a row group being written.
pub(super) struct TextWriter {
    column: ColumnDescPtr,
    options: TextOptions,
    /// The rows of the next page, and how many and how long they are.
    pieces: Vec<StringArray>,
    held_rows: usize,
    held_bytes: usize,
    dictionary: Option<Dictionary>,
    numbers: Vec<u32>,
    /// The pages before it.
    pages: TrackedWrite<Vec<u8>>,
    index: OffsetIndexBuilder,
    rows: usize,
    nulls: usize,
    uncompressed: usize,
    ends: Ends,
}

/// A column of a row group, whole.
pub(super) struct TextChunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

impl TextWriter {
    /// For a flat column of texts.
    pub(super) fn new(column: ColumnDescPtr, options: TextOptions) -> Self {
        Self {
            column,
            options,
            pieces: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
            dictionary: options.dictionary.then(Dictionary::new),
            numbers: Vec::new(),
            pages: TrackedWrite::new(Vec::new()),
            index: OffsetIndexBuilder::new(),
            rows: 0,
            nulls: 0,
            uncompressed: 0,
            ends: Ends::default(),
        }
    }

    pub(super) fn write(&mut self, texts: &StringArray) -> Result<()> {
        let offsets = texts.value_offsets();
        let mut at = 0;
        while at < texts.len() {
            // Numbers take little room, but their texts are held until the page ends.
            let page_bytes = if self.numbered() { DICTIONARY_BYTES } else { PAGE_BYTES };
            let room = page_bytes.saturating_sub(self.held_bytes);
            let most = self.options.page_rows.saturating_sub(self.held_rows).min(texts.len() - at);
            let length = |rows: usize| (offsets[at + rows] - offsets[at]) as usize;
            let fit = offsets[at + 1..=at + most].partition_point(|end| (end - offsets[at]) as usize <= room);
            let fit = if fit == 0 && self.held_rows == 0 { 1 } else { fit };
            if fit > 0 {
                self.held_rows += fit;
                self.held_bytes += length(fit);
                self.pieces.push(texts.slice(at, fit));
            }
            at += fit;
            if at < texts.len() || self.held_rows == self.options.page_rows {
                self.end_page()?;
            }
        }
        Ok(())
    }

    /// What is held of the row group.
    pub(super) fn memory_size(&self) -> usize {
        let known = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.page().len());
        self.pages.bytes_written() + self.held_bytes + known
    }

    /// Whether the next page names its texts by their numbers.
    fn numbered(&self) -> bool {
        self.dictionary.as_ref().is_some_and(|dictionary| dictionary.page().len() <= DICTIONARY_BYTES)
    }

    pub(super) fn close(mut self) -> Result<TextChunk> {
        self.end_page()?;
        let numbered = self.numbered();
        let dictionary = self.dictionary.take();
        let mut bytes = Vec::new();
        let mut encodings = vec![Encoding::RLE];
        if let Some(dictionary) = &dictionary {
            bytes = self.dictionary_page(dictionary)?;
            encodings.extend([Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
            if self.options.statistics {
                dictionary.texts().for_each(|text| self.ends.add(text));
            }
        }
        if !numbered {
            encodings.push(Encoding::DELTA_LENGTH_BYTE_ARRAY);
        }
        let before = bytes.len();
        if before == 0 {
            bytes = self.pages.into_inner()?;
        } else {
            bytes.append(&mut self.pages.into_inner()?);
        }
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(if self.options.compressed { Compression::LZ4_RAW } else { Compression::UNCOMPRESSED })
            .set_encodings(encodings)
            .set_total_compressed_size(number(bytes.len())?)
            .set_total_uncompressed_size(number(self.uncompressed)?)
            .set_num_values(number(self.rows)?)
            .set_data_page_offset(0);
        if self.options.statistics {
            metadata = metadata.set_statistics(self.ends.told(self.nulls as u64));
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.index.build()),
        };
        Ok(TextChunk { bytes: bytes.into(), close: close.update_dictionary_location(before)? })
    }

    fn dictionary_page(&mut self, dictionary: &Dictionary) -> Result<Vec<u8>> {
        let body = dictionary.page();
        let page = Page::DictionaryPage {
            buf: if self.options.compressed { lz4_flex::block::compress(body).into() } else { body.to_vec().into() },
            num_values: number(dictionary.len())?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let mut pages = TrackedWrite::new(Vec::new());
        let written = SerializedPageWriter::new(&mut pages).write_page(CompressedPage::new(page, body.len()))?;
        self.uncompressed += written.uncompressed_size;
        pages.into_inner()
    }

    fn end_page(&mut self) -> Result<()> {
        if self.held_rows == 0 {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        let nulls: usize = pieces.iter().map(Array::null_count).sum();
        let mut page = Vec::new();
        if self.column.max_def_level() > 0 {
            encodings::add_validity(&pieces, nulls, &mut page);
        }
        let numbered = self.numbered();
        let encoding = match &mut self.dictionary {
            Some(dictionary) if numbered => {
                self.numbers.clear();
                pieces.iter().for_each(|piece| number_all(piece, dictionary, &mut self.numbers));
                let greatest = dictionary.len().saturating_sub(1);
                encodings::add_runs(&self.numbers, encodings::width(number(greatest)?), &mut page);
                Encoding::RLE_DICTIONARY
            }
            _ => {
                if self.options.statistics {
                    pieces.iter().for_each(|piece| self.ends.add_all(piece));
                }
                add_texts(&pieces, self.held_bytes, &mut self.numbers, &mut page);
                Encoding::DELTA_LENGTH_BYTE_ARRAY
            }
        };
        let uncompressed = page.len();
        let page = if self.options.compressed { lz4_flex::block::compress(&page) } else { page };
        let page = Page::DataPage {
            buf: page.into(),
            num_values: number(self.held_rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.pages).write_page(CompressedPage::new(page, uncompressed))?;
        self.index.append_row_count(number(self.held_rows)?);
        self.index.append_offset_and_size(number(written.offset)?, number(written.compressed_size)?);
        self.uncompressed += written.uncompressed_size;
        self.rows += self.held_rows;
        self.nulls += nulls;
        (self.held_rows, self.held_bytes) = (0, 0);
        Ok(())
    }
}

/// The least and the greatest of the texts.
#[derive(Debug, Default)]
struct Ends(Option<(Vec<u8>, Vec<u8>)>);

impl Ends {
    fn add_all(&mut self, texts: &StringArray) {
        if let (Some(least), Some(greatest)) = (texts.iter().flatten().min(), texts.iter().flatten().max()) {
            self.add(least.as_bytes());
            self.add(greatest.as_bytes());
        }
    }

    fn add(&mut self, text: &[u8]) {
        let (least, greatest) = self.0.get_or_insert_with(|| (text.to_vec(), text.to_vec()));
        if text < least.as_slice() {
            text.clone_into(least);
        }
        if text > greatest.as_slice() {
            text.clone_into(greatest);
        }
    }

    fn told(self, nulls: u64) -> Statistics {
        let (least, greatest) =
            self.0.filter(|(least, greatest)| least.len().max(greatest.len()) <= TOLD_BYTES).unzip();
        let known =
            ValueStatistics::new(least.map(ByteArray::from), greatest.map(ByteArray::from), None, Some(nulls), false);
        Statistics::ByteArray(known)
    }
}

/// A number as the format has it.
fn number<N, M: TryFrom<N>>(number: N) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    M::try_from(number).map_err(|error| ParquetError::External(error.into()))
}

/// The numbers of the texts that are not null.
fn number_all(texts: &StringArray, dictionary: &mut Dictionary, numbers: &mut Vec<u32>) {
    let bytes = texts.value_data();
    let each = texts.value_offsets().array_windows::<2>().map(|[start, end]| (*start as usize, *end as usize));
    numbers.reserve(texts.len());
    match texts.nulls() {
        Some(nulls) if nulls.null_count() > 0 => {
            for ((start, end), valid) in each.zip(nulls.inner()) {
                if valid {
                    numbers.push(dictionary.number(bytes, start, end));
                }
            }
        }
        _ => each.for_each(|(start, end)| numbers.push(dictionary.number(bytes, start, end))),
    }
}

/// The lengths of the texts that are not null, and the texts.
fn add_texts(pieces: &[StringArray], bytes: usize, lengths: &mut Vec<u32>, page: &mut Vec<u8>) {
    lengths.clear();
    for piece in pieces {
        let each = piece.value_offsets().array_windows::<2>().map(|[start, end]| (end - start) as u32);
        match piece.nulls() {
            Some(nulls) if nulls.null_count() > 0 => {
                lengths.extend(each.zip(nulls.inner()).filter(|(_, valid)| *valid).map(|(length, _)| length));
            }
            _ => lengths.extend(each),
        }
    }
    // A null may stand over bytes; they are no part of the column.
    let uncovered = lengths.iter().map(|length| *length as usize).sum::<usize>() == bytes;
    page.reserve(bytes + lengths.len() * 2 + 64);
    encodings::add_deltas(lengths, page);
    for piece in pieces {
        if uncovered {
            let offsets = piece.value_offsets();
            page.extend_from_slice(&piece.value_data()[offsets[0] as usize..offsets[piece.len()] as usize]);
        } else {
            piece.iter().flatten().for_each(|text| page.extend_from_slice(text.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::array::RecordBatch;
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::DataType;
    use arrow::datatypes::Field;
    use arrow::datatypes::Schema;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::arrow::arrow_reader::RowSelection;
    use parquet::arrow::arrow_reader::RowSelector;
    use proptest::prelude::*;

    use super::*;

    /// A file of one column in one row group, as a reader sees it.
    fn file(written: &[StringArray], nullable: bool, options: TextOptions) -> ParquetRecordBatchReaderBuilder<Bytes> {
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, nullable)]));
        let writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        let (mut writer, _) = writer.into_serialized_writer().unwrap();
        let mut column = TextWriter::new(writer.schema_descr().column(0), options);
        for texts in written {
            column.write(texts).unwrap();
        }
        let chunk = column.close().unwrap();
        let mut group = writer.next_row_group().unwrap();
        group.append_column(&chunk.bytes, chunk.close).unwrap();
        group.close().unwrap();
        ParquetRecordBatchReaderBuilder::try_new(Bytes::from(writer.into_inner().unwrap())).unwrap()
    }

    fn read(file: ParquetRecordBatchReaderBuilder<Bytes>) -> Vec<Option<String>> {
        let batches: Vec<RecordBatch> = file.build().unwrap().map(std::result::Result::unwrap).collect();
        let texts = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>());
        texts.map(|text| text.map(ToOwned::to_owned)).collect()
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

    proptest! {
        #[test]
        fn texts_read_back_as_written(
            pieces in prop::collection::vec(prop::collection::vec(("(é|a|\\PC{0,40}|[a-c]{18})", prop::bool::weighted(0.9)), 0..300), 0..6),
            page_rows in 1_usize..400,
            (compressed, statistics, dictionary, skipped) in (any::<bool>(), any::<bool>(), any::<bool>(), 0_usize..3),
        ) {
            let arrays: Vec<StringArray> = pieces.iter().map(|rows| {
                let texts = covered(rows);
                texts.slice(skipped.min(rows.len()), rows.len() - skipped.min(rows.len()))
            }).collect();
            let file = file(&arrays, true, TextOptions { dictionary, compressed, statistics, page_rows });
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
            let options = TextOptions { dictionary: false, compressed: true, statistics: false, page_rows: 20_000 };
            let found: Vec<usize> = read(file(&[texts], false, options)).iter().flatten().map(String::len).collect();
            prop_assert_eq!(found, lengths);
        }
    }

    #[test]
    fn texts_that_repeat_are_named_by_numbers_until_too_many_differ() {
        let options = TextOptions { dictionary: true, compressed: false, statistics: true, page_rows: 1_000 };
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
            let written = file(&arrays, true, options);
            assert_eq!(encodings(&written), wanted);
            let all: Vec<_> = arrays.iter().flatten().map(|text| text.map(ToOwned::to_owned)).collect();
            assert_eq!(read(written), all);
        }
    }

    #[test]
    fn pages_end_by_bytes_and_by_rows_and_can_be_skipped() {
        let texts: StringArray = (0..20_000).map(|n| (n % 7 != 0).then(|| format!("{n:018}"))).collect();
        let long = StringArray::from(vec![Some("x".repeat(3 * PAGE_BYTES)), None, Some("y".to_owned())]);
        let options = TextOptions { dictionary: false, compressed: false, statistics: false, page_rows: 3_000 };
        let arrays = [texts.slice(0, 2_500), texts.slice(2_500, 17_500), long];
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
        let writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        let (writer, _) = writer.into_serialized_writer().unwrap();
        let mut column = TextWriter::new(writer.schema_descr().column(0), options);
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
}
