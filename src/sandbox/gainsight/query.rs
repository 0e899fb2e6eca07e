//! Queries as they come in (gainsight-api §2.5), checked and made ready to run.

use std::fmt;

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::Value as Json;

use super::catalog::Catalog;
use super::catalog::Kind;
use super::catalog::Path;
use super::catalog::Role;
use super::cell::scaled;
use super::dates::parse_date;
use super::dates::parse_datetime;
use super::expression::Expression;
use super::reply::INVALID_FIELD;
use super::switches::Switches;

/// The most rows that one read gives.
pub(super) const MOST_ROWS: usize = 5000;

/// The body of a query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryBody {
    #[serde(default)]
    pub(super) select: Option<Vec<String>>,
    #[serde(default, rename = "where")]
    pub(super) filter: Option<FilterBody>,
    #[serde(default)]
    pub(super) order_by: Option<OrderBody>,
    #[serde(default)]
    pub(super) limit: Option<i64>,
    #[serde(default)]
    pub(super) offset: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FilterBody {
    #[serde(default)]
    conditions: Vec<ConditionBody>,
    #[serde(default)]
    expression: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ConditionBody {
    name: String,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    value: Option<Json>,
    operator: String,
}

/// Field → `asc` or `desc`, in the order given.
#[derive(Debug, Default)]
pub(super) struct OrderBody(Vec<(String, String)>);

impl<'de> Deserialize<'de> for OrderBody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = OrderBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of field and direction")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderBody, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(OrderBody(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A query that can run.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) object: usize,
    pub(super) select: Vec<Path>,
    pub(super) tests: Vec<Test>,
    pub(super) expression: Option<Expression>,
    pub(super) order: Vec<(Path, bool)>,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// One condition.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) path: Path,
    pub(super) kind: Kind,
    pub(super) op: Op,
}

/// What a condition asks.
#[derive(Debug, PartialEq)]
pub(super) enum Op {
    Equal(Probe),
    NotEqual(Probe),
    /// The value is less (or equal, if so said) than the probe.
    Less(Probe, bool),
    Greater(Probe, bool),
    Between(Probe, Probe),
    In(Vec<Probe>),
    NotIn(Vec<Probe>),
    Contains(Vec<u8>, bool),
    NotContains(Vec<u8>, bool),
    Starts(Vec<u8>, bool),
    Ends(Vec<u8>, bool),
    IsNull,
    IsNotNull,
    /// One of these dropdown values is among those of the field.
    Includes(Vec<usize>),
    Excludes(Vec<usize>),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Probe {
    Text(Vec<u8>),
    Int(i64),
    Bool(bool),
}

/// A query that is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// No field is selected.
    pub(super) no_select: bool,
    pub(super) text: String,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { no_select: false, text: text.into() })
}

