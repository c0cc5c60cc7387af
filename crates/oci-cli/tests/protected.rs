//! Our own program file, while containers try to write to it (CVE-2019-5736).

mod common;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Oci, PATIENCE, program};
use serde_json::json;
use testing::bundle::Bundle;

/// A copy of the program that anybody may write to: what keeps a container away is not its mode.
fn copy(oci: &Oci) -> PathBuf {
    let copy = oci.dir().join("coffer-oci");
    fs::copy(program(), &copy).expect("copies");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("chmod");
    copy
}

/// Takes hold of the program of every process that it sees, and tries to write to all that it holds,
/// for as long as the container runs. Its own programs are busybox, which it may not write to either:
/// the root filesystem is read-only.
const ATTACKER: &str = "\
    while test ! -e /tmp/stop; do \
      for p in /proc/[0-9]*; do \
        command exec 9<$p/exe || continue; \
        case $(readlink /proc/self/fd/9) in (/bin/busybox*) continue;; esac; \
        echo held >>/tmp/saw; \
        (: >>/proc/self/fd/9) && echo written >>/tmp/saw; \
        command exec 8<&9; \
      done; \
      (: >>/proc/self/fd/8) && echo written >>/tmp/saw; \
    done 2>/dev/null; echo over >>/tmp/saw; sleep 1000";

#[test]
fn a_container_never_writes_to_it() {
    let oci = Oci::new();
    let program = copy(&oci);
    let before = fs::read(&program).expect("the program");
    let bundle = Bundle::new(&["sh", "-c", ATTACKER], |spec| {
        spec["root"]["readonly"] = true.into();
        let mounts = spec["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    })
    .expect("a bundle");
    // Programs of the image that are ours: by a link, and as what a script is run by.
    let root = bundle.path().join("rootfs");
    symlink("/proc/self/exe", root.join("bin/it-is-us")).expect("a link");
    let script = root.join("bin/by-us");
    fs::write(&script, "#!/proc/self/exe\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
    let id = oci.id("attacker");
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command
            .arg("--root")
            .arg(oci.root())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        started(|| command.status()).code()
    };
    let path = bundle.path().to_str().expect("UTF-8");
    assert_eq!(run(&["run", "-d", "-b", path, &id]), Some(0));
    let attacked = Instant::now();
    let saw = |word: &str| {
        let text = output(&program, &oci, &["exec", &id, "cat", "/tmp/saw"]);
        text.lines().any(|line| line == word)
    };
    // It waits for limits on stdin: long enough to be taken hold of.
    let mut waiting = Command::new(&program);
    waiting
        .arg("--root")
        .arg(oci.root())
        .args([
            "exec",
            &id,
            "/bin/it-is-us",
            "update",
            "--resources",
            "-",
            "x",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut waiting = started(|| waiting.spawn());
    while !saw("held") {
        assert!(attacked.elapsed() < PATIENCE, "the attacker saw nothing");
    }
    drop(waiting.stdin.take());
    waiting.wait().expect("it ends");
    for _ in 0..10 {
        for words in [&["true"][..], &["/bin/it-is-us", "list"], &["/bin/by-us"]] {
            let mut line = vec!["exec", id.as_str()];
            line.extend(words);
            run(&line);
        }
    }
    run(&["exec", &id, "touch", "/tmp/stop"]);
    while !saw("over") {
        assert!(attacked.elapsed() < PATIENCE, "the attacker does not end");
    }
    assert!(!saw("written"));
    assert_eq!(run(&["delete", "--force", &id]), Some(0));
    assert!(fs::read(&program).expect("the program") == before);
}

fn output(program: &Path, oci: &Oci, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.arg("--root").arg(oci.root()).args(words);
    let output = started(|| command.output());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whoever opens a file to write to it counts as a writer until the kernel sees that the mount is read-only: a
/// start in that moment is ETXTBSY.
fn started<T>(mut start: impl FnMut() -> io::Result<T>) -> T {
    let began = Instant::now();
    loop {
        match start() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy
                    && began.elapsed() < PATIENCE => {}
            done => return done.expect("the program starts"),
        }
    }
}
