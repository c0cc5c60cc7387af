//! Opens what a plan points at. All before the clone: a missing file is our error, not the child's.

use std::{
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{Mode, OFlags};
use sys::mount::MountAttr;

use super::{Error, Words, hook_words, id_map};
use crate::{
    cgroup::{self, Cgroup},
    plan::{Ids, Node, Plan, Source, Tree},
    request::Rootfs,
};

/// The caller's streams by number.
pub(crate) type Streams = [Option<OwnedFd>; 3];

/// What sources are opened from.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) proc: Option<BorrowedFd<'a>>,
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// As many `tasks` files as the plan was made with.
    pub(crate) joins: Vec<OwnedFd>,
    pub(crate) rootfs: Option<Rootfs>,
    pub(crate) streams: Streams,
    pub(crate) fifo: Option<&'a Path>,
    pub(crate) init_pidfd: Option<BorrowedFd<'a>>,
    /// Our own pid namespace for children, if we have seen that we may come back to it.
    pub(crate) own_pids: Option<BorrowedFd<'a>>,
    /// We write to the child's files in procfs and are not root: it must be dumpable for that.
    pub(crate) foreign_proc: bool,
    /// A new user namespace may set groups.
    pub(crate) setgroups: bool,
}

/// Descriptors of a plan: numbers by index, and what keeps them open.
#[derive(Debug, Default)]
pub(super) struct Fds {
    pub(super) numbers: Vec<i32>,
    owned: Owned,
    /// Memory files of hook states by status, to be filled in once the pid is known.
    pub(super) states: Vec<(oci::runtime::Status, i32)>,
    /// What hooks print.
    pub(super) words: Words,
}

/// Closed together.
#[derive(Debug, Default)]
struct Owned(Vec<OwnedFd>);

impl Drop for Owned {
    fn drop(&mut self) {
        sys::process::close_all(std::mem::take(&mut self.0));
    }
}

impl Fds {
    fn own(&mut self, fd: OwnedFd) -> Result<i32, Error> {
        // 0 to 2 are the child's streams-to-be: a source there would be overwritten.
        let fd = if fd.as_raw_fd() < 3 {
            rustix::io::fcntl_dupfd_cloexec(&fd, 3)
                .map_err(|e| Error::io("duplicate", "a descriptor", e))?
        } else {
            fd
        };
        let number = fd.as_raw_fd();
        self.owned.0.push(fd);
        Ok(number)
    }

    /// The state file of a number, to write into.
    pub(super) fn state(&self, number: i32) -> Option<BorrowedFd<'_>> {
        self.owned
            .0
            .iter()
            .find(|fd| fd.as_raw_fd() == number)
            .map(AsFd::as_fd)
    }
}

