//! JSON as it stands in a body: texts are borrowed where nothing in them is escaped, keys stay in their order.
//!
//! A write brings a dozen values for each of its records; most of them are looked at once and then copied into a column.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Number;
use serde_json::Value as Json;

/// A value in a body.
#[derive(Debug, Clone)]
pub(super) enum Given<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Record(Record<'a>),
}

/// A JSON object with its keys in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Record<'a>(pub(super) Vec<(Cow<'a, str>, Given<'a>)>);

/// Reads a whole body.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> serde_json::Result<T> {
    // One look at all bytes is cheaper than one at each text; what is not UTF-8 is refused where it stands.
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    }
}

impl Given<'_> {
    /// The value on its own: an object's keys sorted, of repeated ones the last.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Number(number) => Json::Number(number.clone()),
            Self::Text(text) => Json::from(text.as_ref()),
            Self::List(list) => list.iter().map(Self::to_json).collect(),
            Self::Record(record) => record.0.iter().map(|(key, value)| (key.as_ref(), value.to_json())).collect(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is one.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&Json> for Given<'static> {
    fn from(value: &Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => Self::Number(number.clone()),
            Json::String(text) => Self::Text(Cow::Owned(text.clone())),
            Json::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Json::Object(map) => {
                Self::Record(Record(map.iter().map(|(key, value)| (Cow::Owned(key.clone()), value.into())).collect()))
            }
        }
    }
}

impl<'a> Record<'a> {
    /// The value under a name, letter case ignored.
    pub(super) fn get(&self, name: &str) -> Option<&Given<'a>> {
        self.0.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// As [`get`](Self::get), on its own; null where there is none.
    pub(super) fn json(&self, name: &str) -> Json {
        self.get(name).map_or(Json::Null, Given::to_json)
    }

    /// Takes the value under a name out, letter case ignored.
    pub(super) fn take(&mut self, name: &str) -> Option<Given<'a>> {
        let at = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(self.0.remove(at).1)
    }

    /// The record with its keys sorted, of repeated ones the last.
    pub(super) fn sorted(mut self) -> Self {
        if !self.0.is_sorted_by(|(one, _), (next, _)| one < next) {
            self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
            self.0.reverse();
            self.0.dedup_by(|(one, _), (kept, _)| one == kept);
            self.0.reverse();
        }
        self
    }
}

/// A key or a text.
pub(super) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// An object.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
        let mut pairs = Vec::with_capacity(12);
        while let Some(key) = map.next_key_seed(Text)? {
            pairs.push((key, map.next_value()?));
        }
        Ok(Record(pairs))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Record<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

/// Any value.
struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Given::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Given::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Given::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Given::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map_or(Given::Null, Given::Number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Text.visit_borrowed_str(text).map(Given::Text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Text.visit_str(text).map(Given::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            all.push(one);
        }
        Ok(Given::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Pairs.visit_map(map).map(Given::Record)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODIES: [&str; 8] = [
        r#"{"b":1,"a":"x","b":{"z":[1,-2,2.5,1e300],"a":null,"z":"last"}}"#,
        r#"{"plain":"é","escaped":"\u00e9\n\"🙂\ud83d\ude42","":true}"#,
        r#"{"deep":[[[{"k":[]}]],{}]}"#,
        "{}",
        r#"{"a":1e999}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":tru}"#,
        r#"{"a" 1}"#,
    ];

    #[test]
    fn values_and_complaints_are_those_of_the_parser_itself() {
        for body in BODIES {
            let ours = read::<Record<'_>>(body.as_bytes()).map(|record| Given::Record(record).to_json());
            match (ours, serde_json::from_str::<Json>(body)) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{body}"),
                (Err(ours), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{body}"),
                (ours, theirs) => panic!("{body}: {ours:?}, {theirs:?}"),
            }
        }
        assert!(read::<Record<'_>>(b"{\"a\":\"\xFF\"}").unwrap_err().to_string().contains("invalid unicode"));
    }

    #[test]
    fn texts_are_copied_only_where_they_must() {
        let Record(pairs) = read(br#"{"plain":"text","\u0065scaped":"a\tb"}"#).unwrap();
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        let [(plain, Given::Text(text)), (escaped, Given::Text(tab))] = pairs.as_slice() else { panic!("{pairs:?}") };
        assert!(borrowed(plain) && borrowed(text) && !borrowed(escaped) && !borrowed(tab));
        assert_eq!((escaped.as_ref(), tab.as_ref()), ("escaped", "a\tb"));
    }

    #[test]
    fn sorting_keeps_the_last_of_repeated_keys() {
        let record: Record<'_> = read(br#"{"b":1,"a":2,"c":3,"b":4,"B":5,"a":6}"#).unwrap();
        let Record(pairs) = record.sorted();
        let shown: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}{}", value.to_json())).collect();
        assert_eq!(shown, ["B5", "a6", "b4", "c3"]);
    }
}
