//! Cells as values.
//!
//! Every cell that is not empty must be a value of its column's type in the form that Salesforce writes: booleans
//! `true`/`false`, numbers plain or as `1.0E7`, days `2024-02-29`, instants `2024-02-29T13:05:00.000Z` (REST writes
//! `+0000`). Nothing is allocated.

use std::borrow::Cow;

use crate::config::ids::sf_id18;

pub(super) use crate::config::ids::is_id18;
pub(super) use crate::extract::instants::day;
pub(super) use crate::extract::instants::instant;

/// `true` or `false`, in any case.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"true" => Some(true),
        b"false" => Some(false),
        other if other.eq_ignore_ascii_case(b"true") => Some(true),
        other if other.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// An id with 18 characters.
pub(super) fn id(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if is_id18(text) {
        return Some(Cow::Borrowed(text));
    }
    sf_id18(std::str::from_utf8(text).ok()?).map(|long| Cow::Owned(long.into_owned().into_bytes()))
}

/// A whole number, also as `12.0` or `1.2E1`.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let plain = std::str::from_utf8(text).ok()?.parse().ok();
    plain.or_else(|| {
        let (value, inexact) = decimal(text, 0)?;
        (!inexact).then(|| i64::try_from(value).ok()).flatten()
    })
}

/// A number, but not the words that Rust also takes for one.
pub(super) fn float(text: &[u8]) -> Option<f64> {
    let first = text.iter().find(|byte| !matches!(byte, b'+' | b'-'))?;
    (first.is_ascii_digit() || *first == b'.').then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// A number in units of 10^-scale, half rounded away from zero as Salesforce shows it, and whether it was rounded.
pub(super) fn decimal(bytes: &[u8], scale: i8) -> Option<(i128, bool)> {
    let (negative, bytes) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        b'+' => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    let (digits, exponent) = match bytes.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&bytes[..at], std::str::from_utf8(&bytes[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (bytes, 0),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let count = digits.len() - usize::from(point < digits.len());
    if count == 0 {
        return None;
    }
    // How many of the digits are kept: those before the point, moved by the exponent, and `scale` behind it.
    let keep = i64::try_from(point).ok()? + i64::from(exponent) + i64::from(scale);
    let mut value = 0_i128;
    let mut inexact = false;
    let mut up = false;
    let mut seen = 0_i64;
    for (at, byte) in digits.iter().enumerate() {
        if at == point {
            continue;
        }
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = i128::from(byte - b'0');
        if seen < keep {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else {
            up |= seen == keep && digit >= 5;
            inexact |= digit != 0;
        }
        seen += 1;
    }
    if keep > seen && value != 0 {
        value = value.checked_mul(10_i128.checked_pow(u32::try_from(keep - seen).ok()?)?)?;
    }
    value += i128::from(up);
    Some((if negative { -value } else { value }, inexact))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_form_and_nothing_else_is() {
        assert_eq!(decimal(b"12.345", 2), Some((1_235, true)));
        assert_eq!(decimal(b"-12.345", 2), Some((-1_235, true)));
        assert_eq!(decimal(b"12.3", 2), Some((1_230, false)));
        assert_eq!(decimal(b"12.300", 2), Some((1_230, false)));
        assert_eq!(decimal(b"1.0E7", 2), Some((1_000_000_000, false)));
        assert_eq!(decimal(b"1.25E-1", 2), Some((13, true)));
        assert_eq!(decimal(b".5", 0), Some((1, true)));
        assert_eq!(decimal(b"0.004", 2), Some((0, true)));
        assert_eq!(decimal(b"5E-9", 2), Some((0, true)));
        assert_eq!(decimal(b"0E99", 2), Some((0, false)));
        assert_eq!(decimal(b"99999999999999999999999999999999999999", 0), Some((10_i128.pow(38) - 1, false)));
        assert_eq!(decimal(b"1E60", 0), None);
        for bad in ["", "-", ".", "1,5", "1.2.3", "NaN", "0x1", " 1", "1 ", "1E", "E5", "--1"] {
            assert_eq!(decimal(bad.as_bytes(), 2), None, "{bad}");
            assert_eq!(float(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(integer(b"12.0"), Some(12));
        assert_eq!(integer(b"1.0E3"), Some(1_000));
        assert_eq!(integer(b"1.5"), None);
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(float(b"1.7976931348623157E308"), Some(f64::MAX));
        assert_eq!(float(b"-4.9E-324"), Some(-4.9e-324));
        assert_eq!(float(b"inf"), None);
    }

    #[test]
    fn instants_are_read_with_every_zone() {
        let base = 1_709_211_900_000_000;
        for same in [
            "2024-02-29T13:05:00.000Z",
            "2024-02-29T13:05:00Z",
            "2024-02-29T13:05:00.000+0000",
            "2024-02-29T14:05:00.000+01:00",
            "2024-02-29T05:35:00.0-0730",
        ] {
            assert_eq!(instant(same.as_bytes()), Some(base), "{same}");
        }
        assert_eq!(instant(b"2024-02-29T13:05:00.123456789Z"), Some(base + 123_456));
        for bad in [
            "2024-02-29",
            "2024-02-29T13:05:00",
            "2023-02-29T13:05:00Z",
            "2024-02-29T24:00:00Z",
            "2024-02-29 13:05:00Z",
            "2024-02-29T13:05:00.Z",
            "2024-02-29T13:05:00.000+1",
        ] {
            assert_eq!(instant(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ids_grow_to_18_characters_and_keep_them() {
        assert_eq!(id(b"001bm00000NMK67").as_deref(), Some(b"001bm00000NMK67AAH".as_slice()));
        assert!(matches!(id(b"001bm00000NMK67AAH"), Some(Cow::Borrowed(_))));
        for bad in ["001bm00000NMK67AAA", "001bm00000nmk67aah", "not an id", "001bm00000NMK6\u{e9}"] {
            assert_eq!(id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn booleans_are_words() {
        assert_eq!(boolean(b"true"), Some(true));
        assert_eq!(boolean(b"False"), Some(false));
        assert_eq!(boolean(b"1"), None);
    }

    proptest! {
        #[test]
        fn days_and_instants_agree_with_chrono(days in -98_615_i32..=741_446, micros in 0_i64..86_400_000_000) {
            // 1700-01-01 to 3999-12-31, the range of SOQL
            let date = NaiveDate::from_epoch_days(days).unwrap();
            prop_assert_eq!(day(date.to_string().as_bytes()), Some(days));
            let micros = i64::from(days) * 86_400_000_000 + micros / 1_000 * 1_000;
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(instant(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().as_bytes()), Some(micros));
        }

        #[test]
        fn decimals_come_back_as_written(units in -10_i128.pow(18)..10_i128.pow(18), scale in 0_usize..=6) {
            let magnitude = units.unsigned_abs();
            let power = 10_u128.pow(u32::try_from(scale).unwrap());
            let sign = if units < 0 { "-" } else { "" };
            let text = match scale {
                0 => format!("{sign}{magnitude}"),
                _ => format!("{sign}{}.{:0scale$}", magnitude / power, magnitude % power),
            };
            prop_assert_eq!(decimal(text.as_bytes(), i8::try_from(scale).unwrap()), Some((units, false)));
        }

        #[test]
        fn doubles_come_back_as_written(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            for text in [format!("{value}"), format!("{value:?}"), format!("{value:E}")] {
                prop_assert_eq!(float(text.as_bytes()), Some(value));
            }
        }
    }
}
