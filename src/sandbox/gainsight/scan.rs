//! Runs a query over the store: by index where a key is asked for, else row by row in the order of the ids.

use std::cmp::Ordering;
use std::ops::Deref;
use std::ops::Range;

use super::catalog::Catalog;
use super::catalog::Field;
use super::catalog::Kind;
use super::catalog::Path;
use super::cell::Cell;
use super::column::Value;
use super::expression::Expression;
use super::gsid::Gsid;
use super::json::Show;
use super::json::item_number;
use super::json::write_text;
use super::json::write_value;
use super::query::Op;
use super::query::Probe;
use super::query::Query;
use super::query::Test;
use super::query::is_own_id;
use super::store::Store;
use super::table::Compare;

/// From how many rows on an index is worth its making.
const WORTH_AN_INDEX: usize = 512;

impl Query {
    /// The conditions that hold for every row of the answer.
    fn needed(&self) -> impl Iterator<Item = &Test> {
        let numbers = self.expression.as_ref().map(Expression::needed).unwrap_or_default();
        numbers.into_iter().map(|number| &self.tests[number])
    }

    /// The field whose index would help, if it is not there yet.
    pub(super) fn index_wanted(&self, catalog: &Catalog, store: &Store) -> Option<usize> {
        let table = &store.tables[self.object];
        if table.rows() < WORTH_AN_INDEX || self.by_own_id(catalog).is_some() {
            return None;
        }
        let (field, _) = self.by_key(catalog)?;
        table.index_of(&[field], Compare::Exact).is_none().then_some(field)
    }

    /// A needed equality on a field of the object itself that a hash can answer.
    fn by_key(&self, catalog: &Catalog) -> Option<(usize, &[Probe])> {
        self.needed().find_map(|test| {
            let probes = match &test.op {
                Op::Equal(probe) => std::slice::from_ref(probe),
                Op::In(probes) => probes.as_slice(),
                _ => return None,
            };
            let plain = test.path.hops.is_empty() && (test.kind.is_text() || test.kind.is_id());
            (plain && !is_own_id(catalog, &test.path)).then_some((test.path.field, probes))
        })
    }

    /// A needed equality on the record's own id.
    fn by_own_id(&self, catalog: &Catalog) -> Option<&[Probe]> {
        self.needed().find_map(|test| match &test.op {
            Op::Equal(probe) if is_own_id(catalog, &test.path) => Some(std::slice::from_ref(probe)),
            Op::In(probes) if is_own_id(catalog, &test.path) => Some(probes.as_slice()),
            _ => None,
        })
    }

    /// The rows that can be in the answer, as the id conditions bound them.
    fn id_range(&self, catalog: &Catalog, store: &Store) -> Range<usize> {
        let table = &store.tables[self.object];
        let mut range = 0..table.rows();
        for test in self.needed().filter(|test| is_own_id(catalog, &test.path)) {
            // Ids of one object sort as they were made.
            let first = |probe: &Probe, or_equal: bool| {
                let Probe::Text(text) = probe else { return 0 };
                partition(table.rows(), |row| {
                    let id = catalog.gsids.write(table.id(row));
                    match id.as_slice().cmp(text) {
                        Ordering::Less => true,
                        Ordering::Equal => !or_equal,
                        Ordering::Greater => false,
                    }
                })
            };
            match &test.op {
                Op::Greater(probe, or_equal) => range.start = range.start.max(first(probe, *or_equal)),
                Op::Less(probe, or_equal) => range.end = range.end.min(first(probe, !*or_equal)),
                _ => {}
            }
        }
        range.start..range.end.max(range.start)
    }

    /// A needed lower bound of a field of the object itself.
    fn at_least(&self) -> Option<(usize, i64)> {
        self.needed().find_map(|test| match &test.op {
            Op::Greater(Probe::Int(bound), _) if test.path.hops.is_empty() => Some((test.path.field, *bound)),
            _ => None,
        })
    }

    /// Which conditions hold for all rows of the [range](Self::id_range) already.
    fn ranged(&self, catalog: &Catalog) -> Vec<bool> {
        let mut ranged = vec![false; self.tests.len()];
        for number in self.expression.as_ref().map(Expression::needed).unwrap_or_default() {
            let test = &self.tests[number];
            ranged[number] = is_own_id(catalog, &test.path)
                && matches!(test.op, Op::Greater(Probe::Text(_), _) | Op::Less(Probe::Text(_), _));
        }
        ranged
    }

