//! Typed columns and how one cell of them is written: as JSON, as CSV, as text. No value is built per cell.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::DateTime;
use chrono::Datelike;
use chrono::Timelike;
use datafusion::arrow::array::Array;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::array::Date32Array;
use datafusion::arrow::array::Decimal128Array;
use datafusion::arrow::array::Float64Array;
use datafusion::arrow::array::Int64Array;
use datafusion::arrow::array::StringArray;
use datafusion::arrow::array::TimestampMicrosecondArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::Date32Type;
use datafusion::arrow::datatypes::Decimal128Type;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::datatypes::TimeUnit;
use datafusion::arrow::datatypes::TimestampMicrosecondType;

use crate::error::Result;

/// A column in one of the seven forms that are written.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    Text(StringArray),
    Int(Int64Array),
    Float(Float64Array),
    Decimal(Decimal128Array, usize),
    Bool(BooleanArray),
    Day(Date32Array),
    Instant(TimestampMicrosecondArray),
}

impl Cells {
    /// Takes a column in; related types are cast.
    pub(super) fn new(array: &ArrayRef) -> Result<Self> {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let wanted = match array.data_type() {
            DataType::Boolean => DataType::Boolean,
            DataType::Date32 | DataType::Date64 => DataType::Date32,
            DataType::Timestamp(..) => instant,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
            DataType::Decimal128(precision, scale) if *scale >= 0 => DataType::Decimal128(*precision, *scale),
            other if other.is_integer() => DataType::Int64,
            _ => DataType::Utf8,
        };
        let array = if array.data_type() == &wanted { Arc::clone(array) } else { cast(array, &wanted)? };
        Ok(match wanted {
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Date32 => Self::Day(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp(..) => Self::Instant(array.as_primitive::<TimestampMicrosecondType>().clone()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, scale) => {
                Self::Decimal(array.as_primitive::<Decimal128Type>().clone(), usize::try_from(scale).unwrap_or(0))
            }
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>().clone()),
            _ => Self::Text(array.as_string::<i32>().clone()),
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(array) => array,
            Self::Int(array) => array,
            Self::Float(array) => array,
            Self::Decimal(array, _) => array,
            Self::Bool(array) => array,
            Self::Day(array) => array,
            Self::Instant(array) => array,
        }
    }

    /// Empty: null, or a text without a letter. Both mean the same to Gainsight.
    pub(super) fn is_empty(&self, row: usize) -> bool {
        match self {
            Self::Text(array) => array.is_null(row) || array.value(row).is_empty(),
            Self::Float(array) => array.is_null(row) || !array.value(row).is_finite(),
            other => other.array().is_null(row),
        }
    }

    /// Writes a filled cell as a JSON value; `items`: a text is a list separated by `;`.
    pub(super) fn write_json(&self, row: usize, items: bool, out: &mut Vec<u8>) {
        if self.is_empty(row) {
            return out.extend_from_slice(b"null");
        }
        match self {
            Self::Text(array) if items => {
                out.push(b'[');
                for (at, item) in split_items(array.value(row)).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_json_text(item, out);
                }
                out.push(b']');
            }
            Self::Text(array) => write_json_text(array.value(row), out),
            Self::Int(_) | Self::Float(_) | Self::Decimal(..) | Self::Bool(_) => self.write_plain(row, out),
            Self::Day(_) | Self::Instant(_) => {
                out.push(b'"');
                self.write_plain(row, out);
                out.push(b'"');
            }
        }
    }

    /// Writes a cell as a CSV field; empty for null.
    pub(super) fn write_csv(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            _ if self.is_empty(row) => {}
            Self::Text(array) => write_csv_text(array.value(row), out),
            other => other.write_plain(row, out),
        }
    }

    /// A filled cell as it is sent, without quotes.
    pub(super) fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        match self {
            _ if self.is_empty(row) => None,
            Self::Text(array) => Some(Cow::Borrowed(array.value(row))),
            other => {
                let mut out = Vec::new();
                other.write_plain(row, &mut out);
                Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned()))
            }
        }
    }

    fn write_plain(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Self::Int(array) => write_integer(i128::from(array.value(row)), out),
            Self::Float(array) => out.extend_from_slice(array.value(row).to_string().as_bytes()),
            Self::Decimal(array, scale) => write_decimal(array.value(row), *scale, out),
            Self::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Day(array) => {
                let micros = i64::from(array.value(row)) * 86_400_000_000;
                write_date(DateTime::from_timestamp_micros(micros).unwrap_or_default(), out);
            }
            Self::Instant(array) => {
                // The documented pattern yyyy-MM-dd'T'HH:mm:ss.SSSZ, its sample has `-07:00` (gainsight-api §10).
                let time = DateTime::from_timestamp_micros(array.value(row)).unwrap_or_default();
                write_date(time, out);
                out.push(b'T');
                write_padded(time.hour(), 2, out);
                out.push(b':');
                write_padded(time.minute(), 2, out);
                out.push(b':');
                write_padded(time.second(), 2, out);
                out.push(b'.');
                write_padded(time.timestamp_subsec_millis(), 3, out);
                out.extend_from_slice(b"+00:00");
            }
        }
    }
}

/// The items of a multi-select as Salesforce and CSV write them.
pub(super) fn split_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|item| !item.is_empty())
}

