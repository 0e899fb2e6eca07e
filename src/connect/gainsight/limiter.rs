//! The tenant's quotas, kept on our side.
//!
//! Gainsight counts calls in fixed windows that start on the clock (10:00:00–10:00:59), per tenant and class
//! (gainsight-api §9). The [`Limiter`] counts the same windows, on the tenant's clock as its `Date` headers tell it.
//!
//! The two clocks agree to about a second, as `Date` headers count whole ones: a call so close to the turn of a window
//! counts in both.
//!
//! # Promises
//! * No call leaves while its window is full: it waits for the next window, and says so once per window.
//! * A wait longer than [`Limiter::max_wait`] is an error that says when to run again, not a sleeping program.
//! * A refusal (429, `GS_APIG_2404`, `GU_2400`) closes the class until its next window: somebody else uses the quota too.
//! * A class without a quota never waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::clock::Clock;
use crate::config::connection::GainsightLimits;
use crate::connect::http::Gate;
use crate::error::Error;
use crate::error::Result;
use crate::telemetry::CallClass;
use crate::telemetry::Reporter;

/// How long a call may wait for quota before the run gives up and says when to come back.
pub const MAX_WAIT: Duration = Duration::from_secs(15 * 60);

/// How far the two clocks may be apart without being noticed.
const DOUBT: TimeDelta = TimeDelta::seconds(1);

/// After so many refused windows in a row the day's quota must be what is used up.
const REFUSED_WINDOWS_OF_A_DAY: u32 = 3;

/// The place that marks an error of the limiter: nothing was sent.
const QUOTA: &str = "quota";

/// Whether the limiter gave this error.
pub fn is_quota(error: &Error) -> bool {
    error.places().iter().any(|(key, _)| *key == QUOTA)
}

/// One tenant's quotas. Clones share the windows.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    max_wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The tenant's clock minus ours.
    ahead: TimeDelta,
    classes: [Class; 3],
    reporter: Option<Arc<dyn Reporter>>,
}

/// One quota class: what people call it, and its windows, shortest first.
#[derive(Debug)]
struct Class {
    title: &'static str,
    windows: Vec<Window>,
    /// Nothing leaves before this time because the tenant said so.
    closed_until: Option<DateTime<Utc>>,
    refused_in_a_row: u32,
    /// The end of the wait that was reported last.
    reported: Option<DateTime<Utc>>,
}

#[derive(Debug)]
struct Window {
    length: TimeDelta,
    limit: Option<u32>,
    start: DateTime<Utc>,
    used: u32,
    /// Calls that may have fallen into the next window already.
    used_of_next: u32,
}

impl Class {
    fn new(title: &'static str, windows: [(TimeDelta, Option<u32>); 2]) -> Self {
        let windows = windows
            .into_iter()
            .map(|(length, limit)| Window { length, limit, start: DateTime::UNIX_EPOCH, used: 0, used_of_next: 0 })
            .collect();
        Self { title, windows, closed_until: None, refused_in_a_row: 0, reported: None }
    }

    /// Takes one call out of every window, or says until when to wait and why.
    fn take(&mut self, now: DateTime<Utc>) -> Result<(), (DateTime<Utc>, String)> {
        let mut wait: Option<(DateTime<Utc>, String)> = None;
        for window in &mut self.windows {
            window.turn(now);
            if let Some(limit) = window.limit
                && (window.used >= limit || (window.turns_soon(now) && window.used_of_next >= limit))
            {
                let why = format!("{limit} {} a {} are used", self.title, unit(window.length));
                wait = Some((window.end(), why)).max(wait);
            }
        }
        if let Some(until) = self.closed_until
            && until > now
        {
            wait = Some((until, format!("Gainsight takes no more {} for now", self.title))).max(wait);
        }
        match wait {
            Some(wait) => Err(wait),
            None => {
                for window in &mut self.windows {
                    window.used += 1;
                    window.used_of_next += u32::from(window.turns_soon(now));
                }
                Ok(())
            }
        }
    }

    fn has_room(&mut self, now: DateTime<Utc>, calls: u32) -> bool {
        self.closed_until.is_none_or(|until| until <= now)
            && self.windows.iter_mut().all(|window| {
                window.turn(now);
                window.limit.is_none_or(|limit| window.used.max(window.used_of_next).saturating_add(calls) <= limit)
            })
    }

    fn refuse(&mut self, now: DateTime<Utc>) {
        if self.closed_until.is_some_and(|until| until > now) {
            return; // other calls of the same window were in flight: one refusal
        }
        let Some(shortest) = self.windows.first().map(|window| window.length) else { return };
        let follows = self.closed_until.is_some_and(|until| now - until < shortest);
        self.refused_in_a_row = if follows { self.refused_in_a_row + 1 } else { 1 };
        let length = if self.refused_in_a_row >= REFUSED_WINDOWS_OF_A_DAY {
            self.windows.last().map_or(shortest, |window| window.length)
        } else {
            shortest
        };
        self.closed_until = Some(floor(now - DOUBT, length) + length + DOUBT);
    }
}

