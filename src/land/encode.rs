//! Rows to the bytes of a Parquet file, columns side by side on several threads.
//!
//! Encoding and compressing takes about as long as decoding CSV, which goes on meanwhile, so a slab of rows is shared
//! out by column: each thread takes the heaviest column that is left. What is held is one slab and the encoded pages of
//! one row group. Flat columns of texts, numbers of 64 bits and booleans, which are most of what comes, are encoded by
//! [`pages`](crate::land::pages) where they go to a disk, and all others by the Parquet crate.

use std::hash::BuildHasher;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::datatypes::SchemaRef;
use arrow::datatypes::TimeUnit;
use arrow::row::RowConverter;
use arrow::row::SortField;
use bytes::Bytes;
use datafusion::common::HashSet;
use datafusion::common::hash_utils::RandomState;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::arrow::arrow_writer::ArrowLeafColumn;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::basic::Compression;
use parquet::basic::Encoding;
use parquet::basic::ZstdLevel;
use parquet::errors::ParquetError;
use parquet::file::properties::EnabledStatistics;
use parquet::file::properties::WriterProperties;
use parquet::file::properties::WriterVersion;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescriptor;
use parquet::schema::types::ColumnPath;

use crate::error::Error;
use crate::error::Result;
use crate::land::pages::Blank;
use crate::land::pages::FilePieces;
use crate::land::pages::FlatChunk;
use crate::land::pages::FlatOptions;
use crate::land::pages::FlatWriter;
use crate::land::pages::PAGE_BYTES;
use crate::land::types::NUMBER_PREFIX;

/// What pages are compressed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Time: LZ4 takes far less to write and to read than zstd, for files half as large again. Texts that it would not make
    /// half as long are left as they are: looking for what is not there takes it longest. The lengths of texts stand
    /// together before them, so that a reader does not step from one to the next; to leave out what ids begin alike with
    /// takes less to write than LZ4, but more to read.
    Quick,
    /// Room: what is sent to a bucket is waited for and paid by the byte. Only what every reader of Parquet knows is used.
    Small,
}

impl Codec {
    /// As file names say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "lz4",
            Self::Small => "zstd",
        }
    }
}

/// Rows of a page where rows are looked for by their numbers: of most pages nothing is wanted then, and they are skipped.
const PAGE_ROWS: usize = 256;

/// When a slab, a row group and a file end: what comes first counts.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) codec: Codec,
    /// Rows that are encoded at a time.
    pub(crate) slab_rows: usize,
    /// Memory of the rows that are encoded at a time.
    pub(crate) slab_bytes: usize,
    /// Rows of a row group: what one thread reads at a time.
    pub(crate) group_rows: usize,
    /// Memory of a row group's encoded pages.
    pub(crate) group_bytes: usize,
    /// A new file is begun after this many bytes.
    pub(crate) file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            codec: Codec::Small,
            slab_rows: 64 * 1024,
            slab_bytes: 16 << 20,
            group_rows: 64 * 1024,
            group_bytes: 24 << 20,
            file_bytes: 512 << 20,
        }
    }
}

/// A file being encoded.
pub(crate) struct FileEncoder {
    schema: SchemaRef,
    /// Parquet columns of each Arrow field: one for a flat field, more for a nested one.
    leaves: Vec<usize>,
    writer: SerializedFileWriter<FilePieces>,
    factory: ArrowRowGroupWriterFactory,
    columns: Vec<Column>,
    group_rows: usize,
    groups: usize,
    threads: usize,
    limits: Limits,
}

impl FileEncoder {
    /// Begins a file of `schema`; `first` are its first rows, from which the columns worth a dictionary are told.
    pub(crate) fn begin(schema: &SchemaRef, first: &[RecordBatch], limits: &Limits) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let properties = properties(schema, first, threads, limits.codec)?;
        let (writer, factory) = ArrowWriter::try_new(FilePieces::default(), Arc::clone(schema), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(failed)?;
        let mut leaves = vec![0; schema.fields().len()];
        for leaf in 0..writer.schema_descr().num_columns() {
            leaves[writer.schema_descr().get_column_root_idx(leaf)] += 1;
        }
        let columns = columns(&writer, &factory, 0)?;
        Ok(Self {
            schema: Arc::clone(schema),
            leaves,
            writer,
            factory,
            columns,
            group_rows: 0,
            groups: 0,
            threads,
            limits: limits.clone(),
        })
    }

