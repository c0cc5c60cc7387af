//! S3: somebody exchanges directories and links below the root while mounts are made there
//! (CVE-2021-30465, CVE-2024-45310). Nothing may come about outside.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use common::Bundle;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

/// Longer by COFFER_RACE_SECONDS.
fn duration() -> Duration {
    let seconds = std::env::var("COFFER_RACE_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

#[test]
fn an_exchanger_of_names_gains_nothing() {
    let outside = tempfile::tempdir().unwrap();
    let mut bundle = Bundle::script("true");
    let volume = bundle.root().join("volume");
    fs::create_dir_all(volume.join("dir")).unwrap();
    symlink(outside.path(), volume.join("link")).unwrap();
    fs::create_dir_all(volume.join("up")).unwrap();
    symlink("../../../../../../../..", volume.join("up/link")).unwrap();
    bundle.json["mounts"].as_array_mut().unwrap().extend([
        json!({"destination": "/volume/dir/made", "type": "tmpfs"}),
        json!({"destination": "/volume/up/link/volume/dir/deep/er", "type": "tmpfs"}),
    ]);
    bundle.json["linux"]["devices"] =
        json!([{"path": "/volume/dir/null", "type": "c", "major": 1, "minor": 3}]);
    bundle.json["linux"]["maskedPaths"] = json!(["/volume/dir/made", "/volume/dir"]);
    let stop = AtomicBool::new(false);
    let (mut runs, mut refused) = (0_u32, 0_u32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (volume.join("dir"), volume.join("link"));
                let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            }
        });
        let until = Instant::now() + duration();
        while Instant::now() < until {
            match bundle.try_run() {
                Ok(_) => runs += 1,
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(runs + refused > 10, "{runs} ran, {refused} were refused");
    let found: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
    assert!(found.is_empty(), "{found:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(outside.path().to_str().unwrap()));
    assert!(!mounts.contains(bundle.dir.path().to_str().unwrap()));
}
