//! The tenant's objects and fields, read from schema files.
//!
//! The standard objects are the JSON files of `src/sandbox/data/gainsight`; a tenant may be given more files of the
//! same form, which add objects or add fields to those that exist (`"custom": true`, names ending in `__gc`).
//! Names ignore case when they come in and are canonical when they go out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::Value as Json;

use super::gsid::Gsids;
use super::gsid::pack;
use super::hash::Quick;
use super::json::write_text;
use super::people::Fields;

use crate::error::Error;
use crate::error::Result;

const STANDARD: [&str; 5] = [
    include_str!("../data/gainsight/gsuser.json"),
    include_str!("../data/gainsight/company.json"),
    include_str!("../data/gainsight/person.json"),
    include_str!("../data/gainsight/company_person.json"),
    include_str!("../data/gainsight/record_delete_log.json"),
];

/// Data types, spelt as in describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Kind {
    String,
    Number,
    Boolean,
    Date,
    DateTime,
    Gsid,
    Lookup,
    Picklist,
    #[serde(rename = "MULTISELECTDROPDOWNLIST")]
    Multi,
    Currency,
    Percentage,
    Email,
    Url,
    #[serde(rename = "RICHTEXTAREA")]
    RichText,
    SfdcId,
    Image,
    Json,
}

impl Kind {
    /// The name in describe.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Number => "NUMBER",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::DateTime => "DATETIME",
            Self::Gsid => "GSID",
            Self::Lookup => "LOOKUP",
            Self::Picklist => "PICKLIST",
            Self::Multi => "MULTISELECTDROPDOWNLIST",
            Self::Currency => "CURRENCY",
            Self::Percentage => "PERCENTAGE",
            Self::Email => "EMAIL",
            Self::Url => "URL",
            Self::RichText => "RICHTEXTAREA",
            Self::SfdcId => "SFDCID",
            Self::Image => "IMAGE",
            Self::Json => "JSON",
        }
    }

    /// Whether the value is kept as text.
    pub(super) fn is_text(self) -> bool {
        matches!(
            self,
            Self::String | Self::Email | Self::Url | Self::RichText | Self::SfdcId | Self::Image | Self::Json
        )
    }

    /// Whether the value is a decimal number.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Number | Self::Currency | Self::Percentage)
    }

    /// Whether the value is the id of a record.
    pub(super) fn is_id(self) -> bool {
        matches!(self, Self::Gsid | Self::Lookup)
    }
}

/// What the tenant itself writes into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    #[default]
    None,
    Gsid,
    CreatedDate,
    ModifiedDate,
    CreatedBy,
    ModifiedBy,
}

/// What happens to a lookup when its record is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum OnDelete {
    Delete,
    SetNull,
    #[default]
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectFile {
    name: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    plural: Option<String>,
    #[serde(default, rename = "type")]
    object_type: Option<String>,
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    store: Option<String>,
    #[serde(default)]
    bulk: Option<bool>,
    fields: Vec<FieldFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    name: String,
    label: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    length: Option<usize>,
    #[serde(default)]
    decimals: Option<u32>,
    #[serde(default)]
    role: Role,
    #[serde(default)]
    lookup: Option<LookupFile>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    options: Vec<OptionFile>,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    required: bool,
    #[serde(default = "yes")]
    nillable: bool,
    #[serde(default)]
    custom: bool,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    name_field: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupFile {
    object: String,
    #[serde(default)]
    on_delete: OnDelete,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OptionFile {
    Active(String),
    Full { label: String, active: bool },
}

fn yes() -> bool {
    true
}

/// A lookup to another object (or the same).
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    pub(super) object: String,
    /// Its place in the catalogue; an object that the tenant does not have has none.
    pub(super) target: Option<usize>,
    pub(super) on_delete: OnDelete,
}

/// One field of an object.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) decimals: u32,
    pub(super) role: Role,
    pub(super) lookup: Option<Lookup>,
    pub(super) category: Option<usize>,
    /// The only texts that the field takes, where it is not a picklist.
    pub(super) values: Vec<String>,
    pub(super) read_only: bool,
    pub(super) required: bool,
    pub(super) nillable: bool,
    pub(super) custom: bool,
    pub(super) hidden: bool,
    pub(super) name_field: bool,
    /// `"Name":`, as it stands in JSON.
    pub(super) head: Vec<u8>,
}

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) plural: String,
    pub(super) object_type: String,
    pub(super) code: u16,
    pub(super) store: String,
    pub(super) bulk: bool,
    pub(super) fields: Vec<Field>,
    /// Fields that a new record must have.
    pub(super) mandatory: Vec<usize>,
    /// Names as written and in lower case.
    names: HashMap<String, usize, Quick>,
    ignore_case: Arc<AtomicBool>,
}

