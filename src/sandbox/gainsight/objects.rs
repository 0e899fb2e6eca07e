//! The object API: insert, update, read, delete (gainsight-api §2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::Query as Params;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;

use super::catalog::Kind;
use super::catalog::Role;
use super::cell::Cell;
use super::cell::Fault;
use super::cell::Reason;
use super::cell::Rules;
use super::faults::object_refusal;
use super::faults::write_object_errors;
use super::given::Given;
use super::given::Record;
use super::gsid::has_form;
use super::json::Show;
use super::json::write_int;
use super::json::write_text;
use super::json::write_value;
use super::query::MOST_ROWS;
use super::query::QueryBody;
use super::query::compile;
use super::record::LookupRule;
use super::record::Terms;
use super::record::WriteBody;
use super::record::cells;
use super::record::lookup_rules;
use super::record::missing;
use super::record::shared;
use super::reply::INVALID_FIELD;
use super::reply::INVALID_ID;
use super::reply::NO_ENTITY;
use super::reply::Reply;
use super::store::Store;
use super::switches::EmptyRead;
use super::switches::ReadShape;
use super::switches::RepeatedKeys;
use super::switches::SeveralMatches;
use super::switches::Switches;
use super::switches::UnknownId;
use super::switches::UnmatchedRows;
use super::table::Compare;
use super::tenant::Tenant;
use super::tenant::parsed;

/// The most records of one write.
pub(super) const MOST_RECORDS: usize = 50;
/// The most keys of one update.
const MOST_KEYS: usize = 3;

type Answer = Result<Reply, Reply>;

#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    #[serde(default)]
    keys: Option<String>,
}

/// A write's records and lookups, counted and checked.
fn checked(
    tenant: &Tenant,
    switches: &Switches,
    object: usize,
    body: &WriteBody<'_>,
) -> Result<Vec<LookupRule>, Reply> {
    if !tenant.catalog.objects[object].is_low_volume() {
        return Err(Reply::bad("GSOBJ_1023", "Invalid API called, please refer to API documentation"));
    }
    if body.records.is_empty() {
        return Err(Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} (records = []).")));
    }
    if body.records.len() > MOST_RECORDS {
        let text =
            format!("{} records given, maximum {MOST_RECORDS} records are allowed in one call", body.records.len());
        return Err(Reply::bad(&switches.too_many_records_code, text));
    }
    let rules = Rules::of(switches, true);
    lookup_rules(&tenant.catalog, object, body.lookups.as_ref(), rules).map_err(|fault| {
        Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} (lookups.{} = {}).", fault.field, fault.shown()))
    })
}

/// `POST /v1/data/objects/{object}`.
pub(super) async fn insert(State(tenant): State<Arc<Tenant>>, Path(name): Path<String>, body: Body) -> Answer {
    let object = tenant.object(&name)?;
    let body = tenant.body(body).await?;
    let body: WriteBody<'_> = parsed(&body)?;
    let switches = tenant.switches();
    let lookups = checked(&tenant, &switches, object, &body)?;
    let terms = Terms {
        catalog: &tenant.catalog,
        switches: &switches,
        object,
        lookups: &lookups,
        keys: &[],
        formats: switches.object_api_checks_formats,
    };
    let now = tenant.now();
    let mut guard = tenant.write();
    let store = &mut *guard;
    let mut ready = Vec::with_capacity(body.records.len());
    let mut faults = Vec::new();
    for record in &body.records {
        match cells(terms, store, record) {
            Err(found) => faults.push(found),
            Ok(cells) => {
                let mut found = missing(&tenant.catalog, object, &cells);
                found.extend(shared(terms, store, &cells, &[], &ready));
                if found.is_empty() { ready.push(cells) } else { faults.push(found) }
            }
        }
    }
    // One bad field in one record fails the whole call, nothing is written (§2.1).
    if !faults.is_empty() {
        return Err(object_refusal(&faults));
    }
    let mut out = Vec::with_capacity(256 * ready.len());
    for (record, cells) in body.records.iter().zip(&ready) {
        let row = store.tables[object].insert(cells, now);
        echo(&tenant, store, object, row, record, &lookups, &mut out);
    }
    Ok(Reply::Ok(written(ready.len(), &[], out)))
}

