//! The core's error: a sentence, and a kind that callers map to their own codes.

use crate::{cgroup, exec, hooks, id, launch, net_device, plan, resctrl, seccomp};

/// What a failure means to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The container or its process is not there.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The document asks for what cannot be.
    InvalidSpec,
    /// The container is not in a state for that.
    State,
    /// This host, kernel or build cannot do it.
    Unsupported,
    /// The program to run does not exist.
    ExecNotFound,
    /// The program to run may not be run.
    ExecPermission,
    /// A file or a system call failed.
    Io,
    /// A bug.
    Internal,
}

/// Any failure of the core.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container's name.
    #[error(transparent)]
    Id(#[from] id::InvalidId),
    /// The document cannot be planned.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// The launch failed.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// Entering the container failed.
    #[error(transparent)]
    Exec(#[from] exec::Error),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    /// A cgroup failed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// A network device.
    #[error(transparent)]
    NetDevice(#[from] net_device::Error),
    /// Cache and bandwidth allocation.
    #[error(transparent)]
    Resctrl(#[from] resctrl::Error),
    /// The seccomp profile.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
}

impl Error {
    /// What it means to a caller.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Id(_) => ErrorKind::InvalidSpec,
            Self::Plan(e) => e.kind(),
            Self::Launch(e) => e.kind(),
            Self::Exec(e) => e.kind(),
            Self::Hook(_) | Self::NetDevice(_) => ErrorKind::Io,
            Self::Resctrl(e) => match e {
                resctrl::Error::NotMounted => ErrorKind::Unsupported,
                resctrl::Error::File { .. } => ErrorKind::Io,
                _ => ErrorKind::InvalidSpec,
            },
            Self::Cgroup(e) => match e {
                cgroup::Error::Path { .. }
                | cgroup::Error::Outside(_)
                | cgroup::Error::Value { .. } => ErrorKind::InvalidSpec,
                cgroup::Error::NotFound(_) | cgroup::Error::NotBelow(_) => ErrorKind::NotFound,
                cgroup::Error::Frozen { .. } | cgroup::Error::Used { .. } => ErrorKind::State,
                cgroup::Error::NoHierarchy(_) | cgroup::Error::Unsupported { .. } => {
                    ErrorKind::Unsupported
                }
                _ => ErrorKind::Io,
            },
            Self::Seccomp(e) => match e {
                seccomp::Error::Field { .. } => ErrorKind::InvalidSpec,
                _ => ErrorKind::Io,
            },
        }
    }
}
