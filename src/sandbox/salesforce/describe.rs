//! `/sobjects` and `/sobjects/X/describe`: the schema with every attribute of the real answer.

use serde_json::Value;
use serde_json::json;

use super::schema::FieldDef;
use super::schema::Kind;
use super::schema::ObjectDef;
use super::schema::ObjectIndex;
use super::schema::Schema;

/// `/sobjects`.
pub(crate) fn global(schema: &Schema, base: &str) -> Value {
    let objects: Vec<_> = schema.objects.iter().map(|object| summary(object, base)).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects })
}

/// The attributes that the list and the describe of an object share.
pub(crate) fn summary(object: &ObjectDef, base: &str) -> Value {
    let name = &object.name;
    let custom = name.ends_with("__c");
    let at = format!("{base}/sobjects/{name}");
    let deleted = object.find("IsDeleted").is_some();
    members(vec![
        ("activateable", json!(false)),
        ("associateEntityType", Value::Null),
        ("associateParentEntity", Value::Null),
        ("createable", json!(object.createable)),
        ("custom", json!(custom)),
        ("customSetting", json!(false)),
        ("deepCloneable", json!(false)),
        ("deletable", json!(object.deletable)),
        ("deprecatedAndHidden", json!(false)),
        ("feedEnabled", json!(true)),
        ("hasSubtypes", json!(false)),
        ("isInterface", json!(false)),
        ("isSubtype", json!(false)),
        ("keyPrefix", json!(object.prefix)),
        ("label", json!(object.label)),
        ("labelPlural", json!(object.plural)),
        ("layoutable", json!(true)),
        ("mergeable", json!(object.find("MasterRecordId").is_some())),
        ("mruEnabled", json!(true)),
        ("name", json!(name)),
        ("queryable", json!(true)),
        ("replicateable", json!(true)),
        ("retrieveable", json!(true)),
        ("searchable", json!(true)),
        ("triggerable", json!(true)),
        ("undeletable", json!(deleted)),
        ("updateable", json!(object.updateable)),
        ("urls", json!({ "sobject": at, "describe": format!("{at}/describe"), "rowTemplate": format!("{at}/{{ID}}") })),
    ])
}

