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
        18 => (bytes[15..] == suffix(&bytes[..15])).then_some(Cow::Borrowed(id)),
        _ => None,
    }
}

/// The last 3 characters of an id with these first 15. Shorter text is read as if small letters followed.
pub fn suffix(id15: &[u8]) -> [u8; 3] {
    let mut whole = [b'a'; 15];
    let id: &[u8; 15] = match id15.first_chunk() {
        Some(id) => id,
        None => {
            whole[..id15.len()].copy_from_slice(id15);
            &whole
        }
    };
    let letter = |group: usize| {
        let mut bits = 0;
        for position in 0..5 {
            bits |= usize::from(id[group * 5 + position].is_ascii_uppercase()) << position;
        }
        SUFFIX[bits & 31]
    };
    [letter(0), letter(1), letter(2)]
}

#[cfg(test)]
mod tests {
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
}
