//! Netlink by hand: messages, and the socket that carries them.
//!
//! ```text
//! request   nlmsghdr  len u32 │ type u16 │ flags u16 │ seq u32 │ port u32
//!           body      the family's fixed struct, then attributes: len u16 │ type u16 │ data, padded to 4
//! answer    NLMSG_ERROR (2): error i32 (0 or -errno) │ the request's header
//!           or, to a dump, messages and NLMSG_DONE (3)
//! ```
//! Headers are in the host's byte order. A socket belongs to the network namespace of the thread that
//! opened it and can be used from any thread. Nothing here waits longer than [`socket::LIMIT`]. Which
//! messages there are is their senders' business.

pub mod message;
pub mod route;
pub mod socket;
