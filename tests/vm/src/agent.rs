//! coffer-agent as the first process of a machine, reached through a virtio socket:
//!
//! ```text
//!  test ──"CONNECT 1024"──► unix socket ─ vhost-device-vsock ─ virtio ─► vsock port 1024 of the agent
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_api::grpc::{AgentServiceClient, HealthClient};
use agent_api::sandbox::SandboxClient;
use agent_api::ttrpc::asynchronous::Client;
use agent_api::ttrpc::asynchronous::transport::Socket;
use agent_api::ttrpc::context::{Context, with_duration};
use guest::image::{Image, USUAL};
use guest::owned::Owned;
use guest::qmp::Qmp;
use guest::vm::{Machine, Room, Vm};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long a machine may take to start or end, on a busy host.
pub const BOOT: Duration = Duration::from_secs(120);
/// What the agent's log on the console says then.
const SERVES: &str = "serving, pid 1";
/// For the answer to one try to connect.
const TRY: Duration = Duration::from_secs(5);
/// Ports for devices that come later.
pub const SLOTS: usize = 6;
/// The bus of [`Wanted::scsi`].
pub const SCSI: &str = "scsi0.0";
/// The tag of [`Wanted::shared`].
pub const TAG: &str = "kataShared";
/// Debian's, of the package qemu-system-common.
const VIRTIOFSD: &str = "/usr/lib/qemu/virtiofsd";

/// What a machine has beside the usual.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Kernel parameters.
    pub append: &'a str,
    /// Kernel modules that are loaded at the start.
    pub modules: &'a [&'a str],
    /// Kernel modules that are only there.
    pub present: &'a [&'a str],
    /// Dynamic programs of this machine.
    pub programs: &'a [&'a str],
    /// Text files.
    pub files: &'a [(&'a str, &'a str)],
    /// For processors and memory.
    pub room: Room,
    /// A SCSI host.
    pub scsi: bool,
    /// A directory of this machine, shared by virtio-fs.
    pub shared: Option<&'a Path>,
}

/// A machine whose init is the agent.
#[derive(Debug)]
pub struct AgentVm {
    /// The machine.
    pub vm: Vm,
    /// Its files.
    pub dir: tempfile::TempDir,
    // After the machine, which is connected to them.
    _daemons: Vec<Owned>,
}

/// Clients of one connection.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "the generated clients have none"
)]
pub struct Calls {
    /// The published service.
    pub agent: AgentServiceClient,
    /// Our own.
    pub own: SandboxClient,
    /// Health.
    pub health: HealthClient,
}

/// A limit for a call.
#[must_use]
pub fn soon() -> Context {
    with_duration(Duration::from_secs(60))
}

impl AgentVm {
    /// Boots a machine with a busybox root filesystem at `/rootfs`.
    ///
    /// # Panics
    /// Something that it needs is not there.
    #[must_use]
    pub fn boot(append: &str) -> Self {
        Self::with(&Wanted {
            append,
            ..Wanted::default()
        })
    }

