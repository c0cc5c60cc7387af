//! Descriptors that the caller wants the container's process to have.
//!
//! ```text
//!  3 … 3+LISTEN_FDS-1                       sockets of systemd's activation protocol
//!  3+LISTEN_FDS … 3+LISTEN_FDS+N-1          those of --preserve-fds N
//! ```

use std::{env, fs};

use crate::error::Error;

/// The flag of /proc/self/fdinfo for a descriptor that is closed by execve.
const CLOEXEC: u32 = 0o2_000_000;

/// What the process inherits besides stdio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// Number of descriptors from 3 on.
    pub(crate) count: u32,
    /// Variables that tell the process of activation sockets.
    pub(crate) env: Vec<String>,
}

/// Counts the descriptors and checks that they are there.
pub(crate) fn collect(preserve: u32) -> Result<Inherited, Error> {
    let listen = listen_fds();
    let count = preserve.saturating_add(listen);
    for fd in 3..3 + u64::from(count) {
        check(fd, count)?;
    }
    let env = match listen {
        0 => Vec::new(),
        // The process is the first of its pid namespace.
        n => vec![format!("LISTEN_FDS={n}"), "LISTEN_PID=1".to_owned()],
    };
    Ok(Inherited { count, env })
}

/// Activation sockets that are meant for us.
fn listen_fds() -> u32 {
    let ours = env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    let count = env::var("LISTEN_FDS")
        .ok()
        .and_then(|count| count.parse().ok());
    count.filter(|_| ours).unwrap_or(0)
}

/// A descriptor that the caller left open for us has no close-on-exec mark; one of our own has.
fn check(fd: u64, count: u32) -> Result<(), Error> {
    let missing = |what| Err(Error::PreservedFd { fd, count, what });
    let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else {
        return missing("the caller did not pass it");
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    match flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()) {
        Some(flags) if flags & CLOEXEC == 0 => Ok(()),
        _ => missing("the caller passed fewer"),
    }
}
