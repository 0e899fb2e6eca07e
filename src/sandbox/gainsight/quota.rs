//! Quotas: fixed windows that begin on the clock (gainsight-api §9), and the count of all calls.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;
use serde::Serialize;

/// What a call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// Logins; no quota is documented.
    Token,
    /// 100 a minute, 50,000 a day.
    Sync,
    /// Bulk import, bulk export and, by default, people async: 10 an hour, 100 a day.
    Bulk,
    /// User management: 100 an hour, 1,000 a day.
    Users,
}

/// The most calls in each window; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Synchronous calls in a minute.
    pub sync_per_minute: Option<u64>,
    /// Synchronous calls in a day.
    pub sync_per_day: Option<u64>,
    /// Bulk calls in an hour.
    pub bulk_per_hour: Option<u64>,
    /// Bulk calls in a day.
    pub bulk_per_day: Option<u64>,
    /// User management calls in an hour.
    pub users_per_hour: Option<u64>,
    /// User management calls in a day.
    pub users_per_day: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sync_per_minute: Some(100),
            sync_per_day: Some(50_000),
            bulk_per_hour: Some(10),
            bulk_per_day: Some(100),
            users_per_hour: Some(100),
            users_per_day: Some(1000),
        }
    }
}

impl Limits {
    /// No limit at all.
    pub fn none() -> Self {
        Self {
            sync_per_minute: None,
            sync_per_day: None,
            bulk_per_hour: None,
            bulk_per_day: None,
            users_per_hour: None,
            users_per_day: None,
        }
    }

    fn of(&self, class: Class) -> [(i64, Option<u64>); 2] {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 3600;
        const DAY: i64 = 86_400;
        match class {
            Class::Token => [(MINUTE, None), (DAY, None)],
            Class::Sync => [(MINUTE, self.sync_per_minute), (DAY, self.sync_per_day)],
            Class::Bulk => [(HOUR, self.bulk_per_hour), (DAY, self.bulk_per_day)],
            Class::Users => [(HOUR, self.users_per_hour), (DAY, self.users_per_day)],
        }
    }
}

/// A call over the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The limits of the class, shorter window first, as `x-ratelimit-limit` shows them.
    pub(super) limits: String,
    /// Seconds until the full window ends.
    pub(super) wait: i64,
}

/// Calls by class.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Calls {
    /// All calls that came in with a valid login (tokens: all).
    pub(super) accepted: BTreeMap<Class, u64>,
    /// Of these, the ones answered with 429.
    pub(super) refused: BTreeMap<Class, u64>,
}

/// Counts calls and refuses those over the limit.
#[derive(Debug, Default)]
pub(super) struct Quota {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    limits: Option<Limits>,
    windows: BTreeMap<(Class, i64), Window>,
    calls: Calls,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    number: i64,
    used: u64,
}

impl Quota {
    /// Counts, and refuses by these limits if there are any.
    pub(super) fn new(limits: Option<Limits>) -> Self {
        Self { state: Mutex::new(State { limits, ..State::default() }) }
    }

    /// Changes the limits while running.
    pub(super) fn set_limits(&self, limits: Option<Limits>) {
        self.lock().limits = limits;
    }

    /// The limits now.
    pub(super) fn limits(&self) -> Option<Limits> {
        self.lock().limits.clone()
    }

    /// What has been counted.
    pub(super) fn calls(&self) -> Calls {
        self.lock().calls.clone()
    }

    /// Takes one call of a class at a time (seconds since 1970).
    pub(super) fn take(&self, class: Class, now: i64, failed_calls_count: bool) -> Result<(), Refused> {
        let mut state = self.lock();
        *state.calls.accepted.entry(class).or_default() += 1;
        let Some(limits) = state.limits.as_ref().map(|limits| limits.of(class)) else { return Ok(()) };
        let mut refused = None;
        for (length, limit) in limits {
            let window = state.windows.entry((class, length)).or_default();
            let number = now.div_euclid(length);
            if window.number != number {
                *window = Window { number, used: 0 };
            }
            window.used += 1;
            if limit.is_some_and(|limit| window.used > limit) {
                let wait = length - now.rem_euclid(length);
                refused = refused.max(Some(wait));
            }
        }
        let Some(wait) = refused else { return Ok(()) };
        *state.calls.refused.entry(class).or_default() += 1;
        if !failed_calls_count {
            state.give_back(class);
        }
        let shown: Vec<String> = limits.iter().filter_map(|(_, limit)| limit.map(|limit| limit.to_string())).collect();
        Err(Refused { limits: shown.join(", "), wait })
    }

    /// Takes back a call that was refused, where those do not count.
    pub(super) fn give_back(&self, class: Class) {
        self.lock().give_back(class);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_back(&mut self, class: Class) {
        for ((one, _), window) in &mut self.windows {
            if *one == class {
                window.used = window.used.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_on_the_clock_and_refused_calls_count() {
        let limits = Limits { sync_per_minute: Some(2), sync_per_day: Some(6), ..Limits::default() };
        let quota = Quota::new(Some(limits));
        let noon = 12 * 3600;
        assert!(quota.take(Class::Sync, noon + 58, true).is_ok());
        assert!(quota.take(Class::Sync, noon + 59, true).is_ok());
        let refused = quota.take(Class::Sync, noon + 59, true).unwrap_err();
        assert_eq!(refused, Refused { limits: "2, 6".to_owned(), wait: 1 });
        // The next minute is new although the last call was a second ago.
        assert!(quota.take(Class::Sync, noon + 60, true).is_ok());
        assert!(quota.take(Class::Bulk, noon + 60, true).is_ok(), "classes have windows of their own");
        assert!(quota.take(Class::Sync, noon + 61, true).is_ok());
        assert!(quota.take(Class::Sync, noon + 120, true).is_ok());
        // Six of the day are used up: the refused one counted.
        assert_eq!(quota.take(Class::Sync, noon + 121, true).unwrap_err().wait, 12 * 3600 - 121);
        assert!(quota.take(Class::Sync, 24 * 3600, true).is_ok());
        assert_eq!(quota.calls().refused.get(&Class::Sync), Some(&2));
    }

    #[test]
    fn refused_calls_are_free_where_the_switch_says_so() {
        let quota = Quota::new(Some(Limits { users_per_hour: Some(1), ..Limits::default() }));
        assert!(quota.take(Class::Users, 0, false).is_ok());
        assert!(quota.take(Class::Users, 1, false).is_err());
        quota.give_back(Class::Users);
        assert!(quota.take(Class::Users, 2, false).is_ok());
    }
}
