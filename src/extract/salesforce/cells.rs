//! Cells of text become typed columns.
//!
//! Every cell that is not empty must be a value of its column's type in the form that Salesforce writes: booleans
//! `true`/`false`, numbers plain or as `1.0E7`, days `2024-02-29`, instants `2024-02-29T13:05:00.000Z` (REST writes
//! `+0000`). Nothing is allocated per cell.

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Decimal128Array;
use datafusion::arrow::array::PrimitiveArray;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::array::StringBuilder;
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::ArrowPrimitiveType;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Date32Type;
use datafusion::arrow::datatypes::Field;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::datatypes::TimestampMicrosecondType;

use crate::config::ids::sf_id18;
use crate::config::ids::suffix;

use super::types::SF_TYPE;

/// How a column's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Text,
    /// The record's own id: must be one.
    Id,
    /// Another record's id, made 18 characters; text that is no id stays as it is.
    Reference,
    Boolean,
    Int32,
    Int64,
    Float64,
    Decimal(u8, i8),
    Date,
    Instant,
}

/// A cell that its column cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadCell {
    pub(super) row: usize,
}

/// A finished column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) array: ArrayRef,
    /// Decimal cells that had more digits than the field's scale.
    pub(super) rounded: u64,
}

impl Cell {
    /// The reading of a column; `None` for a type that no Salesforce field becomes.
    pub(super) fn of(field: &Field) -> Option<Self> {
        Some(match field.data_type() {
            DataType::Utf8 => match field.metadata().get(SF_TYPE).map(String::as_str) {
                Some("id") if !field.name().contains('.') => Self::Id,
                Some("id" | "reference" | "masterrecord") => Self::Reference,
                _ => Self::Text,
            },
            DataType::Boolean => Self::Boolean,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) => Self::Decimal(*precision, *scale),
            DataType::Date32 => Self::Date,
            DataType::Timestamp(_, _) => Self::Instant,
            _ => return None,
        })
    }

    /// What a value of this kind is called.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Id | Self::Reference => "a Salesforce id",
            Self::Boolean => "true or false",
            Self::Int32 => "a whole number of 32 bits",
            Self::Int64 => "a whole number of 64 bits",
            Self::Float64 => "a number",
            Self::Decimal(..) => "a decimal number of the field's precision",
            Self::Date => "a day",
            Self::Instant => "an instant",
        }
    }

    /// Reads a whole column.
    pub(super) fn read(self, texts: &StringArray) -> Result<Column, BadCell> {
        let mut rounded = 0;
        let array: ArrayRef = match self {
            Self::Text => Arc::new(texts.clone()),
            Self::Id => ids(texts, true)?,
            Self::Reference => ids(texts, false)?,
            Self::Boolean => booleans(texts)?,
            Self::Int32 => primitive::<Int32Type>(texts, |text| i32::try_from(integer(text)?).ok())?,
            Self::Int64 => primitive::<Int64Type>(texts, integer)?,
            Self::Float64 => primitive::<Float64Type>(texts, float)?,
            Self::Date => primitive::<Date32Type>(texts, |text| day(text.as_bytes()))?,
            Self::Instant => {
                let values = values::<TimestampMicrosecondType>(texts, |text| instant(text.as_bytes()))?;
                Arc::new(values.with_timezone("UTC"))
            }
            Self::Decimal(precision, scale) => {
                let limit = 10_i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
                let values: Decimal128Array = values(texts, |text| {
                    let (value, inexact) = decimal(text, scale)?;
                    rounded += u64::from(inexact);
                    (value.abs() < limit).then_some(value)
                })?;
                Arc::new(values.with_data_type(DataType::Decimal128(precision, scale)))
            }
        };
        Ok(Column { array, rounded })
    }
}

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    parse: impl FnMut(&str) -> Option<T::Native>,
) -> Result<ArrayRef, BadCell> {
    Ok(Arc::new(values::<T>(texts, parse)?))
}

