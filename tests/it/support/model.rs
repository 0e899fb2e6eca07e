//! The rulings as nested loops over rows of text: what every verdict should be, worked out without Arrow, SQL or
//! anything of the program but the words of a job.
//!
//! Written from design.md §5 (rulings 1, 4–8, 13) and the rules that `sf2gs::matching` promises, to be compared with
//! the real plan on random tables. Slow and plain on purpose.

use std::collections::BTreeMap;
use std::fmt;

use sf2gs::config::job::Derive;
use sf2gs::config::job::FieldMap;
use sf2gs::config::job::Job;
use sf2gs::config::job::OnMissing;
use sf2gs::config::job::OnMultiple;
use sf2gs::config::job::OnNull;
use sf2gs::config::job::Operation;
use sf2gs::config::job::TargetObject;

use crate::support::tables::Cell;
use crate::support::tables::Table;

/// A job with all that it reads.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) job: Job,
    pub(crate) person_key: Vec<String>,
    pub(crate) source: Table,
    pub(crate) mirrors: BTreeMap<String, Table>,
}

/// As one reads it.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.job.target;
        writeln!(f, "{} {:?}, person key {:?}", target.object, target.operation, self.person_key)?;
        for map in &target.maps {
            writeln!(f, "  {} -> {}{} {:?}", map.from, map.to, if map.identifier { "*" } else { "" }, map.on_null)?;
        }
        for Derive { to, lookup, pairs, on_multiple, on_missing } in &target.derives {
            let pairs: Vec<_> = pairs.iter().map(|pair| format!("{} = {}", pair.from, pair.to)).collect();
            writeln!(f, "  {to} <- {lookup} by {} {on_multiple:?} {on_missing:?}", pairs.join(" and "))?;
        }
        let mut told: Vec<&str> = vec!["Id", "SystemModstamp", "Gsid", "Person_ID", "Company_ID"];
        told.extend(target.maps.iter().flat_map(|map| [map.from.as_str(), map.to.field.as_str()]));
        let pairs = target.derives.iter().flat_map(|derive| &derive.pairs);
        told.extend(pairs.flat_map(|pair| [pair.from.as_str(), pair.to.as_str()]));
        told.extend(target.derives.iter().map(|derive| derive.to.field.as_str()));
        let source = std::iter::once(("source", &self.source));
        for (name, table) in source.chain(self.mirrors.iter().map(|(name, table)| (name.as_str(), table))) {
            writeln!(f, "{name}")?;
            for row in &table.rows {
                let cells = table
                    .schema
                    .fields()
                    .iter()
                    .zip(row)
                    .filter_map(|(field, cell)| cell.as_ref().map(|cell| format!("{}={cell:?}", field.name())));
                writeln!(f, "  {}", cells.collect::<Vec<_>>().join(" "))?;
            }
        }
        Ok(())
    }
}

/// What the model says of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) source_id: String,
    pub(crate) verdict: String,
    pub(crate) gsid: Cell,
    pub(crate) changed: Cell,
    pub(crate) clears: bool,
    pub(crate) code: Cell,
    pub(crate) field: Cell,
    pub(crate) candidates: Cell,
    pub(crate) retry: bool,
    pub(crate) unresolved: Cell,
    pub(crate) person_gsid: Cell,
    pub(crate) person_rows: usize,
    pub(crate) person_winner: bool,
    /// Only of rows that are not rejected.
    pub(crate) set: BTreeMap<String, Cell>,
}

/// Every row's verdict, by Id. `second`: of the pass that settles self lookups.
pub(crate) fn verdicts(world: &World, second: bool) -> Vec<Expected> {
    let mut job = world.job.clone();
    let people = job.target.object == TargetObject::People;
    let is_key = |map: &FieldMap| {
        if people { map.to.object == "person" && world.person_key.contains(&map.to.field) } else { map.identifier }
    };
    for map in &mut job.target.maps {
        map.identifier = is_key(map);
    }
    if second {
        job.target.operation = Operation::Update;
        job.target.maps.retain(|map| map.identifier);
        let objects = job.target.object.objects().into_iter().map(str::to_owned).collect::<Vec<_>>();
        job.target
            .derives
            .retain(|derive| is_company(derive) || (objects.contains(&derive.lookup) && derive.to.object != "person"));
    }
    let model = Model { world, job: &job, second, people };
    let mut rows: Vec<Seen> = (0..world.source.rows.len()).map(|row| model.look(row)).collect();
    model.duplicates(&mut rows);
    let problems: Vec<Option<Problem>> = rows.iter().map(|row| model.problem(row)).collect();
    let mut all: Vec<Expected> = (0..rows.len()).map(|row| model.verdict(row, &rows, &problems)).collect();
    all.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    all
}