    /// The rows of the answer in their order, offset and limit applied.
    pub(super) fn rows(&self, catalog: &Catalog, store: &Store) -> Vec<usize> {
        let table = &store.tables[self.object];
        let mut candidates = self.candidates(catalog, store);
        let known = if candidates.is_none() { self.ranged(catalog) } else { Vec::new() };
        let bound = self.at_least();
        let may_match = |row: usize| bound.is_none_or(|(field, since)| table.may_be_changed(row, field, since));
        let matches = |row: &usize| may_match(*row) && table.is_live(*row) && self.holds(catalog, store, *row, &known);
        if let Some(backwards) = self.by_id(catalog) {
            return match candidates.take() {
                Some(mut rows) => {
                    if backwards {
                        rows.reverse();
                    }
                    rows.into_iter().filter(matches).skip(self.offset).take(self.limit).collect()
                }
                None if backwards => {
                    self.id_range(catalog, store).rev().filter(matches).skip(self.offset).take(self.limit).collect()
                }
                None => self.id_range(catalog, store).filter(matches).skip(self.offset).take(self.limit).collect(),
            };
        }
        let mut rows: Vec<usize> = match candidates {
            Some(rows) => rows.into_iter().filter(matches).collect(),
            None => self.id_range(catalog, store).filter(matches).collect(),
        };
        rows.sort_by(|left, right| {
            self.order
                .iter()
                .map(|(path, backwards)| {
                    let field = &catalog.objects[path.object].fields[path.field];
                    let order = in_order(catalog, field, store.value(path, *left), store.value(path, *right));
                    if *backwards { order.reverse() } else { order }
                })
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        });
        rows.into_iter().skip(self.offset).take(self.limit).collect()
    }

    /// Rows found by a key, ascending; none if there is no way but to look at all.
    fn candidates(&self, catalog: &Catalog, store: &Store) -> Option<Vec<usize>> {
        let table = &store.tables[self.object];
        let mut rows: Vec<usize> = if let Some(probes) = self.by_own_id(catalog) {
            let ids = probes.iter().filter_map(|probe| match probe {
                Probe::Text(text) => catalog.gsids.read(text),
                _ => None,
            });
            ids.filter_map(|id| table.row_of(id)).collect()
        } else {
            let (field, probes) = self.by_key(catalog)?;
            let index = table.index_of(&[field], Compare::Exact)?;
            let is_id = catalog.objects[self.object].fields[field].kind.is_id();
            let mut all = Vec::new();
            let mut found = Vec::new();
            for probe in probes {
                let Probe::Text(text) = probe else { continue };
                let cell = if is_id {
                    match catalog.gsids.read_any(text) {
                        Some(id) => Cell::Int(id),
                        None => continue,
                    }
                } else {
                    Cell::Text(String::from_utf8_lossy(text))
                };
                table.find_at(index, &[cell], &mut found);
                all.append(&mut found);
            }
            all
        };
        rows.sort_unstable();
        rows.dedup();
        Some(rows)
    }

    /// Whether a row is in the answer; the conditions that are known to hold are not looked at.
    fn holds(&self, catalog: &Catalog, store: &Store, row: usize, known: &[bool]) -> bool {
        match &self.expression {
            None => true,
            Some(expression) => expression.holds(&mut |number| {
                if known.get(number) == Some(&true) {
                    return true;
                }
                let test = &self.tests[number];
                let field = &catalog.objects[test.path.object].fields[test.path.field];
                passes(catalog, field, store.value(&test.path, row), test)
            }),
        }
    }

    /// Appends the records of these rows as a JSON list.
    pub(super) fn write(&self, catalog: &Catalog, store: &Store, rows: &[usize], show: Show, out: &mut Vec<u8>) {
        let heads: Vec<Vec<u8>> = self.select.iter().enumerate().map(|(at, path)| head(at, &path.name)).collect();
        out.push(b'[');
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            for (path, head) in self.select.iter().zip(&heads) {
                out.extend_from_slice(head);
                let field = &catalog.objects[path.object].fields[path.field];
                write_value(catalog, field, value_of(store, path, *row), show, out);
            }
            out.push(b'}');
        }
        out.push(b']');
    }
}

fn value_of<'a>(store: &'a Store, path: &Path, row: usize) -> Value<'a> {
    if path.hops.is_empty() { store.tables[path.object].get(row, path.field) } else { store.value(path, row) }
}

/// `{"Name":` or `,"Name":`.
fn head(at: usize, name: &str) -> Vec<u8> {
    let mut text = if at == 0 { b"{".to_vec() } else { b",".to_vec() };
    write_text(name.as_bytes(), &mut text);
    text.push(b':');
    text
}