/// One value per cell; the nulls are those of the texts.
fn values<T: ArrowPrimitiveType>(
    texts: &StringArray,
    mut parse: impl FnMut(&str) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, BadCell> {
    let mut values = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        values.push(match texts.is_valid(row) {
            true => parse(texts.value(row)).ok_or(BadCell { row })?,
            false => T::Native::default(),
        });
    }
    Ok(PrimitiveArray::new(values.into(), texts.nulls().cloned()))
}

fn booleans(texts: &StringArray) -> Result<ArrayRef, BadCell> {
    let mut bad = None;
    let values = BooleanBuffer::collect_bool(texts.len(), |row| match texts.value(row) {
        "true" => true,
        "false" => false,
        other if other.eq_ignore_ascii_case("true") => true,
        other => {
            if texts.is_valid(row) && !other.eq_ignore_ascii_case("false") {
                bad = bad.or(Some(row));
            }
            false
        }
    });
    match bad {
        Some(row) => Err(BadCell { row }),
        None => Ok(Arc::new(BooleanArray::new(values, texts.nulls().cloned()))),
    }
}

/// Ids with 18 characters. The column is passed on as it is when all have them, which is the rule.
fn ids(texts: &StringArray, strict: bool) -> Result<ArrayRef, BadCell> {
    let mut long = true;
    for row in 0..texts.len() {
        let bytes = texts.value(row).as_bytes();
        let good =
            bytes.len() == 18 && bytes.iter().all(u8::is_ascii_alphanumeric) && bytes[15..] == suffix(&bytes[..15]);
        if good || (!strict && (texts.is_null(row) || bytes.len() != 15)) {
            continue;
        }
        if strict && sf_id18(texts.value(row)).is_none() {
            return Err(BadCell { row });
        }
        long = false;
    }
    if long {
        return Ok(Arc::new(texts.clone()));
    }
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.len() * 18);
    for row in 0..texts.len() {
        match texts.is_valid(row).then(|| texts.value(row)) {
            Some(text) => builder.append_value(sf_id18(text).as_deref().unwrap_or(text)),
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// A whole number, also as `12.0` or `1.2E1`.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| {
        let (value, inexact) = decimal(text, 0)?;
        (!inexact).then(|| i64::try_from(value).ok()).flatten()
    })
}

/// A number, but not the words that Rust also takes for one.
fn float(text: &str) -> Option<f64> {
    let first = text.bytes().find(|byte| !matches!(byte, b'+' | b'-'))?;
    (first.is_ascii_digit() || first == b'.').then(|| text.parse().ok()).flatten()
}

