//! systemd's readiness protocol: whoever started us with NOTIFY_SOCKET hears when the container is ready.
//!
//! ```text
//!  program ── READY=1 ──► /run/notify/notify.sock ──► us ── READY=1, MAINPID=… ──► $NOTIFY_SOCKET
//!                         (<root>/<id>/notify, bound read-only)
//! ```
//! As with runc: `create` and `run` mount the directory, `start` and `run` take the one message. Who does
//! not stay waits for it, or for the program's end.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci::runtime::Mount;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, chmod, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect,
    recv, send, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::bundle::Bundle;
use crate::descriptor_socket;
use crate::error::Error;
use crate::record::StateDir;

/// How long systemd may take to have read what was sent before we are gone.
const BARRIER: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// The directory that the container has bound, if somebody wants to be told.
fn wanted(dir: &StateDir) -> Option<(PathBuf, OsString)> {
    let host = std::env::var_os("NOTIFY_SOCKET")?;
    (!host.is_empty()).then(|| (dir.file_of("notify"), host))
}

/// Gives the container a place for the socket, if somebody wants to be told.
pub(crate) fn offer(dir: &StateDir, bundle: &mut Bundle) -> Result<(), Error> {
    let Some((path, _)) = wanted(dir) else {
        return Ok(());
    };
    fs::create_dir(&path).map_err(Error::file("make", &path))?;
    let spec = bundle.change();
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
    spec.mounts.push(Mount {
        destination: "/run/notify".to_owned(),
        source: path.into_os_string().into_string().ok(),
        options: options.map(str::to_owned).into(),
        ..Mount::default()
    });
    let variable = "NOTIFY_SOCKET=/run/notify/notify.sock";
    let process = spec.process.iter_mut();
    process.for_each(|process| process.env.push(variable.to_owned()));
    Ok(())
}

/// The container's socket, and whom to tell.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: OwnedFd,
    host: OsString,
}

impl Notify {
    /// Binds the socket, if the container has been offered one and somebody wants to be told.
    pub(crate) fn bind(dir: &StateDir) -> Result<Option<Self>, Error> {
        let Some((path, host)) = wanted(dir) else {
            return Ok(None);
        };
        match socket_in(&path) {
            Ok(socket) => Ok(Some(Self { socket, host })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::file("bind a socket in", &path)(errno.into())),
        }
    }

    /// Waits until the container is ready, or its first process has ended.
    pub(crate) fn wait(&self, pid: u32, pidfd: BorrowedFd<'_>) {
        loop {
            let mut fds = [
                PollFd::new(self, PollFlags::IN),
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            ];
            let polled = poll(&mut fds, None);
            let said = fds[0].revents().contains(PollFlags::IN);
            if (said && self.pass(pid)) || (!said && polled.is_ok()) {
                return;
            }
        }
    }

    /// Takes a message; once it is that of readiness, tells it with the pid to watch, and is done.
    pub(crate) fn pass(&self, pid: u32) -> bool {
        let mut text = [0; 4096];
        let (text, _) = match recv(&self.socket, &mut text[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => text.split_at(length),
            Err(_) => return false,
        };
        let mut lines = text.split(|byte| *byte == b'\n');
        let ready = lines.find(|line| line.starts_with(b"READY="));
        // Whoever is gone need not be told.
        ready.map(|ready| self.tell(ready, pid)).is_some()
    }

    fn tell(&self, ready: &[u8], pid: u32) -> rustix::io::Result<()> {
        let host = self.host.as_bytes();
        let address = match host.strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name)?,
            None => SocketAddrUnix::new(host)?,
        };
        connect(&self.socket, &address)?;
        let main = format!("MAINPID={pid}");
        for text in [ready, main.as_bytes()] {
            send(&self.socket, text, SendFlags::NOSIGNAL)?;
        }
        // systemd closes it once all before it has been taken: it looks the sender up.
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let _ = descriptor_socket::send(&self.socket, b"BARRIER=1", theirs.as_fd());
        drop(theirs);
        poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&BARRIER)).map(drop)
    }
}

fn socket_in(dir: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = open(dir, flags, Mode::empty())?;
    // An address is shorter than many a path.
    let name = format!("/proc/self/fd/{}/notify.sock", dir.as_raw_fd());
    let kind = SocketType::DGRAM;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(name.as_str())?)?;
    // The program may be anybody.
    chmod(name.as_str(), Mode::RWXU | Mode::RWXG | Mode::RWXO)?;
    Ok(socket)
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
