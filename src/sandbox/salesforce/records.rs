//! Single records at `/sobjects/X/{id}` and `/sobjects/X/{Field}/{value}`: create, read, update, upsert, delete.
//!
//! # Promises
//! * Status codes are the service's: 201 created, 200 with a body for an upsert that changed (204 before v46), 204 changed
//!   or deleted, 300 with the addresses of all records where an external id matches several, 404 where none.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde_json::json;

use super::error::ApiError;
use super::ids::Id;
use super::rest::Answer;
use super::rest::Call;
use super::rows::Shape;
use super::schema::FieldIndex;
use super::schema::Kind;
use super::schema::ObjectIndex;
use super::store::Store;
use super::write;
use super::write::Given;
use super::write::Target;
use super::write::Writer;

/// From this version on an upsert that changed a record answers with a body.
const UPSERT_HAS_BODY: u32 = 46;

/// `GET /sobjects/X/{id}[?fields=A,B]`.
pub(super) fn read(call: &Call, object: &str, id: &str) -> Answer {
    let store = call.snapshot();
    let (object, row) = find(call, &store, object, id)?;
    show(call, &store, object, row)
}

/// `GET /sobjects/X/{Field}/{value}`.
pub(super) fn read_by(call: &Call, object: &str, field: &str, value: &str) -> Answer {
    let (object, key) = key(call, object, field)?;
    let caller = call.caller();
    let rows = call.write(|store| {
        let rows = Writer::new(store, &caller).by_external_id(object, key, value)?;
        Ok(rows.into_iter().map(|row| store.id(object, row)).collect::<Vec<_>>())
    })?;
    match rows.as_slice() {
        [] => Err(ApiError::not_found()),
        [id] => {
            let store = call.snapshot();
            let row = store.row(object, id).ok_or_else(ApiError::not_found)?;
            show(call, &store, object, row)
        }
        several => Ok(choices(call, object, several)),
    }
}

fn show(call: &Call, store: &Store, object: ObjectIndex, row: u32) -> Answer {
    let definition = &store.schema.objects[object];
    let sees = |field: &FieldIndex| call.access.sees(object, *field);
    let mut chosen: Vec<FieldIndex> = (0..definition.fields.len()).filter(sees).collect();
    if let Some(names) = call.parameter("fields") {
        chosen = vec![0];
        for name in names.split(',').map(str::trim).filter(|name| !name.eq_ignore_ascii_case("Id")) {
            let field = definition.find(name).filter(sees);
            chosen.push(field.ok_or_else(|| write::no_such_column(name, &definition.name))?);
        }
    }
    let mut out = Vec::new();
    Shape::of_object(store, object, &chosen).write(&mut out, store, row, &call.base);
    Ok(([(CONTENT_TYPE, "application/json;charset=UTF-8")], out).into_response())
}

/// `POST /sobjects/X`.
pub(super) fn create(call: &Call, object: &str) -> Answer {
    let object = call.object(object)?;
    let body = call.json()?;
    let caller = call.caller();
    let written = call.write(|store| {
        let schema = std::sync::Arc::clone(&store.schema);
        let values = write::from_json(&schema, &caller.access, object, &body)?;
        Writer::new(store, &caller).insert(object, &values)
    })?;
    let location = format!("{}/sobjects/{}/{}", call.base, call.org.schema.objects[object].name, written.id);
    let body = json!({ "id": written.id.as_str(), "success": true, "errors": [] });
    Ok((StatusCode::CREATED, [(LOCATION, location)], axum::Json(body)).into_response())
}

