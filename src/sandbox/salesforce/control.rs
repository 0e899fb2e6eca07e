//! `/__sandbox/…`: what a test or a demo may see and set, clearly apart from the service's own paths.
//!
//! `GET planted` · `GET counts` · `GET calls` · `POST limits` · `POST sessions/expire` · `POST change` · `POST permissions` ·
//! `POST records/hard_delete` · `POST records/undelete`; the clock is the server's.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::extract::State;
use axum::routing::get;
use axum::routing::post;
use serde_json::Value;
use serde_json::json;

use super::access::Permission;
use super::error::ApiError;
use super::ids::Id;
use super::org::Org;
use super::org::lock;
use super::schema::Storage;
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
        .route("/__sandbox/change", post(change))
        .route("/__sandbox/permissions", post(permissions))
        .route("/__sandbox/records/{operation}", post(records))
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

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    used: Option<u64>,
    max: Option<u64>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(non_snake_case, reason = "the names of the limits in /limits")]
struct Limits {
    #[serde(default)]
    DailyApiRequests: Limit,
    #[serde(default)]
    DailyBulkV2QueryJobs: Limit,
    #[serde(default)]
    DailyBulkApiBatches: Limit,
}

/// Sets limits and what is used of them.
async fn limits(State(org): State<Arc<Org>>, Json(order): Json<Limits>) -> Json<Value> {
    let (requests, jobs) = (order.DailyApiRequests, order.DailyBulkV2QueryJobs);
    org.set_limits((requests.used, requests.max), (jobs.used, jobs.max));
    org.set_batches(order.DailyBulkApiBatches.used, order.DailyBulkApiBatches.max);
    Json(json!({ "set": true }))
}

/// Ends every session: the next call of each client meets `INVALID_SESSION_ID`.
async fn expire(State(org): State<Arc<Org>>) -> Json<Value> {
    let mut logins = lock(&org.logins);
    let ended = logins.sessions.len();
    logins.sessions.clear();
    Json(json!({ "ended": ended }))
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
