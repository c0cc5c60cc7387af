//! The child of a threaded parent must not panic: std's handler takes locks and allocates. Optimised,
//! this crate has no call into core's panicking at all.

use std::{path::PathBuf, process::Command};

fn optimised() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no_panic");
    let status = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--lib",
            "-p",
            "init",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "--emit=obj", "-Ccodegen-units=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("RUSTFLAGS")
        // Machine code, not bitcode for later.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .status()
        .expect("run cargo");
    assert!(status.success());
    let mut found = Vec::new();
    let mut dirs = vec![target];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("read the target directory") {
            let path = entry.expect("read an entry").path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("init-") && name.ends_with(".o") {
                let time = path
                    .metadata()
                    .and_then(|m| m.modified())
                    .expect("look at it");
                found.push((time, path));
            }
        }
    }
    found.sort();
    found.pop().expect("an object file").1
}

#[test]
fn nothing_can_panic() {
    let object = std::fs::read(optimised()).expect("read the object file");
    let contains = |needle: &[u8]| object.windows(needle.len()).any(|w| w == needle);
    assert!(contains(b"launch"), "it is the right file");
    for symbol in [
        "panicking",
        "panic_fmt",
        "panic_bounds",
        "slice_index",
        "unwrap_failed",
    ] {
        assert!(!contains(symbol.as_bytes()), "calls {symbol}");
    }
}
