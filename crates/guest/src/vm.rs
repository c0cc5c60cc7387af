//! A QEMU that emulates the processor, on a q35 board, and never outlives its owner.
//!
//! ```text
//!  owner                    waiting thread             setpriv, sh, then QEMU (one process)
//!    │ start ───────────────► spawn ────────────────────► asks for SIGKILL when the thread ends
//!    │                        │ "go" ───────────────────► only then becomes QEMU
//!    │ ports  ◄─────────────────────────────────────────  connects to their sockets
//!    │ wait   ◄─ its status ─ │ waits ◄──────────────────  guest powers off
//!    │ drop: SIGKILL by pidfd, joins the thread
//! ```
//! The owner may be killed at any moment: the kernel then kills QEMU, and one that had not asked for that
//! yet reads the end of the file instead of "go".

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Error, file};

const QEMU: &str = "qemu-system-x86_64";
const HINT: &str = "packages qemu-system-x86 and util-linux";

/// What to start.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The ELF kernel.
    pub kernel: &'a Path,
    /// The first root.
    pub initrd: &'a Path,
    /// Kernel parameters beside the usual.
    pub append: &'a str,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Names of virtio-serial ports, each a socket of the host.
    pub ports: &'a [&'a str],
    /// PCI Express ports for devices that come later, `rp0` and so on.
    pub slots: usize,
    /// More arguments of QEMU.
    pub extra: &'a [String],
}

/// A running machine; killed when dropped.
#[derive(Debug)]
pub struct Vm {
    dir: PathBuf,
    pid: i32,
    pidfd: OwnedFd,
    ended: Receiver<io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    waiter: Option<JoinHandle<()>>,
    ports: Vec<(String, UnixListener)>,
}

impl Vm {
    /// Starts a machine whose sockets and console are files of `dir`.
    ///
    /// # Errors
    /// QEMU is not there.
    pub fn start(machine: &Machine<'_>, dir: &Path) -> Result<Self, Error> {
        let mut ports = Vec::new();
        for name in machine.ports {
            let path = dir.join(name);
            let listener = UnixListener::bind(&path).map_err(file("listen at", path))?;
            ports.push(((*name).to_owned(), listener));
        }
        let errors = dir.join("qemu.log");
        let errors = fs::File::create_new(&errors).map_err(file("make", errors))?;
        let mut command = command(machine, dir);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors);
        let (started, start) = channel();
        let (end, ended) = channel();
        let waiter = std::thread::Builder::new().name("qemu".into());
        let waiter = waiter.spawn(move || match spawn(&mut command) {
            Ok((mut child, pidfd)) => {
                let pid = i32::try_from(child.id()).unwrap_or(0);
                drop(started.send(Ok((pid, pidfd))));
                drop(end.send(child.wait()));
            }
            Err(e) => drop(started.send(Err(e))),
        });
        let waiter = waiter.map_err(file("start a thread for", QEMU))?;
        let failed = |why: String| Error::Program {
            program: QEMU.to_owned(),
            why,
            hint: HINT,
        };
        let (pid, pidfd) = start
            .recv()
            .map_err(|e| failed(e.to_string()))?
            .map_err(|e| failed(e.to_string()))?;
        Ok(Self {
            dir: dir.to_owned(),
            pid,
            pidfd,
            ended,
            status: None,
            waiter: Some(waiter),
            ports,
        })
    }

    /// QEMU's process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The host's end of a virtio-serial port, once; what is written before the guest opens it waits.
    ///
    /// # Errors
    /// QEMU ended, or there is no such port left.
    pub fn port(&mut self, name: &str) -> Result<UnixStream, Error> {
        let path = self.dir.join(name);
        let at = self.ports.iter().position(|(port, _)| port == name);
        let at = at.ok_or_else(|| file("find port", &path)(io::ErrorKind::NotFound.into()))?;
        let (_, listener) = self.ports.remove(at);
        listener
            .set_nonblocking(true)
            .map_err(file("listen at", &path))?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).map_err(file("use", path))?;
                    return Ok(stream);
                }
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {
                    return Err(file("accept at", path)(e));
                }
                Err(_) if self.has_ended(Duration::from_millis(5)) => return Err(self.no_result()),
                Err(_) => {}
            }
        }
    }

    /// Waits for the guest to power off, until `deadline`.
    ///
    /// # Errors
    /// It is still running; it is killed when this is dropped.
    pub fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, Error> {
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        if self.has_ended(left)
            && let Some(status) = self.status
        {
            return Ok(status);
        }
        Err(Error::Deadline {
            after: left,
            console: self.console(),
        })
    }

    /// Kills QEMU.
    pub fn kill(&self) {
        // It may have ended.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
    }

    /// The last lines that the guest's kernel and `/init` wrote to the console.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(self.dir.join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The error for a machine that ended too early.
    #[must_use]
    pub fn no_result(&self) -> Error {
        let said = fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
        Error::NoResult {
            console: self.console(),
            qemu: said.trim().to_owned(),
        }
    }

    fn has_ended(&mut self, within: Duration) -> bool {
        if self.status.is_none() {
            match self.ended.recv_timeout(within) {
                Ok(status) => self.status = Some(status.unwrap_or_default()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.status = Some(ExitStatus::default()),
            }
        }
        self.status.is_some()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
        if let Some(waiter) = self.waiter.take() {
            // It only waits for the process that was killed.
            drop(waiter.join());
        }
    }
}

/// Starts the process and lets it go on once it is bound to this thread.
fn spawn(command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    let mut child = command.spawn()?;
    let bound = |child: &mut Child| -> io::Result<OwnedFd> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let mut go = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        go.write_all(b"go\n")?;
        Ok(pidfd)
    };
    match bound(&mut child) {
        Ok(pidfd) => Ok((child, pidfd)),
        Err(e) => {
            drop(child.kill());
            drop(child.wait());
            Err(e)
        }
    }
}

fn command(machine: &Machine<'_>, dir: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c"]);
    command.args(["read -r go && exec \"$@\" </dev/null", "sh", QEMU]);
    command.args([
        "-M",
        "q35,sata=off,usb=off,smbus=off,vmport=off",
        "-accel",
        "tcg",
    ]);
    command.args([
        "-cpu",
        "max",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    // A guest that resets, or panics with panic=-1, ends QEMU.
    command.arg("-no-reboot");
    command.arg("-smp").arg(machine.cpus.to_string());
    command.arg("-m").arg(machine.memory.to_string());
    command.arg("-kernel").arg(machine.kernel);
    command.arg("-initrd").arg(machine.initrd);
    // Debian's kernel prints little at this level, and each line of a serial console is emulated.
    command.arg("-append").arg(format!(
        "console=ttyS0 loglevel=4 panic=-1 reboot=t cryptomgr.notests {}",
        machine.append
    ));
    command
        .arg("-serial")
        .arg(format!("file:{}", dir.join("console").display()));
    command.args(["-device", "virtio-serial-pci"]);
    for (number, name) in machine.ports.iter().enumerate() {
        let path = dir.join(name);
        command
            .arg("-chardev")
            .arg(format!("socket,id=c-{name},path={}", path.display()));
        // Port 0 is reserved for a console.
        let nr = number + 1;
        command.arg("-device").arg(format!(
            "virtserialport,chardev=c-{name},name={name},nr={nr}"
        ));
    }
    for slot in 0..machine.slots {
        let chassis = slot + 1;
        command.arg("-device").arg(format!(
            "pcie-root-port,id=rp{slot},bus=pcie.0,chassis={chassis},slot={chassis}"
        ));
    }
    command.args(machine.extra);
    command
}
