//! The objects of the org, read from the files in `src/sandbox/data/schema` and from a user's own.
//!
//! An object is data: a new file (and its line in [`FILES`]) is a new object, with describe, queries, bulk jobs and writes.
//!
//! # Promises
//! * A field is stored, or worked out when it is read: formulas, numbers that count up, names, addresses.
//! * A user's file may add objects and fields; all its mistakes are told at once ([`file`]).
//! * `Name` is what all parents of a polymorphic reference have in common; it can be reached by `Owner.Name` only.
//!
//! Knowingly different: what the service fills in when another field changes is not filled in (an opportunity's Probability
//! from its stage, a case's ClosedDate); ContactMobile and the like follow their contact at once. Formulas know a part of the
//! language. There are no record types, no dependent picklists, no roll-up summaries and no master-detail relationships.

mod file;
mod formula;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Error;
use crate::error::Result;
use formula::Formula;

/// The object files that are built in.
const FILES: [(&str, &str); 9] = [
    ("organization.toml", include_str!("../../data/schema/organization.toml")),
    ("user.toml", include_str!("../../data/schema/user.toml")),
    ("account.toml", include_str!("../../data/schema/account.toml")),
    ("contact.toml", include_str!("../../data/schema/contact.toml")),
    ("opportunity.toml", include_str!("../../data/schema/opportunity.toml")),
    ("case.toml", include_str!("../../data/schema/case.toml")),
    ("group.toml", include_str!("../../data/schema/group.toml")),
    ("subscription.toml", include_str!("../../data/schema/subscription.toml")),
    ("name.toml", include_str!("../../data/schema/name.toml")),
];
/// Only in orgs with several currencies.
const CURRENCY_TYPE: (&str, &str) = ("currency_type.toml", include_str!("../../data/schema/currency_type.toml"));
/// The currencies of an org with several.
pub(crate) const CURRENCIES: [&str; 6] = ["USD", "EUR", "GBP", "JPY", "CHF", "CAD"];

/// Index of an object in the schema, and of its table in the store.
pub(crate) type ObjectIndex = usize;
/// Index of a field in its object.
pub(crate) type FieldIndex = usize;

/// All objects.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) objects: Vec<ObjectDef>,
    by_name: HashMap<String, ObjectIndex>,
    /// The object `Name`.
    name_object: Option<ObjectIndex>,
}

/// What the schema is made of besides the files that are built in.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaOptions {
    /// Amounts have a currency of their own.
    pub(crate) multi_currency: bool,
    /// Files that add objects and fields.
    pub(crate) files: Vec<PathBuf>,
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
    /// Reached through references only: in no list, no describe, no query.
    #[serde(default)]
    pub(crate) hidden: bool,
    /// Its records have a CurrencyIsoCode where the org has several currencies.
    #[serde(default)]
    pub(crate) currency: bool,
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
    /// Picklist values that records may still have but not get any more.
    #[serde(default)]
    pub(crate) inactive: Vec<String>,
    /// A formula field, read-only.
    #[serde(default)]
    pub(crate) formula: Option<String>,
    /// A formula that the service works out itself without calling it one.
    #[serde(default)]
    pub(crate) computed: Option<String>,
    /// Counts up: `SUB-{00000}`.
    #[serde(default)]
    pub(crate) auto_number: Option<String>,
    /// Set when a record is made, never changed.
    #[serde(default)]
    pub(crate) create_only: bool,
    /// Value of a new record that names none; `user` on a reference means the caller.
    #[serde(default)]
    pub(crate) default: Option<String>,
    /// `name`: first and last name joined.
    #[serde(default)]
    pub(crate) derived: Option<Derived>,
    #[serde(default)]
    pub(crate) extra_type: Option<String>,
    /// The type of its values.
    #[serde(skip)]
    pub(crate) storage: Storage,
    /// How its values come about, if they are not stored.
    #[serde(skip)]
    pub(crate) worked_out: Option<WorkedOut>,
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

/// Where values come from that are not stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WorkedOut {
    Formula(Box<Formula>),
    /// Text before the number, its fewest digits, text behind it.
    Number(String, usize, String),
}

