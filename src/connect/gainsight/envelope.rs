//! What Gainsight answers: one envelope for success and failure.
//!
//! # Promises
//! * `result: false` is a failure whatever the HTTP status says; so is a status of 400 and above.
//! * Refused cells are found in every shape seen: arrays of arrays, flat lists, and row lists of people's status.

use std::ops::Range;

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;

/// An answer with its status, parsed as far as the envelope.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// What went wrong, if anything did.
    pub(super) failure: Option<Failure>,
    body: Bytes,
    /// `data` within `body`.
    data: Option<Range<usize>>,
    /// `data.records` within `body`, where it was read in the same pass.
    records: Option<Range<usize>>,
}

/// A failure as Gainsight words it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// `GSOBJ_1012`, `GS_APIG_2401`, …; empty where the answer has none.
    pub code: String,
    /// The sentence that came with it.
    pub description: String,
    /// Gainsight's id of the request, for its support.
    pub request_id: Option<String>,
    /// The cells that were refused, as far as the answer names any.
    pub errors: Vec<CellError>,
}

/// One refused cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CellError {
    /// Error code, such as `GSOBJ_1012`.
    pub code: String,
    /// The sentence.
    pub message: String,
    /// The field, where named.
    pub field: Option<String>,
    /// The value, where given: a scalar, or an array for picklists.
    pub invalid_value: Option<Value>,
    /// Place of the record in the request, where given (people's status), counted from 0.
    pub row: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Envelope<'a> {
    result: Option<Value>,
    error_code: Option<Value>,
    error_desc: Option<String>,
    request_id: Option<String>,
    message: Option<Value>,
    title: Option<String>,
    detail: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The usual answer to a query; every other shape goes through [`Envelope`].
#[derive(Deserialize)]
struct Success<'a> {
    result: bool,
    #[serde(borrow)]
    data: Held<'a>,
}

#[derive(Deserialize)]
struct Held<'a> {
    #[serde(borrow)]
    records: Option<&'a RawValue>,
}

/// Where a part of a body stands in it.
fn place(body: &Bytes, part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.get().len()
}

impl Answer {
    /// Reads an answer's body.
    pub(super) fn parse(status: StatusCode, body: Bytes) -> Self {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&body) else {
            let failure = Some(Failure {
                status: status.as_u16(),
                code: String::new(),
                description: match status.is_success() {
                    true => "the answer is not JSON".to_owned(),
                    false => plain_text(&body),
                },
                request_id: None,
                errors: Vec::new(),
            });
            return Self { status, failure, body, data: None, records: None };
        };
        let data = envelope.data.filter(|data| data.get() != "null").map(|data| place(&body, data));
        let said_no = match &envelope.result {
            Some(Value::Bool(result)) => !result,
            Some(Value::String(result)) => result.eq_ignore_ascii_case("false"),
            _ => false,
        };
        let failure = (said_no || !status.is_success()).then(|| Failure {
            status: status.as_u16(),
            code: match envelope.error_code {
                Some(Value::String(code)) => code,
                Some(Value::Null) | None => envelope.title.unwrap_or_default(),
                Some(other) => other.to_string(),
            },
            description: [envelope.error_desc, envelope.detail, envelope.message.as_ref().map(text_of)]
                .into_iter()
                .flatten()
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
            request_id: envelope.request_id,
            errors: envelope.data.map(|data| cell_errors(data.get())).unwrap_or_default(),
        });
        Self { status, failure, body, data, records: None }
    }

    /// Reads the answer to a query: where it is a success with `data.records`, one pass finds them.
    pub(super) fn parse_records(status: StatusCode, body: Bytes) -> Self {
        let records = match serde_json::from_slice::<Success<'_>>(&body) {
            // A list in place of `data` would be read as an object's values in order; records are a list themselves.
            Ok(Success { result: true, data: Held { records: Some(records) } })
                if status.is_success() && records.get().starts_with('[') =>
            {
                Some(place(&body, records))
            }
            _ => None,
        };
        match records {
            Some(_) => Self { status, failure: None, body, data: None, records },
            None => Self::parse(status, body),
        }
    }

    /// `data.records` as raw JSON, where [`Self::parse_records`] found it.
    pub(super) fn records(&self) -> Option<Bytes> {
        self.records.clone().map(|range| self.body.slice(range))
    }

    /// `data` as raw JSON; `null` is none.
    pub(super) fn data(&self) -> Option<Bytes> {
        self.data.clone().map(|range| self.body.slice(range))
    }

    /// Whether this is a refusal for quota, in any of its wordings (gainsight-api §9).
    pub(super) fn is_over_quota(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.failure.as_ref().is_some_and(|failure| matches!(&*failure.code, "GS_APIG_2404" | "GU_2400"))
    }
}

