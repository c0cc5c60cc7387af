//! The agent's process as the daemon sees it: spawned, recognised, watched, killed.
//!
//! ```text
//! daemon                                        coffer-agent
//! listen on agent.sock (0600)
//! spawn, stdin = that socket, ────────────────► --listen fd://0 --state … --cgroup …
//!        stdout, stderr = agent.log
//! connect (the backlog holds it) ─ ─ ─ ─ ─ ─ ─► accept, when it is ready
//! ```
//! No readiness to poll for: the socket listens before the process exists. A process that dies
//! closes the last listener, and the waiting connection ends.

use std::{
    fs::{self, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use crate::{Error, Settings};

/// Names of what is in a pod's directory.
pub(crate) const SOCKET: &str = "agent.sock";
pub(crate) const LOG: &str = "agent.log";
const CONTAINERS: &str = "containers";
/// An agent at rest keeps nothing of a burst of calls: neither the stacks of threads that have ended, 20 KiB
/// for each there ever was at a time, nor freed blocks in the threads' own caches, each of which holds a page.
const TUNABLES: &str = "glibc.pthread.stack_cache_size=0:glibc.malloc.tcache_count=0";

/// Told once, when the agent's process has ended: how, as far as it is known.
pub(crate) type Gone = watch::Receiver<Option<String>>;

/// The agent's state directory within the pod's.
pub(crate) fn state_dir(pod_dir: &Path) -> PathBuf {
    pod_dir.join(CONTAINERS)
}

/// Makes the socket that the agent will listen on, mode 0600. One that a crash left is replaced.
pub(crate) fn listen(pod_dir: &Path) -> Result<OwnedFd, Error> {
    let path = pod_dir.join(SOCKET);
    bind(pod_dir, &path).map_err(|source| Error::Listen {
        path,
        source: source.into(),
    })
}

fn bind(pod_dir: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    const BACKLOG: i32 = 128;
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    let dir = rustix::fs::open(
        pod_dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The socket's own mode bounds that of its name, so there is no moment with a wider one.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // An address holds 108 bytes, and pod directories are longer.
    let short = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    rustix::net::bind(&socket, &SocketAddrUnix::new(short)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Starts the agent program on a listening socket.
pub(crate) fn spawn(
    settings: &Settings,
    pod_dir: &Path,
    agent_cgroup: &str,
    socket: OwnedFd,
) -> Result<Child, Error> {
    let log_path = pod_dir.join(LOG);
    let open_log = || {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&log_path)
    };
    let log = open_log().and_then(|log| Ok((log.try_clone()?, log)));
    let (out, err) = log.map_err(|source| Error::Log {
        path: log_path.clone(),
        source,
    })?;

    let failed = |source| Error::Spawn {
        program: settings.agent.clone(),
        source,
    };
    // Nobody who reaches the process can replace the program; closed when this function ends.
    let program = sys::program::open_read_only(&settings.agent).map_err(failed)?;
    let mut command = Command::new(sys::program::exec_path(&program));
    command
        .arg0("coffer-agent")
        .args(["--listen", "fd://0", "--state"])
        .arg(state_dir(pod_dir))
        .args(["--cgroup", agent_cgroup, "--log-level", &settings.log_level])
        .args(
            settings
                .seccomp_cache
                .iter()
                .flat_map(|dir| ["--seccomp-cache".as_ref(), dir.as_os_str()]),
        )
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("GLIBC_TUNABLES", TUNABLES)
        // Holds no directory of the host.
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err));
    #[cfg(feature = "failpoints")]
    for name in ["COFFER_FAILPOINTS", "COFFER_FAILPOINT_TRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.spawn().map_err(|source| Error::Spawn {
        program: settings.agent.clone(),
        source,
    })
}

/// Start time of a process in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
pub(crate) fn start_ticks(pid: i32) -> io::Result<u64> {
    const AFTER_NAME: usize = 19;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name (field 2) is in parentheses and may hold spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    fields
        .split(' ')
        .nth(AFTER_NAME)
        .and_then(|ticks| ticks.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not understood: {stat:?}")))
}

/// A handle on the process `pid` if it is the one that started then; `None` when that one is gone.
pub(crate) fn find(pid: i32, ticks: u64) -> io::Result<Option<OwnedFd>> {
    // Negative numbers make from_raw panic; a damaged record may hold one.
    let Some(raw) = Pid::from_raw(pid.max(0)) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    // Looked up after the handle exists, so that the answer is about the same process.
    match start_ticks(pid) {
        Ok(now) => Ok((now == ticks).then_some(pidfd)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The agents of a pod that no record names: a daemon that died right after the spawn leaves one.
/// Known by their state directory, which is the pod's alone.
pub(crate) fn unrecorded(pod_dir: &Path) -> io::Result<Vec<(i32, u64)>> {
    let mut wanted = b"--state\0".to_vec();
    wanted.extend_from_slice(state_dir(pod_dir).as_os_str().as_encoded_bytes());
    wanted.push(0);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // Processes come and go while we look.
        let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
            continue;
        };
        let ours = arguments.starts_with(b"coffer-agent\0")
            && arguments.windows(wanted.len()).any(|part| part == wanted);
        if let (true, Ok(ticks)) = (ours, start_ticks(pid)) {
            found.push((pid, ticks));
        }
    }
    Ok(found)
}

/// SIGKILL, and up to `limit` for the end to come.
pub(crate) fn kill(pidfd: &OwnedFd, limit: Duration) -> io::Result<()> {
    match pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(e) => return Err(e.into()),
    }
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "it did not die of SIGKILL",
                ));
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Takes charge of a new child: its pid, start time, and the watch that will reap it. On failure it
/// is killed and reaped at once.
pub(crate) fn adopt(mut child: Child) -> io::Result<(i32, u64, Gone)> {
    // Not reaped yet, so the pid is still the child's.
    match identity(&child) {
        Ok((pid, ticks, pidfd)) => Ok((pid, ticks, watch(pidfd, Some(child))?)),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

fn identity(child: &Child) -> io::Result<(i32, u64, OwnedFd)> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let raw = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
    Ok((pid, start_ticks(pid)?, pidfd))
}

/// Watches a process from a task of its own, and reaps it when it is our child.
pub(crate) fn watch(pidfd: OwnedFd, child: Option<Child>) -> io::Result<Gone> {
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps what the unsafe form asks of its caller"
    )]
    let pidfd = match AsyncFd::with_interest(pidfd, Interest::READABLE) {
        Ok(pidfd) => pidfd,
        Err(e) => {
            if let Some(mut child) = child {
                let _ = child.kill();
                let _ = child.wait();
            }
            return Err(e);
        }
    };
    let (tell, gone) = watch::channel(None);
    tokio::spawn(async move {
        if let Err(e) = pidfd.readable().await {
            tracing::error!(error = %e, "watching an agent failed; it counts as gone");
        }
        let how = match child.map(|mut child| child.wait()) {
            Some(Ok(status)) => status.to_string(),
            Some(Err(e)) => format!("its status is not known: {e}"),
            None => "its status is not known: another process was its parent".to_owned(),
        };
        // Nobody listens when the pod's handle was dropped.
        let _ = tell.send(Some(how));
    });
    Ok(gone)
}

