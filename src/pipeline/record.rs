//! Verdicts and rejects as data: two tables of the lake, `activity/verdicts` and `activity/rejects`.
//!
//! # Promises
//! * A run's rows are those of its last attempt, as its counters are: what an attempt had written that did not come to its
//!   end is replaced.
//! * Rows of other runs are never touched.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::common::runtime::SpawnedTask;
use futures::TryStreamExt;

use crate::error::Error;
use crate::error::Result;
use crate::land::{Commit, Lake, Mode, SnapshotWriter, TableName, Written};
use crate::ledger::Run;
use crate::load::Reject;

use super::decide::{Decision, quoted};
use super::source::sequence_of;
use super::world::World;

/// Connection part of the activity tables' names.
pub(super) const ACTIVITY: &str = "activity";

/// Columns that a verdict row takes from the plan's output.
const VERDICT_COLUMNS: [&str; 6] = ["source_id", "verdict", "gsid", "changed", "code", "field"];

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn at_field() -> Field {
    Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

/// Schema of `activity.verdicts`.
pub(super) fn verdict_schema() -> SchemaRef {
    let mut fields = vec![text("run"), text("job"), at_field()];
    fields.extend(VERDICT_COLUMNS.map(text));
    Arc::new(Schema::new(fields))
}

/// Schema of `activity.rejects`.
pub(super) fn reject_schema() -> SchemaRef {
    let mut fields = vec![text("run"), text("job"), at_field()];
    fields.extend(["source_id", "stage", "field", "code", "message", "candidates", "remedy", "input"].map(text));
    Arc::new(Schema::new(fields))
}

/// Rows of one run on their way to a table, which shows them when they are committed.
#[derive(Debug)]
struct Log {
    lake: Lake,
    table: TableName,
    schema: SchemaRef,
    run: String,
    job: String,
    /// The run's, the same in each of its attempts.
    sequence: i64,
    mode: Mode,
    at: i64,
    writer: Option<SnapshotWriter>,
    ending: Vec<SpawnedTask<Result<Written>>>,
}

impl Log {
    fn begin(world: &World, table: &str, schema: SchemaRef, run: &Run) -> Result<Self> {
        Ok(Self {
            lake: world.lake.clone(),
            table: TableName::new(ACTIVITY, table)?,
            schema,
            run: run.id.clone(),
            job: run.job.clone(),
            sequence: sequence_of(run),
            mode: if run.attempts > 1 { Mode::Anew } else { Mode::Append },
            at: world.clock.now().timestamp_micros(),
            writer: None,
            ending: Vec::new(),
        })
    }

    /// The columns that are the same in every row.
    fn head(&self, rows: usize) -> Vec<ArrayRef> {
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.run, rows))),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.job, rows))),
            Arc::new(TimestampMicrosecondArray::from_value(self.at, rows).with_timezone("UTC")),
        ]
    }

    async fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.writer()?.write(&batch, None).await
    }

    fn writer(&mut self) -> Result<&mut SnapshotWriter> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.lake.writer(&self.table, Arc::clone(&self.schema), self.sequence)?,
        };
        Ok(self.writer.insert(writer))
    }

    /// Ends the file, if one has been begun, beside whatever comes next.
    fn end_file(&mut self) {
        let writer = self.writer.take();
        self.ending.extend(writer.map(|writer| SpawnedTask::spawn(writer.finish())));
    }

    async fn commit(mut self) -> Result<()> {
        if self.mode == Mode::Anew {
            // No rows, too, stand in the place of those before.
            self.writer()?;
        }
        self.end_file();
        let mut written = Vec::with_capacity(self.ending.len());
        for ending in self.ending {
            written.push(ending.join().await.map_err(|e| Error::bug("a file was not ended").source(e))??);
        }
        if written.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            table: self.table,
            schema: self.schema,
            key: None,
            mode: self.mode,
            written,
            application: None,
            info: Default::default(),
        };
        self.lake.commit(commit).await.map(drop)
    }
}

/// Writes one run's verdicts while they stream by.
#[derive(Debug)]
pub(super) struct VerdictLog {
    log: Log,
    /// The columns that are the same in every row, as long as the longest batch so far.
    head: Vec<ArrayRef>,
}

