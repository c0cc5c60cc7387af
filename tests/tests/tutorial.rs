//! docs/tutorial.md is true: its `sh` blocks are run in order by one shell, against a daemon in a
//! network namespace of its own, and print what stands below them.
//!
//! ```text
//! ```sh     run; `coffer serve` gets directories and a cgroup name of the test's own by a wrapper
//! ```text   what the block before it prints; … is any text, a line of … alone any lines
//! ```bash   shown only
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use system_tests::{Node, node::program};

/// A block of the tutorial: what is run and what it promises.
#[derive(Debug, PartialEq)]
struct Block {
    line: usize,
    script: String,
    promise: Option<String>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<(&str, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind, number + 1, String::new())),
            (None, None) => {}
            (Some(_), Some(_)) => match open.take() {
                Some(("sh", line, script)) => found.push(Block {
                    line,
                    script,
                    promise: None,
                }),
                Some(("text", line, promise)) => {
                    let last = found
                        .last_mut()
                        .unwrap_or_else(|| panic!("line {line}: no block"));
                    assert!(last.promise.is_none(), "line {line}: two promises");
                    last.promise = Some(promise);
                }
                _ => {}
            },
            (Some((_, _, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// Whether `said` is what `promise` stands for.
fn keeps(promise: &[&str], said: &[&str]) -> bool {
    match promise {
        [] => said.is_empty(),
        ["…", rest @ ..] => (0..=said.len()).any(|skip| keeps(rest, &said[skip..])),
        [line, rest @ ..] => said
            .split_first()
            .is_some_and(|(first, others)| fits(line, first) && keeps(rest, others)),
    }
}

/// Whether a line is what `pattern` stands for: its parts between `…` in order.
fn fits(pattern: &str, line: &str) -> bool {
    let parts: Vec<&str> = pattern.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return pattern == line;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A directory to work in: the repository's scripts, a `coffer` that serves privately.
fn workplace(node: &Node) -> PathBuf {
    let work = node.base.join("work");
    fs::create_dir_all(work.join("bin")).unwrap();
    symlink(repository().join("scripts"), work.join("scripts")).unwrap();
    let wrapper = work.join("bin/coffer");
    let config = node.base.join("tutorial.toml");
    fs::write(&config, "").unwrap();
    let text = format!(
        "#!/bin/sh\nif [ \"$1\" = serve ]; then shift\n  exec {coffer} serve {places} \"$@\"\nfi\n\
         if [ \"$1\" = doctor ]; then shift\n  exec {coffer} doctor {places} \"$@\"\nfi\n\
         exec {coffer} \"$@\"\n",
        coffer = program("coffer").display(),
        places = format!(
            "--root {} --state {} --cgroup-root {} --config {}",
            node.root().display(),
            node.state().display(),
            node.cgroup_root,
            config.display()
        ),
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    work
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() {
    let text = fs::read_to_string(repository().join("docs/tutorial.md")).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() >= 10, "{} blocks", blocks.len());
    let node = Node::new();
    let work = workplace(&node);
    let mut script = String::new();
    for (number, block) in blocks.iter().enumerate() {
        // In this shell, so that variables stay; a block that hangs is ended by the deadline below.
        script.push_str(&format!("{{\n{}}} >out.{number} 2>&1\n", block.script));
    }
    fs::write(work.join("all.sh"), script).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("/bin/bash");
    command
        .arg("all.sh")
        .current_dir(&work)
        .env("PATH", format!("{}:{path}", work.join("bin").display()))
        .env("COFFER_SOCKET", node.socket())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // The daemon is in the shell's process group, and must not outlive a test that fails.
    let mut shell = node.spawn(command.process_group(0)).unwrap();
    let group = Pid::from_child(&shell);
    let _all = testing::guard::Guard::new(move || {
        let _ = kill_process_group(group, Signal::KILL);
    });
    let deadline = Instant::now() + Duration::from_secs(120);
    while shell.try_wait().unwrap().is_none() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hung = shell.try_wait().unwrap().is_none();
    for (number, block) in blocks.iter().enumerate() {
        let said = fs::read_to_string(work.join(format!("out.{number}"))).unwrap_or_default();
        let promise = block.promise.clone().unwrap_or_default();
        let kept = keeps(
            &promise.lines().collect::<Vec<_>>(),
            &said.lines().collect::<Vec<_>>(),
        );
        assert!(
            block.promise.is_none() || kept,
            "docs/tutorial.md, line {}:\n{}\nit promises\n{promise}\nit says\n{said}\n{}",
            block.line,
            block.script,
            fs::read_to_string(work.join("coffer.log")).unwrap_or_default()
        );
    }
    assert!(!hung, "the tutorial did not end");
    node.assert_no_pod_files();
    node.finish().await;
}

#[test]
fn promises_are_matched_by_line_and_by_part() {
    let keeps = |promise: &str, said: &str| {
        keeps(
            &promise.lines().collect::<Vec<_>>(),
            &said.lines().collect::<Vec<_>>(),
        )
    };
    assert!(keeps("a\n…\nz", "a\nb\nc\nz") && keeps("a\n…\nz", "a\nz"));
    assert!(!keeps("a\n…\nz", "a\nb") && !keeps("", "a") && keeps("", ""));
    assert!(keeps("…web…running…", "x web   running 3 s") && keeps("web…", "web"));
    assert!(!keeps("…running…web", "web running") && !keeps("web", "web2"));
}

#[test]
fn blocks_are_found_with_their_promises() {
    let found = blocks("x\n```sh\na\n```\n\n```text\nb\n```\n```bash\nno\n```\n```sh\nc\n```\n");
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.line, one.script.as_str(), one.promise.as_deref()))
        .collect();
    assert_eq!(told, [(2, "a\n", Some("b\n")), (12, "c\n", None)]);
}
