//! The integration tests: one binary, the real program.

#![cfg(test)]

mod config;
mod conformance;
mod conformance_faults;
mod conformance_time;
mod conformance_values;
mod connect_http;
mod connect_salesforce;
mod crash;
mod engine;
mod extract;
mod extract_org;
mod gainsight;
mod land;
mod land_numbers;
mod layers;
mod ledger;
mod licences;
mod load;
mod main_job;
mod matching;
mod plan;
mod quotas;
mod reference_model;
mod sandbox_bulk;
mod sandbox_doors;
mod sandbox_gainsight;
mod sandbox_salesforce;
mod sandbox_salesforce_composite;
mod sandbox_salesforce_model;
mod sandbox_salesforce_records;
mod support;