/// The GSID that a lookup of the job gives a row; `None` also if the job has no such lookup.
pub(crate) fn find(world: &World, row: usize, to: &str) -> Cell {
    let model = Model { world, job: &world.job, second: false, people: false };
    let derive = world.job.target.derives.iter().find(|derive| derive.to.to_string() == to)?;
    model.lookup(row, derive).gsids.first().cloned()
}

/// The GSID of the person that a row is about.
pub(crate) fn person(world: &World, row: usize) -> Cell {
    let mut job = world.job.clone();
    job.target.maps.retain(|map| map.to.object == "person" && world.person_key.contains(&map.to.field));
    job.target.maps.iter_mut().for_each(|map| map.identifier = true);
    job.target.derives.clear();
    let model = Model { world, job: &job, second: false, people: true };
    model.look(row).person.first().cloned()
}

struct Model<'a> {
    world: &'a World,
    job: &'a Job,
    second: bool,
    people: bool,
}

/// What a row holds and finds, before anything is judged.
struct Seen {
    id: String,
    modified: Cell,
    /// By mapping: the value, or that the cell does not convert.
    cells: Vec<Result<Cell, ()>>,
    key: Vec<Cell>,
    lookups: Vec<Found>,
    person: Vec<String>,
    record: Vec<String>,
    duplicate: bool,
}

/// What a lookup gave.
struct Found {
    blank: bool,
    own: bool,
    gsids: Vec<String>,
    waits: bool,
}

struct Problem {
    code: &'static str,
    field: String,
    candidates: Vec<String>,
    retry: bool,
}

