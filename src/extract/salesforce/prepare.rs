//! From what a job asks for to a query and the schema of its answer.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use chrono::Utc;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::datatypes::SchemaRef;

use crate::config::check_condition;
use crate::config::nearest;
use crate::connect::salesforce::Describe;
use crate::connect::salesforce::FieldDescribe;
use crate::connect::salesforce::SalesforceClient;
use crate::error::Error;
use crate::error::Result;

use super::soql::Filter;
use super::soql::Literal;
use super::soql::Operator;
use super::soql::Soql;
use super::types;
use super::types::Readable;

/// Fields that say when a row last changed, best first.
const CURSORS: [&str; 4] = ["SystemModstamp", "LastModifiedDate", "CreatedDate", "LoginTime"];

/// SOQL goes up at most five levels.
const LEVELS: usize = 5;

/// What is wanted of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRequest {
    /// API name of the object.
    pub object: String,
    /// Fields and paths to parents' fields.
    pub fields: Vec<String>,
    /// SOQL condition.
    pub condition: Option<String>,
    /// Rows that changed at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Rows that changed before this time.
    pub until: Option<DateTime<Utc>>,
}

/// A query that can be run, and the schema of its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// API name of the object.
    pub object: String,
    /// The query.
    pub soql: String,
    /// One column per selected field, in the query's order; names as in SOQL, Salesforce's attributes as metadata.
    pub schema: SchemaRef,
    /// The field that says when a row last changed. Without one every read is a full read.
    pub cursor: Option<String>,
    /// Compound fields that were asked for, and the parts that are read in their place.
    pub replaced: Vec<(String, Vec<String>)>,
}

/// Where describes come from.
#[async_trait]
pub(super) trait Describes: Send + Sync {
    async fn describe(&self, object: &str) -> Result<Arc<Describe>>;
    /// Names of the objects that there are, for a suggestion.
    async fn names(&self) -> Result<Vec<String>>;
}

#[async_trait]
impl Describes for SalesforceClient {
    async fn describe(&self, object: &str) -> Result<Arc<Describe>> {
        Self::describe(self, object).await
    }

    async fn names(&self) -> Result<Vec<String>> {
        Ok(self.objects().await?.into_iter().map(|object| object.name).collect())
    }
}

/// One thing to correct.
struct Problem {
    what: String,
    hint: String,
}

/// Describes the object and the parents named in paths, checks every field and the condition, and writes the query.
///
/// Always selected: `Id`, the cursor, and `IsDeleted` where the object has it. Every problem is reported at once.
pub async fn prepare(client: &SalesforceClient, request: &SourceRequest) -> Result<Prepared> {
    prepare_with(client, request).await
}

pub(super) async fn prepare_with(describes: &dyn Describes, request: &SourceRequest) -> Result<Prepared> {
    let object = match describes.describe(&request.object).await {
        Ok(describe) => describe,
        Err(e) if is_unknown(&e) => return Err(unknown_object(describes, &request.object, e).await),
        Err(e) => return Err(e),
    };
    if !object.queryable {
        return Err(Error::config(format!("`{}` cannot be queried", object.name)).context("object", &object.name));
    }
    let mut selection = Selection {
        describes,
        object: Arc::clone(&object),
        columns: Vec::new(),
        seen: HashSet::new(),
        replaced: Vec::new(),
        problems: Vec::new(),
    };
    selection.add("Id").await?;
    for path in &request.fields {
        selection.add(path).await?;
    }
    let cursor = CURSORS
        .into_iter()
        .find(|name| object.field(name).is_some_and(|field| field.kind == "datetime" && field.filterable));
    for name in cursor.into_iter().chain(object.field("IsDeleted").map(|_| "IsDeleted")) {
        selection.add(name).await?;
    }
    if let Some(text) = &request.condition
        && let Err((what, hint)) = check_condition(text)
    {
        selection.problems.push(Problem { what, hint });
    }
    let Selection { columns, replaced, problems, .. } = selection;
    if !problems.is_empty() {
        return Err(report(&object.name, problems));
    }
    let mut soql = Soql::select(&object.name).fields(columns.iter().map(|column| column.name().as_str()));
    if let Some(text) = &request.condition {
        soql = soql.condition(text);
    }
    if let Some(cursor) = cursor {
        let bounds = [(Operator::GreaterOrEqual, request.from), (Operator::Less, request.until)];
        for (operator, bound) in bounds {
            if let Some(bound) = bound {
                soql = soql.filter(Filter::Compare(cursor.to_owned(), operator, Literal::Instant(bound)));
            }
        }
    }
    let metadata = HashMap::from([("sf.object".to_owned(), object.name.clone())]);
    Ok(Prepared {
        object: object.name.clone(),
        soql: soql.build()?,
        schema: Arc::new(Schema::new_with_metadata(columns, metadata)),
        cursor: cursor.map(str::to_owned),
        replaced,
    })
}

