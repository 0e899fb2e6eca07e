//! SOQL: text → tree → a query bound to the schema → rows of a snapshot.
//!
//! # Promises
//! * What the real service refuses is refused: unknown names, values of the wrong type, AND and OR mixed without
//!   parentheses, filters on long text; with its error codes and the place in the query.
//! * Text compares without case. Null equals null, differs from every value, and is neither less nor greater.
//!
//! Knowingly different: no aggregates but `COUNT()`, no GROUP BY, no TYPEOF, no WITH; USING SCOPE, FOR VIEW and the like are
//! read and mean nothing; a day begins at midnight UTC, whatever the user's time zone; every field that is not long text may
//! be filtered and sorted; subqueries give all children at once and take no IN with a second level.

mod ast;
mod bind;
mod dates;
mod evaluate;
mod lexer;
mod like;
mod parser;

pub(crate) use ast::Condition;
pub(crate) use ast::Name;
pub(crate) use ast::Query;
pub(crate) use ast::Selected;
pub(crate) use bind::Bound;
pub(crate) use bind::BoundPath;
pub(crate) use bind::Output;
pub(crate) use bind::unknown_type;
pub(crate) use evaluate::follow;
pub(crate) use evaluate::joined;

use super::error::ApiError;

/// The longest statement, in characters.
const LONGEST: usize = 100_000;

/// Reads a query.
///
/// # Errors
/// `MALFORMED_QUERY` with the place.
pub(crate) fn parse(text: &str) -> Result<Query, ApiError> {
    if text.chars().count() > LONGEST {
        return Err(ApiError::new(400, "MALFORMED_QUERY", "SOQL statements cannot be longer than 100000 characters."));
    }
    parser::parse(text)
}

/// A refusal that points into the query: code, text, byte where.
pub(crate) fn refusal(query: &str, at: usize, code: &'static str, message: &str) -> ApiError {
    let at = at.min(query.len());
    let line_start = query[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = query[at..].find('\n').map_or(query.len(), |newline| at + newline);
    let row = query[..at].matches('\n').count() + 1;
    let column = query[line_start..at].chars().count();
    // The service shows some characters around the place, not the whole statement.
    let before: Vec<char> = query[line_start..at].chars().collect();
    let shown: String = before[before.len().saturating_sub(60)..].iter().collect();
    let after: String = query[at..line_end].chars().take(40).collect();
    let caret = " ".repeat(shown.chars().count());
    ApiError::new(400, code, format!("\n{shown}{after}\n{caret}^\nERROR at Row:{row}:Column:{}\n{message}", column + 1))
}

#[cfg(test)]
mod tests;
