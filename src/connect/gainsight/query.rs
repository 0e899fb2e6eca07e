//! The query call's body, typed.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// Most rows that one query returns (gainsight-api §2.5).
pub const PAGE_ROWS: u32 = 5_000;

/// A query of one object: all conditions must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    select: Vec<String>,
    conditions: Vec<Condition>,
    any: bool,
    order_by: Vec<(String, &'static str)>,
    limit: Option<u32>,
    offset: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    field: String,
    operator: Operator,
    values: Vec<Value>,
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// One of the values.
    In,
    /// Empty.
    IsNull,
}

impl Operator {
    fn name(self) -> &'static str {
        match self {
            Self::Eq => "EQ",
            Self::Gt => "GT",
            Self::Gte => "GTE",
            Self::Lt => "LT",
            Self::In => "IN",
            Self::IsNull => "IS_NULL",
        }
    }
}

impl Query {
    /// Reads these fields.
    pub fn select<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        Self { select: fields.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a condition.
    #[must_use]
    pub fn filter(mut self, field: impl Into<String>, operator: Operator, values: Vec<Value>) -> Self {
        self.conditions.push(Condition { field: field.into(), operator, values });
        self
    }

    /// One condition is enough.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Sorts by `field`, ascending.
    #[must_use]
    pub fn order_by(mut self, field: impl Into<String>) -> Self {
        self.order_by.push((field.into(), "asc"));
        self
    }

    /// At most so many rows.
    #[must_use]
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Leaves out the first rows.
    #[must_use]
    pub fn offset(mut self, rows: u32) -> Self {
        self.offset = rows;
        self
    }

    /// The body as it is sent to the query call.
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.criteria();
        body.insert("limit".into(), json!(self.limit.unwrap_or(PAGE_ROWS).min(PAGE_ROWS)));
        body.insert("offset".into(), json!(self.offset));
        Value::Object(body).to_string().into_bytes()
    }

    /// The body as it is sent to a bulk export, whose limit is its own (1,000,000 by default).
    pub fn export_body(&self) -> Vec<u8> {
        let mut body = self.criteria();
        if let Some(limit) = self.limit {
            body.insert("limit".into(), json!(limit));
        }
        Value::Object(body).to_string().into_bytes()
    }

    fn criteria(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("select".into(), json!(self.select));
        if !self.conditions.is_empty() {
            let aliases: Vec<_> = (0..self.conditions.len()).map(alias).collect();
            let conditions: Vec<_> = self
                .conditions
                .iter()
                .zip(&aliases)
                .map(|(condition, alias)| {
                    json!({"name": condition.field, "alias": alias, "value": condition.values, "operator": condition.operator.name()})
                })
                .collect();
            let expression = aliases.join(if self.any { " OR " } else { " AND " });
            body.insert("where".into(), json!({"conditions": conditions, "expression": expression}));
        }
        if !self.order_by.is_empty() {
            let order: Map<_, _> = self.order_by.iter().map(|(field, way)| (field.clone(), json!(way))).collect();
            body.insert("orderBy".into(), Value::Object(order));
        }
        body
    }
}

/// `A` … `Z`, then `A1` …: samples show single letters, so those come first.
fn alias(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    match index / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_documented_one() {
        let query = Query::select(["Gsid", "Name"])
            .filter("Gsid", Operator::Gt, vec![json!("1P02")])
            .filter("ModifiedDate", Operator::Gte, vec![json!("2026-01-01T00:00:00Z")])
            .order_by("Gsid");
        let body: Value = serde_json::from_slice(&query.body()).unwrap();
        assert_eq!(body["where"]["expression"], "A AND B");
        assert_eq!(body["where"]["conditions"][0]["operator"], "GT");
        assert_eq!(body["where"]["conditions"][1]["value"], json!(["2026-01-01T00:00:00Z"]));
        assert_eq!(body["orderBy"], json!({"Gsid": "asc"}));
        assert_eq!(body["limit"], 5000);
    }

    #[test]
    fn values_cannot_leave_their_place() {
        let query = Query::select(["Gsid"]).filter("Name", Operator::Eq, vec![json!("\"}],\"x\":[{\"")]);
        let body: Value = serde_json::from_slice(&query.body()).unwrap();
        assert_eq!(body["where"]["conditions"][0]["value"][0], "\"}],\"x\":[{\"");
    }
}
