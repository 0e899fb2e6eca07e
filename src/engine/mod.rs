//! Builds every DataFusion session.
