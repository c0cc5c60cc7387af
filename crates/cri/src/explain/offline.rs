//! The same explanations without a daemon: from the state directory and the kernel, read only.
//!
//! ```text
//! lock             which daemon was the last, and whether it lives
//! failures.json    what it could not do
//! pods/*/pod.json, agent.json, containers/*/{container,exit}.json
//! ```
//! What a record says may be older than what is: the agents go on without the daemon. The kernel is
//! believed over the file, and what an agent has recorded over the daemon's last word.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

use super::{AgentSeen, Around, Explanation, Failure, START, Word, failures};
use crate::{
    domain::Id,
    error::Error,
    layout,
    state::{
        ContainerState, Exit, ExitReason, PodState, now_ns,
        record::{self, CONTAINER, ContainerRecord, POD, PodRecord},
    },
    watch,
};

/// The daemon of a state directory, as far as can be seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastDaemon {
    /// None has ever been there.
    Never,
    /// It has the directory now.
    Lives {
        /// Its process; 0: it has not said.
        pid: i32,
    },
    /// It has ended.
    Ended {
        /// What was its process; 0: it has not said.
        pid: i32,
        /// When it took the directory, nanoseconds since the epoch.
        started_at_ns: i64,
        /// It has left its socket: it was killed or crashed.
        killed: bool,
    },
}

/// Which daemon had `state` last. Blocks for a moment.
///
/// # Errors
/// [`Error::File`] when the lock can't be looked at.
pub fn last_daemon(state: &Path, socket: &Path) -> Result<LastDaemon, Error> {
    let path = state.join("lock");
    let mut file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(LastDaemon::Never),
        file => file.map_err(Error::file("open", &path))?,
    };
    let mut text = String::new();
    Read::by_ref(&mut file)
        .take(32)
        .read_to_string(&mut text)
        .map_err(Error::file("read", &path))?;
    let pid = text.trim().parse().unwrap_or(0);
    // Shared and given back at once: a daemon that starts at this moment finds it taken, hence the
    // look without a lock first.
    if pid != 0 && !Path::new("/proc").join(pid.to_string()).exists() {
        return Ok(ended(&path, socket, pid));
    }
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(ended(&path, socket, pid)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(LastDaemon::Lives { pid }),
        Err(error) => Err(Error::file("lock", &path)(error.into())),
    }
}

fn ended(lock: &Path, socket: &Path, pid: i32) -> LastDaemon {
    LastDaemon::Ended {
        pid,
        started_at_ns: record::written_at_ns(lock),
        killed: fs::symlink_metadata(socket).is_ok(),
    }
}

/// Explains the pods that `word` means, newest first; for a container its pod with this container
/// alone. Blocks.
///
/// # Errors
/// [`Error::InvalidField`], [`Error::NotFound`], [`Error::Ambiguous`]; [`Error::File`] when the
/// state directory can't be read. A damaged record is an explanation that says so.
pub fn explain(state: &Path, word: &str) -> Result<Vec<Explanation>, Error> {
    let word = Word::new(word)?;
    let pods = all(state)?;
    let mut candidates = Vec::new();
    for pod in &pods {
        let fit = word.pod(&pod.name, &pod.id);
        candidates.push((fit, pod.id.parse().ok(), pod.clone()));
        for container in &pod.containers {
            // What `coffer run` makes has one name: the pod is meant then.
            if container.name == pod.name && fit != super::Fit::No {
                continue;
            }
            let only = Explanation {
                containers: vec![container.clone()],
                ..pod.clone()
            };
            let fit = word.container(&container.name, &container.id);
            candidates.push((fit, container.id.parse().ok(), only));
        }
    }
    let mut told = word.best(candidates)?;
    told.sort_by_key(|one| std::cmp::Reverse(one.since_ns));
    Ok(told)
}

