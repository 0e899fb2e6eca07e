//! One page of CSV, fed in chunks of any size, becomes batches.
//!
//! # Promises
//! * Where chunks begin and end makes no difference.
//! * The header row must name the schema's columns in their order.
//! * A batch is at most `batch_rows` rows and, but for rows that are wide themselves, a few MB.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Decoder;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;

use crate::error::Error;
use crate::error::Result;

use super::cells::Cell;

/// What a batch's CSV should come to.
const BATCH_BYTES: usize = 4 << 20;

/// From this size on a batch is closed at the next end of a row, however few rows it has. Far below the 2 GB at which
/// the offsets of a text column end.
const LONGEST_BATCH_BYTES: usize = 16 << 20;

/// Rows of the first batch of a page, before the width of rows is known.
const FIRST_ROWS: usize = 512;

/// Characters of a value that an error shows.
const SHOWN_CHARS: usize = 60;

/// What a page came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageCounts {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) nul_bytes: u64,
    pub(super) rounded: u64,
}

/// Decodes one page.
pub(super) struct PageDecoder {
    schema: SchemaRef,
    /// The schema with every column as text: what arrow-csv is asked for.
    texts: SchemaRef,
    cells: Arc<[Cell]>,
    decoder: Decoder,
    header_seen: bool,
    /// Rows that `decoder` collects before it has to be flushed.
    rows: usize,
    max_rows: usize,
    /// Bytes fed since the last flush.
    pending: usize,
    counts: PageCounts,
}

impl PageDecoder {
    pub(super) fn new(schema: &SchemaRef, max_rows: usize) -> Result<Self> {
        let cells = schema.fields().iter().map(|field| {
            Cell::of(field).ok_or_else(|| Error::bug(format!("column `{}` has a type that is not read", field.name())))
        });
        let texts: Vec<_> =
            schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
        let texts = Arc::new(Schema::new(texts));
        Ok(Self {
            schema: Arc::clone(schema),
            cells: cells.collect::<Result<Vec<_>>>()?.into(),
            decoder: text_decoder(&texts, 1),
            texts,
            header_seen: false,
            rows: 1,
            max_rows: max_rows.max(1),
            pending: 0,
            counts: PageCounts::default(),
        })
    }

    /// Takes the next bytes and adds the batches that are full to `batches`.
    pub(super) fn feed(&mut self, chunk: &[u8], batches: &mut Vec<RecordBatch>) -> Result<()> {
        self.counts.bytes += chunk.len() as u64;
        if memchr::memchr(0, chunk).is_some() {
            let cleaned: Vec<u8> = chunk.iter().copied().filter(|byte| *byte != 0).collect();
            self.counts.nul_bytes += (chunk.len() - cleaned.len()) as u64;
            return self.decode(&cleaned, batches);
        }
        self.decode(chunk, batches)
    }

    /// Takes the end of the page.
    pub(super) fn finish(mut self, batches: &mut Vec<RecordBatch>) -> Result<PageCounts> {
        self.decoder.decode(&[]).map_err(|e| self.broken(e))?; // an empty chunk is the end, for arrow-csv
        self.flush(batches)?;
        if !self.header_seen {
            return Err(Error::integrity("Salesforce sent a page of results without its header row")
                .hint("nothing was landed; run the same command again"));
        }
        Ok(self.counts)
    }