/// `/sobjects/X/describe`.
pub(crate) fn object(schema: &Schema, index: ObjectIndex, base: &str) -> Value {
    let object = &schema.objects[index];
    let mut all = summary(object, base);
    let fields: Vec<_> = object.fields.iter().map(|one| field(object, one)).collect();
    let more = json!({
        "actionOverrides": [],
        "childRelationships": children(schema, index),
        "compactLayoutable": true,
        "defaultImplementation": null,
        "extendedBy": null,
        "extendsInterfaces": null,
        "fields": fields,
        "implementedBy": null,
        "implementsInterfaces": null,
        "listviewable": null,
        "lookupLayoutable": null,
        "namedLayoutInfos": [],
        "networkScopeFieldName": null,
        "recordTypeInfos": [],
        "searchLayoutable": true,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [{ "label": format!("All {}", object.plural), "name": "everything" }],
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn children(schema: &Schema, index: ObjectIndex) -> Vec<Value> {
    let mut children = Vec::new();
    for child in &schema.objects {
        for field in child.fields.iter().filter(|field| field.targets.contains(&index)) {
            children.push(json!({
                "cascadeDelete": field.cascade_delete,
                "childSObject": child.name,
                "deprecatedAndHidden": false,
                "field": field.name,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": field.child_relationship,
                "restrictedDelete": false,
            }));
        }
    }
    children
}

fn field(object: &ObjectDef, field: &FieldDef) -> Value {
    let writable = field.writable() && object.updateable;
    let filterable = field.filterable();
    let values: Vec<_> = field
        .values
        .iter()
        .map(|value| {
            json!({ "active": true, "defaultValue": field.default.as_ref() == Some(value), "label": value, "validFor": null, "value": value })
        })
        .collect();
    let length = if matches!(field.kind, Kind::Id | Kind::Reference) { 18 } else { field.length };
    let defaulted = !field.nillable && (field.default.is_some() || field.kind == Kind::Boolean || field.system);
    members(vec![
        ("aggregatable", json!(filterable && field.kind != Kind::Boolean)),
        ("aiPredictionField", json!(false)),
        ("autoNumber", json!(false)),
        ("byteLength", json!(length * if matches!(field.kind, Kind::Id | Kind::Reference) { 1 } else { 3 })),
        ("calculated", json!(false)),
        ("calculatedFormula", Value::Null),
        ("cascadeDelete", json!(field.cascade_delete)),
        ("caseSensitive", json!(field.case_sensitive)),
        ("compoundFieldName", json!(field.compound)),
        ("controllerName", Value::Null),
        ("createable", json!(field.writable() && object.createable)),
        ("custom", json!(field.name.ends_with("__c"))),
        ("defaultValue", if field.kind == Kind::Boolean { json!(false) } else { Value::Null }),
        ("defaultValueFormula", Value::Null),
        ("defaultedOnCreate", json!(defaulted)),
        ("dependentPicklist", json!(false)),
        ("deprecatedAndHidden", json!(false)),
        ("digits", json!(field.digits)),
        ("displayLocationInDecimal", json!(field.name.ends_with("Latitude") || field.name.ends_with("Longitude"))),
        ("encrypted", json!(false)),
        ("externalId", json!(field.external_id)),
        ("extraTypeInfo", extra_type(field)),
        ("filterable", json!(filterable)),
        ("filteredLookupInfo", Value::Null),
        ("formulaTreatNullNumberAsZero", json!(false)),
        (
            "groupable",
            json!(filterable && !matches!(field.kind, Kind::Double | Kind::Currency | Kind::Percent | Kind::Datetime)),
        ),
        ("highScaleNumber", json!(false)),
        ("htmlFormatted", json!(false)),
        ("idLookup", json!(field.id_lookup || field.kind == Kind::Id || field.external_id)),
        ("inlineHelpText", Value::Null),
        ("label", json!(field.label)),
        ("length", json!(length)),
        ("mask", Value::Null),
        ("maskType", Value::Null),
        ("name", json!(field.name)),
        ("nameField", json!(field.name_field)),
        ("namePointing", json!(field.reference_to.len() > 1)),
        ("nillable", json!(field.nillable)),
        ("permissionable", json!(field.nillable && !field.system)),
        ("picklistValues", json!(values)),
        ("polymorphicForeignKey", json!(field.reference_to.len() > 1)),
        ("precision", json!(field.precision)),
        ("queryByDistance", json!(field.kind == Kind::Address)),
        ("referenceTargetField", Value::Null),
        ("referenceTo", json!(field.reference_to)),
        ("relationshipName", json!(field.relationship)),
        ("relationshipOrder", Value::Null),
        ("restrictedDelete", json!(false)),
        ("restrictedPicklist", json!(field.restricted)),
        ("scale", json!(field.scale)),
        ("searchPrefilterable", json!(field.kind == Kind::Reference)),
        ("soapType", json!(soap_type(field.kind))),
        ("sortable", json!(filterable)),
        ("type", json!(type_name(field.kind))),
        ("unique", json!(field.unique)),
        ("updateable", json!(writable)),
        ("writeRequiresMasterRead", json!(false)),
    ])
}

/// A JSON object of many members, more than the macro takes at once.
fn members(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn extra_type(field: &FieldDef) -> Value {
    match (&field.extra_type, field.kind) {
        (Some(text), _) => json!(text),
        (None, Kind::Textarea) => json!("plaintextarea"),
        _ => Value::Null,
    }
}

/// The name of a type in describe.
pub(crate) fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Id => "id",
        Kind::Reference => "reference",
        Kind::String => "string",
        Kind::Textarea => "textarea",
        Kind::Picklist => "picklist",
        Kind::Multipicklist => "multipicklist",
        Kind::Email => "email",
        Kind::Phone => "phone",
        Kind::Url => "url",
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Double => "double",
        Kind::Currency => "currency",
        Kind::Percent => "percent",
        Kind::Date => "date",
        Kind::Datetime => "datetime",
        Kind::Time => "time",
        Kind::Address => "address",
    }
}

fn soap_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Reference => "tns:ID",
        Kind::Boolean => "xsd:boolean",
        Kind::Int => "xsd:int",
        Kind::Long => "xsd:long",
        Kind::Double | Kind::Currency | Kind::Percent => "xsd:double",
        Kind::Date => "xsd:date",
        Kind::Datetime => "xsd:dateTime",
        Kind::Time => "xsd:time",
        Kind::Address => "urn:address",
        _ => "xsd:string",
    }
}
