//! Ending a pod whose agent is lost, with real processes in real cgroups: needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sandbox::{LostPod, Settings, kill_pod};
use testing::{guard, leaks::Snapshot};

/// A pod's cgroups and directory under unique names, gone at the end whatever happens.
struct Pod {
    settings: Settings,
    lost: LostPod,
    root: String,
    snapshot: Snapshot,
    _cgroups: [guard::Cgroup; 3],
    _dir: tempfile::TempDir,
}

impl Pod {
    /// `parent`: the containers' cgroup below the test's own root; empty for the pod's own.
    fn new(parent: &str) -> Pod {
        let dir = tempfile::Builder::new()
            .prefix("coffer-lost-")
            .tempdir()
            .unwrap();
        let root = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let snapshot = Snapshot::take(&[&root]);
        let mut settings = Settings::new(PathBuf::from("/nowhere/coffer-agent"));
        settings.cgroup_root = root.clone();
        let cgroup_parent = match parent {
            "" => settings.pod_cgroup("p1"),
            parent => format!("/{root}-kubelet/{parent}"),
        };
        let lost = LostPod {
            id: "p1".to_owned(),
            dir: dir.path().to_owned(),
            cgroup_parent,
            containers: vec!["c1".to_owned(), "c2".to_owned()],
        };
        let cgroups = ["", "-agents", "-kubelet"]
            .map(|suffix| guard::Cgroup::new(format!("/{root}{suffix}")));
        Pod {
            settings,
            lost,
            root,
            snapshot,
            _cgroups: cgroups,
            _dir: dir,
        }
    }

    fn kill(&self) {
        let start = Instant::now();
        kill_pod(&self.settings, &self.lost).unwrap();
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            start.elapsed()
        );
    }
}

/// Hierarchies to put the test's processes in: those that need no preparation.
fn hierarchies() -> Vec<PathBuf> {
    let all = guard::cgroup_mounts();
    let wanted = |mount: &PathBuf| !mount.join("cpuset.cpus").exists();
    let found: Vec<PathBuf> = all.into_iter().filter(wanted).collect();
    assert!(!found.is_empty(), "no cgroup hierarchy is mounted");
    found
}

fn dirs(cgroup: &str) -> Vec<PathBuf> {
    hierarchies()
        .iter()
        .map(|mount| mount.join(cgroup.trim_start_matches('/')))
        .collect()
}

/// A process, with a child of its own, in a cgroup; killed and reaped at the end.
struct Running {
    child: Child,
}

