//! Formula fields: text → tree → a value, worked out whenever a record is read.
//!
//! The language is a part of the service's: `+ - * /`, `&` for text, comparisons, `&&` and `||`, fields of the record and of
//! its parents (`Account__r.Industry`), and the functions of [`FUNCTIONS`].
//!
//! # Promises
//! * A formula's value follows its inputs at once and moves no time stamp: SystemModstamp tells nothing about it.
//! * An arithmetic with an empty operand is empty; a result that does not fit the field's type is empty.

mod parse;

use super::FieldIndex;
use super::Kind;
use super::ObjectIndex;
use super::Schema;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::store::Cell;
use crate::sandbox::salesforce::store::Store;

/// Formulas that name formulas: what lies deeper is empty, so a circle ends.
const DEEPEST: u32 = 10;

/// The functions, each with the fewest and the most arguments.
const FUNCTIONS: [(&str, usize, usize); 20] = [
    ("ABS", 1, 1),
    ("AND", 1, 20),
    ("BLANKVALUE", 2, 2),
    ("CASE", 4, 60),
    ("CEILING", 1, 1),
    ("DAY", 1, 1),
    ("FLOOR", 1, 1),
    ("IF", 3, 3),
    ("ISBLANK", 1, 1),
    ("ISPICKVAL", 2, 2),
    ("LOWER", 1, 1),
    ("MONTH", 1, 1),
    ("NOT", 1, 1),
    ("NOW", 0, 0),
    ("OR", 1, 20),
    ("ROUND", 2, 2),
    ("TEXT", 1, 1),
    ("TODAY", 0, 0),
    ("UPPER", 1, 1),
    ("YEAR", 1, 1),
];

/// A formula of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Formula(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Known(Worth),
    /// A field of the record, or of the parent behind these reference fields.
    Field {
        steps: Vec<FieldIndex>,
        field: FieldIndex,
    },
    Negative(Box<Self>),
    Two(Operator, Box<Self>, Box<Self>),
    Call(&'static str, Vec<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Join,
    Plus,
    Minus,
    Times,
    By,
}

/// A value on the way.
#[derive(Debug, Clone, PartialEq)]
enum Worth {
    Null,
    Text(String),
    Number(f64),
    Boolean(bool),
    /// Days since 1970.
    Date(i64),
    /// Seconds since 1970.
    Datetime(i64),
}

impl Formula {
    /// Reads a formula of an object's field.
    ///
    /// # Errors
    /// One sentence: what is wrong, and where.
    pub(super) fn new(text: &str, schema: &Schema, object: ObjectIndex) -> Result<Self, String> {
        parse::parse(text, schema, object).map(Self)
    }

    /// The value for a record, as a field of this kind shows it.
    pub(crate) fn cell(
        &self,
        store: &Store,
        (object, row): (ObjectIndex, u32),
        (kind, scale): (Kind, u32),
        depth: u32,
    ) -> Cell<'static> {
        if depth > DEEPEST {
            return Cell::Null;
        }
        let worth = At { store, object, row, depth }.worth(&self.0);
        match (kind, worth) {
            (Kind::Boolean, worth) => Cell::Boolean(worth == Worth::Boolean(true)),
            (Kind::Int | Kind::Long, Worth::Number(number)) => Cell::Integer(number.round() as i64),
            (Kind::Double | Kind::Currency | Kind::Percent, Worth::Number(number)) => {
                Cell::Double(rounded(number, scale as i32))
            }
            (Kind::Date, Worth::Date(day)) => Cell::Date(day),
            (Kind::Datetime, Worth::Datetime(second)) => Cell::Datetime(second),
            (
                Kind::String | Kind::Textarea | Kind::Picklist | Kind::Email | Kind::Phone | Kind::Url,
                Worth::Text(text),
            ) if !text.is_empty() => Cell::Computed(text),
            _ => Cell::Null,
        }
    }
}

/// The record that a formula is worked out for.
struct At<'a> {
    store: &'a Store,
    object: ObjectIndex,
    row: u32,
    depth: u32,
}

