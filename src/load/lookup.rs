//! Which rows of an insert with an unknown outcome are in Gainsight: asked by key, before anything is sent again.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::connect::gainsight::DataType;
use crate::connect::gainsight::Operator;
use crate::connect::gainsight::Query;
use crate::error::Error;
use crate::error::Result;

use super::decided::Row;
use super::sender::Sender;

/// Conditions in one query where `IN` is not taken.
const ANY_OF: usize = 20;

/// The longest wait for a request that the tenant may still be working on.
const LONGEST: Duration = Duration::from_secs(5);

impl Sender {
    /// Parts rows into those whose key is in Gainsight and those whose is not. A row that is not found at once is
    /// looked for a second time: the request may still be at work.
    pub(super) async fn look_up(&self, rows: Vec<Row>) -> Result<(Vec<Row>, Vec<Row>)> {
        let keys = key_fields(&rows);
        if keys.is_empty() {
            return Err(Error::unavailable(
                "the outcome of an insert is unknown, and the job has no identifier to look it up by",
            )
            .hint("compare both sides before you run again; give the job an identifier to be safe"));
        }
        let (mut found, mut missing) = (Vec::new(), rows);
        for round in 1..=2 {
            self.pause(round, LONGEST).await;
            let present = self.present(&keys, &missing).await?;
            let parts: (Vec<Row>, Vec<Row>) =
                missing.into_iter().partition(|row| key_of(row, &keys).is_some_and(|key| present.contains(&key)));
            found.extend(parts.0);
            missing = parts.1;
            if missing.is_empty() {
                break;
            }
        }
        Ok((found, missing))
    }

    /// The keys, among those of `rows`, of records that exist.
    async fn present(&self, keys: &[usize], rows: &[Row]) -> Result<HashSet<Vec<String>>> {
        let (Some(any), Some(first)) = (rows.first(), keys.first()) else { return Ok(HashSet::new()) };
        let fields = &any.layout().fields;
        let mut values: Vec<Value> =
            rows.iter().filter_map(|row| row.cells(*first).text(row.at())).map(|text| json!(text)).collect();
        values.dedup();
        let names: Vec<&str> = keys.iter().map(|key| &*fields[*key].name).collect();
        let select = || Query::select(std::iter::once("Gsid").chain(names.iter().copied()));
        let object = self.target.primary();
        let asked = select().filter(names[0], Operator::In, values.clone());
        let answers = match self.client.try_query(object, &asked).await? {
            Ok(records) => vec![records],
            Err(_) => {
                let mut answers = Vec::new();
                for some in values.chunks(ANY_OF) {
                    let mut query = select().any();
                    for value in some {
                        query = query.filter(names[0], Operator::Eq, vec![value.clone()]);
                    }
                    answers.push(self.client.query(object, &query).await?);
                }
                answers
            }
        };
        let mut present = HashSet::new();
        for records in answers {
            for record in records.values()? {
                let key: Option<Vec<String>> = keys
                    .iter()
                    .map(|key| normal(&member(&record, &fields[*key].name)?, fields[*key].metadata.data_type))
                    .collect();
                present.extend(key);
            }
        }
        Ok(present)
    }
}

/// The fields that make up the job's key.
pub(super) fn key_fields(rows: &[Row]) -> Vec<usize> {
    let Some(row) = rows.first() else { return Vec::new() };
    row.layout().fields.iter().enumerate().filter(|(_, field)| field.identifier).map(|(at, _)| at).collect()
}

/// A row's key as it is compared; none where a part is blank.
pub(super) fn key_of(row: &Row, keys: &[usize]) -> Option<Vec<String>> {
    let fields = &row.layout().fields;
    keys.iter().map(|key| normal(&row.cells(*key).text(row.at())?, fields[*key].metadata.data_type)).collect()
}

/// Keys compare trimmed and without case, Salesforce ids by their first fifteen characters (design.md §5, ruling 4).
pub(super) fn normal(text: &str, kind: DataType) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(match kind {
        DataType::SfdcId if text.is_ascii() && text.len() >= 15 => text[..15].to_owned(),
        DataType::SfdcId | DataType::Gsid | DataType::Lookup => text.to_owned(),
        _ => text.to_lowercase(),
    })
}

pub(super) fn member(record: &Map<String, Value>, name: &str) -> Option<String> {
    let value = record
        .get(name)
        .or_else(|| record.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))?;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_as_the_rulings_say() {
        assert_eq!(normal("0015g00000AbCdEAAV", DataType::SfdcId), normal("0015g00000AbCdE", DataType::SfdcId));
        assert_eq!(normal(" Jane@X.org", DataType::Email), normal("jane@x.org", DataType::String));
        assert_ne!(normal("1P02a", DataType::Gsid), normal("1P02A", DataType::Gsid));
        assert_eq!(normal("  ", DataType::String), None);
    }
}