    /// Encodes `slab` and returns the bytes that are ready to be stored (often none).
    pub(crate) fn encode(&mut self, slab: &[RecordBatch]) -> Result<Vec<Bytes>> {
        let mut work = Vec::with_capacity(self.leaves.len());
        let mut rest = self.columns.as_mut_slice();
        for (field, count) in self.leaves.iter().enumerate() {
            let (mine, others) = rest.split_at_mut(*count);
            rest = others;
            let weight: usize = slab.iter().map(|batch| weight(batch.column(field))).sum();
            work.push((weight, field, mine));
        }
        // The heaviest is taken first: a long column begun last would keep one thread busy alone.
        work.sort_unstable_by_key(|(weight, ..)| *weight);
        let schema = &self.schema;
        share(work, self.threads, |(_, field, writers)| {
            for column in slab.iter().map(|batch| batch.column(field)) {
                if let [Column::Flat(writer)] = &mut *writers {
                    writer.write(column)?;
                    continue;
                }
                let levels = compute_leaves(schema.field(field), column)?;
                for (writer, leaf) in writers.iter_mut().zip(&levels) {
                    writer.write(leaf)?;
                }
            }
            Ok(())
        })?;
        self.group_rows += slab.iter().map(RecordBatch::num_rows).sum::<usize>();
        let held: usize = self.columns.iter().map(Column::memory_size).sum();
        let full = self.group_rows >= self.limits.group_rows || held >= self.limits.group_bytes;
        if full { self.end_group() } else { Ok(Vec::new()) }
    }

    /// Ends the file and returns its last bytes and the number of its rows as the footer tells it.
    pub(crate) fn finish(mut self) -> Result<(Vec<Bytes>, u64)> {
        let mut bytes = if self.group_rows > 0 { self.end_group()? } else { Vec::new() };
        let footer = self.writer.finish().map_err(failed)?;
        self.writer.flush().map_err(|error| failed(error.into()))?;
        bytes.append(&mut self.writer.inner_mut().take());
        let rows = u64::try_from(footer.file_metadata().num_rows())
            .map_err(|_| Error::bug("a Parquet footer counts less than no rows"))?;
        Ok((bytes, rows))
    }

