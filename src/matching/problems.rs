//! Why a row is rejected: the conditions in the order in which they are told, and their sentences.

use crate::config::job::OnMissing;
use crate::config::job::OnMultiple;
use crate::config::job::Operation;
use crate::matching::layout::Cell;
use crate::matching::layout::Layout;
use crate::matching::layout::Lookup;
use crate::transform::sql::identifier;
use crate::transform::sql::literal;

/// One reason to reject a row, as SQL over the columns of the statement's `resolved` step.
pub(super) struct Problem {
    pub(super) when: String,
    pub(super) code: &'static str,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) candidates: Option<String>,
    /// When the row may pass another time, because a parent may arrive.
    pub(super) retry: Option<String>,
}

/// What a person does about a reject with this code of matching.
pub fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "BLANK_IDENTIFIER" => "Fill the field in Salesforce; the next run picks the row up.",
        "DUPLICATE_IN_SOURCE" => "Merge the records in Salesforce, or correct the field that should tell them apart.",
        "AMBIGUOUS_TARGET" => "Merge the candidates in Gainsight, or correct their key, so that one is left.",
        "LOOKUP_NO_MATCH" => {
            "Fill the field in Salesforce, or load the missing record: the row is tried again by itself when it has arrived."
        }
        "LOOKUP_MULTIPLE" => {
            "Merge the candidates in Gainsight, or set `on_multiple = \"any\"` to take the one with the lowest GSID."
        }
        "ALREADY_EXISTS" => "Set `operation = \"upsert\"` if existing records should be updated.",
        "NOT_FOUND" => "Set `operation = \"upsert\"` if missing records should be inserted.",
        "VALUE_INVALID" => "Correct the value in Salesforce, or map the field to a target of another type.",
        _ => return None,
    })
}

/// Every reason of a job, in the order of the module's rule 2.
pub(super) fn problems(layout: &Layout<'_>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (at, key) in layout.keys.iter().enumerate() {
        let cell = &layout.cells[key.cell];
        found.extend(invalid(cell));
        found.push(blank_identifier(layout, cell, at + 1));
    }
    if let Some(company) = layout.company() {
        found.extend(several(company));
        found.push(no_company(company));
    }
    found.push(duplicate(layout));
    found.extend(ambiguous(layout));
    found.extend(operation(layout));
    found.extend(layout.cells.iter().filter(|cell| !cell.identifier).filter_map(invalid));
    for lookup in layout.lookups.iter().filter(|lookup| !lookup.identifier) {
        found.extend(several(lookup));
        if lookup.on_missing == OnMissing::Reject {
            found.push(no_match(layout, lookup));
        }
    }
    found
}

impl Problem {
    fn new(code: &'static str, field: String, when: String, message: String) -> Self {
        Self { when, code, field, message, candidates: None, retry: None }
    }
}

fn invalid(cell: &Cell) -> Option<Problem> {
    cell.invalid.as_ref()?;
    let bad = identifier(&format!("bad.{}", cell.to));
    let message = Sentence::new()
        .text(format!("{} is '", cell.from))
        .value(format!("substr({bad}, 1, 100)"))
        .text(format!("', but {} in Gainsight takes {}.", cell.mirror.label, cell.a_target));
    Some(Problem::new("VALUE_INVALID", cell.to.to_string(), format!("{bad} IS NOT NULL"), message.sql()))
}

fn blank_identifier(layout: &Layout<'_>, cell: &Cell, number: usize) -> Problem {
    let message = literal(&format!(
        "{} is empty, but by it the {} is found in Gainsight.",
        cell.from,
        noun(layout.keyed_object())
    ));
    Problem::new("BLANK_IDENTIFIER", cell.to.to_string(), format!("key_{number} IS NULL"), message)
}

/// Without its company a company person has no key, whatever the job says about other lookups.
fn no_company(company: &Lookup) -> Problem {
    let number = company.number;
    let code = if company.on_missing == OnMissing::Reject { "LOOKUP_NO_MATCH" } else { "BLANK_IDENTIFIER" };
    let mut problem = Problem::new(code, company.to.to_string(), format!("missing_{number}"), missing(company));
    problem.retry = Some(format!("NOT {}", blank(company)));
    problem
}

fn no_match(layout: &Layout<'_>, lookup: &Lookup) -> Problem {
    let number = lookup.number;
    let when = match lookup.waits(layout.pass) {
        true => format!("missing_{number} AND NOT waits_{number}"),
        false => format!("missing_{number}"),
    };
    let mut problem = Problem::new("LOOKUP_NO_MATCH", lookup.to.to_string(), when, missing(lookup));
    problem.retry = Some(format!("NOT {}", blank(lookup)));
    problem
}

fn several(lookup: &Lookup) -> Option<Problem> {
    if lookup.on_multiple != OnMultiple::Error {
        return None;
    }
    let number = lookup.number;
    let mut message = Sentence::new()
        .value(format!("lookup_{number}_hits"))
        .text(format!(" {} records in Gainsight have ", noun(&lookup.object)));
    message = pairs(message, lookup).text(format!(", and {} takes only one.", lookup.mirror.label));
    let mut problem =
        Problem::new("LOOKUP_MULTIPLE", lookup.to.to_string(), format!("several_{number}"), message.sql());
    problem.candidates = Some(format!("lookup_{number}_candidates"));
    Some(problem)
}

