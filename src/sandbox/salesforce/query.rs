//! `/query`, `/queryAll` and their next pages.
//!
//! A cursor keeps the snapshot it began with, so its pages fit together whatever is written meanwhile.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::describe::type_name;
use super::error::ApiError;
use super::format;
use super::ids::Id;
use super::org::lock;
use super::rest::Answer;
use super::rest::Call;
use super::rest::bind;
use super::rows::Shape;
use super::schema::Kind;
use super::schema::Storage;
use super::soql::Bound;
use super::store::Store;

/// Rows of a page unless the client asks for fewer.
const PAGE: usize = 2000;
/// Cursors that the org keeps; the oldest give way.
const KEPT: usize = 200;

/// An answer of several pages.
pub(super) struct Cursor {
    store: Store,
    shape: Shape,
    rows: Vec<u32>,
    page: usize,
    /// `query` or `queryAll`.
    resource: &'static str,
}

/// `GET /query?q=…`, `GET /queryAll?q=…`.
pub(super) fn start(call: &Call, with_deleted: bool) -> Answer {
    let text = call
        .parameter("q")
        .ok_or_else(|| ApiError::new(400, "MALFORMED_QUERY", "The request must have a parameter q with a query"))?;
    let (store, _, bound) = bind(call, text)?;
    if call.parameter("columns") == Some("true") {
        return Ok(axum::Json(columns(&store, &bound)).into_response());
    }
    let rows = bound.rows(&store, with_deleted);
    if bound.count {
        return Ok(axum::Json(json!({ "totalSize": rows.len(), "done": true, "records": [] })).into_response());
    }
    let shape = Shape::with_children(&bound, &store, with_deleted);
    let resource = if with_deleted { "queryAll" } else { "query" };
    let cursor = Arc::new(Cursor { store, shape, rows, page: page_size(call), resource });
    let mut id = String::new();
    if cursor.rows.len() > cursor.page {
        let mut cursors = lock(&call.org.cursors);
        let last = cursors.back().and_then(|(id, _)| Id::parse(id)?.number()).unwrap_or(0);
        id = Id::new(*b"01g", last + 1).to_string();
        cursors.push_back((id.clone(), Arc::clone(&cursor)));
        if cursors.len() > KEPT {
            cursors.pop_front();
        }
    }
    Ok(cursor.answer(&id, 0, &call.base))
}

/// `GET /query/01g…-2000`; another `q` is ignored.
pub(super) fn next(call: &Call, locator: &str) -> Answer {
    let dead = || ApiError::new(400, "INVALID_QUERY_LOCATOR", "invalid query locator");
    let (id, from) = locator.rsplit_once('-').ok_or_else(dead)?;
    let from: usize = from.parse().map_err(|_| dead())?;
    if call.locator_is_dead(locator) {
        return Err(dead());
    }
    let cursors = lock(&call.org.cursors);
    let cursor =
        cursors.iter().find(|(known, _)| known == id).map(|(_, cursor)| Arc::clone(cursor)).ok_or_else(dead)?;
    drop(cursors);
    if from >= cursor.rows.len() {
        return Err(dead());
    }
    Ok(cursor.answer(id, from, &call.base))
}

/// `Sforce-Query-Options: batchSize=N`, from 200 to 2000.
fn page_size(call: &Call) -> usize {
    let options = call.headers.get("sforce-query-options").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let size = options.split([';', ',']).find_map(|option| option.trim().strip_prefix("batchSize=")?.parse().ok());
    size.unwrap_or(PAGE).clamp(200, PAGE)
}

impl Cursor {
    fn answer(&self, id: &str, from: usize, base: &str) -> Response {
        let end = (from + self.page).min(self.rows.len());
        let done = end == self.rows.len();
        let mut out = Vec::with_capacity((end - from) * 256 + 128);
        out.extend_from_slice(format!("{{\"totalSize\":{},\"done\":{done}", self.rows.len()).as_bytes());
        if !done {
            out.extend_from_slice(b",\"nextRecordsUrl\":");
            format::json_text(&mut out, &format!("{base}/{}/{id}-{end}", self.resource));
        }
        out.extend_from_slice(b",\"records\":[");
        for (at, row) in self.rows[from..end].iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.shape.write(&mut out, &self.store, *row, base);
        }
        out.extend_from_slice(b"]}");
        ([(CONTENT_TYPE, "application/json;charset=UTF-8")], out).into_response()
    }
}

/// `columns=true`: what the columns are, without the rows. The CLI asks for it.
fn columns(store: &Store, bound: &Bound) -> Value {
    let object = &store.schema.objects[bound.object];
    let selected = bound.outputs.iter().any(|output| output.name == "Id");
    json!({
        "columnMetadata": column_list(store, bound),
        "entityName": object.name,
        "groupBy": false,
        "idSelected": selected,
        "keyPrefix": object.prefix,
    })
}

/// The columns in the order of the query; a subquery is one that joins its own.
fn column_list(store: &Store, bound: &Bound) -> Vec<Value> {
    let mut columns: Vec<Value> = bound
        .outputs
        .iter()
        .map(|output| {
            let field = output.path.definition(&store.schema);
            json!({
                "aggregate": false,
                "apexType": type_name(field.kind),
                "booleanType": field.kind == Kind::Boolean,
                "columnName": output.name,
                "custom": field.name.ends_with("__c"),
                "displayName": output.name,
                "foreignKeyName": null,
                "insertable": field.writable(),
                "joinColumns": [],
                "numberType": matches!(field.storage, Storage::Integer | Storage::Double),
                "textType": field.is_text(),
                "updatable": field.writable(),
            })
        })
        .collect();
    for (before, children) in bound.children.iter().enumerate() {
        let column = json!({
            "aggregate": true,
            "apexType": null,
            "booleanType": false,
            "columnName": children.name,
            "custom": children.name.ends_with("__r"),
            "displayName": children.name,
            "foreignKeyName": null,
            "insertable": false,
            "joinColumns": column_list(store, &children.bound),
            "numberType": false,
            "textType": false,
            "updatable": false,
        });
        columns.insert((children.after + before).min(columns.len()), column);
    }
    columns
}
