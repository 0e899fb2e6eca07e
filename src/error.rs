//! Every failure that leaves this crate, named by what the reader must do.
//!
//! # Promises
//! * An [`Error`] is one sentence, the place where it happened, and, where there is one, the remedy.
//! * The kind survives a way through DataFusion: it is wrapped as a value and found again by type, never by text.
//! * The exit code of the program follows from the kind alone ([`ErrorKind::exit_code`]).

use std::borrow::Cow;
use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// What has to happen before the same command can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Edit the project, the SQL or the flags. Nothing was sent.
    Config,
    /// Log in again, or ask for a permission.
    Access,
    /// Wait and run the same command again; it resumes.
    Unavailable,
    /// Another run holds the job or committed first. Running again starts from its result.
    Conflict,
    /// A remote system gave two counts that do not agree. Nothing was committed; run again.
    Integrity,
    /// A mistake of ours. Please report it with the run id.
    Bug,
}

impl ErrorKind {
    /// The program's exit code: 2 edit, 3 run again, 4 report.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Config => 2,
            Self::Access | Self::Unavailable | Self::Conflict | Self::Integrity => 3,
            Self::Bug => 4,
        }
    }
}

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: kind, sentence, place, remedy and cause.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`, told in one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, message: message.into(), context: Vec::new(), hint: None, source: None }) }
    }

    /// [`ErrorKind::Config`]: something to edit.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// [`ErrorKind::Access`]: a login or a permission is missing.
    pub fn access(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Access, message)
    }

    /// [`ErrorKind::Unavailable`]: a remote system or the machine gave up; run again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// [`ErrorKind::Conflict`]: somebody else was first.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// [`ErrorKind::Integrity`]: two counts of a remote system do not agree.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Integrity, message)
    }

    /// [`ErrorKind::Bug`]: a broken promise of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// Adds the remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the place, such as `("object", "Account")`.
    #[must_use]
    pub fn context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.inner.context.push((key, value.into()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.inner.source = Some(cause.into());
        self
    }

    /// What the reader must do.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The remedy, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// The places, in the order in which they were added.
    pub fn places(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// The same failure as a new value; the cause is kept as text.
    fn duplicate(&self) -> Self {
        Self {
            inner: Box::new(Inner {
                kind: self.inner.kind,
                message: self.inner.message.clone(),
                context: self.inner.context.clone(),
                hint: self.inner.hint.clone(),
                source: self.inner.source.as_ref().map(|cause| cause.to_string().into()),
            }),
        }
    }

    /// The whole failure as people read it on a terminal.
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.inner.message);
        if !self.inner.context.is_empty() {
            let places: Vec<_> = self.inner.context.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            text.push_str(&format!("\n  {}", places.join("   ")));
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(&format!("\n  caused by: {said}"));
            }
            cause = error.source();
        }
        if let Some(hint) = &self.inner.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.inner.kind, self.render())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|cause| cause.as_ref() as _)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        if let DataFusionError::External(inner) = error.find_root()
            && let Some(ours) = inner.downcast_ref::<Self>()
        {
            return ours.duplicate();
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::new(ErrorKind::Config, error.to_string())
                .hint("raise `[engine] memory_limit` in sf2gs.toml, or give the spill folder more room"),
            DataFusionError::SQL(wrong, _) => {
                // The parser's error as a sentence, without the name of its type.
                let said = wrong.to_string();
                Self::new(ErrorKind::Config, said.replacen("sql parser error: ", "the SQL cannot be read: ", 1))
            }
            DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
                Self::new(ErrorKind::Config, error.strip_backtrace())
            }
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
                Self::new(ErrorKind::Unavailable, error.strip_backtrace())
            }
            _ => Self::new(ErrorKind::Bug, error.strip_backtrace()),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::new(ErrorKind::Bug, other.to_string()).source(other),
            },
            other => Self::new(ErrorKind::Bug, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_through_datafusion() {
        let ours =
            Error::integrity("Salesforce counted 3 rows but sent 2").hint("run again").context("object", "Account");
        let back = Error::from(DataFusionError::from(ours).context("while landing"));
        assert_eq!(back.kind(), ErrorKind::Integrity);
        assert_eq!(back.hint_text(), Some("run again"));
        assert_eq!(back.places(), [("object", "Account".to_owned())]);
    }

    #[test]
    fn sql_that_cannot_be_read_is_told_as_a_sentence() {
        let wrong = datafusion::sql::parser::DFParser::parse_sql("SELEC 1").unwrap_err();
        let error = Error::from(wrong);
        assert_eq!(error.kind(), ErrorKind::Config);
        let said = error.message();
        assert!(said.starts_with("the SQL cannot be read: ") && said.contains("Line: 1"), "{said}");
    }

    #[test]
    fn every_kind_has_an_exit_code_of_the_contract() {
        assert_eq!(ErrorKind::Config.exit_code(), 2);
        assert_eq!(ErrorKind::Unavailable.exit_code(), 3);
        assert_eq!(ErrorKind::Bug.exit_code(), 4);
    }
}