impl Object {
    /// The field of this name, letter case ignored.
    #[inline]
    pub(super) fn field(&self, name: &str) -> Option<usize> {
        if !self.ignore_case.load(Ordering::Relaxed) {
            return self.names.get(name).copied().filter(|at| self.fields[*at].name == name);
        }
        if let Some(known) = self.names.get(name) {
            return Some(*known);
        }
        self.names.get(&name.to_lowercase()).copied()
    }

    /// The field with this role.
    pub(super) fn with_role(&self, role: Role) -> Option<usize> {
        self.fields.iter().position(|field| field.role == role)
    }

    /// Whether records are kept in the store that the object API writes (low volume).
    pub(super) fn is_low_volume(&self) -> bool {
        self.store == "HAPOSTGRES"
    }
}

/// One value of a dropdown.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) label: String,
    pub(super) active: bool,
}

/// A dropdown: its values are the items with these numbers.
#[derive(Debug, Clone)]
pub(super) struct Category {
    pub(super) name: String,
    /// Its own id.
    pub(super) id: i64,
    pub(super) items: Vec<usize>,
    pub(super) multi: bool,
    labels: HashMap<String, usize, Quick>,
}

/// All objects of the tenant and their dropdowns.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) objects: Vec<Object>,
    pub(super) categories: Vec<Category>,
    pub(super) items: Vec<Item>,
    pub(super) gsids: Gsids,
    item_code: u16,
    names: HashMap<String, usize, Quick>,
    /// Where the people objects are.
    pub(super) people: OnceLock<Option<Fields>>,
    /// Shared with the objects (switch `names-ignore-case`).
    ignore_case: Arc<AtomicBool>,
}

impl Catalog {
    /// The standard objects and those of `more` (texts of schema files).
    pub(super) fn read(tenant: &str, more: &[String]) -> Result<Self> {
        let mut gsids = Gsids::new(tenant);
        let item_code = gsids.add(*b"1I00");
        let mut catalog = Self {
            objects: Vec::new(),
            categories: Vec::new(),
            items: Vec::new(),
            gsids,
            item_code,
            names: HashMap::default(),
            people: OnceLock::new(),
            ignore_case: Arc::new(AtomicBool::new(true)),
        };
        for text in STANDARD.into_iter().chain(more.iter().map(String::as_str)) {
            let file: ObjectFile = serde_json::from_str(text).map_err(|error| {
                Error::config(format!("A Gainsight schema file cannot be read: {error}."))
                    .hint("compare it with the files in src/sandbox/data/gainsight")
            })?;
            catalog.add(file)?;
        }
        for at in 0..catalog.objects.len() {
            for field in 0..catalog.objects[at].fields.len() {
                let Some(lookup) = &catalog.objects[at].fields[field].lookup else { continue };
                let target = catalog.object(&lookup.object);
                if let Some(lookup) = &mut catalog.objects[at].fields[field].lookup {
                    lookup.target = target;
                }
            }
        }
        Ok(catalog)
    }

