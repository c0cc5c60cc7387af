//! A network namespace pinned by a file.
//!
//! ```text
//! daemon thread                          helper thread (lives for this one call)
//! ─────────────                          ───────────────────────────────────────
//! open O_CREAT|O_EXCL  <dir>/net
//! spawn ───────────────────────────────► unshare(CLONE_NEWNET)
//!                                        lo up, by rtnetlink
//!                                        mount --bind /proc/thread-self/ns/net <dir>/net
//! join  ◄─────────────────────────────── end: only the mount holds the namespace now
//! ```
//!
//! A thread enters the new namespace for good, so it is one that nobody uses afterwards. A failure
//! at any step takes the file away again. A crash between the steps leaves a file without a mount:
//! [`Netns::create`] takes such a file over, [`Netns::exists`] answers no, [`Netns::delete`]
//! removes it.
//!
//! Deleting is `umount2(MNT_DETACH|UMOUNT_NOFOLLOW)` and `unlink`. The unlink matters: processes
//! with a mount namespace of their own may hold a copy of the mount, and the kernel detaches every
//! copy when the mount point is unlinked (since Linux 3.18). The namespace itself ends with its last
//! process.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::UnmountFlags,
    thread::UnshareFlags,
};

use crate::{Error, netlink, sysctl};

/// `NSFS_MAGIC` of `linux/magic.h`: the filesystem of namespace files.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A pinned network namespace: the path of its pin file.
///
/// Dropping it does nothing: a pin outlives the process that made it, that is its purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netns {
    path: PathBuf,
}

impl Netns {
    /// Makes a network namespace with loopback up and pins it at `path`.
    ///
    /// The directory of `path` must exist. A file without a mount, as a crash leaves it, is taken
    /// over. Blocks for about 100 µs, with many processors longer (the kernel sets up per-CPU
    /// state): call it from a thread that may block.
    ///
    /// # Errors
    /// [`Error::AlreadyPinned`] when a namespace is pinned there; otherwise the step that failed.
    /// Nothing is left behind on failure.
    pub fn create(path: &Path) -> Result<Netns, Error> {
        make_pin_file(path)?;
        let made = on_own_thread(path);
        if made.is_err() {
            // The first error is the one to tell; what can't be undone here, delete() finds again.
            let _ = remove_pin(path);
        }
        made.map(|()| Netns {
            path: path.to_owned(),
        })
    }

    /// Whether a network namespace is pinned at `path`: false for nothing and for a bare file.
    ///
    /// # Errors
    /// [`Error::Inspect`] when the path can't be looked at.
    pub fn exists(path: &Path) -> Result<bool, Error> {
        let inspect = |source: Errno| Error::Inspect {
            path: path.to_owned(),
            source: source.into(),
        };
        let fd = match rustix::fs::open(
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(e) => return Err(inspect(e)),
        };
        let fs = rustix::fs::fstatfs(&fd).map_err(inspect)?;
        Ok(u64::try_from(fs.f_type).is_ok_and(|t| t == NSFS_MAGIC))
    }

    /// A handle for a pin that is there already, as after a restart; `None` when there is none.
    ///
    /// # Errors
    /// As [`Netns::exists`].
    pub fn open(path: &Path) -> Result<Option<Netns>, Error> {
        Ok(Self::exists(path)?.then(|| Netns {
            path: path.to_owned(),
        }))
    }

    /// Takes the pin at `path` away. Nothing there is success, and so is a bare file.
    ///
    /// # Errors
    /// [`Error::Unpin`] when the kernel refuses.
    pub fn delete(path: &Path) -> Result<(), Error> {
        sys::failpoint!("network.netns.delete.before");
        remove_pin(path)?;
        sys::failpoint!("network.netns.delete.after");
        Ok(())
    }

    /// The pin file: what is handed to `setns`, to CNI plugins and to a runtime spec.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates the regular file that the namespace is mounted on, or takes over a bare one.
fn make_pin_file(path: &Path) -> Result<(), Error> {
    sys::failpoint!("network.netns.file.before");
    let made: io::Result<File> = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            if Netns::exists(path)? {
                Err(Error::AlreadyPinned {
                    path: path.to_owned(),
                })
            } else if path.symlink_metadata().is_ok_and(|m| m.is_file()) {
                Ok(())
            } else {
                Err(Error::PinFile {
                    path: path.to_owned(),
                    source: e,
                })
            }
        }
        Err(source) => Err(Error::PinFile {
            path: path.to_owned(),
            source,
        }),
    }
}

fn on_own_thread(path: &Path) -> Result<(), Error> {
    thread::scope(|scope| {
        let helper = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || unshare_and_pin(path))
            .map_err(|source| Error::Thread {
                path: path.to_owned(),
                source,
            })?;
        helper.join().unwrap_or_else(|_| {
            let source = io::Error::other("the thread panicked");
            Err(Error::Thread {
                path: path.to_owned(),
                source,
            })
        })
    })
}

/// Runs on the helper thread, which stays in the new namespace until its end.
fn unshare_and_pin(path: &Path) -> Result<(), Error> {
    sys::failpoint!("network.netns.unshare.before", |text| Error::Unshare {
        path: path.to_owned(),
        source: io::Error::other(text),
    });
    sys::thread::unshare(UnshareFlags::NEWNET).map_err(|e| Error::Unshare {
        path: path.to_owned(),
        source: e,
    })?;
    netlink::set_link_up(netlink::LOOPBACK).map_err(|e| Error::Loopback {
        path: path.to_owned(),
        source: e.into(),
    })?;
    sysctl::namespace()?;
    sys::failpoint!("network.netns.pin.before", |text| Error::Pin {
        path: path.to_owned(),
        source: io::Error::other(text),
    });
    rustix::mount::mount_bind("/proc/thread-self/ns/net", path).map_err(|e| Error::Pin {
        path: path.to_owned(),
        source: e.into(),
    })?;
    sys::failpoint!("network.netns.pin.after", |text| Error::Pin {
        path: path.to_owned(),
        source: io::Error::other(text),
    });
    Ok(())
}

fn remove_pin(path: &Path) -> Result<(), Error> {
    let unpin = |source: Errno| Error::Unpin {
        path: path.to_owned(),
        source: source.into(),
    };
    // A pin can be stacked when two daemons raced for it: detach until nothing is mounted there.
    loop {
        match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // EINVAL: not a mount point.
            Err(Errno::INVAL) => break,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(unpin(e)),
        }
    }
    sys::failpoint!("network.netns.unlink.before");
    match rustix::fs::unlinkat(CWD, path, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(unpin(e)),
    }
}
