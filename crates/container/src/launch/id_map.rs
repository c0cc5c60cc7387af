//! User namespaces that exist only to hold id maps: a child sleeps in one while we open it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::Error;
use crate::plan::IdMaps;

/// Writes the maps of the user namespace of process `pid`.
pub(super) fn write(pid: i32, maps: &IdMaps, setgroups: bool) -> Result<(), Error> {
    if !setgroups {
        // user_namespaces(7): the kernel's condition for a gid_map by who has no CAP_SETGID.
        let path = format!("/proc/{pid}/setgroups");
        std::fs::write(&path, "deny").map_err(|e| Error::io("write \"deny\" to", path, e))?;
    }
    for (file, text) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, text).map_err(|e| {
            Error::io(
                "write",
                format!("{path} ({:?}{})", text.trim_end(), hint(&e)),
                e,
            )
        })?;
    }
    Ok(())
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; without CAP_SETUID and CAP_SETGID only one's own id can be mapped"
        }
        _ => "",
    }
}

/// A user namespace with these maps.
pub(super) fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Error> {
    let waiter = super::Waiter::new(0x1000_0000)?;
    write(waiter.pid(), maps, true)?;
    let path = format!("/proc/{}/ns/user", waiter.pid());
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", path, e))
}