    fn add(&mut self, file: ObjectFile) -> Result<()> {
        let name = file.name.to_lowercase();
        let at = match self.names.get(&name) {
            Some(at) => *at,
            None => {
                let text = file.prefix.as_deref().unwrap_or("1Z02");
                let prefix: [u8; 4] = text.as_bytes().try_into().map_err(|_| {
                    Error::config(format!("The key prefix `{text}` of the object `{name}` is not four characters."))
                })?;
                // Custom objects share a prefix on the wire; here each needs its own to find a record by its id.
                let prefix = if file.prefix.is_none() { own_prefix(self.objects.len()) } else { prefix };
                let label = file.label.clone().unwrap_or_else(|| file.name.clone());
                self.objects.push(Object {
                    plural: file.plural.clone().unwrap_or_else(|| label.clone()),
                    label,
                    object_type: file.object_type.clone().unwrap_or_else(|| "CUSTOM".to_owned()),
                    code: self.gsids.add(prefix),
                    store: file.store.clone().unwrap_or_else(|| "HAPOSTGRES".to_owned()),
                    bulk: file.bulk.unwrap_or(true),
                    fields: Vec::new(),
                    mandatory: Vec::new(),
                    names: HashMap::default(),
                    ignore_case: Arc::clone(&self.ignore_case),
                    name: name.clone(),
                });
                self.names.insert(name.clone(), self.objects.len() - 1);
                self.objects.len() - 1
            }
        };
        for field in file.fields {
            let field = self.field(field);
            let object = &mut self.objects[at];
            if object.names.contains_key(&field.name.to_lowercase()) {
                return Err(Error::config(format!("The field `{}` of `{name}` is declared twice.", field.name)));
            }
            object.names.insert(field.name.to_lowercase(), object.fields.len());
            object.names.insert(field.name.clone(), object.fields.len());
            if field.required && !field.nillable {
                object.mandatory.push(object.fields.len());
            }
            object.fields.push(field);
        }
        if self.objects[at].with_role(Role::Gsid).is_none() {
            return Err(Error::config(format!("The object `{name}` has no field with the role `gsid`.")));
        }
        Ok(())
    }

    fn field(&mut self, file: FieldFile) -> Field {
        let category = matches!(file.kind, Kind::Picklist | Kind::Multi).then(|| {
            let at = self.categories.len();
            let mut labels = HashMap::default();
            let mut items = Vec::new();
            for option in &file.options {
                let (label, active) = match option {
                    OptionFile::Active(label) => (label, true),
                    OptionFile::Full { label, active } => (label, *active),
                };
                labels.insert(label.clone(), self.items.len());
                items.push(self.items.len());
                self.items.push(Item { label: label.clone(), active });
            }
            self.categories.push(Category {
                name: file.category.clone().unwrap_or_else(|| file.label.clone()),
                // Categories and their items share the prefix: odd numbers are categories.
                id: pack(self.item_code, 2 * at as u64 + 1),
                items,
                multi: file.kind == Kind::Multi,
                labels,
            });
            at
        });
        let length = file.length.unwrap_or(match (file.kind, file.custom) {
            (Kind::RichText, _) => 32_768,
            (Kind::Json, _) => 32_768,
            (Kind::Url | Kind::Multi, _) | (Kind::String, true) => 500,
            _ => 255,
        });
        let mut head = Vec::new();
        write_text(file.name.as_bytes(), &mut head);
        head.push(b':');
        Field {
            length,
            decimals: file.decimals.unwrap_or(if matches!(file.kind, Kind::Currency | Kind::Percentage) {
                2
            } else {
                0
            }),
            lookup: file.lookup.map(|one| Lookup { object: one.object, target: None, on_delete: one.on_delete }),
            category,
            read_only: file.read_only || file.role != Role::None,
            name: file.name,
            label: file.label,
            kind: file.kind,
            role: file.role,
            values: file.values,
            required: file.required,
            nillable: file.nillable,
            head,
            custom: file.custom,
            hidden: file.hidden,
            name_field: file.name_field,
        }
    }

    /// Whether names ignore letter case from now on.
    pub(super) fn set_ignore_case(&self, ignore: bool) {
        self.ignore_case.store(ignore, Ordering::Relaxed);
    }

    /// The object of this name, letter case ignored.
    pub(super) fn object(&self, name: &str) -> Option<usize> {
        if !self.ignore_case.load(Ordering::Relaxed) {
            return self.names.get(name).copied();
        }
        self.names.get(name).or_else(|| self.names.get(&name.to_lowercase())).copied()
    }

    /// The id of a dropdown's value.
    pub(super) fn item_id(&self, item: usize) -> i64 {
        pack(self.item_code, 2 * item as u64 + 2)
    }

    /// The value of the dropdown that is called this, by label or by id.
    pub(super) fn item(&self, category: usize, text: &str) -> Option<usize> {
        let category = self.categories.get(category)?;
        if let Some(item) = category.labels.get(text) {
            return Some(*item);
        }
        let (code, number) = super::gsid::unpack(self.gsids.read(text.as_bytes())?);
        let item = (number as usize).checked_sub(2)? / 2;
        (code == self.item_code && number % 2 == 0 && category.items.contains(&item)).then_some(item)
    }

