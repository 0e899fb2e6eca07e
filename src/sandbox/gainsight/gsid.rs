//! GSIDs: 36 upper-case characters on the wire, one number in memory.
//!
//! A GSID is the object's type (4 characters), the tenant (14), the record's number in base 36 (8) and a check (10), so
//! that the ids of one object sort as they were made and an id of another tenant is never taken for one of ours.
//! In memory it is `type << 40 | number`; ids that this tenant did not make are kept aside and numbered.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// Characters of a GSID.
pub(super) const GSID_LENGTH: usize = 36;
/// The number of the id that stands for the tenant itself (the user behind the access key).
pub(super) const SYSTEM: u64 = 0;

const NUMBER_BITS: u32 = 40;
const FOREIGN: u16 = 0x7FFF;
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A GSID as it is written.
pub(super) type Gsid = [u8; GSID_LENGTH];

/// Makes and reads the GSIDs of one tenant.
#[derive(Debug)]
pub(super) struct Gsids {
    tenant: [u8; 14],
    prefixes: Vec<[u8; 4]>,
    foreign: RwLock<Foreign>,
}

#[derive(Debug, Default)]
struct Foreign {
    ids: Vec<Gsid>,
    numbers: HashMap<Gsid, u64>,
}

impl Gsids {
    /// The ids of the tenant named `tenant`.
    pub(super) fn new(tenant: &str) -> Self {
        let mut part = [b'0'; 14];
        base36(mix(tenant.bytes().fold(7, |hash, byte| mix(hash ^ u64::from(byte)))), &mut part[..12]);
        part[12..].copy_from_slice(b"GS");
        Self { tenant: part, prefixes: Vec::new(), foreign: RwLock::default() }
    }

    /// Gives the type with this prefix its code.
    pub(super) fn add(&mut self, prefix: [u8; 4]) -> u16 {
        if let Some(known) = self.prefixes.iter().position(|one| *one == prefix) {
            return known as u16;
        }
        self.prefixes.push(prefix);
        (self.prefixes.len() - 1) as u16
    }

    /// The 18 characters that all ids of a type begin with.
    pub(super) fn key_prefix(&self, code: u16) -> String {
        let mut text = String::with_capacity(18);
        text.extend(self.prefixes[usize::from(code)].iter().chain(&self.tenant).map(|byte| char::from(*byte)));
        text
    }

    /// The id as it is written.
    pub(super) fn write(&self, packed: i64) -> Gsid {
        let (code, number) = unpack(packed);
        if code == FOREIGN {
            let foreign = self.foreign.read().unwrap_or_else(PoisonError::into_inner);
            return foreign.ids.get(number as usize).copied().unwrap_or([b'0'; GSID_LENGTH]);
        }
        let mut text = [b'0'; GSID_LENGTH];
        text[..4].copy_from_slice(&self.prefixes[usize::from(code)]);
        text[4..18].copy_from_slice(&self.tenant);
        base36(number, &mut text[18..26]);
        base36(check(code, number), &mut text[26..]);
        text
    }

    /// The id in memory, if this tenant made it.
    pub(super) fn read(&self, text: &[u8]) -> Option<i64> {
        if text.len() != GSID_LENGTH || text[4..18] != self.tenant {
            return None;
        }
        let code = self.prefixes.iter().position(|prefix| text.starts_with(prefix))? as u16;
        let mut number = 0_u64;
        for byte in &text[18..26] {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                _ => return None,
            };
            number = number * 36 + u64::from(digit);
        }
        if number >= 1 << NUMBER_BITS {
            return None;
        }
        let mut checked = [b'0'; 10];
        base36(check(code, number), &mut checked);
        (text[26..] == checked).then(|| pack(code, number))
    }

    /// The id in memory, also when it is not one of ours, as long as it has the form of a GSID.
    pub(super) fn read_any(&self, text: &[u8]) -> Option<i64> {
        if let Some(ours) = self.read(text) {
            return Some(ours);
        }
        let id: Gsid = text.try_into().ok()?;
        if !has_form(&id) {
            return None;
        }
        let mut foreign = self.foreign.write().unwrap_or_else(PoisonError::into_inner);
        let next = foreign.ids.len() as u64;
        let number = *foreign.numbers.entry(id).or_insert(next);
        if number == next {
            foreign.ids.push(id);
        }
        Some(pack(FOREIGN, number))
    }
}

/// Whether the text has the form of a GSID.
pub(super) fn has_form(text: &[u8]) -> bool {
    text.len() == GSID_LENGTH && text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// One number out of type and record number.
#[inline]
pub(super) fn pack(code: u16, number: u64) -> i64 {
    (i64::from(code) << NUMBER_BITS) | number as i64
}

/// Type and record number.
#[inline]
pub(super) fn unpack(packed: i64) -> (u16, u64) {
    ((packed >> NUMBER_BITS) as u16, (packed & ((1 << NUMBER_BITS) - 1)) as u64)
}

#[inline]
fn check(code: u16, number: u64) -> u64 {
    mix(number ^ (u64::from(code) << 48) ^ 0x9E37_79B9_7F4A_7C15)
}

#[inline]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 31)).wrapping_mul(0x7FB5_D329_728E_A185);
    let value = (value ^ (value >> 27)).wrapping_mul(0x81DA_DEF4_BC2D_D44D);
    value ^ (value >> 33)
}

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 36 * 36] = {
    let mut pairs = [[0; 2]; 36 * 36];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [DIGITS[number / 36], DIGITS[number % 36]];
        number += 1;
    }
    pairs
};

/// Writes the last digits of `value` in base 36 over the whole of `out`, which has an even length.
#[inline]
fn base36(mut value: u64, out: &mut [u8]) {
    // Four digits at a time: what is left of them needs no long division.
    const FOUR: u64 = 36 * 36 * 36 * 36;
    for places in out.rchunks_mut(4) {
        let four = (value % FOUR) as usize;
        value /= FOUR;
        match places {
            [a, b, c, d] => {
                [*a, *b] = PAIRS[four / 1296];
                [*c, *d] = PAIRS[four % 1296];
            }
            [.., c, d] => [*c, *d] = PAIRS[four % 1296],
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_sort_as_made() {
        let mut ids = Gsids::new("a");
        let company = ids.add(*b"1P02");
        let mut last = [0_u8; GSID_LENGTH];
        for number in [1, 2, 35, 36, 37, 1_000_000, 4_000_000_000] {
            let text = ids.write(pack(company, number));
            assert!(has_form(&text) && text.starts_with(b"1P02") && text > last);
            assert_eq!(ids.read(&text), Some(pack(company, number)));
            last = text;
        }
    }

    #[test]
    fn a_stranger_is_told_apart_and_kept() {
        let mut ids = Gsids::new("a");
        let code = ids.add(*b"1P02");
        let mut other = Gsids::new("b");
        other.add(*b"1P02");
        let strange = other.write(pack(code, 5));
        assert_eq!(ids.read(&strange), None);
        let kept = ids.read_any(&strange).unwrap();
        assert_eq!(ids.read_any(&strange), Some(kept));
        assert_eq!(ids.write(kept), strange);
        let mut forged = ids.write(pack(code, 5));
        forged[35] = if forged[35] == b'A' { b'B' } else { b'A' };
        assert_eq!(ids.read(&forged), None);
        assert_eq!(ids.read_any(b"short"), None);
    }
}
