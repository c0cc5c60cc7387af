//! The command line: what was said. What it means is up to the commands.
//!
//! ```text
//!  coffer-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] [CONTAINER [OPTIONS]] [WORDS …]
//! ```
//! Options may stand after the container's id as well, up to the first word of `exec`'s program.

mod command;
mod completion;
mod duration;
mod help;
mod man;
mod said;
mod table;
mod update;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::error::Error;
use crate::log::{Format, Level};
use said::{unknown, value_of};

pub(crate) use command::{
    Checkpoint, Command, Create, Criu, Delete, Events, Exec, Kill, List, ListFormat, Mounts, Plan,
    Ps, Restore, Run, Spec,
};
pub(crate) use help::program;
pub(crate) use update::{Limits, Update};

/// Where containers are recorded unless `--root` says otherwise: an ordinary user can't write to the
/// first place.
fn default_root() -> PathBuf {
    const NAME: &str = "coffer-oci";
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|dir| dir.is_absolute()) {
        Some(dir) if !rustix::process::geteuid().is_root() => dir.join(NAME),
        _ => PathBuf::from("/run").join(NAME),
    }
}

/// Options that stand before the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_format: Format,
    /// The least that is written.
    pub(crate) log_level: Level,
    /// Tell how long each step took.
    pub(crate) trace: bool,
    pub(crate) systemd_cgroup: bool,
    /// `None` is `auto`.
    pub(crate) rootless: Option<bool>,
    /// The criu program.
    pub(crate) criu: PathBuf,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            root: default_root(),
            log: None,
            log_format: Format::default(),
            log_level: Level::Warning,
            trace: false,
            systemd_cgroup: false,
            rootless: None,
            criu: PathBuf::from("criu"),
        }
    }
}

/// A whole command line. The global options are given also when the rest fails, so that the failure
/// can be logged where they say.
#[inline(never)]
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> (Global, Result<Command, Error>) {
    let mut global = Global::default();
    let mut parser = Parser::from_args(words);
    let command = command(&mut parser, &mut global);
    (global, command)
}

fn command(parser: &mut Parser, global: &mut Global) -> Result<Command, Error> {
    while let Some(arg) = parser.next()? {
        let name = match &arg {
            Value(name) => return command::parse(&name.clone().string()?, parser),
            Long(name) => Ok(*name),
            Short(letter) => Err(*letter),
        };
        let opt = table::find(&[verbs::GLOBAL], name).ok_or_else(|| unknown(name))?;
        match opt.long {
            "version" => return Ok(Command::Version),
            "help" => return Ok(Command::Print(help::global())),
            _ => {}
        }
        let value = value_of(opt, parser)?;
        set(global, opt.long, value)?;
    }
    Ok(Command::Print(help::global()))
}

/// Sets a global option; a switch that is off has no value.
fn set(global: &mut Global, long: &str, value: Option<OsString>) -> Result<(), Error> {
    let on = value.is_some();
    let value = value.unwrap_or_default();
    match long {
        "root" => global.root = value.into(),
        "criu" => global.criu = value.into(),
        "log" => global.log = log_file(value)?,
        "debug" if on => global.log_level = Level::Debug,
        "trace" => global.trace = on,
        "systemd-cgroup" => global.systemd_cgroup = on,
        _ => set_word(global, long, &value.string()?)?,
    }
    Ok(())
}

fn set_word(global: &mut Global, long: &str, word: &str) -> Result<(), Error> {
    let wrong = |words: &str| Error::Usage(format!("--{long} is {words}, not {word:?}"));
    match long {
        "log-format" => {
            global.log_format = match word {
                "text" => Format::Text,
                "json" => Format::Json,
                _ => return Err(wrong("text or json")),
            };
        }
        "log-level" => {
            global.log_level = match word {
                "error" => Level::Error,
                "warning" | "warn" => Level::Warning,
                "info" | "debug" => Level::Debug,
                _ => return Err(wrong("error, warning, info or debug")),
            };
        }
        "rootless" => {
            global.rootless = match word {
                "auto" => None,
                "true" => Some(true),
                "false" => Some(false),
                _ => return Err(wrong("auto, true or false")),
            };
        }
        "cgroup-manager" => {
            global.systemd_cgroup = match word {
                "cgroupfs" => false,
                "systemd" => true,
                _ => return Err(wrong("cgroupfs or systemd")),
            };
        }
        _ => {}
    }
    Ok(())
}

/// A file; crun's users write `file:PATH` too, and its other kinds are not there.
fn log_file(value: OsString) -> Result<Option<PathBuf>, Error> {
    let text = value.to_string_lossy();
    for kind in ["journald:", "syslog:"] {
        if text.starts_with(kind) {
            return Err(Error::Unsupported {
                flag: format!("--log {text}"),
                reason: "messages go to a file or to stderr",
            });
        }
    }
    Ok(match text.strip_prefix("file:") {
        Some(path) => Some(path.into()),
        None if text.is_empty() => None,
        None => Some(value.into()),
    })
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

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests;
