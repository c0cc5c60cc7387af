//! Hooks of the runtime's side: prestart, createRuntime, poststart, poststop.
//!
//! Each list runs in a child of its own that walks a plan of hook steps: the same code as for hooks
//! inside the container, with the same clean signals and time limits. Their exit statuses come back by
//! the channel, so a caller that reaps everything takes nothing away from us. They start in the bundle,
//! with our environment if they name none.

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime as spec;

use crate::{
    annotations::Annotations,
    launch::{self, Answers, Opened},
    plan::{self, HookList, Plan},
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

/// Our environment if one of these hooks wants it; what is no text is left out.
pub(crate) fn own_env<'h>(hooks: impl IntoIterator<Item = &'h spec::Hook>) -> Vec<String> {
    if hooks.into_iter().all(|hook| hook.env.is_some()) {
        return Vec::new();
    }
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some(format!("{}={}", name.to_str()?, value.to_str()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Runs hooks one after the other until one fails.
pub(crate) fn run(
    kind: &'static str,
    hooks: &[spec::Hook],
    state: &spec::State,
    annotations: Annotations,
) -> Result<(), crate::Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let list = HookList {
        kind,
        status: state.status,
        env: &own_env(hooks),
        dir: &state.bundle,
        output: annotations.said(&state.annotations).hook_output,
    };
    let plan: Plan = plan::hooks_only(&list, hooks)?;
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

/// Runs poststop hooks, all of them: one that fails is told of, and the next has its turn.
pub(crate) fn poststop(
    id: &str,
    hooks: Option<&spec::Hooks>,
    annotations: Annotations,
    state: impl FnOnce() -> spec::State,
) {
    let hooks = hooks.map(|h| h.poststop.as_slice()).unwrap_or_default();
    if hooks.is_empty() {
        return;
    }
    let state = state();
    for hook in hooks {
        if let Err(error) = run("poststop", std::slice::from_ref(hook), &state, annotations) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(container = %id, error, "poststop");
        }
    }
}
