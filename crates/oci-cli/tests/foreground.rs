//! `run` and `exec` in the foreground: signals, descriptors, our own program file.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use common::{Oci, PATIENCE, eventually, finish, program, script, sleeper};
use testing::bundle::Bundle;

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

#[test]
fn signals_are_passed_on() {
    let oci = Oci::new();
    let bundle = script("trap 'exit 33' USR1; echo ready; while :; do sleep 0.01; done");
    for command in ["run", "exec"] {
        let sleeping = sleeper();
        let id = oci.id(command);
        let mut child = if command == "run" {
            oci.command(&["run", "-b", path(&bundle), &id])
        } else {
            let id = oci.start("target", &sleeping);
            oci.command(&[
                "exec",
                &id,
                "sh",
                "-c",
                "trap 'exit 33' USR1; echo ready; while :; do sleep 0.01; done",
            ])
        }
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("output");
        assert_eq!(line, "ready\n");
        sys::kill::kill(i32::try_from(child.id()).expect("a pid"), 10).expect("SIGUSR1");
        assert_eq!(finish(&mut child), 33, "{command}");
    }
}

#[test]
fn inherited_streams_are_the_users_but_not_devices() {
    use std::os::unix::fs::MetadataExt as _;
    let oci = Oci::new();
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    let bundle = Bundle::new(&["sh", "-c", script], |spec| {
        spec["process"]["user"] = serde_json::json!({"uid": 1000, "gid": 1000});
    })
    .expect("a bundle");
    let null = || std::fs::metadata("/dev/null").expect("is there").uid();
    let before = null();
    let output = oci
        .command(&["run", "-b", path(&bundle), &oci.id("streams")])
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".to_owned(), "err\n".to_owned())
    );
    assert_eq!(null(), before);
}

#[test]
fn descriptors_are_preserved_when_asked_for() {
    let oci = Oci::new();
    let bundle = script("cat <&3; echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l");
    let file = oci.dir().join("file");
    std::fs::write(&file, "text\n").expect("writes");
    let (file, root) = (file.display().to_string(), oci.root().display().to_string());
    let program = program();
    let run = |prefix: &str, options: &str| {
        let line = format!(
            "exec {prefix} {program} --root {root} run {options} -b {} {} 3<{file}",
            path(&bundle),
            oci.id("fds")
        );
        let output = Command::new("sh")
            .args(["-c", &line])
            .output()
            .expect("starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // `ls` itself has 0, 1, 2 and the directory.
    let (code, out, err) = run("", "--preserve-fds 1");
    assert_eq!((code, out.as_str()), (Some(0), "text\n\n5\n"), "{err}");
    let (code, out, err) = run("env LISTEN_FDS=1 LISTEN_PID=$$", "");
    assert_eq!((code, out.as_str()), (Some(0), "text\n1 1\n5\n"), "{err}");
    // Nobody says whom they are for; what has not been passed is no error then.
    let (code, out, err) = run("env -u LISTEN_PID LISTEN_FDS=1", "");
    assert_eq!((code, out.as_str()), (Some(0), "text\n1 1\n5\n"), "{err}");
    let (code, out, err) = run("env -u LISTEN_PID LISTEN_FDS=2", "");
    assert_eq!((code, out.as_str()), (Some(0), "text\n2 1\n5\n"), "{err}");
    let (code, _, err) = run("", "--preserve-fds 2");
    assert_eq!(code, Some(1));
    assert!(
        err.contains("preserved-fd 1 of 2 (descriptor 4) is not open"),
        "{err}"
    );
    // Nothing asked for: it is closed.
    let (_, _, err) = run("", "");
    assert!(err.contains("3"), "{err}");
}

#[test]
fn the_program_file_is_out_of_reach() {
    let oci = Oci::new();
    let bundle = script("echo ready; while :; do sleep 0.01; done");
    let mut child = oci
        .command(&["run", "-b", path(&bundle), &oci.id("exe")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("output");
    let exe = format!("/proc/{}/exe", child.id());
    let statvfs = rustix::fs::statvfs(&exe).expect("statvfs");
    assert!(
        statvfs
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY),
        "on a read-only mount"
    );
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .expect("fds")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|target| target.ends_with("coffer-oci"))
        .collect();
    assert!(open.is_empty(), "no descriptor of it is left: {open:?}");
    oci.run(&["kill", &oci.id("exe"), "KILL"]).succeeds();
    assert_eq!(finish(&mut child), 137);
}

#[test]
fn readiness_reaches_whoever_waits_for_it() {
    let oci = Oci::new();
    let host = oci.dir().join("host.sock");
    let systemd = UnixDatagram::bind(&host).expect("binds");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let heard = || {
        let mut text = [0; 64];
        let length = systemd.recv(&mut text).expect("a message");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let bundle = script(
        "test $NOTIFY_SOCKET = /run/notify/notify.sock && test -S $NOTIFY_SOCKET && exec sleep 1000",
    );
    for (name, detach) in [("kept", false), ("detached", true), ("started", true)] {
        let id = oci.id(name);
        let with_socket = |words: &[&str]| {
            let mut command = oci.command(words);
            command.env("NOTIFY_SOCKET", &host).stdout(Stdio::null());
            command.spawn().expect("starts")
        };
        let mut child = match name {
            "kept" => with_socket(&["run", "-b", path(&bundle), &id]),
            "detached" => with_socket(&["run", "-d", "-b", path(&bundle), &id]),
            _ => {
                let mut create = with_socket(&["create", "-b", path(&bundle), &id]);
                assert_eq!(finish(&mut create), 0);
                with_socket(&["start", &id])
            }
        };
        let inside = oci.root().join(&id).join("notify/notify.sock");
        eventually("the socket is there", || inside.exists());
        oci.await_status(&id, "running");
        let program = UnixDatagram::unbound().expect("a socket");
        for text in ["STATUS=soon", "STATUS=now\nREADY=1\n"] {
            assert!(child.try_wait().expect("waits").is_none());
            program.send_to(text.as_bytes(), &inside).expect("sends");
        }
        assert_eq!(heard(), "READY=1");
        let pid = match detach {
            true => oci.state(&id)["pid"].to_string(),
            false => child.id().to_string(),
        };
        assert_eq!(heard(), format!("MAINPID={pid}"));
        assert_eq!(heard(), "BARRIER=1");
        if detach {
            assert_eq!(finish(&mut child), 0);
        }
        oci.run(&["kill", &id, "KILL"]).succeeds();
        if !detach {
            assert_eq!(finish(&mut child), 137);
        }
    }
}
