//! Socket addresses for long paths: the kernel takes at most 107 bytes, so a longer path goes
//! through an open directory, `/proc/self/fd/N/name`.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

const LONGEST: usize = 107;

/// A path that can be bound or connected to, for as long as this lives.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl SocketPath {
    /// The address for `path`.
    pub(crate) fn open(path: &Path) -> io::Result<SocketPath> {
        if path.as_os_str().len() <= LONGEST {
            return Ok(SocketPath {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(directory, flags, Mode::empty())?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())).join(name);
        Ok(SocketPath {
            path: short,
            _directory: Some(fd),
        })
    }

    /// What to give to bind and connect.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_long_path_can_be_bound_and_reached() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let long = deep.join("coffer.sock");
        let listener = UnixListener::bind(SocketPath::open(&long).unwrap().path()).unwrap();
        UnixStream::connect(SocketPath::open(&long).unwrap().path()).unwrap();
        drop(listener);
        assert!(long.exists());
    }
}
