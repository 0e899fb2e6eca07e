//! Query text → tokens with their places.

use super::refusal;
use crate::sandbox::salesforce::error::ApiError;
use crate::sandbox::salesforce::format;

/// One token and the byte where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A keyword or a name; paths with their dots are one word.
    Word(String),
    Text(String),
    Integer(i64),
    Number(f64),
    Date(i32),
    Datetime(i64),
    /// `,` `(` `)` `:` `=` `!=` `<` `<=` `>` `>=`
    Symbol(&'static str),
    End,
}

/// All tokens; the last is [`Kind::End`].
pub(super) fn tokens(query: &str) -> Result<Vec<Token>, ApiError> {
    let bytes = query.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'\'' => {
                let (text, end) = text(query, at)?;
                at = end;
                Kind::Text(text)
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                at = end_of(bytes, at, |c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.');
                Kind::Word(query[start..at].to_owned())
            }
            b'0'..=b'9' | b'+' | b'-' => {
                at = end_of(bytes, at + 1, |c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b':' | b'+' | b'-'));
                number(&query[start..at]).ok_or_else(|| unexpected(query, start, &query[start..at]))?
            }
            _ => {
                let symbol = symbol(&query[at..]).ok_or_else(|| {
                    let found: String = query[at..].chars().take(1).collect();
                    unexpected(query, at, &found)
                })?;
                at += symbol.len();
                Kind::Symbol(if symbol == "<>" { "!=" } else { symbol })
            }
        };
        out.push(Token { kind, at: start });
    }
    out.push(Token { kind: Kind::End, at: query.len() });
    Ok(out)
}

/// The service's sentence about a token that fits nowhere.
pub(super) fn unexpected(query: &str, at: usize, found: &str) -> ApiError {
    refusal(query, at, "MALFORMED_QUERY", &format!("unexpected token: '{found}'"))
}

fn end_of(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|c| !belongs(*c)).map_or(bytes.len(), |length| from + length)
}

fn symbol(rest: &str) -> Option<&'static str> {
    ["!=", "<>", "<=", ">=", "<", ">", "=", ",", "(", ")", ":"].into_iter().find(|symbol| rest.starts_with(symbol))
}

fn number(text: &str) -> Option<Kind> {
    if let Ok(value) = text.parse::<i64>() {
        return Some(Kind::Integer(value));
    }
    if let Some(day) = format::parse_date(text) {
        return Some(Kind::Date(day));
    }
    if let Some(moment) = format::parse_datetime(text) {
        return Some(Kind::Datetime(moment));
    }
    let plain = text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse::<f64>().ok().filter(|value| plain && value.is_finite()).map(Kind::Number)
}

/// Unescapes a text literal that begins at `start`; returns it and the place behind its closing quote.
fn text(query: &str, start: usize) -> Result<(String, usize), ApiError> {
    let open = || refusal(query, start, "MALFORMED_QUERY", "line 1: mismatched character '<EOF>' expecting '''");
    let mut out = String::new();
    let mut rest = query[start + 1..].char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\'' => return Ok((out, start + 1 + at + 1)),
            '\\' => {
                let (_, escaped) = rest.next().ok_or_else(open)?;
                match escaped {
                    'n' | 'N' => out.push('\n'),
                    'r' | 'R' => out.push('\r'),
                    't' | 'T' => out.push('\t'),
                    'b' | 'B' => out.push('\u{8}'),
                    'f' | 'F' => out.push('\u{c}'),
                    '"' | '\'' => out.push(escaped),
                    // LIKE tells an escaped wildcard from a real one, so a backslash must stay one.
                    '\\' | '_' | '%' => out.extend(['\\', escaped]),
                    'u' => {
                        let code: String = rest.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == 4);
                        out.push(code.and_then(char::from_u32).ok_or_else(|| escape(query, start + 1 + at))?);
                    }
                    _ => return Err(escape(query, start + 1 + at)),
                }
            }
            other => out.push(other),
        }
    }
    Err(open())
}

fn escape(query: &str, at: usize) -> ApiError {
    let shown: String = query[at..].chars().take(2).collect();
    refusal(
        query,
        at,
        "MALFORMED_QUERY",
        &format!("Invalid string literal: Illegal character sequence '{shown}' in string literal."),
    )
}
