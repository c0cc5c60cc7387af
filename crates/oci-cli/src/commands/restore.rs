//! `restore`: a container from images that `checkpoint` wrote, by criu.
//!
//! ```text
//!  us                             sh, then criu                 the processes
//!  cgroup made, limits set
//!  rootfs bound to a mount ───►
//!  sh put into the cgroup
//!  "go" ──────────────────────►   exec criu restore ────────►   born in the cgroup, run
//!  pid file ◄─────────────────    ends; we adopt them
//!  record written
//! ```

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use container::Prepared;
use rustix::mount::{UnmountFlags, mount_bind_recursive, mount_change, unmount};
use sys::signal_fd::SignalFd;

use super::checkpoint::STREAMS;
use super::criu::{self, Line, Places};
use super::write_pid_file;
use crate::args::{Global, Restore};
use crate::bundle::Bundle;
use crate::error::Error;
use crate::record::{NewRecord, Record, StateDir};
use crate::terminal::relay;
use crate::{status, time};

const LOG: &str = "restore.log";
/// Waits for its place in the cgroup, then becomes criu.
const GATE: &str = "read go && exec \"$0\" \"$@\"";

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Restore) -> Result<i32, Error> {
    if args.create.console_socket.is_some() {
        return Err(Error::Unsupported {
            flag: "restore --console-socket".to_owned(),
            reason: "a terminal from outside cannot be handed to criu's command line",
        });
    }
    let places = Places::find(&args.criu, false)?;
    let bundle = Bundle::load(args.create.bundle.as_deref(), args.create.config.as_deref())?;
    let engine = super::engine(global)?;
    let dir = StateDir::new(&global.root, &args.create.id)?;
    // A scope of systemd's ends with the processes in it: nothing of it needs to be found again.
    let cgroup = (!global.systemd_cgroup).then(|| container::cgroup_path(&dir.id, &bundle.spec));
    let _lock = dir.reserve(cgroup.as_deref())?;
    let prepared = engine.prepare(&dir.id, &bundle.spec);
    let mut prepared = match prepared.map_err(Error::core("make the cgroup of", &dir.id)) {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = dir.remove();
            return Err(error);
        }
    };
    match restored(global, args, &places, &bundle, &dir, &mut prepared) {
        Ok(code) => Ok(code),
        Err(error) => {
            // The failure is what is told.
            prepared.joined();
            let cgroup = &prepared.cgroup;
            let _ = cgroup.signal_all(crate::signal::KILL);
            let _ = cgroup.remove();
            let _ = dir.remove();
            Err(error)
        }
    }
}

/// A private mount of the root filesystem: criu wants one that it can build on.
struct Root(PathBuf);

