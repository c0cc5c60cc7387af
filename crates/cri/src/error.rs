//! What a call can fail with, and the code that each failure has on the wire.
//!
//! Errors are cheap to clone: several callers may wait for one operation.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use crate::domain::Id;

/// A call that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field has a value that makes no sense.
    #[error("{field} {why}")]
    InvalidField {
        /// The field, with its path from the request.
        field: String,
        /// "is empty", "is not an absolute path: …".
        why: String,
    },
    /// A field asks for something that is not there yet.
    #[error("{field} is not supported: {why}")]
    Unsupported {
        /// The field, with its path from the request.
        field: String,
        /// What is missing and what to do instead.
        why: String,
    },
    /// Nothing has this id.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// "pod sandbox" or "container".
        kind: &'static str,
        /// The text of the request.
        id: String,
    },
    /// An image that is not in the store.
    #[error("image {name:?} is not on this node: import or pull it first")]
    ImageNotFound {
        /// The reference of the request.
        name: String,
    },
    /// A prefix that several ids have.
    #[error("{prefix:?} fits more than one {kind}: {}", ids.iter().map(Id::as_str).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// "pod sandbox" or "container".
        kind: &'static str,
        /// The text of the request.
        prefix: String,
        /// All that fit.
        ids: Vec<Id>,
    },
    /// The same identity with another configuration.
    #[error("{what} exists with another configuration: {field} differs")]
    Differs {
        /// The pod or container.
        what: String,
        /// The first field that differs.
        field: String,
    },
    /// The identity is taken by something that can't be used any more.
    #[error("{what} exists as {id} and {state}: remove it, or ask with another attempt number")]
    Taken {
        /// The pod or container.
        what: String,
        /// Its id.
        id: Id,
        /// "was stopped" …
        state: &'static str,
    },
    /// The object is not in a state for this.
    #[error("{kind} {id} {state}")]
    State {
        /// "pod sandbox" or "container".
        kind: &'static str,
        /// The object.
        id: Id,
        /// "is not running" …
        state: String,
    },
    /// A step of a state machine that does not exist: a defect of ours.
    #[error("{kind} {id} cannot go from {from} to {to}")]
    Transition {
        /// "pod sandbox" or "container".
        kind: &'static str,
        /// The object.
        id: Id,
        /// State it is in.
        from: &'static str,
        /// State asked for.
        to: &'static str,
    },
    /// A command ran longer than its limit.
    #[error("the command in container {id} ran longer than {limit:?} and was killed")]
    ExecTimeout {
        /// The container.
        id: Id,
        /// The limit.
        limit: Duration,
    },
    /// Something did not end in time.
    #[error("{what} did not end within {limit:?}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// Too much of something is under way.
    #[error("{what}: try again later")]
    Busy {
        /// What there is too much of.
        what: String,
    },
    /// A port of a pod that could not be connected to.
    #[error("cannot connect to port {port}")]
    Connect {
        /// The port.
        port: u16,
        /// The kernel's answer.
        source: Arc<io::Error>,
    },
    /// A file or directory of the daemon's own state.
    #[error("cannot {act} {}", path.display())]
    File {
        /// "write", "create directory" …
        act: &'static str,
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: Arc<io::Error>,
    },
    /// A record that can't be read.
    #[error("the record {} cannot be read", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// The cause.
        source: Arc<serde_json::Error>,
    },
    /// A record of a version that this program does not know.
    #[error("the record {} has version {found}; this program reads up to version {known}", path.display())]
    RecordVersion {
        /// The record.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that can be read.
        known: u32,
    },
    /// The pod's agent, or the way to it.
    #[error(transparent)]
    Sandbox(Arc<sandbox::Error>),
    /// The pod's network.
    #[error(transparent)]
    Network(Arc<network::Error>),
    /// The image store.
    #[error(transparent)]
    Image(Arc<image::Error>),
    /// The registry of an image, before anything was fetched.
    #[error(transparent)]
    Registry(Arc<registry::Error>),
    /// Files that could not be copied out of a container or into one.
    #[error(transparent)]
    Copy(Arc<image::copy::Error>),
    /// The container's runtime-spec document.
    #[error(transparent)]
    Spec(Arc<crate::spec::SpecError>),
    /// The kernel gave no random numbers.
    #[error("cannot make an id")]
    Random(#[source] Arc<io::Error>),
    /// A defect of ours.
    #[error("internal error: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

/// A status code of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the names are those of google.rpc.Code, which documents them"
)]
pub enum Code {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    ResourceExhausted,
    FailedPrecondition,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
    PermissionDenied,
    Cancelled,
}

