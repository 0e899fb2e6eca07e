//! `/sobjects` and `/sobjects/X/describe`: the schema with every attribute of the real answer.

use serde_json::Value;
use serde_json::json;

use super::access::Access;
use super::schema::FieldDef;
use super::schema::Kind;
use super::schema::ObjectDef;
use super::schema::ObjectIndex;
use super::schema::Schema;

/// `/sobjects`.
pub(crate) fn global(schema: &Schema, access: &Access, base: &str) -> Value {
    let seen = (0..schema.objects.len()).filter(|at| !schema.objects[*at].hidden && access.sees_object(*at));
    let objects: Vec<_> = seen.map(|at| summary(schema, at, access, base)).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects })
}

/// The attributes that the list and the describe of an object share.
pub(crate) fn summary(schema: &Schema, index: ObjectIndex, access: &Access, base: &str) -> Value {
    let object = &schema.objects[index];
    let edits = access.edits_object(index);
    let name = &object.name;
    let custom = name.ends_with("__c");
    let at = format!("{base}/sobjects/{name}");
    let deleted = object.find("IsDeleted").is_some();
    members(vec![
        ("activateable", json!(false)),
        ("associateEntityType", Value::Null),
        ("associateParentEntity", Value::Null),
        ("createable", json!(object.createable && edits)),
        ("custom", json!(custom)),
        ("customSetting", json!(false)),
        ("deepCloneable", json!(false)),
        ("deletable", json!(object.deletable && edits)),
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
        ("updateable", json!(object.updateable && edits)),
        ("urls", json!({ "sobject": at, "describe": format!("{at}/describe"), "rowTemplate": format!("{at}/{{ID}}") })),
    ])
}

/// `/sobjects/X/describe`.
pub(crate) fn object(schema: &Schema, index: ObjectIndex, access: &Access, base: &str) -> Value {
    let object = &schema.objects[index];
    let mut all = summary(schema, index, access, base);
    let seen = object.fields.iter().enumerate().filter(|(at, _)| access.sees(index, *at));
    let fields: Vec<_> =
        seen.map(|(at, one)| field(object, one, access.edits(index, at) && access.edits_object(index))).collect();
    let more = json!({
        "actionOverrides": [],
        "childRelationships": children(schema, index, access),
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

fn children(schema: &Schema, index: ObjectIndex, access: &Access) -> Vec<Value> {
    let mut children = Vec::new();
    for (at, child) in schema.objects.iter().enumerate().filter(|(at, child)| !child.hidden && access.sees_object(*at))
    {
        let fields = child.fields.iter().enumerate().filter(|(field, _)| access.sees(at, *field));
        for (_, field) in fields.filter(|(_, field)| field.targets.contains(&index)) {
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

fn field(object: &ObjectDef, field: &FieldDef, edits: bool) -> Value {
    let writable = field.writable() && object.updateable && !field.create_only && edits;
    let filterable = field.filterable();
    let number = field.auto_number.is_some();
    let calculated = field.formula.is_some();
    let values: Vec<_> = field
        .values
        .iter()
        .map(|value| {
            json!({ "active": true, "defaultValue": field.default.as_ref() == Some(value), "label": value, "validFor": null, "value": value })
        })
        .chain(field.inactive.iter().map(|value| {
            json!({ "active": false, "defaultValue": false, "label": value, "validFor": null, "value": value })
        }))
        .collect();
    let length = if matches!(field.kind, Kind::Id | Kind::Reference) { 18 } else { field.length };
    let defaulted =
        !field.nillable && (field.default.is_some() || field.kind == Kind::Boolean || field.system || number);
    members(vec![
        ("aggregatable", json!(filterable && field.kind != Kind::Boolean)),
        ("aiPredictionField", json!(false)),
        ("autoNumber", json!(number)),
        ("byteLength", json!(length * if matches!(field.kind, Kind::Id | Kind::Reference) { 1 } else { 3 })),
        ("calculated", json!(calculated)),
        ("calculatedFormula", json!(field.formula)),
        ("cascadeDelete", json!(field.cascade_delete)),
        ("caseSensitive", json!(field.case_sensitive)),
        ("compoundFieldName", json!(field.compound)),
        ("controllerName", Value::Null),
        ("createable", json!(field.writable() && object.createable && edits)),
        ("custom", json!(field.name.ends_with("__c"))),
        (
            "defaultValue",
            match (field.kind, &field.default) {
                (Kind::Boolean, default) => json!(default.as_deref() == Some("true")),
                _ => Value::Null,
            },
        ),
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
        ("sortable", json!(filterable && field.kind != Kind::Multipicklist)),
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
