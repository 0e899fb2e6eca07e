//! One value: from JSON or CSV text into what the tenant keeps, or the reason why not (gainsight-api §10).
//!
//! The same reasons have different codes in the object API, the people API and the users API; here they have names.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::catalog::Catalog;
use super::catalog::Field;
use super::catalog::Kind;
use super::dates::parse_date;
use super::dates::parse_datetime;
use super::given::Given;
use super::switches::EmptyTexts;
use super::switches::Switches;

/// A value on its way into a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A scaled number, a day, a moment, an id, a dropdown item.
    Int(i64),
    Bool(bool),
}

impl Cell<'_> {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::Int(value) => Cell::Int(value),
            Self::Bool(value) => Cell::Bool(value),
        }
    }
}

/// Why a value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    TooLong,
    UnknownField,
    ReadOnly,
    NotNullable,
    WrongType,
    Number,
    NumberRange,
    Currency,
    CurrencyComma,
    Percentage,
    Boolean,
    Date,
    DateTime,
    Email,
    Url,
    SfdcId,
    Gsid,
    Picklist,
    Lookup,
    NoMatch,
    /// A mandatory field is absent or blank.
    Missing,
    Duplicate,
    OwnManager,
    Key,
    NoCompany,
    LookupConfiguration,
}

/// A refused value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) field: String,
    pub(super) value: Json,
}

impl Fault {
    pub(super) fn new(reason: Reason, field: &str, value: Json) -> Self {
        Self { reason, field: field.to_owned(), value }
    }

    /// The value as messages show it.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Json::String(text) => text.clone(),
            Json::Array(list) if list.len() == 1 => match &list[0] {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            },
            other => other.to_string(),
        }
    }
}

/// How values are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// E-mail addresses and URLs are checked.
    pub(super) formats: bool,
    /// What separates the values of a multi-select in CSV.
    pub(super) separator: char,
    /// `""` in a STRING is null.
    pub(super) empty_is_null: bool,
}

impl Rules {
    /// As the switches say.
    pub(super) fn of(switches: &Switches, formats: bool) -> Self {
        Self {
            formats,
            separator: switches.multi_select_separator,
            empty_is_null: switches.empty_texts == EmptyTexts::Null,
        }
    }
}

/// Reads a JSON value for a field.
pub(super) fn from_json<'a>(
    catalog: &Catalog,
    field: &Field,
    value: &'a Given<'_>,
    rules: Rules,
) -> Result<Cell<'a>, Box<Fault>> {
    let refuse = |reason| Box::new(Fault::new(reason, &field.name, value.to_json()));
    match value {
        Given::Null if !field.nillable => Err(refuse(Reason::NotNullable)),
        Given::Null => Ok(Cell::Null),
        Given::Text(text) if field.kind == Kind::Json => Ok(Cell::Text(Cow::Borrowed(text))),
        Given::Text(text) => from_text(catalog, field, text, rules).map_err(|reason| match field.kind {
            // For a dropdown the refused value is an array, for all others the scalar (§2.3).
            Kind::Picklist | Kind::Multi => {
                Box::new(Fault::new(reason, &field.name, Json::Array(vec![value.to_json()])))
            }
            _ => refuse(reason),
        }),
        Given::Bool(flag) if field.kind == Kind::Boolean => Ok(Cell::Bool(*flag)),
        Given::Number(number) if field.kind.is_number() => {
            scaled(&number.to_string(), field.decimals).map(Cell::Int).ok_or_else(|| refuse(Reason::NumberRange))
        }
        Given::List(list) if field.kind == Kind::Multi => {
            let texts: Option<Vec<&str>> = list.iter().map(Given::as_str).collect();
            let items = texts.ok_or(Reason::Picklist).and_then(|texts| multi(catalog, field, &texts));
            items.map_err(|reason| Box::new(Fault::new(reason, &field.name, value.to_json())))
        }
        other if field.kind == Kind::Json => Ok(Cell::Text(Cow::Owned(other.to_json().to_string()))),
        _ => Err(refuse(match field.kind {
            Kind::Boolean => Reason::Boolean,
            Kind::Date => Reason::Date,
            Kind::DateTime => Reason::DateTime,
            Kind::Number => Reason::Number,
            Kind::Currency => Reason::Currency,
            Kind::Percentage => Reason::Percentage,
            Kind::Picklist | Kind::Multi => Reason::Picklist,
            Kind::Gsid | Kind::Lookup => Reason::Gsid,
            Kind::Email => Reason::Email,
            Kind::Url => Reason::Url,
            Kind::SfdcId => Reason::SfdcId,
            _ => Reason::WrongType,
        })),
    }
}

