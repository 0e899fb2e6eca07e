//! One page of CSV, fed in chunks of any size, becomes batches.
//!
//! # Promises
//! * Where chunks begin and end makes no difference.
//! * The header row must name the schema's columns in their order.
//! * A batch is at most `batch_rows` rows and about [`BATCH_BYTES`] of CSV, but for a row that is longer by itself.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use crate::error::Error;
use crate::error::Result;
use crate::extract::split;
use crate::extract::split::ColumnSpans;
use crate::extract::split::Scanned;
use crate::extract::split::Span;

use super::columns::Column;

/// What a batch's CSV should come to at most.
const BATCH_BYTES: usize = 4 << 20;

/// Records whose cells are found before they go into the columns: few enough to stay near the processor.
const BLOCK_ROWS: usize = 128;

/// How much is first added to a record that a chunk's end has cut.
const FIRST_PIECE: usize = 1024;

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
    columns: Vec<Column>,
    batch_rows: usize,
    header_seen: bool,
    /// The beginning of a record whose end has not come yet.
    carry: Vec<u8>,
    /// The cells of a block, record after record.
    cells: Vec<Span>,
    scratch: Vec<u8>,
    /// Rows and bytes of CSV in `columns`.
    rows: usize,
    bytes: usize,
    counts: PageCounts,
}

/// Decodes one whole page, header included, into batches of at most `batch_rows` rows.
pub fn decode_page(schema: &SchemaRef, page: &[u8], batch_rows: usize) -> Result<Vec<RecordBatch>> {
    let mut decoder = PageDecoder::new(schema, batch_rows)?;
    let mut batches = Vec::new();
    decoder.feed(page, &mut batches)?;
    decoder.finish(&mut batches)?;
    Ok(batches)
}

