//! A directory of a benchmark's own, which goes with all that is mounted below it: podman mounts its
//! store on itself and leaves it so.

use std::{fs, io, path::Path};

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// The directory; it goes with this value.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: Option<TempDir>,
    keep: bool,
}

impl Scratch {
    /// A new one within `within`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(prefix: &str, within: &Path) -> io::Result<Scratch> {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(within)?;
        Ok(Scratch {
            dir: Some(dir),
            keep: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// It stays, for whoever has the directory around it.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(mut dir) = self.dir.take() else {
            return;
        };
        if self.keep {
            dir.disable_cleanup(true);
            return;
        }
        let path = dir.path().display().to_string();
        let gone = unmount_below(dir.path()).and_then(|()| dir.close());
        if let Err(error) = gone {
            eprintln!("bench: {path} stays behind: {error}");
        }
    }
}

/// Takes down what is mounted below `dir`, the last that was mounted first.
fn unmount_below(dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<&str> = places
        .filter(|place| Path::new(place).starts_with(dir))
        .collect();
    for place in below.into_iter().rev() {
        unmount(place, UnmountFlags::DETACH)
            .map_err(|errno| io::Error::other(format!("unmount {place}: {errno}")))?;
    }
    Ok(())
}
