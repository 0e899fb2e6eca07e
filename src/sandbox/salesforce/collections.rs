//! `/composite/sobjects`: up to 200 records of any objects in one call.
//!
//! # Promises
//! * A well-formed call answers 200 with one result per record, in the order of the call.
//! * `allOrNone` undoes every record when one is refused, and says so at the others.
//!
//! Knowingly different: the service writes records of one object in runs and limits a call to ten runs; here any order goes.
//! A value of the wrong JSON type is refused at its record, where the service refuses the whole call.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::error::ApiError;
use super::ids::Id;
use super::rest::Answer;
use super::rest::Call;
use super::rows::Shape;
use super::schema::ObjectIndex;
use super::store::Store;
use super::write;
use super::write::Target;
use super::write::Writer;
use super::write::Written;

/// Records of one call that writes.
const MOST: usize = 200;
/// Records of one call that reads.
const MOST_READ: usize = 2000;

/// What is done with each record of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation<'a> {
    Insert,
    Update,
    /// By this field of this object.
    Upsert(&'a str, &'a str),
}

/// `POST /composite/sobjects`.
pub(super) fn create(call: &Call) -> Answer {
    run(call, Operation::Insert)
}

/// `PATCH /composite/sobjects`.
pub(super) fn update(call: &Call) -> Answer {
    run(call, Operation::Update)
}

/// `PATCH /composite/sobjects/{object}/{field}`.
pub(super) fn upsert(call: &Call, object: &str, field: &str) -> Answer {
    run(call, Operation::Upsert(object, field))
}

fn run(call: &Call, operation: Operation<'_>) -> Answer {
    let body = call.json()?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
    let records = body.get("records").and_then(Value::as_array).ok_or_else(|| {
        ApiError::new(400, "INVALID_INPUT", "The request must have a member records with the list of records")
    })?;
    within(records.len(), MOST)?;
    let results = in_one(call, all_or_none, records.len(), |writer, at| {
        let record = records[at].as_object().ok_or_else(|| {
            ApiError::new(400, "INVALID_INPUT", "A record is a JSON object with its type in attributes")
        })?;
        one(call, writer, operation, record)
    });
    let with_created = matches!(operation, Operation::Upsert(..));
    let ids = |at: usize| match operation {
        Operation::Update => member(&records[at], "id").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    Ok(answer(&results, with_created, ids))
}

fn one(
    call: &Call,
    writer: &mut Writer<'_>,
    operation: Operation<'_>,
    record: &Map<String, Value>,
) -> Result<Written, ApiError> {
    let kind = record.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Value::as_str);
    let unknown = || {
        let text = match kind {
            Some(kind) => super::soql::unknown_type(kind),
            None => "An sObject type must be specified in the record's attributes".to_owned(),
        };
        ApiError::new(400, "INVALID_TYPE", text)
    };
    let schema = std::sync::Arc::clone(&writer.store().schema);
    let object = schema.find(kind.unwrap_or_default()).filter(|object| call.access.sees_object(*object));
    let object = object.ok_or_else(unknown)?;
    let values = write::from_json(&schema, &call.access, object, record)?;
    match operation {
        Operation::Insert => writer.insert(object, &values),
        Operation::Update => {
            let id = values.iter().find(|(target, _)| *target == Target::Id).and_then(|(_, given)| given.text());
            let id = id.filter(|id| !id.is_empty()).ok_or_else(|| {
                ApiError::new(400, "MISSING_ARGUMENT", "Id not specified in an update call").fields([])
            })?;
            writer.update(object, &id, &values)
        }
        Operation::Upsert(name, field) => {
            if schema.find(name) != Some(object) {
                let text = format!("All records of the request must be of the type {name}");
                return Err(ApiError::new(400, "INVALID_INPUT", text));
            }
            let key = schema.objects[object].find(field).filter(|key| call.access.sees(object, *key));
            let key = key.filter(|key| write::is_key(&schema, object, *key)).ok_or_else(|| {
                let text = format!("Provided external ID field does not exist or is not accessible: {field}");
                ApiError::new(400, "INVALID_FIELD", text)
            })?;
            writer.upsert(object, key, &values)
        }
    }
}

