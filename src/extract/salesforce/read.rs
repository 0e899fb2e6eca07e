//! A query job, and its pages as one stream of batches.
//!
//! One task drives the job: it waits, then keeps up to `parallel` pages under way, each in a task of its own that
//! downloads, decodes and hands on. Pages come from links where the org offers them; else each page's head names the
//! next, which is opened while the one before is still being read. A channel of a few batches joins them to the
//! reader, so a slow reader slows the download and memory stays bounded.
//!
//! An object that the Bulk API does not offer is read by REST, page after page.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use futures::Stream;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connect::salesforce::ResultPage;
use crate::connect::salesforce::SalesforceClient;
use crate::connect::salesforce::is_not_offered_by_bulk;
use crate::error::Error;
use crate::error::Result;

use super::decode::PageCounts;
use super::decode::PageDecoder;
use super::prepare::Prepared;
use super::records;

/// Batches between the pages and the reader.
const CHANNEL: usize = 4;

/// How long clearing up a job may take. It is a courtesy: Salesforce deletes jobs after 7 days by itself.
const CLEAR_UP_WITHIN: Duration = Duration::from_secs(20);

/// How a job's result is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Rows asked for per page, where we choose. Salesforce warns of time-outs with huge pages.
    pub page_rows: u32,
    /// Pages under way at once.
    pub parallel: usize,
    /// The most rows in a batch.
    pub batch_rows: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { page_rows: 50_000, parallel: 4, batch_rows: 8_192 }
    }
}

/// What a read came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows, equal to what Salesforce counted.
    pub rows: u64,
    /// Pages.
    pub pages: u64,
    /// Bytes of CSV.
    pub bytes: u64,
    /// NUL bytes removed.
    pub nul_bytes: u64,
    /// Currency cells with more digits than their field, rounded half away from zero.
    pub rounded_cells: u64,
}

impl ReadReport {
    fn add(&mut self, page: PageCounts) {
        self.rows += page.rows;
        self.pages += 1;
        self.bytes += page.bytes;
        self.nul_bytes += page.nul_bytes;
        self.rounded_cells += page.rounded;
    }
}

/// The rows of a query job. Dropping it stops the requests, ends the job and deletes it.
pub struct Reading {
    client: SalesforceClient,
    job: Option<String>,
    batches: mpsc::Receiver<Result<RecordBatch>>,
    shared: Arc<Shared>,
    driver: JoinSet<()>,
    over: bool,
}

/// What driver and reader both see.
#[derive(Debug, Default)]
struct Shared {
    report: Mutex<ReadReport>,
    /// The driver came to its end, good or bad, and has cleared the job up.
    cleared: AtomicBool,
    /// … and the end was good.
    complete: AtomicBool,
}

/// Starts the query job; the rows come with the stream.
pub async fn read(client: &SalesforceClient, prepared: &Prepared, options: ReadOptions) -> Result<Reading> {
    // queryAll also gives the rows in the recycle bin, which are landed as deletions
    let job = match client.create_query_job(&prepared.soql, true).await {
        Ok(job) => Some(job),
        Err(e) if is_not_offered_by_bulk(&e) => None,
        Err(e) => return Err(e.context("object", &prepared.object)),
    };
    let (sender, batches) = mpsc::channel(CHANNEL);
    let shared = Arc::new(Shared::default());
    let (client, prepared, seen, made) = (client.clone(), prepared.clone(), Arc::clone(&shared), job.clone());
    let mut reading = Reading { client: client.clone(), job, batches, shared, driver: JoinSet::new(), over: false };
    reading.driver.spawn(async move {
        let by_job = match made {
            None => None,
            Some(job) => {
                let options =
                    ReadOptions { parallel: options.parallel.max(1), page_rows: options.page_rows.max(1), ..options };
                let (client, prepared) = (client.clone(), prepared.clone());
                let work = Work { client, job, prepared, options, sender: sender.clone() };
                let outcome = work.run(&seen).await;
                clear_up(&work.client, &work.job, outcome.is_err()).await;
                Some(outcome)
            }
        };
        let outcome = match by_job {
            Some(Err(e)) if is_not_offered_by_bulk(&e) => by_rest(&client, &prepared, options, &sender, &seen).await,
            None => by_rest(&client, &prepared, options, &sender, &seen).await,
            Some(outcome) => outcome,
        };
        seen.cleared.store(true, Ordering::Release);
        match outcome {
            Ok(()) => seen.complete.store(true, Ordering::Release),
            // The reader may have gone, then nobody wants the error.
            Err(e) => drop(sender.send(Err(e)).await),
        }
    });
    Ok(reading)
}

