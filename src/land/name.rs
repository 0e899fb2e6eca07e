//! Names of lake tables: checked once, so that they are safe as path segments and as SQL identifiers.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::error::Result;

/// A table of the lake: the connection it came from and the object's name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The connection's name, such as `salesforce`; folders of sf2gs itself use names such as `activity`.
    pub connection: String,
    /// The object's name, such as `account`.
    pub table: String,
}

impl TableName {
    /// `connection` and `table`, made lower case and checked: ASCII letters, digits, `_` and `-`.
    pub fn new(connection: &str, table: &str) -> Result<Self> {
        Ok(Self { connection: checked(connection)?, table: checked(table)? })
    }
}

fn checked(part: &str) -> Result<String> {
    let fine = !part.is_empty()
        && part.len() <= 128
        && !part.starts_with(['_', '-'])
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fine {
        Ok(part.to_ascii_lowercase())
    } else {
        Err(Error::config(format!("`{part}` can't be the name of a lake table or its connection"))
            .hint("use ASCII letters, digits, `_` and `-`, and start with a letter or digit"))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.connection, self.table)
    }
}

impl FromStr for TableName {
    type Err = Error;

    /// Reads `connection.table`.
    fn from_str(text: &str) -> Result<Self> {
        let (connection, table) = text.split_once('.').ok_or_else(|| {
            Error::config(format!("`{text}` doesn't name a lake table")).hint("write it as `connection.table`")
        })?;
        Self::new(connection, table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_safe_as_paths() {
        assert_eq!(TableName::new("salesforce", "Account").unwrap().to_string(), "salesforce.account");
        assert_eq!("gainsight.company".parse::<TableName>().unwrap().table, "company");
        for bad in ["", "..", "a/b", "_delta_log", "a b", "ä"] {
            assert!(TableName::new("salesforce", bad).is_err(), "{bad}");
        }
    }
}
