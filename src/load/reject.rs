//! Rows that are not written, each with a reason that a person can act on.

use std::fmt;

use crate::connect::gainsight::CellError;

/// A row that is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The Salesforce id.
    pub source_id: String,
    /// Where it was found out.
    pub stage: Stage,
    /// The target field, where one is to blame.
    pub field: Option<String>,
    /// One of the stable codes in [`code`].
    pub code: &'static str,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Target records that compete, where that is the reason.
    pub candidates: Option<String>,
    /// What to do.
    pub remedy: String,
}

/// Where a reject was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// By the joins that give verdicts.
    Match,
    /// By checks against the tenant's metadata, before anything is sent.
    Validate,
    /// By the tenant.
    Load,
}

impl Stage {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Validate => "validate",
            Self::Load => "load",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stable codes.
pub mod code {
    /// A part of the key is empty.
    pub const BLANK_IDENTIFIER: &str = "BLANK_IDENTIFIER";
    /// Another source row with the same key won.
    pub const DUPLICATE_IN_SOURCE: &str = "DUPLICATE_IN_SOURCE";
    /// Several target records have this key.
    pub const AMBIGUOUS_TARGET: &str = "AMBIGUOUS_TARGET";
    /// The record that a lookup needs does not exist.
    pub const LOOKUP_NO_MATCH: &str = "LOOKUP_NO_MATCH";
    /// Several records fit a lookup.
    pub const LOOKUP_MULTIPLE: &str = "LOOKUP_MULTIPLE";
    /// The job only inserts, and the record exists.
    pub const ALREADY_EXISTS: &str = "ALREADY_EXISTS";
    /// The job only updates, and the record does not exist, or no longer.
    pub const NOT_FOUND: &str = "NOT_FOUND";
    /// A field that must be filled is empty.
    pub const REQUIRED_MISSING: &str = "REQUIRED_MISSING";
    /// A text is longer than its field.
    pub const VALUE_TOO_LONG: &str = "VALUE_TOO_LONG";
    /// A value does not fit its field's type.
    pub const VALUE_INVALID: &str = "VALUE_INVALID";
    /// A picklist has no such active item.
    pub const PICKLIST_UNKNOWN: &str = "PICKLIST_UNKNOWN";
    /// The tenant refused the row for another reason.
    pub const REFUSED_BY_TARGET: &str = "REFUSED_BY_TARGET";

    /// The code that is written like this.
    pub fn known(written: &str) -> Option<&'static str> {
        [
            BLANK_IDENTIFIER,
            DUPLICATE_IN_SOURCE,
            AMBIGUOUS_TARGET,
            LOOKUP_NO_MATCH,
            LOOKUP_MULTIPLE,
            ALREADY_EXISTS,
            NOT_FOUND,
            REQUIRED_MISSING,
            VALUE_TOO_LONG,
            VALUE_INVALID,
            PICKLIST_UNKNOWN,
            REFUSED_BY_TARGET,
        ]
        .into_iter()
        .find(|code| *code == written)
    }
}

/// What a person does about a code.
pub fn remedy(reject_code: &str) -> &'static str {
    match reject_code {
        code::BLANK_IDENTIFIER => "fill the field in Salesforce, or choose another identifier in the job",
        code::DUPLICATE_IN_SOURCE => "merge the duplicates in Salesforce, or choose an identifier that is unique",
        code::AMBIGUOUS_TARGET => "merge the duplicates in Gainsight, or add an identifier that tells them apart",
        code::LOOKUP_NO_MATCH => "load the record it points to; the row is tried again by itself when that exists",
        code::LOOKUP_MULTIPLE => "make the match unique, or set `on_multiple = \"any\"` in the job",
        code::ALREADY_EXISTS => "use `operation = \"upsert\"` if existing records shall be updated",
        code::NOT_FOUND => "use `operation = \"upsert\"` if missing records shall be created, or run the job again",
        code::REQUIRED_MISSING => "fill the field in Salesforce, or map another one",
        code::VALUE_TOO_LONG => "shorten the value in Salesforce, or raise the field's length in Gainsight",
        code::VALUE_INVALID => "correct the value in Salesforce, or map the field differently",
        code::PICKLIST_UNKNOWN => {
            "add or activate the item in the Gainsight picklist, or correct the value in Salesforce"
        }
        _ => "see the message; correct the record in Salesforce and run the job again",
    }
}

