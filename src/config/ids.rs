//! Salesforce ids: 15 characters where case counts, or the same with 3 more that make it safe to ignore case.
//!
//! The 3 characters say which of the 15 are capital letters: one for each group of five, bit k set when character k
//! (from the left, from 0) is `A`–`Z`, written with `ABCDEFGHIJKLMNOPQRSTUVWXYZ012345`.

use std::borrow::Cow;

/// The alphabet of the last 3 characters.
const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The id with 18 characters, its last 3 in agreement with the rest. `None` if the text is not a Salesforce id: another
/// length, other characters, or 18 characters whose last 3 do not belong to the first 15.
///
/// An 18-character id is accepted in its canonical case only. An id that lost its case is not an id of the org any
/// more: some objects do not find it.
pub fn sf_id18(id: &str) -> Option<Cow<'_, str>> {
    let bytes = id.as_bytes();
    if !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    match bytes.len() {
        15 => {
            let mut long = String::with_capacity(18);
            long.push_str(id);
            long.extend(suffix(bytes).map(char::from));
            Some(Cow::Owned(long))
        }
        18 => is_id18(bytes).then_some(Cow::Borrowed(id)),
        _ => None,
    }
}

/// Whether the text is an id of 18 characters, as [`sf_id18`] gives it.
#[inline]
pub fn is_id18(text: &[u8]) -> bool {
    let Ok(id) = <&[u8; 18]>::try_from(text) else { return false };
    let (first, last) = (id.first_chunk().unwrap_or(&[0; 8]), id[..15].last_chunk().unwrap_or(&[0; 8]));
    // What `suffix` gives are letters and digits.
    alphanumeric(*first) && alphanumeric(*last) && id[15..] == suffix(&id[..15])
}

/// The last 3 characters of an id with these first 15. Shorter text is read as if small letters followed.
#[inline]
pub fn suffix(id15: &[u8]) -> [u8; 3] {
    let mut whole = [b'a'; 15];
    let id: &[u8; 15] = match id15.first_chunk() {
        Some(id) => id,
        None => {
            whole[..id15.len()].copy_from_slice(id15);
            &whole
        }
    };
    let (first, last) = (id.first_chunk().unwrap_or(&[0; 8]), id.last_chunk().unwrap_or(&[0; 8]));
    let capitals = usize::from(capitals(*first)) | usize::from(capitals(*last)) << 7;
    [SUFFIX[capitals & 31], SUFFIX[capitals >> 5 & 31], SUFFIX[capitals >> 10 & 31]]
}

/// Which of eight characters are `A`–`Z`, bit k for character k.
fn capitals(eight: [u8; 8]) -> u8 {
    // Byte k holds its bit 8k places up; the product brings it to place 56 + k.
    ((between(eight, b'A', b'Z', 0) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// Whether eight characters are letters and digits.
fn alphanumeric(eight: [u8; 8]) -> bool {
    const SMALL: u8 = b'a' ^ b'A';
    (between(eight, b'0', b'9', 0) | between(eight, b'a', b'z', SMALL)) == EACH << 7
}

const EACH: u64 = u64::from_ne_bytes([1; 8]);

/// The high bit of each of eight characters: whether it lies between two others, with the bits of `set` set. All eight are
/// looked at in one word.
fn between(eight: [u8; 8], least: u8, greatest: u8, set: u8) -> u64 {
    let word = u64::from_le_bytes(eight);
    let low = (word & (EACH * 0x7f)) | (EACH * u64::from(set));
    let from_least = low + EACH * u64::from(0x80 - least);
    let above_greatest = low + EACH * u64::from(0x80 - greatest - 1);
    from_least & !above_greatest & !word & EACH << 7
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ids of real orgs, from public fixtures.
    const REAL: [&str; 8] = [
        "001bm00000NMK67AAH",
        "005bm000005TvBKAA0",
        "750R0000000zxr8IAA",
        "0014H00002LbR7QQAV",
        "750Tn000004ZoR3IAK",
        "0050900000Bf63SAAR",
        "01gD0000002HU6KIAW",
        "005R0000000UyrWIAS",
    ];

    #[test]
    fn real_ids_grow_to_themselves() {
        for id in REAL {
            assert_eq!(sf_id18(&id[..15]).as_deref(), Some(id));
            assert!(matches!(sf_id18(id), Some(Cow::Borrowed(same)) if same == id));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let no =
            ["", "001bm00000NMK67AA", "001bm00000NMK67AAA", "001bm00000nmk67aah", "001bm00000NMK6é", "001bm00000 MK67"];
        for id in no {
            assert_eq!(sf_id18(id), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn the_suffix_tells_the_capitals_of_any_characters(id in any::<[u8; 15]>()) {
            let letter = |group: &[u8]| {
                let capitals = group.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
                SUFFIX[capitals.map(|(place, _)| 1_usize << place).sum::<usize>()]
            };
            prop_assert_eq!(suffix(&id), [letter(&id[..5]), letter(&id[5..10]), letter(&id[10..])]);
        }

        #[test]
        fn an_id_of_18_characters_is_letters_and_digits_with_their_suffix(
            id in prop::collection::vec(prop_oneof![9 => prop::char::ranges(vec!['0'..='9', 'A'..='Z', 'a'..='z'].into()).prop_map(|letter| letter as u8), 1 => any::<u8>()], 15),
            other in any::<Option<[u8; 3]>>(),
        ) {
            let right = other.is_none_or(|other| other == suffix(&id)) && id.iter().all(u8::is_ascii_alphanumeric);
            let whole = [id.as_slice(), &other.unwrap_or(suffix(&id))].concat();
            prop_assert_eq!(is_id18(&whole), right);
            prop_assert!(!is_id18(&whole[..17]));
        }
    }
}
