//! Flat columns to Parquet pages, straight from Arrow's buffers.
//!
//! The values of a column lie one behind the other already, so a page is mostly one copy of them, where the Parquet crate
//! takes value by value and copies each page four times. Texts stand behind their lengths (`DELTA_LENGTH_BYTE_ARRAY`) or are
//! named by their number in a dictionary; numbers are told by their differences (`DELTA_BINARY_PACKED`) or as they are;
//! booleans are bits.
//!
//! # Promises
//! * A reader finds the values that the Parquet crate would have written, nulls included.
//! * A page ends before [`PAGE_BYTES`] of values, or before it would name [`DICTIONARY_BYTES`] of texts by number, but for a
//!   text that is longer by itself, and after so many rows.
//! * A dictionary that grows larger than [`DICTIONARY_BYTES`] is used no more in its row group.
//! * The least and the greatest value are told where that is asked for, but for texts longer than [`TOLD_BYTES`].
//!
//! [`DICTIONARY_BYTES`]: texts::DICTIONARY_BYTES
//! [`TOLD_BYTES`]: texts::TOLD_BYTES

mod dictionary;
mod encodings;
mod numbers;
mod pieces;
mod texts;

use arrow::array::Array;
use arrow::array::ArrayRef;
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::basic::Type;
use parquet::column::page::CompressedPage;
use parquet::column::page::Page;
use parquet::column::page::PageWriter;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::metadata::OffsetIndexBuilder;
use parquet::file::writer::SerializedPageWriter;
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::ColumnDescPtr;

use self::numbers::Flags;
use self::numbers::Numbers;
use self::pieces::Pieces;
use self::texts::Texts;

pub(super) use self::pieces::Blank;
pub(super) use self::pieces::FilePieces;

type Result<T> = std::result::Result<T, ParquetError>;

/// Bytes of a page before it is compressed: small enough to stay in a core's own cache from then until it is written, and
/// again from when it is read until its values are taken out.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// How a column is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlatOptions {
    /// Texts that come again are written once a row group.
    pub(super) dictionary: bool,
    /// Numbers are told by their differences.
    pub(super) differences: bool,
    /// LZ4, or as the values are.
    pub(super) compressed: bool,
    /// The least and the greatest value are told.
    pub(super) statistics: bool,
    /// Rows of a page at most.
    pub(super) page_rows: usize,
}

/// A column of a row group being written.
pub(super) struct FlatWriter {
    column: ColumnDescPtr,
    options: FlatOptions,
    values: Values,
    /// The rows of the next page, and how many and how long they are.
    held: Vec<ArrayRef>,
    held_rows: usize,
    held_bytes: usize,
    /// The pages before it.
    pages: TrackedWrite<Pieces>,
    index: OffsetIndexBuilder,
    encodings: Vec<Encoding>,
    rows: usize,
    nulls: usize,
    uncompressed: usize,
}

/// What is known of the values so far.
enum Values {
    Texts(Texts),
    Numbers(Numbers),
    Flags(Flags),
}

/// A column of a row group, whole.
pub(super) struct FlatChunk {
    pub(super) pages: Pieces,
    pub(super) close: ColumnCloseResult,
}

impl FlatWriter {
    /// For a flat column of texts, of numbers of 64 bits or of booleans.
    pub(super) fn new(column: ColumnDescPtr, options: FlatOptions) -> Self {
        let values = match column.physical_type() {
            Type::INT64 => Values::Numbers(Numbers::new(options.differences)),
            Type::BOOLEAN => Values::Flags(Flags::default()),
            _ => Values::Texts(Texts::new(options.dictionary)),
        };
        Self {
            column,
            options,
            values,
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
            pages: TrackedWrite::new(Pieces::default()),
            index: OffsetIndexBuilder::new(),
            encodings: vec![Encoding::RLE],
            rows: 0,
            nulls: 0,
            uncompressed: 0,
        }
    }

