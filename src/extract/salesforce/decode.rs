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
use crate::extract::split::Scanned;
use crate::extract::split::Span;

use super::columns::Column;

/// What a batch's CSV should come to at most.
const BATCH_BYTES: usize = 4 << 20;

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
        if memchr::memchr(0, chunk).is_some() {
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
            let taken = self.record(&record, false, batches)?;
            if taken == 0 {
                self.carry = record;
                chunk = &chunk[piece..];
            } else {
                // More than `before`, as what was there before had no end.
                chunk = &chunk[taken.saturating_sub(before)..];
                record.clear();
            }
        }
        let taken = self.records(chunk, false, batches)?;
        self.carry.extend_from_slice(&chunk[taken..]);
        Ok(())
    }

    /// Takes all whole records at the start of `bytes` and returns their length.
    fn records(&mut self, bytes: &[u8], last: bool, batches: &mut Vec<RecordBatch>) -> Result<usize> {
        let mut at = 0;
        loop {
            match self.record(&bytes[at..], last, batches)? {
                0 => return Ok(at),
                taken => at += taken,
            }
        }
    }

    /// Takes the record at the start of `bytes` and returns its length, 0 if it is not whole.
    fn record(&mut self, bytes: &[u8], last: bool, batches: &mut Vec<RecordBatch>) -> Result<usize> {
        let taken = match split::scan(bytes, last, &mut self.cells) {
            Scanned::Record(taken) => taken,
            Scanned::Incomplete => return Ok(0),
            Scanned::Malformed => return Err(self.broken("a quote stands where none may be")),
        };
        if self.cells.len() != self.columns.len() {
            return Err(self.broken(&format!("a row has {} cells", self.cells.len())));
        }
        if !self.header_seen {
            self.check_header(bytes)?;
            self.header_seen = true;
            return Ok(taken);
        }
        for (index, (column, span)) in self.columns.iter_mut().zip(&self.cells).enumerate() {
            let cell = split::cell(bytes, *span, &mut self.scratch);
            if column.push(cell).is_none() {
                return Err(self.bad_cell(bytes, index));
            }
        }
        self.rows += 1;
        self.bytes += taken;
        if self.rows == self.batch_rows || self.bytes >= BATCH_BYTES {
            self.flush(batches)?;
        }
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

    fn bad_cell(&mut self, bytes: &[u8], index: usize) -> Error {
        let mut text = |index: usize| {
            self.cells.get(index).map(|span| shown(split::cell(bytes, *span, &mut self.scratch))).unwrap_or_default()
        };
        let value = text(index);
        let record = self.schema.index_of("Id").map(text).unwrap_or_default();
        let wanted = self.columns.get(index).map_or("a value", Column::wanted);
        bad_value(self.schema.field(index).name(), &record, &value, wanted)
            .context("row of the page", (self.counts.rows + self.rows as u64 + 1).to_string())
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
