//! A column of text: one offset per row into one buffer; repeated values are kept once while they are few. Values that
//! were written over are given up as soon as they may be half of the buffer, so records can change without end.

use std::collections::HashMap;

/// Offset of a row without a value.
const NONE: u32 = u32::MAX;
/// More different values than this in one segment, and the column stops looking for repeats.
const DICTIONARY: usize = 2048;

/// A buffer is not worth clearing up before it is this large.
const SMALL: usize = 1 << 20;

/// The text values of one segment. Rows behind its end have none.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextColumn {
    starts: Vec<u32>,
    /// Each value: its length and a mark as a variable-length number, then its bytes.
    bytes: Vec<u8>,
    repeats: Option<HashMap<Box<str>, u32>>,
    distinct: usize,
    /// Bytes that may belong to no row any more.
    garbage: usize,
}

/// A value and whether it holds a quote, which CSV must double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    pub(crate) value: &'a str,
    pub(crate) quoted: bool,
}

impl TextColumn {
    /// The value of a row.
    pub(crate) fn get(&self, row: usize) -> Option<Text<'_>> {
        match self.starts.get(row) {
            None | Some(&NONE) => None,
            Some(start) => Some(self.at(*start as usize)),
        }
    }

    /// The bytes of a row's value, and whether it holds a quote.
    pub(crate) fn bytes(&self, row: usize) -> Option<(&[u8], bool)> {
        match self.starts.get(row) {
            None | Some(&NONE) => None,
            Some(start) => Some(self.bytes_at(*start as usize)),
        }
    }

    fn at(&self, start: usize) -> Text<'_> {
        let (value, quoted) = self.bytes_at(start);
        // Only whole strings go in, so nothing is lost here.
        Text { value: std::str::from_utf8(value).unwrap_or_default(), quoted }
    }

    fn bytes_at(&self, mut start: usize) -> (&[u8], bool) {
        let mut header = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.bytes[start];
            start += 1;
            header |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        (&self.bytes[start..start + (header >> 1) as usize], header & 1 == 1)
    }

    /// Sets the value of a row; an empty one is none.
    pub(crate) fn set(&mut self, row: usize, value: Option<&str>) {
        let start = match value {
            None | Some("") => NONE,
            Some(value) => self.keep(value),
        };
        if self.starts.len() <= row {
            if start == NONE {
                return;
            }
            self.starts.resize(row + 1, NONE);
        }
        let old = std::mem::replace(&mut self.starts[row], start);
        if old != NONE && old != start {
            self.garbage += self.entry(old).len();
            let large = self.bytes.len() > SMALL && self.garbage > self.bytes.len() / 2;
            if large || self.bytes.len() > u32::MAX as usize / 2 && self.garbage > self.bytes.len() / 8 {
                self.clear_up();
            }
        }
    }

    /// Copies what rows still have into a new buffer.
    fn clear_up(&mut self) {
        let mut moved: HashMap<u32, u32> = HashMap::new();
        let mut bytes = Vec::with_capacity(self.bytes.len().saturating_sub(self.garbage));
        let mut starts = std::mem::take(&mut self.starts);
        for start in starts.iter_mut().filter(|start| **start != NONE) {
            *start = *moved.entry(*start).or_insert_with_key(|old| {
                let new = bytes.len() as u32;
                bytes.extend_from_slice(self.entry(*old));
                new
            });
        }
        if let Some(repeats) = &mut self.repeats {
            repeats.retain(|_, start| moved.get(start).map(|new| *start = *new).is_some());
            self.distinct = repeats.len();
        }
        self.starts = starts;
        self.bytes = bytes;
        self.garbage = 0;
    }

    /// A value with its length and mark.
    fn entry(&self, start: u32) -> &[u8] {
        let start = start as usize;
        let header = self.bytes[start..].iter().position(|byte| *byte < 0x80).map_or(1, |at| at + 1);
        let (value, _) = self.bytes_at(start);
        &self.bytes[start..start + header + value.len()]
    }

    fn keep(&mut self, value: &str) -> u32 {
        if self.distinct < DICTIONARY {
            let repeats = self.repeats.get_or_insert_default();
            if let Some(start) = repeats.get(value) {
                return *start;
            }
            let start = append(&mut self.bytes, value);
            repeats.insert(value.into(), start);
            self.distinct += 1;
            if self.distinct == DICTIONARY {
                self.repeats = None;
            }
            return start;
        }
        append(&mut self.bytes, value)
    }

    /// Bytes of memory in use.
    pub(crate) fn memory(&self) -> usize {
        self.starts.capacity() * 4 + self.bytes.capacity()
    }

    /// Gives back what growing left over.
    pub(crate) fn shrink(&mut self) {
        self.starts.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }
}

fn append(bytes: &mut Vec<u8>, value: &str) -> u32 {
    let start = bytes.len() as u32;
    let mut header = ((value.len() as u64) << 1) | u64::from(value.contains('"'));
    while header >= 0x80 {
        bytes.push(header as u8 | 0x80);
        header >>= 7;
    }
    bytes.push(header as u8);
    bytes.extend_from_slice(value.as_bytes());
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went_in() {
        let mut column = TextColumn::default();
        let long = "x\"".repeat(70_000);
        column.set(3, Some("Grüße"));
        column.set(5, Some(&long));
        column.set(6, Some(""));
        assert_eq!(column.get(0), None);
        assert_eq!(column.get(3), Some(Text { value: "Grüße", quoted: false }));
        assert_eq!(column.get(5), Some(Text { value: &long, quoted: true }));
        assert_eq!((column.get(6), column.get(100)), (None, None));
        column.set(3, None);
        assert_eq!(column.get(3), None);
    }

    #[test]
    fn values_that_were_written_over_are_given_up() {
        let mut column = TextColumn::default();
        let text = |round: usize, row: usize| format!("{round} {row} {}", "x".repeat(200));
        for round in 0..20 {
            for row in 0..5000 {
                column.set(row, Some(&text(round, row)));
            }
        }
        assert!(column.bytes.len() < 4_000_000, "{}", column.bytes.len());
        for row in 0..5000 {
            assert_eq!(column.get(row).unwrap().value, text(19, row));
        }
        let mut column = TextColumn::default();
        let long = |name: usize| format!("{name}{}", "y".repeat(3000));
        for round in 0..10 {
            for row in 0..1000 {
                column.set(row, Some(&long((row + round) % 600)));
            }
        }
        assert!(column.repeats.is_some() && column.bytes.len() < 4_000_000, "{}", column.bytes.len());
        assert_eq!(column.get(7).unwrap().value, long(16));
    }

    #[test]
    fn repeats_cost_an_offset_only() {
        let mut column = TextColumn::default();
        for row in 0..10_000 {
            column.set(row, Some(["Sales", "Marketing"][row % 2]));
        }
        assert_eq!(column.bytes.len(), 16);
        for row in 10_000..20_000 {
            column.set(row, Some(&format!("value {row}")));
        }
        assert!(column.repeats.is_none());
        assert_eq!(column.get(19_999).unwrap().value, "value 19999");
        assert_eq!(column.get(1).unwrap().value, "Marketing");
    }
}
