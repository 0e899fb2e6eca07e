//! The people API: persons and the companies that they belong to (gainsight-api §3).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::Query as Params;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value as Json;

use super::catalog::Catalog;
use super::cell::Cell;
use super::cell::Fault;
use super::cell::Reason;
use super::cell::Rules;
use super::column::Value;
use super::faults::people_refusal;
use super::given::Given;
use super::given::Record;
use super::given::read;
use super::objects::write_row;
use super::record::LookupFile;
use super::record::Terms;
use super::record::cells;
use super::record::lookup_rules;
use super::record::missing;
use super::record::put;
use super::record::value_after;
use super::reply::Reply;
use super::store::Store;
use super::switches::Switches;
use super::table::Compare;
use super::tenant::Tenant;

type Answer = Result<Reply, Reply>;
type Cells<'a> = Vec<(usize, Cell<'a>)>;

/// One person as it comes in.
#[derive(Debug, Default)]
pub(super) struct PersonBody<'a> {
    person: Record<'a>,
    companies: Vec<Record<'a>>,
    lookups: Lookups,
}

impl<'a> PersonBody<'a> {
    /// Takes the parts of a flat record apart.
    pub(super) fn of(mut record: Record<'a>) -> Result<Self, Vec<Fault>> {
        let refuse = |reason, name, value: &Given<'_>| vec![Fault::new(reason, name, value.to_json())];
        let companies = match record.take("companies") {
            None | Some(Given::Null) => Vec::new(),
            Some(Given::List(list)) => list
                .into_iter()
                .map(|one| match one {
                    Given::Record(company) => Ok(company.sorted()),
                    other => Err(refuse(Reason::WrongType, "companies", &other)),
                })
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(refuse(Reason::WrongType, "companies", &other)),
        };
        let lookups = match record.take("lookups") {
            None | Some(Given::Null) => None,
            Some(map) => {
                Some(serde_json::from_value(map.to_json()).map_err(|_| refuse(Reason::Lookup, "lookups", &map))?)
            }
        };
        Ok(Self { person: record, companies, lookups })
    }
}

/// The places of the people objects and their fields with rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) person: usize,
    pub(super) company_person: usize,
    pub(super) email: usize,
    name: usize,
    first: usize,
    last: usize,
    pub(super) person_id: usize,
    pub(super) company_id: usize,
    active: usize,
    primary: usize,
}

impl Fields {
    /// Looked up once: a million people would ask a million times.
    pub(super) fn of(catalog: &Catalog) -> Option<Self> {
        *catalog.people.get_or_init(|| Self::find(catalog))
    }

    fn find(catalog: &Catalog) -> Option<Self> {
        let person = catalog.object("person")?;
        let company_person = catalog.object("company_person")?;
        let of_person = |name: &str| catalog.objects[person].field(name);
        let of_company = |name: &str| catalog.objects[company_person].field(name);
        Some(Self {
            person,
            company_person,
            email: of_person("Email")?,
            name: of_person("Name")?,
            first: of_person("FirstName")?,
            last: of_person("LastName")?,
            person_id: of_company("Person_ID")?,
            company_id: of_company("Company_ID")?,
            active: of_company("Active")?,
            primary: of_company("IsPrimaryCompany")?,
        })
    }
}

/// Writes one person with its companies: all of it or, with the faults, nothing. Returns the person's row.
pub(super) fn upsert(
    catalog: &Catalog,
    switches: &Switches,
    store: &mut Store,
    body: &PersonBody<'_>,
    now: i64,
) -> Result<usize, Vec<Fault>> {
    let Some(fields) = Fields::of(catalog) else {
        return Err(vec![Fault::new(Reason::UnknownField, "person", Json::Null)]);
    };
    let (mut person, companies) = checked(catalog, switches, &fields, store, body)?;
    let row = put_person(catalog, switches, &fields, store, &mut person, now)?;
    let id = store.tables[fields.person].id(row);
    for mut company in companies {
        put_company(store, &fields, id, &mut company, now);
    }
    Ok(row)
}

