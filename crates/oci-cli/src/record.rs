//! What is known of a container on disk, for the commands that come later.
//!
//! ```text
//!  <root>               0711
//!  <root>/<id>          0700  locked (flock) while its container is created or deleted
//!      exec.fifo              the gate of the waiting process; removed by start
//!      exec.fifo.status       carries a late failure of that process back to start
//!      cgroup                 a link that names the cgroup, from before that is made; for /<id> the directory has
//!                             the mode 01700 instead
//!      state.json       0600  this record, written whole (temporary file and rename), once and
//!                             by each update
//!      status                 a link to it: the name that crun's users know
//!  <root>/seccomp~      0700  compiled system call filters
//! ```
//! No file says whether the container runs: that is asked of the kernel, see [`crate::status`].

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use container::ContainerId;
use container::cgroup;
use oci::runtime::Spec;
use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The permissions of a container's directory, and what they have besides where its cgroup is `/<id>`.
const MODE: u32 = 0o700;
const USUAL_CGROUP: u32 = 0o1000;
/// The version of the record's layout.
const VERSION: u32 = 1;

/// A created container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) id: String,
    /// RFC 3339.
    pub(crate) created: String,
    /// Absolute path of the bundle.
    pub(crate) bundle: PathBuf,
    /// Absolute path of the root filesystem.
    pub(crate) rootfs: PathBuf,
    /// Name of the user who created it.
    pub(crate) owner: String,
    pub(crate) init_process_pid: i32,
    /// Field 22 of its `/proc/<pid>/stat`: tells it from a later process with its number.
    pub(crate) init_process_start: u64,
    pub(crate) cgroup: cgroup::Record,
    /// What its standard streams were, as crun writes it: the text of a JSON list.
    #[serde(default)]
    external_descriptors: String,
    /// The document, as it was when the container was created. Written last: see [`StateDir::write`].
    #[serde(skip_serializing)]
    pub(crate) config: Box<Spec>,
}

/// What [`Record::new`] is told.
#[derive(Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) id: &'a ContainerId,
    pub(crate) created: String,
    pub(crate) bundle: &'a Path,
    pub(crate) rootfs: &'a Path,
    pub(crate) pid: i32,
    pub(crate) start: u64,
    pub(crate) cgroup: cgroup::Record,
    pub(crate) config: Box<Spec>,
}

impl Record {
    pub(crate) fn new(new: NewRecord<'_>) -> Self {
        Self {
            version: VERSION,
            id: new.id.to_string(),
            created: new.created,
            bundle: new.bundle.to_owned(),
            rootfs: new.rootfs.to_owned(),
            owner: owner(),
            init_process_pid: new.pid,
            init_process_start: new.start,
            cgroup: new.cgroup,
            external_descriptors: streams(new.pid),
            config: new.config,
        }
    }
}

/// The directory of one container.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    pub(crate) id: ContainerId,
    root: PathBuf,
    path: PathBuf,
}

impl StateDir {
    pub(crate) fn new(root: &Path, id: &str) -> Result<Self, Error> {
        let id = ContainerId::new(id)?;
        let path = root.join(id.as_str());
        Ok(Self {
            id,
            root: root.to_owned(),
            path,
        })
    }

    /// Where the waiting process' gate is.
    pub(crate) fn fifo(&self) -> PathBuf {
        self.path.join("exec.fifo")
    }

