//! Mount options: the words that mount(8), runc and the specification know; all others go to the
//! filesystem.

use super::Error;

pub(super) const RDONLY: u64 = 0x1;
pub(super) const NOSUID: u64 = 0x2;
pub(super) const NODEV: u64 = 0x4;
pub(super) const NOEXEC: u64 = 0x8;
pub(super) const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
pub(super) const NODIRATIME: u64 = 0x80;
pub(super) const NOSYMFOLLOW: u64 = 0x20_0000;

pub(crate) const MS_REC: u64 = 0x4000;
pub(crate) const MS_UNBINDABLE: u64 = 1 << 17;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_SHARED: u64 = 1 << 20;

/// Every word of the mount options that is not left to a filesystem, sorted.
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// Options by what they act on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// `bind` (false) or `rbind` (true).
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    /// On the mount itself.
    pub(super) set: u64,
    pub(super) clear: u64,
    /// On it and all below (`rro` …).
    pub(super) rec_set: u64,
    pub(super) rec_clear: u64,
    /// In order; with MS_REC for the r-forms.
    pub(super) propagation: Vec<u64>,
    /// Of the superblock: `sync`, `dirsync`, `lazytime` …
    pub(super) superblock: Vec<&'static str>,
    /// `idmap` (false) or `ridmap` (true).
    pub(super) id_map: Option<bool>,
    /// `idmap=…`: the mappings, as crun's users write them.
    pub(super) id_maps: Option<String>,
    /// A link that the source ends with is bound itself.
    pub(super) source_itself: bool,
    /// A link that the destination ends with is mounted on itself.
    pub(super) dest_itself: bool,
    pub(super) copy_up: bool,
    /// `iversion`: the filesystem counts changes of its files.
    pub(super) i_version: bool,
    /// For the filesystem.
    pub(super) data: Vec<(String, Option<String>)>,
}

enum Act {
    Set(u64),
    Clear(u64),
}

