//! The command line: what was said. What it means is up to the commands.
//!
//! ```text
//!  coffer-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] [CONTAINER [OPTIONS]] [WORDS …]
//! ```
//! Options may stand after the container's id as well, up to the first word of `exec`'s program.

mod command;
mod create;
mod exec;
mod help;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::error::Error;
use crate::log::Format;

pub(crate) use command::{Command, Delete, Kill, List, ListFormat, Ps, Spec};
pub(crate) use create::{Create, Run};
pub(crate) use exec::Exec;

/// Where containers are recorded unless `--root` says otherwise.
pub(crate) const DEFAULT_ROOT: &str = "/run/coffer-oci";

/// Options that stand before the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_format: Format,
    pub(crate) debug: bool,
    pub(crate) systemd_cgroup: bool,
    /// `None` is `auto`.
    pub(crate) rootless: Option<bool>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            root: PathBuf::from(DEFAULT_ROOT),
            log: None,
            log_format: Format::default(),
            debug: false,
            systemd_cgroup: false,
            rootless: None,
        }
    }
}

/// A whole command line. The global options are given also when the rest fails, so that the failure
/// can be logged where they say.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> (Global, Result<Command, Error>) {
    let mut global = Global::default();
    let mut parser = Parser::from_args(words);
    let command = command(&mut parser, &mut global);
    (global, command)
}

fn command(parser: &mut Parser, global: &mut Global) -> Result<Command, Error> {
    while let Some(arg) = parser.next()? {
        match arg {
            Long("root") => global.root = parser.value()?.into(),
            Long("log") => global.log = Some(parser.value()?.into()),
            Long("log-format") => {
                global.log_format = match parser.value()?.string()?.as_str() {
                    "text" => Format::Text,
                    "json" => Format::Json,
                    other => {
                        return Err(Error::Usage(format!(
                            "--log-format is text or json, not {other:?}"
                        )));
                    }
                };
            }
            Long("debug") => global.debug = flag(parser)?,
            Long("systemd-cgroup") => global.systemd_cgroup = flag(parser)?,
            Long("rootless") => {
                global.rootless = match parser.value()?.string()?.as_str() {
                    "auto" => None,
                    "true" => Some(true),
                    "false" => Some(false),
                    other => {
                        return Err(Error::Usage(format!(
                            "--rootless is auto, true or false, not {other:?}"
                        )));
                    }
                };
            }
            // crun's spelling of the same choice.
            Long("cgroup-manager") => match parser.value()?.string()?.as_str() {
                "cgroupfs" => global.systemd_cgroup = false,
                "systemd" => global.systemd_cgroup = true,
                other => {
                    return Err(Error::Usage(format!(
                        "--cgroup-manager is cgroupfs or systemd, not {other:?}"
                    )));
                }
            },
            Long("version") | Short('v') => return Ok(Command::Version),
            Long("help") | Short('h') => return Ok(Command::Help(help::GLOBAL)),
            Value(name) => return command::parse(&name.string()?, parser),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Help(help::GLOBAL))
}

/// A switch: `--debug`, `--debug=true`, `--debug=false`.
fn flag(parser: &mut Parser) -> Result<bool, Error> {
    match parser.optional_value() {
        None => Ok(true),
        Some(value) if value == "true" => Ok(true),
        Some(value) if value == "false" => Ok(false),
        Some(value) => Err(Error::Usage(format!(
            "a switch is true or false, not {value:?}"
        ))),
    }
}

/// The number of `--preserve-fds`.
fn descriptors(parser: &mut Parser) -> Result<u32, Error> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| {
        Error::Usage(format!(
            "--preserve-fds takes a number of descriptors, not {text:?}"
        ))
    })
}

/// The container's id, which every command but a few needs.
fn required(id: Option<String>) -> Result<String, Error> {
    id.ok_or_else(|| Error::Usage("the container's id is missing".to_owned()))
}

/// Puts a word into the place of the container's id, once.
fn only_id(id: &mut Option<String>, word: OsString) -> Result<(), Error> {
    let word = word.string()?;
    match id {
        None => *id = Some(word),
        Some(_) => return Err(Error::Usage(format!("one argument too many: {word:?}"))),
    }
    Ok(())
}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests;
