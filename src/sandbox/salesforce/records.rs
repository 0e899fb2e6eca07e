//! Single records: create, read, update, delete.
//!
//! # Promises
//! * What is written is checked as the service checks it: known and writable fields, types, lengths, required values.
//! * A change moves LastModifiedDate and SystemModstamp to the org's clock, in whole seconds. A delete puts the record into
//!   the recycle bin, with the children that go with it.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Map;
use serde_json::Value as Json;
use serde_json::json;

use super::describe::type_name;
use super::error::ApiError;
use super::format;
use super::ids::Id;
use super::rest::Answer;
use super::rest::Call;
use super::rows::Shape;
use super::schema::FieldDef;
use super::schema::FieldIndex;
use super::schema::Kind;
use super::schema::ObjectIndex;
use super::schema::Storage;
use super::store::Cell;
use super::store::Store;
use super::store::Value;

/// A checked value with its text.
#[derive(Debug, Clone, PartialEq)]
enum Checked {
    Text(String),
    Plain(Value<'static>),
}

impl Checked {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Plain(value) => *value,
        }
    }
}

/// `GET /sobjects/X/{id}[?fields=A,B]`.
pub(super) fn read(call: &Call, object: &str, id: &str) -> Answer {
    let store = call.org.snapshot();
    let (object, row) = find(&store, object, id)?;
    let definition = &store.schema.objects[object];
    let mut chosen = None;
    if let Some(names) = call.parameter("fields") {
        let mut fields = vec![0];
        for name in names.split(',').map(str::trim).filter(|name| !name.eq_ignore_ascii_case("Id")) {
            fields.push(definition.find(name).ok_or_else(|| no_such_column(name, &definition.name))?);
        }
        chosen = Some(fields);
    }
    let mut out = Vec::new();
    Shape::of_object(&store, object, chosen.as_deref()).write(&mut out, &store, row, &call.base);
    Ok(([(CONTENT_TYPE, "application/json;charset=UTF-8")], out).into_response())
}