/// `PATCH /sobjects/X/{id}`.
pub(super) fn update(call: &Call, object: &str, id: &str) -> Answer {
    let body = call.json()?;
    let caller = call.caller();
    call.write(|store| {
        let (object, row) = find(call, store, object, id)?;
        if body.keys().any(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(not_in_the_body("Id"));
        }
        let schema = std::sync::Arc::clone(&store.schema);
        let values = write::from_json(&schema, &caller.access, object, &body)?;
        let id = store.id(object, row);
        Writer::new(store, &caller).update(object, id.as_str(), &values)
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PATCH /sobjects/X/{Field}/{value}[?updateOnly=true]`.
pub(super) fn upsert(call: &Call, object: &str, field: &str, value: &str) -> Answer {
    let (object, key) = key(call, object, field)?;
    let body = call.json()?;
    let caller = call.caller();
    let value = json!(value);
    let outcome = call.write(|store| {
        let schema = std::sync::Arc::clone(&store.schema);
        let definition = &schema.objects[object].fields[key];
        if body.keys().any(|name| name.eq_ignore_ascii_case(&definition.name)) {
            return Err(not_in_the_body(&definition.name));
        }
        let mut values = write::from_json(&schema, &caller.access, object, &body)?;
        let target = if definition.kind == Kind::Id { Target::Id } else { Target::Field(key) };
        values.push((target, Given::Json(&value)));
        let mut writer = Writer::new(store, &caller);
        if definition.kind != Kind::Id {
            let known = writer.by_external_id(object, key, value.as_str().unwrap_or_default())?;
            if known.len() > 1 {
                return Ok(Err(known.into_iter().map(|row| store.id(object, row)).collect::<Vec<_>>()));
            }
            if known.is_empty() && call.parameter("updateOnly") == Some("true") {
                return Err(ApiError::not_found());
            }
        }
        Ok(Ok(writer.upsert(object, key, &values)?))
    })?;
    let written = match outcome {
        Ok(written) => written,
        Err(several) => return Ok(choices(call, object, &several)),
    };
    if !written.created && call.version < UPSERT_HAS_BODY {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut body = json!({ "id": written.id.as_str(), "success": true, "errors": [] });
    if call.version >= UPSERT_HAS_BODY {
        body["created"] = json!(written.created);
    }
    Ok((status, axum::Json(body)).into_response())
}

/// `DELETE /sobjects/X/{id}`.
pub(super) fn delete(call: &Call, object: &str, id: &str) -> Answer {
    let caller = call.caller();
    call.write(|store| {
        let (object, row) = find(call, store, object, id)?;
        let id = store.id(object, row);
        Writer::new(store, &caller).delete(object, id.as_str())
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /sobjects/X/{Field}/{value}`.
pub(super) fn delete_by(call: &Call, object: &str, field: &str, value: &str) -> Answer {
    let (object, key) = key(call, object, field)?;
    let caller = call.caller();
    let several = call.write(|store| {
        let mut writer = Writer::new(store, &caller);
        let rows = writer.by_external_id(object, key, value)?;
        let ids: Vec<_> = rows.into_iter().map(|row| writer.store().id(object, row)).collect();
        match ids.as_slice() {
            [] => Err(ApiError::not_found()),
            [id] => writer.delete(object, id.as_str()).map(|_| None),
            _ => Ok(Some(ids)),
        }
    })?;
    Ok(match several {
        Some(ids) => choices(call, object, &ids),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// 300: the addresses of the records that share an external id.
fn choices(call: &Call, object: ObjectIndex, ids: &[Id]) -> axum::response::Response {
    let name = &call.snapshot().schema.objects[object].name;
    let all: Vec<_> = ids.iter().map(|id| format!("{}/sobjects/{name}/{id}", call.base)).collect();
    (StatusCode::MULTIPLE_CHOICES, axum::Json(json!(all))).into_response()
}

fn not_in_the_body(name: &str) -> ApiError {
    let text = format!("The {name} field should not be specified in the sobject data.");
    ApiError::new(400, "INVALID_FIELD", text).fields([name])
}

/// The field of a path by whose values records can be found.
fn key(call: &Call, object: &str, field: &str) -> Result<(ObjectIndex, FieldIndex), ApiError> {
    let object = call.object(object)?;
    let schema = std::sync::Arc::clone(&call.snapshot().schema);
    let key = schema.objects[object].find(field).filter(|key| call.access.sees(object, *key));
    match key.filter(|key| write::is_key(&schema, object, *key)) {
        Some(key) => Ok((object, key)),
        None => Err(no_such_key(field)),
    }
}

fn no_such_key(field: &str) -> ApiError {
    let text = format!("Provided external ID field does not exist or is not accessible: {field}");
    ApiError::new(404, "NOT_FOUND", text)
}

/// The record that a path names, if it is there and not in the recycle bin.
fn find(call: &Call, store: &Store, object: &str, id: &str) -> Result<(ObjectIndex, u32), ApiError> {
    let object = call.object(object)?;
    let id = Id::parse(id).ok_or_else(|| no_such_key(id))?;
    let row = store.row(object, &id).ok_or_else(ApiError::not_found)?;
    if store.flag(object, row, "IsDeleted") {
        return Err(ApiError::new(404, "ENTITY_IS_DELETED", "entity is deleted").fields([]));
    }
    Ok((object, row))
}
