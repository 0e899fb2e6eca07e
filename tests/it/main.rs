//! The integration tests: one binary, the real program.

#![cfg(test)]

mod connect_http;
mod land;
mod connect_salesforce;
mod extract;
mod ledger;
mod matching;
mod support;
