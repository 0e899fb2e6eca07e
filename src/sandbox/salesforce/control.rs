//! `/__sandbox/…`: what a test or a demo may see and set, clearly apart from the service's own paths.
//!
//! `GET planted` · `GET counts` · `GET calls` · `POST limits` · `POST sessions/expire` · `POST change`; the clock is the
//! server's.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use axum::routing::post;
use serde_json::Value;
use serde_json::json;

use super::error::ApiError;
use super::org::Org;
use super::org::lock;
use super::records;
use super::schema::Storage;
use super::store::Value as StoreValue;

/// The control paths.
pub(super) fn routes() -> Router<Arc<Org>> {
    Router::new()
        .route("/__sandbox/planted", get(planted))
        .route("/__sandbox/counts", get(counts))
        .route("/__sandbox/calls", get(calls))
        .route("/__sandbox/limits", post(limits))
        .route("/__sandbox/sessions/expire", post(expire))
        .route("/__sandbox/change", post(change))
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
        let rows = store.table(index).rows();
        let deleted = (0..rows as u32).filter(|row| store.flag(index, *row, "IsDeleted")).count();
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
}

/// Sets limits and what is used of them.
async fn limits(State(org): State<Arc<Org>>, Json(order): Json<Limits>) -> Json<Value> {
    let (requests, jobs) = (order.DailyApiRequests, order.DailyBulkV2QueryJobs);
    org.set_limits((requests.used, requests.max), (jobs.used, jobs.max));
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
                if store.flag(object, row, "IsDeleted") {
                    continue;
                }
                let value = order.value.replace("{}", &row.to_string());
                store.set(object, row, field, StoreValue::Text(&value));
                records::touch(store, object, row, 0, now);
                changed += 1;
            }
            Ok(changed)
        })
    });
    let changed =
        work.await.map_err(|_| ApiError::new(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."))??;
    Ok(Json(json!({ "changed": changed })))
}
