//! When a request is sent again, and how long to wait before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use chrono::Utc;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use reqwest::header::RETRY_AFTER;

/// When a request is sent again.
///
/// | Answer                        | idempotent request      | other request          |
/// |-------------------------------|-------------------------|------------------------|
/// | could not connect             | yes                     | yes (nothing was sent) |
/// | sent, no (whole) answer       | yes                     | no: outcome unknown    |
/// | 429, or 503 with Retry-After  | yes, after that time    | yes, after that time   |
/// | other 5xx                     | yes                     | no                     |
/// | 401                           | once, with a new token  | once, with a new token |
/// | other 4xx                     | no                      | no                     |
///
/// Waits grow from 0.5 s to 60 s with jitter; at most 8 tries or 10 minutes, whichever ends first. A wait that would
/// pass the 10 minutes is not begun. The row for 401 is kept by the clients of the two systems, which hold the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub tries: u32,
    /// Time in all, waits included.
    pub total: Duration,
    /// The shortest wait.
    pub first_wait: Duration,
    /// The longest wait that we choose ourselves.
    pub max_wait: Duration,
    /// How long opening a connection may take.
    pub connect_within: Duration,
    /// How long the head of an answer may take, on top of one second for every 100 kB sent.
    pub answer_within: Duration,
    /// How long a body may be silent.
    pub idle: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 8,
            total: Duration::from_secs(600),
            first_wait: Duration::from_millis(500),
            max_wait: Duration::from_secs(60),
            connect_within: Duration::from_secs(15),
            answer_within: Duration::from_secs(150),
            idle: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The same policy with waits of milliseconds, for tests.
    pub fn quick() -> Self {
        Self {
            tries: 4,
            total: Duration::from_secs(5),
            first_wait: Duration::from_millis(1),
            max_wait: Duration::from_millis(20),
            connect_within: Duration::from_secs(2),
            answer_within: Duration::from_secs(2),
            idle: Duration::from_secs(1),
        }
    }
}

/// Numbers between 0 and 1, from wherever the owner of [`Backoff`] wants them.
pub type Randomness = Arc<dyn Fn() -> f64 + Send + Sync>;

/// The waits between the tries of one request: decorrelated jitter, that is, each wait is drawn between the shortest
/// wait and three times the one before.
#[derive(Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    last: Duration,
    random: Randomness,
}

impl Backoff {
    /// Starts with the shortest wait of `policy`.
    pub fn new(policy: &RetryPolicy, random: Randomness) -> Self {
        Self { first: policy.first_wait, max: policy.max_wait, last: policy.first_wait, random }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let upper = self.last.saturating_mul(3).min(self.max).max(self.first);
        self.last = self.first + (upper - self.first).mul_f64((self.random)().clamp(0.0, 1.0));
        self.last
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("first", &self.first).field("max", &self.max).field("last", &self.last).finish()
    }
}

/// What the table says about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The caller deals with it.
    Return,
    /// Send again after a wait of ours.
    Again,
    /// Send again after the time that the answer names, or a wait of ours if it names none.
    After(Option<Duration>),
}

/// Reads the table for an answer with this status.
pub(super) fn ruling(status: StatusCode, headers: &HeaderMap, idempotent: bool, now: DateTime<Utc>) -> Ruling {
    let named = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| retry_after(text, now));
    match status {
        StatusCode::TOO_MANY_REQUESTS => Ruling::After(named),
        StatusCode::SERVICE_UNAVAILABLE if named.is_some() => Ruling::After(named),
        status if status.is_server_error() && idempotent => Ruling::Again,
        _ => Ruling::Return,
    }
}

/// `Retry-After`: whole seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    Some((at - now).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_jitter_and_stop_growing() {
        let policy = RetryPolicy::default();
        let mut highest = Backoff::new(&policy, Arc::new(|| 1.0));
        let waits: Vec<_> = (0..6).map(|_| highest.next_wait().as_millis()).collect();
        assert_eq!(waits, [1_500, 4_500, 13_500, 40_500, 60_000, 60_000]);
        let mut lowest = Backoff::new(&policy, Arc::new(|| 0.0));
        assert_eq!(lowest.next_wait(), policy.first_wait);
        assert_eq!(lowest.next_wait(), policy.first_wait);
    }

    #[test]
    fn the_table_is_kept() {
        let none = HeaderMap::new();
        let after: HeaderMap = [(RETRY_AFTER, "7".parse().unwrap())].into_iter().collect();
        let now = DateTime::UNIX_EPOCH;
        let seven = Ruling::After(Some(Duration::from_secs(7)));
        for idempotent in [true, false] {
            let rule = |status: u16, headers| ruling(StatusCode::from_u16(status).unwrap(), headers, idempotent, now);
            assert_eq!(rule(429, &after), seven);
            assert_eq!(rule(429, &none), Ruling::After(None));
            assert_eq!(rule(503, &after), seven);
            let fivehundred = if idempotent { Ruling::Again } else { Ruling::Return };
            for status in [500, 502, 503, 504] {
                assert_eq!(rule(status, &none), fivehundred, "{status}");
            }
            for status in [200, 204, 301, 400, 401, 403, 404, 409, 414, 420, 431] {
                assert_eq!(rule(status, &after), Ruling::Return, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().with_timezone(&Utc);
        assert_eq!(retry_after("12", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Thu, 01 Jan 2026 00:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Wed, 31 Dec 2025 00:00:30 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
