//! Where a value goes: the names of JSON members and CSV headers meet the schema.

use serde_json::Map;
use serde_json::Value as Json;

use super::Given;
use super::is_key;
use super::no_such_column;
use crate::sandbox::salesforce::access::Access;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::schema::FieldIndex;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Schema;

/// What a name means in a record of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The record's own id.
    Id,
    Field(FieldIndex),
    /// A reference, given by the external id of the parent.
    Parent {
        field: FieldIndex,
        /// The parent's object.
        object: ObjectIndex,
        key: FieldIndex,
    },
}

/// What a CSV header means: `Name`, `Owner.Ext__c`, `Account__r.Ext__c`, `Owner:User.Username`.
///
/// # Errors
/// `INVALID_FIELD`, with the header's name.
pub(crate) fn target(schema: &Schema, access: &Access, object: ObjectIndex, header: &str) -> Result<Target, ApiError> {
    match header.split_once('.') {
        None => plain(schema, access, object, header),
        Some((way, key)) => {
            // A type may stand before or behind the relationship: `Owner:User.Username`.
            let (relationship, parent) = match way.split_once(':') {
                Some((one, other)) if relationship(schema, access, object, one).is_some() => (one, Some(other)),
                Some((one, other)) => (other, Some(one)),
                None => (way, None),
            };
            reference(schema, access, object, relationship, parent, key)
        }
    }
}

/// The values of a JSON body: each member a field, or a parent by its external id: `{"Owner":{"Ext__c":"x"}}`.
///
/// # Errors
/// `INVALID_FIELD`, with the member's name.
pub(crate) fn from_json<'a>(
    schema: &Schema,
    access: &Access,
    object: ObjectIndex,
    body: &'a Map<String, Json>,
) -> Result<Vec<(Target, Given<'a>)>, ApiError> {
    let mut values = Vec::with_capacity(body.len());
    for (name, value) in body.iter().filter(|(name, _)| *name != "attributes") {
        let parent = value.as_object().filter(|_| relationship(schema, access, object, name).is_some());
        let Some(parent) = parent else {
            values.push((plain(schema, access, object, name)?, Given::Json(value)));
            continue;
        };
        let kind =
            parent.get("attributes").and_then(|attributes| attributes.get("type")).or_else(|| parent.get("type"));
        let mut keys = parent.iter().filter(|(key, _)| !matches!(key.as_str(), "attributes" | "type"));
        let (Some((key, value)), None) = (keys.next(), keys.next()) else {
            let text = format!("The relationship {name} must name its parent by exactly one external ID field");
            return Err(ApiError::new(400, "INVALID_FIELD", text));
        };
        let target = reference(schema, access, object, name, kind.and_then(Json::as_str), key)?;
        values.push((target, Given::Json(value)));
    }
    Ok(values)
}

fn plain(schema: &Schema, access: &Access, object: ObjectIndex, name: &str) -> Result<Target, ApiError> {
    let definition = &schema.objects[object];
    if name.eq_ignore_ascii_case("Id") {
        return Ok(Target::Id);
    }
    let field = definition.find(name).filter(|field| access.sees(object, *field));
    Ok(Target::Field(field.ok_or_else(|| no_such_column(name, &definition.name))?))
}

fn relationship(schema: &Schema, access: &Access, object: ObjectIndex, name: &str) -> Option<FieldIndex> {
    schema.objects[object].relationship(name).filter(|field| access.sees(object, *field))
}

fn reference(
    schema: &Schema,
    access: &Access,
    object: ObjectIndex,
    way: &str,
    parent: Option<&str>,
    key: &str,
) -> Result<Target, ApiError> {
    let definition = &schema.objects[object];
    let field = relationship(schema, access, object, way).ok_or_else(|| no_such_column(way, &definition.name))?;
    let targets = &definition.fields[field].targets;
    let found = match parent {
        Some(name) => schema.find(name).filter(|target| targets.contains(target)),
        None if definition.fields[field].reference_to.len() > 1 => {
            let text = format!("The polymorphic relationship {way} must name the type of its parent");
            return Err(ApiError::new(400, "INVALID_FIELD", text));
        }
        None => targets.first().copied(),
    };
    let target = found.ok_or_else(|| no_such_column(parent.unwrap_or(way), &definition.name))?;
    let key_field = schema.objects[target].find(key).filter(|field| access.sees(target, *field));
    match key_field {
        Some(key_field) if is_key(schema, target, key_field) => {
            Ok(Target::Parent { field, object: target, key: key_field })
        }
        Some(_) => {
            let text = format!(
                "Field name provided, {key} is not an External ID or indexed field for {}",
                schema.objects[target].name
            );
            Err(ApiError::new(400, "INVALID_FIELD", text))
        }
        None => Err(no_such_column(key, &schema.objects[target].name)),
    }
}
