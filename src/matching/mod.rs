//! One verdict per source row.
