//! The integration tests: one binary, the real program.

#![cfg(test)]

mod config;
mod connect_http;
mod connect_salesforce;
mod engine;
mod extract;
mod land;
mod ledger;
mod matching;
mod sandbox_gainsight;
mod support;
