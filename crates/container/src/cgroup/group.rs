//! One cgroup: the same path in every hierarchy in use, made, found and removed together.
//!
//! ```text
//! create "/coffer/pod/c1"
//!   each hierarchy: mkdir leaf -> made | EEXIST: joined | ENOENT: walk down, making parents
//!   v1 cpuset:      a new directory has empty cpus and mems and takes no task: copy the parent's
//!   v2:             before each mkdir below it, the parent's controllers go to subtree_control
//!   failure:        what was made is removed again
//! remove
//!   rmdir leaf and what was made below it, retried while dying tasks leave;
//!   then the parents that create() made, until one is in use
//! ```
//! What does not happen here: deciding who may be killed (see [`super::member`]) and limits.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::file;
use super::hierarchy::{Hierarchy, Mount, by_mount};
use super::leaf::make_leaf;
use super::path::CgroupPath;
use super::systemd::Unit;

/// How long a removal waits for tasks that are already dead but not yet gone.
const REMOVE_FOR: Duration = Duration::from_secs(3);

/// What kind of files a cgroup directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    /// cgroup2, alone or beside v1.
    V2,
}

/// The cgroup's directory in one hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Dir {
    /// v1 controllers or `name=…` of this hierarchy; empty for cgroup2.
    pub(super) controllers: Vec<String>,
    pub(super) version: Version,
    pub(super) mount: Mount,
    pub(super) path: PathBuf,
    /// cgroup2 alone: all controllers are enabled on the way down.
    pub(super) delegate: bool,
    /// The directory was there before us.
    pub(super) joined: bool,
}

/// A cgroup in all hierarchies. Cheap to clone; holds no file descriptors.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: CgroupPath,
    unified_only: bool,
    dirs: Vec<Dir>,
    made_parents: Vec<PathBuf>,
    /// The scope that systemd knows it as.
    unit: Option<Unit>,
}

/// What must be kept on disk so that another process can remove the cgroup as its maker would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The cgroup's path; empty for none.
    pub path: String,
    /// Parent directories that were made for it, outermost first in each hierarchy.
    pub made_parents: Vec<PathBuf>,
    /// Leaf directories that existed before.
    pub joined: Vec<PathBuf>,
    /// The scope that systemd knows it as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Where its hierarchies were mounted: whoever finds them there again need not look for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

/// One hierarchy of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its mount point.
    pub point: PathBuf,
    /// What the mount shows.
    pub root: String,
    /// v1 controllers or `name=…`; none for cgroup2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
}

impl Cgroup {
    /// Makes the cgroup, or joins what exists of it, in every hierarchy. Removes again what it made
    /// if a hierarchy refuses.
    pub fn create(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup::layout(hierarchy, path)?;
        for i in 0..cgroup.dirs.len() {
            let made = make_leaf(&cgroup.dirs[i], &mut cgroup.made_parents);
            match made {
                Ok(made) => cgroup.dirs[i].joined = !made,
                Err(e) => {
                    cgroup.undo_create(i);
                    return Err(e);
                }
            }
        }
        Ok(cgroup)
    }

    /// No cgroup, for a container where none can be had. Its record says so; it has no processes, no
    /// figures, and takes no limits.
    pub fn none() -> Cgroup {
        Cgroup {
            path: CgroupPath::none(),
            unified_only: false,
            dirs: Vec::new(),
            made_parents: Vec::new(),
            unit: None,
        }
    }

    /// Whether this is [`Cgroup::none`].
    pub fn is_none(&self) -> bool {
        self.path.as_str().is_empty()
    }

    /// Finds an existing cgroup. It counts as ours to remove; parents do not.
    pub fn open(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup::layout(hierarchy, path)?;
        cgroup.dirs.retain(|d| file::is_dir(&d.path));
        if cgroup.dirs.is_empty() {
            return Err(Error::NotFound(cgroup.path().to_owned()));
        }
        Ok(cgroup)
    }

