//! Rows dealt out by key: what does not fit into memory is looked at part by part.
//!
//! ```text
//!   batches ──▶ number of the key ──▶ part 0 … part 31, block by block in a file of the spill folder ──▶ read part by part
//! ```
//!
//! # Promises
//! * Equal keys go into the same part, whatever else the rows have; rows whose key has none are spread over all parts.
//! * No more than [`WAITING_BYTES`] and a batch wait to be written, however many rows there are.
//! * The file counts against the limit of the spill folder, and goes with the last who reads it.

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::sync::Arc;

use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::UInt32Array;
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamDecoder;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SpillFile;
use datafusion::execution::SpillWriter;
use datafusion::execution::TaskContext;

/// In how many parts rows are dealt: of all that is dealt out a 32nd has to fit into memory.
pub(super) const PARTS: usize = 32;

/// What waits for all parts together before it is written: enough for blocks that are worth their frame.
const WAITING_BYTES: usize = 8 << 20;

/// Deals batches out.
pub(super) struct Dealer {
    schema: SchemaRef,
    waiting: Vec<Vec<RecordBatch>>,
    waiting_bytes: usize,
    file: Arc<dyn SpillFile>,
    writer: Box<dyn SpillWriter>,
    written: u64,
    blocks: Vec<Vec<Block>>,
}

/// Where batches of a part lie in the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    begin: u64,
    length: usize,
}

/// What has been dealt out.
pub(super) struct Dealt {
    schema: SchemaRef,
    file: Arc<dyn SpillFile>,
    blocks: Vec<Vec<Block>>,
}

impl Dealer {
    /// For batches of `schema`, into the spill folder of `context`.
    pub(super) fn new(schema: &SchemaRef, context: &TaskContext) -> Result<Self> {
        let file = context.runtime_env().disk_manager.create_tmp_file("rows are dealt out by key")?;
        Ok(Self {
            schema: Arc::clone(schema),
            waiting: vec![Vec::new(); PARTS],
            waiting_bytes: 0,
            writer: file.open_writer()?,
            file,
            written: 0,
            blocks: vec![Vec::new(); PARTS],
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes rows whose keys have these `numbers`.
    pub(super) fn deal(&mut self, batch: &RecordBatch, numbers: &Int64Array) -> Result<()> {
        let mut rows = vec![Vec::new(); PARTS];
        for (at, number) in (0_u32..).zip(numbers) {
            rows[number.map_or(at as usize % PARTS, part_of)].push(at);
        }
        // All are taken at once, one part behind the other, and then cut: taking each part by itself made a whole run twice as long.
        let ordered = take_record_batch(batch, &UInt32Array::from(rows.concat()))?;
        self.waiting_bytes += ordered.get_array_memory_size();
        let mut begin = 0;
        for (waiting, rows) in self.waiting.iter_mut().zip(&rows).filter(|(_, rows)| !rows.is_empty()) {
            waiting.push(ordered.slice(begin, rows.len()));
            begin += rows.len();
        }
        if self.waiting_bytes >= WAITING_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        for (waiting, blocks) in self.waiting.iter_mut().zip(&mut self.blocks) {
            if waiting.is_empty() {
                continue;
            }
            let mut block = StreamWriter::try_new(Vec::new(), &self.schema)?;
            block.write(&concat_batches(&self.schema, &std::mem::take(waiting))?)?;
            let block = block.into_inner()?;
            self.writer.write_all(&block)?;
            blocks.push(Block { begin: self.written, length: block.len() });
            self.written += block.len() as u64;
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<Dealt> {
        self.write()?;
        self.writer.finish()?;
        Ok(Dealt { schema: self.schema, file: self.file, blocks: self.blocks })
    }
}

impl Dealt {
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches of a part, one block in memory at a time. May be read as often as needed.
    pub(super) fn read(&self, part: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let path =
            self.file.path().ok_or_else(|| DataFusionError::Internal("a spill folder without files".to_owned()))?;
        let mut file = File::open(path)?;
        let held = Arc::clone(&self.file);
        let blocks = self.blocks.get(part).cloned().unwrap_or_default();
        Ok(blocks.into_iter().map(move |block| {
            let _lives = &held;
            let mut bytes = vec![0; block.length];
            file.seek(SeekFrom::Start(block.begin))?;
            file.read_exact(&mut bytes)?;
            let batch = StreamDecoder::new().decode(&mut Buffer::from_vec(bytes))?;
            batch.ok_or_else(|| DataFusionError::Internal("a block of rows dealt out has no batch".to_owned()))
        }))
    }
}

/// The part of a key. Other bits of its number lead through a part's own table.
fn part_of(number: i64) -> usize {
    let mixed = number.cast_unsigned().rotate_left(32).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> (u64::BITS - PARTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;
    use crate::engine::lookup::key_hash::hashes;

    #[test]
    fn every_row_is_in_one_part_and_equal_keys_are_in_the_same() {
        let context = Arc::new(TaskContext::default());
        let batch = |from: i64| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 1_000));
            let long = "x".repeat(500);
            let key = |at: i64| (at % 10 != 0).then(|| format!("{} {long}", at % 3_000));
            let keys: ArrayRef = Arc::new((from..from + 1_000).map(key).collect::<StringArray>());
            RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("key", keys, true)]).unwrap()
        };
        let mut dealer = Dealer::new(&batch(0).schema(), &context).unwrap();
        for number in 0..50 {
            let batch = batch(number * 1_000);
            dealer.deal(&batch, &hashes(&[Arc::clone(batch.column(1))], 1_000).unwrap()).unwrap();
            assert!(dealer.waiting_bytes < WAITING_BYTES);
        }
        let dealt = dealer.finish().unwrap();
        let (mut part_of_key, mut ids) = (BTreeMap::new(), Vec::new());
        for part in 0..PARTS {
            let again: Vec<RecordBatch> = dealt.read(part).unwrap().collect::<Result<_>>().unwrap();
            let batches: Vec<RecordBatch> = dealt.read(part).unwrap().collect::<Result<_>>().unwrap();
            assert_eq!(batches, again);
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            assert!((600..3_000).contains(&rows), "{rows} of 50,000");
            for batch in &batches {
                for key in batch["key"].as_string::<i32>().iter().flatten() {
                    assert_eq!(*part_of_key.entry(key.to_owned()).or_insert(part), part);
                }
            }
            ids.extend(batches.iter().flat_map(|batch| batch["id"].as_primitive::<Int64Type>().values().to_vec()));
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..50_000).collect::<Vec<_>>());
    }
}