/// The cells of a person and its companies, or everything that is wrong with them.
fn checked<'a>(
    catalog: &Catalog,
    switches: &Switches,
    fields: &Fields,
    store: &mut Store,
    body: &'a PersonBody<'_>,
) -> Result<(Cells<'a>, Vec<Cells<'a>>), Vec<Fault>> {
    let rules = Rules::of(switches, true);
    let (on_person, on_company) = split_lookups(catalog, fields, body)?;
    let person_lookups =
        lookup_rules(catalog, fields.person, on_person.as_ref(), rules).map_err(|fault| vec![fault])?;
    let company_lookups =
        lookup_rules(catalog, fields.company_person, on_company.as_ref(), rules).map_err(|fault| vec![fault])?;
    let terms = Terms { catalog, switches, object: fields.person, lookups: &person_lookups, keys: &[], formats: true };
    let mut faults = Vec::new();
    let person = cells(terms, store, &body.person).unwrap_or_else(|found| {
        faults.extend(found);
        Vec::new()
    });
    if faults.is_empty() && blank(&person, fields.email) {
        faults.push(Fault::new(Reason::Missing, "Email", body.person.json("Email")));
    }
    let terms = Terms { object: fields.company_person, lookups: &company_lookups, ..terms };
    let mut companies: Vec<Cells<'_>> = Vec::with_capacity(body.companies.len());
    for company in &body.companies {
        match company_cells(terms, fields, store, company) {
            Ok(cells) => companies.push(cells),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok((person, companies)) } else { Err(faults) }
}

/// Finds the person by its cells and writes it. Returns its row.
pub(super) fn put_person(
    catalog: &Catalog,
    switches: &Switches,
    fields: &Fields,
    store: &mut Store,
    person: &mut Cells<'_>,
    now: i64,
) -> Result<usize, Vec<Fault>> {
    let found = resolve(catalog, switches, store, fields, person)?;
    name_person(store, fields, found, person);
    let table = &mut store.tables[fields.person];
    match found {
        Some(row) => {
            table.update(row, person, now);
            Ok(row)
        }
        None => Ok(table.insert(person, now)),
    }
}

type Lookups = Option<std::collections::HashMap<String, LookupFile>>;

/// A lookup belongs to the object that has its target field; a person's own field comes first.
fn split_lookups(catalog: &Catalog, fields: &Fields, body: &PersonBody<'_>) -> Result<(Lookups, Lookups), Vec<Fault>> {
    let Some(lookups) = &body.lookups else { return Ok((None, None)) };
    let (mut on_person, mut on_company) = (std::collections::HashMap::new(), std::collections::HashMap::new());
    for (name, file) in lookups {
        if catalog.objects[fields.person].field(name).is_some() {
            on_person.insert(name.clone(), file.clone());
        } else if catalog.objects[fields.company_person].field(name).is_some() {
            on_company.insert(name.clone(), file.clone());
        } else {
            return Err(vec![Fault::new(Reason::UnknownField, name, Json::Null)]);
        }
    }
    Ok((Some(on_person), Some(on_company)))
}

fn company_cells<'a>(
    terms: Terms<'_>,
    fields: &Fields,
    store: &mut Store,
    company: &'a Record<'_>,
) -> Result<Cells<'a>, Vec<Fault>> {
    // The person is the one around it.
    if let Some(value) = company.get("Person_ID") {
        return Err(vec![Fault::new(Reason::ReadOnly, "Person_ID", value.to_json())]);
    }
    let cells = cells(terms, store, company).map_err(|mut faults| {
        for fault in &mut faults {
            // A well-formed id of no company is the one fault with a sentence of its own: the company must exist.
            let text = fault.value.as_str().unwrap_or("").as_bytes();
            if fault.reason == Reason::Gsid && fault.field == "Company_ID" && super::gsid::has_form(text) {
                fault.reason = Reason::NoCompany;
            }
        }
        faults
    })?;
    if blank(&cells, fields.company_id) {
        return Err(vec![Fault::new(Reason::NoCompany, "Company_ID", company.json("Company_ID"))]);
    }
    // Person_ID is mandatory too, and put in later.
    let absent: Vec<Fault> =
        missing(terms.catalog, terms.object, &cells).into_iter().filter(|fault| fault.field != "Person_ID").collect();
    if absent.is_empty() { Ok(cells) } else { Err(absent) }
}

