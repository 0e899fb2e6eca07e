//! The second half of the statement: each row's first problem, what differs, the verdict, and the words for them.
//!
//! Messages and lists of fields are built under a CASE, for the rows that have them.

use crate::config::job::OnMissing;
use crate::config::job::OnMultiple;
use crate::config::job::TargetField;
use crate::matching::layout::as_text;
use crate::matching::problems::Problem;
use crate::matching::problems::blank;
use crate::matching::rows::Writer;
use crate::transform::TargetKind;
use crate::transform::sql::identifier;
use crate::transform::sql::literal;

impl Writer<'_> {
    /// What the lookups gave, and the first problem of each row.
    pub(super) fn judge(&mut self, prefix: &str, rows: &str) {
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
                second.push(format!("{none}{itself} AND NOT {}{parent} AS waits_{number}", blank(lookup)));
            }
            second.push(match lookup.is_self {
                true => format!("CASE WHEN NOT self_{number} THEN {gsid} END AS {}", set(&lookup.to)),
                false => format!("{gsid} AS {}", set(&lookup.to)),
            });
        }
        let mut from = rows.to_owned();
        if !first.is_empty() {
            let name = format!("{prefix}seen");
            self.script.step(
                &name,
                "A self lookup that finds the record itself: nobody is their own parent.",
                format!("SELECT *,\n  {}\nFROM {from}", first.join(",\n  ")),
            );
            from = name;
        }
        if !second.is_empty() {
            let name = format!("{prefix}resolved");
            self.script.step(
                &name,
                "What the lookups gave.",
                format!("SELECT *,\n  {}\nFROM {from}", second.join(",\n  ")),
            );
            from = name;
        }
        let cases: Vec<_> = self
            .problems
            .iter()
            .enumerate()
            .map(|(at, problem)| format!("WHEN {} THEN {} -- {} {}", problem.when, at + 1, problem.code, problem.field))
            .collect();
        self.script.step(
            format!("{prefix}judged"),
            "The first problem of each row.",
            format!("SELECT *,\n  CASE\n    {}\n  END AS problem\nFROM {from}", cases.join("\n    ")),
        );
    }

    /// What differs, the verdict, and the words for both.
    pub(super) fn decide(&mut self) {
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
            self.script.step(
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
        self.script.step(
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
        let cells = layout.cells.iter().map(|cell| &cell.to);
        let lookups = layout.lookups.iter().map(|lookup| &lookup.to);
        for to in cells.chain(lookups) {
            columns.push(set(to));
        }
        for lookup in layout.lookups.iter().filter(|lookup| lookup.may_follow(layout.pass)) {
            let number = lookup.number;
            let wanted: Vec<_> = (1..=lookup.pairs.len()).map(|pair| format!("lookup_{number}_{pair}")).collect();
            columns.push(format!(
                "CASE WHEN problem IS NULL THEN becomes_{number} END AS {}",
                identifier(&format!("becomes.{}", lookup.to))
            ));
            columns.push(format!(
                "CASE WHEN problem IS NULL AND waits_{number} THEN key_hash({}) END AS {}",
                wanted.join(", "),
                identifier(&format!("awaits.{}", lookup.to))
            ));
            if let (false, Some(_)) = (people, lookup.own()) {
                let own: Vec<_> = (1..=lookup.pairs.len()).map(|pair| format!("own_{number}_{pair}")).collect();
                columns.push(format!(
                    "CASE WHEN problem IS NULL AND waits_{number} THEN {} END AS {}",
                    as_text(own),
                    identifier(&format!("own.{}", lookup.to))
                ));
            }
        }
        for lookup in layout.lookups.iter().filter(|lookup| lookup.is_text()) {
            let number = lookup.number;
            let wanted = (1..=lookup.pairs.len()).map(|pair| format!("lookup_{number}_{pair}"));
            columns.push(format!(
                "CASE WHEN missing_{number} THEN {} END AS {}",
                as_text(wanted),
                identifier(&format!("wants.{}", lookup.to))
            ));
        }
        self.script.last("One verdict per row.", format!("SELECT\n  {}\nFROM decided", columns.join(",\n  ")));
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

fn set(to: &TargetField) -> String {
    identifier(&format!("set.{to}"))
}
