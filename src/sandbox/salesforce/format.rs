//! How values look on the wire: dates, times and numbers, written into byte buffers without a `String` between.

use chrono::DateTime;
use chrono::NaiveDate;
use chrono::NaiveTime;
use chrono::SecondsFormat;
use chrono::Timelike;
use chrono::Utc;

const DAY: i64 = 86_400;

/// `2024-01-02`.
pub(crate) fn date(out: &mut Vec<u8>, days: i32) {
    let mut text = *b"0000-00-00";
    put_date(&mut text, days);
    out.extend_from_slice(&text);
}

/// `2024-01-02T03:04:05.000` and the zone as given: bulk results say `Z`, REST says `+0000`.
pub(crate) fn datetime(out: &mut Vec<u8>, seconds: i64, zone: &[u8]) {
    let mut text = *b"0000-00-00T00:00:00.000";
    put_date(&mut text, i32::try_from(seconds.div_euclid(DAY)).unwrap_or(i32::MAX));
    put_clock(&mut text[11..], seconds.rem_euclid(DAY) as u32);
    out.extend_from_slice(&text);
    out.extend_from_slice(zone);
}

/// `13:00:00.000Z`.
pub(crate) fn time(out: &mut Vec<u8>, millis: i64) {
    let millis = u32::try_from(millis).unwrap_or(0);
    let mut text = *b"00:00:00.000Z";
    put_clock(&mut text, millis / 1000);
    let rest = millis % 1000;
    text[9] = b'0' + (rest / 100) as u8;
    put_pair(&mut text[10..], rest % 100);
    out.extend_from_slice(&text);
}

fn put_date(text: &mut [u8], days: i32) {
    let (year, month, day) = civil(days);
    let year = u32::try_from(year).unwrap_or(0);
    put_pair(text, year / 100);
    put_pair(&mut text[2..], year % 100);
    put_pair(&mut text[5..], month);
    put_pair(&mut text[8..], day);
}

fn put_clock(text: &mut [u8], seconds: u32) {
    put_pair(text, seconds / 3600);
    put_pair(&mut text[3..], seconds / 60 % 60);
    put_pair(&mut text[6..], seconds % 60);
}

fn put_pair(text: &mut [u8], value: u32) {
    text[0] = b'0' + (value / 10 % 10) as u8;
    text[1] = b'0' + (value % 10) as u8;
}

/// Days since 1970 → year, month, day (the civil calendar as a formula over eras of 400 years).
fn civil(days: i32) -> (i32, u32, u32) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month + 2) / 5 + 1) as u32;
    let month = if month < 10 { month + 3 } else { month - 9 } as u32;
    (year_of_era + era * 400 + i32::from(month <= 2), month, day)
}

/// A whole number.
pub(crate) fn integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// A number with a fraction as Java prints it, which is what the service is written in: `12.5`, `3.0`, `1.0E7`, `1.0E-4`.
pub(crate) fn double(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        let text = value.to_string();
        out.extend_from_slice(text.as_bytes());
        if !text.contains('.') {
            out.extend_from_slice(b".0");
        }
        return;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    out.extend_from_slice(mantissa.as_bytes());
    if !mantissa.contains('.') {
        out.extend_from_slice(b".0");
    }
    out.push(b'E');
    out.extend_from_slice(exponent.as_bytes());
}

/// A number with so many digits behind the point, halves away from zero, as the shortest decimal text of it says. Scaling
/// and rounding would bend large numbers, and `{:.2}` rounds halves to even.
pub(crate) fn rounded(number: f64, places: u32) -> f64 {
    let text = number.abs().to_string();
    let Some((whole, fraction)) = text.split_once('.').filter(|(_, fraction)| fraction.len() > places as usize) else {
        return number;
    };
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(places as usize)).collect();
    if fraction.as_bytes()[places as usize] >= b'5' {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, b'1');
                break;
            }
            at -= 1;
            if digits[at] < b'9' {
                digits[at] += 1;
                break;
            }
            digits[at] = b'0';
        }
    }
    let point = digits.len() - places as usize;
    digits.insert(point, b'.');
    let size = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(number.abs());
    if number < 0.0 { -size } else { size }
}

/// A JSON string with its quotes.
pub(crate) fn json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out.push(b'"');
}

/// Reads a date.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (text.len() == 10).then(|| days(date))
}

/// Days since 1970.
pub(crate) fn days(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days().try_into().unwrap_or(i32::MIN + 1)
}

/// Reads a datetime with zone (`Z`, `+01:00`, `+0000`) into microseconds.
pub(crate) fn parse_datetime(text: &str) -> Option<i64> {
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()?;
    (text.as_bytes().get(10) == Some(&b'T')).then(|| parsed.timestamp_micros())
}

/// Reads a time of day into milliseconds.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let time = NaiveTime::parse_from_str(text.trim_end_matches('Z'), "%H:%M:%S%.f").ok()?;
    Some(i64::from(time.num_seconds_from_midnight()) * 1000 + i64::from(time.nanosecond() / 1_000_000))
}

/// A point in time as REST shows it, for the bodies that are made with serde.
pub(crate) fn rest_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true).replace('Z', "+0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for text in ["1700-01-01", "1969-12-31", "1970-01-01", "2000-02-29", "2024-12-31", "2100-03-01", "4000-12-31"] {
            let days = parse_date(text).unwrap();
            assert_eq!(shown(|out| date(out, days)), text);
        }
        let moment = parse_datetime("1969-12-31T23:59:58Z").unwrap() / 1_000_000;
        assert_eq!(shown(|out| datetime(out, moment, b"Z")), "1969-12-31T23:59:58.000Z");
        assert_eq!(shown(|out| time(out, parse_time("13:00:01.007Z").unwrap())), "13:00:01.007Z");
    }

    #[test]
    fn datetimes_are_read_in_every_spelling_that_clients_send() {
        let expected = parse_datetime("2024-01-01T00:00:00Z").unwrap();
        for text in ["2024-01-01T00:00:00.000+00:00", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00.000+0000"] {
            assert_eq!(parse_datetime(text), Some(expected), "{text}");
        }
        assert_eq!(parse_datetime("2024-01-01 00:00:00Z"), None);
        assert_eq!(parse_datetime("2024-13-01T00:00:00Z"), None);
    }

    #[test]
    fn numbers_look_as_java_prints_them() {
        for (value, text) in
            [(0.0, "0.0"), (3.0, "3.0"), (12.5, "12.5"), (1e7, "1.0E7"), (350_000_000.0, "3.5E8"), (0.0001, "1.0E-4")]
        {
            assert_eq!(shown(|out| double(out, value)), text);
        }
        assert_eq!(shown(|out| integer(out, i64::MIN)), i64::MIN.to_string());
        assert_eq!(shown(|out| integer(out, 0)), "0");
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (number, places, expected) in [
            (10.25, 1, 10.3),
            (-10.25, 1, -10.3),
            (1.005, 2, 1.01),
            (9.996, 2, 10.0),
            (0.5, 0, 1.0),
            (12_345_678_901_234.56, 2, 12_345_678_901_234.56),
            (1e300, 2, 1e300),
            (1e-9, 2, 0.0),
        ] {
            assert_eq!(rounded(number, places), expected, "{number}");
        }
    }

    #[test]
    fn json_text_is_escaped() {
        let text = "a\"b\\c\nd\u{1}ü";
        assert_eq!(serde_json::from_str::<String>(&shown(|out| json_text(out, text))).unwrap(), text);
    }
}