/// `PUT /v1/data/objects/{object}?keys=…`.
pub(super) async fn update(
    State(tenant): State<Arc<Tenant>>,
    Path(name): Path<String>,
    Params(params): Params<Keys>,
    body: Body,
) -> Answer {
    let object = tenant.object(&name)?;
    let switches = tenant.switches();
    let keys = key_fields(&tenant, &switches, object, params.keys.as_deref().unwrap_or(""))?;
    let body = tenant.body(body).await?;
    let body: WriteBody<'_> = parsed(&body)?;
    let lookups = checked(&tenant, &switches, object, &body)?;
    let terms = Terms {
        catalog: &tenant.catalog,
        switches: &switches,
        object,
        lookups: &lookups,
        keys: &keys,
        formats: switches.object_api_checks_formats,
    };
    let now = tenant.now();
    let mut guard = tenant.write();
    let store = &mut *guard;
    let mut ready = Vec::with_capacity(body.records.len());
    let mut faults = Vec::new();
    for record in &body.records {
        let checked = cells(terms, store, record).and_then(|cells| {
            let key = key_of(&tenant, object, &keys, &cells)?;
            Ok((cells, key))
        });
        match checked {
            Ok(one) => ready.push(one),
            Err(found) => faults.push(found),
        }
    }
    if !faults.is_empty() {
        return Err(object_refusal(&faults));
    }
    let mut matches: Vec<Vec<usize>> = Vec::with_capacity(ready.len());
    let mut unmatched = Vec::new();
    for ((cells, key), record) in ready.iter().zip(&body.records) {
        let field = &tenant.catalog.objects[object].fields[keys[0]].name;
        let fault = |reason| vec![Fault::new(reason, field, record.json(field))];
        let mut found = Vec::new();
        store.tables[object].find(&keys, key, Compare::Exact, &mut found);
        match (found.len(), switches.several_matches) {
            (0, _) => unmatched.push(fault(Reason::NoMatch)),
            (2.., SeveralMatches::Refuse) => faults.push(fault(Reason::Key)),
            (2.., SeveralMatches::UpdateFirst) => found.truncate(1),
            _ => {}
        }
        let repeated = found.iter().any(|row| matches.iter().any(|rows| rows.contains(row)));
        if repeated && switches.repeated_keys == RepeatedKeys::Refuse {
            faults.push(fault(Reason::Key));
        }
        let doubled = shared(terms, store, cells, &found, &[]);
        if !doubled.is_empty() {
            faults.push(doubled);
        }
        matches.push(found);
    }
    if !faults.is_empty() {
        return Err(object_refusal(&faults));
    }
    let none = unmatched.len() == ready.len();
    if none || (!unmatched.is_empty() && switches.unmatched_rows == UnmatchedRows::AllOrNothing) {
        return Err(object_refusal(&unmatched));
    }
    let mut out = Vec::with_capacity(256 * ready.len());
    let mut count = 0;
    for (((mut cells, _), rows), record) in ready.into_iter().zip(matches).zip(&body.records) {
        cells.retain(|(field, _)| !keys.contains(field));
        for row in rows {
            store.tables[object].update(row, &cells, now);
            echo(&tenant, store, object, row, record, &lookups, &mut out);
            count += 1;
        }
    }
    Ok(Reply::Ok(written(count, &unmatched, out)))
}

/// The fields of `?keys=`.
fn key_fields(tenant: &Tenant, switches: &Switches, object: usize, keys: &str) -> Result<Vec<usize>, Reply> {
    let refuse = |what: &str| Reply::bad("GSOBJ_1002", format!("{INVALID_FIELD} (keys = {what})."));
    let mut fields = Vec::new();
    for key in keys.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        let at = tenant.catalog.objects[object].field(key).ok_or_else(|| refuse(key))?;
        // String, GSID, Number and Email are the listed types (§2.2).
        let allowed = match tenant.catalog.objects[object].fields[at].kind {
            Kind::String | Kind::Gsid | Kind::Lookup | Kind::Number | Kind::Email => true,
            Kind::SfdcId => switches.sfdcid_keys,
            _ => false,
        };
        if !allowed || fields.contains(&at) {
            return Err(refuse(key));
        }
        fields.push(at);
    }
    if fields.is_empty() || fields.len() > MOST_KEYS {
        return Err(refuse(keys));
    }
    Ok(fields)
}

