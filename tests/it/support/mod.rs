//! What several tests share.

pub(crate) mod flaky;
pub(crate) mod org;
pub(crate) mod scripted;
pub(crate) mod tables;
