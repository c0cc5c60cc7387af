//! A QEMU that emulates the processor, on a q35 board, bound to its owner.
//!
//! ```text
//!  directory of the machine     console       what kernel and /init print
//!                               NAME          socket of a virtio-serial port, which QEMU connects to
//!                               qmp           socket of the machine protocol
//!                               qemu.log      what QEMU says
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::error::{Error, file};
use crate::owned::Owned;
use crate::qmp::Qmp;

const QEMU: &str = "qemu-system-x86_64";
/// The simplest, as emulating wide vectors is slow; with a source of randomness, for which programs would wait.
const CPU: &str = "qemu64,+rdrand";

/// A non-maskable interrupt is a wish for a panic, which tells of each processor and all that waits.
const ASKED: &str = "unknown_nmi_panic panic_print=0x60";
/// For the panic of a kernel that was asked for it.
const LAST_WORDS: Duration = Duration::from_secs(10);

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
    /// What may come later of processors and memory.
    pub room: Room,
    /// More arguments of QEMU.
    pub extra: &'a [String],
}

/// Places for processors and memory that are plugged in while the machine runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// Processors beside those at the start.
    pub cpus: u32,
    /// MiB of memory modules, also of persistent ones.
    pub memory: u32,
}

/// Slots of the root bus from here on are the ports for devices that come later.
const FIRST_PORT: usize = 0x10;
/// Places for memory modules, where there is room for any.
const MODULES: u32 = 4;

/// The PCI path, in the agent's form, of the device in port `slot`.
#[must_use]
pub fn pci_path(slot: usize) -> String {
    format!("{:02x}/00", FIRST_PORT + slot)
}

/// A running machine; killed when dropped.
#[derive(Debug)]
pub struct Vm {
    dir: PathBuf,
    qemu: Owned,
    ports: Vec<(String, UnixListener)>,
}

impl Vm {
    /// Starts a machine whose sockets and console are files of `dir`.
    ///
    /// # Errors
    /// A socket or process cannot be made. That QEMU is not there shows as its end.
    pub fn start(machine: &Machine<'_>, dir: &Path) -> Result<Self, Error> {
        let mut ports = Vec::new();
        for name in machine.ports {
            let path = dir.join(name);
            let listener = UnixListener::bind(&path).map_err(file("listen at", path))?;
            ports.push(((*name).to_owned(), listener));
        }
        let log = dir.join("qemu.log");
        let log = fs::File::create_new(&log).map_err(file("make", log))?;
        Ok(Self {
            dir: dir.to_owned(),
            qemu: Owned::start(&words(machine, dir), log)?,
            ports,
        })
    }

    /// QEMU's process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.qemu.pid()
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
                Err(_) if self.qemu.wait(Duration::from_millis(5)).is_some() => {
                    return Err(self.no_result());
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for the guest to power off, until `deadline`.
    ///
    /// # Errors
    /// It is still running; the error says where, and the machine has panicked. It is killed when this
    /// is dropped.
    pub fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.qemu.wait(left).ok_or_else(|| Error::Deadline {
            after: left,
            found: self.autopsy(),
            console: self.console(),
        })
    }

    /// The error for a machine from which nothing came for so long that it must hang. It has panicked then.
    pub(crate) fn hangs(&mut self, silence: Duration) -> Error {
        Error::Hangs {
            silence,
            found: self.autopsy(),
            console: self.console(),
        }
    }

    /// What a machine that does not end is doing, as far as it can still be asked: where its processors
    /// are, twice, and what its kernel prints when a non-maskable interrupt makes it panic.
    fn autopsy(&mut self) -> String {
        let mut found = String::new();
        match Qmp::connect(&self.dir) {
            Ok(mut qmp) => {
                for _ in 0..2 {
                    let at = qmp.registers().unwrap_or_else(|e| e.to_string());
                    found.push_str(&format!("processors: {at}\n"));
                    std::thread::sleep(Duration::from_secs(1));
                }
                if let Err(e) = qmp.execute("inject-nmi", &serde_json::json!({})) {
                    found.push_str(&format!("inject-nmi: {e}\n"));
                }
            }
            Err(e) => found.push_str(&format!("QEMU does not answer: {e}\n")),
        }
        if self.qemu.wait(LAST_WORDS).is_none() {
            found.push_str("the kernel does not answer to a non-maskable interrupt\n");
        }
        found
    }

    /// Whether QEMU has ended.
    pub fn has_ended(&mut self) -> bool {
        self.qemu.wait(Duration::ZERO).is_some()
    }

    /// The last lines that the guest's kernel and `/init` wrote to the console.
    #[must_use]
    pub fn console(&self) -> String {
        let bytes = fs::read(self.dir.join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(100)..].join("\n")
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
}

/// QEMU's command line.
fn words(machine: &Machine<'_>, dir: &Path) -> Vec<OsString> {
    let at = |name: &str| dir.join(name).display().to_string();
    // Debian's kernel prints little at this level, and each byte to a serial port is emulated.
    let append = format!(
        "console=ttyS0 loglevel=4 panic=-1 reboot=t cryptomgr.notests {ASKED} {}",
        machine.append
    );
    // Memory that devices outside of QEMU can map.
    let memory = format!(
        "memory-backend-memfd,id=m0,size={}M,share=on",
        machine.memory
    );
    let mut board = "q35,sata=off,usb=off,smbus=off,vmport=off,memory-backend=m0".to_owned();
    let (mut size, mut cpus) = (machine.memory.to_string(), machine.cpus.to_string());
    if machine.room.memory > 0 {
        board.push_str(",nvdimm=on");
        let most = machine.memory + machine.room.memory;
        size.push_str(&format!("M,slots={MODULES},maxmem={most}M"));
    }
    if machine.room.cpus > 0 {
        cpus.push_str(&format!(",maxcpus={}", machine.cpus + machine.room.cpus));
    }
    let mut words: Vec<OsString> = [QEMU, "-M", &board, "-accel", "tcg", "-cpu", CPU]
        .into_iter()
        .map(Into::into)
        .collect();
    let mut option = |name: &str, value: String| {
        words.push(name.into());
        words.push(value.into());
    };
    option("-object", memory);
    option("-m", size);
    option("-smp", cpus);
    option("-display", "none".into());
    option("-kernel", machine.kernel.display().to_string());
    option("-initrd", machine.initrd.display().to_string());
    option("-append", append);
    option("-serial", format!("file:{}", at("console")));
    option("-qmp", format!("unix:{},server=on,wait=off", at("qmp")));
    option("-device", "virtio-serial-pci".into());
    for (number, name) in machine.ports.iter().enumerate() {
        option("-chardev", format!("socket,id=c-{name},path={}", at(name)));
        // Port 0 is reserved for a console.
        let nr = number + 1;
        let port = format!("virtserialport,chardev=c-{name},name={name},nr={nr}");
        option("-device", port);
    }
    for slot in 0..machine.slots {
        let chassis = slot + 1;
        let addr = FIRST_PORT + slot;
        let port = format!(
            "pcie-root-port,id=rp{slot},bus=pcie.0,addr={addr:#x},chassis={chassis},slot={chassis}"
        );
        option("-device", port);
    }
    // A guest that resets, or panics with panic=-1, ends QEMU.
    words.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(OsString::from));
    words.extend(machine.extra.iter().map(OsString::from));
    words
}