impl Window {
    /// Goes over to the window that `now` is in for sure: the old one lasts a little longer.
    fn turn(&mut self, now: DateTime<Utc>) {
        let start = floor(now - DOUBT, self.length);
        if start != self.start {
            self.used = if start == self.start + self.length { self.used_of_next } else { 0 };
            self.used_of_next = 0;
            self.start = start;
        }
    }

    /// Whether the tenant's clock may have turned already.
    fn turns_soon(&self, now: DateTime<Utc>) -> bool {
        floor(now + DOUBT, self.length) != self.start
    }

    fn end(&self) -> DateTime<Utc> {
        self.start + self.length + DOUBT
    }
}

fn floor(time: DateTime<Utc>, length: TimeDelta) -> DateTime<Utc> {
    time.duration_trunc(length).unwrap_or(time)
}

fn unit(length: TimeDelta) -> &'static str {
    match length.num_seconds() {
        60 => "minute",
        3600 => "hour",
        _ => "day",
    }
}

impl Limiter {
    /// The windows of one tenant.
    pub fn new(limits: &GainsightLimits, clock: Clock) -> Self {
        Self::with_max_wait(limits, clock, MAX_WAIT)
    }

    /// The same with another longest wait.
    pub fn with_max_wait(limits: &GainsightLimits, clock: Clock, max_wait: Duration) -> Self {
        let (minute, hour, day) = (TimeDelta::minutes(1), TimeDelta::hours(1), TimeDelta::days(1));
        let classes = [
            Class::new("synchronous calls", [(minute, limits.sync_per_minute), (day, limits.sync_per_day)]),
            Class::new("bulk calls", [(hour, limits.bulk_per_hour), (day, limits.bulk_per_day)]),
            Class::new("user management calls", [(hour, limits.users_per_hour), (day, limits.users_per_day)]),
        ];
        let state = State { ahead: TimeDelta::zero(), classes, reporter: None };
        Self { shared: Arc::new(Shared { clock, max_wait, state: Mutex::new(state) }) }
    }

    /// How long a call may wait at most.
    pub fn max_wait(&self) -> Duration {
        self.shared.max_wait
    }

    /// Tells waits to `reporter` from now on.
    pub fn report_to(&self, reporter: Arc<dyn Reporter>) {
        self.state().reporter = Some(reporter);
    }

    /// Learns the tenant's clock from a `Date` header. Headers count whole seconds, so small differences are none.
    pub fn observe(&self, tenant: DateTime<Utc>) {
        let ahead = tenant - self.shared.clock.now();
        let ahead = if ahead.num_milliseconds().abs() < 2_000 { TimeDelta::zero() } else { ahead };
        self.state().ahead = ahead;
    }

    /// The time on the tenant's clock, as far as it is known.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.clock.now() + self.state().ahead
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many calls of this class could leave at once.
    pub fn has_room(&self, class: CallClass, calls: u32) -> bool {
        let Some(index) = index(class) else { return true };
        let mut state = self.state();
        let now = self.shared.clock.now() + state.ahead;
        state.classes[index].has_room(now, calls)
    }

    /// Takes one call, or says how long to wait; too long a wait is an error.
    fn try_take(&self, class: CallClass) -> Result<Option<Duration>> {
        let Some(index) = index(class) else { return Ok(None) };
        let mut state = self.state();
        let now = self.shared.clock.now() + state.ahead;
        let (until, why) = match state.classes[index].take(now) {
            Ok(()) => return Ok(None),
            Err(wait) => wait,
        };
        let wait = (until - now).to_std().unwrap_or_default();
        if wait > self.shared.max_wait {
            return Err(Error::unavailable(format!("the tenant's quota holds this run: {why}"))
                .context(QUOTA, class.name())
                .hint(format!("run the same command again after {}; it resumes", until.format("%Y-%m-%d %H:%M UTC"))));
        }
        if state.classes[index].reported != Some(until) {
            state.classes[index].reported = Some(until);
            let message = format!("{why}; waiting {} s for the next window", wait.as_secs() + 1);
            tracing::info!(class = class.name(), wait_s = wait.as_secs(), "{message}");
            if let Some(reporter) = state.reporter.clone() {
                drop(state);
                reporter.warn(&message);
            }
        }
        Ok(Some(wait))
    }
}

/// Place of a class in [`State::classes`]; Salesforce's classes have none.
fn index(class: CallClass) -> Option<usize> {
    match class {
        CallClass::GainsightSync => Some(0),
        CallClass::GainsightBulk => Some(1),
        CallClass::GainsightUsers => Some(2),
        CallClass::SalesforceRest | CallClass::SalesforceBulk => None,
    }
}

