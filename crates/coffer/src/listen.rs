//! The daemon's socket: mode 0600 from its first moment, a stale one replaced, a living one never.

use std::{
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::Mode;

use crate::{error::Error, sockpath::SocketPath};

/// A bound socket; the file goes with it, unless it was replaced meanwhile.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    identity: (u64, u64),
}

/// Binds `path`. Call it while no other thread makes files: the mode comes from the umask.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Bound), Error> {
    let failed = |source| Error::Io {
        what: format!("listen on {}", path.display()),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let short = SocketPath::open(path).map_err(failed)?;
    remove_stale(path, &short)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(short.path());
    rustix::process::umask(before);
    let listener = listener.map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
    let identity = (metadata.dev(), metadata.ino());
    Ok((
        listener,
        Bound {
            path: path.to_owned(),
            identity,
        },
    ))
}

fn remove_stale(path: &Path, short: &SocketPath) -> Result<(), Error> {
    let failed = |source| Error::Io {
        what: format!("look at {}", path.display()),
        source,
    };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    if !metadata.file_type().is_socket() {
        return Err(Error::State {
            message: format!(
                "cannot listen on {}: it is there and not a socket",
                path.display()
            ),
            hint: "remove it, or choose another place with --socket".to_owned(),
        });
    }
    match UnixStream::connect(short.path()) {
        Ok(_) => Err(Error::State {
            message: format!("cannot listen on {}: another daemon does", path.display()),
            hint: "end that daemon, or choose another place with --socket".to_owned(),
        }),
        Err(_) => std::fs::remove_file(path).map_err(failed),
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_root_only_and_goes_with_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/coffer.sock");
        let (listener, bound) = bind(&path).unwrap();
        assert_eq!(
            std::fs::symlink_metadata(&path).unwrap().mode() & 0o777,
            0o600
        );
        drop((listener, bound));
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coffer.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, _bound) = bind(&path).unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.ends_with("another daemon does"), "{error}");
    }

    #[test]
    fn another_kind_of_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coffer.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
