//! Between the types of the ledger's rows and SQLite's.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::telemetry::CallClass;
use crate::telemetry::CallCounts;

/// A count as SQLite keeps it. Counts above 2^63 do not occur.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    Ok(from_micros(row.get(column)?))
}

pub(super) fn maybe_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_micros))
}

fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

/// A column that holds JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(row.as_ref().column_index(column).unwrap_or(0), Type::Text, e.into())
    })
}

pub(super) fn calls_to_json(calls: &CallCounts) -> String {
    let named: BTreeMap<&str, u64> = calls.iter().map(|(class, calls)| (class.name(), *calls)).collect();
    serde_json::to_string(&named).unwrap_or_else(|_| "{}".to_owned())
}

/// Classes that a later version dropped are left out.
pub(super) fn calls_from_row(row: &Row<'_>, column: &str) -> rusqlite::Result<CallCounts> {
    let named: BTreeMap<String, u64> = json(row, column)?;
    Ok(CallClass::ALL.into_iter().filter_map(|class| named.get(class.name()).map(|calls| (class, *calls))).collect())
}
