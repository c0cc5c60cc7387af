//! The first process of a shared pid namespace. It has one task, to have its orphans reaped, and leaves
//! even that to the kernel: it ignores SIGCHLD, whereupon children that end are not kept as zombies.
//!
//! ```text
//!   mov edi, SIGCHLD            bf 11 00 00 00
//!   lea rsi, [rip + ignore]     48 8d 35 1c 00 00 00
//!   xor edx, edx                31 d2
//!   mov r10d, 8                 41 ba 08 00 00 00
//!   mov eax, rt_sigaction       b8 0d 00 00 00
//!   syscall                     0f 05
//! 1:mov eax, pause              b8 22 00 00 00
//!   syscall                     0f 05
//!   jmp 1b                      eb f7
//! ignore: SIG_IGN, no flags, no mask
//! ```
//! This program is the whole root filesystem of an ordinary container without capabilities: who gets
//! hold of it (`/proc/1` is visible to all of the pod) has gained a read-only page of memory.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use container::cgroup::Cgroup;
use container::{ContainerId, ContainerRef, CreateRequest, Gate, Rootfs, Stdio};
use oci::runtime::{LinuxNamespace, NamespaceType, Spec};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use serde_json::json;

use crate::agent::Agent;
use crate::error::Error;
use crate::namespaces::{Namespaces, path_of};
use crate::process::Process;
use crate::reaper::Busy;
use crate::stdio::Streams;

/// Where a program is loaded.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: u64 = 64 + 56;

const CODE: &[u8] = &[
    0xbf, 0x11, 0, 0, 0, 0x48, 0x8d, 0x35, 0x1c, 0, 0, 0, 0x31, 0xd2, 0x41, 0xba, 8, 0, 0, 0, 0xb8,
    0x0d, 0, 0, 0, 0x0f, 0x05, 0xb8, 0x22, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7, 0x0f, 0x1f, 0x40, 0,
    // ignore:
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A running reaper.
#[derive(Debug)]
pub(crate) struct PodReaper {
    pub(crate) process: Arc<Process>,
    id: ContainerId,
    spec: Spec,
    bundle: PathBuf,
    cgroup: Cgroup,
}

impl PodReaper {
    /// Takes away what is left of it; to be called after its end.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let container = ContainerRef {
            id: &self.id,
            spec: &self.spec,
            bundle: &self.bundle,
            init_pid: 0,
            init_pidfd: None,
            cgroup: &self.cgroup,
            annotations: ::container::Annotations::Ignored,
        };
        ::container::destroy(&container).map_err(|e| Error::core("remove it", self.id.as_str(), e))
    }
}

/// Starts a reaper in a pid namespace of its own and the pod's other namespaces.
///
/// # Errors
/// Another machine than x86-64, or what the core reports.
pub(crate) fn start(
    agent: &Agent,
    busy: &Busy,
    namespaces: &Namespaces,
    cgroup_parent: &str,
) -> Result<PodReaper, Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Unimplemented(
            "a shared pid namespace on this machine",
        ));
    }
    const NAME: &str = "pod-reaper";
    let id = ContainerId::new(NAME).map_err(|e| Error::Internal(e.to_string()))?;
    let spec = spec(namespaces, cgroup_parent)?;
    let bundle = agent.state.dir.clone();
    let request = CreateRequest {
        id: &id,
        spec: &spec,
        bundle: &bundle,
        rootfs: Rootfs::Mount(root().map_err(|e| Error::io("make", "the pod reaper's root", e))?),
        stdio: Stdio::Fds {
            stdin: None,
            stdout: None,
            stderr: None,
        },
        gate: Gate::None,
        preserve_fds: 0,
        no_pivot: false,
        no_new_keyring: false,
        extra_env: Vec::new(),
        cgroup_path: None,
        clamp_capabilities: false,
    };
    let core = agent
        .engine
        .create(request)
        .map_err(|e| Error::core("start it", NAME, e))?;
    busy.adopt(core.init.pid);
    let cgroup = core.cgroup.clone();
    let init = core.init;
    let process = Arc::new(Process::new(
        init.pid,
        Arc::new(init.pidfd),
        Streams::none(),
    ));
    Ok(PodReaper {
        process,
        id,
        spec,
        bundle,
        cgroup,
    })
}

fn spec(namespaces: &Namespaces, cgroup_parent: &str) -> Result<Spec, Error> {
    let document = json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/pod-reaper"], "cwd": "/", "noNewPrivileges": true, "oomScoreAdj": 0,
            "user": { "uid": 0, "gid": 0 }, "capabilities": {}
        },
        "root": { "path": "/", "readonly": true },
        "linux": {
            // No container id holds a tilde.
            "cgroupsPath": format!("{}/~pod-reaper", cgroup_parent.trim_end_matches('/')),
            "namespaces": [{ "type": "pid" }, { "type": "mount" }]
        }
    });
    let mut spec = oci::runtime::parse(document.to_string().as_bytes())
        .map_err(|e| Error::Internal(format!("the pod reaper's spec: {e}")))?;
    let shared = [
        (NamespaceType::Ipc, &namespaces.ipc),
        (NamespaceType::Uts, &namespaces.uts),
        (NamespaceType::Network, &namespaces.net),
    ];
    for (type_, fd) in shared {
        if let (Some(fd), Some(linux)) = (fd, &mut spec.linux) {
            let path = Some(path_of(fd).display().to_string());
            linux.namespaces.push(LinuxNamespace { type_, path });
        }
    }
    Ok(spec)
}

/// A detached tmpfs that holds the program and nothing else.
fn root() -> std::io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("mode", "0555"), ("size", "64k"), ("nr_inodes", "32")] {
        fsconfig_set_string(fs.as_fd(), key, value)?;
    }
    fsconfig_create(fs.as_fd())?;
    let mount = fsmount(
        fs.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&mount, "pod-reaper", flags, Mode::from_raw_mode(0o555))?;
    std::fs::File::from(file).write_all(&program())?;
    Ok(mount)
}

/// The smallest ELF file around the code: one segment, loaded as it is.
fn program() -> Vec<u8> {
    let size = HEADERS + u64::try_from(CODE.len()).unwrap_or(0);
    let mut elf = Vec::with_capacity(256);
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // Type EXEC, machine x86-64, version 1.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    // Entry point, program headers, no section headers.
    for value in [BASE + HEADERS, 64, 0] {
        elf.extend(value.to_le_bytes());
    }
    // Flags, header size, size and number of program headers, no section headers.
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // LOAD, read and execute: offset, addresses, sizes, alignment.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_runs_and_ignores_its_children() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pod-reaper");
        std::fs::write(&path, program()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o555)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let ignores = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let mask = status
                .lines()
                .find_map(|l| l.strip_prefix("SigIgn:"))
                .unwrap_or("0");
            u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & (1 << 16) != 0
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !ignores() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let (ignoring, ended) = (ignores(), child.try_wait().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ignoring && ended.is_none(), "{ended:?}");
    }

    #[test]
    fn the_root_holds_the_program() {
        let root = root().unwrap();
        let file = openat(&root, "pod-reaper", OFlags::RDONLY, Mode::empty()).unwrap();
        let mode = rustix::fs::fstat(&file).unwrap().st_mode;
        assert_eq!(mode & 0o777, 0o555);
    }
}
