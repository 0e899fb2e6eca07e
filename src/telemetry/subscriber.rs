//! Logs go to stderr; `SF2GS_LOG` filters them as `RUST_LOG` does elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::error::Result;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for this process: warnings by default, more with each step of `verbosity`.
pub fn init(verbosity: u8, format: LogFormat) -> Result<()> {
    // What other crates find wrong reaches us as an error value; below -vv their own lines would only repeat it.
    let default = match verbosity {
        0 => "sf2gs=warn",
        1 => "sf2gs=info",
        2 => "sf2gs=debug,warn",
        _ => "sf2gs=trace,info",
    };
    let filter = match std::env::var("SF2GS_LOG") {
        Ok(text) => EnvFilter::try_new(&text).map_err(|e| {
            Error::config(format!("the environment variable SF2GS_LOG is not a log filter: {e}"))
                .hint("use for example SF2GS_LOG=sf2gs=debug")
        })?,
        Err(_) => EnvFilter::new(default),
    };
    // Colours are for people: a file or another program would get their codes.
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => subscriber.with_target(false).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    started.map_err(|e| Error::bug("logging was started twice").source(e))
}
