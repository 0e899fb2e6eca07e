//! `/__sandbox/…`: what a test or a demo may see and set, clearly apart from the service's own paths.
//!
//! `GET planted` · `GET counts` · `GET calls` · `POST limits` · `POST sessions/expire` · `POST sessions/revoke` ·
//! `POST users/freeze` · `POST change` · `POST permissions` ·
//! `POST records/hard_delete` · `POST records/undelete` · `POST merge`; the clock is the server's.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::State;
use axum::routing::get;
use axum::routing::post;
use serde_json::Value;
use serde_json::json;

use super::access::Permission;
use super::error::ApiError;
use super::ids::Id;
use super::limits::Order;
use super::org::Org;
use super::org::lock;
use super::schema::Storage;
use super::sessions;
use super::store::Value as StoreValue;
use super::write;
use super::write::Caller;
use super::write::Writer;

/// The control paths.
pub(super) fn routes() -> Router<Arc<Org>> {
    Router::new()
        .route("/__sandbox/planted", get(planted))
        .route("/__sandbox/counts", get(counts))
        .route("/__sandbox/calls", get(calls))
        .route("/__sandbox/limits", post(limits))
        .route("/__sandbox/sessions/expire", post(expire))
        .route("/__sandbox/sessions/revoke", post(revoke))
        .route("/__sandbox/users/freeze", post(freeze))
        .route("/__sandbox/change", post(change))
        .route("/__sandbox/permissions", post(permissions))
        .route("/__sandbox/records/{operation}", post(records))
        .route("/__sandbox/merge", post(merge))
}

/// The records that are wrong on purpose.
async fn planted(State(org): State<Arc<Org>>) -> Json<Value> {
    Json(json!(org.planted))
}

/// Records by object: all, and those in the recycle bin; bytes of memory of the columns.
async fn counts(State(org): State<Arc<Org>>) -> Json<Value> {
    let store = org.snapshot();
    let mut counts = serde_json::Map::new();
    for (index, object) in store.schema.objects.iter().enumerate() {
        let table = store.table(index);
        let rows = table.rows() - table.erased().len();
        let there = (0..table.rows() as u32).filter(|row| table.has(*row));
        let deleted = there.filter(|row| store.flag(index, *row, "IsDeleted")).count();
        counts.insert(object.name.clone(), json!({ "rows": rows, "deleted": deleted }));
    }
    counts.insert("memory_bytes".to_owned(), json!(store.memory()));
    Json(Value::Object(counts))
}

/// Calls by class since the start.
async fn calls(State(org): State<Arc<Org>>) -> Json<Value> {
    Json(json!(org.calls()))
}

/// Sets limits and what is used of them.
async fn limits(State(org): State<Arc<Org>>, Json(order): Json<Order>) -> Json<Value> {
    org.limits.set(order);
    Json(org.limits.show())
}

/// Whom an order is about; everybody, if it names no one.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Whom {
    username: Option<String>,
    /// Frozen, or no longer.
    frozen: Option<bool>,
}

/// Reads who is meant: a row, or everybody.
fn whom(org: &Org, body: &[u8]) -> Result<(Option<u32>, Whom), ApiError> {
    let whom: Whom = if body.is_empty() {
        Whom::default()
    } else {
        serde_json::from_slice(body).map_err(|cause| ApiError::new(400, "JSON_PARSER_ERROR", cause.to_string()))?
    };
    let row = match &whom.username {
        None => None,
        Some(name) => Some(sessions::user_named(&org.snapshot(), name).ok_or_else(ApiError::not_found)?),
    };
    Ok((row, whom))
}

/// Ends sessions: the next call of each client meets `INVALID_SESSION_ID`, and its refresh token still works.
async fn expire(State(org): State<Arc<Org>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let (user, _) = whom(&org, &body)?;
    let ended = lock(&org.logins).end(user, false);
    Ok(Json(json!({ "ended": ended })))
}

/// Ends sessions and refresh tokens: whoever comes next has to log in anew.
async fn revoke(State(org): State<Arc<Org>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let (user, _) = whom(&org, &body)?;
    let ended = lock(&org.logins).end(user, true);
    Ok(Json(json!({ "ended": ended })))
}

/// Keeps a user from logging in, or no longer does. Sessions that are open stay, as with the service.
async fn freeze(State(org): State<Arc<Org>>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let (user, whom) = whom(&org, &body)?;
    let user = user.ok_or_else(|| ApiError::new(400, "REQUIRED_FIELD_MISSING", "username is missing"))?;
    let frozen = whom.frozen.unwrap_or(true);
    let mut logins = lock(&org.logins);
    if frozen {
        logins.frozen.insert(user);
    } else {
        logins.frozen.remove(&user);
    }
    Ok(Json(json!({ "frozen": frozen })))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    object: String,
    field: String,
    /// The new value; `{}` in it becomes the number of the record.
    value: String,
    /// Every so many records.
    every: usize,
}

