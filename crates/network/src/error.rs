//! What can go wrong with a pod's network.

use std::{io, path::PathBuf};

/// A step on a network namespace that failed. The source is the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file that carries the pin could not be made.
    #[error("cannot create {}, the file that pins the pod's network namespace", path.display())]
    PinFile {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A namespace is pinned there already.
    #[error("a network namespace is already pinned at {}", path.display())]
    AlreadyPinned {
        /// The pin file.
        path: PathBuf,
    },
    /// Making the namespace failed. EPERM: CAP_SYS_ADMIN is missing; ENOSPC:
    /// `user.max_net_namespaces` is reached.
    #[error("cannot make a network namespace for {}", path.display())]
    Unshare {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Loopback could not be set up inside the new namespace.
    #[error("cannot bring up the loopback interface in the network namespace of {}", path.display())]
    Loopback {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The bind mount that pins the namespace failed.
    #[error("cannot pin the network namespace at {}", path.display())]
    Pin {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The pin could not be taken away.
    #[error("cannot remove the network namespace pinned at {}", path.display())]
    Unpin {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The pin could not be looked at.
    #[error("cannot inspect {}", path.display())]
    Inspect {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The helper thread that owns the namespace while it is set up could not be started.
    #[error("cannot start the thread that makes the network namespace of {}", path.display())]
    Thread {
        /// The pin file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}
