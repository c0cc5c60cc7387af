//! Extended regular expressions (POSIX, chapter 9.4) over container ids, for `--regex` as crun has it: a
//! match anywhere in the id counts. Collating elements and back references are errors.
//!
//! ```text
//!  text ─ parse ─► Node ─ compile ─► instructions ─ walked for all states at once ─► yes or no
//! ```
//! So the time is that of expression times id, whatever the expression.

use crate::error::Error;

/// Longest program: repetitions are written out.
const MOST: usize = 20_000;
/// RE_DUP_MAX.
const MOST_TIMES: u32 = 255;
/// How deep parentheses may go.
const DEEPEST: usize = 64;

#[derive(Debug, Clone)]
enum Node {
    One(Class),
    Start,
    End,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Times(Box<Node>, u32, Option<u32>),
}

/// A character: one of these, or (if not `in_it`) none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    ranges: Vec<(char, char)>,
    in_it: bool,
}

impl Class {
    fn holds(&self, c: char) -> bool {
        let in_it = self
            .ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&c));
        in_it == self.in_it
    }
}

#[derive(Debug)]
enum Step {
    One(Class),
    Start,
    End,
    /// On at both places.
    Split(usize, usize),
    Jump(usize),
    Match,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Step>);

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| {
            Error::Usage(format!(
                "--regex: {text:?} is no extended regular expression: {why}"
            ))
        };
        let mut parser = Parser {
            text: text.chars().peekable(),
            depth: 0,
        };
        let node = parser.either().map_err(wrong)?;
        if parser.text.peek().is_some() {
            return Err(wrong("a parenthesis too many".to_owned()));
        }
        let mut steps = Vec::new();
        compile(&node, &mut steps);
        steps.push(Step::Match);
        if steps.len() > MOST {
            return Err(wrong("it is too long".to_owned()));
        }
        Ok(Self(steps))
    }

    /// Whether some part of `text` matches.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let mut here = States::new(self.0.len());
        let mut next = States::new(self.0.len());
        let mut left = text.chars();
        let mut first = true;
        loop {
            let c = left.next();
            // A match may begin at any place.
            if self.follow(0, &mut here, first, c.is_none()) {
                return true;
            }
            let Some(c) = c else { return false };
            let last = left.as_str().is_empty();
            next.clear();
            for at in here.list.drain(..) {
                if matches!(self.0.get(at), Some(Step::One(class)) if class.holds(c))
                    && self.follow(at + 1, &mut next, false, last)
                {
                    return true;
                }
            }
            std::mem::swap(&mut here, &mut next);
            first = false;
        }
    }

    /// Adds what is reached without a character; true if that is the end.
    fn follow(&self, from: usize, to: &mut States, first: bool, last: bool) -> bool {
        let mut todo = vec![from];
        while let Some(at) = todo.pop() {
            if !to.add(at) {
                continue;
            }
            match self.0.get(at) {
                Some(Step::Match) => return true,
                Some(Step::Jump(there)) => todo.push(*there),
                Some(Step::Split(one, other)) => todo.extend([*one, *other]),
                Some(Step::Start) if first => todo.push(at + 1),
                Some(Step::End) if last => todo.push(at + 1),
                _ => {}
            }
        }
        false
    }
}

/// Steps that are reached, each once.
struct States {
    list: Vec<usize>,
    has: Vec<bool>,
}

impl States {
    fn new(steps: usize) -> Self {
        Self {
            list: Vec::new(),
            has: vec![false; steps],
        }
    }

