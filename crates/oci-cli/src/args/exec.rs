//! Options of `exec`.

use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use super::{Command, descriptors, flag, help, required};
use crate::error::Error;

/// `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) cwd: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) user: Option<String>,
    pub(crate) additional_gids: Vec<u32>,
    /// File with a process document instead of the words.
    pub(crate) process: Option<PathBuf>,
    pub(crate) detach: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) process_label: Option<String>,
    pub(crate) apparmor: Option<String>,
    pub(crate) no_new_privs: bool,
    pub(crate) cap: Vec<String>,
    pub(crate) preserve_fds: u32,
    pub(crate) cgroup: Option<String>,
    pub(crate) ignore_paused: bool,
    /// Program and arguments.
    pub(crate) args: Vec<String>,
}

pub(super) fn parse(parser: &mut Parser) -> Result<Command, Error> {
    let (mut exec, mut id) = (Exec::default(), None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Command::Help(help::EXEC)),
            Long("console-socket") => exec.console_socket = Some(parser.value()?.into()),
            Long("cwd") => exec.cwd = Some(parser.value()?.string()?),
            Long("env") | Short('e') => exec.env.push(parser.value()?.string()?),
            Long("tty") | Short('t') => exec.tty = flag(parser)?,
            Long("user") | Short('u') => exec.user = Some(parser.value()?.string()?),
            Long("additional-gids") | Short('g') => {
                for gid in parser.value()?.string()?.split(',') {
                    exec.additional_gids.push(gid.parse().map_err(|_| {
                        Error::Usage(format!("--additional-gids takes numbers, not {gid:?}"))
                    })?);
                }
            }
            Long("process") | Short('p') => exec.process = Some(parser.value()?.into()),
            Long("detach") | Short('d') => exec.detach = flag(parser)?,
            Long("pid-file") => exec.pid_file = Some(parser.value()?.into()),
            Long("process-label") => exec.process_label = Some(parser.value()?.string()?),
            Long("apparmor") => exec.apparmor = Some(parser.value()?.string()?),
            Long("no-new-privs") => exec.no_new_privs = flag(parser)?,
            Long("cap") | Short('c') => {
                exec.cap
                    .extend(parser.value()?.string()?.split(',').map(str::to_owned));
            }
            Long("preserve-fds") => exec.preserve_fds = descriptors(parser)?,
            Long("cgroup") => exec.cgroup = Some(parser.value()?.string()?),
            Long("ignore-paused") => exec.ignore_paused = flag(parser)?,
            Long("no-subreaper") => {
                flag(parser)?;
            }
            Value(word) if id.is_none() => id = Some(word.string()?),
            Value(word) => {
                // The program: what follows is its own, dashes or not.
                exec.args.push(word.string()?);
                for word in parser.raw_args()? {
                    exec.args.push(word.string()?);
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    exec.id = required(id)?;
    match (&exec.process, exec.args.is_empty()) {
        (None, true) => Err(Error::Usage("exec needs a program or --process".to_owned())),
        (Some(_), false) => Err(Error::Usage(
            "exec takes a program or --process, not both".to_owned(),
        )),
        _ => Ok(Command::Exec(Box::new(exec))),
    }
}
