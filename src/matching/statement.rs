//! The statement of a job: one query, put together step by step so that it reads from top to bottom.
//!
//! ```text
//!  source ─▶ mapped ──────────────────────────────▶ matched ─▶ resolved ─▶ judged ─▶ compared ─▶ decided ─▶ verdicts
//!               │  mirrors ─▶ one row per key ──────▶ │ (left joins)
//!               └─ rows that share a key ─▶ ranked ─▶ │
//! ```
//!
//! # Why it is written this way
//! DataFusion puts a named step in place wherever it is used, so every use is paid for. The wide rows go once through
//! left joins whose other sides have one row per key, so that no join can multiply rows. Duplicates are found by an
//! aggregate over the key columns alone; only the few rows that share a key are sorted. Messages and lists of fields
//! are built under a CASE, for the rows that have them.

use crate::config::job::OnMissing;
use crate::config::job::OnMultiple;
use crate::matching::MatchPlan;
use crate::matching::Write;
use crate::matching::layout::Layout;
use crate::matching::layout::Lookup;
use crate::matching::problems::Problem;
use crate::matching::problems::blank;
use crate::matching::problems::problems;
use crate::transform::TargetKind;
use crate::transform::sql::comment;
use crate::transform::sql::identifier;
use crate::transform::sql::literal;

/// Most GSIDs that a reject names.
const CANDIDATES: usize = 10;

/// Writes the statement.
pub(super) fn write(layout: &Layout<'_>) -> MatchPlan {
    let mut writer = Writer { layout, problems: problems(layout), steps: Vec::new() };
    writer.mapped();
    if layout.is_people() {
        writer.people();
    } else {
        writer.records();
    }
    writer.judge("", "matched");
    writer.decide();
    let sql = writer.finish();
    let cells = layout.cells.iter().map(|cell| (&cell.to, &cell.mirror, cell.identifier));
    let lookups = layout.lookups.iter().map(|lookup| (&lookup.to, &lookup.mirror, lookup.identifier));
    let writes = cells
        .chain(lookups)
        .map(|(field, mirror, identifier)| Write {
            field: field.clone(),
            column: format!("set.{field}"),
            data_type: mirror.data_type.clone(),
            identifier,
        })
        .collect();
    MatchPlan { sql, writes, notes: layout.notes.clone() }
}

struct Writer<'a> {
    layout: &'a Layout<'a>,
    problems: Vec<Problem>,
    steps: Vec<Step>,
}

/// A common table expression.
struct Step {
    name: String,
    why: String,
    body: String,
}

/// What to do about several records of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Several {
    /// The key gets the candidates instead of a GSID.
    Named,
    /// The key gets the lowest GSID.
    Lowest,
}

/// A mirror as one row per key.
struct Index<'a> {
    name: String,
    why: String,
    object: &'a str,
    /// Alias and expression of each part.
    keys: Vec<(String, String)>,
    /// Alias and expression of what a match brings along.
    payload: Vec<(String, String)>,
    several: Several,
    /// A step whose rows' keys alone are wanted, and the aliases to compare.
    within: Option<(String, Vec<(String, String)>)>,
}

