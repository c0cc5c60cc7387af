//! The filesystems of the root and the state directory: space, inodes, whether overlays work there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Area, Finding, Verdict, trial};
use crate::human;

/// Space below which images will soon not fit, bytes.
const SPACE: u64 = 2 << 30;
/// Space below which records can't be written, bytes.
const LEAST: u64 = 64 << 20;
/// A part in a hundred that should be free.
const FREE: u64 = 5;

/// Looks at the disks.
pub(crate) fn look(root: &Path, state: &Path) -> Vec<Finding> {
    let mut area = Area::new("disk");
    for (name, dir) in [("root", root), ("state", state)] {
        let Some(place) = existing(dir) else {
            area.fail(
                name,
                format!("nothing above {} is there", dir.display()),
                "name another",
            );
            continue;
        };
        filesystem(&mut area, name, dir, &place);
        space(&mut area, name, &place, name == "root");
        entry_types(&mut area, name, &place);
        if name == "root" {
            overlays(&mut area, &place);
        }
    }
    area.done()
}

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|dir| dir.is_dir()).map(Path::to_owned)
}

fn filesystem(area: &mut Area, name: &str, dir: &Path, place: &Path) {
    let check = format!("{name} filesystem");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
    let (kind, options) = mounted(&mounts, &real).unwrap_or(("unknown", ""));
    let found = format!("{kind} ({})", dir.display());
    if options.split(',').any(|word| word == "ro") {
        area.fail(
            &check,
            format!("{found}, read-only"),
            "mount it read-write, or name another directory",
        );
    } else if matches!(
        kind,
        "nfs" | "nfs4" | "cifs" | "9p" | "fuse.sshfs" | "vfat" | "exfat"
    ) {
        area.fail(
            &check,
            format!("{found}: it has no locks, modes or extended attributes to rely on"),
            "use a local ext4, xfs or btrfs",
        );
    } else if name == "root" && kind == "tmpfs" {
        area.warn(
            &check,
            format!("{found}: images are gone after a reboot"),
            "use a disk",
        );
    } else if name == "state" && kind != "tmpfs" {
        let found = format!("{found}; a tmpfs such as /run is faster and empties itself at a boot");
        area.ok(&check, found);
    } else {
        area.ok(&check, found);
    }
}

/// Type and options of the mount that holds `path`: the longest mount point above it, the last of
/// several on one.
fn mounted<'a>(mountinfo: &'a str, path: &Path) -> Option<(&'a str, &'a str)> {
    let mut best: Option<(usize, &str, &str)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut left = left.split(' ').skip(4);
        let (Some(point), Some(options), Some(kind)) =
            (left.next(), left.next(), right.split(' ').next())
        else {
            continue;
        };
        if path.starts_with(point) && best.is_none_or(|(length, ..)| point.len() >= length) {
            best = Some((point.len(), kind, options));
        }
    }
    best.map(|(_, kind, options)| (kind, options))
}

fn space(area: &mut Area, name: &str, place: &Path, images: bool) {
    let check = format!("{name} space");
    let stat = match rustix::fs::statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            return area.tried(
                &check,
                Err(error.into()),
                Verdict::Fail,
                "name another directory",
            );
        }
    };
    let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let found = format!("{} free of {}", human::bytes(free), human::bytes(all));
    let fix =
        "remove images that nobody uses (`coffer rmi`), or move the directory to a larger disk";
    if free < LEAST {
        area.fail(&check, found, fix);
    } else if images && (free < SPACE || free < all / 100 * FREE) {
        area.warn(&check, found, fix);
    } else {
        area.ok(&check, found);
    }
    let check = format!("{name} inodes");
    // Some filesystems (btrfs) count none.
    if stat.f_files == 0 {
        area.ok(&check, "not limited");
    } else {
        let found = format!("{} free of {}", stat.f_favail, stat.f_files);
        if stat.f_favail < 10_000 {
            area.warn(&check, found, fix);
        } else {
            area.ok(&check, found);
        }
    }
}

/// Overlays need the type of a file in its directory entry (xfs made with ftype=0 has it not).
fn entry_types(area: &mut Area, name: &str, place: &Path) {
    if name != "root" {
        return;
    }
    let look = || -> io::Result<bool> {
        let trial = trial::Place::new(place, "types")?;
        fs::write(trial.path().join("file"), "")?;
        let dir = rustix::fs::open(
            trial.path(),
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            if entry.file_name() == c"file" {
                return Ok(entry.file_type() == rustix::fs::FileType::RegularFile);
            }
        }
        Err(io::Error::other("a file that was made is not listed"))
    };
    let check = "root entry types";
    match look() {
        Ok(true) => area.ok(check, "told by the filesystem (d_type)"),
        Ok(false) => area.fail(
            check,
            "not told by the filesystem",
            "make the xfs anew with -n ftype=1",
        ),
        Err(error) => area.tried(
            check,
            Err(error),
            Verdict::Fail,
            "make the directory writable for root",
        ),
    }
}

fn overlays(area: &mut Area, place: &Path) {
    let tried = trial::Place::new(place, "overlay").and_then(|trial| {
        trial::with_mounts(|| trial::overlay(trial.path()))?;
        Ok("a writable layer works here".to_owned())
    });
    area.tried(
        "overlay on root",
        tried,
        Verdict::Fail,
        "a root on an overlay or a network filesystem can't hold writable layers: put it on ext4, xfs or \
         btrfs (--root)",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let text = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    2 1 0:5 / /run rw,nosuid - tmpfs tmpfs rw\n\
                    3 1 0:6 / /var/lib ro - xfs /dev/sdb rw\n\
                    4 1 0:7 / /run rw - ramfs r rw\n";
        let kind = |path: &str| mounted(text, Path::new(path)).unwrap().0;
        assert_eq!(kind("/var/lib/coffer"), "xfs");
        assert_eq!(kind("/run/coffer"), "ramfs");
        assert_eq!(kind("/runner"), "ext4");
        assert_eq!(mounted(text, Path::new("/var/lib/x")).unwrap().1, "ro");
    }

    #[test]
    fn a_directory_that_is_to_be_made_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let found = look(&dir.path().join("not/yet"), dir.path());
        assert!(
            found.iter().any(|one| one.check == "root space"),
            "{found:?}"
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "something is left"
        );
    }
}
