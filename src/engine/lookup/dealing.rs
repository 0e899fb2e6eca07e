//! The rows of all partitions of a plan, dealt out together, and their parts given to whichever partition is free.
//!
//! # Promises
//! * No part is given out before the rows of all partitions are dealt out, and each is given out once.
//! * A partition that ends early, or is never asked, keeps no other waiting once it is dropped.
//! * A part for which there is no room is tried again when no other is held.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use datafusion::error::DataFusionError;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExprRef;
use futures::TryStreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::engine::lookup::dealt::Dealer;
use crate::engine::lookup::dealt::Dealt;
use crate::engine::lookup::dealt::PARTS;
use crate::engine::lookup::held::evaluated;
use crate::engine::lookup::key_hash::hashes;

/// The rows of all partitions, or why there are none.
type Outcome = std::result::Result<Arc<Dealt>, Arc<DataFusionError>>;

/// What the partitions share.
pub(super) struct Dealing {
    dealer: Mutex<Option<Dealer>>,
    /// Partitions whose rows are not all dealt out.
    left: AtomicUsize,
    dealt: watch::Sender<Option<Outcome>>,
    /// The part that is given out next.
    next: AtomicUsize,
    /// Each part that is held has one permit.
    room: Arc<Semaphore>,
    permits: u32,
}

impl Dealing {
    /// For so many partitions.
    pub(super) fn new(partitions: usize) -> Arc<Self> {
        let permits = u32::try_from(partitions.clamp(1, PARTS)).unwrap_or(1);
        Arc::new(Self {
            dealer: Mutex::new(None),
            left: AtomicUsize::new(partitions),
            dealt: watch::Sender::new(None),
            next: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(permits as usize)),
            permits,
        })
    }

    /// A part that nobody has taken yet.
    pub(super) fn next(&self) -> Option<usize> {
        let part = self.next.fetch_add(1, Ordering::Relaxed);
        (part < PARTS).then_some(part)
    }

    /// Holds a part by `hold`, beside others or else alone. The permit is kept as long as the part is.
    pub(super) async fn held<H>(&self, hold: impl Fn() -> Result<H>) -> Result<(H, OwnedSemaphorePermit)> {
        let permits = async |count| {
            let permits = Arc::clone(&self.room).acquire_many_owned(count).await;
            permits.map_err(|error| DataFusionError::External(Box::new(error)))
        };
        let one = permits(1).await?;
        match hold() {
            Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                drop(one);
                let all = permits(self.permits).await?;
                Ok((hold()?, all))
            }
            held => Ok((held?, one)),
        }
    }

    fn end(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let dealer = self.dealer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dealer) = dealer {
            self.dealt.send_replace(Some(dealer.finish().map(Arc::new).map_err(Arc::new)));
        }
    }
}

/// A partition's turn to deal out its rows.
pub(super) struct Turn {
    dealing: Arc<Dealing>,
}

impl Turn {
    pub(super) fn new(dealing: &Arc<Dealing>) -> Self {
        Self { dealing: Arc::clone(dealing) }
    }

