//! The statement of a job as steps, and what of it is worked out first.
//!
//! DataFusion puts a named step in place wherever it is used, so every use is paid for. What is used several times is
//! worked out first and becomes a table: the mirrors by their keys, as [indexes](crate::engine::lookup::Index), and what is small,
//! such as the keys that several records share or what became of the rows that share a key. Where nothing is duplicated
//! the small ones are empty, and the steps that read them are written without them: to plan what comes to nothing takes as
//! long as to plan the rest.

use crate::transform::sql::comment;

/// A common table expression.
#[derive(Debug, Clone)]
struct Step {
    name: String,
    why: String,
    body: String,
    first: Option<First>,
    /// A table without whose rows this one has none either.
    only_with: Option<String>,
    /// A table, and what the step is where that has no rows.
    without: Option<(String, String)>,
}

/// How a step is worked out before the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum First {
    /// As a table of rows.
    Rows,
    /// As a table whose records are found by these columns.
    Index(Vec<String>),
    /// With the index of this name: the numbers of the keys that several of its records have.
    RepeatedIn(String),
}

impl Step {
    /// What it is where the tables in `empty` have no rows.
    fn body(&self, empty: &[&str]) -> &str {
        match &self.without {
            Some((table, body)) if empty.contains(&table.as_str()) => body,
            _ => &self.body,
        }
    }
}

/// The step that says which keys come again in an index.
#[derive(Debug)]
pub(super) struct Repeated {
    pub(super) name: String,
    pub(super) why: &'static str,
    pub(super) body: String,
}

/// A statement, step by step.
#[derive(Debug, Clone)]
pub(super) struct Script {
    title: String,
    steps: Vec<Step>,
    last: (String, String),
}

impl Script {
    pub(super) fn new(title: &str) -> Self {
        Self { title: comment(title), steps: Vec::new(), last: Default::default() }
    }

    fn add(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) -> &mut Step {
        let (name, why) = (name.into(), why.into());
        self.steps.push(Step { name, why, body, first: None, only_with: None, without: None });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// Adds a step.
    pub(super) fn step(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) {
        self.add(name, why, body);
    }

    /// Adds a step that is another where `table` has no rows.
    pub(super) fn step_without(
        &mut self,
        table: &str,
        without: String,
        name: impl Into<String>,
        why: impl Into<String>,
        body: String,
    ) {
        self.add(name, why, body).without = Some((table.to_owned(), without));
    }

    /// Adds a step that is worked out first.
    pub(super) fn first(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) {
        self.add(name, why, body).first = Some(First::Rows);
    }

    /// Adds a step that becomes an index by the columns `keys`, and the one that says which keys come again in it.
    pub(super) fn index(
        &mut self,
        name: &str,
        why: impl Into<String>,
        body: String,
        keys: &[String],
        again: &Repeated,
    ) {
        self.add(name, why, body).first = Some(First::Index(keys.to_vec()));
        let Repeated { name: repeated, why, body } = again;
        self.add(repeated, *why, body.clone()).first = Some(First::RepeatedIn(name.to_owned()));
    }

    /// The same, of a step that has no rows unless `table` has some.
    pub(super) fn first_with(&mut self, table: &str, name: impl Into<String>, why: impl Into<String>, body: String) {
        let step = self.add(name, why, body);
        step.first = Some(First::Rows);
        step.only_with = Some(table.to_owned());
    }

    /// Sets what the statement gives.
    pub(super) fn last(&mut self, why: impl Into<String>, body: String) {
        self.last = (why.into(), body);
    }

    /// The whole as one statement.
    pub(super) fn whole(&self) -> String {
        let all: Vec<_> = self.steps.iter().collect();
        format!("-- {}\n{}", self.title, written(&all, &self.last.0, &self.last.1, &[]))
    }

    /// The tables that are worked out first, in order.
    pub(super) fn tables(&self) -> Vec<Table<'_>> {
        let steps = self.steps.iter().enumerate();
        let first = steps.filter(|(_, step)| matches!(step.first, Some(First::Rows | First::Index(_))));
        first.map(|(at, _)| Table { script: self, at }).collect()
    }

