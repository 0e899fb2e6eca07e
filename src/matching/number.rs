//! Stored numbers of key texts: equal keys have equal numbers, whoever wrote them and when.
//!
//! A mirror keeps them beside the records, so that a few rows find theirs among a million without reading any key. Two
//! texts that compare as equal by [`match_text`] or by [`match_id`], or that are the same, have one number, or one of them
//! has none: 15 letters and digits may be the short form of an id or a name, which compare by different rules. That other
//! texts have the same number costs time and no more. **The numbers are kept in files: another way to work them out needs another
//! prefix of the columns' names.**

use datafusion::arrow::array::Int32Array;
use datafusion::arrow::array::StringArray;
use twox_hash::XxHash32;

#[cfg(doc)]
use crate::matching::text::match_id;
use crate::matching::text::match_text;

/// The number of what is blank. No key is found by it.
const BLANK: i32 = 0;

/// The numbers of `texts`; NULL says nothing of a text.
pub fn numbers(texts: &StringArray) -> Int32Array {
    let mut lower = [0; 64];
    texts
        .iter()
        .map(|text| {
            let Some(text) = text else { return Some(BLANK) };
            // nearly all texts: nothing to trim, nothing to compose
            let bytes = text.as_bytes();
            if bytes.len() <= lower.len() && bytes.iter().all(u8::is_ascii_graphic) {
                let lower = &mut lower[..bytes.len()];
                lower.copy_from_slice(bytes);
                lower.make_ascii_lowercase();
                return number(lower);
            }
            match match_text(text) {
                Some(text) => number(text.as_bytes()),
                None => Some(BLANK),
            }
        })
        .collect()
}

/// The number of a text as [`match_text`] gives it.
fn number(text: &[u8]) -> Option<i32> {
    match XxHash32::oneshot(0, text).cast_signed() {
        _ if text.is_empty() => Some(BLANK),
        _ if text.len() == 15 && text.iter().all(u8::is_ascii_alphanumeric) => None,
        BLANK => Some(1),
        number => Some(number),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Array;
    use proptest::prelude::*;

    use crate::matching::text::match_id;

    use super::*;

    fn one(text: &str) -> Option<i32> {
        let numbers = numbers(&StringArray::from(vec![text]));
        numbers.is_valid(0).then(|| numbers.value(0))
    }

    /// Whether a record with `text` is found by what it compares as.
    fn is_found(text: &str, compared: &str) -> bool {
        one(text).is_none_or(|number| one(compared) == Some(number))
    }

    #[test]
    fn the_numbers_stay_what_they_are() {
        assert_eq!(one("jane@x.org"), Some(931_113_712));
        assert_eq!(one("001bm00000NMK67AAH"), Some(-1_280_499_443));
        assert_eq!(one("Grüße"), Some(-1_744_509_924));
    }

    #[test]
    fn blank_texts_are_told_from_others() {
        let texts = StringArray::from(vec![None, Some(""), Some(" \u{a0}")]);
        assert!(numbers(&texts).iter().all(|number| number == Some(BLANK)));
        assert_ne!(one("x"), Some(BLANK));
    }

    #[test]
    fn ids_that_differ_in_case_alone_have_different_numbers() {
        assert_eq!(one(" 001bm00000NMK67AAH "), one("001bm00000NMK67AAH"));
        assert_ne!(one("001bm00000NMK67AAH"), one(&match_id("001bm00000nmk67").unwrap()));
        assert_eq!(one("001bm00000NMK67"), None, "it may be a name");
    }

    #[test]
    fn every_letter_has_the_number_of_what_it_compares_as() {
        for letter in '\u{1}'..='\u{1ffff}' {
            for text in [format!("a{letter}"), format!("{letter}\u{30c}")] {
                let compared = match_text(&text).unwrap_or_default();
                assert!(is_found(&text, &compared), "{text:?} compares as {compared:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_compares_as_equal_has_one_number(
            text in "\\PC{0,30}|[ a-zA-Z0-9]{15}|[a-zA-Z0-9]{18}|\\s?[A-Z]{1,70}\\s?"
        ) {
            prop_assert!(is_found(&text, &match_text(&text).unwrap_or_default()));
            prop_assert!(is_found(&text, &match_id(&text).unwrap_or_default()));
        }
    }
}
