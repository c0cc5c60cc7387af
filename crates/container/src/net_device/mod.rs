//! `linux.netDevices`: interfaces of ours that move into the container.
//!
//! ```text
//!  ours                                      the container's network namespace
//!   addresses of it that are global ─┐
//!   set link: namespace, new name ───┼─────► it is there, down, without addresses
//!                                    └─────► add the addresses, set it up
//! ```
//! A physical interface comes back when the namespace ends, a virtual one ends with it: the kernel's doing.
//! Nothing else is configured: no routes, no neighbours.

mod netlink;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use oci::runtime::Linux;
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use netlink::{Address, Socket};

/// A device that could not be moved.
#[derive(Debug, thiserror::Error)]
#[error("linux.netDevices[{name:?}]: {act}")]
pub struct Error {
    /// Its name here.
    name: String,
    /// What was attempted.
    act: String,
    /// The kernel's answer.
    source: io::Error,
}

/// Moves the document's devices into the network namespace of process `pid`.
pub(crate) fn move_all(linux: &Linux, pid: i32) -> Result<(), Error> {
    let Some(first) = linux.net_devices.keys().next() else {
        return Ok(());
    };
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).map_err(failed(first, format!("open {path}")))?;
    for (name, device) in &linux.net_devices {
        let wanted = device.name.as_deref().filter(|n| !n.is_empty());
        move_one(name, wanted.unwrap_or(name), namespace.as_fd())?;
    }
    Ok(())
}

fn failed<E: Into<io::Error>>(name: &str, act: impl Into<String>) -> impl FnOnce(E) -> Error {
    let (name, act) = (name.to_owned(), act.into());
    move |source| Error {
        name,
        act,
        source: source.into(),
    }
}

fn move_one(name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let ours = Socket::open().map_err(failed(name, "open a netlink socket"))?;
    let index = ours.index(name).map_err(failed(name, "find it"))?;
    let addresses = ours
        .addresses(index)
        .map_err(failed(name, "read its addresses"))?;
    ours.move_link(index, inside, namespace).map_err(failed(
        name,
        format!("move it into the container as {inside:?}"),
    ))?;
    within(namespace, || settle(inside, &addresses))
        .map_err(failed(name, format!("set up {inside:?} in the container")))
}

/// Addresses and state, in the container.
fn settle(name: &str, addresses: &[Address]) -> io::Result<()> {
    let theirs = Socket::open()?;
    let index = theirs.index(name)?;
    for address in addresses {
        match theirs.add_address(index, address) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(theirs.set_up(index)?)
}

/// Runs `work` in a thread of that network namespace, which ends with it.
fn within(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<()> + Send,
) -> io::Result<()> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            work()
        });
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread in the container panicked")))
    })
}
