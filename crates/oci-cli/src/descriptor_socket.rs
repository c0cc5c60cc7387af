//! Hands a descriptor to whoever listens on a socket: a terminal's master on the console socket, a
//! pidfd on the pidfd socket.
//!
//! ```text
//!  us  --connect-->  socket        one message: a name, and the descriptor (SCM_RIGHTS)
//! ```

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::error::Error;

/// The name that goes with a terminal's master; receivers log it.
pub(crate) const TERMINAL: &[u8] = b"/dev/pts/ptmx";
/// The name that goes with the pidfd of a container's first process, as runc has it.
pub(crate) const CREATED: &[u8] = b"standard";
/// The name that goes with the pidfd of another process, as runc has it.
pub(crate) const ENTERED: &[u8] = b"setns";

/// Connects before anything is made, so that a wrong path fails early.
pub(crate) fn connect(path: &Path) -> Result<UnixStream, Error> {
    sys::socket::connect(path).map_err(Error::file("connect to the socket", path))
}

/// Sends the descriptor.
pub(crate) fn send(socket: &impl AsFd, name: &[u8], fd: BorrowedFd<'_>) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Error::Console(
            "send a descriptor: no room for one".to_owned(),
        ));
    }
    sendmsg(
        socket.as_fd(),
        &[IoSlice::new(name)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
    .map_err(|errno| Error::io("send a descriptor over its socket")(errno.into()))
}