    fn decode(&mut self, mut bytes: &[u8], batches: &mut Vec<RecordBatch>) -> Result<()> {
        while !bytes.is_empty() {
            // An over-long batch is fed line by line, so that it can be closed where a row ends.
            let long = self.pending >= LONGEST_BATCH_BYTES;
            let end = if long { memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1) } else { bytes.len() };
            let room = self.decoder.capacity();
            let taken = self.decoder.decode(&bytes[..end]).map_err(|e| self.broken(e))?;
            self.pending += taken;
            let row_ended = long && taken == end && self.decoder.capacity() < room;
            bytes = &bytes[taken..];
            if self.decoder.capacity() == 0 || row_ended {
                self.flush(batches)?;
            }
        }
        Ok(())
    }

    /// Turns the collected rows into a batch. Only to be called where a row has ended.
    fn flush(&mut self, batches: &mut Vec<RecordBatch>) -> Result<()> {
        let Some(texts) = self.decoder.flush().map_err(|e| self.broken(e))? else { return Ok(()) };
        if self.header_seen {
            let rows = texts.num_rows();
            batches.push(self.typed(&texts)?);
            self.counts.rows += rows as u64;
            self.resize(rows);
        } else {
            self.check_header(&texts)?;
            self.header_seen = true;
            self.rebuild(FIRST_ROWS.min(self.max_rows));
        }
        self.pending = 0;
        Ok(())
    }

    /// Chooses the size of the next batch by the width of the rows in this one.
    fn resize(&mut self, rows: usize) {
        let width = (self.pending / rows.max(1)).max(1);
        let wanted = (BATCH_BYTES / width).clamp(16, self.max_rows.max(16)).min(self.max_rows);
        if wanted < self.rows || wanted >= self.rows * 2 || (wanted == self.max_rows && self.rows < wanted) {
            self.rebuild(wanted);
        }
    }

    /// A decoder with another batch size goes on where a row has ended as the old one would.
    fn rebuild(&mut self, rows: usize) {
        self.rows = rows;
        self.decoder = text_decoder(&self.texts, rows);
    }

    fn check_header(&self, header: &RecordBatch) -> Result<()> {
        let found = header.columns().iter().map(|column| {
            let names = column.as_string::<i32>();
            if names.is_empty() { "" } else { names.value(0) }
        });
        for (field, found) in self.schema.fields().iter().zip(found) {
            if found != field.name() {
                return Err(Error::integrity(format!(
                    "Salesforce sent a column `{}` where `{}` was asked for",
                    shown(found),
                    field.name()
                ))
                .hint("nothing was landed; run the same command again, and report it if it stays so"));
            }
        }
        Ok(())
    }

    fn typed(&mut self, texts: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.cells.len());
        for (index, cell) in self.cells.iter().enumerate() {
            let column = texts.column(index).as_string::<i32>();
            let read = cell.read(column).map_err(|bad| self.bad_cell(texts, index, bad.row, *cell))?;
            self.counts.rounded += read.rounded;
            columns.push(read.array);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|e| Error::bug("decoded columns do not make a batch").source(e))
    }

    fn bad_cell(&self, texts: &RecordBatch, column: usize, row: usize, cell: Cell) -> Error {
        let field = self.schema.field(column).name();
        let value = texts.column(column).as_string::<i32>();
        let value = if value.is_null(row) { "nothing".to_owned() } else { format!("`{}`", shown(value.value(row))) };
        let id = texts.column_by_name("Id").map_or("", |ids| ids.as_string::<i32>().value(row));
        Error::integrity(format!(
            "field `{field}` of record {} holds {value}, which is not {}",
            shown(id),
            cell.wanted()
        ))
        .context("row of the page", (self.counts.rows + row as u64 + 1).to_string())
        .hint(format!(
            "nothing was landed; correct the record in Salesforce or leave `{field}` out of the job's fields"
        ))
    }

    /// arrow-csv's errors here are about the shape of the text: number of cells, quotes, UTF-8.
    fn broken(&self, error: ArrowError) -> Error {
        Error::integrity(format!(
            "a page of results is no CSV of {} columns after row {}",
            self.schema.fields().len(),
            self.counts.rows
        ))
        .hint("nothing was landed; run the same command again, and report it if it stays so")
        .source(error)
    }
}

fn text_decoder(schema: &SchemaRef, rows: usize) -> Decoder {
    ReaderBuilder::new(Arc::clone(schema)).with_header(false).with_batch_size(rows).build_decoder()
}

/// The beginning of a value.
fn shown(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN_CHARS).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
