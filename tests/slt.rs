//! The SQL tests.
fn main() {}
