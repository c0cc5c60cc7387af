//! The parent's end of the channel: messages and descriptors of the child.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use init::{MESSAGE_SIZE, Message};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags,
        SocketFlags, SocketType, recvmsg, send, socketpair,
    },
};

/// The parent's end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// A pair: ours, and the child's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(ours), theirs))
    }

    /// The next message and its descriptors; `None` at the end.
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = [0; MESSAGE_SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                // The child died with words of ours unread.
                Err(Errno::CONNRESET) => return Ok(None),
                other => break other?,
            }
        };
        if got.bytes == 0 {
            return Ok(None);
        }
        let fds = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let message = Message::from_bytes(bytes).filter(|_| got.bytes == MESSAGE_SIZE);
        let message = message.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((message, fds)))
    }

    /// "Go on."
    pub(crate) fn go(&self) -> io::Result<()> {
        // A child that is gone is noticed by what it says, or does not.
        match send(&self.0, b"g", SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