impl Writer<'_> {
    fn step(&mut self, name: impl Into<String>, why: impl Into<String>, body: String) {
        self.steps.push(Step { name: name.into(), why: why.into(), body });
    }

    fn finish(mut self) -> String {
        let job = self.layout.job;
        let last = self.steps.pop();
        let mut sql = format!(
            "-- {} ({}): what each row of {} means for {} in Gainsight\nWITH\n",
            comment(&job.title),
            comment(&job.name),
            comment(&job.source.object),
            job.target.object
        );
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                format!("-- {}\n{} AS (\n  {}\n)", comment(&step.why), step.name, step.body.replace('\n', "\n  "))
            })
            .collect();
        sql.push_str(&steps.join(",\n\n"));
        if let Some(last) = last {
            sql.push_str(&format!("\n\n-- {}\n{}\n", comment(&last.why), last.body));
        }
        sql
    }

    fn key_names(&self) -> Vec<String> {
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
            columns.push(format!("{} AS {}", cell.value, set(&cell.to)));
            if let Some(invalid) = &cell.invalid {
                columns.push(format!("{invalid} AS {}", identifier(&format!("bad.{}", cell.to))));
            }
        }
        for lookup in &layout.lookups {
            for (at, pair) in lookup.pairs.iter().enumerate() {
                columns.push(format!("{} AS lookup_{}_{}", pair.source, lookup.number, at + 1));
            }
            if lookup.is_self
                && let Some(own) = lookup.own()
            {
                let same: Vec<_> =
                    lookup.pairs.iter().zip(&own).map(|(pair, own)| format!("{} = {own}", pair.source)).collect();
                columns.push(format!("coalesce({}, FALSE) AS own_{}", same.join(" AND "), lookup.number));
                if lookup.needs_parents(layout.pass) {
                    for (at, own) in own.iter().enumerate() {
                        columns.push(format!("{own} AS parent_{}_{}", lookup.number, at + 1));
                    }
                }
            }
        }
        let body = format!("SELECT\n  {}\nFROM source", columns.join(",\n  "));
        self.step("mapped", "Every cell at its target's type (bad.*: cells that do not convert), and the keys as they compare: blank is NULL.", body);
    }

    /// A job with one object: its rows meet the mirror by key.
    fn records(&mut self) {
        let layout = self.layout;
        let keys = self.key_names();
        let list = keys.join(", ");
        self.step(
            "shared",
            "Keys that several rows have.",
            format!("SELECT {list} FROM mapped GROUP BY {list} HAVING count(*) > 1"),
        );
        self.step(
            "ranked",
            "Of such rows the newest counts, then the higher Id.",
            format!(
                "SELECT source_id, nullif(first_value(source_id) OVER (PARTITION BY {list} ORDER BY modified DESC NULLS LAST, \
                 source_id DESC), source_id) AS duplicate_of\nFROM (SELECT m.source_id, m.modified, {} FROM shared s JOIN mapped m ON {})",
                prefixed("m", &keys),
                equal("s", "m", &keys)
            ),
        );
        let object = layout.job.target.object.primary();
        self.index(&Index {
            name: "records".to_owned(),
            why: format!("The {object} records of Gainsight by key."),
            object,
            keys: layout
                .keys
                .iter()
                .enumerate()
                .map(|(at, key)| (format!("key_{}", at + 1), key.mirror.clone()))
                .collect(),
            payload: self.current(object),
            several: Several::Named,
            within: None,
        });
        self.parents();
        let (mut columns, mut joins) = self.lookup_joins("");
        columns.extend(["r.gsid", "r.hits", "r.candidates"].map(str::to_owned));
        columns.extend(self.current(object).iter().map(|(alias, _)| format!("r.{alias}")));
        columns.push("d.duplicate_of".to_owned());
        joins.push(format!("LEFT JOIN records r ON {}", equal("r", "m", &keys)));
        joins.push("LEFT JOIN ranked d ON d.source_id = m.source_id".to_owned());
        self.matched("matched", "mapped", &columns, &joins);
    }

    fn matched(&mut self, name: &str, rows: &str, columns: &[String], joins: &[String]) {
        self.step(
            name,
            "Each row with what it found.",
            format!("SELECT\n  m.*,\n  {}\nFROM {rows} m\n{}", columns.join(",\n  "), joins.join("\n")),
        );
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
                let value = if mirror.kind.is_text() {
                    format!("nullif({}, '')", mirror.column)
                } else {
                    mirror.column.clone()
                };
                (identifier(&format!("now.{to}")), value)
            })
            .collect()
    }

    /// One row per key of a mirror.
    fn index(&mut self, index: &Index<'_>) {
        let aliases: Vec<_> = index.keys.iter().map(|(alias, _)| alias.clone()).collect();
        let list = aliases.join(", ");
        let table = format!("mirror_{}", index.object);
        let columns: Vec<_> = index
            .keys
            .iter()
            .map(|(alias, sql)| format!("{sql} AS {alias}"))
            .chain(["\"Gsid\" AS gsid".to_owned()])
            .chain(index.payload.iter().map(|(alias, sql)| format!("{sql} AS {alias}")))
            .collect();
        let mut all = format!("SELECT {} FROM {}", columns.join(", "), identifier(&table));
        if let Some((rows, pairs)) = &index.within {
            let wanted: Vec<_> = pairs.iter().map(|(theirs, ours)| format!("{theirs} AS {ours}")).collect();
            let ours: Vec<_> = pairs.iter().map(|(_, ours)| ours.clone()).collect();
            all = format!(
                "SELECT a.* FROM (SELECT DISTINCT {} FROM {rows}) w\nJOIN ({all}) a ON {}",
                wanted.join(", "),
                equal("a", "w", &ours)
            );
        }
        let name = &index.name;
        if index.several == Several::Lowest {
            self.step(
                name,
                format!("{} Of several the lowest GSID.", index.why),
                format!("SELECT {list}, min(gsid) AS gsid FROM ({all}) GROUP BY {list}"),
            );
            return;
        }
        self.step(format!("{name}_all"), &index.why, all);
        self.step(
            format!("{name}_shared"),
            "Keys that several of them have.",
            format!("SELECT {list} FROM {name}_all GROUP BY {list} HAVING count(*) > 1"),
        );
        let payload: Vec<_> = index.payload.iter().map(|(alias, _)| format!(", a.{alias}")).collect();
        let nothing: Vec<_> = index.payload.iter().map(|(alias, _)| format!(", NULL AS {alias}")).collect();
        self.step(
            name,
            format!("One row per key: the record, or the {CANDIDATES} lowest GSIDs of the candidates."),
            format!(
                "SELECT {}, a.gsid, 1 AS hits, arrow_cast(NULL, 'Utf8') AS candidates{}\nFROM {name}_all a WHERE NOT EXISTS (SELECT 1 FROM {name}_shared s WHERE {})\n\
                 UNION ALL\n\
                 SELECT {list}, NULL AS gsid, max(hits) AS hits, arrow_cast(string_agg(gsid, ', ' ORDER BY gsid), 'Utf8') AS candidates{}\n\
                 FROM (SELECT a.*, count(*) OVER (PARTITION BY {keys}) AS hits, row_number() OVER (PARTITION BY {keys} ORDER BY a.gsid) AS place\n      \
                 FROM {name}_shared s JOIN {name}_all a ON {})\n\
                 WHERE place <= {CANDIDATES} GROUP BY {list}",
                prefixed("a", &aliases),
                payload.concat(),
                equal("s", "a", &aliases),
                nothing.concat(),
                equal("s", "a", &aliases),
                keys = prefixed("a", &aliases),
            ),
        );
    }

    /// The lookups' indexes under `prefix`, and the columns and joins that they add to the rows `m`.
    fn lookup_joins(&mut self, prefix: &str) -> (Vec<String>, Vec<String>) {
        let layout = self.layout;
        let (mut columns, mut joins) = (Vec::new(), Vec::new());
        for lookup in &layout.lookups {
            let number = lookup.number;
            let alias = format!("l{number}");
            let name = format!("{prefix}lookup_{number}");
            let several = if lookup.on_multiple == OnMultiple::Error { Several::Named } else { Several::Lowest };
            let keys: Vec<_> = (1..=lookup.pairs.len()).map(|pair| format!("lookup_{number}_{pair}")).collect();
            self.index(&Index {
                name: name.clone(),
                why: format!("{}: the {} records by {}.", lookup.to, lookup.object, names(lookup)),
                object: &lookup.object,
                keys: keys.iter().cloned().zip(lookup.pairs.iter().map(|pair| pair.mirror.clone())).collect(),
                payload: Vec::new(),
                several,
                within: (!prefix.is_empty())
                    .then(|| ("twins".to_owned(), keys.iter().map(|key| (key.clone(), key.clone())).collect())),
            });
            columns.push(format!("{alias}.gsid AS lookup_{number}_gsid"));
            if several == Several::Named {
                columns.push(format!("{alias}.hits AS lookup_{number}_hits"));
                columns.push(format!("{alias}.candidates AS lookup_{number}_candidates"));
            }
            joins.push(format!("LEFT JOIN {name} {alias} ON {}", equal(&alias, "m", &keys)));
            if lookup.needs_parents(layout.pass) && lookup.own().is_some() {
                columns.push(format!("p{number}.here AS parent_{number}"));
                joins.push(format!(
                    "LEFT JOIN parents_{number} p{number} ON {}",
                    equal(&format!("p{number}"), "m", &keys)
                ));
            }
        }
        (columns, joins)
    }

    /// What the rows themselves will hold in the fields of a self lookup whose parent must come.
    fn parents(&mut self) {
        let layout = self.layout;
        for lookup in layout.lookups.iter().filter(|lookup| lookup.needs_parents(layout.pass) && lookup.own().is_some())
        {
            let number = lookup.number;
            let columns: Vec<_> = (1..=lookup.pairs.len())
                .map(|pair| format!("parent_{number}_{pair} AS lookup_{number}_{pair}"))
                .collect();
            let filled: Vec<_> = self.key_names().iter().map(|key| format!("{key} IS NOT NULL")).collect();
            self.step(
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

    /// A people job: the person by the tenant's key, the company person by person and company.
    fn people(&mut self) {
        let keys = self.key_names();
        let list = keys.join(", ");
        let company = self.layout.company().map_or(0, |lookup| lookup.number);
        self.parents();
        self.step(
            "shared",
            "Persons that several rows are about.",
            format!("SELECT {list} FROM mapped GROUP BY {list} HAVING count(*) > 1"),
        );
        self.step(
            "twins",
            "Those rows.",
            format!("SELECT m.* FROM shared s JOIN mapped m ON {}", equal("s", "m", &keys)),
        );
        self.people_matched("twin_", "twins");
        self.step(
            "twin_ranked",
            "Of the rows of one person at one company the newest counts, then the higher Id.",
            format!(
                "SELECT *, CASE WHEN lookup_{company}_gsid IS NOT NULL THEN nullif(first_value(source_id) OVER (PARTITION BY {list}, \
                 lookup_{company}_gsid ORDER BY modified DESC NULLS LAST, source_id DESC), source_id) END AS duplicate_of\nFROM twin_matched"
            ),
        );
        self.judge("twin_", "twin_ranked");
        self.step(
            "twin_verdicts",
            "Of the accepted rows of one person the newest, then the higher Id, says what the person's fields are.",
            format!(
                "SELECT source_id, duplicate_of,\n  count(*) FILTER (WHERE problem IS NULL) OVER (PARTITION BY {list}) AS person_rows,\n  \
                 row_number() OVER (PARTITION BY {list} ORDER BY problem IS NULL DESC, modified DESC NULLS LAST, source_id DESC) = 1 \
                 AS person_winner\nFROM twin_judged"
            ),
        );
        self.people_matched("", "mapped");
    }

    fn people_matched(&mut self, prefix: &str, rows: &str) {
        let layout = self.layout;
        let keys = self.key_names();
        let company = layout.company().map_or(0, |lookup| lookup.number);
        let (mut columns, mut joins) = self.lookup_joins(prefix);
        let twins = !prefix.is_empty();
        let same = |names: &[String]| names.iter().map(|name| (name.clone(), name.clone())).collect();
        self.index(&Index {
            name: format!("{prefix}persons"),
            why: "The persons of Gainsight by key.".to_owned(),
            object: "person",
            keys: layout
                .keys
                .iter()
                .enumerate()
                .map(|(at, key)| (format!("key_{}", at + 1), key.mirror.clone()))
                .collect(),
            payload: if twins { Vec::new() } else { self.current("person") },
            several: Several::Named,
            within: twins.then(|| (rows.to_owned(), same(&keys))),
        });
        let pair = ["person_gsid".to_owned(), "company_gsid".to_owned()];
        self.index(&Index {
            name: format!("{prefix}company_persons"),
            why: "The company persons of Gainsight by person and company.".to_owned(),
            object: "company_person",
            keys: vec![
                (pair[0].clone(), "nullif(\"Person_ID\", '')".to_owned()),
                (pair[1].clone(), "nullif(\"Company_ID\", '')".to_owned()),
            ],
            payload: if twins { Vec::new() } else { self.current("company_person") },
            several: Several::Named,
            within: twins.then(|| (format!("{prefix}persons"), vec![("gsid".to_owned(), pair[0].clone())])),
        });
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
        if !twins {
            columns.extend(self.current("person").iter().map(|(alias, _)| format!("p.{alias}")));
            columns.extend(self.current("company_person").iter().map(|(alias, _)| format!("r.{alias}")));
            columns.extend(["d.duplicate_of", "d.person_rows", "d.person_winner"].map(str::to_owned));
        }
        joins.push(format!("LEFT JOIN {prefix}persons p ON {}", equal("p", "m", &keys)));
        joins.push(format!(
            "LEFT JOIN {prefix}company_persons r ON r.person_gsid = p.gsid AND r.company_gsid = l{company}.gsid"
        ));
        if !twins {
            joins.push("LEFT JOIN twin_verdicts d ON d.source_id = m.source_id".to_owned());
        }
        self.matched(&format!("{prefix}matched"), rows, &columns, &joins);
    }

    /// What the lookups gave, and the first problem of each row.
    fn judge(&mut self, prefix: &str, rows: &str) {
        let layout = self.layout;
        let mut first = Vec::new();
        let mut second = Vec::new();
        for lookup in &layout.lookups {
            let number = lookup.number;
            let gsid = format!("lookup_{number}_gsid");
            let named = lookup.on_multiple == OnMultiple::Error;
            let none = if named {
                format!("{gsid} IS NULL AND lookup_{number}_candidates IS NULL")
            } else {
                format!("{gsid} IS NULL")
            };
            let itself = if lookup.is_self {
                let own = lookup.own().map(|_| format!("own_{number} OR ")).unwrap_or_default();
                first.push(format!("{own}coalesce({gsid} = gsid, FALSE) AS self_{number}"));
                format!(" AND NOT self_{number}")
            } else {
                String::new()
            };
            if named {
                second.push(format!("lookup_{number}_candidates IS NOT NULL{itself} AS several_{number}"));
            }
            second.push(format!("{none}{itself} AS missing_{number}"));
            if lookup.waits(layout.pass) {
                let parent = if lookup.on_missing == OnMissing::Reject {
                    format!(" AND coalesce(parent_{number}, FALSE)")
                } else {
                    String::new()
                };
                second.push(match lookup.own() {
                    Some(_) => format!("{none}{itself} AND NOT {}{parent} AS waits_{number}", blank(lookup)),
                    None => format!("FALSE AS waits_{number}"),
                });
            }
            second.push(match lookup.is_self {
                true => format!("CASE WHEN NOT self_{number} THEN {gsid} END AS {}", set(&lookup.to)),
                false => format!("{gsid} AS {}", set(&lookup.to)),
            });
        }
        let mut from = rows.to_owned();
        if !first.is_empty() {
            let name = format!("{prefix}seen");
            self.step(
                &name,
                "A self lookup that finds the record itself: nobody is their own parent.",
                format!("SELECT *,\n  {}\nFROM {from}", first.join(",\n  ")),
            );
            from = name;
        }
        if !second.is_empty() {
            let name = format!("{prefix}resolved");
            self.step(&name, "What the lookups gave.", format!("SELECT *,\n  {}\nFROM {from}", second.join(",\n  ")));
            from = name;
        }
        let cases: Vec<_> = self
            .problems
            .iter()
            .enumerate()
            .map(|(at, problem)| format!("WHEN {} THEN {} -- {} {}", problem.when, at + 1, problem.code, problem.field))
            .collect();
        self.step(
            format!("{prefix}judged"),
            "The first problem of each row.",
            format!("SELECT *,\n  CASE\n    {}\n  END AS problem\nFROM {from}", cases.join("\n    ")),
        );
    }

    /// What differs, the verdict, and the words for both.
    fn decide(&mut self) {
        let layout = self.layout;
        let people = layout.is_people();
        let mut differs = Vec::new();
        let winner = "coalesce(person_winner, TRUE)";
        let cells = layout.cells.iter().filter(|cell| !cell.identifier).map(|cell| {
            let keep = cell.keep.then(|| format!("{} IS NOT NULL", set(&cell.to)));
            (&cell.to, &cell.mirror, keep)
        });
        let lookups = layout.lookups.iter().filter(|lookup| !lookup.identifier).map(|lookup| {
            let number = lookup.number;
            let condition = match lookup.on_missing {
                OnMissing::Keep => Some(format!("NOT missing_{number}")),
                _ if lookup.waits(layout.pass) => Some(format!("NOT waits_{number}")),
                _ => None,
            };
            (&lookup.to, &lookup.mirror, condition)
        });
        for (to, mirror, condition) in cells.chain(lookups) {
            let (set, now) = (set(to), identifier(&format!("now.{to}")));
            let (new, old) = match mirror.kind {
                TargetKind::MultiSelect => (format!("match_set({set})"), format!("match_set({now})")),
                _ => (set.clone(), now),
            };
            let mut sql = format!("{new} IS DISTINCT FROM {old}");
            if let Some(condition) = condition {
                sql = format!("{condition} AND {sql}");
            }
            if people && to.object == "person" {
                sql = format!("{winner} AND {sql}");
            }
            differs.push((to.to_string(), set, sql));
        }
        let mut from = "judged".to_owned();
        if !differs.is_empty() {
            let columns: Vec<_> = differs
                .iter()
                .map(|(to, _, sql)| format!("{sql} AS {}", identifier(&format!("differs.{to}"))))
                .collect();
            self.step(
                "compared",
                "Which fields differ from Gainsight's.",
                format!("SELECT *,\n  {}\nFROM judged", columns.join(",\n  ")),
            );
            from = "compared".to_owned();
        }
        let names: Vec<_> =
            differs.iter().map(|(to, set, _)| (identifier(&format!("differs.{to}")), to, set)).collect();
        let any = if names.is_empty() {
            "FALSE".to_owned()
        } else {
            names.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>().join(" OR ")
        };
        self.step(
            "decided",
            "The verdict.",
            format!(
                "SELECT *,\n  CASE\n    WHEN problem IS NOT NULL THEN 'rejected'\n    WHEN gsid IS NULL THEN 'insert'\n    \
                 WHEN {any} THEN 'update'\n    ELSE 'unchanged'\n  END AS verdict\nFROM {from}"
            ),
        );
        let changed: Vec<_> =
            names.iter().map(|(name, to, _)| format!("CASE WHEN {name} THEN {} END", literal(to))).collect();
        let clears: Vec<_> = names.iter().map(|(name, _, set)| format!("({name} AND {set} IS NULL)")).collect();
        let mut columns = vec!["source_id".to_owned(), "verdict".to_owned(), "gsid".to_owned()];
        columns.push(match changed.is_empty() {
            true => "arrow_cast(NULL, 'Utf8') AS changed".to_owned(),
            false => format!("CASE WHEN verdict = 'update' THEN concat_ws(',', {}) END AS changed", changed.join(", ")),
        });
        columns.push(match clears.is_empty() {
            true => "FALSE AS clears".to_owned(),
            false => format!("verdict = 'update' AND ({}) AS clears", clears.join(" OR ")),
        });
        columns.extend(self.words());
        if people {
            let keys: Vec<_> = self.key_names().iter().map(|key| format!("arrow_cast({key}, 'Utf8')")).collect();
            columns.push("person_gsid".to_owned());
            columns.push(match keys.as_slice() {
                [one] => format!("{one} AS person_key"),
                several => format!("concat_ws(chr(31), {}) AS person_key", several.join(", ")),
            });
            columns
                .push("coalesce(person_rows, CASE WHEN problem IS NULL THEN 1 ELSE 0 END) AS person_rows".to_owned());
            columns.push(format!("problem IS NULL AND {winner} AS person_winner"));
        }
        let cells = layout.cells.iter().map(|cell| (&cell.to, &cell.mirror));
        let lookups = layout.lookups.iter().map(|lookup| (&lookup.to, &lookup.mirror));
        for (to, mirror) in cells.chain(lookups) {
            columns.push(match mirror.kind.is_text() {
                true => format!("arrow_cast({0}, 'Utf8') AS {0}", set(to)),
                false => set(to),
            });
        }
        self.step("", "One verdict per row.", format!("SELECT\n  {}\nFROM decided", columns.join(",\n  ")));
    }

    /// Code, field, message and candidates of the problem; what to try again, now and later.
    fn words(&self) -> Vec<String> {
        let layout = self.layout;
        let case = |of: &dyn Fn(&Problem) -> Option<String>| {
            let cases: Vec<_> = self
                .problems
                .iter()
                .enumerate()
                .filter_map(|(at, problem)| of(problem).map(|sql| format!("\n    WHEN {} THEN {sql}", at + 1)))
                .collect();
            if cases.is_empty() {
                "arrow_cast(NULL, 'Utf8')".to_owned()
            } else {
                format!("CASE problem{}\n  END", cases.concat())
            }
        };
        let mut columns = vec![
            format!("{} AS code", case(&|problem| Some(literal(problem.code)))),
            format!("{} AS field", case(&|problem| Some(literal(&problem.field)))),
            format!("{} AS message", case(&|problem| Some(problem.message.clone()))),
            format!("{} AS candidates", case(&|problem| problem.candidates.clone())),
        ];
        let later: Vec<_> = layout
            .lookups
            .iter()
            .filter(|lookup| !lookup.identifier)
            .map(|lookup| {
                let number = lookup.number;
                let waits = if lookup.waits(layout.pass) { format!(" AND NOT waits_{number}") } else { String::new() };
                format!("(missing_{number} AND NOT {}{waits})", blank(lookup))
            })
            .collect();
        let retried: Vec<_> = self
            .problems
            .iter()
            .enumerate()
            .filter_map(|(at, problem)| {
                problem.retry.as_ref().map(|retry| format!("WHEN problem = {} THEN {retry}", at + 1))
            })
            .chain(["WHEN problem IS NOT NULL THEN FALSE".to_owned()])
            .collect();
        let later = if later.is_empty() { "FALSE".to_owned() } else { later.join(" OR ") };
        columns.push(format!("CASE {} ELSE {later} END AS retry", retried.join(" ")));
        let waits: Vec<_> = layout
            .lookups
            .iter()
            .filter(|lookup| lookup.waits(layout.pass))
            .map(|lookup| format!("CASE WHEN waits_{} THEN {} END", lookup.number, literal(&lookup.to.to_string())))
            .collect();
        columns.push(match waits.is_empty() {
            true => "arrow_cast(NULL, 'Utf8') AS unresolved".to_owned(),
            false => format!(
                "CASE WHEN problem IS NULL THEN nullif(concat_ws(',', {}), '') END AS unresolved",
                waits.join(", ")
            ),
        });
        columns
    }
}

fn set(to: &crate::config::job::TargetField) -> String {
    identifier(&format!("set.{to}"))
}

fn names(lookup: &Lookup) -> String {
    lookup.pairs.iter().map(|pair| pair.to.as_str()).collect::<Vec<_>>().join(" and ")
}

fn prefixed(alias: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{alias}.{name}")).collect::<Vec<_>>().join(", ")
}

fn equal(left: &str, right: &str, names: &[String]) -> String {
    names.iter().map(|name| format!("{left}.{name} = {right}.{name}")).collect::<Vec<_>>().join(" AND ")
}
