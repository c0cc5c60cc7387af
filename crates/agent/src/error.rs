//! Why a call failed, and the ttRPC code that says so. Texts name the container, the process and the
//! act; causes follow as sources and are joined once, at the edge ([`Error::into_status`]).

use ttrpc::Code;

use crate::logging::chain;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("container {0} does not exist")]
    NoContainer(String),
    #[error("container {container} has no process {exec}")]
    NoProcess { container: String, exec: String },
    #[error("container {container} has no open view {view} of its output")]
    NoView { container: String, view: u64 },
    #[error("container {container}: process {exec} has already finished")]
    Finished { container: String, exec: String },
    #[error("container {0} already exists")]
    ContainerExists(String),
    #[error("container {container} already has a process {exec}")]
    ExecExists { container: String, exec: String },
    #[error("the sandbox already exists (id {0:?}); nothing was changed")]
    SandboxExists(String),
    #[error("there is no sandbox yet: call CreateSandbox first")]
    NoSandbox,
    #[error("the sandbox is being destroyed")]
    Destroyed,
    #[error("cannot {act} container {id}: it is {is}")]
    State {
        act: &'static str,
        id: String,
        is: &'static str,
    },
    /// What the caller asked for is wrong, or of a kind that this agent does not do.
    #[error("{what}: {why}")]
    Invalid { what: String, why: String },
    #[error("{0}")]
    Precondition(String),
    #[error("{0} is not implemented by this agent")]
    Unimplemented(&'static str),
    #[error("there is no network interface {0}")]
    NoInterface(String),
    #[error("{what} did not appear within {limit:?}")]
    NotPlugged {
        what: String,
        limit: std::time::Duration,
    },
    #[error("{0} such calls hang already: no further one is begun")]
    Hanging(usize),
    #[error("cannot {act} {object}")]
    Io {
        act: &'static str,
        object: String,
        source: std::io::Error,
    },
    #[error("container {id}: cannot {act}")]
    Core {
        act: &'static str,
        id: String,
        source: Box<container::Error>,
    },
    #[error("container {id}: cannot {act} its cgroup")]
    Cgroup {
        act: &'static str,
        id: String,
        source: Box<container::cgroup::Error>,
    },
    #[error("container {id} is not removed after {seconds} s: {left} has not ended")]
    Stuck {
        id: String,
        left: &'static str,
        seconds: u32,
    },
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// An input that is wrong: `what` names it.
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            why: why.into(),
        }
    }

    /// A failed system call on an object.
    pub(crate) fn io(
        act: &'static str,
        object: impl std::fmt::Display,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Self::Io {
            act,
            object: object.to_string(),
            source: source.into(),
        }
    }

    /// A call of the core on a container that failed.
    pub(crate) fn core(act: &'static str, id: &str, source: container::Error) -> Self {
        Self::Core {
            act,
            id: id.to_owned(),
            source: Box::new(source),
        }
    }

    /// A container's cgroup that failed.
    pub(crate) fn cgroup(act: &'static str, id: &str, source: container::cgroup::Error) -> Self {
        Self::Cgroup {
            act,
            id: id.to_owned(),
            source: Box::new(source),
        }
    }

    /// The code that clients act on.
    fn code(&self) -> Code {
        use container::ErrorKind;
        match self {
            Self::NoContainer(_)
            | Self::NoProcess { .. }
            | Self::NoView { .. }
            | Self::NoInterface(_)
            | Self::Finished { .. } => Code::NOT_FOUND,
            Self::ContainerExists(_) | Self::ExecExists { .. } | Self::SandboxExists(_) => {
                Code::ALREADY_EXISTS
            }
            Self::NoSandbox | Self::Destroyed | Self::State { .. } | Self::Precondition(_) => {
                Code::FAILED_PRECONDITION
            }
            Self::Invalid { .. } => Code::INVALID_ARGUMENT,
            Self::Unimplemented(_) => Code::UNIMPLEMENTED,
            Self::Core { source, .. } => match source.kind() {
                ErrorKind::NotFound | ErrorKind::ExecNotFound => Code::NOT_FOUND,
                ErrorKind::AlreadyExists => Code::ALREADY_EXISTS,
                ErrorKind::InvalidSpec => Code::INVALID_ARGUMENT,
                ErrorKind::State => Code::FAILED_PRECONDITION,
                ErrorKind::Unsupported => Code::UNIMPLEMENTED,
                ErrorKind::ExecPermission => Code::PERMISSION_DENIED,
                ErrorKind::Io | ErrorKind::Internal => Code::INTERNAL,
            },
            Self::Cgroup { source, .. } if source.is_invalid_input() => Code::INVALID_ARGUMENT,
            Self::Stuck { .. } | Self::NotPlugged { .. } => Code::DEADLINE_EXCEEDED,
            Self::Unavailable(_) => Code::UNAVAILABLE,
            Self::Hanging(_) => Code::RESOURCE_EXHAUSTED,
            Self::Io { .. } | Self::Cgroup { .. } | Self::Internal(_) => Code::INTERNAL,
        }
    }

    /// The answer on the wire: code, and the text with all causes.
    pub(crate) fn into_status(self) -> ttrpc::Error {
        ttrpc::Error::RpcStatus(ttrpc::get_status(self.code(), chain(&self)))
    }
}
