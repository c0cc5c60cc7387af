//! The undo stack of an operation with several outside effects.
//!
//! ```text
//! push("netns", …)  push("agent", …)  …  failure ──► roll_back(): agent, netns
//!                                     …  success ──► commit():    nothing
//! ```
//! A step is pushed *before* its effect, so an undo must be idempotent: it may find nothing to do.
//! Dropping the stack undoes nothing: a daemon that dies leaves the work to recovery, which reads
//! the intent in the record.

use std::{future::Future, pin::Pin};

use crate::error::Error;

type Step = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Named steps that take an operation back.
#[derive(Default)]
pub(crate) struct Undo {
    steps: Vec<(&'static str, Step)>,
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.steps.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Undo {
    /// Adds what takes the next effect back.
    pub(crate) fn push(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        self.steps.push((name, Box::pin(step)));
    }

    /// The operation is whole: forget the steps.
    pub(crate) fn commit(mut self) {
        self.steps.clear();
    }

    /// Takes everything back, last effect first. A step that fails does not stop the others; what
    /// could not be undone is returned by name.
    pub(crate) async fn roll_back(mut self) -> Vec<(&'static str, Error)> {
        let mut failed = Vec::new();
        while let Some((name, step)) = self.steps.pop() {
            if let Err(error) = step.await {
                failed.push((name, error));
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn noted(log: &Arc<Mutex<Vec<&'static str>>>, name: &'static str, fails: bool) -> Step {
        let log = Arc::clone(log);
        Box::pin(async move {
            log.lock().unwrap().push(name);
            if fails {
                Err(Error::Internal {
                    what: name.to_owned(),
                })
            } else {
                Ok(())
            }
        })
    }

    #[tokio::test]
    async fn steps_run_in_reverse_and_a_failure_stops_none() {
        let log = Arc::default();
        let mut undo = Undo::default();
        for (name, fails) in [("dir", false), ("netns", true), ("agent", false)] {
            undo.push(name, noted(&log, name, fails));
        }
        let failed: Vec<_> = undo
            .roll_back()
            .await
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(*log.lock().unwrap(), ["agent", "netns", "dir"]);
        assert_eq!(failed, ["netns"]);
    }

    #[tokio::test]
    async fn a_committed_stack_undoes_nothing() {
        let log = Arc::default();
        let mut undo = Undo::default();
        undo.push("dir", noted(&log, "dir", false));
        undo.commit();
        assert!(log.lock().unwrap().is_empty());
    }
}
