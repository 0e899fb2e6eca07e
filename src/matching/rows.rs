//! The first half of the statement: the rows, and what each finds in Gainsight.
//!
//! ```text
//!  source ─▶ mapped ───────────────────────────▶ matched ─▶ (verdict)
//!              │ mirrors ─▶ one row per key ─────▶ │ left joins
//!              └─ rows that share a key ─▶ ranked ▶ │
//! ```
//!
//! The wide rows go once through left joins whose other sides have one row per key, so that no join can multiply rows.
//! Duplicates are found by counting the keys' numbers; only the few rows that share a key are sorted.

use crate::config::job::OnMultiple;
use crate::matching::layout::Layout;
use crate::matching::layout::Lookup;
use crate::matching::narrow::Search;
use crate::matching::problems::Problem;
use crate::matching::problems::problems;
use crate::matching::statement::Repeated;
use crate::matching::statement::Script;
use crate::transform::sql::identifier;

const FOUND: &str = "Each row with what it found.";

/// Most GSIDs that a reject names.
const CANDIDATES: usize = 10;

/// Writes a job's statement, and names the ways in which it looks for records.
pub(super) fn write(layout: &Layout<'_>) -> (Script, Vec<Search>) {
    let job = layout.job;
    let title = format!(
        "{} ({}): what each row of {} means for {} in Gainsight",
        job.title, job.name, job.source.object, job.target.object
    );
    let mut writer = Writer { layout, problems: problems(layout), script: Script::new(&title), searches: Vec::new() };
    writer.mapped();
    writer.parents();
    writer.lookups();
    if layout.is_people() {
        writer.people()
    } else {
        writer.records()
    }
    writer.judge("", "matched");
    writer.decide();
    (writer.script, writer.searches)
}

pub(super) struct Writer<'a> {
    pub(super) layout: &'a Layout<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) script: Script,
    searches: Vec<Search>,
}

/// A mirror as one row per key.
struct Index<'a> {
    name: &'a str,
    why: String,
    object: &'a str,
    /// Alias and expression of each part.
    keys: Vec<(String, String)>,
    /// Alias and expression of what a match brings along.
    payload: Vec<(String, String)>,
    /// Of several records: the lowest GSID, or else no GSID but the candidates.
    lowest: bool,
    /// A table, and what its rows look for: all parts of a key or the first few.
    wanted: (&'a str, Vec<String>),
}

