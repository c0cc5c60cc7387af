//! Which kernel parameters belong to a namespace (S12): any other would be the host's.

use super::{Report, has, text};
use crate::runtime::{NamespaceType, Spec};

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What lies between dots, or between slashes if there is one; `None` if that is no path of names.
fn parts(key: &str) -> Option<Vec<&str>> {
    let separator = if key.contains('/') { '/' } else { '.' };
    let parts: Vec<&str> = key.split(separator).collect();
    let plain = |part: &&str| !matches!(*part, "" | "." | "..");
    parts.iter().all(plain).then_some(parts)
}

/// The namespace that a parameter belongs to, `None` if it is the whole machine's.
///
/// `key` is the dotted form, or the one with slashes (`net/ipv4/conf/eth0.1/forwarding`).
#[must_use]
pub fn sysctl_namespace(key: &str) -> Option<NamespaceType> {
    match parts(key)?.as_slice() {
        ["net", _, ..] => Some(NamespaceType::Network),
        ["user", _] => Some(NamespaceType::User),
        ["fs", "mqueue", _, ..] => Some(NamespaceType::Ipc),
        ["kernel", "domainname"] => Some(NamespaceType::Uts),
        ["kernel", name]
            if IPC
                .iter()
                .any(|known| known.strip_prefix("kernel.") == Some(name)) =>
        {
            Some(NamespaceType::Ipc)
        }
        _ => None,
    }
}

pub(super) fn check(spec: &Spec, report: &mut Report) {
    for (key, value) in spec.linux.iter().flat_map(|linux| &linux.sysctl) {
        let at = format!("linux.sysctl[{key:?}]");
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@*".contains(c);
        if !key.chars().all(allowed) {
            report.add(at, "a key has letters, digits and ._-/:@* only");
            continue;
        }
        text(format_args!("{at}"), value, report);
        if key == "kernel.hostname" || key == "kernel/hostname" {
            report.add(at, "use the hostname of the document instead");
            continue;
        }
        if parts(key).is_none() {
            report.add(at, "contains an invalid path");
            continue;
        }
        match sysctl_namespace(key) {
            None => report.add(at, "belongs to the whole machine, not to a namespace"),
            Some(namespace) => report.require(
                has(spec, namespace),
                || at,
                || format!("needs a {namespace} namespace of the container's own"),
            ),
        }
    }
}
