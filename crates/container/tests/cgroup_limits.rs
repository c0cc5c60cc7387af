//! Control groups on this machine: limits and device rules, as the kernel then has them. Needs root.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod cgroup_support;

use std::fs;

use cgroup_support::*;
use container::cgroup::Cgroup;

#[test]
fn memory_limits_move_up_down_and_away_in_any_order() {
    let cgroup = TestCgroup::new(&host(), "memory");
    let limits = |c: &Cgroup| {
        (
            file(c, "memory", "memory.limit_in_bytes")
                .parse::<u64>()
                .unwrap()
                >> 20,
            file(c, "memory", "memory.memsw.limit_in_bytes")
                .parse::<u64>()
                .unwrap()
                >> 20,
        )
    };
    let mib = |limit: i64, swap: i64| {
        format!(
            r#"{{"memory":{{"limit":{},"swap":{}}}}}"#,
            limit << 20,
            swap << 20
        )
    };
    apply(&cgroup, &mib(64, 128)).unwrap();
    assert_eq!(limits(&cgroup), (64, 128));
    apply(&cgroup, &mib(256, 512)).unwrap();
    assert_eq!(limits(&cgroup), (256, 512));
    apply(&cgroup, &mib(32, 32)).unwrap();
    assert_eq!(limits(&cgroup), (32, 32));
    // A limit above the old sum, with the sum unlimited.
    apply(&cgroup, r#"{"memory":{"limit":1073741824,"swap":-1}}"#).unwrap();
    assert_eq!(limits(&cgroup).0, 1024);
    apply(&cgroup, &mib(16, 16)).unwrap();
    apply(&cgroup, r#"{"memory":{"limit":-1}}"#).unwrap();
    assert!(limits(&cgroup).0 > 1 << 40 && limits(&cgroup).1 > 1 << 40);
    apply(&cgroup, r#"{"memory":{"limit":0,"swap":0}}"#).unwrap();
    let usage = cgroup.stats().unwrap().memory.unwrap();
    assert_eq!(usage.usage.limit, u64::MAX);

    apply(
        &cgroup,
        r#"{"memory":{"reservation":33554432,"swappiness":30}}"#,
    )
    .unwrap();
    assert_eq!(
        file(&cgroup, "memory", "memory.soft_limit_in_bytes"),
        "33554432"
    );
    assert_eq!(file(&cgroup, "memory", "memory.swappiness"), "30");
    apply(
        &cgroup,
        r#"{"memory":{"swappiness":0,"disableOOMKiller":true}}"#,
    )
    .unwrap();
    assert_eq!(file(&cgroup, "memory", "memory.swappiness"), "0");
    assert!(file(&cgroup, "memory", "memory.oom_control").starts_with("oom_kill_disable 1"));
    apply(
        &cgroup,
        r#"{"memory":{"disableOOMKiller":false,"useHierarchy":true}}"#,
    )
    .unwrap();
    assert!(file(&cgroup, "memory", "memory.oom_control").starts_with("oom_kill_disable 0"));
}

#[test]
fn settings_that_the_kernel_only_pretends_to_take_are_errors() {
    let cgroup = TestCgroup::new(&host(), "pretend");
    let e = apply(&cgroup, r#"{"memory":{"kernel":33554432}}"#).unwrap_err();
    let text = e.to_string();
    assert!(
        text.contains("memory.kernel") && text.contains("memory.kmem.limit_in_bytes"),
        "{text}"
    );
    apply(&cgroup, r#"{"memory":{"kernel":-1,"kernelTCP":-1}}"#).unwrap();
    for (json, setting) in [
        (r#"{"network":{"classID":5}}"#, "network.classID"),
        (
            r#"{"network":{"priorities":[{"name":"lo","priority":3}]}}"#,
            "network.priorities",
        ),
        (r#"{"rdma":{"mlx5_0":{"hcaHandles":3}}}"#, "rdma"),
        (r#"{"unified":{"memory.high":"1"}}"#, "unified.memory.high"),
        (r#"{"blockIO":{"leafWeight":100}}"#, "blockIO.leafWeight"),
        (
            r#"{"hugepageLimits":[{"pageSize":"3MB","limit":3145728}]}"#,
            "hugepageLimits",
        ),
        (
            r#"{"memory":{"useHierarchy":false}}"#,
            "memory.useHierarchy",
        ),
    ] {
        let e = apply(&cgroup, json).unwrap_err();
        assert!(e.to_string().contains(setting), "{json}: {e}");
    }
    // A limit of nothing on a page size that is not there holds already.
    apply(
        &cgroup,
        r#"{"hugepageLimits":[{"pageSize":"3MB","limit":0}]}"#,
    )
    .unwrap();
}

#[test]
fn cpu_pids_cpuset_and_block_limits_arrive() {
    let cgroup = TestCgroup::new(&host(), "limits");
    apply(
        &cgroup,
        r#"{"cpu":{"shares":512,"quota":20000,"period":50000,"burst":10000,
                   "cpus":"0","mems":"0"},
            "pids":{"limit":17},
            "blockIO":{"weight":250}}"#,
    )
    .unwrap();
    for (controller, name, want) in [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_burst_us", "10000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "17"),
        ("blkio", "blkio.bfq.weight", "250"),
    ] {
        assert_eq!(file(&cgroup, controller, name), want, "{name}");
    }
    // The quota falls below the old burst, then everything is lifted.
    apply(&cgroup, r#"{"cpu":{"quota":5000,"burst":1000}}"#).unwrap();
    assert_eq!(file(&cgroup, "cpu", "cpu.cfs_quota_us"), "5000");
    assert_eq!(file(&cgroup, "cpu", "cpu.cfs_burst_us"), "1000");
    apply(
        &cgroup,
        r#"{"cpu":{"quota":-1,"burst":0,"idle":1},"pids":{"limit":-1}}"#,
    )
    .unwrap();
    assert_eq!(file(&cgroup, "cpu", "cpu.cfs_quota_us"), "-1");
    assert_eq!(file(&cgroup, "cpu", "cpu.idle"), "1");
    assert_eq!(file(&cgroup, "pids", "pids.max"), "max");
    // From idle to a weight: the weight is only taken after the flag is gone.
    apply(&cgroup, r#"{"cpu":{"shares":2048,"idle":0}}"#).unwrap();
    assert_eq!(file(&cgroup, "cpu", "cpu.shares"), "2048");

    let e = apply(&cgroup, r#"{"cpu":{"cpus":"4000"}}"#)
        .unwrap_err()
        .to_string();
    assert!(e.starts_with("set cpu.cpus: write \"4000\" to /"), "{e}");
    let e = apply(&cgroup, r#"{"cpu":{"realtimeRuntime":9500000}}"#)
        .unwrap_err()
        .to_string();
    assert!(e.contains("cpu.realtimeRuntime"), "{e}");
}

#[test]
fn block_throttles_name_a_device() {
    let cgroup = TestCgroup::new(&host(), "throttle");
    let device = fs::read_dir("/sys/block")
        .unwrap()
        .next()
        .expect("a block device")
        .unwrap();
    let number = fs::read_to_string(device.path().join("dev")).unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    let at = format!(r#""major":{major},"minor":{minor}"#);
    apply(
        &cgroup,
        &format!(
            r#"{{"blockIO":{{"throttleReadBpsDevice":[{{{at},"rate":1048576}}],
                "throttleWriteIOPSDevice":[{{{at},"rate":100}}]}}}}"#
        ),
    )
    .unwrap();
    let line = |rate| format!("{major}:{minor} {rate}");
    assert_eq!(
        file(&cgroup, "blkio", "blkio.throttle.read_bps_device"),
        line("1048576")
    );
    assert_eq!(
        file(&cgroup, "blkio", "blkio.throttle.write_iops_device"),
        line("100")
    );
}

#[test]
fn hugetlb_of_a_hybrid_machine_is_in_its_cgroup2() {
    let cgroup = TestCgroup::new(&host(), "hugetlb");
    apply(
        &cgroup,
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
    )
    .unwrap();
    assert_eq!(file(&cgroup, "", "hugetlb.2MB.max"), "4194304");
    let usage = cgroup.stats().unwrap().hugetlb["2MB"];
    assert_eq!((usage.usage, usage.limit), (0, 4_194_304));
}

#[test]
fn a_new_cpuset_takes_its_parents_cpus() {
    let cgroup = TestCgroup(Cgroup::create(&host(), &format!("{}/a/b", unique("set"))).unwrap());
    let (top, name) = match host().is_v2() {
        true => ("/sys/fs/cgroup", "cpuset.cpus.effective"),
        false => ("/sys/fs/cgroup/cpuset", "cpuset.cpus"),
    };
    let root = fs::read_to_string(format!("{top}/{name}")).unwrap();
    assert_eq!(file(&cgroup, "cpuset", name), root.trim());
    let mut child = run_in(&cgroup, "exit 3");
    assert_eq!(child.end(), -3, "a task can enter");
}

#[test]
fn device_rules_hold_and_change_without_a_gap() {
    for hierarchy in [host(), host_v2()] {
        let cgroup = TestCgroup::new(&hierarchy, "devices");
        let can = |script: &str| run_in(&cgroup, script).end() == 0;
        let (zero, null) = ("exec head -c1 /dev/zero", "echo > /dev/null");
        assert!(can(zero), "everything is allowed at first");
        // The shell itself opens /dev/null, so that it stays allowed.
        let rules = |zero: &str| {
            format!(
                r#"{{"devices":[{{"allow":false,"access":"rwm"}},
                    {{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}}{zero}]}}"#
            )
        };
        apply(&cgroup, &rules("")).unwrap();
        assert!(!can(zero) && can(null));
        apply(
            &cgroup,
            &rules(r#",{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}"#),
        )
        .unwrap();
        assert!(can(zero) && can(null));
        assert!(!can("echo > /dev/zero"), "reading only");
        // The same rules again, with a cgroup below, which forbids v1 to deny all. (In cgroup2 the
        // one above could then hold no process of the test.)
        let below = (!hierarchy.is_v2())
            .then(|| Cgroup::create(&hierarchy, &format!("{}/below", cgroup.path())).unwrap());
        apply(&cgroup, &rules("")).unwrap();
        assert!(!can(zero) && can(null));
        if let Some(below) = below {
            below.remove().unwrap();
        }
        apply(
            &cgroup,
            r#"{"devices":[{"allow":true,"type":"a","access":"rwm"}]}"#,
        )
        .unwrap();
        assert!(can(zero) && can("echo > /dev/zero"));
    }
}
