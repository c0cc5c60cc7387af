//! Control groups on trees in a directory: what this machine's kernel does not have, such as the
//! controllers of a pure cgroup v2, is tested on the files that such a kernel shows.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod cgroup_support;

use std::collections::BTreeMap;
use std::fs;

use cgroup_support::{apply, mount};
use container::cgroup::{Cgroup, Hierarchy};

/// Files that a v2 kernel shows in a new cgroup, empty here so that a write shows as it is.
const V2_FILES: [&str; 21] = [
    "memory.max",
    "memory.swap.max",
    "memory.low",
    "memory.high",
    "cpu.weight",
    "cpu.max",
    "cpu.max.burst",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "io.bfq.weight",
    "io.max",
    "hugetlb.2MB.max",
    "hugetlb.2MB.rsvd.max",
    "rdma.max",
    "cgroup.procs",
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.events",
    "memory.oom.group",
];

struct Tree {
    dir: tempfile::TempDir,
    cgroup: Cgroup,
}

impl Tree {
    fn v2() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("cgroup.controllers"),
            "cpuset cpu io memory pids\n",
        )
        .unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
        let hierarchy = Hierarchy::V2 {
            mount: mount(dir.path().to_owned()),
        };
        let cgroup = Cgroup::create(&hierarchy, "/leaf").unwrap();
        for name in V2_FILES {
            fs::write(dir.path().join("leaf").join(name), "").unwrap();
        }
        Tree { dir, cgroup }
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("leaf").join(name), text).unwrap();
    }

    /// The files that were written, with what was written to them.
    fn written(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        for entry in fs::read_dir(self.dir.path().join("leaf")).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            if !text.is_empty() {
                out.insert(entry.file_name().into_string().unwrap(), text);
            }
        }
        out
    }
}

fn expect_writes(json: &str, want: &[(&str, &str)]) {
    let tree = Tree::v2();
    apply(&tree.cgroup, json).unwrap();
    let want: BTreeMap<_, _> = want
        .iter()
        .map(|(f, v)| ((*f).to_owned(), (*v).to_owned()))
        .collect();
    assert_eq!(tree.written(), want, "{json}");
}

#[test]
fn controllers_are_enabled_on_the_way_down() {
    let tree = Tree::v2();
    let enabled = fs::read_to_string(tree.dir.path().join("cgroup.subtree_control")).unwrap();
    assert_eq!(enabled, "+cpuset +cpu +io +memory +pids");
    assert!(tree.cgroup.is_v2());
    assert!(tree.cgroup.join_fds().unwrap().is_empty());
    assert!(tree.cgroup.dir_fd().unwrap().is_some());
}

#[test]
fn every_limit_has_its_file() {
    expect_writes(
        r#"{"memory":{"limit":1000,"swap":1500,"reservation":500,"disableOOMKiller":false,
                      "useHierarchy":true},
            "cpu":{"shares":1024,"quota":20000,"period":50000,"burst":1000,"idle":0,
                   "cpus":"0-1","mems":"0"},
            "pids":{"limit":99},
            "blockIO":{"weight":500,
                       "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":4096}]},
            "hugepageLimits":[{"pageSize":"2MB","limit":2097152}],
            "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":100}}}"#,
        &[
            ("memory.max", "1000"),
            ("memory.swap.max", "500"),
            ("memory.low", "500"),
            ("cpu.weight", "100"),
            ("cpu.max", "20000 50000"),
            ("cpu.max.burst", "1000"),
            ("cpu.idle", "0"),
            ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"),
            ("pids.max", "99"),
            ("io.bfq.weight", "500"),
            ("io.max", "8:0 rbps=4096"),
            ("hugetlb.2MB.max", "2097152"),
            ("hugetlb.2MB.rsvd.max", "2097152"),
            ("rdma.max", "mlx5_1 hca_handle=3 hca_object=100"),
        ],
    );
}

#[test]
fn unlimited_and_unset_are_two_things() {
    expect_writes(
        r#"{"memory":{"limit":-1},"pids":{"limit":-1},"cpu":{"quota":-1}}"#,
        &[
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("pids.max", "max"),
            ("cpu.max", "max"),
        ],
    );
    expect_writes(
        r#"{"memory":{"limit":0,"swap":0,"kernel":0},"pids":{},
            "cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""},
            "blockIO":{"weight":0},"network":{"classID":0}}"#,
        &[],
    );
    expect_writes("{}", &[]);
    // No process at all is none that a container could have.
    expect_writes(r#"{"pids":{"limit":0}}"#, &[("pids.max", "1")]);
    expect_writes(
        r#"{"memory":{"limit":7,"swap":7}}"#,
        &[("memory.max", "7"), ("memory.swap.max", "0")],
    );
    expect_writes(
        r#"{"blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}"#,
        &[("io.max", "8:1 wiops=max")],
    );
}

