//! Filters that notify: the listener reaches its socket with the container's process state, of create
//! and of exec, before the process goes on; and what goes wrong on the way ends the launch.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

use common::{Bundle, Live, piped, process};
use container::Gate;
use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use serde_json::{Value, json};

fn notifying(bundle: &mut Bundle, names: &[&str], early: bool) -> (UnixListener, PathBuf) {
    let path = bundle.dir.path().join("listener");
    bundle.json["process"]["noNewPrivileges"] = json!(!early);
    bundle.json["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": path, "listenerMetadata": "who asks",
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    });
    (UnixListener::bind(&path).unwrap(), path)
}

/// The message and the one descriptor of a connection.
fn receive(listener: &UnixListener) -> (Value, OwnedFd) {
    let (stream, _): (UnixStream, _) = listener.accept().unwrap();
    let mut bytes = vec![0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        flags,
    )
    .unwrap();
    let mut fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|m| match m {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(fds.len(), 1);
    let message = serde_json::from_slice(&bytes[..got.bytes]).unwrap();
    (message, fds.remove(0))
}

/// A notification is there; without a listener the call answers ENOSYS.
fn wait_for_a_call(listener: OwnedFd) {
    poll(&mut [PollFd::new(&listener, PollFlags::IN)], None).unwrap();
    drop(listener);
}

#[test]
fn the_listener_goes_where_the_profile_says() {
    for early in [false, true] {
        let mut bundle = Bundle::script("mkdir /tmp/x");
        let (socket, _) = notifying(&mut bundle, &["mkdir", "mkdirat"], early);
        bundle.json["annotations"] = json!({"a": "b"});
        let spec = bundle.spec();
        let (stdio, output) = piped();
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| receive(&socket));
            let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
            let (message, listener) = agent.join().unwrap();
            assert_eq!(message["fds"], json!(["seccompFd"]));
            assert_eq!(message["metadata"], "who asks");
            assert_eq!(message["pid"], live.container.init.pid);
            assert_eq!(message["state"]["id"], bundle.id.as_str());
            assert_eq!(message["state"]["status"], "creating");
            assert_eq!(message["state"]["pid"], live.container.init.pid);
            assert_eq!(message["state"]["annotations"], json!({"a": "b"}));
            live.container.start().unwrap();
            wait_for_a_call(listener);
            let ran = live.finish(output);
            assert!(ran.stderr.contains("not implemented"), "{ran:?}");
        });
    }
}

/// Calls that the launch still makes wait for the agent, which lets them go on: by then it has the listener.
#[test]
fn the_launchs_own_calls_may_be_notified() {
    for early in [false, true] {
        let mut bundle = Bundle::script("true");
        let names = ["execve", "openat", "read", "close", "capset", "chdir"];
        let (socket, _) = notifying(&mut bundle, &names, early);
        let spec = bundle.spec();
        let (stdio, output) = piped();
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| {
                let (_, listener) = receive(&socket);
                let mut answered = 0;
                while let_one_go_on(&listener) {
                    answered += 1;
                }
                answered
            });
            let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
            live.container.start().unwrap();
            let ran = live.finish(output);
            assert_eq!(ran.code, 0, "{ran:?}");
            assert!(agent.join().unwrap() > 1);
        });
    }
}

/// Answers the next call with "as if nobody had asked"; false once nobody is left who could call.
fn let_one_go_on(listener: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut ready, None).unwrap();
    if !ready[0].revents().contains(PollFlags::IN) {
        return false;
    }
    let fd = std::os::fd::AsRawFd::as_raw_fd(listener);
    // Who called may have died meanwhile.
    if let Ok(call) = ScmpNotifReq::receive(fd) {
        let _ = ScmpNotifResp::new_continue(call.id, ScmpNotifRespFlags::empty()).respond(fd);
    }
    true
}

#[test]
fn a_process_that_enters_has_its_own_listener() {
    let mut bundle = Bundle::script("exec sleep 100");
    let (socket, _) = notifying(&mut bundle, &["mkdir", "mkdirat"], false);
    let spec = bundle.spec();
    let (stdio, _output) = piped();
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| receive(&socket));
        let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
        let (_, _of_the_first) = agent.join().unwrap();
        live.container.start().unwrap();
        let agent = scope.spawn(|| {
            let (message, listener) = receive(&socket);
            wait_for_a_call(listener);
            message
        });
        let mut wanted = process(&["mkdir", "/tmp/y"]);
        wanted["noNewPrivileges"] = json!(true);
        let ran = live.exec(wanted);
        assert!(ran.stderr.contains("not implemented"), "{ran:?}");
        let message = agent.join().unwrap();
        assert_eq!(message["state"]["pid"], live.container.init.pid);
        assert_eq!(message["state"]["status"], "running");
        assert_ne!(message["pid"], live.container.init.pid);
    });
}

#[test]
fn a_listener_that_nobody_takes_ends_the_create() {
    let mut bundle = Bundle::script("true");
    let (socket, path) = notifying(&mut bundle, &["mkdir"], false);
    drop(socket);
    let said = bundle.fails();
    let wanted = format!(
        "failed to connect with seccomp agent at linux.seccomp.listenerPath {}: Connection refused",
        path.display()
    );
    assert!(said.starts_with(&wanted), "{said}");
    assert!(common::cgroup_gone(bundle.id.as_str()));
}

/// The filter is loaded before the process waits at its gate: what it then may not do must not leave
/// both sides waiting.
#[test]
fn a_profile_that_forbids_what_the_launch_needs_is_an_error_and_no_hang() {
    for forbidden in [&["sendto"][..], &["sendto", "exit_group"]] {
        let mut bundle = Bundle::script("true");
        bundle.json["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": forbidden, "action": "SCMP_ACT_ERRNO"}],
        });
        let said = bundle.fails();
        assert!(
            said.starts_with("the process ended while it was set up"),
            "{said}"
        );
    }
}
