//! The child between clone3 and execve: walks a [`LaunchPlan`], a flat list of small steps.
//!
//! No heap, no locks, no libc state, no panics: the child of a threaded parent has a copy of its
//! memory, in which any lock may be held for ever. So all that needs a heap is done before the clone or
//! asked of the parent.
//!
//! ```text
//!  parent                                 child
//!    open files, compile the plan
//!    block all signals
//!    clone3(new namespaces) ─────────────► close what is not ours, default signals
//!    restore signals                      join cgroup, join namespaces
//!    close the child's end                (a pid or user namespace by path, a time namespace:)
//!         ◄──────────────── Forked(pid)   clone3(CLONE_PARENT), exit ──► child goes on
//!    pidfd_open, go ─────────────────────►
//!         ◄──────────── Sync(Privileged)  (user namespace, hooks)
//!    id maps, limits, hook states; go ───► become root in the user namespace
//!                                         root, mounts, devices
//!         ◄──────────────── Sync(Hooks)   (prestart, createRuntime)
//!    run them, go ───────────────────────►
//!                                         createContainer hooks, pivot, masks, sysctls
//!         ◄──────── Console + SCM_RIGHTS  (terminal)
//!                                         ids, capabilities, find the program
//!         ◄─────────── Listener(number)   (a seccomp filter that notifies)
//!    pidfd_getfd, hand on, go ───────────►
//!         ◄──────────────────────── Ready
//!    create returns                       waits
//!    start: go ──────────────────────────►
//!                                         seccomp, startContainer hooks, execve
//!    end of file: it runs ◄────────────── (the channel is close-on-exec)
//!         ◄────── Failed(step, errno)     any step: the child exits
//! ```
//! What is not done here: deciding. The order and content of the steps are `container::plan`'s.
#![no_std]

mod calls;
mod child;
mod clone;
mod fds;
mod launch;
mod message;
mod path;
mod plan;
mod raw;
mod steps;

pub use launch::launch;
pub use message::{Act, Kind, MESSAGE_SIZE, Message};
pub use plan::{Attr, END, Existing, Fd, LaunchPlan, List, NO_FD, Pids, Step, Str, Sync, Target};
