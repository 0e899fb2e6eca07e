//! A file of `pipelines/`: one job, checked by itself. What it says about other jobs and connections is checked later.

use std::collections::BTreeSet;

use super::condition;
use super::job::{
    Derive, FieldMap, Job, MatchPair, OnDelete, OnMissing, OnMultiple, OnNull, Operation, Source, Target, TargetField,
    TargetObject,
};
use super::problem::Place;
use super::tree::{Found, Table};
use super::words;

/// Pairs that a derived mapping can have, as in Gainsight's own connector.
const MOST_PAIRS: usize = 6;
/// Steps from an object to a parent's parent that SOQL allows.
const MOST_PARENTS: usize = 5;
/// Fields that the tenant fills by itself.
const SYSTEM_FIELDS: &[&str] = &["Gsid", "CreatedDate", "CreatedBy", "ModifiedDate", "ModifiedBy"];

const ON_NULL: &[(&str, OnNull)] = &[("overwrite", OnNull::Overwrite), ("keep", OnNull::Keep)];

/// A job as one file says it, with the places that later checks point at.
#[derive(Debug)]
pub(super) struct ReadJob {
    /// Its connections' names are still to be filled in.
    pub(super) job: Job,
    pub(super) depends_on: Vec<Found<String>>,
    pub(super) salesforce: Option<Found<String>>,
    pub(super) gainsight: Option<Found<String>>,
    /// `[target] person_key`: this job's own key of `person`.
    pub(super) person_key: Option<Vec<Found<String>>>,
    /// Whether something in its target is wrong already, so that what is missing there may only be misspelt.
    pub(super) flawed: bool,
    pub(super) places: Places,
}

/// Where the parts of a job are written.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) source: Place,
    pub(super) target: Place,
    pub(super) maps: Vec<Place>,
}

/// Reads a job. The name comes back even if the rest is wrong, so that others may name the job.
pub(super) fn read(table: Table<'_>) -> (Option<Found<String>>, Option<ReadJob>) {
    let name = table.need_text("name", "write the job's name: name = \"company_sync\"");
    if let Some(name) = &name
        && !words::is_name(&name.value)
    {
        table.report(&name.place, format!("`{}` cannot name a job", name.value), words::name_rule(&name.value));
    }
    let title = table.text("title");
    let depends_on = table.texts("depends_on").unwrap_or_default();
    let source_table = table.table("source");
    let target_table = table.table("target");
    if !table.has("source") {
        table.need("source", "add [source] with `object` and `fields`");
    }
    if !table.has("target") {
        table.need("target", "add [target] with `object` and its mappings");
    }
    table.end();
    let source = source_table.map(read_source);
    let fields = source.as_ref().map(|(source, ..)| source.fields.clone());
    let target = target_table.map(|table| read_target(table, fields.as_deref()));
    let read = match (&name, source, target) {
        (Some(name), Some((source, salesforce, source_place)), Some(Some(read))) => {
            let title = title.map_or_else(|| in_capitals(&name.value), |title| title.value);
            Some(ReadJob {
                job: Job {
                    name: name.value.clone(),
                    title,
                    salesforce: String::new(),
                    gainsight: String::new(),
                    depends_on: depends_on.iter().map(|job| job.value.clone()).collect(),
                    source,
                    target: read.target,
                },
                depends_on,
                salesforce,
                gainsight: read.connection,
                person_key: read.person_key,
                flawed: read.flawed,
                places: Places { source: source_place, target: read.place, maps: read.maps },
            })
        }
        _ => None,
    };
    (name, read)
}

/// `company_sync` for people.
fn in_capitals(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty()).map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

