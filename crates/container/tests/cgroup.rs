//! Control groups on this machine: real directories, processes, limits and kills. Needs root.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod cgroup_support;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cgroup_support::*;
use container::cgroup::{Cgroup, Error, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[test]
fn a_cgroup_is_made_everywhere_and_removed_with_its_parents() {
    let path = format!("{}/middle/leaf", unique("parents"));
    let cgroup = TestCgroup(Cgroup::create(&host(), &path).unwrap());
    let paths = cgroup.paths();
    let v1: &[&str] = match host().is_v2() {
        true => &[],
        false => &[
            "memory", "cpu", "cpuacct", "pids", "devices", "freezer", "cpuset",
        ],
    };
    for &controller in v1 {
        assert!(
            paths[controller].ends_with(&path[1..]),
            "{controller}: {:?}",
            paths[controller]
        );
        assert!(paths[controller].is_dir(), "{controller}");
    }
    assert!(
        paths[""].join("cgroup.kill").exists(),
        "the cgroup2 of a hybrid machine is used"
    );
    assert_eq!(paths.contains_key("name=systemd"), !host().is_v2());
    assert!(!cgroup.was_joined());
    cgroup.remove().unwrap();
    for dir in paths.values() {
        assert!(!dir.exists() && !dir.parent().unwrap().exists(), "{dir:?}");
        assert!(!dir.ancestors().nth(2).unwrap().exists(), "{dir:?}");
    }
    cgroup.remove().unwrap();
    assert!(!cgroup.exists());
    let e = Cgroup::open(&host(), &path).unwrap_err();
    assert!(matches!(e, Error::NotFound(_)), "{e}");
}

#[test]
fn parents_that_others_use_stay() {
    let base = unique("shared");
    let first = TestCgroup(Cgroup::create(&host(), &format!("{base}/a")).unwrap());
    let second = TestCgroup(Cgroup::create(&host(), &format!("{base}/b")).unwrap());
    first.remove().unwrap();
    assert!(second.exists());
    second.remove().unwrap();
    let parent = TestCgroup(Cgroup::open(&host(), &base).unwrap());
    parent.remove().unwrap();
    assert!(!parent.exists());
}

#[test]
fn an_existing_cgroup_is_joined_and_left_alone_while_in_use() {
    let owner = TestCgroup::new(&host(), "joined");
    let mut inhabitant = run_in(&owner, "exec sleep 1000");
    eventually("it is inside", || {
        owner.pids().unwrap().contains(&inhabitant.pid())
    });
    let guest = Cgroup::create(&host(), owner.path()).unwrap();
    assert!(guest.was_joined());
    guest.remove().unwrap();
    assert!(owner.exists(), "someone lives there");
    let again = Cgroup::from_record(&host(), &guest.record()).unwrap();
    assert!(again.was_joined());
    again.remove().unwrap();
    assert!(owner.exists());
    inhabitant.0.kill().unwrap();
    inhabitant.end();
    guest.remove().unwrap();
    assert!(!owner.exists(), "empty, so it goes");
}

#[test]
fn a_record_lets_another_process_remove_what_was_made() {
    let path = format!("{}/x", unique("record"));
    let cgroup = TestCgroup(Cgroup::create(&host(), &path).unwrap());
    let json = serde_json::to_string(&cgroup.record()).unwrap();
    let record: Record = serde_json::from_str(&json).unwrap();
    let found = Cgroup::from_record(&host(), &record).unwrap();
    assert_eq!(found.paths(), cgroup.paths());
    found.remove().unwrap();
    for dir in cgroup.paths().values() {
        assert!(!dir.parent().unwrap().exists(), "{dir:?}");
    }
}

#[test]
fn a_recorded_place_counts_only_while_the_cgroup_is_there() {
    let elsewhere = tempfile::tempdir().unwrap();
    let cgroup = TestCgroup(Cgroup::create(&host(), &unique("places")).unwrap());
    let record = cgroup.record();
    let paths = |record: &Record| Cgroup::reopen(record).unwrap().paths();
    assert_eq!(paths(&record), cgroup.paths());
    // No place, as older records have it; a place that is no cgroup's: looked for again.
    let mut without = record.clone();
    without.places.clear();
    assert_eq!(paths(&without), cgroup.paths());
    let mut moved = record.clone();
    moved.places[0].point = elsewhere.path().to_owned();
    std::fs::create_dir(elsewhere.path().join(cgroup.path().trim_start_matches('/'))).unwrap();
    assert_eq!(paths(&moved), cgroup.paths());
    cgroup.remove().unwrap();
    assert!(Cgroup::reopen(&record).unwrap().paths().is_empty());
    assert!(
        elsewhere
            .path()
            .join(cgroup.path().trim_start_matches('/'))
            .is_dir()
    );
}

#[test]
fn a_record_can_not_name_directories_outside() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::create_dir(&victim).unwrap();
    let cgroup = TestCgroup::new(&host(), "forged");
    let stranger = TestCgroup::new(&host(), "stranger");
    let mut record = cgroup.record();
    record.made_parents.push(victim.clone());
    record.made_parents.extend(stranger.paths().into_values());
    Cgroup::from_record(&host(), &record)
        .unwrap()
        .remove()
        .unwrap();
    assert!(!cgroup.exists());
    assert!(victim.exists());
    assert!(stranger.exists());
}