/// Changes a text field of every n-th record that is not deleted, at the org's time: a busy day for incremental runs.
async fn change(State(org): State<Arc<Org>>, Json(order): Json<Change>) -> Result<Json<Value>, ApiError> {
    let work = tokio::task::spawn_blocking(move || {
        let now = org.clock.now().timestamp();
        org.write(|store| {
            let object = store.schema.find(&order.object).ok_or_else(ApiError::not_found)?;
            let field = store.schema.objects[object].find(&order.field).ok_or_else(ApiError::not_found)?;
            if store.schema.objects[object].fields[field].storage != Storage::Text {
                return Err(ApiError::new(400, "INVALID_FIELD", "Only text fields can be changed in bulk"));
            }
            let mut changed = 0;
            for row in (0..store.table(object).rows() as u32).step_by(order.every.max(1)) {
                if !store.table(object).has(row) || store.flag(object, row, "IsDeleted") {
                    continue;
                }
                let value = order.value.replace("{}", &row.to_string());
                store.set(object, row, field, StoreValue::Text(&value));
                write::touch(store, object, row, 0, now);
                changed += 1;
            }
            Ok(changed)
        })
    });
    let changed =
        work.await.map_err(|_| ApiError::new(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."))??;
    Ok(Json(json!({ "changed": changed })))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    /// User name; none means the integration user.
    user: Option<String>,
    object: String,
    /// None means the whole object.
    field: Option<String>,
    permission: Permission,
}

/// Sets what a user may do with a field or an object: `hidden`, `read_only`, `full`.
async fn permissions(State(org): State<Arc<Org>>, Json(order): Json<Grant>) -> Result<Json<Value>, ApiError> {
    let object = org.schema.find(&order.object).ok_or_else(ApiError::not_found)?;
    let user = match &order.user {
        None => 0,
        Some(name) => org.user_named(name).ok_or_else(ApiError::not_found)?,
    };
    match &order.field {
        None => org.grant(user, |access| access.set_object(object, order.permission)),
        Some(name) => {
            let field = org.schema.objects[object].find(name).ok_or_else(ApiError::not_found)?;
            org.grant(user, |access| access.set_field(object, field, order.permission));
        }
    }
    Ok(Json(json!({ "set": true })))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    ids: Vec<String>,
}

/// What REST has no path for: deletes records for good, or takes them out of the recycle bin.
async fn records(
    State(org): State<Arc<Org>>,
    Path(operation): Path<String>,
    Json(order): Json<Ids>,
) -> Result<Json<Value>, ApiError> {
    let caller = Caller { user: 0, now: org.clock.now().timestamp(), access: Arc::default() };
    let results = org.write(|store| {
        let mut writer = Writer::new(store, &caller);
        let mut results = Vec::new();
        for id in &order.ids {
            let object = Id::parse(id).and_then(|id| writer.store().schema.by_prefix(id.prefix()));
            let object = object.ok_or_else(ApiError::not_found)?;
            results.push(match operation.as_str() {
                "hard_delete" => writer.hard_delete(object, id),
                "undelete" => writer.undelete(object, id),
                _ => return Err(ApiError::not_found()),
            });
        }
        Ok(results)
    })?;
    let shown = results.into_iter().map(|result| match result {
        Ok(written) => json!({ "id": written.id.as_str(), "success": true, "errors": [] }),
        Err(refused) => json!({ "success": false, "errors": [refused.of_record()] }),
    });
    Ok(Json(shown.collect()))
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    /// Id of the record that stays.
    master: String,
    /// Ids of one or two records that become a part of it.
    merge: Vec<String>,
    /// Values that the master gets.
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
}

/// Merges records, which REST has no path for.
async fn merge(State(org): State<Arc<Org>>, Json(order): Json<Merge>) -> Result<Json<Value>, ApiError> {
    let caller = Caller { user: 0, now: org.clock.now().timestamp(), access: Arc::default() };
    let object = Id::parse(&order.master).and_then(|id| org.schema.by_prefix(id.prefix()));
    let object = object.ok_or_else(ApiError::not_found)?;
    let values = write::from_json(&org.schema, &caller.access, object, &order.fields)?;
    let written = org.write(|store| Writer::new(store, &caller).merge(object, &order.master, &order.merge, &values))?;
    Ok(Json(json!({ "id": written.id.as_str(), "success": true, "errors": [] })))
}
