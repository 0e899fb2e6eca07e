//! Names, and what somebody may have meant by one.

/// The known word that is most like `wrong`, if one is near enough to be a slip.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let simple = |word: &str| word.to_lowercase().replace(['-', ' ', '.'], "_");
    let target = simple(wrong);
    let allowed = 1 + target.chars().count() / 4;
    known
        .into_iter()
        .map(|word| (distance(&target, &simple(word)), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// "did you mean" with the nearest word, or else the words to choose from.
pub(super) fn meant<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(wrong, known.iter().copied()) {
        Some(word) if word.eq_ignore_ascii_case(wrong) => {
            format!("write `{word}`: capital and small letters count here")
        }
        Some(word) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("use one of: {}", known.join(", ")),
    }
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// Whether `name` can name a job, chain or connection: it becomes a word on the command line, a folder of the lake and
/// a name in SQL.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The rule of [`is_name`] with the name as it should have been.
pub(super) fn name_rule(name: &str) -> String {
    let mut fixed: String = name
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(63)
        .collect();
    if fixed.is_empty() {
        fixed = "my_name".to_owned();
    }
    format!("use small letters, digits and `_`, beginning with a letter: `{fixed}`")
}

/// Whether `name` is written like a field or object of either system.
pub(super) fn is_api_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let known = ["identifier", "from", "to", "on_null"];
        for (slip, word) in [("identifer", "identifier"), ("form", "from"), ("on-null", "on_null"), ("From", "from")] {
            assert_eq!(nearest(slip, known), Some(word), "{slip}");
        }
        assert_eq!(nearest("colour", known), None);
        assert_eq!(meant("From", known), "write `from`: capital and small letters count here");
        assert_eq!(meant("colour", ["a", "b"]), "use one of: a, b");
    }

    #[test]
    fn a_name_is_a_word_everywhere() {
        assert!(is_name("company_sync2"));
        for (wrong, right) in [("Company Sync", "company_sync"), ("2nd", "nd"), ("a-b", "a_b"), ("é", "my_name")] {
            assert!(!is_name(wrong));
            assert!(name_rule(wrong).ends_with(&format!("`{right}`")), "{}", name_rule(wrong));
        }
    }
}
