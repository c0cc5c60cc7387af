//! Unix sockets by paths of any length. A socket address holds 108 bytes and state paths with
//! 64-digit ids are longer: the directory is opened and the socket named `/proc/self/fd/<dir>/name`.

use std::{
    io,
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Binds and listens. The permissions follow the umask: chmod or a 0700 directory is the caller's.
///
/// # Errors
/// EADDRINUSE when the name exists, and the kernel's others.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    through(path, |short| UnixListener::bind(short))
}

/// Connects a stream.
///
/// # Errors
/// NotFound when there is no such socket, ConnectionRefused when nobody listens.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    through(path, |short| UnixStream::connect(short))
}

fn through<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let dir = crate::in_root::dir(parent)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_work() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a".repeat(120)).join("b".repeat(120));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("agent.sock");
        let listener = bind(&path).unwrap();
        connect(&path).unwrap();
        listener.accept().unwrap();
        drop(listener);
        assert_eq!(
            connect(&path).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(bind(&path).is_err());
    }
}
