//! `coffer` in a terminal: tables that fit, colours, the live view, and a terminal that is left as it
//! was found. Completions as a shell asks for them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use system_tests::{
    Node,
    node::program,
    pty::Pty,
    said::{ok, stderr, stdout},
};

const LOOP: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
const LEFT: &str = "\u{1b}[?1049l";

fn pty(node: &Node, words: &[&str], variables: &[(&str, &str)], columns: u16) -> Pty {
    let socket = node.socket().display().to_string();
    let mut all = vec![("COFFER_SOCKET", socket.as_str())];
    all.extend(variables);
    Pty::spawn(&program("coffer"), words, &all, columns, 24)
}

/// What a person sees: without the sequences that paint.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let end = after
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or(after.len(), |at| at + 1);
        rest = &after[end..];
    }
    plain + rest
}

#[tokio::test]
async fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let (node, _) = Node::with_image().await;
    let name = "a-name-that-is-quite-long-for-a-container";
    ok(&node, &["run", "-d", "--name", name, "coffer-demo", LOOP]);
    for columns in [40, 60, 80, 200] {
        for words in [
            &["ps"][..],
            &["pods"],
            &["images"],
            &["stats", "--no-stream"],
            &["top", name],
        ] {
            let (status, text) = pty(&node, words, &[], columns).wait();
            assert!(status.success(), "{words:?}: {text}");
            assert!(
                text.contains("\u{1b}[1m"),
                "a painted header: {words:?}: {text:?}"
            );
            let text = plain(&text);
            for line in text.lines() {
                let length = line.trim_end_matches('\r').chars().count();
                assert!(
                    length <= usize::from(columns),
                    "{words:?} at {columns}: {line:?}"
                );
            }
            assert!(text.lines().count() >= 2, "{words:?}: {text}");
        }
    }
    let narrow = plain(&pty(&node, &["ps"], &[], 40).wait().1);
    assert!(narrow.contains('…') && narrow.contains("Up "), "{narrow}");
    let whole = plain(&pty(&node, &["ps", "--no-trunc"], &[], 40).wait().1);
    assert!(whole.contains(name), "{whole}");
    let piped = ok(&node, &["ps"]);
    assert!(piped.contains(name) && !piped.contains('\u{1b}'), "{piped}");
    node.finish().await;
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_those_who_ask() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", "coffer-demo", LOOP]);
    let green = "\u{1b}[32mUp ";
    assert!(pty(&node, &["ps"], &[], 100).wait().1.contains(green));
    for (words, variables) in [
        (&["ps"][..], &[("NO_COLOR", "1")][..]),
        (&["ps"], &[("TERM", "dumb")]),
        (&["ps", "--color", "never"], &[]),
        (&["ps", "--color", "never"], &[("CLICOLOR_FORCE", "1")]),
    ] {
        let text = pty(&node, words, variables, 100).wait().1;
        assert!(
            text.contains("web") && !text.contains('\u{1b}'),
            "{words:?} {variables:?}: {text:?}"
        );
    }
    assert!(ok(&node, &["ps", "--color=always"]).contains(green));
    node.finish().await;
}

#[tokio::test]
async fn the_live_view_ends_in_every_way_and_leaves_the_terminal_as_it_was() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", "coffer-demo", LOOP]);
    type End = fn(&mut Pty);
    let ends: [(&str, End); 4] = [
        ("q", |pty| pty.send(b"q")),
        ("Ctrl-C", |pty| pty.send(b"\x03")),
        ("Escape", |pty| pty.send(b"\x1b")),
        ("SIGTERM", |pty| pty.signal(Signal::TERM)),
    ];
    for (how, end) in ends {
        let mut top = pty(&node, &["top"], &[], 80);
        let before = top.modes();
        top.expect("\u{1b}[?1049h");
        top.expect("web");
        top.expect("q: quit");
        assert_ne!(
            top.modes().local_modes,
            before.local_modes,
            "keys come as they are pressed"
        );
        end(&mut top);
        let (status, text) = top.wait();
        assert!(status.success(), "{how}: {status} {text:?}");
        assert!(
            text.contains("\u{1b}[?25h") && text.ends_with(LEFT),
            "{how}: {text:?}"
        );
        assert_eq!(top.modes().local_modes, before.local_modes, "{how}");
        assert_eq!(top.modes().output_modes, before.output_modes, "{how}");
    }
    node.finish().await;
}