fn read_source(table: Table<'_>) -> (Source, Option<Found<String>>, Place) {
    let connection = table.text("connection");
    let object = table.need_text("object", "write the object's API name: object = \"Account\"");
    if let Some(object) = object.as_ref().filter(|object| !words::is_api_name(&object.value)) {
        table.report(
            &object.place,
            format!("`{}` is not the API name of an object", object.value),
            "letters, digits and `_`; custom objects end in `__c`",
        );
    }
    let object = object.map(|found| found.value).unwrap_or_default();
    let given = table.texts("fields");
    if given.as_ref().is_none_or(Vec::is_empty) {
        table.need("fields", "name at least one field: fields = [\"Id\", \"Name\"]");
    }
    let mut seen = BTreeSet::new();
    let mut fields = vec!["Id".to_owned()];
    for field in given.unwrap_or_default() {
        let steps: Vec<&str> = field.value.split('.').collect();
        if !steps.iter().all(|step| words::is_api_name(step)) {
            table.report(
                &field.place,
                format!("`{}` is not a field", field.value),
                "write an API name, such as `Name`, `Renewal__c` or `Owner.Email`; a parent ends in `__r`, not in `__c`",
            );
        } else if steps.len() > MOST_PARENTS + 1 {
            table.report(
                &field.place,
                format!("`{}` goes {} parents up; Salesforce follows {MOST_PARENTS}", field.value, steps.len() - 1),
                "take a field of a nearer parent, or a formula field that holds it",
            );
        } else if !seen.insert(field.value.to_ascii_lowercase()) {
            table.report(&field.place, format!("`{}` is named twice", field.value), "remove one of the two");
        } else if field.value.eq_ignore_ascii_case("Id") {
            if field.value != "Id" {
                table.report(&field.place, format!("`{}` is written `Id`", field.value), "write `Id`");
            }
        } else {
            fields.push(field.value);
        }
    }
    let named = table.text("table");
    if let Some(name) = named.as_ref().filter(|name| !words::is_name(&name.value)) {
        table.report(
            &name.place,
            format!("`{}` cannot name a table of the lake", name.value),
            words::name_rule(&name.value),
        );
    }
    let condition = table.text("where");
    if let Some(condition) = &condition
        && let Err((message, hint)) = condition::check(&condition.value)
    {
        table.report(&condition.place, message, hint);
    }
    let place = table.place.clone();
    table.end();
    let source = Source {
        table: named.map_or_else(|| object.to_ascii_lowercase(), |found| found.value),
        object,
        fields,
        condition: condition.map(|found| found.value),
    };
    (source, connection, place)
}

struct ReadTarget {
    target: Target,
    connection: Option<Found<String>>,
    person_key: Option<Vec<Found<String>>>,
    flawed: bool,
    place: Place,
    maps: Vec<Place>,
}

fn read_target(table: Table<'_>, fields: Option<&[String]>) -> Option<ReadTarget> {
    let sink = table.sink();
    let before = sink.problem_count();
    let connection = table.text("connection");
    let object = table
        .need_text("object", "write object = \"user\", \"people\" or the API name of an object, such as \"company\"");
    let object = object.and_then(|found| target_object(&table, &found));
    let operation = table
        .choice(
            "operation",
            &[("upsert", Operation::Upsert), ("insert", Operation::Insert), ("update", Operation::Update)],
        )
        .map_or(Operation::Upsert, |found| found.value);
    let on_null = table.choice("on_null", ON_NULL).map_or(OnNull::Overwrite, |found| found.value);
    let on_delete =
        table.choice("on_delete", &[("ignore", OnDelete::Ignore)]).map_or(OnDelete::Ignore, |found| found.value);
    let person_key = match &object {
        Some(TargetObject::People) => table.texts("person_key"),
        _ => {
            table.without_effect("person_key", "only people have it", "remove it");
            None
        }
    };
    let map_tables = table.tables("map");
    let derive_tables = table.tables("derive");
    let place = table.place.clone();
    if map_tables.is_empty() && !table.has("map") {
        table.report(&place, "the job maps no field", "add [[target.map]] with `from` and `to`");
    }
    table.end();
    let mut written: Vec<(TargetField, Option<usize>)> = Vec::new();
    let mut target = Target {
        object: object.clone().unwrap_or(TargetObject::Object(String::new())),
        operation,
        on_null,
        on_delete,
        maps: Vec::new(),
        derives: Vec::new(),
    };
    let mut maps = Vec::new();
    for map in map_tables {
        let at = map.place.clone();
        if let Some(map) = read_map(map, object.as_ref(), fields, on_null, &mut written) {
            target.maps.push(map);
            maps.push(at);
        }
    }
    for derive in derive_tables {
        if let Some(derive) = read_derive(derive, object.as_ref(), fields, &mut written) {
            target.derives.push(derive);
        }
    }
    let flawed = sink.problem_count() > before;
    object.map(|_| ReadTarget { target, connection, person_key, flawed, place, maps })
}

