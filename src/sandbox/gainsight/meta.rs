//! Metadata: the list of objects, describe, dropdowns (gainsight-api §7).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::json;

use super::catalog::Catalog;
use super::catalog::Field;
use super::catalog::Kind;
use super::catalog::Object;
use super::catalog::OnDelete;
use super::catalog::Role;
use super::catalog::options_json;
use super::reply::INVALID_ID;
use super::reply::Reply;
use super::tenant::Tenant;

type Answer = Result<Reply, Reply>;

/// `GET /v1/meta/services/objects/list`.
pub(super) async fn list(State(tenant): State<Arc<Tenant>>) -> Reply {
    let catalog = &tenant.catalog;
    let all = catalog.objects.iter().map(|object| {
        json!({
            "objectName": object.name, "label": object.label, "objectType": object.object_type,
            "keyPrefix": catalog.gsids.key_prefix(object.code), "transactional": object.is_low_volume(),
            "multiCurrencySupported": false, "readable": true, "createable": is_createable(object),
            "schemaUpdateable": object.object_type != "SYSTEM",
        })
    });
    Reply::json(&Json::Array(all.collect()))
}

/// `POST /v1/meta/services/objects/`.
pub(super) async fn list_long(State(tenant): State<Arc<Tenant>>) -> Reply {
    let all = tenant.catalog.objects.iter().map(|object| {
        json!({
            "objectName": object.name, "label": object.label, "labelPlural": object.plural,
            "objectType": object.object_type, "description": null,
            "keyPrefix": tenant.catalog.gsids.key_prefix(object.code), "transactional": object.is_low_volume(),
            "readable": true, "createable": is_createable(object),
        })
    });
    Reply::json(&Json::Array(all.collect()))
}

fn is_createable(object: &Object) -> bool {
    object.is_low_volume() && object.object_type != "SYSTEM"
}

/// `GET /v1/meta/services/objects/{object}/describe`.
pub(super) async fn describe(State(tenant): State<Arc<Tenant>>, Path(name): Path<String>) -> Answer {
    let object = tenant.object(&name)?;
    Ok(Reply::json(&Json::Array(vec![element(&tenant.catalog, object, &Wanted::default())])))
}

/// The flags of the POST form; they are texts on the wire.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeBody {
    #[serde(default)]
    object_names: Vec<String>,
    #[serde(default)]
    populate_pick_list_options: Option<Json>,
    #[serde(default)]
    remove_hidden: Option<Json>,
    #[serde(default)]
    sort_fields_by_label: Option<Json>,
}

/// What describe is asked for.
struct Wanted {
    options: bool,
    hidden: bool,
    by_label: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { options: true, hidden: true, by_label: false }
    }
}

/// `POST /v1/meta/services/objects/describe`.
pub(super) async fn describe_many(State(tenant): State<Arc<Tenant>>, body: Body) -> Answer {
    let body: DescribeBody = tenant.json(body).await?;
    let flag = |value: &Option<Json>, default: bool| match value {
        Some(Json::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Json::Bool(flag)) => *flag,
        _ => default,
    };
    let wanted = Wanted {
        options: flag(&body.populate_pick_list_options, true),
        hidden: !flag(&body.remove_hidden, false),
        by_label: flag(&body.sort_fields_by_label, false),
    };
    let objects = body.object_names.iter().map(|name| tenant.object(name)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::json(&objects.into_iter().map(|object| element(&tenant.catalog, object, &wanted)).collect()))
}

/// One object with its fields.
fn element(catalog: &Catalog, at: usize, wanted: &Wanted) -> Json {
    let object = &catalog.objects[at];
    let mut fields: Vec<&Field> = object.fields.iter().filter(|field| wanted.hidden || !field.hidden).collect();
    if wanted.by_label {
        fields.sort_by(|left, right| left.label.cmp(&right.label));
    }
    let fields: Vec<Json> =
        fields.into_iter().map(|field| field_element(catalog, object, field, wanted.options)).collect();
    json!({
        "objectId": format!("{}-object", object.name), "objectName": object.name, "dbName": object.name,
        "label": object.label, "labelPlural": object.plural, "objectType": object.object_type,
        "keyPrefix": catalog.gsids.key_prefix(object.code), "source": "MDA", "dataStore": object.store,
        "transactional": object.is_low_volume(), "dataEditability": is_createable(object),
        "schemaEditability": object.object_type != "SYSTEM", "multiCurrencySupported": false, "fields": fields,
    })
}

