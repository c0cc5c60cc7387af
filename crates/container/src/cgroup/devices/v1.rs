//! The device controller of v1: a default (`a *:* rwm` listed, or not) and exceptions from it.
//!
//! The kernel knows an exception only by its exact type, major and minor: after `allow c 1:*`, a
//! `deny c 1:3` changes nothing and reports nothing. So the rules are first folded into the state
//! that they mean, and a rule that this state can't hold is refused. Then the state is reached from
//! what `devices.list` shows by the fewest writes: an update that changes nothing writes nothing,
//! and no running task loses a device in between. `deny a` is also refused by the kernel once there
//! are cgroups below.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::super::error::Error;
use super::super::file;
use super::super::group::child_dirs;
use super::{ALL, Before, Kind, MKNOD, READ, Rule, WRITE};

type Key = (Kind, Option<u32>, Option<u32>);

/// What a devices cgroup holds: exceptions are what is allowed (default deny) or denied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    default_allow: bool,
    exceptions: BTreeMap<Key, u8>,
}

/// Folds the rules; nothing is allowed at first.
fn fold(rules: &[Rule]) -> Result<State, Error> {
    let mut state = State {
        default_allow: false,
        exceptions: BTreeMap::new(),
    };
    for rule in rules {
        if rule.is_everything() {
            state = State {
                default_allow: rule.allow,
                exceptions: BTreeMap::new(),
            };
            continue;
        }
        for &kind in rule.kinds() {
            state.take(rule, (kind, rule.major, rule.minor))?;
        }
    }
    Ok(state)
}

impl State {
    fn take(&mut self, rule: &Rule, key: Key) -> Result<(), Error> {
        if rule.allow != self.default_allow {
            *self.exceptions.entry(key).or_insert(0) |= rule.access;
            return Ok(());
        }
        // Back to the default: whatever exceptions it covers lose these bits. One that is wider
        // than the rule can't be narrowed.
        for (other, bits) in &mut self.exceptions {
            if covers(key, *other) {
                *bits &= !rule.access;
            } else if overlaps(key, *other) && *bits & rule.access != 0 {
                return Err(Error::DeviceRule {
                    rule: line(key, rule.access),
                    reason: "it takes a part out of an earlier, wider rule, which cgroup v1 can't \
                             hold: list the devices of the wider rule one by one",
                });
            }
        }
        self.exceptions.retain(|_, bits| *bits != 0);
        Ok(())
    }

    /// Reads `devices.list`.
    fn parse(path: &Path, text: &str) -> Result<State, Error> {
        let mut state = State {
            default_allow: false,
            exceptions: BTreeMap::new(),
        };
        for entry in text.lines() {
            if entry == "a *:* rwm" {
                // Default allow; the kernel does not list what is denied.
                state.default_allow = true;
                continue;
            }
            let (key, access) = parse_line(entry)
                .ok_or_else(|| file::format_error(path, entry, "a device rule"))?;
            *state.exceptions.entry(key).or_insert(0) |= access;
        }
        Ok(state)
    }
}

fn covers(wide: Key, narrow: Key) -> bool {
    wide.0 == narrow.0
        && (wide.1.is_none() || wide.1 == narrow.1)
        && (wide.2.is_none() || wide.2 == narrow.2)
}

fn overlaps(a: Key, b: Key) -> bool {
    let meet = |x: Option<u32>, y: Option<u32>| x.is_none() || y.is_none() || x == y;
    a.0 == b.0 && meet(a.1, b.1) && meet(a.2, b.2)
}

fn line((kind, major, minor): Key, access: u8) -> String {
    let kind = if kind == Kind::Block { 'b' } else { 'c' };
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let mut text = format!("{kind} {}:{} ", number(major), number(minor));
    for (bit, c) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
        if access & bit != 0 {
            text.push(c);
        }
    }
    text
}

fn parse_line(text: &str) -> Option<(Key, u8)> {
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |n: &str| {
        if n == "*" {
            Some(None)
        } else {
            n.parse().ok().map(Some)
        }
    };
    let mut access = 0;
    for c in words.next()?.chars() {
        access |= match c {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return None,
        };
    }
    Some(((kind, number(major)?, number(minor)?), access))
}

/// The writes (file, value) that lead from one state to the other.
fn changes(now: &State, want: &State) -> Vec<(&'static str, String)> {
    let mut writes = Vec::new();
    let exception = if want.default_allow {
        "devices.deny"
    } else {
        "devices.allow"
    };
    if now.default_allow || want.default_allow {
        // Default allow does not list its exceptions, so there is no difference to take; allowing
        // all clears them.
        let all = if want.default_allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        writes.push((all, "a".to_owned()));
        writes.extend(
            want.exceptions
                .iter()
                .map(|(k, bits)| (exception, line(*k, *bits))),
        );
        return writes;
    }
    // New permissions first: nothing that stays allowed is denied in between.
    for (key, bits) in &want.exceptions {
        let missing = bits & !now.exceptions.get(key).copied().unwrap_or(0);
        if missing != 0 {
            writes.push(("devices.allow", line(*key, missing)));
        }
    }
    for (key, bits) in &now.exceptions {
        let surplus = bits & !want.exceptions.get(key).copied().unwrap_or(0);
        if surplus != 0 {
            writes.push(("devices.deny", line(*key, surplus)));
        }
    }
    writes
}

