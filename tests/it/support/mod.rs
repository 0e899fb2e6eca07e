//! What several tests share.

pub(crate) mod caller;
pub(crate) mod cutting;
pub(crate) mod flaky;
pub(crate) mod ground;
pub(crate) mod hiding;
pub(crate) mod model;
pub(crate) mod org;
pub(crate) mod reads;
pub(crate) mod rows;
pub(crate) mod scene;
pub(crate) mod scripted;
pub(crate) mod tables;
pub(crate) mod tenant;
pub(crate) mod visitor;
pub(crate) mod worlds;
