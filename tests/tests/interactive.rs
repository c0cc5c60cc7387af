//! `run -it`, `exec -it`, `attach`, pipes and Ctrl-C, as a person at a terminal meets them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    termios::LocalModes,
};
use system_tests::{Node, configs, node::program, procs, pty};

const IMAGE: &str = "coffer-demo";
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// `coffer` in a terminal, in the node's network.
struct Pty(pty::Pty);

impl Pty {
    fn start(node: &Node, columns: u16, rows: u16, words: &[&str]) -> Pty {
        let socket = node.socket().display().to_string();
        let variables = [
            ("COFFER_SOCKET", socket.as_str()),
            ("TERM", "xterm-256color"),
        ];
        let start = || pty::Pty::spawn(&program("coffer"), words, &variables, columns, rows);
        Pty(node.within(start))
    }

    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        self.0.expect(text)
    }

    #[track_caller]
    fn send(&mut self, text: &str) {
        self.0.send(text.as_bytes());
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.0.resize(columns, rows);
    }

    fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Nothing is echoed, and no key is a signal.
    fn is_raw(&self) -> bool {
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        !self.0.modes().local_modes.intersects(cooked)
    }

    #[track_caller]
    fn until_raw(&self, raw: bool) {
        until("the terminal's mode", || self.is_raw() == raw);
    }

    /// Exit code, 128 and more for a signal, and all that was shown.
    #[track_caller]
    fn finish(mut self) -> (i32, String) {
        let (status, seen) = self.0.wait();
        let signal = || status.signal().map(|signal| 128 + signal);
        (status.code().or_else(signal).unwrap_or(-1), seen)
    }
}

fn said(node: &Node, words: &[&str]) -> (i32, String, String) {
    let output = node.coffer(words);
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[track_caller]
fn ok(node: &Node, words: &[&str]) -> String {
    let (code, stdout, stderr) = said(node, words);
    assert_eq!(code, 0, "coffer {words:?}: {stderr}\n{}", node.daemon_log());
    stdout
}

/// `coffer` with pipes.
fn piped(node: &Node, words: &[&str]) -> Child {
    let mut command = Command::new(program("coffer"));
    command
        .env("COFFER_SOCKET", node.socket())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    node.spawn(&mut command).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Names of the processes in containers of this node.
fn running(node: &Node, name: &str) -> usize {
    let all = procs::in_cgroup(&format!("/{}/", node.cgroup_root));
    all.values().filter(|comm| comm.as_str() == name).count()
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < deadline, "it never comes to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_shell_in_a_terminal_from_its_first_prompt_to_its_exit_code() {
    let (node, _) = Node::with_image().await;
    let words = ["run", "--rm", "-it", "--name", "shell", IMAGE, "exec sh"];
    let mut pty = Pty::start(&node, 80, 24, &words);
    pty.expect("$ ");
    assert!(pty.is_raw());
    pty.send("stty size; echo $TERM; tty\r");
    pty.expect("24 80\r\nxterm-256color\r\n/dev/pts/0\r\n");
    pty.resize(132, 50);
    until("the size follows", || {
        pty.send("stty size\r");
        pty.expect("\r\n").contains("50 132") || pty.expect("\r\n").contains("50 132")
    });
    // Ctrl-C belongs to the program in there, which goes on.
    pty.send("sleep 1000\r");
    until("sleep runs", || running(&node, "sleep") == 1);
    pty.send("\x03");
    until("sleep is interrupted", || running(&node, "sleep") == 0);
    pty.send("echo still-$((40+2))\r");
    pty.expect("still-42");
    pty.send("exit 7\r");
    pty.until_raw(false);
    assert_eq!(pty.finish().0, 7);
    assert_eq!(ok(&node, &["pods", "-q"]), "", "--rm left a pod");
    node.finish().await;
}

#[tokio::test]
async fn nothing_that_a_container_says_at_once_is_missed() {
    let (node, _) = Node::with_image().await;
    for _ in 0..5 {
        let words = ["run", "--rm", "-it", IMAGE, "echo first; exit 3"];
        let (code, screen) = Pty::start(&node, 80, 24, &words).finish();
        assert_eq!((code, screen.as_str()), (3, "first\r\n"));
    }
    node.finish().await;
}

#[tokio::test]
async fn the_terminal_is_restored_and_the_container_kept_when_the_client_is_killed() {
    let (node, _) = Node::with_image().await;
    for (end, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let words = ["run", "-it", "--name", "kept", IMAGE, "exec sh"];
        let mut pty = Pty::start(&node, 80, 24, &words);
        pty.expect("$ ");
        pty.until_raw(true);
        pty.signal(end);
        pty.until_raw(false);
        assert_eq!(pty.finish().0, code);
        assert!(ok(&node, &["ps"]).contains("kept"));
        ok(&node, &["rm", "-f", "kept"]);
    }
    // What was to be thrown away is.
    let words = ["run", "--rm", "-it", IMAGE, "exec sh"];
    let mut pty = Pty::start(&node, 80, 24, &words);
    pty.expect("$ ");
    pty.signal(Signal::TERM);
    assert_eq!(pty.finish().0, 143);
    assert_eq!(ok(&node, &["pods", "-q"]), "");
    node.finish().await;
}

#[tokio::test]
async fn keys_leave_a_terminal_and_attach_joins_it_again() {
    let (node, _) = Node::with_image().await;
    let words = ["run", "-it", "--name", "shell", IMAGE, "exec sh"];
    let mut pty = Pty::start(&node, 80, 24, &words);
    pty.expect("$ ");
    pty.send("here=yes\r");
    pty.expect("$ ");
    pty.send("\x10\x11");
    pty.expect("coffer attach shell");
    assert_eq!(pty.finish().0, 0);

    let mut pty = Pty::start(&node, 100, 40, &["attach", "shell"]);
    pty.until_raw(true);
    pty.send("echo $here; stty size\r");
    pty.expect("yes\r\n40 100\r\n");
    pty.send("exit 5\r");
    assert_eq!(pty.finish().0, 5);
    let (code, _, stderr) = said(&node, &["attach", "shell"]);
    assert_eq!(code, 125);
    assert!(
        stderr.contains("exited") && stderr.contains("coffer logs shell"),
        "{stderr}"
    );
    node.finish().await;
}

#[tokio::test]
async fn exec_in_a_terminal_ends_with_it() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", IMAGE, FOREVER]);
    let mut pty = Pty::start(&node, 90, 30, &["exec", "-it", "web", "sh"]);
    pty.expect("$ ");
    pty.send("stty size\r");
    pty.expect("30 90\r\n");
    pty.send("exit 4\r");
    pty.until_raw(false);
    assert_eq!(pty.finish().0, 4);

    for end in [Signal::TERM, Signal::KILL] {
        let pty = Pty::start(&node, 90, 30, &["exec", "-it", "web", "sleep", "1234"]);
        until("the command runs", || has_argument(&node, "1234"));
        pty.signal(end);
        until("the command ends with its client", || {
            !has_argument(&node, "1234")
        });
        drop(pty);
    }
    node.finish().await;
}

/// Whether a process in a container of this node was started with that argument.
fn has_argument(node: &Node, argument: &str) -> bool {
    let all = procs::in_cgroup(&format!("/{}/", node.cgroup_root));
    all.keys().any(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').any(|word| word == argument)
    })
}

