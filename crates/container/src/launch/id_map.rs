//! User namespaces that exist only to hold id maps: a child sleeps in one while we open it.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::{Channel, Error};
use crate::plan::IdMaps;

/// Writes the maps of the user namespace of process `pid`.
pub(super) fn write(pid: i32, maps: &IdMaps) -> Result<(), Error> {
    for (file, text) in [("uid_map", &maps.uid), ("gid_map", &maps.gid)] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, text)
            .map_err(|e| Error::io("write", format!("{path} ({:?})", text.trim_end()), e))?;
    }
    Ok(())
}

/// A user namespace with these maps.
pub(super) fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Error> {
    let (ours, theirs) = Channel::pair().map_err(|e| Error::io("make", "a channel", e))?;
    let channel = theirs.as_raw_fd();
    let steps = [init::Step::Sync {
        what: init::Sync::Setup,
    }];
    let mut plan = init::LaunchPlan {
        steps: &steps,
        strings: &[0],
        words: &[],
        pointers: &mut [],
        numbers: &[],
        filter: &[],
        fds: &mut [],
        keep: &[channel],
        channel,
        trace: &[],
    };
    let child = super::child::spawn(&mut plan, 0x1000_0000, None)?;
    drop(theirs);
    // It waits for our word from its first step on; when `ours` is dropped it ends.
    let result = write(child.pid(), maps).and_then(|()| {
        let path = format!("/proc/{}/ns/user", child.pid());
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Error::io("open", path, e))
    });
    drop(ours);
    child.end();
    result
}
