//! Sends chunks and settles them: refused batches are taken apart, unknown outcomes are looked up.
//!
//! ```text
//!  rows ─▶ send ─┬─ accepted ──────────────▶ counted
//!                ├─ refused ─▶ rows that carry the named field and value ─▶ rejects; the others are sent again
//!                │            nobody named ─▶ halves, down to one row, whose reason it then is
//!                └─ unknown ─▶ look the keys up ─▶ found: counted; missing: sent again
//! ```

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sha2::Digest;
use sha2::Sha256;

use crate::config::job::TargetObject;
use crate::connect::gainsight::Accepted;
use crate::connect::gainsight::CellError;
use crate::connect::gainsight::GainsightClient;
use crate::connect::gainsight::Refusal;
use crate::connect::gainsight::WriteAnswer;
use crate::error::Error;
use crate::error::Result;
use crate::ledger::Ledger;
use crate::ledger::NewChunk;
use crate::telemetry::checkpoint;

use super::blame;
use super::decided::Act;
use super::decided::Row;
use super::encode;
use super::encode::PersonKeys;
use super::plan::REST_ROWS;
use super::reject::Reject;

/// So many refused rows without one accepted call mean that the job, not the rows, is wrong.
const HOPELESS: u64 = 200;

/// How often rows whose outcome is unknown are sent again.
const UNKNOWN_TRIES: u32 = 4;

/// What became of some rows.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) rejects: Vec<Reject>,
}

impl Settled {
    pub(super) fn rows(&self) -> u64 {
        self.inserted + self.updated + self.rejects.len() as u64
    }

    pub(super) fn accept<'r>(&mut self, rows: impl IntoIterator<Item = &'r Row>) {
        for row in rows {
            match row.act() {
                Act::Insert => self.inserted += 1,
                Act::Update => self.updated += 1,
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.rejects.extend(other.rejects);
    }
}

/// What all tasks of one load share.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) client: GainsightClient,
    pub(super) ledger: Ledger,
    pub(super) run: String,
    pub(super) target: TargetObject,
    pub(super) person_keys: PersonKeys,
    accepted: AtomicU64,
    refused: AtomicU64,
    last_refusal: Mutex<String>,
}

impl Sender {
    pub(super) fn new(
        client: GainsightClient,
        ledger: Ledger,
        run: String,
        target: TargetObject,
        person_keys: PersonKeys,
    ) -> Self {
        let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { client, ledger, run, target, person_keys, accepted, refused, last_refusal: Mutex::default() }
    }