fn field_element(catalog: &Catalog, object: &Object, field: &Field, options: bool) -> Json {
    let group = match (field.role, field.custom) {
        (Role::None, true) => "CUSTOM",
        (Role::None, false) => "STANDARD",
        _ => "SYSTEM",
    };
    let mut properties = json!({"sourceType": "MDA"});
    if let (Some(category), Some(map)) = (field.category, properties.as_object_mut()) {
        let category = &catalog.categories[category];
        map.insert("PICKLIST_CATEGORY".to_owned(), category.name.as_str().into());
        map.insert("PICKLIST_CATEGORY_ID".to_owned(), id_text(catalog, category.id).into());
    }
    let number = field.kind.is_number();
    let long = matches!(field.kind, Kind::RichText | Kind::Json);
    let mut meta = json!({
        "properties": properties, "accessible": true, "filterable": !long, "sortable": !long,
        "groupable": !long && !number, "createable": !field.read_only, "updateable": !field.read_only,
        "externalId": false, "formulaField": false, "hasLookup": field.lookup.is_some(),
        "required": field.required, "richText": field.kind == Kind::RichText, "nillable": field.nillable,
        "readOnly": field.read_only, "dependentPicklist": false, "fieldGroupType": group,
        "selfLookup": field.lookup.as_ref().is_some_and(|lookup| lookup.object == object.name),
        "indexed": field.role == Role::Gsid, "decimalPlaces": if number { Json::from(field.decimals) } else { Json::Null },
        "length": if number || matches!(field.kind, Kind::Boolean | Kind::Date | Kind::DateTime) { Json::Null } else { field.length.into() },
        "originalDataType": field.kind.name(), "valueType": field.kind.name(), "hidden": field.hidden, "deleted": false,
        "nameField": field.name_field, "aggregatable": number, "withTimeZone": field.kind == Kind::DateTime,
        "resolutionKeys": [],
    });
    if let (Some(lookup), Some(map)) = (&field.lookup, meta.as_object_mut()) {
        let label = lookup.target.map_or(lookup.object.as_str(), |at| catalog.objects[at].label.as_str());
        map.insert("onDeleteOperation".to_owned(), rule(lookup.on_delete).into());
        map.insert(
            "lookupDetail".to_owned(),
            json!({"lookupName": format!("{}__gr", field.name), "fieldName": "Gsid", "fieldDBName": "gsid",
                   "lookupObjects": [{"objectName": lookup.object, "dbName": lookup.object, "label": label}]}),
        );
    }
    let mut element = json!({
        "fieldName": field.name, "dbName": field.name.to_lowercase(), "label": field.label, "dataType": field.kind.name(),
        "objectName": object.name, "objectDBName": object.name, "objectLabel": object.label, "meta": meta,
    });
    if let (Some(category), true, Some(map)) = (field.category, options, element.as_object_mut()) {
        map.insert("options".to_owned(), options_json(catalog, category));
    }
    element
}

fn rule(rule: OnDelete) -> &'static str {
    match rule {
        OnDelete::Delete => "DELETE",
        OnDelete::SetNull => "SET_NULL",
        OnDelete::None => "NONE",
    }
}

fn id_text(catalog: &Catalog, id: i64) -> String {
    String::from_utf8_lossy(&catalog.gsids.write(id)).into_owned()
}

/// `GET /v1/meta/services/dropdowns/{category}`.
pub(super) async fn dropdown(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Answer {
    let catalog = &tenant.catalog;
    let wanted = catalog.gsids.read(id.as_bytes());
    let category = catalog.categories.iter().find(|category| Some(category.id) == wanted);
    let category = category.ok_or_else(|| Reply::bad("GSOBJ_1004", INVALID_ID))?;
    let items: Vec<Json> = category
        .items
        .iter()
        .enumerate()
        .map(|(order, item)| {
            let one = &catalog.items[*item];
            json!({
                "name": one.label, "description": null, "displayOrder": order, "active": one.active,
                "systemDefined": false, "systemName": one.label.to_uppercase().replace(' ', "_"), "default": false,
                "categoryId": id, "gsid": id_text(catalog, catalog.item_id(*item)),
            })
        })
        .collect();
    Ok(Reply::json(&json!({
        "categoryDetails": {
            "name": category.name, "type": "PICKLIST", "count": items.len(), "limit": 500,
            "variant": if category.multi { "MULTI_SELECT" } else { "SINGLE_SELECT" },
            "systemName": category.name.to_uppercase().replace(' ', "_"), "gsid": id,
        },
        "childItems": items,
    })))
}
