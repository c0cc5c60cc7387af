//! Paths below the container's root, resolved by the kernel (`RESOLVE_IN_ROOT`) and made when they
//! are missing. Whoever shares the root with us may rename and replace what they like meanwhile: every
//! look-up starts at the root's descriptor and can't leave it, and creation happens by descriptor
//! of the parent with a single new name.

use crate::{
    calls::{self, CStr, IN_ROOT, NO_SYMLINKS, PATH_MAX, SLASH},
    child::Fail,
    message::Act,
    raw::{Errno, sys},
};

/// A missing link target is followed and made so often (the kernel's own limit for links is 40).
const MAX_LINKS: u32 = 40;

pub(crate) fn open(root: i32, path: CStr<'_>, flags: i32) -> Result<i32, Errno> {
    let path = if path.is_empty() { SLASH } else { path };
    calls::openat2(root, path, flags, 0, IN_ROOT)
}

/// As [`open`] with O_PATH, but no part of the path may be a symbolic link.
pub(crate) fn open_plain(root: i32, path: CStr<'_>) -> Result<i32, Errno> {
    calls::openat2(root, path, libc::O_PATH, 0, IN_ROOT | NO_SYMLINKS)
}

/// Text under construction, on the stack. What needs a [`Path`] is a function of its own, never inlined: each
/// page of the stack that a waiting process has touched is memory that it costs.
pub(crate) struct Buffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

pub(crate) type Path = Buffer<PATH_MAX>;
/// One name: no filesystem takes more than 255 bytes.
pub(crate) type Name = Buffer<256>;

