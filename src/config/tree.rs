//! A TOML file as a tree with places, read key by key.
//!
//! Reading does not stop at the first mistake: a value of the wrong kind is reported and counts as absent. The keys that
//! are asked for are the keys that exist; [`Table::end`] reports the others, each with the nearest that exists.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Sink};
use super::words;

/// A value with the place where it is written.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A TOML file.
#[derive(Debug)]
pub(super) struct File {
    name: Rc<str>,
    text: String,
}

impl File {
    pub(super) fn new(name: &str, text: String) -> Self {
        Self { name: Rc::from(name), text }
    }

    /// The line of a byte, from 1.
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    /// The tree; `None` after reporting every mistake of syntax.
    pub(super) fn parse(&self, sink: &Sink) -> Option<Spanned<DeTable<'_>>> {
        let (tree, mistakes) = DeTable::parse_recoverable(&self.text);
        for mistake in &mistakes {
            let line = mistake.span().map(|span| self.line(span.start));
            let place = Place { file: Rc::clone(&self.name), path: String::new(), line };
            sink.report(
                &place,
                format!("this is not TOML: {}", mistake.message()),
                "texts stand in quotes, lists in [ ], and each key stands once; https://toml.io shows the rest",
            );
        }
        mistakes.is_empty().then_some(tree)
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    file: &'a File,
    sink: &'a Sink,
    entries: &'a DeTable<'a>,
    /// Where it stands itself.
    pub(super) place: Place,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(file: &'a File, tree: &'a Spanned<DeTable<'a>>, sink: &'a Sink) -> Self {
        let place = Place { file: Rc::clone(&file.name), path: String::new(), line: Some(1) };
        Self { file, sink, entries: tree.get_ref(), place, asked: RefCell::default() }
    }

    pub(super) fn report(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.sink.report(place, message, hint);
    }

    pub(super) fn warn(&self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.sink.warn(place, message, hint);
    }

