//! The world of an agent that is the first process of a machine.
#![allow(dead_code, reason = "shared by several test programs")]

use vm_tests::agent::Calls;

use crate::suite::World;

/// What the machine's agent sees. No sandbox yet.
pub(crate) fn world(calls: Calls, name: &str) -> World {
    World {
        agent: calls.agent,
        health: calls.health,
        name: name.into(),
        pid: 1,
        root: "/rootfs".into(),
        dir: "/run/volumes".into(),
        files: "/run/kata-containers/shared/containers/x".into(),
        own: true,
    }
}
