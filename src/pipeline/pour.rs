//! Rows from a stream into new files of the lake.

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::common::runtime::SpawnedTask;
use futures::{Stream, TryStreamExt};

use crate::error::Error;
use crate::error::Result;
use crate::land::SnapshotWriter;

/// Writes all of `rows` and gives both back. `look` sees every batch and says which of its rows are deletions.
///
/// This is a task of its own: the extract of a chain's next job goes on while the load of the one before computes
/// between its waits, and mirrors are read side by side. Dropping the future ends it.
pub(super) async fn pour<S>(
    rows: S,
    writer: SnapshotWriter,
    look: impl FnMut(&RecordBatch) -> Option<BooleanArray> + Send + 'static,
) -> Result<(S, SnapshotWriter)>
where
    S: Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
{
    let (mut rows, mut writer, mut look) = (rows, writer, look);
    let task = SpawnedTask::spawn(async move {
        while let Some(batch) = rows.try_next().await? {
            let marks = look(&batch);
            writer.write(&batch, marks.as_ref()).await?;
        }
        Ok::<_, Error>((rows, writer))
    });
    task.await.map_err(|dead| Error::bug("a task that lands rows stopped").source(dead))?
}