/// Reads a text for a field: of JSON or, `""` then meaning the same, of a CSV cell.
pub(super) fn from_text<'a>(catalog: &Catalog, field: &Field, text: &'a str, rules: Rules) -> Result<Cell<'a>, Reason> {
    // §12 item 10: a STRING keeps the empty text, for every other type it is null.
    if text.is_empty() && (rules.empty_is_null || !matches!(field.kind, Kind::String | Kind::RichText)) {
        return if field.nillable { Ok(Cell::Null) } else { Err(Reason::NotNullable) };
    }
    match field.kind {
        Kind::String | Kind::RichText | Kind::Image | Kind::Json => {
            check_length(field, text)?;
            if !field.values.is_empty() && !text.is_empty() && !field.values.iter().any(|one| one == text) {
                return Err(Reason::Picklist);
            }
            Ok(Cell::Text(Cow::Borrowed(text)))
        }
        Kind::Email => {
            // A person's key is trimmed (§12 item 28), and an address has no blanks at its ends anyway.
            let text = text.trim();
            check_length(field, text)?;
            if rules.formats && !is_email(text) {
                return Err(Reason::Email);
            }
            Ok(Cell::Text(Cow::Borrowed(text)))
        }
        Kind::Url => {
            check_length(field, text)?;
            if rules.formats && !is_url(text) {
                return Err(Reason::Url);
            }
            Ok(Cell::Text(Cow::Borrowed(text)))
        }
        Kind::SfdcId => {
            if is_sfdc_id(text) {
                Ok(Cell::Text(Cow::Borrowed(text)))
            } else {
                Err(Reason::SfdcId)
            }
        }
        Kind::Number => scaled_text(text, field.decimals, Reason::Number).map(Cell::Int),
        Kind::Percentage => scaled_text(text, field.decimals, Reason::Percentage).map(Cell::Int),
        Kind::Currency if text.contains(',') => Err(Reason::CurrencyComma),
        Kind::Currency => scaled_text(text, field.decimals, Reason::Currency).map(Cell::Int),
        Kind::Boolean => match text {
            "true" | "TRUE" | "True" => Ok(Cell::Bool(true)),
            "false" | "FALSE" | "False" => Ok(Cell::Bool(false)),
            _ => Err(Reason::Boolean),
        },
        Kind::Date => parse_date(text).map(Cell::Int).ok_or(Reason::Date),
        Kind::DateTime => parse_datetime(text).map(Cell::Int).ok_or(Reason::DateTime),
        Kind::Gsid | Kind::Lookup => catalog.gsids.read_any(text.as_bytes()).map(Cell::Int).ok_or(Reason::Gsid),
        Kind::Picklist => item(catalog, field, text).map(|one| Cell::Int(one as i64)),
        Kind::Multi => {
            let texts: Vec<&str> = text.split(rules.separator).map(str::trim).filter(|one| !one.is_empty()).collect();
            multi(catalog, field, &texts)
        }
    }
}

/// Reads a CSV cell: as text, but 0 and 1 are booleans too.
pub(super) fn from_csv<'a>(catalog: &Catalog, field: &Field, text: &'a str, rules: Rules) -> Result<Cell<'a>, Reason> {
    match (field.kind, text) {
        (Kind::Boolean, "1") => Ok(Cell::Bool(true)),
        (Kind::Boolean, "0") => Ok(Cell::Bool(false)),
        _ => from_text(catalog, field, text, rules),
    }
}

fn check_length(field: &Field, text: &str) -> Result<(), Reason> {
    if text.len() > field.length && text.chars().count() > field.length { Err(Reason::TooLong) } else { Ok(()) }
}

fn item(catalog: &Catalog, field: &Field, text: &str) -> Result<usize, Reason> {
    field
        .category
        .and_then(|category| catalog.item(category, text))
        .filter(|item| catalog.items[*item].active)
        .ok_or(Reason::Picklist)
}

/// The items of a multi-select, kept as their numbers between commas.
fn multi<'a>(catalog: &Catalog, field: &Field, texts: &[&str]) -> Result<Cell<'a>, Reason> {
    let mut kept = String::new();
    for text in texts {
        if !kept.is_empty() {
            kept.push(',');
        }
        kept.push_str(&item(catalog, field, text)?.to_string());
    }
    Ok(if kept.is_empty() { Cell::Null } else { Cell::Text(Cow::Owned(kept)) })
}