/// Our code for one of Gainsight's (gainsight-api §2.4, §3).
pub(super) fn code_of(gainsight: &str) -> &'static str {
    match gainsight.strip_prefix("GSOBJ_").unwrap_or(gainsight) {
        "1001" => code::VALUE_TOO_LONG,
        "1005" | "1006" | "1008" => code::VALUE_INVALID,
        "1007" => code::REQUIRED_MISSING,
        "1011" | "1004" => code::NOT_FOUND,
        "1012" => code::PICKLIST_UNKNOWN,
        other if other.starts_with("VDTPKLST") => code::PICKLIST_UNKNOWN,
        other if other.starts_with("VDT") => code::VALUE_INVALID,
        _ => code::REFUSED_BY_TARGET,
    }
}

impl Reject {
    /// A reject with the usual remedy of its code.
    pub(super) fn new(
        source_id: &str,
        stage: Stage,
        field: Option<&str>,
        reject_code: &'static str,
        message: String,
    ) -> Self {
        Self {
            source_id: source_id.to_owned(),
            stage,
            field: field.map(str::to_owned),
            code: reject_code,
            message,
            candidates: None,
            remedy: remedy(reject_code).to_owned(),
        }
    }

    /// A row that the tenant refused, in the tenant's words.
    pub(super) fn refused(source_id: &str, error: &CellError, value: Option<&str>) -> Self {
        let said = match (&*error.message, &*error.code) {
            ("", "") => "no reason given",
            ("", code) => code,
            (message, _) => message,
        };
        let said = said.trim_end_matches('.');
        let code_note = match error.code.is_empty() || error.message.is_empty() {
            true => String::new(),
            false => format!(" ({})", error.code),
        };
        let message = match (&error.field, value) {
            (Some(field), Some(value)) => {
                format!("Gainsight refused the value {} of `{field}`: {said}{code_note}", shown(value))
            }
            (Some(field), None) => format!("Gainsight refused `{field}`: {said}{code_note}"),
            (None, _) => format!("Gainsight refused the record: {said}{code_note}"),
        };
        Self::new(source_id, Stage::Load, error.field.as_deref(), code_of(&error.code), message)
    }
}

/// A value as messages show it: in quotes, on one line, cut where it is long.
pub(super) fn shown(value: &str) -> String {
    const MOST: usize = 60;
    let (text, more) = match value.char_indices().nth(MOST) {
        Some((end, _)) => (&value[..end], "…"),
        None => (value, ""),
    };
    match text.contains(char::is_control) {
        true => format!("“{}{more}”", text.replace(char::is_control, " ")),
        false => format!("“{text}{more}”"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let error = CellError {
            code: "GSOBJ_1012".into(),
            message: "Invalid/Inactive value provided for picklist.".into(),
            field: Some("Stage".into()),
            ..CellError::default()
        };
        let reject = Reject::refused("001", &error, Some("xyz"));
        assert_eq!(
            reject.message,
            "Gainsight refused the value “xyz” of `Stage`: Invalid/Inactive value provided for picklist (GSOBJ_1012)"
        );
        assert_eq!(reject.code, code::PICKLIST_UNKNOWN);
        assert!(reject.remedy.contains("picklist"));
    }

    #[test]
    fn long_values_are_cut_and_stay_on_one_line() {
        assert_eq!(shown("a\nb"), "“a b”");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 63);
    }
}