#[test]
fn creation_survives_the_removal_of_its_empty_parent() {
    let base = unique("race");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let probe = host();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok(parent) = Cgroup::open(&probe, &base) {
                    for dir in parent.paths().values() {
                        let _ = fs::remove_dir(dir);
                    }
                }
            }
        });
        let mut made = 0;
        for n in 0..50 {
            match Cgroup::create(&probe, &format!("{base}/c{n}")) {
                Ok(cgroup) => {
                    made += 1;
                    cgroup.remove().unwrap();
                }
                Err(e) => assert_eq!(e.raw_os_error(), Some(2), "{e}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(made > 25, "only {made} of 50 were made");
    });
    if let Ok(parent) = Cgroup::open(&host(), &base) {
        parent.remove().unwrap();
    }
}

#[test]
fn bad_paths_are_refused_before_anything_is_made() {
    for path in ["/a/../b", "..", "/", "", "/a/./b"] {
        let e = Cgroup::create(&host(), path).unwrap_err();
        assert!(e.is_invalid_input(), "{path}: {e}");
    }
    // A name that is a control file is no cgroup, and nothing is left of the attempt.
    let base = unique("names");
    let e = Cgroup::create(&host(), &format!("{base}/cgroup.procs")).unwrap_err();
    assert!(e.to_string().starts_with("make cgroup"), "{e}");
    assert!(Cgroup::open(&host(), &base).is_err());
}

#[test]
fn a_child_enters_by_writing_zero_and_from_outside_by_pid() {
    let cgroup = TestCgroup::new(&host(), "enter");
    let fds = cgroup.join_fds().unwrap();
    let v1: BTreeSet<_> = cgroup
        .paths()
        .into_iter()
        .filter(|(k, _)| !k.is_empty())
        .collect();
    assert_eq!(
        fds.len(),
        v1.iter().map(|(_, p)| p).collect::<BTreeSet<_>>().len()
    );
    // "0" is whoever writes: a shell that inherits the file as its stdout.
    for fd in fds {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "echo 0; read wait"])
            .stdin(std::process::Stdio::piped())
            .stdout(fd)
            .spawn()
            .unwrap();
        let child = TestChild(child);
        eventually("it is inside", || cgroup.pids().unwrap() == [child.pid()]);
    }
    assert!(cgroup.dir_fd().unwrap().is_some());
    let outside = TestChild(
        std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap(),
    );
    cgroup.add(outside.pid()).unwrap();
    assert_eq!(cgroup.pids().unwrap(), [outside.pid()]);
    let text = fs::read_to_string(format!("/proc/{}/cgroup", outside.pid())).unwrap();
    for line in text.lines() {
        assert!(line.ends_with(cgroup.path()), "{line}");
    }
    let found = Cgroup::of_process(&host(), outside.pid()).unwrap();
    assert_eq!(found.paths(), cgroup.paths());
}

#[test]
fn the_whole_subtree_is_seen_killed_and_removed() {
    for hierarchy in [host(), host_v2()] {
        let cgroup = TestCgroup::new(&hierarchy, "subtree");
        let inner = Cgroup::create(&hierarchy, &format!("{}/inner/most", cgroup.path())).unwrap();
        // A cgroup2 with controllers for its children holds no processes itself.
        let other = Cgroup::create(&hierarchy, &format!("{}/other", cgroup.path())).unwrap();
        let mut children = [
            run_in(&other, "trap '' TERM; while :; do sleep 1000; done"),
            run_in(&inner, "trap '' TERM; while :; do sleep 1000; done"),
        ];
        eventually("both and their sleeps are inside", || {
            cgroup.pids().unwrap().len() == 4
        });
        cgroup.signal_all(9).unwrap();
        for child in &mut children {
            assert_eq!(child.end(), 9);
        }
        cgroup.remove().unwrap();
        assert!(!inner.exists());
    }
}

