//! `features`: what this runtime can do, as the document of the specification (features.md). It says what
//! is compiled in, whatever this host has; only `supportedFlags` asks the kernel.

use std::collections::BTreeMap;

use oci::runtime::{
    MemoryPolicyFlag, MemoryPolicyMode, NamespaceType, SeccompAction, SeccompArch, SeccompFlag,
    SeccompOperator, VERSION, capability, print_indented,
};
use serde::Serialize;

use super::print;
use crate::error::Error;

/// Annotations of a document that change what is done, and so are not for strangers to set: a prefix.
const UNSAFE_ANNOTATIONS: [&str; 2] = ["org.systemd.property.", "run.oci."];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    mount_options: &'static [&'static str],
    linux: Linux,
    annotations: BTreeMap<&'static str, String>,
    potentially_unsafe_config_annotations: [&'static str; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [NamespaceType],
    capabilities: &'static [&'static str],
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [SeccompAction],
    operators: &'static [SeccompOperator],
    archs: &'static [SeccompArch],
    known_flags: &'static [SeccompFlag],
    supported_flags: Vec<SeccompFlag>,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

const YES: Enabled = Enabled { enabled: true };

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [MemoryPolicyMode],
    flags: &'static [MemoryPolicyFlag],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

#[inline(never)]
pub(crate) fn command() -> Result<i32, Error> {
    let features = Features {
        oci_version_min: "1.0.0",
        oci_version_max: VERSION,
        hooks: [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: container::plan::MOUNT_OPTIONS,
        linux: linux(),
        annotations: annotations(),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    };
    print(&(print_indented(&features, "    ")? + "\n"))?;
    Ok(0)
}

fn linux() -> Linux {
    Linux {
        namespaces: NamespaceType::ALL,
        capabilities: &capability::NAMES,
        cgroup: Cgroup {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
        },
        seccomp: Seccomp {
            enabled: true,
            actions: SeccompAction::ALL,
            operators: SeccompOperator::ALL,
            archs: SeccompArch::ALL,
            known_flags: SeccompFlag::ALL,
            supported_flags: container::seccomp::supported_flags(),
        },
        apparmor: YES,
        selinux: YES,
        intel_rdt: IntelRdt {
            enabled: true,
            schemata: true,
            monitoring: true,
        },
        memory_policy: MemoryPolicy {
            modes: MemoryPolicyMode::ALL,
            flags: MemoryPolicyFlag::ALL,
        },
        mount_extensions: MountExtensions { idmap: YES },
        net_devices: YES,
    }
}

/// Under the names by which others look for them: engines ask runc and crun alike for the third.
fn annotations() -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from([
        ("coffer-oci.version", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "org.opencontainers.runc.checkpoint.enabled",
            "true".to_owned(),
        ),
    ]);
    if let Some(version) = container::seccomp::library_version() {
        all.insert("io.github.seccomp.libseccomp.version", version);
    }
    all
}
