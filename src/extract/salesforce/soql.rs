//! SOQL, built from parts that cannot break out of their places.
//!
//! # Promises
//! * Names are letters, digits, `_` and the points of a path, or there is no query.
//! * A text constant comes out as the same text, whatever is in it.
//! * A user's own condition stands in parentheses that it cannot close.

use std::fmt;

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::SecondsFormat;
use chrono::Utc;

use crate::config::check_condition;
use crate::error::Error;
use crate::error::Result;

/// The longest statement that Salesforce takes.
const LONGEST: usize = 100_000;

/// A query under construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Soql {
    object: String,
    fields: Vec<String>,
    filters: Vec<Filter>,
    conditions: Vec<String>,
    limit: Option<u64>,
}

/// A condition on fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Field, operator, constant.
    Compare(String, Operator, Literal),
    /// The field is one of these.
    In(String, Vec<Literal>),
    /// Each of these holds.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `LIKE`
    Like,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number, as its digits.
    Number(f64),
    /// Text or an id.
    Text(String),
    /// A day.
    Date(NaiveDate),
    /// An instant; SOQL keeps milliseconds, what is finer is cut off.
    Instant(DateTime<Utc>),
}

impl Soql {
    /// A query of this object.
    pub fn select(object: impl Into<String>) -> Self {
        Self { object: object.into(), fields: Vec::new(), filters: Vec::new(), conditions: Vec::new(), limit: None }
    }

    /// Adds a field, or a path to a parent's field.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.fields.push(path.into());
        self
    }

    /// Adds fields.
    #[must_use]
    pub fn fields<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.fields.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Adds a condition that has to hold as well.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a condition in a user's words that has to hold as well.
    #[must_use]
    pub fn condition(mut self, text: impl Into<String>) -> Self {
        self.conditions.push(text.into());
        self
    }

    /// At most so many rows.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// The statement.
    pub fn build(&self) -> Result<String> {
        if self.fields.is_empty() {
            return Err(Error::bug(format!("a query of `{}` names no field", self.object)));
        }
        let fields = self.fields.iter().map(|path| name(path)).collect::<Result<Vec<_>>>()?;
        let mut soql = format!("SELECT {} FROM {}", fields.join(", "), name(&self.object)?);
        let mut conditions = Vec::new();
        for text in &self.conditions {
            check_condition(text).map_err(|(what, hint)| Error::config(what).hint(hint))?;
            conditions.push(format!("({})", text.trim()));
        }
        for filter in &self.filters {
            conditions.push(filter.render()?);
        }
        if !conditions.is_empty() {
            soql.push_str(" WHERE ");
            soql.push_str(&conditions.join(" AND "));
        }
        if let Some(rows) = self.limit {
            soql.push_str(&format!(" LIMIT {rows}"));
        }
        if soql.chars().count() > LONGEST {
            return Err(Error::config(format!(
                "the query of `{}` has more than the {LONGEST} characters that Salesforce takes",
                self.object
            ))
            .hint("ask for fewer fields or a shorter condition"));
        }
        Ok(soql)
    }
}

impl Filter {
    fn render(&self) -> Result<String> {
        let joined = |filters: &[Self], word: &str| -> Result<String> {
            let parts = filters.iter().map(Self::render).collect::<Result<Vec<_>>>()?;
            match parts.is_empty() {
                true => Err(Error::bug("a query has an empty list of conditions")),
                false => Ok(format!("({})", parts.join(word))),
            }
        };
        match self {
            Self::Compare(field, operator, literal) => Ok(format!("{} {operator} {literal}", name(field)?)),
            Self::In(field, literals) if !literals.is_empty() => {
                let texts: Vec<_> = literals.iter().map(ToString::to_string).collect();
                Ok(format!("{} IN ({})", name(field)?, texts.join(", ")))
            }
            Self::In(field, _) => Err(Error::bug(format!("a query compares `{field}` with an empty list"))),
            Self::All(filters) => joined(filters, " AND "),
            Self::Any(filters) => joined(filters, " OR "),
            Self::Not(filter) => Ok(format!("(NOT {})", filter.render()?)),
        }
    }
}

/// A name or path, if it is one.
fn name(path: &str) -> Result<&str> {
    let good = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if path.split('.').all(good) {
        Ok(path)
    } else {
        Err(Error::config(format!("`{path}` is no name of a Salesforce object or field"))
            .hint("names are letters, digits and `_`; a point leads to a parent's field: `Owner.Email`"))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Like => "LIKE",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Date(day) => write!(f, "{}", day.format("%Y-%m-%d")),
            Self::Instant(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            Self::Text(text) => {
                f.write_str("'")?;
                for letter in text.chars() {
                    match letter {
                        '\'' => f.write_str("\\'")?,
                        '\\' => f.write_str("\\\\")?,
                        '"' => f.write_str("\\\"")?,
                        '\n' => f.write_str("\\n")?,
                        '\r' => f.write_str("\\r")?,
                        '\t' => f.write_str("\\t")?,
                        '\u{8}' => f.write_str("\\b")?,
                        '\u{c}' => f.write_str("\\f")?,
                        other if other.is_control() => write!(f, "\\u{:04X}", u32::from(other))?,
                        other => write!(f, "{other}")?,
                    }
                }
                f.write_str("'")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_built_from_its_parts() {
        let from = DateTime::parse_from_rfc3339("2026-03-01T10:00:00.123456Z").unwrap().with_timezone(&Utc);
        let soql = Soql::select("Account")
            .fields(["Id", "Owner.Email"])
            .condition("Type = 'a' OR Type = 'b'")
            .filter(Filter::Compare("SystemModstamp".into(), Operator::GreaterOrEqual, Literal::Instant(from)))
            .filter(Filter::Any(vec![
                Filter::In("Id".into(), vec![Literal::Text("001".into()), Literal::Null]),
                Filter::Not(Box::new(Filter::Compare("IsDeleted".into(), Operator::Equal, Literal::Boolean(true)))),
            ]))
            .limit(5)
            .build();
        assert_eq!(
            soql.unwrap(),
            "SELECT Id, Owner.Email FROM Account WHERE (Type = 'a' OR Type = 'b') \
             AND SystemModstamp >= 2026-03-01T10:00:00.123Z AND (Id IN ('001', null) OR (NOT IsDeleted = true)) LIMIT 5"
        );
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        let text = Literal::Text("O'Brien\\' OR Name != '\n\u{1}".into()).to_string();
        assert_eq!(text, r"'O\'Brien\\\' OR Name != \'\n\u0001'");
    }

    #[test]
    fn names_are_names() {
        for bad in ["", "a b", "Id FROM User--", "1a", "Owner..Email", ".Email", "Owner.", "Näme", "a'"] {
            let error = Soql::select("Account").field(bad).build().unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config, "{bad}");
            assert!(Soql::select(bad).field("Id").build().is_err(), "{bad}");
        }
        assert!(Soql::select("My__c").field("Parent__r.Name_2__c").build().is_ok());
    }
}
