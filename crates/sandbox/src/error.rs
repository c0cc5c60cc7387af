//! What can go wrong between the daemon and an agent.
//!
//! [`Error::kind`] sorts every error into the few cases that a caller treats differently; the text
//! is for people.

use std::{fmt, io, path::PathBuf, time::Duration};

/// A step towards, or a call of, a pod's agent that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The agent's listening socket could not be made.
    #[error("cannot listen on the agent's socket {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The agent's log file could not be opened.
    #[error("cannot open the agent's log {}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The agent program could not be started.
    #[error("cannot start the agent program {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The agent ended before it answered the handshake.
    #[error("the agent of pod {pod} ended at its start ({status}); the end of its log: {log}")]
    Stillborn {
        /// The pod.
        pod: String,
        /// Exit code or signal.
        status: String,
        /// The last lines of `agent.log`.
        log: String,
    },
    /// The agent's socket does not answer: it is gone or was never there.
    #[error("cannot reach the agent of pod {pod} at {}", path.display())]
    Connect {
        /// The pod.
        pod: String,
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something answers at the socket, but it is not the agent that was recorded.
    #[error(
        "the process at the socket of pod {pod} is not the pod's agent: {found}, recorded {recorded}"
    )]
    Stranger {
        /// The pod.
        pod: String,
        /// Pid and start time of what answers.
        found: String,
        /// Pid and start time of the record.
        recorded: String,
    },
    /// The agent speaks another version of the protocol.
    #[error("the agent of pod {pod} speaks protocol version {theirs}; this program speaks {ours}")]
    Protocol {
        /// The pod.
        pod: String,
        /// Our version.
        ours: u32,
        /// The agent's version.
        theirs: u32,
    },
    /// The agent answered a call with an error.
    #[error("{call} in pod {pod} failed: {message}")]
    Rpc {
        /// The call's name.
        call: &'static str,
        /// The pod.
        pod: String,
        /// The agent's status code.
        code: Code,
        /// The agent's sentence.
        message: String,
    },
    /// The connection ended before the answer came: the agent has died.
    #[error("the agent of pod {pod} was lost during {call}")]
    Lost {
        /// The call's name.
        call: &'static str,
        /// The pod.
        pod: String,
    },
    /// The connection broke while the agent lives on. Later calls use a new connection; whether this
    /// one was carried out is not known.
    #[error("the connection to the agent of pod {pod} broke during {call}: {what}")]
    Interrupted {
        /// The call's name.
        call: &'static str,
        /// The pod.
        pod: String,
        /// What was seen.
        what: String,
    },
    /// The agent did not answer in time. It may still be doing what was asked.
    #[error("the agent of pod {pod} did not answer {call} within {limit:?}")]
    Timeout {
        /// The call's name.
        call: &'static str,
        /// The pod.
        pod: String,
        /// The limit.
        limit: Duration,
    },
    /// A command ran longer than its limit and was killed.
    #[error("the command in container {container} ran longer than {limit:?} and was killed")]
    ExecTimeout {
        /// The container.
        container: String,
        /// The limit.
        limit: Duration,
    },
    /// The agent's answer does not make sense.
    #[error("the answer to {call} from the agent of pod {pod} is not understood: {what}")]
    Answer {
        /// The call's name.
        call: &'static str,
        /// The pod.
        pod: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no agent to connect to: it has ended, or its start was never finished.
    #[error("pod {pod} has no agent: {why}")]
    NoAgent {
        /// The pod's directory.
        pod: String,
        /// What was found instead.
        why: String,
    },
    /// The agent's process could not be killed.
    #[error("cannot kill the agent of {}", dir.display())]
    KillAgent {
        /// The pod's directory.
        dir: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The pod's description can't be told to an agent.
    #[error("pod {pod} can't be described to an agent: {what}")]
    Spec {
        /// The pod.
        pod: String,
        /// What is wrong.
        what: String,
    },
    /// The agent's record can't be read or written.
    #[error("cannot {act} the agent's record {}", path.display())]
    Record {
        /// "read" or "write".
        act: &'static str,
        /// The record.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The host's cgroup mounts are not as needed.
    #[error("cannot use the host's cgroups: {what}")]
    Cgroups {
        /// What is wrong.
        what: String,
    },
    /// A cgroup could not be made, emptied or removed.
    #[error("cannot {act} cgroup {}", path.display())]
    Cgroup {
        /// "create", "kill the processes of", "remove" …
        act: &'static str,
        /// The cgroup's directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The thread that was to do the work ended early.
    #[error("a worker thread ended before its work was done")]
    Worker {
        /// Panic or shutdown.
        source: io::Error,
    },
    /// Something of the pod's directory could not be removed.
    #[error("cannot remove {}", path.display())]
    Cleanup {
        /// What was to be removed.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No agent answers: start the pod's cleanup.
    Unreachable,
    /// The agent died during the call.
    Lost,
    /// The connection broke, the agent lives: ask again.
    Interrupted,
    /// The agent answered with this code.
    Rpc(Code),
    /// A limit on time was exceeded.
    Timeout,
    /// The host refused something: files, processes, cgroups.
    Host,
    /// The agent and this program do not fit together.
    Incompatible,
}

impl Error {
    /// Sorts the error; see [`ErrorKind`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Connect { .. }
            | Error::NoAgent { .. }
            | Error::Stillborn { .. }
            | Error::Stranger { .. } => ErrorKind::Unreachable,
            Error::Lost { .. } => ErrorKind::Lost,
            Error::Interrupted { .. } => ErrorKind::Interrupted,
            Error::Rpc { code, .. } => ErrorKind::Rpc(*code),
            Error::Timeout { .. } | Error::ExecTimeout { .. } => ErrorKind::Timeout,
            Error::Protocol { .. } | Error::Answer { .. } => ErrorKind::Incompatible,
            Error::Listen { .. }
            | Error::Log { .. }
            | Error::Spawn { .. }
            | Error::Record { .. }
            | Error::Cgroups { .. }
            | Error::Cgroup { .. }
            | Error::Cleanup { .. }
            | Error::KillAgent { .. }
            | Error::Worker { .. }
            | Error::Spec { .. } => ErrorKind::Host,
        }
    }

    /// Whether the agent said that the named thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::Rpc(Code::NotFound)
    }

    /// Whether no agent is there (any more) to answer: retrying the call is pointless.
    pub fn is_agent_gone(&self) -> bool {
        matches!(self.kind(), ErrorKind::Lost | ErrorKind::Unreachable)
    }
}

/// A status code of ttRPC; the numbers are those of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the names are those of google.rpc.Code, which documents them"
)]
pub enum Code {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// The code with this number; what is not a number of the table is [`Code::Unknown`].
    pub fn from_number(number: i32) -> Code {
        match number {
            1 => Code::Cancelled,
            3 => Code::InvalidArgument,
            4 => Code::DeadlineExceeded,
            5 => Code::NotFound,
            6 => Code::AlreadyExists,
            7 => Code::PermissionDenied,
            8 => Code::ResourceExhausted,
            9 => Code::FailedPrecondition,
            10 => Code::Aborted,
            11 => Code::OutOfRange,
            12 => Code::Unimplemented,
            13 => Code::Internal,
            14 => Code::Unavailable,
            15 => Code::DataLoss,
            16 => Code::Unauthenticated,
            _ => Code::Unknown,
        }
    }

    /// The number on the wire, the same in ttRPC and gRPC.
    pub fn number(self) -> i32 {
        match self {
            Code::Cancelled => 1,
            Code::Unknown => 2,
            Code::InvalidArgument => 3,
            Code::DeadlineExceeded => 4,
            Code::NotFound => 5,
            Code::AlreadyExists => 6,
            Code::PermissionDenied => 7,
            Code::ResourceExhausted => 8,
            Code::FailedPrecondition => 9,
            Code::Aborted => 10,
            Code::OutOfRange => 11,
            Code::Unimplemented => 12,
            Code::Internal => 13,
            Code::Unavailable => 14,
            Code::DataLoss => 15,
            Code::Unauthenticated => 16,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_numbers_are_the_same_table() {
        for number in 1..=16 {
            assert_eq!(Code::from_number(number).number(), number);
        }
        for odd in [0, -1, 17, i32::MAX] {
            assert_eq!(Code::from_number(odd), Code::Unknown);
        }
    }
}
