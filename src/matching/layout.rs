//! A job against the tables' types: every name found, every pair of types decided, all problems told at once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;

use crate::config::job::Derive;
use crate::config::job::FieldMap;
use crate::config::job::Job;
use crate::config::job::OnMissing;
use crate::config::job::OnMultiple;
use crate::config::job::OnNull;
use crate::config::job::Operation;
use crate::config::job::TargetField;
use crate::config::job::TargetObject;
use crate::error::Error;
use crate::error::Result;
use crate::matching::MatchInputs;
use crate::transform;
use crate::transform::SourceKind;
use crate::transform::TargetKind;
use crate::transform::sql::identifier;

/// Columns by which rows of one record are ordered in time, best first.
const CURSORS: [&str; 3] = ["SystemModstamp", "LastModifiedDate", "CreatedDate"];

/// Which of the two statements of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Every row's verdict.
    Rows,
    /// The self lookups that waited for the rows.
    References,
}

/// A job whose every name and type is known.
pub(super) struct Layout<'a> {
    pub(super) job: &'a Job,
    pub(super) pass: Pass,
    pub(super) operation: Operation,
    /// The newest of several rows has the greatest value here.
    pub(super) cursor: Option<&'static str>,
    pub(super) cells: Vec<Cell>,
    pub(super) keys: Vec<Key>,
    pub(super) lookups: Vec<Lookup>,
    pub(super) notes: Vec<String>,
}

/// A direct mapping.
pub(super) struct Cell {
    pub(super) to: TargetField,
    /// The source column as people know it.
    pub(super) from: String,
    /// The target's type in words.
    pub(super) a_target: String,
    pub(super) value: String,
    pub(super) invalid: Option<String>,
    pub(super) note: Option<String>,
    pub(super) mirror: Mirrored,
    pub(super) identifier: bool,
    pub(super) keep: bool,
}

/// The target's field in the mirror.
pub(super) struct Mirrored {
    /// The column, quoted.
    pub(super) column: String,
    /// The field as people know it.
    pub(super) label: String,
    pub(super) kind: TargetKind,
    pub(super) data_type: DataType,
}

/// One part of the key by which a record is found.
pub(super) struct Key {
    /// The cell that it comes from.
    pub(super) cell: usize,
    /// How the source's side compares.
    pub(super) source: String,
    /// How the mirror's side compares.
    pub(super) mirror: String,
}

/// A derived mapping.
pub(super) struct Lookup {
    /// From 1, in the job's order.
    pub(super) number: usize,
    pub(super) to: TargetField,
    pub(super) mirror: Mirrored,
    /// The object searched.
    pub(super) object: String,
    pub(super) pairs: Vec<Pair>,
    pub(super) on_multiple: OnMultiple,
    pub(super) on_missing: OnMissing,
    /// The record found may be written by this very job.
    pub(super) is_self: bool,
    /// Part of a company person's key.
    pub(super) identifier: bool,
}

/// One condition of a derived mapping.
pub(super) struct Pair {
    /// The source column as people know it.
    pub(super) from: String,
    /// The lookup's field as people know it.
    pub(super) to: String,
    pub(super) source: String,
    pub(super) mirror: String,
    /// The mirror's column.
    pub(super) column: String,
    /// For a self lookup: what the row itself will hold in the lookup's field, in the same form as `source`.
    pub(super) own: Option<String>,
}

/// Stands between the parts of a key that is one text.
pub(super) const BETWEEN_PARTS: char = '\u{1f}';

/// Parts of a key as one text; NULL if a part is.
pub(super) fn as_text(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let parts: Vec<_> = parts.into_iter().map(|part| part.as_ref().to_owned()).collect();
    parts.join(&format!(" || chr({}) || ", u32::from(BETWEEN_PARTS)))
}

impl Layout<'_> {
    pub(super) fn is_people(&self) -> bool {
        self.job.target.object == TargetObject::People
    }

    /// The object by whose key rows are found: the person, or the only object.
    pub(super) fn keyed_object(&self) -> &str {
        if self.is_people() { "person" } else { self.job.target.object.primary() }
    }

    /// The lookup that gives a company person its company.
    pub(super) fn company(&self) -> Option<&Lookup> {
        self.lookups.iter().find(|lookup| lookup.identifier)
    }
}

impl Lookup {
    /// Whether a record that is not there yet may come with the rows of this run.
    pub(super) fn waits(&self, pass: Pass) -> bool {
        self.is_self && pass == Pass::Rows && self.own().is_some()
    }

    /// Whether the row must wait only for a parent that is surely among the rows.
    pub(super) fn needs_parents(&self, pass: Pass) -> bool {
        self.waits(pass) && self.on_missing == OnMissing::Reject
    }

