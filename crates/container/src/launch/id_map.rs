//! User namespaces that exist only to hold id maps: a child sleeps in one while we open it.

use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

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
    for (file, text, helper) in [
        ("uid_map", &maps.uid, "newuidmap"),
        ("gid_map", &maps.gid, "newgidmap"),
    ] {
        let path = format!("/proc/{pid}/{file}");
        match std::fs::write(&path, text) {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => by_helper(helper, pid, text, e)?,
            other => {
                let what = || format!("{path} ({:?})", text.trim_end());
                other.map_err(|e| Error::io("write", what(), e))?;
            }
        }
    }
    Ok(())
}

/// What the kernel `denied` us, the programs of shadow's uidmap may do within /etc/subuid and /etc/subgid.
fn by_helper(helper: &str, pid: i32, text: &str, denied: io::Error) -> Result<(), Error> {
    let mut command = Command::new(helper);
    command.arg(pid.to_string()).args(text.split_whitespace());
    command.stdin(Stdio::null());
    let map = text.trim_end();
    let output = match command.output() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let what = format!(
                "ids {map:?} of process {pid}: without CAP_SETUID and CAP_SETGID only one's own id can be \
                 mapped, or those of /etc/subuid and /etc/subgid by {helper}, which is not in PATH (it \
                 comes with shadow's uidmap)"
            );
            return Err(Error::io("map", what, denied));
        }
        other => other.map_err(|e| Error::io("run", helper, e))?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = io::Error::other(said.trim().to_owned());
    Err(Error::io(
        "map",
        format!("ids {map:?} of process {pid} by {helper}"),
        said,
    ))
}

/// A user namespace with these maps.
pub(super) fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Error> {
    let waiter = super::Waiter::new(0x1000_0000)?;
    write(waiter.pid(), maps, true)?;
    let path = format!("/proc/{}/ns/user", waiter.pid());
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", path, e))
}
