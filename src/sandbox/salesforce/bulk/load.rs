//! Rows into the org, two hundred at a time, away from the connections.

use std::sync::Arc;
use std::sync::Mutex;

use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::org::Org;
use crate::sandbox::salesforce::org::lock;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::write::Caller;
use crate::sandbox::salesforce::write::Given;
use crate::sandbox::salesforce::write::Target;
use crate::sandbox::salesforce::write::Writer;
use crate::sandbox::salesforce::write::Written;

/// Rows that the service writes at once.
pub(super) const CHUNK: usize = 200;

/// What is done with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Insert,
    Update,
    /// By the value of this field.
    Upsert(FieldIndex),
    Delete,
    HardDelete,
}

/// What became of one row.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Where the row begins in the upload.
    pub(super) at: u32,
    /// The record, or its id as far as it is known and the refusal.
    pub(super) result: Result<Written, (Option<Id>, Box<ApiError>)>,
}

/// How far a load is. Shared by the load and whoever asks for it.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    begun: bool,
    stopped: bool,
    chunks: Vec<Arc<[Outcome]>>,
    processed: usize,
    failed: usize,
    /// Set when it ends: milliseconds, and why it failed as a whole.
    ended: Option<(i64, Option<String>)>,
}

impl Progress {
    /// Rows that were worked on, and those of them that were refused.
    pub(super) fn counts(&self) -> (usize, usize) {
        let inner = lock(&self.0);
        (inner.processed, inner.failed)
    }

    /// Milliseconds that it took and why it failed, if it has ended.
    pub(super) fn ended(&self) -> Option<(i64, Option<String>)> {
        lock(&self.0).ended.clone()
    }

    /// What became of the rows so far.
    pub(super) fn outcomes(&self) -> Vec<Arc<[Outcome]>> {
        lock(&self.0).chunks.clone()
    }

    /// Begins the work, unless it was stopped before.
    pub(super) fn begin(&self) -> bool {
        let mut inner = lock(&self.0);
        inner.begun = !inner.stopped;
        inner.begun
    }

    /// Whether rows are being written now.
    pub(super) fn is_running(&self) -> bool {
        let inner = lock(&self.0);
        inner.begun && inner.ended.is_none()
    }

    /// Asks for no more rows than those that are being written now.
    pub(super) fn stop(&self) {
        lock(&self.0).stopped = true;
    }

    /// Lets a load that has begun go on to its end; true if it had not begun and now never will.
    pub(super) fn prevent(&self) -> bool {
        let mut inner = lock(&self.0);
        inner.stopped |= !inner.begun;
        !inner.begun
    }

    /// Whether no more rows are to be taken.
    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.0).stopped
    }

    /// Adds what became of some rows.
    pub(super) fn add(&self, outcomes: Vec<Outcome>) {
        let mut inner = lock(&self.0);
        inner.processed += outcomes.len();
        inner.failed += outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
        inner.chunks.push(outcomes.into());
    }

    /// Ends the work.
    pub(super) fn end(&self, millis: i64, error: Option<String>) {
        lock(&self.0).ended.get_or_insert((millis, error));
    }
}

/// The values of one row, and where they go.
pub(super) type Row<'a> = Vec<(Target, Given<'a>)>;

/// Writes rows, each of them with its place, in chunks as the service does.
pub(super) fn write<'a>(
    org: &Org,
    caller: &Caller,
    object: ObjectIndex,
    action: Action,
    rows: impl Iterator<Item = (u32, Row<'a>)>,
) -> Vec<Outcome> {
    let caller = Caller { now: org.clock.now().timestamp(), ..caller.clone() };
    org.write(|store| {
        let mut writer = Writer::new(store, &caller);
        let one = |(number, (at, row)): (usize, (u32, Row<'a>))| {
            if number % CHUNK == 0 {
                writer.next_chunk();
            }
            let result = apply(&mut writer, object, action, &row);
            let result = result.map_err(|refusal| (known_id(&writer, object, &row), Box::new(refusal)));
            Outcome { at, result }
        };
        rows.enumerate().map(one).collect()
    })
}

fn apply(
    writer: &mut Writer<'_>,
    object: ObjectIndex,
    action: Action,
    row: &[(Target, Given<'_>)],
) -> Result<Written, ApiError> {
    let id = |verb: &str| {
        given_id(row).ok_or_else(|| {
            ApiError::new(400, "MISSING_ARGUMENT", format!("Id not specified in {verb} call")).fields([])
        })
    };
    match action {
        Action::Insert => writer.insert(object, row),
        Action::Update => writer.update(object, &id("an update")?, row),
        Action::Upsert(key) => writer.upsert(object, key, row),
        Action::Delete => writer.delete(object, &id("a delete")?),
        Action::HardDelete => writer.hard_delete(object, &id("a hardDelete")?),
    }
}

/// The id that a row gives its record.
fn given_id(row: &[(Target, Given<'_>)]) -> Option<String> {
    let (_, given) = row.iter().find(|(target, given)| *target == Target::Id && !given.is_blank())?;
    given.text()
}

/// The record that a refused row names, if there is one.
fn known_id(writer: &Writer<'_>, object: ObjectIndex, row: &[(Target, Given<'_>)]) -> Option<Id> {
    let id = Id::parse(&given_id(row)?)?;
    writer.store().row(object, &id).map(|_| id)
}

/// A refusal as result files spell it: code, text and the names of the fields, `--` behind them.
pub(super) fn spelt(refusal: &ApiError) -> String {
    let fields = refusal.fields.as_deref().unwrap_or_default().join(", ");
    let blank = if fields.is_empty() { "" } else { " " };
    format!("{}:{}:{fields}{blank}--", refusal.code, refusal.message)
}
