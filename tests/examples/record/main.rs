//! Records what a program shows in a terminal: as an asciicast (version 2, for asciinema players) and
//! as a picture whose lines appear when they appeared.
//!
//! ```text
//! record NAME COLUMNS COMMAND   ──► Pty ──► seen, every few milliseconds ──► NAME.cast, NAME.svg
//! ```
//! The command is one for /bin/sh. Its exit code is passed on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool of the project: what it cannot do ends it"
)]

mod picture;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use system_tests::pty::Pty;

/// Rows of the terminal; the picture has as many as there are lines.
const ROWS: u16 = 40;
/// How long a recording may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What was shown at a time, in seconds from the start.
pub(crate) struct Shown {
    pub(crate) at: f64,
    pub(crate) text: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, columns, command] = words.as_slice() else {
        eprintln!("usage: record NAME COLUMNS COMMAND");
        return ExitCode::from(2);
    };
    let columns: u16 = columns.parse().unwrap();
    let ended = tempfile::NamedTempFile::new().unwrap();
    let script = format!("{command}\necho $? >{}", ended.path().display());
    let (shown, code) = record(&script, columns, ended.path());
    write(
        &PathBuf::from(format!("{name}.cast")),
        &cast(&shown, columns),
    );
    write(
        &PathBuf::from(format!("{name}.svg")),
        &picture::svg(&shown, columns),
    );
    ExitCode::from(code)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Runs the script until it has written its exit code.
fn record(script: &str, columns: u16, ended: &Path) -> (Vec<Shown>, u8) {
    let start = Instant::now();
    let colors = [("TERM", "xterm-256color"), ("COLORTERM", "")];
    let mut pty = Pty::spawn(
        Path::new("/bin/sh"),
        &["-c", script],
        &colors,
        columns,
        ROWS,
    );
    let mut shown = Vec::new();
    let mut passed = 0;
    loop {
        let code = fs::read_to_string(ended).unwrap_or_default();
        let done = code.ends_with('\n');
        let seen = if done { pty.wait().1 } else { pty.seen() };
        // A character may have arrived by half: it is shown when it is whole.
        let whole = seen.trim_end_matches('\u{fffd}');
        if whole.len() > passed && whole.is_char_boundary(passed) {
            shown.push(Shown {
                at: start.elapsed().as_secs_f64(),
                text: whole[passed..].to_owned(),
            });
            passed = whole.len();
        }
        if done {
            return (shown, code.trim().parse().unwrap_or(1));
        }
        assert!(start.elapsed() < LIMIT, "no end after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The recording: a header, then one event a line.
fn cast(shown: &[Shown], columns: u16) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let header = serde_json::json!({
        "version": 2, "width": columns, "height": ROWS, "timestamp": now.as_secs(),
        "env": {"TERM": "xterm-256color"},
    });
    let mut text = format!("{header}\n");
    for one in shown {
        let event = serde_json::json!([(one.at * 1000.0).round() / 1000.0, "o", one.text]);
        text.push_str(&format!("{event}\n"));
    }
    text
}
