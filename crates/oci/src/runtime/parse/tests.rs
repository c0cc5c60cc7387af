use super::*;
use crate::runtime::{FileMode, LinuxDeviceType, NamespaceType, SeccompAction, SeccompOperator};

fn error(text: &str) -> String {
    parse(text.as_bytes())
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn errors_name_the_value_and_the_cause() {
    let cases = [
        (
            r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"moon"}]}}"#,
            "linux.namespaces[1].type: unknown namespace type \"moon\"; known: pid, network",
        ),
        (
            r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_MAYBE"}}}"#,
            "linux.seccomp.defaultAction: unknown seccomp action \"SCMP_ACT_MAYBE\"; known: SCMP_",
        ),
        (
            r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["a"],"action":"x"}]}}}"#,
            "linux.seccomp.syscalls[0].action: unknown seccomp action \"x\"",
        ),
        (
            r#"{"process":{"args":"sh"}}"#,
            "process.args: invalid type: string \"sh\"",
        ),
        (
            r#"{"process":{"user":{"uid":-1}}}"#,
            "process.user.uid: invalid value: integer `-1`",
        ),
        (
            r#"{"linux":{"namespaces":[{}]}}"#,
            "linux.namespaces[0]: missing field `type`",
        ),
        (
            r#"{"platform":{"os":"plan9"}}"#,
            "platform.os: the document is for \"plan9\"",
        ),
        (
            r#"{"platform":{"os":"linux","arch":"vax"}}"#,
            "platform.arch: the document is for \"vax\"",
        ),
        ("{", "EOF while parsing"),
        ("", "EOF while parsing"),
    ];
    for (text, wanted) in cases {
        assert!(
            error(text).starts_with(wanted),
            "{text}\n got {}",
            error(text)
        );
    }
}

#[test]
fn null_is_absent_everywhere() {
    let text = r#"{"ociVersion":null,"process":{"terminal":null,"args":null,"user":{"uid":null,
        "additionalGids":null},"cwd":null,"capabilities":null,"rlimits":null},"root":{"path":null,
        "readonly":null},"mounts":null,"hooks":{"prestart":null},"annotations":null,"linux":{
        "resources":{"devices":null,"memory":{"limit":null,"kernelTCP":null},"network":{"classID":
        null},"cpu":{"quota":null}},"namespaces":null,"seccomp":{"defaultAction":"SCMP_ACT_ALLOW",
        "architectures":null,"syscalls":null}}}"#;
    let spec = parse(text.as_bytes()).expect("parses");
    let process = spec.process.expect("process");
    assert_eq!(
        (process.user.uid, process.args.len(), process.cwd.as_str()),
        (0, 0, "")
    );
    let linux = spec.linux.expect("linux");
    let resources = linux.resources.expect("resources");
    assert_eq!(resources.memory.expect("memory").kernel_tcp, None);
    assert!(resources.devices.is_empty() && linux.namespaces.is_empty());
}

#[test]
fn the_rc_form_is_upgraded() {
    let text = format!(
        r#"{{"ociVersion":"1.0.0-rc1","platform":{{"os":"linux","arch":"{}"}},"process":{{"cwd":"/",
        "args":["sh"],"capabilities":["CAP_KILL"]}},"linux":{{"resources":{{"disableOOMKiller":true,
        "oomScoreAdj":-5,"memory":{{"limit":18446744073709551615,"swap":9223372036854775808,
        "reservation":4096}},"cpu":{{"quota":18446744073709551615}},"blockIO":{{"blkioWeight":10,
        "blkioThrottleReadIOPSDevice":[{{"major":8,"minor":0,"rate":5}}]}}}},
        "namespaces":[{{"type":"pid","path":""}}],
        "devices":[{{"path":"/dev/x","type":"u","major":1,"minor":3,"fileMode":69206454}}],
        "seccomp":{{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"syscalls":[{{"name":"getcwd",
        "action":"SCMP_ACT_ERRNO","args":[{{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"
        }}]}}]}}}}}}"#,
        machine()
    );
    let spec = parse(text.as_bytes()).expect("parses");
    assert_eq!(spec.platform, None);
    let process = spec.process.expect("process");
    assert_eq!(process.oom_score_adj, Some(-5));
    let capabilities = process.capabilities.expect("capabilities");
    for (name, set) in capabilities.sets() {
        let wanted: &[&str] = match name {
            "bounding" | "effective" | "permitted" => &["CAP_KILL"],
            _ => &[],
        };
        assert_eq!(set, wanted, "{name}");
    }
    let linux = spec.linux.expect("linux");
    assert_eq!(
        linux
            .namespace(NamespaceType::Pid)
            .expect("pid")
            .join_path(),
        None
    );
    assert_eq!(linux.devices[0].type_, LinuxDeviceType::U);
    assert_eq!(
        linux.devices[0].file_mode.map(FileMode::bits),
        Some(69_206_454 & 0o7777)
    );
    let resources = linux.resources.expect("resources");
    assert_eq!(
        (resources.disable_oom_killer, resources.oom_score_adj),
        (None, None)
    );
    let memory = resources.memory.expect("memory");
    assert_eq!(
        (memory.limit, memory.swap, memory.reservation),
        (Some(-1), Some(-1), Some(4096))
    );
    assert_eq!(memory.disable_oom_killer, Some(true));
    assert_eq!(resources.cpu.expect("cpu").quota, Some(-1));
    let block_io = resources.block_io.expect("blockIO");
    assert_eq!(block_io.weight, Some(10));
    assert_eq!(block_io.throttle_read_iops_device[0].rate, 5);
    let rule = &linux.seccomp.expect("seccomp").syscalls[0];
    assert_eq!(
        (rule.names.as_slice(), rule.action),
        (&["getcwd".to_owned()][..], SeccompAction::Errno)
    );
    assert_eq!(
        (rule.args[0].op, rule.args[0].value_two),
        (SeccompOperator::MaskedEq, 3)
    );
}

#[test]
fn unknown_keys_are_ignored_and_duplicates_are_not() {
    assert!(parse(br#"{"ociVersion":"1.0.0","solaris":{"x":[1,{}]},"future":null}"#).is_ok());
    assert!(error(r#"{"hostname":"a","hostname":"b"}"#).contains("duplicate field"));
}

#[test]
fn all_wrong_values_are_told_with_the_texts_own_indices() {
    let text = r#"{"process":{"args":"sh","rlimits":[{"type":"RLIMIT_CPU","hard":1},
        {"type":"RLIMIT_AS","hard":-1,"soft":1}]},"hostname":["x"],"mounts":[{"destination":"/a"},{},
        {"destination":"/b","options":"ro"},{"destination":3}],"linux":{"namespaces":[{"type":"moon"},
        {"type":"pid"},{"type":"sun"}],"seccomp":{"defaultAction":"no"}}}"#;
    let error = parse(text.as_bytes()).expect_err("is wrong");
    let mut paths = vec![error.path.as_str()];
    paths.extend(error.others.iter().map(|problem| problem.path.as_str()));
    assert_eq!(
        paths,
        [
            "process.args",
            "hostname",
            "linux.namespaces[0].type",
            "linux.namespaces[2].type",
            "linux.seccomp.defaultAction",
            "mounts[1]",
            "mounts[2].options",
            "mounts[3].destination",
            "process.rlimits[0]",
            "process.rlimits[1].hard",
        ]
    );
    let text = error.to_string();
    assert!(
        text.contains("; linux.namespaces[2].type: unknown namespace type \"sun\""),
        "{text}"
    );
}
