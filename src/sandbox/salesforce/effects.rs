//! What this org can do wrong by itself, ordered as `what` of a fault (see [`faults`](crate::sandbox::faults)).
//!
//! | `what` | taken by | then |
//! |---|---|---|
//! | `"session-ends"` | any call with a session | the session of the call ends just before it; `INVALID_SESSION_ID` |
//! | `"request-limit-exceeded"` | any call with a session | `REQUEST_LIMIT_EXCEEDED`, whatever is left of the day's limit |
//! | `"locator-dies"` | a page asked for by locator | that locator is `INVALID_QUERY_LOCATOR` from then on |
//! | `{"job-fails": {"after_polls", "message"}}` | the creation of a bulk job, the adding of a batch | so many looks find it in progress, then it has failed |
//! | `{"job-stuck": {"polls"}}` | the creation of a bulk job, the adding of a batch | so many looks find it in progress, or all that ever come |
//! | `{"stamped-before": {"seconds"}}` | a write of records | the record appears now with the SystemModstamp of that much earlier |
//!
//! The last is how a row comes in late: whoever read the window before has not seen it, and it lies in that window. The
//! clock's own offset is `POST /__sandbox/clock`.

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde::Deserialize;

use super::rest::Call;
use crate::sandbox::faults::Due;

/// One effect.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Effect {
    SessionEnds,
    RequestLimitExceeded,
    LocatorDies,
    JobFails(Fails),
    JobStuck(Stuck),
    StampedBefore(Before),
}

/// How a job fails.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fails {
    #[serde(default)]
    after_polls: u32,
    #[serde(default = "timed_out")]
    message: String,
}

fn timed_out() -> String {
    "QUERY_TIMEOUT : Your query request was running for too long.".to_owned()
}

/// How long a job is stuck.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stuck {
    #[serde(default)]
    polls: Option<u32>,
}

/// How much earlier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    seconds: u32,
}

/// What was ordered for a bulk job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    /// Looks that still find it in progress; none is for ever.
    polls: Option<u32>,
    /// Then it has failed, with this message.
    message: Option<String>,
}

/// Where a job stands at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// In progress, whatever the work is.
    InProgress,
    Failed(String),
    /// As its work is.
    Free,
}

impl Fate {
    /// Looks that still find the job in progress; a job that is stuck for ever has more than anyone takes.
    pub(super) fn polls(&self) -> u32 {
        self.polls.unwrap_or(u32::MAX)
    }

    /// Why it fails, if it does.
    pub(super) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// A look at the job uses one up.
    pub(super) fn look(&mut self) -> Look {
        match (&mut self.polls, &self.message) {
            (Some(0), Some(message)) => Look::Failed(message.clone()),
            (Some(0), None) => Look::Free,
            (None, _) => Look::InProgress,
            (Some(left), _) => {
                *left -= 1;
                Look::InProgress
            }
        }
    }
}

impl Call {
    /// Fires the first effect due for this call that `pick` wants.
    pub(super) fn effect<T>(&self, pick: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        take(self.due.as_ref(), pick)
    }

    /// What was ordered for the job that this call creates.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.effect(|effect| match effect {
            Effect::JobFails(fails) => {
                Some(Fate { polls: Some(fails.after_polls), message: Some(fails.message.clone()) })
            }
            Effect::JobStuck(stuck) => Some(Fate { polls: stuck.polls, message: None }),
            _ => None,
        })
    }

    /// Whether the locator of this call is dead; `name` tells it from the locators of other queries.
    pub(super) fn locator_is_dead(&self, name: &str) -> bool {
        let dies = self.effect(|effect| matches!(effect, Effect::LocatorDies).then_some(())).is_some();
        let mut dead = super::org::lock(&self.org.dead_locators);
        if dies {
            dead.insert(name.to_owned());
        }
        dead.contains(name)
    }

    /// The time at which this call writes.
    pub(super) fn writes_at(&self) -> DateTime<Utc> {
        let before = self.effect(|effect| match effect {
            Effect::StampedBefore(before) => Some(TimeDelta::seconds(i64::from(before.seconds))),
            _ => None,
        });
        self.org.clock.now() - before.unwrap_or_default()
    }
}

/// Fires the first due effect that `pick` wants.
pub(super) fn take<T>(due: Option<&Due<Effect>>, pick: impl Fn(&Effect) -> Option<T>) -> Option<T> {
    due?.take(pick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_counted() {
        let mut fails = Fate { polls: Some(2), message: Some("m".to_owned()) };
        let looks: Vec<_> = (0..4).map(|_| fails.look()).collect();
        let failed = Look::Failed("m".to_owned());
        assert_eq!(looks, [Look::InProgress, Look::InProgress, failed.clone(), failed]);
        let mut stuck = Fate { polls: Some(1), message: None };
        assert_eq!([stuck.look(), stuck.look(), stuck.look()], [Look::InProgress, Look::Free, Look::Free]);
        let mut for_ever = Fate { polls: None, message: None };
        assert_eq!([for_ever.look(), for_ever.look()], [Look::InProgress, Look::InProgress]);
    }
}
