//! What can go wrong for a person at the command line: a sentence, a hint and an exit code.

use std::{io, path::PathBuf};

use crate::exit;

/// What kind of answer the daemon gave instead of a result; gRPC's codes as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// The object is not there.
    NotFound,
    /// It is there already, with another configuration.
    AlreadyExists,
    /// The request itself is wrong.
    Invalid,
    /// The daemon does not have this call.
    Unimplemented,
    /// The daemon went away.
    Unavailable,
    /// The call took longer than allowed.
    Deadline,
    /// Everything else.
    Other,
}

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody listens on the socket.
    #[error("cannot reach the daemon on {socket}")]
    Connect {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon answered with an error.
    #[error("cannot {what}: {cause}")]
    Call {
        /// What was attempted, on what.
        what: String,
        /// The daemon's sentence.
        cause: String,
        /// The kind of answer.
        kind: CallKind,
    },
    /// The answer of the daemon is not what it should be.
    #[error("cannot {what}: the daemon's answer lacks {missing}")]
    Answer {
        /// What was attempted.
        what: String,
        /// What was missing.
        missing: &'static str,
    },
    /// A name that nothing has.
    #[error("there is no {kind} named {name:?}{}", known.sentence())]
    Unknown {
        /// What was looked for.
        kind: &'static str,
        /// The name or id as given.
        name: String,
        /// What there is instead.
        known: Known,
    },
    /// A name or prefix that several have.
    #[error("{name:?} means several {kind}s: {}", ids.join(", "))]
    Ambiguous {
        /// What was looked for.
        kind: &'static str,
        /// The name or id as given.
        name: String,
        /// The ids that match.
        ids: Vec<String>,
    },
    /// The command line or a value on it makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The object is in the wrong state for this.
    #[error("{message}")]
    State {
        /// The whole sentence.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what}")]
    Io {
        /// What was attempted, on what.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The configuration file does not mean anything.
    #[error("{path}: {cause}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong with it.
        cause: String,
    },
    /// The daemon cannot run.
    #[error("{what}")]
    Serve {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Several objects were named and some failed; each was reported already.
    #[error("{failed} of {total} failed")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many were named.
        total: usize,
    },
    /// The reader of our output went away (`coffer ps | head -1`): nothing to say.
    #[error("output closed")]
    Closed,
    /// Another error with the exit code that `run` and `exec` promise.
    #[error("{inner}")]
    Coded {
        /// 124 to 127.
        code: u8,
        /// What happened.
        inner: Box<Error>,
    },
}

/// What exists of the kind that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The names of all of them.
    pub(crate) names: Vec<String>,
    /// The one that was probably meant.
    pub(crate) nearest: Option<String>,
}

impl Known {
    fn sentence(&self) -> String {
        match (&self.nearest, self.names.as_slice()) {
            (Some(nearest), _) => format!("; did you mean {nearest:?}?"),
            (None, []) => "; there are none".to_owned(),
            (None, names) if names.len() <= 8 => format!("; there are: {}", names.join(", ")),
            (None, names) => {
                format!(
                    "; there are {}, for example {}",
                    names.len(),
                    names[..5].join(", ")
                )
            }
        }
    }
}

impl Error {
    /// What the person can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Error::Connect { socket, source } => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "the socket belongs to root: run this as root".to_owned()
                }
                io::ErrorKind::ConnectionRefused => format!(
                    "the socket is there but its daemon is gone: start it with `coffer serve{}`",
                    socket_flag(socket)
                ),
                _ => format!(
                    "start the daemon with `coffer serve{}`, or name its socket with --socket or \
                     COFFER_SOCKET",
                    socket_flag(socket)
                ),
            }),
            Error::Call {
                kind: CallKind::Unavailable,
                ..
            } => Some(
                "the daemon went away during the call; pods keep running without it".to_owned(),
            ),
            Error::State { hint, .. } => Some(hint.clone()),
            Error::Coded { inner, .. } => inner.hint(),
            _ => None,
        }
    }

    /// The exit code of the whole command.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Error::Coded { code, .. } => *code,
            Error::Closed => 0,
            Error::Usage(_) => exit::USAGE,
            _ => exit::FAILURE,
        }
    }

    /// The same error with another exit code, unless it has one of its own.
    pub(crate) fn coded(self, code: u8) -> Error {
        match self {
            Error::Coded { .. } | Error::Closed => self,
            other => Error::Coded {
                code,
                inner: Box::new(other),
            },
        }
    }
}

fn socket_flag(socket: &std::path::Path) -> String {
    if socket == std::path::Path::new(crate::config::DEFAULT_SOCKET) {
        String::new()
    } else {
        format!(" --socket {}", socket.display())
    }
}