#[tokio::test]
async fn megabytes_go_through_both_ways() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", IMAGE, FOREVER]);
    // 50 MB that no compression or sparse file makes small.
    let mut state = 1_u32;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(50 << 20)
    .collect();
    let mut child = piped(&node, &["exec", "-i", "web", "cat"]);
    let mut stdin = child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut came = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut came).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(came == data, "{} of {} bytes", came.len(), data.len());

    let mut child = piped(&node, &["run", "--rm", "-i", IMAGE, "wc -c"]);
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&data[..8 << 20]).unwrap());
    writer.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8388608\n");
    node.finish().await;
}

#[tokio::test]
async fn a_reader_that_leaves_and_a_client_that_is_killed_end_the_command() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", IMAGE, FOREVER]);
    let mut child = piped(&node, &["exec", "web", "yes"]);
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(&some, b"y\ny\n");
    assert_eq!(child.wait().unwrap().code(), Some(0), "as head has it");
    until("yes ends", || running(&node, "yes") == 0);

    let mut child = piped(&node, &["exec", "web", "sleep", "4321"]);
    until("the command runs", || has_argument(&node, "4321"));
    signal(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    until("the command ends with its client", || {
        !has_argument(&node, "4321")
    });
    node.finish().await;
}

#[tokio::test]
async fn ctrl_c_goes_to_a_program_that_handles_it_and_stops_one_that_does_not() {
    let (node, _) = Node::with_image().await;
    let table = [
        // It handles SIGINT: it decides.
        (
            "trap 'echo asked; exit 9' INT; while :; do sleep 0.1; done",
            9,
            "asked\n",
        ),
        // It handles SIGTERM only: stopped.
        (
            "trap '' INT; trap 'echo stopped; exit 8' TERM; while :; do sleep 0.1; done",
            8,
            "stopped\n",
        ),
        // It handles nothing: there is no use in waiting for it.
        ("exec sleep 1000", 137, ""),
    ];
    for (script, code, output) in table {
        let child = piped(&node, &["run", "--rm", "--name", "one", IMAGE, script]);
        until("it runs", || running(&node, "sleep") > 0);
        let asked = Instant::now();
        signal(&child, Signal::INT);
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{script}: {stderr}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), output, "{script}");
        assert!(
            asked.elapsed() < Duration::from_secs(8),
            "{script}: {:?}",
            asked.elapsed()
        );
        assert_eq!(ok(&node, &["pods", "-q"]), "", "{script}");
    }
    // Insisting gets its way with one that handles SIGINT and does nothing about it.
    let script = "trap : INT TERM; while :; do sleep 0.1; done";
    let mut child = piped(&node, &["run", "--rm", IMAGE, script]);
    until("it runs", || running(&node, "sleep") > 0);
    for _ in 0..3 {
        signal(&child, Signal::INT);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(child.wait().unwrap().code(), Some(137));
    node.finish().await;
}