    /// A file of ours beside the record.
    pub(crate) fn file_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn file(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Makes the directory, which reserves the name, and locks it until the guard is dropped. It says which cgroup is
    /// about to be made, so that one can be removed whose creator was killed before it could write the record. `None`:
    /// one that needs no removal.
    pub(crate) fn reserve(&self, cgroup: Option<&str>) -> Result<File, Error> {
        self.check_root()?;
        let usual = cgroup.is_some_and(|path| path == self.usual_cgroup());
        let mode = if usual { MODE | USUAL_CGROUP } else { MODE };
        let made = DirBuilder::new().mode(mode).create(&self.path);
        if made
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        {
            return Err(Error::Exists {
                id: self.id.to_string(),
                root: self.root.clone(),
            });
        }
        made.map_err(Error::file("make the state directory", &self.path))?;
        let lock = self.lock()?;
        if let Some(cgroup) = cgroup.filter(|_| !usual) {
            let path = self.file_of("cgroup");
            std::os::unix::fs::symlink(cgroup, &path).map_err(Error::file("make", &path))?;
        }
        Ok(lock)
    }

    /// Makes the root if it is missing. Whoever may write to it could put a record there, and with it a
    /// process, a cgroup and hooks of their choice.
    fn check_root(&self) -> Result<(), Error> {
        let look = || fs::metadata(&self.root);
        let meta = look().or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(Error::file("look at the state directory", &self.root)(
                    error,
                ));
            }
            let mut root = DirBuilder::new();
            let made = root.recursive(true).mode(0o711).create(&self.root);
            made.and_then(|()| look())
                .map_err(Error::file("make the state directory", &self.root))
        })?;
        let mode = meta.mode() & 0o7777;
        if meta.uid() == rustix::process::geteuid().as_raw() && mode & 0o022 == 0 {
            return Ok(());
        }
        Err(Error::OpenRoot {
            root: self.root.clone(),
            uid: meta.uid(),
            mode,
        })
    }

    /// The cgroup that [`StateDir::reserve`] was told.
    pub(crate) fn intended(&self) -> Option<String> {
        let mode = fs::metadata(&self.path).ok()?.mode();
        if mode & USUAL_CGROUP != 0 {
            return Some(self.usual_cgroup());
        }
        let target = fs::read_link(self.file_of("cgroup")).ok()?;
        target.into_os_string().into_string().ok()
    }

    /// That of a document which names none: its path need not be written down.
    fn usual_cgroup(&self) -> String {
        format!("/{}", self.id)
    }

    /// Locks the directory against other commands that change the container as a whole.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let dir = sys::small_file::open(&self.path, OFlags::RDONLY)
            .map_err(|error| self.missing(error))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(dir),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::BeingCreated {
                id: self.id.to_string(),
            }),
            Err(errno) => Err(Error::file("lock", &self.path)(errno.into())),
        }
    }

    fn missing(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::NotFound {
            return Error::NoContainer {
                id: self.id.to_string(),
                root: self.root.clone(),
            };
        }
        Error::file("open", &self.path)(error)
    }

    /// Writes the record; no fsync, for a reboot ends the container as well. `config`: a text that says what the
    /// record's document does.
    pub(crate) fn write(&self, record: &Record, config: Option<&[u8]>) -> Result<(), Error> {
        let mut text = serde_json::to_vec(record)?;
        // The object goes on.
        text.pop();
        text.extend_from_slice(b",\"config\":");
        match config {
            Some(config) => text.extend_from_slice(config),
            None => serde_json::to_writer(&mut text, &record.config)?,
        }
        text.push(b'}');
        let path = self.file();
        sys::atomic::write(&path, &text, 0o600, sys::atomic::Durability::Process)
            .map_err(Error::file("write the container's record", &path))
    }

    /// Gives the record its second name; the container does not depend on it.
    pub(crate) fn link(&self) {
        let _ = std::os::unix::fs::symlink("state.json", self.file_of("status"));
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Error::NoContainer`], also while the container is being created.
    pub(crate) fn read(&self) -> Result<Box<Record>, Error> {
        let text = sys::small_file::read(&self.file()).map_err(|error| self.missing(error))?;
        let record = serde_json::from_slice::<Box<Record>>(&text);
        let reason = match record {
            Ok(record) if record.version == VERSION => return Ok(record),
            Ok(record) => format!("version {} instead of {VERSION}", record.version),
            Err(error) => error.to_string(),
        };
        Err(Error::Record {
            id: self.id.to_string(),
            path: self.file(),
            reason,
        })
    }

    /// Removes the directory with all in it; one that is gone is fine.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        // What is there as a rule, without looking what is there.
        for name in ["state.json", "status"] {
            let _ = fs::remove_file(self.file_of(name));
        }
        let remove = || fs::remove_dir(&self.path);
        let full = |error: &io::Error| error.kind() == io::ErrorKind::DirectoryNotEmpty;
        let mut removed = remove();
        if removed.as_ref().is_err_and(full) {
            let _ = fs::remove_file(self.file_of("cgroup"));
            removed = remove();
        }
        if removed.as_ref().is_err_and(full) {
            removed = fs::remove_dir_all(&self.path);
        }
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether the directory is there.
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// The error of a container that is not there.
    pub(crate) fn not_there(&self) -> Error {
        Error::NoContainer {
            id: self.id.to_string(),
            root: self.root.clone(),
        }
    }
}

/// The ids below a root, sorted; a root that is not there has none.
pub(crate) fn ids(root: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::file("read", root))?,
    };
    let mut ids: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    Ok(ids)
}

/// Where the standard streams of a process lead: paths, `pipe:[…]` and the like.
fn streams(pid: i32) -> String {
    let target = |number| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{number}"));
        link.map_or_else(|_| String::new(), |to| to.to_string_lossy().into_owned())
    };
    serde_json::to_string(&[target(0), target(1), target(2)]).unwrap_or_default()
}

/// Name of the effective user by `/etc/passwd`, or the number.
fn owner() -> String {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}
