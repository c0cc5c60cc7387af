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
    let (listen, for_us) = listen_fds();
    let env = match listen {
        0 => Vec::new(),
        // The process is the first of its pid namespace.
        n => vec![format!("LISTEN_FDS={n}"), "LISTEN_PID=1".to_owned()],
    };
    // What nobody says is for us may be the left-over of another's start.
    let listen = match for_us {
        true => listen,
        false => are_there(listen),
    };
    let count = preserve.saturating_add(listen);
    for fd in 3..3 + u64::from(count) {
        check(fd, count)?;
    }
    Ok(Inherited { count, env })
}

/// Activation sockets that are meant for us, and whether LISTEN_PID says so: without one, as crun has
/// it, they are taken to be.
fn listen_fds() -> (u32, bool) {
    let count = env::var("LISTEN_FDS")
        .ok()
        .and_then(|count| count.parse().ok());
    match (count, env::var("LISTEN_PID")) {
        (Some(count), Err(env::VarError::NotPresent)) => (count, false),
        (Some(count), Ok(pid)) if pid == std::process::id().to_string() => (count, true),
        _ => (0, true),
    }
}

/// So many of these, from 3 on, have been passed.
fn are_there(count: u32) -> u32 {
    let passed = (0..count).take_while(|nth| check(3 + u64::from(*nth), count).is_ok());
    u32::try_from(passed.count()).unwrap_or(0)
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