/// Opens all sources of `plan`.
pub(super) fn open(plan: &Plan, from: &mut Opened<'_>) -> Result<Fds, Error> {
    let mut fds = Fds::default();
    let mut joins = std::mem::take(&mut from.joins).into_iter();
    for source in &plan.fds {
        let number = match source {
            Source::Namespace(type_, path) => {
                let fd = namespace(*type_, path)?;
                if plan.changed.contains(type_) {
                    refuse_ours(&fd, *type_, path)?;
                }
                fds.own(fd)?
            }
            Source::CgroupJoin(_) => match joins.next() {
                Some(fd) => fds.own(fd)?,
                None => return Err(Error::Protocol),
            },
            Source::CgroupProcs => {
                let path = cgroup_dir(from.cgroup, "")?.join("cgroup.procs");
                fds.own(open_path(&path, OFlags::WRONLY)?)?
            }
            Source::CgroupTree(controller, attr) => {
                let path = cgroup_dir(from.cgroup, controller)?;
                let tree = cgroup::detached_copy(path)
                    .map_err(|e| Error::io("bind", path.display().to_string(), e))?;
                let private = MountAttr::new(attr.set, attr.clear, 1 << 18);
                set(&tree, path, private, false)?;
                fds.own(tree)?
            }
            Source::Rootfs(propagation) => {
                let root = match from.rootfs.take() {
                    Some(Rootfs::Path(path)) => {
                        let tree = copy(&path, true)?;
                        set(&tree, &path, MountAttr::new(0, 0, *propagation), true)?;
                        tree
                    }
                    Some(Rootfs::Mount(fd)) => {
                        // Taken from a shared mount it would be shared, and could not be pivoted to.
                        let name = Path::new("the root filesystem");
                        set(&fd, name, MountAttr::new(0, 0, *propagation), true)?;
                        fd
                    }
                    None => return Err(Error::Protocol),
                };
                fds.own(root)?
            }
            Source::Tree(tree) => fds.own(bind(tree)?)?,
            Source::Nodes(nodes) => fds.own(devices(nodes)?)?,
            Source::NullTree => {
                let tree = sys::mount::detached_copy_of(null()?)
                    .map_err(|e| Error::io("bind", "/dev/null", e))?;
                fds.own(tree)?
            }
            Source::Null => fds.own(null()?)?,
            Source::Proc => match from.proc {
                Some(fd) => fd.as_raw_fd(),
                None => return Err(Error::Protocol),
            },
            Source::Stream(number) => {
                let stream = from
                    .streams
                    .get_mut(usize::from(*number))
                    .and_then(Option::take);
                match stream {
                    Some(fd) => fds.own(fd)?,
                    None => return Err(Error::Protocol),
                }
            }
            Source::HookState(status) => {
                let file = memory_file()?;
                let number = fds.own(file)?;
                fds.states.push((*status, number));
                number
            }
            Source::HookOutput(path) => {
                let file = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(|e| Error::io("open the file for what hooks print", path, e))?;
                fds.own(file.into())?
            }
            Source::HookWords(name) => {
                let file = hook_words::file(name)?;
                let ours = rustix::io::fcntl_dupfd_cloexec(&file, 3)
                    .map_err(|e| Error::io("duplicate", "a descriptor", e))?;
                fds.words.push(name.clone(), ours);
                fds.own(file)?
            }
            Source::Fifo => fds.own(fifo(from.fifo, "")?)?,
            Source::FifoStatus => fds.own(fifo(from.fifo, ".status")?)?,
            Source::InitPidfd => match from.init_pidfd {
                Some(fd) => fd.as_raw_fd(),
                None => return Err(Error::Protocol),
            },
            Source::Later | Source::Taken(_) => -1,
        };
        fds.numbers.push(number);
    }
    Ok(fds)
}

fn open_path(path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
    rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .map_err(|e| Error::io("open", path.display().to_string(), e))
}

fn copy(path: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    sys::mount::detached_copy(path, recursive)
        .map_err(|e| Error::io("bind", path.display().to_string(), e))
}

fn set(tree: &OwnedFd, path: &Path, attr: MountAttr, recursive: bool) -> Result<(), Error> {
    sys::mount::set_attr(tree.as_fd(), attr, recursive)
        .map_err(|e| Error::io("set mount attributes of", path.display().to_string(), e))
}

fn namespace(type_: oci::runtime::NamespaceType, path: &str) -> Result<OwnedFd, Error> {
    let fd = open_path(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK)?;
    let wrong = || Error::NamespaceType {
        path: path.to_owned(),
        expected: type_.to_string(),
    };
    let found = sys::process::namespace_type(fd.as_fd()).map_err(|_| wrong())?;
    if found == crate::plan::namespace_flag(type_) {
        Ok(fd)
    } else {
        Err(wrong())
    }
}

/// S12: by a path, too, the host is not to be changed.
fn refuse_ours(fd: &OwnedFd, type_: oci::runtime::NamespaceType, path: &str) -> Result<(), Error> {
    let ours = format!("/proc/thread-self/ns/{}", type_.proc_name());
    let theirs = rustix::fs::fstat(fd).map_err(|e| Error::io("examine", path, e))?;
    let ours = rustix::fs::stat(&ours).map_err(|e| Error::io("examine", ours, e))?;
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino) {
        return Err(Error::HostNamespace {
            path: path.to_owned(),
            type_: type_.to_string(),
        });
    }
    Ok(())
}

fn cgroup_dir<'c>(cgroup: Option<&'c Cgroup>, controller: &str) -> Result<&'c Path, Error> {
    let dir = cgroup.and_then(|cgroup| cgroup.path_of(controller));
    dir.ok_or(Error::Protocol)
}

fn bind(tree: &Tree) -> Result<OwnedFd, Error> {
    let copy = match tree.itself {
        true => sys::mount::detached_copy_of_itself(&tree.path, tree.recursive),
        false => sys::mount::detached_copy(&tree.path, tree.recursive),
    };
    let fd = copy.map_err(|e| Error::io("bind mount", name_of(tree), e))?;
    finish(tree, fd.as_fd())?;
    Ok(fd)
}

