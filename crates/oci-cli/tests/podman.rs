//! podman with `--runtime coffer-oci`: conmon calls us as it calls runc.
//!
//! podman gets storage, state and temporary directories of its own below one directory, and its
//! containers run from an exploded root filesystem (`--rootfs`), so that no image is needed.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use common::{eventually, program};
use tempfile::TempDir;
use testing::leaks::Snapshot;

struct Podman {
    dir: TempDir,
    prefix: String,
    before: Snapshot,
}

impl Podman {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("coffer-podman-{}-{count}-", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .expect("a directory");
        let podman = Self {
            before: Snapshot::take(&[&prefix]),
            dir,
            prefix,
        };
        testing::rootfs::busybox(&podman.rootfs()).expect("a root");
        // podman 4.3 forgets `--runtime-flag` when it cleans up: the state directory of the test is
        // said by a script.
        let state = podman.dir.path().join("state");
        let script = format!(
            "#!/bin/sh\nexec {} --root {} \"$@\"\n",
            program(),
            state.display()
        );
        std::fs::write(podman.runtime(), script).expect("the script");
        std::fs::set_permissions(podman.runtime(), std::fs::Permissions::from_mode(0o755))
            .expect("chmod");
        podman
    }

    fn runtime(&self) -> String {
        self.dir.path().join("coffer-oci").display().to_string()
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// podman makes it and leaves it.
    fn cgroup_parent(&self) -> String {
        format!("/{}cgroup", self.prefix)
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn podman(&self, args: &[&str]) -> Command {
        let dir = |name: &str| self.dir.path().join(name);
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(dir("root"))
            .arg("--runroot")
            .arg(dir("run"));
        command.arg("--tmpdir").arg(dir("tmp"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "none", "--runtime", &self.runtime()]);
        command.args(args).stdin(std::process::Stdio::null());
        // Volumes and locks of the system's podman stay out of it.
        command
            .env("XDG_DATA_HOME", dir("data"))
            .env("HOME", self.dir.path());
        command
    }

    fn call(&self, args: &[&str]) -> Output {
        self.podman(args).output().expect("podman is installed")
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the kernel holds a container to.
    fn memory_limit(&self, name: &str) -> String {
        let pid = self.succeeds(&["inspect", "-f", "{{.State.Pid}}", name]);
        let pid = pid.trim().parse().expect("a pid");
        let hierarchy = container::cgroup::Hierarchy::probe().expect("cgroups");
        let cgroup = container::cgroup::Cgroup::of_process(&hierarchy, pid).expect("its cgroup");
        let paths = cgroup.paths();
        let file = match paths.get("memory") {
            Some(dir) => dir.join("memory.limit_in_bytes"),
            None => paths[""].join("memory.max"),
        };
        let text = std::fs::read_to_string(file).expect("a limit");
        text.trim().to_owned()
    }

    /// `podman run` of the root filesystem with what this machine and the test need.
    fn run(&self, name: &str, options: &[&str], args: &[&str]) -> Output {
        let (name, rootfs) = (self.name(name), self.rootfs());
        let mut words = vec!["run", "--name", &name, "--network", "none"];
        words.extend([
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
        ]);
        let parent = self.cgroup_parent();
        words.extend(["--cgroup-parent", &parent]);
        words.extend(options);
        let rootfs = rootfs.to_str().expect("UTF-8").to_owned();
        words.extend(["--rootfs", &rootfs]);
        words.extend(args);
        self.call(&words)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.call(&["rm", "--all", "--force", "--time", "0"]);
        unmount_below(self.dir.path());
        drop(testing::guard::Cgroup::new(self.cgroup_parent()));
        // For controllers that are not mounted podman makes plain directories of its name.
        let places = std::fs::read_dir("/sys/fs/cgroup");
        for place in places.into_iter().flatten().flatten() {
            let name = format!("{}cgroup", self.prefix);
            let _ = std::fs::remove_dir_all(place.path().join(name));
        }
        if !std::thread::panicking() {
            let left: Vec<_> = std::fs::read_dir(self.dir.path().join("state"))
                .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
                .unwrap_or_default();
            assert!(
                left.iter().all(|name| name == "seccomp~"),
                "records left: {left:?}"
            );
            self.before.assert_clean();
        }
    }
}

/// podman leaves a bind mount of its storage on itself.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut points: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    points.reverse();
    for point in points
        .into_iter()
        .filter(|point| Path::new(point).starts_with(dir))
    {
        drop(testing::guard::Mount::new(point));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_gives_output_and_exit_code() {
    let podman = Podman::new();
    let output = podman.run(
        "run",
        &["--rm"],
        &["sh", "-c", "echo out; echo err >&2; exit 6"],
    );
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
}

#[test]
fn a_container_is_entered_stopped_and_removed() {
    let podman = Podman::new();
    let name = podman.name("life");
    let script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";
    let output = podman.run("life", &["-d"], &["sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    eventually("the log has the first line", || {
        podman.succeeds(&["logs", &name]) == "hello\n"
    });

    assert_eq!(
        podman.succeeds(&["exec", "-u", "1000:44", &name, "id", "-u"]),
        "1000\n"
    );
    let output = podman.call(&["exec", &name, "sh", "-c", "exit 9"]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let output = podman.call(&["exec", &name, "frobnicate"]);
    assert_eq!(
        output.status.code(),
        Some(127),
        "podman knows the message: {output:?}"
    );
    let state = podman.succeeds(&["inspect", "-f", "{{.State.Status}} {{.OCIRuntime}}", &name]);
    assert_eq!(state, format!("running {}\n", podman.runtime()));

    podman.succeeds(&["stop", "--time", "10", &name]);
    assert_eq!(podman.succeeds(&["logs", &name]), "hello\nbye\n");
    let state = podman.succeeds(&[
        "inspect",
        "-f",
        "{{.State.Status}} {{.State.ExitCode}}",
        &name,
    ]);
    assert_eq!(state, "exited 0\n");
    podman.succeeds(&["start", &name]);
    podman.succeeds(&["kill", "--signal", "KILL", &name]);
    podman.succeeds(&["rm", "--force", "--time", "0", &name]);
}

#[test]
fn messages_reach_podmans_user() {
    let podman = Podman::new();
    let output = podman.run("missing", &["--rm"], &["frobnicate"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert!(
        text(&output.stderr).contains("executable file not found in $PATH"),
        "{output:?}"
    );
    let output = podman.run("denied", &["--rm"], &["/etc/passwd"]);
    assert_eq!(output.status.code(), Some(126), "{output:?}");
}

#[test]
fn a_terminal_works() {
    let podman = Podman::new();
    let output = podman.run("tty", &["--rm", "-t"], &["sh", "-c", "tty; exit 3"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(text(&output.stdout), "/dev/pts/0\r\n");
}

#[test]
fn pause_limits_and_stats() {
    let podman = Podman::new();
    let name = podman.name("limits");
    let output = podman.run(
        "limits",
        &["-d", "--memory", "64m", "--pids-limit", "20"],
        &["sleep", "100"],
    );
    assert!(output.status.success(), "{output:?}");
    podman.succeeds(&["pause", &name]);
    assert_eq!(
        podman.succeeds(&["inspect", "-f", "{{.State.Status}}", &name]),
        "paused\n"
    );
    podman.succeeds(&["unpause", &name]);
    let format = ["--no-stream", "--format", "{{.PIDs}} {{.MemUsageBytes}}"];
    let mut words = vec!["stats"];
    words.extend(format);
    words.push(&name);
    let stats = podman.succeeds(&words);
    assert!(
        stats.starts_with("1 ") && stats.contains("/ 64MiB"),
        "{stats}"
    );
    podman.succeeds(&["update", "--memory", "32m", "--cpus", "0.5", &name]);
    // podman's own figures go on telling the limit of its start.
    assert_eq!(podman.memory_limit(&name), "33554432");
    podman.succeeds(&["rm", "--force", "--time", "0", &name]);
}
