//! Hooks of the runtime's side: prestart, createRuntime, poststart, poststop.
//!
//! Each list runs in a child of its own that walks a plan of hook steps: the same code as for hooks
//! inside the container, with the same clean signals, environment and time limits. Their exit
//! statuses come back by the channel, so a caller that reaps everything takes nothing away from us.

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime as spec;

use crate::{
    launch::{self, Answers, Opened},
    plan::Plan,
};

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Error {
    sentence: String,
}

struct State<'a>(&'a spec::State);

impl Answers for State<'_> {
    fn state(&mut self, _: spec::Status, _: i32) -> Result<Vec<u8>, crate::Error> {
        json(self.0)
    }

    fn hooks(&mut self, _: i32) -> Result<(), crate::Error> {
        Err(launch::Error::Protocol.into())
    }

    fn listener(&mut self, _: i32, _: OwnedFd) -> Result<(), crate::Error> {
        Err(launch::Error::Protocol.into())
    }
}

/// The state as hooks read it.
pub(crate) fn json(state: &spec::State) -> Result<Vec<u8>, crate::Error> {
    serde_json::to_vec(state)
        .map_err(|e| launch::Error::io("write", "the state for hooks", e).into())
}

/// Runs hooks one after the other until one fails.
pub(crate) fn run(
    kind: &'static str,
    hooks: &[spec::Hook],
    state: &spec::State,
) -> Result<(), crate::Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let plan: Plan = crate::plan::hooks_only(kind, hooks, state.status)?;
    let mut opened = Opened {
        proc: None,
        cgroup: None,
        joins: Vec::new(),
        rootfs: None,
        streams: [None, None, None],
        fifo: None,
        init_pidfd: None,
        own_pids: None,
        foreign_proc: false,
        setgroups: true,
    };
    match launch::launch(&plan, &mut opened, None, None, 0, &mut State(state)) {
        Ok(launched) => {
            let (_, pidfd) = launched.child.into_parts();
            let _ = sys::wait::wait(pidfd.as_fd());
            Ok(())
        }
        Err(crate::Error::Launch(launch::Error::Step { sentence, .. })) => {
            Err(Error { sentence }.into())
        }
        Err(other) => Err(other),
    }
}
