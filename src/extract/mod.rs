//! Bytes from both APIs become Arrow batches.