impl PageDecoder {
    pub(super) fn new(schema: &SchemaRef, batch_rows: usize) -> Result<Self> {
        let batch_rows = batch_rows.max(1);
        let columns = schema.fields().iter().map(|field| {
            Column::new(field, batch_rows.min(1_024))
                .ok_or_else(|| Error::bug(format!("column `{}` has a type that is not read", field.name())))
        });
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            schema: Arc::clone(schema),
            batch_rows,
            header_seen: false,
            carry: Vec::new(),
            cells: Vec::new(),
            scratch: Vec::new(),
            rows: 0,
            bytes: 0,
            counts: PageCounts::default(),
        })
    }

    /// Takes the next bytes and adds the batches that are full to `batches`.
    pub(super) fn feed(&mut self, chunk: &[u8], batches: &mut Vec<RecordBatch>) -> Result<()> {
        self.counts.bytes += chunk.len() as u64;
        if has_nul(chunk) {
            let cleaned: Vec<u8> = chunk.iter().copied().filter(|byte| *byte != 0).collect();
            self.counts.nul_bytes += (chunk.len() - cleaned.len()) as u64;
            return self.split(&cleaned, batches);
        }
        self.split(chunk, batches)
    }

    /// Takes the end of the page.
    pub(super) fn finish(mut self, batches: &mut Vec<RecordBatch>) -> Result<PageCounts> {
        let rest = std::mem::take(&mut self.carry);
        self.records(&rest, true, batches)?;
        if !self.header_seen {
            return Err(Error::integrity("Salesforce sent a page of results without its header row")
                .hint("nothing was landed; run the same command again"));
        }
        self.flush(batches)?;
        self.counts.rounded = self.columns.iter().map(Column::rounded).sum();
        Ok(self.counts)
    }

    fn split(&mut self, mut chunk: &[u8], batches: &mut Vec<RecordBatch>) -> Result<()> {
        // A record that the last chunk left open is completed in `carry`. It is scanned from its start each time, so
        // the pieces added to it double.
        while !self.carry.is_empty() && !chunk.is_empty() {
            let mut record = std::mem::take(&mut self.carry);
            let before = record.len();
            let piece = chunk.len().min(before.max(FIRST_PIECE));
            record.extend_from_slice(&chunk[..piece]);
            let taken = self.records(&record, false, batches)?;
            if taken == 0 {
                self.carry = record;
                chunk = &chunk[piece..];
            } else {
                // More than `before`, as what was there before had no end.
                chunk = &chunk[taken.saturating_sub(before)..];
            }
        }
        let taken = self.records(chunk, false, batches)?;
        self.carry.extend_from_slice(&chunk[taken..]);
        Ok(())
    }

    /// Takes all whole records at the start of `bytes` and returns their length.
    fn records(&mut self, bytes: &[u8], last: bool, batches: &mut Vec<RecordBatch>) -> Result<usize> {
        let mut at = 0;
        if !self.header_seen {
            at = self.header(bytes, last)?;
            if !self.header_seen {
                return Ok(0);
            }
        }
        loop {
            let (taken, end) = self.block(bytes, at, last);
            self.take_block(bytes, taken, end - at)?;
            let full = taken == BLOCK_ROWS || self.rows == self.batch_rows || self.bytes >= BATCH_BYTES;
            at = end;
            if self.rows == self.batch_rows || self.bytes >= BATCH_BYTES {
                self.flush(batches)?;
            }
            if !full {
                break;
            }
        }
        // What ended the last block: the next record is not whole, or is none of ours.
        self.cells.clear();
        match split::scan_on(bytes, at, last, &mut self.cells) {
            Scanned::Incomplete => Ok(at),
            Scanned::Malformed => Err(self.broken("a quote stands where none may be")),
            Scanned::Record(_) => Err(self.broken(&format!("a row has {} cells", self.cells.len()))),
        }
    }

    /// Finds the cells of the next records from `at` on, as many as a block and the batch have room for; how many
    /// records, and where they end.
    fn block(&mut self, bytes: &[u8], begin: usize, last: bool) -> (usize, usize) {
        let width = self.columns.len();
        let most = BLOCK_ROWS.min(self.batch_rows - self.rows);
        self.cells.resize(most * width, Span::default());
        let room = BATCH_BYTES.saturating_sub(self.bytes);
        let (mut rows, mut at) = split::scan_quoted(bytes, begin, room, width, &mut self.cells);
        self.cells.truncate(rows * width);
        while rows < most && at - begin < room {
            match split::scan_on(bytes, at, last, &mut self.cells) {
                Scanned::Record(end) if self.cells.len() == (rows + 1) * width => {
                    at = end;
                    rows += 1;
                }
                _ => break,
            }
        }
        (rows, at)
    }

    /// Puts the cells of a block into their columns, one column after the other.
    fn take_block(&mut self, bytes: &[u8], rows: usize, length: usize) -> Result<()> {
        let width = self.columns.len();
        let mut wrong: Option<(usize, usize)> = None;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let cells = ColumnSpans { cells: &self.cells[..rows * width], width, column: index };
            if let Err(row) = column.push_all(bytes, cells)
                && wrong.is_none_or(|(first, _)| row < first)
            {
                wrong = Some((row, index));
            }
        }
        if let Some((row, index)) = wrong {
            return Err(self.bad_cell(bytes, row, index));
        }
        self.rows += rows;
        self.bytes += length;
        Ok(())
    }

    /// Takes the header row at the start of `bytes` and returns its length, 0 if it is not whole.
    fn header(&mut self, bytes: &[u8], last: bool) -> Result<usize> {
        let taken = match split::scan(bytes, last, &mut self.cells) {
            Scanned::Record(taken) => taken,
            Scanned::Incomplete => return Ok(0),
            Scanned::Malformed => return Err(self.broken("a quote stands where none may be")),
        };
        if self.cells.len() != self.columns.len() {
            return Err(self.broken(&format!("a row has {} cells", self.cells.len())));
        }
        self.check_header(bytes)?;
        self.header_seen = true;
        Ok(taken)
    }

    /// Turns the collected rows into a batch.
    fn flush(&mut self, batches: &mut Vec<RecordBatch>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(Column::take).collect::<std::result::Result<Vec<_>, _>>();
        let columns = columns.map_err(|e| self.broken("a text is not UTF-8").source(e))?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|e| Error::bug("decoded columns do not make a batch").source(e))?;
        self.counts.rows += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        batches.push(batch);
        Ok(())
    }

    fn check_header(&mut self, bytes: &[u8]) -> Result<()> {
        for (field, span) in self.schema.fields().iter().zip(&self.cells) {
            let found = split::cell(bytes, *span, &mut self.scratch);
            // Some services begin a file with a byte order mark; it belongs to no name.
            let found = found.strip_prefix(b"\xef\xbb\xbf").unwrap_or(found);
            if found != field.name().as_bytes() {
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

    fn bad_cell(&mut self, bytes: &[u8], row: usize, index: usize) -> Error {
        let first = row * self.columns.len();
        let mut text = |index: usize| {
            self.cells
                .get(first + index)
                .map(|span| shown(split::cell(bytes, *span, &mut self.scratch)))
                .unwrap_or_default()
        };
        let value = text(index);
        let record = self.schema.index_of("Id").map(text).unwrap_or_default();
        let wanted = self.columns.get(index).map_or("a value", Column::wanted);
        bad_value(self.schema.field(index).name(), &record, &value, wanted)
            .context("row of the page", (self.counts.rows + (self.rows + row) as u64 + 1).to_string())
    }

    fn broken(&self, why: &str) -> Error {
        Error::integrity(format!(
            "a page of results is no CSV of {} columns after row {}: {why}",
            self.columns.len(),
            self.counts.rows + self.rows as u64
        ))
        .hint("nothing was landed; run the same command again, and report it if it stays so")
    }
}

/// Bytes that are looked at together for one that is 0.
const PIECE: usize = 4 << 10;

/// Whether a byte is 0. The least of some bytes is found by the processor's own means, sixteen at a time.
fn has_nul(bytes: &[u8]) -> bool {
    bytes.chunks(PIECE).any(|piece| piece.iter().fold(u8::MAX, |least, byte| least.min(*byte)) == 0)
}

/// The error of a value that its field's type cannot hold.
pub(super) fn bad_value(field: &str, record: &str, value: &str, wanted: &str) -> Error {
    let value = if value.is_empty() { "nothing".to_owned() } else { format!("`{}`", shown(value.as_bytes())) };
    Error::integrity(format!("field `{field}` of record {record} holds {value}, which is not {wanted}")).hint(format!(
        "nothing was landed; correct the record in Salesforce or leave `{field}` out of the job's fields"
    ))
}

/// The beginning of a value.
fn shown(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    let mut short: String = value.chars().take(SHOWN_CHARS).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
