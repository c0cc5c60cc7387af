//! The wire's peculiarities, one by one, and a document with every field set.

use agent_api::{grpc, sandbox};
use oci::runtime::Spec;

use super::*;

fn document(wire: grpc::Spec) -> Spec {
    let request = grpc::CreateContainerRequest {
        container_id: "c".into(),
        oci: Some(wire),
        ..Default::default()
    };
    create_published(request).unwrap().spec
}

fn minimal() -> grpc::Spec {
    grpc::Spec {
        process: Some(grpc::Process {
            args: vec!["true".into()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn with_resources(resources: grpc::LinuxResources) -> LinuxResources {
    let linux = grpc::Linux {
        resources: Some(resources),
        ..Default::default()
    };
    let spec = document(grpc::Spec {
        linux: Some(linux),
        ..minimal()
    });
    spec.linux.unwrap().resources.unwrap()
}

#[test]
fn zero_and_empty_mean_unset() {
    let spec = document(minimal());
    let process = spec.process.unwrap();
    assert_eq!(spec.oci_version, "1.0.2");
    assert_eq!(
        (spec.hostname, spec.root, spec.hooks, spec.linux),
        (None, None, None, None)
    );
    assert_eq!((process.cwd.as_str(), process.capabilities), ("/", None));
    assert_eq!(
        (process.apparmor_profile, process.console_size),
        (None, None)
    );
    let resources = with_resources(grpc::LinuxResources {
        memory: Some(grpc::LinuxMemory {
            limit: 5,
            swap: -1,
            ..Default::default()
        }),
        cpu: Some(grpc::LinuxCpu {
            shares: 7,
            quota: -1,
            ..Default::default()
        }),
        pids: Some(grpc::LinuxPids { limit: 0 }),
        ..Default::default()
    });
    let (memory, cpu) = (resources.memory.unwrap(), resources.cpu.unwrap());
    assert_eq!(
        (memory.limit, memory.swap, memory.reservation),
        (Some(5), Some(-1), None)
    );
    assert_eq!((memory.swappiness, memory.disable_oom_killer), (None, None));
    assert_eq!(
        (cpu.shares, cpu.quota, cpu.period),
        (Some(7), Some(-1), None)
    );
    assert_eq!(resources.pids, None);
}

#[test]
fn an_oom_score_of_zero_is_a_value() {
    assert_eq!(document(minimal()).process.unwrap().oom_score_adj, Some(0));
}

#[test]
fn device_rules_take_both_wildcards() {
    let rule = |r#type: &str, major, minor| grpc::LinuxDeviceCgroup {
        allow: true,
        r#type: r#type.into(),
        major,
        minor,
        access: "rwm".into(),
    };
    let resources = with_resources(grpc::LinuxResources {
        devices: vec![
            rule("c", -1, -1),
            rule("c", 0, 0),
            rule("b", 8, -1),
            rule("", -1, -1),
        ],
        ..Default::default()
    });
    let seen: Vec<_> = resources
        .devices
        .iter()
        .map(|d| (d.major, d.minor))
        .collect();
    assert_eq!(
        seen,
        [(None, None), (None, None), (Some(8), None), (None, None)]
    );
    assert_eq!(resources.devices[3].type_.map(|t| t.as_str()), Some("a"));
}

#[test]
fn an_errno_of_zero_is_not_absent() {
    use grpc::linux_syscall::ErrnoRet;
    let call = |errno_ret| grpc::LinuxSyscall {
        names: vec!["mkdir".into()],
        action: "SCMP_ACT_ERRNO".into(),
        errno_ret,
        args: vec![grpc::LinuxSeccompArg {
            index: 1,
            value: 2,
            value_two: 3,
            op: "SCMP_CMP_MASKED_EQ".into(),
        }],
    };
    let seccomp = grpc::LinuxSeccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: vec!["SCMP_ARCH_X86_64".into()],
        flags: vec!["SECCOMP_FILTER_FLAG_LOG".into()],
        syscalls: vec![call(Some(ErrnoRet::Errnoret(0))), call(None)],
    };
    let linux = grpc::Linux {
        seccomp: Some(seccomp),
        ..Default::default()
    };
    let spec = document(grpc::Spec {
        linux: Some(linux),
        ..minimal()
    });
    let seccomp = spec.linux.unwrap().seccomp.unwrap();
    assert_eq!(seccomp.syscalls[0].errno_ret, Some(0));
    assert_eq!(seccomp.syscalls[1].errno_ret, None);
    assert_eq!(seccomp.syscalls[0].args[0].value_two, 3);
}

#[test]
fn every_field_arrives() {
    let hook = |path: &str| {
        vec![grpc::Hook {
            path: path.into(),
            args: vec!["a".into()],
            env: vec!["B=c".into()],
            timeout: 5,
        }]
    };
    let mapping = || {
        vec![grpc::LinuxIdMapping {
            host_id: 9,
            container_id: 0,
            size: 2,
        }]
    };
    let wire = grpc::Spec {
        version: "1.1.0".into(),
        process: Some(grpc::Process {
            terminal: true,
            console_size: Some(grpc::Box {
                height: 3,
                width: 4,
            }),
            user: Some(grpc::User {
                uid: 5,
                gid: 6,
                additional_gids: vec![7],
                username: String::new(),
            }),
            args: vec!["x".into()],
            env: vec!["Y=z".into()],
            cwd: "/w".into(),
            capabilities: Some(grpc::LinuxCapabilities {
                bounding: vec!["CAP_KILL".into()],
                effective: vec!["CAP_CHOWN".into()],
                inheritable: vec!["CAP_FOWNER".into()],
                permitted: vec!["CAP_SETUID".into()],
                ambient: vec!["CAP_SETGID".into()],
            }),
            rlimits: vec![grpc::PosixRlimit {
                r#type: "RLIMIT_CORE".into(),
                hard: 9,
                soft: 8,
            }],
            no_new_privileges: true,
            apparmor_profile: "p".into(),
            oom_score_adj: -5,
            selinux_label: "l".into(),
        }),
        root: Some(grpc::Root {
            path: "/r".into(),
            readonly: true,
        }),
        hostname: "h".into(),
        mounts: vec![grpc::Mount {
            destination: "/d".into(),
            source: "vm:/dev/x".into(),
            r#type: "bind".into(),
            options: vec!["ro".into()],
        }],
        hooks: Some(grpc::Hooks {
            prestart: hook("/1"),
            poststart: hook("/2"),
            poststop: hook("/3"),
            create_runtime: hook("/4"),
            create_container: hook("/5"),
            start_container: hook("/6"),
        }),
        annotations: [("k".to_owned(), "v".to_owned())].into(),
        linux: Some(grpc::Linux {
            uid_mappings: mapping(),
            gid_mappings: mapping(),
            sysctl: [("net.x".to_owned(), "1".to_owned())].into(),
            cgroups_path: "/c".into(),
            namespaces: vec![grpc::LinuxNamespace {
                r#type: "user".into(),
                path: String::new(),
            }],
            devices: vec![grpc::LinuxDevice {
                path: "/dev/q".into(),
                r#type: "c".into(),
                major: 1,
                minor: 0,
                file_mode: 0o600,
                uid: 0,
                gid: 3,
            }],
            rootfs_propagation: "rslave".into(),
            masked_paths: vec!["/m".into()],
            readonly_paths: vec!["/o".into()],
            mount_label: "ml".into(),
            intel_rdt: Some(grpc::LinuxIntelRdt {
                l3_cache_schema: "L3:0=f".into(),
            }),
            ..Default::default()
        }),
        solaris: Some(grpc::Solaris::default()),
        windows: Some(grpc::Windows::default()),
    };
    let seen = serde_json::to_value(document(wire)).unwrap();
    let expected = serde_json::json!({
        "ociVersion": "1.1.0",
        "process": {
            "terminal": true, "consoleSize": { "height": 3, "width": 4 },
            "user": { "uid": 5, "gid": 6, "additionalGids": [7] },
            "args": ["x"], "env": ["Y=z"], "cwd": "/w",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_CHOWN"],
                "inheritable": ["CAP_FOWNER"], "permitted": ["CAP_SETUID"],
                "ambient": ["CAP_SETGID"]
            },
            "rlimits": [{ "type": "RLIMIT_CORE", "hard": 9, "soft": 8 }],
            "noNewPrivileges": true, "apparmorProfile": "p", "oomScoreAdj": -5,
            "selinuxLabel": "l"
        },
        "root": { "path": "/r", "readonly": true },
        "hostname": "h",
        "mounts": [{
            "destination": "/d", "source": "/dev/x", "type": "bind", "options": ["ro"]
        }],
        "hooks": {
            "prestart": [{ "path": "/1", "args": ["a"], "env": ["B=c"], "timeout": 5 }],
            "poststart": [{ "path": "/2", "args": ["a"], "env": ["B=c"], "timeout": 5 }],
            "poststop": [{ "path": "/3", "args": ["a"], "env": ["B=c"], "timeout": 5 }],
            "createRuntime": [{ "path": "/4", "args": ["a"], "env": ["B=c"], "timeout": 5 }],
            "createContainer": [{ "path": "/5", "args": ["a"], "env": ["B=c"], "timeout": 5 }],
            "startContainer": [{ "path": "/6", "args": ["a"], "env": ["B=c"], "timeout": 5 }]
        },
        "annotations": { "k": "v" },
        "linux": {
            "uidMappings": [{ "containerID": 0, "hostID": 9, "size": 2 }],
            "gidMappings": [{ "containerID": 0, "hostID": 9, "size": 2 }],
            "sysctl": { "net.x": "1" },
            "cgroupsPath": "/c",
            "namespaces": [{ "type": "user" }],
            "devices": [{
                "path": "/dev/q", "type": "c", "major": 1, "minor": 0, "fileMode": 384,
                "uid": 0, "gid": 3
            }],
            "rootfsPropagation": "rslave",
            "maskedPaths": ["/m"], "readonlyPaths": ["/o"], "mountLabel": "ml",
            "intelRdt": { "l3CacheSchema": "L3:0=f" }
        }
    });
    assert_eq!(seen, expected);
}

#[test]
fn what_is_not_supported_is_refused_by_its_name() {
    let create = || grpc::CreateContainerRequest {
        oci: Some(minimal()),
        ..Default::default()
    };
    let storage = |driver: &str| grpc::Storage {
        driver: driver.into(),
        mount_point: "/m".into(),
        ..Default::default()
    };
    for (request, name) in [
        (
            grpc::CreateContainerRequest {
                devices: vec![grpc::Device::default()],
                ..create()
            },
            "neither id nor vm_path",
        ),
        (
            grpc::CreateContainerRequest {
                storages: vec![storage("blk-ccw")],
                ..create()
            },
            "blk-ccw",
        ),
        (
            grpc::CreateContainerRequest {
                storages: vec![grpc::Storage {
                    driver_options: vec!["encryption_key=ephemeral".into()],
                    ..storage("local")
                }],
                ..create()
            },
            "encryption_key",
        ),
        (
            grpc::CreateContainerRequest {
                storages: vec![grpc::Storage {
                    mount_point: "/m/../etc".into(),
                    ..storage("local")
                }],
                ..create()
            },
            "without ..",
        ),
        (
            grpc::CreateContainerRequest {
                oci: None,
                ..create()
            },
            "OCI",
        ),
        (
            grpc::CreateContainerRequest {
                oci: Some(grpc::Spec::default()),
                ..create()
            },
            "Process",
        ),
    ] {
        let error = create_published(request).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn our_own_requests_are_checked() {
    let good = || sandbox::CreateContainerRequest {
        spec_json: br#"{"ociVersion":"1.0.2","process":{"args":["x"],"cwd":"/"}}"#.to_vec(),
        rootfs: Some(sandbox::Rootfs {
            lowers: vec!["/l".into()],
            upper: "/u".into(),
            work: "/w".into(),
            readonly: false,
        }),
        ..Default::default()
    };
    let create = create_own(good()).unwrap();
    assert_eq!(
        create.overlay.unwrap().writable,
        Some(("/u".into(), "/w".into()))
    );
    let rootfs = |edit: fn(&mut sandbox::Rootfs)| {
        let mut rootfs = good().rootfs.unwrap();
        edit(&mut rootfs);
        sandbox::CreateContainerRequest {
            rootfs: Some(rootfs),
            ..good()
        }
    };
    for (request, part) in [
        (
            sandbox::CreateContainerRequest {
                tty: true,
                ..good()
            },
            "tty",
        ),
        (sandbox::CreateContainerRequest { pid: 9, ..good() }, "pid"),
        (
            sandbox::CreateContainerRequest {
                pid: sandbox::PidMode::Target.into(),
                ..good()
            },
            "pid_target",
        ),
        (
            sandbox::CreateContainerRequest {
                spec_json: b"{".to_vec(),
                ..good()
            },
            "spec",
        ),
        (
            sandbox::CreateContainerRequest {
                log: Some(sandbox::LogConfig {
                    path: "rel".into(),
                    ..Default::default()
                }),
                ..good()
            },
            "log.path",
        ),
        (rootfs(|r| r.lowers.clear()), "lower"),
        (rootfs(|r| r.work.clear()), "together"),
        (
            rootfs(|r| {
                r.upper.clear();
                r.work.clear();
            }),
            "writable",
        ),
    ] {
        let error = create_own(request).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let read_only = create_own(rootfs(|r| r.readonly = true)).unwrap();
    assert!(read_only.spec.root.unwrap().readonly);
    assert!(read_only.overlay.unwrap().writable.is_some());
}
