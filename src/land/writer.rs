//! Writes the rows of one sequence into new data files. Nothing is visible before the commit that names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use crate::clock;
use crate::error::Error;
use crate::error::Result;
use crate::land::encode::Codec;
use crate::land::encode::FileEncoder;
use crate::land::encode::Limits;
use crate::land::store;
use crate::land::types::Border;
use crate::land::types::DELETED_COLUMN;

/// A data file that no commit names yet.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    /// Its name within the table's folder.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) rows: u64,
    /// Rows that are deletions of their key.
    pub(crate) deleted: u64,
    /// Nulls by flat column.
    pub(crate) nulls: BTreeMap<String, u64>,
}

/// What a [`SnapshotWriter`] has written: to be handed to [`Commit`](crate::land::Commit).
#[derive(Debug, Clone)]
pub struct Written {
    pub(crate) files: Vec<NewFile>,
    pub(crate) schema: SchemaRef,
    pub(crate) sequence: i64,
    /// The rows carry sequences of their own, none above `sequence`: a compacted base.
    pub(crate) mixed: bool,
}

impl Written {
    /// The number of data files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The rows written, deletions among them.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// The rows that are deletions.
    pub fn deleted(&self) -> u64 {
        self.files.iter().map(|file| file.deleted).sum()
    }

    /// The size of the files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The sequence of the rows.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }
}

/// A file on its way to the store.
struct OpenFile {
    name: String,
    upload: BufWriter,
    sent: u64,
    rows: u64,
    deleted: u64,
    nulls: BTreeMap<String, u64>,
}

/// The encoder after a slab, and what of the file is ready.
type Encoded = (FileEncoder, Vec<Bytes>);

/// Takes batches, encodes them on worker threads while the next ones come in, and uploads as it goes.
///
/// At most two slabs of rows and the encoded pages of one row group are held. Dropping the writer commits nothing;
/// what it stored until then is swept up by [`Lake::vacuum`](crate::land::Lake::vacuum).
pub struct SnapshotWriter {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    border: Border,
    sequence: i64,
    sequences: Int64Array,
    mixed: bool,
    limits: Limits,
    slab: Vec<RecordBatch>,
    slab_rows: usize,
    slab_bytes: usize,
    encoding: Option<JoinHandle<Result<Encoded>>>,
    open: Option<OpenFile>,
    files: Vec<NewFile>,
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("folder", &self.folder).field("sequence", &self.sequence).finish()
    }
}

