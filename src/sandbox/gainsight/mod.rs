//! A Gainsight tenant on loopback.
