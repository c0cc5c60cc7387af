//! containerd with `ctr run --runc-binary coffer-oci`: its shim calls us as it calls runc.
//!
//! containerd gets directories and sockets of its own below one directory, and its containers run from
//! a root filesystem in a directory (`--rootfs`), so that no image is needed.

mod common;

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};

use common::{eventually, finish, program};
use tempfile::TempDir;
use testing::leaks::Snapshot;

struct Containerd {
    dir: TempDir,
    prefix: String,
    daemon: Child,
    before: Snapshot,
}

impl Containerd {
    fn new() -> Self {
        let prefix = format!("coffer-ctr-{}-", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .expect("a directory");
        let before = Snapshot::take(&[&prefix]);
        testing::rootfs::busybox(&dir.path().join("rootfs")).expect("a root");
        let below = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\",\n\
             \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\",\n\
             \"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.devmapper\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            below("root"),
            below("state"),
            below("sock"),
            below("sock.ttrpc")
        );
        std::fs::write(dir.path().join("config.toml"), config).expect("writes");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .expect("a log");
        let daemon = Command::new("containerd")
            .arg("--config")
            .arg(dir.path().join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd is installed");
        let containerd = Self {
            prefix,
            daemon,
            before,
            dir,
        };
        let socket = containerd.dir.path().join("sock");
        eventually("containerd listens", || {
            UnixStream::connect(&socket).is_ok()
        });
        containerd
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn ctr(&self, words: &[&str]) -> Output {
        // Its containers' cgroups are below one that is named like this.
        let namespace = format!("{}ns", self.prefix);
        Command::new("ctr")
            .arg("--address")
            .arg(self.dir.path().join("sock"))
            .args(["--namespace", &namespace])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("ctr is installed")
    }

    #[track_caller]
    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.ctr(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, options: &[&str], id: &str, args: &[&str]) -> Output {
        let below = |name: &str| self.dir.path().join(name).display().to_string();
        let (root, rootfs) = (below("runc"), below("rootfs"));
        let mut words = vec!["run", "--runc-binary", program(), "--runc-root", &root];
        words.extend(options);
        words.extend(["--rootfs", &rootfs, id]);
        words.extend(args);
        self.ctr(&words)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let tasks = self.ctr(&["task", "ls", "-q"]);
        for id in String::from_utf8_lossy(&tasks.stdout).lines() {
            self.ctr(&["task", "rm", "--force", id]);
        }
        let _ = sys::kill::kill(i32::try_from(self.daemon.id()).unwrap_or(0), 15);
        finish(&mut self.daemon);
        drop(testing::guard::Cgroup::new(format!("/{}ns", self.prefix)));
        if !std::thread::panicking() {
            self.before.assert_clean();
        }
    }
}

#[test]
fn run_gives_output_and_exit_code() {
    let containerd = Containerd::new();
    let id = containerd.name("run");
    let output = containerd.run(
        &["--rm"],
        &id,
        &["sh", "-c", "echo out; echo err >&2; exit 6"],
    );
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    let output = containerd.run(&["--rm"], &containerd.name("none"), &["frobnicate"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("executable file not found in $PATH"),
        "{output:?}"
    );
}

#[test]
fn a_task_is_entered_paused_killed_and_removed() {
    let containerd = Containerd::new();
    let id = containerd.name("life");
    let output = containerd.run(&["--detach"], &id, &["sleep", "1000"]);
    assert!(output.status.success(), "{output:?}");
    let status = |wanted: &str| {
        let list = containerd.succeeds(&["task", "ls"]);
        let line = list.lines().find(|line| line.starts_with(&id));
        line.is_some_and(|line| line.ends_with(wanted))
    };
    assert!(status("RUNNING"));
    let exec = [
        "task",
        "exec",
        "--exec-id",
        "e1",
        &id,
        "sh",
        "-c",
        "echo in; exit 7",
    ];
    let output = containerd.ctr(&exec);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n");
    containerd.succeeds(&["task", "pause", &id]);
    assert!(status("PAUSED"));
    containerd.succeeds(&["task", "resume", &id]);
    assert!(status("RUNNING"));
    assert_eq!(containerd.succeeds(&["task", "ps", &id]).lines().count(), 2);
    containerd.succeeds(&["task", "kill", "--signal", "KILL", &id]);
    eventually("it has ended", || status("STOPPED"));
    // Its exit code is that of the task.
    assert_eq!(containerd.ctr(&["task", "rm", &id]).status.code(), Some(0));
    containerd.succeeds(&["container", "rm", &id]);
}
