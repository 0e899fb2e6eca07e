//! Both remote systems as typed calls over one HTTP policy.
//!
//! ```text
//!  salesforce ─┐                      ┌─ waits for the quota (Gate)
//!              ├─▶ Request ─▶ http ───┼─ sends, counts the attempt
//!  gainsight ──┘                      └─ sends again where the one table of RetryPolicy says so
//! ```
//!
//! # Promises
//! * There is one retry policy, stated as a table ([`http::RetryPolicy`]); no caller has a retry loop of its own for
//!   requests.
//! * URLs in errors and logs carry no user names, passwords or query values.
//! * Headers, status codes and envelopes end here. What leaves is typed; rows leave as bytes, never as Arrow.

pub mod gainsight;
pub mod http;
pub mod salesforce;