#[async_trait]
impl Gate for Limiter {
    async fn pass(&self, class: CallClass) -> Result<()> {
        // The clock may be moved by hand or corrected by the next `Date` header: look again at least every half second.
        while let Some(wait) = self.try_take(class)? {
            tokio::time::sleep(wait.clamp(Duration::from_millis(5), Duration::from_millis(500))).await;
        }
        Ok(())
    }

    fn refused(&self, class: CallClass) {
        let Some(index) = index(class) else { return };
        let mut state = self.state();
        let now = self.shared.clock.now() + state.ahead;
        state.classes[index].refuse(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn limits(per_minute: u32) -> GainsightLimits {
        GainsightLimits { sync_per_minute: Some(per_minute), ..GainsightLimits::default() }
    }

    #[tokio::test]
    async fn a_full_window_waits_for_the_next_one_on_the_clock() {
        let clock = Clock::held_at(at("2026-03-01T10:00:58Z"));
        let limiter = Limiter::new(&limits(2), clock.clone());
        limiter.pass(CallClass::GainsightSync).await.unwrap();
        limiter.pass(CallClass::GainsightSync).await.unwrap();
        assert_eq!(limiter.try_take(CallClass::GainsightSync).unwrap(), Some(Duration::from_secs(3)));
        let waiting = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.pass(CallClass::GainsightSync).await }
        });
        tokio::task::yield_now().await;
        clock.advance(TimeDelta::seconds(3));
        waiting.await.unwrap().unwrap();
    }

    #[test]
    fn a_call_near_the_turn_counts_in_both_windows() {
        let clock = Clock::held_at(at("2026-03-01T10:00:59.500Z"));
        let limiter = Limiter::new(&limits(2), clock.clone());
        assert_eq!(limiter.try_take(CallClass::GainsightSync).unwrap(), None);
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(limiter.try_take(CallClass::GainsightSync).unwrap(), None, "10:01:00.5 may still be the old minute");
        clock.advance(TimeDelta::seconds(10));
        let wait = limiter.try_take(CallClass::GainsightSync).unwrap();
        assert_eq!(wait, Some(Duration::from_millis(50_500)), "both may have counted in the new minute");
    }

    #[tokio::test]
    async fn a_long_wait_is_an_error_that_says_when_to_come_back() {
        let limiter = Limiter::new(&GainsightLimits::default(), Clock::held_at(at("2026-03-01T10:05:00Z")));
        for _ in 0..10 {
            limiter.pass(CallClass::GainsightBulk).await.unwrap();
        }
        let error = limiter.pass(CallClass::GainsightBulk).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.hint_text().unwrap().contains("2026-03-01 11:00 UTC"), "{error:?}");
    }

    #[tokio::test]
    async fn a_refusal_closes_the_window_and_several_close_the_day() {
        let clock = Clock::held_at(at("2026-03-01T10:00:30Z"));
        let limiter = Limiter::new(&limits(1000), clock.clone());
        for expected in ["10:01", "10:02"] {
            limiter.pass(CallClass::GainsightSync).await.unwrap();
            limiter.refused(CallClass::GainsightSync);
            limiter.refused(CallClass::GainsightSync); // a second call of the same window counts once
            let until = limiter.state().classes[0].closed_until.unwrap();
            assert_eq!(until.format("%H:%M").to_string(), expected);
            clock.advance(TimeDelta::seconds(60));
        }
        limiter.refused(CallClass::GainsightSync);
        assert!(limiter.pass(CallClass::GainsightSync).await.is_err());
    }

    #[tokio::test]
    async fn room_is_what_could_leave_at_once() {
        let clock = Clock::held_at(at("2026-03-01T10:00:30Z"));
        let limiter = Limiter::new(&GainsightLimits { bulk_per_hour: Some(3), ..limits(1000) }, clock.clone());
        assert!(limiter.has_room(CallClass::GainsightBulk, 3) && !limiter.has_room(CallClass::GainsightBulk, 4));
        limiter.pass(CallClass::GainsightBulk).await.unwrap();
        assert!(limiter.has_room(CallClass::GainsightBulk, 2) && !limiter.has_room(CallClass::GainsightBulk, 3));
        limiter.refused(CallClass::GainsightBulk);
        assert!(!limiter.has_room(CallClass::GainsightBulk, 1));
        clock.advance(TimeDelta::hours(2));
        assert!(limiter.has_room(CallClass::GainsightBulk, 3));
    }

    #[tokio::test]
    async fn without_a_quota_nothing_waits_and_the_tenants_clock_counts() {
        let unlimited = GainsightLimits { sync_per_minute: None, sync_per_day: None, ..GainsightLimits::default() };
        let limiter = Limiter::new(&unlimited, Clock::held_at(at("2026-03-01T10:00:00Z")));
        for _ in 0..5_000 {
            limiter.pass(CallClass::GainsightSync).await.unwrap();
        }
        limiter.observe(at("2026-03-01T12:00:00Z"));
        assert_eq!(limiter.now(), at("2026-03-01T12:00:00Z"));
    }
}