fn target_object(table: &Table<'_>, found: &Found<String>) -> Option<TargetObject> {
    let lower = found.value.to_ascii_lowercase();
    match lower.as_str() {
        "user" | "users" | "gsuser" => Some(TargetObject::User),
        "people" => Some(TargetObject::People),
        "person" | "company_person" | "company person" | "contact" => {
            let hint = "write object = \"people\": it writes `person` and `company_person` together";
            table.report(&found.place, format!("`{}` cannot be written alone", found.value), hint);
            None
        }
        _ if words::is_api_name(&lower) => Some(TargetObject::Object(lower)),
        _ => {
            let hint = format!("write the object's API name, such as `{}`", lower.replace([' ', '-'], "_"));
            table.report(&found.place, format!("`{}` is not the API name of an object", found.value), hint);
            None
        }
    }
}

fn read_map(
    table: Table<'_>,
    object: Option<&TargetObject>,
    fields: Option<&[String]>,
    on_null: OnNull,
    written: &mut Vec<(TargetField, Option<usize>)>,
) -> Option<FieldMap> {
    let from = source_field(&table, fields);
    let to = target_field(&table, object, written);
    let identifier = table.flag("identifier");
    let on_null = table.choice("on_null", ON_NULL).map_or(on_null, |found| found.value);
    if let (Some(flag), Some(to)) = (identifier.as_ref().filter(|flag| flag.value), &to) {
        if to.value.object == "avatar" {
            table.report(
                &flag.place,
                format!("`{}` belongs to the avatar, and only fields of the user identify users", to.value),
                "mark `SFDCUserName` or `Email` instead",
            );
        } else if to.value.object == "company_person" {
            table.report(
                &flag.place,
                format!("`{}` cannot identify people: their key is the person's, with the company", to.value),
                "remove `identifier` here; the tenant's person key is used",
            );
        }
    }
    table.end();
    Some(FieldMap {
        from: from?.value,
        to: to?.value,
        identifier: identifier.is_some_and(|found| found.value),
        on_null,
    })
}

fn read_derive(
    table: Table<'_>,
    object: Option<&TargetObject>,
    fields: Option<&[String]>,
    written: &mut Vec<(TargetField, Option<usize>)>,
) -> Option<Derive> {
    let to = target_field(&table, object, written);
    table.without_effect(
        "identifier",
        "a derived field cannot be part of the key",
        "remove it, and mark a field of [[target.map]]",
    );
    table.without_effect(
        "from",
        "a derived mapping has its sources in `match`",
        "write match = [{ from = \"…\", to = \"…\" }]",
    );
    let lookup = table
        .need_text("lookup", "write the object that is searched: lookup = \"gsuser\"")
        .and_then(|found| lookup_object(&table, found));
    let on_multiple = table.need_choice("on_multiple", &[("any", OnMultiple::Any), ("error", OnMultiple::Error)]);
    let on_missing = table.need_choice(
        "on_missing",
        &[("null", OnMissing::Null), ("reject", OnMissing::Reject), ("keep", OnMissing::Keep)],
    );
    let pair_tables = table.tables("match");
    let count = pair_tables.len();
    if !table.has("match") || (count == 0 && table.is_list("match")) {
        table.need("match", "say what must be equal: match = [{ from = \"OwnerId\", to = \"SfdcUserId\" }]");
    } else if count > MOST_PAIRS {
        table.report(
            &table.missing("match"),
            format!("a derived mapping has at most {MOST_PAIRS} pairs, this one has {count}"),
            "remove some, or match by one field that holds them together",
        );
    }
    let mut pairs = Vec::new();
    for pair in pair_tables {
        let from = source_field(&pair, fields);
        let to = pair.need_text("to", "write the field of the lookup object: to = \"Email\"");
        if let Some(to) = to.as_ref().filter(|to| !words::is_api_name(&to.value)) {
            let hint = "write the field's API name alone; `lookup` says whose field it is";
            pair.report(&to.place, format!("`{}` is not a field of the lookup object", to.value), hint);
        }
        pair.end();
        if let (Some(from), Some(to)) = (from, to) {
            pairs.push(MatchPair { from: from.value, to: to.value });
        }
    }
    table.end();
    Some(Derive {
        to: to?.value,
        lookup: lookup?,
        pairs,
        on_multiple: on_multiple?.value,
        on_missing: on_missing?.value,
    })
}

