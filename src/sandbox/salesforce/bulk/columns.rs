//! What the header of an upload means: fields, parents by external id, and the columns that an operation needs.
//!
//! The service reads a header in three steps, and its refusals tell which one failed: a name without a dot is a field;
//! `Relationship.Key` and, for references to several objects only, `Object:Relationship.Key` are parents.
//!
//! Knowingly different: what the service says about a reference to several objects that names none is not documented.

use super::load::Action;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Schema;
use crate::sandbox::salesforce::write::Caller;
use crate::sandbox::salesforce::write::Target;
use crate::sandbox::salesforce::write::target;

/// Where the values of each column go.
///
/// # Errors
/// The text of the job's failure.
pub(super) fn targets<'a>(
    schema: &Schema,
    caller: &Caller,
    object: ObjectIndex,
    action: Action,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for name in names {
        targets.push(one(schema, caller, object, name)?);
    }
    complete(schema, object, action, &targets)?;
    Ok(targets)
}

/// Where the values of one column go.
///
/// # Errors
/// The text of the job's failure.
pub(super) fn one(schema: &Schema, caller: &Caller, object: ObjectIndex, name: &str) -> Result<Target, String> {
    check_way(schema, object, name)?;
    target(schema, &caller.access, object, name).map_err(|_| not_found(name))
}

/// Refuses relationships in the service's own words.
fn check_way(schema: &Schema, object: ObjectIndex, name: &str) -> Result<(), String> {
    let Some((way, _)) = name.split_once('.') else { return Ok(()) };
    let (parent, relationship) = match way.split_once(':') {
        Some((parent, relationship)) => (Some(parent), relationship),
        None => (None, way),
    };
    let definition = &schema.objects[object];
    let Some(field) = definition.relationship(relationship) else {
        return Err(format!("InvalidBatch : Unable to find relationship: {relationship}"));
    };
    let polymorphic = definition.fields[field].reference_to.len() > 1;
    match parent {
        Some(_) if !polymorphic => {
            Err(format!("InvalidBatch : type is not needed for non polymorphic foreign key references: {relationship}"))
        }
        None if polymorphic => {
            Err(format!("InvalidBatch : type is needed for polymorphic foreign key references: {relationship}"))
        }
        Some(parent) if schema.find(parent).is_none() => Err(format!("InvalidBatch : Unable to find object: {parent}")),
        _ => Ok(()),
    }
}

/// Asks for the columns that the operation cannot do without.
pub(super) fn complete(schema: &Schema, object: ObjectIndex, action: Action, targets: &[Target]) -> Result<(), String> {
    let has_id = targets.contains(&Target::Id);
    match action {
        Action::Insert => Ok(()),
        Action::Update if has_id => Ok(()),
        Action::Update => Err(not_found("Id")),
        Action::Delete | Action::HardDelete if !has_id => Err(not_found("Id")),
        Action::Delete | Action::HardDelete if targets.len() > 1 => {
            let name = if action == Action::Delete { "delete" } else { "hardDelete" };
            Err(format!("InvalidBatch : The '{name}' batch must contain only ids"))
        }
        Action::Delete | Action::HardDelete => Ok(()),
        Action::Upsert(key) => {
            let field = &schema.objects[object].fields[key];
            let is_id = field.name.eq_ignore_ascii_case("Id");
            if targets.contains(&Target::Field(key)) || (is_id && has_id) {
                return Ok(());
            }
            Err(not_found(&field.name))
        }
    }
}

fn not_found(name: &str) -> String {
    format!("InvalidBatch : Field name not found : {name}")
}
