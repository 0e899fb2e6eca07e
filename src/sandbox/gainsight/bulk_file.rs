//! The rows of a bulk file: columns to fields, keys found, records written.

use std::collections::HashSet;

use csv::ByteRecord;
use csv::ReaderBuilder;
use serde_json::Value as Json;

use super::bulk_import::BulkJob;
use super::bulk_import::Operation;
use super::catalog::Catalog;
use super::catalog::Role;
use super::cell::Cell;
use super::cell::Fault;
use super::cell::Reason;
use super::cell::Rules;
use super::cell::from_csv;
use super::faults::object_words;
use super::given::Given;
use super::json::write_csv_text;
use super::record::LookupRule;
use super::record::Terms;
use super::record::exists;
use super::record::lookup_rules;
use super::record::missing;
use super::record::put;
use super::record::resolve;
use super::record::shared;
use super::store::Store;
use super::switches::BulkRows;
use super::switches::EmptyCells;
use super::switches::RepeatedKeys;
use super::switches::SeveralMatches;
use super::switches::Switches;
use super::switches::Unwanted;
use super::table::Compare;
use super::tenant::Tenant;

use crate::error::Error;
use crate::error::Result;

type Cells<'a> = Vec<(usize, Cell<'a>)>;

/// Rows that are applied under one lock.
const BATCH: usize = 4096;

/// A job, checked.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    object: usize,
    operation: Operation,
    keys: Vec<usize>,
    mapping: Vec<(String, usize)>,
    lookups: Vec<LookupRule>,
    separator: u8,
}

/// What became of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) total: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) failed_rows: Vec<u8>,
}

/// What a CSV column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Field(usize),
    /// Serves a lookup only.
    Helper(String),
    Ignored,
}

impl Job {
    /// Checks a job against the catalogue.
    pub(super) fn new(catalog: &Catalog, job: &BulkJob, switches: &Switches) -> Result<Self> {
        let wrong = |what: String| {
            Error::config(format!("The bulk job `{}` of the sandbox {what}.", job.id))
                .hint("its object and fields must be in the tenant's schema files")
        };
        let object = catalog
            .object(&job.object)
            .ok_or_else(|| wrong(format!("loads `{}`, which does not exist", job.object)))?;
        if !catalog.objects[object].bulk {
            return Err(wrong(format!("loads `{}`, which the Bulk API cannot load", job.object)));
        }
        let field = |name: &String| {
            catalog.objects[object]
                .field(name)
                .ok_or_else(|| wrong(format!("names the field `{name}`, which does not exist")))
        };
        let keys = job.keys.iter().map(field).collect::<Result<Vec<_>>>()?;
        if keys.is_empty() != (job.operation == Operation::Insert) {
            return Err(wrong("needs keys to update, and none to insert".to_owned()));
        }
        let mapping = job
            .mapping
            .iter()
            .map(|(column, name)| Ok((column.to_lowercase(), field(name)?)))
            .collect::<Result<Vec<_>>>()?;
        let rules = Rules::of(switches, true);
        let lookups = lookup_rules(catalog, object, Some(&job.lookups), rules).map_err(|fault| {
            wrong(format!("has a lookup for `{}` that cannot be used ({})", fault.field, fault.shown()))
        })?;
        let separator =
            u8::try_from(job.separator).map_err(|_| wrong("has a separator that is no ASCII character".to_owned()))?;
        Ok(Self { id: job.id.clone(), object, operation: job.operation, keys, mapping, lookups, separator })
    }

    fn reader<'a>(&self, file: &'a [u8]) -> csv::Reader<&'a [u8]> {
        // A byte order mark is not part of the first name.
        let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        ReaderBuilder::new().delimiter(self.separator).flexible(true).has_headers(true).from_reader(file)
    }

    /// Whether there is anything after the header.
    pub(super) fn has_rows(&self, file: &[u8]) -> bool {
        matches!(self.reader(file).read_byte_record(&mut ByteRecord::new()), Ok(true))
    }

    /// What each column of the file is, or a text naming the one that is wrong.
    pub(super) fn columns(
        &self,
        catalog: &Catalog,
        switches: &Switches,
        file: &[u8],
    ) -> std::result::Result<Vec<Column>, String> {
        let mut reader = self.reader(file);
        let names = reader.byte_headers().map_err(|error| error.to_string())?;
        let object = &catalog.objects[self.object];
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let name = std::str::from_utf8(name).map_err(|_| "the header is not UTF-8".to_owned())?.trim();
            let mapped =
                self.mapping.iter().find(|(column, _)| *column == name.to_lowercase()).map(|(_, field)| *field);
            let field = mapped.or_else(|| object.field(name));
            let column = if self.lookups.iter().any(|rule| rule.uses(name)) {
                Column::Helper(name.to_owned())
            } else {
                match field {
                    Some(field) if !object.fields[field].read_only || self.keys.contains(&field) => {
                        Column::Field(field)
                    }
                    Some(_) if switches.read_only_fields == Unwanted::Ignore => Column::Ignored,
                    None if switches.bulk_unknown_columns == Unwanted::Ignore => Column::Ignored,
                    _ => return Err(format!("column = {name}")),
                }
            };
            if matches!(column, Column::Field(_)) && columns.contains(&column) {
                return Err(format!("column = {name} twice"));
            }
            columns.push(column);
        }
        match self.keys.iter().find(|key| !columns.contains(&Column::Field(**key))) {
            Some(key) => Err(format!("key column {} = null", object.fields[*key].name)),
            None => Ok(columns),
        }
    }
}

