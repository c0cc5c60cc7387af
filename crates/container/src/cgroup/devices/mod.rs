//! The device cgroup: which device nodes may be opened or made.
//!
//! The spec gives a list of allow and deny rules in which a later rule wins, for each of r, w and m
//! by itself. Nothing is allowed before the first rule. cgroup2 runs that list as a program
//! ([`program`]); v1 keeps a default and a set of exceptions ([`v1`]).

mod program;
mod v1;

use oci::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::error::Error;
use super::group::Cgroup;

/// Device types, as a spec writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block,
    Char,
}

/// Access bits with the kernel's numbers (BPF_DEVCG_ACC_*).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// A rule, checked. `None` matches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// Whether a cgroup may have rules already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Somebody set some, and there may be processes.
    Set,
    /// It was made a moment ago, with nobody in it: directly below the root all is allowed there.
    Inherited,
}

/// Sets the rules; an empty list leaves the cgroup as it is.
pub(super) fn apply(
    cgroup: &Cgroup,
    rules: &[LinuxDeviceCgroup],
    before: Before,
) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let rules: Vec<Rule> = rules.iter().map(Rule::check).collect::<Result<_, _>>()?;
    if cgroup.is_v2() {
        match cgroup.unified() {
            Some(dir) => program::apply(&dir.path, &rules),
            None => Err(Error::NotFound(cgroup.path().to_owned())),
        }
    } else {
        match cgroup.dir_of("devices") {
            Some(dir) if dir.is_own_top() => v1::apply(&dir.path, &rules, before),
            Some(dir) => v1::apply(&dir.path, &rules, Before::Set),
            None if rules.iter().all(|r| r.allow && r.is_everything()) => Ok(()),
            None => Err(Error::Unsupported {
                setting: "devices".to_owned(),
                reason: "the devices controller is not mounted".to_owned(),
            }),
        }
    }
}

/// The rules that a container runs with: those of its spec (none: deny all), what every container
/// may use (config-linux.md, "Default Devices", and mknod of anything), and, where
/// the spec has no rules at all, the nodes that `linux.devices` asks for: rules are meant as they stand.
pub fn container_device_rules(
    spec: &[LinuxDeviceCgroup],
    devices: &[LinuxDevice],
) -> Vec<LinuxDeviceCgroup> {
    use LinuxDeviceType::{A, B, C, P, U};
    let rule = |kind, major: Option<i64>, minor: Option<i64>, access: &str| LinuxDeviceCgroup {
        allow: true,
        type_: Some(kind),
        major,
        minor,
        access: Some(access.to_owned()),
    };
    let mut rules = spec.to_vec();
    if rules.is_empty() {
        let everything = rule(A, None, None, "rwm");
        rules.push(LinuxDeviceCgroup {
            allow: false,
            ..everything
        });
    }
    rules.push(rule(C, None, None, "m"));
    rules.push(rule(B, None, None, "m"));
    // null, zero, full, random, urandom, tty, console, ptmx, pts/*
    for (major, minor) in [
        (1, 3),
        (1, 5),
        (1, 7),
        (1, 8),
        (1, 9),
        (5, 0),
        (5, 1),
        (5, 2),
    ] {
        rules.push(rule(C, Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(C, Some(136), None, "rwm"));
    for device in devices {
        match device.type_ {
            B | C | U if spec.is_empty() => {
                rules.push(rule(
                    device.type_,
                    Some(device.major),
                    Some(device.minor),
                    "rwm",
                ));
            }
            // A FIFO is no device; "all" is no node.
            B | C | U | P | A => {}
        }
    }
    rules
}

impl Rule {
    fn check(rule: &LinuxDeviceCgroup) -> Result<Rule, Error> {
        let refuse = |reason| {
            Err(Error::DeviceRule {
                rule: show(rule),
                reason,
            })
        };
        let kind = match rule.type_ {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Char),
            Some(LinuxDeviceType::B) => Some(Kind::Block),
            Some(LinuxDeviceType::P) => return refuse("a FIFO is not a device"),
        };
        // -1 is how older writers say "all".
        let number = |n: Option<i64>| match n {
            None | Some(-1) => Ok(None),
            Some(n) => u32::try_from(n).map(Some),
        };
        let (Ok(major), Ok(minor)) = (number(rule.major), number(rule.minor)) else {
            return refuse("a device number is outside 0..2^32");
        };
        let mut access = 0;
        for c in rule.access.as_deref().unwrap_or("").chars() {
            access |= match c {
                'm' => MKNOD,
                'r' => READ,
                'w' => WRITE,
                // Beside others it says nothing: runc reads "rwa" as "rw".
                'a' if rule.access.as_deref() != Some("a") => 0,
                _ => return refuse("access is none of r, w, m"),
            };
        }
        if access == 0 {
            // The spec makes access optional and does not say what it then is; kubelet and runc
            // write "a *:* rwm" with all of it.
            access = ALL;
        }
        // The kernel's "a" is the whole of everything, whatever else the rule says.
        if kind.is_none() && (major.is_some() || minor.is_some()) {
            return refuse("type a goes with all majors and minors only");
        }
        Ok(Rule {
            allow: rule.allow,
            kind,
            major,
            minor,
            access,
        })
    }

    fn is_everything(&self) -> bool {
        self.kind.is_none() && self.access == ALL
    }

    /// Both kinds of device for a rule of type a.
    fn kinds(&self) -> &'static [Kind] {
        match self.kind {
            None => &[Kind::Block, Kind::Char],
            Some(Kind::Block) => &[Kind::Block],
            Some(Kind::Char) => &[Kind::Char],
        }
    }
}

