//! Machines never stay behind, whatever happens to those who started them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::zombie_processes,
    reason = "a test that cannot go on fails; the guard's drop reaps"
)]

use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guest::run::{self, Run};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use vm_tests::{cache, kernel};

/// Killed and reaped when dropped.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run<'a>(script: &'a str, seconds: u64) -> Run<'a> {
    Run {
        script,
        programs: &[],
        files: &[],
        modules: &[],
        append: "",
        memory: 256,
        cpus: 1,
        disk: 0,
        systemd: false,
        deadline: Duration::from_secs(seconds),
        silence: Duration::from_secs(seconds),
        out: None,
    }
}

#[test]
fn output_exit_code_and_files_come_back() {
    let out = tempfile::tempdir().unwrap();
    let script = "echo said; echo more >&2; mkdir /out/dir; echo kept > /out/dir/file; \
                  cat /sys/fs/cgroup/cgroup.controllers; cat /sys/module/apparmor/parameters/enabled; exit 7";
    let mut output = Vec::new();
    let run = Run {
        out: Some(out.path()),
        ..run(script, 120)
    };
    let code = run::run(&kernel(), &run, |bytes| output.extend_from_slice(bytes)).unwrap();
    let output = String::from_utf8(output).unwrap();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!((code, &lines[..2]), (7, &["said", "more"][..]), "{output}");
    for controller in ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"] {
        assert!(lines[2].split(' ').any(|c| c == controller), "{output}");
    }
    assert_eq!(lines[3], "Y", "AppArmor");
    let kept = std::fs::read_to_string(out.path().join("dir/file")).unwrap();
    assert_eq!(kept, "kept\n");
}

#[test]
fn a_machine_that_does_not_end_is_killed_at_its_deadline() {
    let began = Instant::now();
    let mut said = false;
    // Long enough to boot on a busy machine; the script never ends.
    let error = run::run(
        &kernel(),
        &run("echo up; while :; do sleep 1; done", 40),
        |_| said = true,
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("the machine was still running after 40s"),
        "{error}"
    );
    assert!(said && began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_machine_that_hangs_tells_where() {
    let run = Run {
        silence: Duration::from_secs(40),
        ..run("while :; do sleep 1; done", 200)
    };
    let error = run::run(&kernel(), &run, |_| {}).unwrap_err();
    assert!(matches!(error, guest::Error::Hangs { .. }), "{error}");
    let error = error.to_string();
    for part in [
        "nothing came from the machine for 40s",
        "RIP=",
        "Kernel panic - not syncing: NMI",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_killed_owner_takes_its_machine_along() {
    // A killed owner cannot take its files away.
    let temporary = tempfile::tempdir().unwrap();
    let mut owner = Command::new(vm_tests::programs::binary("guest"));
    owner.env("TMPDIR", temporary.path());
    owner.arg("--cache").arg(cache());
    owner.args(["sh", "echo up; sleep 1000"]);
    owner.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut owner = Reaped(owner.spawn().unwrap());
    let mut line = String::new();
    let stdout = owner.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let owner_pid = i32::try_from(owner.0.id()).unwrap();
    let qemu = children(owner_pid);
    let [qemu] = qemu[..] else {
        panic!("not one child: {qemu:?}");
    };
    let name = std::fs::read_to_string(format!("/proc/{qemu}/comm")).unwrap();
    assert!(name.starts_with("qemu-system"), "{name}");
    let open = |pid| pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let (owner_fd, qemu) = (open(owner_pid), open(qemu));
    pidfd_send_signal(owner_fd.as_fd(), Signal::KILL).unwrap();
    let mut ended = [PollFd::new(&qemu, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut ended, Some(&limit)).unwrap(), 1, "QEMU lives on");
}

/// Children of all threads of a process.
fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let all: Vec<String> = lists.collect();
    all.iter()
        .flat_map(|list| list.split_whitespace())
        .map(|pid| pid.parse().unwrap())
        .collect()
}
