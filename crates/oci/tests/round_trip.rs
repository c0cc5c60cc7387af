//! What was read is what is printed, and what was printed is read back.

use oci::image::{Descriptor, ImageConfig, Index, Manifest, MediaType};
use oci::runtime::{
    Hook, Hooks, Linux, LinuxDeviceCgroup, LinuxDeviceType, LinuxIdMapping, LinuxMemory,
    LinuxNamespace, LinuxResources, LinuxSeccomp, LinuxSyscall, Mount, NamespaceType, Process,
    Rlimit, RlimitType, Root, SeccompAction, SeccompArg, SeccompOperator, Spec, example, parse,
    parse_process, print, rootless_example,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

#[test]
fn every_field_of_the_specification_survives() {
    let text = include_str!("full.json");
    let read: Value = serde_json::from_str(text).expect("JSON");
    let printed = print(&parse(text.as_bytes()).expect("parses")).expect("prints");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed, read);
}

#[test]
fn the_examples_are_read_back() {
    for spec in [example(), rootless_example(1000, 100)] {
        let text = print(&spec).expect("prints");
        assert_eq!(parse(text.as_bytes()).expect("parses"), spec);
    }
}

#[test]
fn image_documents_survive() {
    let descriptor = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": "sha256:00", "size": 7, "annotations": {"a": "b"},
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "1"}});
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor], "subject": descriptor});
    let manifest = json!({"schemaVersion": 2, "config": descriptor, "layers": [descriptor]});
    let config = json!({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:01"]},
        "history": [{"created_by": "make", "empty_layer": true}],
        "config": {"User": "1000:1000", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"],
            "Entrypoint": ["/e"], "Cmd": ["c"], "Volumes": {"/v": {}}, "WorkingDir": "/w",
            "Labels": {"l": "m"}, "StopSignal": "SIGTERM", "Shell": ["/bin/sh"],
            "Healthcheck": {"Test": ["NONE"], "Interval": 3, "StartPeriod": 4}}});
    fn survives<T: serde::Serialize + serde::de::DeserializeOwned>(value: &Value) {
        let read: T = serde_json::from_value(value.clone()).expect("reads");
        assert_eq!(&serde_json::to_value(read).expect("prints"), value);
    }
    survives::<Descriptor>(&descriptor);
    survives::<Index>(&index);
    survives::<Manifest>(&manifest);
    survives::<ImageConfig>(&config);
    let nulls = r#"{"config":{"Env":null,"Cmd":null,"Volumes":null,"Labels":null},"history":null}"#;
    let read: ImageConfig = serde_json::from_str(nulls).expect("nulls are absent");
    assert_eq!(read.config, Some(oci::image::RunConfig::default()));
}

#[test]
fn media_types_are_sorted() {
    for kind in MediaType::ALL {
        let roles = [
            kind.is_index(),
            kind.is_manifest(),
            kind.is_config(),
            kind.layer_compression().is_some(),
        ];
        let wanted = usize::from(*kind != MediaType::OciEmpty);
        assert_eq!(roles.iter().filter(|role| **role).count(), wanted, "{kind}");
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
}

fn text() -> impl Strategy<Value = String> {
    // Quotes, control characters, anything but what a strategy would never shrink to.
    any::<String>()
}

fn mappings() -> impl Strategy<Value = Vec<LinuxIdMapping>> {
    let one =
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(container_id, host_id, size)| {
            LinuxIdMapping {
                container_id,
                host_id,
                size,
            }
        });
    vec(one, 0..3)
}

fn process() -> impl Strategy<Value = Process> {
    let rlimit =
        (select(RlimitType::ALL), any::<u64>(), any::<u64>()).prop_map(|(type_, hard, soft)| {
            Rlimit {
                type_: type_.to_string(),
                hard,
                soft,
            }
        });
    (
        (
            any::<bool>(),
            any::<bool>(),
            any::<u32>(),
            any::<u32>(),
            option::of(any::<u32>()),
        ),
        vec(text(), 0..4),
        vec(text(), 0..4),
        text(),
        vec(rlimit, 0..3),
        option::of(any::<i32>()),
        option::of(text()),
        option::of(vec(text(), 0..3)),
    )
        .prop_map(
            |(flags, args, env, cwd, rlimits, oom_score_adj, label, capabilities)| {
                let mut process = Process {
                    args,
                    env,
                    cwd,
                    rlimits,
                    oom_score_adj,
                    ..Process::default()
                };
                (
                    process.terminal,
                    process.no_new_privileges,
                    process.user.uid,
                    process.user.gid,
                    process.user.umask,
                ) = flags;
                process.selinux_label = label;
                process.capabilities = capabilities.map(|names| oci::runtime::LinuxCapabilities {
                    bounding: names.clone(),
                    ambient: names,
                    ..Default::default()
                });
                process
            },
        )
}