    /// Whether a row may as well be written later, together with its reference: nothing depends on the reference's coming.
    pub(super) fn may_follow(&self, pass: Pass) -> bool {
        self.waits(pass) && !self.needs_parents(pass) && self.is_text()
    }

    /// Whether the key can be kept as text: the texts of two other values may differ although the values are equal.
    pub(super) fn is_text(&self) -> bool {
        self.pairs.iter().all(|pair| pair.mirror.starts_with("match_"))
    }

    /// What the rows themselves will hold in all of the lookup's fields, if the job maps them all.
    pub(super) fn own(&self) -> Option<Vec<&str>> {
        self.pairs.iter().map(|pair| pair.own.as_deref()).collect()
    }
}

/// See [`crate::matching::objects`].
pub(super) fn objects(job: &Job, person_key: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut objects: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |object: &str, field: &str| {
        objects.entry(object.to_owned()).or_default().insert(field.to_owned());
    };
    for object in job.target.object.objects() {
        note(object, "Gsid");
    }
    if job.target.object == TargetObject::People {
        note("company_person", "Person_ID");
        note("company_person", "Company_ID");
        person_key.iter().for_each(|field| note("person", field));
    }
    for to in job.target.maps.iter().map(|map| &map.to).chain(job.target.derives.iter().map(|derive| &derive.to)) {
        note(mirror_of(&to.object), &to.field);
    }
    for derive in &job.target.derives {
        note(&derive.lookup, "Gsid");
        derive.pairs.iter().for_each(|pair| note(&derive.lookup, &pair.to));
    }
    objects
}

/// The fields whose values come first in the keys by which records are looked for, by object.
pub(super) fn looked_for(job: &Job, person_key: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let lookups =
        job.target.derives.iter().map(|derive| (derive.lookup.as_str(), derive.pairs.first().map(|pair| &pair.to)));
    let own = match &job.target.object {
        TargetObject::People => vec![("person", person_key.first())],
        _ => job.target.identifiers().take(1).map(|map| (mirror_of(&map.to.object), Some(&map.to.field))).collect(),
    };
    let mut objects: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (object, field) in lookups.chain(own) {
        objects.entry(object.to_owned()).or_default().extend(field.cloned());
    }
    if job.target.object == TargetObject::People {
        objects.entry("company_person".to_owned()).or_default().insert("Person_ID".to_owned());
    }
    objects
}

/// An avatar's fields are read back from the user.
fn mirror_of(object: &str) -> &str {
    if object == "avatar" { "gsuser" } else { object }
}

/// Reads a job against the types, collecting what is wrong.
struct Reader<'a> {
    inputs: &'a MatchInputs<'a>,
    wrong: Vec<String>,
}

impl<'a> Layout<'a> {
    /// # Errors
    /// [`Config`](crate::error::ErrorKind::Config) with one line per problem.
    pub(super) fn new(inputs: &'a MatchInputs<'a>, pass: Pass) -> Result<Self> {
        let job = inputs.job;
        let mut reader = Reader { inputs, wrong: Vec::new() };
        let cells: Vec<Cell> = job.target.maps.iter().filter_map(|map| reader.cell(map)).collect();
        let keys = reader.keys(&cells);
        let derives = job.target.derives.iter().enumerate();
        let lookups: Vec<Lookup> = derives.filter_map(|(at, derive)| reader.lookup(at + 1, derive)).collect();
        reader.whole(&cells, &lookups);
        if !reader.wrong.is_empty() {
            return Err(problems_of(job, &reader.wrong));
        }
        let mut layout = Self {
            job,
            pass,
            operation: job.target.operation,
            cursor: CURSORS.into_iter().find(|name| inputs.source.column_with_name(name).is_some()),
            notes: cells
                .iter()
                .filter_map(|cell| Some(format!("{} → {}: {}.", cell.from, cell.to, cell.note.as_ref()?)))
                .collect(),
            cells,
            keys,
            lookups,
        };
        if pass == Pass::References {
            layout.only_references();
        }
        Ok(layout)
    }

    /// The second pass finds the records, which must exist by now, and compares their self lookups alone.
    fn only_references(&mut self) {
        self.operation = Operation::Update;
        self.lookups.retain(|lookup| lookup.is_self || lookup.identifier);
        let mut place = 0;
        let mut places = BTreeMap::new();
        let mut at = 0;
        self.cells.retain(|cell| {
            if cell.identifier {
                places.insert(at, place);
                place += 1;
            }
            at += 1;
            cell.identifier
        });
        for key in &mut self.keys {
            key.cell = places.get(&key.cell).copied().unwrap_or(key.cell);
        }
        self.notes.clear();
    }
}

