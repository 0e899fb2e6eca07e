//! What the program says while it works: secrets that cannot be printed, counters of remote calls, and progress.
//!
//! # Promises
//! * A [`Secret`] never shows its value in `Debug`, `Display`, logs or errors.
//! * Every request to a remote system is counted once, in the class whose quota it uses ([`ApiCalls`]).
//! * Library code reports progress through [`Reporter`]; only the command line draws it.

mod calls;
mod checkpoint;
mod progress;
mod secret;
mod subscriber;

pub use calls::{ApiCalls, CallClass, CallCounts};
pub use checkpoint::checkpoint;
pub use progress::{Reporter, Silent};
pub use secret::Secret;
pub use subscriber::{LogFormat, init};