impl VerdictLog {
    pub(super) fn begin(world: &World, run: &Run) -> Result<Self> {
        Ok(Self { log: Log::begin(world, "verdicts", verdict_schema(), run)?, head: Vec::new() })
    }

    pub(super) async fn write(&mut self, decisions: &RecordBatch) -> Result<()> {
        let rows = decisions.num_rows();
        if self.head.first().is_none_or(|column| column.len() < rows) {
            self.head = self.log.head(rows);
        }
        let mut columns: Vec<ArrayRef> = self.head.iter().map(|column| column.slice(0, rows)).collect();
        for name in VERDICT_COLUMNS {
            let column = decisions
                .column_by_name(name)
                .ok_or_else(|| Error::bug(format!("the verdict query has no column `{name}`")))?;
            columns.push(cast(column, &DataType::Utf8)?);
        }
        self.log.write(columns).await
    }

    /// Ends what is written so far: a run often ends with it, but may write more.
    pub(super) fn pause(&mut self) {
        self.log.end_file();
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.log.commit().await
    }
}

/// Writes one run's rejects, each with the whole input row as JSON.
#[derive(Debug)]
pub(super) struct RejectLog(Log);

impl RejectLog {
    pub(super) fn begin(world: &World, run: &Run) -> Result<Self> {
        Log::begin(world, "rejects", reject_schema(), run).map(Self)
    }

    /// For what this attempt adds to what it has committed.
    pub(super) fn more(world: &World, run: &Run) -> Result<Self> {
        Ok(Self(Log { mode: Mode::Append, ..Log::begin(world, "rejects", reject_schema(), run)? }))
    }

    /// Adds rejects, with what `decision` had been given for them.
    pub(super) async fn write(&mut self, decision: &Decision, rejects: &[Reject]) -> Result<()> {
        let inputs = inputs_of(decision, rejects).await?;
        for part in rejects.chunks(8_192) {
            let column = |of: fn(&Reject) -> Option<&str>| {
                Arc::new(part.iter().map(|one| of(one)).collect::<StringArray>()) as ArrayRef
            };
            let mut columns = self.0.head(part.len());
            columns.extend([
                column(|reject| Some(&reject.source_id)),
                column(|reject| Some(reject.stage.name())),
                column(|reject| reject.field.as_deref()),
                column(|reject| Some(reject.code)),
                column(|reject| Some(&reject.message)),
                column(|reject| reject.candidates.as_deref()),
                column(|reject| Some(&reject.remedy)),
            ]);
            let input: StringArray = part.iter().map(|reject| inputs.get(&reject.source_id)).collect();
            columns.push(Arc::new(input));
            self.0.write(columns).await?;
        }
        Ok(())
    }

    /// Ends what is written so far: a run often ends with it, but may write more.
    pub(super) fn pause(&mut self) {
        self.0.end_file();
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.0.commit().await
    }
}

/// The input rows of rejects as JSON, by source id.
async fn inputs_of(decision: &Decision, rejects: &[Reject]) -> Result<HashMap<String, String>> {
    if rejects.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.source_id)));
    let schema = Arc::new(Schema::new(vec![Field::new("rejected_id", DataType::Utf8, false)]));
    let batch = RecordBatch::try_new(schema, vec![ids])?;
    let session = &decision.session;
    session.deregister_table("rejected_ids")?;
    session.register_batch("rejected_ids", batch)?;
    let frame = session
        .sql(&format!(
            "SELECT source.* FROM source LEFT SEMI JOIN rejected_ids ON source.{} = rejected_ids.rejected_id",
            quoted("Id")
        ))
        .await?;
    let mut stream = frame.execute_stream().await?;
    let mut inputs = HashMap::with_capacity(rejects.len());
    while let Some(batch) = stream.try_next().await? {
        let ids = cast(batch.column_by_name("Id").ok_or_else(|| Error::bug("the source has no Id"))?, &DataType::Utf8)?;
        let mut lines = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut lines);
        writer.write(&batch)?;
        writer.finish()?;
        let lines = String::from_utf8(lines).map_err(|e| Error::bug("JSON that is not UTF-8").source(e))?;
        let ids = ids.as_string::<i32>();
        for (row, line) in lines.lines().enumerate() {
            if ids.is_valid(row) {
                inputs.insert(ids.value(row).to_owned(), line.to_owned());
            }
        }
    }
    Ok(inputs)
}