impl<const N: usize> Buffer<N> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.terminate();
    }

    pub(crate) fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        // One byte stays for the NUL.
        if self.len + more.len() >= N {
            return Err(libc::ENAMETOOLONG);
        }
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(more) {
            *to = *from;
        }
        self.len += more.len();
        self.terminate();
        Ok(())
    }

    fn terminate(&mut self) {
        if let Some(end) = self.bytes.get_mut(self.len) {
            *end = 0;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn as_c(&self) -> CStr<'_> {
        CStr::at(&self.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What to make of a path's last part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Dir,
    File,
}

/// Opens `path` (O_PATH), making what is missing of it: directories 0755, the last part as asked.
pub(crate) fn ensure(root: i32, path: CStr<'_>, make: Make) -> Result<i32, Fail> {
    match open(root, path, libc::O_PATH) {
        Err(libc::ENOENT) => {}
        other => return other.map_err(Fail::on(Act::Resolve)),
    }
    match make_last(root, path, make)? {
        Some(fd) => Ok(fd),
        None => make_all(root, path, make),
    }
}

/// Any part of the path may be missing, or lead elsewhere.
#[cold]
#[inline(never)]
fn make_all(root: i32, path: CStr<'_>, make: Make) -> Result<i32, Fail> {
    let mut wanted = Path::new();
    wanted.push(path.bytes()).map_err(Fail::on(Act::Resolve))?;
    let mut links = 0;
    loop {
        match walk(root, &wanted, make)? {
            Walk::At(fd) => return Ok(fd),
            // The path goes on behind a link whose target is missing.
            Walk::Link(next) => wanted = next,
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Fail {
                errno: libc::ELOOP,
                act: Act::Resolve,
            });
        }
    }
}

/// As [`ensure`], but a link that the path ends with is opened itself. Not in a procfs: what others take
/// for its links (`/proc/self`) must be that.
pub(crate) fn ensure_itself(root: i32, path: CStr<'_>, make: Make) -> Result<i32, Fail> {
    let mut name = Name::new();
    let dir = parent(root, path, &mut name)?;
    let opened = itself(dir, name.as_c(), make);
    calls::close(dir);
    opened
}

fn itself(dir: i32, name: CStr<'_>, make: Make) -> Result<i32, Fail> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let open = || calls::openat2(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0, 0);
    match calls::filesystem_type(dir).map_err(Fail::on(Act::Resolve))? {
        PROC_SUPER_MAGIC => Err(Fail {
            errno: libc::EPERM,
            act: Act::InProc,
        }),
        _ => match open() {
            Err(libc::ENOENT) => {
                create(dir, name, make).map_err(Fail::on(Act::MakeTarget))?;
                open().map_err(Fail::on(Act::Resolve))
            }
            other => other.map_err(Fail::on(Act::Resolve)),
        },
    }
}

/// The common case, in which only the last name is missing, and the path is no longer than most; `None` for any
/// other, and for what fails: the walk meets that again and says where.
fn make_last(root: i32, path: CStr<'_>, make: Make) -> Result<Option<i32>, Fail> {
    let (above, last) = dir_and_name(path.bytes());
    if !is_name(last) {
        return Ok(None);
    }
    let (mut prefix, mut name) = (Name::new(), Name::new());
    let pushed = prefix
        .push(b"/")
        .and_then(|()| prefix.push(above))
        .and_then(|()| name.push(last));
    if pushed.is_err() {
        return Ok(None);
    }
    let Ok(dir) = open(root, prefix.as_c(), libc::O_PATH) else {
        return Ok(None);
    };
    let made = create(dir, name.as_c(), make);
    calls::close(dir);
    if made.is_err() {
        return Ok(None);
    }
    open(root, path, libc::O_PATH)
        .map(Some)
        .map_err(Fail::on(Act::MakeTarget))
}

/// Makes `name` in `dir`. Neither call follows a last link.
pub(crate) fn create(dir: i32, name: CStr<'_>, make: Make) -> Result<usize, Errno> {
    match make {
        // SAFETY: the name ends in NUL.
        Make::File => unsafe { sys!(SYS_mknodat, dir, name.ptr(), libc::S_IFREG | 0o644, 0) },
        // SAFETY: the name ends in NUL.
        Make::Dir => unsafe { sys!(SYS_mkdirat, dir, name.ptr(), 0o755) },
    }
}

#[expect(clippy::large_enum_variant, reason = "there is no heap to box it on")]
enum Walk {
    At(i32),
    Link(Path),
}

/// Goes down `path` name by name, making what is missing.
fn walk(root: i32, path: &Path, make: Make) -> Result<Walk, Fail> {
    let mut prefix = Path::new();
    let mut dir = open(root, SLASH, libc::O_PATH).map_err(Fail::on(Act::Resolve))?;
    let mut rest = path.bytes();
    while let Some((name, after)) = split(rest) {
        rest = after;
        let last = split(rest).is_none();
        let parent_len = prefix.len;
        let step = prefix
            .push(b"/")
            .and_then(|()| prefix.push(name))
            .map_err(Fail::on(Act::Resolve))
            .and_then(|()| enter(root, dir, &prefix, name, last, make));
        let entered = match step {
            Ok(entered) => entered,
            Err(fail) => {
                calls::close(dir);
                return Err(fail);
            }
        };
        match entered {
            Some(next) => {
                calls::close(dir);
                dir = next;
            }
            None => {
                // A link to nothing.
                let next = follow(dir, &prefix, parent_len, name, rest);
                calls::close(dir);
                return next.map(Walk::Link);
            }
        }
    }
    Ok(Walk::At(dir))
}

/// First name of a path and what follows.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|&b| b != b'/')?;
    let path = path.get(start..)?;
    let end = path.iter().position(|&b| b == b'/').unwrap_or(path.len());
    Some((path.get(..end)?, path.get(end..)?))
}

/// Opens `prefix`, making its last part `name` in `dir` if it is missing; `None`: it is a link to
/// nothing.
fn enter(
    root: i32,
    dir: i32,
    prefix: &Path,
    name: &[u8],
    last: bool,
    make: Make,
) -> Result<Option<i32>, Fail> {
    match open(root, prefix.as_c(), libc::O_PATH) {
        Err(libc::ENOENT) => {}
        other => return other.map(Some).map_err(Fail::on(Act::Resolve)),
    }
    let mut single = Name::new();
    single.push(name).map_err(Fail::on(Act::Resolve))?;
    let act = if last {
        Act::MakeTarget
    } else {
        Act::MakeParent
    };
    let kind = if last { make } else { Make::Dir };
    match create(dir, single.as_c(), kind) {
        Ok(_) => {}
        Err(libc::EEXIST) => {
            let stat = calls::stat(dir, single.as_c()).map_err(Fail::on(act))?;
            if stat.mode & libc::S_IFMT == libc::S_IFLNK {
                return Ok(None);
            }
        }
        Err(errno) => return Err(Fail { errno, act }),
    }
    open(root, prefix.as_c(), libc::O_PATH)
        .map(Some)
        .map_err(Fail::on(act))
}

