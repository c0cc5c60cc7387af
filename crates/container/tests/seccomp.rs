//! Seccomp filters against the profile's own words: every filter is run by an interpreter of classic
//! BPF and compared with a direct reading of the rules, for each system call and class of arguments.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

/// The profile that the CRI service hands out; it stands there as data and is compiled here, where
/// the compiler is.
#[path = "../../cri/src/spec/seccomp_default.rs"]
#[allow(dead_code, unreachable_pub, reason = "another crate's file")]
mod seccomp_default;
mod seccomp_support;

use std::collections::BTreeSet;

use container::seccomp::{Error, Filter, compile};
use libseccomp::{ScmpArch, ScmpSyscall};
use oci::runtime::LinuxSeccomp;
use seccomp_support::{Call, interesting_values, read_profile, run};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn filter(json: &str) -> Filter {
    compile(&profile(json), None).unwrap_or_else(|e| panic!("{json}: {e:?}"))
}

fn nr(name: &str) -> u32 {
    let call = ScmpSyscall::from_name(name).unwrap();
    u32::try_from(call.as_raw_syscall()).unwrap()
}

fn call(name: &str, args: [u64; 6]) -> Call {
    Call {
        nr: nr(name),
        arch: X86_64,
        args,
    }
}

/// Every system call that libseccomp knows by name on this machine.
fn known_calls() -> Vec<(String, u32)> {
    (0..=450)
        .filter_map(|n| Some((ScmpSyscall::from_raw_syscall(n).get_name().ok()?, n)))
        .map(|(name, n)| (name, u32::try_from(n).unwrap()))
        .collect()
}

