//! Gainsight objects as Arrow batches.