#[tokio::test]
async fn several_containers_share_a_pod() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", IMAGE, FOREVER]);
    ok(
        &node,
        &[
            "run", "-d", "--pod", "web", "--name", "side", IMAGE, FOREVER,
        ],
    );
    let said_there = ok(&node, &["run", "--rm", "--pod", "web", IMAGE, "hostname"]);
    assert_eq!(said_there, "web\n");
    let pods = ok(&node, &["pods", "-q"]);
    assert_eq!(pods.lines().count(), 1, "{pods}");
    let (code, _, stderr) = said(&node, &["run", "--pod", "wbe", IMAGE, "true"]);
    assert_eq!(code, 125);
    assert!(stderr.contains("did you mean \"web\""), "{stderr}");
    node.finish().await;
}

#[tokio::test]
async fn what_was_said_is_what_the_container_gets() {
    let (node, _) = Node::with_image().await;
    let dir = node.base.join("shared");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("env"), "# names\nFROM_FILE=file\nBOTH=file\n").unwrap();
    let volume = format!("{}:/shared:ro", dir.display());
    let env_file = dir.join("env").display().to_string();
    let script = "id -u; id -G; pwd; echo $FROM_FILE $BOTH; cat /shared/env | head -1; \
                  touch /shared/x 2>/dev/null || echo read-only; grep -i capeff /proc/self/status; \
                  hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let words = [
        "run",
        "--rm",
        "-u",
        "7:8",
        "--group-add",
        "99",
        "-w",
        "/tmp",
        "--env-file",
        &env_file,
        "-e",
        "BOTH=flag",
        "-v",
        &volume,
        "--cap-drop",
        "ALL",
        "--hostname",
        "named",
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=77",
        IMAGE,
        script,
    ];
    let shown = ok(&node, &words);
    assert_eq!(
        shown,
        "7\n8 99\n/tmp\nfile flag\n# names\nread-only\nCapEff:\t0000000000000000\nnamed\n77\n"
    );
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "",
        IMAGE,
        "ls",
        "/sys/class/net",
    ];
    assert_eq!(ok(&node, &words), "lo\n");
    node.finish().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_a_sentence() {
    let (node, _) = Node::with_image().await;
    let table: [(&[&str], i32, &str); 11] = [
        (
            &["run", "--tmpfs", "/x", IMAGE],
            125,
            "--tmpfs is not available",
        ),
        (
            &["run", "--restart", "always", IMAGE],
            125,
            "nothing on a node starts",
        ),
        (&["run", "-v", "data:/x", IMAGE], 125, "volume by name"),
        (&["run", "-p", "70000:80", IMAGE], 125, "no port"),
        (&["run", "--pull", "always", IMAGE], 125, "cannot pull"),
        (&["run", "--netwrk", "host", IMAGE], 125, "--network"),
        (&["run", "no-such-image"], 125, "coffer-demo"),
        (&["run", "no-such-image"], 125, "is not here: pulling it"),
        (&["exec", "-it", "nobody", "sh"], 125, "no container named"),
        (&["exec", "-d", "web", "id"], 125, "-d is not available"),
        (&["cp", "a", "b"], 2, "CONTAINER:PATH"),
    ];
    for (words, code, part) in table {
        let (exit, _, stderr) = said(&node, words);
        assert_eq!(exit, code, "{words:?}: {stderr}");
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    }
    assert_eq!(ok(&node, &["pods", "-q"]), "");
    node.finish().await;
}