/// A number in units of 10^-scale, half rounded away from zero as Salesforce shows it, and whether it was rounded.
fn decimal(text: &str, scale: i8) -> Option<(i128, bool)> {
    let bytes = text.as_bytes();
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

/// Two digits.
fn two(bytes: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (bytes.get(at)?.wrapping_sub(b'0'), bytes.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Days since 1970 of `YYYY-MM-DD`.
fn day(bytes: &[u8]) -> Option<i32> {
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    let (month, day) = (two(bytes, 5)?, two(bytes, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if day == 0 || day > longest {
        return None;
    }
    // Years that begin in March have their leap day at the end; 719,468 days lie between their year 0 and 1970.
    let year = i32::try_from(year).ok()? - i32::from(month <= 2);
    let month = i32::try_from((month + 9) % 12).ok()?;
    let of_year = (153 * month + 2) / 5 + i32::try_from(day).ok()? - 1;
    Some(year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468)
}

/// Microseconds since 1970 of `YYYY-MM-DDThh:mm:ss[.f…]` with `Z`, `+hhmm` or `+hh:mm`.
fn instant(bytes: &[u8]) -> Option<i64> {
    let days = i64::from(day(bytes.get(..10)?)?);
    if bytes.len() < 20 || bytes[10] != b'T' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(bytes, 11)?, two(bytes, 14)?, two(bytes, 17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &bytes[19..];
    let mut micros = 0_i64;
    if let Some((b'.', fraction)) = rest.split_first() {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for place in 0..6 {
            let digit = fraction[..digits].get(place).map_or(0, |byte| byte - b'0');
            micros = micros * 10 + i64::from(digit);
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let minutes = match zone.len() {
                4 => two(zone, 0)? * 60 + two(zone, 2)?,
                5 if zone[2] == b':' => two(zone, 0)? * 60 + two(zone, 3)?,
                _ => return None,
            };
            if *sign == b'-' { -i64::from(minutes) } else { i64::from(minutes) }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second) - offset * 60;
    Some(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use chrono::NaiveDate;
    use datafusion::arrow::array::AsArray;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_in_every_form_and_nothing_else_is() {
        assert_eq!(decimal("12.345", 2), Some((1_235, true)));
        assert_eq!(decimal("-12.345", 2), Some((-1_235, true)));
        assert_eq!(decimal("12.3", 2), Some((1_230, false)));
        assert_eq!(decimal("12.300", 2), Some((1_230, false)));
        assert_eq!(decimal("1.0E7", 2), Some((1_000_000_000, false)));
        assert_eq!(decimal("1.25E-1", 2), Some((13, true)));
        assert_eq!(decimal(".5", 0), Some((1, true)));
        assert_eq!(decimal("0.004", 2), Some((0, true)));
        assert_eq!(decimal("5E-9", 2), Some((0, true)));
        assert_eq!(decimal("0E99", 2), Some((0, false)));
        assert_eq!(decimal("99999999999999999999999999999999999999", 0), Some((10_i128.pow(38) - 1, false)));
        assert_eq!(decimal("1E60", 0), None);
        for bad in ["", "-", ".", "1,5", "1.2.3", "NaN", "0x1", " 1", "1 ", "1E", "E5", "--1"] {
            assert_eq!(decimal(bad, 2), None, "{bad}");
            assert_eq!(float(bad), None, "{bad}");
        }
        assert_eq!(integer("12.0"), Some(12));
        assert_eq!(integer("1.0E3"), Some(1_000));
        assert_eq!(integer("1.5"), None);
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(float("1.7976931348623157E308"), Some(f64::MAX));
        assert_eq!(float("-4.9E-324"), Some(-4.9e-324));
        assert_eq!(float("inf"), None);
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
    fn ids_grow_and_only_then_is_the_column_made_anew() {
        let long = StringArray::from(vec![Some("001bm00000NMK67AAH"), None]);
        let column = Cell::Reference.read(&long).unwrap().array;
        assert_eq!(column.as_string::<i32>().value_data().as_ptr(), long.value_data().as_ptr());
        let mixed =
            StringArray::from(vec![Some("001bm00000NMK67"), None, Some("not an id"), Some("001bm00000NMK67AAH")]);
        let column = Cell::Reference.read(&mixed).unwrap().array;
        let expected = [Some("001bm00000NMK67AAH"), None, Some("not an id"), Some("001bm00000NMK67AAH")];
        assert_eq!(column.as_string::<i32>(), &StringArray::from(expected.to_vec()));
        assert_eq!(Cell::Id.read(&mixed).unwrap_err(), BadCell { row: 1 });
    }

    #[test]
    fn a_bad_cell_is_named_by_its_row() {
        let texts = StringArray::from(vec![Some("true"), None, Some("yes")]);
        assert_eq!(Cell::Boolean.read(&texts).unwrap_err(), BadCell { row: 2 });
        let texts = StringArray::from(vec![Some("99999999999999999")]);
        assert_eq!(Cell::Decimal(18, 2).read(&texts).unwrap_err(), BadCell { row: 0 });
        assert_eq!(Cell::Int32.read(&texts).unwrap_err(), BadCell { row: 0 });
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
            prop_assert_eq!(decimal(&text, i8::try_from(scale).unwrap()), Some((units, false)));
        }

        #[test]
        fn doubles_come_back_as_written(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            for text in [format!("{value}"), format!("{value:?}"), format!("{value:E}")] {
                prop_assert_eq!(float(&text), Some(value));
            }
        }
    }
}
