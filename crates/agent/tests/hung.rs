//! What hangs in one place delays nothing elsewhere.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_api::grpc;
use agent_api::sandbox;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, process, soon, status, text, until};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

/// A filesystem whose server answers nothing: whoever looks at it waits, until this is dropped.
struct Hung {
    device: Option<File>,
    point: PathBuf,
}

impl Hung {
    fn mount(point: &Path) -> Self {
        fs::create_dir(point).unwrap();
        Self::over(point)
    }

    /// Covers a directory.
    fn over(point: &Path) -> Self {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            device.as_raw_fd()
        );
        let data = std::ffi::CString::new(data).unwrap();
        mount(
            "hung",
            point,
            "fuse",
            MountFlags::empty(),
            Some(data.as_c_str()),
        )
        .unwrap();
        Self {
            device: Some(device),
            point: point.to_owned(),
        }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // The server is gone: those who wait get ENOTCONN.
        drop(self.device.take());
        let _ = unmount(&self.point, UnmountFlags::DETACH);
    }
}

/// Everything that a pod does every second.
async fn lives(pod: &Pod, calls: &Calls, id: &str) {
    calls
        .run(&pod.container(id, &["sleep", "100"], |_| {}))
        .await;
    assert_eq!(calls.sh(id, "echo hi").await.1, "hi\n");
    let request = grpc::StatsContainerRequest {
        container_id: id.into(),
    };
    calls.agent.stats_container(soon(), &request).await.unwrap();
    calls.signal(id, id, 9).await.unwrap();
    assert_eq!(calls.wait(id).await.exit_code, 137);
    calls.remove(id).await;
}

#[tokio::test]
async fn a_volume_that_hangs_delays_its_own_callers_only() {
    let (pod, calls) = Pod::sandbox().await;
    let calls = Arc::new(calls);
    let hung = Hung::mount(&pod.dir.path().join("nfs"));
    let ask = |calls: Arc<Calls>, path: String| async move {
        let request = grpc::VolumeStatsRequest {
            volume_guest_path: path,
        };
        calls.agent.get_volume_stats(soon(), &request).await
    };
    let path = text(&hung.point);
    let mut waiting = Vec::new();
    until("as many hang as may", async || {
        waiting.push(tokio::spawn(ask(Arc::clone(&calls), path.clone())));
        let refused = ask(Arc::clone(&calls), "/".into()).await;
        refused.is_err_and(|e| e.to_string().contains("hang"))
    })
    .await;
    let (code, _) = status(ask(Arc::clone(&calls), "/".into()).await);
    assert_eq!(code, Code::RESOURCE_EXHAUSTED);
    lives(&pod, &calls, "c1").await;
    drop(hung);
    for call in waiting {
        assert!(call.await.unwrap().is_err());
    }
    until("volumes are looked at again", async || {
        ask(Arc::clone(&calls), "/".into()).await.is_ok()
    })
    .await;
    pod.destroy(Arc::into_inner(calls).unwrap()).await;
}

/// The directories of a process's cgroup that hold its memory and its CPU figures, in either version.
fn cgroups_of(pid: i32) -> Vec<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let dirs = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let mount = match controllers {
            "" => "unified",
            "memory" => "memory",
            _ if controllers.split(',').any(|c| c == "cpuacct") => controllers,
            _ => return None,
        };
        [format!("/sys/fs/cgroup/{mount}"), "/sys/fs/cgroup".into()]
            .map(|mount| Path::new(&mount).join(path))
            .into_iter()
            .find(|dir| dir.join("cgroup.procs").exists())
    });
    dirs.collect()
}

#[tokio::test]
async fn a_cgroup_that_hangs_delays_its_own_container_only() {
    let (pod, calls) = Pod::sandbox().await;
    let calls = Arc::new(calls);
    let pid = calls
        .create(&pod.container("stuck", &["sleep", "100"], |_| {}))
        .await;
    calls.start("stuck").await;
    let dirs = cgroups_of(pid);
    assert!(
        dirs.iter()
            .all(|d| d.display().to_string().contains(&pod.name))
            && !dirs.is_empty(),
        "{dirs:?}"
    );
    let hung: Vec<_> = dirs.iter().map(|dir| Hung::over(dir)).collect();
    let ask = |calls: Arc<Calls>| async move {
        let request = grpc::StatsContainerRequest {
            container_id: "stuck".into(),
        };
        calls.agent.stats_container(soon(), &request).await
    };
    let mut waiting = Vec::new();
    until("as many hang as may", async || {
        let call = tokio::spawn(ask(Arc::clone(&calls)));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        match call.is_finished() {
            true => status(call.await.unwrap()).0 == Code::RESOURCE_EXHAUSTED,
            false => {
                waiting.push(call);
                false
            }
        }
    })
    .await;
    // The end of the stuck one looks at its cgroup too.
    calls.signal("stuck", "stuck", 9).await.unwrap();
    let removal = {
        let calls = Arc::clone(&calls);
        let request = grpc::RemoveContainerRequest {
            container_id: "stuck".into(),
            timeout: 10,
        };
        tokio::spawn(async move { calls.agent.remove_container(soon(), &request).await })
    };
    lives(&pod, &calls, "c1").await;
    let (ended, waiting): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|call| call.is_finished());
    assert!(!removal.is_finished() && !waiting.is_empty());
    for call in ended {
        // Refused, too, but not within those 20 ms.
        assert_eq!(status(call.await.unwrap()).0, Code::RESOURCE_EXHAUSTED);
    }
    drop(hung);
    for call in waiting {
        // Whatever it is: it is an answer.
        drop(call.await.unwrap());
    }
    // It may have been looking at the cgroup when that answered with an error.
    if removal.await.unwrap().is_err() {
        calls.remove("stuck").await;
    }
    pod.destroy(Arc::into_inner(calls).unwrap()).await;
}