/// The last lines of the agent's log, for an error text.
pub(crate) fn log_tail(pod_dir: &Path) -> String {
    const LINES: usize = 5;
    const BYTES: usize = 2048;
    let text = fs::read(pod_dir.join(LOG)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(BYTES)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    if tail.is_empty() {
        "it is empty".to_owned()
    } else {
        tail
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let me = i32::try_from(std::process::id()).unwrap();
        let ticks = start_ticks(me).unwrap();
        assert!(find(me, ticks).unwrap().is_some());
        assert!(find(me, ticks + 1).unwrap().is_none());
        assert!(find(-1, ticks).unwrap().is_none());
    }

    #[test]
    fn the_socket_is_private_and_works_under_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let _socket = listen(&long).unwrap();
        let meta = fs::metadata(long.join(SOCKET)).unwrap();
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        // A second time, as after a crash: the old name is replaced.
        let _again = listen(&long).unwrap();
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(log_tail(dir.path()), "it is empty");
        let text: String = (0..2000).map(|n| format!("line {n}\n")).collect();
        fs::write(dir.path().join(LOG), text).unwrap();
        let tail = log_tail(dir.path());
        assert_eq!(
            tail,
            "line 1995 | line 1996 | line 1997 | line 1998 | line 1999"
        );
    }

    #[test]
    fn no_other_process_counts_as_an_agent_of_the_pod() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(unrecorded(dir.path()).unwrap(), []);
    }
}
