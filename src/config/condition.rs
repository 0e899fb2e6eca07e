//! A SOQL condition, looked at before an org sees it.
//!
//! This is no parser: the org decides what a condition means. It finds what would change the statement around the
//! condition, and the slips of people who think in SQL.

/// Words that begin another clause; a condition that holds one outside texts and parentheses would change the statement.
const CLAUSES: &[&str] = &[
    "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "WITH", "FOR", "USING", "TYPEOF", "UNION",
];

/// The longest condition that SOQL takes.
const LONGEST: usize = 4_000;

/// `Err` holds what is wrong, and what to write instead.
pub fn check(condition: &str) -> Result<(), (String, String)> {
    let wrong = |message: &str, hint: &str| Err((message.to_owned(), hint.to_owned()));
    if condition.trim().is_empty() {
        return wrong("the condition is empty", "leave `where` out to read all rows");
    }
    if condition.chars().count() > LONGEST {
        return wrong(
            "the condition has more than the 4,000 characters that Salesforce takes",
            "shorten it, or read more rows and filter them in SQL",
        );
    }
    let mut depth = 0_i32;
    let mut word = String::new();
    let mut in_text = false;
    let mut escaped = false;
    let mut before = ' ';
    for c in condition.chars().chain([' ']) {
        if in_text {
            match c {
                _ if escaped => {
                    if !r#"nNrRtTbBfFu"'\_%"#.contains(c) {
                        return Err((
                            format!("a text in the condition holds `\\{c}`, which SOQL does not know"),
                            r"write a backslash as `\\`".to_owned(),
                        ));
                    }
                    escaped = false;
                }
                '\\' => escaped = true,
                '\'' => in_text = false,
                _ => {}
            }
            before = c;
            continue;
        }
        if c.is_alphanumeric() || c == '_' || c == '.' {
            word.push(c);
            before = c;
            continue;
        }
        let clause = CLAUSES.iter().find(|clause| depth == 0 && word.eq_ignore_ascii_case(clause));
        if let Some(clause) = clause {
            return if *clause == "WHERE" {
                wrong("the condition holds the word WHERE", "write only what follows WHERE")
            } else {
                Err((
                    format!("the condition holds {clause}, which begins another clause"),
                    "write only a condition; order, limits and fields are sf2gs' own".to_owned(),
                ))
            };
        }
        word.clear();
        match c {
            '\'' => in_text = true,
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => return wrong("a SOQL text stands in single quotes", "write 'text' in place of \"text\""),
            ';' => return wrong("the condition holds `;`", "remove it"),
            '=' if before == '=' => return wrong("SOQL has no `==`", "write ="),
            '&' | '|' => return wrong("SOQL has no `&` and no `|`", "write AND or OR"),
            '-' if before == '-' => {
                return wrong("SOQL has no comments", "put the comment beside `where` in the file, after #");
            }
            _ => {}
        }
        if depth < 0 {
            return wrong("the condition closes a parenthesis that it did not open", "add the `(`, or remove the `)`");
        }
        before = c;
    }
    if in_text {
        return wrong(
            "a text in the condition has no end",
            "add the closing ', and write \\' for a quote inside a text",
        );
    }
    if depth > 0 {
        return wrong("the condition opens a parenthesis that it does not close", "add the `)`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_pass() {
        for condition in [
            "UserType = 'Standard' AND IsActive = TRUE",
            "Type != 'Competitor'",
            "Name LIKE 'O\\'Brien; LIMIT%' OR (Owner.Email = null)",
            "Id IN (SELECT AccountId FROM Contact WHERE Email != null)",
            "CreatedDate >= LAST_N_DAYS:30 AND Amount > -5",
            "Order__c = 'x' AND ForecastCategory <> 'Omitted'",
        ] {
            assert_eq!(check(condition), Ok(()), "{condition}");
        }
    }

    #[test]
    fn slips_are_named() {
        for (condition, said) in [
            ("WHERE Name = 'x'", "WHERE"),
            ("Name = 'x' LIMIT 5", "LIMIT"),
            ("Name = 'x' order by Name", "ORDER"),
            ("Name = \"x\"", "single quotes"),
            ("Name == 'x'", "`==`"),
            ("Name = 'x' && Id != null", "`&`"),
            ("Name = 'x", "no end"),
            ("Name = 'x\\'", "no end"),
            ("(Name = 'x'", "does not close"),
            ("Name = 'x')", "did not open"),
            ("Name = 'x';", "`;`"),
            ("Name = 'x' -- why", "comments"),
            (" ", "empty"),
            ("Name = 'a\\q'", "`\\q`"),
            ("Name = 'x') OR (Name != 'y'", "did not open"),
        ] {
            let (message, _) = check(condition).expect_err(condition);
            assert!(message.contains(said), "{condition}: {message}");
        }
    }
}
