use super::validate;
use crate::runtime::{example, parse, rootless_example};

/// The problems of the example document with one JSON value put at a path.
fn problems(path: &str, value: &str) -> Vec<String> {
    let mut document = serde_json::to_value(example()).expect("prints");
    let value: serde_json::Value = serde_json::from_str(value).expect("a JSON value");
    let mut place = &mut document;
    for key in path.split('.') {
        place = &mut place[key];
    }
    *place = value;
    let text = document.to_string();
    match validate(&parse(text.as_bytes()).expect("parses")) {
        Ok(()) => Vec::new(),
        Err(invalid) => invalid.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_examples_are_valid() {
    assert_eq!(validate(&example()), Ok(()));
    assert_eq!(validate(&rootless_example(1000, 1000)), Ok(()));
}

#[test]
fn every_rule_names_the_path() {
    let table = [
        (
            "ociVersion",
            r#""2.0.0""#,
            "ociVersion: must be a 1.x version",
        ),
        ("root", "null", "root: must be there"),
        ("root.path", r#""""#, "root.path: must not be empty"),
        (
            "process.cwd",
            r#""tmp""#,
            "process.cwd: must be an absolute path, not \"tmp\"",
        ),
        ("process.args", "[]", "process.args: must name a program"),
        (
            "process.args",
            r#"["a\u0000b"]"#,
            "process.args[0]: must not hold a zero byte",
        ),
        (
            "process.env",
            r#"["A=b","=x"]"#,
            "process.env[1]: must be NAME=value, not \"=x\"",
        ),
        (
            "process.user.username",
            r#""bob""#,
            "process.user.username: has no meaning on Linux",
        ),
        (
            "process.oomScoreAdj",
            "1001",
            "process.oomScoreAdj: must be between",
        ),
        (
            "process.rlimits",
            r#"[{"type":"RLIMIT_LUCK","hard":1,"soft":1}]"#,
            "process.rlimits[0].type: unknown rlimit \"RLIMIT_LUCK\"",
        ),
        (
            "process.rlimits",
            r#"[{"type":"RLIMIT_AS","hard":1,"soft":2}]"#,
            "process.rlimits[0].soft: 2 must not be greater",
        ),
        (
            "process.scheduler",
            r#"{"policy":"SCHED_FIFO","priority":0}"#,
            "process.scheduler.priority: must be between 1 and 99",
        ),
        (
            "mounts",
            r#"[{"destination":""}]"#,
            "mounts[0].destination: must not be empty",
        ),
        (
            "mounts",
            r#"[{"destination":"/a","type":"bind"}]"#,
            "mounts[0].source: a bind mount",
        ),
        (
            "hooks",
            r#"{"poststop":[{"path":"x"}]}"#,
            "hooks.poststop[0].path: must be an absolute",
        ),
        (
            "hooks",
            r#"{"prestart":[{"path":"/x","timeout":0}]}"#,
            "hooks.prestart[0].timeout: must be greater than 0",
        ),
        (
            "linux.namespaces",
            r#"[{"type":"mount"},{"type":"uts"},{"type":"uts"}]"#,
            "linux.namespaces[2]: a second uts namespace",
        ),
        (
            "linux.namespaces",
            r#"[{"type":"mount"},{"type":"uts","path":"ns"}]"#,
            "linux.namespaces[1].path: must be an absolute path",
        ),
        (
            "linux.namespaces",
            r#"[{"type":"mount"}]"#,
            "hostname: needs a uts namespace",
        ),
        (
            "linux.uidMappings",
            r#"[{"size":1}]"#,
            "linux.uidMappings: id mappings need a user",
        ),
        (
            "linux.sysctl",
            r#"{"vm.swappiness":"1"}"#,
            "linux.sysctl[\"vm.swappiness\"]: belongs to the whole machine",
        ),
        (
            "linux.sysctl",
            r#"{"user.max_net_namespaces":"1"}"#,
            "linux.sysctl[\"user.max_net_namespaces\"]: needs a user namespace",
        ),
        (
            "linux.sysctl",
            r#"{"net/../kernel/panic":"1"}"#,
            "linux.sysctl[\"net/../kernel/panic\"]: contains an invalid path",
        ),
        (
            "linux.sysctl",
            r#"{"net.\n":"1"}"#,
            "linux.sysctl[\"net.\\n\"]: a key has letters",
        ),
        (
            "linux.cgroupsPath",
            r#""/a/../b""#,
            "linux.cgroupsPath: must not hold",
        ),
        (
            "linux.rootfsPropagation",
            r#""loud""#,
            "linux.rootfsPropagation: unknown propagation",
        ),
        (
            "linux.maskedPaths",
            r#"["proc"]"#,
            "linux.maskedPaths[0]: must be an absolute path",
        ),
        (
            "linux.timeOffsets",
            r#"{"boottime":{}}"#,
            "linux.timeOffsets: needs a new time",
        ),
        (
            "linux.devices",
            r#"[{"path":"/dev/x","type":"a","major":1,"minor":1}]"#,
            "linux.devices[0].type: \"a\" is for rules",
        ),
        (
            "linux.resources.devices",
            r#"[{"allow":true,"access":"rx"}]"#,
            "linux.resources.devices[0].access: must be letters",
        ),
        (
            "linux.resources.devices",
            r#"[{"allow":true,"access":"a"}]"#,
            "linux.resources.devices[0].access: must be letters",
        ),
        (
            "linux.resources.memory",
            r#"{"swappiness":101}"#,
            "linux.resources.memory.swappiness: must be between 0 and 100",
        ),
        (
            "linux.resources.memory",
            r#"{"limit":-2}"#,
            "linux.resources.memory.limit: must be",
        ),
        (
            "linux.resources.cpu",
            r#"{"cpus":"3-1"}"#,
            "linux.resources.cpu.cpus: must be a list",
        ),
        (
            "linux.resources.blockIO",
            r#"{"weight":9}"#,
            "linux.resources.blockIO.weight: must be between 10 and 1000",
        ),
        (
            "linux.resources.unified",
            r#"{"../x.y":"1"}"#,
            "linux.resources.unified[\"../x.y\"]: must be a controller's file name",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG",
               "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "linux.seccomp.syscalls[0].args[0].index: a system call has arguments 0 to 5",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is for rules",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
            "linux.seccomp.defaultErrnoRet: is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW"},
               {"names":["a"],"action":"SCMP_ACT_NOTIFY"},
               {"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":4095}]}"#,
            "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY needs listenerPath",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
               {"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":4095}]}"#,
            "linux.seccomp.syscalls[0].errnoRet: must be at most 4094",
        ),
        (
            "linux.seccomp",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"x"}"#,
            "linux.seccomp.listenerPath: must be an absolute path",
        ),
        (
            "linux.memoryPolicy",
            r#"{"nodes":"0"}"#,
            "linux.memoryPolicy.mode: invalid memory policy mode: it is missing",
        ),
        (
            "linux.memoryPolicy",
            r#"{"mode":"MPOL_BIND"}"#,
            "linux.memoryPolicy.nodes: MPOL_BIND needs nodes",
        ),
        (
            "linux.memoryPolicy",
            r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#,
            "linux.memoryPolicy.nodes: MPOL_LOCAL takes no nodes",
        ),
        (
            "linux.memoryPolicy",
            r#"{"mode":"MPOL_BIND","nodes":"x","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
            "linux.memoryPolicy.nodes: invalid memory policy node: must be a list",
        ),
        (
            "linux.memoryPolicy",
            r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}"#,
            "linux.memoryPolicy.flags: nodes are relative or static",
        ),
        (
            "linux.intelRdt",
            r#"{"closID":"../x"}"#,
            "linux.intelRdt.closID: must be the name of a group",
        ),
        (
            "linux.netDevices",
            r#"{"eth 0":{}}"#,
            "linux.netDevices[\"eth 0\"]: \"eth 0\" is not an interface name",
        ),
        (
            "linux.resources.network",
            r#"{"priorities":[{"name":"","priority":1}]}"#,
            "linux.resources.network.priorities[0].name: \"\" is not an interface",
        ),
        (
            "linux.resources.unified",
            r#"{"cgroup.procs":"1"}"#,
            "linux.resources.unified[\"cgroup.procs\"]: must be a controller's",
        ),
        (
            "mounts",
            r#"[{"destination":"/a","type":"tmpfs","options":["idmap"]}]"#,
            "mounts[0]: id mappings are for bind mounts",
        ),
        (
            "mounts",
            r#"[{"destination":"/a","source":"/","options":["rbind","ridmap"]}]"#,
            "mounts[0].options: an id-mapped mount needs mappings",
        ),
        (
            "process.consoleSize",
            r#"{"height":65536,"width":1}"#,
            "process.consoleSize.height: must be at most 65535",
        ),
        (
            "process.capabilities",
            r#"{"effective":["CAP_KILL"]}"#,
            "process.capabilities.effective[0]: CAP_KILL must be permitted",
        ),
        (
            "annotations",
            r#"{"":"x"}"#,
            "annotations: a key must not be empty",
        ),
    ];
    for (path, value, wanted) in table {
        let found = problems(path, value);
        assert!(
            found.iter().any(|problem| problem.starts_with(wanted)),
            "{path} {value}: {found:?}"
        );
    }
}

#[test]
fn all_problems_come_at_once() {
    let text = br#"{"ociVersion":"1.0.0","process":{"cwd":"x","args":[""]},"linux":{"namespaces":[
        {"type":"mount"}],"rootfsPropagation":"loud"}}"#;
    let invalid = validate(&parse(text).expect("parses")).expect_err("is invalid");
    let paths: Vec<&str> = invalid
        .problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "root",
            "process.cwd",
            "process.args",
            "linux.rootfsPropagation"
        ]
    );
}

#[test]
fn namespaced_sysctls_pass() {
    let sysctls = r#"{"net.ipv4.ip_forward":"1","kernel.shmmax":"9","fs.mqueue.queues_max":"2",
        "net/ipv4/conf/eth0.1/forwarding":"1","kernel.domainname":"x"}"#;
    assert_eq!(problems("linux.sysctl", sysctls), Vec::<String>::new());
}
