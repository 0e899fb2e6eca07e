//! A query meets the schema: names become positions, values become tests of the field's type.

use chrono::DateTime;
use chrono::NaiveTime;
use chrono::Utc;

use super::ast::Condition;
use super::ast::Literal;
use super::ast::Name;
use super::ast::Operator;
use super::ast::Query;
use super::ast::Selected;
use super::dates;
use super::evaluate::Check;
use super::evaluate::Test;
use super::like;
use super::like::Pattern;
use super::refusal;
use crate::sandbox::salesforce::access::Access;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::schema::FieldDef;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::Kind;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Schema;
use crate::sandbox::salesforce::schema::Storage;
use crate::sandbox::salesforce::store::Store;

/// Parents that a path may climb.
const LEVELS: usize = 5;

/// A query whose names are all known.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) object: ObjectIndex,
    pub(crate) outputs: Vec<Output>,
    /// Subqueries over children, for REST only.
    pub(crate) children: Vec<Children>,
    /// `SELECT COUNT()`.
    pub(crate) count: bool,
    pub(super) test: Option<Test>,
    pub(super) order: Vec<SortKey>,
    pub(super) limit: Option<u64>,
    pub(super) offset: u64,
}

/// A subquery: the children of each record.
#[derive(Debug)]
pub(crate) struct Children {
    /// The relationship as the schema spells it.
    pub(crate) name: String,
    /// It stands behind so many fields.
    pub(crate) after: usize,
    /// The child's field that names the parent.
    pub(crate) field: FieldIndex,
    pub(crate) bound: Bound,
}

/// One column of the answer.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its name as the schema spells it: `Owner.Email`.
    pub(crate) name: String,
    pub(crate) path: BoundPath,
}

/// A field, maybe of a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundPath {
    /// The reference fields to follow, each with the object that it leads to.
    pub(crate) steps: Vec<(FieldIndex, ObjectIndex)>,
    pub(crate) object: ObjectIndex,
    pub(crate) field: FieldIndex,
}

#[derive(Debug)]
pub(super) struct SortKey {
    pub(super) path: BoundPath,
    pub(super) descending: bool,
    pub(super) nulls_last: bool,
}

impl Bound {
    /// Binds a query to the records it will run on; semi-joins are worked out here.
    ///
    /// # Errors
    /// `INVALID_TYPE`, `INVALID_FIELD`, `MALFORMED_QUERY` with their places.
    pub(crate) fn new(query: &Query, store: &Store, access: &Access, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let name = &query.object;
        let object = store.schema.find(&name.text).filter(|object| access.sees_object(*object));
        let object = object.ok_or_else(|| refusal(&query.text, name.at, "INVALID_TYPE", &unknown_type(&name.text)))?;
        Binder { query, store, access, object, now }.bound()
    }
}

/// The service's sentence about an unknown object.
pub(crate) fn unknown_type(name: &str) -> String {
    format!(
        "sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the \
         '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    )
}

impl BoundPath {
    /// The field at its end.
    pub(crate) fn definition<'a>(&self, schema: &'a Schema) -> &'a FieldDef {
        &schema.objects[self.object].fields[self.field]
    }
}

struct Binder<'a> {
    query: &'a Query,
    store: &'a Store,
    access: &'a Access,
    object: ObjectIndex,
    now: DateTime<Utc>,
}

