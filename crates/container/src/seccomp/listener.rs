//! The listener of a filter that notifies: it goes to whoever listens at `listenerPath`, with the
//! container process state of the specification ("Container Process State").
//!
//! ```text
//!  child: seccomp(NEW_LISTENER) ─ number ─► us: pidfd_getfd ─► connect(listenerPath)
//!                                           sendmsg({"fds": ["seccompFd"], pid, metadata, state}, fd)
//!  child goes on ◄──────────── go ───────── close
//! ```

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::{ContainerProcessState, LinuxSeccomp, Spec, State};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};

use super::Error;

/// The name that the specification gives to the descriptor.
const NAME: &str = "seccompFd";
/// Version of what is sent, as the agents of crun's users know it.
const VERSION: &str = "0.2.0";

/// Sends the listener of process `pid` to the profile's socket. Where no rule notifies nobody needs to
/// be there.
///
/// # Errors
/// Nobody listens there, or hears us out.
pub(crate) fn hand_on(
    spec: &Spec,
    state: &State,
    pid: i32,
    listener: &OwnedFd,
) -> Result<(), Error> {
    let profile = spec.linux.as_ref().and_then(|l| l.seccomp.as_ref());
    let path = profile.and_then(|p| p.listener_path.as_deref());
    let path = path.unwrap_or_default();
    let message = serde_json::to_vec(&ContainerProcessState {
        oci_version: VERSION.to_owned(),
        fds: vec![NAME.to_owned()],
        pid,
        metadata: profile
            .and_then(|p| p.listener_metadata.clone())
            .unwrap_or_default(),
        state: state.clone(),
    })?;
    let failed = |act| {
        move |source| Error::File {
            act,
            path: path.into(),
            source,
        }
    };
    let socket = match agent(path) {
        Err(error) if !profile.is_some_and(LinuxSeccomp::notifies) => {
            tracing::debug!("nobody at linux.seccomp.listenerPath {path}: {error}");
            return Ok(());
        }
        other => other.map_err(failed(
            "failed to connect with seccomp agent at linux.seccomp.listenerPath",
        ))?,
    };
    send(&socket, &message, listener).map_err(failed(
        "hand the seccomp listener to linux.seccomp.listenerPath",
    ))
}

fn agent(path: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn send(socket: &OwnedFd, message: &[u8], listener: &OwnedFd) -> io::Result<()> {
    let fds = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(
        socket,
        &[IoSlice::new(message)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    // A stream socket may take a part; the descriptor went with it.
    let mut rest = message.get(sent..).unwrap_or_default();
    while !rest.is_empty() {
        let sent = rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}
