//! Remote calls, counted by the quota that they use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The quota that a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallClass {
    /// Salesforce REST: describe, limits, query, token.
    SalesforceRest,
    /// Salesforce Bulk API 2.0: job requests and result pages.
    SalesforceBulk,
    /// Gainsight synchronous calls (100 a minute, 50,000 a day).
    GainsightSync,
    /// Gainsight bulk and asynchronous calls (10 an hour, 100 a day).
    GainsightBulk,
    /// Gainsight user management (100 an hour, 1,000 a day).
    GainsightUsers,
}

impl CallClass {
    /// All classes, in the order in which tables show them.
    pub const ALL: [Self; 5] =
        [Self::SalesforceRest, Self::SalesforceBulk, Self::GainsightSync, Self::GainsightBulk, Self::GainsightUsers];

    /// Whether the call goes to Salesforce.
    pub fn is_salesforce(self) -> bool {
        matches!(self, Self::SalesforceRest | Self::SalesforceBulk)
    }

    /// The name in tables, the ledger and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::SalesforceRest => "sf_rest",
            Self::SalesforceBulk => "sf_bulk",
            Self::GainsightSync => "gs_sync",
            Self::GainsightBulk => "gs_bulk",
            Self::GainsightUsers => "gs_users",
        }
    }
}

/// How many calls each class has seen. Cheap to clone; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct ApiCalls(Arc<[AtomicU64; 5]>);

/// A reading of [`ApiCalls`].
pub type CallCounts = BTreeMap<CallClass, u64>;

impl ApiCalls {
    /// Counts one call.
    pub fn count(&self, class: CallClass) {
        self.0[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far, classes without a call left out.
    pub fn read(&self) -> CallCounts {
        CallClass::ALL
            .into_iter()
            .map(|class| (class, self.0[class as usize].load(Ordering::Relaxed)))
            .filter(|(_, calls)| *calls > 0)
            .collect()
    }

    /// The calls made since an earlier reading.
    pub fn since(&self, earlier: &CallCounts) -> CallCounts {
        self.read()
            .into_iter()
            .map(|(class, calls)| (class, calls - earlier.get(&class).copied().unwrap_or(0)))
            .filter(|(_, calls)| *calls > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_class_and_since_a_reading() {
        let calls = ApiCalls::default();
        calls.count(CallClass::GainsightSync);
        let before = calls.read();
        calls.clone().count(CallClass::GainsightSync);
        calls.count(CallClass::SalesforceBulk);
        assert_eq!(calls.since(&before), [(CallClass::SalesforceBulk, 1), (CallClass::GainsightSync, 1)].into());
    }
}
