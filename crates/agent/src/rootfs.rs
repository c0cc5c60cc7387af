//! A container's root from image layers: an overlay that is mounted and attached nowhere. The launch
//! moves it into the container's own mount namespace, so the host never sees it and a killed agent
//! leaves no mount.
//!
//! ```text
//!  fsopen("overlay") -> lowerdir+ (a call a layer, Linux 6.5) -> upperdir, workdir -> fsmount = fd
//!  before 6.5:  helper thread, own mount namespace: mount(2) with short names below the layers'
//!               directory -> open_tree(CLONE) = fd; the namespace ends with the thread
//! ```
//! mount(2) takes one page of options; fsconfig's strings end at 256 bytes, so `lowerdir` as one string
//! is no way out.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change, open_tree,
};
use rustix::thread::UnshareFlags;

use crate::error::Error;

/// Image layers, and where writes go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// Directories, top first; at least one.
    pub(crate) lowers: Vec<PathBuf>,
    /// Upper and work directory; None: nothing can be written.
    pub(crate) writable: Option<(PathBuf, PathBuf)>,
}

/// Makes the overlay; the mount lives as long as the descriptor or what it is attached to.
///
/// # Errors
/// A layer is missing, or the kernel refuses the mount.
pub(crate) fn overlay(overlay: &Overlay) -> Result<OwnedFd, Error> {
    let directories = overlay.lowers.iter();
    let directories = directories.chain(overlay.writable.iter().flat_map(|(u, w)| [u, w]));
    for dir in directories {
        if !dir.is_absolute() {
            return Err(Error::invalid(
                format!("rootfs directory {dir:?}"),
                "must be absolute",
            ));
        }
        // The kernel's own error would not say which layer it is.
        std::fs::metadata(dir)
            .and_then(|m| {
                if m.is_dir() {
                    Ok(())
                } else {
                    Err(Errno::NOTDIR.into())
                }
            })
            .map_err(|e| Error::io("use", format!("rootfs directory {}", dir.display()), e))?;
    }
    if let (
        Overlay {
            lowers,
            writable: None,
        },
        1,
    ) = (overlay, overlay.lowers.len())
    {
        // An overlay needs two layers: one alone is taken as it is. The launch makes it read-only.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        return open_tree(CWD, &lowers[0], flags).map_err(|e| failed(overlay, e));
    }
    match new_api(overlay) {
        // lowerdir+ is an unknown parameter before Linux 6.5.
        Err(Errno::INVAL) => in_namespace(overlay),
        other => other.map_err(|e| failed(overlay, e)),
    }
}

fn failed(overlay: &Overlay, source: impl Into<std::io::Error>) -> Error {
    let layers = overlay.lowers.len();
    let what = match &overlay.writable {
        Some((upper, _)) => format!("overlay of {layers} layers below {}", upper.display()),
        None => format!("read-only overlay of {layers} layers"),
    };
    Error::io("mount", what, source)
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
fn in_namespace(overlay: &Overlay) -> Result<OwnedFd, Error> {
    let shared = overlay.clone();
    let thread = std::thread::Builder::new()
        .name("overlay".into())
        .stack_size(128 * 1024);
    let joined = thread
        .spawn(move || mount_in_thread(&shared).map_err(|e| failed(&shared, e)))
        .map_err(|e| Error::io("start", "the thread that mounts", e))?
        .join();
    joined.unwrap_or_else(|_| Err(Error::Internal("the thread that mounts died".into())))
}

fn mount_in_thread(overlay: &Overlay) -> Result<OwnedFd, Errno> {
    sys::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS)
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    // Every directory is named by a short magic link, so that many layers fit into a page.
    let open = |path: &Path| {
        rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
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
    open_tree(CWD, "/proc", flags)
}
