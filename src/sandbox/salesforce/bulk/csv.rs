//! The CSV that clients upload, read as strictly as the service reads it.
//!
//! # Promises
//! * Values are not trimmed and keep every character: line breaks of both kinds within quotes, `""`, NUL.
//! * A record knows where it stands in the upload, so results can repeat it without a copy.
//! * Blank lines are skipped, a last line needs no line end, and a record may be shorter or longer than the header.
//!
//! # Not here
//! A byte order mark has no meaning for the service: it is the first character of the first column's name.

use std::ops::Range;

/// The longest header line, in characters.
const LONGEST_HEADER: usize = 32_000;
/// The most columns of a record.
const MOST_COLUMNS: usize = 5_000;
/// The longest value, in characters.
const LONGEST_VALUE: usize = 131_072;
/// The longest record, in characters.
const LONGEST_RECORD: usize = 400_000;

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    Lf,
    CrLf,
    /// Either; the first Bulk API asks no one.
    Any,
}

/// Reads records one after the other.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    delimiter: u8,
    line_end: LineEnd,
}

/// One record: its values without quotes, and its place in the upload.
#[derive(Debug, Default)]
pub(super) struct Record {
    values: String,
    ends: Vec<usize>,
    /// Bytes of the upload, without the line end.
    pub(super) place: Range<usize>,
}

impl Record {
    /// Values of the record.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A value; empty behind the last.
    pub(super) fn get(&self, at: usize) -> &str {
        let Some(end) = self.ends.get(at) else { return "" };
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        &self.values[start..*end]
    }

    fn clear(&mut self) {
        self.values.clear();
        self.ends.clear();
    }
}

impl<'a> Reader<'a> {
    /// Reads `text`, whose values are separated by `delimiter`.
    pub(super) fn new(text: &'a str, delimiter: u8, line_end: LineEnd) -> Self {
        Self { text, at: 0, delimiter, line_end }
    }

    /// Goes back to a record that was read before.
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads the header line.
    ///
    /// # Errors
    /// The text of the job's failure.
    pub(super) fn header(&mut self, record: &mut Record) -> Result<bool, String> {
        let found = self.next(record)?;
        let characters = self.text[record.place.clone()].chars().count();
        if characters > LONGEST_HEADER {
            return Err(parse_error(&format!(
                "Exceeded max length for header: {characters}. Max length for header should be less than or equal to \
                 {LONGEST_HEADER}"
            )));
        }
        Ok(found)
    }

    /// Reads the next record; false at the end.
    ///
    /// # Errors
    /// The text of the job's failure.
    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        loop {
            if self.at >= self.text.len() {
                record.clear();
                record.place = self.text.len()..self.text.len();
                return Ok(false);
            }
            self.record(record)?;
            let blank = record.len() == 1 && record.values.is_empty();
            if !blank {
                return Ok(true);
            }
        }
    }

    fn record(&mut self, record: &mut Record) -> Result<(), String> {
        record.clear();
        let start = self.at;
        loop {
            let ended = self.value(record)?;
            let length = record.values.len() - record.ends.last().copied().unwrap_or(0);
            // Bytes are an upper bound of characters: most values need no count.
            if length > LONGEST_VALUE {
                let characters = record.values[record.values.len() - length..].chars().count();
                if characters > LONGEST_VALUE {
                    return Err(parse_error(&format!("Exceeded max field size: {characters}")));
                }
            }
            record.ends.push(record.values.len());
            if record.ends.len() > MOST_COLUMNS {
                return Err(parse_error(&format!("Exceeded max number of columns per record : {MOST_COLUMNS}")));
            }
            if let Some(end) = ended {
                record.place = start..end;
                break;
            }
        }
        if record.values.len() > LONGEST_RECORD {
            let characters = record.values.chars().count();
            if characters > LONGEST_RECORD {
                return Err(parse_error(&format!(
                    "Exceeded max length for one record: {characters}. Max length for one record should be less than or \
                     equal to {LONGEST_RECORD}"
                )));
            }
        }
        Ok(())
    }

    /// Reads one value; where the record ends if the value was its last.
    fn value(&mut self, record: &mut Record) -> Result<Option<usize>, String> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'"') {
            self.quoted(record)?;
            return match bytes.get(self.at) {
                Some(byte) if *byte == self.delimiter => {
                    self.at += 1;
                    Ok(None)
                }
                None => Ok(Some(self.at)),
                Some(b'\n' | b'\r') => self.line_end(self.at).map(Some),
                Some(_) => Err(parse_error("Not expecting more text after end quote")),
            };
        }
        let rest = &bytes[self.at..];
        let length =
            rest.iter().position(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'"')).unwrap_or(rest.len());
        let stop = self.at + length;
        let (from, to) = (self.at, stop - usize::from(bytes.get(stop) == Some(&b'\n') && self.has_return(stop)));
        match bytes.get(stop) {
            Some(b'"') => Err(parse_error("Found unescaped quote. A value with quote should be within a quote")),
            Some(b'\n') => {
                record.values.push_str(&self.text[from..to]);
                self.line_end(to).map(Some)
            }
            None => {
                record.values.push_str(&self.text[from..to]);
                self.at = stop;
                Ok(Some(stop))
            }
            Some(_) => {
                record.values.push_str(&self.text[from..to]);
                self.at = stop + 1;
                Ok(None)
            }
        }
    }

    /// Whether the line end at `newline` has a carriage return that belongs to it.
    fn has_return(&self, newline: usize) -> bool {
        newline > self.at && self.text.as_bytes()[newline - 1] == b'\r'
    }

    /// Steps over the line end at `at` and returns `at`.
    fn line_end(&mut self, at: usize) -> Result<usize, String> {
        let bytes = self.text.as_bytes();
        let (length, right) = match (bytes[at], bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => (2, self.line_end != LineEnd::Lf),
            (b'\n', _) => (1, self.line_end != LineEnd::CrLf),
            _ => return Err(parse_error("Not expecting more text after end quote")),
        };
        if !right {
            let setting = if self.line_end == LineEnd::Lf { "LF" } else { "CRLF" };
            return Err(format!(
                "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
            ));
        }
        self.at = at + length;
        Ok(at)
    }

    /// Reads a value in quotes, up to behind its end quote.
    fn quoted(&mut self, record: &mut Record) -> Result<(), String> {
        let mut from = self.at + 1;
        loop {
            let Some(length) = memchr::memchr(b'"', &self.text.as_bytes()[from..]) else {
                return Err(parse_error("EOF reached before closing an opened quote"));
            };
            let quote = from + length;
            record.values.push_str(&self.text[from..quote]);
            if self.text.as_bytes().get(quote + 1) != Some(&b'"') {
                self.at = quote + 1;
                return Ok(());
            }
            record.values.push('"');
            from = quote + 2;
        }
    }
}

