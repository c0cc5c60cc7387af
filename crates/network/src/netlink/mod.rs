//! The netlink messages that pods' networks need; `sys::netlink` makes and carries them.

pub(crate) mod route;

pub(crate) use sys::netlink::{message, route::LOOPBACK, socket};

use rustix::io::Errno;

use socket::Socket;

/// Sets the interface `index` of the calling thread's network namespace up.
///
/// # Errors
/// The kernel's answer, such as ENODEV for an unknown index and EPERM without CAP_NET_ADMIN in the
/// user namespace that owns the network namespace.
pub(crate) fn set_link_up(index: i32) -> Result<(), Errno> {
    Socket::route()?.request(vec![route::set_up(index)])
}
