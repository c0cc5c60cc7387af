//! A child that does nothing but wait until it is dropped.

use std::os::fd::AsRawFd;

use super::{Channel, Error, child::Child};

/// The child, and the channel whose end ends it.
#[derive(Debug)]
pub(crate) struct Waiter {
    child: Option<Child>,
    _channel: Channel,
}

impl Waiter {
    /// Clones it into new namespaces (CLONE_NEW* flags), or into none.
    pub(crate) fn new(namespaces: u64) -> Result<Self, Error> {
        let (ours, theirs) = Channel::pair().map_err(|e| Error::io("make", "a channel", e))?;
        let channel = theirs.as_raw_fd();
        let steps = [init::Step::Sync {
            what: init::Sync::Setup,
        }];
        let mut plan = init::LaunchPlan {
            steps: &steps,
            strings: &[0],
            words: &[],
            pointers: &mut [],
            numbers: &[],
            filter: &[],
            fds: &mut [],
            keep: &[channel],
            channel,
            pids: None,
            trace: &[],
        };
        let child = super::child::spawn(&mut plan, namespaces, None)?;
        Ok(Self {
            child: Some(child),
            _channel: ours,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, Child::pid)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.end();
        }
    }
}
