//! The values of a record: checked against their fields before any is written.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Given;
use super::NULL;
use super::Row;
use super::Target;
use super::Writer;
use crate::sandbox::salesforce::describe::type_name;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::format;
use crate::sandbox::salesforce::ids::Id;
use crate::sandbox::salesforce::schema::FieldDef;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::Kind;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Storage;
use crate::sandbox::salesforce::store::Store;
use crate::sandbox::salesforce::store::Value;

/// A checked value with its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Checked {
    Text(String),
    Plain(Value<'static>),
}

impl Checked {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Plain(value) => *value,
        }
    }
}

impl Writer<'_> {
    /// Checks all values of a record; `row` is the one that they change.
    pub(super) fn check(
        &mut self,
        object: ObjectIndex,
        values: &Row<'_>,
        row: Option<u32>,
    ) -> Result<Vec<(FieldIndex, Checked)>, ApiError> {
        let schema = Arc::clone(&self.store.schema);
        let definition = &schema.objects[object];
        let mut checked: Vec<(FieldIndex, Checked)> = Vec::with_capacity(values.len());
        let mut locked = Vec::new();
        for (target, given) in values {
            let (field, value) = match target {
                Target::Id => continue,
                Target::Field(field) | Target::Parent { field, .. }
                    if !(self.caller.access.edits(object, *field)
                        && definition.fields[*field].writable()
                        && !(row.is_some() && definition.fields[*field].create_only)) =>
                {
                    if !matches!(given, Given::Text("")) {
                        locked.push(definition.fields[*field].name.clone());
                    }
                    continue;
                }
                Target::Field(field) => (*field, self.convert(object, *field, *given)?),
                Target::Parent { field, object: parent, key } => {
                    (*field, self.parent(object, *field, (*parent, *key), *given)?)
                }
            };
            let Some(value) = value else { continue };
            let field_definition = &definition.fields[field];
            if row.is_some() && !field_definition.nillable && value.value() == Value::Null {
                let name = &field_definition.name;
                let text = format!("Required fields are missing: [{name}]");
                return Err(ApiError::new(400, "REQUIRED_FIELD_MISSING", text).fields([name]));
            }
            if field_definition.unique {
                self.unique(object, field, &value, row)?;
            }
            checked.push((field, value));
        }
        if locked.is_empty() {
            return Ok(checked);
        }
        let text = format!(
            "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is \
             read/write for your profile or permission set.",
            locked.join(", ")
        );
        let mut refused = ApiError::new(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text);
        refused.fields = Some(locked);
        Err(refused)
    }

    fn unique(
        &mut self,
        object: ObjectIndex,
        field: FieldIndex,
        value: &Checked,
        row: Option<u32>,
    ) -> Result<(), ApiError> {
        let holders = self.matching(object, field, value.value());
        let Some(taken) = holders.into_iter().find(|other| Some(*other) != row) else { return Ok(()) };
        let name = &self.store.schema.objects[object].fields[field].name;
        if name == "Username" {
            let text = "Duplicate Username.<br>The username already exists in this or another Salesforce organization. \
                        Usernames must be unique across all Salesforce organizations.";
            return Err(ApiError::new(400, "DUPLICATE_USERNAME", text).fields([name]));
        }
        let id = self.store.id(object, taken);
        let text = format!("duplicate value found: {name} duplicates value on record with id: {id}");
        Err(ApiError::new(400, "DUPLICATE_VALUE", text).fields([name]))
    }

    /// The parent that an external id names.
    fn parent(
        &mut self,
        object: ObjectIndex,
        field: FieldIndex,
        (parent, key): (ObjectIndex, FieldIndex),
        given: Given<'_>,
    ) -> Result<Option<Checked>, ApiError> {
        if given.is_blank() {
            return Ok(if matches!(given, Given::Text("")) { None } else { Some(Checked::Plain(Value::Null)) });
        }
        let schema = Arc::clone(&self.store.schema);
        let rows = match given.text() {
            Some(text) if schema.objects[parent].fields[key].kind == Kind::Id => {
                let row = Id::parse(&text).and_then(|id| self.store.row(parent, &id));
                row.into_iter().filter(|row| !self.store.flag(parent, *row, "IsDeleted")).collect()
            }
            _ => match self.convert(parent, key, given)? {
                Some(value) => self.matching(parent, key, value.value()),
                None => Vec::new(),
            },
        };
        match rows.as_slice() {
            [row] if schema.objects[object].fields[field].storage == Storage::Row => {
                Ok(Some(Checked::Plain(Value::Row(*row))))
            }
            [row] => Ok(Some(Checked::Text(self.store.id(parent, *row).to_string()))),
            [] => {
                let text = format!(
                    "Foreign key external ID: {} not found for field {} in entity {}",
                    given.text().unwrap_or_default(),
                    schema.objects[parent].fields[key].name,
                    schema.objects[parent].name
                );
                Err(ApiError::new(400, "INVALID_FIELD", text).fields([]))
            }
            several => {
                let ids: Vec<_> = several.iter().map(|row| self.store.id(parent, *row).to_string()).collect();
                let text = format!("More than one record found for external id field: [{}]", ids.join(", "));
                Err(ApiError::new(400, "INVALID_FIELD", text).fields([]))
            }
        }
    }

    /// Checks one value against the field's type; none if the field is to be left alone.
    pub(super) fn convert(
        &self,
        object: ObjectIndex,
        field: FieldIndex,
        given: Given<'_>,
    ) -> Result<Option<Checked>, ApiError> {
        let field = &self.store.schema.objects[object].fields[field];
        let plain = |value| Ok(Some(Checked::Plain(value)));
        let none = || plain(if field.kind == Kind::Boolean { Value::Boolean(false) } else { Value::Null });
        let (json, text) = match given {
            Given::Text("") => return Ok(None),
            Given::Text(NULL) | Given::Json(Json::Null) => return none(),
            Given::Text(text) => (None, Some(text)),
            Given::Json(Json::String(text)) if text.is_empty() => return none(),
            Given::Json(Json::String(text)) => (Some(given), Some(text.as_str())),
            Given::Json(_) => (Some(given), None),
        };
        let wrong = || wrong(field, given);
        let bare = match json {
            Some(Given::Json(value)) => value,
            _ => &Json::Null,
        };
        match &field.storage {
            Storage::Boolean => {
                let value = match given {
                    Given::Text(text) => boolean(text),
                    Given::Json(value) => value.as_bool().or_else(|| value.as_str()?.parse().ok()),
                };
                plain(Value::Boolean(value.ok_or_else(wrong)?))
            }
            Storage::Integer => {
                let number = bare.as_i64().or_else(|| whole(text?)).or_else(|| whole_part(bare.as_f64()?));
                integer(field, number.ok_or_else(wrong)?).map(Some)
            }
            Storage::Double => {
                let number = bare.as_f64().or_else(|| text?.trim().parse().ok()).filter(|number| number.is_finite());
                double(field, number.ok_or_else(wrong)?).map(Some)
            }
            Storage::Date => {
                // A datetime is taken for its day, as the service does.
                let day = text.and_then(|text| {
                    format::parse_date(text).or_else(|| {
                        let micros = format::parse_datetime(text)?;
                        i32::try_from(micros.div_euclid(86_400_000_000)).ok()
                    })
                });
                plain(Value::Whole(i64::from(day.filter(|day| DAYS.contains(day)).ok_or_else(wrong)?)))
            }
            Storage::Datetime => {
                let seconds = text.and_then(|text| match format::parse_datetime(text) {
                    Some(micros) => Some(micros.div_euclid(1_000_000)),
                    None => Some(i64::from(format::parse_date(text)?) * 86_400),
                });
                let inside =
                    |seconds: &i64| i32::try_from(seconds.div_euclid(86_400)).is_ok_and(|day| DAYS.contains(&day));
                plain(Value::Whole(seconds.filter(inside).ok_or_else(wrong)?))
            }
            Storage::Time => plain(Value::Whole(text.and_then(format::parse_time).ok_or_else(wrong)?)),
            _ if field.kind == Kind::Reference => reference(self.store, field, text.ok_or_else(wrong)?).map(Some),
            _ => text_value(field, text.ok_or_else(wrong)?).map(Some),
        }
    }
}

