//! The text of a formula → its tree, with every name looked up in the schema.

use super::FUNCTIONS;
use super::Node;
use super::Operator;
use super::Worth;
use crate::sandbox::salesforce::schema::ObjectIndex;
use crate::sandbox::salesforce::schema::Schema;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Name(String),
    Symbol(&'static str),
}

/// Two-character symbols first, so that they are not read as two.
const SYMBOLS: [&str; 20] =
    ["&&", "||", "<=", ">=", "<>", "!=", "==", "=", "<", ">", "&", "+", "-", "*", "/", "(", ")", ",", "!", "^"];

/// The operators by how tightly they hold, loosest first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("=", Operator::Equal),
        ("==", Operator::Equal),
        ("<>", Operator::NotEqual),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("&", Operator::Join), ("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::By)],
];

pub(super) fn parse(text: &str, schema: &Schema, object: ObjectIndex) -> Result<Node, String> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, schema, object };
    let node = parser.level(0)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(format!("`{}` is not expected there", shown(token))),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |belongs: fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let length = if first == '"' || first == '\'' {
            let close = rest[1..].find(first).ok_or_else(|| format!("the text that begins at {rest} does not end"))?;
            out.push(Token::Text(rest[1..=close].to_owned()));
            close + 2
        } else if first.is_ascii_digit() {
            let length = end(|c| c.is_ascii_digit() || c == '.');
            let number = rest[..length].parse().map_err(|_| format!("`{}` is not a number", &rest[..length]))?;
            out.push(Token::Number(number));
            length
        } else if first.is_ascii_alphabetic() {
            let length = end(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            out.push(Token::Name(rest[..length].to_owned()));
            length
        } else {
            let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
            let symbol = symbol.ok_or_else(|| format!("`{first}` means nothing in a formula"))?;
            out.push(Token::Symbol(symbol));
            symbol.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(out)
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(number) => number.to_string(),
        Token::Text(text) => text.clone(),
        Token::Name(name) => name.clone(),
        Token::Symbol(symbol) => (*symbol).to_owned(),
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    schema: &'a Schema,
    object: ObjectIndex,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &str) -> Result<(), String> {
        if self.symbol(symbol) {
            return Ok(());
        }
        let found = self.peek().map_or_else(|| "the end".to_owned(), |token| format!("`{}`", shown(token)));
        Err(format!("`{symbol}` is expected where {found} stands"))
    }

    fn level(&mut self, level: usize) -> Result<Node, String> {
        let Some(operators) = LEVELS.get(level) else { return self.single() };
        let mut left = self.level(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.symbol(symbol)) {
            let right = self.level(level + 1)?;
            left = Node::Two(*operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Node, String> {
        if self.symbol("-") {
            return Ok(Node::Negative(Box::new(self.single()?)));
        }
        if self.symbol("!") {
            return Ok(Node::Call("NOT", vec![self.single()?]));
        }
        if self.symbol("(") {
            let inner = self.level(0)?;
            self.need(")")?;
            return Ok(inner);
        }
        let token = self.peek().cloned().ok_or("the formula ends too early")?;
        self.next += 1;
        match token {
            Token::Number(number) => Ok(Node::Known(Worth::Number(number))),
            Token::Text(text) => Ok(Node::Known(Worth::Text(text))),
            Token::Name(name) if self.symbol("(") => self.call(&name),
            Token::Name(name) => self.name(&name),
            Token::Symbol(symbol) => Err(format!("`{symbol}` is not expected there")),
        }
    }

    fn call(&mut self, name: &str) -> Result<Node, String> {
        let known = FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let &(known, fewest, most) = known.ok_or_else(|| {
            let all: Vec<_> = FUNCTIONS.iter().map(|(known, ..)| *known).collect();
            format!("there is no function `{name}`; use one of {}", all.join(", "))
        })?;
        let mut arguments = Vec::new();
        if !self.symbol(")") {
            arguments.push(self.level(0)?);
            while self.symbol(",") {
                arguments.push(self.level(0)?);
            }
            self.need(")")?;
        }
        if !(fewest..=most).contains(&arguments.len()) || (known == "CASE" && arguments.len() % 2 == 1) {
            return Err(format!("{known} cannot take {} arguments", arguments.len()));
        }
        Ok(Node::Call(known, arguments))
    }

    fn name(&self, name: &str) -> Result<Node, String> {
        match name.to_ascii_uppercase().as_str() {
            "TRUE" => return Ok(Node::Known(Worth::Boolean(true))),
            "FALSE" => return Ok(Node::Known(Worth::Boolean(false))),
            "NULL" => return Ok(Node::Known(Worth::Null)),
            _ => {}
        }
        let mut object = self.object;
        let mut steps = Vec::new();
        let (ways, last) = name.rsplit_once('.').map_or(("", name), |(ways, last)| (ways, last));
        for way in ways.split('.').filter(|way| !way.is_empty()) {
            let definition = &self.schema.objects[object];
            let field = definition.relationship(way);
            let parent = field.and_then(|field| match definition.fields[field].targets.as_slice() {
                [parent] => Some((field, *parent)),
                _ => None,
            });
            let (field, parent) = parent
                .ok_or_else(|| format!("{} has no relationship `{way}` to one parent of this org", definition.name))?;
            steps.push(field);
            object = parent;
        }
        let definition = &self.schema.objects[object];
        let field = definition.find(last).ok_or_else(|| format!("{} has no field `{last}`", definition.name))?;
        Ok(Node::Field { steps, field })
    }
}
