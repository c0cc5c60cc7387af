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

/// A container that runs until it is ended, on cgroup2.
fn lives(engine: &Engine, bundle: &Bundle, test: impl FnOnce(&container::ContainerRef<'_>)) -> i32 {
    let spec = bundle.spec();
    let (stdio, _output) = piped();
    let mut container = engine
        .create(bundle.request(&spec, stdio, Gate::Pipe))
        .unwrap_or_else(|e| panic!("{}", common::chain(&e)));
    container.start().unwrap();
    test(&container.as_ref(&spec, bundle.dir.path()));
    engine
        .destroy(&container.as_ref(&spec, bundle.dir.path()))
        .unwrap();
    let ended = sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
    ended.exit.code()
}

#[test]
fn it_is_frozen_thawed_and_killed_by_its_files() {
    on_cgroup2(|engine| {
        let bundle = Bundle::script("trap '' TERM; sleep 100 & wait; sleep 100");
        let code = lives(&engine, &bundle, |container| {
            let cgroup = container.cgroup;
            cgroup.freeze().unwrap();
            assert!(cgroup.frozen().unwrap());
            let process = serde_json::from_value(common::process(&["true"])).unwrap();
            let request = container::ExecRequest {
                process: &process,
                stdio: container::Stdio::Inherit,
                preserve_fds: 0,
                no_new_keyring: false,
                extra_env: vec![],
                clamp_capabilities: false,
                ignore_paused: false,
            };
            let said = engine.exec(container, request).unwrap_err().to_string();
            assert!(said.contains("paused"), "{said}");
            // cgroup.kill reaches the frozen too.
        });
        assert_eq!(code, 137);
    });
}

#[test]
fn device_rules_hold_on_cgroup2() {
    on_cgroup2(|engine| {
        let mut bundle = Bundle::script(
            "head -c 1 /dev/zero > /dev/null && echo zero; \
             mknod /tmp/k c 1 11 && head -c 0 /tmp/k || echo no kmsg; \
             mknod /tmp/t c 10 200 && : < /tmp/t && echo tun",
        );
        let caps = bundle.json["process"]["capabilities"]
            .as_object_mut()
            .unwrap();
        for set in caps.values_mut() {
            set.as_array_mut()
                .unwrap()
                .push(serde_json::json!("CAP_MKNOD"));
        }
        bundle.json["linux"]["resources"] = serde_json::json!({"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
        ]});
        let spec = bundle.spec();
        let (stdio, output) = piped();
        let mut container = engine
            .create(bundle.request(&spec, stdio, Gate::Pipe))
            .unwrap();
        container.start().unwrap();
        let (stdout, stderr) = output.read();
        engine
            .destroy(&container.as_ref(&spec, bundle.dir.path()))
            .unwrap();
        sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
        assert_eq!(stdout, "zero\nno kmsg\ntun\n", "{stderr}");
        assert!(stderr.contains("Operation not permitted"), "{stderr}");
    });
}

#[test]
fn a_frozen_cgroup_takes_no_container() {
    on_cgroup2(|engine| {
        let bundle = Bundle::script("true");
        let dir = Path::new("/sys/fs/cgroup").join(format!("coffer-test-{}", bundle.id));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("cgroup.freeze"), "1").unwrap();
        let spec = bundle.spec();
        let error = engine
            .create(bundle.request(&spec, container::Stdio::Inherit, Gate::Pipe))
            .unwrap_err();
        assert_eq!(error.kind(), container::ErrorKind::State);
        let said = error.to_string();
        // What was there before us stays.
        let still = std::fs::remove_dir(&dir);
        assert!(
            said.starts_with("container's cgroup unexpectedly frozen"),
            "{said}"
        );
        still.unwrap();
    });
}
