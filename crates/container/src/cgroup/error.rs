//! What can go wrong with a cgroup, told as the act and its object.

use std::io;
use std::path::{Path, PathBuf};

/// A cgroup operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup filesystem is mounted, or none that we can use.
    #[error("no usable cgroup hierarchy in {0}: mount cgroup2 at /sys/fs/cgroup")]
    NoHierarchy(String),
    /// A cgroup path that is empty, or has `.`, `..`, a NUL or an overlong name in it.
    #[error("cgroup path {path:?}: {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A cgroup that is needed and cannot be made; in the words of runc.
    #[error("{what}")]
    Needed {
        /// What it is needed for.
        what: String,
        /// Why it cannot.
        source: Box<Error>,
    },
    /// A cgroup below a container's that is not there; in the words of runc.
    #[error(
        "adding pid to cgroup: {0}/cgroup.procs: no such file or directory: it exists in no hierarchy"
    )]
    NotBelow(String),
    /// A path that leads out of a container's cgroup; in the words of runc.
    #[error(
        "cgroup path {0} is not a sub cgroup path (bad sub cgroup path): it leads out of the container's"
    )]
    Outside(String),
    /// The cgroup exists in no hierarchy.
    #[error("cgroup {0} does not exist in any hierarchy")]
    NotFound(String),
    /// A system call on a cgroup file or directory.
    #[error("{act} {}", path.display())]
    File {
        /// What was attempted: `read`, `make cgroup`, …
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A setting that the kernel did not take.
    #[error("set {setting}: write {value:?} to {}{}", path.display(), hint(source))]
    Setting {
        /// The name in the OCI spec, such as `memory.limit`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A setting whose controller is not mounted or not enabled, or that this kernel or cgroup
    /// version has no form of.
    #[error("{setting} can't be set: {reason}")]
    Unsupported {
        /// The name in the OCI spec.
        setting: String,
        /// What is missing.
        reason: String,
    },
    /// A value outside what the spec or the kernel takes.
    #[error("{setting} is {value}: {rule}")]
    Value {
        /// The name in the OCI spec.
        setting: &'static str,
        /// What was asked for.
        value: String,
        /// What is accepted.
        rule: &'static str,
    },
    /// The kernel took the write and then reports another value.
    #[error("set {setting}: wrote {value} to {}, which still says {actual}: this kernel does not \
             implement it", path.display())]
    NotKept {
        /// The name in the OCI spec.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What it reads.
        actual: String,
    },
    /// A file that does not read as the kernel's documentation says.
    #[error("{} holds {text:?}, which is not {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The offending text, shortened.
        text: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A device rule that the device cgroup can't express.
    #[error("device rule {rule}: {reason}")]
    DeviceRule {
        /// The rule, in the form of devices.allow.
        rule: String,
        /// Why not.
        reason: &'static str,
    },
    /// The device program was refused by the kernel.
    #[error("{act} the device program of {}", path.display())]
    DeviceProgram {
        /// `load`, `attach`, `list` or `detach`.
        act: &'static str,
        /// The cgroup directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The freezer did not reach the state within its time.
    #[error("cgroup {} is still {state} after {waited_ms} ms; a task may be stuck in the kernel",
            path.display())]
    Freezer {
        /// The cgroup directory.
        path: PathBuf,
        /// What the freezer says.
        state: String,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
    },
    /// A cgroup that holds processes before its container is there.
    #[error(
        "container's cgroup is not empty: {count} process(es) found in {path}: name another cgroup"
    )]
    Used {
        /// The cgroup.
        path: String,
        /// How many.
        count: usize,
    },
    /// A cgroup in which nothing runs until somebody thaws it.
    #[error("container's cgroup unexpectedly frozen: {}: thaw it, or name another cgroup",
            path.display())]
    Frozen {
        /// The cgroup directory.
        path: PathBuf,
    },
    /// systemd did not do what it was asked.
    #[error("have systemd {act} {unit}")]
    Systemd {
        /// What was attempted.
        act: &'static str,
        /// The unit.
        unit: String,
        /// What it, or the bus, said.
        source: crate::dbus::Error,
    },
    /// A job of systemd's that did not end well.
    #[error("have systemd {act} {unit}: its job is {result:?}: see journalctl -u {unit}")]
    Job {
        /// What was attempted.
        act: &'static str,
        /// The unit.
        unit: String,
        /// The job's result: `failed`, `timeout` …
        result: String,
    },
    /// Directories that would not go away.
    #[error("remove cgroup {}: busy, {pids} processes left", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// How many processes it still holds, its subtree included.
        pids: usize,
        /// What rmdir answered.
        source: io::Error,
    },
}

impl Error {
    /// An [`Error::File`].
    pub(super) fn file(act: &'static str, path: &Path, source: impl Into<io::Error>) -> Error {
        Error::File {
            act,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// This error, with what the cgroup is needed for before it.
    pub(crate) fn needed(self, what: String) -> Error {
        Error::Needed {
            what,
            source: Box::new(self),
        }
    }

    /// The errno underneath, if the kernel gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Error::Needed { source, .. } => source.raw_os_error(),
            Error::File { source, .. }
            | Error::Setting { source, .. }
            | Error::DeviceProgram { source, .. }
            | Error::Busy { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// True where the request, not the machine, is at fault.
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            Error::Path { .. } | Error::Value { .. } | Error::DeviceRule { .. }
        )
    }
}

/// What an operator can do about the answers that the kernel gives to a refused setting.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::InvalidInput => " (out of range, or beyond what the parent cgroup has)",
        io::ErrorKind::ResourceBusy => " (more than that is in use already)",
        io::ErrorKind::ReadOnlyFilesystem => " (the cgroup filesystem is mounted read-only)",
        _ => "",
    }
}