/// Loads a file. `tell` hears the counts after each batch and says whether to go on.
pub(super) fn load(
    tenant: &Tenant,
    job: &Job,
    switches: &Switches,
    file: &[u8],
    tell: impl Fn(&Outcome) -> bool,
) -> Outcome {
    // The columns were checked when the file was taken; switches changed since then are no reason to stop.
    let Ok(columns) = job.columns(&tenant.catalog, switches, file) else { return Outcome::default() };
    let loading =
        Loading { tenant, job, switches, columns, rules: Rules::of(switches, switches.object_api_checks_formats) };
    if switches.bulk_rows == BulkRows::AllOrNothing {
        let mut tried = loading.pass(file, false, &tell);
        if tried.failed > 0 {
            tried.succeeded = 0;
            tried.failed = tried.total;
            return tried;
        }
    }
    loading.pass(file, true, &tell)
}

/// One file being loaded.
struct Loading<'a> {
    tenant: &'a Tenant,
    job: &'a Job,
    switches: &'a Switches,
    columns: Vec<Column>,
    rules: Rules,
}

impl Loading<'_> {
    /// Goes over all rows, writing them or only looking whether they could be.
    fn pass(&self, file: &[u8], write: bool, tell: &impl Fn(&Outcome) -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        let mut reader = self.job.reader(file);
        let mut batch = vec![ByteRecord::new(); BATCH];
        let mut failed = Failed::new(self.switches, reader.byte_headers().ok(), self.job.separator);
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let object = self.job.object;
        loop {
            let mut filled = 0;
            while filled < BATCH && matches!(reader.read_byte_record(&mut batch[filled]), Ok(true)) {
                filled += 1;
            }
            if filled == 0 {
                break;
            }
            let now = self.tenant.now();
            let mut store = self.tenant.write();
            for record in &batch[..filled] {
                outcome.total += 1;
                match self.check(&mut store, record, &mut found, &mut seen) {
                    Ok(cells) => {
                        outcome.succeeded += 1;
                        if write && found.is_empty() {
                            store.tables[object].insert(&cells, now);
                        } else if write {
                            for row in &found {
                                store.tables[object].update(*row, &cells, now);
                            }
                        }
                    }
                    Err(faults) => {
                        outcome.failed += 1;
                        failed.add(record, &faults);
                    }
                }
            }
            drop(store);
            if !tell(&outcome) {
                break;
            }
        }
        outcome.failed_rows = failed.csv;
        outcome
    }

    /// The cells to write and, in `found`, the records that get them (none: a new one); or why not.
    fn check<'r>(
        &self,
        store: &mut Store,
        record: &'r ByteRecord,
        found: &mut Vec<usize>,
        seen: &mut HashSet<Vec<u8>>,
    ) -> std::result::Result<Cells<'r>, Vec<Fault>> {
        let (catalog, job) = (&self.tenant.catalog, self.job);
        let object = &catalog.objects[job.object];
        if record.len() != self.columns.len() {
            return Err(vec![Fault::new(Reason::WrongType, "number of columns", Json::from(record.len()))]);
        }
        let mut cells = self.cells(store, record)?;
        found.clear();
        if !job.keys.is_empty() {
            let mut key = Vec::with_capacity(job.keys.len());
            for at in &job.keys {
                match cells.iter().find(|(one, _)| one == at) {
                    Some((_, cell)) if !cell.is_null() => key.push(cell.clone()),
                    _ => return Err(vec![Fault::new(Reason::NotNullable, &object.fields[*at].name, Json::Null)]),
                }
            }
            let fault = |reason| {
                let name = &object.fields[job.keys[0]].name;
                vec![Fault::new(reason, name, self.shown(record, job.keys[0]))]
            };
            if self.switches.repeated_keys == RepeatedKeys::Refuse && !seen.insert(format!("{key:?}").into_bytes()) {
                return Err(fault(Reason::Key));
            }
            store.tables[job.object].find(&job.keys, &key, Compare::Exact, found);
            match (found.len(), self.switches.several_matches) {
                (0, _) if job.operation == Operation::Update => return Err(fault(Reason::NoMatch)),
                // A record is not made with an id of the caller's choice.
                (0, _) if job.keys.iter().any(|at| object.fields[*at].role == Role::Gsid) => {
                    return Err(fault(Reason::NoMatch));
                }
                (2.., SeveralMatches::Refuse) => return Err(fault(Reason::Key)),
                (2.., SeveralMatches::UpdateFirst) => found.truncate(1),
                _ => {}
            }
        }
        if !self.switches.unique_fields.is_empty() {
            let doubled = shared(self.terms(), store, &cells, found, &[]);
            if !doubled.is_empty() {
                return Err(doubled);
            }
        }
        if found.is_empty() {
            let absent = missing(catalog, job.object, &cells);
            return if absent.is_empty() { Ok(cells) } else { Err(absent) };
        }
        let clear = self.switches.bulk_empty_cells == EmptyCells::Clear;
        cells.retain(|(at, cell)| !job.keys.contains(at) && (clear || !cell.is_null()));
        Ok(cells)
    }

    /// The row's values, derived ones included; an empty cell is null.
    fn cells<'r>(&self, store: &mut Store, record: &'r ByteRecord) -> std::result::Result<Cells<'r>, Vec<Fault>> {
        let catalog = &self.tenant.catalog;
        let object = &catalog.objects[self.job.object];
        let mut faults = Vec::new();
        let mut cells: Cells<'r> = Vec::with_capacity(self.columns.len() + self.job.lookups.len());
        for (bytes, column) in record.iter().zip(&self.columns) {
            let Column::Field(at) = column else { continue };
            let field = &object.fields[*at];
            if bytes.is_empty() {
                cells.push((*at, Cell::Null));
                continue;
            }
            let Ok(text) = std::str::from_utf8(bytes) else {
                let value = Json::from(String::from_utf8_lossy(bytes));
                faults.push(Fault::new(Reason::WrongType, &field.name, value));
                continue;
            };
            match from_csv(catalog, field, text, self.rules) {
                Ok(cell) if self.switches.raw_lookups_must_exist && !exists(store, field, &cell) => {
                    faults.push(Fault::new(Reason::Gsid, &field.name, Json::from(text)));
                }
                Ok(cell) => cells.push((*at, cell)),
                Err(reason) => faults.push(Fault::new(reason, &field.name, Json::from(text))),
            }
        }
        if !self.job.lookups.is_empty() {
            self.derive(store, record, &mut cells, &mut faults);
        }
        if faults.is_empty() { Ok(cells) } else { Err(faults) }
    }

    /// Resolves the job's derived mappings for one row.
    fn derive<'r>(&self, store: &mut Store, record: &'r ByteRecord, cells: &mut Cells<'r>, faults: &mut Vec<Fault>) {
        let helpers: Vec<(&str, Given<'_>)> = self
            .columns
            .iter()
            .zip(record)
            .filter_map(|(column, bytes)| match column {
                Column::Helper(name) => Some((name.as_str(), Given::Text(String::from_utf8_lossy(bytes)))),
                _ => None,
            })
            .collect();
        for rule in &self.job.lookups {
            let value_of = |column: &str| {
                helpers.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, value)| value)
            };
            match resolve(self.terms(), store, rule, value_of) {
                Ok(cell) => put(cells, rule.target, cell),
                Err(fault) => faults.push(fault),
            }
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            catalog: &self.tenant.catalog,
            switches: self.switches,
            object: self.job.object,
            lookups: &self.job.lookups,
            keys: &self.job.keys,
            formats: false,
        }
    }

    /// What stands in the row for a field.
    fn shown(&self, record: &ByteRecord, field: usize) -> Json {
        let at = self.columns.iter().position(|column| *column == Column::Field(field));
        at.and_then(|at| record.get(at)).map_or(Json::Null, |bytes| Json::from(String::from_utf8_lossy(bytes)))
    }
}

/// The failed rows: the input's columns and the reason as the last one.
struct Failed {
    csv: Vec<u8>,
    separator: u8,
}

impl Failed {
    fn new(switches: &Switches, names: Option<&ByteRecord>, separator: u8) -> Self {
        let mut failed = Self { csv: Vec::new(), separator };
        failed.line(names.into_iter().flatten(), &switches.bulk_error_column);
        failed
    }

    fn add(&mut self, record: &ByteRecord, faults: &[Fault]) {
        let reasons: Vec<String> = faults
            .iter()
            .map(|fault| {
                let words = object_words(fault);
                format!("{}: {}", words.code, words.desc)
            })
            .collect();
        self.line(record.iter(), &reasons.join("; "));
    }

    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a [u8]>, last: &str) {
        for cell in cells {
            if !cell.is_empty() {
                write_csv_text(cell, &mut self.csv);
            }
            self.csv.push(self.separator);
        }
        write_csv_text(last.as_bytes(), &mut self.csv);
        self.csv.push(b'\n');
    }
}
