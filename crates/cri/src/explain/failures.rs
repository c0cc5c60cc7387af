//! The last failures, in memory and in `<state>/failures.json`.
//!
//! ```text
//! {"version":1,"failures":[{"pod":{…},"id":"…","container":null,"act":"RunPodSandbox",
//!   "error":"…","first_at_ns":1,"at_ns":2,"times":3}, …]}          oldest first
//! ```
//! One entry for each act on each object: a repeated failure counts up. Bounded by number and by the
//! length of the text. Written by one thread at a time, whole, never waited for by a call.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{Id, PodMetadata},
    error::Error,
    state::record,
};

/// The file in the state directory.
pub(crate) const FILE: &str = "failures.json";
/// How many are kept.
const MOST: usize = 128;
/// How long a text may be, bytes.
const LONGEST: usize = 2048;
const VERSION: u32 = 1;

/// A failure of an act on an object, the last of perhaps several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The pod, or the container's pod.
    pub pod: PodMetadata,
    /// The id of the pod or, with `container`, of the container.
    pub id: Id,
    /// The container's name.
    pub container: Option<String>,
    /// The call or the daemon's own doing.
    pub act: String,
    /// The error with its causes.
    pub error: String,
    /// When it happened first, nanoseconds since the epoch.
    pub first_at_ns: i64,
    /// When it happened last.
    pub at_ns: i64,
    /// How often.
    pub times: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    failures: VecDeque<Failure>,
}

/// The failures that are remembered.
#[derive(Debug)]
pub(crate) struct Failures {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    all: Mutex<VecDeque<Failure>>,
    /// Somebody is about to write.
    queued: AtomicBool,
    /// Held while writing, so that an older state never replaces a newer one.
    writing: Mutex<()>,
}

impl Failures {
    /// Those that the last daemon has left; a file that can't be read is set aside. Blocks.
    pub(crate) fn open(state: &Path) -> Failures {
        let path = state.join(FILE);
        let all = read(&path).unwrap_or_else(|error| {
            let aside = record::set_aside(state, &path, FILE);
            tracing::error!(error = error.chain(), ?aside, "the failures are set aside");
            VecDeque::new()
        });
        Failures {
            inner: Arc::new(Inner {
                path,
                all: Mutex::new(all),
                queued: AtomicBool::new(false),
                writing: Mutex::new(()),
            }),
        }
    }

    /// Remembers a failure and has it written. Does not block.
    pub(crate) fn note(&self, mut new: Failure) {
        let end = new.error.floor_char_boundary(LONGEST);
        if end < new.error.len() {
            new.error.truncate(end);
            new.error.push('…');
        }
        self.change(|all| {
            let same = |old: &Failure| {
                (&old.act, &old.container) == (&new.act, &new.container)
                    && (old.id == new.id || same_start(old, &new))
            };
            if let Some(at) = all.iter().position(same)
                && let Some(old) = all.remove(at)
            {
                new.times = old.times.saturating_add(1);
                new.first_at_ns = old.first_at_ns;
            }
            all.push_back(new);
            while all.len() > MOST {
                all.pop_front();
            }
            true
        });
    }

    /// Forgets those of an object that is gone.
    pub(crate) fn forget(&self, id: &Id) {
        self.change(|all| {
            let before = all.len();
            all.retain(|failure| failure.id != *id);
            all.len() < before
        });
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Failure> {
        let all = self.inner.all.lock();
        all.unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn change(&self, change: impl FnOnce(&mut VecDeque<Failure>) -> bool) {
        let changed = {
            let mut all = self
                .inner
                .all
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            change(&mut all)
        };
        if changed && !self.inner.queued.swap(true, Ordering::SeqCst) {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || inner.write());
        }
    }
}

impl Inner {
    fn write(&self) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.queued.store(false, Ordering::SeqCst);
        let failures = {
            let all = self.all.lock();
            all.unwrap_or_else(PoisonError::into_inner).clone()
        };
        let document = Document {
            version: VERSION,
            failures,
        };
        sys::failpoint!("failures.record.before");
        if let Err(error) = record::write(&self.path, &document) {
            tracing::warn!(error = error.chain(), "a failure could not be recorded");
        }
        sys::failpoint!("failures.record.after");
    }
}

/// A start that is tried again gets a new id each time; the key without the attempt is the same.
fn same_start(one: &Failure, other: &Failure) -> bool {
    one.container.is_none()
        && (&one.pod.name, &one.pod.uid, &one.pod.namespace)
            == (&other.pod.name, &other.pod.uid, &other.pod.namespace)
}

/// Reads the file; none is an empty one. Blocks.
///
/// # Errors
/// As [`record::read`].
pub(crate) fn read(path: &Path) -> Result<VecDeque<Failure>, Error> {
    Ok(record::read::<Document>(path)?
        .map(|document| document.failures)
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(name: &str, act: &str, at_ns: i64) -> Failure {
        Failure {
            pod: PodMetadata {
                name: name.to_owned(),
                ..PodMetadata::default()
            },
            id: Id::random().unwrap(),
            container: None,
            act: act.to_owned(),
            error: "cannot".to_owned(),
            first_at_ns: at_ns,
            at_ns,
            times: 1,
        }
    }

    /// What is written once that is `done`: what was remembered first may have been written alone.
    async fn written(dir: &Path, done: impl Fn(&VecDeque<Failure>) -> bool) -> VecDeque<Failure> {
        for _ in 0..500 {
            if let Ok(all) = read(&dir.join(FILE))
                && done(&all)
            {
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("not written")
    }

    #[tokio::test]
    async fn a_repeated_start_counts_up_and_outlives_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let failures = Failures::open(dir.path());
        failures.note(failure("web", "RunPodSandbox", 1));
        failures.note(failure("db", "RunPodSandbox", 2));
        failures.note(failure("web", "RunPodSandbox", 3));
        let all = failures.all();
        let told: Vec<_> = all
            .iter()
            .map(|f| (f.pod.name.as_str(), f.times, f.first_at_ns, f.at_ns))
            .collect();
        assert_eq!(told, [("db", 1, 2, 2), ("web", 2, 1, 3)]);
        written(dir.path(), |written| written.iter().eq(&all)).await;
        assert_eq!(Failures::open(dir.path()).all(), all);
    }

    #[tokio::test]
    async fn number_and_length_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let failures = Failures::open(dir.path());
        for at in 0..200 {
            let mut long = failure(&format!("p{at}"), "RunPodSandbox", at);
            long.error = "é".repeat(5000);
            failures.note(long);
        }
        let all = failures.all();
        assert_eq!((all.len(), all[0].at_ns), (MOST, 72));
        assert!(all.iter().all(|f| f.error.len() <= LONGEST + 4));
        written(dir.path(), |written| written.iter().eq(&all)).await;
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Failures::open(dir.path()).all().is_empty());
        assert!(!dir.path().join(FILE).exists());
        assert!(dir.path().join("corrupt/failures.json.corrupt").exists());
    }

    #[tokio::test]
    async fn what_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let failures = Failures::open(dir.path());
        let (one, other) = (
            failure("a", "StopPodSandbox", 1),
            failure("b", "StopPodSandbox", 2),
        );
        failures.note(one.clone());
        failures.note(other.clone());
        failures.forget(&one.id);
        assert_eq!(failures.all(), [other]);
    }
}
