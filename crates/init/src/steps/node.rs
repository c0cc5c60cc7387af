//! Device nodes and symbolic links. Most are in /dev: its descriptor is kept between the steps, as is that of
//! a directory in which several things are mounted.

use crate::{
    calls::{self, CStr, EMPTY},
    child::{Child, Fail},
    message::Act,
    path::{self, Make, Name},
    plan::{Existing, Str},
    raw::sys,
};

pub(super) struct Node {
    /// Type and permissions.
    pub(super) mode: u32,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Child<'_, '_> {
    /// Something was mounted: what path means may have changed.
    pub(crate) fn forget_made_in(&mut self) {
        self.made_in_is_new = false;
        if let Some((_, _, fd)) = self.made_in.take() {
            self.spent(fd);
        }
    }

    /// The directory of `path`, made if missing and kept for the next, and its last name.
    pub(super) fn made_in(&mut self, path: Str, name: &mut Name) -> Result<i32, Fail> {
        self.kept_dir(path, name, path::parent)
    }

    /// As [`Child::made_in`], of what must be there.
    pub(super) fn found_in(&mut self, path: Str, name: &mut Name) -> Result<i32, Fail> {
        self.kept_dir(path, name, path::existing_parent)
    }

    fn kept_dir(
        &mut self,
        path: Str,
        name: &mut Name,
        open: fn(i32, CStr<'_>, &mut Name) -> Result<i32, Fail>,
    ) -> Result<i32, Fail> {
        let text = self.str(path);
        let (dir, last) = path::dir_and_name(text.bytes());
        let known = match self.made_in {
            _ if !path::is_name(last) => None,
            _ if dir.iter().all(|&b| b == b'/') => Some(self.root),
            Some((at, length, fd)) => {
                let known = self.str(Str(at)).bytes().get(..length);
                (known == Some(dir)).then_some(fd)
            }
            None => None,
        };
        if let Some(fd) = known {
            name.clear();
            name.push(last).map_err(Fail::on(Act::Resolve))?;
            return Ok(fd);
        }
        self.forget_made_in();
        let fd = open(self.root, text, name)?;
        self.made_in = Some((path.0, dir.len(), fd));
        Ok(fd)
    }
}

pub(super) fn mknod(c: &mut Child<'_, '_>, path: Str, node: &Node) -> Result<(), Fail> {
    let mut name = Name::new();
    let dir = c.made_in(path, &mut name)?;
    let name = name.as_c();
    // The kernel's encoding of a device number (new_encode_dev).
    let device = (node.minor & 0xff) | (node.major << 8) | ((node.minor & !0xff) << 12);
    // SAFETY: the name ends in NUL. mknodat does not follow a last link.
    match unsafe { sys!(SYS_mknodat, dir, name.ptr(), node.mode, device) } {
        Ok(_) => {}
        Err(libc::EEXIST) => {
            // An image may bring the right node along; anything else is not replaced silently.
            let found = calls::stat(dir, name).map_err(Fail::on(Act::Exists))?;
            let same = found.mode & libc::S_IFMT == node.mode & libc::S_IFMT
                && (found.major, found.minor) == (node.major, node.minor);
            if !same {
                return Err(Fail {
                    errno: libc::EEXIST,
                    act: Act::Exists,
                });
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    if node.uid == 0 && node.gid == 0 {
        return Ok(());
    }
    own(c, dir, name, node)
}

fn own(c: &Child<'_, '_>, dir: i32, name: CStr<'_>, node: &Node) -> Result<(), Fail> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let fd = calls::openat2(dir, name, flags, 0, 0).map_err(Fail::on(Act::Chown))?;
    // SAFETY: the path is the empty literal.
    let result = unsafe {
        sys!(
            SYS_fchownat,
            fd,
            EMPTY.ptr(),
            node.uid,
            node.gid,
            libc::AT_EMPTY_PATH
        )
    };
    c.spent(fd);
    result.map_err(Fail::on(Act::Chown))?;
    Ok(())
}

pub(super) fn symlink(
    c: &mut Child<'_, '_>,
    to: Str,
    path: Str,
    existing: Existing,
) -> Result<(), Fail> {
    let mut name = Name::new();
    let dir = c.made_in(path, &mut name)?;
    let (to, name) = (c.str(to), name.as_c());
    // SAFETY: both strings end in NUL.
    let link = || unsafe { sys!(SYS_symlinkat, to.ptr(), dir, name.ptr()) };
    match link() {
        Ok(_) => Ok(()),
        Err(libc::EEXIST) if existing == Existing::Same => leads(dir, name, to),
        Err(libc::EEXIST) if existing == Existing::Replace => {
            // SAFETY: the name ends in NUL; unlinkat removes the last name itself, never a target.
            unsafe { sys!(SYS_unlinkat, dir, name.ptr(), 0) }?;
            link()?;
            Ok(())
        }
        Err(libc::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// That a link leads where it should.
#[inline(never)]
fn leads(dir: i32, name: CStr<'_>, to: CStr<'_>) -> Result<(), Fail> {
    let mut found = [0; calls::PATH_MAX];
    match path::link_target(dir, name, &mut found) {
        Ok(target) if target == to.bytes() => Ok(()),
        _ => Err(Fail {
            errno: libc::EEXIST,
            act: Act::Exists,
        }),
    }
}

/// An empty file to mount on.
pub(super) fn file(c: &Child<'_, '_>, path: CStr<'_>) -> Result<i32, Fail> {
    path::ensure(c.root, path, Make::File)
}
