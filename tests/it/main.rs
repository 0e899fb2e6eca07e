//! The integration tests: one binary, the real program.

#![cfg(test)]

mod connect_http;
mod connect_salesforce;
mod extract;
mod land;
mod ledger;
mod matching;
mod sandbox_gainsight;
mod support;