/// The key of a record to update; every part must be there.
fn key_of(
    tenant: &Tenant,
    object: usize,
    keys: &[usize],
    cells: &[(usize, Cell<'_>)],
) -> Result<Vec<Cell<'static>>, Vec<Fault>> {
    let mut key = Vec::with_capacity(keys.len());
    for at in keys {
        let field = &tenant.catalog.objects[object].fields[*at];
        match cells.iter().find(|(one, _)| one == at) {
            Some((_, cell)) if !cell.is_null() && *cell != Cell::Text("".into()) => key.push(cell.clone().into_owned()),
            _ => {
                let reason = if field.role == Role::Gsid { Reason::Gsid } else { Reason::NotNullable };
                return Err(vec![Fault::new(reason, &field.name, Json::Null)]);
            }
        }
    }
    Ok(key)
}

/// Appends a written record: its id, then the fields that were given, as they were given.
fn echo(
    tenant: &Tenant,
    store: &Store,
    object: usize,
    row: usize,
    record: &Record<'_>,
    lookups: &[LookupRule],
    out: &mut Vec<u8>,
) {
    if !out.is_empty() {
        out.push(b',');
    }
    let fields = &tenant.catalog.objects[object].fields;
    out.extend_from_slice(b"{\"Gsid\":\"");
    out.extend_from_slice(&tenant.catalog.gsids.write(store.tables[object].id(row)));
    out.push(b'"');
    for (name, value) in &record.0 {
        let Some(at) = tenant.catalog.objects[object].field(name) else { continue };
        if fields[at].role == Role::Gsid || lookups.iter().any(|rule| rule.uses(name) || rule.target == at) {
            continue;
        }
        out.push(b',');
        out.extend_from_slice(&fields[at].head);
        match value {
            Given::Text(text) => write_text(text.as_bytes(), out),
            other => out.extend_from_slice(other.to_json().to_string().as_bytes()),
        }
    }
    for rule in lookups {
        out.push(b',');
        out.extend_from_slice(&fields[rule.target].head);
        let value = store.tables[object].get(row, rule.target);
        write_value(&tenant.catalog, &fields[rule.target], value, tenant.show(), out);
    }
    out.push(b'}');
}

/// `data` of a write that went through.
fn written(count: usize, unmatched: &[Vec<Fault>], records: Vec<u8>) -> Vec<u8> {
    let mut data = Vec::with_capacity(records.len() + 64);
    data.extend_from_slice(b"{\"count\":");
    write_int(count as i64, &mut data);
    data.extend_from_slice(b",\"errors\":");
    if unmatched.is_empty() {
        data.extend_from_slice(b"null")
    } else {
        write_object_errors(unmatched, &mut data)
    }
    data.extend_from_slice(b",\"records\":[");
    data.extend_from_slice(&records);
    data.extend_from_slice(b"]}");
    data
}

/// `POST /v1/data/objects/query/{object}`.
pub(super) async fn query(State(tenant): State<Arc<Tenant>>, Path(name): Path<String>, body: Body) -> Answer {
    let object = tenant.object(&name)?;
    let body: QueryBody = tenant.json(body).await?;
    // A scan may take long: not on the threads that serve the connections.
    let worker = Arc::clone(&tenant);
    tokio::task::spawn_blocking(move || read(&worker, object, body)).await.unwrap_or_else(|_| {
        Err(Reply::fail(StatusCode::INTERNAL_SERVER_ERROR, "GU_1101", "Oops, something went wrong", b"null".to_vec()))
    })
}

/// Runs a query.
pub(super) fn read(tenant: &Tenant, object: usize, body: QueryBody) -> Answer {
    let switches = tenant.switches();
    let query = compile(&tenant.catalog, object, body, &switches, switches.default_query_limit, MOST_ROWS)
        .map_err(|refusal| Reply::bad("GSOBJ_1002", refusal.text))?;
    let now = tenant.now();
    if tenant.read().log_is_stale(now) {
        tenant.write().trim_log(now);
    }
    let wanted = query.index_wanted(&tenant.catalog, &tenant.read());
    if let Some(field) = wanted {
        tenant.write().tables[object].index(&[field], Compare::Exact);
    }
    let store = tenant.read();
    let rows = query.rows(&tenant.catalog, &store);
    if rows.is_empty() && switches.empty_read == EmptyRead::Gsobj1011 {
        return Err(Reply::bad("GSOBJ_1011", NO_ENTITY));
    }
    let mut data = Vec::with_capacity(rows.len() * query.select.len() * 24 + 32);
    let list = switches.read_shape == ReadShape::List;
    if !list {
        data.extend_from_slice(b"{\"records\":");
    }
    query.write(&tenant.catalog, &store, &rows, tenant.show(), &mut data);
    if !list {
        data.push(b'}');
    }
    Ok(Reply::Ok(data))
}

/// The row of a GSID in a path.
fn row_of(tenant: &Tenant, store: &Store, object: usize, gsid: &str) -> Result<usize, Reply> {
    if !has_form(gsid.as_bytes()) {
        return Err(Reply::bad("GSOBJ_1004", INVALID_ID));
    }
    let id = tenant.catalog.gsids.read(gsid.as_bytes());
    id.and_then(|id| store.tables[object].row_of(id)).ok_or_else(|| Reply::bad("GSOBJ_1011", NO_ENTITY))
}

/// `GET /v1/data/objects/{object}/{gsid}`.
pub(super) async fn get(State(tenant): State<Arc<Tenant>>, Path((name, gsid)): Path<(String, String)>) -> Answer {
    let object = tenant.object(&name)?;
    let store = tenant.read();
    let row = row_of(&tenant, &store, object, &gsid)?;
    let mut data = b"{\"records\":[".to_vec();
    write_row(&tenant, &store, object, row, tenant.show(), &mut data);
    data.extend_from_slice(b"]}");
    Ok(Reply::Ok(data))
}

/// Appends a whole record.
pub(super) fn write_row(tenant: &Tenant, store: &Store, object: usize, row: usize, show: Show, out: &mut Vec<u8>) {
    for (at, field) in tenant.catalog.objects[object].fields.iter().enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        out.extend_from_slice(&field.head);
        write_value(&tenant.catalog, field, store.tables[object].get(row, at), show, out);
    }
    out.push(b'}');
}

