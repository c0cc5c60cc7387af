//! What is wrong with a seccomp profile, or with compiling it.

use std::io;
use std::path::PathBuf;

/// A profile that can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field holds what this runtime does not do.
    #[error("linux.seccomp.{field} is {value}: {reason}")]
    Field {
        /// The field, as in the document.
        field: String,
        /// What it holds.
        value: String,
        /// Why that can't be.
        reason: &'static str,
    },
    /// libseccomp refused.
    #[error("libseccomp: {act}")]
    Library {
        /// What was asked of it.
        act: String,
        /// Its answer.
        source: libseccomp::error::SeccompError,
    },
    /// The program is larger than the kernel takes (BPF_MAXINSNS).
    #[error("the profile compiles to {0} instructions; the kernel takes 4096")]
    TooLong(usize),
    /// The filter could not be taken from the library, or the cache not used.
    #[error("{act} {}", path.display())]
    File {
        /// What was attempted.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Others can write to the cache directory.
    #[error("seccomp cache {}: owner {uid}, mode {mode:04o}: must be ours and writable by nobody \
             else", path.display())]
    CacheNotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// The profile has no JSON form (never so for one that was parsed).
    #[error("print the seccomp profile")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// True where the profile, not the machine, is at fault.
    pub fn is_invalid_input(&self) -> bool {
        matches!(self, Error::Field { .. } | Error::TooLong(_))
    }
}
