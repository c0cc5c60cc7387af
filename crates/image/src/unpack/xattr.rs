//! Extended attributes: which of an archive's are taken, and how they are set.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{XattrFlags, getxattr, listxattr, lsetxattr},
    io::Errno,
};

use super::{Error, bad};
use crate::{stack::fd_path, tar::Entry};

/// The kernel's bound on one value.
const VALUE_MAX: usize = 64 << 10;

/// What becomes of an attribute.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    /// Belongs to the machine that built the image.
    Drop,
    Refuse(&'static str),
}

fn fate(name: &[u8]) -> Fate {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => {
            Fate::Keep
        }
        name if name.starts_with(b"security.") => Fate::Drop,
        name if name.starts_with(b"user.overlay.") => {
            Fate::Refuse("overlayfs itself would obey it")
        }
        name if name.starts_with(b"user.") => Fate::Keep,
        name if name.starts_with(b"trusted.") => Fate::Refuse("trusted attributes are the host's"),
        _ => Fate::Refuse("its namespace is not known"),
    }
}

/// What files and directories take from the directory that they are made in.
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Whether what is made in the entry, a directory, gets its access rights from there.
pub(super) fn gives_acls(entry: &Entry) -> bool {
    entry.xattrs.iter().any(|(name, _)| name == DEFAULT_ACL)
}

/// Sets the entry's attributes on a path, whose last component is not followed.
pub(crate) fn set(entry: &Entry, path: impl FnOnce() -> Vec<u8>) -> Result<(), Error> {
    if entry.xattrs.is_empty() {
        return Ok(());
    }
    let path = path();
    for (name, value) in &entry.xattrs {
        match fate(name) {
            Fate::Keep => {}
            Fate::Drop => continue,
            Fate::Refuse(reason) => {
                let name = crate::tar::show(name);
                return Err(bad(entry, format!("extended attribute {name:?}: {reason}")));
            }
        }
        if value.len() > VALUE_MAX || name.len() > 255 || name.contains(&0) {
            return Err(bad(
                entry,
                "an extended attribute is larger than the kernel takes",
            ));
        }
        lsetxattr(&path, name.as_slice(), value, XattrFlags::empty())
            .map_err(Error::io("set an extended attribute of", &entry.path))?;
    }
    Ok(())
}

/// Copies the attributes that an image may have from an O_PATH descriptor to `path`. Whether what is made there gets its
/// access rights from them.
pub(super) fn copy(from: &OwnedFd, path: &[u8]) -> Result<bool, Errno> {
    let from = fd_path(from);
    let mut names = vec![0u8; VALUE_MAX];
    let length = match listxattr(&from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut gives_acls = false;
    for name in names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        if fate(name) == Fate::Keep {
            let mut value = vec![0u8; VALUE_MAX];
            let length = getxattr(&from, name, value.as_mut_slice())?;
            lsetxattr(path, name, &value[..length], XattrFlags::empty())?;
            gives_acls |= name == DEFAULT_ACL;
        }
    }
    Ok(gives_acls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_attributes_are_kept() {
        for (name, kept) in [
            ("user.mime", Some(true)),
            ("security.capability", Some(true)),
            ("system.posix_acl_access", Some(true)),
            ("security.selinux", Some(false)),
            ("security.ima", Some(false)),
            ("user.overlay.opaque", None),
            ("trusted.overlay.redirect", None),
            ("trusted.any", None),
            ("system.nfs4_acl", None),
            ("", None),
        ] {
            let got = match fate(name.as_bytes()) {
                Fate::Keep => Some(true),
                Fate::Drop => Some(false),
                Fate::Refuse(_) => None,
            };
            assert_eq!(got, kept, "{name}");
        }
    }
}
