//! The agent's socket. A path may be longer than the 108 bytes that a socket address holds, so the
//! directory is opened and the socket bound as `/proc/self/fd/<dir>/<name>`. The file is made with mode
//! 0600 (by the umask, so that there is no moment with another mode), replaces what an agent that was
//! killed left behind, and is removed at the end.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::args::Address;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen at {path}: another process is listening there")]
    InUse { path: PathBuf },
    #[error("cannot listen at {path}: it exists and is no socket")]
    NoSocket { path: PathBuf },
    #[error("cannot listen at {at}")]
    Bind { at: String, source: io::Error },
    #[error("fd://0: standard input is no listening unix socket")]
    Stdin(#[source] io::Error),
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    /// Bound by the event loop, which its library needs.
    Vsock {
        cid: u32,
        port: u32,
    },
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    pub(crate) file: Option<SocketFile>,
}

/// A socket file of ours: removed when dropped, unless another file took its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = std::fs::symlink_metadata(&self.path);
        if now.is_ok_and(|m| (m.dev(), m.ino()) == self.inode)
            && let Err(e) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove socket {}: {e}", self.path.display());
        }
    }
}

/// Listens at `address`. Call it before there are other threads: it sets the umask for a moment.
///
/// # Errors
/// Another agent listens there, the path is taken by something else, or the system call's reason.
pub(crate) fn listen(address: &Address) -> Result<Bound, Error> {
    let (listener, file) = match address {
        Address::Path(path) => {
            let (listener, file) = bind(path)?;
            (listener, Some(file))
        }
        Address::Abstract(name) => {
            let failed = |source| Error::Bind {
                at: format!("@{name}"),
                source,
            };
            let address = SocketAddr::from_abstract_name(name).map_err(failed)?;
            (UnixListener::bind_addr(&address).map_err(failed)?, None)
        }
        Address::Stdin => (inherited().map_err(Error::Stdin)?, None),
        Address::Vsock { cid, port } => {
            let (cid, port) = (*cid, *port);
            return Ok(Bound {
                listener: Listener::Vsock { cid, port },
                file: None,
            });
        }
    };
    Ok(Bound {
        listener: Listener::Unix(listener),
        file,
    })
}

/// Takes the socket from standard input, which becomes /dev/null.
fn inherited() -> io::Result<UnixListener> {
    let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it does not listen",
        ));
    }
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(UnixListener::from(socket))
}

fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let failed = |source| Error::Bind {
        at: path.display().to_string(),
        source,
    };
    let invalid = || failed(io::ErrorKind::InvalidInput.into());
    let parent = path.parent().ok_or_else(invalid)?;
    let name = path.file_name().ok_or_else(invalid)?;
    let dir = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(parent)
        .map_err(failed)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    remove_stale(path, &short)?;
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&short);
    umask(before);
    let listener = listener.map_err(failed)?;
    let meta = std::fs::symlink_metadata(&short).map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: (meta.dev(), meta.ino()),
    };
    Ok((listener, file))
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path, short: &Path) -> Result<(), Error> {
    let failed = |source| Error::Bind {
        at: path.display().to_string(),
        source,
    };
    match std::fs::symlink_metadata(short) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(Error::NoSocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(short) {
        Ok(_) => Err(Error::InUse {
            path: path.to_owned(),
        }),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(short).map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_gets_a_private_socket_that_goes_away_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(64)).join("e".repeat(64));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("agent.sock");
        let bound = listen(&Address::Path(path.clone())).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(
            listen(&Address::Path(path.clone())),
            Err(Error::InUse { .. })
        ));
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(listen(&Address::Path(path.clone())).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            listen(&Address::Path(path.clone())),
            Err(Error::NoSocket { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
