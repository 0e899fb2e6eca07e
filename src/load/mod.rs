//! Verdicts become API calls.
