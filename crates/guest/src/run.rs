//! Runs a script in a machine of its own: its output as it comes, its exit code, the files it leaves.
//!
//! ```text
//!  host                                     guest
//!   ports out, result, files  ◄───────────   /init: mounts, modules, tmpfs root, lo
//!   output(bytes) … ◄── out ──────────────   sh /script (below systemd, if that is wanted)
//!   code ◄───────────── result ───────────   $?
//!   directory ◄──────── files ────────────   tar of /out
//!   QEMU ended ◄──────────────────────────   power off
//! ```
//! The guest is root of a whole machine with cgroup v2 only, busybox, and what the image was given.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk;
use crate::error::{Error, file};
use crate::image::{Image, USUAL};
use crate::kernel::Kernel;
use crate::systemd;
use crate::vm::{Machine, Room, Vm};

const INIT: &str = include_str!("init.sh");
const FINISH: &str = include_str!("finish.sh");

/// What to run.
#[derive(Debug)]
pub struct Run<'a> {
    /// A script for busybox's shell.
    pub script: &'a str,
    /// Static programs of this machine, without symbols at the same path in the guest.
    pub programs: &'a [PathBuf],
    /// Files and directories of this machine, and where they are in the guest.
    pub files: &'a [(PathBuf, String)],
    /// Modules to load beside the usual.
    pub modules: &'a [&'a str],
    /// Kernel parameters beside the usual.
    pub append: &'a str,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// MiB of an ext4 disk at /tmp; 0: /tmp is a tmpfs.
    pub disk: u32,
    /// Whether systemd is the first process, and the script a service of it.
    pub systemd: bool,
    /// How long all of it may take.
    pub deadline: Duration,
    /// How long it may write nothing; a machine that is silent for longer hangs.
    pub silence: Duration,
    /// Where the files of the guest's `/out` go; None: nowhere.
    pub out: Option<&'a Path>,
}

/// Runs it and returns the script's exit code; `output` is given what it writes.
///
/// # Errors
/// The machine does not start, does not end in time, or ends without a result.
pub fn run(kernel: &Kernel, run: &Run<'_>, mut output: impl FnMut(&[u8])) -> Result<i32, Error> {
    let deadline = Instant::now() + run.deadline;
    let dir = tempfile::Builder::new().prefix("coffer-guest-").tempdir();
    let dir = dir.map_err(file("make", "a temporary directory"))?;
    let initrd = image(kernel, run, dir.path())?;
    let extra = match run.disk {
        0 => vec![],
        size => disk::arguments("tmp", &disk::ext4(&dir.path().join("disk"), size)?),
    };
    let machine = Machine {
        kernel: &kernel.vmlinux(),
        initrd: &initrd,
        append: &format!(
            "guest.seconds={} {} {}",
            run.deadline.as_secs() + 10,
            if run.systemd { systemd::APPEND } else { "" },
            run.append
        ),
        memory: run.memory,
        cpus: run.cpus,
        ports: &["out", "result", "files"],
        slots: 0,
        room: Room::default(),
        extra: &extra,
    };
    let mut vm = Vm::start(&machine, dir.path())?;
    let (mut out, result, files) = (vm.port("out")?, vm.port("result")?, vm.port("files")?);
    let result = std::thread::spawn(move || whole(result));
    let unpack = run.out.map(Path::to_owned);
    let files = std::thread::spawn(move || match unpack {
        Some(dir) => tar::Archive::new(files)
            .unpack(&dir)
            .map_err(file("unpack into", dir)),
        None => whole(files).map(drop),
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A zero would mean no limit.
        let patience = left.min(run.silence).max(Duration::from_millis(1));
        drop(out.set_read_timeout(Some(patience)));
        match out.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => output(&buffer[..read]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock && run.silence < left => {
                return Err(vm.hangs(run.silence));
            }
            // The deadline, or QEMU's end.
            Err(_) => break,
        }
    }
    vm.wait(deadline).map_err(|e| match e {
        Error::Deadline { console, found, .. } => Error::Deadline {
            after: run.deadline,
            found,
            console,
        },
        other => other,
    })?;
    let code = joined(result)?;
    let code = String::from_utf8_lossy(&code);
    let code = code.trim().parse().map_err(|_| vm.no_result())?;
    joined(files)?;
    Ok(code)
}

fn image(kernel: &Kernel, run: &Run<'_>, dir: &Path) -> Result<PathBuf, Error> {
    let mut image = Image::create(&dir.join("initrd"))?;
    image.busybox()?;
    image.file("init", 0o755, INIT.as_bytes())?;
    image.file("finish", 0o644, FINISH.as_bytes())?;
    image.file("script", 0o755, run.script.as_bytes())?;
    let users = "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n";
    image.file("etc/passwd", 0o644, users.as_bytes())?;
    image.file(
        "etc/group",
        0o644,
        b"root:x:0:\ntty:x:5:\nmessagebus:x:100:\n",
    )?;
    if run.systemd {
        systemd::add(&mut image)?;
    }
    image.modules(kernel, &[USUAL, run.modules].concat(), &[])?;
    for program in run.programs {
        image.program(program, &program.to_string_lossy())?;
    }
    for (from, to) in run.files {
        image.copy(from, to)?;
    }
    image.finish()
}

/// All that comes over a port until QEMU ends.
fn whole(mut port: UnixStream) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = port.read_to_end(&mut bytes);
    read.map(|_| bytes)
        .map_err(file("read", "a port of the guest"))
}

fn joined<T>(thread: std::thread::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    let gone = || std::io::Error::other("its reader panicked");
    thread
        .join()
        .unwrap_or_else(|_| Err(file("read", "a port of the guest")(gone())))
}
