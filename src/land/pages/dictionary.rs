//! The different texts of a column, numbered in the order in which they come.
//!
//! Most texts that repeat are short: names, titles, towns. So the first [`HEAD`] bytes of a text are compared as two
//! numbers, and nothing but a longer text is looked at again.

use std::hash::BuildHasher;
use std::hash::RandomState;

/// Bytes of a text that are compared without looking at it.
const HEAD: usize = 16;

/// Slots to begin with.
const SLOTS: usize = 256;

/// The texts of a dictionary.
#[derive(Debug)]
pub(super) struct Dictionary {
    entries: Vec<Entry>,
    /// One more than the number of an entry, or 0; never more than half of them are taken.
    slots: Vec<u32>,
    /// The body of the dictionary's page: each text after its length.
    page: Vec<u8>,
    /// Drawn anew for each, so that nobody can choose texts that meet in one slot.
    seeds: [u64; 2],
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    head: u128,
    hash: u64,
    /// Where the text begins in the page.
    start: u32,
    length: u32,
}

impl Dictionary {
    pub(super) fn new() -> Self {
        let state = RandomState::new();
        let seeds = [state.hash_one(0), state.hash_one(1)];
        Self { entries: Vec::new(), slots: vec![0; SLOTS], page: Vec::new(), seeds }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The texts as a page has them.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// The texts in the order of their numbers.
    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| &self.page[entry.start as usize..][..entry.length as usize])
    }

    /// The number of the text that is `bytes[start..end]`.
    #[inline]
    pub(super) fn number(&mut self, bytes: &[u8], start: usize, end: usize) -> u32 {
        let length = end - start;
        let head = head(bytes, start, length);
        let mut hash = mixed(head as u64 ^ self.seeds[0] ^ length as u64, (head >> 64) as u64 ^ self.seeds[1]);
        let rest = if length > HEAD { &bytes[start + HEAD..end] } else { &[] };
        for (at, piece) in rest.chunks(HEAD).enumerate() {
            let piece = self::head(rest, at * HEAD, piece.len());
            hash = mixed(hash ^ piece as u64, (piece >> 64) as u64 ^ self.seeds[0]);
        }
        let mut slot = hash as usize;
        loop {
            slot &= self.slots.len() - 1;
            let Some(number) = self.slots[slot].checked_sub(1) else {
                return self.add(Entry { head, hash, start: 0, length: length as u32 }, &bytes[start..end], slot);
            };
            let entry = &self.entries[number as usize];
            if entry.head == head
                && entry.length as usize == length
                && (rest.is_empty() || self.page[entry.start as usize + HEAD..].starts_with(rest))
            {
                return number;
            }
            slot += 1;
        }
    }

    #[cold]
    fn add(&mut self, entry: Entry, text: &[u8], slot: usize) -> u32 {
        self.page.extend_from_slice(&entry.length.to_le_bytes());
        self.entries.push(Entry { start: self.page.len() as u32, ..entry });
        self.page.extend_from_slice(text);
        let count = self.entries.len() as u32;
        self.slots[slot] = count;
        if self.entries.len() * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            for (entry, count) in self.entries.iter().zip(1..) {
                let mut slot = entry.hash as usize & (self.slots.len() - 1);
                while self.slots[slot] != 0 {
                    slot = (slot + 1) & (self.slots.len() - 1);
                }
                self.slots[slot] = count;
            }
        }
        count - 1
    }
}

/// The first so many bytes of a number.
const FIRST: [u128; HEAD + 1] = {
    let mut first = [u128::MAX; HEAD + 1];
    let mut length = 0;
    while length < HEAD {
        first[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    first
};

/// The first of `length` bytes from `start` on as a number.
#[inline]
fn head(bytes: &[u8], start: usize, length: usize) -> u128 {
    let length = length.min(HEAD);
    if let Some(head) = bytes.get(start..).and_then(|rest| rest.first_chunk()) {
        return u128::from_le_bytes(*head) & FIRST[length];
    }
    let mut head = [0; HEAD];
    head[..length].copy_from_slice(&bytes[start..start + length]);
    u128::from_le_bytes(head)
}

#[inline]
fn mixed(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equal_texts_have_one_number_in_the_order_of_their_coming(
            texts in prop::collection::vec("[ab\0]{0,3}|[ab]{7,9}|[ab]{15,18}|é{0,12}", 0..700),
        ) {
            let mut dictionary = Dictionary::new();
            let mut known = HashMap::new();
            let bytes = texts.concat().into_bytes();
            let mut start = 0;
            for text in &texts {
                let next = known.len() as u32;
                let wanted = *known.entry(text.as_str()).or_insert(next);
                prop_assert_eq!(dictionary.number(&bytes, start, start + text.len()), wanted);
                start += text.len();
            }
            prop_assert_eq!(dictionary.len(), known.len());
            for (number, text) in dictionary.texts().enumerate() {
                prop_assert_eq!(known.get(std::str::from_utf8(text).unwrap()), Some(&(number as u32)));
            }
        }
    }
}
