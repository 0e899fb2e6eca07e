//! The integration tests: one binary, the real program.

mod connect_http;
mod ledger;
mod sandbox_gainsight;
mod support;