/// Reads the rows by REST.
async fn by_rest(
    client: &SalesforceClient,
    prepared: &Prepared,
    options: ReadOptions,
    sender: &mpsc::Sender<Result<RecordBatch>>,
    shared: &Shared,
) -> Result<()> {
    tracing::info!(object = prepared.object, "The Bulk API does not offer the object; it is read by REST.");
    let add = |page| shared.report.lock().unwrap_or_else(PoisonError::into_inner).add(page);
    records::read(client, prepared, options.batch_rows, sender, add)
        .await
        .map_err(|e| e.context("object", &prepared.object))
}

impl Reading {
    /// The job's id, for whoever sweeps up after a crash; `None` where there is no job, as the rows come by REST.
    pub fn job_id(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// What was read. Whole only after the stream has ended without an error.
    pub fn report(&self) -> ReadReport {
        *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops, and waits until the job is ended and deleted.
    pub async fn close(mut self) {
        self.driver.shutdown().await;
        if !self.shared.cleared.swap(true, Ordering::AcqRel)
            && let Some(job) = &self.job
        {
            clear_up(&self.client, job, true).await;
        }
    }
}

impl Stream for Reading {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        match self.batches.poll_recv(context) {
            Poll::Ready(Some(Ok(batch))) => Poll::Ready(Some(Ok(batch))),
            Poll::Ready(Some(Err(e))) => {
                self.over = true;
                Poll::Ready(Some(Err(e)))
            }
            Poll::Ready(None) => {
                self.over = true;
                let complete = self.shared.complete.load(Ordering::Acquire);
                let job = self.job.as_deref().unwrap_or("none");
                let broken = || Error::bug("reading from Salesforce stopped without a reason").context("job", job);
                Poll::Ready((!complete).then(|| Err(broken())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.driver.abort_all();
        if self.shared.cleared.swap(true, Ordering::AcqRel) {
            return;
        }
        // This outlives its owner on purpose: it is what the owner leaves behind. It ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(job) = self.job.take()
        {
            let client = self.client.clone();
            runtime.spawn(async move { clear_up(&client, &job, true).await });
        }
    }
}

/// Ends the job if it may still be at work, and deletes it. What does not succeed is left to Salesforce.
async fn clear_up(client: &SalesforceClient, job: &str, abort: bool) {
    let work = async {
        if abort {
            client.abort_query_job(job).await?;
        }
        client.delete_query_job(job).await
    };
    match tokio::time::timeout(CLEAR_UP_WITHIN, work).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::warn!(job, "The query job could not be deleted: {e}."),
        Err(_) => tracing::warn!(job, "The query job could not be deleted in time."),
    }
}

struct Work {
    client: SalesforceClient,
    job: String,
    prepared: Prepared,
    options: ReadOptions,
    sender: mpsc::Sender<Result<RecordBatch>>,
}

/// Where a page is, so that it can be opened again.
#[derive(Debug, Clone)]
enum Place {
    First,
    Locator(String),
    Link(String),
}

/// Which pages are still to be opened.
enum Pages {
    /// Links that are known, and the path of further ones.
    Links(VecDeque<String>, Option<String>),
    /// The next page, if the last one opened named one.
    Walk(Option<Place>),
}

impl Work {
    async fn run(&self, shared: &Shared) -> Result<()> {
        let job =
            self.client.wait_for_query_job(&self.job).await.map_err(|e| e.context("object", &self.prepared.object))?;
        let counted = job
            .number_records_processed
            .ok_or_else(|| self.integrity("Salesforce did not say how many rows it found".to_owned()))?;
        let mut source = self.pages(counted).await?;
        let mut tasks: JoinSet<Result<PageCounts>> = JoinSet::new();
        let (mut seen, mut lists) = (HashSet::new(), HashSet::new());
        loop {
            while tasks.len() < self.options.parallel
                && let Some(place) = self.next_place(&mut source, &mut lists).await?
            {
                if let Place::Locator(name) | Place::Link(name) = &place
                    && !seen.insert(name.clone())
                {
                    return Err(self.integrity("Salesforce named the same page of results twice".to_owned()));
                }
                let opened = match &mut source {
                    Pages::Links(..) => None,
                    Pages::Walk(next) => {
                        let page = self.open(&place).await?;
                        *next = page.next.clone().map(Place::Locator);
                        Some(page)
                    }
                };
                tasks.spawn(self.page(place, opened));
            }
            let Some(done) = tasks.join_next().await else { break };
            let counts = done.map_err(panicked)??;
            let mut report = shared.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.add(counts);
            if report.rows > counted {
                return Err(self.short(counted, report.rows));
            }
        }
        let rows = shared.report.lock().unwrap_or_else(PoisonError::into_inner).rows;
        if rows != counted { Err(self.short(counted, rows)) } else { Ok(()) }
    }

    /// Links are worth their call only where there is more than one page.
    async fn pages(&self, counted: u64) -> Result<Pages> {
        if counted > u64::from(self.options.page_rows)
            && self.options.parallel > 1
            && let Some(links) = self.client.result_links(&self.job).await?
            && !links.pages.is_empty()
        {
            return Ok(Pages::Links(links.pages.into(), links.next));
        }
        Ok(Pages::Walk(Some(Place::First)))
    }

    async fn next_place(&self, source: &mut Pages, lists: &mut HashSet<String>) -> Result<Option<Place>> {
        match source {
            Pages::Walk(next) => Ok(next.take()),
            Pages::Links(links, next) => {
                while links.is_empty()
                    && let Some(path) = next.take()
                {
                    let more = self.client.more_result_links(&path).await?;
                    if !lists.insert(path) {
                        return Err(self.integrity("Salesforce named the same list of pages twice".to_owned()));
                    }
                    links.extend(more.pages);
                    *next = more.next;
                }
                Ok(links.pop_front().map(Place::Link))
            }
        }
    }

    async fn open(&self, place: &Place) -> Result<ResultPage> {
        open(&self.client, &self.job, place, self.options.page_rows).await
    }

    /// Downloads and decodes one page. A page whose body breaks off is opened again, and the rows that were already
    /// handed on are passed over: a locator gives the same page as long as the job exists.
    fn page(
        &self,
        place: Place,
        opened: Option<ResultPage>,
    ) -> impl Future<Output = Result<PageCounts>> + Send + 'static {
        let (client, job, sender) = (self.client.clone(), self.job.clone(), self.sender.clone());
        let (schema, options) = (Arc::clone(&self.prepared.schema), self.options);
        let object = self.prepared.object.clone();
        async move {
            let place_words = format!("{place:?}");
            let mut opened = opened;
            let mut handed_on = 0;
            let mut said = None;
            let mut tried = 0;
            let started = Instant::now();
            let mut backoff = client.backoff();
            loop {
                tried += 1;
                let page = match opened.take() {
                    Some(page) => page,
                    None => open(&client, &job, &place, options.page_rows).await?,
                };
                if tried > 1 && page.rows != said {
                    return Err(Error::integrity(
                        "Salesforce gave another page of results when asked for the same again",
                    )
                    .context("object", object)
                    .context("job", job)
                    .hint("nothing was landed; run the same command again"));
                }
                said = page.rows;
                match one_page(page, PageDecoder::new(&schema, options.batch_rows)?, &sender, &mut handed_on).await {
                    Ok(counts) => return Ok(counts),
                    Err(Broken::Cut(e)) if tried < client.tries() => {
                        tracing::warn!(job, page = place_words, tries = tried, "Reading the page again: {e}.");
                        tokio::time::sleep(backoff.next_wait()).await;
                    }
                    Err(Broken::Cut(e)) => {
                        let sentence = format!(
                            "could not read a page of results in {tried} tries and {:.1} s; the last: {e}",
                            started.elapsed().as_secs_f64()
                        );
                        return Err(Error::unavailable(sentence)
                            .context("object", object)
                            .context("job", job)
                            .hint("nothing was landed; run the same command again"));
                    }
                    Err(Broken::Wrong(e)) => return Err(e.context("object", object).context("job", job)),
                }
            }
        }
    }

    fn short(&self, counted: u64, received: u64) -> Error {
        self.integrity(format!("Salesforce counted {counted} rows but sent {received}"))
    }

    fn integrity(&self, sentence: String) -> Error {
        Error::integrity(sentence)
            .context("object", &self.prepared.object)
            .context("job", &self.job)
            .hint("nothing was landed; run the same command again")
    }
}

async fn open(client: &SalesforceClient, job: &str, place: &Place, page_rows: u32) -> Result<ResultPage> {
    match place {
        Place::First => client.result_page(job, None, page_rows).await,
        Place::Locator(locator) => client.result_page(job, Some(locator), page_rows).await,
        Place::Link(path) => client.result_link(job, path).await,
    }
}

/// Why a page did not come to its end.
enum Broken {
    /// The connection: the page may be opened again.
    Cut(Error),
    /// What came is wrong, or nobody wants it.
    Wrong(Error),
}

async fn one_page(
    mut page: ResultPage,
    mut decoder: PageDecoder,
    sender: &mpsc::Sender<Result<RecordBatch>>,
    handed_on: &mut usize,
) -> std::result::Result<PageCounts, Broken> {
    let Some(said) = page.rows else {
        return Err(Broken::Wrong(
            Error::integrity("Salesforce did not say how many rows a page has")
                .hint("nothing was landed; check for a proxy that removes the header Sforce-NumberOfRecords"),
        ));
    };
    let mut over = *handed_on;
    let mut batches = Vec::new();
    while let Some(chunk) = page.bytes.next().await {
        decoder.feed(&chunk.map_err(Broken::Cut)?, &mut batches).map_err(Broken::Wrong)?;
        hand_on(&mut batches, sender, &mut over, handed_on).await?;
    }
    let counts = decoder.finish(&mut batches).map_err(Broken::Wrong)?;
    if counts.rows != said {
        return Err(Broken::Wrong(
            Error::integrity(format!("Salesforce said that a page has {said} rows but sent {}", counts.rows))
                .hint("nothing was landed; run the same command again"),
        ));
    }
    hand_on(&mut batches, sender, &mut over, handed_on).await?;
    Ok(counts)
}

/// Sends batches, without the first `over` rows.
async fn hand_on(
    batches: &mut Vec<RecordBatch>,
    sender: &mpsc::Sender<Result<RecordBatch>>,
    over: &mut usize,
    handed_on: &mut usize,
) -> std::result::Result<(), Broken> {
    for batch in batches.drain(..) {
        let skipped = batch.num_rows().min(*over);
        *over -= skipped;
        if skipped == batch.num_rows() {
            continue;
        }
        let rest = batch.slice(skipped, batch.num_rows() - skipped);
        let rows = rest.num_rows();
        if sender.send(Ok(rest)).await.is_err() {
            return Err(Broken::Wrong(Error::unavailable("the reader of the rows has stopped")));
        }
        *handed_on += rows;
    }
    Ok(())
}

fn panicked(error: JoinError) -> Error {
    Error::bug("a task that read a page stopped").source(error)
}