/// `POST /sobjects/X`.
pub(super) fn create(call: &Call, object: &str) -> Answer {
    let body = call.json()?;
    let now = call.org.clock.now().timestamp();
    let user = call.session.user;
    let id = call.org.write(|store| insert(store, object, &body, user, now))?;
    let body = json!({ "id": id.as_str(), "success": true, "errors": [] });
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

/// `PATCH /sobjects/X/{id}`.
pub(super) fn update(call: &Call, object: &str, id: &str) -> Answer {
    let body = call.json()?;
    let now = call.org.clock.now().timestamp();
    call.org.write(|store| {
        let (object, row) = find(store, object, id)?;
        if !store.schema.objects[object].updateable {
            return Err(not_allowed(store, object, "updated"));
        }
        let values = check(store, object, &body, Some(row))?;
        for (field, value) in &values {
            store.set(object, row, *field, value.value());
        }
        touch(store, object, row, call.session.user, now);
        Ok(())
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /sobjects/X/{id}`.
pub(super) fn delete(call: &Call, object: &str, id: &str) -> Answer {
    let now = call.org.clock.now().timestamp();
    call.org.write(|store| {
        let (object, row) = find(store, object, id)?;
        if !store.schema.objects[object].deletable {
            return Err(not_allowed(store, object, "deleted"));
        }
        remove(store, object, row, call.session.user, now);
        Ok(())
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn not_allowed(store: &Store, object: ObjectIndex, what: &str) -> ApiError {
    let name = &store.schema.objects[object].name;
    ApiError::new(400, "INVALID_TYPE_FOR_OPERATION", format!("entity type cannot be {what}: {name}"))
}

fn no_such_column(name: &str, object: &str) -> ApiError {
    ApiError::new(400, "INVALID_FIELD", format!("No such column '{name}' on sobject of type {object}"))
}

/// The record that a path names, if it is there and not in the recycle bin.
fn find(store: &Store, object: &str, id: &str) -> Result<(ObjectIndex, u32), ApiError> {
    let object = store.schema.find(object).ok_or_else(ApiError::not_found)?;
    let malformed = || {
        let name = &store.schema.objects[object].name;
        ApiError::new(
            404,
            "NOT_FOUND",
            format!("Provided external ID field does not exist or is not accessible: {id} ({name})"),
        )
    };
    let id = Id::parse(id).ok_or_else(malformed)?;
    let row = store.row(object, &id).ok_or_else(ApiError::not_found)?;
    if store.flag(object, row, "IsDeleted") {
        return Err(ApiError::new(404, "ENTITY_IS_DELETED", "entity is deleted"));
    }
    Ok((object, row))
}

fn insert(store: &mut Store, object: &str, body: &Map<String, Json>, user: u32, now: i64) -> Result<Id, ApiError> {
    let object = store.schema.find(object).ok_or_else(ApiError::not_found)?;
    if !store.schema.objects[object].createable {
        return Err(not_allowed(store, object, "created"));
    }
    let mut values = check(store, object, body, None)?;
    let schema = std::sync::Arc::clone(&store.schema);
    let mut missing = Vec::new();
    for (at, field) in schema.objects[object].fields.iter().enumerate() {
        if values.iter().any(|(known, value)| *known == at && value.value() != Value::Null) {
            continue;
        }
        match &field.default {
            Some(default) if default == "user" && field.kind == Kind::Reference => {
                values.push((at, Checked::Plain(Value::Row(user))));
            }
            Some(default) => values.push((at, Checked::Text(default.clone()))),
            None if !field.nillable && field.writable() && field.kind != Kind::Boolean => {
                missing.push(field.name.clone());
            }
            None => {}
        }
    }
    if !missing.is_empty() {
        let text = format!("Required fields are missing: [{}]", missing.join(", "));
        let mut refused = ApiError::new(400, "REQUIRED_FIELD_MISSING", text);
        refused.fields = Some(missing);
        return Err(refused);
    }
    let row = store.table_mut(object).append();
    for (field, value) in &values {
        store.set(object, row, *field, value.value());
    }
    for (name, value) in [("CreatedDate", Value::Whole(now)), ("CreatedById", Value::Row(user))] {
        if let Some(field) = schema.objects[object].find(name) {
            store.set(object, row, field, value);
        }
    }
    touch(store, object, row, user, now);
    Ok(store.id(object, row))
}

/// Moves the audit fields.
pub(super) fn touch(store: &mut Store, object: ObjectIndex, row: u32, user: u32, now: i64) {
    let values = [
        ("LastModifiedDate", Value::Whole(now)),
        ("SystemModstamp", Value::Whole(now)),
        ("LastModifiedById", Value::Row(user)),
    ];
    for (name, value) in values {
        if let Some(field) = store.schema.objects[object].find(name) {
            store.set(object, row, field, value);
        }
    }
}

/// Puts a record into the recycle bin, and with it the children that go with their parent.
fn remove(store: &mut Store, object: ObjectIndex, row: u32, user: u32, now: i64) {
    let Some(field) = store.schema.objects[object].find("IsDeleted") else { return };
    store.set(object, row, field, Value::Boolean(true));
    touch(store, object, row, user, now);
    let schema = std::sync::Arc::clone(&store.schema);
    for (child, definition) in schema.objects.iter().enumerate() {
        for (at, field) in definition.fields.iter().enumerate() {
            if !(field.cascade_delete && field.targets.contains(&object)) {
                continue;
            }
            let children: Vec<u32> = (0..store.table(child).rows() as u32)
                .filter(|one| store.parent(child, *one, at) == Some((object, row)))
                .filter(|one| !store.flag(child, *one, "IsDeleted"))
                .collect();
            for one in children {
                remove(store, child, one, user, now);
            }
        }
    }
}

/// Checks all values of a body.
fn check(
    store: &Store,
    object: ObjectIndex,
    body: &Map<String, Json>,
    row: Option<u32>,
) -> Result<Vec<(FieldIndex, Checked)>, ApiError> {
    let definition = &store.schema.objects[object];
    let mut values = Vec::new();
    let mut locked = Vec::new();
    for (name, value) in body.iter().filter(|(name, _)| *name != "attributes") {
        let field = definition.find(name).ok_or_else(|| no_such_column(name, &definition.name))?;
        if !definition.fields[field].writable() {
            locked.push(definition.fields[field].name.as_str());
            continue;
        }
        let checked = convert(store, &definition.fields[field], value)?;
        if row.is_some() && !definition.fields[field].nillable && checked.value() == Value::Null {
            let name = &definition.fields[field].name;
            let text = format!("Required fields are missing: [{name}]");
            return Err(ApiError::new(400, "REQUIRED_FIELD_MISSING", text).fields([name]));
        }
        if definition.fields[field].unique {
            unique(store, object, field, &checked, row)?;
        }
        values.push((field, checked));
    }
    if !locked.is_empty() {
        let text = format!(
            "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is \
             read/write for your profile or permission set.",
            locked.join(", ")
        );
        let mut refused = ApiError::new(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text);
        refused.fields = Some(locked.into_iter().map(str::to_owned).collect());
        return Err(refused);
    }
    Ok(values)
}

fn unique(
    store: &Store,
    object: ObjectIndex,
    field: FieldIndex,
    value: &Checked,
    row: Option<u32>,
) -> Result<(), ApiError> {
    let Checked::Text(wanted) = value else { return Ok(()) };
    let wanted = wanted.to_lowercase();
    let taken = (0..store.table(object).rows() as u32).find(|other| {
        Some(*other) != row
            && matches!(store.cell(object, *other, field), Cell::Text(text) if text.to_lowercase() == wanted)
    });
    let Some(taken) = taken else { return Ok(()) };
    let name = &store.schema.objects[object].fields[field].name;
    if name == "Username" {
        let text = "Duplicate Username.<br>The username already exists in this or another Salesforce organization. \
                    Usernames must be unique across all Salesforce organizations.";
        return Err(ApiError::new(400, "DUPLICATE_USERNAME", text).fields([name]));
    }
    let text = format!("duplicate value found: {name} duplicates value on record with id: {}", store.id(object, taken));
    Err(ApiError::new(400, "DUPLICATE_VALUE", text).fields([name]))
}

/// Checks one value against the field's type.
fn convert(store: &Store, field: &FieldDef, value: &Json) -> Result<Checked, ApiError> {
    let wrong = || {
        let shown = match value {
            Json::String(text) => format!("VALUE_STRING value {text}"),
            Json::Number(_) => "VALUE_NUMBER".to_owned(),
            Json::Bool(_) => "VALUE_BOOLEAN".to_owned(),
            Json::Array(_) => "START_ARRAY value [".to_owned(),
            _ => "START_OBJECT value {".to_owned(),
        };
        let text = format!("Cannot deserialize instance of {} from {shown}", type_name(field.kind));
        ApiError::new(400, "JSON_PARSER_ERROR", text)
    };
    if value.is_null() || value.as_str() == Some("") {
        let none = if field.kind == Kind::Boolean { Value::Boolean(false) } else { Value::Null };
        return Ok(Checked::Plain(none));
    }
    let plain = |value| Ok(Checked::Plain(value));
    match &field.storage {
        Storage::Boolean => plain(Value::Boolean(value.as_bool().ok_or_else(wrong)?)),
        Storage::Integer => {
            let number = value.as_i64().ok_or_else(wrong)?;
            let range = if field.kind == Kind::Int {
                i64::from(i32::MIN)..=i64::from(i32::MAX)
            } else {
                i64::MIN + 1..=i64::MAX
            };
            if !range.contains(&number)
                || (field.digits > 0 && number.unsigned_abs() >= 10u64.saturating_pow(field.digits))
            {
                return Err(out_of_range(field, &number.to_string()));
            }
            plain(Value::Whole(number))
        }
        Storage::Double => {
            let number = value.as_f64().ok_or_else(wrong)?;
            let digits = field.precision.saturating_sub(field.scale);
            if field.precision > 0 && number.abs() >= 10f64.powi(digits as i32) {
                return Err(out_of_range(field, &number.to_string()));
            }
            let step = 10f64.powi(field.scale as i32);
            plain(Value::Double(if field.precision > 0 { (number * step).round() / step } else { number }))
        }
        Storage::Date => {
            let day = value.as_str().and_then(format::parse_date).ok_or_else(wrong)?;
            plain(Value::Whole(i64::from(day)))
        }
        Storage::Datetime => {
            let micros = value.as_str().and_then(format::parse_datetime).ok_or_else(wrong)?;
            plain(Value::Whole(micros.div_euclid(1_000_000)))
        }
        Storage::Time => plain(Value::Whole(value.as_str().and_then(format::parse_time).ok_or_else(wrong)?)),
        _ if field.kind == Kind::Reference => reference(store, field, value.as_str().ok_or_else(wrong)?),
        _ => {
            let Json::String(text) = value else { return Err(wrong()) };
            text_value(field, text)
        }
    }
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
    if field.storage == Storage::Text {
        return Ok(Checked::Text(id.to_string()));
    }
    let target = field.targets[0];
    if id.prefix() != store.schema.objects[target].key_prefix() {
        return Err(malformed());
    }
    match store.row(target, &id) {
        Some(row) if store.flag(target, row, "IsDeleted") => {
            Err(ApiError::new(400, "ENTITY_IS_DELETED", "entity is deleted").fields([&field.name]))
        }
        Some(row) => Ok(Checked::Plain(Value::Row(row))),
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
    if field.restricted && !field.values.iter().any(|value| value == text) {
        let text = format!("{}: bad value for restricted picklist field: {text}", field.label);
        return Err(ApiError::new(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", text).fields([&field.name]));
    }
    Ok(Checked::Text(text.to_owned()))
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
