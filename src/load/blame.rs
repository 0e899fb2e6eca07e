//! Which rows a refusal is about. Gainsight names the field and the value, but no row (gainsight-api §2.3).

use serde_json::Value;

use crate::connect::gainsight::CellError;
use crate::connect::gainsight::Refusal;

use super::cells::Cells;
use super::cells::split_items;
use super::decided::Row;
use super::reject::Reject;
use super::reject::Stage;
use super::reject::code;
use super::reject::code_of;

/// What a refused unit consists of: one row, or the rows of one person.
pub(super) fn rows_of(row: &Row) -> &[Row] {
    std::slice::from_ref(row)
}

/// Parts units into those that an error is about, with the first such error, and the others.
pub(super) fn by_error<T>(
    units: Vec<T>,
    errors: &[CellError],
    rows: impl Fn(&T) -> &[Row],
) -> (Vec<(T, CellError)>, Vec<T>) {
    let (mut blamed, mut others) = (Vec::new(), Vec::new());
    for (at, unit) in units.into_iter().enumerate() {
        let error = errors.iter().find(|error| match error.row {
            Some(row) => row == at,
            None => rows(&unit).iter().any(|row| carries(row, error)),
        });
        match error {
            Some(error) => blamed.push((unit, error.clone())),
            None => others.push(unit),
        }
    }
    (blamed, others)
}

/// Whether a row holds the refused value in the refused field.
pub(super) fn carries(row: &Row, error: &CellError) -> bool {
    let Some(name) = &error.field else { return false };
    if name.eq_ignore_ascii_case("Gsid") {
        return matches!((&error.invalid_value, row.gsid()), (Some(Value::String(value)), Some(gsid)) if value == gsid);
    }
    let sent = row.counting();
    row.layout().fields.iter().enumerate().any(|(at, field)| {
        field.name.eq_ignore_ascii_case(name)
            && (sent.has(at) || field.identifier)
            && holds(row.cells(at), row.at(), error.invalid_value.as_ref())
    })
}

fn holds(cells: &Cells, row: usize, value: Option<&Value>) -> bool {
    let text = cells.text(row);
    match (value, text) {
        (None | Some(Value::Null), text) => text.is_none(),
        (Some(_), None) => false,
        (Some(Value::Array(items)), Some(text)) => items
            .iter()
            .filter_map(Value::as_str)
            .any(|item| item == text || split_items(&text).any(|part| part == item)),
        (Some(Value::String(value)), Some(text)) => {
            *value == text || value.trim() == text.trim() || same_number(value, &text)
        }
        (Some(Value::Number(value)), Some(text)) => same_number(&value.to_string(), &text),
        (Some(Value::Bool(value)), Some(text)) => text == if *value { "true" } else { "false" },
        (Some(Value::Object(_)), Some(_)) => false,
    }
}

fn same_number(one: &str, other: &str) -> bool {
    matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if one == other)
}

/// The reject of an update whose record is not there.
pub(super) fn not_found(row: &Row) -> Reject {
    let message = format!("the record {} is no longer in Gainsight", row.gsid().unwrap_or("without an id"));
    Reject::new(row.source_id(), Stage::Load, Some("Gsid"), code::NOT_FOUND, message)
}

/// The reject of a row that an error is about.
pub(super) fn reject(row: &Row, error: &CellError) -> Reject {
    let about_id = error.field.as_deref().is_some_and(|field| field.eq_ignore_ascii_case("Gsid"));
    if about_id && row.gsid().is_some() && code_of(&error.code) == code::NOT_FOUND {
        return not_found(row);
    }
    let value = error.field.as_ref().and_then(|name| {
        let at = row.layout().fields.iter().position(|field| field.name.eq_ignore_ascii_case(name))?;
        row.cells(at).text(row.at())
    });
    Reject::refused(row.source_id(), error, value.as_deref())
}

/// The reject of a row that was refused alone.
pub(super) fn reject_whole(row: &Row, refusal: &Refusal) -> Reject {
    match refusal.errors.first() {
        Some(error) => reject(row, error),
        None => {
            let error =
                CellError { code: refusal.code.clone(), message: refusal.description.clone(), ..CellError::default() };
            reject(row, &error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::load::decided::Decided;
    use crate::load::decided::Layout;
    use crate::load::samples;

    #[test]
    fn rows_are_found_by_field_and_value() {
        let (batch, job, metadata) = samples::companies(&[
            ("insert", "A", None, Some("xyz"), None),
            ("insert", "xyz", None, Some("Adopting"), None),
            ("insert", "C", None, None, None),
            ("update", "D", None, Some("xyz"), Some("company.Name")),
        ]);
        let layout = Arc::new(Layout::new(&batch.schema(), &job, &metadata).unwrap());
        let decided = Arc::new(Decided::new(&batch, &layout).unwrap());
        let rows: Vec<_> = (0..4).map(|at| Row::new(&decided, at)).collect();
        let error = |field: &str, value: Option<Value>| CellError {
            field: Some(field.to_owned()),
            invalid_value: value,
            ..CellError::default()
        };
        let blamed = |error: CellError| {
            let (blamed, _) = by_error(rows.clone(), &[error], rows_of);
            blamed.iter().map(|(row, _)| row.source_id().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(blamed(error("stage", Some(json!(["xyz"])))), ["s0"]);
        assert_eq!(blamed(error("Name", Some(json!("xyz")))), ["s1"]);
        assert_eq!(blamed(error("Stage", None)), ["s2"]);
        assert_eq!(blamed(error("Gsid", Some(json!("000000000000000000000000000000000003")))), ["s3"]);
        assert!(blamed(error("Arr", Some(json!(1)))).is_empty());
        assert!(same_number("12.50", "12.5") && !same_number("a", "a"));
    }
}
