//! What the tenant says about an object: its fields, their types, lengths and picklist items (gainsight-api §7).

use std::collections::HashMap;

use serde::Deserialize;

/// An object, as the tenant describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectMetadata {
    /// API name in lower case.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// Fields in the tenant's order.
    pub fields: Vec<FieldMetadata>,
    /// Place of each field by its name in lower case.
    by_name: HashMap<String, usize>,
}

/// A field, as the tenant describes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldMetadata {
    /// API name in its canonical case.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// What it holds.
    pub data_type: DataType,
    /// Most characters, where limited.
    pub length: Option<u32>,
    /// Decimal places.
    pub decimals: Option<u8>,
    /// May be empty.
    pub nillable: bool,
    /// May be given on insert.
    pub createable: bool,
    /// May be given on update.
    pub updateable: bool,
    /// Never written by us.
    pub read_only: bool,
    /// Must be given on insert.
    pub required: bool,
    /// The objects that a lookup points to, in lower case.
    pub lookup: Vec<String>,
    /// Picklist items.
    pub options: Vec<PicklistOption>,
}

/// One item of a picklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PicklistOption {
    /// What records hold.
    pub gsid: String,
    /// What people see, and what we send.
    pub label: String,
    /// Inactive items are refused in writes.
    pub active: bool,
}

/// The types of the `dataType` attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataType {
    /// Text.
    #[default]
    String,
    /// Number.
    Number,
    /// True or false.
    Boolean,
    /// Day.
    Date,
    /// Instant.
    DateTime,
    /// A record's id.
    Gsid,
    /// A record's id of another object.
    Lookup,
    /// One item of a list.
    Picklist,
    /// Several items of a list.
    MultiSelect,
    /// Amount.
    Currency,
    /// Per cent.
    Percentage,
    /// E-mail address.
    Email,
    /// Web address.
    Url,
    /// HTML.
    RichText,
    /// A Salesforce id.
    SfdcId,
    /// Anything else: image, JSON, …
    Other,
}

impl DataType {
    /// The tenant's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Number => "NUMBER",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::DateTime => "DATETIME",
            Self::Gsid => "GSID",
            Self::Lookup => "LOOKUP",
            Self::Picklist => "PICKLIST",
            Self::MultiSelect => "MULTISELECTDROPDOWNLIST",
            Self::Currency => "CURRENCY",
            Self::Percentage => "PERCENTAGE",
            Self::Email => "EMAIL",
            Self::Url => "URL",
            Self::RichText => "RICHTEXTAREA",
            Self::SfdcId => "SFDCID",
            Self::Other => "OTHER",
        }
    }

    fn parse(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "STRING" => Self::String,
            "NUMBER" => Self::Number,
            "BOOLEAN" => Self::Boolean,
            "DATE" => Self::Date,
            "DATETIME" => Self::DateTime,
            "GSID" => Self::Gsid,
            "LOOKUP" => Self::Lookup,
            "PICKLIST" => Self::Picklist,
            "MULTISELECTDROPDOWNLIST" => Self::MultiSelect,
            "CURRENCY" => Self::Currency,
            "PERCENTAGE" => Self::Percentage,
            "EMAIL" => Self::Email,
            "URL" => Self::Url,
            "RICHTEXTAREA" => Self::RichText,
            "SFDCID" => Self::SfdcId,
            _ => Self::Other,
        }
    }
}

impl ObjectMetadata {
    /// An object with these fields.
    pub fn new(name: impl Into<String>, label: impl Into<String>, fields: Vec<FieldMetadata>) -> Self {
        let by_name = fields.iter().enumerate().map(|(at, field)| (field.name.to_lowercase(), at)).collect();
        Self { name: name.into().to_lowercase(), label: label.into(), fields, by_name }
    }

    /// The field of that name; the tenant's names ignore case (gainsight-api §2.7).
    pub fn field(&self, name: &str) -> Option<&FieldMetadata> {
        match self.by_name.get(name) {
            Some(at) => self.fields.get(*at),
            None => self.by_name.get(&name.to_lowercase()).and_then(|at| self.fields.get(*at)),
        }
    }
}

