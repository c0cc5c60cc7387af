//! A `coffer-oci` with a state directory of its own, and bundles for it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testing::bundle::Bundle;
use testing::leaks::Snapshot;

/// The program under test: `COFFER_OCI`, which `make test` sets for the release build; else that of these
/// tests' own build.
pub(crate) fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let named = std::env::var("COFFER_OCI");
        named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_coffer-oci").to_owned())
    });
    &PROGRAM
}
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A private state directory. When dropped, every container in it is deleted, and the test fails
/// if anything with its name is left.
#[derive(Debug)]
pub(crate) struct Oci {
    dir: TempDir,
    prefix: String,
    before: Snapshot,
}

impl Default for Oci {
    fn default() -> Self {
        Self::new()
    }
}

impl Oci {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("coffer-cli-{}-{count}-", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir()
            .expect("a directory");
        let before = Snapshot::take(&[&prefix]);
        Self {
            dir,
            prefix,
            before,
        }
    }

    /// An id that no other test has: it also names the cgroup.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A place for files of the test.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--root")
            .arg(self.root())
            .args(args.iter().map(AsRef::as_ref));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; stdout and stderr are pipes.
    pub(crate) fn run<S: AsRef<str>>(&self, args: &[S]) -> Done {
        Done::of(
            self.command(args).output().expect("the program starts"),
            args,
        )
    }

    /// Runs a command whose container keeps stdio: it must not hold our pipes.
    pub(crate) fn detached<S: AsRef<str>>(&self, args: &[S]) -> Done {
        let err = self.dir.path().join("stderr");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&err)
            .expect("file");
        let length = file.metadata().expect("metadata").len();
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(file);
        let status = command.status().expect("the program starts");
        let text = std::fs::read(&err).expect("stderr");
        let stderr = text[usize::try_from(length).expect("small")..].to_vec();
        Done::of(
            Output {
                status,
                stdout: Vec::new(),
                stderr,
            },
            args,
        )
    }

    /// The state document of a container.
    pub(crate) fn state(&self, id: &str) -> Value {
        let done = self.run(&["state", id]);
        assert_eq!(done.code, 0, "{done:?}");
        serde_json::from_str(&done.stdout).expect("JSON")
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.state(id)["status"]
            .as_str()
            .expect("a status")
            .to_owned()
    }

    /// Waits until a container has a status.
    pub(crate) fn await_status(&self, id: &str, wanted: &str) {
        eventually(&format!("{id} is {wanted}"), || self.status(id) == wanted);
    }

    /// A created container.
    pub(crate) fn create(&self, name: &str, bundle: &Bundle) -> String {
        let id = self.id(name);
        let bundle = bundle.path().to_str().expect("UTF-8");
        let done = self.detached(&["create", "--bundle", bundle, &id]);
        assert_eq!(done.code, 0, "{done:?}");
        id
    }

    /// A running container.
    pub(crate) fn start(&self, name: &str, bundle: &Bundle) -> String {
        let id = self.create(name, bundle);
        let done = self.run(&["start", &id]);
        assert_eq!(done.code, 0, "{done:?}");
        id
    }

    /// Fails if anything is left of containers; for tests that removed all of theirs.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let left: Vec<_> = std::fs::read_dir(self.root())
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
            .unwrap_or_default();
        let left: Vec<_> = left.into_iter().filter(|name| name != "seccomp~").collect();
        assert!(left.is_empty(), "records left: {left:?}");
        self.before.assert_clean();
    }
}

impl Drop for Oci {
    fn drop(&mut self) {
        let ids = self.run(&["list", "-q"]).stdout;
        for id in ids.lines() {
            self.run(&["delete", "--force", id]);
        }
        if !std::thread::panicking() {
            self.assert_empty();
        }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) args: Vec<String>,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn of<S: AsRef<str>>(output: Output, args: &[S]) -> Self {
        Self {
            args: args.iter().map(|arg| arg.as_ref().to_owned()).collect(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Failed with this code, and stderr holds all of these texts.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        }
        self
    }
}

/// A bundle that sleeps until it is killed.
pub(crate) fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "1000"], |_| {}).expect("a bundle")
}

/// A bundle that runs a shell script.
pub(crate) fn script(text: &str) -> Bundle {
    Bundle::new(&["sh", "-c", text], |_| {}).expect("a bundle")
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What [`finish`] gives for a program that had to be killed; no exit code is as large.
pub(crate) const HUNG: i32 = 1000;

/// Waits for a child, with an end: its exit code, -1 for a signal.
pub(crate) fn finish(child: &mut Child) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return HUNG;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
