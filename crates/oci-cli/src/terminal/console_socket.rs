//! Hands the master of a container's terminal to whoever listens on the console socket.
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

/// The name that goes with the descriptor; receivers log it.
const NAME: &[u8] = b"/dev/pts/ptmx";

/// Connects before anything is made, so that a wrong path fails early.
pub(crate) fn connect(path: &Path) -> Result<UnixStream, Error> {
    sys::socket::connect(path).map_err(Error::file("connect to the console socket", path))
}

/// Sends the descriptor.
pub(crate) fn send(socket: &UnixStream, master: BorrowedFd<'_>) -> Result<(), Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [master];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Error::Console(
            "send the terminal: no room for one descriptor".to_owned(),
        ));
    }
    sendmsg(
        socket.as_fd(),
        &[IoSlice::new(NAME)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
    .map_err(|errno| Error::io("send the terminal over the console socket")(errno.into()))
}
