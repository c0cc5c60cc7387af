//! The part of TOML in which configuration files of agents are written: tables, strings on one line,
//! whole numbers, truth values, lists of those, and tables on one line. What is outside of it is an
//! error and not a guess. (A parser of all of TOML would be a tenth of the program.)
//!
//! ```text
//! log_level = "info"                     # keys by their dotted names: "log_level", "endpoints.allowed",
//! hotplug_timeout = { secs = 3 }         # "hotplug_timeout.secs"
//! [endpoints]
//! allowed = ["CreateContainerRequest",
//!            "StartContainerRequest"]
//! ```

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A value that is no table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Bool(bool),
    List(Vec<Value>),
}

/// What is wrong, and on which line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {why}")]
pub(crate) struct Error {
    line: usize,
    why: String,
}

/// Longest list or line of tables within one another.
const DEPTH: usize = 8;

/// Values by the dotted names of their keys.
///
/// # Errors
/// The first line that is not of this form, or says a key again.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Value>, Error> {
    let mut parser = Parser {
        rest: text.chars().peekable(),
        line: 1,
        said: BTreeMap::new(),
    };
    let mut table = String::new();
    loop {
        parser.blank(true);
        match parser.rest.peek() {
            None => return Ok(parser.said),
            Some('[') => {
                parser.next();
                if parser.eat('[') {
                    return Err(parser.wrong("lists of tables are not read here"));
                }
                table = parser.key()? + ".";
                parser.expect(']')?;
            }
            Some(_) => parser.pair(&table, 0)?,
        }
        parser.blank(false);
        if !matches!(parser.rest.peek(), None | Some('\n')) {
            return Err(parser.wrong("the line should end here"));
        }
    }
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    said: BTreeMap<String, Value>,
}