    fn end_group(&mut self) -> Result<Vec<Bytes>> {
        self.groups += 1;
        self.group_rows = 0;
        let next = columns(&self.writer, &self.factory, self.groups)?;
        let full = std::mem::replace(&mut self.columns, next);
        let chunks = Mutex::new(full.iter().map(|_| None).collect::<Vec<_>>());
        share(full.into_iter().enumerate().collect(), self.threads, |(index, writer): (usize, Column)| {
            let chunk = writer.close()?;
            let mut chunks = chunks.lock().map_err(|_| ParquetError::General("an encoder thread died".to_owned()))?;
            chunks[index] = Some(chunk);
            Ok(())
        })?;
        let chunks = chunks.into_inner().map_err(|_| Error::bug("an encoder thread died"))?;
        let mut chunks: Vec<Chunk> = chunks.into_iter().flatten().collect();
        let mut start = self.writer.bytes_written() as u64;
        for chunk in &mut chunks {
            if let Chunk::Flat(flat) = chunk {
                self.writer.inner_mut().await_column(start, std::mem::take(&mut flat.pages));
            }
            start += chunk.size();
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for chunk in chunks {
            match chunk {
                Chunk::Any(chunk) => chunk.append_to_row_group(&mut group),
                Chunk::Flat(chunk) => group.append_column(&Blank(chunk.close.bytes_written), chunk.close),
            }
            .map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.writer.flush().map_err(|error| failed(error.into()))?;
        Ok(self.writer.inner_mut().take())
    }
}

/// A column of a row group being written.
enum Column {
    Any(Box<ArrowColumnWriter>),
    Flat(Box<FlatWriter>),
}

/// A column of a row group, whole.
enum Chunk {
    Any(ArrowColumnChunk),
    Flat(FlatChunk),
}

impl Column {
    fn write(&mut self, leaf: &ArrowLeafColumn) -> std::result::Result<(), ParquetError> {
        match self {
            Self::Any(writer) => writer.write(leaf),
            Self::Flat(_) => Err(ParquetError::General("a flat column is written as a nested one".to_owned())),
        }
    }

    fn memory_size(&self) -> usize {
        match self {
            Self::Any(writer) => writer.memory_size(),
            Self::Flat(writer) => writer.memory_size(),
        }
    }

    fn close(self) -> std::result::Result<Chunk, ParquetError> {
        Ok(match self {
            Self::Any(writer) => Chunk::Any(writer.close()?),
            Self::Flat(writer) => Chunk::Flat(writer.close()?),
        })
    }
}

impl Chunk {
    fn size(&self) -> u64 {
        match self {
            Self::Any(chunk) => chunk.close().bytes_written,
            Self::Flat(chunk) => chunk.close.bytes_written,
        }
    }
}

/// The columns of the next row group.
fn columns(
    writer: &SerializedFileWriter<FilePieces>,
    factory: &ArrowRowGroupWriterFactory,
    group: usize,
) -> Result<Vec<Column>> {
    let all = factory.create_column_writers(group).map_err(failed)?.into_iter();
    let described = writer.schema_descr().columns().iter();
    let columns = all.zip(described).map(|(any, column)| match flat_options(writer.properties(), column) {
        Some(options) => Column::Flat(Box::new(FlatWriter::new(Arc::clone(column), options))),
        None => Column::Any(Box::new(any)),
    });
    Ok(columns.collect())
}

/// How a flat column is written for which [`properties`] has chosen an encoding.
fn flat_options(properties: &WriterProperties, column: &ColumnDescriptor) -> Option<FlatOptions> {
    let path = column.path();
    let encoding = properties.encoding(path)?;
    Some(FlatOptions {
        dictionary: properties.dictionary_enabled(path),
        differences: encoding == Encoding::DELTA_BINARY_PACKED,
        compressed: properties.compression(path) != Compression::UNCOMPRESSED,
        statistics: properties.statistics_enabled(path) != EnabledStatistics::None,
        page_rows: properties.data_page_row_count_limit(),
    })
}

/// Runs `each` on all of `work`, taken from the end, by at most `threads` threads.
fn share<T: Send>(
    work: Vec<T>,
    threads: usize,
    each: impl Fn(T) -> std::result::Result<(), ParquetError> + Sync,
) -> Result<()> {
    let helpers = threads.min(work.len()).saturating_sub(1);
    let work = Mutex::new(work);
    let run = || -> std::result::Result<(), ParquetError> {
        loop {
            let next = match work.lock() {
                Ok(mut left) => left.pop(),
                Err(_) => return Err(ParquetError::General("an encoder thread died".to_owned())),
            };
            match next {
                Some(item) => each(item)?,
                None => return Ok(()),
            }
        }
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(run)).collect();
        let mut outcome = run();
        for helper in helpers {
            let other = helper.join().unwrap_or_else(|_| Err(ParquetError::General("an encoder thread died".into())));
            outcome = outcome.and(other);
        }
        outcome
    })
    .map_err(failed)
}