    pub(super) fn write(&mut self, values: &ArrayRef) -> Result<()> {
        let mut at = 0;
        while at < values.len() {
            let most = self.options.page_rows.saturating_sub(self.held_rows).min(values.len() - at);
            let next = values.slice(at, most);
            // A value that no page has room for gets one of its own.
            let least = usize::from(self.held_rows == 0);
            let (rows, bytes) = match &self.values {
                Values::Texts(texts) => texts.fit(&next, self.held_bytes, least)?,
                Values::Numbers(_) => numbers::fit(most, self.held_bytes, least),
                Values::Flags(_) => (most, most.div_ceil(8)),
            };
            if rows > 0 {
                self.held_rows += rows;
                self.held_bytes += bytes;
                self.held.push(if rows == most { next } else { next.slice(0, rows) });
            }
            at += rows;
            if at < values.len() || self.held_rows == self.options.page_rows {
                self.end_page()?;
            }
        }
        Ok(())
    }

    /// What is held of the row group.
    pub(super) fn memory_size(&self) -> usize {
        let known = match &self.values {
            Values::Texts(texts) => texts.memory_size(),
            Values::Numbers(_) | Values::Flags(_) => 0,
        };
        self.pages.bytes_written() + self.held_bytes + known
    }

    pub(super) fn close(mut self) -> Result<FlatChunk> {
        self.end_page()?;
        let mut pages = self.pages.into_inner()?;
        let mut before = 0;
        if let Values::Texts(texts) = &self.values
            && let Some(dictionary) = texts.dictionary_page(self.options.compressed)?
        {
            let mut first = TrackedWrite::new(Pieces::default());
            let written = SerializedPageWriter::new(&mut first).write_page(dictionary)?;
            self.uncompressed += written.uncompressed_size;
            before = first.bytes_written();
            pages.put_before(first.into_inner()?);
            self.encodings.push(Encoding::PLAIN);
        }
        let size = pages.size();
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(if self.options.compressed { Compression::LZ4_RAW } else { Compression::UNCOMPRESSED })
            .set_encodings(self.encodings)
            .set_total_compressed_size(number(size)?)
            .set_total_uncompressed_size(number(self.uncompressed)?)
            .set_num_values(number(self.rows)?)
            .set_data_page_offset(0);
        if self.options.statistics {
            let nulls = self.nulls as u64;
            metadata = metadata.set_statistics(match self.values {
                Values::Texts(texts) => texts.told(nulls),
                Values::Numbers(numbers) => numbers.told(nulls),
                Values::Flags(flags) => flags.told(nulls),
            });
        }
        let close = ColumnCloseResult {
            bytes_written: size as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.index.build()),
        };
        Ok(FlatChunk { pages, close: close.update_dictionary_location(before)? })
    }

    fn end_page(&mut self) -> Result<()> {
        if self.held_rows == 0 {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let nulls: usize = held.iter().map(|values| values.null_count()).sum();
        let mut page = Vec::new();
        if self.column.max_def_level() > 0 {
            encodings::add_validity(&held, nulls, &mut page);
        }
        let statistics = self.options.statistics;
        let encoding = match &mut self.values {
            Values::Texts(texts) => texts.add_page(&held, self.held_bytes, statistics, &mut page)?,
            Values::Numbers(numbers) => numbers.add_page(&held, statistics, &mut page)?,
            Values::Flags(flags) => flags.add_page(&held, &mut page)?,
        };
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
        let uncompressed = page.len();
        let page: Bytes = if self.options.compressed { lz4_flex::block::compress(&page) } else { page }.into();
        self.pages.inner_mut().expect(page.clone());
        let page = Page::DataPage {
            buf: page,
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

/// A number as the format has it.
fn number<N, M: TryFrom<N>>(number: N) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    M::try_from(number).map_err(|error| ParquetError::External(error.into()))
}

/// The values of a column are not of its type.
fn other_type() -> ParquetError {
    ParquetError::General("a column holds values of another type".to_owned())
}

#[cfg(test)]
mod tests;