impl Parser<'_> {
    fn wrong(&self, why: impl Into<String>) -> Error {
        Error {
            line: self.line,
            why: why.into(),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn expect(&mut self, c: char) -> Result<(), Error> {
        self.blank(false);
        match self.eat(c) {
            true => Ok(()),
            false => Err(self.wrong(format!("{c:?} is missing"))),
        }
    }

    /// Passes over blanks and comments, and ends of lines if `lines`.
    fn blank(&mut self, lines: bool) {
        while let Some(&c) = self.rest.peek() {
            match c {
                ' ' | '\t' | '\r' => {}
                '\n' if lines => {}
                '#' => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                    continue;
                }
                _ => return,
            }
            self.next();
        }
    }

    fn pair(&mut self, table: &str, depth: usize) -> Result<(), Error> {
        let name = format!("{table}{}", self.key()?);
        self.expect('=')?;
        self.blank(false);
        if !self.eat('{') {
            let value = self.value(depth)?;
            return match self.said.insert(name.clone(), value) {
                None => Ok(()),
                Some(_) => Err(self.wrong(format!("{name} is said twice"))),
            };
        }
        if depth == DEPTH {
            return Err(self.wrong("too many tables within one another"));
        }
        loop {
            self.blank(false);
            if self.eat('}') {
                return Ok(());
            }
            self.pair(&format!("{name}."), depth + 1)?;
            self.blank(false);
            if !self.eat(',') {
                return self.expect('}');
            }
        }
    }

    /// A name, or several with dots between.
    fn key(&mut self) -> Result<String, Error> {
        let mut name = String::new();
        loop {
            self.blank(false);
            let before = name.len();
            match self.rest.peek() {
                Some('"' | '\'') => name += &self.text()?,
                _ => {
                    let part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                    while let Some(c) = self.rest.next_if(part) {
                        name.push(c);
                    }
                }
            }
            if name.len() == before {
                return Err(self.wrong("a key is missing"));
            }
            self.blank(false);
            if !self.eat('.') {
                return Ok(name);
            }
            name.push('.');
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        match self.rest.peek() {
            Some('"' | '\'') => self.text().map(Value::Text),
            Some('[') if depth == DEPTH => Err(self.wrong("too many lists within one another")),
            Some('[') => {
                self.next();
                let mut list = Vec::new();
                loop {
                    self.blank(true);
                    if self.eat(']') {
                        return Ok(Value::List(list));
                    }
                    list.push(self.value(depth + 1)?);
                    self.blank(true);
                    if !self.eat(',') {
                        self.expect(']')?;
                        return Ok(Value::List(list));
                    }
                }
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = self
                    .rest
                    .next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.'))
                {
                    word.push(c);
                }
                match word.as_str() {
                    "true" => Ok(Value::Bool(true)),
                    "false" => Ok(Value::Bool(false)),
                    "" => Err(self.wrong("a value is missing")),
                    word => word
                        .replace('_', "")
                        .parse()
                        .map(Value::Number)
                        .map_err(|_| {
                            self.wrong(format!("{word:?} is no string, number, true or false"))
                        }),
                }
            }
        }
    }

    /// A string in either kind of quotes.
    fn text(&mut self) -> Result<String, Error> {
        let quote = self.next().unwrap_or('"');
        let mut text = String::new();
        loop {
            match self.next() {
                None | Some('\n') => return Err(self.wrong("a string does not end")),
                Some(c) if c == quote => break,
                Some('\\') if quote == '"' => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
        // Three quotes begin a string of several lines.
        match text.is_empty() && self.rest.peek() == Some(&quote) {
            true => Err(self.wrong("strings of several lines are not read here")),
            false => Ok(text),
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err(self.wrong("an escape that there is not")),
        };
        let mut number = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            number = number << 4 | digit.ok_or_else(|| self.wrong("an escape needs digits"))?;
        }
        char::from_u32(number).ok_or_else(|| self.wrong("an escape that is no character"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lists_and_scalars_are_read() {
        let said = parse(
            "# comment\nlog_level = \"de\\\"bug\\u0021\" # more\n dev_mode=true\r\n\
             big = -1_000\nempty = ''\nhotplug_timeout = { secs = 3, nanos = 0 }\nnone = {}\n\n\
             [endpoints] # table\nallowed = [\n  \"A\", # first\n  'B\\',\n]\nsome.\"more\" = [[], [1]]\n",
        )
        .unwrap();
        let text = |text: &str| Value::Text(text.into());
        let wanted = [
            ("big", Value::Number(-1000)),
            ("dev_mode", Value::Bool(true)),
            ("empty", text("")),
            (
                "endpoints.allowed",
                Value::List(vec![text("A"), text("B\\")]),
            ),
            (
                "endpoints.some.more",
                Value::List(vec![
                    Value::List(vec![]),
                    Value::List(vec![Value::Number(1)]),
                ]),
            ),
            ("hotplug_timeout.nanos", Value::Number(0)),
            ("hotplug_timeout.secs", Value::Number(3)),
            ("log_level", text("de\"bug!")),
        ];
        let said: Vec<_> = said.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        assert_eq!(said, wanted);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, why) in [
            ("a = 1\nb", "line 2: '=' is missing"),
            ("a =\n", "line 1: a value is missing"),
            ("a = 1 2", "line 1: the line should end here"),
            ("a = \"x", "line 1: a string does not end"),
            ("a = \"x\n\"", "line 2: a string does not end"),
            ("\n\na = 1.5", "line 3: \"1.5\" is no string"),
            ("a = 1\na = 2", "line 2: a is said twice"),
            ("[a\n", "line 1: ']' is missing"),
            ("[[a]]\n", "line 1: lists of tables"),
            ("[]\n", "line 1: a key is missing"),
            ("a = \"\"\"x\"\"\"", "line 1: strings of several lines"),
            ("a = \"\\q\"", "line 1: an escape"),
            ("a = \"\\uD800\"", "line 1: an escape that is no character"),
            ("a = [1, 2", "line 1: ']' is missing"),
            ("a = { b = 1", "line 1: '}' is missing"),
            ("a = 99999999999999999999", "line 1: \"999"),
            (&format!("a = {}", "[".repeat(100)), "line 1: too many"),
            (&format!("a = {}", "{a=".repeat(100)), "line 1: too many"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.starts_with(why), "{text:?}: {said}");
        }
    }
}