impl At<'_> {
    fn worth(&self, node: &Node) -> Worth {
        match node {
            Node::Known(worth) => worth.clone(),
            Node::Field { steps, field } => self.field(steps, *field),
            Node::Negative(inner) => match self.worth(inner) {
                Worth::Number(number) => Worth::Number(-number),
                _ => Worth::Null,
            },
            Node::Two(operator, left, right) => two(*operator, self.worth(left), self.worth(right)),
            Node::Call(name, arguments) => self.call(name, arguments),
        }
    }

    fn field(&self, steps: &[FieldIndex], field: FieldIndex) -> Worth {
        let mut at = (self.object, self.row);
        for step in steps {
            match self.store.parent(at.0, at.1, *step) {
                Some(parent) => at = parent,
                None => return Worth::Null,
            }
        }
        match self.store.cell_at_depth(at.0, at.1, field, self.depth + 1) {
            Cell::Null => Worth::Null,
            Cell::Text(text) => Worth::Text(text.to_owned()),
            Cell::Computed(text) => Worth::Text(text),
            Cell::Name(first, last) => Worth::Text(crate::sandbox::salesforce::soql::joined(first, last)),
            Cell::Boolean(value) => Worth::Boolean(value),
            Cell::Integer(number) => Worth::Number(number as f64),
            Cell::Double(number) => Worth::Number(number),
            Cell::Date(day) => Worth::Date(day),
            Cell::Datetime(second) => Worth::Datetime(second),
            Cell::Time(_) => Worth::Null,
            Cell::Id(id) => Worth::Text(id.to_string()),
        }
    }

    fn call(&self, name: &str, arguments: &[Node]) -> Worth {
        let worth = |at: usize| arguments.get(at).map_or(Worth::Null, |node| self.worth(node));
        let number = |run: fn(f64) -> f64| match worth(0) {
            Worth::Number(number) => Worth::Number(run(number)),
            _ => Worth::Null,
        };
        let day = |part: fn(&chrono::NaiveDate) -> u32| match worth(0) {
            Worth::Date(day) => {
                let date = chrono::NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(day));
                date.map_or(Worth::Null, |date| Worth::Number(f64::from(part(&date))))
            }
            _ => Worth::Null,
        };
        match name {
            "ABS" => number(f64::abs),
            "CEILING" => number(f64::ceil),
            "FLOOR" => number(f64::floor),
            "ROUND" => match (worth(0), worth(1)) {
                (Worth::Number(number), Worth::Number(places)) => Worth::Number(rounded(number, places as i32)),
                _ => Worth::Null,
            },
            "AND" => Worth::Boolean(arguments.iter().all(|one| self.worth(one) == Worth::Boolean(true))),
            "OR" => Worth::Boolean(arguments.iter().any(|one| self.worth(one) == Worth::Boolean(true))),
            "NOT" => Worth::Boolean(worth(0) != Worth::Boolean(true)),
            "IF" => worth(if worth(0) == Worth::Boolean(true) { 1 } else { 2 }),
            "ISBLANK" => Worth::Boolean(is_blank(&worth(0))),
            "BLANKVALUE" => {
                let first = worth(0);
                if is_blank(&first) { worth(1) } else { first }
            }
            "ISPICKVAL" => Worth::Boolean(worth(0) == worth(1)),
            "CASE" => {
                let wanted = worth(0);
                let pairs = arguments.len().saturating_sub(2) / 2;
                let found = (0..pairs).find(|pair| worth(1 + pair * 2) == wanted);
                found.map_or_else(|| worth(arguments.len() - 1), |pair| worth(2 + pair * 2))
            }
            "LOWER" => match worth(0) {
                Worth::Text(text) => Worth::Text(text.to_lowercase()),
                _ => Worth::Null,
            },
            "UPPER" => match worth(0) {
                Worth::Text(text) => Worth::Text(text.to_uppercase()),
                _ => Worth::Null,
            },
            "TEXT" => match worth(0) {
                Worth::Null => Worth::Null,
                other => Worth::Text(shown(&other)),
            },
            "TODAY" => Worth::Date(self.store.now.div_euclid(86_400)),
            "NOW" => Worth::Datetime(self.store.now),
            "YEAR" => day(|date| chrono::Datelike::year(date).unsigned_abs()),
            "MONTH" => day(chrono::Datelike::month),
            "DAY" => day(chrono::Datelike::day),
            _ => Worth::Null,
        }
    }
}

