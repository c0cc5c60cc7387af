//! Writes devices into a spec: numbers in `linux.devices`, and the rules of the device cgroup, which
//! name the numbers that the device has where the spec was written.

use oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};

use super::find::Node;
use crate::error::Error;

/// One entry of the spec that is a device of this machine.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) container_path: String,
    pub(super) node: Node,
    /// The path that it gets in the container; None: the same.
    pub(super) path: Option<String>,
}

/// Old and new numbers of a changed entry.
struct Moved {
    type_: LinuxDeviceType,
    from: (i64, i64),
    to: (i64, i64),
    matched: bool,
}

/// Makes all changes at once: the new numbers of one may be the old ones of another.
pub(super) fn apply(spec: &mut Spec, changes: &[Change]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let linux = spec.linux.get_or_insert_default();
    let mut moved = Vec::with_capacity(changes.len());
    for (i, change) in changes.iter().enumerate() {
        let path = &change.container_path;
        let wrong = |why| Error::invalid(format!("device {path:?}"), why);
        if changes[..i].iter().any(|c| c.container_path == *path) {
            return Err(wrong("two devices for one entry of linux.devices"));
        }
        let entry = linux.devices.iter_mut().find(|d| d.path == *path);
        let entry = entry.ok_or_else(|| wrong("linux.devices of the spec has no such entry"))?;
        let block = entry.type_ == LinuxDeviceType::B;
        if block != change.node.block {
            return Err(wrong("linux.devices says another type (b or c) than it is"));
        }
        let to = (change.node.major, change.node.minor);
        moved.push(Moved {
            type_: entry.type_,
            from: (entry.major, entry.minor),
            to,
            matched: false,
        });
        (entry.major, entry.minor) = to;
        if let Some(path) = &change.path {
            entry.path.clone_from(path);
        }
    }
    let rules = &mut linux.resources.get_or_insert_default().devices;
    for rule in rules.iter_mut() {
        let found = moved.iter_mut().find(|m| {
            let numbers = (Some(m.from.0), Some(m.from.1));
            rule.type_ == Some(m.type_) && (rule.major, rule.minor) == numbers
        });
        if let Some(found) = found {
            (rule.major, rule.minor) = (Some(found.to.0), Some(found.to.1));
            found.matched = true;
        }
    }
    for device in moved.iter().filter(|m| !m.matched) {
        // The caller may leave rules out, as it does not know this machine's numbers.
        rules.push(LinuxDeviceCgroup {
            allow: true,
            type_: Some(device.type_),
            major: Some(device.to.0),
            minor: Some(device.to.1),
            access: Some("rwm".into()),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Spec {
        let document = json!({
            "ociVersion": "1.0.2",
            "process": {"args": ["x"], "cwd": "/"},
            "linux": {
                "devices": [
                    {"path": "/dev/a", "type": "b", "major": 8, "minor": 0},
                    {"path": "/dev/b", "type": "b", "major": 8, "minor": 16},
                    {"path": "/dev/c", "type": "c", "major": 5, "minor": 1},
                ],
                "resources": {"devices": [
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"},
                ]},
            },
        });
        oci::runtime::parse(document.to_string().as_bytes()).unwrap()
    }

    fn change(path: &str, block: bool, numbers: (i64, i64)) -> Change {
        Change {
            container_path: path.into(),
            node: Node {
                path: "/dev/x".into(),
                block,
                major: numbers.0,
                minor: numbers.1,
            },
            path: None,
        }
    }

    #[test]
    fn numbers_may_change_places_and_rules_follow() {
        let mut spec = spec();
        let changes = [
            change("/dev/a", true, (8, 16)),
            change("/dev/b", true, (8, 0)),
        ];
        apply(&mut spec, &changes).unwrap();
        let linux = spec.linux.unwrap();
        let numbers: Vec<_> = linux.devices.iter().map(|d| (d.major, d.minor)).collect();
        assert_eq!(numbers, [(8, 16), (8, 0), (5, 1)]);
        let rules = linux.resources.unwrap().devices;
        let rules: Vec<_> = rules
            .iter()
            .map(|r| (r.major, r.minor, r.access.as_deref()))
            .collect();
        assert_eq!(
            rules,
            [
                (None, None, Some("rwm")),
                (Some(8), Some(16), Some("r")),
                (Some(8), Some(0), Some("rwm"))
            ]
        );
    }

    #[test]
    fn what_does_not_fit_the_spec_is_named() {
        for (changes, part) in [
            (vec![change("/dev/z", true, (1, 1))], "no such entry"),
            (vec![change("/dev/c", true, (1, 1))], "another type"),
            (
                vec![
                    change("/dev/a", true, (1, 1)),
                    change("/dev/a", true, (1, 2)),
                ],
                "two devices",
            ),
        ] {
            let error = apply(&mut spec(), &changes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
