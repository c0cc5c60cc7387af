//! What a layer takes of the disk: counted while it is unpacked, as far as nothing is taken away
//! again (a replaced file, a whiteout), and by a walk where something was.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::Stat;

/// Bytes allocated and inodes, hard links counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// What `st_blocks` counts.
const SECTOR: u64 = 512;

impl Usage {
    /// One more.
    pub(super) fn add(&mut self, stat: &Stat) {
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * SECTOR;
        self.inodes += 1;
    }

    /// Looks at all that is below `dir`.
    pub(crate) fn measured(dir: &Path) -> io::Result<Self> {
        let mut usage = Self {
            bytes: fs::symlink_metadata(dir)?.blocks() * SECTOR,
            inodes: 1,
        };
        let mut linked = HashSet::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_dir() {
                    todo.push(entry.path());
                } else if meta.nlink() > 1 && !linked.insert(meta.ino()) {
                    continue;
                }
                usage.bytes += meta.blocks() * SECTOR;
                usage.inodes += 1;
            }
        }
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use testing::layer::Layer;

    use super::*;
    use crate::{Limits, stack::Stack, unpack::unpack};

    /// What unpacking counts, and what a walk finds.
    fn both(dir: &Path, name: &str, layer: Layer) -> (Option<Usage>, Usage) {
        let diff = dir.join(name);
        fs::create_dir(&diff).unwrap();
        let tar = layer.finish();
        let mut lower = || Ok(Stack(Vec::new()));
        let unpacked = unpack(
            tar.as_slice(),
            &diff,
            &mut lower,
            &Limits::default(),
            &|| (),
        )
        .unwrap();
        (unpacked.usage, Usage::measured(&diff).unwrap())
    }

    #[test]
    fn what_is_counted_is_what_a_walk_finds() {
        for dir in [
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in("/dev/shm").unwrap(),
        ] {
            let dir = dir.path();
            let mut many = Layer::new().dir("many", 0o755);
            for number in 0..400 {
                let name = format!("many/{number:0100}");
                many = many.file(&name, 0o644, &vec![7; number * 100]);
            }
            let plain = Layer::new()
                .dir("a", 0o2755)
                .file("a/large", 0o644, &vec![1; 3_000_000])
                .file("a/empty", 0o4755, b"")
                .hardlink("a/again", "a/large")
                .symlink("a/short", "large")
                .symlink("a/long", &"x/".repeat(1000))
                // Nobody has named its directory.
                .file("b/c/d", 0o600, b"x");
            for (name, layer) in [("plain", plain), ("many", many), ("none", Layer::new())] {
                let (counted, found) = both(dir, name, layer);
                assert_eq!(counted, Some(found), "{name}");
            }
            let replaced = Layer::new()
                .file("a", 0o644, &[1; 10_000])
                .file("a", 0o644, b"1");
            let hidden = Layer::new().dir("a", 0o755).whiteout("a/x");
            for (name, layer) in [("replaced", replaced), ("hidden", hidden)] {
                assert_eq!(both(dir, name, layer).0, None, "{name}");
            }
        }
    }
}
