//! User management (gainsight-api §4).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query as Params;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::json;

use super::cell::Cell;
use super::cell::Fault;
use super::cell::Reason;
use super::cell::Rules;
use super::cell::is_email;
use super::column::Value;
use super::faults::user_errors;
use super::faults::user_words;
use super::given::Given;
use super::given::Record;
use super::given::read;
use super::json::write_text;
use super::objects::MOST_RECORDS;
use super::query::MOST_ROWS;
use super::query::QueryBody;
use super::query::compile;
use super::record::LookupFile;
use super::record::Terms;
use super::record::cells;
use super::record::lookup_rules;
use super::record::put;
use super::record::value_after;
use super::reply::Reply;
use super::store::Store;
use super::switches::UserErrors;
use super::table::Compare;
use super::tenant::Tenant;

type Answer = Result<Reply, Reply>;
type Cells<'a> = Vec<(usize, Cell<'a>)>;

/// The body of a create or an update.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsersBody<'a> {
    #[serde(borrow, default)]
    records: Vec<Record<'a>>,
    #[serde(default)]
    lookups: Option<std::collections::HashMap<String, LookupFile>>,
    #[serde(default)]
    permission_bundle_action: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    #[serde(default)]
    key: Option<String>,
}

/// The user object's fields that have rules of their own.
struct Fields {
    object: usize,
    name: usize,
    first: usize,
    last: usize,
    email: usize,
    username: usize,
    manager: usize,
    company: usize,
    system_type: usize,
    active: usize,
    bundles: usize,
}

impl Fields {
    fn of(tenant: &Tenant) -> Result<Self, Reply> {
        let object = tenant.object("gsuser")?;
        let field = |name: &str| tenant.catalog.objects[object].field(name).ok_or_else(oops);
        Ok(Self {
            object,
            name: field("Name")?,
            first: field("FirstName")?,
            last: field("LastName")?,
            email: field("Email")?,
            username: field("SFDCUserName")?,
            manager: field("Manager")?,
            company: field("CompanyID")?,
            system_type: field("SystemType")?,
            active: field("IsActiveUser")?,
            bundles: field("PermissionBundles")?,
        })
    }
}

fn oops() -> Reply {
    Reply::fail(StatusCode::INTERNAL_SERVER_ERROR, "GU_1101", "Oops, something went wrong", b"null".to_vec())
}

/// `POST /v1/users/services?notify=…`.
pub(super) async fn create(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    write(&tenant, body, None).await
}

/// `PUT /v1/users/services?key=…`.
pub(super) async fn update(State(tenant): State<Arc<Tenant>>, Params(params): Params<Key>, body: Body) -> Answer {
    write(&tenant, body, Some(params.key.as_deref().unwrap_or(""))).await
}