#[test]
fn a_period_alone_keeps_the_quota() {
    let tree = Tree::v2();
    tree.put("cpu.max", "4000 100000");
    apply(&tree.cgroup, r#"{"cpu":{"period":200000}}"#).unwrap();
    assert_eq!(tree.written()["cpu.max"], "4000 200000");
}

#[test]
fn without_bfq_the_weight_is_converted() {
    let tree = Tree::v2();
    fs::remove_file(tree.dir.path().join("leaf/io.bfq.weight")).unwrap();
    tree.put("io.weight", "");
    apply(&tree.cgroup, r#"{"blockIO":{"weight":1000}}"#).unwrap();
    assert_eq!(tree.written()["io.weight"], "10000");
}

#[test]
fn unified_keys_are_files_and_come_last() {
    expect_writes(
        r#"{"memory":{"limit":5000},"unified":{"memory.high":"4000","memory.max":"6000",
            "memory.oom.group":"1"}}"#,
        &[
            ("memory.high", "4000"),
            ("memory.max", "6000"),
            ("memory.oom.group", "1"),
        ],
    );
    for key in [
        "../x.y",
        "memory/max",
        "cgroup.procs",
        "cgroup.kill",
        "plain",
        ".hidden",
        "",
    ] {
        let tree = Tree::v2();
        let json = serde_json::json!({ "unified": { key: "1" } }).to_string();
        let e = apply(&tree.cgroup, &json).unwrap_err();
        assert!(e.is_invalid_input(), "{key}: {e}");
        assert_eq!(tree.written(), BTreeMap::new());
    }
}