impl Model<'_> {
    fn source_cell(&self, row: usize, name: &str) -> Cell {
        cell(&self.world.source, row, name)
    }

    fn source_kind(&self, name: &str) -> String {
        kind(&self.world.source, name, "sf.type")
    }

    fn mirror(&self, object: &str) -> &Table {
        &self.world.mirrors[if object == "avatar" { "gsuser" } else { object }]
    }

    fn target_kind(&self, object: &str, field: &str) -> String {
        kind(self.mirror(object), field, "gs.type")
    }

    fn look(&self, row: usize) -> Seen {
        let cells: Vec<Result<Cell, ()>> = self
            .job
            .target
            .maps
            .iter()
            .map(|map| {
                let to = self.target_kind(&map.to.object, &map.to.field);
                convert(&self.source_cell(row, &map.from), &self.source_kind(&map.from), &to)
            })
            .collect();
        let keys: Vec<&FieldMap> = self.job.target.maps.iter().filter(|map| map.identifier).collect();
        let key: Vec<Cell> =
            keys.iter().map(|map| self.source_side(row, &map.from, &map.to.object, &map.to.field)).collect();
        let object = if self.people { "person" } else { self.job.target.object.primary() };
        let found = self.search(
            object,
            &keys.iter().map(|map| (self.source_kind(&map.from), map.to.field.clone())).collect::<Vec<_>>(),
            &key,
        );
        let lookups: Vec<Found> = self.job.target.derives.iter().map(|derive| self.lookup(row, derive)).collect();
        let mut seen = Seen {
            id: self.source_cell(row, "Id").expect("every row has an Id"),
            modified: self.source_cell(row, "SystemModstamp"),
            cells,
            key,
            lookups,
            person: Vec::new(),
            record: found,
            duplicate: false,
        };
        if self.people {
            seen.person = std::mem::take(&mut seen.record);
            if let (Some(person), Some(company)) = (seen.person(), self.company(&seen)) {
                let table = self.mirror("company_person");
                seen.record = (0..table.rows.len())
                    .filter(|&at| cell(table, at, "Person_ID").as_deref() == Some(&person))
                    .filter(|&at| cell(table, at, "Company_ID").as_deref() == Some(&company))
                    .filter_map(|at| cell(table, at, "Gsid"))
                    .collect();
                seen.record.sort();
            }
        }
        // a self lookup that finds the record itself
        for (derive, found) in self.job.target.derives.iter().zip(&mut seen.lookups) {
            let chosen = if derive.on_multiple == OnMultiple::Error && found.gsids.len() > 1 {
                None
            } else {
                found.gsids.first()
            };
            if self.is_self(derive) && seen.record.len() == 1 && chosen == seen.record.first() {
                found.own = true;
            }
            if found.own {
                found.waits = false;
            }
        }
        seen
    }

    fn is_self(&self, derive: &Derive) -> bool {
        self.job.target.object.objects().contains(&derive.lookup.as_str()) && derive.to.object != "person"
    }

    /// The GSID of the row's company.
    fn company(&self, seen: &Seen) -> Cell {
        let at = self.job.target.derives.iter().position(is_company)?;
        let found = &seen.lookups[at];
        let several = found.gsids.len() > 1 && self.job.target.derives[at].on_multiple == OnMultiple::Error;
        if several { None } else { found.gsids.first().cloned() }
    }

    /// The GSIDs of the records of `object` whose fields hold `values`, lowest first. NULL holds nothing.
    fn search(&self, object: &str, fields: &[(String, String)], values: &[Cell]) -> Vec<String> {
        let table = self.mirror(object);
        let mut found = Vec::new();
        for at in 0..table.rows.len() {
            let all = fields.iter().zip(values).all(|((from, field), value)| {
                let there = comparable(&cell(table, at, field), from, &self.target_kind(object, field));
                value.is_some() && *value == there
            });
            if all {
                found.extend(cell(table, at, "Gsid"));
            }
        }
        found.sort();
        found
    }

    /// A source cell as it compares with a field of Gainsight.
    fn source_side(&self, row: usize, from: &str, object: &str, field: &str) -> Cell {
        let (kind, to) = (self.source_kind(from), self.target_kind(object, field));
        let value = self.source_cell(row, from);
        if is_text_kind(&kind) && is_text_target(&to) {
            return comparable(&value, &kind, &to);
        }
        comparable(&convert(&value, &kind, &to).unwrap_or(None), &kind, &to)
    }

    fn lookup(&self, row: usize, derive: &Derive) -> Found {
        let values: Vec<Cell> =
            derive.pairs.iter().map(|pair| self.source_side(row, &pair.from, &derive.lookup, &pair.to)).collect();
        let fields: Vec<_> = derive.pairs.iter().map(|pair| (self.source_kind(&pair.from), pair.to.clone())).collect();
        let blank = values.iter().any(Option::is_none);
        let gsids = self.search(&derive.lookup, &fields, &values);
        let mut found = Found { blank, own: false, gsids, waits: false };
        if !self.is_self(derive) {
            return found;
        }
        // what rows of this very job will hold in the lookup's fields
        let held = |row: usize| -> Option<Vec<Cell>> {
            derive
                .pairs
                .iter()
                .map(|pair| {
                    let map = self.world.job.target.maps.iter().find(|map| {
                        let object = if map.to.object == "avatar" { "gsuser" } else { &map.to.object };
                        object == derive.lookup && map.to.field == pair.to
                    })?;
                    Some(self.source_side(row, &map.from, &derive.lookup, &pair.to))
                })
                .collect()
        };
        let Some(mine) = held(row) else { return found };
        found.own = !blank && mine == values;
        let missing = found.gsids.is_empty() && !blank && !found.own && !self.second;
        found.waits = missing
            && (derive.on_missing != OnMissing::Reject
                || (0..self.world.source.rows.len())
                    .any(|other| held(other).is_some_and(|theirs| theirs == values) && self.has_key(other)));
        found
    }

    fn has_key(&self, row: usize) -> bool {
        let mut keys = self.job.target.maps.iter().filter(|map| map.identifier);
        keys.all(|map| self.source_side(row, &map.from, &map.to.object, &map.to.field).is_some())
    }

    /// Of the rows with one key the newest counts, then the one with the higher Id.
    fn duplicates(&self, rows: &mut [Seen]) {
        for a in 0..rows.len() {
            for b in 0..rows.len() {
                let keys =
                    |row: &Seen| row.key.iter().all(Option::is_some) && (!self.people || self.company(row).is_some());
                let same = a != b
                    && keys(&rows[a])
                    && keys(&rows[b])
                    && rows[a].key == rows[b].key
                    && (!self.people || self.company(&rows[a]) == self.company(&rows[b]));
                if same && (&rows[b].modified, &rows[b].id) > (&rows[a].modified, &rows[a].id) {
                    rows[a].duplicate = true;
                }
            }
        }
    }

    fn problem(&self, row: &Seen) -> Option<Problem> {
        let maps = &self.job.target.maps;
        let derives = &self.job.target.derives;
        let simple = |code, field: String| Some(Problem { code, field, candidates: Vec::new(), retry: false });
        let mut key = row.key.iter();
        for (map, value) in maps.iter().zip(&row.cells).filter(|(map, _)| map.identifier) {
            let part = key.next().expect("one part for each identifier");
            if value.is_err() {
                return simple("VALUE_INVALID", map.to.to_string());
            }
            if part.is_none() {
                return simple("BLANK_IDENTIFIER", map.to.to_string());
            }
        }
        let several = |derive: &Derive, found: &Found| {
            (derive.on_multiple == OnMultiple::Error && found.gsids.len() > 1 && !found.own).then(|| Problem {
                code: "LOOKUP_MULTIPLE",
                field: derive.to.to_string(),
                candidates: found.gsids.clone(),
                retry: false,
            })
        };
        if self.people {
            let at = derives.iter().position(is_company).expect("a people job finds its company");
            if let Some(problem) = several(&derives[at], &row.lookups[at]) {
                return Some(problem);
            }
            if row.lookups[at].gsids.is_empty() {
                let code =
                    if derives[at].on_missing == OnMissing::Reject { "LOOKUP_NO_MATCH" } else { "BLANK_IDENTIFIER" };
                let field = derives[at].to.to_string();
                return Some(Problem { code, field, candidates: Vec::new(), retry: !row.lookups[at].blank });
            }
        }
        let first = maps.iter().find(|map| map.identifier).expect("a job has an identifier").to.to_string();
        if row.duplicate {
            return simple("DUPLICATE_IN_SOURCE", first);
        }
        for candidates in [&row.person, &row.record] {
            if candidates.len() > 1 {
                let candidates = candidates.clone();
                return Some(Problem { code: "AMBIGUOUS_TARGET", field: first, candidates, retry: false });
            }
        }
        match (self.job.target.operation, row.record.is_empty()) {
            (Operation::Insert, false) => return simple("ALREADY_EXISTS", first),
            (Operation::Update, true) => return simple("NOT_FOUND", first),
            _ => {}
        }
        for (map, value) in maps.iter().zip(&row.cells) {
            if value.is_err() {
                return simple("VALUE_INVALID", map.to.to_string());
            }
        }
        for (derive, found) in
            derives.iter().zip(&row.lookups).filter(|(derive, _)| !(self.people && is_company(derive)))
        {
            if let Some(problem) = several(derive, found) {
                return Some(problem);
            }
            let missing = found.gsids.is_empty() && !found.own && !found.waits;
            if missing && derive.on_missing == OnMissing::Reject {
                let field = derive.to.to_string();
                return Some(Problem { code: "LOOKUP_NO_MATCH", field, candidates: Vec::new(), retry: !found.blank });
            }
        }
        None
    }

    fn verdict(&self, at: usize, rows: &[Seen], problems: &[Option<Problem>]) -> Expected {
        let row = &rows[at];
        let mut expected = Expected { source_id: row.id.clone(), ..Expected::default() };
        expected.gsid = row.record();
        expected.person_gsid = row.person();
        if self.people {
            let accepted = |other: &usize| {
                problems[*other].is_none() && rows[*other].key == row.key && row.key.iter().all(Option::is_some)
            };
            let group: Vec<usize> = (0..rows.len()).filter(accepted).collect();
            expected.person_rows = group.len();
            let winner = group.iter().max_by_key(|other| (&rows[**other].modified, &rows[**other].id));
            expected.person_winner = winner == Some(&at);
        }
        if let Some(problem) = &problems[at] {
            expected.verdict = "rejected".to_owned();
            expected.code = Some(problem.code.to_owned());
            expected.field = Some(problem.field.clone());
            expected.retry = problem.retry;
            if !problem.candidates.is_empty() {
                let ten: Vec<_> = problem.candidates.iter().take(10).cloned().collect();
                expected.candidates = Some(ten.join(", "));
            }
            return expected;
        }
        let mut changed = Vec::new();
        let mut compare = |object: &str, field: &str, value: &Cell, counts: bool, expected: &mut Expected| {
            let owner = if object == "avatar" { "gsuser" } else { object };
            let gsid = if object == "person" { row.person() } else { row.record() };
            let counts = counts && (object != "person" || expected.person_winner);
            if let (true, Some(gsid), true) = (counts, gsid, row.record().is_some()) {
                let table = self.mirror(owner);
                let there = (0..table.rows.len()).find(|&at| cell(table, at, "Gsid").as_ref() == Some(&gsid));
                let there = cell(table, there.expect("it was found"), field).filter(|text| !text.is_empty());
                let to = self.target_kind(object, field);
                if sorted(value, &to) != sorted(&there, &to) {
                    changed.push(format!("{object}.{field}"));
                    expected.clears |= value.is_none();
                }
            }
        };
        for (map, value) in self.job.target.maps.iter().zip(&row.cells) {
            let value = value.clone().expect("a cell that does not convert is a problem");
            let counts = !map.identifier && (map.on_null == OnNull::Overwrite || value.is_some());
            compare(&map.to.object, &map.to.field, &value, counts, &mut expected);
            expected.set.insert(format!("set.{}", map.to), value);
        }
        let mut unresolved = Vec::new();
        for (derive, found) in self.job.target.derives.iter().zip(&row.lookups) {
            let value = if found.own { None } else { found.gsids.first().cloned() };
            let missing = found.gsids.is_empty() && !found.own;
            let key = self.people && is_company(derive);
            let kept = missing && derive.on_missing == OnMissing::Keep;
            let counts = !(key || found.waits || kept);
            compare(&derive.to.object, &derive.to.field, &value, counts, &mut expected);
            expected.set.insert(format!("set.{}", derive.to), value);
            if found.waits {
                unresolved.push(derive.to.to_string());
            }
            expected.retry |= missing && !found.blank && !found.waits;
        }
        expected.unresolved = (!unresolved.is_empty()).then(|| unresolved.join(","));
        expected.verdict = match (&expected.gsid, changed.is_empty()) {
            (None, _) => "insert",
            (Some(_), false) => "update",
            (Some(_), true) => "unchanged",
        }
        .to_owned();
        expected.changed = (expected.verdict == "update").then(|| changed.join(","));
        expected
    }
}

