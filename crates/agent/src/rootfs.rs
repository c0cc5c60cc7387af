//! A container's root from image layers: an overlay that is mounted and attached nowhere. The launch
//! moves it into the container's own mount namespace, so the host never sees it and a killed agent
//! leaves no mount.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
pub(crate) use sys::overlay::Overlay;

use crate::error::Error;

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
    // One layer alone is taken as it is; the launch makes it read-only.
    sys::overlay::detached(overlay).map_err(|e| {
        let layers = overlay.lowers.len();
        let what = match &overlay.writable {
            Some((upper, _)) => format!("overlay of {layers} layers below {}", upper.display()),
            None => format!("read-only overlay of {layers} layers"),
        };
        Error::io("mount", what, e)
    })
}
