//! A job's mappings as SQL.
