//! What can go wrong on a bus.

use std::io;
use std::path::PathBuf;

/// A bus or a service that does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No bus there.
    #[error("connect to the bus at {}", path.display())]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Reading or writing.
    #[error("talk to the bus")]
    Io(#[from] io::Error),
    /// The bus does not want us.
    #[error("the bus refused us: {0:?}")]
    Refused(String),
    /// An error of the service.
    #[error("{name}: {text}")]
    Remote {
        /// Its name, such as `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// What it says.
        text: String,
    },
    /// Bytes that are no message.
    #[error("the bus sent what is no message: {0}")]
    Protocol(&'static str),
    /// Nobody answered.
    #[error("no answer within {0} s")]
    Timeout(u64),
}

impl Error {
    /// Whether the service answered with this error.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Remote { name, .. } if name == wanted)
    }
}