fn is_blank(worth: &Worth) -> bool {
    matches!(worth, Worth::Null) || matches!(worth, Worth::Text(text) if text.is_empty())
}

fn rounded(number: f64, places: i32) -> f64 {
    if places >= 0 {
        return format::rounded(number, places.unsigned_abs());
    }
    let step = 10f64.powi(-places);
    (number / step).round() * step
}

fn shown(worth: &Worth) -> String {
    let mut out = Vec::new();
    match worth {
        Worth::Null => {}
        Worth::Text(text) => return text.clone(),
        Worth::Number(number) => return number.to_string(),
        Worth::Boolean(value) => return value.to_string(),
        Worth::Date(day) => format::date(&mut out, *day as i32),
        Worth::Datetime(second) => format::datetime(&mut out, *second, b"Z"),
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn two(operator: Operator, left: Worth, right: Worth) -> Worth {
    let holds = |wanted: fn(std::cmp::Ordering) -> bool| Worth::Boolean(ordered(&left, &right).is_some_and(wanted));
    match operator {
        Operator::Or => Worth::Boolean(left == Worth::Boolean(true) || right == Worth::Boolean(true)),
        Operator::And => Worth::Boolean(left == Worth::Boolean(true) && right == Worth::Boolean(true)),
        Operator::Equal => Worth::Boolean(left == right || (is_blank(&left) && is_blank(&right))),
        Operator::NotEqual => Worth::Boolean(left != right && !(is_blank(&left) && is_blank(&right))),
        Operator::Less => holds(std::cmp::Ordering::is_lt),
        Operator::LessOrEqual => holds(std::cmp::Ordering::is_le),
        Operator::Greater => holds(std::cmp::Ordering::is_gt),
        Operator::GreaterOrEqual => holds(std::cmp::Ordering::is_ge),
        Operator::Join => Worth::Text(shown(&left) + &shown(&right)),
        Operator::Plus => match (left, right) {
            (Worth::Number(left), Worth::Number(right)) => Worth::Number(left + right),
            (Worth::Date(day), Worth::Number(days)) | (Worth::Number(days), Worth::Date(day)) => {
                Worth::Date(day + days.floor() as i64)
            }
            (Worth::Datetime(second), Worth::Number(days)) => Worth::Datetime(second + (days * 86_400.0) as i64),
            (Worth::Text(left), Worth::Text(right)) => Worth::Text(left + &right),
            _ => Worth::Null,
        },
        Operator::Minus => match (left, right) {
            (Worth::Number(left), Worth::Number(right)) => Worth::Number(left - right),
            (Worth::Date(left), Worth::Date(right)) => Worth::Number((left - right) as f64),
            (Worth::Date(day), Worth::Number(days)) => Worth::Date(day - days.floor() as i64),
            (Worth::Datetime(left), Worth::Datetime(right)) => Worth::Number((left - right) as f64 / 86_400.0),
            (Worth::Datetime(second), Worth::Number(days)) => Worth::Datetime(second - (days * 86_400.0) as i64),
            _ => Worth::Null,
        },
        Operator::Times => match (left, right) {
            (Worth::Number(left), Worth::Number(right)) => Worth::Number(left * right),
            _ => Worth::Null,
        },
        Operator::By => match (left, right) {
            (Worth::Number(left), Worth::Number(right)) if right != 0.0 => Worth::Number(left / right),
            _ => Worth::Null,
        },
    }
}

fn ordered(left: &Worth, right: &Worth) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Worth::Number(left), Worth::Number(right)) => left.partial_cmp(right),
        (Worth::Date(left), Worth::Date(right)) | (Worth::Datetime(left), Worth::Datetime(right)) => {
            Some(left.cmp(right))
        }
        (Worth::Text(left), Worth::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
