//! The layer directory while it grows: parents found or made, times set at the end.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat,
        chownat, fstat, mkdirat, openat, readlinkat, statat, unlinkat, utimensat,
    },
    io::Errno,
};

use super::{Error, Lower, Usage, place, whiteouts::Whiteouts, xattr};
use crate::direct::Buffer;
use crate::stack::{Node, Stack, components, is_whiteout, open_beneath};
use crate::tar::Entry;

/// Parents kept open: tars come in directory order, so a few are enough.
const CACHE: usize = 32;
const LINKS_MAX: usize = 40;
/// The time of what no layer describes.
const EPOCH: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// Directories of the layers below that are remembered.
const KNOWN: usize = 2048;
/// Bytes of directory paths that are kept until the end: half a million of a usual length.
const TIMES_MAX: usize = 64 << 20;
/// Directories in directories. Removing a tree holds a descriptor for each level, and links could
/// otherwise lead deeper than any path is long.
const DEPTH_MAX: usize = 512;

/// A directory of the layer, by descriptor, with its path free of links.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: Vec<u8>,
    /// The layers below are known to show nothing here, so nothing below it need be looked up
    /// there: else a deep new path would cost the square of its depth.
    bare: bool,
}

impl Dir {
    /// The path of a name in it.
    pub(super) fn join(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() {
            name.to_vec()
        } else {
            [&self.path, name].join(&b'/')
        }
    }

    /// Sets the owner of a name in it, of a link itself.
    pub(super) fn own(&self, name: &[u8], path: &[u8], owner: (u32, u32)) -> Result<(), Error> {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&self.fd, name, Some(uid), Some(gid), flags)
            .map_err(Error::io("set the owner of", path))
    }

    /// Sets the mode of a name in it, which is no link: that would be followed.
    pub(super) fn set_mode(&self, name: &[u8], path: &[u8], mode: u32) -> Result<(), Error> {
        let mode = Mode::from_raw_mode(mode);
        chmodat(&self.fd, name, mode, AtFlags::empty()).map_err(Error::io("set the mode of", path))
    }

    /// Directories above it.
    fn depth(&self) -> usize {
        let slashes = self.path.iter().filter(|&&b| b == b'/').count();
        slashes + usize::from(!self.path.is_empty())
    }

    /// A path for the calls that take no descriptor; the name itself is never followed.
    pub(super) fn proc_path(&self, name: &[u8]) -> Vec<u8> {
        [
            format!("/proc/self/fd/{}/", self.fd.as_raw_fd()).as_bytes(),
            name,
        ]
        .concat()
    }
}

/// The layer directory.
pub(super) struct Tree<'a> {
    root: Rc<Dir>,
    diff: std::path::PathBuf,
    lower: Lower<'a>,
    /// This layer on top of those below; asked for when first needed.
    merged: Option<Stack>,
    cache: HashMap<Vec<u8>, Rc<Dir>>,
    /// Which layers of `merged` contribute to a directory: void when this layer hides something.
    known: HashMap<Vec<u8>, Vec<usize>>,
    /// Modification times to set when nothing more will be put in.
    times: BTreeMap<Vec<u8>, Timespec>,
    times_bytes: usize,
    root_seen: bool,
    lower_link_followed: bool,
    hide_all_lower: bool,
    pub(super) whiteouts: Whiteouts,
    /// A directory has the set-group-id bit: what is made in it belongs to its group at first.
    gives_groups: bool,
    /// A directory has a default ACL.
    gives_acls: bool,
    /// Modes of directories that were made: whether those that are made so have them.
    kept_modes: BTreeMap<u32, bool>,
    /// Without the directories until the end; `None` once something was taken away.
    usage: Option<Usage>,
    /// For the large files, one after the other.
    pub(super) buffer: Buffer,
}

impl<'a> Tree<'a> {
    pub(super) fn open(diff: &Path, lower: Lower<'a>) -> Result<Self, Error> {
        Ok(Self {
            root: Rc::new(open_root(diff)?),
            diff: diff.to_owned(),
            lower,
            merged: None,
            cache: HashMap::new(),
            known: HashMap::new(),
            times: BTreeMap::new(),
            times_bytes: 0,
            root_seen: false,
            lower_link_followed: false,
            hide_all_lower: false,
            whiteouts: Whiteouts::new(),
            gives_groups: false,
            gives_acls: false,
            kept_modes: BTreeMap::new(),
            usage: Some(Usage::default()),
            buffer: Buffer::default(),
        })
    }