impl SnapshotWriter {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        folder: Path,
        schema: &SchemaRef,
        sequence: i64,
        codec: Codec,
    ) -> Result<Self> {
        Ok(Self {
            store,
            folder,
            border: Border::new(schema)?,
            sequence,
            sequences: Int64Array::from(Vec::<i64>::new()),
            mixed: false,
            limits: Limits { codec, ..Limits::default() },
            slab: Vec::new(),
            slab_rows: 0,
            slab_bytes: 0,
            encoding: None,
            open: None,
            files: Vec::new(),
        })
    }

    /// Adds rows; those marked in `deleted` are deletions of their key (their other values are kept for the record).
    pub async fn write(&mut self, batch: &RecordBatch, deleted: Option<&BooleanArray>) -> Result<()> {
        if self.sequences.len() < batch.num_rows() {
            self.sequences = Int64Array::from(vec![self.sequence; batch.num_rows().next_power_of_two()]);
        }
        let physical = self.border.pass(batch, &self.sequences, deleted)?;
        self.take(physical).await
    }

    /// Adds rows that carry the lake's columns already, with sequences of their own.
    pub(crate) async fn write_mixed(&mut self, physical: &RecordBatch) -> Result<()> {
        self.mixed = true;
        let physical = RecordBatch::try_new(Arc::clone(self.border.physical()), physical.columns().to_vec())?;
        self.take(physical).await
    }

    async fn take(&mut self, physical: RecordBatch) -> Result<()> {
        if physical.num_rows() == 0 {
            return Ok(());
        }
        self.slab_rows += physical.num_rows();
        self.slab_bytes += physical.get_array_memory_size();
        self.slab.push(physical);
        if self.slab_rows >= self.limits.slab_rows || self.slab_bytes >= self.limits.slab_bytes {
            self.encode_slab().await?;
        }
        Ok(())
    }

    /// Ends the last file.
    pub async fn finish(mut self) -> Result<Written> {
        if !self.slab.is_empty() {
            self.encode_slab().await?;
        }
        self.end_file().await?;
        Ok(Written {
            files: std::mem::take(&mut self.files),
            schema: Arc::clone(self.border.physical()),
            sequence: self.sequence,
            mixed: self.mixed,
        })
    }

    /// Hands the slab to the encoder, once that has done the one before.
    async fn encode_slab(&mut self) -> Result<()> {
        let slab = std::mem::take(&mut self.slab);
        (self.slab_rows, self.slab_bytes) = (0, 0);
        if self.open.as_ref().is_some_and(|file| file.sent >= self.limits.file_bytes) {
            self.end_file().await?;
        }
        let encoder = self.idle_encoder().await?;
        let file = self.open.get_or_insert_with(|| {
            // The name is new for every file: a crash leaves garbage, never a file that another commit names.
            let name = format!("part-{}-{}.{}.parquet", self.sequence, clock::random_id(), self.limits.codec.name());
            let path = self.folder.clone().join(name.as_str());
            OpenFile {
                name,
                upload: BufWriter::new(Arc::clone(&self.store), path).with_max_concurrency(4),
                sent: 0,
                rows: 0,
                deleted: 0,
                nulls: BTreeMap::new(),
            }
        });
        for batch in &slab {
            file.count(batch);
        }
        let schema = Arc::clone(self.border.physical());
        let limits = self.limits.clone();
        self.encoding = Some(tokio::task::spawn_blocking(move || {
            let mut encoder = match encoder {
                Some(encoder) => encoder,
                None => FileEncoder::begin(&schema, &slab, &limits)?,
            };
            let bytes = encoder.encode(&slab)?;
            Ok((encoder, bytes))
        }));
        Ok(())
    }

    /// Waits for the encoder and sends on what it has ready.
    async fn idle_encoder(&mut self) -> Result<Option<FileEncoder>> {
        let Some(task) = self.encoding.take() else { return Ok(None) };
        let (encoder, bytes) = task.await.map_err(|error| Error::bug("the Parquet encoder died").source(error))??;
        self.send(bytes).await?;
        Ok(Some(encoder))
    }

    async fn send(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        let Some(file) = &mut self.open else { return Ok(()) };
        for piece in pieces {
            file.sent += piece.len() as u64;
            file.upload.put(piece).await.map_err(|error| store::failed("write a data file", error))?;
        }
        Ok(())
    }

    async fn end_file(&mut self) -> Result<()> {
        let Some(encoder) = self.idle_encoder().await? else { return Ok(()) };
        let (bytes, rows) = tokio::task::spawn_blocking(move || encoder.finish())
            .await
            .map_err(|error| Error::bug("the Parquet encoder died").source(error))??;
        self.send(bytes).await?;
        let Some(mut file) = self.open.take() else { return Ok(()) };
        file.upload
            .shutdown()
            .await
            .map_err(|error| Error::unavailable(format!("a data file can't be written: {error}")).source(error))?;
        let path = self.folder.clone().join(file.name.as_str());
        let stored = self.store.head(&path).await.map_err(|error| store::failed("look at a new data file", error))?;
        if rows != file.rows || stored.size != file.sent {
            return Err(Error::unavailable(format!(
                "the data file {path} has {rows} rows in {} bytes instead of {} in {}",
                stored.size, file.rows, file.sent
            ))
            .hint("nothing was committed; run again"));
        }
        self.files.push(NewFile { name: file.name, size: file.sent, rows, deleted: file.deleted, nulls: file.nulls });
        Ok(())
    }
}

impl OpenFile {
    fn count(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if field.name() == DELETED_COLUMN
                && let Some(marks) = column.as_any().downcast_ref::<BooleanArray>()
            {
                self.deleted += marks.true_count() as u64;
            }
            if !field.data_type().is_nested() {
                let nulls = column.null_count() as u64;
                match self.nulls.get_mut(field.name()) {
                    Some(count) => *count += nulls,
                    None => {
                        self.nulls.insert(field.name().clone(), nulls);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::array::StringArray;
    use arrow::datatypes::DataType;
    use arrow::datatypes::Field;
    use arrow::datatypes::Schema;
    use object_store::memory::InMemory;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[tokio::test]
    async fn rows_go_on_in_the_next_file_when_one_is_full() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("Id", DataType::Utf8, false)]));
        let folder = Path::from("lake/salesforce/account");
        let mut writer = SnapshotWriter::new(Arc::clone(&store), folder.clone(), &schema, 7, Codec::Quick).unwrap();
        writer.limits = Limits { slab_rows: 10, group_rows: 40, file_bytes: 1, ..Limits::default() };
        for from in (0..1_000).step_by(7) {
            let ids: StringArray = (from..(from + 7).min(1_000)).map(|n| Some(format!("{n:04}"))).collect();
            let marks = BooleanArray::from_iter((from..(from + 7).min(1_000)).map(|n| Some(n % 10 == 0)));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)]).unwrap();
            writer.write(&batch, Some(&marks)).await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        assert!(written.files() > 10, "{}", written.files());
        assert_eq!((written.rows(), written.deleted(), written.sequence()), (1_000, 100, 7));
        let mut ids = Vec::new();
        for file in &written.files {
            let path = folder.clone().join(file.name.as_str());
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes.len() as u64, file.size);
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                ids.extend(batch.column(0).as_string::<i32>().iter().map(|id| id.unwrap().to_owned()));
            }
        }
        assert_eq!(ids, (0..1_000).map(|n| format!("{n:04}")).collect::<Vec<_>>());
    }
}