/// Checks a query on an object. `most` is the highest limit.
pub(super) fn compile(
    catalog: &Catalog,
    object: usize,
    body: QueryBody,
    switches: &Switches,
    default: usize,
    most: usize,
) -> Result<Query, Refusal> {
    let names = body.select.unwrap_or_default();
    if names.is_empty() {
        return Err(Refusal { no_select: true, text: format!("{INVALID_FIELD} (select = null).") });
    }
    let path = |name: &str| {
        catalog
            .path(object, name)
            .ok_or_else(|| Refusal { no_select: false, text: format!("{INVALID_FIELD} (name = {name}).") })
    };
    let select = names.iter().map(|name| path(name)).collect::<Result<Vec<_>, _>>()?;
    let mut tests = Vec::new();
    let mut aliases = Vec::new();
    let mut written = None;
    if let Some(filter) = body.filter {
        for condition in filter.conditions {
            let path = path(&condition.name)?;
            aliases.push(condition.alias.unwrap_or_default());
            tests.push(test(catalog, path, &condition.operator, condition.value.as_ref(), switches)?);
        }
        written = filter.expression.filter(|text| !text.trim().is_empty());
    }
    if let Some(text) = written.as_ref().filter(|text| !switches.parentheses && text.contains(['(', ')'])) {
        return refuse(format!("{INVALID_FIELD} (expression = {text})."));
    }
    let expression = match written {
        Some(text) => match Expression::parse(&text, &aliases) {
            Ok(expression) => Some(expression),
            Err(wrong) => return refuse(format!("{INVALID_FIELD} (expression = {wrong}).")),
        },
        None => Expression::all(tests.len()),
    };
    let mut order = Vec::new();
    for (name, direction) in body.order_by.unwrap_or_default().0 {
        let path = path(&name)?;
        if catalog.objects[path.object].fields[path.field].kind == Kind::RichText {
            return refuse(format!("{INVALID_FIELD} (orderBy = {name})."));
        }
        match direction.to_ascii_lowercase().as_str() {
            "asc" => order.push((path, false)),
            "desc" => order.push((path, true)),
            _ => return refuse(format!("{INVALID_FIELD} (orderBy = {direction}).")),
        }
    }
    let limit = match body.limit {
        None => default,
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) if limit <= most => limit,
            _ => return refuse(format!("limit {limit} is not allowed, the maximum limit is {most}")),
        },
    };
    let Ok(offset) = usize::try_from(body.offset.unwrap_or(0)) else {
        return refuse(format!("{INVALID_FIELD} (offset = {}).", body.offset.unwrap_or(0)));
    };
    if switches.max_offset.is_some_and(|most| offset > most) {
        return refuse(format!("{INVALID_FIELD} (offset = {offset})."));
    }
    Ok(Query { object, select, tests, expression, order, limit, offset })
}

/// Groups of types for which the page lists operators.
fn listed(kind: Kind, operator: &str) -> bool {
    let comparison = matches!(operator, "EQ" | "NE" | "GT" | "GTE" | "LT" | "LTE");
    let null = matches!(operator, "IS_NULL" | "IS_NOT_NULL");
    let text = matches!(operator, "CONTAINS" | "DOES_NOT_CONTAINS" | "STARTS_WITH" | "ENDS_WITH");
    let among = matches!(operator, "IN" | "NOT_IN");
    match kind {
        Kind::Boolean => matches!(operator, "EQ" | "NE"),
        Kind::Date | Kind::DateTime => comparison || null || operator == "BTW",
        Kind::Number | Kind::Currency | Kind::Percentage => comparison || null || among,
        Kind::Picklist => matches!(operator, "EQ" | "NE" | "INCLUDES" | "EXCLUDES") || text || among || null,
        Kind::Multi => null || matches!(operator, "INCLUDES" | "EXCLUDES"),
        _ => comparison || null || text || among,
    }
}

