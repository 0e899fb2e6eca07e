//! The codes and texts of refused values in the object API, the people API and the users API
//! (gainsight-api §2.3, §2.4, §3 and §4).

use axum::http::StatusCode;
use serde_json::Value as Json;
use serde_json::json;

use super::cell::Fault;
use super::cell::Reason;
use super::reply::INVALID_FIELD;
use super::reply::INVALID_ID;
use super::reply::NO_ENTITY;
use super::reply::Reply;

/// Code, message of the single error, and message of the whole call.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) desc: String,
}

/// In the object API.
pub(super) fn object_words(fault: &Fault) -> Words {
    let (code, message) = match fault.reason {
        Reason::TooLong => ("GSOBJ_1001", "Field exceeds maximum allowed length"),
        Reason::NotNullable | Reason::Missing => ("GSOBJ_1007", "Invalid field value"),
        Reason::Percentage => ("GSOBJ_1008", "Failed to parse value as percentage."),
        Reason::Currency | Reason::CurrencyComma => ("GSOBJ_1008", "Failed to parse value as currency."),
        Reason::Email => ("GSOBJ_1008", "Failed to parse value as email."),
        Reason::Url => ("GSOBJ_1008", "Failed to parse value as url."),
        Reason::SfdcId => ("GSOBJ_1008", "Failed to parse value as sfdc id."),
        Reason::Lookup | Reason::NoCompany => ("GSOBJ_1008", "Failed to resolve lookup."),
        Reason::Picklist => ("GSOBJ_1012", "Invalid/Inactive value provided for picklist."),
        Reason::Boolean => {
            let message = format!("Invalid Boolean Value: {}", fault.shown());
            let desc = format!("{message} ({} = {})", fault.field, fault.shown());
            return Words { code: "GSOBJ_1008", message, desc };
        }
        // The page's own sample says "dateTime" in the one place and "dateTimes" in the other.
        Reason::Date | Reason::DateTime => {
            let code = if fault.reason == Reason::Date { "GSOBJ_1006" } else { "GSOBJ_1005" };
            let desc = format!("Invalid dateTimes format ({} = {}).", fault.field, fault.shown());
            return Words { code, message: "Invalid dateTime format".to_owned(), desc };
        }
        Reason::Gsid => return plain("GSOBJ_1004", INVALID_ID),
        Reason::NoMatch => return plain("GSOBJ_1011", NO_ENTITY),
        _ => ("GSOBJ_1002", INVALID_FIELD),
    };
    Words { code, message: message.to_owned(), desc: format!("{message} ({} = {}).", fault.field, fault.shown()) }
}

fn plain(code: &'static str, text: &str) -> Words {
    Words { code, message: text.to_owned(), desc: text.to_owned() }
}

/// The refusal of a whole object call: the first fault speaks for it.
pub(super) fn object_refusal(records: &[Vec<Fault>]) -> Reply {
    let Some(first) = records.iter().flatten().next() else { return Reply::bad("GSOBJ_1002", INVALID_FIELD) };
    let words = object_words(first);
    // The key order is that of the live bodies; serde_json alone would sort the keys.
    let mut data = b"{\"count\":0,\"errors\":".to_vec();
    write_object_errors(records, &mut data);
    data.extend_from_slice(b",\"records\":null}");
    Reply::fail(StatusCode::BAD_REQUEST, words.code, words.desc, data)
}

/// Appends `data.errors` in the key order of the live bodies.
pub(super) fn write_object_errors(records: &[Vec<Fault>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, faults) in records.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",[" } else { b"[" });
        for (at, fault) in faults.iter().enumerate() {
            let words = object_words(fault);
            let text = format!(
                r#"{}{{"success":false,"parsedValue":{value},"errors":[{{"errorMessage":{message},"errorCode":"{code}","fieldName":{field},"invalidValue":{value}}}]}}"#,
                if at > 0 { "," } else { "" },
                value = fault.value,
                message = Json::from(words.message),
                code = words.code,
                field = Json::from(fault.field.as_str()),
            );
            out.extend_from_slice(text.as_bytes());
        }
        out.push(b']');
    }
    out.push(b']');
}

