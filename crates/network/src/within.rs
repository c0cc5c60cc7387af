//! Work inside another network namespace, on a helper thread that enters it and ends.
//!
//! The namespace of a thread decides which interfaces its new sockets see; a socket stays in the
//! namespace where it was opened. So a socket can be opened here and used anywhere.

use std::{fs::File, io, os::fd::AsFd, path::Path, thread};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::netlink;

/// Runs `work` on a thread of its own that has entered `namespace`.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL when it is no network namespace, EAGAIN when no thread can be
/// started.
pub(crate) fn within<T: Send>(
    namespace: impl AsFd + Sync,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("in-netns".to_owned())
            .spawn_scoped(scope, || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            })?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

/// Opens the pin of a network namespace.
pub(crate) fn open(pin: &Path) -> io::Result<File> {
    File::open(pin)
}

/// A network namespace that no file pins: it ends with this value and the processes started inside.
/// For trying what the kernel can do, and for tests.
#[derive(Debug)]
pub struct Scratch(File);

impl Scratch {
    /// A new namespace with loopback up.
    ///
    /// # Errors
    /// EPERM without CAP_SYS_ADMIN, ENOSPC at `user.max_net_namespaces`.
    pub fn new() -> io::Result<Scratch> {
        let made = thread::spawn(|| {
            sys::thread::unshare(UnshareFlags::NEWNET)?;
            netlink::set_link_up(netlink::LOOPBACK)?;
            File::open("/proc/thread-self/ns/net")
        });
        let joined = made.join();
        joined
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
            .map(Scratch)
    }

    /// Runs `work` on a thread inside. What it starts and opens stays inside.
    ///
    /// # Errors
    /// The thread can't be started or can't enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        within(&self.0, work)
    }
}

impl AsFd for Scratch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