#[test]
fn other_signals_reach_everybody_too() {
    for hierarchy in [host(), host_v2()] {
        let cgroup = TestCgroup::new(&hierarchy, "signal");
        // USR1 is 10; SIGRTMIN+1 is 35.
        for signal in [10, 15, 35] {
            let mut children: Vec<_> = (0..3).map(|_| run_in(&cgroup, "exec sleep 1000")).collect();
            eventually("all inside", || children.iter().all(TestChild::sleeps));
            cgroup.signal_all(signal).unwrap();
            for child in &mut children {
                assert_eq!(child.end(), signal);
            }
        }
        assert!(!cgroup.frozen().unwrap());
    }
}

#[test]
fn a_fork_bomb_dies_at_one_stroke() {
    for hierarchy in [host(), host_v2()] {
        let cgroup = TestCgroup::new(&hierarchy, "bomb");
        // Every shell makes a new one and goes, so that there are only a few at any time.
        let bomb = "bomb() { bomb & }; for i in 1 2 3 4 5; do bomb; done; wait";
        let _child = run_in(&cgroup, bomb);
        eventually("it forks", || cgroup.pids().is_ok_and(|p| p.len() > 2));
        cgroup.signal_all(9).unwrap();
        eventually("all are gone", || {
            cgroup.pids().unwrap().iter().all(|&p| zombie(p))
        });
        cgroup.remove().unwrap();
    }
}

/// The test itself is the parent of one: reaped when its guard goes.
fn zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ")
}

#[test]
fn the_frozen_stand_still_and_can_be_killed() {
    for hierarchy in [host(), host_v2()] {
        let cgroup = TestCgroup::new(&hierarchy, "freeze");
        let mut child = run_in(&cgroup, "while :; do :; done");
        eventually("it is inside", || !cgroup.pids().unwrap().is_empty());
        assert!(!cgroup.frozen().unwrap());
        cgroup.freeze().unwrap();
        assert!(cgroup.frozen().unwrap());
        let used = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
            stat.split(' ').nth(13).unwrap().to_owned()
        };
        let before = used();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(used(), before, "no CPU time while frozen");
        cgroup.thaw().unwrap();
        assert!(!cgroup.frozen().unwrap());
        eventually("it runs again", || used() != before);
        cgroup.freeze().unwrap();
        cgroup.signal_all(9).unwrap();
        assert_eq!(child.end(), 9);
    }
}

