//! Cgroups and processes of a test, gone when it ends.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries that use parts of it"
)]

use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use container::cgroup::{Cgroup, Error, Hierarchy, Mount};
use oci::runtime::LinuxResources;

/// A path that no other test uses.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("/coffer-test-{}-{count}-{what}", std::process::id())
}

/// The hierarchies of this machine.
pub fn host() -> Hierarchy {
    Hierarchy::probe().unwrap()
}

/// The cgroup2 of this machine as if it were all there is. On a hybrid machine it lacks most
/// controllers, but kill, freeze, devices and pids are the kernel's own.
pub fn host_v2() -> Hierarchy {
    match host() {
        Hierarchy::V1 { unified, .. } => Hierarchy::V2 {
            mount: unified.expect("a cgroup2 is mounted somewhere"),
        },
        v2 => v2,
    }
}

pub fn mount(point: PathBuf) -> Mount {
    Mount {
        point,
        root: "/".to_owned(),
    }
}

/// A cgroup that is emptied and removed at the end.
pub struct TestCgroup(pub Cgroup);

impl TestCgroup {
    pub fn new(hierarchy: &Hierarchy, what: &str) -> TestCgroup {
        TestCgroup(Cgroup::create(hierarchy, &unique(what)).unwrap())
    }
}

impl Deref for TestCgroup {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = self.0.thaw();
        let _ = self.0.signal_all(9);
        let _ = self.0.remove();
    }
}

/// A child that is killed and reaped at the end.
pub struct TestChild(pub Child);

impl TestChild {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// True once the script's `exec sleep` is done: it is then in every hierarchy.
    pub fn sleeps(&self) -> bool {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", self.pid()));
        comm.is_ok_and(|t| t == "sleep\n")
    }

    /// Waits for its end; the signal that ended it, or its code as a negative number.
    pub fn end(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.0.wait().unwrap();
        status.signal().unwrap_or_else(|| -status.code().unwrap())
    }
}

impl Drop for TestChild {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a shell script in the cgroup; it moves itself in before it does anything else.
pub fn run_in(cgroup: &Cgroup, script: &str) -> TestChild {
    let dirs: Vec<String> = cgroup
        .paths()
        .values()
        .map(|p| format!("echo 0 > {}/cgroup.procs", p.display()))
        .collect();
    let script = format!("{} && {script}", dirs.join(" && "));
    let mut child = Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It moves from hierarchy to hierarchy: in the last one it is in all, unless it has ended.
    let pid = child.id().to_string();
    let inside = |dir: &std::path::PathBuf| {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        procs.lines().any(|line| line == pid)
    };
    eventually("the child is inside or gone", || {
        cgroup.paths().values().all(inside) || child.try_wait().unwrap().is_some()
    });
    TestChild(child)
}

/// Waits until the condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 s"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// Applies limits given as JSON.
pub fn apply(cgroup: &Cgroup, json: &str) -> Result<(), Error> {
    cgroup.apply(&resources(json))
}

/// A control file of the cgroup; in cgroup2 one directory has those of all controllers.
pub fn file(cgroup: &Cgroup, controller: &str, name: &str) -> String {
    let paths = cgroup.paths();
    let dir = paths.get(controller).unwrap_or_else(|| &paths[""]);
    let path = dir.join(name);
    std::fs::read_to_string(&path).unwrap().trim().to_owned()
}