    /// A path such as `Name` or `Company_ID__gr.Csm__gr.Email` from an object: the lookups to follow, then the field.
    pub(super) fn path(&self, object: usize, path: &str) -> Option<Path> {
        let mut at = object;
        let mut hops = Vec::new();
        let mut name = String::new();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let part = part.trim();
            if parts.peek().is_none() {
                let field = self.objects[at].field(part)?;
                name.push_str(&self.objects[at].fields[field].name);
                return Some(Path { hops, object: at, field, name });
            }
            let lookup = part.get(part.len().checked_sub(4)?..)?;
            if !lookup.eq_ignore_ascii_case("__gr") {
                return None;
            }
            let field = self.objects[at].field(&part[..part.len() - 4])?;
            let target = self.objects[at].fields[field].lookup.as_ref()?.target?;
            name.push_str(&self.objects[at].fields[field].name);
            name.push_str("__gr.");
            hops.push(Hop { object: at, field, target });
            at = target;
        }
        None
    }
}

/// One lookup on the way to a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop {
    pub(super) object: usize,
    pub(super) field: usize,
    pub(super) target: usize,
}

/// A field reached over lookups.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) hops: Vec<Hop>,
    pub(super) object: usize,
    pub(super) field: usize,
    /// The canonical spelling.
    pub(super) name: String,
}

fn own_prefix(number: usize) -> [u8; 4] {
    let digit = |value: usize| b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[value % 36];
    [b'1', b'Z', digit(number / 36), digit(number)]
}

/// JSON of a field's dropdown values as describe prints them.
pub(super) fn options_json(catalog: &Catalog, category: usize) -> Json {
    let list = catalog.categories[category].items.iter().enumerate().map(|(order, item)| {
        let one = &catalog.items[*item];
        serde_json::json!({
            "active": one.active,
            "defaultValue": false,
            "label": one.label,
            "value": String::from_utf8_lossy(&catalog.gsids.write(catalog.item_id(*item))),
            "displayOrder": order,
            "systemName": one.label.to_uppercase().replace(' ', "_"),
            "controllerValues": [],
        })
    });
    Json::Array(list.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_objects_are_read() {
        let catalog = Catalog::read("test", &[]).unwrap();
        let company = &catalog.objects[catalog.object("COMPANY").unwrap()];
        let name = &company.fields[company.field("NAME").unwrap()];
        assert_eq!((name.length, name.kind), (250, Kind::String));
        assert_eq!(company.fields[company.field("arr").unwrap()].name, "Arr");
    }

    #[test]
    fn paths_go_over_two_lookups_in_any_case() {
        let catalog = Catalog::read("test", &[]).unwrap();
        let start = catalog.object("company_person").unwrap();
        let path = catalog.path(start, "company_id__gr.csm__gr.name").unwrap();
        assert_eq!(path.name, "Company_ID__gr.Csm__gr.Name");
        assert_eq!(path.hops.len(), 2);
        assert!(catalog.path(start, "Title__gr.Name").is_none());
        assert!(catalog.path(start, "__gr.Name").is_none());
    }

    #[test]
    fn custom_fields_and_objects_come_from_files() {
        let catalog = Catalog::read(
            "test",
            &[
                r#"{"name":"company","fields":[{"name":"Tier__gc","label":"Tier","type":"STRING","custom":true}]}"#
                    .to_owned(),
                r#"{"name":"usage__gc","fields":[{"name":"Gsid","label":"GSID","type":"GSID","role":"gsid"}]}"#
                    .to_owned(),
            ],
        )
        .unwrap();
        let company = &catalog.objects[catalog.object("company").unwrap()];
        assert_eq!(company.fields[company.field("tier__GC").unwrap()].length, 500);
        assert!(catalog.object("Usage__gc").is_some());
        assert!(Catalog::read("test", &["{}".to_owned()]).is_err());
    }

    #[test]
    fn a_picklist_value_is_found_by_label_and_by_id() {
        let catalog = Catalog::read("test", &[]).unwrap();
        let company = &catalog.objects[catalog.object("company").unwrap()];
        let stage = company.fields[company.field("Stage").unwrap()].category.unwrap();
        let item = catalog.item(stage, "Adopting").unwrap();
        let id = catalog.gsids.write(catalog.item_id(item));
        assert_eq!(catalog.item(stage, std::str::from_utf8(&id).unwrap()), Some(item));
        assert_eq!(catalog.item(stage, "xyz"), None);
    }
}
