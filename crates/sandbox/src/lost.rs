//! Ending a pod by force.
//!
//! ```text
//! 1  the agent's process      by its record (pid and start time); without one, by its arguments
//! 2  the agent's cgroup       /coffer-agents/<pod>
//! 3  the containers' cgroups  ours: all of /coffer/<pod>; a kubelet's: <cgroup_parent>/<container>
//! 4  the cgroups removed
//! 5  storages unmounted that a client of the agent's own interface declared, the last mounted first
//! 6  the agent's socket and record
//! ```
//! The agent goes first: alive, it would start or report things meanwhile. Each step is tried even
//! if one before it failed; the first error is the answer.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::{Error, LostPod, Settings, cgroup, process, record};

/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);
/// How long an empty cgroup may stay busy.
const REMOVAL: Duration = Duration::from_secs(2);

/// The agent's list of mount points in its state directory, oldest first, a NUL behind each.
const STORAGES: &str = "storages";

/// Ends by force what a lost agent left behind: the agent's process if it still lives, every
/// process in the pod's cgroups, the cgroups, its storages, the socket and the record. Can be repeated; a pod of
/// which nothing is left is success. Blocks for as long as processes take to die, milliseconds
/// mostly and seconds at most: call it from a thread that may block.
///
/// # Errors
/// What could not be killed or removed; all the rest has been tried.
pub fn kill_pod(settings: &Settings, pod: &LostPod) -> Result<(), Error> {
    sys::failpoint!("sandbox.kill.agent.before");
    let agent = kill_agent(&pod.dir);
    sys::failpoint!("sandbox.kill.cgroups.before");
    let cgroups = kill_cgroups(settings, pod);
    let storages = unmount_storages(&process::state_dir(&pod.dir));
    sys::failpoint!("sandbox.kill.files.before");
    let files = [process::SOCKET, record::FILE].map(|name| unlink(&pod.dir.join(name)));
    let [socket, record] = files;
    agent.and(cgroups).and(storages).and(socket).and(record)
}

fn kill_agent(dir: &Path) -> Result<(), Error> {
    let recorded = match record::read(dir) {
        Ok(record) => record.map(|record| (record.pid, record.start_ticks)),
        Err(e) => {
            tracing::warn!(error = %e, "an agent's record is unreadable; looking for its process");
            None
        }
    };
    let failed = |source| Error::KillAgent {
        dir: dir.to_owned(),
        source,
    };
    let agents = match recorded {
        Some(agent) => vec![agent],
        None => process::unrecorded(dir).map_err(failed)?,
    };
    for (pid, ticks) in agents {
        if let Some(pidfd) = process::find(pid, ticks).map_err(failed)? {
            process::kill(&pidfd, DEATH).map_err(failed)?;
        }
    }
    Ok(())
}

fn kill_cgroups(settings: &Settings, pod: &LostPod) -> Result<(), Error> {
    let mounts = cgroup::Mounts::probe()?;
    names(settings, pod)?
        .iter()
        .map(|name| {
            cgroup::kill(&mounts, name, DEATH)?;
            cgroup::remove(&mounts, name, REMOVAL)
        })
        .fold(Ok(()), Result::and)
}

/// The cgroups that are the pod's alone.
fn names(settings: &Settings, pod: &LostPod) -> Result<Vec<cgroup::Name>, Error> {
    let mut names = vec![cgroup::Name::new(&settings.agent_cgroup(&pod.id))?];
    let ours = cgroup::Name::new(&settings.pod_cgroup(&pod.id))?;
    let parent = cgroup::Name::new(&pod.cgroup_parent);
    if !settings.owns_cgroup(&pod.id, &pod.cgroup_parent) {
        for container in &pod.containers {
            // A pod may sit right below the root, "/" or "": its containers then do.
            names.push(match &parent {
                Ok(parent) => parent.child(container)?,
                Err(_) => cgroup::Name::new(&format!("/{container}"))?,
            });
        }
    }
    names.push(ours);
    Ok(names)
}

/// Detached, so that one that is busy, or whose server does not answer, holds nothing up.
fn unmount_storages(dir: &Path) -> Result<(), Error> {
    let failed = |path: &Path, source| Error::Cleanup {
        path: path.to_owned(),
        source,
    };
    let list = dir.join(STORAGES);
    let points = match fs::read(&list) {
        Ok(points) => points,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(&list, e)),
    };
    let mut ended = Ok(());
    for point in points.split(|byte| *byte == 0).rev() {
        let point = Path::new(OsStr::from_bytes(point));
        if !point.is_absolute() {
            continue;
        }
        match unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // The directory was made for it unless there is something in it.
            Ok(()) => drop(fs::remove_dir(point)),
            // It was listed before it was mounted, or is gone already.
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => ended = ended.and(Err(failed(point, e.into()))),
        }
    }
    ended.and_then(|()| unlink(&list))
}

fn unlink(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::Cleanup {
            path: path.to_owned(),
            source: e,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pod(cgroup_parent: &str) -> LostPod {
        LostPod {
            id: "p1".to_owned(),
            dir: PathBuf::from("/nowhere"),
            cgroup_parent: cgroup_parent.to_owned(),
            containers: vec!["c1".to_owned(), "c2".to_owned()],
        }
    }

    #[test]
    fn a_kubelets_cgroup_is_never_killed_as_a_whole() {
        let settings = Settings::new(PathBuf::from("/agent"));
        let table: [(&str, &[&str]); 4] = [
            ("/coffer/p1", &["/coffer-agents/p1", "/coffer/p1"]),
            (
                "/kubepods/pod7",
                &[
                    "/coffer-agents/p1",
                    "/kubepods/pod7/c1",
                    "/kubepods/pod7/c2",
                    "/coffer/p1",
                ],
            ),
            ("/", &["/coffer-agents/p1", "/c1", "/c2", "/coffer/p1"]),
            // Another pod's name that begins alike is not ours.
            (
                "/coffer/p12",
                &[
                    "/coffer-agents/p1",
                    "/coffer/p12/c1",
                    "/coffer/p12/c2",
                    "/coffer/p1",
                ],
            ),
        ];
        for (parent, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|name| cgroup::Name::new(name).unwrap())
                .collect();
            assert_eq!(
                names(&settings, &pod(parent)).unwrap(),
                expected,
                "{parent}"
            );
        }
    }
}
