//! How the directory of a cgroup is made in one hierarchy, with its parents and what they have to pass on.

use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::file;
use super::group::{Dir, Version};

/// Creation competes with removal of empty parents by others; so often it starts again.
const CREATE_TRIES: usize = 8;

/// Makes `dir.path` with its parents; false if it existed.
pub(super) fn make_leaf(dir: &Dir, made_parents: &mut Vec<PathBuf>) -> Result<bool, Error> {
    let mut result = Err(Error::NotFound(dir.path.display().to_string()));
    for _ in 0..CREATE_TRIES {
        result = make_leaf_once(dir, made_parents);
        match &result {
            // An empty parent was removed by someone between our steps.
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result
}

fn make_leaf_once(dir: &Dir, made_parents: &mut Vec<PathBuf>) -> Result<bool, Error> {
    let parents: Vec<&Path> = {
        let above = dir.path.ancestors().skip(1);
        let mut list: Vec<_> = above.take_while(|p| *p != dir.mount.point).collect();
        list.reverse();
        list
    };
    if dir.delegate || parents.last().is_some_and(|p| !file::is_dir(p)) {
        for parent in &parents {
            delegate(dir, parent.parent());
            if mkdir(parent)? {
                made_parents.push(parent.to_path_buf());
            }
        }
    }
    delegate(dir, dir.path.parent());
    let made = mkdir(&dir.path)?;
    let cpuset = dir.version == Version::V1 && dir.controllers.iter().any(|c| c == "cpuset");
    if cpuset && let Err(e) = inherit_cpuset(dir, &dir.path, made) {
        if made {
            let _gone = file::remove(&dir.path);
        }
        return Err(e);
    }
    Ok(made)
}

fn mkdir(path: &Path) -> Result<bool, Error> {
    match file::make(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && file::is_dir(path) => Ok(false),
        Err(e) => Err(Error::file("make cgroup", path, e)),
    }
}

/// Enables in `parent` every controller that it has, for its children. Best effort: a controller
/// that can't be enabled (the parent holds processes; someone else's delegation) shows when a limit
/// finds no file, and that error says why.
fn delegate(dir: &Dir, parent: Option<&Path>) {
    // On a hybrid machine the few v2 controllers are enabled when a limit asks for one.
    if !dir.delegate {
        return;
    }
    if let Some(parent) = parent {
        enable_controllers(parent, None);
    }
}

/// Writes `+name` for each available controller (or just `only`) that is not yet enabled.
pub(super) fn enable_controllers(parent: &Path, only: Option<&str>) {
    let read = |name: &str| file::read(&parent.join(name)).unwrap_or_default();
    let available = read("cgroup.controllers");
    let enabled = read("cgroup.subtree_control");
    let enabled: Vec<_> = enabled.split_whitespace().collect();
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|c| !enabled.contains(c) && only.is_none_or(|o| o == *c))
        .map(|c| format!("+{c}"))
        .collect();
    if missing.is_empty() {
        return;
    }
    let control = parent.join("cgroup.subtree_control");
    if file::write(&control, &missing.join(" ")).is_err() {
        // One refused controller refuses them all: then one by one.
        for controller in &missing {
            let _refused = file::write(&control, controller);
        }
    }
}

/// v1: gives `path` its parent's cpus and mems where it has none, from the top down. What it has then. A
/// new one has none (or with `cgroup.clone_children` its parent's).
fn inherit_cpuset(dir: &Dir, path: &Path, new: bool) -> Result<[String; 2], Error> {
    const NAMES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
    let mut values = [const { String::new() }; 2];
    if !new {
        for (value, name) in values.iter_mut().zip(NAMES) {
            *value = file::read(&path.join(name))?.trim().to_owned();
        }
    }
    let full = values.iter().all(|value| !value.is_empty());
    let parent = path.parent().filter(|_| path != dir.mount.point && !full);
    let Some(parent) = parent else {
        return Ok(values);
    };
    let above = inherit_cpuset(dir, parent, false)?;
    for ((value, name), above) in values.iter_mut().zip(NAMES).zip(above) {
        if value.is_empty() {
            let target = path.join(name);
            file::write(&target, &above)
                .map_err(|e| Error::file("copy the parent's cpuset to", &target, e))?;
            *value = above;
        }
    }
    Ok(values)
}
