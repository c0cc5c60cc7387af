//! Overlays that are mounted and attached nowhere: a mount by descriptor, which the host never sees
//! and which ends with its last descriptor.
//!
//! ```text
//!  fsopen("overlay") -> lowerdir+ (a call a layer, Linux 6.5) -> upperdir, workdir -> fsmount = fd
//!  before 6.5:  helper thread, own mount namespace: mount(2) with short names below the layers'
//!               directory -> open_tree(CLONE) = fd; the namespace ends with the thread
//! ```
//! mount(2) takes one page of options; fsconfig's strings end at 256 bytes, so `lowerdir` as one string
//! is no way out.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
        OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
        open_tree,
    },
    thread::UnshareFlags,
};

use crate::thread::unshare;

/// Layers, and where writes go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Directories, top first; at least one.
    pub lowers: Vec<PathBuf>,
    /// Upper and work directory; `None`: nothing can be written.
    pub writable: Option<(PathBuf, PathBuf)>,
}

/// Mounts the overlay. A single layer without a writable one is taken as it is, not read-only: an
/// overlay needs two.
///
/// # Errors
/// The kernel's: ENOENT for a missing layer, EINVAL where it has no overlayfs or no use for these
/// directories.
pub fn detached(overlay: &Overlay) -> io::Result<OwnedFd> {
    if let ([only], None) = (overlay.lowers.as_slice(), &overlay.writable) {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        return Ok(open_tree(CWD, only, flags)?);
    }
    match new_api(overlay) {
        // lowerdir+ is an unknown parameter before Linux 6.5.
        Err(Errno::INVAL) => in_namespace(overlay),
        other => Ok(other?),
    }
}

fn new_api(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, path: &Path| fsconfig_set_string(fs.as_fd(), key, path);
    for lower in &overlay.lowers {
        set("lowerdir+", lower)?;
    }
    if let Some((upper, work)) = &overlay.writable {
        set("upperdir", upper)?;
        set("workdir", work)?;
    }
    fsconfig_create(fs.as_fd())?;
    fsmount(
        fs.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

/// The way for kernels before 6.5.
fn in_namespace(overlay: &Overlay) -> io::Result<OwnedFd> {
    let shared = overlay.clone();
    let thread = std::thread::Builder::new()
        .name("overlay".into())
        .stack_size(128 * 1024);
    let joined = thread.spawn(move || mount_in_thread(&shared))?.join();
    joined.unwrap_or_else(|_| Err(io::Error::other("the thread that mounts died")))
}

fn mount_in_thread(overlay: &Overlay) -> io::Result<OwnedFd> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::FS)?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    // Every directory is named by a short magic link, so that many layers fit into a page.
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let lowers = overlay
        .lowers
        .iter()
        .map(|p| open(p))
        .collect::<Result<Vec<_>, _>>()?;
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut options = format!(
        "lowerdir={}",
        lowers.iter().map(name).collect::<Vec<_>>().join(":")
    );
    let writable = match &overlay.writable {
        Some((upper, work)) => Some((open(upper)?, open(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &writable {
        options.push_str(&format!(",upperdir={},workdir={}", name(upper), name(work)));
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    // Any directory will do to stand on: only this thread's namespace sees it.
    mount(
        "overlay",
        "/proc",
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, "/proc", flags)?)
}
