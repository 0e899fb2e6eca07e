//! JSON bytes, written straight from the columns.

use super::catalog::Catalog;
use super::catalog::Field;
use super::catalog::Kind;
use super::column::Value;
use super::dates::write_date;
use super::dates::write_datetime;
use super::switches::Dates;

/// How values are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    pub(super) dates: Dates,
    pub(super) empty_text_for_null_dates: bool,
}

/// Appends a text as JSON, quotes included. The bytes are UTF-8.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    // All bytes are looked at, as that goes many at a time.
    if !text.iter().fold(false, |any, byte| any | matches!(byte, 0..=0x1F | b'"' | b'\\')) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let mut from = 0;
    for (at, byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1F => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[from..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(&text[from..]);
    out.push(b'"');
}

/// Appends a whole number.
pub(super) fn write_int(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
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

/// Appends a scaled number without zeros at its end.
pub(super) fn write_scaled(value: i64, decimals: u32, out: &mut Vec<u8>) {
    let scale = 10_u64.pow(decimals.min(18));
    if value < 0 {
        out.push(b'-');
    }
    let (whole, mut fraction) = (value.unsigned_abs() / scale, value.unsigned_abs() % scale);
    write_int(whole as i64, out);
    if fraction == 0 {
        return;
    }
    let mut places = decimals;
    while fraction % 10 == 0 {
        fraction /= 10;
        places -= 1;
    }
    out.push(b'.');
    out.extend_from_slice(format!("{fraction:0width$}", width = places as usize).as_bytes());
}

/// Appends a field's value as reads give it.
pub(super) fn write_value(catalog: &Catalog, field: &Field, value: Value<'_>, show: Show, out: &mut Vec<u8>) {
    match (value, field.kind) {
        (Value::Null, Kind::Date | Kind::DateTime) if show.empty_text_for_null_dates => out.extend_from_slice(b"\"\""),
        (Value::Null, _) => out.extend_from_slice(b"null"),
        (Value::Bool(true), _) => out.extend_from_slice(b"true"),
        (Value::Bool(false), _) => out.extend_from_slice(b"false"),
        (Value::Text(items), Kind::Multi) => {
            out.push(b'[');
            for (at, item) in items.split(|byte| *byte == b',').enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_item(catalog, item_number(item), out);
            }
            out.push(b']');
        }
        (Value::Text(text), _) => write_text(text, out),
        (Value::Int(value), kind) if is_quoted(kind, show) => {
            out.push(b'"');
            write_whole(catalog, field, value, show, out);
            out.push(b'"');
        }
        (Value::Int(value), _) => write_whole(catalog, field, value, show, out),
    }
}

/// Whether a value that is kept as a whole number is read as a text.
fn is_quoted(kind: Kind, show: Show) -> bool {
    match kind {
        Kind::Date | Kind::DateTime => show.dates == Dates::Iso,
        kind => kind.is_id() || kind == Kind::Picklist,
    }
}

/// Appends what is kept as a whole number, without quotes.
fn write_whole(catalog: &Catalog, field: &Field, value: i64, show: Show, out: &mut Vec<u8>) {
    match (field.kind, show.dates) {
        (Kind::Date, Dates::EpochMs) => write_int(value * 86_400_000, out),
        (Kind::DateTime, Dates::EpochMs) => write_int(value, out),
        (Kind::Date, Dates::Iso) => write_date(value, out),
        (Kind::DateTime, Dates::Iso) => write_datetime(value, out),
        (Kind::Gsid | Kind::Lookup, _) => out.extend_from_slice(&catalog.gsids.write(value)),
        (Kind::Picklist, _) => out.extend_from_slice(&catalog.gsids.write(catalog.item_id(value as usize))),
        _ => write_scaled(value, field.decimals, out),
    }
}

/// Appends a field's value as a CSV cell: the same text as in JSON, quoted where CSV needs it; null is empty.
pub(super) fn write_csv(catalog: &Catalog, field: &Field, value: Value<'_>, show: Show, out: &mut Vec<u8>) {
    match (value, field.kind) {
        (Value::Null, _) => {}
        (Value::Text(items), Kind::Multi) => {
            for (at, item) in items.split(|byte| *byte == b',').enumerate() {
                if at > 0 {
                    out.push(b';');
                }
                out.extend_from_slice(&catalog.gsids.write(catalog.item_id(item_number(item))));
            }
        }
        (Value::Text(text), _) => write_csv_text(text, out),
        (Value::Int(value), _) => write_whole(catalog, field, value, show, out),
        (Value::Bool(flag), _) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
    }
}

/// Appends a text as a CSV cell. An empty text is quoted, so that it is not null.
pub(super) fn write_csv_text(text: &[u8], out: &mut Vec<u8>) {
    let special = text.iter().fold(false, |any, byte| any | matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    let quote = text.is_empty() || special;
    if !quote {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

fn write_item(catalog: &Catalog, item: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(&catalog.gsids.write(catalog.item_id(item)));
    out.push(b'"');
}

/// The number of a multi-select's item as a table keeps it.
pub(super) fn item_number(digits: &[u8]) -> usize {
    digits.iter().fold(0, |value, byte| value * 10 + usize::from(byte.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_read_back_by_a_parser() {
        for text in ["", "a\"b\\c", "line\r\n\ttab", "\u{1}\u{1f}", "Åsa 株式会社 🙂"] {
            let json = written(|out| write_text(text.as_bytes(), out));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_short() {
        assert_eq!(written(|out| write_scaled(123_450, 2, out)), "1234.5");
        assert_eq!(written(|out| write_scaled(-5, 2, out)), "-0.05");
        assert_eq!(written(|out| write_scaled(100, 2, out)), "1");
        assert_eq!(written(|out| write_int(i64::MIN, out)), i64::MIN.to_string());
    }
}
