//! The few words of rtnetlink that moving an interface takes; `sys::netlink` makes and carries them.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use sys::netlink::message::{CREATE, DUMP, EXCL, Message, attributes, number};
use sys::netlink::route::{GETLINK, NEWLINK, UP, link, set_flags};
use sys::netlink::socket;

const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const IFADDR: usize = 8;

/// IFLA_IFNAME, IFLA_NET_NS_FD.
const LINK_NAME: u16 = 3;
const LINK_NAMESPACE: u16 = 28;
/// IFA_FLAGS, and the flag of addresses that were not learned.
const ADDRESS_FLAGS: u16 = 8;
const PERMANENT: u32 = 0x80;

/// One address, as the kernel described it: `ifaddrmsg` without the index, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    head: [u8; 4],
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket of the network namespace of the thread that opened it.
pub(super) struct Socket(socket::Socket);

impl Socket {
    pub(super) fn open() -> Result<Self, Errno> {
        socket::Socket::route().map(Self)
    }

    /// The index of an interface.
    pub(super) fn index(&self, name: &str) -> Result<i32, Errno> {
        let message = Message::new(GETLINK, 0, &link(0, 0, 0)).text(LINK_NAME, name);
        let answer = self.0.ask(message, false)?;
        let index = answer.first().and_then(|body| number(body.get(4..)?));
        index.map(u32::cast_signed).ok_or(Errno::NODEV)
    }

    /// Its addresses of global scope that are not learned from the network.
    pub(super) fn addresses(&self, index: i32) -> Result<Vec<Address>, Errno> {
        let messages = self
            .0
            .ask(Message::new(GETADDR, DUMP, &[0; IFADDR]), true)?;
        let mut found = Vec::new();
        for message in messages {
            let Some((head, rest)) = message.split_at_checked(IFADDR) else {
                continue;
            };
            let &[family, prefix, flags, scope, ..] = head else {
                continue;
            };
            let long = attributes(rest).find(|(kind, _)| *kind == ADDRESS_FLAGS);
            let flags = long
                .and_then(|(_, value)| number(value))
                .unwrap_or(flags.into());
            let of = number(&head[4..]).map(u32::cast_signed);
            if of == Some(index) && scope == 0 && flags & PERMANENT != 0 {
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
        index: i32,
        name: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.0.request(vec![
            Message::new(NEWLINK, 0, &link(index, 0, 0))
                .text(LINK_NAME, name)
                .attr(LINK_NAMESPACE, &namespace.as_raw_fd().to_ne_bytes()),
        ])
    }

    pub(super) fn add_address(&self, index: i32, address: &Address) -> Result<(), Errno> {
        let mut body = address.head.to_vec();
        body.extend(index.to_ne_bytes());
        let new = Message::new(NEWADDR, CREATE | EXCL, &body);
        let attributes = address.attributes.iter();
        let message = attributes.fold(new, |message, (kind, value)| message.attr(*kind, value));
        self.0.request(vec![message])
    }

    pub(super) fn set_up(&self, index: i32) -> Result<(), Errno> {
        self.0.request(vec![set_flags(index, UP, UP)])
    }
}

/// The attributes that make the address what it is: IFA_ADDRESS, LOCAL, BROADCAST, FLAGS, RT_PRIORITY.
fn kept(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let kept = attributes(bytes).filter_map(|(kind, value)| match kind {
        1 | 2 | 4 | 9 => Some((kind, value.to_vec())),
        // What the kernel found out about the address (tentative, duplicate) it will find out again.
        ADDRESS_FLAGS => {
            let settable = number(value).unwrap_or(0) & (PERMANENT | 0x200 | 0x2);
            Some((kind, settable.to_ne_bytes().to_vec()))
        }
        _ => None,
    });
    kept.collect()
}