#[tokio::test]
async fn an_exec_has_the_user_the_variables_and_the_directory_that_it_was_given() {
    let (node, _) = Node::with_image().await;
    let forever = configs::FOREVER;
    ok(
        &node,
        &[
            "run", "-d", "--name", "web", "-e", "A=1", "-e", "B=2", IMAGE, forever,
        ],
    );
    let look = "id -u; id -g; echo $HOME $A $B $C; pwd";
    for (words, expected) in [
        (&[][..], "1000\n1000\n/home/user 1 2\n/www\n"),
        (&["-u", "root"], "0\n0\n/root 1 2\n/www\n"),
        (&["-u", "7:user"], "7\n1000\n/ 1 2\n/www\n"),
        (&["-w", "/tmp"], "1000\n1000\n/home/user 1 2\n/tmp\n"),
        (
            &["-e", "B=4", "-e", "C=x=y", "-e", "HOME=/h", "-u", "0"],
            "0\n0\n/h 1 4 x=y\n/www\n",
        ),
    ] {
        let words = [&["exec"], words, &["web", "sh", "-c", look]].concat();
        assert_eq!(ok(&node, &words), expected, "{words:?}");
    }
    // Who came into being in the container counts too, and a link out of it leads nowhere.
    let add = "echo new:x:77:88::/new:/bin/sh >>/etc/passwd";
    ok(&node, &["exec", "-u", "root", "web", "sh", "-c", add]);
    assert_eq!(ok(&node, &["exec", "-u", "new", "web", "id", "-u"]), "77\n");
    ok(
        &node,
        &[
            "exec",
            "-u",
            "root",
            "web",
            "ln",
            "-sf",
            "/proc/1/root/etc/passwd",
            "/etc/passwd",
        ],
    );
    for (words, part) in [
        (&["-u", "new"][..], "user \"new\" is not in its /etc/passwd"),
        (
            &["-u", "0:ghosts"],
            "group \"ghosts\" is not in its /etc/group",
        ),
        (&["-u", "99999999999"], "is not an id"),
        (&["-w", "tmp"], "working_dir: \"tmp\" is not absolute"),
        (&["-u", "root", "--timeout", "3"], "cannot be used with"),
    ] {
        let words = [&["exec"], words, &["web", "true"]].concat();
        let (code, _, stderr) = said(&node, &words);
        assert_eq!(code, 125, "{words:?}: {stderr}");
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    }
    node.finish().await;
}

#[tokio::test]
async fn a_container_lives_on_when_the_daemon_goes_while_somebody_is_at_it() {
    let (mut node, _) = Node::with_image().await;
    let words = ["run", "-it", "--name", "shell", IMAGE, "exec sh"];
    let mut pty = Pty::start(&node, 80, 24, &words);
    pty.expect("$ ");
    node.kill();
    pty.expect("lost the streams of container shell");
    pty.until_raw(false);
    assert_eq!(pty.finish().0, 125);
    node.start().await;
    let mut pty = Pty::start(&node, 80, 24, &["attach", "shell"]);
    pty.until_raw(true);
    pty.send("echo still-$((40+2))\r");
    pty.expect("still-42");
    pty.send("exit\r");
    assert_eq!(pty.finish().0, 0);
    node.finish().await;
}

#[tokio::test]
async fn the_end_is_heard_of_although_the_daemon_was_away() {
    let (mut node, _) = Node::with_image().await;
    let script = "echo up; until [ -e /tmp/go ]; do sleep 0.02; done; echo over; exit 6";
    let mut runner = piped(&node, &["run", "--name", "job", IMAGE, script]);
    line(&mut runner, "up\n");
    let mut reader = piped(&node, &["logs", "-f", "job"]);
    line(&mut reader, "up\n");
    node.kill();
    node.start().await;
    let waiter = piped(&node, &["wait", "job"]);
    // The job's end may end the command before its own does.
    said(&node, &["exec", "job", "touch", "/tmp/go"]);
    for (child, code, rest) in [
        (runner, 6, "over\n"),
        (reader, 0, "over\n"),
        (waiter, 0, "6\n"),
    ] {
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        let complaint = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(
            (ended.status.code(), &*said),
            (Some(code), rest),
            "{complaint}"
        );
    }
    node.finish().await;
}

/// Reads exactly this from what a program prints.
#[track_caller]
fn line(child: &mut Child, text: &str) {
    let mut read = vec![0; text.len()];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut read)
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&read), text);
}

