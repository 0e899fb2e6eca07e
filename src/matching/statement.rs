//! The statement of a job as steps, and what of it is worked out first.
//!
//! DataFusion puts a named step in place wherever it is used, so every use is paid for. Three kinds of step are small
//! and used several times: the keys that several records share, the rows that share a key, and what became of those
//! rows. They are worked out first and become tables, which also tells the optimiser how small they are: where nothing
//! is duplicated they are empty, and their joins vanish from the plan.

use crate::transform::sql::comment;

/// A common table expression.
struct Step {
    name: String,
    why: String,
    body: String,
    first: bool,
    /// A table without whose rows this one has none either.
    only_with: Option<String>,
}

/// A statement, step by step.
pub(super) struct Script {
    title: String,
    steps: Vec<Step>,
    last: (String, String),
}

/// A table that is worked out before the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The name under which the statement reads it.
    pub name: String,
    /// What gives its rows.
    pub sql: String,
    /// A table before it without whose rows this one has none either, so that it need not be asked.
    pub(super) only_with: Option<String>,
}

impl Table {
    /// Whether its rows come from a table of that name.
    pub(super) fn reads(&self, name: &str) -> bool {
        names(&self.sql, name)
    }
}

impl Script {
    pub(super) fn new(title: &str) -> Self {
        Self { title: comment(title), steps: Vec::new(), last: Default::default() }
    }

    /// Adds a step.
    pub(super) fn step(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) {
        self.steps.push(Step { name: name.into(), why: why.into(), body, first: false, only_with: None });
    }

    /// Adds a step that is worked out first.
    pub(super) fn first(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) {
        self.steps.push(Step { name: name.into(), why: why.into(), body, first: true, only_with: None });
    }

    /// The same, of a step that has no rows unless `table` has some.
    pub(super) fn first_with(&mut self, table: &str, name: impl Into<String>, why: impl Into<String>, body: String) {
        let only_with = Some(table.to_owned());
        self.steps.push(Step { name: name.into(), why: why.into(), body, first: true, only_with });
    }

    /// Sets what the statement gives.
    pub(super) fn last(&mut self, why: impl Into<String>, body: String) {
        self.last = (why.into(), body);
    }

    /// The whole as one statement.
    pub(super) fn whole(&self) -> String {
        let all: Vec<_> = self.steps.iter().collect();
        format!("-- {}\n{}", self.title, written(&all, &self.last.0, &self.last.1))
    }

    /// The tables to work out first, in order, and the statement that reads them.
    pub(super) fn parts(&self) -> (Vec<Table>, String) {
        let tables = self.steps.iter().enumerate().filter(|(_, step)| step.first).map(|(at, step)| Table {
            name: step.name.clone(),
            sql: written(&needed(&self.steps[..at], &step.body), &step.why, &step.body),
            only_with: step.only_with.clone(),
        });
        (tables.collect(), written(&needed(&self.steps, &self.last.1), &self.last.0, &self.last.1))
    }
}

/// The steps that `body` stands on, without those that are tables by then.
fn needed<'a>(steps: &'a [Step], body: &str) -> Vec<&'a Step> {
    let mut found = Vec::new();
    let mut texts = vec![body];
    for step in steps.iter().rev() {
        if !step.first && texts.iter().any(|text| names(text, &step.name)) {
            texts.push(&step.body);
            found.push(step);
        }
    }
    found.reverse();
    found
}

/// Whether `name` stands in `text` as a word.
fn names(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word))
}

fn written(steps: &[&Step], why: &str, body: &str) -> String {
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            let first = if step.first { " (worked out first)" } else { "" };
            format!("-- {}{first}\n{} AS (\n  {}\n)", comment(&step.why), step.name, step.body.replace('\n', "\n  "))
        })
        .collect();
    let with = if steps.is_empty() { String::new() } else { format!("WITH\n{}\n\n", steps.join(",\n\n")) };
    format!("{with}-- {}\n{body}\n", comment(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_carries_only_what_it_stands_on() {
        let mut script = Script::new("t");
        script.step("mapped", "rows", "SELECT 1 AS a".to_owned());
        script.step("other", "not used", "SELECT 2 AS mapped_too".to_owned());
        script.first("shared", "small", "SELECT a FROM mapped".to_owned());
        script.last("all", "SELECT * FROM mapped JOIN shared".to_owned());
        let (tables, query) = script.parts();
        assert_eq!(tables[0].sql, "WITH\n-- rows\nmapped AS (\n  SELECT 1 AS a\n)\n\n-- small\nSELECT a FROM mapped\n");
        assert!(query.contains("mapped AS") && !query.contains("other AS") && !query.contains("shared AS"));
        assert!(script.whole().contains("-- small (worked out first)\nshared AS"));
    }
}
