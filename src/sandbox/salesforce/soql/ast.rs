//! What a query says, before the schema is asked. Every name keeps its place for messages.

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// As it was sent.
    pub(crate) text: String,
    pub(crate) selected: Vec<Selected>,
    pub(crate) object: Name,
    pub(crate) alias: Option<String>,
    pub(crate) condition: Option<Condition>,
    pub(crate) group_by: Option<usize>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: Option<(u64, usize)>,
}

/// A name and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: usize,
}

/// One item of the field list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Selected {
    Field(Name),
    /// `COUNT()`.
    Count(usize),
    /// `FIELDS(ALL)`, `FIELDS(STANDARD)`, `FIELDS(CUSTOM)`.
    Fields(Name),
    /// Any other function, such as `MAX(CreatedDate)`.
    Function(Name),
    /// `(SELECT … FROM Contacts)`.
    Subquery(Box<Query>),
    /// `TYPEOF … END`.
    TypeOf(usize),
}

/// One item of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) field: Name,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Compare {
        field: Name,
        operator: Operator,
        value: Literal,
        at: usize,
    },
    In {
        field: Name,
        negated: bool,
        values: Vec<Literal>,
        at: usize,
    },
    InQuery {
        field: Name,
        negated: bool,
        query: Box<Query>,
    },
    /// INCLUDES or, negated, EXCLUDES, on multi-select picklists.
    Includes {
        field: Name,
        negated: bool,
        values: Vec<Literal>,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    /// Unescaped text. `\_` and `\%` stay as they are: only LIKE gives them a meaning.
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Null,
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970.
    Datetime(i64),
    /// `TODAY`, `LAST_N_DAYS:3`: name in capitals and number.
    Period(String, Option<i64>),
}