impl Seen {
    fn person(&self) -> Cell {
        if let [one] = self.person.as_slice() { Some(one.clone()) } else { None }
    }

    fn record(&self) -> Cell {
        if let [one] = self.record.as_slice() { Some(one.clone()) } else { None }
    }
}

fn is_company(derive: &Derive) -> bool {
    derive.to.object == "company_person" && derive.to.field == "Company_ID"
}

fn cell(table: &Table, row: usize, name: &str) -> Cell {
    table.rows[row][table.schema.index_of(name).expect("a column of the table")].clone()
}

fn kind(table: &Table, name: &str, key: &str) -> String {
    table.schema.field_with_name(name).expect("a column of the table").metadata()[key].clone()
}

fn is_text_kind(kind: &str) -> bool {
    !matches!(kind, "boolean" | "int" | "double" | "currency" | "date" | "datetime")
}

fn is_text_target(kind: &str) -> bool {
    !matches!(kind, "NUMBER" | "CURRENCY" | "BOOLEAN" | "DATE" | "DATETIME")
}

/// How a value compares, on either side of a key or a match pair.
fn comparable(value: &Cell, from: &str, to: &str) -> Cell {
    if !is_text_target(to) {
        return value.clone();
    }
    let text = trimmed(value)?;
    if matches!(from, "id" | "reference") || matches!(to, "SFDCID" | "GSID" | "LOOKUP") {
        return Some(id18(&text).unwrap_or(text));
    }
    // lower case by the words of Unicode, one sigma, and the few compositions that the tests use
    let lower = text.to_lowercase().replace('ς', "σ");
    Some(lower.replace("e\u{301}", "é").replace("j\u{30c}", "\u{1f0}"))
}