/// Compares filter and words for every known call and every argument value that matters.
fn check_all(profile: &LinuxSeccomp) {
    let filter = compile(profile, None).unwrap();
    let mut compared = 0;
    for (name, nr) in known_calls() {
        for args in interesting_values(profile, &name) {
            let call = Call {
                nr,
                arch: X86_64,
                args,
            };
            let want = read_profile(profile, &name, &args, || above_all(profile, nr));
            assert_eq!(run(&filter.bpf, &call), want, "{name} {args:x?}");
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} calls were compared");
}

/// Younger than what the profile names.
fn above_all(profile: &LinuxSeccomp, nr: u32) -> bool {
    let names = profile.syscalls.iter().flat_map(|s| &s.names);
    let numbers = names.filter_map(|n| {
        let raw = ScmpSyscall::from_name(n).ok()?.as_raw_syscall();
        u32::try_from(raw).ok()
    });
    nr > numbers.max().unwrap_or(0).max(402)
}

#[test]
fn every_action_comes_out_as_its_verdict() {
    for (action, verdict) in [
        (r#""SCMP_ACT_KILL""#, 0),
        (r#""SCMP_ACT_KILL_THREAD""#, 0),
        (r#""SCMP_ACT_KILL_PROCESS""#, 0x8000_0000),
        (r#""SCMP_ACT_TRAP""#, 0x0003_0000),
        (r#""SCMP_ACT_ERRNO""#, 0x0005_0001),
        (r#""SCMP_ACT_ERRNO","errnoRet":0"#, 0x0005_0000),
        (r#""SCMP_ACT_ERRNO","errnoRet":4094"#, 0x0005_0ffe),
        (r#""SCMP_ACT_TRACE""#, 0x7ff0_0001),
        (r#""SCMP_ACT_TRACE","errnoRet":65535"#, 0x7ff0_ffff),
        (r#""SCMP_ACT_LOG""#, 0x7ffc_0000),
    ] {
        let f = filter(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW",
                "syscalls":[{{"names":["getcwd","mkdir"],"action":{action}}}]}}"#
        ));
        assert_eq!(run(&f.bpf, &call("getcwd", [0; 6])), verdict, "{action}");
        assert_eq!(run(&f.bpf, &call("mkdir", [7; 6])), verdict, "{action}");
        assert_eq!(run(&f.bpf, &call("rmdir", [0; 6])), 0x7fff_0000, "{action}");
        // As the default action, with getcwd allowed.
        let default = action.replace("errnoRet", "defaultErrnoRet");
        let f = filter(&format!(
            r#"{{"defaultAction":{default},
                "syscalls":[{{"names":["getcwd"],"action":"SCMP_ACT_ALLOW"}}]}}"#
        ));
        assert_eq!(
            run(&f.bpf, &call("getcwd", [0; 6])),
            0x7fff_0000,
            "{action}"
        );
        assert_eq!(run(&f.bpf, &call("rmdir", [0; 6])), verdict, "{action}");
    }
}

#[test]
fn every_operator_compares_all_64_bits() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for (value, two) in [
            (0, 0),
            (5, 5),
            (0x7e02_0000, 0),
            (0xffff_ffff, 0x8000_0001),
            (0x1_0000_0000, 0x1_0000_0000),
            (0x1_0000_0005, 0x5),
            (u64::MAX, u64::MAX),
            (0x8000_0000_0000_0000, 0),
        ] {
            for index in [0, 3, 5] {
                let profile = profile(&format!(
                    r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[
                        {{"names":["write"],"action":"SCMP_ACT_ALLOW","args":[
                            {{"index":{index},"value":{value},"valueTwo":{two},
                              "op":"SCMP_CMP_{op}"}}]}}]}}"#
                ));
                let bpf = compile(&profile, None).unwrap().bpf;
                for args in interesting_values(&profile, "write") {
                    let want = read_profile(&profile, "write", &args, || false);
                    let got = run(&bpf, &call("write", args));
                    assert_eq!(got, want, "arg {index} {op} {value:#x} {two:#x}: {args:x?}");
                }
            }
        }
    }
}

#[test]
fn conditions_of_a_rule_all_hold_and_rules_stand_side_by_side() {
    check_all(&profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,"syscalls":[
            {"names":["read","write","openat","futex","clone"],"action":"SCMP_ACT_ALLOW"},
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":16,"op":"SCMP_CMP_EQ"},
                {"index":2,"value":9,"op":"SCMP_CMP_GE"},
                {"index":1,"value":3,"op":"SCMP_CMP_NE"}]},
            {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":2,"op":"SCMP_CMP_LT"}]},
            {"names":["ioctl","fcntl"],"action":"SCMP_ACT_TRAP","args":[
                {"index":1,"value":65280,"valueTwo":21504,"op":"SCMP_CMP_MASKED_EQ"}]},
            {"names":["ptrace"],"action":"SCMP_ACT_ERRNO","errnoRet":2}]}"#,
    ));
}

#[test]
fn an_argument_named_twice_makes_alternatives() {
    check_all(&profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":0,"op":"SCMP_CMP_EQ"},
                {"index":0,"value":8,"op":"SCMP_CMP_EQ"},
                {"index":0,"value":131072,"op":"SCMP_CMP_GT"}]}]}"#,
    ));
}

