//! A machine with cgroup2 only, played by a thread in a mount namespace of its own in which the cgroup2
//! of the hybrid machine lies over /sys/fs/cgroup. On a cgroup2 machine it is that machine.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{os::fd::AsFd, path::Path};

use common::{Bundle, piped};
use container::{Engine, EngineOptions, Gate};
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::UnshareFlags,
};

fn on_cgroup2(test: impl FnOnce(Engine) + Send) {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                sys::thread::unshare(UnshareFlags::NEWNS).unwrap();
                let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
                mount_change("/", private).unwrap();
                if Path::new("/sys/fs/cgroup/unified").is_dir() {
                    mount_bind("/sys/fs/cgroup/unified", "/sys/fs/cgroup").unwrap();
                }
                let engine = Engine::probe(EngineOptions::default()).unwrap();
                assert!(engine.hierarchy().is_v2());
                test(engine);
            })
            .join()
            .unwrap();
    });
}

#[test]
fn a_container_is_born_in_its_cgroup_and_entered_there() {
    on_cgroup2(|engine| {
        let bundle = Bundle::script(
            "cat /proc/self/cgroup | tail -n 1; cat /sys/fs/cgroup/cgroup.procs; \
             mkdir /sys/fs/cgroup/x || echo read-only; head -c 1 /dev/zero | wc -c",
        );
        let spec = bundle.spec();
        let (stdio, output) = piped();
        let mut container = engine
            .create(bundle.request(&spec, stdio, Gate::Pipe))
            .unwrap();
        let dir = Path::new("/sys/fs/cgroup").join(format!("coffer-test-{}", bundle.id));
        let members = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), container.init.pid.to_string());
        let wanted = serde_json::from_value(common::process(&[
            "sh",
            "-c",
            "tail -n 1 /proc/self/cgroup",
        ]))
        .unwrap();
        let (stdio, entered) = piped();
        let request = container::ExecRequest {
            process: &wanted,
            stdio,
            preserve_fds: 0,
            no_new_keyring: false,
            extra_env: vec![],
            clamp_capabilities: false,
            ignore_paused: false,
        };
        let process = engine
            .exec(&container.as_ref(&spec, bundle.dir.path()), request)
            .unwrap();
        assert_eq!(entered.read().0, "0::/\n");
        sys::wait::wait(process.pidfd.as_fd()).unwrap();
        container.start().unwrap();
        let (stdout, stderr) = output.read();
        engine
            .destroy(&container.as_ref(&spec, bundle.dir.path()))
            .unwrap();
        sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
        assert!(stdout.starts_with("0::/\n1\n"), "{stdout} {stderr}");
        assert!(stdout.ends_with("read-only\n1\n"), "{stdout} {stderr}");
        assert!(!dir.exists());
    });
}