fn name_of(tree: &Tree) -> String {
    format!("{} at {}", tree.path.display(), tree.dest)
}

/// Maps the ids of a bind that nobody has seen yet and sets its attributes.
pub(super) fn finish(tree: &Tree, fd: BorrowedFd<'_>) -> Result<(), Error> {
    let name = || name_of(tree);
    if let Some(map) = &tree.id_map {
        let userns = match &map.ids {
            Ids::Maps(maps) => id_map::user_namespace(maps)?,
            Ids::Of(path) => namespace(oci::runtime::NamespaceType::User, path)?,
        };
        sys::mount::map_ids(fd, userns.as_fd(), map.recursive).map_err(|e| {
            let why = match e.kind() {
                std::io::ErrorKind::InvalidInput => " (its filesystem has no id-mapped mounts)",
                _ => "",
            };
            Error::io("map the ids of bind mount", name() + why, e)
        })?;
    }
    if tree.unsaid != 0 {
        match sys::mount::set_attr(fd, MountAttr::new(0, tree.unsaid, 0), false) {
            // Locked: whoever gave us the mount keeps it so.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {}
            done => done.map_err(|e| Error::io("set attributes of bind mount", name(), e))?,
        }
    }
    for (attr, recursive) in &tree.attrs {
        let attr = MountAttr::new(attr.set, attr.clear, attr.propagation);
        sys::mount::set_attr(fd, attr, *recursive)
            .map_err(|e| Error::io("set attributes of bind mount", name(), e))?;
    }
    Ok(())
}

/// A tmpfs with devices, by number.
fn devices(nodes: &[Node]) -> Result<OwnedFd, Error> {
    let failed = |e| Error::io("make a filesystem for", "the container's devices", e);
    let tree = sys::mount::detached_tmpfs(c"755").map_err(failed)?;
    for (number, node) in nodes.iter().enumerate() {
        let made = node_in(&tree, &number.to_string(), node);
        made.map_err(|e| Error::io("make device", node.path.clone(), e))?;
    }
    Ok(tree)
}

fn node_in(dir: &OwnedFd, name: &str, node: &Node) -> rustix::io::Result<()> {
    let kind = rustix::fs::FileType::from_raw_mode(node.mode);
    let device = rustix::fs::makedev(node.major, node.minor);
    let mode = Mode::from_raw_mode(node.mode);
    rustix::fs::mknodat(dir, name, kind, mode, device)?;
    // Whatever our umask is.
    rustix::fs::chmodat(dir, name, mode, rustix::fs::AtFlags::empty())?;
    let owner = rustix::fs::Uid::from_raw(node.uid);
    let group = rustix::fs::Gid::from_raw(node.gid);
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(dir, name, Some(owner), Some(group), flags)
}

/// The null device, which must be it.
fn null() -> Result<OwnedFd, Error> {
    let path = Path::new("/dev/null");
    let fd = open_path(path, OFlags::RDWR)?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("examine", "/dev/null", e))?;
    let is_null = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device()
        && stat.st_rdev == rustix::fs::makedev(1, 3);
    if is_null {
        Ok(fd)
    } else {
        let e = std::io::Error::other("not the null device");
        Err(Error::io("use", "/dev/null", e))
    }
}

fn memory_file() -> Result<OwnedFd, Error> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create("state", flags).map_err(|e| Error::io("make", "a memory file", e))
}

/// Fills a state file and seals it: a hook can only read.
pub(super) fn fill(state: BorrowedFd<'_>, json: &[u8]) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::io("write", "the state for hooks", e);
    let mut file = std::fs::File::from(state.try_clone_to_owned().map_err(failed)?);
    file.write_all(json).map_err(failed)?;
    let seals = rustix::fs::SealFlags::WRITE
        | rustix::fs::SealFlags::GROW
        | rustix::fs::SealFlags::SHRINK
        | rustix::fs::SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(state, seals).map_err(|e| failed(e.into()))
}

/// Makes the gate's fifo and opens it both ways: neither side ever blocks in open.
fn fifo(path: Option<&Path>, suffix: &str) -> Result<OwnedFd, Error> {
    let path = path.ok_or(Error::Protocol)?;
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let path = Path::new(&name);
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600))
        .map_err(|e| Error::io("make fifo", path.display().to_string(), e))?;
    open_path(path, OFlags::RDWR)
}