fn parse_error(text: &str) -> String {
    format!("InvalidBatch : Failed to parse CSV. {text}")
}

/// Writes a value in quotes.
pub(super) fn write_quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    for part in value.as_bytes().split_inclusive(|byte| *byte == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, delimiter: u8, line_end: LineEnd) -> Result<Vec<Vec<String>>, String> {
        let mut reader = Reader::new(text, delimiter, line_end);
        let mut record = Record::default();
        let mut all = Vec::new();
        while reader.next(&mut record)? {
            all.push((0..record.len()).map(|at| record.get(at).to_owned()).collect());
        }
        Ok(all)
    }

    #[test]
    fn values_keep_every_character() {
        let text = "a,b\n x ,\"q \"\"z\"\"\r\n2,\"\n\n,\n\"\",\u{0}\r";
        let rows = read(text, b',', LineEnd::Lf).unwrap();
        assert_eq!(rows, [["a", "b"], [" x ", "q \"z\"\r\n2,"], ["", ""], ["", "\u{0}\r"]]);
        assert_eq!(read("a\tb\r\n1\t2\r\n", b'\t', LineEnd::CrLf).unwrap(), [["a", "b"], ["1", "2"]]);
        assert_eq!(read("a\r\n\"1\"\n2", b',', LineEnd::Any).unwrap(), [["a"], ["1"], ["2"]]);
        assert!(read("", b',', LineEnd::Lf).unwrap().is_empty());
    }

    #[test]
    fn what_the_service_cannot_read_is_refused_in_its_words() {
        let csv = "InvalidBatch : Failed to parse CSV. ";
        for (text, line_end, message) in [
            ("a,b\n1, \"2\"", LineEnd::Lf, "Found unescaped quote. A value with quote should be within a quote"),
            ("\u{feff}\"a\"\n1", LineEnd::Lf, "Found unescaped quote. A value with quote should be within a quote"),
            ("a\n\"1\" ", LineEnd::Lf, "Not expecting more text after end quote"),
            ("a\n\"1", LineEnd::Lf, "EOF reached before closing an opened quote"),
        ] {
            assert_eq!(read(text, b',', line_end).unwrap_err(), format!("{csv}{message}"), "{text:?}");
        }
        for (text, line_end, setting) in [
            ("a\r\n1\r\n", LineEnd::Lf, "LF"),
            ("a\n\"1\"\r\n", LineEnd::Lf, "LF"),
            ("a\n1\n", LineEnd::CrLf, "CRLF"),
            ("\"a\"\n", LineEnd::CrLf, "CRLF"),
        ] {
            let wanted = format!(
                "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
            );
            assert_eq!(read(text, b',', line_end).unwrap_err(), wanted, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_service() {
        let long = "ü".repeat(LONGEST_VALUE);
        assert_eq!(read(&long, b',', LineEnd::Lf).unwrap()[0][0], long);
        let refused = read(&format!("{long}x"), b',', LineEnd::Lf).unwrap_err();
        assert!(refused.ends_with("Exceeded max field size: 131073"), "{refused}");
        let wide = ",".repeat(MOST_COLUMNS - 1);
        assert_eq!(read(&wide, b',', LineEnd::Lf).unwrap()[0].len(), MOST_COLUMNS);
        let refused = read(&format!("{wide},"), b',', LineEnd::Lf).unwrap_err();
        assert!(refused.ends_with("Exceeded max number of columns per record : 5000"), "{refused}");
        let record = format!("{long},{long},{long},{}", "x".repeat(LONGEST_RECORD - 3 * LONGEST_VALUE));
        assert!(read(&record, b',', LineEnd::Lf).is_ok());
        assert!(read(&format!("{record}x"), b',', LineEnd::Lf).is_err());
        let mut reader = Reader::new("a,", b',', LineEnd::Lf);
        assert!(reader.header(&mut Record::default()).unwrap());
        let header = "x".repeat(LONGEST_HEADER + 1);
        assert!(Reader::new(&header, b',', LineEnd::Lf).header(&mut Record::default()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in prop::collection::vec(prop::collection::vec("[a\"\r\n,;ü\u{0} ]{0,6}", 2..4), 1..6),
            crlf in any::<bool>(),
        ) {
            let mut out = Vec::new();
            for row in &rows {
                for (at, value) in row.iter().enumerate() {
                    if at > 0 {
                        out.push(b';');
                    }
                    write_quoted(&mut out, value);
                }
                out.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            let text = String::from_utf8(out).unwrap();
            let line_end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
            prop_assert_eq!(read(&text, b';', line_end).unwrap(), rows);
        }
    }
}