impl<'a> Reader<'a> {
    fn source(&mut self, name: &str, to: &TargetField) -> Option<&'a Field> {
        let found = self.inputs.source.column_with_name(name).map(|(_, field)| field);
        if found.is_none() {
            self.wrong.push(format!("{to}: the source has no field {name}"));
        }
        found
    }

    /// Field names of Gainsight ignore case in practice (docs insert `ARR`, metadata says `Arr`).
    fn mirror(&mut self, object: &str, name: &str) -> Option<&'a Field> {
        let object = mirror_of(object);
        let found = self.inputs.mirrors.get(object).and_then(|schema| find(schema, name));
        if found.is_none() {
            self.wrong.push(format!("{object}.{name}: the Gainsight object {object} has no field {name}"));
        }
        found
    }

    fn cell(&mut self, map: &FieldMap) -> Option<Cell> {
        let from = self.source(&map.from, &map.to);
        let to = self.mirror(&map.to.object, &map.to.field);
        let (from, to) = (from?, to?);
        let conversion = match transform::convert(from, to, &identifier(from.name())) {
            Ok(conversion) => conversion,
            Err(reason) => {
                self.wrong.push(format!("{} → {}: {reason}", map.from, map.to));
                return None;
            }
        };
        let key = self.inputs.person_key;
        let identifier = match self.inputs.job.target.object {
            TargetObject::People => {
                map.to.object == "person"
                    && if key.is_empty() {
                        map.identifier
                    } else {
                        key.iter().any(|name| name.eq_ignore_ascii_case(&map.to.field))
                    }
            }
            _ => map.identifier,
        };
        if identifier && map.to.object == "avatar" {
            self.wrong.push(format!("{}: only fields of the user can be identifiers, not those of the avatar", map.to));
        }
        Some(Cell {
            to: map.to.clone(),
            from: transform::describe(from),
            a_target: TargetKind::of(to).a(),
            value: conversion.sql,
            invalid: conversion.invalid,
            note: conversion.note,
            mirror: Mirrored::of(to),
            identifier,
            keep: map.on_null == OnNull::Keep,
        })
    }

    fn keys(&mut self, cells: &[Cell]) -> Vec<Key> {
        let job = self.inputs.job;
        let mut keys = Vec::new();
        for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.identifier) {
            let map = job.target.maps.iter().find(|map| map.to == cell.to);
            let from = map.and_then(|map| self.source(&map.from, &cell.to));
            let to = self.mirror(&cell.to.object, &cell.to.field);
            let (Some(from), Some(to)) = (from, to) else { continue };
            match compare(from, to) {
                Ok((source, mirror)) => keys.push(Key { cell: at, source, mirror }),
                Err(reason) => self.wrong.push(format!("{}: as an identifier, {reason}", cell.to)),
            }
        }
        keys
    }

    fn lookup(&mut self, number: usize, derive: &Derive) -> Option<Lookup> {
        let target = &self.inputs.job.target;
        let to = self.mirror(&derive.to.object, &derive.to.field);
        if let Some(to) = to
            && !TargetKind::of(to).is_text()
        {
            self.wrong.push(format!("{}: takes {}, not the GSID of another record", derive.to, TargetKind::of(to).a()));
        }
        // a lookup on the person cannot wait for the second pass, which sees only some of a person's rows
        let is_self = target.object.objects().contains(&derive.lookup.as_str()) && derive.to.object != "person";
        let mut pairs = Vec::new();
        for pair in &derive.pairs {
            let from = self.source(&pair.from, &derive.to);
            let field = self.mirror(&derive.lookup, &pair.to);
            let (Some(from), Some(field)) = (from, field) else { continue };
            match compare(from, field) {
                Ok((source, mirror)) => {
                    let own = if is_self { self.own(&derive.lookup, field) } else { None };
                    pairs.push(Pair {
                        from: transform::describe(from),
                        to: transform::describe(field),
                        source,
                        mirror,
                        column: field.name().clone(),
                        own,
                    });
                }
                Err(reason) => self.wrong.push(format!("{}: {} = {}: {reason}", derive.to, pair.from, pair.to)),
            }
        }
        if derive.pairs.is_empty() {
            self.wrong.push(format!("{}: a derived mapping needs at least one pair to match", derive.to));
        }
        Some(Lookup {
            number,
            to: derive.to.clone(),
            mirror: Mirrored::of(to?),
            object: derive.lookup.clone(),
            pairs,
            on_multiple: derive.on_multiple,
            on_missing: derive.on_missing,
            is_self,
            identifier: is_company(target.object == TargetObject::People, &derive.to),
        })
    }

    /// What the row itself will hold in `field` of the object that the job writes.
    fn own(&mut self, object: &str, field: &Field) -> Option<String> {
        let maps = &self.inputs.job.target.maps;
        let map = maps
            .iter()
            .find(|map| mirror_of(&map.to.object) == object && map.to.field.eq_ignore_ascii_case(field.name()))?;
        let from = self.inputs.source.column_with_name(&map.from)?.1;
        compare(from, field).ok().map(|(source, _)| source)
    }

    fn whole(&mut self, cells: &[Cell], lookups: &[Lookup]) {
        let job = self.inputs.job;
        let mut seen = BTreeSet::new();
        for to in job.target.maps.iter().map(|map| &map.to).chain(job.target.derives.iter().map(|derive| &derive.to)) {
            if !seen.insert((mirror_of(&to.object).to_owned(), to.field.to_ascii_lowercase())) {
                self.wrong.push(format!("{to}: two mappings write this field"));
            }
        }
        if self.inputs.source.column_with_name("Id").is_none() {
            self.wrong.push("the source has no field Id, by which its rows are told apart".to_owned());
        }
        for object in job.target.object.objects() {
            self.mirror(object, "Gsid");
        }
        for derive in &job.target.derives {
            self.mirror(&derive.lookup, "Gsid");
        }
        if job.target.object == TargetObject::People {
            self.mirror("company_person", "Person_ID");
            self.mirror("company_person", "Company_ID");
            for name in self.inputs.person_key {
                if !cells.iter().any(|cell| cell.identifier && cell.to.field.eq_ignore_ascii_case(name)) {
                    self.wrong.push(format!(
                        "person.{name}: the tenant finds a person by this field, so a [[target.map]] must fill it"
                    ));
                }
            }
            if !lookups.iter().any(|lookup| lookup.identifier) {
                self.wrong.push(
                    "company_person.Company_ID: a company person belongs to a company, so a [[target.derive]] must find it"
                        .to_owned(),
                );
            }
        }
        if !cells.iter().any(|cell| cell.identifier) && self.wrong.is_empty() {
            self.wrong
                .push("no mapping is an identifier, so no record can be found; set `identifier = true`".to_owned());
        }
    }
}

