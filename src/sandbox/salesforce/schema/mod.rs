//! The objects of the org, read from the files in `src/sandbox/data/schema`.
//!
//! An object is data: a new file (and its line in [`FILES`]) is a new object, with describe, queries, bulk jobs and writes.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::Error;
use crate::error::Result;

/// The object files that are built in.
const FILES: [(&str, &str); 4] = [
    ("organization.toml", include_str!("../../data/schema/organization.toml")),
    ("user.toml", include_str!("../../data/schema/user.toml")),
    ("account.toml", include_str!("../../data/schema/account.toml")),
    ("contact.toml", include_str!("../../data/schema/contact.toml")),
];

/// Index of an object in the schema, and of its table in the store.
pub(crate) type ObjectIndex = usize;
/// Index of a field in its object.
pub(crate) type FieldIndex = usize;

/// All objects.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) objects: Vec<ObjectDef>,
    by_name: HashMap<String, ObjectIndex>,
}

/// One object, as its file says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectDef {
    /// API name.
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) plural: String,
    /// The three characters that begin its ids.
    pub(crate) prefix: String,
    #[serde(default = "yes")]
    pub(crate) createable: bool,
    #[serde(default = "yes")]
    pub(crate) updateable: bool,
    #[serde(default = "yes")]
    pub(crate) deletable: bool,
    pub(crate) fields: Vec<FieldDef>,
    #[serde(skip)]
    by_name: HashMap<String, FieldIndex>,
    #[serde(skip)]
    by_relationship: HashMap<String, FieldIndex>,
}

/// One field, as its file says it, with what follows from the whole schema.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldDef {
    /// API name.
    pub(crate) name: String,
    pub(crate) label: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) length: u32,
    #[serde(default)]
    pub(crate) precision: u32,
    #[serde(default)]
    pub(crate) scale: u32,
    #[serde(default)]
    pub(crate) digits: u32,
    #[serde(default = "yes")]
    pub(crate) nillable: bool,
    /// Kept by the org itself: neither createable nor updateable.
    #[serde(default)]
    pub(crate) system: bool,
    /// The compound field that this one is a part of.
    #[serde(default)]
    pub(crate) compound: Option<String>,
    /// Name of the way to the parent, such as `Owner`.
    #[serde(default)]
    pub(crate) relationship: Option<String>,
    /// Name of the way from the parent to its children, such as `Contacts`.
    #[serde(default)]
    pub(crate) child_relationship: Option<String>,
    #[serde(default)]
    pub(crate) reference_to: Vec<String>,
    /// Deleting the parent deletes this record.
    #[serde(default)]
    pub(crate) cascade_delete: bool,
    #[serde(default)]
    pub(crate) unique: bool,
    #[serde(default)]
    pub(crate) external_id: bool,
    #[serde(default)]
    pub(crate) id_lookup: bool,
    #[serde(default)]
    pub(crate) case_sensitive: bool,
    #[serde(default)]
    pub(crate) name_field: bool,
    /// Values outside the picklist are refused.
    #[serde(default)]
    pub(crate) restricted: bool,
    /// Picklist values.
    #[serde(default)]
    pub(crate) values: Vec<String>,
    /// Value of a new record that names none; `user` on a reference means the caller.
    #[serde(default)]
    pub(crate) default: Option<String>,
    /// `name`: first and last name joined.
    #[serde(default)]
    pub(crate) derived: Option<Derived>,
    #[serde(default)]
    pub(crate) extra_type: Option<String>,
    #[serde(skip)]
    pub(crate) storage: Storage,
    /// The parent objects that the schema has.
    #[serde(skip)]
    pub(crate) targets: Vec<ObjectIndex>,
}

/// Field types of describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Id,
    Reference,
    String,
    Textarea,
    Picklist,
    Multipicklist,
    Email,
    Phone,
    Url,
    Boolean,
    Int,
    Long,
    Double,
    Currency,
    Percent,
    Date,
    Datetime,
    Time,
    Address,
}

