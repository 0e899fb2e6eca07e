//! Every cell against the tenant's metadata, before anything is sent: one bad cell would cost its whole batch.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::filter_record_batch;

use crate::config::job::Job;
use crate::config::job::TargetObject;
use crate::connect::gainsight::DataType as GsType;
use crate::connect::gainsight::ObjectMetadata;
use crate::error::Result;

use super::cells::Cells;
use super::cells::split_items;
use super::decided::Act;
use super::decided::Decided;
use super::decided::Layout;
use super::decided::SetField;
use super::reject::Reject;
use super::reject::Stage;
use super::reject::code;
use super::reject::shown;

/// Checks the rows that are to be inserted or updated. Gives back the batch without those that cannot be, and why.
///
/// Checked are: length in characters, picklist items (active ones), Salesforce ids, e-mail addresses, ids of records,
/// and fields that must be filled. Of an update only the changed fields count.
pub fn validate(
    batch: &RecordBatch,
    job: &Job,
    metadata: &BTreeMap<String, Arc<ObjectMetadata>>,
) -> Result<(RecordBatch, Vec<Reject>)> {
    let layout = Arc::new(Layout::new(&batch.schema(), job, metadata)?);
    let decided = Decided::new(batch, &layout)?;
    let found = check(&decided, &job.target.object);
    if found.is_empty() {
        return Ok((batch.clone(), Vec::new()));
    }
    let bad: HashSet<usize> = found.iter().map(|(row, _)| *row).collect();
    let good: BooleanArray = (0..batch.num_rows()).map(|row| Some(!bad.contains(&row))).collect();
    Ok((filter_record_batch(batch, &good)?, found.into_iter().map(|(_, reject)| reject).collect()))
}

/// The first problem of each row that has one, in the order of the rows.
pub(super) fn check(decided: &Decided, target: &TargetObject) -> Vec<(usize, Reject)> {
    let (mut found, mut has_one) = (Vec::new(), vec![false; decided.rows()]);
    for (at, field) in decided.layout.fields.iter().enumerate() {
        let cells = &decided.cells[at];
        let test = Test::new(field, target);
        for row in test.suspects(cells).unwrap_or_else(|| (0..decided.rows()).collect()) {
            let Some(act) = decided.act(row) else { continue };
            let counts = decided.counting(row).has(at) && (field.object != "person" || decided.wins(row));
            let key = test.always && field.object != "person";
            if !(counts || key) || has_one[row] {
                continue;
            }
            if let Some((code, message)) = test.problem(cells, row, act) {
                let reject =
                    Reject::new(decided.source_id.value(row), Stage::Validate, Some(&field.target), code, message);
                found.push((row, reject));
                has_one[row] = true;
            }
        }
    }
    found.sort_unstable_by_key(|(row, _)| *row);
    found
}

/// What one field demands.
struct Test<'a> {
    field: &'a SetField,
    /// Must be filled on insert.
    required: bool,
    /// May not be cleared by an update.
    keeps_filled: bool,
    /// Sent with every row.
    always: bool,
    longest: Option<usize>,
    items: Option<HashSet<&'a str>>,
}

impl<'a> Test<'a> {
    fn new(field: &'a SetField, target: &TargetObject) -> Self {
        let meta = &field.metadata;
        // The user and people calls have demands of their own (gainsight-api §3, §4).
        let demanded = match target {
            TargetObject::User => matches!(&*meta.name, "Email" | "SFDCUserName"),
            TargetObject::People => field.object == "person" && meta.name == "Email",
            TargetObject::Object(_) => false,
        };
        // Nobody works nowhere: a company person needs its company.
        let company = *target == TargetObject::People && field.object == "company_person" && meta.name == "Company_ID";
        let has_length = matches!(
            meta.data_type,
            GsType::String
                | GsType::Email
                | GsType::Url
                | GsType::RichText
                | GsType::Gsid
                | GsType::Lookup
                | GsType::Other
        );
        let items = matches!(meta.data_type, GsType::Picklist | GsType::MultiSelect)
            .then(|| meta.options.iter().filter(|option| option.active).flat_map(|o| [&*o.label, &*o.gsid]).collect());
        Self {
            field,
            required: meta.required || !meta.nillable || demanded || company,
            keeps_filled: !meta.nillable || demanded,
            always: demanded,
            longest: meta.length.filter(|_| has_length).map(|length| length as usize),
            items,
        }
    }