impl Binder<'_> {
    fn bound(&self) -> Result<Bound, ApiError> {
        let query = self.query;
        let mut outputs = Vec::new();
        let mut children = Vec::new();
        let mut count = false;
        for selected in &query.selected {
            match selected {
                Selected::Field(name) => {
                    let output = self.output(name)?;
                    if outputs.iter().any(|known: &Output| known.name == output.name) {
                        let text = format!("duplicate field selected: {}", name.text);
                        return Err(self.refuse(name.at, "INVALID_FIELD", &text));
                    }
                    outputs.push(output);
                }
                Selected::Count(_) => count = true,
                Selected::Fields(which) => outputs.extend(self.all_fields(which)?),
                Selected::Function(name) => {
                    let text = format!("this sandbox does not know the function {}", name.text);
                    return Err(self.refuse(name.at, "MALFORMED_QUERY", &text));
                }
                Selected::Subquery(inner) => children.push(self.children(inner, outputs.len())?),
                Selected::TypeOf(at) => {
                    return Err(self.refuse(*at, "MALFORMED_QUERY", "this sandbox does not know TYPEOF"));
                }
            }
        }
        if count && query.selected.len() > 1 {
            return Err(self.refuse(7, "MALFORMED_QUERY", "COUNT() must be the only element in the SELECT list"));
        }
        if let Some(at) = query.group_by {
            return Err(self.refuse(at, "MALFORMED_QUERY", "this sandbox does not know GROUP BY"));
        }
        if let Some((offset, at)) = query.offset
            && offset > 2000
        {
            return Err(self.refuse(at, "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"));
        }
        let test = query.condition.as_ref().map(|condition| self.test(condition)).transpose()?;
        let mut order = Vec::new();
        for item in &query.order {
            let path = self.path(&item.field)?;
            let field = path.definition(self.schema());
            if !field.filterable() || field.kind == Kind::Multipicklist {
                let text = format!("field '{}' can not be sorted in a query call", item.field.text);
                return Err(self.refuse(item.field.at, "MALFORMED_QUERY", &text));
            }
            order.push(SortKey { path, descending: item.descending, nulls_last: item.nulls_last });
        }
        let offset = query.offset.map_or(0, |(offset, _)| offset);
        Ok(Bound { object: self.object, outputs, children, count, test, order, limit: query.limit, offset })
    }

    /// A subquery over the children behind a relationship.
    fn children(&self, inner: &Query, after: usize) -> Result<Children, ApiError> {
        let name = &inner.object;
        let sees = |(child, field): &(ObjectIndex, FieldIndex)| {
            self.access.sees_object(*child) && self.access.sees(*child, *field)
        };
        let found = self.schema().child_relationship(self.object, &name.text).filter(sees);
        let (object, field) = found.ok_or_else(|| {
            let text = format!(
                "Didn't understand relationship '{}' in FROM part of query call. If you are attempting to use a custom \
                 relationship, be sure to append the '__r' after the custom relationship name. Please reference your \
                 WSDL or the describe call for the appropriate names.",
                name.text
            );
            self.refuse(name.at, "INVALID_TYPE", &text)
        })?;
        let bound = Binder { query: inner, object, ..*self }.bound()?;
        if bound.count {
            return Err(self.refuse(name.at, "MALFORMED_QUERY", "COUNT() is not supported in a subquery"));
        }
        let spelled = self.schema().objects[object].fields[field].child_relationship.clone();
        Ok(Children { name: spelled.unwrap_or_default(), after, field, bound })
    }

    fn schema(&self) -> &Schema {
        &self.store.schema
    }

    fn refuse(&self, at: usize, code: &'static str, message: &str) -> ApiError {
        refusal(&self.query.text, at, code, message)
    }

    fn output(&self, name: &Name) -> Result<Output, ApiError> {
        let path = self.path(name)?;
        Ok(Output { name: self.spelling(&path), path })
    }

    fn spelling(&self, path: &BoundPath) -> String {
        let mut object = self.object;
        let mut text = String::new();
        for (field, target) in &path.steps {
            let field = &self.schema().objects[object].fields[*field];
            text.push_str(field.relationship.as_deref().unwrap_or_default());
            text.push('.');
            object = *target;
        }
        text + &path.definition(self.schema()).name
    }

    fn all_fields(&self, which: &Name) -> Result<Vec<Output>, ApiError> {
        let word = which.text.to_ascii_uppercase();
        if !["ALL", "STANDARD", "CUSTOM"].contains(&word.as_str()) {
            return Err(self.refuse(which.at, "MALFORMED_QUERY", &format!("unexpected token: '{}'", which.text)));
        }
        if word != "STANDARD" && self.query.limit.is_none_or(|limit| limit > 200) {
            let text = "The SOQL FIELDS function must have a LIMIT of at most 200";
            return Err(self.refuse(which.at, "MALFORMED_QUERY", text));
        }
        let fields = &self.schema().objects[self.object].fields;
        let wanted = fields.iter().enumerate().filter(|(at, field)| {
            self.access.sees(self.object, *at)
                && match word.as_str() {
                    "STANDARD" => !field.name.ends_with("__c"),
                    "CUSTOM" => field.name.ends_with("__c"),
                    _ => true,
                }
        });
        Ok(wanted
            .map(|(at, field)| Output {
                name: field.name.clone(),
                path: BoundPath { steps: Vec::new(), object: self.object, field: at },
            })
            .collect())
    }

    fn path(&self, name: &Name) -> Result<BoundPath, ApiError> {
        let mut parts: Vec<&str> = name.text.split('.').collect();
        let object_name = &self.schema().objects[self.object].name;
        let is_own = |part: &str| {
            part.eq_ignore_ascii_case(object_name)
                || self.query.alias.as_deref().is_some_and(|alias| part.eq_ignore_ascii_case(alias))
        };
        // `Account.Name` on a Contact is a parent; on an Account it is its own field.
        if parts.len() > 1 && is_own(parts[0]) && self.schema().objects[self.object].relationship(parts[0]).is_none() {
            parts.remove(0);
        }
        let last = parts.pop().unwrap_or_default();
        let mut object = self.object;
        let mut steps = Vec::new();
        for part in parts {
            let definition = &self.schema().objects[object];
            let step = definition.relationship(part).filter(|field| self.access.sees(object, *field));
            let step = step.and_then(|field| {
                let target = self.schema().step(&definition.fields[field])?;
                self.access.sees_object(target).then_some((field, target))
            });
            let step = step.ok_or_else(|| {
                let text = format!(
                    "Didn't understand relationship '{part}' in field path. If you are attempting to use a custom \
                     relationship, be sure to append the '__r' after the custom relationship name. Please reference \
                     your WSDL or the describe call for the appropriate names."
                );
                self.refuse(name.at, "INVALID_FIELD", &text)
            })?;
            steps.push(step);
            object = step.1;
        }
        if steps.len() > LEVELS {
            let text = "maximum number of levels of child-to-parent relationships exceeded: 5";
            return Err(self.refuse(name.at, "MALFORMED_QUERY", text));
        }
        let definition = &self.schema().objects[object];
        let field = definition.find(last).filter(|field| self.sees(object, *field)).ok_or_else(|| {
            let text = format!(
                "No such column '{last}' on entity '{}'. If you are attempting to use a custom field, be sure to append \
                 the '__c' after the custom field name. Please reference your WSDL or the describe call for the \
                 appropriate names.",
                definition.name
            );
            self.refuse(name.at, "INVALID_FIELD", &text)
        })?;
        Ok(BoundPath { steps, object, field })
    }

    /// Whether the user sees a field; one of `Name`, whether it is hidden at none of the objects that share it.
    fn sees(&self, object: ObjectIndex, field: FieldIndex) -> bool {
        if !self.schema().is_name(object) {
            return self.access.sees(object, field);
        }
        let name = &self.schema().objects[object].fields[field].name;
        let users = self.schema().find("User").into_iter().chain(self.schema().find("Group"));
        users
            .filter_map(|owner| Some((owner, self.schema().objects[owner].find(name)?)))
            .all(|(owner, field)| self.access.sees(owner, field))
    }

    fn test(&self, condition: &Condition) -> Result<Test, ApiError> {
        let all = |conditions: &[Condition]| conditions.iter().map(|one| self.test(one)).collect::<Result<Vec<_>, _>>();
        Ok(match condition {
            Condition::And(conditions) => Test::And(all(conditions)?),
            Condition::Or(conditions) => Test::Or(all(conditions)?),
            Condition::Not(inner) => Test::Not(Box::new(self.test(inner)?)),
            Condition::Compare { field, operator, value, at } => {
                let path = self.filterable(field)?;
                self.compare(path, field, *operator, value, *at)?
            }
            Condition::In { field, negated, values, at } => {
                let path = self.filterable(field)?;
                let any = values
                    .iter()
                    .map(|value| self.compare(path.clone(), field, Operator::Equal, value, *at))
                    .collect::<Result<Vec<_>, _>>()?;
                Test::any_of(any).negated_if(*negated)
            }
            Condition::InQuery { field, negated, query } => self.semi_join(field, query)?.negated_if(*negated),
            Condition::Includes { field, negated, values } => {
                let path = self.filterable(field)?;
                if path.definition(self.schema()).kind != Kind::Multipicklist {
                    let text = format!("field '{}' is not a multi-select picklist", field.text);
                    return Err(self.refuse(field.at, "INVALID_QUERY_FILTER_OPERATOR", &text));
                }
                let any = values.iter().map(|value| match value {
                    Literal::Text(text) => Ok(Test::Leaf(path.clone(), Check::Includes(includes(text)))),
                    _ => Err(self.wrong_type(field, "string", true)),
                });
                Test::Or(any.collect::<Result<Vec<_>, _>>()?).negated_if(*negated)
            }
        })
    }

    fn filterable(&self, name: &Name) -> Result<BoundPath, ApiError> {
        let path = self.path(name)?;
        if path.definition(self.schema()).filterable() {
            return Ok(path);
        }
        let text = format!("field '{}' can not be filtered in a query call", name.text);
        Err(self.refuse(name.at, "INVALID_FIELD", &text))
    }

    fn wrong_type(&self, name: &Name, wanted: &str, quoted: bool) -> ApiError {
        let not = if quoted { "" } else { "not " };
        let text = format!(
            "value of filter criterion for field '{}' must be of type {wanted} and should {not}be enclosed in quotes",
            name.text
        );
        self.refuse(name.at, "INVALID_FIELD", &text)
    }

    fn compare(
        &self,
        path: BoundPath,
        name: &Name,
        operator: Operator,
        value: &Literal,
        at: usize,
    ) -> Result<Test, ApiError> {
        let field = path.definition(self.schema());
        if operator == Operator::NotEqual {
            return Ok(Test::Not(Box::new(self.compare(path, name, Operator::Equal, value, at)?)));
        }
        let is_text = field.is_text() && field.kind != Kind::Reference;
        if operator == Operator::Like && !is_text {
            let text = format!("invalid operator on {} field", super::super::describe::type_name(field.kind));
            return Err(self.refuse(name.at, "INVALID_QUERY_FILTER_OPERATOR", &text));
        }
        if *value == Literal::Null {
            let check = match field.storage {
                // A boolean is never null; the service reads null as false.
                Storage::Boolean => Check::Boolean(false),
                _ => Check::Null,
            };
            return Ok(if operator == Operator::Equal { Test::Leaf(path, check) } else { Test::Or(Vec::new()) });
        }
        let check = match (&field.storage, value) {
            _ if field.kind == Kind::Reference || field.kind == Kind::Id => {
                let Literal::Text(text) = value else { return Err(self.wrong_type(name, "ID", true)) };
                self.id_check(&path, name, operator, text)?
            }
            (Storage::Boolean, Literal::Boolean(value)) if operator == Operator::Equal => Check::Boolean(*value),
            (Storage::Boolean, Literal::Boolean(_)) => {
                let text = "invalid operator on boolean field";
                return Err(self.refuse(name.at, "INVALID_QUERY_FILTER_OPERATOR", text));
            }
            (Storage::Boolean, _) => return Err(self.wrong_type(name, "boolean", false)),
            (Storage::Integer, Literal::Integer(value)) => whole(operator, *value, *value),
            (Storage::Integer, _) => return Err(self.wrong_type(name, "int", false)),
            (Storage::Double, Literal::Integer(value)) => Check::Number(operator, *value as f64),
            (Storage::Double, Literal::Number(value)) => Check::Number(operator, *value),
            (Storage::Double, _) => return Err(self.wrong_type(name, "double", false)),
            (Storage::Date, Literal::Date(day)) => whole(operator, i64::from(*day), i64::from(*day)),
            (Storage::Date, Literal::Period(period, count)) => {
                let (first, last) = self.period(period, *count, at)?;
                whole(operator, first, last)
            }
            (Storage::Date, _) => return Err(self.wrong_type(name, "date", false)),
            (Storage::Datetime, Literal::Datetime(micros)) => moment(operator, *micros),
            (Storage::Datetime, Literal::Period(period, count)) => {
                let (first, last) = self.period(period, *count, at)?;
                whole(operator, first * 86_400, last * 86_400 + 86_399)
            }
            (Storage::Datetime, _) => return Err(self.wrong_type(name, "dateTime", false)),
            (Storage::Time, Literal::Text(text)) => {
                let value = format::parse_time(text).ok_or_else(|| self.wrong_type(name, "time", false))?;
                whole(operator, value, value)
            }
            (Storage::Time, _) => return Err(self.wrong_type(name, "time", false)),
            (_, Literal::Text(text)) if operator == Operator::Like => Check::Like(Pattern::new(text)),
            (_, Literal::Text(text)) => {
                let text = like::plain(text);
                if text.chars().count() > 4000 {
                    return Err(self.refuse(
                        at,
                        "MALFORMED_QUERY",
                        "filter value cannot be longer than 4000 characters",
                    ));
                }
                match operator {
                    // Empty text is null in the service.
                    Operator::Equal if text.is_empty() => Check::Null,
                    Operator::Equal => Check::Text([text.to_lowercase()].into()),
                    _ => Check::TextOrder(operator, text.to_lowercase()),
                }
            }
            (_, _) => return Err(self.wrong_type(name, "string", true)),
        };
        Ok(Test::Leaf(path, check))
    }

    /// First and last day of a date literal.
    fn period(&self, name: &str, count: Option<i64>, at: usize) -> Result<(i64, i64), ApiError> {
        let range = dates::range(name, count, self.now.date_naive());
        let (first, end) = range.ok_or_else(|| self.refuse(at, "MALFORMED_QUERY", "date literal is out of range"))?;
        let day = |date: chrono::NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp().div_euclid(86_400);
        Ok((day(first), day(end) - 1))
    }

    fn id_check(&self, path: &BoundPath, name: &Name, operator: Operator, text: &str) -> Result<Check, ApiError> {
        let field = path.definition(self.schema());
        if text.is_empty() {
            return Ok(Check::Null);
        }
        let id = Id::parse(text).ok_or_else(|| {
            self.refuse(name.at, "INVALID_QUERY_FILTER_OPERATOR", &format!("invalid ID field: {text}"))
        })?;
        let target = match field.storage {
            Storage::Id if self.schema().is_name(path.object) => {
                let text = id.as_str().to_lowercase();
                return Ok(match operator {
                    Operator::Equal => Check::Text([text].into()),
                    _ => Check::TextOrder(operator, text),
                });
            }
            Storage::Id => path.object,
            Storage::Row => field.targets[0],
            _ if operator == Operator::Equal => return Ok(Check::Text([id.as_str().to_lowercase()].into())),
            _ => return Ok(Check::TextOrder(operator, id.as_str().to_lowercase())),
        };
        let prefix = self.schema().objects[target].key_prefix();
        let first = Id::new(prefix, 0);
        // Ids of one object sort like their rows; a stranger lies before or behind all of them.
        let number = match id.number().filter(|_| id.prefix() == prefix) {
            Some(number) => i64::try_from(number).unwrap_or(i64::MAX),
            None if operator == Operator::Equal => return Ok(Check::Rows(i64::MAX, i64::MIN)),
            None if id < first => -1,
            None => i64::MAX,
        };
        Ok(match operator {
            Operator::Less => Check::Rows(0, number.saturating_sub(1)),
            Operator::LessOrEqual => Check::Rows(0, number),
            Operator::Greater => Check::Rows(number.saturating_add(1), i64::MAX),
            Operator::GreaterOrEqual => Check::Rows(number, i64::MAX),
            _ => Check::Rows(number, number),
        })
    }

    fn semi_join(&self, name: &Name, query: &Query) -> Result<Test, ApiError> {
        let path = self.filterable(name)?;
        let inner = Bound::new(query, self.store, self.access, self.now)?;
        let wrong = |text: &str| self.refuse(name.at, "MALFORMED_QUERY", text);
        let [output] = inner.outputs.as_slice() else {
            return Err(wrong("Semi join sub-selects can only select one field"));
        };
        let target = |path: &BoundPath| {
            let field = path.definition(self.schema());
            match field.storage {
                Storage::Id => Some(path.object),
                Storage::Row => Some(field.targets[0]),
                _ => None,
            }
        };
        let rows = inner.rows(self.store, false);
        let found = rows.iter().filter_map(|row| super::evaluate::row_of(self.store, inner.object, *row, &output.path));
        let kind = target(&output.path);
        let own = path.definition(self.schema());
        if let (Storage::Text, Kind::Reference, Some(kind)) = (&own.storage, own.kind, kind)
            && own.targets.contains(&kind)
        {
            let ids = found.map(|row| self.store.id(kind, row).as_str().to_lowercase());
            return Ok(Test::Leaf(path, Check::Text(ids.collect())));
        }
        if target(&path).is_none() || target(&path) != kind {
            return Err(wrong("The left operand in a semi join must be an ID or reference of the selected kind"));
        }
        Ok(Test::Leaf(path, Check::RowSet(found.collect())))
    }
}

