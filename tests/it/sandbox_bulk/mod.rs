//! Both Bulk APIs of the Salesforce sandbox, as a client sees them.

mod classic;
mod ingest;
mod query;
