//! Salesforce as typed calls.