/// Explains every pod that the state directory knows, starts that failed included. Blocks.
///
/// # Errors
/// [`Error::File`] when the state directory can't be read.
pub fn all(state: &Path) -> Result<Vec<Explanation>, Error> {
    let failures: Vec<Failure> = match failures::read(&state.join(failures::FILE)) {
        Ok(failures) => failures.into(),
        // Damaged: the next daemon sets it aside. The records are still worth reading.
        Err(Error::Record { .. } | Error::RecordVersion { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let pods = state.join("pods");
    let mut known = Vec::new();
    let mut told = Vec::new();
    for id in layout::ids_in(&pods)? {
        let dir = pods.join(&id);
        match record::read::<PodRecord>(&dir.join(POD)) {
            Ok(Some(record)) => {
                known.push(record.facts.config.metadata.clone());
                told.push(pod(&dir, &record, &failures));
            }
            Ok(None) => {}
            Err(error) => told.push(damaged("pod", &id, &error)),
        }
    }
    for failure in failures.iter().filter(|failure| failure.act == START) {
        if !known.iter().any(|pod| super::same_pod(pod, &failure.pod)) {
            told.push(super::starting(&failure.pod, None, &failures, now_ns()));
        }
    }
    Ok(told)
}

fn pod(dir: &Path, record: &PodRecord, failures: &[Failure]) -> Explanation {
    let agent = match sandbox::look(dir) {
        Ok(Some((agent, true))) => AgentSeen::Lives(agent.pid),
        _ => AgentSeen::Gone,
    };
    let namespace = &record.facts.config.metadata.namespace;
    let mut containers: Vec<(i64, Explanation)> = Vec::new();
    let parent = dir.join(layout::CONTAINERS);
    for id in layout::ids_in(&parent).unwrap_or_default() {
        let dir = parent.join(&id);
        match record::read::<ContainerRecord>(&dir.join(CONTAINER)) {
            Ok(Some(mut record)) => {
                believe_agent(&mut record.state, &dir, agent);
                let around = around(failures, dir.join(CONTAINER));
                let told = super::container(&record.facts, &record.state, namespace, around);
                containers.push((record.facts.created_at_ns, told));
            }
            Ok(None) => {}
            Err(error) => containers.push((0, damaged("container", &id, &error))),
        }
    }
    containers.sort_by_key(|(created, _)| *created);
    let containers = containers.into_iter().map(|(_, told)| told).collect();
    let around = around(failures, dir.join(POD));
    let mut told = super::pod(&record.facts, &record.state, agent, around, containers);
    if let (PodState::Ready, AgentSeen::Lives(pid)) = (&record.state, agent) {
        told.stage = format!("Ready: its agent, process {pid}, goes on without the daemon");
    }
    told
}

/// What the agent has recorded, and that nothing lives without it.
fn believe_agent(state: &mut ContainerState, dir: &Path, agent: AgentSeen) {
    if !state.is_live() {
        return;
    }
    let started_at_ns = state.started_at_ns();
    if let Some(exit) = watch::agents_record(dir) {
        *state = ContainerState::Exited(Exit {
            started_at_ns,
            ..exit
        });
    } else if agent == AgentSeen::Gone {
        *state = ContainerState::Exited(Exit {
            started_at_ns,
            finished_at_ns: 0,
            code: 137,
            reason: ExitReason::AgentLost,
            message: "its agent has ended; the next daemon records that".to_owned(),
        });
    }
}

fn around(failures: &[Failure], record: PathBuf) -> Around<'_> {
    Around {
        running: &[],
        failures,
        changed_at_ns: record::written_at_ns(&record),
        now_ns: now_ns(),
        daemon: false,
    }
}

fn damaged(kind: &'static str, id: &Id, error: &Error) -> Explanation {
    Explanation {
        kind,
        id: id.to_string(),
        stage: "Unknown: its record can't be read".to_owned(),
        last_error: error.chain(),
        next_try: "the daemon at its next start sets the record aside and ends what is left of it"
            .to_owned(),
        ..Explanation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::PodMetadata, state::PodFacts};

    fn write_pod(state: &Path, pod: PodState) -> PodFacts {
        let facts = PodFacts::example();
        let dir = state.join("pods").join(&facts.id);
        fs::create_dir_all(dir.join("containers")).unwrap();
        let document = PodRecord {
            version: record::VERSION,
            facts: facts.clone(),
            state: pod,
        };
        record::write(&dir.join(POD), &document).unwrap();
        facts
    }

    #[test]
    fn a_pod_whose_agent_has_gone_too_is_not_told_as_ready() {
        let dir = tempfile::tempdir().unwrap();
        let facts = write_pod(dir.path(), PodState::Ready);
        for word in [
            "web",
            "pod/web",
            facts.id.as_str(),
            &facts.id.as_str()[..10],
        ] {
            let told = explain(dir.path(), word).unwrap();
            assert_eq!(told[0].stage, "Ready, but its agent has ended", "{word}");
            assert!(told[0].next_try.contains("coffer serve"));
        }
        assert!(matches!(
            explain(dir.path(), "nope"),
            Err(Error::NotFound { .. })
        ));
    }

    #[test]
    fn a_damaged_record_is_explained_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let good = write_pod(dir.path(), PodState::Removing);
        let bad = Id::random().unwrap();
        fs::create_dir_all(dir.path().join("pods").join(&bad)).unwrap();
        fs::write(dir.path().join("pods").join(&bad).join(POD), "{").unwrap();
        let told = explain(dir.path(), bad.as_str()).unwrap();
        assert!(told[0].stage.starts_with("Unknown"), "{told:?}");
        assert!(told[0].last_error.contains("pod.json"), "{told:?}");
        assert_eq!(
            explain(dir.path(), good.id.as_str()).unwrap()[0].stage,
            "Removing: cut off"
        );
    }

    #[test]
    fn a_failed_start_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let failure = serde_json::json!({"version": 1, "failures": [{
            "pod": PodMetadata { name: "late".to_owned(), ..PodMetadata::default() },
            "id": Id::random().unwrap(), "container": null, "act": START,
            "error": "no space left on device", "first_at_ns": 1, "at_ns": 2, "times": 4}]});
        fs::write(dir.path().join(failures::FILE), failure.to_string()).unwrap();
        let told = explain(dir.path(), "late").unwrap();
        assert_eq!(
            told[0].last_error,
            "RunPodSandbox: no space left on device (4 times)"
        );
        assert_eq!((told[0].last_error_at_ns, told[0].since_ns), (2, 2));
    }

    #[test]
    fn the_last_daemon_is_known_by_its_lock_and_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("coffer.sock");
        let look = || last_daemon(dir.path(), &socket).unwrap();
        assert_eq!(look(), LastDaemon::Never);
        let lock = crate::lock::take(dir.path()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert_eq!(look(), LastDaemon::Lives { pid: me });
        drop(lock);
        assert!(matches!(look(), LastDaemon::Ended { killed: false, pid, .. } if pid == me));
        fs::write(&socket, "").unwrap();
        assert!(matches!(look(), LastDaemon::Ended { killed: true, .. }));
    }
}
