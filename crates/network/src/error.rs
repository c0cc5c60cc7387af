//! What can go wrong with a pod's network.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use crate::Cidr;

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
    /// A step on interfaces, addresses, routes or rules that the kernel refused.
    #[error("cannot {act}")]
    Kernel {
        /// "create bridge coffer0" …
        act: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A sysctl that the network needs could not be set.
    #[error("cannot set {} to {value}", path.display())]
    Sysctl {
        /// The file below /proc/sys.
        path: PathBuf,
        /// What it should be.
        value: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The subnet of pods is used on this host already.
    #[error(
        "the pods' subnet {subnet} overlaps this host's route to {route} by {interface}: set \
         network.ipv4 or network.ipv6 to another subnet"
    )]
    Overlap {
        /// Of the settings.
        subnet: Cidr,
        /// Destination of the route, ADDRESS/PREFIX.
        route: String,
        /// Its interface.
        interface: String,
    },
    /// An interface of the bridge's name is somebody else's.
    #[error("{bridge} exists and is {what}: set network.bridge to another name")]
    ForeignBridge {
        /// Of the settings.
        bridge: String,
        /// Whose it is.
        what: String,
    },
    /// No address is free.
    #[error("the pods' subnet {subnet} has no free address: all {count} are in use")]
    Exhausted {
        /// Of the settings.
        subnet: Cidr,
        /// How many addresses pods can have.
        count: u64,
    },
    /// Another pod has this port of the host.
    #[error("{port} of the host is published by {holder} already")]
    PortTaken {
        /// "tcp port 8080" …
        port: String,
        /// The pod.
        holder: String,
    },
    /// A process of the host has this port.
    #[error("{port} of the host is in use by {process}")]
    PortInUse {
        /// "tcp port 8080" …
        port: String,
        /// "nginx (pid 12)", or "a process" where it can't be found.
        process: String,
    },
    /// A host address of an IP version that pods do not have.
    #[error("{port} is on {host_ip}, but pods have no address of that IP version")]
    NoAddress {
        /// "tcp port 8080" …
        port: String,
        /// The host address.
        host_ip: std::net::IpAddr,
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

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Wait until something is given back: addresses.
    Exhausted,
    /// Ask for another port, or free this one.
    PortTaken,
    /// Change the host's or the daemon's settings.
    Host,
    /// The kernel's answer says it.
    Kernel,
}

impl Error {
    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Exhausted { .. } => ErrorKind::Exhausted,
            Error::PortTaken { .. } | Error::PortInUse { .. } | Error::NoAddress { .. } => {
                ErrorKind::PortTaken
            }
            Error::Overlap { .. } | Error::ForeignBridge { .. } | Error::Sysctl { .. } => {
                ErrorKind::Host
            }
            _ => ErrorKind::Kernel,
        }
    }

    /// For `map_err`: a step that the kernel refused.
    pub(crate) fn kernel<E: Into<io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> Error {
        move |source| {
            let source: io::Error = source.into();
            let missing = [Errno::OPNOTSUPP, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT];
            let mut act = act.into();
            if missing
                .iter()
                .any(|e| Some(e.raw_os_error()) == source.raw_os_error())
            {
                act.push_str(" (this kernel lacks it: see `coffer doctor`)");
            }
            Error::Kernel { act, source }
        }
    }
}
