//! The expression of a query's conditions: aliases with AND, OR and parentheses; AND binds closer.

/// Conditions by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Test(usize),
    All(Vec<Self>),
    Any(Vec<Self>),
}

impl Expression {
    /// All conditions; none if there are none.
    pub(super) fn all(count: usize) -> Option<Self> {
        (count > 0).then(|| Self::All((0..count).map(Self::Test).collect()))
    }

    /// Reads an expression over conditions with these aliases; the error is the part that cannot be read.
    pub(super) fn parse(text: &str, aliases: &[String]) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { words: &words, aliases, depth: 0 };
        let expression = parser.any()?;
        match parser.words.first() {
            None => Ok(expression),
            Some(word) => Err((*word).to_owned()),
        }
    }

    /// Whether it holds, given which conditions do.
    pub(super) fn holds(&self, test: &mut impl FnMut(usize) -> bool) -> bool {
        match self {
            Self::Test(number) => test(*number),
            Self::All(parts) => parts.iter().all(|part| part.holds(test)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(test)),
        }
    }

    /// Conditions that must hold for the whole to hold.
    pub(super) fn needed(&self) -> Vec<usize> {
        match self {
            Self::Test(number) => vec![*number],
            Self::All(parts) => parts.iter().flat_map(Self::needed).collect(),
            Self::Any(_) => Vec::new(),
        }
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    aliases: &'a [String],
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("(".to_owned());
        }
        let mut parts = vec![self.every()?];
        while self.take("OR") {
            parts.push(self.every()?);
        }
        self.depth -= 1;
        Ok(single(parts, Expression::Any))
    }

    fn every(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.part()?];
        while self.take("AND") {
            parts.push(self.part()?);
        }
        Ok(single(parts, Expression::All))
    }

    fn part(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") { Ok(inner) } else { Err(")".to_owned()) };
        }
        let Some((word, rest)) = self.words.split_first() else { return Err("end".to_owned()) };
        let number = self.aliases.iter().position(|alias| alias.eq_ignore_ascii_case(word));
        self.words = rest;
        number.map(Expression::Test).ok_or_else(|| (*word).to_owned())
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first().is_some_and(|first| first.eq_ignore_ascii_case(word));
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

fn single(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, truths: [bool; 3]) -> Result<bool, String> {
        let aliases = ["A", "B", "C"].map(str::to_owned);
        Expression::parse(text, &aliases).map(|one| one.holds(&mut |at| truths[at]))
    }

    #[test]
    fn and_binds_closer_and_parentheses_closest() {
        assert_eq!(holds("A OR B AND C", [true, false, false]), Ok(true));
        assert_eq!(holds("(A OR B) AND C", [true, false, false]), Ok(false));
        assert_eq!(holds("((a or b)and(c))", [false, true, true]), Ok(true));
    }

    #[test]
    fn the_wrong_part_is_named() {
        assert_eq!(holds("A AND D", [true; 3]), Err("D".to_owned()));
        assert_eq!(holds("A B", [true; 3]), Err("B".to_owned()));
        assert_eq!(holds("(A", [true; 3]), Err(")".to_owned()));
        assert_eq!(holds("A AND", [true; 3]), Err("end".to_owned()));
        assert!(holds(&"(".repeat(500), [true; 3]).is_err());
    }
}