/// The first row for which `below` is false; it is true for all before.
fn partition(rows: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low + (high - low) / 2;
        if below(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// A value as a text.
enum Shown<'a> {
    Kept(&'a [u8]),
    Id(Gsid),
}

impl Deref for Shown<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Kept(text) => text,
            Self::Id(id) => id,
        }
    }
}

/// A value as text: ids and dropdown labels as they are written.
fn text_of<'a>(catalog: &'a Catalog, field: &Field, value: Value<'a>) -> Option<Shown<'a>> {
    match value {
        Value::Text(text) => Some(Shown::Kept(text)),
        Value::Int(id) if field.kind.is_id() => Some(Shown::Id(catalog.gsids.write(id))),
        Value::Int(item) if field.kind == Kind::Picklist => {
            Some(Shown::Kept(catalog.items.get(item as usize)?.label.as_bytes()))
        }
        _ => None,
    }
}

fn compare(catalog: &Catalog, field: &Field, value: Value<'_>, probe: &Probe) -> Option<Ordering> {
    match (value, probe) {
        (Value::Null, _) => None,
        (Value::Int(left), Probe::Int(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Probe::Bool(right)) => Some(left.cmp(right)),
        (value, Probe::Text(right)) => Some((*text_of(catalog, field, value)?).cmp(right.as_slice())),
        _ => None,
    }
}

/// Whether a value passes; a null passes no test but `IS_NULL`, as in SQL.
fn passes(catalog: &Catalog, field: &Field, value: Value<'_>, test: &Test) -> bool {
    let with = |probe: &Probe| compare(catalog, field, value, probe);
    let text = |ignore: bool, holds: &dyn Fn(&[u8]) -> bool| match text_of(catalog, field, value) {
        None => false,
        Some(text) if ignore => holds(String::from_utf8_lossy(&text).to_lowercase().as_bytes()),
        Some(text) => holds(&text),
    };
    let includes = |wanted: &[usize]| match value {
        Value::Int(item) => wanted.contains(&(item as usize)),
        Value::Text(items) => items.split(|byte| *byte == b',').any(|item| wanted.contains(&item_number(item))),
        _ => false,
    };
    match &test.op {
        Op::Equal(probe) => with(probe) == Some(Ordering::Equal),
        Op::NotEqual(probe) => value != Value::Null && with(probe) != Some(Ordering::Equal),
        Op::Less(probe, or_equal) => with(probe).is_some_and(|order| order.is_lt() || (*or_equal && order.is_eq())),
        Op::Greater(probe, or_equal) => with(probe).is_some_and(|order| order.is_gt() || (*or_equal && order.is_eq())),
        Op::Between(from, to) => with(from).is_some_and(Ordering::is_ge) && with(to).is_some_and(Ordering::is_le),
        Op::In(probes) => probes.iter().any(|probe| with(probe) == Some(Ordering::Equal)),
        Op::NotIn(probes) => value != Value::Null && !probes.iter().any(|probe| with(probe) == Some(Ordering::Equal)),
        Op::Contains(part, ignore) => text(*ignore, &|text| contains(text, part)),
        Op::NotContains(part, ignore) => text(*ignore, &|text| !contains(text, part)),
        Op::Starts(part, ignore) => text(*ignore, &|text| text.starts_with(part)),
        Op::Ends(part, ignore) => text(*ignore, &|text| text.ends_with(part)),
        Op::IsNull => value == Value::Null,
        Op::IsNotNull => value != Value::Null,
        Op::Includes(wanted) => includes(wanted),
        Op::Excludes(wanted) => value != Value::Null && !includes(wanted),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// The order of two values; nulls come last, as in Postgres.
fn in_order(catalog: &Catalog, field: &Field, left: Value<'_>, right: Value<'_>) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Bool(left), Value::Bool(right)) => left.cmp(&right),
        (Value::Int(left), Value::Int(right)) if !field.kind.is_id() && field.kind != Kind::Picklist => {
            left.cmp(&right)
        }
        (left, right) => text_of(catalog, field, left).as_deref().cmp(&text_of(catalog, field, right).as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::gainsight::query::compile;
    use crate::sandbox::gainsight::switches::Switches;

    fn tenant() -> (Catalog, Store, usize) {
        let catalog = Catalog::read("test", &[]).unwrap();
        let company = catalog.object("company").unwrap();
        let object = &catalog.objects[company];
        let [name, account, employees] = ["Name", "SfdcAccountId", "Employees"].map(|one| object.field(one).unwrap());
        let mut store = Store::new(&catalog);
        for row in 0..3000_i64 {
            let mut cells = vec![
                (name, Cell::Text(format!("N{}", row % 7).into())),
                (account, Cell::Text(format!("001{:012}", row % 900).into())),
            ];
            if row % 5 != 0 {
                cells.push((employees, Cell::Int(row * 7919 % 1000)));
            }
            store.tables[company].insert(&cells, row);
        }
        for row in (0..3000).step_by(11) {
            store.tables[company].delete(row);
        }
        for row in (1..3000).step_by(130) {
            store.tables[company].update(row, &[(name, Cell::Text("changed".into()))], 5000 + row as i64);
        }
        (catalog, store, company)
    }

    #[test]
    fn the_quick_ways_equal_the_slow_way() {
        let (catalog, mut store, company) = tenant();
        let id = |row: usize| String::from_utf8(catalog.gsids.write(store.tables[company].id(row)).to_vec()).unwrap();
        let (early, late) = (id(700), id(2100));
        let condition = |alias: &str, name: &str, operator: &str, value: serde_json::Value| json!({"alias": alias, "name": name, "operator": operator, "value": value});
        let account = condition("A", "SfdcAccountId", "IN", json!(["001000000000004", "001000000000450", "none"]));
        let filters = [
            json!({"conditions": []}),
            json!({"conditions": [account]}),
            json!({"conditions": [account, condition("B", "Gsid", "GT", json!([early]))]}),
            json!({"conditions": [account, condition("B", "Name", "EQ", json!(["N3"]))], "expression": "A OR B"}),
            json!({"conditions": [account, condition("B", "Gsid", "LTE", json!([late]))], "expression": "B AND (A)"}),
            json!({"conditions": [condition("A", "Gsid", "GTE", json!([early])), condition("B", "Gsid", "LT", json!([late]))]}),
            json!({"conditions": [condition("A", "Gsid", "IN", json!([late, early, "x"])), condition("B", "Name", "NE", json!(["N0"]))]}),
            json!({"conditions": [condition("A", "ModifiedDate", "GTE", json!(["1970-01-01T00:00:02.500Z"]))]}),
            json!({"conditions": [condition("A", "ModifiedDate", "GT", json!(["1970-01-01T00:00:02.500Z"])), condition("B", "Gsid", "LT", json!([late]))], "expression": "A OR B"}),
            json!({"conditions": [condition("A", "Gsid", "GT", json!([""])), condition("B", "Employees", "LT", json!([100]))]}),
        ];
        let orders =
            [json!({}), json!({"Gsid": "asc"}), json!({"Gsid": "desc"}), json!({"Employees": "desc", "Name": "asc"})];
        for indexed in [false, true] {
            for filter in &filters {
                for order in &orders {
                    let body = json!({"select": ["Name"], "where": filter, "orderBy": order});
                    let body = serde_json::from_value(body).unwrap();
                    let mut query = compile(&catalog, company, body, &Switches::default(), 5000, 5000).unwrap();
                    if indexed && let Some(field) = query.index_wanted(&catalog, &store) {
                        store.tables[company].index(&[field], Compare::Exact);
                    }
                    let table = &store.tables[company];
                    let mut slow: Vec<usize> = (0..table.rows())
                        .filter(|row| table.is_live(*row) && query.holds(&catalog, &store, *row, &[]))
                        .collect();
                    match query.by_id(&catalog) {
                        Some(backwards) => {
                            if backwards {
                                slow.reverse();
                            }
                            assert_eq!(query.rows(&catalog, &store), slow, "{filter} {order}");
                        }
                        None => {
                            let mut rows = query.rows(&catalog, &store);
                            let number = |row: &usize| match table.get(*row, query.order[0].0.field) {
                                Value::Int(value) => value,
                                _ => i64::MAX,
                            };
                            assert!(
                                rows.iter().map(number).is_sorted_by(|left, right| left >= right),
                                "{filter} {order}"
                            );
                            rows.sort_unstable();
                            assert_eq!(rows, slow, "{filter} {order}");
                        }
                    }
                    let all = query.rows(&catalog, &store);
                    (query.offset, query.limit) = (3, 5);
                    let page: Vec<usize> = all.into_iter().skip(3).take(5).collect();
                    assert_eq!(query.rows(&catalog, &store), page, "{filter} {order}");
                }
            }
        }
    }
}