/// The path with the link `name` at the end of `prefix` replaced by its target, and `rest` behind.
fn follow(
    dir: i32,
    prefix: &Path,
    parent_len: usize,
    name: &[u8],
    rest: &[u8],
) -> Result<Path, Fail> {
    let mut link = Name::new();
    link.push(name).map_err(Fail::on(Act::Resolve))?;
    let mut target = [0_u8; PATH_MAX];
    let target = link_target(dir, link.as_c(), &mut target).map_err(Fail::on(Act::Resolve))?;
    let mut next = Path::new();
    let mut fill = || -> Result<(), Errno> {
        if target.first() != Some(&b'/') {
            next.push(prefix.bytes().get(..parent_len).unwrap_or_default())?;
            next.push(b"/")?;
        }
        next.push(target)?;
        next.push(rest)
    };
    fill().map_err(Fail::on(Act::Resolve))?;
    Ok(next)
}

/// Where a link leads.
pub(crate) fn link_target<'b>(
    dir: i32,
    name: CStr<'_>,
    room: &'b mut [u8; PATH_MAX],
) -> Result<&'b [u8], Errno> {
    // SAFETY: the name ends in NUL; the kernel writes at most the buffer's length less one.
    let length = unsafe {
        sys!(
            SYS_readlinkat,
            dir,
            name.ptr(),
            room.as_mut_ptr(),
            PATH_MAX - 1
        )
    }?;
    Ok(room.get(..length).unwrap_or_default())
}

/// Opens the directory of `path`'s last name, making it if missing, and gives the name.
pub(crate) fn parent(root: i32, path: CStr<'_>, name: &mut Name) -> Result<i32, Fail> {
    let ensure = |above: CStr<'_>| ensure(root, above, Make::Dir);
    with_above(path, name, &ensure)
}

/// As [`parent`], of what must be there.
pub(crate) fn existing_parent(root: i32, path: CStr<'_>, name: &mut Name) -> Result<i32, Fail> {
    let open = |above: CStr<'_>| open(root, above, libc::O_PATH).map_err(Fail::on(Act::Resolve));
    with_above(path, name, &open)
}

type Opener<'a> = &'a dyn Fn(CStr<'_>) -> Result<i32, Fail>;

/// Calls `open` with the path of a path's directory; `name` gets its last name.
fn with_above(path: CStr<'_>, name: &mut Name, open: Opener<'_>) -> Result<i32, Fail> {
    if path.bytes().len() < 255 {
        with_short_above(path, name, open)
    } else {
        with_long_above(path, name, open)
    }
}

#[inline(never)]
fn with_short_above(path: CStr<'_>, name: &mut Name, open: Opener<'_>) -> Result<i32, Fail> {
    open(above::<256>(path, name)?.as_c())
}

#[cold]
#[inline(never)]
fn with_long_above(path: CStr<'_>, name: &mut Name, open: Opener<'_>) -> Result<i32, Fail> {
    open(above::<PATH_MAX>(path, name)?.as_c())
}

/// The path of a path's directory; `name` gets its last name.
fn above<const N: usize>(path: CStr<'_>, name: &mut Name) -> Result<Buffer<N>, Fail> {
    let (dir, last) = dir_and_name(path.bytes());
    name.clear();
    name.push(last).map_err(Fail::on(Act::Resolve))?;
    if !is_name(last) {
        return Err(Fail {
            errno: libc::EINVAL,
            act: Act::Resolve,
        });
    }
    let mut parent = Buffer::new();
    parent
        .push(b"/")
        .and_then(|()| parent.push(dir))
        .map_err(Fail::on(Act::Resolve))?;
    Ok(parent)
}

/// Whether a path's last part can be made in the directory before it.
pub(crate) fn is_name(last: &[u8]) -> bool {
    !matches!(last, b"" | b"." | b"..")
}

/// A path's directory (without what ends it) and its last name.
pub(crate) fn dir_and_name(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
    let path = path.get(..end).unwrap_or_default();
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (
            path.get(..at).unwrap_or_default(),
            path.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], path),
    }
}
