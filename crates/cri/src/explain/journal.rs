//! What the daemon does at this moment.
//!
//! ```text
//! begin ──► Running{act, step, since} ──► step, step, retry … ──► end: gone, a failure is noted
//! ```
//! An operation holds a [`Doing`] for as long as it runs; wherever it takes a step it says so by the
//! object's id. The lock is held for a look only.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::failures::{Failure, Failures};
use crate::{
    domain::{Id, PodMetadata},
    error::Error,
    state::{Container, Pod, now_ns},
};

/// An operation that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// The pod, or the container's pod.
    pub pod: PodMetadata,
    /// The id of the pod or, with `container`, of the container.
    pub id: Id,
    /// The container's name.
    pub container: Option<String>,
    /// The call or the daemon's own doing.
    pub act: &'static str,
    /// What it does just now; empty: not said.
    pub step: Cow<'static, str>,
    /// When the operation began, nanoseconds since the epoch.
    pub since_ns: i64,
    /// When the step began.
    pub step_since_ns: i64,
    /// When it tries again after a failure; 0: it does not wait for that.
    pub again_at_ns: i64,
}

/// What runs and what failed.
#[derive(Debug)]
pub(crate) struct Journal {
    table: Arc<Mutex<Table>>,
    failures: Failures,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    running: BTreeMap<u64, Running>,
}

/// An operation's place in the journal, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Doing {
    table: Arc<Mutex<Table>>,
    number: u64,
}

impl Journal {
    /// An empty journal with the failures that the last daemon has left in `state`. Blocks.
    pub(crate) fn open(state: &Path) -> Journal {
        Journal {
            table: Arc::default(),
            failures: Failures::open(state),
        }
    }

    /// Begins the start of a pod, which is in no index yet.
    pub(crate) fn begin_start(&self, id: &Id, pod: &PodMetadata) -> Doing {
        self.begin(pod.clone(), id.clone(), None, super::START)
    }

    /// Begins `act` on a pod.
    pub(crate) fn begin_pod(&self, pod: &Pod, act: &'static str) -> Doing {
        self.begin(
            pod.facts().config.metadata.clone(),
            pod.id().clone(),
            None,
            act,
        )
    }

    /// Begins the creation of a container that will have this id.
    pub(crate) fn begin_create(&self, pod: &Pod, id: &Id, name: &str) -> Doing {
        let metadata = pod.facts().config.metadata.clone();
        self.begin(metadata, id.clone(), Some(name.to_owned()), super::CREATE)
    }

    /// Begins `act` on a container; its pod may be gone.
    pub(crate) fn begin_on(
        &self,
        pod: Option<&Pod>,
        container: &Container,
        act: &'static str,
    ) -> Doing {
        let metadata = pod.map(|pod| pod.facts().config.metadata.clone());
        let name = container.facts().config.metadata.name.clone();
        self.begin(
            metadata.unwrap_or_default(),
            container.id().clone(),
            Some(name),
            act,
        )
    }

    fn begin(
        &self,
        pod: PodMetadata,
        id: Id,
        container: Option<String>,
        act: &'static str,
    ) -> Doing {
        let now = now_ns();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        table.running.insert(
            number,
            Running {
                pod,
                id,
                container,
                act,
                step: Cow::Borrowed(""),
                since_ns: now,
                step_since_ns: now,
                again_at_ns: 0,
            },
        );
        Doing {
            table: Arc::clone(&self.table),
            number,
        }
    }

    /// Says what is done just now with the object of this id. Of several operations on it that is
    /// the oldest one that has begun to say its steps, else the oldest: the others wait for it.
    pub(crate) fn step(&self, id: &Id, step: impl Into<Cow<'static, str>>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let on = |running: &&mut Running| running.id == *id;
        let spoken = table
            .running
            .values_mut()
            .filter(on)
            .find(|running| !running.step.is_empty());
        if let Some(running) = spoken {
            running.take(step.into(), 0);
        } else if let Some(running) = table.running.values_mut().find(on) {
            running.take(step.into(), 0);
        }
    }

    /// Ends an operation: a failure is noted.
    ///
    /// # Errors
    /// That of `result`.
    pub(crate) fn end<T>(&self, doing: &Doing, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.failed(doing, &error.chain());
        }
        result
    }

    /// Notes a failure of an operation that may go on.
    pub(crate) fn failed(&self, doing: &Doing, error: &str) {
        let Some(running) = doing.look() else { return };
        let now = now_ns();
        self.failures.note(Failure {
            pod: running.pod,
            id: running.id,
            container: running.container,
            act: running.act.to_owned(),
            error: error.to_owned(),
            first_at_ns: now,
            at_ns: now,
            times: 1,
        });
    }

    /// Forgets the failures of an object that is gone.
    pub(crate) fn forget(&self, id: &Id) {
        self.failures.forget(id);
    }

    /// What runs, oldest first.
    pub(crate) fn running(&self) -> Vec<Running> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.running.values().cloned().collect()
    }

    /// What has failed, oldest first.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.failures.all()
    }
}

impl Running {
    fn take(&mut self, step: Cow<'static, str>, again_at_ns: i64) {
        if self.step != step || self.again_at_ns != again_at_ns {
            self.step_since_ns = now_ns();
        }
        self.step = step;
        self.again_at_ns = again_at_ns;
    }
}

impl Doing {
    /// Says what this operation does just now.
    pub(crate) fn step(&self, step: impl Into<Cow<'static, str>>) {
        self.change(|running| running.take(step.into(), 0));
    }

    /// Says that this operation has failed and tries again then.
    pub(crate) fn waits(&self, step: impl Into<Cow<'static, str>>, again_at_ns: i64) {
        self.change(|running| running.take(step.into(), again_at_ns));
    }

    fn look(&self) -> Option<Running> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.running.get(&self.number).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = table.running.get_mut(&self.number) {
            change(running);
        }
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path());
        (dir, journal)
    }

    #[tokio::test]
    async fn an_operation_is_there_while_it_runs_and_its_failure_stays() {
        let (_dir, journal) = journal();
        let id = Id::random().unwrap();
        let doing = journal.begin_start(&id, &PodMetadata::default());
        journal.step(&id, "starting its agent");
        let running = journal.running();
        assert_eq!(
            (running[0].act, running[0].step.as_ref()),
            ("RunPodSandbox", "starting its agent")
        );
        let failed: Result<(), Error> =
            journal.end(&doing, Err(Error::Internal { what: "x".into() }));
        assert!(failed.is_err());
        drop(doing);
        assert!(journal.running().is_empty());
        let failures = journal.failures();
        assert_eq!((failures.len(), failures[0].times), (1, 1));
        assert_eq!(failures[0].error, "internal error: x");
    }

    #[tokio::test]
    async fn a_step_belongs_to_the_operation_that_works() {
        let (_dir, journal) = journal();
        let id = Id::random().unwrap();
        let works = journal.begin_start(&id, &PodMetadata::default());
        let _waits = journal.begin_start(&id, &PodMetadata::default());
        journal.step(&id, "one");
        journal.step(&id, "two");
        let steps: Vec<_> = journal.running().into_iter().map(|r| r.step).collect();
        assert_eq!(steps, ["two", ""]);
        drop(works);
        journal.step(&id, "three");
        assert_eq!(journal.running()[0].step, "three");
    }
}