impl Error {
    /// The code that clients see.
    pub fn code(&self) -> Code {
        match self {
            // Not UNIMPLEMENTED: clients take that for a call that is missing as a whole.
            Error::InvalidField { .. } | Error::Unsupported { .. } | Error::Ambiguous { .. } => {
                Code::InvalidArgument
            }
            Error::NotFound { .. } | Error::ImageNotFound { .. } => Code::NotFound,
            Error::Differs { .. } | Error::Taken { .. } => Code::AlreadyExists,
            Error::State { .. } => Code::FailedPrecondition,
            Error::Busy { .. } => Code::ResourceExhausted,
            Error::Connect { .. } => Code::Unavailable,
            Error::ExecTimeout { .. } | Error::Deadline { .. } => Code::DeadlineExceeded,
            Error::File { source, .. } => file_code(source),
            Error::Sandbox(error) => sandbox_code(error),
            Error::Image(error) => image_code(error),
            Error::Registry(error) => fetch_code(error.kind()),
            Error::Copy(error) => copy_code(error),
            Error::Spec(error) if error.is_callers_fault() => Code::InvalidArgument,
            Error::Spec(_) => Code::FailedPrecondition,
            Error::Network(error) => network_code(error),
            Error::Record { .. }
            | Error::RecordVersion { .. }
            | Error::Transition { .. }
            | Error::Random(_)
            | Error::Internal { .. } => Code::Internal,
        }
    }

    /// For `map_err`: a file operation that failed.
    pub(crate) fn file(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File {
            act,
            path,
            source: Arc::new(source),
        }
    }

    /// A task of ours that did not come to its end.
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Error {
        Error::Internal {
            what: error.to_string(),
        }
    }

    /// The error and its causes, outermost first, joined by ": ".
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let more = error.to_string();
            // Some libraries repeat their source in their own text.
            if !text.ends_with(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            source = error.source();
        }
        text
    }
}

fn copy_code(error: &image::copy::Error) -> Code {
    use image::copy::Error::{Gone, Io, Missing};
    match error {
        error if error.is_callers_fault() => Code::InvalidArgument,
        Missing { .. } => Code::NotFound,
        Io { source, .. } => file_code(source),
        Gone(_) => Code::Unavailable,
        _ => Code::Internal,
    }
}

fn file_code(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Code::FailedPrecondition
        }
        _ => Code::Internal,
    }
}

fn sandbox_code(error: &sandbox::Error) -> Code {
    use sandbox::{Code as Agent, ErrorKind};
    match error.kind() {
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Unreachable | ErrorKind::Lost | ErrorKind::Interrupted => Code::Unavailable,
        // The agent's NOT_FOUND is about an executable or a file: the object itself was found here.
        ErrorKind::Rpc(Agent::InvalidArgument | Agent::NotFound | Agent::OutOfRange) => {
            Code::InvalidArgument
        }
        ErrorKind::Rpc(Agent::DeadlineExceeded) => Code::DeadlineExceeded,
        ErrorKind::Rpc(Agent::FailedPrecondition) => Code::FailedPrecondition,
        ErrorKind::Rpc(Agent::ResourceExhausted) => Code::ResourceExhausted,
        ErrorKind::Rpc(Agent::Unimplemented) => Code::Unimplemented,
        _ => Code::Internal,
    }
}

fn network_code(error: &network::Error) -> Code {
    match error.kind() {
        network::ErrorKind::Exhausted => Code::ResourceExhausted,
        network::ErrorKind::PortTaken | network::ErrorKind::Host => Code::FailedPrecondition,
        network::ErrorKind::Kernel => Code::Internal,
    }
}

fn image_code(error: &image::Error) -> Code {
    match error {
        image::Error::Limit(_) => Code::ResourceExhausted,
        image::Error::Io { source, .. } => file_code(source),
        image::Error::InUse(_) => Code::FailedPrecondition,
        image::Error::Fetch(kind, _) => fetch_code(*kind),
        image::Error::Cancelled => Code::Cancelled,
        error if error.is_invalid_input() => Code::InvalidArgument,
        _ => Code::Internal,
    }
}

fn fetch_code(kind: image::FetchErrorKind) -> Code {
    use image::FetchErrorKind as Kind;
    match kind {
        Kind::NotFound => Code::NotFound,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Denied => Code::PermissionDenied,
        Kind::TimedOut => Code::DeadlineExceeded,
        Kind::Invalid | Kind::Refused => Code::FailedPrecondition,
        Kind::Cancelled => Code::Cancelled,
        _ => Code::Unavailable,
    }
}

impl From<sandbox::Error> for Error {
    fn from(error: sandbox::Error) -> Error {
        Error::Sandbox(Arc::new(error))
    }
}

impl From<network::Error> for Error {
    fn from(error: network::Error) -> Error {
        Error::Network(Arc::new(error))
    }
}

impl From<image::Error> for Error {
    fn from(error: image::Error) -> Error {
        Error::Image(Arc::new(error))
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Error {
        Error::Registry(Arc::new(error))
    }
}

impl From<crate::spec::SpecError> for Error {
    fn from(error: crate::spec::SpecError) -> Error {
        Error::Spec(Arc::new(error))
    }
}
