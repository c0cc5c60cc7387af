//! The commands, and those of them whose options are few.

use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use super::{Create, Exec, Run, create, exec, flag, help, only_id, required};
use crate::error::Error;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Create(Create),
    Run(Run),
    Start(String),
    State(String),
    Kill(Kill),
    Delete(Delete),
    Exec(Box<Exec>),
    Spec(Spec),
    Plan(Option<PathBuf>),
    List(List),
    Ps(Ps),
    Pause(String),
    Resume(String),
    Features,
    Version,
    Help(&'static str),
}

/// `kill`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) id: String,
    pub(crate) signal: Option<String>,
    pub(crate) all: bool,
}

/// `delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) id: String,
    pub(crate) force: bool,
}

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) rootless: bool,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ListFormat {
    #[default]
    Table,
    Json,
}

/// `list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) format: ListFormat,
    pub(crate) quiet: bool,
}

/// `ps`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ps {
    pub(crate) id: String,
    pub(crate) format: ListFormat,
    /// Options for ps(1); `-ef` when empty.
    pub(crate) args: Vec<String>,
}

pub(super) fn parse(name: &str, parser: &mut Parser) -> Result<Command, Error> {
    match name {
        "create" => create::create(parser),
        "run" => create::run(parser),
        "exec" => exec::parse(parser),
        "start" => id_only(parser, help::START, Command::Start),
        "state" => id_only(parser, help::STATE, Command::State),
        "pause" => id_only(parser, help::PAUSE, Command::Pause),
        "resume" => id_only(parser, help::RESUME, Command::Resume),
        "kill" => kill(parser),
        "delete" => delete(parser),
        "spec" => spec(parser),
        "plan" => plan(parser),
        "list" => list(parser),
        "ps" => ps(parser),
        "features" => none(parser, help::FEATURES, Command::Features),
        "version" => none(parser, help::GLOBAL, Command::Version),
        "help" => Ok(Command::Help(help::GLOBAL)),
        "update" | "events" | "checkpoint" | "restore" => Err(Error::Unsupported {
            flag: format!("the command {name:?}"),
            reason: "this version cannot do it yet",
        }),
        other => Err(Error::Usage(format!("unknown command {other:?}"))),
    }
}

fn id_only(
    parser: &mut Parser,
    help: &'static str,
    command: fn(String) -> Command,
) -> Result<Command, Error> {
    let mut id = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help)),
            Value(word) => only_id(&mut id, word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    required(id).map(command)
}

fn none(parser: &mut Parser, help: &'static str, command: Command) -> Result<Command, Error> {
    match parser.next()? {
        None => Ok(command),
        Some(Long("help") | Short('h')) => Ok(Command::Help(help)),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn kill(parser: &mut Parser) -> Result<Command, Error> {
    let (mut kill, mut id) = (Kill::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::KILL)),
            Long("all") | Short('a') => kill.all = flag(parser)?,
            Value(word) if id.is_none() => id = Some(word.string()?),
            Value(word) => only_id(&mut kill.signal, word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    kill.id = required(id)?;
    Ok(Command::Kill(kill))
}

fn delete(parser: &mut Parser) -> Result<Command, Error> {
    let (mut delete, mut id) = (Delete::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::DELETE)),
            Long("force") | Short('f') => delete.force = flag(parser)?,
            Value(word) => only_id(&mut id, word)?,
            other => return Err(other.unexpected().into()),
        }
    }
    delete.id = required(id)?;
    Ok(Command::Delete(delete))
}

fn spec(parser: &mut Parser) -> Result<Command, Error> {
    let mut spec = Spec::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::SPEC)),
            Long("bundle") | Short('b') => spec.bundle = Some(parser.value()?.into()),
            Long("rootless") => spec.rootless = flag(parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Spec(spec))
}

fn plan(parser: &mut Parser) -> Result<Command, Error> {
    let mut bundle: Option<PathBuf> = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::PLAN)),
            Long("bundle") | Short('b') => bundle = Some(parser.value()?.into()),
            Value(word) if bundle.is_none() => bundle = Some(word.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Plan(bundle))
}

fn list_format(parser: &mut Parser) -> Result<ListFormat, Error> {
    match parser.value()?.string()?.as_str() {
        "table" => Ok(ListFormat::Table),
        "json" => Ok(ListFormat::Json),
        other => Err(Error::Usage(format!(
            "--format is table or json, not {other:?}"
        ))),
    }
}

fn list(parser: &mut Parser) -> Result<Command, Error> {
    let mut list = List::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::LIST)),
            Long("format") | Short('f') => list.format = list_format(parser)?,
            Long("quiet") | Short('q') => list.quiet = flag(parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::List(list))
}

fn ps(parser: &mut Parser) -> Result<Command, Error> {
    let (mut ps, mut id) = (Ps::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::PS)),
            Long("format") | Short('f') => ps.format = list_format(parser)?,
            Value(word) => {
                id = Some(word.string()?);
                // What follows is for ps(1).
                for word in parser.raw_args()? {
                    ps.args.push(word.string()?);
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ps.id = required(id)?;
    Ok(Command::Ps(ps))
}