    /// Deals out the rows of this partition by `keys`, and gives those of all.
    pub(super) async fn deal(
        self,
        mut rows: SendableRecordBatchStream,
        keys: &[PhysicalExprRef],
        context: &TaskContext,
    ) -> Result<Arc<Dealt>> {
        let mut all = self.dealing.dealt.subscribe();
        if all.borrow().is_some() {
            // All parts have been given out: whoever ran it again would find nothing, and not know.
            return Err(DataFusionError::Internal("a plan whose rows were dealt out is run again".to_owned()));
        }
        loop {
            let batch = rows.try_next().await?;
            let mut dealer = self.dealing.dealer.lock().unwrap_or_else(PoisonError::into_inner);
            let dealer = match &mut *dealer {
                Some(dealer) => dealer,
                none => none.insert(Dealer::new(&rows.schema(), context)?),
            };
            let Some(batch) = batch else { break };
            dealer.deal(&batch, &hashes(&evaluated(keys, &batch)?, batch.num_rows())?)?;
        }
        drop(self);
        let dealt = all.wait_for(Option::is_some).await.map(|dealt| dealt.clone());
        let dealt = dealt.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let dealt =
            dealt.ok_or_else(|| DataFusionError::Internal("rows were waited for and did not come".to_owned()))?;
        dealt.map_err(DataFusionError::Shared)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.dealing.end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;

    use super::*;

    fn rows(numbers: std::ops::Range<i64>) -> SendableRecordBatchStream {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let batch = RecordBatch::try_from_iter([("key", column)]).unwrap();
        Box::pin(RecordBatchStreamAdapter::new(batch.schema(), stream::iter([Ok(batch)])))
    }

    fn key() -> Vec<PhysicalExprRef> {
        vec![Arc::new(Column::new("key", 0))]
    }

    #[tokio::test]
    async fn nothing_is_given_out_before_all_have_dealt_and_who_goes_is_not_waited_for() {
        let context = Arc::new(TaskContext::default());
        let dealing = Dealing::new(3);
        let [first, second, third] = [(); 3].map(|()| Turn::new(&dealing));
        let waits = tokio::spawn({
            let context = Arc::clone(&context);
            async move { first.deal(rows(0..100), &key(), &context).await }
        });
        let others = tokio::spawn(async move { second.deal(rows(100..150), &key(), &context).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waits.is_finished() && !others.is_finished());
        drop(third);
        let dealt = waits.await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&dealt, &others.await.unwrap().unwrap()));
        let (mut parts, mut found) = (0, Vec::new());
        while let Some(part) = dealing.next() {
            parts += 1;
            for batch in dealt.read(part).unwrap() {
                found.extend_from_slice(batch.unwrap()["key"].as_primitive::<Int64Type>().values());
            }
        }
        found.sort_unstable();
        assert_eq!((parts, found), (PARTS, (0..150).collect()));
    }

    #[tokio::test]
    async fn partitions_without_rows_end_as_well_and_nothing_is_dealt_out_twice() {
        let context = Arc::new(TaskContext::default());
        let dealing = Dealing::new(1);
        let dealt = Turn::new(&dealing).deal(rows(0..0), &key(), &context).await.unwrap();
        assert!((0..PARTS).all(|part| dealt.read(part).unwrap().next().is_none()));
        let again = Turn::new(&dealing).deal(rows(0..5), &key(), &context).await.map(|_| ());
        assert!(again.unwrap_err().to_string().contains("run again"));
    }

    #[tokio::test]
    async fn a_part_without_room_waits_until_it_is_alone() {
        let dealing = Dealing::new(3);
        let held = std::sync::atomic::AtomicBool::new(true);
        let hold = || match held.load(Ordering::Relaxed) {
            true => Err(DataFusionError::ResourcesExhausted("no room".to_owned()).context("a part")),
            false => Ok(()),
        };
        let ((), other) = dealing.held(|| Ok(())).await.unwrap();
        let waits = dealing.held(hold);
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        held.store(false, Ordering::Relaxed);
        assert!(futures::poll!(&mut waits).is_pending());
        drop(other);
        let ((), alone) = waits.await.unwrap();
        assert!(dealing.room.try_acquire().is_err());
        drop(alone);
        held.store(true, Ordering::Relaxed);
        assert!(dealing.held(hold).await.is_err(), "alone, and still no room");
        assert_eq!(dealing.room.available_permits(), 3);
    }

    #[tokio::test]
    async fn rows_that_cannot_be_written_are_an_error_for_all_who_wait() {
        let runtime = RuntimeEnvBuilder::new().with_max_temp_directory_size(1).build_arc().unwrap();
        let context = Arc::new(TaskContext::default().with_runtime(runtime));
        let dealing = Dealing::new(2);
        let [first, second] = [(); 2].map(|()| Turn::new(&dealing));
        let waits = tokio::spawn(async move { first.deal(rows(0..100), &key(), &context).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(second);
        let error = waits.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("disk space"), "{error}");
    }
}
