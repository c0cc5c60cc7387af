//! A busybox root, the document of a plain container, and a run from create to destroy.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "shared by test programs that use parts of it"
)]

use std::{
    fs,
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use container::{
    Container, ContainerId, CreateRequest, Engine, EngineOptions, Error, ExecRequest, Gate, Rootfs,
    Stdio,
};
use oci::runtime::Spec;
use serde_json::{Value, json};

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::probe(EngineOptions::default()).unwrap())
}

/// A bundle with a busybox root; removed when dropped.
pub(crate) struct Bundle {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) id: ContainerId,
    pub(crate) json: Value,
}

const APPLETS: [&str; 34] = [
    "sh", "cat", "ls", "true", "false", "echo", "id", "hostname", "mount", "readlink", "sleep",
    "stat", "touch", "mkdir", "grep", "head", "env", "pwd", "kill", "test", "wc", "tty", "ip",
    "dd", "mknod", "umount", "chmod", "ps", "cut", "sort", "awk", "printf", "stty", "tr",
];

impl Bundle {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        for name in ["bin", "dev", "proc", "sys", "etc", "tmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n",
        )
        .unwrap();
        let id = format!(
            "core-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let json = plain(&id);
        Self {
            dir,
            id: ContainerId::new(&id).unwrap(),
            json,
        }
    }

    /// With this shell script as its program.
    pub(crate) fn script(script: &str) -> Self {
        let mut this = Self::new();
        this.json["process"]["args"] = json!(["sh", "-c", script]);
        this
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    pub(crate) fn spec(&self) -> Spec {
        serde_json::from_value(self.json.clone()).unwrap()
    }

    pub(crate) fn request<'a>(
        &'a self,
        spec: &'a Spec,
        stdio: Stdio,
        gate: Gate,
    ) -> CreateRequest<'a> {
        CreateRequest {
            id: &self.id,
            spec,
            bundle: self.dir.path(),
            rootfs: Rootfs::Path(self.root()),
            stdio,
            gate,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            extra_env: Vec::new(),
            cgroup_path: None,
            clamp_capabilities: false,
        }
    }

    /// create, start, wait, destroy.
    pub(crate) fn run(&self) -> Ran {
        self.try_run().unwrap_or_else(|e| panic!("{}", chain(&e)))
    }

    pub(crate) fn try_run(&self) -> Result<Ran, Error> {
        let spec = self.spec();
        let (stdio, output) = piped();
        let mut live = Live::create(self, &spec, stdio, Gate::Pipe)?;
        live.container.start()?;
        Ok(live.finish(output))
    }

    /// The sentence of a create that must fail.
    pub(crate) fn fails(&self) -> String {
        match self.try_run() {
            Ok(ran) => panic!("it ran: {ran:?}"),
            Err(e) => chain(&e),
        }
    }
}

/// An error with its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text.push_str(&format!(": {e}"));
        source = e.source();
    }
    text
}

/// A container that goes whatever happens.
pub(crate) struct Live<'a> {
    pub(crate) container: Container,
    pub(crate) spec: &'a Spec,
    bundle: PathBuf,
    gone: bool,
}

impl<'a> Live<'a> {
    pub(crate) fn create(
        bundle: &Bundle,
        spec: &'a Spec,
        stdio: Stdio,
        gate: Gate,
    ) -> Result<Self, Error> {
        let mut container = engine().create(bundle.request(spec, stdio, gate))?;
        container.recorded()?;
        Ok(Self {
            container,
            spec,
            bundle: bundle.dir.path().to_owned(),
            gone: false,
        })
    }

    pub(crate) fn wait(&self) -> i32 {
        sys::wait::wait(self.container.init.pidfd.as_fd())
            .unwrap()
            .exit
            .code()
    }

    pub(crate) fn finish(self, output: Output) -> Ran {
        let (stdout, stderr) = output.read();
        let code = self.wait();
        Ran {
            code,
            stdout,
            stderr,
        }
    }

    pub(crate) fn exec(&self, process: Value) -> Ran {
        self.try_exec(process)
            .unwrap_or_else(|e| panic!("{}", chain(&e)))
    }

    pub(crate) fn try_exec(&self, process: Value) -> Result<Ran, Error> {
        let process = serde_json::from_value(process).unwrap();
        let (stdio, output) = piped();
        let request = ExecRequest {
            process: &process,
            stdio,
            preserve_fds: 0,
            no_new_keyring: false,
            extra_env: Vec::new(),
            clamp_capabilities: false,
            ignore_paused: false,
        };
        let reference = self.container.as_ref(self.spec, &self.bundle);
        let process = engine().exec(&reference, request)?;
        let (stdout, stderr) = output.read();
        let code = sys::wait::wait(process.pidfd.as_fd()).unwrap().exit.code();
        Ok(Ran {
            code,
            stdout,
            stderr,
        })
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        if !self.gone {
            let destroyed = container::destroy(&self.container.as_ref(self.spec, &self.bundle));
            let _ = sys::wait::wait(self.container.init.pidfd.as_fd());
            self.gone = true;
            if !std::thread::panicking() {
                destroyed.unwrap_or_else(|e| panic!("{}", chain(&e)));
            }
        }
    }
}

pub(crate) struct Output(OwnedFd, OwnedFd);

pub(crate) fn piped() -> (Stdio, Output) {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (out, stdout) = pipe();
    let (err, stderr) = pipe();
    let stdio = Stdio::Fds {
        stdin: None,
        stdout: Some(stdout),
        stderr: Some(stderr),
    };
    (stdio, Output(out, err))
}

impl Output {
    pub(crate) fn read(self) -> (String, String) {
        let text = |fd: OwnedFd| {
            let mut text = String::new();
            fs::File::from(fd).read_to_string(&mut text).unwrap();
            text
        };
        (text(self.0), text(self.1))
    }
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The output of a program that must have succeeded.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self.stdout.trim_end()
    }
}

/// A process for exec.
pub(crate) fn process(args: &[&str]) -> Value {
    json!({
        "user": {"uid": 0, "gid": 0},
        "args": args,
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": capabilities(),
    })
}

fn capabilities() -> Value {
    let list = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({"bounding": list, "effective": list, "permitted": list})
}

/// The document that `spec` commands print, more or less.
pub(crate) fn plain(id: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": process(&["true"]),
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "cgroupsPath": format!("/coffer-test-{id}"),
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
        },
    })
}

/// Whether nothing is left of the container's cgroup.
pub(crate) fn cgroup_gone(id: &str) -> bool {
    !Path::new(&format!("/sys/fs/cgroup/pids/coffer-test-{id}")).exists()
}