fn scaled_text(text: &str, decimals: u32, wrong: Reason) -> Result<i64, Reason> {
    let text = text.trim();
    let plain = text.strip_prefix(['-', '+']).unwrap_or(text);
    if plain.is_empty()
        || !plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'))
    {
        return Err(wrong);
    }
    if plain.bytes().any(|byte| matches!(byte, b'e' | b'E')) && plain.parse::<f64>().is_err() {
        return Err(wrong);
    }
    match scaled(text, decimals) {
        Some(value) => Ok(value),
        None if plain.parse::<f64>().is_ok() => Err(Reason::NumberRange),
        None => Err(wrong),
    }
}

/// A decimal number times ten to the `decimals`, rounded half away from zero; none if it does not fit.
pub(super) fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let mut value = 0_i64;
    let mut after_point: Option<u32> = None;
    let mut seen = false;
    let mut round_up = false;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                let digit = i64::from(byte - b'0');
                match &mut after_point {
                    Some(count) if *count >= decimals => {
                        if *count == decimals {
                            round_up = digit >= 5;
                        }
                        *count += 1;
                    }
                    other => {
                        value = value.checked_mul(10)?.checked_add(digit)?;
                        if let Some(count) = other {
                            *count += 1;
                        }
                    }
                }
            }
            b'.' if after_point.is_none() => after_point = Some(0),
            b'e' | b'E' => return scaled_float(text.parse().ok()?, decimals),
            _ => return None,
        }
    }
    if !seen {
        return None;
    }
    let written = after_point.unwrap_or(0).min(decimals);
    value = value.checked_mul(10_i64.checked_pow(decimals - written)?)?;
    if round_up {
        value = value.checked_add(1)?;
    }
    Some(if negative { -value } else { value })
}

fn scaled_float(value: f64, decimals: u32) -> Option<i64> {
    let value = (value * 10_f64.powi(decimals as i32)).round();
    (value.abs() < 9e18).then_some(value as i64)
}

/// One `@` with something before and a domain with a dot after, no blanks.
pub(super) fn is_email(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut domain = None;
    let mut dots = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b',' | b';' | b'<' | b'>' | b'"' | b'(' | b')' | b'\t'..=b'\r' | b' ' => return false,
            b'@' if at == 0 || domain.is_some() => return false,
            b'@' => domain = Some(at + 1),
            b'.' if domain.is_some() => {
                // Neither two together nor at the beginning.
                if matches!(bytes[at - 1], b'.' | b'@') {
                    return false;
                }
                dots += 1;
            }
            _ => {}
        }
    }
    let Some(domain) = domain.map(|at| &bytes[at..]) else { return false };
    dots > 0
        && domain.len() > 2
        && domain[0] != b'-'
        && !domain.ends_with(b".")
        && !domain.ends_with(b"-")
        && (text.is_ascii() || !has_blank(text))
}

fn has_blank(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|one| matches!(one, b'\t'..=b'\r' | b' '))
    } else {
        text.chars().any(char::is_whitespace)
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    !has_blank(text) && host.contains('.') && !host.starts_with('.') && !host.ends_with('.')
}

/// 15 or 18 letters and digits.
pub(super) fn is_sfdc_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_and_rounded() {
        assert_eq!(scaled("12.345", 2), Some(1235));
        assert_eq!(scaled("-12.345", 2), Some(-1235));
        assert_eq!(scaled("12", 2), Some(1200));
        assert_eq!(scaled("0.5", 0), Some(1));
        assert_eq!(scaled("1e3", 1), Some(10_000));
        assert_eq!(scaled("99999999999999999999", 0), None);
        assert_eq!(scaled("", 0), None);
        assert_eq!(scaled_text("abc", 0, Reason::Number), Err(Reason::Number));
        assert_eq!(scaled_text("99999999999999999999", 0, Reason::Number), Err(Reason::NumberRange));
        assert_eq!(scaled_text("1-2", 0, Reason::Number), Err(Reason::Number));
    }

    #[test]
    fn addresses_have_a_form() {
        for good in ["a@b.co", "o'neil+x@mail.example.com", "josé@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.co", "a b@c.de", "a@@b.co", "a@b..co", "a@.co", "a,b@c.de"] {
            assert!(!is_email(bad), "{bad}");
        }
        assert!(is_url("https://www.linkedin.com/in/x") && is_url("linkedin.com/in/x") && !is_url("not a url"));
    }
}