    /// The rows that may have a problem, where a quick look at the column tells them; `None`: any.
    fn suspects(&self, cells: &Cells) -> Option<Vec<usize>> {
        if self.required || self.items.is_some() {
            return None;
        }
        match (cells, self.field.metadata.data_type) {
            (Cells::Text(_), GsType::SfdcId | GsType::Email | GsType::Gsid | GsType::Lookup) => None,
            // No text has more characters than bytes.
            (Cells::Text(texts), _) => Some(self.longest.map_or_else(Vec::new, |longest| longer(texts, longest))),
            _ => Some(Vec::new()),
        }
    }

    fn problem(&self, cells: &Cells, row: usize, act: Act) -> Option<(&'static str, String)> {
        let name = &self.field.target;
        if cells.is_empty(row) {
            return match act {
                Act::Insert if self.required => {
                    Some((code::REQUIRED_MISSING, format!("`{name}` must be filled in a new record, and is empty")))
                }
                Act::Update if self.keeps_filled => {
                    Some((code::REQUIRED_MISSING, format!("`{name}` may not be empty, and the source has no value")))
                }
                _ => None,
            };
        }
        let Cells::Text(texts) = cells else { return None };
        let text = texts.value(row);
        if let Some(items) = &self.items {
            let one = [text];
            let parts: Vec<&str> = if self.field.is_list() { split_items(text).collect() } else { one.to_vec() };
            let unknown = parts.into_iter().find(|part| !items.contains(part))?;
            let inactive = self.field.metadata.options.iter().any(|option| option.label == unknown);
            let what = if inactive { "an inactive item" } else { "no item" };
            return Some((code::PICKLIST_UNKNOWN, format!("{} is {what} of the picklist `{name}`", shown(unknown))));
        }
        if let Some(longest) = self.longest
            && text.len() > longest
        {
            let length = text.chars().count();
            if length > longest {
                let message = format!("`{name}` takes {longest} characters, and {} has {length}", shown(text));
                return Some((code::VALUE_TOO_LONG, message));
            }
        }
        let wrong = match self.field.metadata.data_type {
            GsType::SfdcId if !is_sfdc_id(text) => "a Salesforce id of 15 or 18 letters and digits",
            GsType::Email if !is_email(text) => "an e-mail address",
            GsType::Gsid | GsType::Lookup if !is_gsid(text) => "the id of a Gainsight record",
            _ => return None,
        };
        Some((code::VALUE_INVALID, format!("{} in `{name}` is not {wrong}", shown(text))))
    }
}

/// The texts of more than so many bytes.
fn longer(texts: &StringArray, bytes: usize) -> Vec<usize> {
    let lengths = texts.value_offsets().windows(2).map(|pair| usize::try_from(pair[1] - pair[0]).unwrap_or(usize::MAX));
    lengths.enumerate().filter(|(_, length)| *length > bytes).map(|(row, _)| row).collect()
}

fn is_sfdc_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// 36 letters and digits (gainsight-api §7).
fn is_gsid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// One `@` between something and a domain, no blanks: what no server takes is found, what one may take is not refused.
fn is_email(text: &str) -> bool {
    match text.split_once('@') {
        Some((local, domain)) => {
            !local.is_empty()
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains('@')
                && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::samples;

    #[test]
    fn each_bad_cell_is_found_with_its_reason() {
        let (batch, job, metadata) = samples::companies(&[
            ("insert", "Good", Some("0015g00000AbCdEAAV"), Some("Adopting"), None),
            ("insert", &"é".repeat(251), None, None, None),
            ("insert", "Bad stage", None, Some("xyz"), None),
            ("insert", "Bad id", Some("0015g"), None, None),
            ("update", "Old value stays", Some("0015g"), None, Some("company.Name")),
            ("unchanged", "Not looked at", Some("0015g"), None, None),
            ("insert", &"é".repeat(250), None, None, None),
        ]);
        let (good, rejects) = validate(&batch, &job, &metadata).unwrap();
        assert_eq!(good.num_rows(), 4);
        let found: Vec<_> = rejects.iter().map(|r| (&*r.source_id, r.code, r.field.as_deref().unwrap())).collect();
        assert_eq!(
            found,
            [
                ("s1", code::VALUE_TOO_LONG, "company.Name"),
                ("s2", code::PICKLIST_UNKNOWN, "company.Stage"),
                ("s3", code::VALUE_INVALID, "company.SfdcAccountId"),
            ]
        );
        assert!(rejects[0].message.contains("takes 250 characters") && rejects[0].message.contains("has 251"));
    }

    #[test]
    fn addresses() {
        for good in ["a@b.co", "o'brien+x@sub.example.com", "müller@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.co", "a@", "a@b", "a b@c.de", "a@b@c.de", "a@.de"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
