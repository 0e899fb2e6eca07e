//! How texts compare: the rules of design.md's ruling on keys, one value at a time.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

/// Trimmed of Unicode white space; `None` if nothing is left.
pub(super) fn trim_text(text: &str) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then_some(Cow::Borrowed(trimmed))
}

/// A user-made key as it compares: trimmed, in Unicode lower case, composed (NFC).
///
/// The order matters: `J̌` has no capital letter of its own in Unicode while `ǰ` has one code point, so composing comes
/// last. A final `ς` is the letter `σ`: lower-casing picks one or the other by its place in the word.
pub(super) fn match_text(text: &str) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    if trimmed.is_ascii() {
        return Some(if trimmed.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(trimmed.to_ascii_lowercase())
        } else {
            Cow::Borrowed(trimmed)
        });
    }
    let lower: String =
        trimmed.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter }).collect();
    const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
    Some(match NFC.normalize(&lower) {
        Cow::Borrowed(same) if same.len() == lower.len() => Cow::Owned(lower),
        other => Cow::Owned(other.into_owned()),
    })
}

/// An id as it compares: trimmed and exact, a Salesforce id always with its 18 characters.
pub(super) fn match_id(text: &str) -> Option<Cow<'_, str>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return None;
    }
    Some(sf_id18(trimmed).unwrap_or(Cow::Borrowed(trimmed)))
}

/// A Salesforce id with 18 characters; `None` if the text is none.
pub(super) fn sf_id18(text: &str) -> Option<Cow<'_, str>> {
    crate::config::ids::sf_id18(text)
}

/// Labels joined with `;` as a set compares: trimmed, sorted, each once.
pub(super) fn match_set(text: &str) -> Option<Cow<'_, str>> {
    let mut labels: Vec<&str> = text.split(';').map(str::trim).filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    labels.dedup();
    (!labels.is_empty()).then(|| Cow::Owned(labels.join(";")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_without_case_in_every_script() {
        let same = |a: &str, b: &str| assert_eq!(match_text(a), match_text(b), "{a} and {b}");
        same(" Jane.Doe@Example.ORG", "jane.doe@example.org\u{3000}");
        same("ÄRGER", "a\u{308}rger");
        same("ΟΔΟΣ", "οδος");
        same("J\u{30c}", "\u{1f0}");
        same("İ", "I\u{307}");
        same("\u{212b}", "å");
        // these stay apart: capital ẞ is ß, but SS is not; a dotless ı is not i
        assert_ne!(match_text("STRASSE"), match_text("straße"));
        assert_eq!(match_text("STRAẞE"), match_text("straße"));
        assert_ne!(match_text("ı"), match_text("I"));
    }

    #[test]
    fn blank_is_nothing() {
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{2003}"] {
            assert_eq!(match_text(blank), None);
            assert_eq!(match_id(blank), None);
            assert_eq!(match_set(blank), None);
            assert_eq!(trim_text(blank), None);
        }
        // a zero-width space is a character, not white space
        assert!(match_text("\u{200b}").is_some());
    }

    #[test]
    fn ids_meet_in_both_lengths_and_stay_exact() {
        assert_eq!(match_id("001bm00000NMK67").as_deref(), Some("001bm00000NMK67AAH"));
        assert_eq!(match_id(" 001bm00000NMK67AAH ").as_deref(), Some("001bm00000NMK67AAH"));
        assert_ne!(match_id("001bm00000nmk67"), match_id("001bm00000NMK67"));
        assert_eq!(match_id("Case-17").as_deref(), Some("Case-17"));
    }

    #[test]
    fn sets_have_no_order() {
        assert_eq!(match_set("b; a;a;"), match_set("a;b"));
    }
}
