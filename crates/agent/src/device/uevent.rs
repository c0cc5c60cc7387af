//! Waiting for something to appear: the kernel's uevents say when to look again.
//!
//! Where no uevent comes (a namespace that gets none, a tree that a test sets up) a look every
//! [`AGAIN`] finds it all the same, only later.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::error::Error;

/// Longest time between two looks.
const AGAIN: Duration = Duration::from_millis(50);

/// Looks until `look` finds it. Blocks for `limit` at most.
///
/// # Errors
/// DEADLINE_EXCEEDED naming `what`; what `look` itself fails with.
pub(crate) fn wait<T>(
    what: impl std::fmt::Display,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    if let Some(found) = look()? {
        return Ok(found);
    }
    // Listening before the second look: what appears in between is not missed.
    let socket = listen();
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let what = what.to_string();
            return Err(Error::NotPlugged { what, limit });
        }
        pause(socket.as_ref(), left.min(AGAIN));
    }
}

/// None where the kernel gives no such socket.
fn listen() -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        flags,
        Some(KOBJECT_UEVENT),
    );
    let socket = socket.ok()?;
    // Group 1: the kernel's own, before any udev.
    bind(&socket, &SocketAddrNetlink::new(0, 1)).ok()?;
    Some(socket)
}

/// Waits for the next uevent, or so long.
fn pause(socket: Option<&OwnedFd>, limit: Duration) {
    let (Some(socket), Ok(time)) = (socket, Timespec::try_from(limit)) else {
        return std::thread::sleep(limit);
    };
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    // An interruption only means an early look.
    let _ = poll(&mut fds, Some(&time));
    let mut event = [0u8; 4096];
    while recv(socket, &mut event[..], RecvFlags::TRUNC).is_ok_and(|(n, _)| n > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_appears_in_time_is_found_and_what_does_not_is_named() {
        let mut looks = 0;
        let found = wait("a disk", Duration::from_secs(30), || {
            looks += 1;
            Ok((looks > 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 4);
        let error = wait("disk 02/03", Duration::from_millis(5), || Ok(None::<()>));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("disk 02/03") && error.contains("5ms"),
            "{error}"
        );
    }
}