/// A rule in the form of devices.allow, for messages.
fn show(rule: &LinuxDeviceCgroup) -> String {
    let number = |n: Option<i64>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    format!(
        "{} {} {}:{} {}",
        if rule.allow { "allow" } else { "deny" },
        rule.type_.unwrap_or_default(),
        number(rule.major),
        number(rule.minor),
        rule.access.as_deref().unwrap_or("rwm")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use LinuxDeviceType::{A, C, P, U};

    fn rule(kind: LinuxDeviceType, major: Option<i64>, access: &str) -> LinuxDeviceCgroup {
        LinuxDeviceCgroup {
            allow: true,
            type_: Some(kind),
            major,
            minor: Some(-1),
            access: Some(access.to_owned()),
        }
    }

    #[test]
    fn wrong_rules_are_refused_and_shown() {
        for (bad, text) in [
            (rule(P, None, "r"), "allow p *:-1 r: a FIFO"),
            (rule(C, Some(-2), "r"), "allow c -2:-1 r: a device number"),
            (rule(C, Some(1 << 32), "r"), "a device number"),
            (rule(C, None, "rx"), "access is none"),
            (rule(A, Some(1), "rwm"), "type a goes with"),
        ] {
            let e = Rule::check(&bad).unwrap_err();
            assert!(e.is_invalid_input());
            assert!(e.to_string().contains(text), "{e}");
        }
    }

    #[test]
    fn minus_one_is_all() {
        let checked = Rule::check(&rule(U, Some(-1), "")).unwrap();
        let want = Rule {
            allow: true,
            kind: Some(Kind::Char),
            major: None,
            minor: None,
            access: ALL,
        };
        assert_eq!(checked, want);
    }

    #[test]
    fn a_container_without_rules_is_denied_all_but_the_defaults() {
        let rules = container_device_rules(&[], &[]);
        assert!(!rules[0].allow);
        assert!(rules.iter().skip(1).all(|r| r.allow));
        assert!(
            rules
                .iter()
                .any(|r| r.major == Some(1) && r.minor == Some(3))
        );
    }

    #[test]
    fn rules_are_meant_as_they_stand_and_nodes_count_without_any() {
        let devices: Vec<LinuxDevice> = serde_json::from_str(
            r#"[{"path": "/dev/a", "type": "b", "major": 7, "minor": 1},
                {"path": "/dev/b", "type": "u", "major": 7, "minor": 1},
                {"path": "/dev/c", "type": "c", "major": 7, "minor": 2}]"#,
        )
        .unwrap();
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(
            r#"[{"allow": false, "access": "rwm"},
                {"allow": true, "type": "b", "major": 7, "minor": 1, "access": "r"}]"#,
        )
        .unwrap();
        let rules = container_device_rules(&spec, &devices);
        let said: Vec<_> = rules
            .iter()
            .filter(|r| r.major == Some(7))
            .map(|r| (r.type_, r.minor, r.access.as_deref()))
            .collect();
        let (b, u, c) = (
            Some(LinuxDeviceType::B),
            Some(LinuxDeviceType::U),
            Some(LinuxDeviceType::C),
        );
        assert_eq!(said, [(b, Some(1), Some("r")),]);
        let without = container_device_rules(&[], &devices);
        for (kind, minor) in [(b, 1), (u, 1), (c, 2)] {
            let node = |r: &LinuxDeviceCgroup| {
                (r.type_, r.major, r.minor, r.allow) == (kind, Some(7), Some(minor), true)
            };
            assert!(without.iter().any(node), "{kind:?} {minor}");
        }
    }
}