fn mount() -> impl Strategy<Value = Mount> {
    (
        text(),
        option::of(text()),
        option::of(text()),
        vec(text(), 0..3),
        mappings(),
        mappings(),
    )
        .prop_map(
            |(destination, type_, source, options, uid_mappings, gid_mappings)| Mount {
                destination,
                type_,
                source,
                options,
                uid_mappings,
                gid_mappings,
            },
        )
}

fn seccomp() -> impl Strategy<Value = LinuxSeccomp> {
    let arg = (
        0..6_u32,
        any::<u64>(),
        any::<u64>(),
        select(SeccompOperator::ALL),
    )
        .prop_map(|(index, value, value_two, op)| SeccompArg {
            index,
            value,
            value_two,
            op,
        });
    let rule = (
        vec(text(), 0..3),
        select(SeccompAction::ALL),
        option::of(any::<u32>()),
        vec(arg, 0..3),
    )
        .prop_map(|(names, action, errno_ret, args)| LinuxSyscall {
            names,
            action,
            errno_ret,
            args,
        });
    (
        select(SeccompAction::ALL),
        option::of(any::<u32>()),
        vec(rule, 0..3),
    )
        .prop_map(
            |(default_action, default_errno_ret, syscalls)| LinuxSeccomp {
                default_action,
                default_errno_ret,
                syscalls,
                ..LinuxSeccomp::default()
            },
        )
}

fn linux() -> impl Strategy<Value = Linux> {
    let namespace = (select(NamespaceType::ALL), option::of(text()))
        .prop_map(|(type_, path)| LinuxNamespace { type_, path });
    let rule = (
        any::<bool>(),
        option::of(select(LinuxDeviceType::ALL)),
        option::of(any::<i64>()),
        option::of(text()),
    )
        .prop_map(|(allow, type_, major, access)| LinuxDeviceCgroup {
            allow,
            type_,
            major,
            access,
            ..LinuxDeviceCgroup::default()
        });
    let memory = (
        option::of(any::<i64>()),
        option::of(any::<u64>()),
        option::of(any::<bool>()),
    )
        .prop_map(|(limit, swappiness, disable_oom_killer)| LinuxMemory {
            limit,
            swappiness,
            disable_oom_killer,
            ..LinuxMemory::default()
        });
    let resources = (
        vec(rule, 0..3),
        option::of(memory),
        btree_map(text(), text(), 0..3),
    )
        .prop_map(|(devices, memory, unified)| LinuxResources {
            devices,
            memory,
            unified,
            ..LinuxResources::default()
        });
    (
        vec(namespace, 0..4),
        option::of(resources),
        option::of(seccomp()),
        btree_map(text(), text(), 0..3),
        option::of(text()),
        mappings(),
        vec(text(), 0..3),
    )
        .prop_map(
            |(namespaces, resources, seccomp, sysctl, cgroups_path, uid_mappings, masked_paths)| {
                Linux {
                    namespaces,
                    resources,
                    seccomp,
                    sysctl,
                    cgroups_path,
                    uid_mappings,
                    masked_paths,
                    ..Linux::default()
                }
            },
        )
}

fn hook() -> impl Strategy<Value = Hook> {
    let env = option::of(vec(text(), 0..3));
    (text(), vec(text(), 0..3), option::of(any::<i64>()), env).prop_map(
        |(path, args, timeout, env)| Hook {
            path,
            args,
            timeout,
            env,
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let hooks = (vec(hook(), 0..2), vec(hook(), 0..2)).prop_map(|(prestart, poststop)| Hooks {
        prestart,
        poststop,
        ..Hooks::default()
    });

    (
        text(),
        option::of(process()),
        option::of((text(), any::<bool>()).prop_map(|(path, readonly)| Root { path, readonly })),
        option::of(text()),
        vec(mount(), 0..3),
        option::of(hooks),
        btree_map(text(), text(), 0..3),
        option::of(linux()),
    )
        .prop_map(
            |(oci_version, process, root, hostname, mounts, hooks, annotations, linux)| Spec {
                oci_version,
                process,
                root,
                hostname,
                mounts,
                hooks,
                annotations,
                linux,
                ..Spec::default()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_document_is_read_back(spec in spec()) {
        let text = print(&spec).expect("prints");
        prop_assert_eq!(parse(text.as_bytes()).expect("parses"), spec);
    }

    #[test]
    fn a_printed_process_is_read_back(process in process()) {
        let text = print(&process).expect("prints");
        prop_assert_eq!(parse_process(text.as_bytes()).expect("parses"), process);
    }

    #[test]
    fn no_text_makes_the_parser_panic(cut in 0_usize..6000, garbage in vec(any::<u8>(), 0..8)) {
        let mut text = include_bytes!("full.json").to_vec();
        text.truncate(cut);
        text.extend(garbage);
        if let Ok(spec) = parse(&text) {
            let _ = oci::runtime::validate(&spec);
        }
    }
}