fn includes(text: &str) -> Vec<String> {
    like::plain(text).split(';').map(str::to_lowercase).collect()
}

/// A test of a whole number against the values from `first` to `last`, which count as one.
fn whole(operator: Operator, first: i64, last: i64) -> Check {
    match operator {
        Operator::Less => Check::Whole(i64::MIN + 1, first.saturating_sub(1)),
        Operator::LessOrEqual => Check::Whole(i64::MIN + 1, last),
        Operator::Greater => Check::Whole(last.saturating_add(1), i64::MAX),
        Operator::GreaterOrEqual => Check::Whole(first, i64::MAX),
        _ => Check::Whole(first, last),
    }
}

/// A test of stored seconds against a literal with fractions of a second.
fn moment(operator: Operator, micros: i64) -> Check {
    let floor = micros.div_euclid(1_000_000);
    let exact = micros.rem_euclid(1_000_000) == 0;
    let ceiling = floor + i64::from(!exact);
    match operator {
        Operator::Less => Check::Whole(i64::MIN + 1, ceiling - 1),
        Operator::LessOrEqual => Check::Whole(i64::MIN + 1, floor),
        Operator::Greater => Check::Whole(floor + 1, i64::MAX),
        Operator::GreaterOrEqual => Check::Whole(ceiling, i64::MAX),
        _ if exact => Check::Whole(floor, floor),
        _ => Check::Whole(i64::MAX, i64::MIN),
    }
}
