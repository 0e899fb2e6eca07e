//! Tokens → [`Query`]. Keywords in any case; AND and OR mixed without parentheses are refused, as by the service.

use super::ast::Condition;
use super::ast::Literal;
use super::ast::Name;
use super::ast::Operator;
use super::ast::Order;
use super::ast::Query;
use super::ast::Selected;
use super::lexer;
use super::lexer::Kind;
use super::lexer::Token;
use super::refusal;
use crate::sandbox::salesforce::error::ApiError;

type Parsed<T> = Result<T, ApiError>;

/// Words that end a field list or cannot be an alias.
const KEYWORDS: [&str; 12] =
    ["WHERE", "WITH", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FOR", "USING", "UPDATE", "FROM", "ALL"];

pub(super) fn parse(text: &str) -> Parsed<Query> {
    let mut parser = Parser { text, tokens: lexer::tokens(text)?, next: 0 };
    let query = parser.query(text)?;
    match parser.peek() {
        Kind::End => Ok(query),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl Parser<'_> {
    fn query(&mut self, text: &str) -> Parsed<Query> {
        self.keyword("SELECT")?;
        let mut selected = vec![self.selected()?];
        while self.symbol(",") {
            selected.push(self.selected()?);
        }
        self.keyword("FROM")?;
        let object = self.name()?;
        let alias = match self.peek() {
            Kind::Word(word) if !KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) => {
                let word = word.clone();
                self.next += 1;
                Some(word)
            }
            _ => None,
        };
        if self.accept("USING") {
            self.keyword("SCOPE")?;
            self.name()?;
        }
        let condition = if self.accept("WHERE") { Some(self.condition()?) } else { None };
        if self.is("WITH") {
            return Err(self.unexpected());
        }
        let group_by = if self.is("GROUP") { Some(self.group_by()?) } else { None };
        let order = if self.accept("ORDER") { self.order()? } else { Vec::new() };
        let limit = if self.accept("LIMIT") { Some(self.count()?) } else { None };
        let at = self.at();
        let offset = if self.accept("OFFSET") { Some((self.count()?, at)) } else { None };
        while self.accept("FOR") || self.accept("UPDATE") {
            self.name()?;
        }
        Ok(Query { text: text.to_owned(), selected, object, alias, condition, group_by, order, limit, offset })
    }

    fn selected(&mut self) -> Parsed<Selected> {
        let at = self.at();
        if self.symbol("(") {
            let query = self.query(self.text)?;
            self.need(")")?;
            return Ok(Selected::Subquery(Box::new(query)));
        }
        let name = self.name()?;
        if name.text.eq_ignore_ascii_case("TYPEOF") && matches!(self.peek(), Kind::Word(_)) {
            while !self.accept("END") {
                if *self.peek() == Kind::End {
                    return Err(self.unexpected());
                }
                self.next += 1;
            }
            return Ok(Selected::TypeOf(at));
        }
        if !self.symbol("(") {
            return Ok(Selected::Field(name));
        }
        if name.text.eq_ignore_ascii_case("COUNT") && self.symbol(")") {
            return Ok(Selected::Count(at));
        }
        if name.text.eq_ignore_ascii_case("FIELDS") {
            let which = self.name()?;
            self.need(")")?;
            return Ok(Selected::Fields(which));
        }
        self.skip_group()?;
        // An aggregate may be given an alias.
        if matches!(self.peek(), Kind::Word(word) if !word.eq_ignore_ascii_case("FROM")) {
            self.next += 1;
        }
        Ok(Selected::Function(name))
    }

    /// Skips to the parenthesis that closes the one just read.
    fn skip_group(&mut self) -> Parsed<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                Kind::Symbol("(") => depth += 1,
                Kind::Symbol(")") => depth -= 1,
                Kind::End => return Err(self.unexpected()),
                _ => {}
            }
            self.next += 1;
        }
        Ok(())
    }

    fn group_by(&mut self) -> Parsed<usize> {
        let at = self.at();
        self.next += 1;
        self.keyword("BY")?;
        while !matches!(self.peek(), Kind::End) && !["ORDER", "LIMIT", "OFFSET"].iter().any(|word| self.is(word)) {
            self.next += 1;
        }
        Ok(at)
    }

    fn order(&mut self) -> Parsed<Vec<Order>> {
        self.keyword("BY")?;
        let mut order = Vec::new();
        loop {
            let field = self.name()?;
            let descending = self.accept("DESC");
            if !descending {
                self.accept("ASC");
            }
            let mut nulls_last = false;
            if self.accept("NULLS") {
                nulls_last = self.accept("LAST");
                if !nulls_last {
                    self.keyword("FIRST")?;
                }
            }
            order.push(Order { field, descending, nulls_last });
            if !self.symbol(",") {
                return Ok(order);
            }
        }
    }

    fn condition(&mut self) -> Parsed<Condition> {
        let first = self.term()?;
        let and = self.is("AND");
        let word = if and { "AND" } else { "OR" };
        let mut all = vec![first];
        while self.accept(word) {
            all.push(self.term()?);
        }
        // The other word would need parentheses.
        if self.is("AND") || self.is("OR") {
            return Err(self.unexpected());
        }
        Ok(match (all.len(), and) {
            (1, _) => all.remove(0),
            (_, true) => Condition::And(all),
            (_, false) => Condition::Or(all),
        })
    }

    fn term(&mut self) -> Parsed<Condition> {
        if self.accept("NOT") {
            return Ok(Condition::Not(Box::new(self.term()?)));
        }
        if self.symbol("(") {
            let inner = self.condition()?;
            self.need(")")?;
            return Ok(inner);
        }
        let field = self.name()?;
        let at = self.at();
        if self.accept("NOT") {
            self.keyword("IN")?;
            return self.within(field, true, at);
        }
        if self.accept("IN") {
            return self.within(field, false, at);
        }
        for (word, negated) in [("INCLUDES", false), ("EXCLUDES", true)] {
            if self.accept(word) {
                self.need("(")?;
                return Ok(Condition::Includes { field, negated, values: self.values()? });
            }
        }
        let operator = match self.peek() {
            Kind::Symbol("=") => Operator::Equal,
            Kind::Symbol("!=") => Operator::NotEqual,
            Kind::Symbol("<") => Operator::Less,
            Kind::Symbol("<=") => Operator::LessOrEqual,
            Kind::Symbol(">") => Operator::Greater,
            Kind::Symbol(">=") => Operator::GreaterOrEqual,
            _ if self.is("LIKE") => Operator::Like,
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        let at = self.at();
        Ok(Condition::Compare { field, operator, value: self.literal()?, at })
    }

    fn within(&mut self, field: Name, negated: bool, at: usize) -> Parsed<Condition> {
        self.need("(")?;
        if self.is("SELECT") {
            let query = Box::new(self.query(self.text)?);
            self.need(")")?;
            return Ok(Condition::InQuery { field, negated, query });
        }
        Ok(Condition::In { field, negated, values: self.values()?, at })
    }

    fn values(&mut self) -> Parsed<Vec<Literal>> {
        let mut values = vec![self.literal()?];
        while self.symbol(",") {
            values.push(self.literal()?);
        }
        self.need(")")?;
        Ok(values)
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let literal = match self.peek().clone() {
            Kind::Text(text) => Literal::Text(text),
            Kind::Integer(value) => Literal::Integer(value),
            Kind::Number(value) => Literal::Number(value),
            Kind::Date(day) => Literal::Date(day),
            Kind::Datetime(moment) => Literal::Datetime(moment),
            Kind::Word(word) => match word.to_ascii_uppercase().as_str() {
                "NULL" => Literal::Null,
                "TRUE" => Literal::Boolean(true),
                "FALSE" => Literal::Boolean(false),
                name => return self.period(name),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }

    fn period(&mut self, name: &str) -> Parsed<Literal> {
        if !super::dates::is_period(name) {
            return Err(self.unexpected());
        }
        self.next += 1;
        let mut count = None;
        if super::dates::takes_number(name) {
            self.need(":")?;
            let Kind::Integer(number) = *self.peek() else { return Err(self.unexpected()) };
            self.next += 1;
            count = Some(number);
        }
        Ok(Literal::Period(name.to_owned(), count))
    }

    fn count(&mut self) -> Parsed<u64> {
        match *self.peek() {
            Kind::Integer(value) if value >= 0 => {
                self.next += 1;
                Ok(value as u64)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn name(&mut self) -> Parsed<Name> {
        match self.peek() {
            Kind::Word(word) if !word.ends_with('.') && !word.contains("..") => {
                let name = Name { text: word.clone(), at: self.at() };
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn peek(&self) -> &Kind {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }

    fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    fn is(&self, keyword: &str) -> bool {
        matches!(self.peek(), Kind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        self.next += usize::from(found);
        found
    }

    fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        if self.accept(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Kind::Symbol(found) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &str) -> Parsed<()> {
        if self.symbol(symbol) {
            return Ok(());
        }
        let found = self.shown();
        Err(refusal(self.text, self.at(), "MALFORMED_QUERY", &format!("expecting '{symbol}', found '{found}'")))
    }

    fn unexpected(&self) -> ApiError {
        lexer::unexpected(self.text, self.at(), &self.shown())
    }

    /// The token at hand as the query spells it.
    fn shown(&self) -> String {
        let at = self.at();
        if at >= self.text.len() {
            return "<EOF>".to_owned();
        }
        let end = self.text[at..]
            .find(|c: char| c.is_whitespace() || c == ',' || c == ')')
            .map_or(self.text.len(), |length| at + length.max(1));
        self.text.get(at..end).unwrap_or_default().to_owned()
    }
}
