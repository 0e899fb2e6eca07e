//! Rows put aside, to be read again in their order: a few in memory, more in the engine's spill folder.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SpillFile;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::metrics::SpillMetrics;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;

use crate::error::Result;

/// What is kept in memory before it goes to the spill folder.
const MOST_BYTES: usize = 16 << 20;

/// Rows put aside.
pub(super) struct Shelf {
    runtime: Arc<RuntimeEnv>,
    files: Vec<(SchemaRef, Arc<dyn SpillFile>)>,
    recent: Vec<RecordBatch>,
    recent_bytes: usize,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("files", &self.files.len()).field("recent", &self.recent.len()).finish()
    }
}

impl Shelf {
    pub(super) fn new(runtime: Arc<RuntimeEnv>) -> Self {
        Self { runtime, files: Vec::new(), recent: Vec::new(), recent_bytes: 0 }
    }

    /// Adds rows behind those that are there.
    pub(super) fn put(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.recent_bytes += batch.get_array_memory_size();
        self.recent.push(batch);
        if self.recent_bytes >= MOST_BYTES {
            let recent = std::mem::take(&mut self.recent);
            self.recent_bytes = 0;
            let schema = recent[0].schema();
            let written = self.manager(&schema).spill_record_batch_and_finish(&recent, "put rows aside")?;
            self.files.extend(written.map(|file| (schema, file)));
        }
        Ok(())
    }

    /// The batches as they were put aside. May be read as often as needed.
    pub(super) fn read(&self) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
        let spilled = self.files.iter().map(|(schema, file)| (self.manager(schema), Arc::clone(file)));
        let spilled = stream::iter(spilled.collect::<Vec<_>>()).flat_map(|(manager, file)| {
            match manager.read_spill_as_stream_unbuffered(file, None) {
                Ok(batches) => batches.map_err(Into::into).boxed(),
                Err(error) => stream::iter([Err(error.into())]).boxed(),
            }
        });
        spilled.chain(stream::iter(self.recent.clone()).map(Ok))
    }

    fn manager(&self, schema: &SchemaRef) -> SpillManager {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        SpillManager::new(Arc::clone(&self.runtime), metrics, Arc::clone(schema))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::StringArray;
    use datafusion::prelude::SessionConfig;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn what_is_put_aside_comes_back_in_order_and_more_than_once() {
        let session = SessionContext::new_with_config(SessionConfig::new());
        let mut shelf = Shelf::new(session.runtime_env());
        let long = "x".repeat(1 << 20);
        for number in 0..40 {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![format!("{number} {long}"), String::new()]));
            shelf.put(RecordBatch::try_from_iter([("text", texts)]).unwrap()).unwrap();
        }
        assert!(shelf.files.len() == 2 && !shelf.recent.is_empty(), "{shelf:?}");
        for _ in 0..2 {
            let batches: Vec<RecordBatch> = shelf.read().try_collect().await.unwrap();
            let first =
                batches.iter().map(|batch| batch.column(0).as_string::<i32>().value(0).split(' ').next().unwrap());
            assert!(first.eq((0..40).map(|number| number.to_string()).collect::<Vec<_>>().iter().map(String::as_str)));
        }
    }
}