#[test]
fn what_v2_has_no_form_of_is_an_error() {
    for (json, setting) in [
        (
            r#"{"memory":{"kernel":1000}}"#,
            "memory.kernel can't be set",
        ),
        (
            r#"{"memory":{"kernelTCP":1000}}"#,
            "memory.kernelTCP can't be set",
        ),
        (
            r#"{"memory":{"swappiness":60}}"#,
            "memory.swappiness can't be set",
        ),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            "memory.disableOOMKiller can't be set",
        ),
        (
            r#"{"memory":{"useHierarchy":false}}"#,
            "memory.useHierarchy can't be set",
        ),
        (
            r#"{"memory":{"swap":1000}}"#,
            "memory.limit must be given with it",
        ),
        (
            r#"{"memory":{"limit":1000,"swap":999}}"#,
            "memory.swap is 999",
        ),
        (r#"{"memory":{"limit":-5}}"#, "memory.limit is -5"),
        (
            r#"{"cpu":{"realtimeRuntime":5}}"#,
            "cpu.realtimeRuntime can't be set",
        ),
        (
            r#"{"cpu":{"realtimePeriod":5}}"#,
            "cpu.realtimePeriod can't be set",
        ),
        (
            r#"{"blockIO":{"leafWeight":50}}"#,
            "blockIO.leafWeight can't be set",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":50}]}}"#,
            "blockIO.weightDevice.leafWeight can't be set",
        ),
        (r#"{"blockIO":{"weight":9}}"#, "blockIO.weight is 9"),
        (
            r#"{"network":{"classID":7}}"#,
            "network.classID can't be set",
        ),
        (
            r#"{"network":{"priorities":[{"name":"eth0","priority":1}]}}"#,
            "network.priorities can't be set",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
            "hugepageLimits.pageSize",
        ),
        (r#"{"unified":{"misc.max":"1"}}"#, "no misc.max in"),
    ] {
        let tree = Tree::v2();
        let e = apply(&tree.cgroup, json).unwrap_err();
        assert!(e.to_string().contains(setting), "{json}: {e}");
        assert_eq!(tree.written(), BTreeMap::new(), "{json}");
    }
}

#[test]
fn a_controller_that_is_not_enabled_is_named_with_the_cure() {
    let tree = Tree::v2();
    fs::remove_file(tree.dir.path().join("leaf/memory.max")).unwrap();
    let e = apply(&tree.cgroup, r#"{"memory":{"limit":1000}}"#)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("memory.limit") && e.contains("cgroup.subtree_control"),
        "{e}"
    );
}

#[test]
fn v2_figures_come_in_the_common_form() {
    let tree = Tree::v2();
    for (name, text) in [
        (
            "cpu.stat",
            "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 7\n\
                      nr_throttled 2\nthrottled_usec 11\nnr_bursts 1\nburst_usec 4\n",
        ),
        ("memory.current", "1048576\n"),
        ("memory.peak", "2097152\n"),
        ("memory.max", "4194304\n"),
        ("memory.swap.current", "4096\n"),
        ("memory.swap.max", "max\n"),
        (
            "memory.stat",
            "anon 600000\nfile 300000\nkernel 50000\nfile_mapped 1000\n\
                         inactive_file 200000\npgfault 44\npgmajfault 3\n",
        ),
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n"),
        ("pids.current", "5\n"),
        ("pids.max", "max\n"),
        (
            "io.stat",
            "8:0 rbytes=100 wbytes=200 rios=3 wios=4 dbytes=0 dios=0\n",
        ),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.max", "4194304\n"),
        ("hugetlb.2MB.events", "max 6\n"),
        ("hugetlb.2MB.rsvd.current", "0\n"),
        ("rdma.current", "mlx5_1 hca_handle=2 hca_object=20\n"),
        (
            "memory.pressure",
            "some avg10=1.00 avg60=0.50 avg300=0.10 total=1000\n\
                             full avg10=0.00 avg60=0.00 avg300=0.00 total=500\n",
        ),
    ] {
        tree.put(name, text);
    }
    let stats = tree.cgroup.stats().unwrap();
    let cpu = stats.cpu.unwrap();
    assert_eq!(
        (cpu.total_ns, cpu.user_ns, cpu.system_ns),
        (5_000_000, 3_000_000, 2_000_000)
    );
    assert_eq!(
        (cpu.periods, cpu.throttled_periods, cpu.throttled_ns),
        (7, 2, 11_000)
    );
    assert_eq!(
        (cpu.bursts, cpu.burst_ns, cpu.percpu_ns.len()),
        (1, 4_000, 0)
    );
    let memory = stats.memory.unwrap();
    assert_eq!(
        (memory.usage.usage, memory.usage.max_usage),
        (1_048_576, 2_097_152)
    );
    assert_eq!((memory.usage.limit, memory.usage.failcnt), (4_194_304, 9));
    assert_eq!(
        (memory.rss, memory.cache, memory.mapped_file),
        (600_000, 300_000, 1_000)
    );
    assert_eq!(memory.working_set, 848_576);
    assert_eq!(
        (
            memory.page_faults,
            memory.major_page_faults,
            memory.oom_kills
        ),
        (44, 3, 2)
    );
    assert_eq!(memory.kernel.unwrap().usage, 50_000);
    assert_eq!(memory.swap_only, Some(4096));
    let swap = memory.swap.unwrap();
    assert_eq!((swap.usage, swap.limit), (1_052_672, u64::MAX));
    let pids = stats.pids.unwrap();
    assert_eq!((pids.current, pids.limit), (5, u64::MAX));
    let io = stats.blkio.unwrap();
    let ops: Vec<_> = io
        .service_bytes
        .iter()
        .map(|e| (e.op.as_str(), e.value))
        .collect();
    assert_eq!(ops, [("Read", 100), ("Write", 200), ("Discard", 0)]);
    assert_eq!(io.serviced[1].value, 4);
    assert_eq!(stats.hugetlb.keys().collect::<Vec<_>>(), ["2MB"]);
    assert_eq!(stats.hugetlb["2MB"].failcnt, 6);
    assert_eq!(stats.rdma["mlx5_1"]["hca_object"], 20);
    let pressure = stats.pressure.memory.unwrap();
    assert_eq!(
        (pressure.some.total_ns, pressure.full.total_ns),
        (1_000_000, 500_000)
    );
    assert!(stats.pressure.cpu.is_none());
}

#[test]
fn a_controller_that_is_off_has_no_figures() {
    let tree = Tree::v2();
    let stats = tree.cgroup.stats().unwrap();
    assert!(stats.memory.is_none() && stats.pids.is_none() && stats.blkio.is_none());
}

#[test]
fn v1_network_huge_page_and_rdma_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut controllers = BTreeMap::new();
    // net_cls and net_prio share a mount, as on most machines.
    for (name, place) in [
        ("net_cls", "net_cls,net_prio"),
        ("net_prio", "net_cls,net_prio"),
        ("hugetlb", "hugetlb"),
        ("rdma", "rdma"),
        ("blkio", "blkio"),
    ] {
        let point = dir.path().join(place);
        fs::create_dir_all(&point).unwrap();
        controllers.insert(name.to_owned(), mount(point));
    }
    let hierarchy = Hierarchy::V1 {
        controllers,
        unified: None,
    };
    let cgroup = Cgroup::create(&hierarchy, "x/y").unwrap();
    assert_eq!(cgroup.paths().len(), 5);
    let put = |at: &str, text: &str| {
        let (place, file) = at.split_once('/').unwrap();
        fs::write(dir.path().join(place).join("x/y").join(file), text).unwrap();
    };
    let files = [
        "net_cls,net_prio/net_cls.classid",
        "net_cls,net_prio/net_prio.ifpriomap",
        "hugetlb/hugetlb.1GB.limit_in_bytes",
        "rdma/rdma.max",
        "blkio/blkio.weight",
        "blkio/blkio.leaf_weight",
        "blkio/blkio.weight_device",
        "blkio/blkio.leaf_weight_device",
    ];
    for file in files {
        put(file, "");
    }
    apply(
        &cgroup,
        r#"{"network":{"classID":1048577,"priorities":[{"name":"lo","priority":4}]},
            "hugepageLimits":[{"pageSize":"1GB","limit":1073741824}],
            "rdma":{"mlx4_0":{"hcaObjects":5}},
            "blockIO":{"weight":700,"leafWeight":20,
                "weightDevice":[{"major":8,"minor":16,"weight":30,"leafWeight":40}]}}"#,
    )
    .unwrap();
    let wrote: Vec<String> = files
        .iter()
        .map(|at| {
            let (place, file) = at.split_once('/').unwrap();
            fs::read_to_string(dir.path().join(place).join("x/y").join(file)).unwrap()
        })
        .collect();
    let want = [
        "1048577",
        "lo 4",
        "1073741824",
        "mlx4_0 hca_object=5",
        "700",
        "20",
        "8:16 30",
        "8:16 40",
    ];
    assert_eq!(wrote, want);

    put("hugetlb/hugetlb.1GB.usage_in_bytes", "1073741824\n");
    put("hugetlb/hugetlb.1GB.max_usage_in_bytes", "2147483648\n");
    put("hugetlb/hugetlb.1GB.failcnt", "3\n");
    put(
        "blkio/blkio.throttle.io_service_bytes_recursive",
        "8:0 Read 5\n8:0 Total 5\nTotal 5\n",
    );
    let stats = cgroup.stats().unwrap();
    let huge = stats.hugetlb["1GB"];
    assert_eq!(
        (huge.usage, huge.max_usage, huge.limit),
        (1 << 30, 1 << 31, 1 << 30)
    );
    assert_eq!(stats.blkio.unwrap().service_bytes.len(), 2);
    assert!(stats.memory.is_none() && stats.cpu.is_none());
}

