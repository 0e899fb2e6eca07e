//! A condition in a user's words, checked so far that it can be put between parentheses.
//!
//! What the words mean is for Salesforce to judge. Here it is only made sure that they stay a condition: text constants
//! closed, parentheses paired, and none of the clauses that may follow a condition.

use crate::error::Error;
use crate::error::Result;

/// The longest condition that SOQL takes.
const LONGEST: usize = 4_000;

/// Clauses that may follow a condition, and what to do instead.
const CLAUSES: [(&str, Option<&str>); 10] = [
    ("GROUP", Some("BY")),
    ("HAVING", None),
    ("ORDER", Some("BY")),
    ("LIMIT", None),
    ("OFFSET", None),
    ("FOR", None),
    ("USING", None),
    ("WITH", None),
    ("SELECT", None),
    ("FROM", None),
];

/// Returns the condition without outer blanks, or says what is wrong with it. Needs no org.
pub fn checked(condition: &str) -> Result<&str> {
    let condition = condition.trim();
    let wrong =
        |what: String, hint: String| Err(Error::config(format!("the condition `{condition}` {what}")).hint(hint));
    if condition.is_empty() {
        return wrong("is empty".into(), "leave `where` out to read all rows".into());
    }
    if condition.chars().count() > LONGEST {
        return wrong(
            format!("has more than {LONGEST} characters"),
            "Salesforce takes no longer one: shorten it, or read more rows and filter them in SQL".into(),
        );
    }
    let mut depth = 0_u32;
    let mut words: Vec<&str> = Vec::new();
    let mut letters = condition.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' => {
                let mut closed = false;
                while let Some((_, inner)) = letters.next() {
                    match inner {
                        '\\' => match letters.next() {
                            Some((
                                _,
                                'n' | 'N' | 'r' | 'R' | 't' | 'T' | 'b' | 'B' | 'f' | 'F' | 'u' | '"' | '\'' | '\\'
                                | '_' | '%',
                            )) => {}
                            other => {
                                let escape = other.map(|(_, letter)| letter.to_string()).unwrap_or_default();
                                return wrong(
                                    format!("holds `\\{escape}` in a text, which SOQL does not know"),
                                    r"write a backslash as `\\` and a quote as `\'`".into(),
                                );
                            }
                        },
                        '\'' => {
                            closed = true;
                            break;
                        }
                        _ => {}
                    }
                }
                if !closed {
                    return wrong(
                        "has a text that is not closed".into(),
                        r"end it with `'`; a quote in a text is `\'`".into(),
                    );
                }
                words.push("''");
            }
            '(' => {
                depth += 1;
                words.push("(");
            }
            ')' => {
                let Some(less) = depth.checked_sub(1) else {
                    return wrong("closes a parenthesis that was not opened".into(), "remove the `)`".into());
                };
                depth = less;
                words.push(")");
            }
            ';' => return wrong("holds a `;`".into(), "give the condition alone, without `;`".into()),
            '"' => {
                return wrong("holds a double quote".into(), "SOQL puts texts in single quotes".into());
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                let mut end = at + letter.len_utf8();
                while let Some((next, inner)) = letters.peek().copied() {
                    if !(inner.is_alphanumeric() || inner == '_' || inner == '.') {
                        break;
                    }
                    end = next + inner.len_utf8();
                    letters.next();
                }
                let word = &condition[at..end];
                if depth == 0 {
                    words.push(word);
                }
            }
            _ => {}
        }
    }
    if depth > 0 {
        return wrong("has a parenthesis that is not closed".into(), "add `)`".into());
    }
    for (index, word) in words.iter().enumerate() {
        let follows = |second: &str| words.get(index + 1).is_some_and(|next| next.eq_ignore_ascii_case(second));
        let clause =
            CLAUSES.iter().find(|(first, second)| word.eq_ignore_ascii_case(first) && second.is_none_or(follows));
        if let Some((clause, _)) = clause {
            return wrong(
                format!("is followed by {clause}"),
                "give the condition alone, as it stands after WHERE; order and limit are not for a job".into(),
            );
        }
    }
    if condition.to_ascii_uppercase().starts_with("WHERE ") {
        return wrong("begins with WHERE".into(), "leave the word WHERE out".into());
    }
    Ok(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_pass() {
        for good in [
            "Type != 'Competitor'",
            " IsActive = true AND (UserType = 'Standard' OR Email LIKE '%@acme.com') ",
            r"Name = 'O\'Brien; ORDER BY (x' AND City = 'A\\'",
            "Id IN (SELECT AccountId FROM Contact WHERE Email != null LIMIT 5)",
            "CreatedDate > LAST_N_DAYS:30",
            "Order.Status__c = 'Open' AND Limit__c > 5 AND With__c = 1",
            "Name = 'München'",
        ] {
            assert_eq!(checked(good).unwrap(), good.trim());
        }
    }

    #[test]
    fn what_would_leave_its_parentheses_is_refused() {
        for (bad, word) in [
            ("", "empty"),
            ("Name = 'x", "not closed"),
            ("Name = 'x') OR (Name != 'y'", "not opened"),
            ("(Name = 'x'", "not closed"),
            ("Name = 'x' ORDER BY Name", "ORDER"),
            ("Name = 'x' limit 5", "LIMIT"),
            ("Name = 'x' Group   By Name", "GROUP"),
            ("Name = 'x' OFFSET 3", "OFFSET"),
            ("Name = 'x' FOR VIEW", "FOR"),
            ("Name = 'x'; DROP", ";"),
            (r"Name = 'a\q'", r"\q"),
            (r"Name = 'a\'", "not closed"),
            ("Name = \"x\"", "double quote"),
            ("where Name = 'x'", "WHERE"),
        ] {
            let error = checked(bad).unwrap_err();
            assert!(error.message().contains(word), "{bad}: {error:?}");
            assert!(error.hint_text().is_some());
        }
        assert!(checked(&format!("Name = '{}'", "x".repeat(LONGEST))).is_err());
    }
}
