//! What Salesforce says about its objects. Attributes that are not used are not read, unknown ones are no error.

use serde::Deserialize;

/// One object of the list of all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    /// API name.
    pub name: String,
    /// Name for people.
    #[serde(default)]
    pub label: String,
    /// Whether it can be queried.
    #[serde(default)]
    pub queryable: bool,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Describe {
    /// API name.
    pub name: String,
    /// Name for people.
    #[serde(default)]
    pub label: String,
    /// Whether it can be queried.
    #[serde(default = "yes")]
    pub queryable: bool,
    /// Fields that the user may see.
    pub fields: Vec<FieldDescribe>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDescribe {
    /// API name.
    pub name: String,
    /// Name for people.
    #[serde(default)]
    pub label: String,
    /// `string`, `reference`, `currency`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Characters of text.
    #[serde(default)]
    pub length: u32,
    /// Digits of a decimal number.
    #[serde(default)]
    pub precision: u32,
    /// Digits behind its point.
    #[serde(default)]
    pub scale: u32,
    /// Digits of an integer.
    #[serde(default)]
    pub digits: u32,
    /// Whether it may be empty. Not to be relied on.
    #[serde(default)]
    pub nillable: bool,
    /// Whether it is a formula or roll-up, which can change without moving SystemModstamp.
    #[serde(default)]
    pub calculated: bool,
    /// Whether conditions may name it.
    #[serde(default = "yes")]
    pub filterable: bool,
    /// Whether it is unique to the org's own schema.
    #[serde(default)]
    pub custom: bool,
    /// Whether it is an external id.
    #[serde(default)]
    pub external_id: bool,
    /// Whether its values are unique.
    #[serde(default)]
    pub unique: bool,
    /// The compound field that it is a part of.
    #[serde(default)]
    pub compound_field_name: Option<String>,
    /// What a path to the parent's fields begins with: `Owner` for `OwnerId`.
    #[serde(default)]
    pub relationship_name: Option<String>,
    /// Objects that a reference may point at.
    #[serde(default)]
    pub reference_to: Vec<String>,
    /// Whether a reference points at objects of several kinds.
    #[serde(default, rename = "polymorphicForeignKey")]
    pub polymorphic: bool,
}

impl Describe {
    /// The field of this name, in its exact case.
    pub fn field(&self, name: &str) -> Option<&FieldDescribe> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The reference that begins paths with this name.
    pub fn relationship(&self, name: &str) -> Option<&FieldDescribe> {
        self.fields.iter().find(|field| field.relationship_name.as_deref() == Some(name))
    }

    /// The parts of a compound field.
    pub fn parts<'a>(&'a self, compound: &'a str) -> impl Iterator<Item = &'a FieldDescribe> + 'a {
        self.fields
            .iter()
            .filter(move |field| field.compound_field_name.as_deref() == Some(compound) && field.name != compound)
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_another_version_is_read() {
        let text = r#"{"name":"Account","label":"Account","futureAttribute":{"x":1},"fields":[
            {"name":"OwnerId","type":"reference","relationshipName":"Owner","referenceTo":["User"],"newThing":null},
            {"name":"BillingCity","type":"string","compoundFieldName":"BillingAddress","relationshipName":null}]}"#;
        let describe: Describe = serde_json::from_str(text).unwrap();
        assert_eq!(describe.relationship("Owner").unwrap().name, "OwnerId");
        assert_eq!(describe.parts("BillingAddress").count(), 1);
        assert!(describe.queryable && describe.fields[0].filterable);
    }
}
