//! `/composite/tree/X`: records with their children, all of them or none; the same trees as files at the start.
//!
//! # Promises
//! * Up to 200 records, five levels deep; a child gets the reference to the record that it is nested in.
//! * One refused record refuses the whole tree, and every refusal is named by its reference id.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::error::ApiError;
use super::ids::Id;
use super::rest::Answer;
use super::rest::Call;
use super::schema::FieldIndex;
use super::schema::ObjectIndex;
use super::write;
use super::write::Writer;

/// Records of one call.
const MOST: usize = 200;
/// Levels of a tree.
const DEEPEST: usize = 5;

/// One record of a tree that is being written.
struct Node<'a> {
    object: ObjectIndex,
    reference: String,
    values: Map<String, Value>,
    /// Node of the parent, and the field that names it.
    parent: Option<(usize, FieldIndex)>,
    children: Vec<(String, &'a Value)>,
}

/// What became of a record: its reference id, and its id or why not.
pub(super) type Outcome = (String, Result<Id, ApiError>);

/// `POST /composite/tree/X`.
pub(super) fn create(call: &Call, object: &str) -> Answer {
    let object = call.object(object)?;
    let body = call.json()?;
    let caller = call.caller();
    let outcomes = call.write(|store| {
        let before = store.clone();
        let outcomes = insert(&mut Writer::new(store, &caller), object, &body, Some(MOST), &HashMap::new());
        if outcomes.iter().any(|(_, outcome)| outcome.is_err()) {
            store.set_back(before);
        }
        outcomes
    });
    let refused = outcomes.iter().any(|(_, outcome)| outcome.is_err());
    let results: Vec<_> = outcomes
        .iter()
        .filter_map(|(reference, outcome)| match outcome {
            Ok(id) if !refused => Some(json!({ "referenceId": reference, "id": id.as_str() })),
            Ok(_) => None,
            Err(refusal) => Some(json!({ "referenceId": reference, "errors": [refusal.of_record()] })),
        })
        .collect();
    let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
    Ok((status, axum::Json(json!({ "hasErrors": refused, "results": results }))).into_response())
}

/// Writes a tree in the order of its levels. Values such as `@AccountRef1` stand for `known` records of other trees.
pub(super) fn insert(
    writer: &mut Writer<'_>,
    object: ObjectIndex,
    body: &Map<String, Value>,
    most: Option<usize>,
    known: &HashMap<String, Id>,
) -> Vec<Outcome> {
    let nodes = match nodes(writer, object, body, most) {
        Ok(nodes) => nodes,
        Err((reference, refusal)) => return vec![(reference, Err(refusal))],
    };
    let schema = Arc::clone(&writer.store().schema);
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut values = node.values;
        for value in values.values_mut() {
            let reference = value.as_str().and_then(|text| text.strip_prefix('@'));
            if let Some(id) = reference.and_then(|reference| known.get(reference)) {
                *value = json!(id.as_str());
            }
        }
        if let Some((parent, field)) = node.parent {
            let Ok(id) = &outcomes[parent].1 else {
                let text = "The record's parent could not be created";
                outcomes.push((node.reference, Err(ApiError::new(400, "INVALID_INPUT", text))));
                continue;
            };
            values.insert(schema.objects[node.object].fields[field].name.clone(), json!(id.as_str()));
        }
        let access = writer.access();
        let outcome = write::from_json(&schema, &access, node.object, &values)
            .and_then(|values| writer.insert(node.object, &values))
            .map(|written| written.id);
        outcomes.push((node.reference, outcome));
    }
    outcomes
}

/// The records of a tree, parents before their children.
fn nodes<'a>(
    writer: &Writer<'_>,
    object: ObjectIndex,
    body: &'a Map<String, Value>,
    most: Option<usize>,
) -> Result<Vec<Node<'a>>, (String, ApiError)> {
    let invalid = |text: String| ApiError::new(400, "INVALID_INPUT", text);
    let schema = &writer.store().schema;
    let records = |value: Option<&'a Value>| value.and_then(Value::as_array);
    let top = records(body.get("records")).ok_or_else(|| {
        (String::new(), invalid("The request must have a member records with the list of records".to_owned()))
    })?;
    let mut nodes: Vec<Node<'a>> = Vec::new();
    for record in top {
        nodes.push(node(record, object, None, schema).map_err(|(reference, text)| (reference, invalid(text)))?);
    }
    let mut level = 0..nodes.len();
    for depth in 1.. {
        let start = nodes.len();
        for at in level.clone() {
            for (name, value) in std::mem::take(&mut nodes[at].children) {
                let of = nodes[at].object;
                let reference = nodes[at].reference.clone();
                let found = schema.child_relationship(of, &name).ok_or_else(|| {
                    let text = write::no_such_column(&name, &schema.objects[of].name);
                    (reference.clone(), text)
                })?;
                for record in records(value.get("records")).into_iter().flatten() {
                    let made = node(record, found.0, Some((at, found.1)), schema);
                    nodes.push(made.map_err(|(reference, text)| (reference, invalid(text)))?);
                }
            }
        }
        if nodes.len() == start {
            break;
        }
        if depth == DEEPEST {
            return Err((String::new(), invalid(format!("A tree cannot be deeper than {DEEPEST} levels"))));
        }
        level = start..nodes.len();
    }
    if most.is_some_and(|most| nodes.len() > most) {
        let text = format!("The request cannot have more than {MOST} records");
        return Err((String::new(), invalid(text)));
    }
    let mut seen = std::collections::HashSet::new();
    for node in &nodes {
        if node.reference.is_empty() {
            return Err((String::new(), invalid("Include a reference ID for each record in the request.".to_owned())));
        }
        if !seen.insert(node.reference.as_str()) {
            let text = "Duplicate ReferenceId provided in the request.".to_owned();
            return Err((node.reference.clone(), invalid(text)));
        }
    }
    Ok(nodes)
}

fn node<'a>(
    record: &'a Value,
    object: ObjectIndex,
    parent: Option<(usize, FieldIndex)>,
    schema: &super::schema::Schema,
) -> Result<Node<'a>, (String, String)> {
    let attribute = |name| record.get("attributes")?.get(name)?.as_str();
    let reference = attribute("referenceId").unwrap_or_default().to_owned();
    let Some(members) = record.as_object() else {
        return Err((reference, "A record is a JSON object with its type in attributes".to_owned()));
    };
    let kind = attribute("type").unwrap_or_default();
    if schema.find(kind) != Some(object) {
        let text = format!("The record's type is {kind}, but {} is expected here", schema.objects[object].name);
        return Err((reference, text));
    }
    let mut values = Map::new();
    let mut children = Vec::new();
    for (name, value) in members {
        match value {
            Value::Object(inner) if inner.contains_key("records") => children.push((name.clone(), value)),
            _ => {
                values.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(Node { object, reference, values, parent, children })
}
