//! A reader of flat JSON records: just what the query API answers, without building values.

use std::borrow::Cow;

/// A cell as it stands in the text.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// The texts of a list; other items are left out.
    List(Vec<Cow<'a, str>>),
    /// An object; its content is skipped.
    Object,
}

/// Walks over an array of objects.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// Not the JSON that was expected, at this byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Malformed(pub(super) usize);

type Parsed<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&mut self) -> Parsed<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Malformed(self.at))
    }

    fn take(&mut self, expected: u8) -> Parsed<()> {
        if self.peek()? != expected {
            return Err(Malformed(self.at));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads every record: `cell` gets each key and value, `end` follows each record.
    pub(super) fn records<E: From<Malformed>, S>(
        &mut self,
        state: &mut S,
        cell: impl Fn(&mut S, &str, Cell<'a>) -> Result<(), E>,
        end: impl Fn(&mut S) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return Ok(());
        }
        loop {
            self.take(b'{')?;
            if self.peek()? == b'}' {
                self.at += 1;
            } else {
                loop {
                    let key = self.string()?;
                    self.take(b':')?;
                    let value = self.value()?;
                    cell(state, &key, value)?;
                    match self.peek()? {
                        b',' => self.at += 1,
                        b'}' => break self.at += 1,
                        _ => return Err(Malformed(self.at).into()),
                    }
                    self.peek()?;
                }
            }
            end(state)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => return Ok(()),
                _ => return Err(Malformed(self.at).into()),
            }
        }
    }

    fn value(&mut self) -> Parsed<Cell<'a>> {
        match self.peek()? {
            b'"' => self.string().map(Cell::Text),
            b'n' => self.word("null", Cell::Null),
            b't' => self.word("true", Cell::Bool(true)),
            b'f' => self.word("false", Cell::Bool(false)),
            b'[' => self.list(),
            b'{' => self.skip_object(),
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                let rest = &self.text.as_bytes()[start..];
                let length = rest
                    .iter()
                    .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .unwrap_or(rest.len());
                self.at += length;
                Ok(Cell::Number(&self.text[start..self.at]))
            }
            _ => Err(Malformed(self.at)),
        }
    }

    fn word(&mut self, word: &str, cell: Cell<'a>) -> Parsed<Cell<'a>> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Malformed(self.at));
        }
        self.at += word.len();
        Ok(cell)
    }

    fn list(&mut self) -> Parsed<Cell<'a>> {
        self.take(b'[')?;
        let mut texts = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Cell::List(texts));
        }
        loop {
            match self.value()? {
                Cell::Text(text) => texts.push(text),
                Cell::Number(text) => texts.push(Cow::Borrowed(text)),
                _ => {}
            }
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Cell::List(texts));
                }
                _ => return Err(Malformed(self.at)),
            }
        }
    }

    fn skip_object(&mut self) -> Parsed<Cell<'a>> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Cell::Object);
        }
        loop {
            self.peek()?;
            self.string()?;
            self.take(b':')?;
            self.value()?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Cell::Object);
                }
                _ => return Err(Malformed(self.at)),
            }
        }
    }

    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.take(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let stop = bytes[start..]
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'))
            .map(|length| start + length)
            .ok_or(Malformed(start))?;
        if bytes[stop] == b'"' {
            self.at = stop + 1;
            return Ok(Cow::Borrowed(&self.text[start..stop]));
        }
        // Rare: an escape. The end is the next quote that no backslash hides; serde_json reads the escapes.
        let mut end = stop;
        while *bytes.get(end).ok_or(Malformed(start))? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.at = end + 1;
        serde_json::from_str(&self.text[start - 1..=end]).map(Cow::Owned).map_err(|_| Malformed(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Malformed> {
        let mut seen = Vec::new();
        Reader::new(text).records(
            &mut seen,
            |seen, key, cell| {
                seen.push(format!("{key}={cell:?}"));
                Ok(())
            },
            |seen| {
                seen.push("end".to_owned());
                Ok(())
            },
        )?;
        Ok(seen)
    }

    #[test]
    fn records_are_walked_with_all_kinds_of_cells() {
        let seen = read(r#" [ {"a":"x","b":-1.5e3,"c":null,"d":[ "p","q"],"e":{"z":[{}]},"f":true} , {} ]"#).unwrap();
        assert_eq!(
            seen,
            [
                r#"a=Text("x")"#,
                r#"b=Number("-1.5e3")"#,
                "c=Null",
                r#"d=List(["p", "q"])"#,
                "e=Object",
                "f=Bool(true)",
                "end",
                "end"
            ]
        );
    }

    #[test]
    fn escapes_are_read_and_broken_text_is_an_error() {
        assert_eq!(read(r#"[{"a":"é\"\\\u00e9\n😀"}]"#).unwrap()[0], format!("a=Text({:?})", "é\"\\é\n😀"));
        for broken in ["", "[", "[{", r#"[{"a"}]"#, r#"[{"a":"x]"#, r#"[{"a":"\"#, "[{}", r#"[{"a":nul}]"#] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
