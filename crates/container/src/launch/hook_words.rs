//! What a hook printed, for the error that tells of its end.
//!
//! Both its streams are one memory file, whose end the runtime reads when the hook has failed: nothing has to be
//! read meanwhile, and a hook that leaves a process behind keeps nobody waiting. Whoever opens `/dev/stderr` opens
//! that file anew, from its start or to append, as with any file. Once the hook has ended the file can't grow: what
//! such a process still prints is an error of its write and does not fill the memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use super::Error;
use crate::plan;

/// Bytes of it that are told, from the end.
const TOLD: u64 = 2048;

/// The file of the hook called `name`.
pub(super) fn file(name: &str) -> Result<OwnedFd, Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let make = || {
        let file = rustix::fs::memfd_create(name, flags)?;
        // Its two streams write where the other one has ended, also by descriptors of their own.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        rustix::io::Result::Ok(file)
    };
    make().map_err(|e| Error::io("make", "a memory file for what a hook prints", e))
}

/// The last lines in it as one; `None` if there are none. The hook has ended.
pub(crate) fn read(file: BorrowedFd<'_>) -> Option<String> {
    end(file);
    let size = u64::try_from(rustix::fs::fstat(file).ok()?.st_size).ok()?;
    let from = size.saturating_sub(TOLD);
    let mut bytes = vec![0; usize::try_from(size - from).ok()?];
    let got = rustix::io::pread(file, &mut bytes, from).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..got)?);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let lines = lines.join("\n");
    let lines = lines.trim();
    (!lines.is_empty()).then(|| lines.replace('\n', "; "))
}

/// Nothing more gets into it.
fn end(file: BorrowedFd<'_>) {
    let _ = rustix::fs::fcntl_add_seals(file, SealFlags::GROW | SealFlags::SHRINK);
}

/// The file of the hook called `name` that process `pid` holds for hooks to come.
pub(crate) fn held_by(pid: i32, pidfd: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    let link = format!("/memfd:{name} (deleted)");
    let mut entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let entry = entries.find(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == link.as_str())
    })?;
    let number = entry.file_name().to_str()?.parse().ok()?;
    sys::pidfd::get_fd(pidfd, number).ok()
}

/// Files by the names of their hooks.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<(String, OwnedFd)>);

impl Drop for Words {
    fn drop(&mut self) {
        // Those that run at the start are still to come; the process that waits has their files.
        let ended = self.0.iter().filter(|(name, _)| !plan::is_of_start(name));
        ended.for_each(|(_, file)| end(file.as_fd()));
    }
}

impl Words {
    pub(crate) fn push(&mut self, name: String, file: OwnedFd) {
        self.0.push((name, file));
    }

    /// What the hook called `name` printed.
    pub(crate) fn of(&self, name: &str) -> Option<String> {
        let (_, file) = self.0.iter().find(|(known, _)| known == name)?;
        read(file.as_fd())
    }
}