    /// The name under which the statement reads which keys come again in the index `name`.
    pub(super) fn repeated_in(&self, name: &str) -> Option<&str> {
        let is_it = |step: &&Step| matches!(&step.first, Some(First::RepeatedIn(index)) if index == name);
        self.steps.iter().find(is_it).map(|step| step.name.as_str())
    }

    /// The statement that reads them, where those in `empty` have no rows.
    pub(super) fn query(&self, empty: &[&str]) -> String {
        written(&needed(&self.steps, &self.last.1, empty), &self.last.0, &self.last.1, empty)
    }
}

/// A table that is worked out before the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'s> {
    script: &'s Script,
    at: usize,
}

impl<'s> Table<'s> {
    fn step(&self) -> &'s Step {
        &self.script.steps[self.at]
    }

    /// The name under which the statement reads it.
    pub(super) fn name(&self) -> &'s str {
        &self.step().name
    }

    /// What gives its rows, where the tables in `empty` have none.
    pub(super) fn sql(&self, empty: &[&str]) -> String {
        let Step { why, body, .. } = self.step();
        written(&needed(&self.script.steps[..self.at], body, empty), why, body, empty)
    }

    /// The columns by which its records are found, where it is an index.
    pub(super) fn index_by(&self) -> Option<&'s [String]> {
        match &self.step().first {
            Some(First::Index(keys)) => Some(keys),
            _ => None,
        }
    }

    /// Whether it has no rows because a table in `empty` has none.
    pub(super) fn is_nothing(&self, empty: &[&str]) -> bool {
        self.step().only_with.as_deref().is_some_and(|table| empty.contains(&table))
    }

    /// Whether its rows come from a table of that name.
    pub(super) fn reads(&self, name: &str) -> bool {
        names(&self.sql(&[]), name)
    }
}

/// The steps that `body` stands on, without those that are tables by then.
fn needed<'a>(steps: &'a [Step], body: &'a str, empty: &[&str]) -> Vec<&'a Step> {
    let mut found = Vec::new();
    let mut texts = vec![body];
    for step in steps.iter().rev() {
        if step.first.is_none() && texts.iter().any(|text| names(text, &step.name)) {
            texts.push(step.body(empty));
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

fn written(steps: &[&Step], why: &str, body: &str, empty: &[&str]) -> String {
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            let first = if step.first.is_some() { " (worked out first)" } else { "" };
            format!(
                "-- {}{first}\n{} AS (\n  {}\n)",
                comment(&step.why),
                step.name,
                step.body(empty).replace('\n', "\n  ")
            )
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
        script.first_with("shared", "twins", "both", "SELECT a FROM shared".to_owned());
        script.step_without("twins", "SELECT a FROM mapped".to_owned(), "seen", "s", "SELECT a FROM twins".to_owned());
        script.last("all", "SELECT * FROM seen".to_owned());
        let [shared, twins] = script.tables()[..] else { panic!("two tables") };
        assert_eq!((shared.name(), twins.name()), ("shared", "twins"));
        assert_eq!(
            shared.sql(&[]),
            "WITH\n-- rows\nmapped AS (\n  SELECT 1 AS a\n)\n\n-- small\nSELECT a FROM mapped\n"
        );
        assert!(twins.reads("shared") && !shared.reads("twins"));
        assert!(twins.is_nothing(&["shared"]) && !twins.is_nothing(&["twins"]) && !shared.is_nothing(&["shared"]));
        assert_eq!(
            script.query(&[]),
            "WITH\n-- s\nseen AS (\n  SELECT a FROM twins\n)\n\n-- all\nSELECT * FROM seen\n"
        );
        let without = script.query(&["shared", "twins"]);
        assert!(without.contains("mapped AS") && !without.contains("other AS") && !without.contains("twins"));
        assert!(script.whole().contains("-- small (worked out first)\nshared AS"));
    }
}
