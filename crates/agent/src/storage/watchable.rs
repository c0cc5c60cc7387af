//! watchable-bind: a copy of a small tree on a tmpfs, kept as its source is. On a shared filesystem of
//! a micro-VM nobody hears of changes that the host made; in the copy they happen where they are seen.
//!
//! ```text
//!  source --inotify, or a look every 2 s where the filesystem tells nothing--> scan --> copy
//! ```
//! A source that is a file, or larger than [`LIMITS`] at the start, is bound as it is.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::io::Interest;
use tokio::task::AbortHandle;

use super::options::Options;
use super::watched::{Limits, Tree};
use super::{Storage, make};
use crate::error::Error;

/// What is copied at most.
const LIMITS: Limits = Limits {
    entries: 16,
    bytes: 1 << 20,
};
/// How far a tree may grow that is copied already.
const GROWN: Limits = Limits {
    entries: 256,
    bytes: 16 << 20,
};
/// Time between looks at a source that tells nothing.
const POLL: Duration = Duration::from_secs(2);
/// Changes come in groups: a copy is made when so long nothing more has come.
const TOGETHER: Duration = Duration::from_millis(20);

/// Keeps a copy up to date until it is stopped.
#[derive(Debug)]
pub(super) struct Follower(Option<AbortHandle>);

impl Follower {
    pub(super) fn stop(&self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Both ends of a copy. The copy's root is held by descriptor: what is written after it was unmounted
/// goes with it and lands nowhere else.
#[derive(Debug)]
struct Copy {
    source: PathBuf,
    root: OwnedFd,
    now: Tree,
    /// Told already that the source has grown too large.
    told: bool,
}

/// Mounts the copy and starts to follow the source.
pub(super) fn start(storage: &Storage, options: &Options) -> Result<Follower, Error> {
    let source = PathBuf::from(&storage.source);
    let failed = |act, e: io::Error| make::failure(storage, act, e);
    let first = match source.is_dir() {
        true => Tree::scan(&source, LIMITS).map_err(|e| failed("read the source of", e))?,
        false => None,
    };
    let point = &storage.mount_point;
    let Some(first) = first else {
        mount(&source, point, "", MountFlags::BIND | MountFlags::REC, None)
            .map_err(|e| failed("mount", e.into()))?;
        return Ok(Follower(None));
    };
    // Read-only for the container is the spec's to say: the copy has to be written.
    let flags = (options.flags - MountFlags::RDONLY - MountFlags::BIND - MountFlags::REC)
        | MountFlags::NOSUID
        | MountFlags::NODEV;
    mount("tmpfs", point, "tmpfs", flags, Some(c"mode=755,size=32m"))
        .map_err(|e| failed("mount", e.into()))?;
    let made = (|| {
        let root = sys::in_root::dir(point)?;
        first.copy(&Tree::default(), &source, &path_of(&root))?;
        Ok(root)
    })();
    let root = made.map_err(|e| {
        let _ = unmount(point, UnmountFlags::DETACH);
        failed("copy the source of", e)
    })?;
    let copy = Copy {
        source,
        root,
        now: first,
        told: false,
    };
    let task = tokio::runtime::Handle::current().spawn(follow(copy));
    Ok(Follower(Some(task.abort_handle())))
}

fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Never returns.
async fn follow(mut copy: Copy) {
    let events = match tells(&copy.source) {
        true => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
        false => None,
    };
    let events = events.and_then(|fd| crate::watch::watch(fd, Interest::READABLE).ok());
    loop {
        if let Some(events) = &events {
            watch(&events.get_ref().0, &copy);
        }
        // What came before the watches were set is found by this look.
        let looked = tokio::task::spawn_blocking(move || {
            look(&mut copy);
            copy
        });
        copy = match looked.await {
            Ok(copy) => copy,
            Err(e) => return log::error!("a watched storage is followed no more: {e}"),
        };
        let Some(events) = &events else {
            tokio::time::sleep(POLL).await;
            continue;
        };
        loop {
            let Ok(mut ready) = events.readable().await else {
                return log::error!("{}: it is watched no more", copy.source.display());
            };
            let mut buffer = [0u8; 4096];
            let read = rustix::io::read(&ready.get_inner().0, &mut buffer[..]);
            ready.clear_ready();
            if read.is_ok_and(|n| n > 0) {
                break;
            }
        }
        tokio::time::sleep(TOGETHER).await;
        let mut buffer = [0u8; 4096];
        while rustix::io::read(&events.get_ref().0, &mut buffer[..]).is_ok_and(|n| n > 0) {}
    }
}

/// Watches every directory of the source; one that is watched already stays so.
fn watch(events: &OwnedFd, copy: &Copy) {
    let flags = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVE
        | WatchFlags::ATTRIB
        | WatchFlags::ONLYDIR;
    for dir in copy.now.directories() {
        let path = copy.source.join(dir);
        if let Err(e) = inotify::add_watch(events, &path, flags) {
            log::debug!("cannot watch {}: {e}", path.display());
        }
    }
}

/// Brings the copy up to date. What fails is tried again at the next look.
fn look(copy: &mut Copy) {
    let now = match Tree::scan(&copy.source, GROWN) {
        Ok(Some(now)) => now,
        Ok(None) => {
            if !std::mem::replace(&mut copy.told, true) {
                let source = copy.source.display();
                log::warn!("{source} has grown too large: its copy stays as it is");
            }
            return;
        }
        Err(e) => return log::debug!("cannot read {}: {e}", copy.source.display()),
    };
    if now == copy.now {
        return;
    }
    match now.copy(&copy.now, &copy.source, &path_of(&copy.root)) {
        Ok(()) => copy.now = now,
        Err(e) => log::debug!("cannot copy {}: {e}", copy.source.display()),
    }
}

/// Whether the filesystem tells of all changes: those of other machines are not told.
fn tells(path: &Path) -> bool {
    const REMOTE: [i64; 5] = [
        0x6573_5546, // FUSE, virtio-fs
        0x0102_1997, // 9p
        0x6969,      // NFS
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
    ];
    rustix::fs::statfs(path).is_ok_and(|s| !REMOTE.contains(&s.f_type))
}
