//! Mounts of a container that exists: what its document lists is made in it, or taken away.

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime as spec;

use crate::{
    Error,
    create::links,
    engine::Engine,
    exec,
    launch::{self, Answers, Opened},
    plan::{self, Options, Plan},
    request::ContainerRef,
};

/// The child asks for nothing.
struct Parent;

impl Answers for Parent {
    fn state(&mut self, _: spec::Status, _: i32) -> Result<Vec<u8>, Error> {
        Err(launch::Error::Protocol.into())
    }

    fn hooks(&mut self, _: i32) -> Result<(), Error> {
        Err(launch::Error::Protocol.into())
    }

    fn listener(&mut self, _: i32, _: OwnedFd) -> Result<(), Error> {
        Err(launch::Error::Protocol.into())
    }
}

pub(crate) fn add(engine: &Engine, container: &ContainerRef<'_>) -> Result<(), Error> {
    let options = Options {
        links: links(container.spec, container.bundle)?,
        ..Options::new(container.bundle)
    };
    let plan = plan::live_mounts::add(&engine.host.facts, container.spec, &options)?;
    walk(engine, container, &plan)
}

pub(crate) fn remove(engine: &Engine, container: &ContainerRef<'_>) -> Result<(), Error> {
    let plan = plan::live_mounts::remove(&engine.host.facts, container.spec)?;
    walk(engine, container, &plan)
}

/// A child walks the plan and ends.
fn walk(engine: &Engine, container: &ContainerRef<'_>, plan: &Plan) -> Result<(), Error> {
    let init = container.init_pidfd.ok_or(exec::Error::NotRunning)?;
    let mut opened = Opened {
        proc: Some(engine.host.proc.as_fd()),
        cgroup: None,
        joins: Vec::new(),
        rootfs: None,
        streams: [None, None, None],
        fifo: None,
        init_pidfd: Some(init),
        own_pids: None,
        foreign_proc: engine.host.foreign_proc,
        setgroups: engine.host.facts.setgroups,
    };
    let launched = launch::launch(plan, &mut opened, None, None, 0, &mut Parent)?;
    let (_, pidfd) = launched.child.into_parts();
    let _ = sys::wait::wait(pidfd.as_fd());
    Ok(())
}
