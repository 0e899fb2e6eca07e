//! `/sobjects/X/updated` and `/sobjects/X/deleted`: which records changed or went between two times.
//!
//! # Promises
//! * Times are taken in whole minutes, as the service does; a window reaches back 30 days at most and is a minute long at
//!   least.
//! * `updated` names records that were created or changed and are still there; `deleted` also names those that were deleted
//!   for good, which no query finds any more.
//!
//! Knowingly different: the recycle bin is never emptied by age, so `earliestDateAvailable` is always 30 days ago.

use axum::response::IntoResponse;
use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;
use serde_json::json;

use super::error::ApiError;
use super::format;
use super::rest::Answer;
use super::rest::Call;
use super::schema::ObjectIndex;
use super::store::Cell;
use super::store::Store;

/// How far back a window may reach.
const REACH: TimeDelta = TimeDelta::days(30);
/// Ids of one answer.
const MOST: usize = 600_000;

/// `GET /sobjects/X/updated?start=…&end=…`.
pub(super) fn updated(call: &Call, object: &str) -> Answer {
    let object = call.object(object)?;
    let window = window(call)?;
    let store = call.snapshot();
    let ids: Vec<_> = (0..store.table(object).rows() as u32)
        .filter(|row| store.table(object).has(*row) && !store.flag(object, *row, "IsDeleted"))
        .filter(|row| stamp(&store, object, *row).is_some_and(|second| window.holds(second)))
        .map(|row| store.id(object, row).to_string())
        .collect();
    enough(ids.len())?;
    Ok(axum::Json(json!({ "ids": ids, "latestDateCovered": format::rest_time(window.covered) })).into_response())
}

/// `GET /sobjects/X/deleted?start=…&end=…`.
pub(super) fn deleted(call: &Call, object: &str) -> Answer {
    let object = call.object(object)?;
    let window = window(call)?;
    let store = call.snapshot();
    let table = store.table(object);
    let mut gone: Vec<(u32, i64)> = (0..table.rows() as u32)
        .filter(|row| table.has(*row) && store.flag(object, *row, "IsDeleted"))
        .filter_map(|row| Some((row, stamp(&store, object, row)?)))
        .chain(table.erased().iter().map(|(row, second)| (*row, *second)))
        .filter(|(_, second)| window.holds(*second))
        .collect();
    enough(gone.len())?;
    gone.sort_unstable_by_key(|(row, second)| (*second, *row));
    let records: Vec<_> = gone
        .into_iter()
        .filter_map(|(row, second)| {
            let time = format::rest_time(DateTime::from_timestamp(second, 0)?);
            Some(json!({ "deletedDate": time, "id": store.id(object, row).as_str() }))
        })
        .collect();
    let earliest = format::rest_time(minute(call.org.clock.now() - REACH));
    Ok(axum::Json(json!({
        "deletedRecords": records,
        "earliestDateAvailable": earliest,
        "latestDateCovered": format::rest_time(window.covered),
    }))
    .into_response())
}

/// A stretch of time: from its start, up to but without its end.
struct Window {
    start: i64,
    end: i64,
    covered: DateTime<Utc>,
}

impl Window {
    fn holds(&self, second: i64) -> bool {
        (self.start..self.end).contains(&second)
    }
}

fn window(call: &Call) -> Result<Window, ApiError> {
    let time = |name: &str| {
        let text = call.parameter(name).ok_or_else(|| {
            ApiError::new(400, "MISSING_ARGUMENT", format!("The request must have a parameter {name} with a time"))
        })?;
        // A plus sign that was not encoded arrives as a blank.
        let text = text.trim().replace(' ', "+");
        let micros = format::parse_datetime(&text).and_then(DateTime::from_timestamp_micros);
        micros.map(minute).ok_or_else(|| {
            ApiError::new(400, "INVALID_REPLICATION_DATE", format!("{name} is not a date with a time: {text}"))
        })
    };
    let (start, end) = (time("start")?, time("end")?);
    let now = call.org.clock.now();
    let refuse = |text: &str| Err(ApiError::new(400, "INVALID_REPLICATION_DATE", text));
    if start < minute(now - REACH) {
        return refuse("startDate cannot be more than 30 days ago");
    }
    if end - start < TimeDelta::minutes(1) {
        return refuse("endDate must be at least one minute greater than startDate");
    }
    let covered = end.min(minute(now));
    Ok(Window { start: start.timestamp(), end: end.timestamp(), covered })
}

fn minute(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp().div_euclid(60) * 60, 0).unwrap_or(time)
}

fn stamp(store: &Store, object: ObjectIndex, row: u32) -> Option<i64> {
    let field = store.schema.objects[object].find("SystemModstamp")?;
    match store.cell(object, row, field) {
        Cell::Datetime(second) => Some(second),
        _ => None,
    }
}

fn enough(ids: usize) -> Result<(), ApiError> {
    if ids <= MOST {
        return Ok(());
    }
    Err(ApiError::new(400, "EXCEEDED_ID_LIMIT", format!("More than {MOST} records; choose a shorter window")))
}
