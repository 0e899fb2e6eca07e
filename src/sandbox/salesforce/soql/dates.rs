//! Date literals: each is a range of days, relative to today in UTC.

use chrono::Datelike;
use chrono::Days;
use chrono::Months;
use chrono::NaiveDate;
use chrono::Weekday;

/// Names without a number.
const FIXED: [&str; 20] = [
    "YESTERDAY",
    "TODAY",
    "TOMORROW",
    "LAST_WEEK",
    "THIS_WEEK",
    "NEXT_WEEK",
    "LAST_MONTH",
    "THIS_MONTH",
    "NEXT_MONTH",
    "LAST_QUARTER",
    "THIS_QUARTER",
    "NEXT_QUARTER",
    "LAST_YEAR",
    "THIS_YEAR",
    "NEXT_YEAR",
    "LAST_90_DAYS",
    "NEXT_90_DAYS",
    "LAST_FISCAL_YEAR",
    "THIS_FISCAL_YEAR",
    "NEXT_FISCAL_YEAR",
];
const QUARTERS: [&str; 3] = ["LAST_FISCAL_QUARTER", "THIS_FISCAL_QUARTER", "NEXT_FISCAL_QUARTER"];
const UNITS: [&str; 7] = ["DAYS", "WEEKS", "MONTHS", "QUARTERS", "YEARS", "FISCAL_QUARTERS", "FISCAL_YEARS"];

/// Whether this is the name of a date literal.
pub(super) fn is_period(name: &str) -> bool {
    FIXED.contains(&name) || QUARTERS.contains(&name) || takes_number(name)
}

/// Whether the literal is written with a number, as `LAST_N_DAYS:3`.
pub(super) fn takes_number(name: &str) -> bool {
    unit_of(name).is_some_and(|(_, unit)| UNITS.contains(&unit))
}

/// `LAST`, `NEXT` or `AGO`, and the unit.
fn unit_of(name: &str) -> Option<(&'static str, &str)> {
    if let Some(unit) = name.strip_prefix("LAST_N_") {
        return Some(("LAST", unit));
    }
    if let Some(unit) = name.strip_prefix("NEXT_N_") {
        return Some(("NEXT", unit));
    }
    Some(("AGO", name.strip_prefix("N_")?.strip_suffix("_AGO")?))
}

/// First day and the day behind the last one.
pub(super) fn range(name: &str, count: Option<i64>, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let back = |days| today.checked_sub_days(Days::new(days));
    let ahead = |days| today.checked_add_days(Days::new(days));
    match (name, count) {
        ("YESTERDAY", _) => return Some((back(1)?, today)),
        ("TODAY", _) => return Some((today, ahead(1)?)),
        ("TOMORROW", _) => return Some((ahead(1)?, ahead(2)?)),
        // 91 days with today; the next ninety begin tomorrow.
        ("LAST_90_DAYS", _) => return Some((back(90)?, ahead(1)?)),
        ("NEXT_90_DAYS", _) => return Some((ahead(1)?, ahead(91)?)),
        _ => {}
    }
    if let (Some((way, unit)), Some(count)) = (unit_of(name), count) {
        let unit = unit.trim_start_matches("FISCAL_").trim_end_matches('S');
        let start = start_of(unit, today)?;
        return match way {
            // The last n days hold today; the last n of the longer units end where the present one begins.
            "LAST" if unit == "DAY" => Some((moved(unit, start, -(count - 1))?, ahead(1)?)),
            "LAST" => Some((moved(unit, start, -count)?, start)),
            "NEXT" => Some((moved(unit, start, 1)?, moved(unit, start, count + 1)?)),
            _ => Some((moved(unit, start, -count)?, moved(unit, start, 1 - count)?)),
        };
    }
    let (which, unit) = name.split_once('_')?;
    let unit = unit.trim_start_matches("FISCAL_");
    let start = start_of(unit, today)?;
    let first = match which {
        "LAST" => -1,
        "NEXT" => 1,
        _ => 0,
    };
    Some((moved(unit, start, first)?, moved(unit, start, first + 1)?))
}

fn start_of(unit: &str, day: NaiveDate) -> Option<NaiveDate> {
    match unit {
        "DAY" => Some(day),
        // Weeks begin on Sunday in the locale en_US.
        "WEEK" => Some(day.week(Weekday::Sun).first_day()),
        "MONTH" => day.with_day(1),
        "QUARTER" => day.with_day(1)?.with_month0(day.month0() / 3 * 3),
        "YEAR" => NaiveDate::from_ymd_opt(day.year(), 1, 1),
        _ => None,
    }
}

fn moved(unit: &str, day: NaiveDate, by: i64) -> Option<NaiveDate> {
    let months = match unit {
        "MONTH" => 1,
        "QUARTER" => 3,
        "YEAR" => 12,
        _ => {
            let days = by.checked_mul(if unit == "WEEK" { 7 } else { 1 })?;
            return day.checked_add_signed(chrono::TimeDelta::try_days(days)?);
        }
    };
    let amount = Months::new(u32::try_from(by.unsigned_abs().checked_mul(months)?).ok()?);
    if by < 0 { day.checked_sub_months(amount) } else { day.checked_add_months(amount) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_ranges_of_days() {
        let today = NaiveDate::from_ymd_opt(2026, 3, 18).unwrap(); // a Wednesday
        for (name, count, first, end) in [
            ("TODAY", None, "2026-03-18", "2026-03-19"),
            ("YESTERDAY", None, "2026-03-17", "2026-03-18"),
            ("LAST_90_DAYS", None, "2025-12-18", "2026-03-19"),
            ("THIS_WEEK", None, "2026-03-15", "2026-03-22"),
            ("LAST_MONTH", None, "2026-02-01", "2026-03-01"),
            ("NEXT_QUARTER", None, "2026-04-01", "2026-07-01"),
            ("LAST_YEAR", None, "2025-01-01", "2026-01-01"),
            ("THIS_FISCAL_QUARTER", None, "2026-01-01", "2026-04-01"),
            ("LAST_N_DAYS", Some(1), "2026-03-18", "2026-03-19"),
            ("LAST_N_DAYS", Some(7), "2026-03-12", "2026-03-19"),
            ("NEXT_N_DAYS", Some(2), "2026-03-19", "2026-03-21"),
            ("N_DAYS_AGO", Some(3), "2026-03-15", "2026-03-16"),
            ("LAST_N_MONTHS", Some(2), "2026-01-01", "2026-03-01"),
            ("N_YEARS_AGO", Some(1), "2025-01-01", "2026-01-01"),
        ] {
            assert!(is_period(name), "{name}");
            let (from, until) = range(name, count, today).unwrap();
            assert_eq!((from.to_string().as_str(), until.to_string().as_str()), (first, end), "{name}");
        }
        assert!(!is_period("LAST_N_MOONS") && !is_period("SOMEDAY"));
    }
}