/// The columns chosen so far.
struct Selection<'a> {
    describes: &'a dyn Describes,
    object: Arc<Describe>,
    columns: Vec<Field>,
    seen: HashSet<String>,
    replaced: Vec<(String, Vec<String>)>,
    problems: Vec<Problem>,
}

impl Selection<'_> {
    /// Adds the column or columns of a path, or the problem with it.
    async fn add(&mut self, path: &str) -> Result<()> {
        let Some((owner, name)) = self.owner(path).await? else { return Ok(()) };
        let Some(field) = owner.field(name) else {
            self.unknown_field(path, name, &owner);
            return Ok(());
        };
        let prefix = &path[..path.len() - name.len()];
        match types::readable(field) {
            Readable::As(data_type) => self.column(path.to_owned(), field, &owner, data_type),
            Readable::Compound => self.compound(path, prefix, field, &owner),
            Readable::No => self.problems.push(Problem {
                what: format!("field `{path}` of type {} cannot be read by the Bulk API", field.kind),
                hint: format!("leave `{path}` out"),
            }),
        }
        Ok(())
    }

    /// The describe that the last name of a path belongs to, and that name. `None` after noting a problem.
    async fn owner<'p>(&mut self, path: &'p str) -> Result<Option<(Arc<Describe>, &'p str)>> {
        let mut owner = Arc::clone(&self.object);
        let mut rest = path;
        let mut level = 0;
        while let Some((step, after)) = rest.split_once('.') {
            let walked = path.len() - rest.len();
            let Some(reference) = owner.relationship(step) else {
                self.unknown_parent(path, walked, step, &owner);
                return Ok(None);
            };
            level += 1;
            if level > LEVELS {
                self.problems.push(Problem {
                    what: format!("`{path}` goes up more than {LEVELS} levels"),
                    hint: "Salesforce allows no more".to_owned(),
                });
                return Ok(None);
            }
            // Of an owner that may be a user or a queue, the fields are those that both have; a user has them all.
            let targets = &reference.reference_to;
            let target = targets.iter().find(|name| *name == "User").or(targets.first());
            let Some(target) = target else {
                self.problems.push(Problem {
                    what: format!("`{path}` goes through `{step}`, which leads nowhere that can be read"),
                    hint: format!("leave `{path}` out"),
                });
                return Ok(None);
            };
            owner = self.describes.describe(target).await?;
            rest = after;
        }
        Ok(Some((owner, rest)))
    }

    fn column(&mut self, path: String, field: &FieldDescribe, owner: &Describe, data_type: DataType) {
        if self.seen.insert(path.clone()) {
            self.columns.push(types::column(&path, field, &owner.name, data_type));
        }
    }

    fn compound(&mut self, path: &str, prefix: &str, field: &FieldDescribe, owner: &Describe) {
        let mut parts = Vec::new();
        for part in owner.parts(&field.name) {
            if let Readable::As(data_type) = types::readable(part) {
                let part_path = format!("{prefix}{}", part.name);
                parts.push(part_path.clone());
                self.column(part_path, part, owner, data_type);
            }
        }
        if parts.is_empty() {
            self.problems.push(Problem {
                what: format!("field `{path}` is a compound one, which the Bulk API does not read"),
                hint: format!("leave `{path}` out; the user of this login sees none of its parts"),
            });
        } else {
            self.replaced.push((path.to_owned(), parts));
        }
    }

    fn unknown_field(&mut self, path: &str, name: &str, owner: &Describe) {
        let fields = owner.fields.iter().map(|field| field.name.as_str());
        let prefix = &path[..path.len() - name.len()];
        let hint = match nearest(name, fields) {
            Some(near) => format!("did you mean `{prefix}{near}`? Names are case-sensitive here"),
            None => "check the API name (custom fields end in `__c`) and that the user of this login may see the field"
                .to_owned(),
        };
        self.problems.push(Problem { what: format!("`{name}` is not a field of `{}`", owner.name), hint });
    }

    fn unknown_parent(&mut self, path: &str, walked: usize, step: &str, owner: &Describe) {
        let (prefix, suffix) = (&path[..walked], &path[walked + step.len()..]);
        let by_field = owner.field(step).and_then(|field| field.relationship_name.as_deref());
        let parents = owner.fields.iter().filter_map(|field| field.relationship_name.as_deref());
        let hint = match by_field.or_else(|| nearest(step, parents)) {
            Some(near) => format!("did you mean `{prefix}{near}{suffix}`? Names are case-sensitive here"),
            None => "paths use the relationship's name: `Owner` for `OwnerId`, `Parent__r` for `Parent__c`".to_owned(),
        };
        self.problems
            .push(Problem { what: format!("`{step}` in `{path}` leads to no parent of `{}`", owner.name), hint });
    }
}