fn test(
    catalog: &Catalog,
    path: Path,
    operator: &str,
    value: Option<&Json>,
    switches: &Switches,
) -> Result<Test, Refusal> {
    let field = &catalog.objects[path.object].fields[path.field];
    let kind = field.kind;
    let operator = match operator.to_ascii_uppercase().as_str() {
        "NOT IN" | "NIN" => "NOT_IN".to_owned(),
        other => other.to_owned(),
    };
    let of_text = !matches!(kind, Kind::Number | Kind::Currency | Kind::Percentage | Kind::Picklist);
    let refused = !switches.in_for_texts && of_text && matches!(operator.as_str(), "IN" | "NOT_IN");
    if refused || (switches.strict_operators && !listed(kind, &operator)) {
        return refuse(format!("{INVALID_FIELD} (operator = {operator}, name = {}).", field.name));
    }
    let values: &[Json] = match value {
        None => &[],
        Some(Json::Array(values)) => values,
        Some(other) => {
            return refuse(format!("{INVALID_FIELD} (value = {other}, name = {}: an array is expected).", field.name));
        }
    };
    let wrong = |value: &Json| Refusal {
        no_select: false,
        text: format!(
            "{INVALID_FIELD} ({} = {}).",
            field.name,
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        ),
    };
    let probe = |value: &Json| probe(catalog, &path, value).ok_or_else(|| wrong(value));
    let one = || match values {
        [value] => probe(value),
        _ => refuse(format!("{INVALID_FIELD} (operator = {operator}, name = {}: one value is expected).", field.name)),
    };
    let text = || match values {
        [Json::String(text)] if switches.text_operators_ignore_case => Ok(text.to_lowercase().into_bytes()),
        [Json::String(text)] => Ok(text.clone().into_bytes()),
        _ => refuse(format!("{INVALID_FIELD} (operator = {operator}, name = {}: one text is expected).", field.name)),
    };
    let items = || {
        let category = field.category.unwrap_or(usize::MAX);
        values
            .iter()
            .map(|value| value.as_str().and_then(|text| catalog.item(category, text)).ok_or_else(|| wrong(value)))
            .collect::<Result<Vec<_>, _>>()
    };
    let ignore = switches.text_operators_ignore_case;
    let op = match operator.as_str() {
        "EQ" => Op::Equal(one()?),
        "NE" => Op::NotEqual(one()?),
        "LT" => Op::Less(one()?, false),
        "LTE" => Op::Less(one()?, true),
        "GT" => Op::Greater(one()?, false),
        "GTE" => Op::Greater(one()?, true),
        "BTW" => match values {
            [from, to] => Op::Between(probe(from)?, probe(to)?),
            _ => {
                return refuse(format!(
                    "{INVALID_FIELD} (operator = BTW, name = {}: two values are expected).",
                    field.name
                ));
            }
        },
        "IN" | "NOT_IN" if values.is_empty() => {
            return refuse(format!("{INVALID_FIELD} (operator = {operator}, name = {}: no value).", field.name));
        }
        "IN" => Op::In(values.iter().map(probe).collect::<Result<_, _>>()?),
        "NOT_IN" => Op::NotIn(values.iter().map(probe).collect::<Result<_, _>>()?),
        "CONTAINS" => Op::Contains(text()?, ignore),
        "DOES_NOT_CONTAINS" => Op::NotContains(text()?, ignore),
        "STARTS_WITH" => Op::Starts(text()?, ignore),
        "ENDS_WITH" => Op::Ends(text()?, ignore),
        "IS_NULL" => Op::IsNull,
        "IS_NOT_NULL" => Op::IsNotNull,
        "INCLUDES" => Op::Includes(items()?),
        "EXCLUDES" => Op::Excludes(items()?),
        _ => return refuse(format!("{INVALID_FIELD} (operator = {operator}).")),
    };
    Ok(Test { path, kind, op })
}

/// A value of a condition as the field compares.
fn probe(catalog: &Catalog, path: &Path, value: &Json) -> Option<Probe> {
    let field = &catalog.objects[path.object].fields[path.field];
    match (field.kind, value) {
        (Kind::Boolean, Json::Bool(flag)) => Some(Probe::Bool(*flag)),
        (Kind::Boolean, Json::String(text)) => match text.as_str() {
            "true" | "TRUE" => Some(Probe::Bool(true)),
            "false" | "FALSE" => Some(Probe::Bool(false)),
            _ => None,
        },
        (Kind::Date, Json::String(text)) => parse_date(text).map(Probe::Int),
        (Kind::DateTime, Json::String(text)) => parse_datetime(text).map(Probe::Int),
        (kind, Json::Number(number)) if kind.is_number() => scaled(&number.to_string(), field.decimals).map(Probe::Int),
        (kind, Json::String(text)) if kind.is_number() => scaled(text.trim(), field.decimals).map(Probe::Int),
        // A label that does not exist is no fault: nothing has it.
        (Kind::Picklist, Json::String(text)) => {
            let item = field.category.and_then(|category| catalog.item(category, text));
            Some(item.map_or_else(|| Probe::Text(text.clone().into_bytes()), |item| Probe::Int(item as i64)))
        }
        (_, Json::String(text)) => Some(Probe::Text(text.clone().into_bytes())),
        _ => None,
    }
}

impl Query {
    /// Whether records come in the order of their ids: `Some(true)` if backwards.
    pub(super) fn by_id(&self, catalog: &Catalog) -> Option<bool> {
        match self.order.as_slice() {
            [] => Some(false),
            [(path, backwards)] if is_own_id(catalog, path) => Some(*backwards),
            _ => None,
        }
    }
}

/// Whether a path is the record's own id.
pub(super) fn is_own_id(catalog: &Catalog, path: &Path) -> bool {
    path.hops.is_empty() && catalog.objects[path.object].fields[path.field].role == Role::Gsid
}
