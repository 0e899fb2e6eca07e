//! Record ids: a key prefix, the org's pod and a number; 15 characters that mind case, or 18 that do not need to.
//!
//! The number of a record is its row in the store, so an id costs no memory and finding a row costs no search.

/// An id as sent: 18 ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id([u8; 18]);

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
/// The pod of this org; the sixth character of an id is reserved and always `0`.
const POD: &[u8; 3] = b"Sb0";
/// All pairs of digits: an id is written two digits at a time.
const PAIRS: [[u8; 2]; 62 * 62] = {
    let mut pairs = [[0; 2]; 62 * 62];
    let mut at = 0;
    while at < pairs.len() {
        pairs[at] = [DIGITS[at / 62], DIGITS[at % 62]];
        at += 1;
    }
    pairs
};
/// Where numbering starts, so that ids hold letters of both cases as real ones do.
const FIRST: u64 = 62u64.pow(5) * 11 + 62u64.pow(4) * 40 + 62u64.pow(3) * 7;

impl Id {
    /// The id of record `number` of the object with this key prefix.
    pub(crate) fn new(prefix: [u8; 3], number: u64) -> Self {
        let mut id = [b'0'; 18];
        id[..3].copy_from_slice(&prefix);
        id[3..6].copy_from_slice(POD);
        let mut rest = FIRST + number;
        for at in [13, 11, 9, 7] {
            id[at..at + 2].copy_from_slice(&PAIRS[(rest % 3844) as usize]);
            rest /= 3844;
        }
        id[6] = DIGITS[(rest % 62) as usize];
        complete(&mut id);
        Self(id)
    }

    /// Reads an id of 15 or 18 characters; the three check characters must fit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if !(bytes.len() == 15 || bytes.len() == 18) || !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let mut id = [0; 18];
        id[..15].copy_from_slice(&bytes[..15]);
        complete(&mut id);
        (bytes.len() == 15 || bytes == id).then_some(Self(id))
    }

    /// The first three characters, which name the object.
    pub(crate) fn prefix(&self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }

    /// The number that [`Id::new`] was given, if it is of this org.
    pub(crate) fn number(&self) -> Option<u64> {
        if &self.0[3..6] != POD {
            return None;
        }
        let digit = |c: u8| match c {
            b'0'..=b'9' => u64::from(c - b'0'),
            b'A'..=b'Z' => u64::from(c - b'A') + 10,
            _ => u64::from(c - b'a') + 36,
        };
        self.0[6..15].iter().fold(0u64, |sum, c| sum * 62 + digit(*c)).checked_sub(FIRST)
    }

    /// The 18 characters.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 18 characters as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fills the last three characters: bit k of a group's number is set if its character k is a capital letter.
fn complete(id: &mut [u8; 18]) {
    for group in 0..3 {
        let bits = (0..5).fold(0usize, |bits, k| bits | (usize::from(id[group * 5 + k].is_ascii_uppercase()) << k));
        id[15 + group] = SUFFIX[bits];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_characters_are_those_of_real_ids() {
        for id in ["001bm00000NMK67AAH", "005bm000005TvBKAA0", "750R0000000zxr8IAA", "0014H00002LbR7QQAV"] {
            assert_eq!(Id::parse(&id[..15]).unwrap().as_str(), id);
            assert_eq!(Id::parse(id).unwrap().as_str(), id);
        }
        assert_eq!(Id::parse("001bm00000NMK67AAA"), None);
        assert_eq!(Id::parse("001bm00000NMK6"), None);
        assert_eq!(Id::parse("001bm00000NMK6'"), None);
    }

    #[test]
    fn a_number_survives_the_way_through_an_id() {
        for number in [0, 1, 61, 62, 1_000_000, 4_000_000_000] {
            let id = Id::new(*b"003", number);
            assert_eq!(id.number(), Some(number));
            assert_eq!(id.prefix(), *b"003");
        }
        assert!(Id::new(*b"003", 5) < Id::new(*b"003", 6));
        assert_eq!(Id::parse("001bm00000NMK67AAH").unwrap().number(), None);
    }
}
