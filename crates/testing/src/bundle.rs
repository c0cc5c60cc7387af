//! OCI bundles: a temporary directory with `config.json` and a busybox `rootfs`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle that is removed when dropped.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
}

impl Bundle {
    /// Makes a bundle that runs `args` in all namespaces but user and time; `edit` changes the
    /// configuration before it is written.
    ///
    /// # Errors
    /// busybox-static is not installed, or the temporary directory cannot be written.
    pub fn new(args: &[&str], edit: impl FnOnce(&mut Value)) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("coffer-bundle-")
            .tempdir()?;
        super::rootfs::busybox(&dir.path().join("rootfs"))?;
        let mut spec = spec(args);
        edit(&mut spec);
        let bundle = Self { dir };
        bundle.write(&spec)?;
        Ok(bundle)
    }

    /// Replaces `config.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, spec: &Value) -> io::Result<()> {
        fs::write(
            self.path().join("config.json"),
            serde_json::to_vec_pretty(spec)?,
        )
    }

    /// The bundle's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The root filesystem's directory.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }
}

/// A runtime-spec configuration like `runc spec` gives, without a terminal.
#[must_use]
pub fn spec(args: &[&str]) -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/sbin:/usr/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"]
        }
    })
}
