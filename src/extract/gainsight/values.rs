//! Cells of the query API as numbers, days and instants.

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::NaiveDateTime;

use crate::extract::instants;

/// A decimal text at `scale`, rounded half away from zero.
pub(super) fn decimal(text: &str, scale: u32) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = (digit as char).to_digit(10)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let shift = i32::try_from(scale).ok()? + exponent - i32::try_from(fraction.len()).ok()?;
    if shift >= 0 {
        value = value.checked_mul(10i128.checked_pow(u32::try_from(shift).ok()?)?)?;
    } else {
        let by = 10i128.checked_pow(u32::try_from(-shift).ok()?)?;
        value = (value + by / 2) / by;
    }
    Some(if negative { -value } else { value })
}

/// A whole number, also where it is written `12.0`.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| i64::try_from(decimal(text, 0)?).ok())
}

/// Days since 1970 of `2024-02-05`, `02/05/2024`, the day of an instant, or milliseconds since 1970.
pub(super) fn day(text: &str) -> Option<i32> {
    let date = match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) => date,
        Err(_) => DateTime::from_timestamp_micros(instant(text)?)?.date_naive(),
    };
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Microseconds since 1970 of an instant in any of the forms seen (gainsight-api §2.5, §12 item 11); without an offset
/// it is UTC.
pub(super) fn instant(text: &str) -> Option<i64> {
    // The form that nearly all have.
    if let Some(micros) = instants::instant(text.as_bytes()) {
        return Some(micros);
    }
    if text.len() > 10 && text.as_bytes()[4] == b'-' {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(time.timestamp_micros());
        }
        if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
            return Some(time.timestamp_micros());
        }
        for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%MZ"] {
            if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
                return Some(time.and_utc().timestamp_micros());
            }
        }
        return None;
    }
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1000);
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%m/%d/%Y %H:%M:%S") {
        return Some(time.and_utc().timestamp_micros());
    }
    ["%Y-%m-%d", "%m/%d/%Y", "%m-%d-%Y"].iter().find_map(|form| {
        let date = NaiveDate::parse_from_str(text, form).ok()?;
        Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(decimal("100000", 2), Some(10_000_000));
        assert_eq!(decimal("-0.5", 2), Some(-50));
        assert_eq!(decimal("1.005", 2), Some(101));
        assert_eq!(decimal("1.5e3", 2), Some(150_000));
        assert_eq!(decimal("12e-1", 2), Some(120));
        assert_eq!(decimal("x", 2), None);
        assert_eq!(decimal("", 2), None);
        assert_eq!(integer("12.0"), Some(12));
    }

    #[test]
    fn all_forms_of_one_day_and_one_instant_are_equal() {
        let noon = 1_707_134_400_000_000;
        for text in [
            "2024-02-05T12:00:00Z",
            "2024-02-05T12:00:00.000+0000",
            "2024-02-05T07:00:00.000-05:00",
            "2024-02-05 12:00:00.0",
            "1707134400000",
            "02/05/2024 12:00:00",
        ] {
            assert_eq!(instant(text), Some(noon), "{text}");
            assert_eq!(day(text), Some(19_758), "{text}");
        }
        assert_eq!(day("2024-02-05"), Some(19_758));
        assert_eq!(day("1969-12-31"), Some(-1));
        assert_eq!(instant("soon"), None);
    }
}
