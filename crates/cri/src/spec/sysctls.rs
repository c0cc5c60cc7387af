//! The sysctls of a pod: the field, and the old annotations under it.

use std::collections::BTreeMap;

use super::SpecError;
use crate::domain::{NamespaceMode, PodConfig};

const FIELD: &str = "linux.sysctls";
const ANNOTATIONS: [&str; 2] = [
    "security.alpha.kubernetes.io/sysctls",
    "security.alpha.kubernetes.io/unsafe-sysctls",
];

/// The ipc sysctls that have a name of their own; the others begin with `fs.mqueue.`.
const IPC: [&str; 7] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// All sysctls of a pod by their dotted names.
///
/// # Errors
/// One that names the sysctl: not made of the right characters, not of a namespace, or of one that
/// the pod shares with the host (CVE-2022-0811).
pub fn pod_sysctls(pod: &PodConfig) -> Result<BTreeMap<String, String>, SpecError> {
    let mut all = BTreeMap::new();
    for key in ANNOTATIONS {
        let text = pod
            .annotations
            .get(key)
            .map(String::as_str)
            .unwrap_or_default();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let Some((name, value)) = entry.split_once('=') else {
                let what = format!("{entry:?} is not name=value");
                return Err(SpecError::invalid(format!("annotation {key}"), what));
            };
            all.insert(
                check(&format!("annotation {key}"), name, value, pod)?,
                value.to_owned(),
            );
        }
    }
    for (name, value) in &pod.sysctls {
        all.insert(check(FIELD, name, value, pod)?, value.clone());
    }
    Ok(all)
}

/// Answers the name with dots.
fn check(field: &str, name: &str, value: &str, pod: &PodConfig) -> Result<String, SpecError> {
    let invalid = |what: String| Err(SpecError::invalid(field, what));
    // Both spellings of sysctl(8): dots, or slashes where a part has dots itself (an interface's
    // name): "net/ipv4/conf/eth0.7/forwarding" is "net.ipv4.conf.eth0/7.forwarding" with dots.
    let dotted = match (name.find('/'), name.find('.')) {
        (Some(slash), dot) if dot.is_none_or(|dot| slash < dot) => name
            .chars()
            .map(|letter| match letter {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "-_/".contains(letter);
    if dotted
        .split('.')
        .any(|part| part.is_empty() || !part.chars().all(legal))
    {
        return invalid(format!("{name:?} is not the name of a sysctl"));
    }
    if value.contains(['\n', '\0', '+']) {
        return invalid(format!(
            "the value of {name} holds a newline, a NUL byte or a plus sign"
        ));
    }
    let of = &pod.security.namespaces;
    let (kind, shared) = if dotted.starts_with("net.") {
        ("network", of.network == NamespaceMode::Node)
    } else if IPC.contains(&dotted.as_str())
        || dotted == "kernel.shm_rmid_forced"
        || dotted.starts_with("fs.mqueue.")
    {
        ("ipc", of.ipc == NamespaceMode::Node)
    } else {
        return invalid(format!(
            "{name} belongs to no namespace of a pod: it is the whole node's"
        ));
    };
    if shared {
        return invalid(format!(
            "{name} can't be set: the pod shares the node's {kind} namespace"
        ));
    }
    Ok(dotted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Namespaces, PodSecurity};

    fn pod(sysctls: &[(&str, &str)], annotations: &[(&str, &str)]) -> PodConfig {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        PodConfig {
            sysctls: map(sysctls),
            annotations: map(annotations),
            ..Default::default()
        }
    }

    #[test]
    fn annotations_come_first_and_fields_win() {
        let pod = pod(
            &[("net.ipv4.ip_forward", "1")],
            &[
                (
                    ANNOTATIONS[0],
                    "kernel.shm_rmid_forced=1, net.ipv4.ip_forward=0",
                ),
                (ANNOTATIONS[1], "net.core.somaxconn=1024,"),
            ],
        );
        let expected = [
            ("kernel.shm_rmid_forced", "1"),
            ("net.core.somaxconn", "1024"),
            ("net.ipv4.ip_forward", "1"),
        ];
        let got = pod_sysctls(&pod).unwrap();
        assert_eq!(
            got.iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn both_spellings_are_one_name() {
        let pod = pod(&[("net/ipv4/conf/eth0.7/forwarding", "1")], &[]);
        let got = pod_sysctls(&pod).unwrap();
        assert_eq!(
            got.keys().collect::<Vec<_>>(),
            ["net.ipv4.conf.eth0/7.forwarding"]
        );
    }

    #[test]
    fn what_is_not_the_pods_is_refused() {
        for (name, value, expected) in [
            ("kernel.core_pattern", "x", "the whole node's"),
            ("vm.swappiness", "1", "the whole node's"),
            (
                "kernel.shm_rmid_forced+kernel.core_pattern",
                "1",
                "not the name of a sysctl",
            ),
            ("net..x", "1", "not the name of a sysctl"),
            ("net.ipv4.x y", "1", "not the name of a sysctl"),
            ("", "1", "not the name of a sysctl"),
            (
                "kernel.shm_rmid_forced",
                "1\nkernel.core_pattern=|/evil",
                "newline",
            ),
            (
                "kernel.shm_rmid_forced",
                "1+kernel.core_pattern=|/evil",
                "plus sign",
            ),
        ] {
            let error = pod_sysctls(&pod(&[(name, value)], &[]))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        let error = pod_sysctls(&pod(&[], &[(ANNOTATIONS[0], "nonsense")])).unwrap_err();
        assert!(error.to_string().contains("name=value"), "{error}");
    }

    #[test]
    fn the_hosts_namespaces_are_not_changed() {
        for (name, namespaces) in [
            (
                "net.ipv4.ip_forward",
                Namespaces {
                    network: NamespaceMode::Node,
                    ..Default::default()
                },
            ),
            (
                "kernel.shmmax",
                Namespaces {
                    ipc: NamespaceMode::Node,
                    ..Default::default()
                },
            ),
        ] {
            let pod = PodConfig {
                security: PodSecurity {
                    namespaces,
                    ..Default::default()
                },
                ..pod(&[(name, "1")], &[])
            };
            let error = pod_sysctls(&pod).unwrap_err().to_string();
            assert!(error.contains("shares the node's"), "{error}");
        }
    }
}
