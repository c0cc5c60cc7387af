//! systemd's readiness protocol: whoever started us with NOTIFY_SOCKET hears when the container is ready.
//!
//! ```text
//!  program ── READY=1 ──► /run/notify/notify.sock ──► us ── READY=1, MAINPID=… ──► $NOTIFY_SOCKET
//!                         (<root>/<id>/notify, bound read-only)
//! ```
//! As with runc: `create` and `run` mount the directory, `start` and `run` take the one message. Who does
//! not stay waits for it, or for the program's end.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};

use oci::runtime::{Mount, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::descriptor_socket;
use crate::error::Error;
use crate::record::StateDir;

const DIR: &str = "notify";
const SOCKET: &str = "notify.sock";
/// How long systemd may take to have read what was sent before we are gone.
const BARRIER: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

fn host() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Gives the container a place for the socket, if somebody wants to be told.
pub(crate) fn offer(dir: &StateDir, spec: &mut Spec) -> Result<(), Error> {
    if host().is_none() {
        return Ok(());
    }
    let path = dir.file_of(DIR);
    let made = DirBuilder::new().mode(0o755).create(&path);
    made.map_err(Error::file("make", &path))?;
    spec.mounts.push(Mount {
        destination: format!("/run/{DIR}"),
        source: Some(path.to_string_lossy().into_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"]
            .map(str::to_owned)
            .to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        let variable = format!("NOTIFY_SOCKET=/run/{DIR}/{SOCKET}");
        process.env.push(variable);
    }
    Ok(())
}

/// The container's socket, and whom to tell.
#[derive(Debug)]
pub(crate) struct Notify {
    socket: UnixDatagram,
    host: OsString,
}

impl Notify {
    /// Binds the socket, if the container has been offered one and somebody wants to be told.
    pub(crate) fn bind(dir: &StateDir) -> Result<Option<Self>, Error> {
        let Some(host) = host().filter(|_| dir.file_of(DIR).exists()) else {
            return Ok(None);
        };
        let path = dir.file_of(DIR).join(SOCKET);
        let socket = sys::socket::bind_datagram(&path);
        let socket = socket.map_err(Error::file("bind", &path))?;
        // The program may be anybody.
        let open = fs::set_permissions(&path, Permissions::from_mode(0o777));
        open.map_err(Error::file("open to all", &path))?;
        Ok(Some(Self { socket, host }))
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
        let length = self.socket.recv(&mut text).unwrap_or(0);
        let mut lines = text[..length].split(|byte| *byte == b'\n');
        let Some(ready) = lines.find(|line| line.starts_with(b"READY=")) else {
            return false;
        };
        // Whoever is gone need not be told.
        let _ = self.tell(ready, pid);
        true
    }

    fn tell(&self, ready: &[u8], pid: u32) -> std::io::Result<()> {
        let path = self.host.as_bytes();
        let address = match path.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&self.host)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.send(ready)?;
        socket.send(format!("MAINPID={pid}").as_bytes())?;
        // systemd closes it once all before it has been taken: it looks the sender up.
        let (ours, theirs) = std::io::pipe()?;
        let _ = descriptor_socket::send(&socket, b"BARRIER=1", theirs.as_fd());
        drop(theirs);
        poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&BARRIER))?;
        Ok(())
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