    pub(super) fn root(&self) -> Rc<Dir> {
        self.root.clone()
    }

    /// The archive describes the root directory itself.
    pub(super) fn root_is_explicit(&mut self) {
        self.root_seen = true;
    }

    /// A directory is as the entry says.
    pub(super) fn described(&mut self, entry: &Entry) {
        self.gives(entry.mode, xattr::gives_acls(entry));
    }

    /// A directory with this mode: what is made in it may be different from what is asked for.
    fn gives(&mut self, mode: u32, acls: bool) {
        self.gives_groups |= mode & 0o2000 != 0;
        self.gives_acls |= acls;
    }

    /// Whether the directory `name`, which was made with this mode, has it. The umask decides, and a default ACL above the
    /// layer: the same for all of a mode, so one is looked at.
    pub(super) fn keeps_mode(&mut self, dir: &Dir, name: &[u8], mode: u32) -> bool {
        if mode > 0o777 || self.gives_groups || self.gives_acls {
            return false;
        }
        *self.kept_modes.entry(mode).or_insert_with(|| {
            let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| stat.st_mode & 0o7777 == mode)
        })
    }

    /// Whether a new file may belong to another group than root's.
    pub(super) fn gives_groups(&self) -> bool {
        self.gives_groups
    }

    pub(super) fn hide_all_lower(&mut self) {
        self.hide_all_lower = true;
        self.usage = None;
    }

    /// Remembers the time of a directory until nothing more will be put in.
    pub(super) fn set_time(&mut self, path: Vec<u8>, time: Timespec) -> Result<(), Error> {
        self.remembers(path.len())?;
        self.times.insert(path, time);
        Ok(())
    }

    /// Paths are kept until the end: within a bound.
    pub(super) fn remembers(&mut self, bytes: usize) -> Result<(), Error> {
        self.times_bytes += bytes + 64;
        if self.times_bytes > TIMES_MAX {
            let text = "its directories' paths take more memory than any image needs";
            return Err(Error::Limit(text.into()));
        }
        Ok(())
    }

    /// The directory that `path` leads to, made where it is missing.
    pub(super) fn parent(&mut self, path: &[&[u8]]) -> Result<Rc<Dir>, Error> {
        let key = path.join(&b'/');
        if let Some(dir) = self.cache.get(&key) {
            return Ok(dir.clone());
        }
        // Archives go down one directory at a time: the one above is known, and this one is there.
        let next = path.split_last().and_then(|(name, above)| {
            let above = self.cache.get(&above.join(&b'/'))?;
            let shallow = above.depth() < DEPTH_MAX;
            shallow.then(|| self.enter(above, name, above.bare).ok())?
        });
        let dir = match next {
            Some(dir) => dir,
            None => self.walk(path, true)?,
        };
        if self.cache.len() >= CACHE {
            self.cache.clear();
        }
        self.cache.insert(key, dir.clone());
        Ok(dir)
    }

    /// The directory that `path` leads to, if this layer has it.
    pub(super) fn existing(&mut self, path: &[&[u8]]) -> Result<Rc<Dir>, Error> {
        self.walk(path, false)
    }

    /// Something new stands where a link of a lower layer may have led elsewhere until now.
    pub(super) fn made(&mut self) {
        if self.lower_link_followed {
            self.cache.clear();
        }
    }

    /// Counts something new that is no directory.
    pub(super) fn count(&mut self, stat: &Stat) {
        if let Some(usage) = &mut self.usage {
            usage.add(stat);
        }
    }

    /// This layer hides something of those below.
    pub(super) fn hid(&mut self) {
        self.usage = None;
        self.cache.clear();
        self.known.clear();
    }

    /// What was known of `path` and below is void: it is replaced.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.hid();
        let below = [path, b"/"].concat();
        self.times.remove(path);
        let stale: Vec<Vec<u8>> = self
            .times
            .range(below.clone()..)
            .take_while(|(name, _)| name.starts_with(&below))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stale {
            self.times.remove(&name);
        }
    }

    /// Sets what can only be set at the end: directory times, and whiteouts for an opaque root. What
    /// the layer takes, if that could be counted, and whether its root is as those below.
    pub(super) fn finish(mut self) -> Result<(Option<Usage>, bool), Error> {
        self.known.clear();
        self.drop_idle_whiteouts()?;
        if self.hide_all_lower {
            let root = self.root();
            for name in (self.lower)()?
                .root_names()
                .map_err(|e| Error::Lower(e.into()))?
            {
                place::whiteout(&root, &name)?;
            }
        }
        // Sorted, so that most have the parent of the one before.
        let mut open: Option<(Vec<u8>, OwnedFd)> = None;
        for (path, time) in std::mem::take(&mut self.times) {
            let slash = path.iter().rposition(|&b| b == b'/');
            let (parent, name) = path.split_at(slash.map_or(0, |at| at + 1));
            let name = if path.is_empty() { b"." } else { name };
            let dir = match &open {
                _ if parent.is_empty() => &self.root.fd,
                Some((known, dir)) if known == parent => dir,
                _ => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY;
                    let dir = open_beneath(&self.root.fd, parent, flags)
                        .map_err(Error::io("open the directory of", &path))?;
                    &open.insert((parent.to_vec(), dir)).1
                }
            };
            set_times(dir, name, time).map_err(Error::io("set the times of", &path))?;
            if let Some(usage) = &mut self.usage {
                let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
                usage.add(&stat.map_err(Error::io("look at", &path))?);
            }
        }
        if !self.root_seen
            && let Some(usage) = &mut self.usage
        {
            usage.add(&fstat(&self.root.fd).map_err(Error::io("look at", b"/"))?);
        }
        Ok((self.usage, !self.root_seen))
    }

    fn walk(&mut self, path: &[&[u8]], make: bool) -> Result<Rc<Dir>, Error> {
        let mut todo: VecDeque<Vec<u8>> = path.iter().map(|part| part.to_vec()).collect();
        let whole = path.join(&b'/');
        let mut dirs = vec![self.root.clone()];
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            // The vector is never empty: the root is not popped.
            let here = dirs.last().unwrap_or(&self.root).clone();
            if name == b".." {
                if dirs.len() > 1 {
                    dirs.pop();
                }
                continue;
            }
            if dirs.len() > DEPTH_MAX {
                let text = format!("it is nested deeper than {DEPTH_MAX} directories");
                return Err(problem(&whole, &text));
            }
            match self.step(&here, &name, make)? {
                Step::Into(dir) => dirs.push(dir),
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(problem(&whole, "too many symbolic links in its path"));
                    }
                    if target.starts_with(b"/") {
                        dirs.truncate(1);
                    }
                    for part in components(&target).into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Step::Not => return Err(problem(&whole, "a part of its path is no directory")),
                Step::Missing => return Err(problem(&whole, "it is not in this layer")),
            }
        }
        Ok(dirs.pop().unwrap_or_else(|| self.root.clone()))
    }

    fn step(&mut self, here: &Rc<Dir>, name: &[u8], make: bool) -> Result<Step, Error> {
        let path = here.join(name);
        if name.len() > 255 {
            return Ok(Step::Missing);
        }
        let mut opaque = false;
        match statat(&here.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    return self.enter(here, name, here.bare).map(Step::Into);
                }
                FileType::Symlink => return link(here, name, &path).map(Step::Link),
                _ if make && is_whiteout(&stat) => {
                    // Removed by this layer, and now something is put below: it starts empty.
                    unlinkat(&here.fd, name, AtFlags::empty())
                        .map_err(Error::io("replace", &path))?;
                    opaque = true;
                }
                _ => return Ok(if make { Step::Not } else { Step::Missing }),
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("look at", &path)(error)),
        }
        let bare = opaque || here.bare;
        let below = if bare { None } else { self.lower_node(&path)? };
        if let Some(Node::Symlink(target)) = below {
            self.lower_link_followed = true;
            return Ok(Step::Link(target));
        }
        if !make {
            return Ok(Step::Missing);
        }
        mkdirat(&here.fd, name, Mode::from_raw_mode(0o755)).map_err(Error::io("make", &path))?;
        if opaque {
            let dir = self.enter(here, name, true)?;
            place::opaque(&dir)?;
        }
        let bare = !matches!(below, Some(Node::Directory { .. }));
        match below {
            Some(Node::Directory { top, .. }) => self.copy_attributes(here, name, &top)?,
            _ => {
                if self.gives_groups {
                    here.own(name, &path, (0, 0))?;
                }
                here.set_mode(name, &path, 0o755)?;
                self.set_time(path, EPOCH)?;
            }
        }
        self.enter(here, name, bare).map(Step::Into)
    }

    fn enter(&self, here: &Dir, name: &[u8], bare: bool) -> Result<Rc<Dir>, Error> {
        let path = here.join(name);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&here.fd, name, flags, Mode::empty()).map_err(Error::io("open", &path))?;
        Ok(Rc::new(Dir { fd, path, bare }))
    }

    /// What the layers below show at `path`, as far as this layer does not hide it.
    pub(super) fn lower_node(&mut self, path: &[u8]) -> Result<Option<Node>, Error> {
        if self.merged.is_none() {
            let mut stack = (self.lower)()?;
            stack.0.insert(0, self.diff.clone());
            self.merged = Some(stack);
        }
        let Some(merged) = &self.merged else {
            return Ok(None);
        };
        let slash = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let node = match self.known.get(&path[..slash]) {
            Some(layers) => merged.node(layers, path),
            None => merged.lookup(path),
        };
        let node = node.map_err(|error| Error::Lower(error.into()))?;
        if let Some(Node::Directory { layers, .. }) = &node {
            if self.known.len() >= KNOWN {
                self.known.clear();
            }
            self.known.insert(path.to_vec(), layers.clone());
        }
        Ok(node)
    }

    fn copy_attributes(
        &mut self,
        dir: &Dir,
        name: &[u8],
        (fd, stat): &(OwnedFd, Stat),
    ) -> Result<(), Error> {
        let path = dir.join(name);
        let (time, gives_acls) = copy_attributes(dir, name, &path, (fd, stat))?;
        self.gives(stat.st_mode, gives_acls);
        self.set_time(path, time)
    }
}

