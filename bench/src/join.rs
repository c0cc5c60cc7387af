//! What it costs a new process to enter its control group on v1: `0` to `tasks` by the process
//! itself, against a pid to `cgroup.procs`.
//!
//! `cgroup.procs` moves a whole process and takes cgroup_threadgroup_rwsem for writing, which waits
//! for an RCU grace period unless someone else has just paid for one. So there is a pause before
//! each sample, as there is between the starts of containers.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use container::cgroup::{Cgroup, Hierarchy};

use crate::stats::{median, ms};
use crate::table::markdown;

/// The hidden first argument of the process that moves itself about.
pub(crate) const STAGE: &str = "join-stage";
/// Longer than the kernel keeps the lock in its slow state.
const PAUSE: Duration = Duration::from_millis(60);
const WAYS: [(&str, &str); 2] = [
    ("tasks", "\"0\" to `tasks`"),
    ("cgroup.procs", "pid to `cgroup.procs`"),
];

/// Measures in a process of its own, since it changes its control groups.
///
/// # Errors
///
/// Control groups that cannot be made or entered.
pub(crate) fn report(rounds: usize) -> io::Result<String> {
    let hierarchy = Hierarchy::probe().map_err(io::Error::other)?;
    if hierarchy.is_v2() {
        return Ok(
            "\nEntering a control group: cgroup v2 only, processes are cloned into it.\n"
                .to_owned(),
        );
    }
    let path = |n: u8| format!("/coffer-bench-{}-{n}", std::process::id());
    let one = Cgroup::create(&hierarchy, &path(1)).map_err(io::Error::other)?;
    let two = Cgroup::create(&hierarchy, &path(2)).map_err(io::Error::other)?;
    let output = Command::new(std::env::current_exe()?)
        .args([
            STAGE,
            "--rounds",
            &rounds.to_string(),
            one.path(),
            two.path(),
        ])
        .stderr(std::process::Stdio::inherit())
        .output();
    let removed = one.remove().and(two.remove());
    let output = output?;
    removed.map_err(io::Error::other)?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the measurement: {}",
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Moves itself between the two groups and reports.
pub(crate) fn stage(paths: &[String], rounds: usize) -> io::Result<String> {
    let hierarchy = Hierarchy::probe().map_err(io::Error::other)?;
    let open = |path: &String| Cgroup::open(&hierarchy, path).map_err(io::Error::other);
    let groups = paths.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let [one, two] = groups.as_slice() else {
        return Err(io::Error::other("two control groups are needed"));
    };
    let mut rows = Vec::new();
    let mut samples = WAYS.map(|_| Vec::new());
    for round in 0..rounds {
        for (way, samples) in WAYS.iter().zip(&mut samples) {
            let target = if round % 2 == 0 { one } else { two };
            sleep(PAUSE);
            let began = Instant::now();
            enter(target, way.0)?;
            samples.push(began.elapsed());
            // Back, for the other way to have the same path to go.
            enter(if round % 2 == 0 { two } else { one }, "tasks")?;
        }
    }
    for ((_, name), samples) in WAYS.iter().zip(samples) {
        let least = samples.iter().min().copied().unwrap_or_default();
        let most = samples.iter().max().copied().unwrap_or_default();
        let middle = median(samples).unwrap_or_default();
        rows.push(vec![(*name).to_owned(), ms(least), ms(middle), ms(most)]);
    }
    let count = one.join_fds().map_err(io::Error::other)?.len();
    let table = markdown(&["way", "min ms", "median ms", "max ms"], &rows);
    Ok(format!(
        "\nEntering a control group in {count} v1 hierarchies, {rounds} rounds:\n\n{table}"
    ))
}

fn enter(group: &Cgroup, file: &str) -> io::Result<()> {
    let mut dirs: Vec<_> = group
        .paths()
        .into_iter()
        .filter(|(c, _)| !c.is_empty())
        .map(|(_, d)| d)
        .collect();
    dirs.dedup();
    for dir in dirs {
        OpenOptions::new()
            .write(true)
            .open(dir.join(file))?
            .write_all(b"0")?;
    }
    Ok(())
}
