//! What only a sandbox has, under `/__sandbox/`: counts, calls, dumps, emptying, switches and limits. No login, no quota.

use std::sync::Arc;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Map;
use serde_json::Value as Json;

use super::objects::write_row;
use super::quota::Limits;
use super::reply::Reply;
use super::tenant::Tenant;

/// Rows of one piece of a dump.
const PIECE: usize = 10_000;

fn wrong(text: impl Into<String>) -> Response {
    (StatusCode::BAD_REQUEST, text.into()).into_response()
}

/// `GET /__sandbox/calls`.
pub(super) async fn calls(State(tenant): State<Arc<Tenant>>) -> Response {
    axum::Json(tenant.quota.calls()).into_response()
}

/// `GET /__sandbox/counts`.
pub(super) async fn counts(State(tenant): State<Arc<Tenant>>) -> Response {
    let store = tenant.read();
    let counts: Map<String, Json> = tenant
        .catalog
        .objects
        .iter()
        .zip(&store.tables)
        .map(|(object, table)| (object.name.clone(), table.len().into()))
        .collect();
    axum::Json(counts).into_response()
}

/// `GET /__sandbox/dump/{object}`: all records, one JSON object a line, oldest first.
pub(super) async fn dump(State(tenant): State<Arc<Tenant>>, Path(name): Path<String>) -> Result<Response, Reply> {
    let object = tenant.object(&name)?;
    let pieces = futures::stream::unfold(0, move |from| {
        let tenant = Arc::clone(&tenant);
        async move {
            let store = tenant.read();
            let table = &store.tables[object];
            if from >= table.rows() {
                return None;
            }
            let mut lines = Vec::new();
            let show = tenant.show();
            let to = table.rows().min(from + PIECE);
            for row in (from..to).filter(|row| table.is_live(*row)) {
                write_row(&tenant, &store, object, row, show, &mut lines);
                lines.push(b'\n');
            }
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(lines)), to))
        }
    });
    Ok(([("content-type", "application/x-ndjson")], Body::from_stream(pieces)).into_response())
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Emptying {
    #[serde(default)]
    objects: Vec<String>,
}

/// `POST /__sandbox/empty`: the records of the `objects` named, or of all, were never there. Their ids begin anew and no
/// log tells of them; lookups of other records stay as they are.
pub(super) async fn empty(State(tenant): State<Arc<Tenant>>, body: Bytes) -> Result<Response, Reply> {
    let order = if body.is_empty() { Ok(Emptying::default()) } else { serde_json::from_slice::<Emptying>(&body) };
    let order = match order {
        Ok(order) => order,
        Err(error) => return Ok(wrong(error.to_string())),
    };
    let mut objects = order.objects.iter().map(|name| tenant.object(name)).collect::<Result<Vec<_>, _>>()?;
    if objects.is_empty() {
        objects = (0..tenant.catalog.objects.len()).collect();
        tenant.people_jobs.forget();
    }
    tenant.write().empty(&tenant.catalog, &objects);
    Ok(counts(State(tenant)).await)
}

/// `GET /__sandbox/switches`.
pub(super) async fn switches(State(tenant): State<Arc<Tenant>>) -> Response {
    axum::Json(tenant.switches().as_ref()).into_response()
}

/// `PUT /__sandbox/switches` with those to change.
pub(super) async fn set_switches(State(tenant): State<Arc<Tenant>>, body: Bytes) -> Response {
    let changed = serde_json::from_slice(&body)
        .map_err(|error| error.to_string())
        .and_then(|changes: Json| tenant.switches().with(&changes));
    match changed {
        Ok(changed) => {
            tenant.set_switches(changed);
            switches(State(tenant)).await
        }
        Err(text) => wrong(text),
    }
}

/// `GET /__sandbox/quotas`.
pub(super) async fn quotas(State(tenant): State<Arc<Tenant>>) -> Response {
    axum::Json(tenant.quota.limits()).into_response()
}

/// `PUT /__sandbox/quotas`: `null` turns them off; limits that are not named take their defaults.
pub(super) async fn set_quotas(State(tenant): State<Arc<Tenant>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Option<Limits>>(&body) {
        Ok(limits) => {
            tenant.quota.set_limits(limits);
            quotas(State(tenant)).await
        }
        Err(error) => wrong(error.to_string()),
    }
}
