//! What a command line said: runs `coffer` and wants success, or a failure that says the right things.

use std::process::Output;

use crate::Node;

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs and wants success: what it printed.
#[track_caller]
pub fn ok(node: &Node, words: &[&str]) -> String {
    let output = node.coffer(words);
    assert!(
        output.status.success(),
        "coffer {words:?}: {}\n{}\n{}",
        output.status,
        stderr(&output),
        node.daemon_log()
    );
    stdout(&output)
}

/// Runs and wants this exit code and these parts in the message.
#[track_caller]
pub fn fails(node: &Node, words: &[&str], code: i32, parts: &[&str]) {
    let output = node.coffer(words);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "coffer {words:?}: {said}");
    for part in parts {
        assert!(
            said.contains(part),
            "coffer {words:?}: {part:?} is not in {said}"
        );
    }
}
