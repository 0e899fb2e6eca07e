//! Progress on stderr: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::telemetry::{Reporter, Silent};

use super::output::tell;

/// The reporter that fits this process's stderr.
pub(super) fn reporter(quiet: bool) -> Arc<dyn Reporter> {
    if quiet {
        Arc::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines)
    }
}

/// One line when a step ends.
#[derive(Debug)]
struct Lines;

impl Reporter for Lines {
    fn begin(&self, _: &str, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self, job: &str, step: &str, outcome: &str) {
        tell(&format!("{job}: {step}: {outcome}"));
    }
    fn warn(&self, message: &str) {
        tell(&format!("warning: {message}"));
    }
}

/// One bar for the step that is going on; steps that are over stay as lines.
#[derive(Debug, Default)]
struct Bars {
    current: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn replace(&self, bar: Option<ProgressBar>) -> Option<ProgressBar> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), bar)
    }
}

impl Reporter for Bars {
    fn begin(&self, job: &str, step: &str, rows: Option<u64>) {
        let bar = match rows {
            Some(rows) => ProgressBar::new(rows),
            None => ProgressBar::new_spinner(),
        };
        let template = match rows {
            Some(_) => "{prefix}: {msg} {wide_bar} {human_pos}/{human_len} {eta}",
            None => "{prefix}: {msg} {spinner} {human_pos} rows",
        };
        // A template that indicatif refuses would be our mistake; the default style still shows progress.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(job.to_owned());
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Some(earlier) = self.replace(Some(bar)) {
            earlier.finish_and_clear();
        }
    }

    fn advance(&self, rows: u64) {
        if let Some(bar) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(rows);
        }
    }

    fn end(&self, job: &str, step: &str, outcome: &str) {
        if let Some(bar) = self.replace(None) {
            bar.finish_and_clear();
        }
        tell(&format!("{job}: {step}: {outcome}"));
    }

    fn warn(&self, message: &str) {
        match &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(|| tell(&format!("warning: {message}"))),
            None => tell(&format!("warning: {message}")),
        }
    }
}

/// `1,234` for people.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}