impl Writer<'_> {
    pub(super) fn key_names(&self) -> Vec<String> {
        (1..=self.layout.keys.len()).map(|number| format!("key_{number}")).collect()
    }

    /// Every cell at its target's type, and the keys as they compare.
    fn mapped(&mut self) {
        let layout = self.layout;
        let mut columns = vec!["\"Id\" AS source_id".to_owned()];
        columns.push(match layout.cursor {
            Some(cursor) => format!("{} AS modified", identifier(cursor)),
            None => "CAST(NULL AS TIMESTAMP) AS modified".to_owned(),
        });
        for (at, key) in layout.keys.iter().enumerate() {
            columns.push(format!("{} AS key_{}", key.source, at + 1));
        }
        for cell in &layout.cells {
            columns.push(format!("{} AS {}", cell.value, identifier(&format!("set.{}", cell.to))));
            if let Some(invalid) = &cell.invalid {
                columns.push(format!("{invalid} AS {}", identifier(&format!("bad.{}", cell.to))));
            }
        }
        for lookup in &layout.lookups {
            for (at, pair) in lookup.pairs.iter().enumerate() {
                columns.push(format!("{} AS lookup_{}_{}", pair.source, lookup.number, at + 1));
            }
            if let (true, Some(own)) = (lookup.is_self, lookup.own()) {
                let same: Vec<_> =
                    lookup.pairs.iter().zip(&own).map(|(pair, own)| format!("{} = {own}", pair.source)).collect();
                columns.push(format!("coalesce({}, FALSE) AS own_{}", same.join(" AND "), lookup.number));
                if lookup.needs_parents(layout.pass) {
                    for (at, own) in own.iter().enumerate() {
                        columns.push(format!("{own} AS parent_{}_{}", lookup.number, at + 1));
                    }
                } else if lookup.may_follow(layout.pass) {
                    columns.push(format!("key_hash({}) AS becomes_{}", own.join(", "), lookup.number));
                    if !layout.is_people() {
                        for (at, own) in own.iter().enumerate() {
                            columns.push(format!("{own} AS own_{}_{}", lookup.number, at + 1));
                        }
                    }
                }
            }
        }
        self.script.step(
            "mapped",
            "Every cell at its target's type (bad.*: as text, if it does not convert), and the keys as they compare: blank is NULL.",
            format!("SELECT\n  {}\nFROM source", columns.join(",\n  ")),
        );
    }

    /// What the rows themselves will hold in the fields of a self lookup whose parent must come.
    fn parents(&mut self) {
        let filled: Vec<_> = self.key_names().iter().map(|key| format!("{key} IS NOT NULL")).collect();
        for lookup in self.layout.lookups.iter().filter(|lookup| lookup.needs_parents(self.layout.pass)) {
            let number = lookup.number;
            let columns: Vec<_> = (1..=lookup.pairs.len())
                .map(|pair| format!("parent_{number}_{pair} AS lookup_{number}_{pair}"))
                .collect();
            self.script.step(
                format!("parents_{number}"),
                format!("{}: parents that may come with the rows of this run.", lookup.to),
                format!(
                    "SELECT DISTINCT {}, TRUE AS here FROM mapped WHERE {}",
                    columns.join(", "),
                    filled.join(" AND ")
                ),
            );
        }
    }

    /// The records that lookups search.
    fn lookups(&mut self) {
        let layout = self.layout;
        for lookup in &layout.lookups {
            let fields: Vec<_> = lookup.pairs.iter().map(|pair| pair.to.as_str()).collect();
            self.index(&Index {
                name: &format!("lookup_{}", lookup.number),
                why: format!("{}: the {} records by {}", lookup.to, lookup.object, fields.join(" and ")),
                object: &lookup.object,
                keys: lookup_keys(lookup)
                    .into_iter()
                    .zip(lookup.pairs.iter().map(|pair| pair.mirror.clone()))
                    .collect(),
                payload: Vec::new(),
                lowest: lookup.on_multiple == OnMultiple::Any,
                wanted: ("source", lookup.pairs.iter().map(|pair| pair.source.clone()).collect()),
            });
        }
    }

    /// One row per key of a mirror.
    fn index(&mut self, index: &Index<'_>) {
        let name = index.name;
        let aliases: Vec<_> = index.keys.iter().map(|(alias, _)| alias.clone()).collect();
        let list = aliases.join(", ");
        let columns: Vec<_> = index
            .keys
            .iter()
            .map(|(alias, sql)| format!("{sql} AS {alias}"))
            .chain(["\"Gsid\" AS gsid".to_owned()])
            .chain(index.payload.iter().map(|(alias, sql)| format!("{sql} AS {alias}")))
            .collect();
        let mirror = format!("mirror_{}", index.object);
        let table = identifier(&mirror);
        let all = format!("{name}_all");
        let suspects = format!("{name}_suspects");
        let again = suspects_of(&suspects, &all, &aliases);
        let body = format!("SELECT\n  {}\nFROM {table}", columns.join(",\n  "));
        self.script.index(&all, format!("{}.", index.why), body, &aliases, &again);
        let (wanted_by, wanted) = &index.wanted;
        self.searches.push(Search {
            mirror,
            keys: index.keys.iter().take(wanted.len()).map(|(_, sql)| sql.clone()).collect(),
            rest: index.keys.iter().skip(wanted.len()).chain(&index.payload).map(|(_, sql)| sql.clone()).collect(),
            wanted_by: (*wanted_by).to_owned(),
            wanted: wanted.clone(),
        });
        let shared = format!(
            "SELECT {list} FROM {all} WHERE key_hash({list}) IN (SELECT number FROM {suspects}) \
             GROUP BY {list} HAVING count(*) > 1"
        );
        let same = equal("s", "a", &aliases);
        let several = match index.lowest {
            true => format!(
                "SELECT {}, min(a.gsid) AS gsid\nFROM ({shared}) s\nJOIN {name}_all a ON {same}\nGROUP BY {}",
                prefixed("a", &aliases),
                prefixed("a", &aliases)
            ),
            false => format!(
                "SELECT {list}, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates\n\
                 FROM (\n  SELECT {keys}, a.gsid, count(*) OVER (PARTITION BY {keys}) AS hits,\n    \
                 row_number() OVER (PARTITION BY {keys} ORDER BY a.gsid) AS place\n  \
                 FROM ({shared}) s\n  JOIN {name}_all a ON {same}\n)\n\
                 WHERE place <= {CANDIDATES}\nGROUP BY {list}",
                keys = prefixed("a", &aliases),
            ),
        };
        let what = match index.lowest {
            true => "the lowest GSID counts".to_owned(),
            false => format!("these are the candidates, at most {CANDIDATES}"),
        };
        self.script.first_with(
            &suspects,
            format!("{name}_several"),
            format!("Of several records with one key {what}."),
            several,
        );
        let payload: Vec<_> = index.payload.iter().map(|(alias, _)| format!(", a.{alias}")).collect();
        let nothing: Vec<_> = index.payload.iter().map(|(alias, _)| format!(", NULL AS {alias}")).collect();
        let (one, more) = match index.lowest {
            true => (String::new(), "gsid"),
            false => {
                (", 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates".to_owned(), "NULL AS gsid, hits, candidates")
            }
        };
        let each = format!("SELECT {}, a.gsid{one}{}\nFROM {name}_all a", prefixed("a", &aliases), payload.concat());
        self.script.step_without(
            &format!("{name}_several"),
            each.clone(),
            name,
            "So each key once.",
            format!(
                "{each} WHERE NOT EXISTS (SELECT 1 FROM {name}_several s WHERE {same})\n\
                 UNION ALL\nSELECT {list}, {more}{} FROM {name}_several",
                nothing.concat(),
            ),
        );
    }

    /// The rows of `mapped` that may share their key with others: looked for by number, as numbers are quickly counted and
    /// most tables have no such key.
    fn twins(&mut self) -> String {
        let keys = self.key_names();
        let Repeated { name, why, body } = suspects_of("rows_suspects", "mapped", &keys);
        self.script.first(name, why, body);
        format!("rows_suspects s JOIN mapped m ON s.number = key_hash({})", prefixed("m", &keys))
    }

    /// A job with one object: its rows meet the mirror by key.
    fn records(&mut self) {
        let layout = self.layout;
        let keys = self.key_names();
        let twins = self.twins();
        self.script.first_with(
            "rows_suspects",
            "ranked",
            "Of several rows with one key the newest counts, then the higher Id.",
            format!(
                "SELECT m.source_id, nullif(first_value(m.source_id) OVER (\n    \
                 PARTITION BY {} ORDER BY m.modified DESC NULLS LAST, m.source_id DESC), m.source_id) AS duplicate_of\n\
                 FROM {twins}",
                prefixed("m", &keys),
            ),
        );
        let object = layout.job.target.object.primary();
        self.index(&Index {
            name: "records",
            why: format!("The {object} records of Gainsight by key"),
            object,
            keys: self.mirror_keys(),
            payload: self.current(object),
            lowest: false,
            wanted: self.wanted_keys(),
        });
        let (mut columns, mut joins) = self.found();
        columns.extend(["r.gsid", "r.hits", "r.candidates"].map(str::to_owned));
        columns.extend(self.current(object).iter().map(|(alias, _)| format!("r.{alias}")));
        joins.push(format!("LEFT JOIN records r ON {}", equal("r", "m", &keys)));
        self.matched_with("ranked", columns, joins, &[("duplicate_of", "Utf8")]);
    }

    /// A people job: the person by the tenant's key, the company person by person and company.
    ///
    /// The rows of one person have to know of each other; they are few, so they alone go twice through the joins.
    fn people(&mut self) {
        let layout = self.layout;
        let keys = self.key_names();
        let list = keys.join(", ");
        let company = layout.company().map_or(0, |lookup| lookup.number);
        self.index(&Index {
            name: "persons",
            why: "The persons of Gainsight by key".to_owned(),
            object: "person",
            keys: self.mirror_keys(),
            payload: self.current("person"),
            lowest: false,
            wanted: self.wanted_keys(),
        });
        self.index(&Index {
            name: "company_persons",
            why: "The company persons of Gainsight by person and company".to_owned(),
            object: "company_person",
            keys: vec![
                ("person_gsid".to_owned(), "nullif(\"Person_ID\", '')".to_owned()),
                ("company_gsid".to_owned(), "nullif(\"Company_ID\", '')".to_owned()),
            ],
            payload: self.current("company_person"),
            lowest: false,
            // a person has few of them: the company need not be known to tell which are wanted
            wanted: ("mirror_person", vec!["\"Gsid\"".to_owned()]),
        });
        let (mut columns, mut joins) = self.found();
        columns.extend(
            [
                "p.gsid AS person_gsid",
                "p.hits AS person_hits",
                "p.candidates AS person_candidates",
                "r.gsid",
                "r.hits",
                "r.candidates",
            ]
            .map(str::to_owned),
        );
        joins.push(format!("LEFT JOIN persons p ON {}", equal("p", "m", &keys)));
        joins.push(format!(
            "LEFT JOIN company_persons r ON r.person_gsid = p.gsid AND r.company_gsid = l{company}.gsid"
        ));

        let twins = self.twins();
        self.script.step("twins", "Rows about persons of whom others are too.", format!("SELECT m.* FROM {twins}"));
        self.script.step("twin_matched", FOUND, matched("twins", &columns, &joins));
        self.script.step(
            "twin_ranked",
            "Of the rows of one person at one company the newest counts, then the higher Id.",
            format!(
                "SELECT *, CASE WHEN lookup_{company}_gsid IS NOT NULL THEN nullif(first_value(source_id) OVER (\n    \
                 PARTITION BY {list}, lookup_{company}_gsid ORDER BY modified DESC NULLS LAST, source_id DESC), source_id) \
                 END AS duplicate_of\nFROM twin_matched"
            ),
        );
        self.judge("twin_", "twin_ranked");
        self.script.first_with(
            "rows_suspects",
            "twin_verdicts",
            "Of the accepted rows of one person the newest, then the higher Id, says what the person's own fields are.",
            format!(
                "SELECT source_id, duplicate_of,\n  count(*) FILTER (WHERE problem IS NULL) OVER (PARTITION BY {list}) AS person_rows,\n  \
                 row_number() OVER (\n    PARTITION BY {list} ORDER BY problem IS NULL DESC, modified DESC NULLS LAST, source_id DESC) = 1 \
                 AS person_winner\nFROM twin_judged"
            ),
        );

        columns.extend(self.current("person").iter().map(|(alias, _)| format!("p.{alias}")));
        columns.extend(self.current("company_person").iter().map(|(alias, _)| format!("r.{alias}")));
        let verdicts = [("duplicate_of", "Utf8"), ("person_rows", "Int64"), ("person_winner", "Boolean")];
        self.matched_with("twin_verdicts", columns, joins, &verdicts);
    }

    /// Each row with what it found, and with what is known of it from `table`: columns and their types.
    fn matched_with(&mut self, table: &str, mut columns: Vec<String>, mut joins: Vec<String>, known: &[(&str, &str)]) {
        let nothing = known.iter().map(|(name, kind)| format!("arrow_cast(NULL, '{kind}') AS {name}"));
        let without = matched("mapped", &columns.iter().cloned().chain(nothing).collect::<Vec<_>>(), &joins);
        columns.extend(known.iter().map(|(name, _)| format!("d.{name}")));
        joins.push(format!("LEFT JOIN {table} d ON d.source_id = m.source_id"));
        self.script.step_without(table, without, "matched", FOUND, matched("mapped", &columns, &joins));
    }

    /// The columns and joins that the lookups add to the rows `m`.
    fn found(&self) -> (Vec<String>, Vec<String>) {
        let layout = self.layout;
        let (mut columns, mut joins) = (Vec::new(), Vec::new());
        for lookup in &layout.lookups {
            let number = lookup.number;
            let keys = lookup_keys(lookup);
            columns.push(format!("l{number}.gsid AS lookup_{number}_gsid"));
            if lookup.on_multiple == OnMultiple::Error {
                columns.push(format!("l{number}.hits AS lookup_{number}_hits"));
                columns.push(format!("l{number}.candidates AS lookup_{number}_candidates"));
            }
            joins.push(format!("LEFT JOIN lookup_{number} l{number} ON {}", equal(&format!("l{number}"), "m", &keys)));
            if lookup.needs_parents(layout.pass) {
                columns.push(format!("p{number}.here AS parent_{number}"));
                joins.push(format!(
                    "LEFT JOIN parents_{number} p{number} ON {}",
                    equal(&format!("p{number}"), "m", &keys)
                ));
            }
        }
        (columns, joins)
    }

    fn mirror_keys(&self) -> Vec<(String, String)> {
        self.key_names().into_iter().zip(self.layout.keys.iter().map(|key| key.mirror.clone())).collect()
    }

    /// The rows' own keys.
    fn wanted_keys(&self) -> (&'static str, Vec<String>) {
        ("source", self.layout.keys.iter().map(|key| key.source.clone()).collect())
    }

    /// The compared fields of `object` in the mirror.
    fn current(&self, object: &str) -> Vec<(String, String)> {
        let layout = self.layout;
        let cells = layout.cells.iter().filter(|cell| !cell.identifier).map(|cell| (&cell.to, &cell.mirror));
        let lookups =
            layout.lookups.iter().filter(|lookup| !lookup.identifier).map(|lookup| (&lookup.to, &lookup.mirror));
        cells
            .chain(lookups)
            .filter(|(to, _)| to.object == object || (object == "gsuser" && to.object == "avatar"))
            .map(|(to, mirror)| {
                let column = &mirror.column;
                let value = if mirror.kind.is_text() { format!("nullif({column}, '')") } else { column.clone() };
                (identifier(&format!("now.{to}")), value)
            })
            .collect()
    }
}

/// The step that says which keys of `from` may come several times.
fn suspects_of(name: &str, from: &str, keys: &[String]) -> Repeated {
    let body = format!("SELECT unnest(repeated(key_hash({}))) AS number FROM {from}", keys.join(", "));
    Repeated { name: name.to_owned(), why: "Numbers of keys that several rows may have.", body }
}

fn matched(rows: &str, columns: &[String], joins: &[String]) -> String {
    format!("SELECT\n  m.*,\n  {}\nFROM {rows} m\n{}", columns.join(",\n  "), joins.join("\n"))
}

fn lookup_keys(lookup: &Lookup) -> Vec<String> {
    (1..=lookup.pairs.len()).map(|pair| format!("lookup_{}_{pair}", lookup.number)).collect()
}

fn prefixed(alias: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ")
}

fn equal(left: &str, right: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{left}.{name} = {right}.{name}")).collect::<Vec<_>>().join(" AND ")
}
