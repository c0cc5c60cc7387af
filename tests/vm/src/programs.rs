//! The test programs of the workspace, as cargo built them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A test program.
#[derive(Debug, Clone)]
pub struct Program {
    /// As nextest names it: `container::root_run`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// These test programs of a package.
///
/// # Panics
/// The list or a program is not there.
#[must_use]
pub fn of(package: &str, wanted: &[&str]) -> Vec<Program> {
    let list = crate::cache().join("programs.json");
    let text = fs::read_to_string(&list)
        .unwrap_or_else(|e| panic!("{}: {e}; run `make guest`", list.display()));
    let list: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let find = |short: &&str| {
        let name = format!("{package}::{short}");
        let path = list["rust-binaries"][&name]["binary-path"].as_str();
        let path = path.map(PathBuf::from).filter(|path| path.is_file());
        let path = path.unwrap_or_else(|| panic!("no test program {name}; run `make guest`"));
        Program { name, path }
    };
    wanted.iter().map(find).collect()
}

impl Program {
    /// The names of its tests, also of those that are ignored elsewhere.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn tests(&self) -> Vec<String> {
        let mut command = Command::new(&self.path);
        command.args(["--list", "--format", "terse", "--include-ignored"]);
        let output = command.output().unwrap_or_else(|e| panic!("{self:?}: {e}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        names.map(str::to_owned).collect()
    }
}

/// The directory of the binaries under test.
///
/// # Panics
/// Nothing was built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let path = match std::env::var_os("COFFER_BIN_DIR") {
        Some(dir) => PathBuf::from(dir).join(name),
        None => crate::cache()
            .join("../x86_64-unknown-linux-gnu/debug")
            .join(name),
    };
    let path = fs::canonicalize(&path);
    path.unwrap_or_else(|e| panic!("no {name} (set COFFER_BIN_DIR): {e}"))
}

/// A path as text.
///
/// # Panics
/// It is not UTF-8.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str()
        .unwrap_or_else(|| panic!("{} is not UTF-8", path.display()))
}
