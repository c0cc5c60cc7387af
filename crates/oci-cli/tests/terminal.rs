//! Terminals: the console socket, and our own relay in the foreground.

mod common;

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use common::{Oci, eventually, finish};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use testing::bundle::Bundle;

fn terminal(script: &str) -> Bundle {
    Bundle::new(&["sh", "-c", script], |spec| {
        spec["process"]["terminal"] = json!(true)
    })
    .expect("a bundle")
}

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

/// The descriptor that one connection to the socket brings.
fn receive(listener: &UnixListener) -> OwnedFd {
    receive_named(listener).1
}

/// The descriptor, and the name that comes with it.
fn receive_named(listener: &UnixListener) -> (String, OwnedFd) {
    let (stream, _) = listener.accept().expect("a connection");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let got = recvmsg(
        stream.as_fd(),
        &mut [IoSliceMut::new(&mut name)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .expect("a message");
    assert!(got.bytes > 0, "the descriptor has a name");
    let mut fds: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(fds.len(), 1);
    let name = String::from_utf8_lossy(&name[..got.bytes]).into_owned();
    (name, fds.remove(0))
}

/// All that a terminal's other side writes until it is closed.
fn read_to_end(master: OwnedFd) -> String {
    let mut file = std::fs::File::from(master);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // A closed terminal ends with EIO.
    while let Ok(n @ 1..) = file.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn the_console_socket_gets_the_terminal() {
    let (oci, bundle) = (Oci::new(), terminal("tty; echo hello; ls -l /dev/console"));
    let id = oci.id("socket");
    let socket = oci.dir().join("console.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let socket = socket.to_str().expect("UTF-8");
    oci.detached(&[
        "create",
        "-b",
        path(&bundle),
        "--console-socket",
        socket,
        &id,
    ])
    .succeeds();
    let master = receive(&listener);
    oci.run(&["start", &id]).succeeds();
    let text = read_to_end(master);
    assert!(text.contains("/dev/pts/0\r\nhello\r\n"), "{text:?}");
    assert!(
        text.contains("crw--w----"),
        "/dev/console is the terminal: {text:?}"
    );
    oci.await_status(&id, "stopped");
}

#[test]
fn exec_sends_a_terminal_too() {
    let oci = Oci::new();
    let bundle = common::sleeper();
    let id = oci.start("exec", &bundle);
    let socket = oci.dir().join("console.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let socket = socket.to_str().expect("UTF-8");
    oci.detached(&[
        "exec",
        "-d",
        "-t",
        "--console-socket",
        socket,
        &id,
        "sh",
        "-c",
        "tty; sleep 0.1",
    ])
    .succeeds();
    assert_eq!(read_to_end(receive(&listener)), "/dev/pts/0\r\n");
}

#[test]
fn a_terminal_needs_somebody_at_its_other_end() {
    let (oci, bundle) = (Oci::new(), terminal("true"));
    let id = oci.id("alone");
    oci.run(&["create", "-b", path(&bundle), &id])
        .fails(1, &["cannot allocate tty", "--console-socket"]);
    oci.run(&["run", "-d", "-b", path(&bundle), &id])
        .fails(1, &["cannot allocate tty"]);
    oci.run(&["run", "-b", path(&bundle), "--console-socket", "/x", &id])
        .fails(1, &["cannot use console socket"]);
    oci.run(&[
        "create",
        "-b",
        path(&bundle),
        "--console-socket",
        "/nowhere/sock",
        &id,
    ])
    .fails(1, &["/nowhere/sock"]);
    oci.assert_empty();
}

#[test]
fn run_relays_a_terminal_to_pipes() {
    let (oci, bundle) = (Oci::new(), terminal("tty; test -t 0 && echo yes; exit 9"));
    let done = oci.run(&["run", "-b", path(&bundle), &oci.id("pipes")]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (9, "/dev/pts/0\nyes\n"),
        "{done:?}"
    );
}

#[test]
fn a_lot_of_output_arrives_whole() {
    let (oci, bundle) = (Oci::new(), terminal("yes 0123456789abcdef | head -n 20000"));
    let done = oci.run(&["run", "-b", path(&bundle), &oci.id("much")]);
    assert_eq!((done.code, done.stdout.len()), (0, 20_000 * 17));
}

#[test]
fn our_own_terminal_is_raw_meanwhile_and_the_size_is_passed_on() {
    let oci = Oci::new();
    let bundle = terminal(
        "read line; echo \"got $line\"; stty size; \
         while [ \"$(stty size)\" = '30 100' ]; do sleep 0.01; done; stty size; exit 4",
    );
    let master =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("a name");
    let slave = || {
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .open(name.to_str().expect("UTF-8"))
            .expect("opens")
    };
    let size = |rows, columns| Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size(30, 100)).expect("a size");
    let before = rustix::termios::tcgetattr(&master)
        .expect("modes")
        .local_modes;
    let mut command = oci.command(&["run", "-b", path(&bundle), &oci.id("raw")]);
    let mut child = command
        .stdin(Stdio::from(slave()))
        .stdout(Stdio::from(slave()))
        .stderr(Stdio::from(slave()))
        .spawn()
        .expect("starts");
    drop(command);
    let mut file = std::fs::File::from(master.try_clone().expect("a copy"));
    eventually("our terminal is raw", || {
        let modes = rustix::termios::tcgetattr(&master)
            .expect("modes")
            .local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON)
    });
    file.write_all(b"line\r").expect("writes");
    let mut text = String::new();
    let mut until = |wanted: &str| {
        let mut buffer = [0; 256];
        while !text.contains(wanted) {
            let n = file.read(&mut buffer).expect("output");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    until("30 100");
    tcsetwinsize(&master, size(31, 101)).expect("a size");
    // Without a controlling terminal there is nobody whom the kernel would tell.
    let pid = i32::try_from(child.id()).expect("a pid");
    sys::kill::kill(pid, 28).expect("SIGWINCH");
    until("31 101");
    assert!(
        text.contains("got line\r\n"),
        "our own ends the lines: {text:?}"
    );
    assert_eq!(finish(&mut child), 4);
    let after = rustix::termios::tcgetattr(&master)
        .expect("modes")
        .local_modes;
    assert_eq!(before, after, "the terminal is as it was");
}

#[test]
fn a_pidfd_goes_to_its_socket() {
    let oci = Oci::new();
    let bundle = common::sleeper();
    let socket = oci.dir().join("pidfd.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let socket = socket.to_str().expect("UTF-8");
    let id = oci.id("pidfd");
    let of = |fd: &OwnedFd| {
        use std::os::fd::AsRawFd;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let info = info.expect("fdinfo");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        pid.expect("a pidfd").trim().to_owned()
    };
    oci.detached(&["create", "--pidfd-socket", socket, "-b", path(&bundle), &id])
        .succeeds();
    let (name, pidfd) = receive_named(&listener);
    assert_eq!(name, "standard");
    assert_eq!(of(&pidfd), oci.state(&id)["pid"].to_string());
    oci.run(&["start", &id]).succeeds();
    let pid_file = oci.dir().join("pid");
    let file = pid_file.to_str().expect("UTF-8");
    oci.detached(&[
        "exec",
        "-d",
        "--pid-file",
        file,
        "--pidfd-socket",
        socket,
        &id,
        "sleep",
        "100",
    ])
    .succeeds();
    let (name, pidfd) = receive_named(&listener);
    assert_eq!(name, "setns");
    assert_eq!(
        of(&pidfd),
        std::fs::read_to_string(&pid_file).expect("the pid file")
    );
    oci.run(&[
        "run",
        "--pidfd-socket",
        "/nowhere/socket",
        "-b",
        path(&bundle),
        &oci.id("no"),
    ])
    .fails(1, &["/nowhere/socket"]);
}
