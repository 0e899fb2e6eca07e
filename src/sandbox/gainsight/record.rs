//! Records as they come in: names to fields, values to cells, import lookups resolved (gainsight-api §2.8).

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::catalog::Catalog;
use super::catalog::Field;
use super::cell::Cell;
use super::cell::Fault;
use super::cell::Reason;
use super::cell::Rules;
use super::cell::from_json;
use super::column::Value;
use super::given::Given;
use super::given::Record;
use super::store::Store;
use super::switches::Nulls;
use super::switches::Switches;
use super::switches::Unwanted;
use super::table::Compare;

/// The body of a write.
#[derive(Debug, Deserialize)]
pub(super) struct WriteBody<'a> {
    #[serde(borrow, default)]
    pub(super) records: Vec<Record<'a>>,
    #[serde(default)]
    pub(super) lookups: Option<HashMap<String, LookupFile>>,
}

/// A lookup in a write, as it is written.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookupFile {
    /// Column of the record → field of the lookup object.
    pub fields: HashMap<String, String>,
    /// Always `Gsid`.
    #[serde(default)]
    pub lookup_field: Option<String>,
    /// The object to look in.
    pub object_name: String,
    /// `FIRSTMATCH` or `MARKASERROR`.
    #[serde(default)]
    pub multi_match_option: Option<String>,
    /// `NULLABLE`, `DEFAULTVALUE` or `ERROR`.
    #[serde(default)]
    pub on_no_match: Option<String>,
    /// The value for `DEFAULTVALUE`.
    #[serde(default)]
    pub default_value: Option<serde_json::Value>,
}

/// A lookup in a write, checked.
#[derive(Debug, Clone)]
pub(super) struct LookupRule {
    pub(super) target: usize,
    object: usize,
    /// Record column and the field it is compared with.
    sources: Vec<(String, usize)>,
    first_match: bool,
    on_no_match: NoMatch,
}

#[derive(Debug, Clone)]
enum NoMatch {
    Null,
    Default(Cell<'static>),
    Error,
}

impl LookupRule {
    /// Whether a record's column only serves this lookup.
    pub(super) fn uses(&self, column: &str) -> bool {
        self.sources.iter().any(|(source, _)| source.eq_ignore_ascii_case(column))
    }

    /// The columns that it reads.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(source, _)| source.as_str())
    }
}

/// Checks the lookups of a write; the first that is wrong is the fault.
pub(super) fn lookup_rules(
    catalog: &Catalog,
    object: usize,
    lookups: Option<&HashMap<String, LookupFile>>,
    rules: Rules,
) -> Result<Vec<LookupRule>, Fault> {
    let mut checked = Vec::new();
    for (name, file) in lookups.into_iter().flatten() {
        let wrong = |value: &str| Fault::new(Reason::LookupConfiguration, name, Json::from(value));
        let target = catalog.objects[object].field(name).ok_or_else(|| wrong(name))?;
        let field = &catalog.objects[object].fields[target];
        if !field.kind.is_id() || field.read_only {
            return Err(wrong(field.kind.name()));
        }
        let other = catalog.object(&file.object_name).ok_or_else(|| wrong(&file.object_name))?;
        if let Some(lookup) = &field.lookup
            && lookup.target != Some(other)
        {
            return Err(wrong(&file.object_name));
        }
        let lookup_field = file.lookup_field.as_deref().unwrap_or("Gsid");
        if !lookup_field.eq_ignore_ascii_case("Gsid") {
            return Err(wrong(lookup_field));
        }
        // The page allows up to six match pairs.
        if file.fields.is_empty() || file.fields.len() > 6 {
            return Err(wrong("fields"));
        }
        let mut sources = Vec::new();
        for (column, path) in &file.fields {
            let field = catalog.objects[other].field(path).ok_or_else(|| wrong(path))?;
            sources.push((column.clone(), field));
        }
        sources.sort_by_key(|(_, field)| *field);
        let first_match = match file.multi_match_option.as_deref() {
            None | Some("FIRSTMATCH") => true,
            Some("MARKASERROR") => false,
            Some(other) => return Err(wrong(other)),
        };
        let on_no_match = match file.on_no_match.as_deref() {
            None | Some("NULLABLE") => NoMatch::Null,
            Some("ERROR") => NoMatch::Error,
            Some("DEFAULTVALUE") => {
                let value = file.default_value.as_ref().ok_or_else(|| wrong("defaultValue"))?;
                let cell = from_json(catalog, field, &value.into(), rules).map(Cell::into_owned);
                NoMatch::Default(cell.map_err(|_| wrong("defaultValue"))?)
            }
            Some(other) => return Err(wrong(other)),
        };
        checked.push(LookupRule { target, object: other, sources, first_match, on_no_match });
    }
    checked.sort_by_key(|rule| rule.target);
    Ok(checked)
}