#[test]
fn stats_count_what_was_used() {
    let cgroup = TestCgroup::new(&host(), "stats");
    apply(
        &cgroup,
        r#"{"memory":{"limit":268435456},"pids":{"limit":40}}"#,
    )
    .unwrap();
    let mut busy = run_in(&cgroup, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done");
    let sleeper = run_in(&cgroup, "exec sleep 1000");
    assert_eq!(busy.end(), 0);
    eventually("only the sleeper is left", || {
        cgroup.pids().unwrap() == [sleeper.pid()]
    });
    // The kernel adds up the counters of its CPUs every two seconds (since 5.16).
    eventually("what is used is counted", || {
        let memory = cgroup.stats().unwrap().memory.unwrap();
        memory.rss > 0 && memory.page_faults > 0
    });
    let stats = cgroup.stats().unwrap();
    let cpu = stats.cpu.unwrap();
    assert!(cpu.total_ns > 10_000_000, "{cpu:?}");
    // v1 charges user and system time by whole ticks, which on a busy machine adds up.
    assert!(
        cpu.user_ns + cpu.system_ns <= 2 * cpu.total_ns + 50_000_000,
        "{cpu:?}"
    );
    assert!(cpu.user_ns > 1_000_000, "{cpu:?}");
    let by_cpu: u64 = cpu.percpu_ns.iter().sum();
    let v2 = host().is_v2();
    assert!(v2 || by_cpu > 10_000_000, "{cpu:?}");
    let memory = stats.memory.unwrap();
    assert_eq!(memory.usage.limit, 268_435_456);
    assert!(memory.usage.usage > 0 && memory.usage.max_usage >= memory.usage.usage);
    assert!(memory.working_set <= memory.usage.usage && memory.working_set > 0);
    assert!(memory.rss > 0 && memory.page_faults > 0, "{memory:?}");
    let of_this_version = if v2 { "anon" } else { "total_rss" };
    assert!(memory.stat.contains_key(of_this_version));
    assert!(memory.swap.is_some() && (v2 || memory.kernel.is_some()));
    let pids = stats.pids.unwrap();
    assert_eq!((pids.current, pids.limit), (1, 40));
    assert!(stats.blkio.is_some());
    assert!(stats.pressure.cpu.is_some() && stats.pressure.memory.is_some());
}

#[test]
fn throttling_is_seen() {
    let cgroup = TestCgroup::new(&host(), "throttled");
    apply(&cgroup, r#"{"cpu":{"quota":2000,"period":20000}}"#).unwrap();
    let _busy = run_in(&cgroup, "while :; do :; done");
    eventually("it is throttled", || {
        let cpu = cgroup.stats().unwrap().cpu.unwrap();
        cpu.throttled_periods > 2 && cpu.throttled_ns > 0 && cpu.periods >= cpu.throttled_periods
    });
}

#[test]
fn every_oom_kill_is_counted() {
    let cgroup = TestCgroup::new(&host(), "oom");
    apply(&cgroup, r#"{"memory":{"limit":12582912,"swap":12582912}}"#).unwrap();
    let mut watch = cgroup.oom_watch().unwrap();
    assert_eq!(watch.drain().unwrap(), 0);
    let (rounds, mut counted) = (6, 0);
    for round in 1..=rounds {
        // tail keeps its whole input, as it has no line.
        let mut eater = run_in(&cgroup, "exec tail /dev/zero");
        let began = std::time::Instant::now();
        while counted < round {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{counted} of {round} kills seen"
            );
            let timeout = watch.recheck_after().unwrap_or(Duration::from_secs(5));
            let timeout = Timespec::try_from(timeout).unwrap();
            poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&timeout)).unwrap();
            counted += watch.drain().unwrap();
        }
        assert_eq!(eater.end(), 9);
    }
    assert_eq!(counted, rounds);
    assert_eq!(cgroup.oom_kills().unwrap(), rounds);
    assert_eq!(cgroup.stats().unwrap().memory.unwrap().oom_kills, rounds);
    cgroup.remove().unwrap();
    assert_eq!(watch.drain().unwrap(), 0, "a removed cgroup has no news");
    assert!(watch.recheck_after().is_none());
}

#[test]
fn a_limit_below_the_use_is_refused_when_asked_to_check() {
    let cgroup = TestCgroup::new(&host(), "check");
    let _eater = run_in(&cgroup, "head -c 8000000 /dev/zero | tail | sleep 1000");
    let used = || cgroup.stats().unwrap().memory.unwrap().usage.usage;
    eventually("memory is used", || used() > 4 << 20);
    let json = r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#;
    let e = apply(&cgroup, json).unwrap_err();
    assert!(e.to_string().contains("bytes are in use"), "{e}");
    assert_eq!(
        cgroup.stats().unwrap().memory.unwrap().usage.limit,
        u64::MAX
    );
}

#[test]
fn a_busy_cgroup_is_an_error_that_counts_its_processes() {
    let cgroup = TestCgroup::new(&host(), "busy");
    let child = run_in(&cgroup, "exec sleep 1000");
    eventually("it is inside", || child.sleeps());
    let e = cgroup.remove().unwrap_err();
    assert!(matches!(e, Error::Busy { pids: 1, .. }), "{e}");
    assert!(cgroup.exists());
}

#[test]
fn a_device_rule_that_v1_would_ignore_is_refused() {
    let cgroup = TestCgroup::new(&host(), "narrow");
    let json = r#"{"devices":[{"allow":true,"type":"c","major":1,"access":"rwm"},
        {"allow":false,"type":"c","major":1,"minor":5,"access":"w"}]}"#;
    let e = apply(&cgroup, json).unwrap_err();
    assert!(e.to_string().contains("one by one"), "{e}");
    apply(&TestCgroup::new(&host_v2(), "narrow2"), json).unwrap();
}

#[test]
fn nothing_is_written_when_one_value_is_wrong() {
    let cgroup = TestCgroup::new(&host(), "atomic");
    let json = r#"{"pids":{"limit":5},"cpu":{"shares":1}}"#;
    let e = apply(&cgroup, json).unwrap_err();
    assert!(e.to_string().starts_with("cpu.shares is 1"), "{e}");
    assert_eq!(file(&cgroup, "pids", "pids.max"), "max");
}
