//! What an org allows: counted by calls over the last 24 hours, and by calls that run long at the same time.
//!
//! # Promises
//! * `DailyApiRequests`, `DailyBulkV2QueryJobs` and `DailyBulkApiBatches` count what they are named after; a refused call
//!   is not counted. What was used comes free again a day later, to the quarter of an hour.
//! * `/limits` and `Sforce-Limit-Info` show these counts.
//! * A call that has run for 20 seconds is a long one; with 25 of those open, further calls are refused.
//!
//! # Knowingly different
//! * The service lets the daily number of requests be overrun by an unpublished amount before it refuses; here it is exact.
//! * Logins and `/services/data` are not counted. The volume of bulk results is not counted either.
//! * An org has one connected app, so no `per-app-api-usage` is told.
//! * Long calls are counted below `/services/data` only, not below `/services/async`.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde_json::Value;
use serde_json::json;

use super::OrgOptions;
use super::error::ApiError;
use super::org::lock;
use crate::clock::Clock;

/// Requests of any API.
const REQUESTS: &str = "DailyApiRequests";
/// Jobs of Bulk API 2.0 queries.
const QUERY_JOBS: &str = "DailyBulkV2QueryJobs";
/// Batches of Bulk API and Bulk API 2.0 ingest, which share them.
const BATCHES: &str = "DailyBulkApiBatches";

const DAY: i64 = 86_400;
/// Seconds that are counted together.
const STEP: i64 = 900;

/// What `/limits` shows besides the limits that are counted.
const UNCOUNTED: [(&str, u64); 8] = [
    ("ConcurrentAsyncGetReportInstances", 200),
    ("DailyBulkV2QueryFileStorageMB", 976_562),
    ("DailyDeliveredPlatformEvents", 25_000),
    ("DailyStreamingApiEvents", 200_000),
    ("DataStorageMB", 10_240),
    ("FileStorageMB", 10_240),
    ("HourlyPublishedPlatformEvents", 250_000),
    ("SingleEmail", 5_000),
];

/// The limits of an org. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    daily: BTreeMap<&'static str, Daily>,
    long: Long,
}

#[derive(Debug)]
struct Daily {
    max: u64,
    /// Number of the step, and what was used in it.
    used: VecDeque<(i64, u64)>,
}

/// Calls that are open.
#[derive(Debug)]
struct Long {
    max: usize,
    seconds: i64,
    open: BTreeMap<u64, DateTime<Utc>>,
    begun: u64,
}

impl Daily {
    fn used(&mut self, now: i64) -> u64 {
        while self.used.front().is_some_and(|(step, _)| step * STEP + DAY <= now) {
            self.used.pop_front();
        }
        self.used.iter().map(|(_, used)| used).sum()
    }

    fn add(&mut self, now: i64, amount: u64) {
        let step = now.div_euclid(STEP);
        match self.used.back_mut() {
            Some((last, used)) if *last == step => *used += amount,
            _ => self.used.push_back((step, amount)),
        }
    }
}

/// What may be set of a daily limit.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DailyOrder {
    used: Option<u64>,
    max: Option<u64>,
}

/// What may be set of the limit of long calls.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LongOrder {
    max: Option<usize>,
    seconds: Option<i64>,
}

/// What may be set.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "the names of the limits in /limits")]
pub(super) struct Order {
    #[serde(default)]
    DailyApiRequests: DailyOrder,
    #[serde(default)]
    DailyBulkV2QueryJobs: DailyOrder,
    #[serde(default)]
    DailyBulkApiBatches: DailyOrder,
    #[serde(default)]
    ConcurrentLongRequests: LongOrder,
}

impl Limits {
    /// The limits of `options`, none of them used.
    pub(super) fn new(options: &OrgOptions) -> Self {
        let daily = [
            (REQUESTS, options.daily_api_requests),
            (QUERY_JOBS, options.daily_bulk_query_jobs),
            (BATCHES, options.daily_bulk_batches),
        ];
        let daily = daily.map(|(name, max)| (name, Daily { max, used: VecDeque::new() })).into_iter().collect();
        let long = Long { max: options.concurrent_long_requests, seconds: 20, open: BTreeMap::new(), begun: 0 };
        Self { clock: options.clock.clone(), state: Arc::new(Mutex::new(State { daily, long })) }
    }

    /// Takes `amount` of a limit if there is that much left; returns what is used then, and the most.
    fn take(&self, name: &str, amount: u64) -> (bool, u64, u64) {
        let now = self.clock.now().timestamp();
        let mut state = lock(&self.state);
        let Some(daily) = state.daily.get_mut(name) else { return (true, 0, 0) };
        let used = daily.used(now);
        let fits = used + amount <= daily.max;
        if fits {
            daily.add(now, amount);
        }
        (fits, if fits { used + amount } else { used }, daily.max)
    }

    /// Counts an API request; returns what `Sforce-Limit-Info` says.
    pub(super) fn request(&self) -> (Result<(), ApiError>, String) {
        let (fits, used, max) = self.take(REQUESTS, 1);
        (if fits { Ok(()) } else { Err(ApiError::requests_exceeded()) }, format!("api-usage={used}/{max}"))
    }

