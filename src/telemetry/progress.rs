//! Progress, as library code tells it.

/// Hears what a run is doing. Implemented by the command line; [`Silent`] elsewhere.
pub trait Reporter: Send + Sync + std::fmt::Debug {
    /// A step of a job begins. `rows` is the expected amount of work, where it is known.
    fn begin(&self, job: &str, step: &str, rows: Option<u64>);
    /// The step has dealt with `rows` more rows.
    fn advance(&self, rows: u64);
    /// The step is over, in one short sentence.
    fn end(&self, job: &str, step: &str, outcome: &str);
    /// Something a person should know although the run goes on.
    fn warn(&self, message: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self, _: &str, _: &str, _: &str) {}
    fn warn(&self, _: &str) {}
}
