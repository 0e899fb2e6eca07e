//! SQL text: identifiers and literals, quoted so that no name or value can be anything else.

/// `name` as a quoted identifier: Salesforce names keep their letter case and their dots.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a string literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `text` made safe inside a `--` comment.
pub fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_end_a_name_or_a_value() {
        assert_eq!(identifier("Owner.Email"), "\"Owner.Email\"");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("O'Brien"), "'O''Brien'");
        assert_eq!(comment("a\nDROP TABLE x"), "a DROP TABLE x");
    }
}
