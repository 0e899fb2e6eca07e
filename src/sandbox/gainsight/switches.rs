//! The points that Gainsight documents nowhere, as named switches.
//!
//! Defaults follow gainsight-api §12 (the item is named at each switch). They are set at the start
//! ([`TenantOptions::switches`](super::TenantOptions)) or while the tenant runs: `PUT /__sandbox/switches` with the
//! ones to change, `GET /__sandbox/switches` shows all. A client must survive every setting.

use serde::Deserialize;
use serde::Serialize;

/// How dates come back from reads (item 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dates {
    /// `2024-02-05T07:17:16Z` and `2024-02-05`, as live clients see them.
    #[default]
    Iso,
    /// Milliseconds since 1970, as the pages print them.
    EpochMs,
}

/// What `data` of a read holds (item 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadShape {
    /// `{"records": […]}`.
    #[default]
    Records,
    /// The bare list, as the Company and Custom pages print it.
    List,
}

/// The answer to a read that finds nothing (item 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyRead {
    /// 200 with no records.
    #[default]
    Records,
    /// 400 `GSOBJ_1011`.
    #[serde(rename = "gsobj-1011")]
    Gsobj1011,
}

/// An update call in which some records match nothing (item 3). None matching is always `GSOBJ_1011`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnmatchedRows {
    /// The others are updated, these are listed in `errors`.
    #[default]
    Partial,
    /// The whole call is refused.
    AllOrNothing,
}

/// What a call with one bad user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserErrors {
    /// The whole call is refused, as in the object API.
    #[default]
    WholeCall,
    /// Good users are written, bad ones are listed in `errors`.
    Partial,
}

/// The quota that `/people/async` uses (item 29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeopleAsyncClass {
    /// 10 an hour, 100 a day.
    #[default]
    Bulk,
    /// The synchronous calls' minute and day.
    Sync,
}

/// An empty CSV cell of a bulk row that updates a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyCells {
    /// The field keeps its value.
    #[default]
    Ignore,
    /// The field becomes null.
    Clear,
}

/// An update row that matches several records (item 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeveralMatches {
    /// All of them are updated.
    #[default]
    UpdateAll,
    /// The oldest is updated.
    UpdateFirst,
    /// 400.
    Refuse,
}

/// The same key twice in one call or file (items 6 and 26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepeatedKeys {
    /// In order, so that the last wins.
    #[default]
    LastWins,
    /// Refused: the call, or each repeated row of a bulk file.
    Refuse,
}

/// What a null in a write does (item 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nulls {
    /// Clears the field, or is refused with `GSOBJ_1007` where it is not nullable.
    #[default]
    Clear,
    /// As if the field were absent.
    Ignore,
}

/// What `""` in a STRING does (item 10); in other types it is always null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptyTexts {
    /// It is kept.
    #[default]
    Keep,
    /// It is null.
    Null,
}

/// Deleting an id that no record has (§2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UnknownId {
    /// `GSOBJ_1011`.
    #[default]
    #[serde(rename = "gsobj-1011")]
    Gsobj1011,
    /// `GSOBJ_1004`.
    #[serde(rename = "gsobj-1004")]
    Gsobj1004,
}

/// A bulk file with bad rows (item 24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkRows {
    /// Good rows load.
    #[default]
    Partial,
    /// One bad row fails all; no row is loaded.
    AllOrNothing,
}

/// A token request with wrong credentials (item 38).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFailure {
    /// 401 with the gateway's body.
    #[default]
    Gateway,
    /// 401 with `{"error":"invalid_client"}`.
    Oauth,
}

/// Writing a read-only or an unknown field, or a column that a bulk job does not know (item 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwanted {
    /// 400 `GSOBJ_1002`.
    #[default]
    Refuse,
    /// As if it were not there.
    Ignore,
}