/// `DELETE /v1/data/objects/{object}/{gsid}`.
pub(super) async fn delete(State(tenant): State<Arc<Tenant>>, Path((name, gsid)): Path<(String, String)>) -> Answer {
    let object = tenant.object(&name)?;
    if tenant.catalog.objects[object].object_type == "SYSTEM" {
        return Err(Reply::bad("GSOBJ_1023", "Invalid API called, please refer to API documentation"));
    }
    let switches = tenant.switches();
    let now = tenant.now();
    let mut store = tenant.write();
    let row = row_of(&tenant, &store, object, &gsid).map_err(|reply| match switches.delete_unknown_id {
        UnknownId::Gsobj1011 => reply,
        UnknownId::Gsobj1004 => Reply::bad("GSOBJ_1004", INVALID_ID),
    })?;
    store.delete(&tenant.catalog, object, row, now, switches.referenced_delete_refused).map_err(|_| {
        Reply::fail(StatusCode::INTERNAL_SERVER_ERROR, "GSOBJ_1003", "Failed to delete data", b"null".to_vec())
    })?;
    Ok(Reply::json(&Json::from(format!("Record with GSID: {gsid} successfully deleted."))))
}

/// A path without an id.
pub(super) async fn no_id() -> Reply {
    Reply::bad("GSOBJ_1004", INVALID_ID)
}
