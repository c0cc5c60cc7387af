//! Seccomp: a profile of the spec becomes a BPF program that the child only has to load.
//!
//! ```text
//! LinuxSeccomp ── check (words)  every action, operator, flag, number, or an error that names it
//!      │
//!      ├── cache hit?            <dir>/<sha256 of profile and versions>.bpf
//!      │
//!      └── libseccomp (build)    binary tree, exported through a memfd
//!              └── prologue      system calls newer than libseccomp or than the profile
//! ```
//! Compiling costs milliseconds, so it happens before the clone and, by the cache, once per profile
//! and machine. The filter is data; nothing is loaded here.
//!
//! What the profile means:
//! * The native architecture always applies, others when listed. A name that no architecture knows
//!   is skipped with a warning, as older libraries must run newer profiles.
//! * A rule with the default action says nothing and is left out.
//! * Conditions of one rule must all hold; if an argument index occurs twice in it, each condition
//!   counts alone (any may hold). That is how runc and crun read such rules.
//! * `SCMP_ACT_NOTIFY` needs `listenerPath`, is no default action, and may not name a call by which the
//!   listener is handed on (the planner refuses that). Other calls of the launch wait for the agent.

mod build;
mod cache;
mod error;
mod listener;
mod prologue;
mod words;

use std::path::Path;

use oci::runtime::{LinuxSeccomp, SeccompFlag};

pub use error::Error;
pub(crate) use listener::hand_on;

/// A filter ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// An array of `struct sock_filter` (8 bytes each), at most 4096 of them.
    pub bpf: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_* bits for seccomp(2).
    pub flags: u32,
    /// What the profile says and this library can't do, such as names of unknown system calls.
    pub warnings: Vec<String>,
}

impl Filter {
    /// What the profile says of flags, without those that are ours to choose: one thread needs no
    /// TSYNC, and a listener is there when a rule wants it.
    #[must_use]
    pub(crate) fn said_flags(&self) -> u32 {
        self.flags & !(words::TSYNC | words::NEW_LISTENER)
    }
}

/// Compiles a profile, or takes it from the cache directory. The directory is made if missing; it
/// must belong to us and be writable by nobody else. A cache that can't be used costs time only.
pub fn compile(profile: &LinuxSeccomp, cache: Option<&Path>) -> Result<Filter, Error> {
    let checked = words::check(profile)?;
    let Some(dir) = cache else {
        return build::build(&checked);
    };
    let key = cache::key(profile)?;
    match cache::load(dir, &key) {
        Ok(Some(filter)) => return Ok(filter),
        Ok(None) => {}
        Err(e) => tracing::warn!(
            error = &e as &dyn std::error::Error,
            "seccomp cache not used"
        ),
    }
    let filter = build::build(&checked)?;
    if let Err(e) = cache::store(dir, &key, &filter) {
        tracing::warn!(
            error = &e as &dyn std::error::Error,
            "seccomp filter not cached"
        );
    }
    Ok(filter)
}

/// The flags of seccomp(2) that this kernel takes.
#[must_use]
pub fn supported_flags() -> Vec<SeccompFlag> {
    let takes = |flag: &SeccompFlag| sys::probe::seccomp_flags(words::flag(*flag)).is_ok();
    SeccompFlag::ALL.iter().copied().filter(takes).collect()
}

/// libseccomp's version, if it tells it.
#[must_use]
pub fn library_version() -> Option<String> {
    let version = libseccomp::ScmpVersion::current().ok()?;
    let (major, minor, micro) = (version.major, version.minor, version.micro);
    Some(format!("{major}.{minor}.{micro}"))
}
