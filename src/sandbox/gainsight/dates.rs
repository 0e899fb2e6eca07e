//! Dates as the tenant reads and writes them.
//!
//! Accepted (gainsight-api §12, item 11): ISO 8601 with or without milliseconds, with `Z`, an offset or none (UTC),
//! `yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss[.S]`, `MM-dd-yyyy` and `MM/dd/yyyy`. Numbers are refused by the caller.

const DAY_MS: i64 = 86_400_000;

/// Days since 1970 of a date; of a date with time, the day as written.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.trim().as_bytes();
    let (days, rest) = leading_date(bytes)?;
    if !rest.is_empty() {
        time_of_day(rest)?;
    }
    Some(days)
}

/// Milliseconds since 1970; a date alone is its midnight in UTC.
pub(super) fn parse_datetime(text: &str) -> Option<i64> {
    let bytes = text.trim().as_bytes();
    let (days, rest) = leading_date(bytes)?;
    let millis = if rest.is_empty() { 0 } else { time_of_day(rest)? };
    Some(days * DAY_MS + millis)
}

/// Appends `yyyy-MM-dd`.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) {
        out.extend_from_slice(format!("{year:+07}-{month:02}-{day:02}").as_bytes());
        return;
    }
    let mut text = *b"0000-00-00";
    two(year as u32 / 100, &mut text[..2]);
    two(year as u32 % 100, &mut text[2..4]);
    two(month, &mut text[5..7]);
    two(day, &mut text[8..]);
    out.extend_from_slice(&text);
}

/// Appends `yyyy-MM-ddTHH:mm:ssZ`, with milliseconds only where there are any.
pub(super) fn write_datetime(millis: i64, out: &mut Vec<u8>) {
    write_date(millis.div_euclid(DAY_MS), out);
    let rest = millis.rem_euclid(DAY_MS) as u32;
    let mut text = *b"T00:00:00.000Z";
    two(rest / 3_600_000, &mut text[1..3]);
    two(rest / 60_000 % 60, &mut text[4..6]);
    two(rest / 1000 % 60, &mut text[7..9]);
    let fraction = rest % 1000;
    if fraction == 0 {
        text[9] = b'Z';
        out.extend_from_slice(&text[..10]);
    } else {
        text[10] = b'0' + (fraction / 100) as u8;
        two(fraction % 100, &mut text[11..13]);
        out.extend_from_slice(&text);
    }
}

fn two(number: u32, places: &mut [u8]) {
    places[0] = b'0' + (number / 10) as u8;
    places[1] = b'0' + (number % 10) as u8;
}

fn leading_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, month, day) = match text {
        [_, _, _, _, b'-', _, _, b'-', _, _, ..] => (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?),
        [_, _, b'-', _, _, b'-', ..] | [_, _, b'/', _, _, b'/', ..] if text.len() >= 10 => {
            (number(&text[6..10])?, number(&text[..2])?, number(&text[3..5])?)
        }
        _ => return None,
    };
    let longest = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    Some((days_from_civil(year, month, day), &text[10..]))
}

/// Milliseconds from midnight UTC (negative or over a day when an offset says so).
fn time_of_day(text: &[u8]) -> Option<i64> {
    let text = match text {
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return None,
    };
    let [_, _, b':', _, _, rest @ ..] = text else { return None };
    let (hour, minute) = (number(&text[..2])?, number(&text[3..5])?);
    let mut rest = rest;
    let mut second = 0;
    let mut millis = 0;
    if let [b':', a, b, after @ ..] = rest {
        second = number(&[*a, *b])?;
        rest = after;
        if let [b'.' | b',', after @ ..] = rest {
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            let mut scale = 100;
            for digit in &after[..digits] {
                millis += i64::from(digit - b'0') * scale;
                scale /= 10;
            }
            rest = &after[digits..];
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let (hours, minutes) = match zone {
                [a, b] => (number(&[*a, *b])?, 0),
                [a, b, c, d] | [a, b, b':', c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
                _ => return None,
            };
            if hours > 18 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60_000 } else { 60_000 }
        }
        _ => return None,
    };
    Some((hour * 3600 + minute * 60 + second) * 1000 + millis - offset)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        match parse_datetime(text) {
            Some(millis) => write_datetime(millis, &mut out),
            None => return "refused".to_owned(),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_seen_forms_are_read() {
        assert_eq!(shown("2022-07-01T06:36:00.000-07:00"), "2022-07-01T13:36:00Z");
        assert_eq!(shown("2022-07-01T06:36:00.000-0700"), "2022-07-01T13:36:00Z");
        assert_eq!(shown("1970-01-01T00:00Z"), "1970-01-01T00:00:00Z");
        assert_eq!(shown("2024-02-29T12:34:56.789Z"), "2024-02-29T12:34:56.789Z");
        assert_eq!(shown("2024-01-01T00:00:00+00:00"), "2024-01-01T00:00:00Z");
        assert_eq!(shown("2024-02-05 07:17:16.5"), "2024-02-05T07:17:16.500Z");
        assert_eq!(shown("03-22-2018"), "2018-03-22T00:00:00Z");
        assert_eq!(shown("03/22/2018"), "2018-03-22T00:00:00Z");
        assert_eq!(shown("2018-03-22"), "2018-03-22T00:00:00Z");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "210318", "2023-02-29", "2024-13-01", "22-03-2018", "2024-01-01T25:00:00Z", "2024-01-01 later"]
        {
            assert_eq!(shown(text), "refused", "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_written_as_read() {
        let mut out = Vec::new();
        for days in -200_000..60_000 {
            out.clear();
            write_date(days, &mut out);
            assert_eq!(parse_date(std::str::from_utf8(&out).unwrap()), Some(days));
        }
    }
}