#[test]
fn an_oom_watch_on_v2_sees_every_change() {
    let tree = Tree::v2();
    tree.put("memory.events", "oom 1\noom_kill 1\n");
    let mut watch = tree.cgroup.oom_watch().unwrap();
    assert_eq!(
        watch.drain().unwrap(),
        0,
        "kills before the watch are not news"
    );
    tree.put("memory.events", "oom 4\noom_kill 4\n");
    assert_eq!(watch.drain().unwrap(), 3);
    assert_eq!(watch.drain().unwrap(), 0);
    assert!(watch.recheck_after().is_none());
    tree.put("memory.events", "oom 5\noom_kill 5\n");
    assert_eq!(watch.drain().unwrap(), 1);
    fs::remove_file(tree.dir.path().join("leaf/memory.events")).unwrap();
    assert_eq!(watch.drain().unwrap(), 0);
    assert_eq!(tree.cgroup.oom_kills().unwrap_err().raw_os_error(), Some(2));
}

#[test]
fn v2_kills_and_freezes_by_its_files() {
    let tree = Tree::v2();
    tree.cgroup.signal_all(9).unwrap();
    assert_eq!(
        tree.written(),
        BTreeMap::from([("cgroup.kill".to_owned(), "1".to_owned())])
    );
    tree.put("cgroup.events", "populated 1\nfrozen 1\n");
    tree.cgroup.freeze().unwrap();
    assert!(tree.cgroup.frozen().unwrap());
    assert_eq!(tree.written()["cgroup.freeze"], "1");
    tree.put("cgroup.freeze", "");
    tree.cgroup.thaw().unwrap();
    assert_eq!(tree.written()["cgroup.freeze"], "0");
}

#[test]
fn a_freezer_that_never_settles_is_an_error_and_is_thawed() {
    let tree = Tree::v2();
    tree.put("cgroup.events", "populated 1\nfrozen 0\n");
    let e = tree.cgroup.freeze().unwrap_err().to_string();
    assert!(e.contains("may be stuck"), "{e}");
    assert_eq!(tree.written()["cgroup.freeze"], "0");
}

#[test]
fn pids_of_other_namespaces_are_never_signalled() {
    let tree = Tree::v2();
    tree.put("cgroup.procs", "0\n0\n2147483647\n");
    assert_eq!(tree.cgroup.pids().unwrap(), [2_147_483_647]);
}
