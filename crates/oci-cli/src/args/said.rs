//! What was said after a command's name, by the table; not yet what it means.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use super::flag;
use super::table::{Opt, Verb, find};
use crate::error::Error;

/// Options and words in their order.
#[derive(Debug, Default)]
pub(super) struct Said {
    options: Vec<(&'static str, OsString)>,
    words: Vec<String>,
    pub(super) help: bool,
}

/// An option that the table does not have.
pub(super) fn unknown(name: Result<&str, char>) -> Error {
    Error::Usage(match name {
        Ok(long) => format!("unknown option --{long}"),
        Err(short) => format!("unknown option -{short}"),
    })
}

/// The value of an option: a switch has `true` or nothing.
pub(super) fn value_of(opt: &Opt, parser: &mut Parser) -> Result<Option<OsString>, Error> {
    if opt.value.is_empty() {
        return Ok(flag(parser)?.then(|| "true".into()));
    }
    Ok(Some(parser.value()?))
}

impl Said {
    pub(super) fn read(verb: &Verb, parser: &mut Parser) -> Result<Self, Error> {
        let mut said = Self::default();
        while let Some(arg) = parser.next()? {
            let name = match &arg {
                Long("help") | Short('h') => {
                    said.help = true;
                    return Ok(said);
                }
                Long(name) => Ok(*name),
                Short(letter) => Err(*letter),
                Value(word) => {
                    let word = word.clone().string()?;
                    said.words.push(word);
                    if said.words.len() == verb.raw_from {
                        for word in parser.raw_args()? {
                            said.words.push(word.string()?);
                        }
                    }
                    continue;
                }
            };
            let opt = find(verb.options, name).ok_or_else(|| unknown(name))?;
            said.options
                .retain(|(long, _)| !opt.value.is_empty() || *long != opt.long);
            if let Some(value) = value_of(opt, parser)? {
                said.options.push((opt.long, value));
            }
        }
        Ok(said)
    }

    /// A switch.
    pub(super) fn on(&self, long: &str) -> bool {
        self.last(long).is_some()
    }

    fn last(&self, long: &str) -> Option<&OsString> {
        let of_name = |(name, _): &&(&str, OsString)| *name == long;
        self.options
            .iter()
            .rev()
            .find(of_name)
            .map(|(_, value)| value)
    }

    /// A file or directory.
    pub(super) fn path(&self, long: &str) -> Option<PathBuf> {
        self.last(long).map(PathBuf::from)
    }

    /// All values of an option, in their order.
    pub(super) fn all(&self, long: &str) -> Result<Vec<String>, Error> {
        let of_name = self.options.iter().filter(|(name, _)| *name == long);
        of_name
            .map(|(_, value)| Ok(value.clone().string()?))
            .collect()
    }

    /// A text.
    pub(super) fn text(&self, long: &str) -> Result<Option<String>, Error> {
        Ok(self.all(long)?.pop())
    }

    /// A number.
    pub(super) fn number<T: FromStr>(&self, long: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(long)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::Usage(format!(
                "--{long} takes a number, not {text:?}"
            ))),
        }
    }

    /// The words: at most so many.
    pub(super) fn words(&mut self, most: usize) -> Result<Vec<String>, Error> {
        match self.words.get(most) {
            Some(word) => Err(Error::Usage(format!("one argument too many: {word:?}"))),
            None => Ok(std::mem::take(&mut self.words)),
        }
    }

    /// The container's id, and at most so many words after it.
    pub(super) fn id_and(&mut self, most: usize) -> Result<(String, Vec<String>), Error> {
        let mut words = self.words(most.saturating_add(1))?;
        if words.is_empty() {
            return Err(Error::Usage("the container's id is missing".to_owned()));
        }
        Ok((words.remove(0), words))
    }

    /// The container's id, alone.
    pub(super) fn id(&mut self) -> Result<String, Error> {
        Ok(self.id_and(0)?.0)
    }
}