    /// Where its problems go.
    pub(super) fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// Whether the key is written at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Counts as asked for, so that [`Self::end`] says nothing about it.
    pub(super) fn known(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    fn below(&self, key: &str, span: Range<usize>) -> Place {
        let path = if self.place.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.path) };
        Place { file: Rc::clone(&self.file.name), path, line: Some(self.file.line(span.start)) }
    }

    /// The place of a key that is missing: the table's.
    pub(super) fn missing(&self, key: &str) -> Place {
        Place { path: self.below(key, 0..0).path, ..self.place.clone() }
    }

    pub(super) fn need(&self, key: &'static str, hint: &str) {
        self.report(&self.missing(key), format!("`{key}` is missing"), hint);
    }

    fn get(&self, key: &'static str) -> Option<(&'a DeValue<'a>, Place)> {
        self.asked.borrow_mut().push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some((value.get_ref(), self.below(key, name.span())))
    }

    fn wrong_kind(&self, place: &Place, value: &DeValue<'_>, wanted: &str, example: &str) {
        let kind = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(
            place,
            format!("this must be {wanted}, but it is {kind}"),
            format!("write it like this: {example}"),
        );
    }

    /// A text; an empty one is reported and counts as absent.
    pub(super) fn text(&self, key: &'static str) -> Option<Found<String>> {
        let (value, place) = self.get(key)?;
        self.as_text(value, place, &format!("{key} = \"…\""))
    }

    fn as_text(&self, value: &DeValue<'_>, place: Place, example: &str) -> Option<Found<String>> {
        let Some(text) = value.as_str() else {
            self.wrong_kind(&place, value, "a text", example);
            return None;
        };
        if text.trim().is_empty() {
            self.report(&place, "this text is empty", "fill it in, or remove the line");
            return None;
        }
        Some(Found { value: text.trim().to_owned(), place })
    }

    pub(super) fn need_text(&self, key: &'static str, hint: &str) -> Option<Found<String>> {
        if !self.entries.contains_key(key) {
            self.need(key, hint);
        }
        self.text(key)
    }

    /// A list of texts; one text counts as a list of one.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<Found<String>>> {
        let (value, place) = self.get(key)?;
        let example = format!("{key} = [\"…\", \"…\"]");
        match value {
            DeValue::String(_) => Some(self.as_text(value, place, &example).into_iter().collect()),
            DeValue::Array(list) => Some(
                list.iter()
                    .enumerate()
                    .filter_map(|(index, item)| {
                        let path = format!("{}[{index}]", place.path);
                        let line = Some(self.file.line(item.span().start));
                        self.as_text(item.get_ref(), Place { path, line, ..place.clone() }, "\"…\"")
                    })
                    .collect(),
            ),
            other => {
                self.wrong_kind(&place, other, "a list of texts", &example);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<Found<T>> {
        let text = self.text(key)?;
        match words.iter().find(|(word, _)| *word == text.value) {
            Some((_, value)) => Some(Found { value: *value, place: text.place }),
            None => {
                let hint = words::meant(&text.value, words.iter().map(|(word, _)| *word));
                self.report(&text.place, format!("`{}` is not a value of `{key}`", text.value), hint);
                None
            }
        }
    }

    /// One of some words, reported if absent.
    pub(super) fn need_choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<Found<T>> {
        if !self.has(key) {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{key} = \"{word}\"")).collect();
            self.need(key, &format!("write one of: {}", words.join(", ")));
        }
        self.choice(key, words)
    }

    pub(super) fn flag(&self, key: &'static str) -> Option<Found<bool>> {
        let (value, place) = self.get(key)?;
        match value.as_bool() {
            Some(value) => Some(Found { value, place }),
            None => {
                self.wrong_kind(&place, value, "true or false", &format!("{key} = true"));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<Found<T>>
    where
        T: FromStr + PartialOrd + Display,
    {
        let (value, place) = self.get(key)?;
        self.as_number(key, value, place, range)
    }

    fn as_number<T>(&self, key: &str, value: &DeValue<'_>, place: Place, range: RangeInclusive<T>) -> Option<Found<T>>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(number) = value.as_integer() else {
            self.wrong_kind(&place, value, "a whole number", &format!("{key} = {}", range.start()));
            return None;
        };
        match number.as_str().parse::<T>().ok().filter(|value| number.radix() == 10 && range.contains(value)) {
            Some(value) => Some(Found { value, place }),
            None => {
                let hint = format!("use a number from {} to {}", range.start(), range.end());
                self.report(&place, format!("`{}` is out of range", number.as_str()), hint);
                None
            }
        }
    }

    /// A limit: a number above zero, or `"unlimited"`, which is `None`.
    pub(super) fn limit(&self, key: &'static str) -> Option<Found<Option<u32>>> {
        let (value, place) = self.get(key)?;
        if value.as_str() == Some("unlimited") {
            return Some(Found { value: None, place });
        }
        if value.is_str() {
            self.report(
                &place,
                "this must be a number of calls",
                format!("write {key} = 100, or {key} = \"unlimited\""),
            );
            return None;
        }
        let found = self.as_number(key, value, place, 1..=u32::MAX)?;
        Some(Found { value: Some(found.value), place: found.place })
    }

    /// A text that `parse` understands; its complaint is the hint.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Found<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(Found { value, place: text.place }),
            Err(hint) => {
                self.report(&text.place, format!("`{}` cannot be understood", text.value), hint);
                None
            }
        }
    }

    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        let (value, place) = self.get(key)?;
        match value.as_table() {
            Some(entries) => Some(self.child(entries, place)),
            None => {
                self.wrong_kind(&place, value, "a table", &format!("[{}]", place.path));
                None
            }
        }
    }

    /// A key that holds a text in some places and a table in others.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_str())
    }

    pub(super) fn is_list(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// A list of tables (`[[map]]`), empty if absent.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some((value, place)) = self.get(key) else { return Vec::new() };
        let example = format!("[[{}]], or {key} = [{{ … }}]", place.path);
        let Some(list) = value.as_array() else {
            self.wrong_kind(&place, value, "a list of tables", &example);
            return Vec::new();
        };
        let tables = list.iter().enumerate().filter_map(|(index, item)| {
            let path = format!("{}[{index}]", place.path);
            let place = Place { path, line: Some(self.file.line(item.span().start)), ..place.clone() };
            match item.get_ref().as_table() {
                Some(entries) => Some(self.child(entries, place)),
                None => {
                    self.wrong_kind(&place, item.get_ref(), "a table", &example);
                    None
                }
            }
        });
        tables.collect()
    }

    /// The tables under names that a person gave (`[chains.nightly]`), in the order of the names.
    pub(super) fn named_tables(&self, key: &'static str) -> Vec<(String, Self)> {
        let Some(parent) = self.table(key) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, value) in parent.entries {
            let place = parent.below(name.get_ref(), name.span());
            match value.get_ref().as_table() {
                Some(entries) => tables.push((name.get_ref().to_string(), parent.child(entries, place))),
                None => parent.wrong_kind(&place, value.get_ref(), "a table", &format!("[{}]", place.path)),
            }
        }
        tables
    }

    /// The texts under names that a person gave.
    pub(super) fn named_texts(&self) -> Vec<(String, Found<String>)> {
        let mut texts = Vec::new();
        for (name, value) in self.entries {
            let place = self.below(name.get_ref(), name.span());
            if let Some(found) = self.as_text(value.get_ref(), place, &format!("{} = \"…\"", name.get_ref())) {
                texts.push((name.get_ref().to_string(), found));
            }
        }
        texts
    }

    fn child(&self, entries: &'a DeTable<'a>, place: Place) -> Self {
        Table { file: self.file, sink: self.sink, entries, place, asked: RefCell::default() }
    }

    /// Reports keys that exist but have no effect here, for a better reason than "unknown".
    pub(super) fn without_effect(&self, key: &'static str, reason: &str, hint: &str) {
        if let Some((_, place)) = self.get(key) {
            self.report(&place, format!("`{key}` has no effect here: {reason}"), hint);
        }
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn end(self) {
        let asked = self.asked.borrow();
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if !asked.contains(&name) {
                let place = self.below(name, key.span());
                self.report(&place, format!("`{name}` is not a key here"), words::meant(name, asked.iter().copied()));
            }
        }
    }
}