/// `DELETE /composite/sobjects?ids=A,B[&allOrNone=true]`.
pub(super) fn delete(call: &Call) -> Answer {
    let ids: Vec<&str> = listed(call.parameter("ids").unwrap_or_default());
    within(ids.len(), MOST)?;
    let all_or_none = call.parameter("allOrNone") == Some("true");
    let results = in_one(call, all_or_none, ids.len(), |writer, at| {
        let prefix = Id::parse(ids[at]).map(|id| id.prefix());
        let object = prefix
            .and_then(|prefix| writer.store().schema.by_prefix(prefix))
            .ok_or_else(|| ApiError::new(400, "MALFORMED_ID", format!("malformed id {}", ids[at])).fields(["Id"]))?;
        writer.delete(object, ids[at])
    });
    Ok(answer(&results, false, |at| Some(ids[at].to_owned())))
}

/// `GET /composite/sobjects/X?ids=A,B&fields=C,D` and `POST /composite/sobjects/X` with both in the body.
pub(super) fn read(call: &Call, object: &str) -> Answer {
    let object = call.object(object)?;
    let (ids, names): (Vec<String>, Vec<String>) = if call.body.is_empty() {
        let list = |name| listed(call.parameter(name).unwrap_or_default()).into_iter().map(str::to_owned).collect();
        (list("ids"), list("fields"))
    } else {
        let body = call.json()?;
        let list = |name: &str| {
            let all = body.get(name).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        (list("ids"), list("fields"))
    };
    within(ids.len(), MOST_READ)?;
    let store = call.snapshot();
    let shape = shape(call, &store, object, &names)?;
    let mut out = vec![b'['];
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let row = Id::parse(id).and_then(|id| store.row(object, &id));
        match row.filter(|row| !store.flag(object, *row, "IsDeleted")) {
            Some(row) => shape.write(&mut out, &store, row, &call.base),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b']');
    Ok(([(CONTENT_TYPE, "application/json;charset=UTF-8")], out).into_response())
}

fn shape(call: &Call, store: &Store, object: ObjectIndex, names: &[String]) -> Result<Shape, ApiError> {
    if names.is_empty() {
        return Err(ApiError::new(400, "MISSING_ARGUMENT", "The request must name the fields to return"));
    }
    let definition = &store.schema.objects[object];
    let mut fields = Vec::new();
    for name in names {
        let field = definition.find(name).filter(|field| call.access.sees(object, *field));
        fields.push(field.ok_or_else(|| write::no_such_column(name, &definition.name))?);
    }
    Ok(Shape::of_object(store, object, &fields))
}

/// Writes records in one step; with `all_or_none` a refusal undoes them all.
fn in_one(
    call: &Call,
    all_or_none: bool,
    records: usize,
    mut one: impl FnMut(&mut Writer<'_>, usize) -> Result<Written, ApiError>,
) -> Vec<Result<Written, ApiError>> {
    let caller = call.caller();
    call.write(|store| {
        let before = all_or_none.then(|| store.clone());
        let mut writer = Writer::new(store, &caller);
        let mut results: Vec<_> = (0..records).map(|at| one(&mut writer, at)).collect();
        if let Some(before) = before.filter(|_| results.iter().any(Result::is_err)) {
            store.set_back(before);
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                let text =
                    "Record rolled back because not all records were valid and the request was using AllOrNone header";
                *result = Err(ApiError::new(400, "ALL_OR_NONE_OPERATION_ROLLED_BACK", text));
            }
        }
        results
    })
}

fn answer(
    results: &[Result<Written, ApiError>],
    with_created: bool,
    known: impl Fn(usize) -> Option<String>,
) -> axum::response::Response {
    let mut all = Vec::with_capacity(results.len());
    for (at, result) in results.iter().enumerate() {
        all.push(match result {
            Ok(written) if with_created => {
                json!({ "id": written.id.as_str(), "success": true, "errors": [], "created": written.created })
            }
            Ok(written) => json!({ "id": written.id.as_str(), "success": true, "errors": [] }),
            Err(refused) => match known(at) {
                Some(id) => json!({ "id": id, "success": false, "errors": [refused.of_record()] }),
                None => json!({ "success": false, "errors": [refused.of_record()] }),
            },
        });
    }
    axum::Json(all).into_response()
}

fn within(records: usize, most: usize) -> Result<(), ApiError> {
    if records <= most {
        return Ok(());
    }
    let text = format!("record limit reached. cannot submit more than {most} records in this request");
    Err(ApiError::new(400, "EXCEEDED_ID_LIMIT", text))
}

fn listed(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect()
}

fn member<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    record.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