/// Words that set or clear attributes of a mount.
fn attribute(word: &str) -> Option<Act> {
    Some(match word {
        "ro" => Act::Set(RDONLY),
        "rw" => Act::Clear(RDONLY),
        "nosuid" => Act::Set(NOSUID),
        "suid" => Act::Clear(NOSUID),
        "nodev" => Act::Set(NODEV),
        "dev" => Act::Clear(NODEV),
        "noexec" => Act::Set(NOEXEC),
        "exec" => Act::Clear(NOEXEC),
        "noatime" => Act::Set(NOATIME),
        "relatime" | "atime" | "nostrictatime" | "norelatime" => Act::Clear(ATIME),
        "strictatime" => Act::Set(STRICTATIME),
        "nodiratime" => Act::Set(NODIRATIME),
        "diratime" => Act::Clear(NODIRATIME),
        "nosymfollow" => Act::Set(NOSYMFOLLOW),
        "symfollow" => Act::Clear(NOSYMFOLLOW),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<u64> {
    let (word, rec) = match word.strip_prefix('r') {
        Some(rest) => (rest, MS_REC),
        None => (word, 0),
    };
    let kind = match word {
        "private" => MS_PRIVATE,
        "slave" => MS_SLAVE,
        "shared" => MS_SHARED,
        "unbindable" => MS_UNBINDABLE,
        _ => return None,
    };
    Some(kind | rec)
}

/// The word of `linux.rootfsPropagation`.
pub(super) fn root_propagation(word: &str) -> Result<u64, Error> {
    propagation(word).ok_or_else(|| {
        Error::invalid(
            "linux.rootfsPropagation",
            format!("{word:?} is none of [r]private, [r]slave, [r]shared, [r]unbindable"),
        )
    })
}

impl MountOptions {
    /// Reads the options of one mount; `field` names it in errors.
    pub(super) fn parse(field: &str, words: &[String]) -> Result<Self, Error> {
        let mut o = Self::default();
        for word in words {
            o.word(field, word)?;
        }
        Ok(o)
    }

    fn word(&mut self, field: &str, word: &str) -> Result<(), Error> {
        if let Some(act) = attribute(word) {
            apply(&mut self.set, &mut self.clear, &act);
            return Ok(());
        }
        if let Some(kind) = propagation(word) {
            self.propagation.push(kind);
            return Ok(());
        }
        if let Some(act) = word.strip_prefix('r').and_then(attribute) {
            apply(&mut self.rec_set, &mut self.rec_clear, &act);
            return Ok(());
        }
        match word {
            // What is the case anyway, or means nothing to the kernel.
            "" | "defaults" | "async" | "loud" | "silent" | "nomand" | "nolazytime"
            | "noiversion" => {}
            "iversion" => self.i_version = true,
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "sync" => self.superblock.push("sync"),
            "dirsync" => self.superblock.push("dirsync"),
            "lazytime" => self.superblock.push("lazytime"),
            "mand" => {
                return Err(Error::unsupported(
                    field,
                    "option \"mand\": Linux 5.15 took mandatory locks away",
                ));
            }
            "idmap" => self.id_map = Some(false),
            "ridmap" => self.id_map = Some(true),
            "tmpcopyup" => self.copy_up = true,
            "src-nofollow" => self.source_itself = true,
            "dest-nofollow" => self.dest_itself = true,
            // For who reads the link: see `Options::links`.
            "copy-symlink" => {}
            _ if self.id_mapped(word) => {}
            _ => self.data.push(match word.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
        Ok(())
    }
}

impl MountOptions {
    fn id_mapped(&mut self, word: &str) -> bool {
        let (recursive, maps) = match word.split_once('=') {
            Some(("idmap", maps)) => (false, maps),
            Some(("ridmap", maps)) => (true, maps),
            _ => return false,
        };
        self.id_map = Some(recursive);
        self.id_maps = Some(maps.to_owned());
        true
    }
}

fn apply(set: &mut u64, clear: &mut u64, act: &Act) {
    match *act {
        Act::Set(bits) => {
            // The access time modes are one field of values: the last word wins.
            if bits & ATIME != 0 {
                *set &= !ATIME;
                *clear |= ATIME;
            } else {
                *clear &= !bits;
            }
            *set |= bits;
        }
        Act::Clear(bits) => {
            *set &= !bits;
            *clear |= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        MountOptions::parse("mounts[0]", &words).unwrap()
    }

    #[test]
    fn the_last_word_wins() {
        for (text, set, clear) in [
            ("ro", RDONLY, 0),
            ("ro,rw", 0, RDONLY),
            ("rw,ro", RDONLY, 0),
            ("noatime", NOATIME, ATIME),
            ("noatime,relatime", 0, ATIME),
            ("nosuid,strictatime,mode=755", NOSUID | STRICTATIME, ATIME),
        ] {
            let o = parse(text);
            assert_eq!((o.set, o.clear), (set, clear), "{text}");
        }
    }

    #[test]
    fn recursive_forms_and_propagation_are_told_apart() {
        let o = parse("rbind,rro,rprivate,rnosuid,slave");
        assert_eq!(o.bind, Some(true));
        assert_eq!(o.rec_set, RDONLY | NOSUID);
        assert_eq!(o.propagation, [MS_PRIVATE | MS_REC, MS_SLAVE]);
        assert_eq!((o.set, o.clear), (0, 0));
    }

    /// config.md, "Linux mount options": none of these words is left to a filesystem.
    #[test]
    fn every_word_of_the_specification_is_known() {
        let words = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime \
             nodev nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid nosymfollow \
             private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime \
             rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw \
             rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime \
             suid symfollow sync tmpcopyup unbindable idmap ridmap nomand copy-symlink dest-nofollow \
             src-nofollow";
        let mut sorted: Vec<&str> = words.split_whitespace().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, MOUNT_OPTIONS, "what `features` tells");
        for word in sorted {
            let o = parse(word);
            assert!(o.data.is_empty(), "{word}");
            let says_nothing = [
                "async",
                "defaults",
                "loud",
                "silent",
                "nomand",
                "nolazytime",
                "noiversion",
                "copy-symlink",
            ];
            assert_eq!(
                o == MountOptions::default(),
                says_nothing.contains(&word),
                "{word}"
            );
        }
        let said = MountOptions::parse("mounts[0]", &["mand".to_owned()]).unwrap_err();
        assert!(
            said.to_string()
                .contains("Linux 5.15 took mandatory locks away"),
            "{said}"
        );
    }

    #[test]
    fn what_is_unknown_is_the_filesystems() {
        let o = parse("size=64k,mode=1777,newinstance,tmpcopyup,rsize=4");
        assert!(o.copy_up);
        assert_eq!(o.data.len(), 4);
        assert_eq!(o.data[0], ("size".to_owned(), Some("64k".to_owned())));
        assert_eq!(o.data[2], ("newinstance".to_owned(), None));
    }
}
