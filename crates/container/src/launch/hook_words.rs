//! What a hook printed, for the error that tells of its end.
//!
//! Both its streams are one memory file, which the runtime reads from its end when the hook has failed:
//! nothing has to be read meanwhile, and a hook that leaves a process behind keeps nobody waiting. The file
//! has a size once and for all, so that such a process does not fill the memory either.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom};

use super::Error;

/// Bytes that hooks can print; what is over them is an error of their write.
const SIZE: u64 = 16 << 20;
/// Bytes of it that are told, from the end.
const TOLD: u64 = 2048;

/// The file of the hook called `name`.
pub(super) fn file(name: &str) -> Result<OwnedFd, Error> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let make = || {
        let file = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&file, SIZE)?;
        let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        rustix::io::Result::Ok(file)
    };
    make().map_err(|e| Error::io("make", "a memory file for what a hook prints", e))
}

/// The last lines in it as one; `None` if there are none.
pub(crate) fn read(file: BorrowedFd<'_>) -> Option<String> {
    // Hooks write where the file's one position is.
    let end = rustix::fs::seek(file, SeekFrom::Current(0)).ok()?;
    let from = end.saturating_sub(TOLD);
    let mut bytes = vec![0; usize::try_from(end - from).ok()?];
    let got = rustix::io::pread(file, &mut bytes, from).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..got)?);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let lines = lines.join("\n");
    let lines = lines.trim();
    (!lines.is_empty()).then(|| lines.replace('\n', "; "))
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