/// Whether a field has no value, or one of blanks.
pub(super) fn blank(cells: &[(usize, Cell<'_>)], field: usize) -> bool {
    !cells.iter().any(|(at, cell)| {
        *at == field
            && match cell {
                Cell::Null => false,
                Cell::Text(text) => !text.trim().is_empty(),
                _ => true,
            }
    })
}

/// The person that the resolution key finds. A key with a blank part finds nobody.
fn resolve(
    catalog: &Catalog,
    switches: &Switches,
    store: &mut Store,
    fields: &Fields,
    person: &Cells<'_>,
) -> Result<Option<usize>, Vec<Fault>> {
    if let [name] = switches.person_key.as_slice()
        && let Some(field) = catalog.objects[fields.person].field(name)
    {
        let cell = person.iter().find(|(at, _)| *at == field).map(|(_, cell)| cell);
        let cell = cell.filter(|_| !blank(person, field));
        let find = |cell| store.tables[fields.person].find_first(&[field], std::slice::from_ref(cell), Compare::Folded);
        return Ok(cell.and_then(find));
    }
    let mut at = Vec::with_capacity(switches.person_key.len());
    let mut key = Vec::with_capacity(switches.person_key.len());
    for name in &switches.person_key {
        let Some(field) = catalog.objects[fields.person].field(name) else {
            return Err(vec![Fault::new(Reason::UnknownField, name, Json::Null)]);
        };
        if blank(person, field) {
            return Ok(None);
        }
        at.push(field);
        key.extend(person.iter().find(|(one, _)| *one == field).map(|(_, cell)| cell.clone()));
    }
    Ok(store.tables[fields.person].find_first(&at, &key, Compare::Folded))
}

/// A person without a name of its own is called by its first and last name.
fn name_person(store: &Store, fields: &Fields, row: Option<usize>, person: &mut Cells<'_>) {
    let has = |field: usize| person.iter().any(|(at, _)| *at == field);
    if has(fields.name) || !(has(fields.first) || has(fields.last)) {
        return;
    }
    let part = |field: usize| match value_after(person, store, fields.person, row, field) {
        Value::Text(text) => String::from_utf8_lossy(text),
        _ => Cow::Borrowed(""),
    };
    let name = [part(fields.first), Cow::Borrowed(" "), part(fields.last)].concat();
    let trimmed = name.trim();
    // Both names may have 255 characters, their sum may not.
    let cell = match trimmed.char_indices().nth(255) {
        None if trimmed.is_empty() => Cell::Null,
        None if trimmed.len() == name.len() => Cell::Text(name.into()),
        None => Cell::Text(trimmed.to_owned().into()),
        Some((end, _)) => Cell::Text(trimmed[..end].to_owned().into()),
    };
    put(person, fields.name, cell);
}

/// Writes one company person, found by person and company.
pub(super) fn put_company(store: &mut Store, fields: &Fields, person: i64, company: &mut Cells<'_>, now: i64) {
    let Some(company_id) = company.iter().find(|(at, _)| *at == fields.company_id).map(|(_, cell)| cell.clone()) else {
        return;
    };
    let table = &mut store.tables[fields.company_person];
    let key = [Cell::Int(person), company_id];
    let row = table.find_first(&[fields.person_id, fields.company_id], &key, Compare::Exact);
    // One primary company per person.
    if company.iter().any(|(at, cell)| *at == fields.primary && *cell == Cell::Bool(true)) {
        let mut found = Vec::new();
        table.find(&[fields.person_id], &[Cell::Int(person)], Compare::Exact, &mut found);
        for other in &found {
            if Some(*other) != row && table.get(*other, fields.primary) == Value::Bool(true) {
                table.update(*other, &[(fields.primary, Cell::Bool(false))], now);
            }
        }
    }
    match row {
        Some(row) => {
            company.retain(|(at, _)| *at != fields.company_id);
            table.update(row, company, now);
        }
        None => {
            company.push((fields.person_id, Cell::Int(person)));
            if blank(company, fields.active) {
                put(company, fields.active, Cell::Bool(true));
            }
            table.insert(company, now);
        }
    }
}

/// `PUT /v1/peoplemgmt/v1.0/people`, one person.
pub(super) async fn put_one(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    let body = tenant.body(body).await?;
    let record: Record<'_> = read(&body).map_err(|_| people_refusal(&[]))?;
    if record.0.is_empty() {
        return Err(people_refusal(&[]));
    }
    let body = PersonBody::of(record).map_err(|faults| people_refusal(&faults))?;
    let now = tenant.now();
    let mut store = tenant.write();
    let row = upsert(&tenant.catalog, &tenant.switches(), &mut store, &body, now)
        .map_err(|faults| people_refusal(&faults))?;
    let mut data = Vec::new();
    write_short(&tenant, &store, row, &mut data);
    Ok(Reply::Ok(data))
}

/// Appends `{"Gsid":…,"Email":…}`.
pub(super) fn write_short(tenant: &Tenant, store: &Store, row: usize, out: &mut Vec<u8>) {
    let Some(fields) = Fields::of(&tenant.catalog) else { return };
    out.extend_from_slice(b"{\"Gsid\":\"");
    out.extend_from_slice(&tenant.catalog.gsids.write(store.tables[fields.person].id(row)));
    out.extend_from_slice(b"\",\"Email\":");
    match store.tables[fields.person].get(row, fields.email) {
        Value::Text(text) => super::json::write_text(text, out),
        _ => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// `GET /v1.0/api/people`, the ping.
pub(super) async fn ping() -> Reply {
    Reply::Ok(b"null".to_vec())
}

#[derive(Debug, Deserialize)]
pub(super) struct ByEmail {
    #[serde(default)]
    email: Option<String>,
}

/// `GET /v1/peoplemgmt/v1.0/people?email=…` (the path is a guess, §12 item 27).
pub(super) async fn get_by_email(State(tenant): State<Arc<Tenant>>, Params(params): Params<ByEmail>) -> Answer {
    let Some(fields) = Fields::of(&tenant.catalog) else { return Err(Reply::unknown_route()) };
    let Some(email) = params.email.filter(|email| !email.trim().is_empty()) else {
        return Err(Reply::bad("GSOBJ_VQP1001", "Query parameters are empty"));
    };
    let mut found = Vec::new();
    let mut store = tenant.write();
    store.tables[fields.person].find(
        &[fields.email],
        &[Cell::Text(email.as_str().into())],
        Compare::Folded,
        &mut found,
    );
    let Some(row) = found.first() else { return Err(no_person(Json::from(email))) };
    Ok(whole(&tenant, &mut store, &fields, *row))
}

/// `GET /v1/peoplemgmt/v1.0/people/{gsid}` (the path is a guess, §12 item 27).
pub(super) async fn get(State(tenant): State<Arc<Tenant>>, Path(gsid): Path<String>) -> Answer {
    let Some(fields) = Fields::of(&tenant.catalog) else { return Err(Reply::unknown_route()) };
    let mut store = tenant.write();
    let id = tenant.catalog.gsids.read(gsid.as_bytes());
    let Some(row) = id.and_then(|id| store.tables[fields.person].row_of(id)) else {
        return Err(no_person(Json::from(gsid)));
    };
    Ok(whole(&tenant, &mut store, &fields, row))
}

fn no_person(value: Json) -> Reply {
    people_refusal(&[Fault::new(Reason::NoMatch, "Gsid", value)])
}

/// A person with its companies.
fn whole(tenant: &Tenant, store: &mut Store, fields: &Fields, row: usize) -> Reply {
    let id = Cell::Int(store.tables[fields.person].id(row));
    let mut found = Vec::new();
    store.tables[fields.company_person].find(&[fields.person_id], &[id], Compare::Exact, &mut found);
    let mut data = Vec::new();
    let show = tenant.show();
    write_row(tenant, store, fields.person, row, show, &mut data);
    data.pop();
    data.extend_from_slice(b",\"companies\":[");
    for (at, company) in found.iter().enumerate() {
        if at > 0 {
            data.push(b',');
        }
        write_row(tenant, store, fields.company_person, *company, show, &mut data);
    }
    data.extend_from_slice(b"]}");
    Reply::Ok(data)
}
