//! The integration tests: one binary, the real program.

#![cfg(test)]

mod connect_http;
mod connect_salesforce;
mod extract;
mod ledger;
mod support;
