//! Bulk export: a query whose rows are fetched as CSV in chunks of 20,000 (gainsight-api §6.2).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value as Json;
use serde_json::json;

use super::catalog::Field;
use super::catalog::Path as FieldPath;
use super::column::Value;
use super::json::write_csv;
use super::json::write_csv_text;
use super::query::Query;
use super::query::QueryBody;
use super::query::compile;
use super::reply::INVALID_FIELD;
use super::reply::Reply;
use super::tenant::Tenant;
use super::tenant::lock;

use crate::clock::random_id;

type Answer = Result<Reply, Reply>;

const CHUNK: usize = 20_000;
/// Rows that tell how long the others will be.
const SAMPLE: usize = 256;
const MOST_ROWS: usize = 1_000_000;
/// Exports that are remembered; more than a day's quota is not needed.
const KEPT: usize = 100;

/// The latest exports.
#[derive(Debug, Default)]
pub(super) struct Exports {
    latest: Mutex<VecDeque<Arc<Export>>>,
}

/// One export: which rows, not what is in them; a chunk shows its rows as they are when it is fetched.
#[derive(Debug)]
struct Export {
    id: String,
    query: Query,
    rows: Vec<u32>,
}

/// `POST /v3/exports/data/bulk/{object}`.
pub(super) async fn start(State(tenant): State<Arc<Tenant>>, Path(name): Path<String>, body: Body) -> Answer {
    let object = tenant.object(&name)?;
    let bytes = tenant.body(body).await?;
    let malformed = |text: String| Reply::bad("GSOBJ_ESS_9150", text);
    let body: QueryBody =
        serde_json::from_slice(&bytes).map_err(|error| malformed(format!("Malformed query ({error}).")))?;
    let query =
        compile(&tenant.catalog, object, body, &tenant.switches(), MOST_ROWS, MOST_ROWS).map_err(|refusal| {
            if refusal.no_select {
                Reply::bad("GSOBJ_ESS_9104", "Select list is missing in the query")
            } else {
                malformed(refusal.text)
            }
        })?;
    let worker = Arc::clone(&tenant);
    let found = tokio::task::spawn_blocking(move || {
        let rows = query.rows(&worker.catalog, &worker.read()).into_iter().map(|row| row as u32).collect();
        Export { id: random_id(), query, rows }
    });
    let export = found.await.map_err(|_| {
        Reply::fail(StatusCode::INTERNAL_SERVER_ERROR, "GU_1101", "Oops, something went wrong", b"null".to_vec())
    })?;
    let url = format!("v3/exports/data/bulk/status/{}", export.id);
    let mut latest = lock(&tenant.exports.latest);
    if latest.len() == KEPT {
        latest.pop_front();
    }
    latest.push_back(Arc::new(export));
    Ok(Reply::json(&json!({"statusURL": url})))
}

fn export(tenant: &Tenant, id: &str) -> Result<Arc<Export>, Reply> {
    let found = lock(&tenant.exports.latest).iter().find(|export| export.id == id).map(Arc::clone);
    found.ok_or_else(|| Reply::bad("GSOBJ_ESS_9150", format!("{INVALID_FIELD} (export = {id}).")))
}

/// `GET /{statusURL}`.
pub(super) async fn status(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Answer {
    let export = export(&tenant, &id)?;
    let chunks: Vec<Json> = (0..export.rows.len().div_ceil(CHUNK))
        .map(|number| {
            let offset = number * CHUNK;
            json!({"chunkURL": format!("v3/exports/data/bulk/chunk/{id}/{number}"), "offset": offset,
                   "limit": CHUNK.min(export.rows.len() - offset)})
        })
        .collect();
    Ok(Reply::json(&json!({"jobStatus": "COMPLETED", "totalRecords": export.rows.len(), "chunkDetails": chunks})))
}

/// `GET /{chunkURL}`.
pub(super) async fn chunk(State(tenant): State<Arc<Tenant>>, Path((id, number)): Path<(String, usize)>) -> Answer {
    let export = export(&tenant, &id)?;
    let from = number.saturating_mul(CHUNK);
    if from >= export.rows.len() {
        return Err(Reply::bad("GSOBJ_ESS_9150", format!("{INVALID_FIELD} (chunk = {number}).")));
    }
    let worker = Arc::clone(&tenant);
    let written = tokio::task::spawn_blocking(move || {
        let rows = &export.rows[from..export.rows.len().min(from + CHUNK)];
        let mut csv = Vec::new();
        write_rows(&worker, &export.query, rows, &mut csv);
        csv
    });
    written.await.map(Reply::csv).map_err(|_| {
        Reply::fail(StatusCode::INTERNAL_SERVER_ERROR, "GU_1101", "Oops, something went wrong", b"null".to_vec())
    })
}

fn write_rows(tenant: &Tenant, query: &Query, rows: &[u32], csv: &mut Vec<u8>) {
    for (at, path) in query.select.iter().enumerate() {
        if at > 0 {
            csv.push(b',');
        }
        write_csv_text(path.name.as_bytes(), csv);
    }
    csv.push(b'\n');
    let show = tenant.show();
    let mut columns: Vec<Column<'_>> = query.select.iter().map(|path| Column::of(tenant, path)).collect();
    let store = tenant.read();
    let live = rows.iter().map(|row| *row as usize).filter(|row| store.tables[query.object].is_live(*row));
    for (number, row) in live.enumerate() {
        if number == SAMPLE {
            // The rest is about as long as the beginning: room for all of it at once.
            csv.reserve(csv.len() / SAMPLE * (rows.len() - SAMPLE) * 9 / 8);
        }
        for (at, column) in columns.iter_mut().enumerate() {
            if at > 0 {
                csv.push(b',');
            }
            let value = store.value(column.path, row);
            // Neighbours were often written in one call and have their moments in common.
            if value == column.last && matches!(value, Value::Int(_)) {
                csv.extend_from_within(column.written.clone());
                continue;
            }
            let start = csv.len();
            write_csv(&tenant.catalog, column.field, value, show, csv);
            column.last = value;
            column.written = start..csv.len();
        }
        csv.push(b'\n');
    }
}

/// A column of an export, and its cell in the row before.
struct Column<'a> {
    path: &'a FieldPath,
    field: &'a Field,
    last: Value<'a>,
    written: Range<usize>,
}

impl<'a> Column<'a> {
    fn of(tenant: &'a Tenant, path: &'a FieldPath) -> Self {
        let field = &tenant.catalog.objects[path.object].fields[path.field];
        Self { path, field, last: Value::Null, written: 0..0 }
    }
}