fn lookup_object(table: &Table<'_>, found: Found<String>) -> Option<String> {
    let lower = found.value.to_ascii_lowercase();
    let instead = match lower.as_str() {
        "user" | "users" => "gsuser",
        "people" | "contact" => "company_person` or `person",
        "account" => "company",
        _ if words::is_api_name(&lower) => return Some(lower),
        _ if lower.contains([' ', '-']) => &lower.replace([' ', '-'], "_"),
        _ => "company",
    };
    table.report(
        &found.place,
        format!("`{}` is not a Gainsight object that can be searched", found.value),
        format!("write its API name: `{instead}`"),
    );
    None
}

/// `from`: one of the source's fields, letter for letter.
fn source_field(table: &Table<'_>, fields: Option<&[String]>) -> Option<Found<String>> {
    let found = table.need_text("from", "write the source field: from = \"Name\"")?;
    if let Some(fields) = fields
        && !fields.contains(&found.value)
    {
        let near = words::nearest(&found.value, fields.iter().map(String::as_str));
        let hint = match near {
            Some(_) => words::meant(&found.value, fields.iter().map(String::as_str)),
            None => format!("add \"{}\" to [source] fields", found.value),
        };
        table.report(&found.place, format!("`{}` is not one of the source's fields", found.value), hint);
        return None;
    }
    Some(found)
}

/// `to`: a field of the target that nothing else writes.
fn target_field(
    table: &Table<'_>,
    object: Option<&TargetObject>,
    written: &mut Vec<(TargetField, Option<usize>)>,
) -> Option<Found<TargetField>> {
    let found = table.need_text("to", "write the target field: to = \"Name\"")?;
    let object = object?;
    let objects: Vec<&str> = match object {
        TargetObject::User => vec!["gsuser", "avatar"],
        other => other.objects(),
    };
    let (prefix, field) = match found.value.split_once('.') {
        Some((prefix, field)) => (Some(prefix.trim().to_ascii_lowercase()), field.trim()),
        None => (None, found.value.as_str()),
    };
    let owner = match prefix.as_deref() {
        None if *object == TargetObject::People => {
            table.report(
                &found.place,
                format!("`{}` could belong to the person or to the company person", found.value),
                format!("write `person.{field}` or `company_person.{field}`"),
            );
            return None;
        }
        None => object.primary(),
        Some("user") if *object == TargetObject::User => "gsuser",
        Some(prefix) => match objects.iter().find(|known| **known == prefix) {
            Some(known) => known,
            None => {
                let known: Vec<_> = objects.iter().map(|object| format!("`{object}.{field}`")).collect();
                table.report(
                    &found.place,
                    format!("the job does not write `{prefix}`"),
                    format!("write {}", known.join(" or ")),
                );
                return None;
            }
        },
    };
    if !words::is_api_name(field) {
        table.report(
            &found.place,
            format!("`{}` is not a field", found.value),
            "write its API name, such as `SfdcAccountId`",
        );
        return None;
    }
    if let Some(system) = SYSTEM_FIELDS.iter().find(|system| system.eq_ignore_ascii_case(field)) {
        table.report(
            &found.place,
            format!("`{system}` is filled by Gainsight and cannot be mapped"),
            "remove this mapping, or map to a field of your own",
        );
        return None;
    }
    let to = TargetField { object: owner.to_owned(), field: field.to_owned() };
    // The avatar's fields are kept in the user's record.
    let record = if owner == "avatar" { "gsuser" } else { owner };
    let key = TargetField { object: record.to_owned(), field: field.to_ascii_lowercase() };
    if let Some((_, line)) = written.iter().find(|(known, _)| *known == key) {
        let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        table.report(&found.place, format!("`{to}` is mapped twice{line}"), "remove one of the two mappings");
        return None;
    }
    written.push((key, found.place.line));
    Some(Found { value: to, place: found.place })
}
