//! The few words of rtnetlink that moving an interface takes.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE_EXCL: u16 = 0x600;

const HEADER: usize = 16;
const IFINFO: usize = 16;
const IFADDR: usize = 8;

/// IFLA_IFNAME, IFLA_NET_NS_FD.
const LINK_NAME: u16 = 3;
const LINK_NAMESPACE: u16 = 28;
const IFF_UP: u32 = 1;
/// IFA_FLAGS, and the flag of addresses that were not learned.
const ADDRESS_FLAGS: u16 = 8;
const PERMANENT: u32 = 0x80;

/// One address, as the kernel described it: `ifaddrmsg` without the index, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    head: [u8; 4],
    attributes: Vec<u8>,
}

/// A socket of the network namespace of the thread that opened it.
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open() -> Result<Self, Errno> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(10)))?;
        Ok(Self(fd))
    }

    /// The index of an interface.
    pub(super) fn index(&self, name: &str) -> Result<u32, Errno> {
        let mut body = vec![0; IFINFO];
        attribute(&mut body, LINK_NAME, &with_nul(name));
        let answer = self.ask(GETLINK, 0, &body)?;
        let index = answer.first().and_then(|m| word(m, 4));
        index.ok_or(Errno::NODEV)
    }

    /// Its addresses of global scope that are not learned from the network.
    pub(super) fn addresses(&self, index: u32) -> Result<Vec<Address>, Errno> {
        let messages = self.ask(GETADDR, DUMP, &[0; IFADDR])?;
        let mut found = Vec::new();
        for message in messages {
            let (Some(head), Some(rest)) = (message.get(..IFADDR), message.get(IFADDR..)) else {
                continue;
            };
            let &[family, prefix, flags, scope, ..] = head else {
                continue;
            };
            let long = attributes(rest).find(|(kind, _)| *kind == ADDRESS_FLAGS);
            let flags = long
                .and_then(|(_, value)| word(value, 0))
                .unwrap_or(flags.into());
            if word(head, 4) == Some(index) && scope == 0 && flags & PERMANENT != 0 {
                found.push(Address {
                    head: [family, prefix, 0, scope],
                    attributes: kept(rest),
                });
            }
        }
        Ok(found)
    }

    /// Moves and renames an interface at once.
    pub(super) fn move_link(
        &self,
        index: u32,
        name: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let mut body = link(index, 0, 0);
        attribute(&mut body, LINK_NAME, &with_nul(name));
        attribute(
            &mut body,
            LINK_NAMESPACE,
            &namespace.as_raw_fd().to_ne_bytes(),
        );
        self.ask(NEWLINK, ACK, &body).map(drop)
    }

    pub(super) fn add_address(&self, index: u32, address: &Address) -> Result<(), Errno> {
        let mut body = address.head.to_vec();
        body.extend(index.to_ne_bytes());
        body.extend(&address.attributes);
        self.ask(NEWADDR, ACK | CREATE_EXCL, &body).map(drop)
    }

    pub(super) fn set_up(&self, index: u32) -> Result<(), Errno> {
        self.ask(NEWLINK, ACK, &link(index, IFF_UP, IFF_UP))
            .map(drop)
    }

    /// Sends a message and takes its answers, until an acknowledgement or the end of a dump; without
    /// either, one.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        rustix::net::send(&self.0, &message, SendFlags::empty())?;
        let mut found = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (got, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = buffer.get(..got).unwrap_or_default();
            while let Some((kind, body, after)) = next_message(rest) {
                rest = after;
                match kind {
                    ERROR => {
                        let code = word(body, 0).unwrap_or(0).cast_signed();
                        return match code {
                            0 => Ok(found),
                            code => Err(Errno::from_raw_os_error(-code)),
                        };
                    }
                    DONE => return Ok(found),
                    _ => found.push(body.to_vec()),
                }
            }
            if flags & (ACK | DUMP) == 0 {
                return Ok(found);
            }
        }
    }
}

/// `ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(change.to_ne_bytes());
    body
}

fn with_nul(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// Kind, body and what follows.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    let kind = half(bytes, 4)?;
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, after))
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let kind = half(bytes, 2)?;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attributes that make the address what it is: IFA_ADDRESS, LOCAL, BROADCAST, FLAGS, RT_PRIORITY.
fn kept(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in attributes(bytes) {
        if matches!(kind, 1 | 2 | 4 | 9) {
            attribute(&mut out, kind, value);
        }
        // What the kernel found out about the address (tentative, duplicate) it will find out again.
        if kind == ADDRESS_FLAGS {
            let settable = word(value, 0).unwrap_or(0) & (PERMANENT | 0x200 | 0x2);
            attribute(&mut out, kind, &settable.to_ne_bytes());
        }
    }
    out
}
