//! The few rtnetlink messages that a pod's network needs, made by hand.
//!
//! ```text
//! request   nlmsghdr  len u32 │ type u16 │ flags u16 │ seq u32 │ pid u32
//!           ifinfomsg family u8 │ pad u8 │ type u16 │ index i32 │ flags u32 │ change u32
//! answer    nlmsghdr  len, type = NLMSG_ERROR (2), …
//!           nlmsgerr  error i32 (0 or -errno) │ the request's header
//! ```
//!
//! All fields are in the host's byte order. One request, one acknowledgement, a socket per call: the
//! socket belongs to the network namespace of the thread that opened it.

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType},
};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;
const HEADER: usize = 16;

/// The interface index of loopback: the kernel makes it first in every network namespace.
pub(crate) const LOOPBACK: i32 = 1;

/// Sets the interface `index` of the calling thread's network namespace up.
///
/// # Errors
/// The kernel's answer, such as ENODEV for an unknown index and EPERM without CAP_NET_ADMIN in the
/// user namespace that owns the network namespace.
pub(crate) fn set_link_up(index: i32) -> Result<(), Errno> {
    request(RTM_NEWLINK, &link_message(index, IFF_UP, IFF_UP))
}

/// An `ifinfomsg` for one interface: `flags` counts where `change` has a bit.
fn link_message(index: i32, flags: u32, change: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// Sends one request and waits for its acknowledgement.
fn request(kind: u16, body: &[u8]) -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None, // NETLINK_ROUTE is protocol 0
    )?;
    let message = frame(kind, body)?;
    if rustix::net::send(&socket, &message, SendFlags::empty())? != message.len() {
        return Err(Errno::MSGSIZE);
    }
    let mut answer = [0; 512];
    let (read, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledgement(&answer[..read])
}

/// Puts the netlink header before `body`.
fn frame(kind: u16, body: &[u8]) -> Result<Vec<u8>, Errno> {
    let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence 1 and port 0: the only request on this socket, and the kernel picks the port.
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(body);
    Ok(message)
}

/// Reads the kernel's verdict out of an `NLMSG_ERROR` message.
fn acknowledgement(answer: &[u8]) -> Result<(), Errno> {
    let field = |at: usize| answer.get(at..at + 4).and_then(|b| b.try_into().ok());
    let kind = answer
        .get(4..6)
        .and_then(|b| b.try_into().ok())
        .map(u16::from_ne_bytes);
    match (kind, field(HEADER).map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(Errno::from_raw_os_error(error.wrapping_neg())),
        _ => Err(Errno::PROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_request_has_the_kernels_layout() {
        let message = frame(RTM_NEWLINK, &link_message(LOOPBACK, IFF_UP, IFF_UP)).unwrap();
        #[cfg(target_endian = "little")]
        assert_eq!(
            message,
            [
                32, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
                0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg
            ]
        );
        assert_eq!(message.len(), 32);
    }

    #[test]
    fn an_answer_is_success_an_errno_or_nonsense() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&error.to_ne_bytes());
            bytes
        };
        assert_eq!(acknowledgement(&answer(NLMSG_ERROR, 0)), Ok(()));
        assert_eq!(acknowledgement(&answer(NLMSG_ERROR, -1)), Err(Errno::PERM));
        assert_eq!(
            acknowledgement(&answer(NLMSG_ERROR, -19)),
            Err(Errno::NODEV)
        );
        assert_eq!(acknowledgement(&answer(16, 0)), Err(Errno::PROTO));
        assert_eq!(acknowledgement(&[0; 7]), Err(Errno::PROTO));
        assert_eq!(acknowledgement(&[]), Err(Errno::PROTO));
    }
}