/// How a field's value is worked out instead of stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Derived {
    Name,
}

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Storage {
    /// The row number.
    #[default]
    Id,
    Text,
    Boolean,
    Integer,
    Double,
    Date,
    Datetime,
    Time,
    /// A row of the one parent object.
    Row,
    /// First name and last name, joined by a blank.
    Name {
        first: Option<FieldIndex>,
        last: FieldIndex,
    },
    /// The parts of an address by their suffix (`Street`, `City`, …).
    Address(Vec<(&'static str, FieldIndex)>),
}

fn yes() -> bool {
    true
}

/// The parts of an address: suffix of the field, key in JSON.
pub(crate) const ADDRESS_PARTS: [(&str, &str); 8] = [
    ("City", "city"),
    ("Country", "country"),
    ("GeocodeAccuracy", "geocodeAccuracy"),
    ("Latitude", "latitude"),
    ("Longitude", "longitude"),
    ("PostalCode", "postalCode"),
    ("State", "state"),
    ("Street", "street"),
];

impl Schema {
    /// The objects that are built in.
    ///
    /// # Errors
    /// Bug, if one of the files is wrong.
    pub(crate) fn built_in() -> Result<Self> {
        let mut objects = Vec::new();
        for (file, text) in FILES {
            let object: ObjectDef = toml::from_str(text).map_err(|cause| {
                Error::bug("an object file of the Salesforce sandbox is wrong").context("file", file).source(cause)
            })?;
            objects.push(object);
        }
        Self::new(objects)
    }

    fn new(mut objects: Vec<ObjectDef>) -> Result<Self> {
        let by_name: HashMap<_, _> =
            objects.iter().enumerate().map(|(at, object)| (object.name.to_lowercase(), at)).collect();
        for object in &mut objects {
            object.complete(&by_name)?;
        }
        Ok(Self { objects, by_name })
    }

    /// The object with this name, in any case.
    pub(crate) fn find(&self, name: &str) -> Option<ObjectIndex> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// The child object and its reference field behind a child relationship such as `Contacts`.
    pub(crate) fn child_relationship(&self, parent: ObjectIndex, name: &str) -> Option<(ObjectIndex, FieldIndex)> {
        self.objects.iter().enumerate().find_map(|(child, object)| {
            let field = object.fields.iter().position(|field| {
                field.targets.contains(&parent)
                    && field.child_relationship.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name))
            });
            field.map(|field| (child, field))
        })
    }

    /// The object whose ids begin so.
    pub(crate) fn by_prefix(&self, prefix: [u8; 3]) -> Option<ObjectIndex> {
        self.objects.iter().position(|object| object.key_prefix() == prefix)
    }
}

impl ObjectDef {
    /// The field with this name, in any case.
    pub(crate) fn find(&self, name: &str) -> Option<FieldIndex> {
        match self.by_name.get(name) {
            Some(at) => Some(*at),
            None => self.by_name.get(&name.to_lowercase()).copied(),
        }
    }

    /// The reference field behind a relationship such as `Owner`.
    pub(crate) fn relationship(&self, name: &str) -> Option<FieldIndex> {
        self.by_relationship.get(&name.to_lowercase()).copied()
    }

    /// The key prefix as bytes.
    pub(crate) fn key_prefix(&self) -> [u8; 3] {
        <[u8; 3]>::try_from(self.prefix.as_bytes()).unwrap_or(*b"000")
    }