fn report(object: &str, mut problems: Vec<Problem>) -> Error {
    if problems.len() == 1
        && let Some(only) = problems.pop()
    {
        return Error::config(only.what).hint(only.hint).context("object", object);
    }
    let mut text = format!("reading `{object}` has {} problems", problems.len());
    for Problem { what, hint } in &problems {
        text.push_str(&format!("\n  × {what}\n    hint: {hint}"));
    }
    Error::config(text).context("object", object)
}

fn is_unknown(error: &Error) -> bool {
    error.places().iter().any(|(key, value)| {
        (*key == "code" && (value == "NOT_FOUND" || value == "INVALID_TYPE")) || (*key == "status" && value == "404")
    })
}

async fn unknown_object(describes: &dyn Describes, object: &str, cause: Error) -> Error {
    // If not even the list can be read, or has the name, the object is not what is wrong.
    let Ok(names) = describes.names().await else { return cause };
    if names.iter().any(|name| name == object) {
        return cause;
    }
    let error = Error::config(format!("there is no object `{object}`, or the user of this login may not see it"))
        .context("object", object);
    match nearest(object, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("check the API name (custom objects end in `__c`) and the user's permissions"),
    }
    .source(cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    struct Org;

    #[async_trait]
    impl Describes for Org {
        async fn describe(&self, object: &str) -> Result<Arc<Describe>> {
            let audit = json!([
                {"name": "Id", "type": "id", "length": 18},
                {"name": "Name", "type": "string", "length": 255, "label": "Account Name"},
                {"name": "SystemModstamp", "type": "datetime"},
                {"name": "IsDeleted", "type": "boolean"}
            ]);
            let own = match object {
                "Account" => json!([
                    {"name": "OwnerId", "type": "reference", "relationshipName": "Owner", "referenceTo": ["User"]},
                    {"name": "ParentId", "type": "reference", "relationshipName": "Parent", "referenceTo": ["Account"]},
                    {"name": "AnnualRevenue", "type": "currency", "precision": 18, "scale": 2},
                    {"name": "NumberOfEmployees", "type": "int", "digits": 8},
                    {"name": "BillingAddress", "type": "address"},
                    {"name": "BillingStreet", "type": "textarea", "compoundFieldName": "BillingAddress"},
                    {"name": "BillingLatitude", "type": "double", "compoundFieldName": "BillingAddress"},
                    {"name": "Photo", "type": "base64"}
                ]),
                "Case" => json!([
                    {"name": "OwnerId", "type": "reference", "relationshipName": "Owner",
                     "referenceTo": ["Group", "User"], "polymorphicForeignKey": true}
                ]),
                "User" => json!([{"name": "Email", "type": "email", "length": 80}]),
                _ => return Err(Error::config("no").context("code", "NOT_FOUND")),
            };
            let mut fields = audit.as_array().cloned().unwrap();
            if object == "User" {
                fields.retain(|field| field["name"] != "IsDeleted");
            }
            fields.extend(own.as_array().cloned().unwrap());
            Ok(Arc::new(serde_json::from_value(json!({"name": object, "fields": fields})).unwrap()))
        }

        async fn names(&self) -> Result<Vec<String>> {
            Ok(vec!["Account".into(), "Contact".into()])
        }
    }

    fn request(object: &str, fields: &[&str]) -> SourceRequest {
        SourceRequest {
            object: object.into(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            condition: None,
            from: None,
            until: None,
        }
    }

    async fn prepared(request: &SourceRequest) -> Result<Prepared> {
        prepare_with(&Org, request).await
    }

    #[tokio::test]
    async fn a_query_selects_what_was_asked_and_what_is_always_needed() {
        let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc));
        let request = SourceRequest {
            condition: Some("Type = 'a' OR Type = 'b'".into()),
            from: time("2026-01-01T00:00:00Z"),
            until: time("2026-01-02T00:00:00Z"),
            ..request("Account", &["Id", "Name", "AnnualRevenue", "NumberOfEmployees", "Owner.Email", "Name"])
        };
        let prepared = prepared(&request).await.unwrap();
        assert_eq!(
            prepared.soql,
            "SELECT Id, Name, AnnualRevenue, NumberOfEmployees, Owner.Email, SystemModstamp, IsDeleted FROM Account \
             WHERE (Type = 'a' OR Type = 'b') AND SystemModstamp >= 2026-01-01T00:00:00.000Z \
             AND SystemModstamp < 2026-01-02T00:00:00.000Z"
        );
        let types: Vec<_> = prepared.schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(types, ["Utf8", "Utf8", "Decimal128(18, 2)", "Int32", "Utf8", "Timestamp(µs, \"UTC\")", "Boolean"]);
        let email = prepared.schema.field_with_name("Owner.Email").unwrap();
        assert_eq!(email.metadata()["sf.type"], "email");
        assert_eq!(email.metadata()["sf.length"], "80");
        assert_eq!(prepared.cursor.as_deref(), Some("SystemModstamp"));
    }

    #[tokio::test]
    async fn an_owner_that_may_be_a_queue_is_read_as_a_user_is() {
        let prepared = prepared(&request("Case", &["Owner.Email"])).await.unwrap();
        assert_eq!(prepared.schema.field(1).metadata()["sf.object"], "User");
    }

    #[tokio::test]
    async fn compound_fields_are_replaced_by_their_parts() {
        let prepared = prepared(&request("Account", &["BillingAddress", "Parent.BillingAddress"])).await.unwrap();
        assert!(
            prepared.soql.starts_with(
                "SELECT Id, BillingStreet, BillingLatitude, Parent.BillingStreet, Parent.BillingLatitude, "
            ),
            "{}",
            prepared.soql
        );
        assert_eq!(
            prepared.replaced[0],
            ("BillingAddress".into(), vec!["BillingStreet".into(), "BillingLatitude".into()])
        );
    }

    #[tokio::test]
    async fn all_problems_come_at_once_with_the_right_names() {
        let mut request = request(
            "Account",
            &["Nmae", "owner.Email", "OwnerId.Email", "Owner.email", "Photo", "Colour__c", "Parent.Parent.Nmae"],
        );
        request.condition = Some("Name = 'x' LIMIT 5".into());
        let error = prepared(&request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        for part in [
            "8 problems",
            "did you mean `Name`?",
            "`owner` in `owner.Email` leads to no parent of `Account`\n    hint: did you mean `Owner.Email`?",
            "`OwnerId` in `OwnerId.Email` leads to no parent of `Account`\n    hint: did you mean `Owner.Email`?",
            "`email` is not a field of `User`\n    hint: did you mean `Owner.Email`?",
            "`Photo` of type base64",
            "`Colour__c` is not a field of `Account`\n    hint: check the API name",
            "did you mean `Parent.Parent.Name`?",
            "holds LIMIT",
        ] {
            assert!(error.message().contains(part), "`{part}` is missing in: {error}");
        }
    }

    #[tokio::test]
    async fn an_unknown_object_gets_a_suggestion() {
        let error = prepared(&request("Acount", &[])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.hint_text(), Some("did you mean `Account`?"));
    }
}