/// Owner, mode and extended attributes; the time, which is to be set when nothing more is put in, and whether what is put
/// in gets its access rights from there.
fn copy_attributes(
    dir: &Dir,
    name: &[u8],
    path: &[u8],
    (fd, stat): (&OwnedFd, &Stat),
) -> Result<(Timespec, bool), Error> {
    dir.own(name, path, (stat.st_uid, stat.st_gid))?;
    dir.set_mode(name, path, stat.st_mode & 0o7777)?;
    let gives_acls = xattr::copy(fd, &dir.proc_path(name));
    let gives_acls = gives_acls.map_err(Error::io("copy attributes to", path))?;
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    Ok((time, gives_acls))
}

/// Gives the root of a layer what the layers below show at theirs; nothing may be made in it later.
pub(crate) fn root_as_below(diff: &Path, below: &Stack) -> Result<(), Error> {
    let root = open_root(diff)?;
    let node = below.lookup(b"").map_err(|e| Error::Lower(e.into()))?;
    let time = match node {
        Some(Node::Directory {
            top: (fd, stat), ..
        }) => copy_attributes(&root, b".", b"/", (&fd, &stat))?.0,
        // As of any directory that no layer describes.
        _ => EPOCH,
    };
    set_times(&root.fd, b".", time).map_err(Error::io("set the times of", b"/"))
}

fn open_root(diff: &Path) -> Result<Dir, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(CWD, diff, flags, Mode::empty()).map_err(Error::io("open", b"/"))?;
    Ok(Dir {
        fd,
        path: Vec::new(),
        bare: false,
    })
}

enum Step {
    Into(Rc<Dir>),
    Link(Vec<u8>),
    Not,
    Missing,
}

fn link(dir: &Dir, name: &[u8], path: &[u8]) -> Result<Vec<u8>, Error> {
    let target = readlinkat(&dir.fd, name, Vec::new()).map_err(Error::io("read link", path))?;
    Ok(target.into_bytes())
}

fn problem(path: &[u8], problem: &str) -> Error {
    Error::Entry {
        entry: crate::tar::show(path),
        problem: problem.into(),
    }
}

/// Sets modification (and access) time of a name, never of what it links to.
pub(super) fn set_times(dir: &OwnedFd, name: &[u8], time: Timespec) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