/// libseccomp 2.5.4 takes 0xffffffff for a value that fits one of these: it merges the comparison of
/// the low word of the first with the high word of the second.
#[test]
fn alternatives_by_order_keep_their_words_apart() {
    check_all(&profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["getpid"],"action":"SCMP_ACT_KILL_PROCESS","args":[
                {"index":0,"value":4294967296,"op":"SCMP_CMP_GE"},
                {"index":0,"value":3122758291,"op":"SCMP_CMP_LT"}]},
            {"names":["mmap"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[
                {"index":1,"value":5,"op":"SCMP_CMP_LE"},
                {"index":2,"value":9,"op":"SCMP_CMP_NE"}]},
            {"names":["mmap"],"action":"SCMP_ACT_ERRNO","errnoRet":8,"args":[
                {"index":1,"value":8589934592,"op":"SCMP_CMP_GT"},
                {"index":0,"value":255,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
    ));
}

#[test]
fn the_default_profile_says_what_it_says() {
    for caps in [
        vec![],
        vec!["CAP_SYS_ADMIN"],
        vec!["CAP_SYS_NICE", "CAP_SYS_TIME", "CAP_BPF"],
    ] {
        let caps: BTreeSet<String> = caps.into_iter().map(str::to_owned).collect();
        let profile = seccomp_default::runtime_default(&caps);
        check_all(&profile);
        let filter = compile(&profile, None).unwrap();
        assert_eq!(filter.warnings, Vec::<String>::new());
    }
}

#[test]
fn calls_younger_than_libseccomp_are_decided_by_number() {
    let rules = r#""syscalls":[
        {"names":["fchmodat2","mseal"],"action":"SCMP_ACT_ALLOW"},
        {"names":["statmount"],"action":"SCMP_ACT_ERRNO","errnoRet":22},
        {"names":["cachestat"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":3,"value":0,"op":"SCMP_CMP_EQ"}]},
        {"names":["read"],"action":"SCMP_ACT_ALLOW"}]"#;
    let f = filter(&format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":
            ["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],{rules}}}"#
    ));
    assert_eq!(f.warnings, Vec::<String>::new());
    const ENOSYS: u32 = 0x0005_0026;
    for (nr, want) in [
        (451, 0x7fff_0000), // the condition on its arguments holds
        (452, 0x7fff_0000),
        (462, 0x7fff_0000),
        (457, 0x0005_0016),
        (458, 0x0005_0001), // named by nobody, but not younger than the profile
        (463, ENOSYS),
        (9999, ENOSYS),
    ] {
        for (arch, nr) in [(X86_64, nr), (I386, nr), (X86_64, nr | 0x4000_0000)] {
            let call = Call {
                nr,
                arch,
                args: [0; 6],
            };
            assert_eq!(run(&f.bpf, &call), want, "{nr:#x} {arch:#x}");
        }
    }
    // Without x32 among the architectures its calls end as those of any foreign one.
    let f = filter(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{rules}}}"#));
    let x32 = Call {
        nr: 0x4000_0000 | 452,
        arch: X86_64,
        args: [0; 6],
    };
    assert_eq!(run(&f.bpf, &x32), 0);
    assert_eq!(
        run(
            &f.bpf,
            &Call {
                nr: 452,
                arch: I386,
                args: [0; 6]
            }
        ),
        0
    );
    // What is allowed by default stays allowed, however young.
    let f = filter(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{rules}}}"#));
    assert_eq!(
        run(
            &f.bpf,
            &Call {
                nr: 9999,
                arch: X86_64,
                args: [0; 6]
            }
        ),
        0x7fff_0000
    );
}

#[test]
fn other_architectures_apply_when_listed() {
    let rules = r#""syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":17}]"#;
    let i386 = ScmpSyscall::from_name_by_arch("mkdir", ScmpArch::X86).unwrap();
    let i386 = Call {
        nr: u32::try_from(i386.as_raw_syscall()).unwrap(),
        arch: I386,
        args: [0; 6],
    };
    let native = filter(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{rules}}}"#));
    assert_eq!(
        run(&native.bpf, &i386),
        0,
        "an architecture that is not listed is killed"
    );
    for list in [
        r#""SCMP_ARCH_X86""#,
        r#""SCMP_ARCH_X86_64","SCMP_ARCH_X86""#,
    ] {
        let f = filter(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":[{list}],{rules}}}"#
        ));
        assert_eq!(run(&f.bpf, &i386), 0x0005_0011, "{list}");
        assert_eq!(run(&f.bpf, &call("mkdir", [0; 6])), 0x0005_0011, "{list}");
    }
}

