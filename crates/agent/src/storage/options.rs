//! Mount options in fstab words: flags, propagation, and the rest as data for the filesystem.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, chownat};
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::error::Error;

/// The word that asks for an upper layer.
pub(crate) const OVERLAY_WRITABLE: &str = "io.katacontainers.fs-opt.overlay-rw";

/// What the words of an option list mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) flags: MountFlags,
    pub(crate) propagation: Option<MountPropagationFlags>,
    pub(crate) data: Vec<String>,
    /// What is mounted gets these options.
    pub(crate) remount: bool,
    /// An overlay gets an upper layer of the agent's own.
    pub(crate) overlay_writable: bool,
    /// `mode=` of a directory that is made, octal.
    mode: Option<u32>,
    /// `fsgid=`: the group that owns it, with the set-group-id bit.
    fsgid: Option<u32>,
}

impl Options {
    /// Reads the words; the last one of a contradicting pair wins.
    ///
    /// # Errors
    /// A number that is none.
    pub(crate) fn parse(words: &[String]) -> Result<Self, Error> {
        let mut options = Self {
            flags: MountFlags::empty(),
            propagation: None,
            data: Vec::new(),
            remount: false,
            overlay_writable: false,
            mode: None,
            fsgid: None,
        };
        for word in words {
            options.word(word)?;
        }
        Ok(options)
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        let number = |text: &str, radix| {
            u32::from_str_radix(text, radix)
                .map_err(|_| Error::invalid(format!("storage option {word:?}"), "not a number"))
        };
        if let Some((set, flag)) = flag(word) {
            self.flags.set(flag, set);
        } else if let Some(propagation) = propagation(word) {
            self.propagation = Some(propagation);
        } else if word == "remount" {
            self.remount = true;
        } else if word == OVERLAY_WRITABLE {
            self.overlay_writable = true;
        } else if word.starts_with("io.katacontainers.") {
            let why = "no such option is known here";
            return Err(Error::invalid(format!("storage option {word:?}"), why));
        } else if let Some(gid) = word.strip_prefix("fsgid=") {
            self.fsgid = Some(number(gid, 10)?);
        } else if !matches!(word, "" | "defaults") {
            if let Some(mode) = word.strip_prefix("mode=") {
                self.mode = Some(number(mode, 8)?);
            }
            self.data.push(word.to_owned());
        }
        Ok(())
    }

    /// A bind mount takes flags only when it is mounted again.
    pub(crate) fn needs_remount(&self) -> bool {
        !(self.flags - MountFlags::BIND - MountFlags::REC).is_empty()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.flags.contains(MountFlags::RDONLY)
    }

    /// Gives a directory its mode and group.
    pub(crate) fn directory(&self, path: &Path) -> std::io::Result<()> {
        if let Some(mode) = self.mode {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o7777))?;
        }
        if let Some(gid) = self.fsgid {
            chownat(
                CWD,
                path,
                None,
                Some(Gid::from_raw(gid)),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
            let mode = std::fs::metadata(path)?.permissions().mode();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o2000))?;
        }
        Ok(())
    }
}

fn flag(word: &str) -> Option<(bool, MountFlags)> {
    Some(match word {
        "ro" => (true, MountFlags::RDONLY),
        "rw" => (false, MountFlags::RDONLY),
        "nosuid" => (true, MountFlags::NOSUID),
        "suid" => (false, MountFlags::NOSUID),
        "nodev" => (true, MountFlags::NODEV),
        "dev" => (false, MountFlags::NODEV),
        "noexec" => (true, MountFlags::NOEXEC),
        "exec" => (false, MountFlags::NOEXEC),
        "noatime" => (true, MountFlags::NOATIME),
        "atime" => (false, MountFlags::NOATIME),
        "nodiratime" => (true, MountFlags::NODIRATIME),
        "diratime" => (false, MountFlags::NODIRATIME),
        "relatime" => (true, MountFlags::RELATIME),
        "strictatime" => (true, MountFlags::STRICTATIME),
        "sync" => (true, MountFlags::SYNCHRONOUS),
        "async" => (false, MountFlags::SYNCHRONOUS),
        "dirsync" => (true, MountFlags::DIRSYNC),
        "bind" => (true, MountFlags::BIND),
        "rbind" => (true, MountFlags::BIND | MountFlags::REC),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<MountPropagationFlags> {
    use MountPropagationFlags as P;
    Some(match word {
        "private" => P::PRIVATE,
        "rprivate" => P::PRIVATE | P::REC,
        "shared" => P::SHARED,
        "rshared" => P::SHARED | P::REC,
        "slave" => P::DOWNSTREAM,
        "rslave" => P::DOWNSTREAM | P::REC,
        "unbindable" => P::UNBINDABLE,
        "runbindable" => P::UNBINDABLE | P::REC,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_data_and_ownership() {
        let words = [
            "rbind",
            "ro",
            "nosuid",
            "suid",
            "rslave",
            "size=1m",
            "mode=0750",
            "fsgid=7",
        ];
        let options = Options::parse(&words.map(str::to_owned)).unwrap();
        assert_eq!(
            options.flags,
            MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY
        );
        assert_eq!(
            options.propagation,
            Some(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        );
        assert_eq!(options.data, ["size=1m", "mode=0750"]);
        assert_eq!((options.mode, options.fsgid), (Some(0o750), Some(7)));
        assert!(options.needs_remount());
        assert!(
            !Options::parse(&["bind".to_owned()])
                .unwrap()
                .needs_remount()
        );
        assert!(Options::parse(&["fsgid=x".to_owned()]).is_err());
    }
}
