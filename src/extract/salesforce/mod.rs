//! Salesforce objects as Arrow batches.