    fn add(&mut self, at: usize) -> bool {
        match self.has.get_mut(at) {
            Some(has) if !*has => {
                *has = true;
                self.list.push(at);
                true
            }
            _ => false,
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.has.fill(false);
    }
}

fn compile(node: &Node, to: &mut Vec<Step>) {
    if to.len() > MOST {
        return;
    }
    match node {
        Node::One(class) => to.push(Step::One(class.clone())),
        Node::Start => to.push(Step::Start),
        Node::End => to.push(Step::End),
        Node::Sequence(nodes) => nodes.iter().for_each(|node| compile(node, to)),
        Node::Either(nodes) => {
            let mut jumps = Vec::new();
            for (n, node) in nodes.iter().enumerate() {
                let split = to.len();
                let last = n + 1 == nodes.len();
                if !last {
                    to.push(Step::Split(split + 1, 0));
                }
                compile(node, to);
                if !last {
                    jumps.push(to.len());
                    to.push(Step::Jump(0));
                    let next = to.len();
                    set(to, split, Step::Split(split + 1, next));
                }
            }
            let end = to.len();
            for jump in jumps {
                set(to, jump, Step::Jump(end));
            }
        }
        Node::Times(node, least, most) => times(node, *least, *most, to),
    }
}

fn set(steps: &mut [Step], at: usize, step: Step) {
    if let Some(place) = steps.get_mut(at) {
        *place = step;
    }
}

fn times(node: &Node, least: u32, most: Option<u32>, to: &mut Vec<Step>) {
    for _ in 0..least {
        compile(node, to);
    }
    let Some(most) = most else {
        let split = to.len();
        to.push(Step::Split(split + 1, 0));
        compile(node, to);
        to.push(Step::Jump(split));
        let end = to.len();
        set(to, split, Step::Split(split + 1, end));
        return;
    };
    let mut splits = Vec::new();
    for _ in least..most {
        splits.push(to.len());
        to.push(Step::Split(0, 0));
        compile(node, to);
    }
    let end = to.len();
    for split in splits {
        set(to, split, Step::Split(split + 1, end));
    }
}

struct Parser<'a> {
    text: std::iter::Peekable<std::str::Chars<'a>>,
    depth: usize,
}