/// The days that the service knows: 1700-01-01 to 4000-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -98_615..=741_807;

/// A value that does not fit the type: in JSON the parser says so, in a file the field.
fn wrong(field: &FieldDef, given: Given<'_>) -> ApiError {
    let shown = match given {
        Given::Text(text) => {
            let text = format!("{}: value not of required type: {text}", field.label);
            return ApiError::new(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", text).fields([&field.name]);
        }
        Given::Json(Json::String(text)) => format!("VALUE_STRING value {text}"),
        Given::Json(Json::Number(number)) if number.is_f64() => format!("VALUE_NUMBER_FLOAT value {number}"),
        Given::Json(Json::Number(number)) => format!("VALUE_NUMBER_INT value {number}"),
        Given::Json(Json::Bool(value)) => format!("VALUE_{} value {value}", value.to_string().to_uppercase()),
        Given::Json(Json::Array(_)) => "START_ARRAY value [".to_owned(),
        Given::Json(_) => "START_OBJECT value {".to_owned(),
    };
    ApiError::new(
        400,
        "JSON_PARSER_ERROR",
        format!("Cannot deserialize instance of {} from {shown}", type_name(field.kind)),
    )
}

fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 5]| words.iter().any(|word| text.trim().eq_ignore_ascii_case(word));
    if is(["true", "1", "yes", "y", "on"]) {
        return Some(true);
    }
    is(["false", "0", "no", "n", "off"]).then_some(false)
}

fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| whole_part(text.parse().ok()?))
}

/// `5.0` is a whole number, `5.5` is not.
fn whole_part(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn integer(field: &FieldDef, number: i64) -> Result<Checked, ApiError> {
    let range =
        if field.kind == Kind::Int { i64::from(i32::MIN)..=i64::from(i32::MAX) } else { i64::MIN + 1..=i64::MAX };
    if !range.contains(&number) || (field.digits > 0 && number.unsigned_abs() >= 10u64.saturating_pow(field.digits)) {
        return Err(out_of_range(field, &number.to_string()));
    }
    Ok(Checked::Plain(Value::Whole(number)))
}

fn double(field: &FieldDef, number: f64) -> Result<Checked, ApiError> {
    if field.precision == 0 {
        return Ok(Checked::Plain(Value::Double(number)));
    }
    let digits = field.precision.saturating_sub(field.scale);
    if number.abs() >= 10f64.powi(digits as i32) {
        return Err(out_of_range(field, &number.to_string()));
    }
    Ok(Checked::Plain(Value::Double(format::rounded(number, field.scale))))
}

fn out_of_range(field: &FieldDef, value: &str) -> ApiError {
    let text = format!("{}: value outside of valid range on numeric field: {value}", field.label);
    ApiError::new(400, "NUMBER_OUTSIDE_VALID_RANGE", text).fields([&field.name])
}

fn reference(store: &Store, field: &FieldDef, text: &str) -> Result<Checked, ApiError> {
    let malformed = || {
        let text = format!("{}: id value of incorrect type: {text}", field.label);
        ApiError::new(400, "MALFORMED_ID", text).fields([&field.name])
    };
    let id = Id::parse(text).ok_or_else(malformed)?;
    let object = field.targets.iter().find(|target| store.schema.objects[**target].key_prefix() == id.prefix());
    let Some(object) = object else {
        // Ids of parents that the org does not have are kept as they are.
        let foreign = field.targets.len() < field.reference_to.len();
        return if foreign { Ok(Checked::Text(id.to_string())) } else { Err(malformed()) };
    };
    match store.row(*object, &id) {
        Some(row) if store.flag(*object, row, "IsDeleted") => {
            Err(ApiError::new(400, "ENTITY_IS_DELETED", "entity is deleted").fields([&field.name]))
        }
        Some(row) if field.storage == Storage::Row => Ok(Checked::Plain(Value::Row(row))),
        Some(_) => Ok(Checked::Text(id.to_string())),
        None => {
            let text = "invalid cross reference id";
            Err(ApiError::new(400, "INVALID_CROSS_REFERENCE_KEY", text).fields([&field.name]))
        }
    }
}

fn text_value(field: &FieldDef, text: &str) -> Result<Checked, ApiError> {
    let length = text.chars().count();
    if field.length > 0 && length > field.length as usize {
        let shown: String = text.chars().take(255).collect();
        let text = format!("{}: data value too large: {shown} (max length={})", field.label, field.length);
        return Err(ApiError::new(400, "STRING_TOO_LONG", text).fields([&field.name]));
    }
    if field.kind == Kind::Email && !is_email(text) {
        let text = format!("{}: invalid email address: {text}", field.label);
        return Err(ApiError::new(400, "INVALID_EMAIL_ADDRESS", text).fields([&field.name]));
    }
    if field.kind == Kind::Multipicklist {
        return multipicklist(field, text);
    }
    if field.restricted && !field.values.iter().any(|value| value == text) {
        return Err(bad_value(field, text));
    }
    Ok(Checked::Text(text.to_owned()))
}

/// Chosen values come back in the order of the picklist, each once.
fn multipicklist(field: &FieldDef, text: &str) -> Result<Checked, ApiError> {
    let chosen: Vec<&str> = text.split(';').map(str::trim).filter(|one| !one.is_empty()).collect();
    let known = |one: &&str| field.values.iter().any(|value| value == one);
    if field.restricted
        && let Some(unknown) = chosen.iter().find(|one| !known(one))
    {
        return Err(bad_value(field, unknown));
    }
    let in_order = field.values.iter().map(String::as_str).filter(|value| chosen.contains(value));
    let mut others: Vec<&str> = Vec::new();
    for one in chosen.iter().filter(|one| !known(one)) {
        if !others.contains(one) {
            others.push(one);
        }
    }
    Ok(Checked::Text(in_order.chain(others).collect::<Vec<_>>().join(";")))
}

fn bad_value(field: &FieldDef, text: &str) -> ApiError {
    let text = format!("{}: bad value for restricted picklist field: {text}", field.label);
    ApiError::new(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", text).fields([&field.name])
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, domain)| {
        let fine = |c: char| !c.is_whitespace() && c != '@' && c != ',' && c != ';';
        !name.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && name.chars().all(fine)
            && domain.chars().all(fine)
    })
}
