//! Time and ids: the one door through which they come in, so that a test can hold them still.
//!
//! Clippy refuses `Utc::now`, `SystemTime::now` and `Uuid::new_v4` elsewhere (`.clippy.toml`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time. Cheap to clone; clones share one source.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// The machine's clock plus a number of microseconds that can be changed while it runs.
    System(Arc<AtomicI64>),
    /// Microseconds since the epoch, moved by hand.
    Held(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { source: Source::System(Arc::new(AtomicI64::new(0))) }
    }

    /// A clock that stands still until it is [advanced](Self::advance).
    pub fn held_at(time: DateTime<Utc>) -> Self {
        Self { source: Source::Held(Arc::new(AtomicI64::new(time.timestamp_micros()))) }
    }

    /// The time now, in whole microseconds.
    #[expect(clippy::disallowed_methods, reason = "the one door for time")]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.source {
            Source::System(offset) => Utc::now().timestamp_micros() + offset.load(Ordering::Relaxed),
            Source::Held(at) => at.load(Ordering::Relaxed),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// Moves the clock forward, or back with a negative amount.
    pub fn advance(&self, by: TimeDelta) {
        let micros = by.num_microseconds().unwrap_or(0);
        match &self.source {
            Source::System(offset) => offset.fetch_add(micros, Ordering::Relaxed),
            Source::Held(at) => at.fetch_add(micros, Ordering::Relaxed),
        };
    }
}

/// A new id that sorts by the time of its making (UUID version 7).
#[expect(clippy::disallowed_methods, reason = "the one door for ids")]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// A new random id (UUID version 4, with hyphens).
#[expect(clippy::disallowed_methods, reason = "the one door for ids")]
pub fn random_id() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_clock_moves_only_by_hand() {
        let clock = Clock::held_at(DateTime::UNIX_EPOCH);
        let other = clock.clone();
        other.advance(TimeDelta::seconds(5));
        assert_eq!(clock.now().timestamp(), 5);
    }
}