#[tokio::test]
async fn a_mount_that_hangs_delays_its_own_container_only() {
    let (pod, calls) = Pod::sandbox().await;
    let calls = Arc::new(calls);
    let hung = Hung::mount(&pod.dir.path().join("nfs"));
    let mut stuck = pod.container("stuck", &["true"], |_| {});
    stuck.storages = vec![grpc::Storage {
        driver: "bind".into(),
        source: text(&hung.point.join("volume")),
        mount_point: text(&pod.dir.path().join("point")),
        ..Default::default()
    }];
    let create = {
        let calls = Arc::clone(&calls);
        tokio::spawn(async move { calls.own.create_container(soon(), &stuck).await })
    };
    // It is being made once its name is taken.
    until("the create hangs", async || {
        let again = pod.container("stuck", &["true"], |_| {});
        let again = calls.own.create_container(soon(), &again).await;
        again.is_err_and(|e| e.to_string().contains("already exists"))
    })
    .await;
    let mut other = pod.container("other", &["sleep", "100"], |_| {});
    other.storages = vec![grpc::Storage {
        driver: "ephemeral".into(),
        source: "tmpfs".into(),
        mount_point: text(&pod.dir.path().join("memory")),
        ..Default::default()
    }];
    calls.run(&other).await;
    calls.remove("other").await;
    lives(&pod, &calls, "c1").await;
    drop(hung);
    assert!(create.await.unwrap().is_err());
    pod.destroy(Arc::into_inner(calls).unwrap()).await;
}

#[tokio::test]
async fn a_hook_that_hangs_delays_its_own_container_only() {
    let (pod, calls) = Pod::sandbox().await;
    let calls = Arc::new(calls);
    let gate = pod.dir.path().join("gate");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let hooked = pod.container("hooked", &["sleep", "100"], |spec| {
        spec["hooks"] = json!({ "createRuntime": [{
            "path": "/bin/sh", "args": ["sh", "-c", format!("read line <{}", gate.display())],
        }]});
    });
    let create = {
        let calls = Arc::clone(&calls);
        tokio::spawn(async move { calls.own.create_container(soon(), &hooked).await })
    };
    lives(&pod, &calls, "c1").await;
    assert!(!create.is_finished());
    let mut gate = OpenOptions::new().write(true).open(gate).unwrap();
    gate.write_all(b"go\n").unwrap();
    create.await.unwrap().unwrap();
    pod.destroy(Arc::into_inner(calls).unwrap()).await;
}

/// What an agent holds.
fn held(pod: &Pod) -> (usize, usize) {
    let count = |what: &str| {
        fs::read_dir(format!("/proc/{}/{what}", pod.pid()))
            .unwrap()
            .count()
    };
    (count("fd"), count("task"))
}

/// Memory that nothing but this agent has: the text that it shares with other agents counts more when
/// those end.
fn own_kib(pod: &Pod) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pod.pid())).unwrap();
    let line = rollup
        .lines()
        .find_map(|l| l.strip_prefix("Pss_Anon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs `count` processes in c1, `at_once` at a time.
async fn run_many(calls: &Arc<Calls>, count: usize, at_once: usize) {
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let calls = Arc::clone(calls);
            tokio::spawn(async move {
                for n in 0..count / at_once {
                    let request = sandbox::ExecCollectRequest {
                        container_id: "c1".into(),
                        process_json: match n % 10 {
                            0 => process(&["no-such-program"]),
                            1 => process(&["sh", "-c", "sleep 0.01 & echo hi"]),
                            _ => process(&["echo", "hi"]),
                        },
                        ..Default::default()
                    };
                    match calls.collect(&request).await {
                        Ok((exit, out, _)) => assert_eq!((exit.code, &*out), (0, &b"hi\n"[..])),
                        Err(e) => assert!(n % 10 == 0, "{e}"),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn many_execs_leave_nothing() {
    let count = std::env::var("COFFER_SOAK_EXECS").ok();
    let count = count.map_or(20_000, |text| text.parse().unwrap());
    let (pod, calls) = Pod::sandbox().await;
    let calls = Arc::new(calls);
    // Its first process reaps the background children, or they would fill the pid namespace.
    let first = ["sh", "-c", "while :; do sleep 1; done"];
    calls.run(&pod.container("c1", &first, |_| {})).await;
    run_many(&calls, 200, 200).await;
    run_many(&calls, 2_000, 8).await;
    let quiet = async || {
        // Threads of the pool end after half a second without work.
        until("the pool is empty", async || held(&pod).1 <= 2).await;
        (held(&pod), own_kib(&pod))
    };
    let (before, own) = quiet().await;
    run_many(&calls, count, 8).await;
    let (after, own_after) = quiet().await;
    assert_eq!(before, after, "descriptors and tasks");
    // The heap may settle; 64 bytes for each exec, the least that could be left, would be more.
    assert!(
        own_after <= own + 1024,
        "memory grew from {own} to {own_after} KiB"
    );
    calls.remove("c1").await;
    pod.destroy(Arc::into_inner(calls).unwrap()).await;
}
