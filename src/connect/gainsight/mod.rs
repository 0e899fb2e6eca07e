//! Gainsight as typed calls.