/// Room for cells that the tenant adds itself.
const SPARE: usize = 2;

/// What a write goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) switches: &'a Switches,
    pub(super) object: usize,
    pub(super) lookups: &'a [LookupRule],
    /// Fields by which records are found; they may be read-only.
    pub(super) keys: &'a [usize],
    /// E-mail addresses and URLs are checked.
    pub(super) formats: bool,
}

impl Terms<'_> {
    /// How values are read.
    pub(super) fn rules(&self) -> Rules {
        Rules::of(self.switches, self.formats)
    }
}

/// Turns a record into cells, or lists everything that is wrong with it.
pub(super) fn cells<'a>(
    terms: Terms<'_>,
    store: &mut Store,
    record: &'a Record<'_>,
) -> Result<Vec<(usize, Cell<'a>)>, Vec<Fault>> {
    let object = &terms.catalog.objects[terms.object];
    let mut cells: Vec<(usize, Cell<'a>)> = Vec::with_capacity(record.0.len() + SPARE);
    let mut faults = Vec::new();
    for (name, value) in &record.0 {
        // Helper columns are not fields and are not stored (§2.8).
        if terms.lookups.iter().any(|rule| rule.uses(name)) {
            continue;
        }
        let Some(at) = object.field(name) else {
            if terms.switches.unknown_fields == Unwanted::Ignore {
                continue;
            }
            faults.push(Fault::new(Reason::UnknownField, name, value.to_json()));
            continue;
        };
        let field = &object.fields[at];
        let is_key = terms.keys.contains(&at);
        if value.is_null() && terms.switches.nulls == Nulls::Ignore {
            continue;
        }
        if field.read_only && !is_key {
            if terms.switches.read_only_fields == Unwanted::Refuse {
                faults.push(Fault::new(Reason::ReadOnly, &field.name, value.to_json()));
            }
            continue;
        }
        match from_json(terms.catalog, field, value, terms.rules()) {
            Ok(cell) if terms.switches.raw_lookups_must_exist && !exists(store, field, &cell) => {
                faults.push(Fault::new(Reason::Gsid, &field.name, value.to_json()));
            }
            Ok(cell) => put(&mut cells, at, cell),
            Err(fault) => faults.push(*fault),
        }
    }
    for rule in terms.lookups {
        match resolve(terms, store, rule, |column| record.get(column)) {
            Ok(cell) => put(&mut cells, rule.target, cell),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(cells) } else { Err(faults) }
}

/// Faults of a new record whose mandatory fields are not all there.
pub(super) fn missing(catalog: &Catalog, object: usize, cells: &[(usize, Cell<'_>)]) -> Vec<Fault> {
    let object = &catalog.objects[object];
    let absent = |at: &&usize| !cells.iter().any(|(field, cell)| field == *at && !cell.is_null());
    let needed = object.mandatory.iter().filter(absent);
    needed.map(|at| Fault::new(Reason::NotNullable, &object.fields[*at].name, Json::Null)).collect()
}

/// Faults of values that another record has, in fields that are unique by the switches.
pub(super) fn shared(
    terms: Terms<'_>,
    store: &mut Store,
    cells: &[(usize, Cell<'_>)],
    own: &[usize],
    others: &[Vec<(usize, Cell<'_>)>],
) -> Vec<Fault> {
    let object = &terms.catalog.objects[terms.object];
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for (of, name) in terms.switches.unique_fields.iter().filter_map(|path| path.split_once('.')) {
        let at = object.field(name).filter(|_| object.name.eq_ignore_ascii_case(of));
        let Some((at, cell)) = at.and_then(|at| cells.iter().find(|(one, cell)| *one == at && !cell.is_null())) else {
            continue;
        };
        store.tables[terms.object].find(&[*at], std::slice::from_ref(cell), Compare::Exact, &mut found);
        let among = others.iter().any(|other| other.iter().any(|(one, other)| one == at && other == cell));
        if among || found.iter().any(|row| !own.contains(row)) {
            let value = match cell {
                Cell::Text(text) => Json::from(text.as_ref()),
                _ => Json::Null,
            };
            faults.push(Fault::new(Reason::Duplicate, &object.fields[*at].name, value));
        }
    }
    faults
}

/// Whether the record that a raw id names exists; everything else does.
pub(super) fn exists(store: &Store, field: &Field, cell: &Cell<'_>) -> bool {
    let (Cell::Int(id), Some(lookup)) = (cell, &field.lookup) else { return true };
    let Some(target) = lookup.target.filter(|_| field.kind.is_id()) else { return true };
    store.tables[target].row_of(*id).is_some()
}

/// Sets a cell, a later one for the same field taking the place of an earlier.
pub(super) fn put<'a>(cells: &mut Vec<(usize, Cell<'a>)>, field: usize, cell: Cell<'a>) {
    match cells.iter_mut().find(|(at, _)| *at == field) {
        Some((_, old)) => *old = cell,
        None => cells.push((field, cell)),
    }
}

/// Finds the record that a lookup means.
pub(super) fn resolve<'a>(
    terms: Terms<'_>,
    store: &mut Store,
    rule: &LookupRule,
    value_of: impl Fn(&str) -> Option<&'a Given<'a>>,
) -> Result<Cell<'static>, Fault> {
    let target = &terms.catalog.objects[terms.object].fields[rule.target];
    let other = &terms.catalog.objects[rule.object];
    let mut key = Vec::with_capacity(rule.sources.len());
    for (column, field) in &rule.sources {
        // A value that cannot be one of that field matches nothing.
        let cell = match value_of(column) {
            None | Some(Given::Null) => Cell::Null,
            Some(value) => from_json(terms.catalog, &other.fields[*field], value, terms.rules()).unwrap_or(Cell::Null),
        };
        key.push(cell);
    }
    let fields: Vec<usize> = rule.sources.iter().map(|(_, field)| *field).collect();
    let mut found = Vec::new();
    if !key.iter().any(|cell| cell.is_null() || *cell == Cell::Text("".into())) {
        store.tables[rule.object].find(&fields, &key, Compare::Exact, &mut found);
    }
    let refuse = || {
        let values: Vec<Json> =
            rule.columns().map(|column| value_of(column).map_or(Json::Null, Given::to_json)).collect();
        let value = if values.len() == 1 { values[0].clone() } else { Json::Array(values) };
        Fault::new(Reason::Lookup, &target.name, value)
    };
    match (found.as_slice(), &rule.on_no_match) {
        ([], NoMatch::Null) => Ok(Cell::Null),
        ([], NoMatch::Default(cell)) => Ok(cell.clone()),
        ([], NoMatch::Error) => Err(refuse()),
        ([first, _, ..], _) if rule.first_match => Ok(Cell::Int(store.tables[rule.object].id(*first))),
        ([_, _, ..], _) => Err(refuse()),
        ([only], _) => Ok(Cell::Int(store.tables[rule.object].id(*only))),
    }
}

/// The value of a field that a record will have: of the write where it is there, else as it is kept.
pub(super) fn value_after<'a>(
    cells: &'a [(usize, Cell<'_>)],
    store: &'a Store,
    object: usize,
    row: Option<usize>,
    field: usize,
) -> Value<'a> {
    match cells.iter().find(|(at, _)| *at == field) {
        Some((_, Cell::Null)) => Value::Null,
        Some((_, Cell::Text(text))) => Value::Text(text.as_bytes()),
        Some((_, Cell::Int(value))) => Value::Int(*value),
        Some((_, Cell::Bool(value))) => Value::Bool(*value),
        None => row.map_or(Value::Null, |row| store.tables[object].get(row, field)),
    }
}