#[tokio::test]
async fn files_are_copied_both_ways() {
    let (node, _) = Node::with_image().await;
    ok(
        &node,
        &["run", "-d", "--name", "web", "-u", "0", IMAGE, FOREVER],
    );
    let here = node.base.join("here");
    let path = |name: &str| here.join(name).display().to_string();
    std::fs::create_dir_all(here.join("site/deep")).unwrap();
    std::fs::write(here.join("site/index"), "welcome\n").unwrap();
    std::fs::write(here.join("site/deep/page"), vec![b'x'; 3 << 20]).unwrap();
    std::os::unix::fs::symlink("index", here.join("site/link")).unwrap();

    // A directory that is there takes the source's name, one that is not becomes it.
    ok(&node, &["cp", &path("site"), "web:/tmp"]);
    ok(&node, &["cp", &path("site"), "web:/tmp/other"]);
    ok(
        &node,
        &["cp", &format!("{}/.", path("site")), "web:/tmp/site"],
    );
    let script = "cat /tmp/site/link /tmp/other/index; wc -c < /tmp/other/deep/page; \
                  stat -c %u:%g /tmp/site/index; ls /tmp/site";
    let shown = ok(&node, &["exec", "web", "sh", "-c", script]);
    assert_eq!(shown, "welcome\nwelcome\n3145728\n0:0\ndeep\nindex\nlink\n");

    let (_, _, told) = said(&node, &["cp", "web:/tmp/site", &path("back")]);
    assert!(told.contains("copied 5 entries"), "{told}");
    assert_eq!(
        std::fs::read(here.join("back/deep/page")).unwrap().len(),
        3 << 20
    );
    assert_eq!(
        std::fs::read_link(here.join("back/link")).unwrap().to_str(),
        Some("index")
    );
    ok(&node, &["cp", "web:/tmp/site/index", &path("renamed")]);
    assert_eq!(
        std::fs::read_to_string(here.join("renamed")).unwrap(),
        "welcome\n"
    );
    let tar = node.coffer(&["cp", "web:/tmp/site/index", "-"]).stdout;
    assert!(
        tar.starts_with(b"index\0") && tar.len() % 512 == 0,
        "{}",
        tar.len()
    );

    // A stopped container has its files still; a stream goes into one.
    ok(&node, &["stop", "-t", "5", "web"]);
    ok(&node, &["cp", &path("renamed"), "web:/tmp/late"]);
    ok(&node, &["cp", "web:/tmp/late", &path("late")]);
    assert_eq!(
        std::fs::read_to_string(here.join("late")).unwrap(),
        "welcome\n"
    );
    let mut child = piped(&node, &["cp", "-", "web:/tmp"]);
    child.stdin.take().unwrap().write_all(&tar).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ok(&node, &["cp", "web:/tmp/index", &path("streamed")]);
    assert_eq!(
        std::fs::read_to_string(here.join("streamed")).unwrap(),
        "welcome\n"
    );

    for (words, part) in [
        (["cp", "web:/no/such", "."], "there is no \"/no/such\""),
        (["cp", "/no/such", "web:/tmp"], "read /no/such"),
        (["cp", "nobody:/etc", "."], "no container named"),
        (
            ["cp", "web:/etc", "/no/such/place"],
            "no directory /no/such",
        ),
    ] {
        let (code, _, stderr) = said(&node, &words);
        let lower = stderr.to_lowercase();
        assert!(
            code != 0 && lower.contains(part),
            "{words:?}: {code} {stderr}"
        );
    }
    node.finish().await;
}

#[tokio::test]
async fn ports_are_forwarded_until_ctrl_c() {
    let (node, _) = Node::with_image().await;
    let serve = "while :; do echo served | nc -l -p 8080; done";
    ok(&node, &["run", "-d", "--name", "web", IMAGE, serve]);
    let mut child = piped(&node, &["port-forward", "web", ":8080", "9:9"]);
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert!(line.ends_with(" -> web:8080\n"), "{line}");
    let address = line.split(' ').nth(1).unwrap().parse().unwrap();
    for _ in 0..3 {
        until("a connection is served", || {
            let mut connection = node.connect(address).unwrap();
            let mut text = String::new();
            let _ = connection.read_to_string(&mut text);
            text == "served\n"
        });
    }
    // Nobody listens there: one connection's trouble, told and survived.
    let mut nobody = node
        .connect(std::net::SocketAddr::from(([127, 0, 0, 1], 9)))
        .unwrap();
    let mut nothing = Vec::new();
    let _ = nobody.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("port 9 of pod"), "{stderr}");

    ok(&node, &["stop", "pod/web"]);
    let (code, _, stderr) = said(&node, &["port-forward", "web", "8080"]);
    assert!(
        code == 1 && stderr.contains("is stopped"),
        "{code} {stderr}"
    );
    node.finish().await;
}