    /// Notes a chunk that is about to be sent. A chunk whose work fails stays open in the ledger.
    pub(super) fn begin<'r>(&self, route: &str, rows: impl IntoIterator<Item = &'r Row>) -> Result<i64> {
        let mut hash = Sha256::new();
        let mut count = 0;
        for row in rows {
            hash.update(row.source_id());
            hash.update(b"\n");
            count += 1;
        }
        let chunk = NewChunk {
            route: route.to_owned(),
            object: self.target.primary().to_owned(),
            rows: count,
            keys_hash: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        self.ledger.begin_chunk(&self.run, &chunk)
    }

    /// Notes what became of a chunk.
    pub(super) fn end(&self, chunk: i64, settled: Settled) -> Result<Settled> {
        checkpoint("load.answered");
        self.ledger.end_chunk(chunk, settled.inserted, settled.updated, settled.rejects.len() as u64)?;
        if !settled.rejects.is_empty() {
            tracing::info!(
                object = %self.target,
                chunk,
                rows = settled.rejects.len(),
                "Gainsight refused {} of {} rows of a chunk. They are in the rejects table.",
                settled.rejects.len(),
                settled.rows(),
            );
        }
        Ok(settled)
    }

    /// Sends rows of one act to the object or user calls, fifty a call.
    pub(super) async fn rest(&self, act: Act, rows: Vec<Row>) -> Result<Settled> {
        let route = match (&self.target, act) {
            (TargetObject::User, _) => "users",
            (_, Act::Insert) => "object_insert",
            (_, Act::Update) => "object_update",
        };
        let chunk = self.begin(route, &rows)?;
        let mut settled = Settled::default();
        for some in rows.chunks(REST_ROWS) {
            settled.add(self.settle(act, some.to_vec()).await?);
        }
        self.end(chunk, settled)
    }

    /// Sends rows and whatever is left of them until every row is settled.
    pub(super) async fn settle(&self, act: Act, rows: Vec<Row>) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut unknown = 0;
        let mut work = vec![rows];
        while let Some(rows) = work.pop() {
            match self.write(act, encode::records(&rows)).await? {
                WriteAnswer::Accepted(accepted) => {
                    self.went_well();
                    work.extend(self.left_out(act, rows, &accepted, &mut settled).await?);
                }
                WriteAnswer::Refused(refusal) => work.extend(self.take_apart(rows, &refusal, &mut settled)?),
                WriteAnswer::Unknown(why) => {
                    unknown += 1;
                    if unknown > UNKNOWN_TRIES {
                        return Err(Error::unavailable(format!("Gainsight did not answer {unknown} inserts: {why}"))
                            .hint("run the same command again: it looks up what arrived before it sends anything"));
                    }
                    tracing::warn!(
                        object = %self.target,
                        rows = rows.len(),
                        "The outcome of an insert of {} rows is unknown ({why}); looking their keys up.",
                        rows.len(),
                    );
                    let (found, missing) = self.look_up(rows).await?;
                    settled.accept(&found);
                    if !missing.is_empty() {
                        work.push(missing);
                    }
                }
            }
        }
        Ok(settled)
    }

    async fn write(&self, act: Act, body: Bytes) -> Result<WriteAnswer> {
        match (&self.target, act) {
            (TargetObject::User, Act::Insert) => self.client.create_users(body).await,
            (TargetObject::User, Act::Update) => self.client.update_users("Gsid", body).await,
            (target, Act::Insert) => self.client.insert(target.primary(), body).await,
            (target, Act::Update) => self.client.update(target.primary(), "Gsid", body).await,
        }
    }

    /// An accepted call may have left rows out: updates of records that are gone, or single bad users. Gives back what
    /// has to be sent again, row by row, so that each tells its reason.
    async fn left_out(
        &self,
        act: Act,
        rows: Vec<Row>,
        accepted: &Accepted,
        settled: &mut Settled,
    ) -> Result<Vec<Vec<Row>>> {
        let count = accepted.count.unwrap_or(accepted.gsids.len() as u64);
        let silent = accepted.count.is_none() && accepted.gsids.is_empty() && accepted.errors.is_empty();
        if silent || (accepted.errors.is_empty() && count >= rows.len() as u64) {
            settled.accept(&rows);
            return Ok(Vec::new());
        }
        let written = |row: &Row| accepted.gsids.iter().any(|gsid| Some(gsid.as_str()) == row.gsid());
        let (done, left): (Vec<Row>, Vec<Row>) = match act {
            Act::Update => rows.into_iter().partition(written),
            Act::Insert => self.look_up(rows).await?,
        };
        settled.accept(&done);
        if left.len() == 1 && done.is_empty() {
            let Some(row) = left.first() else { return Ok(Vec::new()) };
            settled.rejects.push(match (accepted.errors.first(), act) {
                (Some(error), _) => Reject::refused(row.source_id(), error, None),
                (None, Act::Update) => blame::not_found(row),
                (None, Act::Insert) => Reject::refused(
                    row.source_id(),
                    &CellError { message: "no reason given".into(), ..CellError::default() },
                    None,
                ),
            });
            return Ok(Vec::new());
        }
        let (blamed, others) = blame::by_error(left, &accepted.errors, blame::rows_of);
        settled.rejects.extend(blamed.into_iter().map(|(row, error)| blame::reject(&row, &error)));
        if act == Act::Update && accepted.errors.is_empty() {
            settled.rejects.extend(others.iter().map(blame::not_found));
            return Ok(Vec::new());
        }
        Ok(others.into_iter().map(|row| vec![row]).collect())
    }

    /// Rejects the rows that a refusal names and gives back the others; halves where it names none.
    fn take_apart(&self, rows: Vec<Row>, refusal: &Refusal, settled: &mut Settled) -> Result<Vec<Vec<Row>>> {
        let (blamed, others) = blame::by_error(rows, &refusal.errors, blame::rows_of);
        if !blamed.is_empty() {
            self.went_badly(blamed.len(), refusal)?;
            settled.rejects.extend(blamed.into_iter().map(|(row, error)| blame::reject(&row, &error)));
            return Ok(if others.is_empty() { Vec::new() } else { vec![others] });
        }
        Ok(match others.as_slice() {
            [] => Vec::new(),
            [row] => {
                self.went_badly(1, refusal)?;
                settled.rejects.push(blame::reject_whole(row, refusal));
                Vec::new()
            }
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                vec![right.to_vec(), left.to_vec()]
            }
        })
    }

    pub(super) fn went_well(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts refused rows. A tenant that takes nothing at all is not asked a million times.
    pub(super) fn went_badly(&self, rows: usize, refusal: &Refusal) -> Result<()> {
        let refused = self.refused.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let said = match refusal.errors.first() {
            Some(error) if !error.message.is_empty() => format!("{} ({})", error.message, error.code),
            _ => format!("{} ({})", refusal.description, refusal.code),
        };
        let mut last = self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        *last = said;
        if refused >= HOPELESS && self.accepted.load(Ordering::Relaxed) == 0 {
            let mut error = Error::config(format!(
                "Gainsight refused the first {refused} rows, every one; the last time because: {last}"
            ))
            .hint("check the job's mappings against the tenant with `sf2gs plan`; nothing else was sent")
            .context("object", self.target.to_string());
            if let Some(id) = &refusal.request_id {
                error = error.context("request", id.clone());
            }
            return Err(error);
        }
        Ok(())
    }

    /// Waits longer with each round; short where the client's own waits are short.
    pub(super) async fn pause(&self, round: u32, longest: Duration) {
        let wait = self.client.first_wait().saturating_mul(1 << round.min(16)).min(longest);
        tokio::time::sleep(wait).await;
    }
}