impl Root {
    fn mount(rootfs: &Path, at: PathBuf) -> Result<Self, Error> {
        let failed = |errno: rustix::io::Errno| {
            Error::file("bind the root filesystem to", &at)(errno.into())
        };
        fs::create_dir(&at).map_err(Error::file("make", &at))?;
        mount_bind_recursive(rootfs, &at).map_err(failed)?;
        let root = Self(at.clone());
        let private = rustix::mount::MountPropagationFlags::PRIVATE
            | rustix::mount::MountPropagationFlags::REC;
        mount_change(&at, private).map_err(failed)?;
        Ok(root)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

/// Descriptors that criu inherits.
struct Passed {
    network: Option<i32>,
    stdin: i32,
}

fn restored(
    global: &Global,
    args: &Restore,
    places: &Places,
    bundle: &Bundle,
    dir: &StateDir,
    prepared: &mut Prepared,
) -> Result<i32, Error> {
    // criu's children come to us when it has ended.
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
        .map_err(|errno| Error::io("become a child subreaper")(errno.into()))?;
    let signals = if args.detach {
        None
    } else {
        Some(SignalFd::block_all().map_err(Error::io("block signals"))?)
    };
    let root = Root::mount(&bundle.rootfs, dir.file_of("criu-root"))?;
    let pid_file = dir.file_of("criu.pid");
    let network = criu::joined_network(&bundle.spec)
        .map(|path| {
            fs::File::open(&path)
                .map(OwnedFd::from)
                .map_err(Error::file("open", &path))
        })
        .transpose()?;
    // Descriptor 0 is the gate's.
    let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|errno| Error::io("duplicate stdin")(errno.into()))?;
    for fd in network.iter().chain([&stdin]) {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
            .map_err(|errno| Error::io("pass a descriptor on")(errno.into()))?;
    }
    let passed = Passed {
        network: network.as_ref().map(AsRawFd::as_raw_fd),
        stdin: stdin.as_raw_fd(),
    };
    let line = line(args, places, bundle, &root.0, &pid_file, &passed);
    run(global, line, prepared, &places.work.join(LOG))?;
    let cgroup = &prepared.cgroup;
    let text = fs::read_to_string(&pid_file).map_err(Error::file("read", &pid_file))?;
    let _ = fs::remove_file(&pid_file);
    let pid = text.trim().parse().unwrap_or(0);
    let pidfd = sys::pidfd::open(pid).map_err(Error::io("take hold of the restored process"))?;
    let record = Record::new(NewRecord {
        id: &dir.id,
        created: time::now(),
        bundle: &bundle.path,
        rootfs: &bundle.rootfs,
        pid,
        start: status::start_time(pid).unwrap_or(0),
        cgroup: cgroup.record(),
        config: bundle.spec.clone(),
    });
    dir.write(&record, bundle.text.as_deref())?;
    write_pid_file(args.create.pid_file.as_deref(), pid)?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    let process = container::Process {
        pid,
        pidfd,
        console: None,
    };
    let code = relay::run(process, &signals, None)?;
    if !args.keep {
        cgroup.signal_all(crate::signal::KILL)?;
        cgroup.remove()?;
        dir.remove()?;
    }
    Ok(code)
}

fn line(
    args: &Restore,
    places: &Places,
    bundle: &Bundle,
    root: &Path,
    pid_file: &Path,
    passed: &Passed,
) -> Line {
    let mut line = Line::default();
    line.word("restore");
    line.pair("--root", root);
    line.shared(&args.criu, places, LOG);
    line.word("--restore-detached");
    line.pair("--pidfile", pid_file);
    line.switches(&[(args.criu.lazy_pages, "--lazy-pages")]);
    for (place, source) in criu::binds(&bundle.spec, &bundle.path) {
        line.pair(
            "--external",
            format!("mnt[{}]:{}", place.display(), source.display()),
        );
    }
    if let Some(fd) = passed.network {
        line.pair("--inherit-fd", criu::inherited_network(fd));
    }
    for (name, fd) in streams(&places.images)
        .into_iter()
        .zip([passed.stdin, 1, 2])
    {
        // What is no pipe is opened by its path again.
        if name.starts_with("pipe:") {
            line.pair("--inherit-fd", format!("fd[{fd}]:{name}"));
        }
    }
    if let Some(profile) = &args.lsm_profile {
        line.pair("--lsm-profile", profile);
    }
    if let Some(context) = &args.lsm_mount_context {
        line.pair("--lsm-mount-context", context);
    }
    line
}

fn streams(images: &Path) -> Vec<String> {
    let text = fs::read(images.join(STREAMS)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn run(global: &Global, line: Line, prepared: &mut Prepared, log: &Path) -> Result<(), Error> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GATE]);
    command.arg(criu::program(global)).args(line.0);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("run sh for criu"))?;
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let joined = prepared.cgroup.add(pid);
    prepared.joined();
    if let Some(mut gate) = child.stdin.take()
        && joined.is_ok()
    {
        let _ = gate.write_all(b"go\n");
    }
    let ended = child.wait().map_err(Error::io("wait for criu"))?;
    joined?;
    match ended.code() {
        Some(0) => Ok(()),
        Some(127) => Err(criu::missing(
            &Command::new(criu::program(global)),
            std::io::ErrorKind::NotFound.into(),
        )),
        _ => Err(criu::failed(&[], log)),
    }
}