    /// Boots a machine that has more.
    ///
    /// # Panics
    /// As [`AgentVm::boot`].
    #[must_use]
    pub fn with(wanted: &Wanted<'_>) -> Self {
        let kernel = crate::kernel();
        let dir = tempfile::Builder::new().prefix("coffer-vm-").tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("a temporary directory: {e}"));
        let initrd = image(&kernel, dir.path(), wanted);
        let initrd = initrd.unwrap_or_else(|e| panic!("the initramfs: {e}"));
        let (socket, path) = (dir.path().join("vhost-user"), dir.path().join("vsock"));
        let vm = format!(
            "guest-cid=3,socket={},uds-path={}",
            socket.display(),
            path.display()
        );
        let words = [program().into(), "--vm".into(), vm.into()];
        let mut daemons = vec![daemon(&words, &socket, &dir.path().join("vsock.log"))];
        let mut extra = vec![
            "-chardev".into(),
            format!("socket,id=vs0,path={}", socket.display()),
            "-device".into(),
            "vhost-user-vsock-pci,chardev=vs0".into(),
        ];
        if wanted.scsi {
            extra.extend(["-device".into(), "virtio-scsi-pci,id=scsi0".into()]);
        }
        if let Some(shared) = wanted.shared {
            let socket = dir.path().join("virtiofs");
            let words: [OsString; 5] = [
                VIRTIOFSD.into(),
                format!("--socket-path={}", socket.display()).into(),
                "-o".into(),
                format!("source={},cache=auto,sandbox=chroot", shared.display()).into(),
                "-f".into(),
            ];
            daemons.push(daemon(&words, &socket, &dir.path().join("virtiofs.log")));
            extra.extend([
                "-chardev".into(),
                format!("socket,id=fs0,path={}", socket.display()),
                "-device".into(),
                format!("vhost-user-fs-pci,chardev=fs0,tag={TAG},queue-size=1024"),
            ]);
        }
        let machine = Machine {
            kernel: &kernel.vmlinux(),
            initrd: &initrd,
            append: wanted.append,
            memory: 256,
            cpus: 1,
            ports: &[],
            slots: SLOTS,
            room: wanted.room,
            extra: &extra,
        };
        let vm = Vm::start(&machine, dir.path()).unwrap_or_else(|e| panic!("{e}"));
        Self {
            vm,
            dir,
            _daemons: daemons,
        }
    }

    /// Connects to a port of the guest, as soon as somebody listens there.
    ///
    /// # Panics
    /// Nobody does, in time.
    pub async fn connect(&mut self, port: u32) -> Calls {
        let path = self.dir.path().join("vsock");
        let deadline = Instant::now() + BOOT;
        // Not before the agent says that it serves: the daemon may lose its way among tries that come too early.
        let mut serves = false;
        let stream = loop {
            serves = serves || self.vm.console().contains(SERVES);
            if serves && let Ok(Ok(stream)) = tokio::time::timeout(TRY, hybrid(&path, port)).await {
                break stream;
            }
            let late = Instant::now() > deadline;
            let daemon = || std::fs::read_to_string(self.dir.path().join("vsock.log"));
            assert!(
                !late && !self.vm.has_ended(),
                "no agent: {}\nvhost-device-vsock: {}",
                self.vm.no_result(),
                daemon().unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let client = Client::new(Socket::from(stream));
        Calls {
            agent: AgentServiceClient::new(client.clone()),
            own: SandboxClient::new(client.clone()),
            health: HealthClient::new(client),
        }
    }

    /// The machine protocol, by which devices come and go.
    ///
    /// # Panics
    /// QEMU is gone.
    #[must_use]
    pub fn qmp(&self) -> Qmp {
        Qmp::connect(self.dir.path()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Waits until the machine has powered itself off; returns the end of its console.
    ///
    /// # Panics
    /// It is still running, or ended otherwise.
    #[must_use]
    pub fn ended(mut self) -> String {
        let status = self.vm.wait(Instant::now() + BOOT);
        let status = status.unwrap_or_else(|e| panic!("{e}"));
        let console = self.vm.console();
        assert!(
            status.success() && !console.contains("Kernel panic"),
            "{status}: {console}"
        );
        console
    }
}

/// Asks the host's end of a virtio socket for a port of the guest.
async fn hybrid(path: &Path, port: u32) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path).await?;
    stream
        .write_all(format!("CONNECT {port}\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n") {
        answer.push(stream.read_u8().await?);
    }
    match answer.starts_with(b"OK ") {
        true => Ok(stream),
        false => Err(std::io::ErrorKind::ConnectionRefused.into()),
    }
}

/// Starts a program that listens at `socket` when it is ready.
fn daemon(words: &[OsString], socket: &Path, log: &Path) -> Owned {
    let file = File::create_new(log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
    let mut daemon = Owned::start(words, file).unwrap_or_else(|e| panic!("{e}"));
    while !socket.exists() {
        let ended = daemon.wait(Duration::from_millis(5));
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "{words:?}: {ended:?}: {said}");
    }
    daemon
}

fn image(
    kernel: &guest::kernel::Kernel,
    dir: &Path,
    wanted: &Wanted<'_>,
) -> Result<PathBuf, guest::Error> {
    let root = dir.join("rootfs");
    testing::rootfs::busybox(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut image = Image::create(&dir.join("initrd"))?;
    image.program(&crate::programs::binary("coffer-agent"), "init")?;
    image.modules(kernel, &[USUAL, wanted.modules].concat(), wanted.present)?;
    for program in wanted.programs {
        image.dynamic(Path::new(program))?;
    }
    for (name, text) in wanted.files {
        image.file(name, 0o644, text.as_bytes())?;
    }
    image.copy(&root, "rootfs")?;
    image.finish()
}

/// `cargo install` leaves it among cargo's programs, which may not be in PATH.
fn program() -> PathBuf {
    let name = "vhost-device-vsock";
    let mut dirs: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    dirs.extend(home.map(|home| home.join("bin")));
    let found = dirs
        .iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: scripts/setup.sh test does that"))
}
