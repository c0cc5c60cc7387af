//! Netlink by hand: the messages that pods' networks need, and the socket that carries them.
//!
//! ```text
//! request   nlmsghdr  len u32 │ type u16 │ flags u16 │ seq u32 │ port u32
//!           body      the family's fixed struct, then attributes: len u16 │ type u16 │ data, padded to 4
//! answer    NLMSG_ERROR (2): error i32 (0 or -errno) │ the request's header
//!           or, to a dump, messages and NLMSG_DONE (3)
//! ```
//! Headers are in the host's byte order. A socket belongs to the network namespace of the thread that
//! opened it and can be used from any thread. Nothing here waits longer than [`socket::LIMIT`].

pub(crate) mod message;
pub(crate) mod route;
pub(crate) mod socket;

use rustix::io::Errno;

use socket::Socket;

/// The interface index of loopback: the kernel makes it first in every network namespace.
pub(crate) const LOOPBACK: i32 = 1;

/// Sets the interface `index` of the calling thread's network namespace up.
///
/// # Errors
/// The kernel's answer, such as ENODEV for an unknown index and EPERM without CAP_NET_ADMIN in the
/// user namespace that owns the network namespace.
pub(crate) fn set_link_up(index: i32) -> Result<(), Errno> {
    Socket::route()?.request(vec![route::set_up(index)])
}
