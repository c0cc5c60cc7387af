//! The other commands: a whole life in four commands, one more process, `state` and `kill`.
//!
//! A life's container belongs to nobody when its creator ends: we adopt and reap it, so that its CPU
//! time counts for all alike.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::alternate::{Contender, measure};
use crate::oci::{Runtime, call, make_bundle, multiples};
use crate::oci_floor::Floor;

/// Measures and returns the markdown report.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report(
    floor: &Floor,
    runtimes: &[Runtime],
    scratch: &Path,
    rounds: usize,
) -> io::Result<String> {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    let bundle = scratch.join("sleeper");
    make_bundle(&bundle, |spec| {
        spec["process"]["args"] = json!(["/bin/busybox", "sleep", "1000"]);
    })?;
    let mut out = String::new();
    out += &lives(floor, runtimes, scratch, &bundle, rounds)?;
    let running: Vec<Running<'_>> = runtimes
        .iter()
        .map(|runtime| Running::start(runtime, scratch, &bundle))
        .collect::<io::Result<_>>()?;
    let Some(first) = running.first() else {
        return Ok(out);
    };
    let (pid, cgroup) = (first.pid.as_str(), first.id.as_str());
    let at_floor = || floor.exec(pid, cgroup);
    out += &command(&running, "exec", &["/bin/true"], &at_floor, rounds)?;
    let nothing = || floor.nothing();
    out += &command(&running, "state", &[], &nothing, rounds)?;
    // busybox sleeps through it as the first of its pid namespace.
    out += &command(&running, "kill", &["USR1"], &nothing, rounds)?;
    Ok(out)
}

fn lives(
    floor: &Floor,
    runtimes: &[Runtime],
    scratch: &Path,
    bundle: &Path,
    rounds: usize,
) -> io::Result<String> {
    let plain = scratch.join("default-spec");
    let mut contenders = vec![Contender {
        name: "floor of run".to_owned(),
        run: Box::new(|| floor.run(&plain, false, false, "-")),
    }];
    contenders.extend(runtimes.iter().map(|runtime| {
        let mut n = 0_u32;
        Contender {
            name: runtime.name.to_owned(),
            run: Box::new(move || {
                n += 1;
                let id = format!("bench-life-{}-{}-{n}", std::process::id(), runtime.name);
                life(runtime, scratch, bundle, &id)
            }),
        }
    }));
    let samples = measure(&mut contenders, 3, rounds)?;
    let table = multiples(&contenders, &samples, 0);
    Ok(format!(
        "\n`create`, `start`, `kill KILL`, `delete`, {rounds} rounds:\n\n{table}"
    ))
}

fn root_of(runtime: &Runtime, scratch: &Path) -> std::path::PathBuf {
    scratch.join(format!("state-{}", runtime.name))
}

fn life(runtime: &Runtime, scratch: &Path, bundle: &Path, id: &str) -> io::Result<()> {
    let root = root_of(runtime, scratch);
    let bundle = bundle.display().to_string();
    call(
        &runtime.program,
        &root,
        &["create", "--bundle", &bundle, id],
    )?;
    call(&runtime.program, &root, &["start", id])?;
    call(&runtime.program, &root, &["kill", id, "KILL"])?;
    // `delete` refuses what has not ended yet; its end is ours to see.
    reap()?;
    call(&runtime.program, &root, &["delete", id])
}

/// Waits for the one process that we have adopted.
fn reap() -> io::Result<()> {
    rustix::process::wait(rustix::process::WaitOptions::empty())?;
    Ok(())
}

/// A container that runs while its commands are measured.
struct Running<'a> {
    runtime: &'a Runtime,
    root: std::path::PathBuf,
    id: String,
    pid: String,
}

impl<'a> Running<'a> {
    fn start(runtime: &'a Runtime, scratch: &Path, bundle: &Path) -> io::Result<Self> {
        let root = root_of(runtime, scratch);
        let id = format!("bench-run-{}-{}", std::process::id(), runtime.name);
        let file = scratch.join("pid");
        let (bundle, path) = (bundle.display().to_string(), file.display().to_string());
        let words = [
            "run",
            "--detach",
            "--pid-file",
            &path,
            "--bundle",
            &bundle,
            &id,
        ];
        call(&runtime.program, &root, &words)?;
        let pid = fs::read_to_string(&file)?;
        Ok(Self {
            runtime,
            root,
            id,
            pid,
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = call(
            &self.runtime.program,
            &self.root,
            &["delete", "--force", &self.id],
        );
        let _ = reap();
    }
}

fn command(
    running: &[Running<'_>],
    verb: &str,
    words: &[&str],
    floor: &dyn Fn() -> io::Result<()>,
    rounds: usize,
) -> io::Result<String> {
    let mut contenders = vec![Contender {
        name: "floor".to_owned(),
        run: Box::new(floor),
    }];
    contenders.extend(running.iter().map(|one| Contender {
        name: one.runtime.name.to_owned(),
        run: Box::new(move || {
            let mut line = vec![verb, one.id.as_str()];
            line.extend(words);
            call(&one.runtime.program, &one.root, &line)
        }),
    }));
    let samples = measure(&mut contenders, 3, rounds)?;
    let table = multiples(&contenders, &samples, 0);
    Ok(format!("\n`{verb}`, {rounds} rounds:\n\n{table}"))
}

/// A document with a memory limit.
pub(crate) fn with_memory(spec: &mut Value, limit: u64) {
    spec["linux"]["resources"]["memory"] = json!({ "limit": limit });
}
