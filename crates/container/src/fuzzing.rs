//! What a fuzzer feeds: hostile bytes into each reader of this crate, with what must hold for any.
//! Nothing here has an effect outside.
//!
//! `fuzz/` may run these for long; the test below replays the inputs that are kept in `fuzz/corpus/`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cgroup::{Cgroup, Hierarchy, Mount, Record};
use crate::dbus::Message;
use crate::seccomp;

/// A seccomp profile: a program that ends on every path (its jumps go forward and stay inside), or an
/// error.
pub fn seccomp_json(data: &[u8]) {
    let Ok(profile) = serde_json::from_slice(data) else {
        return;
    };
    let Ok(filter) = seccomp::compile(&profile, None) else {
        return;
    };
    let count = filter.bpf.len() / 8;
    assert!((1..=4096).contains(&count) && filter.bpf.len().is_multiple_of(8));
    for (at, insn) in filter.bpf.as_chunks::<8>().0.iter().enumerate() {
        let class = insn[0] & 7;
        let k = u32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]);
        let furthest = match (class, insn[0]) {
            (5, 0x05) => usize::try_from(k).unwrap_or(usize::MAX),
            (5, _) => usize::from(insn[2].max(insn[3])),
            // A return needs nothing behind it.
            (6, _) => continue,
            _ => 0,
        };
        let target = at.saturating_add(furthest).saturating_add(1);
        assert!(
            target < count,
            "instruction {at} leads to {target} of {count}"
        );
    }
}

/// A cgroup's record, read from a state file: only what is at or above its own directory is ever removed
/// on its word.
pub fn cgroup_record(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let mount = Mount {
        point: "/nowhere/memory".into(),
        root: "/".to_owned(),
    };
    let hierarchy = Hierarchy::V1 {
        controllers: BTreeMap::from([("memory".to_owned(), mount)]),
        unified: None,
    };
    if let Ok(cgroup) = Cgroup::from_record(&hierarchy, &record) {
        let own = Path::new("/nowhere/memory").join(cgroup.path().trim_start_matches('/'));
        for parent in cgroup.record().made_parents {
            assert!(own.starts_with(&parent) && parent != Path::new("/nowhere/memory"));
        }
    }
}

/// A message of the bus.
pub fn dbus_message(data: &[u8]) {
    let _ = Message::decode(data);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_kept_inputs_pass() {
        for (name, step, feed) in [
            // Compiling takes its time.
            ("seccomp_json", 97, super::seccomp_json as fn(&[u8])),
            ("cgroup_record", 1, super::cgroup_record),
            ("dbus_message", 1, super::dbus_message),
        ] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/corpus")
                .join(name);
            let mut count = 0;
            for entry in std::fs::read_dir(&dir).unwrap() {
                let bytes = std::fs::read(entry.unwrap().path()).unwrap();
                feed(&bytes);
                for at in (0..bytes.len()).step_by(step) {
                    feed(&bytes[..at]);
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x11;
                    feed(&changed);
                }
                count += 1;
            }
            assert!(count > 0, "{name}");
        }
    }
}