async fn write(tenant: &Arc<Tenant>, body: Body, key: Option<&str>) -> Answer {
    let general = if key.is_none() { "GU_2401" } else { "GU_2402" };
    let fields = Fields::of(tenant)?;
    let body = tenant.body(body).await?;
    let mut body: UsersBody<'_> =
        read(&body).map_err(|error| Reply::bad(general, format!("Invalid request body ({error}).")))?;
    let key = key.map(|key| key_field(tenant, &fields, key)).transpose()?;
    if body.records.is_empty() || body.records.len() > MOST_RECORDS {
        let text = format!("{} records given, 1 to {MOST_RECORDS} records are allowed in one call", body.records.len());
        return Err(Reply::bad(general, text));
    }
    let append = match body.permission_bundle_action.as_deref() {
        None | Some("append") => true,
        Some("overwrite") => false,
        Some(other) => return Err(Reply::bad(general, format!("Invalid permissionBundleAction ({other})."))),
    };
    let take = |record: &mut Record<'_>| record.take("permissionBundles").as_ref().map(Given::to_json);
    let bundles: Vec<Option<Json>> = body.records.iter_mut().map(take).collect();
    let switches = tenant.switches();
    let rules = Rules::of(&switches, true);
    let lookups = lookup_rules(&tenant.catalog, fields.object, body.lookups.as_ref(), rules).map_err(|fault| {
        let words = user_words(&fault, general);
        Reply::bad(words.code, words.desc)
    })?;
    let keys: Vec<usize> = key.into_iter().collect();
    let terms = Terms {
        catalog: &tenant.catalog,
        switches: &switches,
        object: fields.object,
        lookups: &lookups,
        keys: &keys,
        formats: true,
    };
    let now = tenant.now();
    let mut guard = tenant.write();
    let store = &mut *guard;
    let mut faults = Vec::new();
    let mut ready: Vec<(Cells<'_>, Vec<usize>)> = Vec::new();
    for (record, bundles) in body.records.iter().zip(bundles) {
        let checked = cells(terms, store, record).and_then(|mut cells| {
            let rows = check(tenant, store, &fields, key, &mut cells)?;
            let names: Vec<Value<'_>> = ready.iter().map(|(cells, _)| folded_name(cells, &fields)).collect();
            let name = folded_name(&cells, &fields);
            if name != Value::Null && names.iter().any(|other| same_name(*other, name)) {
                return Err(vec![Fault::new(Reason::Duplicate, "SFDCUserName", shown(name))]);
            }
            if let Some(bundles) = bundles {
                let kept = merged(store, &fields, rows.first().copied(), bundles, append)?;
                put(&mut cells, fields.bundles, kept);
            }
            Ok((cells, rows))
        });
        match checked {
            Ok(one) => ready.push(one),
            Err(found) => faults.push(found),
        }
    }
    let refused = !faults.is_empty() && (switches.user_errors == UserErrors::WholeCall || ready.is_empty());
    if refused {
        return Err(refusal(&faults, general));
    }
    let mut out = Vec::new();
    let mut count = 0;
    for (mut cells, rows) in ready {
        cells.retain(|(field, _)| !keys.contains(field));
        let rows = if key.is_some() {
            for row in &rows {
                store.tables[fields.object].update(*row, &cells, now);
            }
            rows
        } else {
            vec![store.tables[fields.object].insert(&cells, now)]
        };
        for row in rows {
            out.extend_from_slice(if count > 0 { b",{\"Gsid\":\"" } else { b"{\"Gsid\":\"" });
            out.extend_from_slice(&tenant.catalog.gsids.write(store.tables[fields.object].id(row)));
            out.extend_from_slice(b"\",\"SFDCUserName\":");
            match store.tables[fields.object].get(row, fields.username) {
                Value::Text(text) => write_text(text, &mut out),
                _ => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
            count += 1;
        }
    }
    let errors = if faults.is_empty() { Json::Null } else { user_errors(&faults, general) };
    let mut data = format!("{{\"count\":{count},\"errors\":{errors},\"records\":[").into_bytes();
    data.extend_from_slice(&out);
    data.extend_from_slice(b"]}");
    Ok(Reply::Ok(data))
}

/// The whole call is refused; the first fault speaks for it.
fn refusal(faults: &[Vec<Fault>], general: &'static str) -> Reply {
    let Some(first) = faults.iter().flatten().next() else { return oops() };
    let words = user_words(first, general);
    let data = json!({"count": 0, "errors": user_errors(faults, general), "records": null});
    Reply::fail(StatusCode::BAD_REQUEST, words.code, words.desc, data.to_string().into_bytes())
}

/// `SFDCUserName`, `Gsid` or `SfdcUserId`; anything else is `GU_2409`.
fn key_field(tenant: &Tenant, fields: &Fields, key: &str) -> Result<usize, Reply> {
    ["SFDCUserName", "Gsid", "SfdcUserId"]
        .iter()
        .find(|one| one.eq_ignore_ascii_case(key))
        .and_then(|name| tenant.catalog.objects[fields.object].field(name))
        .ok_or_else(|| {
            let words = user_words(&Fault::new(Reason::Key, "key", Json::from(key)), "GU_2402");
            Reply::bad(words.code, words.desc)
        })
}

/// Checks one user; the answer is the rows that an update changes.
fn check(
    tenant: &Tenant,
    store: &mut Store,
    fields: &Fields,
    key: Option<usize>,
    cells: &mut Cells<'_>,
) -> Result<Vec<usize>, Vec<Fault>> {
    let name_of = |field: usize| tenant.catalog.objects[fields.object].fields[field].name.as_str();
    let mut rows = Vec::new();
    if let Some(key) = key {
        let found = cells.iter().find(|(at, cell)| *at == key && !cell.is_null()).map(|(_, cell)| cell.clone());
        let Some(cell) = found else { return Err(vec![Fault::new(Reason::Missing, name_of(key), Json::Null)]) };
        let compare = if key == fields.username { Compare::Folded } else { Compare::Exact };
        let shown = cell_json(tenant, &cell);
        store.tables[fields.object].find(&[key], &[cell], compare, &mut rows);
        if rows.is_empty() {
            return Err(vec![Fault::new(Reason::NoMatch, name_of(key), shown)]);
        }
    }
    let row = rows.first().copied();
    let mut faults = Vec::new();
    let blank = |cells: &Cells<'_>, store: &Store, field: usize| {
        matches!(value_after(cells, store, fields.object, row, field), Value::Null | Value::Text(b""))
    };
    let mut mandatory = vec![fields.email, fields.username];
    if value_after(cells, store, fields.object, row, fields.system_type) == Value::Text(b"External") {
        mandatory.push(fields.company);
    }
    for field in mandatory {
        if blank(cells, store, field) {
            faults.push(Fault::new(Reason::Missing, name_of(field), Json::Null));
        }
    }
    // "Name (or First/Last)": one of the two ways.
    let both = !blank(cells, store, fields.first) && !blank(cells, store, fields.last);
    let named = cells.iter().any(|(at, cell)| *at == fields.name && !matches!(cell, Cell::Null));
    if !both && blank(cells, store, fields.name) {
        let field = if blank(cells, store, fields.last) { fields.last } else { fields.first };
        faults.push(Fault::new(Reason::Missing, name_of(field), Json::Null));
    } else if both && !named && cells.iter().any(|(at, _)| *at == fields.first || *at == fields.last) {
        let part = |field: usize| match value_after(cells, store, fields.object, row, field) {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let name = format!("{} {}", part(fields.first), part(fields.last));
        put(cells, fields.name, Cell::Text(name.into()));
    }
    let username = cells.iter().find_map(|(at, cell)| match cell {
        Cell::Text(text) if *at == fields.username => Some(text.clone().into_owned()),
        _ => None,
    });
    if let Some(username) = username.filter(|name| !name.is_empty()) {
        if !is_email(&username) {
            faults.push(Fault::new(Reason::Email, "SFDCUserName", Json::from(username.as_str())));
        }
        let mut others = Vec::new();
        let wanted = [Cell::Text(username.as_str().into())];
        store.tables[fields.object].find(&[fields.username], &wanted, Compare::Folded, &mut others);
        if others.iter().any(|other| !rows.contains(other)) {
            faults.push(Fault::new(Reason::Duplicate, "SFDCUserName", Json::from(username.as_str())));
        }
    }
    for row in &rows {
        let own = store.tables[fields.object].id(*row);
        if cells.iter().any(|(at, cell)| *at == fields.manager && *cell == Cell::Int(own)) {
            let shown = cell_json(tenant, &Cell::Int(own));
            faults.push(Fault::new(Reason::OwnManager, "Manager", shown));
        }
    }
    if key.is_none() {
        for (field, cell) in [(fields.active, Cell::Bool(true)), (fields.system_type, Cell::Text("Internal".into()))] {
            if !cells.iter().any(|(at, _)| *at == field) {
                cells.push((field, cell));
            }
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

fn cell_json(tenant: &Tenant, cell: &Cell<'_>) -> Json {
    match cell {
        Cell::Null => Json::Null,
        Cell::Text(text) => Json::from(text.as_ref()),
        Cell::Int(id) => Json::from(String::from_utf8_lossy(&tenant.catalog.gsids.write(*id)).into_owned()),
        Cell::Bool(flag) => Json::from(*flag),
    }
}

fn folded_name<'a>(cells: &'a Cells<'_>, fields: &Fields) -> Value<'a> {
    cells
        .iter()
        .find_map(|(at, cell)| match cell {
            Cell::Text(text) if *at == fields.username => Some(Value::Text(text.as_bytes())),
            _ => None,
        })
        .unwrap_or(Value::Null)
}

fn same_name(left: Value<'_>, right: Value<'_>) -> bool {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => super::table::fold(left) == super::table::fold(right),
        _ => false,
    }
}

fn shown(value: Value<'_>) -> Json {
    match value {
        Value::Text(text) => Json::from(String::from_utf8_lossy(text).into_owned()),
        _ => Json::Null,
    }
}

/// The permission bundles that a user will have.
fn merged(
    store: &Store,
    fields: &Fields,
    row: Option<usize>,
    given: Json,
    append: bool,
) -> Result<Cell<'static>, Vec<Fault>> {
    let Json::Array(list) = &given else {
        return Err(vec![Fault::new(Reason::WrongType, "permissionBundles", given)]);
    };
    let mut kept: Vec<Json> = match row.map(|row| store.tables[fields.object].get(row, fields.bundles)) {
        Some(Value::Text(text)) if append => serde_json::from_slice(text).unwrap_or_default(),
        _ => Vec::new(),
    };
    for one in list {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    Ok(Cell::Text(Json::Array(kept).to_string().into()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    status: Option<bool>,
}

/// `PUT /v1/users/services/status?status=true|false` with a list of GSIDs.
pub(super) async fn status(State(tenant): State<Arc<Tenant>>, Params(params): Params<Status>, body: Body) -> Answer {
    let fields = Fields::of(&tenant)?;
    let Some(status) = params.status else { return Err(Reply::bad("GU_2402", "status is true or false")) };
    let body = tenant.body(body).await?;
    let ids: Vec<String> = serde_json::from_slice(&body)
        .map_err(|error| Reply::bad("GU_2402", format!("A list of GSIDs is expected ({error}).")))?;
    if ids.is_empty() || ids.len() > MOST_RECORDS {
        return Err(Reply::bad("GU_2402", format!("1 to {MOST_RECORDS} GSIDs are allowed in one call")));
    }
    let now = tenant.now();
    let mut store = tenant.write();
    let table = &mut store.tables[fields.object];
    let rows: Vec<Option<usize>> =
        ids.iter().map(|id| tenant.catalog.gsids.read(id.as_bytes()).and_then(|id| table.row_of(id))).collect();
    let faults: Vec<Vec<Fault>> = ids
        .iter()
        .zip(&rows)
        .filter(|(_, row)| row.is_none())
        .map(|(id, _)| vec![Fault::new(Reason::NoMatch, "Gsid", Json::from(id.as_str()))])
        .collect();
    if !faults.is_empty() {
        return Err(refusal(&faults, "GU_2402"));
    }
    for row in rows.into_iter().flatten() {
        table.update(row, &[(fields.active, Cell::Bool(status))], now);
    }
    let records: Vec<Json> = ids.iter().map(|id| json!({"Gsid": id})).collect();
    Ok(Reply::json(&json!({"count": records.len(), "errors": null, "records": records})))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListBody {
    #[serde(default)]
    include_total: bool,
    #[serde(default)]
    page: usize,
    #[serde(flatten)]
    query: QueryBody,
}

/// `POST /v1/users/services/list`.
pub(super) async fn list(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    let fields = Fields::of(&tenant)?;
    let mut body: ListBody = tenant.json(body).await?;
    let switches = tenant.switches();
    let bad = |text: String| Reply::bad("GU_2402", text);
    if body.query.select.as_ref().is_none_or(Vec::is_empty) {
        let visible = tenant.catalog.objects[fields.object].fields.iter().filter(|field| !field.hidden);
        body.query.select = Some(visible.map(|field| field.name.clone()).collect());
    }
    let limit = body.query.limit.unwrap_or(25).clamp(0, MOST_ROWS as i64) as usize;
    body.query.limit = None;
    body.query.offset = None;
    let query = compile(&tenant.catalog, fields.object, body.query, &switches, usize::MAX, MOST_ROWS)
        .map_err(|refusal| bad(refusal.text))?;
    let store = tenant.read();
    let rows = query.rows(&tenant.catalog, &store);
    let from = rows.len().min(body.page.saturating_mul(limit));
    let page = &rows[from..rows.len().min(from + limit)];
    let mut data = b"{\"records\":".to_vec();
    query.write(&tenant.catalog, &store, page, tenant.show(), &mut data);
    if body.include_total {
        data.extend_from_slice(format!(",\"total\":{}", rows.len()).as_bytes());
    }
    data.push(b'}');
    Ok(Reply::Ok(data))
}

#[cfg(test)]
mod tests {
    use crate::sandbox::gainsight::catalog::Catalog;

    #[test]
    fn the_schema_has_every_field_with_a_rule() {
        let catalog = Catalog::read("test", &[]).unwrap();
        let object = &catalog.objects[catalog.object("gsuser").unwrap()];
        for name in [
            "Name",
            "FirstName",
            "LastName",
            "Email",
            "SFDCUserName",
            "Manager",
            "CompanyID",
            "SystemType",
            "IsActiveUser",
            "PermissionBundles",
        ] {
            assert!(object.field(name).is_some(), "{name}");
        }
    }
}
