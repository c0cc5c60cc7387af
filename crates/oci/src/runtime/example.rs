//! The document that `spec` writes for people to start from; the same as runc's.

use super::{
    Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxIdMapping, LinuxNamespace, LinuxResources,
    Mount, NamespaceType, Process, Rlimit, Root, Spec,
};

/// The version of the specification that our documents follow.
pub const VERSION: &str = "1.3.0";

/// The version that the examples name: they use nothing newer, and other runtimes in distributions
/// refuse what they do not know.
const PLAIN_VERSION: &str = "1.0.2";

/// A shell with a terminal in all the usual namespaces, its root the bundle's `rootfs`, read-only.
#[must_use]
pub fn example() -> Spec {
    Spec {
        oci_version: PLAIN_VERSION.to_owned(),
        process: Some(process()),
        root: Some(Root {
            path: "rootfs".to_owned(),
            readonly: true,
        }),
        hostname: Some("coffer".to_owned()),
        mounts: mounts(),
        linux: Some(Linux {
            resources: Some(LinuxResources {
                devices: vec![LinuxDeviceCgroup {
                    access: Some("rwm".to_owned()),
                    ..LinuxDeviceCgroup::default()
                }],
                ..LinuxResources::default()
            }),
            namespaces: namespaces(&[
                NamespaceType::Pid,
                NamespaceType::Network,
                NamespaceType::Ipc,
                NamespaceType::Uts,
                NamespaceType::Mount,
                NamespaceType::Cgroup,
            ]),
            masked_paths: strings(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/sys/devices/virtual/powercap",
                "/proc/scsi",
            ]),
            readonly_paths: strings(&[
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

/// The same for a user without privileges: a user namespace that maps root to `uid` and `gid`, the
/// host's network and sysfs, no cgroup limits.
#[must_use]
pub fn rootless_example(uid: u32, gid: u32) -> Spec {
    let mut spec = example();
    for mount in &mut spec.mounts {
        match mount.destination.as_str() {
            // The gid of the tty group is not mapped.
            "/dev/pts" => mount.options.retain(|option| option != "gid=5"),
            // Only the owner of the network namespace may mount a sysfs.
            "/sys" => {
                *mount = self::mount(
                    "/sys",
                    "none",
                    "/sys",
                    &["rbind", "nosuid", "noexec", "nodev", "ro"],
                );
            }
            _ => {}
        }
    }
    if let Some(linux) = &mut spec.linux {
        linux.resources = None;
        linux
            .namespaces
            .retain(|namespace| namespace.type_ != NamespaceType::Network);
        linux.namespaces.extend(namespaces(&[NamespaceType::User]));
        linux.uid_mappings = vec![LinuxIdMapping {
            container_id: 0,
            host_id: uid,
            size: 1,
        }];
        linux.gid_mappings = vec![LinuxIdMapping {
            container_id: 0,
            host_id: gid,
            size: 1,
        }];
    }
    spec
}

fn process() -> Process {
    let allowed = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    Process {
        terminal: true,
        args: strings(&["sh"]),
        env: strings(&[
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ]),
        cwd: "/".to_owned(),
        capabilities: Some(LinuxCapabilities {
            bounding: allowed.clone(),
            effective: allowed.clone(),
            permitted: allowed,
            ..LinuxCapabilities::default()
        }),
        rlimits: vec![Rlimit {
            type_: "RLIMIT_NOFILE".to_owned(),
            hard: 1024,
            soft: 1024,
        }],
        no_new_privileges: true,
        ..Process::default()
    }
}

fn mounts() -> Vec<Mount> {
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

fn mount(destination: &str, type_: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        type_: Some(type_.to_owned()),
        source: Some(source.to_owned()),
        options: strings(options),
        ..Mount::default()
    }
}

fn namespaces(types: &[NamespaceType]) -> Vec<LinuxNamespace> {
    types
        .iter()
        .map(|type_| LinuxNamespace {
            type_: *type_,
            path: None,
        })
        .collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
