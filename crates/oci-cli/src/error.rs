//! What can go wrong in a command, as one sentence each.

use std::io;
use std::path::{Path, PathBuf};

use oci::runtime::{Invalid, ParseError, Status};

use crate::messages;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense.
    #[error("{0}; see coffer-oci --help")]
    Usage(String),
    /// A flag that is understood and cannot be honoured.
    #[error("{flag} is not supported: {reason}")]
    Unsupported { flag: String, reason: &'static str },
    #[error(transparent)]
    Id(#[from] container::InvalidId),
    #[error("container {id:?} {} in {}", messages::DOES_NOT_EXIST, root.display())]
    NoContainer { id: String, root: PathBuf },
    #[error(
        "create container {id:?}: {} ({} in {})",
        messages::EXISTS, messages::GIVEN_ID_EXISTS, root.display()
    )]
    Exists { id: String, root: PathBuf },
    #[error(
        "the state directory {} belongs to user {uid} with mode {mode:04o}: it must be ours and \
         writable by nobody else (chmod 0711)",
        root.display()
    )]
    OpenRoot { root: PathBuf, uid: u32, mode: u32 },
    #[error("container {id:?} is being created by another process; try again when that has ended")]
    BeingCreated { id: String },
    #[error("{act} container {id:?}: {}", messages::NOT_RUNNING)]
    NotRunning { act: &'static str, id: String },
    #[error(
        "signal container {id:?}: {} ({})",
        messages::NOT_RUNNING,
        messages::ALREADY_FINISHED
    )]
    Finished { id: String },
    #[error("container {id:?}: {}", messages::EXEC_STOPPED)]
    ExecStopped { id: String },
    #[error(
        "container {id:?}: {} (use --ignore-paused to do it anyway)",
        messages::EXEC_PAUSED
    )]
    ExecPaused { id: String },
    #[error("container {id:?}: {}", messages::START_RUNNING)]
    StartRunning { id: String },
    #[error("container {id:?}: {}", messages::START_STOPPED)]
    StartStopped { id: String },
    #[error(
        "cannot delete container {id:?} {}: {status} (use --force to kill it first)",
        messages::NOT_STOPPED
    )]
    NotStopped { id: String, status: Status },
    #[error("cannot {act} container {id:?}: it is {status}")]
    WrongState {
        act: &'static str,
        id: String,
        status: Status,
    },
    #[error("read {}", path.display())]
    Document { path: PathBuf, source: ParseError },
    #[error("check {}", path.display())]
    Invalid { path: PathBuf, source: Invalid },
    #[error("read the record of container {id:?} at {}: {reason}; `delete --force` removes it", path.display())]
    Record {
        id: String,
        path: PathBuf,
        reason: String,
    },
    #[error("{act} {}", path.display())]
    File {
        act: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{act}")]
    Io {
        act: &'static str,
        source: io::Error,
    },
    #[error(
        "unknown signal {0:?}: give a number from 0 to 64 or a name such as TERM or SIGRTMIN+3"
    )]
    Signal(String),
    #[error("user {text:?}: give <uid>[:<gid>], numbers from 0 to 4294967295")]
    User { text: String },
    #[error("{0}")]
    Console(String),
    #[error("preserved-fd {} of {count} (descriptor {fd}) is not open: {what}", fd - 3)]
    PreservedFd {
        fd: u64,
        count: u32,
        what: &'static str,
    },
    #[error("{act} container {id:?}")]
    Core {
        act: &'static str,
        id: String,
        source: Box<container::Error>,
    },
    #[error("criu: {reason}; its log is {}", log.display())]
    Criu { reason: String, log: PathBuf },
    #[error("control groups")]
    Cgroup(#[from] container::cgroup::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Marks an error of the filesystem with what was attempted on what.
    pub(crate) fn file(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { act, path, source }
    }

    /// Marks an error of the kernel with what was attempted.
    pub(crate) fn io(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { act, source }
    }

    /// Marks an error of the core with what was attempted on which container.
    pub(crate) fn core(
        act: &'static str,
        id: &container::ContainerId,
    ) -> impl FnOnce(container::Error) -> Self {
        let id = id.to_string();
        move |source| Self::Core {
            act,
            id,
            source: Box::new(source),
        }
    }

    /// The whole chain of causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        text
    }
}