#[test]
fn unknown_names_are_skipped_with_a_warning() {
    let f = filter(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["no_such_call","mkdir"],"action":"SCMP_ACT_ERRNO"},
            {"names":["another_one"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(f.warnings.len(), 2, "{:?}", f.warnings);
    assert!(
        f.warnings
            .iter()
            .any(|w| w.contains("\"no_such_call\" is unknown"))
    );
    assert_eq!(run(&f.bpf, &call("mkdir", [0; 6])), 0x0005_0001);
}

#[test]
fn flags_are_the_kernels_bits() {
    let f = filter(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}"#,
    );
    assert_eq!(f.flags, 7);
    for (flags, bits) in [("", 4), (r#","flags":null"#, 4), (r#","flags":[]"#, 0)] {
        let profile = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{flags}}}"#);
        assert_eq!(filter(&profile).flags, bits, "{profile}");
    }
    // Nobody waits.
    let f = filter(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
    );
    assert_eq!(f.flags, 0);
    // NEW_LISTENER and WAIT_KILLABLE_RECV; TSYNC has another answer and only one thread to do.
    let f = filter(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"listenerPath":"/x","syscalls":[
            {"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]}"#,
    );
    assert_eq!(f.flags, 8 | 32);
    assert_eq!(run(&f.bpf, &call("mount", [0; 6])), 0x7fc0_0000);
}

#[test]
fn what_can_not_be_done_is_refused_by_name() {
    for (json, text) in [
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "defaultAction is SCMP_ACT_NOTIFY",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["mount"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "listenerPath is empty",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":3}"#,
            "defaultAction errno is 3 with SCMP_ACT_ALLOW",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4095}"#,
            "defaultAction errno is 4095: 0 to 4094",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_TRACE","defaultErrnoRet":65536}"#,
            "defaultAction errno is 65536: 0 to 65535",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":["mount"],"action":"SCMP_ACT_KILL",
                 "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "syscalls[0].args index is 6",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {"names":[],"action":"SCMP_ACT_KILL"}]}"#,
            "syscalls[0].names is empty",
        ),
    ] {
        let e = compile(&profile(json), None).unwrap_err();
        assert!(e.is_invalid_input(), "{json}");
        assert!(e.to_string().contains(text), "{e}");
    }
    let e = compile(
        &profile(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X"]}"#),
        None,
    );
    assert!(matches!(e, Err(Error::Library { .. })), "{e:?}");
}

#[test]
fn a_cached_filter_is_the_compiled_one() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("seccomp");
    let profile = seccomp_default::runtime_default(&BTreeSet::new());
    let fresh = compile(&profile, None).unwrap();
    assert_eq!(compile(&profile, Some(&dir)).unwrap(), fresh);
    let files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(compile(&profile, Some(&dir)).unwrap(), fresh);

    // A torn file is made again; a file that says something else shows that the cache is read.
    std::fs::write(&files[0], b"CFSECC1\nnonsense").unwrap();
    assert_eq!(compile(&profile, Some(&dir)).unwrap(), fresh);
    let mut other = profile.clone();
    other.syscalls.pop();
    let other_filter = compile(&other, Some(&dir)).unwrap();
    assert_ne!(other_filter.bpf, fresh.bpf);
    let second = std::fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| *p != files[0])
        .unwrap();
    std::fs::copy(&second, &files[0]).unwrap();
    assert_eq!(compile(&profile, Some(&dir)).unwrap(), other_filter);
    for (said, flags) in [(None, 4), (Some(Vec::new()), 0)] {
        other.flags = said;
        assert_eq!(compile(&other, Some(&dir)).unwrap().flags, flags);
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let tmp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let profile = seccomp_default::runtime_default(&BTreeSet::new());
    compile(&profile, Some(tmp.path())).unwrap();
    assert_eq!(std::fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn a_filter_finds_its_call_in_few_steps() {
    let profile = seccomp_default::runtime_default(&BTreeSet::new());
    let filter = compile(&profile, None).unwrap();
    for name in [
        "read",
        "write",
        "openat",
        "futex",
        "exit_group",
        "epoll_wait",
        "statx",
    ] {
        let steps = seccomp_support::steps(&filter.bpf, &call(name, [0; 6]));
        assert!(steps < 60, "{name} takes {steps} instructions");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn random_profiles_mean_what_they_say(profile in seccomp_support::any_profile()) {
        let filter = compile(&profile, None).unwrap();
        for (name, nr) in known_calls().into_iter().step_by(3) {
            for args in interesting_values(&profile, &name) {
                let want = read_profile(&profile, &name, &args, || above_all(&profile, nr));
                let got = run(&filter.bpf, &Call { nr, arch: X86_64, args });
                proptest::prop_assert_eq!(got, want, "{} {:x?}", name, args);
            }
        }
    }
}
