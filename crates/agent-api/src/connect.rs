//! Connecting to an agent by the path of its socket. Socket addresses hold 108 bytes and state paths
//! with 64-digit ids are longer, so the directory is opened first and the socket named through it:
//! `/proc/self/fd/<dir>/agent.sock`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ttrpc::asynchronous::Client;
use ttrpc::asynchronous::transport::Socket;

/// Connects to the agent that listens on the unix socket `path` (of any length).
///
/// # Errors
/// `NotFound` if there is no such socket, `ConnectionRefused` if nobody listens on it.
pub async fn connect(path: &Path) -> io::Result<Client> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket");
    let name = path.file_name().ok_or_else(invalid)?;
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let dir = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    let stream = tokio::net::UnixStream::connect(short).await?;
    drop(dir);
    Ok(Client::new(Socket::from(stream)))
}
