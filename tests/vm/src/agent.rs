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
use guest::vm::{Machine, Vm};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// How long a machine may take to start or end, on a busy host.
pub const BOOT: Duration = Duration::from_secs(120);
/// For the answer to one try to connect: the daemon forgets one that comes while the machine's driver starts.
const TRY: Duration = Duration::from_secs(5);
/// Slots for devices that come later.
const SLOTS: usize = 4;

/// A machine whose init is the agent.
#[derive(Debug)]
pub struct AgentVm {
    /// The machine.
    pub vm: Vm,
    /// Its files.
    pub dir: tempfile::TempDir,
    // After the machine, which is connected to it.
    _socket: Owned,
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
        let kernel = crate::kernel();
        let dir = tempfile::Builder::new().prefix("coffer-vm-").tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("a temporary directory: {e}"));
        let at = |name: &str| dir.path().join(name);
        let initrd = image(&kernel, dir.path());
        let initrd = initrd.unwrap_or_else(|e| panic!("the initramfs: {e}"));
        let log = File::create_new(at("vsock.log")).unwrap_or_else(|e| panic!("vsock.log: {e}"));
        let socket = at("vhost-user");
        let words: [OsString; 3] = [
            program().into(),
            "--vm".into(),
            format!(
                "guest-cid=3,socket={},uds-path={}",
                socket.display(),
                at("vsock").display()
            )
            .into(),
        ];
        let mut daemon = Owned::start(&words, log).unwrap_or_else(|e| panic!("{e}"));
        while !socket.exists() {
            let ended = daemon.wait(Duration::from_millis(5));
            let said = std::fs::read_to_string(at("vsock.log")).unwrap_or_default();
            assert!(ended.is_none(), "vhost-device-vsock: {ended:?}: {said}");
        }
        let extra = [
            "-chardev".into(),
            format!("socket,id=vs0,path={}", socket.display()),
            "-device".into(),
            "vhost-user-vsock-pci,chardev=vs0".into(),
        ];
        let machine = Machine {
            kernel: &kernel.vmlinux(),
            initrd: &initrd,
            append,
            memory: 256,
            cpus: 1,
            ports: &[],
            slots: SLOTS,
            extra: &extra,
        };
        let vm = Vm::start(&machine, dir.path()).unwrap_or_else(|e| panic!("{e}"));
        Self {
            vm,
            dir,
            _socket: daemon,
        }
    }

    /// Connects to a port of the guest, as soon as somebody listens there.
    ///
    /// # Panics
    /// Nobody does, in time.
    pub async fn connect(&mut self, port: u32) -> Calls {
        let path = self.dir.path().join("vsock");
        let deadline = Instant::now() + BOOT;
        let stream = loop {
            if let Ok(Ok(stream)) = tokio::time::timeout(TRY, hybrid(&path, port)).await {
                break stream;
            }
            let late = Instant::now() > deadline;
            assert!(
                !late && !self.vm.has_ended(),
                "no agent: {}",
                self.vm.no_result()
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

fn image(kernel: &guest::kernel::Kernel, dir: &Path) -> Result<PathBuf, guest::Error> {
    let root = dir.join("rootfs");
    testing::rootfs::busybox(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut image = Image::create(&dir.join("initrd"))?;
    image.program(&crate::programs::binary("coffer-agent"), "init")?;
    image.modules(kernel, USUAL, &[])?;
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