impl Running {
    fn start(cgroup: &str, script: &str) -> Running {
        let child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for dir in dirs(cgroup) {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        let mut running = Running { child };
        std::io::Write::write_all(running.child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        running
    }

    fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TWO: &str = "sleep 300 & sleep 300";
const IGNORING: &str = "trap '' TERM INT HUP; sleep 300 & sleep 300; sleep 300";

#[test]
fn processes_cgroups_and_files_go_and_a_second_time_is_success() {
    let pod = Pod::new("");
    let mut running = [
        Running::start(&format!("{}/c1", pod.lost.cgroup_parent), TWO),
        Running::start(&format!("{}/c2", pod.lost.cgroup_parent), IGNORING),
        Running::start(&pod.settings.agent_cgroup("p1"), TWO),
    ];
    for file in ["agent.sock", "agent.json"] {
        fs::write(pod.lost.dir.join(file), "{").unwrap();
    }
    fs::write(pod.lost.dir.join("agent.log"), "kept").unwrap();
    pod.kill();
    assert!(running.iter_mut().all(Running::is_dead));
    for file in ["agent.sock", "agent.json"] {
        assert!(!pod.lost.dir.join(file).exists(), "{file} is left");
    }
    assert!(pod.lost.dir.join("agent.log").exists());
    pod.snapshot.assert_clean();
    pod.kill();
}

#[test]
fn a_fork_bomb_dies() {
    let pod = Pod::new("");
    let cgroup = format!("{}/c1", pod.lost.cgroup_parent);
    // Replaces itself all the time: who lists the processes and kills them one by one is too late.
    let script = "hop() { (sleep 0.001; hop) & }; \
                  i=0; while [ $i -lt 20 ]; do hop; i=$((i+1)); done; sleep 300";
    let mut bomb = Running::start(&cgroup, script);
    std::thread::sleep(Duration::from_millis(200));
    pod.kill();
    assert!(bomb.is_dead());
    pod.snapshot.assert_clean();
}

#[test]
fn paused_containers_die() {
    let pod = Pod::new("");
    let cgroup = format!("{}/c1", pod.lost.cgroup_parent);
    let mut running = Running::start(&cgroup, TWO);
    let mut paused = 0;
    for dir in dirs(&cgroup) {
        for (file, word) in [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")] {
            if dir.join(file).exists() {
                fs::write(dir.join(file), word).unwrap();
                paused += 1;
            }
        }
    }
    assert_ne!(paused, 0, "no freezer is there");
    pod.kill();
    assert!(running.is_dead());
    pod.snapshot.assert_clean();
}

#[test]
fn storages_that_the_agent_has_listed_are_unmounted() {
    use rustix::mount::{MountFlags, mount};
    let pod = Pod::new("");
    let at = |name: &str| pod.lost.dir.join(name);
    let (below, above, kept) = (at("volume"), at("volume/in/it"), at("kept"));
    let mounted = |path: &Path| {
        fs::create_dir_all(path).unwrap();
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), None).unwrap();
        guard::Mount::new(path)
    };
    let mounts = [mounted(&below), mounted(&above), mounted(&kept)];
    // One was listed and never mounted.
    let listed = [&below, &above, &at("never")].map(|path| format!("{}\0", path.display()));
    let list = at("containers/storages");
    fs::create_dir(at("containers")).unwrap();
    fs::write(&list, listed.concat()).unwrap();
    pod.kill();
    let left = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = pod.lost.dir.to_str().unwrap();
    let left: Vec<_> = left.lines().filter(|line| line.contains(ours)).collect();
    assert!(left.len() == 1 && left[0].contains("/kept "), "{left:?}");
    assert!(!below.exists() && !list.exists());
    drop(mounts);
    pod.kill();
}

#[test]
fn a_kubelets_cgroup_and_its_neighbours_stay() {
    let pod = Pod::new("pod7");
    let parent = pod.lost.cgroup_parent.clone();
    let mut ours = Running::start(&format!("{parent}/c1"), TWO);
    let mut neighbour = Running::start(&format!("{parent}/somebody"), "exec sleep 300");
    pod.kill();
    assert!(ours.is_dead());
    assert!(
        !neighbour.is_dead(),
        "a process of somebody else was killed"
    );
    for dir in dirs(&parent) {
        assert!(dir.exists(), "{} is the kubelet's", dir.display());
        assert!(!dir.join("c1").exists());
    }
    neighbour.child.kill().unwrap();
    neighbour.child.wait().unwrap();
}

#[test]
fn a_recorded_agent_is_killed_and_a_reused_pid_is_not() {
    let pod = Pod::new("");
    let mut other = Running::start(&format!("/{}-kubelet/other", pod.root), "exec sleep 300");
    let pid = other.child.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks: u64 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let record = |ticks: u64| {
        let text = format!(
            r#"{{"version":1,"pod":"p1","pid":{pid},"start_ticks":{ticks},"protocol":1,
                "agent_version":"0","cgroup_parent":"/x","agent_cgroup":"/y"}}"#
        );
        fs::write(pod.lost.dir.join("agent.json"), text).unwrap();
    };
    record(ticks + 1);
    pod.kill();
    assert!(!other.is_dead(), "a process with a reused pid was killed");
    record(ticks);
    pod.kill();
    assert!(other.is_dead());
}

#[test]
fn an_agent_without_a_record_is_known_by_its_arguments() {
    let pod = Pod::new("");
    let state = pod.lost.dir.join("containers");
    let spawn = |state: &Path| {
        use std::os::unix::process::CommandExt;
        // The shell's own arguments after the script are what /proc/<pid>/cmdline shows.
        let child = Command::new("sh")
            .arg0("coffer-agent")
            .args(["-c", "sleep 300; true", "--listen", "fd://0", "--state"])
            .arg(state)
            .arg("--cgroup")
            .spawn()
            .unwrap();
        Running { child }
    };
    let mut ours = spawn(&state);
    let mut another = spawn(&pod.lost.dir.join("containers2"));
    // The child has executed when its arguments show.
    let shown = |running: &Running| {
        fs::read(format!("/proc/{}/cmdline", running.child.id()))
            .is_ok_and(|arguments| arguments.starts_with(b"coffer-agent\0-c"))
    };
    while !shown(&ours) || !shown(&another) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Their children would outlive them: the guard of the snapshot's prefix names them.
    let children = |running: &Running| {
        let pid = running.child.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    };
    let guards: Vec<guard::Process> = [&ours, &another]
        .iter()
        .flat_map(|running| {
            children(running)
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .map(guard::Process::new)
                .collect::<Vec<_>>()
        })
        .collect();
    pod.kill();
    assert!(ours.is_dead());
    assert!(!another.is_dead(), "the agent of another pod was killed");
    drop(guards);
}
