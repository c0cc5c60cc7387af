//! `features`: what this runtime can do, as the document of the specification.

use oci::runtime::{
    NamespaceType, SeccompAction, SeccompArch, SeccompFlag, SeccompOperator, VERSION, capability,
    print_indented,
};
use serde::Serialize;

use super::print;
use crate::error::Error;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    linux: Linux,
}

#[derive(Serialize)]
struct Linux {
    namespaces: &'static [NamespaceType],
    capabilities: &'static [&'static str],
    cgroup: Cgroup,
    seccomp: Seccomp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [SeccompAction],
    operators: &'static [SeccompOperator],
    archs: &'static [SeccompArch],
    known_flags: &'static [SeccompFlag],
}

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
        linux: Linux {
            namespaces: NamespaceType::ALL,
            capabilities: &capability::NAMES,
            cgroup: Cgroup {
                v1: true,
                v2: true,
                systemd: true,
                systemd_user: true,
            },
            seccomp: Seccomp {
                enabled: true,
                actions: SeccompAction::ALL,
                operators: SeccompOperator::ALL,
                archs: SeccompArch::ALL,
                known_flags: SeccompFlag::ALL,
            },
        },
    };
    print(&(print_indented(&features, "  ")? + "\n"))?;
    Ok(0)
}