/// The type of a field's values, and where they come from.
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
    #[cfg(test)]
    pub(crate) fn built_in() -> Result<Self> {
        Self::load(&SchemaOptions::default())
    }

    /// The objects that are built in and those of the options.
    ///
    /// # Errors
    /// Config, if a user's file cannot be read or is wrong; it names every mistake. Bug, if a built-in file is wrong.
    pub(crate) fn load(options: &SchemaOptions) -> Result<Self> {
        let currency = options.multi_currency.then_some(CURRENCY_TYPE);
        let mut objects = Vec::new();
        for (file, text) in FILES.into_iter().chain(currency) {
            let object: ObjectDef = toml::from_str(text).map_err(|cause| {
                Error::bug("an object file of the Salesforce sandbox is wrong").context("file", file).source(cause)
            })?;
            objects.push(object);
        }
        let mut problems = Vec::new();
        for file in &options.files {
            file::add(&mut objects, file, &mut problems)?;
        }
        if options.multi_currency {
            for object in objects.iter_mut().filter(|object| object.currency) {
                object.fields.push(FieldDef::currency_code());
            }
        }
        let schema = Self::new(objects, &mut problems);
        if problems.is_empty() {
            return Ok(schema);
        }
        if options.files.is_empty() {
            let text = format!("the object files of the Salesforce sandbox are wrong: {}", problems.join("; "));
            return Err(Error::bug(text));
        }
        Err(file::wrong(&options.files, &problems))
    }

    fn new(mut objects: Vec<ObjectDef>, problems: &mut Vec<String>) -> Self {
        let by_name: HashMap<_, _> =
            objects.iter().enumerate().map(|(at, object)| (object.name.to_lowercase(), at)).collect();
        for object in &mut objects {
            object.complete(&by_name, problems);
        }
        let mut prefixes = HashMap::new();
        for object in &objects {
            if let Some(other) = prefixes.insert(object.prefix.clone(), object.name.clone()) {
                problems.push(format!("{}: the key prefix `{}` is that of {other}", object.name, object.prefix));
            }
        }
        let name_object = by_name.get("name").copied().filter(|at| objects[*at].hidden);
        let mut schema = Self { objects, by_name, name_object };
        for object in 0..schema.objects.len() {
            for field in 0..schema.objects[object].fields.len() {
                let definition = &schema.objects[object].fields[field];
                let Some(text) = definition.formula.as_ref().or(definition.computed.as_ref()) else { continue };
                match Formula::new(text, &schema, object) {
                    Ok(formula) => {
                        let worked_out = WorkedOut::Formula(Box::new(formula));
                        schema.objects[object].fields[field].worked_out = Some(worked_out);
                    }
                    Err(what) => {
                        let name = &schema.objects[object].name;
                        problems.push(format!("{name}.{}: formula: {what}", definition.name));
                    }
                }
            }
        }
        schema
    }

    /// The object with this name, in any case.
    pub(crate) fn find(&self, name: &str) -> Option<ObjectIndex> {
        self.by_name.get(&name.to_lowercase()).copied().filter(|at| !self.objects[*at].hidden)
    }

    /// What a step along a reference leads to: its parent's object, or `Name` where there are several.
    pub(crate) fn step(&self, field: &FieldDef) -> Option<ObjectIndex> {
        match field.targets.as_slice() {
            [] => None,
            [one] => Some(*one),
            _ => self.name_object,
        }
    }

    /// The object `Name`.
    pub(crate) fn is_name(&self, object: ObjectIndex) -> bool {
        self.name_object == Some(object)
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
        self.objects.iter().position(|object| !object.hidden && object.key_prefix() == prefix)
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
    fn complete(&mut self, objects: &HashMap<String, ObjectIndex>, problems: &mut Vec<String>) {
        let mut wrong = |field: &str, what: &str| {
            let dot = if field.is_empty() { "" } else { "." };
            problems.push(format!("{}{dot}{field}: {what}", self.name));
        };
        if self.prefix.len() != 3 || !self.prefix.bytes().all(|c| c.is_ascii_alphanumeric()) {
            wrong("", "a key prefix has three letters or digits");
        }
        let mut names: HashMap<String, FieldIndex> = HashMap::new();
        for (at, field) in self.fields.iter().enumerate() {
            if names.insert(field.name.to_lowercase(), at).is_some() {
                wrong(&field.name, "the field is there twice");
            }
        }
        if self.fields.first().is_none_or(|field| field.kind != Kind::Id) {
            wrong("", "the first field is the Id");
        }
        let mut completed = Vec::new();
        for field in &self.fields {
            let storage = self.storage(field, &names, objects);
            let number = field.auto_number.as_ref().map(|text| auto_number(text)).transpose();
            completed.push(match (storage, number) {
                (Ok((storage, targets)), Ok(number)) => (storage, targets, number),
                (storage, number) => {
                    for what in [storage.err(), number.err()].into_iter().flatten() {
                        wrong(&field.name, &what);
                    }
                    (Storage::Text, Vec::new(), None)
                }
            });
        }
        for (field, (storage, targets, number)) in self.fields.iter_mut().zip(completed) {
            field.storage = storage;
            field.targets = targets;
            field.worked_out = number;
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
            Kind::Reference if field.is_worked_out() => return Err("a reference is never worked out".to_owned()),
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
        !self.system && self.derived.is_none() && !self.is_compound() && !self.is_worked_out()
    }

    /// Whether its values are not stored, as far as the file says it.
    fn is_worked_out(&self) -> bool {
        self.formula.is_some() || self.computed.is_some() || self.auto_number.is_some()
    }

    /// A field of a kind, with everything else as it is when a file says nothing.
    fn plain(name: &str, label: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            length: 0,
            precision: 0,
            scale: 0,
            digits: 0,
            nillable: true,
            system: false,
            compound: None,
            relationship: None,
            child_relationship: None,
            reference_to: Vec::new(),
            cascade_delete: false,
            unique: false,
            external_id: false,
            id_lookup: false,
            case_sensitive: false,
            name_field: false,
            restricted: false,
            values: Vec::new(),
            inactive: Vec::new(),
            formula: None,
            computed: None,
            auto_number: None,
            create_only: false,
            default: None,
            derived: None,
            extra_type: None,
            storage: Storage::Text,
            worked_out: None,
            targets: Vec::new(),
        }
    }

    fn currency_code() -> Self {
        Self {
            length: 3,
            restricted: true,
            values: CURRENCIES.iter().map(|code| (*code).to_owned()).collect(),
            default: Some(CURRENCIES[0].to_owned()),
            ..Self::plain("CurrencyIsoCode", "Currency ISO Code", Kind::Picklist)
        }
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

/// `SUB-{00000}`: the text before the number, its fewest digits, the text behind it.
fn auto_number(text: &str) -> Result<WorkedOut, String> {
    let parts = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (digits, behind))) if !digits.is_empty() && digits.bytes().all(|c| c == b'0') => {
            Ok(WorkedOut::Number(before.to_owned(), digits.len(), behind.to_owned()))
        }
        _ => Err("a number that counts up is written like `SUB-{00000}`".to_owned()),
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
