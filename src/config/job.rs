//! A job, checked: one Salesforce source, one Gainsight target, the mappings between them.

use std::fmt;

/// A job of `pipelines/*.toml`, valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The name on the command line, such as `company_sync`.
    pub name: String,
    /// The name for people, such as `Company Sync`.
    pub title: String,
    /// The Salesforce connection that it reads.
    pub salesforce: String,
    /// The Gainsight connection that it writes.
    pub gainsight: String,
    /// Jobs that must have run before.
    pub depends_on: Vec<String>,
    /// What is read.
    pub source: Source,
    /// What is written.
    pub target: Target,
}

/// What a job reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// API name of the Salesforce object.
    pub object: String,
    /// Name of the landed table under `lake.<connection>`; the object's name in lower case by default.
    pub table: String,
    /// Fields in the order written; `Owner.Email` reaches a parent. Always starts with `Id`.
    pub fields: Vec<String>,
    /// SOQL condition, as written.
    pub condition: Option<String>,
}

/// What a job writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Which object, or pair of objects, and so which API route.
    pub object: TargetObject,
    /// What may happen to a row.
    pub operation: Operation,
    /// What a null in the source does to a filled field, where a mapping does not say otherwise.
    pub on_null: OnNull,
    /// What a deletion in Salesforce does.
    pub on_delete: OnDelete,
    /// Direct mappings in the order written.
    pub maps: Vec<FieldMap>,
    /// Derived mappings in the order written.
    pub derives: Vec<Derive>,
}

impl Target {
    /// The mappings that make up the upsert key.
    pub fn identifiers(&self) -> impl Iterator<Item = &FieldMap> {
        self.maps.iter().filter(|map| map.identifier)
    }

    /// For people, the fields of `person` by which a person is found: the tenant's key, or the job's own.
    pub fn person_key(&self) -> Vec<String> {
        self.identifiers().filter(|map| map.to.object == "person").map(|map| map.to.field.clone()).collect()
    }
}

/// The Gainsight object that a job writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetObject {
    /// `gsuser`, through user management.
    User,
    /// `person` and `company_person` together, through people management.
    People,
    /// Any other object by its API name in lower case (`company`, `usage__gc`), by object REST or bulk import.
    Object(String),
}

impl TargetObject {
    /// The object whose rows the verdicts are about: for people, the company person.
    pub fn primary(&self) -> &str {
        match self {
            Self::User => "gsuser",
            Self::People => "company_person",
            Self::Object(name) => name,
        }
    }

    /// Every object that is written.
    pub fn objects(&self) -> Vec<&str> {
        match self {
            Self::People => vec!["person", "company_person"],
            one => vec![one.primary()],
        }
    }
}

impl fmt::Display for TargetObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("gsuser"),
            Self::People => f.write_str("people"),
            Self::Object(name) => f.write_str(name),
        }
    }
}

/// A field of one of the objects that a job writes: `person.Email`, or plain `Name` for a job with one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetField {
    /// Object in lower case: `person`, `company_person`, `company`, `gsuser`, …
    pub object: String,
    /// Field's API name as written.
    pub field: String,
}

impl fmt::Display for TargetField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.object, self.field)
    }
}

/// A direct mapping: one source column to one target field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldMap {
    /// One of [`Source::fields`].
    pub from: String,
    /// Where it goes.
    pub to: TargetField,
    /// "Include in Identifiers": part of the upsert key.
    pub identifier: bool,
    /// What a null does to this field, already resolved against [`Target::on_null`].
    pub on_null: OnNull,
}

/// A derived mapping: the GSID of another record, found by matching columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Derive {
    /// The field that takes the GSID.
    pub to: TargetField,
    /// The Gainsight object searched, in lower case. The job's own object makes it a self lookup.
    pub lookup: String,
    /// One to six pairs, all of which must match.
    pub pairs: Vec<MatchPair>,
    /// When several records match.
    pub on_multiple: OnMultiple,
    /// When none matches.
    pub on_missing: OnMissing,
}

/// One condition of a derived mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchPair {
    /// One of [`Source::fields`].
    pub from: String,
    /// Field of the lookup object.
    pub to: String,
}

/// What a job may do to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Insert what is new, update what differs.
    Upsert,
    /// Insert what is new; a row that exists is a reject.
    Insert,
    /// Update what exists; a row that does not is a reject.
    Update,
}

/// What a null in the source does to a filled target field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNull {
    /// Clears it.
    Overwrite,
    /// Leaves it.
    Keep,
}

/// What a deletion in Salesforce does to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It is landed and reported; the target keeps its record.
    Ignore,
}

/// When a derived mapping finds several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMultiple {
    /// "Use any one match": always the lowest GSID.
    Any,
    /// "Mark record with an error": the row is a reject that names the candidates.
    Error,
}

/// When a derived mapping finds no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// "Insert null value(s)": clears the field.
    Null,
    /// "Reject record".
    Reject,
    /// Leaves the field as it is.
    Keep,
}

/// Where a secret's value is found when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file; a trailing line break is cut.
    File(std::path::PathBuf),
    /// The ledger's token store, by connection and name.
    Ledger(String),
}
