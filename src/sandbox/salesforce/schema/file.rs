//! A user's schema file: objects and fields that the org has besides its own.
//!
//! ```toml
//! [[object]]                       # a new object; Id, Name, owner and audit fields come by themselves
//! name = "Project__c"
//! label = "Project"                # optional, like plural and prefix
//! fields = [
//!   { name = "Ext__c", label = "External Id", type = "string", length = 40, external_id = true, unique = true },
//!   { name = "Account__c", label = "Account", type = "reference", reference_to = ["Account"] },
//!   { name = "Budget__c", label = "Budget", type = "currency", precision = 16, scale = 2 },
//!   { name = "Half__c", label = "Half", type = "currency", precision = 16, scale = 2, formula = "Budget__c / 2" },
//! ]
//!
//! [[object]]                       # fields for an object that is there
//! name = "Account"
//! fields = [{ name = "Tier__c", label = "Tier", type = "picklist", values = ["A", "B"], default = "A" }]
//! ```
//!
//! # Promises
//! * All mistakes of all files are told at once, each with its object and field.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Value;

use super::FieldDef;
use super::Kind;
use super::ObjectDef;
use crate::error::Error;
use crate::error::Result;

/// What an object may say besides its fields.
const MEMBERS: [&str; 7] = ["name", "label", "plural", "prefix", "name_label", "auto_number", "fields"];

/// Adds what a file declares and notes what is wrong with it.
///
/// # Errors
/// Config, if the file cannot be read or is not TOML.
pub(super) fn add(objects: &mut Vec<ObjectDef>, file: &Path, problems: &mut Vec<String>) -> Result<()> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|cause| {
        Error::config("the schema file of the Salesforce sandbox cannot be read")
            .context("file", shown.clone())
            .hint("give the path of a TOML file with [[object]] tables")
            .source(cause)
    })?;
    let whole: toml::Table = text.parse().map_err(|cause: toml::de::Error| {
        Error::config(format!("the schema file of the Salesforce sandbox is not TOML: {}", cause.message()))
            .context("file", shown)
            .source(cause)
    })?;
    for name in whole.keys().filter(|name| *name != "object") {
        problems.push(format!("`{name}` is not known; a schema file consists of [[object]] tables"));
    }
    match whole.get("object") {
        Some(Value::Array(all)) => {
            for one in all {
                object(objects, one, problems);
            }
        }
        Some(_) => problems.push("`object` is written as a list of tables: [[object]]".to_owned()),
        None => problems.push("it declares no object; write [[object]] tables".to_owned()),
    }
    Ok(())
}

/// All mistakes as one failure.
pub(super) fn wrong(files: &[PathBuf], problems: &[String]) -> Error {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let count = match problems.len() {
        1 => "one mistake".to_owned(),
        several => format!("{several} mistakes"),
    };
    let text = format!("the schema file has {count}:\n  {}", problems.join("\n  "));
    Error::config(text)
        .context("file", names.join(", "))
        .hint("the README's section on the sandbox shows a schema file")
}

fn object(objects: &mut Vec<ObjectDef>, value: &Value, problems: &mut Vec<String>) {
    let Some(table) = value.as_table() else {
        problems.push("an object is a table: [[object]]".to_owned());
        return;
    };
    let text = |member: &str| table.get(member).and_then(Value::as_str).map(str::to_owned);
    let Some(name) = text("name") else {
        problems.push("an object has no `name`".to_owned());
        return;
    };
    for member in table.keys().filter(|member| !MEMBERS.contains(&member.as_str())) {
        problems.push(format!("{name}: `{member}` is not known; an object has {}", MEMBERS.join(", ")));
    }
    let fields = fields(&name, table.get("fields"), problems);
    if let Some(known) = objects.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&name) && !known.hidden) {
        for field in &fields {
            custom(&name, &field.name, problems);
        }
        known.fields.extend(fields);
        return;
    }
    custom("", &name, problems);
    let label = text("label").unwrap_or_else(|| name.trim_end_matches("__c").replace('_', " "));
    for field in &fields {
        custom(&name, &field.name, problems);
    }
    let mut all = around(&label, text("name_label"), text("auto_number"));
    all.extend(fields);
    objects.push(ObjectDef {
        plural: text("plural").unwrap_or_else(|| format!("{label}s")),
        prefix: text("prefix").unwrap_or_else(|| free_prefix(objects)),
        name,
        label,
        createable: true,
        updateable: true,
        deletable: true,
        hidden: false,
        currency: true,
        fields: all,
        by_name: std::collections::HashMap::new(),
        by_relationship: std::collections::HashMap::new(),
    });
}

/// Objects and fields of users end in `__c`.
fn custom(object: &str, name: &str, problems: &mut Vec<String>) {
    let stem = name.strip_suffix("__c").unwrap_or_default();
    let good = stem.starts_with(|c: char| c.is_ascii_alphabetic())
        && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 43;
    if !good {
        let dot = if object.is_empty() { "" } else { "." };
        problems.push(format!(
            "{object}{dot}{name}: a custom name has letters, digits and underscores, at most 40 of them, and ends in __c"
        ));
    }
}