fn weight(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

fn properties(schema: &SchemaRef, first: &[RecordBatch], threads: usize, codec: Codec) -> Result<WriterProperties> {
    let small = Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?);
    let looks = Mutex::new(Vec::new());
    share((0..schema.fields().len()).collect(), threads, |field| {
        let look = Look::at(first, field);
        let mut looks = looks.lock().map_err(|_| ParquetError::General("an encoder thread died".to_owned()))?;
        looks.push((field, look));
        Ok(())
    })?;
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(match codec {
            Codec::Quick => Compression::LZ4_RAW,
            Codec::Small => small,
        })
        .set_data_page_size_limit(PAGE_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None);
    if schema.fields().iter().any(|field| field.name().starts_with(NUMBER_PREFIX)) {
        builder = builder.set_data_page_row_count_limit(PAGE_ROWS).set_write_batch_size(PAGE_ROWS);
    }
    for (field, look) in looks.into_inner().map_err(|_| Error::bug("an encoder thread died"))? {
        let field = schema.field(field);
        // The path has one part however many dots the name has (`Owner.Email`).
        let path = ColumnPath::new(vec![field.name().clone()]);
        if field.name().starts_with(NUMBER_PREFIX) {
            // Numbers without any order: nothing makes them smaller.
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_compression(path.clone(), Compression::UNCOMPRESSED);
            if codec == Codec::Quick && *field.data_type() == DataType::Int64 {
                builder = builder.set_column_encoding(path, Encoding::PLAIN);
            }
            continue;
        }
        if !look.repeated {
            builder = builder.set_column_dictionary_enabled(path.clone(), false);
        }
        match field.data_type() {
            DataType::Utf8 if codec == Codec::Quick => {
                builder = builder.set_column_encoding(path.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
                if !look.repeated && !look.halved {
                    builder = builder.set_column_compression(path.clone(), Compression::UNCOMPRESSED);
                }
            }
            // Few numbers that come again are told in less room by a dictionary, but for one and the same.
            DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _)
                if codec == Codec::Quick && (look.same || !look.repeated) =>
            {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_compression(path.clone(), Compression::UNCOMPRESSED);
            }
            DataType::Boolean if codec == Codec::Quick => {
                builder = builder.set_column_encoding(path.clone(), Encoding::PLAIN);
            }
            _ => {}
        }
        // Of texts in no order, each row group has nearly the whole range: its least and greatest would rule out nothing,
        // and to find them costs two comparisons a value.
        if !look.ordered && *field.data_type() == DataType::Utf8 {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    Ok(builder.build())
}

/// The first values that are looked at, unless fewer tell as much.
const SAMPLE: usize = 8_192;

/// Rows that are looked at together.
const STEP: usize = 2_048;

/// What the first rows of a column say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// The values repeat: a dictionary of values that never do only costs a hash per value.
    repeated: bool,
    /// All are the same.
    same: bool,
    /// Nearly every value is at least the one before.
    ordered: bool,
    /// LZ4 makes the texts half as long.
    halved: bool,
}

/// Whether LZ4 makes the texts of a column half as long.
fn halved(first: &[RecordBatch], field: usize) -> bool {
    let (mut rows, mut before, mut after) = (0, 0, 0);
    for texts in first.iter().filter_map(|batch| batch.column(field).as_string_opt::<i32>()) {
        let texts = texts.slice(0, texts.len().min(STEP - rows));
        let of = |offset: Option<&i32>| offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
        let (begin, end) = (of(texts.value_offsets().first()), of(texts.value_offsets().last()));
        let bytes = texts.value_data().get(begin..end).unwrap_or_default();
        rows += texts.len();
        before += bytes.len();
        after += lz4_flex::block::compress(bytes).len();
    }
    after * 2 <= before
}

impl Look {
    fn at(first: &[RecordBatch], field: usize) -> Self {
        let unknown = Self { repeated: true, same: false, ordered: true, halved: true };
        let mut count = Count::default();
        let steps = |batch: &RecordBatch| (0..batch.num_rows()).step_by(STEP);
        for (batch, from) in first.iter().flat_map(|batch| steps(batch).map(move |from| (batch, from))) {
            if count.tells() {
                break;
            }
            let column = batch.column(field).slice(from, STEP.min(batch.num_rows() - from));
            if let Some(texts) = column.as_string_opt::<i32>() {
                count.take(texts.iter().flatten());
                continue;
            }
            let Ok(converter) = RowConverter::new(vec![SortField::new(column.data_type().clone())]) else {
                return unknown;
            };
            let Ok(rows) = converter.convert_columns(std::slice::from_ref(&column)) else { return unknown };
            count.take(rows.iter().enumerate().filter(|(index, _)| column.is_valid(*index)).map(|(_, row)| row));
        }
        let Count { values, falls, seen } = count;
        let repeated = values < 1_024 || seen.len() * 2 < values;
        let halved = !repeated && halved(first, field);
        Self { repeated, same: seen.len() < 2, ordered: falls * 16 <= values, halved }
    }
}

/// Values, those among them that are less than the one before, and the different ones as numbers.
#[derive(Debug, Default)]
struct Count {
    values: usize,
    falls: usize,
    seen: HashSet<u64>,
}

impl Count {
    /// Whether more values would hardly tell anything else.
    fn tells(&self) -> bool {
        let (values, different) = (self.values, self.seen.len());
        values >= SAMPLE || (values >= STEP && (different * 16 <= values || different * 16 >= values * 15))
    }

    fn take<V: Ord + Hash>(&mut self, values: impl Iterator<Item = V>) {
        let mut before = None;
        for value in values {
            self.values += 1;
            self.seen.insert(RandomState::with_seed(0).hash_one(&value));
            self.falls += usize::from(before.is_some_and(|before| value < before));
            before = Some(value);
        }
    }
}

fn failed(error: ParquetError) -> Error {
    Error::bug(format!("a Parquet file can't be encoded: {error}")).source(error)
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;
    use arrow::array::Int32Array;
    use arrow::array::Int64Array;
    use arrow::array::ListArray;
    use arrow::array::StringArray;
    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::Field;
    use arrow::datatypes::Int64Type;
    use arrow::datatypes::Schema;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::ColumnChunkMetaData;

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (from..from + rows).map(|n| (n % 3 != 0).then(|| vec![Some(n), None])),
        );
        let schema = Schema::new(vec![
            Field::new("Owner.Email", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
            Field::new("list", list.data_type().clone(), true),
        ]);
        let text: StringArray = (from..from + rows).map(|n| (n % 5 != 0).then(|| format!("value {n}"))).collect();
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(text), Arc::new(Int64Array::from_iter_values(from..from + rows)), Arc::new(list)],
        )
        .unwrap()
    }

    #[test]
    fn several_row_groups_of_nested_columns_read_back_as_written() {
        let slabs = [vec![batch(0, 3_000), batch(3_000, 10)], vec![batch(3_010, 5_000)]];
        for codec in [Codec::Quick, Codec::Small] {
            let limits = Limits { codec, ..Limits::default() };
            let mut encoder = FileEncoder::begin(&slabs[0][0].schema(), &slabs[0], &limits).unwrap();
            let mut pieces = Vec::new();
            for slab in &slabs {
                pieces.extend(encoder.encode(slab).unwrap());
                pieces.extend(encoder.end_group().unwrap());
            }
            let (last, rows) = encoder.finish().unwrap();
            assert_eq!(rows, 8_010);
            pieces.extend(last);
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(pieces.concat())).unwrap();
            assert_eq!(reader.metadata().num_row_groups(), 2);
            let read: Vec<RecordBatch> = reader.with_batch_size(10_000).build().unwrap().map(Result::unwrap).collect();
            let read = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
            assert_eq!(read.columns(), batch(0, 8_010).columns());
        }
    }

    /// A file of one batch.
    fn encoded(batch: &RecordBatch, limits: &Limits) -> ParquetRecordBatchReaderBuilder<Bytes> {
        let rows = std::slice::from_ref(batch);
        let mut encoder = FileEncoder::begin(batch.schema_ref(), rows, limits).unwrap();
        let mut pieces = encoder.encode(rows).unwrap();
        pieces.extend(encoder.finish().unwrap().0);
        ParquetRecordBatchReaderBuilder::try_new(Bytes::from(pieces.concat())).unwrap()
    }

    #[test]
    fn values_that_never_repeat_get_no_dictionary() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("unique", DataType::Utf8, true),
            Field::new("repeated", DataType::Utf8, true),
        ]));
        let unique: StringArray = (0..5_000).map(|n| Some(n.to_string())).collect();
        let repeated: StringArray = (0..5_000).map(|n| Some((n % 7).to_string())).collect();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(unique), Arc::new(repeated)]).unwrap();
        assert!(!Look::at(std::slice::from_ref(&batch), 0).repeated);
        assert!(Look::at(&[batch], 1).repeated);
    }

    #[test]
    fn flat_columns_are_written_in_the_way_that_suits_their_values() {
        let noise = |n: i64| RandomState::with_seed(7).hash_one(n).cast_signed();
        let texts = |of: &dyn Fn(i64) -> String| -> ArrayRef {
            Arc::new((0..5_000).map(|n| (n % 9 != 0).then(|| of(n))).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(i64) -> i64| -> ArrayRef { Arc::new((0..5_000).map(of).collect::<Int64Array>()) };
        let instants = TimestampMicrosecondArray::from_iter_values((0..5_000).map(noise)).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("id", texts(&|n| format!("003bm00000{n:08}"))),
            ("address", texts(&|n| format!("{n:04}@mail.customers.example.com"))),
            ("noise", texts(&|n| format!("{:016x}", noise(n)))),
            ("repeated", texts(&|n| format!("value {}", n % 7))),
            ("one", numbers(&|_| 1_795_799_892_625_960)),
            ("some", numbers(&|n| noise(n % 5))),
            ("at", Arc::new(instants)),
            ("_sf2gs_number.id", numbers(&noise)),
            ("flag", Arc::new((0..5_000).map(|n| Some(n % 3 == 0)).collect::<BooleanArray>())),
            ("small", Arc::new(Int32Array::from_iter_values(0..5_000))),
        ])
        .unwrap();
        let written = |codec| {
            let limits = Limits { codec, ..Limits::default() };
            let reader = encoded(&batch, &limits);
            let told = |column: &ColumnChunkMetaData| {
                let dictionary = column.dictionary_page_offset().is_some();
                let known = [Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BINARY_PACKED];
                let known = known.into_iter().find(|known| column.encodings().any(|found| found == *known));
                let encoding = known.unwrap_or(if dictionary { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN });
                (encoding, column.compression() != Compression::UNCOMPRESSED)
            };
            let told: Vec<_> = reader.metadata().row_group(0).columns().iter().map(told).collect();
            let read: Vec<RecordBatch> = reader.with_batch_size(10_000).build().unwrap().map(Result::unwrap).collect();
            assert_eq!(read, std::slice::from_ref(&batch));
            let encoder = FileEncoder::begin(batch.schema_ref(), std::slice::from_ref(&batch), &limits).unwrap();
            (told, encoder.columns.iter().map(|column| matches!(column, Column::Flat(_))).collect::<Vec<_>>())
        };
        let quick = [
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, true),
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, true),
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, false),
            (Encoding::RLE_DICTIONARY, true),
            (Encoding::DELTA_BINARY_PACKED, false),
            (Encoding::RLE_DICTIONARY, true),
            (Encoding::DELTA_BINARY_PACKED, false),
            (Encoding::PLAIN, false),
            (Encoding::PLAIN, true),
            (Encoding::PLAIN, true),
        ];
        let flat = [true, true, true, true, true, false, true, true, true, false];
        assert_eq!(written(Codec::Quick), (quick.to_vec(), flat.to_vec()));
        let small = [
            (Encoding::PLAIN, true),
            (Encoding::PLAIN, true),
            (Encoding::PLAIN, true),
            (Encoding::RLE_DICTIONARY, true),
            (Encoding::RLE_DICTIONARY, true),
            (Encoding::RLE_DICTIONARY, true),
            (Encoding::PLAIN, true),
            (Encoding::PLAIN, false),
            (Encoding::PLAIN, true),
            (Encoding::PLAIN, true),
        ];
        assert_eq!(written(Codec::Small), (small.to_vec(), vec![false; 10]));
    }

    #[test]
    fn texts_in_no_order_carry_no_least_and_greatest() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("Id", DataType::Utf8, true),
            Field::new("Owner.Email", DataType::Utf8, true),
            Field::new("number", DataType::Int64, true),
        ]));
        let scattered = |n: i64| (n * 7_919) % 5_000;
        let ids: StringArray = (0..5_000).map(|n| (n % 9 != 0).then(|| format!("{n:05}"))).collect();
        let texts: StringArray = (0..5_000).map(|n| Some(format!("{}@example.com", scattered(n)))).collect();
        let numbers = Int64Array::from_iter_values((0..5_000).map(scattered));
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(numbers)];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let reader = encoded(&batch, &Limits::default());
        let group = reader.metadata().row_group(0);
        let known: Vec<_> = group.columns().iter().map(|column| column.statistics().is_some()).collect();
        assert_eq!(known, [true, false, true]);
    }
}