/// In the people API. The prefix `GSOBJ_` is assumed on all of them (§3).
pub(super) fn people_words(fault: &Fault) -> Words {
    let (code, message) = match fault.reason {
        Reason::NoMatch => ("GSOBJ_PEOPLE1001", "Person does not exist"),
        Reason::Boolean => ("GSOBJ_VDTBOOL1001", "Invalid boolean value"),
        Reason::Number => ("GSOBJ_VDTNUM1001", "Invalid number value"),
        Reason::NumberRange => ("GSOBJ_VDTNUM1002", "Number value is out of range"),
        Reason::TooLong => ("GSOBJ_VDTBSTR1001", "String value exceeds maximum allowed length"),
        Reason::WrongType => ("GSOBJ_VDTBSTR1001", "Invalid string value"),
        Reason::Date | Reason::DateTime => ("GSOBJ_VDTDATIME1001", "Invalid date time value"),
        Reason::Currency => ("GSOBJ_VDTCURREN1001", "Invalid currency value"),
        Reason::CurrencyComma => ("GSOBJ_VDTCURREN1002", "Currency value has a thousands separator"),
        Reason::Email | Reason::Missing => ("GSOBJ_VDTEMAIL1001", "Invalid email value"),
        Reason::Gsid => ("GSOBJ_VDTGSID1001", "Invalid GSID value"),
        Reason::NoCompany => ("GSOBJ_VDTGSID1001", "Company does not exist"),
        Reason::Lookup => ("GSOBJ_VDTGSID1001", "Lookup could not be resolved"),
        Reason::Percentage => ("GSOBJ_VDTPERCENT1001", "Invalid percentage value"),
        Reason::SfdcId => ("GSOBJ_VDTSFDCID1001", "SFDC id must be 15 or 18 alphanumeric characters"),
        Reason::Picklist => ("GSOBJ_VDTPKLST1002", "Picklist item not found"),
        Reason::Url => ("GSOBJ_VDTURL1001", "Invalid url value"),
        Reason::NotNullable => ("GSOBJ_VCRUDR1003", "Field info is null"),
        _ => ("GSOBJ_VCRUDR1002", "Fields do not exist in object"),
    };
    Words { code, message: message.to_owned(), desc: format!("{message} ({} = {}).", fault.field, fault.shown()) }
}

/// One refused value as the people API lists it.
pub(super) fn people_error(fault: &Fault, row: Option<usize>) -> Json {
    let words = people_words(fault);
    let mut error = json!({
        "fieldName": fault.field, "value": fault.value, "errorCode": words.code, "message": words.message,
    });
    if let (Some(row), Some(map)) = (row, error.as_object_mut()) {
        map.insert("rowNumber".to_owned(), row.into());
    }
    error
}

/// The refusal of a single person.
pub(super) fn people_refusal(faults: &[Fault]) -> Reply {
    let Some(first) = faults.first() else { return Reply::bad("GSOBJ_VCRUDR1001", "Row info is null") };
    let words = people_words(first);
    let errors: Vec<Json> = faults.iter().map(|fault| people_error(fault, None)).collect();
    Reply::fail(StatusCode::BAD_REQUEST, words.code, words.desc, json!({"errors": errors}).to_string().into_bytes())
}

/// In the users API: `general` is `GU_2401` for a create and `GU_2402` for an update.
pub(super) fn user_words(fault: &Fault, general: &'static str) -> Words {
    let (code, message) = match fault.reason {
        Reason::Duplicate => ("GU_2411", "A user with this value exists already".to_owned()),
        Reason::OwnManager => ("GU_2410", "User cannot be own manager".to_owned()),
        Reason::Key => ("GU_2409", "Key is not supported".to_owned()),
        Reason::LookupConfiguration => ("GU_2403", "Lookup configuration is invalid".to_owned()),
        Reason::Missing => (general, "Mandatory field is missing".to_owned()),
        Reason::NoMatch => (general, "No user matches the given key".to_owned()),
        _ => (general, object_words(fault).message),
    };
    Words { code, desc: format!("{message} ({} = {}).", fault.field, fault.shown()), message }
}

/// `data.errors` of the users API: one flat list (`errors[].errorMessage`, §4).
pub(super) fn user_errors(records: &[Vec<Fault>], general: &'static str) -> Json {
    let list = records.iter().flatten().map(|fault| {
        let words = user_words(fault, general);
        json!({"success": false, "errorMessage": words.message, "errorCode": words.code,
               "fieldName": fault.field, "invalidValue": fault.value})
    });
    Json::Array(list.collect())
}
