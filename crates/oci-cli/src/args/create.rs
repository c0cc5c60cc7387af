//! Options of `create` and `run`.

use std::path::PathBuf;

use lexopt::Arg::{self, Long, Short, Value};
use lexopt::Parser;

use super::{Command, descriptors, flag, help, only_id, required};
use crate::error::Error;

/// `create`, and what `run` shares with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) id: String,
    /// The current directory when absent.
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserve_fds: u32,
}

/// `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) create: Create,
    pub(crate) detach: bool,
    pub(crate) keep: bool,
    pub(crate) no_subreaper: bool,
}

pub(super) fn create(parser: &mut Parser) -> Result<Command, Error> {
    let (mut create, mut id) = (Create::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::CREATE)),
            Value(word) => only_id(&mut id, word)?,
            other => shared(other.into_owned(), parser, &mut create)?,
        }
    }
    create.id = required(id)?;
    Ok(Command::Create(create))
}

pub(super) fn run(parser: &mut Parser) -> Result<Command, Error> {
    let (mut run, mut id) = (Run::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::RUN)),
            Long("detach") | Short('d') => run.detach = flag(parser)?,
            Long("keep") => run.keep = flag(parser)?,
            Long("no-subreaper") => run.no_subreaper = flag(parser)?,
            Value(word) => only_id(&mut id, word)?,
            other => shared(other.into_owned(), parser, &mut run.create)?,
        }
    }
    run.create.id = required(id)?;
    Ok(Command::Run(run))
}

/// An option, owned: lexopt's borrows the parser that its value comes from.
pub(super) enum Owned {
    Long(String),
    Short(char),
}

trait IntoOwned {
    fn into_owned(self) -> Owned;
}

impl IntoOwned for Arg<'_> {
    fn into_owned(self) -> Owned {
        match self {
            Long(name) => Owned::Long(name.to_owned()),
            Short(letter) => Owned::Short(letter),
            Value(_) => Owned::Long(String::new()),
        }
    }
}

fn shared(option: Owned, parser: &mut Parser, create: &mut Create) -> Result<(), Error> {
    let name = match option {
        Owned::Short('b') => "bundle".to_owned(),
        Owned::Short(letter) => {
            return Err(Error::Usage(format!("unknown option -{letter}")));
        }
        Owned::Long(name) => name,
    };
    match name.as_str() {
        "bundle" => create.bundle = Some(parser.value()?.into()),
        "console-socket" => create.console_socket = Some(parser.value()?.into()),
        "pid-file" => create.pid_file = Some(parser.value()?.into()),
        "no-pivot" => create.no_pivot = flag(parser)?,
        "no-new-keyring" => create.no_new_keyring = flag(parser)?,
        "preserve-fds" => create.preserve_fds = descriptors(parser)?,
        "pidfd-socket" => {
            return Err(Error::Unsupported {
                flag: "--pidfd-socket".to_owned(),
                reason: "use --pid-file, or the console socket",
            });
        }
        other => return Err(Error::Usage(format!("unknown option --{other}"))),
    }
    Ok(())
}
