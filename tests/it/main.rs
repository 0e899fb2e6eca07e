//! The integration tests: one binary, the real program.