#[tokio::test]
async fn the_live_view_follows_keys_size_and_a_daemon_that_comes_back() {
    let (mut node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", "coffer-demo", LOOP]);
    let mut top = pty(&node, &["top", "-d", "1"], &[], 90);
    top.expect("CPU (most first)");
    top.send(b"m");
    top.expect("memory (most first)");
    top.send(b"r");
    top.expect("memory (least first)");
    top.resize(30, 5);
    // A wide frame may have been on its way.
    let fits = |frame: &str| {
        let text = plain(frame);
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
        lines.all(|line| line.chars().count() <= 30)
    };
    let mut frames = (0..5).map(|_| {
        top.expect("\u{1b}[H");
        top.expect("\u{1b}[J")
    });
    assert!(frames.any(|frame| fits(&frame)), "{:?}", top.seen());
    node.kill();
    top.expect("the daemon does not answer");
    node.start().await;
    top.resize(90, 24);
    top.expect("memory (least first)");
    top.send(b"q");
    assert!(top.wait().0.success());
    node.finish().await;
}

#[tokio::test]
async fn ctrl_c_ends_what_waits() {
    let (node, _) = Node::with_image().await;
    ok(
        &node,
        &[
            "run",
            "-d",
            "--name",
            "web",
            "coffer-demo",
            "echo up; while :; do sleep 0.05; done",
        ],
    );
    for (words, first) in [
        (&["logs", "-f", "web"][..], "up"),
        (&["stats"], "web"),
        (&["events", "--since", "1h"], "start"),
    ] {
        let mut waiting = pty(&node, words, &[], 100);
        let before = waiting.modes();
        waiting.expect(first);
        waiting.send(b"\x03");
        let (status, text) = waiting.wait();
        assert!(!text.contains("panicked"), "{words:?}: {text}");
        let ended = std::os::unix::process::ExitStatusExt::signal(&status) == Some(2)
            || status.code() == Some(130);
        assert!(ended, "{words:?}: {status}");
        assert_eq!(waiting.modes().local_modes, before.local_modes, "{words:?}");
    }
    node.finish().await;
}

#[tokio::test]
async fn an_import_shows_its_progress_and_ends_its_line() {
    let node = Node::started().await;
    let archive = node.base.join("image.tar");
    testing::image::busybox_archive(&archive, testing::image::Compression::Gzip).unwrap();
    for columns in [40, 100] {
        let path = archive.display().to_string();
        let (status, text) = pty(&node, &["import", &path], &[], columns).wait();
        assert!(status.success(), "{text}");
        let last = plain(&text);
        let last = last.lines().last().unwrap();
        assert!(
            last.contains("imported docker.io/library/coffer-demo:latest"),
            "{text:?}"
        );
        assert!(text.contains("layer "), "{text:?}");
    }
    node.finish().await;
}

/// What bash offers for a line, by the very script that people install.
fn bash(node: &Node, line: &str) -> Vec<String> {
    let script = r#"
        export PATH="$1:$PATH"
        source <(coffer completion bash)
        COMP_LINE="$2"; COMP_POINT=${#2}
        # As readline cuts: at blanks, and at = and : as words of their own.
        read -ra COMP_WORDS <<< "$(sed 's/[=:]/ & /g' <<< "$2")"
        [[ "$2" == *[[:space:]] ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        _coffer
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let directory = program("coffer");
    let directory = directory.parent().unwrap();
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .arg(directory)
        .arg(line)
        .env("COFFER_SOCKET", node.socket())
        .current_dir(&node.base)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    stdout(&output)
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_shell_completes_commands_options_and_names() {
    let (node, _) = Node::with_image().await;
    ok(&node, &["run", "-d", "--name", "web", "coffer-demo", LOOP]);
    std::fs::write(node.base.join("archive.tar"), "").unwrap();
    for (line, offered) in [
        ("coffer im", &["images", "import"][..]),
        ("coffer pod", &["pods"]),
        ("coffer ps --no-h", &["--no-headers"]),
        ("coffer ps -o y", &["yaml"]),
        ("coffer ps --output=y", &["yaml"]),
        ("coffer logs ", &["web"]),
        ("coffer stop w", &["web"]),
        ("coffer rmi docker.io/library/coffer-demo:l", &["latest"]),
        ("coffer import arch", &["archive.tar"]),
        ("coffer logs nothing-of-this-name", &[]),
    ] {
        assert_eq!(bash(&node, line), offered, "{line}");
    }
    // Other shells get the meaning, too.
    let output = node.coffer(&["__complete", "--", "kill", "w"]);
    assert_eq!(stdout(&output), "web\tcontainer, running (coffer-demo)\n");
    for (line, offered) in [
        ("coffer stop w", "web\tcontainer, running (coffer-demo)\n"),
        ("coffer import arch", "archive.tar\n"),
        ("coffer ps --output=y", "--output=yaml\tThe same as YAML\n"),
    ] {
        assert_eq!(fish(&node, line), offered, "{line}");
    }
    let commands = fish(&node, "coffer im");
    let words: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(words, ["images", "import"]);
    for (line, becomes) in [
        ("coffer imp", "coffer import "),
        ("coffer stop w", "coffer stop web "),
        ("coffer import arch", "coffer import archive.tar "),
        (
            "coffer rmi docker.io/library/coffer-demo:l",
            "coffer rmi docker.io/library/coffer-demo:latest ",
        ),
    ] {
        zsh(&node, line, becomes);
    }
    node.finish().await;
}

/// The search path of a shell that finds this `coffer`.
fn path() -> String {
    let directory = program("coffer");
    let others = std::env::var("PATH").unwrap();
    format!("{}:{others}", directory.parent().unwrap().display())
}

/// What fish offers for a line, by the script that people install.
fn fish(node: &Node, line: &str) -> String {
    let script = "coffer completion fish | source; complete -C $argv[1]";
    let output = Command::new("fish")
        .args(["--no-config", "-c", script, line])
        .env("PATH", path())
        .env("HOME", &node.base)
        .env("COFFER_SOCKET", node.socket())
        .current_dir(&node.base)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    stdout(&output)
}

/// Types a line into zsh, then the tabulator key, and waits for what it becomes.
#[track_caller]
fn zsh(node: &Node, line: &str, becomes: &str) {
    let (path, socket) = (path(), node.socket().display().to_string());
    let variables = [
        ("PATH", path.as_str()),
        ("COFFER_SOCKET", &socket),
        ("TERM", "dumb"),
    ];
    let mut pty = Pty::spawn(Path::new("zsh"), &["-f", "-i"], &variables, 200, 24);
    // ^T shows the line as zsh has it; on the screen it is typed piece by piece.
    let set_up = format!(
        "cd {}; autoload -U compinit; compinit -u -D; source <(coffer completion zsh); \
         shown() {{ print -r -- \"<$BUFFER>\" }}; zle -N shown; bindkey '^T' shown; \
         print set-up-$((40+2))\r",
        node.base.display()
    );
    pty.send(set_up.as_bytes());
    pty.expect("set-up-42");
    pty.send(format!("{line}\t\x14").as_bytes());
    pty.expect(&format!("<{becomes}>"));
    pty.send(b"\x15exit\r");
    pty.wait();
}

#[tokio::test]
async fn manual_pages_are_written_for_every_command() {
    let node = Node::new();
    let directory = node.base.join("man/man1");
    let said = ok(&node, &["man", &directory.display().to_string()]);
    assert!(said.lines().count() > 20, "{said}");
    let page = std::fs::read_to_string(directory.join("coffer-ps.1")).unwrap();
    assert!(
        page.contains(".SH EXAMPLES") && page.contains("\\-\\-filter"),
        "{page}"
    );
    node.finish().await;
}
