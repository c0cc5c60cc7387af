//! A runtime that is killed at any moment leaves no process behind, and nothing that `delete` cannot
//! remove; short runs under load end.

mod common;

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{HUNG, Oci, eventually, finish, script, sleeper};
use container::cgroup::{Cgroup, Hierarchy};
use testing::bundle::Bundle;

#[test]
fn a_create_that_is_killed_leaves_no_waiting_process() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let path = bundle.path().to_str().expect("UTF-8");
    let hierarchy = Hierarchy::probe().expect("cgroups");
    let (mut aborted, mut whole) = (0, 0);
    // From before the first step to after the last, on any machine.
    for n in 0_u64.. {
        let id = oci.id(&format!("k{n}"));
        let mut child = oci
            .command(&["create", "-b", path, &id])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_micros(n * 400));
        let _ = child.kill();
        let code = finish(&mut child);
        let recorded = oci.root().join(&id).join("state.json").exists();
        if recorded {
            whole += u32::from(code == 0);
        } else {
            aborted += 1;
            assert_ne!(code, 0, "a create that ended well has a record");
            eventually("its process has ended too", || {
                match Cgroup::open(&hierarchy, &id) {
                    Ok(cgroup) => cgroup.pids().expect("pids").is_empty(),
                    Err(_) => true,
                }
            });
        }
        oci.run(&["delete", "--force", &id]).succeeds();
        assert!(
            Cgroup::open(&hierarchy, &id).is_err(),
            "the cgroup of {id} is gone"
        );
        if whole == 5 {
            break;
        }
    }
    assert!(aborted > 0, "some were killed in time");
}

#[test]
fn two_hundred_short_runs_under_load_all_end() {
    let (oci, bundle) = (Oci::new(), script("exit 3"));
    let path = bundle.path().to_str().expect("UTF-8");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let runs: Vec<_> = (0..4)
            .map(|worker| {
                let oci = &oci;
                scope.spawn(move || {
                    let one = |n: u32| {
                        let id = oci.id(&format!("w{worker}-{n}"));
                        let mut child = oci
                            .command(&["run", "-b", path, &id])
                            .spawn()
                            .expect("starts");
                        finish(&mut child)
                    };
                    (0..50).map(one).collect::<Vec<i32>>()
                })
            })
            .collect();
        let codes: Vec<i32> = runs
            .into_iter()
            .flat_map(|run| run.join().expect("a worker"))
            .collect();
        done.store(true, Ordering::Relaxed);
        drop(load);
        assert!(!codes.contains(&HUNG), "{codes:?}");
        assert_eq!(codes, vec![3; 200]);
    });
}

#[test]
fn a_frozen_cgroup_is_no_place_to_start_in() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let path = bundle.path().to_str().expect("UTF-8");
    let id = oci.id("frozen");
    let hierarchy = Hierarchy::probe().expect("cgroups");
    let cgroup = Cgroup::create(&hierarchy, &id).expect("a cgroup");
    cgroup.freeze().expect("frozen");
    for command in ["run", "create"] {
        oci.run(&[command, "-b", path, &id])
            .fails(1, &["container's cgroup unexpectedly frozen"]);
    }
    cgroup.thaw().expect("thawed");
    assert!(cgroup.exists(), "what was there before stays");
    cgroup.remove().expect("removed");
    oci.assert_empty();
}

#[test]
fn a_cgroup_of_somebody_elses_processes_is_no_place_to_start_in() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let first = oci.start("first", &bundle);
    let shared = Bundle::new(&["true"], |spec| {
        spec["linux"]["cgroupsPath"] = serde_json::json!(format!("/{first}"));
    })
    .expect("a bundle");
    for command in ["run", "create"] {
        let path = shared.path().to_str().expect("UTF-8");
        oci.run(&[command, "-b", path, &oci.id("second")])
            .fails(1, &["container's cgroup is not empty", &first]);
    }
    assert_eq!(oci.status(&first), "running");
    oci.run(&["exec", &first, "true"]).succeeds();
}
