//! `<state>/<container>/exit.json`: how a container ended, written before anyone is told, so that a
//! daemon (or a crash of this agent) never loses an exit code.
//!
//! ```text
//! {"version":1,"exit_code":0,"finished_at_ns":1767322800000000000,"oom_killed":false,"reason":"Completed"}
//! ```

use std::path::Path;

use serde::Serialize;

/// File name in the container's state directory.
pub(crate) const FILE: &str = "exit.json";

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Exit status, or 128 + n for death by signal n.
    pub(crate) code: i32,
    pub(crate) finished_at_ns: i64,
    /// The kernel killed a process of this container's cgroup for memory, and the first process died
    /// of SIGKILL.
    pub(crate) oom_killed: bool,
}

impl Exit {
    /// The reason as CRI names it.
    pub(crate) fn reason(&self) -> &'static str {
        match (self.oom_killed, self.code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        }
    }
}

#[derive(Serialize)]
struct Record<'a> {
    version: u32,
    exit_code: i32,
    finished_at_ns: i64,
    oom_killed: bool,
    reason: &'a str,
}

/// Writes the record whole (temporary file, rename) into `dir`, making `dir` if need be.
pub(crate) fn write(dir: &Path, exit: &Exit) -> std::io::Result<()> {
    let record = Record {
        version: 1,
        exit_code: exit.code,
        finished_at_ns: exit.finished_at_ns,
        oom_killed: exit.oom_killed,
        reason: exit.reason(),
    };
    let bytes = serde_json::to_vec(&record)?;
    std::fs::create_dir_all(dir)?;
    sys::atomic::write(
        &dir.join(FILE),
        &bytes,
        0o600,
        sys::atomic::Durability::Process,
    )
}