impl Failure {
    /// Whether the request may or may not have been carried out.
    pub fn outcome_unknown(&self) -> bool {
        self.status >= 500
    }

    /// Whether the query found nothing, which one of the documented shapes words as a failure (gainsight-api §2.5).
    pub fn is_nothing_found(&self) -> bool {
        matches!(&*self.code, "GSOBJ_1011" | "GSOBJ_1XXX")
            || self.description.contains("No data found for given criteria")
    }

    /// Whether the object does not exist in the tenant.
    pub fn is_unknown_object(&self) -> bool {
        self.code == "OBJECT_NOT_FOUND" || self.description.to_ascii_lowercase().contains("requested object not found")
    }

    /// The failure of doing `what`, told by what the reader must do.
    pub fn into_error(self, what: &str) -> Error {
        let said = match (&*self.code, &*self.description) {
            ("", "") => format!("HTTP {}", self.status),
            ("", text) => format!("HTTP {}: {text}", self.status),
            (code, "") => code.to_owned(),
            (code, text) => format!("{code}: {text}"),
        };
        let message = format!("Gainsight would not {what}: {said}");
        let error = match (&*self.code, self.status) {
            ("GS_APIG_2402", _) => Error::access(message)
                .hint("add this machine's address to the IP allow list of the tenant's API connection"),
            ("GS_APIG_2401" | "GSOBJ_1024", _) | (_, 401 | 403) => {
                Error::access(message).hint("check the access key or the M2M credentials of the Gainsight connection")
            }
            ("GS_APIG_1000", _) | (_, 404) => {
                Error::config(message).hint("check the `url` of the Gainsight connection")
            }
            ("GS_APIG_2404" | "GU_2400", _) | (_, 408 | 429 | 500..) => {
                Error::unavailable(message).hint("run the same command again; it resumes")
            }
            _ if self.is_unknown_object() => {
                Error::config(message).hint("check the object's API name, or whether this tenant has it")
            }
            _ => Error::config(message),
        };
        match self.request_id {
            Some(id) => error.context("request", id),
            None => error,
        }
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A short reading of an answer that is not JSON, such as a proxy's HTML page.
fn plain_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut plain = String::new();
    let mut in_tag = false;
    for letter in text.chars().take(2_000) {
        match letter {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                plain.push(' ');
            }
            _ if !in_tag => plain.push(letter),
            _ => {}
        }
    }
    plain.split_whitespace().take(20).collect::<Vec<_>>().join(" ")
}

/// Every refused cell that `json` names, whatever the nesting.
pub(super) fn cell_errors(json: &str) -> Vec<CellError> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_str::<Value>(json) {
        // Only what stands under `errors` counts: `records` echo what was sent.
        match &value {
            Value::Object(object) => {
                if let Some(errors) = object.get("errors") {
                    collect(errors, None, &mut found);
                }
            }
            other => collect(other, None, &mut found),
        }
    }
    found
}