fn trimmed(value: &Cell) -> Cell {
    let text = value.as_ref()?.trim_matches(char::is_whitespace);
    (!text.is_empty()).then(|| text.to_owned())
}

/// A multi-select has no order.
fn sorted(value: &Cell, to: &str) -> Cell {
    if to != "MULTISELECTDROPDOWNLIST" {
        return value.clone();
    }
    let labels: std::collections::BTreeSet<&str> =
        value.as_ref()?.split(';').map(str::trim).filter(|label| !label.is_empty()).collect();
    (!labels.is_empty()).then(|| labels.into_iter().collect::<Vec<_>>().join(";"))
}

/// A Salesforce id with 18 characters: for each five characters one more, which tells the capitals among them.
pub(crate) fn id18(text: &str) -> Option<String> {
    if !text.chars().all(|letter| letter.is_ascii_alphanumeric()) || !matches!(text.len(), 15 | 18) {
        return None;
    }
    let mut long = text[..15].to_owned();
    for five in [&text[0..5], &text[5..10], &text[10..15]] {
        let bits: String = five.chars().rev().map(|letter| if letter.is_uppercase() { '1' } else { '0' }).collect();
        let number = usize::from_str_radix(&bits, 2).expect("five bits");
        long.push("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345".chars().nth(number).expect("below 32"));
    }
    (text.len() == 15 || text == long).then_some(long)
}