    /// Finds the cgroup of a [`Record`]. Hierarchies where it is gone already are left out; if it
    /// is gone everywhere the result still removes the recorded parents.
    pub fn from_record(hierarchy: &Hierarchy, record: &Record) -> Result<Cgroup, Error> {
        if record.path.is_empty() {
            return Ok(Cgroup::none());
        }
        let mut cgroup = Cgroup::recorded(hierarchy, record)?;
        cgroup.dirs.retain(|d| file::is_dir(&d.path));
        Ok(cgroup)
    }

    /// As [`Cgroup::from_record`], without asking for the hierarchies if the cgroup is where the record
    /// says in all of them.
    pub fn reopen(record: &Record) -> Result<Cgroup, Error> {
        if record.path.is_empty() {
            return Ok(Cgroup::none());
        }
        if let Some(hierarchy) = hierarchy_of(&record.places) {
            let cgroup = Cgroup::recorded(&hierarchy, record)?;
            if cgroup.dirs.iter().all(is_there) {
                return Ok(cgroup);
            }
        }
        Cgroup::from_record(&Hierarchy::probe()?, record)
    }

    fn recorded(hierarchy: &Hierarchy, record: &Record) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup::layout(hierarchy, &record.path)?;
        cgroup.unit.clone_from(&record.unit);
        for dir in &mut cgroup.dirs {
            dir.joined = record.joined.contains(&dir.path);
        }
        // A record is a file: only what is above our own leaf may be removed on its word.
        let Cgroup {
            path, made_parents, ..
        } = &mut cgroup;
        let points = mounts(hierarchy);
        made_parents.extend(
            record
                .made_parents
                .iter()
                .filter(|p| {
                    points.iter().any(|(_, _, m)| {
                        **p != m.point
                            && p.starts_with(&m.point)
                            && path.below(&m.point).starts_with(p)
                    })
                })
                .cloned(),
        );
        Ok(cgroup)
    }

    /// The cgroup that a process is in, by `/proc/<pid>/cgroup`. Where hierarchies differ, the path
    /// in the first one that is not `/` is taken.
    pub fn of_process(hierarchy: &Hierarchy, pid: i32) -> Result<Cgroup, Error> {
        let file = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = file::read(&file)?;
        let mounts = mounts(hierarchy);
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let mount = mounts.iter().find(|(controllers, _, _)| {
                if names.is_empty() {
                    controllers.is_empty()
                } else {
                    names.split(',').any(|n| controllers.iter().any(|c| c == n))
                }
            });
            let Some((_, _, mount)) = mount else { continue };
            let below = path
                .strip_prefix(mount.root.trim_end_matches('/'))
                .unwrap_or(path);
            if below != "/" && !below.is_empty() {
                return Cgroup::open(hierarchy, below);
            }
        }
        Err(Error::NotFound(format!("of process {pid}")))
    }

    /// The path below each mount point, with a leading slash.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Directory by controller, as runc's state file has it; cgroup2 has the key `""`.
    pub fn paths(&self) -> BTreeMap<String, PathBuf> {
        let mut out = BTreeMap::new();
        for dir in &self.dirs {
            if dir.controllers.is_empty() {
                out.insert(String::new(), dir.path.clone());
            }
            for controller in &dir.controllers {
                out.insert(controller.clone(), dir.path.clone());
            }
        }
        out
    }

    /// The directory of a controller, of cgroup2 by `""`: what [`Cgroup::paths`] has for it.
    pub fn path_of(&self, controller: &str) -> Option<&Path> {
        let has = |dir: &&Dir| match controller {
            "" => dir.controllers.is_empty(),
            _ => dir.controllers.iter().any(|known| known == controller),
        };
        // Of two, the later one, as in a map.
        self.dirs
            .iter()
            .rev()
            .find(has)
            .map(|dir| dir.path.as_path())
    }

    /// What a later process needs for [`Cgroup::from_record`].
    pub fn record(&self) -> Record {
        Record {
            path: self.path().to_owned(),
            made_parents: self.made_parents.clone(),
            joined: self
                .dirs
                .iter()
                .filter(|d| d.joined)
                .map(|d| d.path.clone())
                .collect(),
            unit: self.unit.clone(),
            places: self.dirs.iter().map(Dir::place).collect(),
        }
    }

    /// The scope is ours, and so are its directories, whoever made them.
    pub(super) fn own(&mut self, unit: Unit) {
        self.unit = Some(unit);
        for dir in &mut self.dirs {
            dir.joined = false;
        }
    }

    /// The scope that systemd knows it as, if it does.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// True if the cgroup existed in some hierarchy before [`Cgroup::create`].
    pub fn was_joined(&self) -> bool {
        self.dirs.iter().any(|d| d.joined)
    }

    /// True if some hierarchy still has the directory.
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|d| file::is_dir(&d.path))
    }

    /// Removes the cgroup in every hierarchy, the cgroups below it, and the parents that
    /// [`Cgroup::create`] made, as far as they are empty. What is gone already is fine. A directory
    /// that was joined and is still in use stays; one of ours that stays in use for 3 s is an
    /// error, after everything else was removed.
    pub fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + REMOVE_FOR;
        // Before its directory is taken away under systemd.
        let mut first_error = self.unit.as_ref().and_then(|unit| unit.stop().err());
        for dir in &self.dirs {
            let limit = if dir.joined { Instant::now() } else { deadline };
            match remove_tree(&dir.path, limit) {
                Err(Error::Busy { .. }) if dir.joined => {}
                Err(e) => first_error = first_error.or(Some(e)),
                Ok(()) => {}
            }
        }
        for parent in self.made_parents.iter().rev() {
            // In use by others: theirs to remove.
            let _in_use = file::remove(parent);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Removes the cgroup, and the parents that were made for it, if nobody is in it: one call in each
    /// hierarchy. False if somebody is, if it was there before us or is systemd's, or if there is none;
    /// the freezer, which killing needs, is still there then.
    pub fn remove_if_idle(&self) -> bool {
        if self.was_joined() || self.is_none() || self.unit().is_some() {
            return false;
        }
        let freezes = |dir: &&Dir| dir.controllers.iter().any(|name| name == "freezer");
        let (last, first): (Vec<&Dir>, Vec<&Dir>) = self.dirs.iter().partition(freezes);
        for dir in first.into_iter().chain(last) {
            match file::remove(&dir.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return false,
                _ => {}
            }
        }
        for parent in self.made_parents.iter().rev() {
            // In use by others: theirs to remove.
            let _in_use = file::remove(parent);
        }
        true
    }

    /// The v1 directory of a controller, or the cgroup2 one where there is no v1.
    pub(super) fn dir_of(&self, controller: &str) -> Option<&Dir> {
        self.dirs.iter().find(|d| match d.version {
            Version::V1 => d.controllers.iter().any(|c| c == controller),
            Version::V2 => self.unified_only,
        })
    }

    /// The cgroup2 directory, alone or of a hybrid machine.
    pub(super) fn unified(&self) -> Option<&Dir> {
        self.dirs.iter().find(|d| d.version == Version::V2)
    }

    pub(super) fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    pub(super) fn dirs_mut(&mut self) -> &mut [Dir] {
        &mut self.dirs
    }

    /// True where cgroup2 is all there is.
    pub fn is_v2(&self) -> bool {
        self.unified_only
    }

    fn layout(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, Error> {
        let path = CgroupPath::parse(path)?;
        let dirs = mounts(hierarchy)
            .into_iter()
            .map(|(controllers, version, mount)| Dir {
                path: path.below(&mount.point),
                delegate: hierarchy.is_v2(),
                controllers,
                version,
                mount,
                joined: false,
            })
            .collect();
        Ok(Cgroup {
            path,
            unified_only: hierarchy.is_v2(),
            dirs,
            made_parents: Vec::new(),
            unit: None,
        })
    }

    /// Takes back [`Cgroup::create`]: removes what that made and is empty, and nothing that was there.
    pub fn undo(&self) {
        self.undo_create(self.dirs.len());
    }

    /// Takes back a creation that failed at directory `failed`; its own error is what matters.
    fn undo_create(&self, failed: usize) {
        for dir in self.dirs[..failed].iter().filter(|d| !d.joined) {
            let _gone = file::remove(&dir.path);
        }
        for parent in self.made_parents.iter().rev() {
            let _in_use = file::remove(parent);
        }
    }
}

impl Dir {
    /// Nobody's before us, and directly below a hierarchy's root, from which nothing is inherited that is not as the
    /// kernel has it at first.
    pub(super) fn is_own_top(&self) -> bool {
        !self.joined && self.mount.root == "/" && self.path.parent() == Some(&self.mount.point)
    }

    fn place(&self) -> Place {
        Place {
            point: self.mount.point.clone(),
            root: self.mount.root.clone(),
            controllers: self.controllers.clone(),
        }
    }
}

/// The hierarchies as they were recorded; `None` where nothing was.
fn hierarchy_of(places: &[Place]) -> Option<Hierarchy> {
    let mut controllers = BTreeMap::new();
    let mut unified = None;
    for place in places {
        let mount = Mount {
            point: place.point.clone(),
            root: place.root.clone(),
        };
        for name in &place.controllers {
            controllers.insert(name.clone(), mount.clone());
        }
        if place.controllers.is_empty() {
            unified = Some(mount);
        }
    }
    match unified {
        Some(mount) if controllers.is_empty() => Some(Hierarchy::V2 { mount }),
        None if controllers.is_empty() => None,
        unified => Some(Hierarchy::V1 {
            controllers,
            unified,
        }),
    }
}

/// A directory that is a cgroup of its version, and not what is mounted elsewhere now, by a file that only
/// those have.
fn is_there(dir: &Dir) -> bool {
    file::exists(&dir.path.join(match dir.version {
        Version::V1 => "tasks",
        // The root has none, and it is no container's.
        Version::V2 => "cgroup.events",
    }))
}

/// Every mounted hierarchy once, with what it controls.
fn mounts(hierarchy: &Hierarchy) -> Vec<(Vec<String>, Version, Mount)> {
    let mut out: Vec<(Vec<String>, Version, Mount)> = Vec::new();
    match hierarchy {
        Hierarchy::V1 {
            controllers,
            unified,
        } => {
            let v1 = by_mount(controllers).into_iter();
            out.extend(v1.map(|(mount, names)| (names, Version::V1, mount.clone())));
            out.extend(unified.iter().map(|m| (Vec::new(), Version::V2, m.clone())));
        }
        Hierarchy::V2 { mount } => out.push((Vec::new(), Version::V2, mount.clone())),
    }
    out
}

/// Removes a cgroup directory and those below it. rmdir alone: the files in it are the kernel's.
fn remove_tree(path: &Path, deadline: Instant) -> Result<(), Error> {
    let mut pause = Duration::from_micros(200);
    loop {
        let source = match file::remove(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => e,
        };
        let busy = [Errno::BUSY, Errno::NOTEMPTY].map(|e| Some(e.raw_os_error()));
        if !busy.contains(&source.raw_os_error()) {
            return Err(Error::file("remove cgroup", path, source));
        }
        for child in child_dirs(path)? {
            remove_tree(&child, deadline)?;
        }
        if Instant::now() >= deadline {
            // The children may have been all that was in the way.
            if file::remove(path).is_ok() {
                return Ok(());
            }
            let pids = super::member::pids_below(path).map_or(0, |p| p.len());
            return Err(Error::Busy {
                path: path.to_owned(),
                pids,
                source,
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The cgroups directly below one.
pub(super) fn child_dirs(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::file("list", path, e)),
    };
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::file("list", path, e))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            out.push(entry.path());
        }
    }
    Ok(out)
}