    /// Counts a job of a bulk query.
    pub(super) fn query_job(&self) -> Result<(), ApiError> {
        let (fits, _, max) = self.take(QUERY_JOBS, 1);
        let text = format!("Max bulk v2 query jobs ({max}) per 24 hrs has been reached");
        if fits { Ok(()) } else { Err(ApiError::new(400, "LIMIT_EXCEEDED", text)) }
    }

    /// Counts batches of both Bulk APIs.
    pub(super) fn batches(&self, batches: u64) -> Result<(), ApiError> {
        let (fits, _, _) = self.take(BATCHES, batches);
        if fits { Ok(()) } else { Err(ApiError::new(400, "LIMIT_EXCEEDED", "ApiBatchItems Limit exceeded.")) }
    }

    /// Lets a call begin; it is open until the answer is dropped.
    pub(super) fn begin(&self) -> Result<Open, ApiError> {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let long = &mut state.long;
        let since = now - TimeDelta::seconds(long.seconds);
        if long.open.values().filter(|begun| **begun <= since).count() >= long.max {
            let text = "ConcurrentPerOrgLongTxn Limit exceeded.";
            return Err(ApiError::new(403, "REQUEST_LIMIT_EXCEEDED", text));
        }
        long.begun += 1;
        let id = long.begun;
        long.open.insert(id, now);
        Ok(Open { limits: self.clone(), id })
    }

    /// `GET /limits`.
    pub(super) fn show(&self) -> Value {
        let now = self.clock.now().timestamp();
        let mut state = lock(&self.state);
        let mut all: serde_json::Map<String, Value> =
            UNCOUNTED.iter().map(|(name, max)| ((*name).to_owned(), json!({ "Max": max, "Remaining": max }))).collect();
        for (name, daily) in &mut state.daily {
            let left = daily.max.saturating_sub(daily.used(now));
            all.insert((*name).to_owned(), json!({ "Max": daily.max, "Remaining": left }));
        }
        Value::Object(all)
    }

    /// Sets limits and what is used of them.
    pub(super) fn set(&self, order: Order) {
        let now = self.clock.now().timestamp();
        let mut state = lock(&self.state);
        for (name, order) in [
            (REQUESTS, order.DailyApiRequests),
            (QUERY_JOBS, order.DailyBulkV2QueryJobs),
            (BATCHES, order.DailyBulkApiBatches),
        ] {
            let Some(daily) = state.daily.get_mut(name) else { continue };
            daily.max = order.max.unwrap_or(daily.max);
            if let Some(used) = order.used {
                daily.used.clear();
                daily.add(now, used);
            }
        }
        let long = &mut state.long;
        long.max = order.ConcurrentLongRequests.max.unwrap_or(long.max);
        long.seconds = order.ConcurrentLongRequests.seconds.unwrap_or(long.seconds);
    }
}

/// A call that is open.
#[derive(Debug)]
pub(super) struct Open {
    limits: Limits,
    id: u64,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.limits.state).long.open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_comes_free_after_a_day() {
        let clock = Clock::held_at(DateTime::UNIX_EPOCH);
        let options =
            OrgOptions { daily_api_requests: 3, daily_bulk_batches: 5, clock: clock.clone(), ..OrgOptions::default() };
        let limits = Limits::new(&options);
        assert_eq!(limits.request(), (Ok(()), "api-usage=1/3".to_owned()));
        clock.advance(TimeDelta::hours(12));
        assert_eq!(limits.request(), (Ok(()), "api-usage=2/3".to_owned()));
        assert_eq!(limits.request(), (Ok(()), "api-usage=3/3".to_owned()));
        assert_eq!(limits.request(), (Err(ApiError::requests_exceeded()), "api-usage=3/3".to_owned()));
        clock.advance(TimeDelta::hours(12));
        assert_eq!(limits.request(), (Ok(()), "api-usage=3/3".to_owned()), "only the first is a day old");
        assert!(limits.request().0.is_err());
        assert!(limits.batches(4).is_ok());
        assert!(limits.batches(2).is_err(), "what does not fit is not counted");
        assert!(limits.batches(1).is_ok());
        assert_eq!(limits.show()["DailyBulkApiBatches"], json!({ "Max": 5, "Remaining": 0 }));
    }

    #[test]
    fn long_calls_are_those_that_are_still_open() {
        let clock = Clock::held_at(DateTime::UNIX_EPOCH);
        let options = OrgOptions { concurrent_long_requests: 2, clock: clock.clone(), ..OrgOptions::default() };
        let limits = Limits::new(&options);
        let open: Vec<_> = (0..10).map(|_| limits.begin().unwrap()).collect();
        clock.advance(TimeDelta::seconds(19));
        drop(limits.begin().unwrap());
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(limits.begin().unwrap_err().message, "ConcurrentPerOrgLongTxn Limit exceeded.");
        drop(open);
        assert!(limits.begin().is_ok());
    }
}