/// Brings the cgroup to what the rules mean.
pub(super) fn apply(dir: &Path, rules: &[Rule], before: Before) -> Result<(), Error> {
    let want = fold(rules)?;
    let now = match before {
        Before::Set => {
            let list = dir.join("devices.list");
            State::parse(&list, &file::read(&list)?)?
        }
        // The root's, which nobody can change.
        Before::Inherited => State {
            default_allow: true,
            exceptions: BTreeMap::new(),
        },
    };
    // A dozen lines for the same file: opened once.
    let mut opened: Option<(&str, File)> = None;
    for (name, value) in changes(&now, &want) {
        let path = dir.join(name);
        let file = match opened.take() {
            Some((other, file)) if other == name => Ok(file),
            _ => file::open(&path),
        };
        let written = file.and_then(|mut file| {
            write(dir, &mut file, &value)?;
            Ok(file)
        });
        match written {
            Ok(file) => opened = Some((name, file)),
            Err(source) => {
                return Err(Error::Setting {
                    setting: "devices",
                    path,
                    value,
                    source,
                });
            }
        }
    }
    Ok(())
}

/// Times 2 ms.
const OFFLINE_TRIES: u32 = 250;

/// Writes; "a" is refused with EINVAL while there are cgroups below, and for a moment after the
/// last one was removed (it goes offline behind an RCU grace period): that moment is waited for.
fn write(dir: &Path, file: &mut File, value: &str) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match file::put(file, value) {
            Err(e)
                if e.kind() == io::ErrorKind::InvalidInput
                    && value == "a"
                    && tries < OFFLINE_TRIES
                    && child_dirs(dir).is_ok_and(|below| below.is_empty()) =>
            {
                tries += 1;
                sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

const _: () = assert!(ALL == READ | WRITE | MKNOD);

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        allow: bool,
        kind: Option<Kind>,
        major: Option<u32>,
        minor: Option<u32>,
        access: u8,
    ) -> Rule {
        Rule {
            allow,
            kind,
            major,
            minor,
            access,
        }
    }

    const C: Option<Kind> = Some(Kind::Char);

    #[test]
    fn later_rules_win_where_the_state_can_hold_it() {
        let state = fold(&[
            rule(false, None, None, None, ALL),
            rule(true, C, None, None, MKNOD),
            rule(true, C, Some(1), Some(3), READ),
            rule(true, C, Some(1), Some(3), WRITE),
            rule(true, C, Some(1), Some(5), ALL),
            rule(false, C, Some(1), Some(5), WRITE | MKNOD),
        ]);
        // Denying m of 1:5 would narrow "c *:* m".
        let e = state.unwrap_err();
        assert!(
            e.to_string()
                .starts_with("device rule c 1:5 wm: it takes a part"),
            "{e}"
        );

        let state = fold(&[
            rule(true, C, Some(1), Some(3), READ),
            rule(true, C, Some(1), Some(3), WRITE),
            rule(true, C, Some(1), Some(5), ALL),
            rule(false, C, Some(1), None, WRITE),
        ])
        .unwrap();
        let want = [
            ((Kind::Char, Some(1), Some(3)), READ),
            ((Kind::Char, Some(1), Some(5)), READ | MKNOD),
        ];
        assert_eq!(
            state,
            State {
                default_allow: false,
                exceptions: want.into()
            }
        );
    }

    #[test]
    fn allow_all_then_deny_some() {
        let state = fold(&[
            rule(true, None, None, None, ALL),
            rule(false, Some(Kind::Block), Some(8), Some(0), ALL),
        ])
        .unwrap();
        assert!(state.default_allow);
        let fresh = State {
            default_allow: true,
            exceptions: BTreeMap::new(),
        };
        let writes = changes(&fresh, &state);
        let want = [
            ("devices.allow", "a".to_owned()),
            ("devices.deny", "b 8:0 rwm".to_owned()),
        ];
        assert_eq!(writes, want);
    }

    #[test]
    fn an_update_writes_only_the_difference() {
        let list = "c *:* m\nc 1:3 rwm\nc 1:5 rw\n";
        let now = State::parse(Path::new("/x"), list).unwrap();
        assert_eq!(changes(&now, &now), []);
        let want = State::parse(Path::new("/x"), "c *:* m\nc 1:5 rwm\nb 8:0 r\n").unwrap();
        let writes = changes(&now, &want);
        let expected = [
            ("devices.allow", "b 8:0 r".to_owned()),
            ("devices.allow", "c 1:5 m".to_owned()),
            ("devices.deny", "c 1:3 rwm".to_owned()),
        ];
        assert_eq!(writes, expected);
    }

    #[test]
    fn lines_survive_printing_and_parsing() {
        for text in ["b 8:0 r", "c *:* m", "c 136:* rwm", "b *:7 wm"] {
            let (key, access) = parse_line(text).unwrap();
            assert_eq!(line(key, access), text);
        }
    }
}