/// A source cell as a value of the target's type, as the mirror would print it.
pub(crate) fn convert(value: &Cell, from: &str, to: &str) -> Result<Cell, ()> {
    let Some(text) = value else { return Ok(None) };
    let filled = trimmed(value);
    match (from, to) {
        ("id" | "reference", _) => Ok(filled.map(|text| id18(&text).unwrap_or(text))),
        ("boolean", "BOOLEAN" | "STRING") => Ok(Some(text.clone())),
        ("boolean", _) => scaled(if text == "true" { "1" } else { "0" }, to).map(Some).ok_or(()),
        ("int", "STRING") => Ok(Some(text.clone())),
        ("double", "STRING") => Ok(Some(text.parse::<f64>().map_err(|_| ())?.to_string())),
        ("currency", "STRING") => Ok(Some(text.clone())),
        ("double", _) => {
            let number: f64 = text.parse().map_err(|_| ())?;
            let (digits, scale) = digits_of(to);
            let units = (number * 10_f64.powi(scale)).round();
            if units.abs() >= 10_f64.powi(digits) { Err(()) } else { Ok(Some(decimal(units as i128, scale))) }
        }
        ("int" | "currency", _) => scaled(text, to).map(Some).ok_or(()),
        ("date", "DATETIME") => Ok(Some(format!("{text}T00:00:00Z"))),
        ("datetime", "DATE") => Ok(Some(text[..10].to_owned())),
        ("date" | "datetime", _) => Ok(Some(text.clone())),
        (_, "EMAIL") => Ok(filled),
        (_, "STRING" | "MULTISELECTDROPDOWNLIST") => Ok((!text.is_empty()).then(|| text.clone())),
        (_, "SFDCID") => filled.map(|text| id18(&text).ok_or(())).transpose(),
        (_, "NUMBER" | "CURRENCY") => filled.map(|text| scaled(&text, to).ok_or(())).transpose(),
        (_, "BOOLEAN") => filled
            .map(|text| match text.to_lowercase().as_str() {
                "true" | "1" => Ok("true".to_owned()),
                "false" | "0" => Ok("false".to_owned()),
                _ => Err(()),
            })
            .transpose(),
        (_, "DATE") => filled.map(|text| if is_day(&text) { Ok(text) } else { Err(()) }).transpose(),
        other => panic!("the model has no conversion for {other:?}"),
    }
}

/// Digits in all and behind the point.
fn digits_of(to: &str) -> (i32, i32) {
    if to == "CURRENCY" { (28, 2) } else { (18, 0) }
}

fn decimal(units: i128, scale: i32) -> String {
    if scale == 0 {
        return units.to_string();
    }
    let one = 10_i128.pow(scale as u32);
    let sign = if units < 0 { "-" } else { "" };
    format!("{sign}{}.{:0width$}", units.abs() / one, units.abs() % one, width = scale as usize)
}

/// A decimal text rounded half away from zero to the target's decimals; `None` if it is no number or does not fit.
fn scaled(text: &str, to: &str) -> Option<String> {
    let (digits, scale) = digits_of(to);
    let (negative, plain) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(scale as usize).collect();
    let mut units: i128 = format!("0{whole}{kept}").parse().ok()?;
    if fraction.chars().nth(scale as usize).is_some_and(|next| next >= '5') {
        units += 1;
    }
    let limit = 10_i128.pow(digits as u32);
    (units < limit).then(|| decimal(if negative { -units } else { units }, scale))
}

fn is_day(text: &str) -> bool {
    let parts: Vec<u32> = text.split('-').filter_map(|part| part.parse().ok()).collect();
    let [year, month, day] = parts[..] else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    text.len() == 10 && (1..=longest).contains(&day)
}