impl Parser<'_> {
    fn takes(&mut self, c: char) -> bool {
        self.text.next_if_eq(&c).is_some()
    }

    fn either(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.sequence()?];
        while self.takes('|') {
            nodes.push(self.sequence()?);
        }
        Ok(Node::Either(nodes))
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(c) = self.text.next_if(|c| !matches!(c, '|' | ')')) {
            let mut node = self.one(c)?;
            let mut depth = 0;
            while let Some((least, most)) = self.repetition()? {
                node = Node::Times(Box::new(node), least, most);
                depth += 1;
                if depth > DEEPEST {
                    return Err("its repetitions go too deep".to_owned());
                }
            }
            nodes.push(node);
        }
        Ok(Node::Sequence(nodes))
    }

    fn one(&mut self, c: char) -> Result<Node, String> {
        let class = |ranges, in_it| Ok(Node::One(Class { ranges, in_it }));
        match c {
            '^' => Ok(Node::Start),
            '$' => Ok(Node::End),
            '.' => class(Vec::new(), false),
            '[' => Ok(Node::One(self.bracket()?)),
            '(' => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err("its parentheses go too deep".to_owned());
                }
                let inner = self.either()?;
                self.depth -= 1;
                if !self.takes(')') {
                    return Err("a ) is missing".to_owned());
                }
                Ok(inner)
            }
            '*' | '+' | '?' | '{' => Err(format!("nothing before {c:?} that could be repeated")),
            '\\' => match self.text.next() {
                Some(c) if c.is_ascii_punctuation() => class(vec![(c, c)], true),
                Some(c) => Err(format!("\\{c} means nothing")),
                None => Err("it ends in a \\".to_owned()),
            },
            c => class(vec![(c, c)], true),
        }
    }

    /// `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>, String> {
        let Some(c) = self.text.next_if(|c| matches!(c, '*' | '+' | '?' | '{')) else {
            return Ok(None);
        };
        match c {
            '*' => return Ok(Some((0, None))),
            '+' => return Ok(Some((1, None))),
            '?' => return Ok(Some((0, Some(1)))),
            _ => {}
        }
        let least = self.number()?.ok_or("a number belongs after {")?;
        let most = if self.takes(',') {
            self.number()?
        } else {
            Some(least)
        };
        if !self.takes('}') {
            return Err("a } is missing".to_owned());
        }
        if most.is_some_and(|most| most < least) {
            return Err("the numbers in {} are the wrong way round".to_owned());
        }
        Ok(Some((least, most)))
    }

    fn number(&mut self) -> Result<Option<u32>, String> {
        let mut digits = String::new();
        while let Some(digit) = self.text.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse() {
            Ok(number) if number <= MOST_TIMES => Ok(Some(number)),
            _ => Err(format!(
                "{digits} times are too many (at most {MOST_TIMES})"
            )),
        }
    }

    /// What stands between [ and ].
    fn bracket(&mut self) -> Result<Class, String> {
        let in_it = !self.takes('^');
        let mut ranges = Vec::new();
        let missing = || "a ] is missing".to_owned();
        loop {
            let low = self.text.next().ok_or_else(missing)?;
            match (low, self.text.peek()) {
                (']', _) if !ranges.is_empty() => return Ok(Class { ranges, in_it }),
                ('[', Some(':')) => {
                    ranges.extend(self.named()?);
                    continue;
                }
                ('[', Some('.' | '=')) => {
                    return Err("collating elements are not known here".to_owned());
                }
                _ => {}
            }
            let mut ahead = self.text.clone();
            let range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !range {
                ranges.push((low, low));
                continue;
            }
            self.text.next();
            let high = self.text.next().ok_or_else(missing)?;
            if high < low {
                return Err(format!("the range {low}-{high} is the wrong way round"));
            }
            ranges.push((low, high));
        }
    }

    /// `[:name:]`, in the POSIX locale; its `[` has been read.
    fn named(&mut self) -> Result<Vec<(char, char)>, String> {
        self.text.next();
        let mut name = String::new();
        while let Some(letter) = self.text.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        if !(self.takes(':') && self.takes(']')) {
            return Err("a :] is missing".to_owned());
        }
        Ok(match name.as_str() {
            "alnum" => vec![('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => vec![('A', 'Z'), ('a', 'z')],
            "blank" => vec![('\t', '\t'), (' ', ' ')],
            "cntrl" => vec![('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => vec![('0', '9')],
            "graph" => vec![('!', '~')],
            "lower" => vec![('a', 'z')],
            "print" => vec![(' ', '~')],
            "punct" => vec![('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => vec![('\t', '\r'), (' ', ' ')],
            "upper" => vec![('A', 'Z')],
            "xdigit" => vec![('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err(format!("[:{name}:] is no class")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_posix_has_it() {
        let table: [(&str, &[&str], &[&str]); 17] = [
            ("", &["", "a"], &[]),
            ("web", &["web", "my-web-1"], &["we", "wxeb"]),
            ("^web$", &["web"], &["web1", "aweb"]),
            (
                "^web-[0-9]+$",
                &["web-0", "web-42"],
                &["web-", "web-a", "xweb-1"],
            ),
            ("a.c", &["abc", "xa.cx"], &["ac"]),
            ("a\\.c", &["a.c"], &["abc"]),
            ("^(a|bc)*$", &["", "abca", "bc"], &["b", "abcb"]),
            ("^(a|b|)$", &["", "a", "b"], &["ab"]),
            ("^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]),
            ("^a{2}$", &["aa"], &["a", "aaa"]),
            ("^a{2,}b?$", &["aa", "aaaab"], &["a", "aabb"]),
            ("^[]a-c-]+$", &["]", "a-b", "-"], &["d", "["]),
            ("^[^[:digit:]_]+$", &["abc", "-"], &["a1", "_", ""]),
            ("[[:upper:][:digit:]]$", &["aB", "7"], &["Ba", ""]),
            ("a$|^b", &["ca", "bc"], &["ac", "cb"]),
            ("(^a|b)c", &["ac", "xbc"], &["xac"]),
            ("a^", &[], &["a", "a^"]),
        ];
        for (pattern, yes, no) in table {
            let compiled = Pattern::new(pattern).expect(pattern);
            for text in yes {
                assert!(compiled.is_in(text), "{pattern} in {text:?}");
            }
            for text in no {
                assert!(!compiled.is_in(text), "{pattern} not in {text:?}");
            }
        }
    }

    #[test]
    fn what_is_no_expression_says_why() {
        for (pattern, why) in [
            ("*a", "nothing before '*'"),
            ("a|+", "nothing before '+'"),
            ("(a", "a ) is missing"),
            ("a)", "a parenthesis too many"),
            ("[a", "a ] is missing"),
            ("[]", "a ] is missing"),
            ("[b-a]", "wrong way round"),
            ("[[:x:]]", "[:x:] is no class"),
            ("[[.a.]]", "collating"),
            ("a{3,1}", "wrong way round"),
            ("a{256}", "too many"),
            ("a{", "a number belongs"),
            ("a{1", "a } is missing"),
            ("a\\", "ends in a \\"),
            ("(a)\\1", "\\1 means nothing"),
            ("((a{255}){255}){255}", "too long"),
            (&"(".repeat(100), "parentheses go too deep"),
            (&format!("a{}", "*".repeat(100)), "repetitions go too deep"),
        ] {
            let said = Pattern::new(pattern).expect_err(pattern).to_string();
            assert!(said.contains(why), "{pattern}: {said}");
        }
    }

    /// What takes others exponentially long.
    #[test]
    fn no_expression_takes_long() {
        let pattern = Pattern::new("^(a*)*(a|a)*(a?){200}b$").expect("compiles");
        assert!(!pattern.is_in(&"a".repeat(1000)));
    }
}