/// Writes a JSON string. Most texts need no escape: one pass that the compiler can vectorise decides.
pub(super) fn write_json_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    if !bytes.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')) {
        out.extend_from_slice(bytes);
    } else {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut clean = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let escape = match byte {
                b'"' => b'"',
                b'\\' => b'\\',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0..=0x1f => b'u',
                _ => continue,
            };
            out.extend_from_slice(&bytes[clean..at]);
            out.extend_from_slice(&[b'\\', escape]);
            if escape == b'u' {
                out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            clean = at + 1;
        }
        out.extend_from_slice(&bytes[clean..]);
    }
    out.push(b'"');
}

/// Writes a CSV field, quoted where the dialect needs it (gainsight-api §12, item 23) or where blanks stand at an end.
pub(super) fn write_csv_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let special = bytes
        .iter()
        .fold(false, |found, byte| found | (*byte == b',') | (*byte == b'"') | (*byte == b'\n') | (*byte == b'\r'));
    let padded = matches!(bytes.first(), Some(b' ' | b'\t')) || matches!(bytes.last(), Some(b' ' | b'\t'));
    if !special && !padded {
        return out.extend_from_slice(bytes);
    }
    out.push(b'"');
    let mut clean = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'"' {
            out.extend_from_slice(&bytes[clean..=at]);
            out.push(b'"');
            clean = at + 1;
        }
    }
    out.extend_from_slice(&bytes[clean..]);
    out.push(b'"');
}

fn write_integer(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_digits(value.unsigned_abs(), 1, out);
}

/// Writes at least `least` digits.
fn write_digits(mut value: u128, least: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 40];
    let mut at = digits.len();
    while value > u128::from(u64::MAX) {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    // 64-bit division is many times faster than 128-bit, and nearly every number is small.
    let mut small = value as u64;
    while small > 0 {
        at -= 1;
        digits[at] = b'0' + (small % 10) as u8;
        small /= 10;
    }
    let at = at.min(digits.len() - least.min(digits.len()));
    out.extend_from_slice(&digits[at..]);
}

/// Writes a decimal without trailing zeros after the point.
fn write_decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let start = out.len();
    write_digits(value.unsigned_abs(), scale + 1, out);
    if scale == 0 {
        return;
    }
    let point = out.len() - scale;
    let zeros = out[point..].iter().rev().take_while(|digit| **digit == b'0').count();
    out.truncate(out.len() - zeros);
    if out.len() > point {
        out.insert(point, b'.');
    }
    debug_assert!(point > start, "there is a digit before the point");
}

fn write_padded(value: u32, least: usize, out: &mut Vec<u8>) {
    write_digits(u128::from(value), least, out);
}

fn write_date(date: DateTime<chrono::Utc>, out: &mut Vec<u8>) {
    write_padded(date.year().unsigned_abs(), 4, out);
    out.push(b'-');
    write_padded(date.month(), 2, out);
    out.push(b'-');
    write_padded(date.day(), 2, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(cells: &Cells, row: usize) -> String {
        let mut out = Vec::new();
        cells.write_json(row, false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_plain() {
        let ints = Cells::Int(vec![0, -7, i64::MIN].into());
        assert_eq!([json(&ints, 0), json(&ints, 1), json(&ints, 2)], ["0", "-7", "-9223372036854775808"]);
        let amounts =
            Decimal128Array::from(vec![10_000_050, -5, 100, 0, 10i128.pow(27)]).with_precision_and_scale(28, 2);
        let amounts = Cells::Decimal(amounts.unwrap(), 2);
        let texts: Vec<_> = (0..5).map(|row| json(&amounts, row)).collect();
        assert_eq!(texts, ["100000.5", "-0.05", "1", "0", "10000000000000000000000000"]);
        let floats = Cells::Float(vec![1.5, 1e21, f64::NAN].into());
        assert_eq!([json(&floats, 0), json(&floats, 1), json(&floats, 2)], ["1.5", "1000000000000000000000", "null"]);
    }

    #[test]
    fn days_and_instants_follow_the_documented_pattern() {
        let days = Cells::Day(vec![Some(19_758), None].into());
        assert_eq!([json(&days, 0), json(&days, 1)], ["\"2024-02-05\"", "null"]);
        let instants = TimestampMicrosecondArray::from(vec![1_707_134_400_123_456]).with_timezone("UTC");
        assert_eq!(json(&Cells::Instant(instants), 0), "\"2024-02-05T12:00:00.123+00:00\"");
    }

    #[test]
    fn items_become_a_list() {
        let mut out = Vec::new();
        Cells::Text(vec!["A; B;"].into()).write_json(0, true, &mut out);
        assert_eq!(out, br#"["A","B"]"#);
    }

    proptest! {
        #[test]
        fn json_texts_come_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Vec::new();
            write_json_text(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn csv_texts_come_back(text in "[a,\"\n\r é]*", other in "[ ,\"x]*") {
            let mut out = Vec::new();
            write_csv_text(&text, &mut out);
            out.push(b',');
            write_csv_text(&other, &mut out);
            out.extend_from_slice(b",x\n");
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&*out);
            let row = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(&row[0], text);
            prop_assert_eq!(&row[1], other);
        }

        #[test]
        fn decimals_come_back(value in -10i128.pow(27)..10i128.pow(27), scale in 0usize..10) {
            let mut out = Vec::new();
            write_decimal(value, scale, &mut out);
            let text = String::from_utf8(out).unwrap();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            prop_assert!(fraction.len() <= scale);
            let back: i128 = format!("{whole}{fraction:0<scale$}").parse().unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
