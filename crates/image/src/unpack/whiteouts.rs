//! Whiteouts that hide nothing.
//!
//! Overlayfs leaves whiteouts out where it merges directories. A directory that one layer alone shows
//! it hands through as it is: a whiteout there would be a name that is listed and does not exist. A
//! layer has such whiteouts where its tar removes a name from a directory that it also makes opaque, or
//! that no layer below has.

use std::collections::BTreeMap;

use rustix::fs::{AtFlags, OFlags, statat, unlinkat};

use super::{
    Error,
    dirs::{Dir, Tree},
};
use crate::stack::{Node, is_whiteout, open_beneath};

/// Names by the directory that they were removed from.
pub(super) type Whiteouts = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

impl Tree<'_> {
    /// A whiteout was made: whether it is needed is seen at the end.
    pub(super) fn removed(&mut self, dir: &Dir, name: &[u8]) -> Result<(), Error> {
        self.remembers(dir.path.len() + name.len())?;
        let names = self.whiteouts.entry(dir.path.clone()).or_default();
        names.push(name.to_vec());
        Ok(())
    }

    /// Takes away what hides nothing. Times of directories are set after this.
    pub(super) fn drop_idle_whiteouts(&mut self) -> Result<(), Error> {
        for (path, names) in std::mem::take(&mut self.whiteouts) {
            let merged = match self.lower_node(&path)? {
                Some(Node::Directory { layers, .. }) => layers.len() > 1,
                _ => false,
            };
            if merged {
                continue;
            }
            let io = |act| Error::io(act, &path);
            let dir = if path.is_empty() {
                self.root().fd.try_clone().map_err(|source| Error::Io {
                    act: "open",
                    entry: "/".to_owned(),
                    source,
                })?
            } else {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                match open_beneath(&self.root().fd, &path, flags) {
                    Ok(dir) => dir,
                    // The layer itself has put something else there.
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
                    Err(error) => return Err(io("open")(error)),
                }
            };
            for name in names {
                let stat = statat(&dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
                if stat.is_ok_and(|stat| is_whiteout(&stat)) {
                    unlinkat(&dir, name.as_slice(), AtFlags::empty())
                        .map_err(io("remove an idle whiteout in"))?;
                }
            }
        }
        Ok(())
    }
}