fn duplicate(layout: &Layout<'_>) -> Problem {
    let mut message = Sentence::new().text("The row ").value("duplicate_of").text(" is newer and has the same ");
    message = key(message, layout);
    if layout.is_people() {
        message = message.text(" at the same company");
    }
    message = message.text("; it was used and this row was not.");
    Problem::new("DUPLICATE_IN_SOURCE", key_fields(layout), "duplicate_of IS NOT NULL".to_owned(), message.sql())
}

fn ambiguous(layout: &Layout<'_>) -> Vec<Problem> {
    let told = |prefix: &str, object: &str, tail: &str| {
        let mut message = Sentence::new()
            .value(format!("{prefix}hits"))
            .text(format!(" {} records in Gainsight have ", noun(object)));
        message = key(message, layout).text(format!("{tail}; it is not clear which one is meant."));
        let mut problem = Problem::new(
            "AMBIGUOUS_TARGET",
            key_fields(layout),
            format!("{prefix}candidates IS NOT NULL"),
            message.sql(),
        );
        problem.candidates = Some(format!("{prefix}candidates"));
        problem
    };
    if layout.is_people() {
        vec![told("person_", "person", ""), told("", "company_person", " at the same company")]
    } else {
        vec![told("", layout.job.target.object.primary(), "")]
    }
}

fn operation(layout: &Layout<'_>) -> Option<Problem> {
    let object = noun(layout.job.target.object.primary());
    let (code, when, message) = match layout.operation {
        Operation::Upsert => return None,
        Operation::Insert => (
            "ALREADY_EXISTS",
            "gsid IS NOT NULL",
            key(Sentence::new().text(format!("A {object} with ")), layout)
                .text(" is in Gainsight already (")
                .value("gsid")
                .text("), and this job only inserts."),
        ),
        Operation::Update => (
            "NOT_FOUND",
            "gsid IS NULL",
            key(Sentence::new().text(format!("No {object} in Gainsight has ")), layout)
                .text(", and this job only updates."),
        ),
    };
    Some(Problem::new(code, key_fields(layout), when.to_owned(), message.sql()))
}

/// Whether a lookup's value is blank, and so can match nothing now or later.
pub(super) fn blank(lookup: &Lookup) -> String {
    let parts: Vec<_> =
        (1..=lookup.pairs.len()).map(|pair| format!("lookup_{}_{pair} IS NULL", lookup.number)).collect();
    format!("({})", parts.join(" OR "))
}

fn missing(lookup: &Lookup) -> String {
    let object = noun(&lookup.object);
    let names: Vec<_> = lookup.pairs.iter().map(|pair| pair.from.as_str()).collect();
    let empty = format!(
        "{} {} empty, so no {object} can be found for {}.",
        names.join(" or "),
        if names.len() == 1 { "is" } else { "are" },
        lookup.mirror.label
    );
    let none = pairs(Sentence::new().text(format!("No {object} in Gainsight has ")), lookup)
        .text(format!(", so {} cannot be filled.", lookup.mirror.label));
    format!("CASE WHEN {} THEN {} ELSE {} END", blank(lookup), literal(&empty), none.sql())
}

/// "Salesforce Account ID '001…' (from AccountId) and …".
fn pairs(mut sentence: Sentence, lookup: &Lookup) -> Sentence {
    for (at, pair) in lookup.pairs.iter().enumerate() {
        sentence = sentence
            .text(format!("{}{} '", if at == 0 { "" } else { " and " }, pair.to))
            .value(format!("lookup_{}_{}", lookup.number, at + 1))
            .text(format!("' (from {})", pair.from));
    }
    sentence
}

/// "Name 'Acme' and …".
fn key(mut sentence: Sentence, layout: &Layout<'_>) -> Sentence {
    for (at, key) in layout.keys.iter().enumerate() {
        let cell = &layout.cells[key.cell];
        sentence = sentence
            .text(format!("{}{} '", if at == 0 { "" } else { " and " }, cell.mirror.label))
            .value(identifier(&format!("set.{}", cell.to)))
            .text("'");
    }
    sentence
}

/// The field that a problem of the whole key is shown at: its first.
fn key_fields(layout: &Layout<'_>) -> String {
    layout.keys.first().map(|key| layout.cells[key.cell].to.to_string()).unwrap_or_default()
}

/// An object as people call it.
fn noun(object: &str) -> &str {
    match object {
        "gsuser" => "user",
        "company_person" => "company person",
        other => other,
    }
}

/// A sentence put together in SQL.
struct Sentence {
    parts: Vec<String>,
    open: String,
}

impl Sentence {
    fn new() -> Self {
        Self { parts: Vec::new(), open: String::new() }
    }

    fn text(mut self, text: impl AsRef<str>) -> Self {
        self.open.push_str(text.as_ref());
        self
    }

    fn value(mut self, sql: impl Into<String>) -> Self {
        self.close();
        self.parts.push(sql.into());
        self
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.parts.push(literal(&self.open));
            self.open.clear();
        }
    }

    fn sql(mut self) -> String {
        self.close();
        format!("concat({})", self.parts.join(", "))
    }
}
