//! Names of files and directories, and the directories that must be there.
//!
//! ```text
//! <state>/                 0711   lock, corrupt/
//!   pods/<pod>/            0700   pod.json hostname hosts resolv.conf shm/ ns/net agent.*
//!     containers/<id>/     0700   container.json config.json exit.json
//! <root>/                  0700   lock, images …
//!   containers/<id>/       0700   upper/ work/
//! ```

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{domain::Id, error::Error};

/// The places of one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Durable.
    pub root: PathBuf,
    /// Volatile.
    pub state: PathBuf,
}

impl Layout {
    /// Makes what is missing and sets the modes of the two top directories. Blocks.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        for (dir, mode) in [
            (self.root.clone(), 0o700),
            (self.state.clone(), 0o711),
            (self.pods(), 0o700),
            (self.layers(), 0o700),
        ] {
            make_dirs(&dir, mode)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode))
                .map_err(Error::file("set the mode of", &dir))?;
        }
        Ok(())
    }

    /// Directory of all pods.
    pub(crate) fn pods(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// Directory of one pod.
    pub(crate) fn pod(&self, pod: &Id) -> PathBuf {
        self.pods().join(pod)
    }

    /// Directory of one container.
    pub(crate) fn container(&self, pod: &Id, container: &Id) -> PathBuf {
        self.pod(pod).join(CONTAINERS).join(container)
    }

    /// Directory of all writable layers.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Directory of one container's writable layer.
    pub(crate) fn layer(&self, container: &Id) -> PathBuf {
        self.layers().join(container)
    }
}

/// Directory of a pod's containers, in the pod's.
pub(crate) const CONTAINERS: &str = "containers";
/// The container's runtime-spec document, in its directory.
pub(crate) const CONFIG: &str = "config.json";

/// Makes a directory that must be new. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .mode(mode)
        .create(dir)
        .map_err(Error::file("create directory", dir))
}

/// Makes a directory and those above it. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn make_dirs(dir: &Path, mode: u32) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(Error::file("create directory", dir))
}

/// Removes a directory with all that is in it; `last` goes after everything else, so that a half
/// removed directory still says what it was. Nothing there is success. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn remove_dir(dir: &Path, last: &str) -> Result<(), Error> {
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    let entries = match fs::read_dir(dir) {
        // NotADirectory: somebody has put a file where the parent was.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        entries => entries.map_err(Error::file("read directory", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::file("read directory", dir))?;
        if entry.file_name() == last {
            continue;
        }
        let path = entry.path();
        let is_dir = entry
            .file_type()
            .map_err(Error::file("inspect", &path))?
            .is_dir();
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone(removed).map_err(Error::file("remove", &path))?;
    }
    let path = dir.join(last);
    gone(fs::remove_file(&path)).map_err(Error::file("remove", &path))?;
    gone(fs::remove_dir(dir)).map_err(Error::file("remove", dir))
}

/// The ids that name entries of a directory; other names are left out. Blocks.
///
/// # Errors
/// [`Error::File`]; a missing directory has none.
pub(crate) fn ids_in(dir: &Path) -> Result<Vec<Id>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::file("read directory", dir))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_get_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            root: dir.path().join("root"),
            state: dir.path().join("deep/state"),
        };
        layout.prepare().unwrap();
        layout.prepare().unwrap();
        for (path, mode) in [
            (&layout.root, 0o700),
            (&layout.state, 0o711),
            (&layout.pods(), 0o700),
        ] {
            let found = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_goes_with_its_record_last_and_again_without_error() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("pod");
        fs::create_dir_all(pod.join("containers/x")).unwrap();
        fs::write(pod.join("pod.json"), "{}").unwrap();
        fs::write(pod.join("hosts"), "").unwrap();
        remove_dir(&pod, "pod.json").unwrap();
        assert!(!pod.exists());
        remove_dir(&pod, "pod.json").unwrap();
    }

    #[test]
    fn only_ids_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let id = Id::random().unwrap();
        for name in [id.as_str(), "other", ".x.tmp"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(ids_in(dir.path()).unwrap(), [id]);
        assert!(ids_in(&dir.path().join("missing")).unwrap().is_empty());
    }
}