fn fields(object: &str, value: Option<&Value>, problems: &mut Vec<String>) -> Vec<FieldDef> {
    let Some(Value::Array(all)) = value else {
        problems.push(format!("{object}: `fields` is missing or not a list"));
        return Vec::new();
    };
    let mut fields = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let name = one.get("name").and_then(Value::as_str);
        let name = name.map_or_else(|| format!("field {}", at + 1), str::to_owned);
        match FieldDef::deserialize(one.clone()) {
            Ok(field) => fields.push(completed(object, field, problems)),
            Err(cause) => problems.push(format!("{object}.{name}: {}", cause.message())),
        }
    }
    fields
}

/// What a user need not write, and what only the service's own fields have.
fn completed(object: &str, mut field: FieldDef, problems: &mut Vec<String>) -> FieldDef {
    let mut wrong = |what: &str| problems.push(format!("{object}.{}: {what}", field.name));
    if field.system || field.derived.is_some() || field.compound.is_some() || field.computed.is_some() {
        wrong("`system`, `derived`, `compound` and `computed` are for the org's own fields");
    }
    let text = matches!(field.kind, Kind::String | Kind::Textarea);
    match field.kind {
        Kind::Id | Kind::Address => wrong("a custom field cannot have this type"),
        Kind::String if field.length > 255 => wrong("a text has at most 255 characters; use type = \"textarea\""),
        Kind::Textarea if field.length > 131_072 => wrong("a long text has at most 131072 characters"),
        Kind::Picklist | Kind::Multipicklist if field.values.is_empty() && field.formula.is_none() => {
            wrong("a picklist needs `values`");
        }
        Kind::Double | Kind::Currency | Kind::Percent if field.precision > 18 || field.scale > field.precision => {
            wrong("a number has at most 18 digits, and no more of them behind the point (`precision`, `scale`)");
        }
        _ => {}
    }
    if (field.external_id || field.unique) && !matches!(field.kind, Kind::String | Kind::Email | Kind::Double) {
        wrong("an external id or a unique field is a string, an email or a double");
    }
    if let (Some(default), false) = (&field.default, field.values.is_empty())
        && !field.values.contains(default)
    {
        wrong("the default is not one of the values");
    }
    if text && field.length == 0 {
        field.length = if field.kind == Kind::String { 255 } else { 32_768 };
    }
    if matches!(field.kind, Kind::Picklist | Kind::Multipicklist | Kind::Url) && field.length == 0 {
        field.length = if field.kind == Kind::Multipicklist { 4099 } else { 255 };
    }
    if field.kind == Kind::Email && field.length == 0 {
        field.length = 80;
    }
    if field.kind == Kind::Phone && field.length == 0 {
        field.length = 40;
    }
    if matches!(field.kind, Kind::Double | Kind::Currency | Kind::Percent) && field.precision == 0 {
        field.precision = 18;
        field.scale = if field.kind == Kind::Double { 0 } else { 2 };
    }
    if field.kind == Kind::Reference && field.relationship.is_none() {
        field.relationship = field.name.strip_suffix("__c").map(|stem| format!("{stem}__r"));
    }
    if let (Kind::Reference, None) = (field.kind, &field.child_relationship) {
        let stem = object.strip_suffix("__c").unwrap_or(object);
        field.child_relationship = Some(format!("{stem}s__r"));
    }
    field
}

/// The fields that every custom object has.
fn around(label: &str, name_label: Option<String>, auto_number: Option<String>) -> Vec<FieldDef> {
    let system = |field: FieldDef| FieldDef { system: true, nillable: false, ..field };
    let user = |name: &str, label: &str, way: &str| FieldDef {
        reference_to: vec!["User".to_owned()],
        relationship: Some(way.to_owned()),
        ..FieldDef::plain(name, label, Kind::Reference)
    };
    let name_label = name_label.unwrap_or_else(|| format!("{label} Name"));
    // Without a name the service gives a record its id as one; a required name would refuse rows that have none.
    let name = FieldDef {
        length: 80,
        name_field: true,
        id_lookup: true,
        auto_number,
        ..FieldDef::plain("Name", &name_label, Kind::String)
    };
    vec![
        system(FieldDef::plain("Id", "Record ID", Kind::Id)),
        FieldDef { nillable: false, default: Some("user".to_owned()), ..user("OwnerId", "Owner ID", "Owner") },
        system(FieldDef::plain("IsDeleted", "Deleted", Kind::Boolean)),
        name,
        system(FieldDef::plain("CreatedDate", "Created Date", Kind::Datetime)),
        system(user("CreatedById", "Created By ID", "CreatedBy")),
        system(FieldDef::plain("LastModifiedDate", "Last Modified Date", Kind::Datetime)),
        system(user("LastModifiedById", "Last Modified By ID", "LastModifiedBy")),
        system(FieldDef::plain("SystemModstamp", "System Modstamp", Kind::Datetime)),
    ]
}

/// The next prefix of custom objects that nobody has: a00, a01, …
fn free_prefix(objects: &[ObjectDef]) -> String {
    let mut all = (0..1296u32).map(|number| {
        let digit = |value: u32| char::from_digit(value, 36).unwrap_or('0');
        format!("a{}{}", digit(number / 36), digit(number % 36))
    });
    all.find(|prefix| objects.iter().all(|object| object.prefix != *prefix)).unwrap_or_default()
}