fn collect(value: &Value, parsed: Option<&Value>, found: &mut Vec<CellError>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, parsed, found)),
        Value::String(message) => found.push(CellError { message: message.clone(), ..CellError::default() }),
        Value::Object(object) => {
            if let Some(nested) = object.get("errors").filter(|nested| nested.as_array().is_some_and(|a| !a.is_empty()))
            {
                return collect(nested, object.get("parsedValue"), found);
            }
            let text = |names: &[&str]| {
                names.iter().find_map(|name| object.get(*name)).map(text_of).filter(|text| !text.is_empty())
            };
            let (code, message) = (text(&["errorCode", "code"]), text(&["errorMessage", "message", "errorDesc"]));
            if code.is_none() && message.is_none() {
                return;
            }
            found.push(CellError {
                code: code.unwrap_or_default(),
                message: message.unwrap_or_default(),
                field: text(&["fieldName", "field"]),
                invalid_value: ["invalidValue", "value"]
                    .iter()
                    .find_map(|name| object.get(*name))
                    .or(parsed)
                    .filter(|value| !value.is_null())
                    .cloned(),
                row: ["rowNumber", "row", "index"]
                    .iter()
                    .find_map(|name| object.get(*name))
                    .and_then(Value::as_u64)
                    .and_then(|row| usize::try_from(row).ok()),
            });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::parse(StatusCode::from_u16(status).unwrap(), Bytes::from(body.to_owned()))
    }

    #[test]
    fn a_false_result_in_a_200_is_a_failure() {
        let answer =
            answer(200, r#"{"result":false,"errorCode":"GSOBJ_1XXX","errorDesc":"No data found for given criteria"}"#);
        assert!(answer.failure.as_ref().unwrap().is_nothing_found());
        assert!(!answer.failure.unwrap().outcome_unknown());
    }

    #[test]
    fn data_is_the_raw_bytes() {
        let answer =
            answer(200, r#"{"result":true,"errorCode":null,"data":{"records":[{"Gsid":"1P02"}]},"message":null}"#);
        assert!(answer.failure.is_none());
        assert_eq!(answer.data().unwrap(), r#"{"records":[{"Gsid":"1P02"}]}"#);
    }

    #[test]
    fn records_are_found_in_one_pass_and_everything_else_in_two() {
        let read = |body: &str| Answer::parse_records(StatusCode::OK, Bytes::from(body.to_owned()));
        let usual = read(r#"{"result":true,"errorCode":null,"data":{"total":1,"records":[{"Gsid":"1P02"}]}}"#);
        assert_eq!(usual.records().unwrap(), r#"[{"Gsid":"1P02"}]"#);
        let list = read(r#"{"result":true,"data":[{"Gsid":"1P02"}]}"#);
        assert_eq!((list.records(), list.data().unwrap().len()), (None, 17));
        assert!(read(r#"{"result":false,"data":{"records":[]}}"#).failure.is_some());
        assert!(read(r#"{"result":true,"data":null}"#).failure.is_none());
    }

    #[test]
    fn refused_cells_are_read_from_the_documented_and_the_flatter_shapes() {
        let nested = r#"{"count":0,"errors":[[{"success":false,"parsedValue":["xyz"],"errors":[{"errorMessage":"Invalid/Inactive value provided for picklist.","errorCode":"GSOBJ_1012","fieldName":"Stage","invalidValue":["xyz"]}]}],
            [{"success":false,"errors":[{"errorMessage":"Invalid dateTime format","errorCode":"GSOBJ_1006","fieldName":"RenewalDate","invalidValue":210318}]}]],"records":null}"#;
        let errors = cell_errors(nested);
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[0].field.as_deref(), Some("Stage"));
        assert_eq!(errors[0].invalid_value, Some(serde_json::json!(["xyz"])));
        assert_eq!(errors[1].invalid_value, Some(serde_json::json!(210318)));
        let flat = cell_errors(r#"{"errors":[{"errors":[{"fieldName":"Name","errorMessage":"too long"}]}]}"#);
        assert_eq!((flat[0].field.as_deref(), &*flat[0].message), (Some("Name"), "too long"));
        let users = cell_errors(r#"{"errors":[{"errorMessage":"Email is taken"}],"records":[{"message":"echo"}]}"#);
        assert_eq!(users.len(), 1);
        let people = cell_errors(
            r#"{"errors":[{"rowNumber":3,"fieldName":"Email","value":"x","errorCode":"GSOBJ_VDTEMAIL1001","message":"bad"}]}"#,
        );
        assert_eq!(people[0].row, Some(3));
        assert_eq!(people[0].invalid_value, Some(serde_json::json!("x")));
    }

    #[test]
    fn failures_say_what_to_do() {
        let kind = |status, body: &str| answer(status, body).failure.unwrap().into_error("read `company`").kind();
        assert_eq!(kind(401, r#"{"result":false,"errorCode":"GS_APIG_2401"}"#), ErrorKind::Access);
        assert_eq!(kind(200, r#"{"result":false,"errorCode":"GS_APIG_2402"}"#), ErrorKind::Access);
        assert_eq!(kind(502, "<html><body>Bad Gateway</body></html>"), ErrorKind::Unavailable);
        assert_eq!(kind(400, r#"{"result":false,"errorCode":"GSOBJ_1002"}"#), ErrorKind::Config);
        assert!(answer(200, r#"{"result":false,"errorCode":"GU_2400"}"#).is_over_quota());
    }
}