    /// Works out what follows from the other fields and objects.
    fn complete(&mut self, objects: &HashMap<String, ObjectIndex>) -> Result<()> {
        let wrong = |what: String| Error::bug(what).context("object", self.name.clone());
        if self.prefix.len() != 3 {
            return Err(wrong("a key prefix has three characters".to_owned()));
        }
        let names: HashMap<String, FieldIndex> =
            self.fields.iter().enumerate().map(|(at, field)| (field.name.to_lowercase(), at)).collect();
        if names.len() != self.fields.len() {
            return Err(wrong("a field name is used twice".to_owned()));
        }
        let mut storages = Vec::new();
        for field in &self.fields {
            storages.push(self.storage(field, &names, objects).map_err(wrong)?);
        }
        for (field, (storage, targets)) in self.fields.iter_mut().zip(storages) {
            field.storage = storage;
            field.targets = targets;
        }
        self.by_relationship = self
            .fields
            .iter()
            .enumerate()
            .filter_map(|(at, field)| Some((field.relationship.as_ref()?.to_lowercase(), at)))
            .collect();
        self.by_name = names;
        // The exact spelling is found without making a lower-case copy.
        self.by_name.extend(self.fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)));
        Ok(())
    }

    fn storage(
        &self,
        field: &FieldDef,
        names: &HashMap<String, FieldIndex>,
        objects: &HashMap<String, ObjectIndex>,
    ) -> Result<(Storage, Vec<ObjectIndex>), String> {
        let targets: Vec<_> =
            field.reference_to.iter().filter_map(|name| objects.get(&name.to_lowercase()).copied()).collect();
        let storage = match field.kind {
            _ if field.derived == Some(Derived::Name) => Storage::Name {
                first: names.get("firstname").copied(),
                last: *names.get("lastname").ok_or("a derived name needs a LastName")?,
            },
            Kind::Id => Storage::Id,
            Kind::Reference if field.reference_to.is_empty() => return Err("a reference names its parents".to_owned()),
            // Parents that the org does not have are kept as the text of their ids.
            Kind::Reference if targets.len() == 1 && field.reference_to.len() == 1 => Storage::Row,
            Kind::Boolean => Storage::Boolean,
            Kind::Int | Kind::Long => Storage::Integer,
            Kind::Double | Kind::Currency | Kind::Percent => Storage::Double,
            Kind::Date => Storage::Date,
            Kind::Datetime => Storage::Datetime,
            Kind::Time => Storage::Time,
            Kind::Address => {
                let prefix = field.name.strip_suffix("Address").ok_or("an address field ends in Address")?;
                let parts = ADDRESS_PARTS
                    .iter()
                    .filter_map(|(suffix, key)| Some((*key, *names.get(&format!("{prefix}{suffix}").to_lowercase())?)));
                Storage::Address(parts.collect())
            }
            _ => Storage::Text,
        };
        Ok((storage, targets))
    }
}

impl FieldDef {
    /// Compound data, which the Bulk API refuses.
    pub(crate) fn is_compound(&self) -> bool {
        self.kind == Kind::Address
    }

    /// Whether a client may write it.
    pub(crate) fn writable(&self) -> bool {
        !self.system && self.derived.is_none() && !self.is_compound()
    }

    /// Long text and compound data can be neither filtered nor sorted.
    pub(crate) fn filterable(&self) -> bool {
        !(self.is_compound() || (self.kind == Kind::Textarea && self.length > 255))
    }

    /// Values are text to SOQL.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.storage, Storage::Text | Storage::Name { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_objects_are_whole() {
        let schema = Schema::built_in().unwrap();
        let contact = &schema.objects[schema.find("contact").unwrap()];
        assert_eq!(contact.find("EMAIL"), contact.find("Email"));
        let account = &contact.fields[contact.relationship("account").unwrap()];
        assert_eq!(account.name, "AccountId");
        assert_eq!(account.storage, Storage::Row);
        assert_eq!(account.targets, vec![schema.find("Account").unwrap()]);
        let address = &contact.fields[contact.find("MailingAddress").unwrap()];
        assert!(matches!(&address.storage, Storage::Address(parts) if parts.len() == 8), "{:?}", address.storage);
        let user = &schema.objects[schema.find("User").unwrap()];
        assert_eq!(user.fields[user.find("ProfileId").unwrap()].storage, Storage::Text);
        assert_eq!(schema.by_prefix(*b"005"), schema.find("User"));
        for object in &schema.objects {
            for field in &object.fields {
                let compound = field.compound.as_ref().map(|name| object.find(name));
                assert_ne!(compound, Some(None), "{}.{}", object.name, field.name);
            }
        }
    }
}