/// Every undocumented point. Names on the wire are in kebab case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Switches {
    /// Item 12: dates as ISO text or epoch milliseconds.
    pub dates: Dates,
    /// Item 12: a null date is read as `""` instead of `null`. Default off.
    pub empty_text_for_null_dates: bool,
    /// Item 13: what an empty read answers.
    pub empty_read: EmptyRead,
    /// Item 14: the shape of `data` in reads.
    pub read_shape: ReadShape,
    /// Rows of a query without a `limit`. Default and most 5000.
    pub default_query_limit: usize,
    /// Operators are refused on types for which the page does not list them (`IN` is taken on all but dates and
    /// booleans, as the page's own samples use it so). Default on.
    pub strict_operators: bool,
    /// `IN` is taken on texts and ids; the page's lists name it for numbers only. Default on.
    pub in_for_texts: bool,
    /// `CONTAINS`, `STARTS_WITH`, `ENDS_WITH` and `DOES_NOT_CONTAINS` ignore case. Default off.
    pub text_operators_ignore_case: bool,
    /// Item 20: the highest `offset`; none by default.
    pub max_offset: Option<usize>,
    /// Item 21: parentheses in `expression` are read. Default on.
    pub parentheses: bool,
    /// Item 32: names of objects and fields ignore letter case. Default on.
    pub names_ignore_case: bool,
    /// Item 2: the code for more than 50 records. Default `GSOBJ_1002`.
    pub too_many_records_code: String,
    /// Item 3: update rows without a match.
    pub unmatched_rows: UnmatchedRows,
    /// Item 4: update rows with several matches, in the object API and in bulk.
    pub several_matches: SeveralMatches,
    /// Items 6 and 26: one key twice.
    pub repeated_keys: RepeatedKeys,
    /// Item 5: fields that no two records share, such as `company.SfdcAccountId`. Default none.
    pub unique_fields: Vec<String>,
    /// Item 7: unknown fields in a write.
    pub unknown_fields: Unwanted,
    /// Item 9: nulls in JSON writes.
    pub nulls: Nulls,
    /// Item 10: `""` in a STRING.
    pub empty_texts: EmptyTexts,
    /// §2.6: deleting what is not there.
    pub delete_unknown_id: UnknownId,
    /// Item 38: wrong credentials at the token endpoint.
    pub token_failure: TokenFailure,
    /// Item 8: read-only fields in a write.
    pub read_only_fields: Unwanted,
    /// §2.2 lists String, GSID, Number and Email as key types; on: SFDCID counts as a String. Default on.
    pub sfdcid_keys: bool,
    /// A raw GSID in a lookup must be that of a record. Default on.
    pub raw_lookups_must_exist: bool,
    /// §10: the object API checks the form of e-mail addresses and URLs as the people API does. Default on.
    pub object_api_checks_formats: bool,
    /// Item 35: deleting a record that a lookup with rule `NONE` points to is refused with `GSOBJ_1003`. Default on.
    pub referenced_delete_refused: bool,
    /// A bad user in a call of 50.
    pub user_errors: UserErrors,
    /// Item 28: the fields that tell whether two persons are one; trimmed, letter case ignored. Default `["Email"]`.
    pub person_key: Vec<String>,
    /// Item 29: the quota of `/people/async`.
    pub people_async_class: PeopleAsyncClass,
    /// How many status polls of a people job say `IN_PROGRESS` before the result is told. Default 0.
    pub people_async_polls: u32,
    /// Item 22: the name of the last column of the failed rows' file. Default `ERROR_MESSAGE`.
    pub bulk_error_column: String,
    /// Item 37: what separates the values of a multi-select in CSV. Default `;`.
    pub multi_select_separator: char,
    /// Item 24: a file with bad rows.
    pub bulk_rows: BulkRows,
    /// An empty cell in a bulk row that updates.
    pub bulk_empty_cells: EmptyCells,
    /// A bulk file's column that the job does not map.
    pub bulk_unknown_columns: Unwanted,
    /// How many status polls of a bulk run say `IN_PROGRESS` before `COMPLETED` is told. Default 0.
    pub bulk_polls: u32,
    /// Item 15: a 429 carries `Retry-After`. Default off.
    pub retry_after: bool,
    /// Item 16: refused calls and 429s use up the quota. Default on.
    pub failed_calls_count: bool,
    /// Item 18: the longest JSON body in bytes; more is a 413. Default 10 MB.
    pub json_body_limit: usize,
    /// §1.1: the caller's address is on the key's allow list. Off: 403 `GS_APIG_2402`. Default on.
    pub address_allowed: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            dates: Dates::Iso,
            empty_text_for_null_dates: false,
            empty_read: EmptyRead::Records,
            read_shape: ReadShape::Records,
            default_query_limit: 5000,
            strict_operators: true,
            in_for_texts: true,
            text_operators_ignore_case: false,
            max_offset: None,
            parentheses: true,
            names_ignore_case: true,
            too_many_records_code: "GSOBJ_1002".to_owned(),
            unmatched_rows: UnmatchedRows::Partial,
            several_matches: SeveralMatches::UpdateAll,
            repeated_keys: RepeatedKeys::LastWins,
            unique_fields: Vec::new(),
            unknown_fields: Unwanted::Refuse,
            nulls: Nulls::Clear,
            empty_texts: EmptyTexts::Keep,
            delete_unknown_id: UnknownId::Gsobj1011,
            token_failure: TokenFailure::Gateway,
            read_only_fields: Unwanted::Refuse,
            sfdcid_keys: true,
            raw_lookups_must_exist: true,
            object_api_checks_formats: true,
            referenced_delete_refused: true,
            user_errors: UserErrors::WholeCall,
            person_key: vec!["Email".to_owned()],
            people_async_class: PeopleAsyncClass::Bulk,
            people_async_polls: 0,
            bulk_error_column: "ERROR_MESSAGE".to_owned(),
            multi_select_separator: ';',
            bulk_rows: BulkRows::Partial,
            bulk_empty_cells: EmptyCells::Ignore,
            bulk_unknown_columns: Unwanted::Refuse,
            bulk_polls: 0,
            retry_after: false,
            failed_calls_count: true,
            json_body_limit: 10_000_000,
            address_allowed: true,
        }
    }
}

impl Switches {
    /// These switches with the named ones changed, or a sentence saying what is wrong.
    pub(super) fn with(&self, changes: &serde_json::Value) -> Result<Self, String> {
        let mut all = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let (Some(all_map), Some(changes)) = (all.as_object_mut(), changes.as_object()) else {
            return Err("switches are a JSON object of name and value".to_owned());
        };
        for (name, value) in changes {
            all_map.insert(name.replace('_', "-"), value.clone());
        }
        let new: Self = serde_json::from_value(all).map_err(|error| error.to_string())?;
        if new.default_query_limit == 0 || new.default_query_limit > 5000 {
            return Err("default-query-limit is 1 to 5000".to_owned());
        }
        if new.person_key.is_empty() {
            return Err("person-key names at least one field".to_owned());
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_changed_and_the_others_stay() {
        let changed = Switches::default()
            .with(&serde_json::json!({"dates": "epoch-ms", "empty_read": "gsobj-1011", "retry-after": true}))
            .unwrap();
        assert_eq!(changed.dates, Dates::EpochMs);
        assert_eq!(changed.empty_read, EmptyRead::Gsobj1011);
        assert!(changed.retry_after && changed.strict_operators);
        assert!(Switches::default().with(&serde_json::json!({"no-such": 1})).is_err());
    }
}