impl Mirrored {
    fn of(field: &Field) -> Self {
        Self {
            column: identifier(field.name()),
            label: transform::describe(field),
            kind: TargetKind::of(field),
            data_type: field.data_type().clone(),
        }
    }
}

fn is_company(people: bool, to: &TargetField) -> bool {
    people && to.object == "company_person" && to.field.eq_ignore_ascii_case("Company_ID")
}

fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    let exact = schema.column_with_name(name).map(|(_, field)| field);
    exact.or_else(|| {
        schema.fields().iter().find(|field| field.name().eq_ignore_ascii_case(name)).map(|field| field.as_ref())
    })
}

/// How two sides of a key or of a match pair compare: ids and GSIDs exactly, other text trimmed and without case,
/// everything else as values of the target's type.
fn compare(source: &Field, target: &Field) -> std::result::Result<(String, String), String> {
    let (from, to) = (SourceKind::of(source), TargetKind::of(target));
    let (cell, column) = (identifier(source.name()), identifier(target.name()));
    let both = |function: &str| Ok((format!("{function}({cell})"), format!("{function}({column})")));
    match (from, to) {
        (SourceKind::Compound, _) => Err("a compound or binary field cannot be compared".to_owned()),
        (SourceKind::Id, TargetKind::Gsid) => Err("a Salesforce id is never a GSID".to_owned()),
        (SourceKind::Id, kind) if kind.is_text() => both("match_id"),
        (kind, TargetKind::SfdcId | TargetKind::Gsid) if kind.is_text() => both("match_id"),
        (from, to) if from.is_text() && to.is_text() => both("match_text"),
        (_, to) if to.is_text() => {
            let text = transform::convert(source, target, &cell)?;
            Ok((format!("match_text({})", text.sql), format!("match_text({column})")))
        }
        _ => Ok((transform::convert(source, target, &cell)?.sql, column)),
    }
}

fn problems_of(job: &Job, wrong: &[String]) -> Error {
    let count = if wrong.len() == 1 {
        "a mapping that cannot work".to_owned()
    } else {
        format!("{} mappings that cannot work", wrong.len())
    };
    let lines: String = wrong.iter().map(|line| format!("\n  - {line}")).collect();
    Error::config(format!("the job {} has {count}:{lines}", job.name))
        .context("job", &job.name)
        .hint(format!("correct pipelines/{}.toml; `sf2gs check --online` shows the fields of both sides", job.name))
}
