//! What is wrong with a project, told with its place and its remedy.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::error::Error;

/// One thing to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the project folder.
    pub file: String,
    /// Where in the file, such as `target.map[0].from`; empty for the file as a whole.
    pub path: String,
    /// The line, from 1; `None` where a file is missing.
    pub line: Option<usize>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Problem {
    /// The place within the file, for people.
    fn place(&self) -> String {
        match (self.path.is_empty(), self.line) {
            (false, Some(line)) => format!("{} (line {line}): ", self.path),
            (true, Some(line)) => format!("line {line}: "),
            (false, None) => format!("{}: ", self.path),
            (true, None) => String::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}\n  hint: {}", self.file, self.place(), self.message, self.hint)
    }
}

/// Everything that is wrong with a project, by file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems in order.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for of_file in self.0.chunk_by(|a, b| a.file == b.file) {
            let count = of_file.len();
            let file = of_file.first().map_or("", |problem| problem.file.as_str());
            writeln!(f, "error: {file} has {count} problem{}", if count == 1 { "" } else { "s" })?;
            for problem in of_file {
                writeln!(f, "  × {}{}", problem.place(), problem.message)?;
                writeln!(f, "    hint: {}", problem.hint)?;
            }
        }
        f.write_str("nothing was sent to Salesforce or Gainsight")
    }
}

impl From<Problems> for Error {
    /// An error that renders as the problems do.
    fn from(problems: Problems) -> Self {
        let text = problems.to_string();
        Self::config(text.strip_prefix("error: ").unwrap_or(&text))
    }
}

/// Collects problems and warnings while the files are read.
#[derive(Debug, Default)]
pub(super) struct Sink {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Sink {
    pub(super) fn warn(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.borrow_mut().push(place.problem(message.into(), hint.into()));
    }

    pub(super) fn report(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.borrow_mut().push(place.problem(message.into(), hint.into()));
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// The warnings, if there are no problems.
    pub(super) fn end(self) -> Result<Vec<Problem>, Problems> {
        let sorted = |mut list: Vec<Problem>| {
            // `sf2gs.toml` first: what is wrong there often explains the rest. The sort keeps the order within a line.
            list.sort_by(|a, b| (a.file.contains('/'), &a.file, a.line).cmp(&(b.file.contains('/'), &b.file, b.line)));
            list
        };
        let problems = sorted(self.problems.into_inner());
        if problems.is_empty() { Ok(sorted(self.warnings.into_inner())) } else { Err(Problems(problems)) }
    }
}

/// Where something is written.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Rc<str>,
    pub(super) path: String,
    pub(super) line: Option<usize>,
}

impl Place {
    /// A file as a whole.
    pub(super) fn file(name: &str) -> Self {
        Self { file: Rc::from(name), path: String::new(), line: None }
    }

    fn problem(&self, message: String, hint: String) -> Problem {
        Problem { file: self.file.to_string(), path: self.path.clone(), line: self.line, message, hint }
    }
}