impl FieldMetadata {
    /// A field that may be read and written, for tests and generated objects.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        let name = name.into();
        Self {
            label: name.clone(),
            name,
            data_type,
            nillable: true,
            createable: true,
            updateable: true,
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawObject {
    object_name: String,
    label: Option<String>,
    #[serde(default)]
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    field_name: String,
    label: Option<String>,
    #[serde(default)]
    data_type: String,
    options: Option<Vec<RawOption>>,
    #[serde(default)]
    meta: RawMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOption {
    #[serde(default = "yes")]
    active: bool,
    label: Option<String>,
    value: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    createable: Option<bool>,
    updateable: Option<bool>,
    required: Option<bool>,
    nillable: Option<bool>,
    read_only: Option<bool>,
    deleted: Option<bool>,
    decimal_places: Option<i64>,
    length: Option<i64>,
    lookup_detail: Option<RawLookup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLookup {
    #[serde(default)]
    lookup_objects: Vec<RawLookupObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawLookupObject {
    object_name: String,
}

/// Reads the `data` of a describe: a list with one object, or the object itself.
pub(super) fn parse(data: &[u8]) -> Result<Option<ObjectMetadata>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        Many(Vec<RawObject>),
        One(RawObject),
    }
    let object = match serde_json::from_slice(data)? {
        Shape::Many(objects) => objects.into_iter().next(),
        Shape::One(object) => Some(object),
    };
    Ok(object.map(|object| {
        let fields = object.fields.into_iter().filter(|f| f.meta.deleted != Some(true)).map(field).collect();
        let label = object.label.unwrap_or_else(|| object.object_name.clone());
        ObjectMetadata::new(object.object_name, label, fields)
    }))
}

fn field(raw: RawField) -> FieldMetadata {
    let read_only = raw.meta.read_only.unwrap_or(false);
    FieldMetadata {
        label: raw.label.unwrap_or_else(|| raw.field_name.clone()),
        data_type: DataType::parse(&raw.data_type),
        length: raw.meta.length.and_then(|length| u32::try_from(length).ok()).filter(|length| *length > 0),
        decimals: raw.meta.decimal_places.and_then(|places| u8::try_from(places).ok()).filter(|places| *places <= 28),
        nillable: raw.meta.nillable.unwrap_or(true),
        createable: raw.meta.createable.unwrap_or(!read_only),
        updateable: raw.meta.updateable.unwrap_or(!read_only),
        read_only,
        required: raw.meta.required.unwrap_or(false),
        lookup: raw
            .meta
            .lookup_detail
            .map(|detail| detail.lookup_objects.into_iter().map(|object| object.object_name.to_lowercase()).collect())
            .unwrap_or_default(),
        options: raw
            .options
            .unwrap_or_default()
            .into_iter()
            .filter_map(|option| {
                let gsid = option.value?;
                Some(PicklistOption {
                    label: option.label.unwrap_or_else(|| gsid.clone()),
                    gsid,
                    active: option.active,
                })
            })
            .collect(),
        name: raw.field_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_describe_is_read_with_types_lengths_lookups_and_items() {
        let data = br#"[{"objectName":"company","label":"Company","keyPrefix":"1P02","fields":[
            {"fieldName":"Name","label":"Name","dataType":"STRING","meta":{"length":250,"createable":true,"updateable":true,"required":false,"nillable":true,"readOnly":false}},
            {"fieldName":"Csm","dataType":"LOOKUP","meta":{"hasLookup":true,"lookupDetail":{"lookupName":"Csm__gr","fieldName":"Gsid","lookupObjects":[{"objectName":"gsuser","dbName":"x","label":"User"}]}}},
            {"fieldName":"Stage","dataType":"PICKLIST","options":[{"active":true,"label":"Adopting","value":"1I001"},{"active":false,"label":"Old","value":"1I002"}],"meta":{}},
            {"fieldName":"Arr","dataType":"CURRENCY","meta":{"decimalPlaces":2}},
            {"fieldName":"Gone","dataType":"STRING","meta":{"deleted":true}},
            {"fieldName":"ModifiedDate","dataType":"DATETIME","meta":{"readOnly":true}}]}]"#;
        let object = parse(data).unwrap().unwrap();
        assert_eq!(object.name, "company");
        assert_eq!(object.fields.len(), 5);
        assert_eq!(object.field("NAME").unwrap().length, Some(250));
        assert_eq!(object.field("Csm").unwrap().lookup, ["gsuser"]);
        assert!(!object.field("Stage").unwrap().options[1].active);
        assert_eq!(object.field("arr").unwrap().decimals, Some(2));
        assert!(!object.field("ModifiedDate").unwrap().createable);
    }
}
