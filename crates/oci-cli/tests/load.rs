//! Short-lived containers on a machine that has no time for them: none hangs, none is left.

mod common;

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Oci, script};

const LINES: usize = 4;
const RUNS: usize = 50;
/// Far more than any of them needs, far less than a hang takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn two_hundred_runs_under_load_end() {
    let (oci, bundle) = (Oci::new(), script("exit 3"));
    let path = bundle.path().to_str().expect("UTF-8");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // As many as there are processors, and one.
        for _ in 0..=thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::black_box(());
                }
            });
        }
        let lines: Vec<_> = (0..LINES)
            .map(|line| {
                let oci = &oci;
                scope.spawn(move || -> Result<(), String> {
                    for n in 0..RUNS {
                        one(oci, path, &oci.id(&format!("{line}-{n}")))?;
                    }
                    Ok(())
                })
            })
            .collect();
        let ended: Vec<_> = lines.into_iter().map(|line| line.join()).collect();
        // Before anything panics: the scope waits for the load.
        over.store(true, Ordering::Relaxed);
        for line in ended {
            assert_eq!(line.expect("no panic"), Ok(()));
        }
    });
    oci.assert_empty();
}

/// Its own words if it ends otherwise than its program, or not at all.
fn one(oci: &Oci, bundle: &str, id: &str) -> Result<(), String> {
    let mut command = oci.command(&["run", "-b", bundle, id]);
    let mut run = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if run.try_wait().map_err(|error| error.to_string())?.is_some() {
            let output = run.wait_with_output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr);
            return match output.status.code() {
                Some(3) if said.is_empty() => Ok(()),
                _ => Err(format!("{id}: {}: {said}", output.status)),
            };
        }
        thread::sleep(Duration::from_millis(2));
    }
    let stack = std::fs::read_to_string(format!("/proc/{}/stack", run.id()));
    let _ = run.kill();
    let _ = run.wait();
    Err(format!("{id} hangs: {}", stack.unwrap_or_default()))
}
