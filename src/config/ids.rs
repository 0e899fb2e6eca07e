//! Salesforce ids: 15 characters where case counts, or the same with 3 more that make it safe to ignore case.
//!
//! The 3 characters say which of the 15 are capital letters: one for each group of five, bit k set when character k
//! (from the left, from 0) is `A`–`Z`, written with `ABCDEFGHIJKLMNOPQRSTUVWXYZ012345`.

use std::borrow::Cow;

use wide::u8x16;

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
    // What `suffix` gives are letters and digits.
    let first = u8x16::new(*id.first_chunk().unwrap_or(&[0; 16]));
    let small = first | u8x16::splat(b'a' ^ b'A');
    let alphanumeric = between(first, b'0', b'9') | between(small, b'a', b'z');
    alphanumeric.to_bitmask() == 0xffff && id[15..] == told(between(first, b'A', b'Z').to_bitmask())
}

/// The last 3 characters of an id with these first 15. Shorter text is read as if small letters followed.
#[inline]
pub fn suffix(id15: &[u8]) -> [u8; 3] {
    let mut whole = [b'a'; 16];
    let length = id15.len().min(15);
    whole[..length].copy_from_slice(&id15[..length]);
    told(between(u8x16::new(whole), b'A', b'Z').to_bitmask())
}

/// The characters that tell which of the 15 are capital letters.
#[inline]
fn told(capitals: u32) -> [u8; 3] {
    [0, 5, 10].map(|group| SUFFIX[(capitals >> group & 31) as usize])
}

/// Which characters lie between two others.
#[inline]
fn between(characters: u8x16, least: u8, greatest: u8) -> u8x16 {
    let above = characters - u8x16::splat(least);
    above.min(u8x16::splat(greatest - least)).simd_eq(above)
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
