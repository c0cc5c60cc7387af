//! What a runtime takes: memory of its commands and of a process that waits, its file, and whether
//! existing containers slow it down.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::alternate::{Contender, measure};
use crate::oci::{Runtime, call, make_bundle, multiples, run_once};
use crate::oci_life::with_memory;
use crate::table::markdown;

/// Containers that exist while a command is measured.
const CROWD: usize = 1000;

/// Measures and returns the markdown report.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report(runtimes: &[Runtime], scratch: &Path) -> io::Result<String> {
    let mut rows = Vec::new();
    for runtime in runtimes {
        let root = scratch.join(format!("state-{}", runtime.name));
        let (peak, waiting) = created(runtime, &root, scratch)?;
        rows.push(vec![
            runtime.name.to_owned(),
            kib(file_size(&runtime.program)?),
            kib(peak),
            kib(waiting),
            kib(least_limit(runtime, &root, scratch)?),
        ]);
    }
    let head = [
        "program",
        "file KiB",
        "peak RSS of create KiB",
        "anonymous memory of a waiting init KiB",
        "least memory limit of run true KiB",
    ];
    let mut out = format!("\nWhat they take:\n\n{}", markdown(&head, &rows));
    if let Some(ours) = runtimes.first() {
        out += &crowd(ours, scratch)?;
    }
    Ok(out)
}

fn kib(bytes: u64) -> String {
    (bytes >> 10).to_string()
}

fn file_size(program: &Path) -> io::Result<u64> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file());
    Ok(fs::metadata(found.unwrap_or_else(|| program.to_path_buf()))?.len())
}

/// Peak resident memory of `create`, and the anonymous memory of the process that it leaves waiting.
fn created(runtime: &Runtime, root: &Path, scratch: &Path) -> io::Result<(u64, u64)> {
    let bundle = scratch.join("sleeper").display().to_string();
    let id = format!("bench-size-{}-{}", std::process::id(), runtime.name);
    let (file, report) = (scratch.join("pid"), scratch.join("rss"));
    // time(1) reads what wait4 tells: the largest of the process and of what it reaped.
    let status = Command::new("/usr/bin/time")
        .args(["-f", "%M", "-o"])
        .arg(&report)
        .arg(&runtime.program)
        .arg("--root")
        .arg(root)
        .args(["create", "--bundle", &bundle, "--pid-file"])
        .arg(&file)
        .arg(&id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "{} create: {status}",
            runtime.name
        )));
    }
    let peak: u64 = fs::read_to_string(&report)?.trim().parse().unwrap_or(0);
    let pid = fs::read_to_string(&file)?;
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim()))?;
    let anonymous = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .unwrap_or(0);
    call(&runtime.program, root, &["delete", "--force", &id])?;
    Ok((peak << 10, anonymous << 10))
}

/// The least memory limit under which `run true` works, to 4 KiB, three times in a row.
fn least_limit(runtime: &Runtime, root: &Path, scratch: &Path) -> io::Result<u64> {
    const PAGE: u64 = 4096;
    let mut n = 0;
    let mut works = |limit: u64| -> io::Result<bool> {
        let bundle = scratch.join(format!("least-{}-{n}", runtime.name));
        n += 1;
        make_bundle(&bundle, |spec| with_memory(spec, limit))?;
        let mut all = true;
        for attempt in 0..3 {
            let id = format!(
                "bench-least-{}-{}-{n}-{attempt}",
                std::process::id(),
                runtime.name
            );
            let ran = run_once(&runtime.program, root, &bundle, &id).is_ok();
            if !ran {
                let _ = call(&runtime.program, root, &["delete", "--force", &id]);
            }
            all &= ran;
        }
        fs::remove_dir_all(&bundle)?;
        Ok(all)
    };
    let (mut low, mut high) = (0, 16 << 20 >> 12);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if works(middle * PAGE)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high * PAGE)
}

/// Records of containers that have ended, as many copies of one.
fn populate(ours: &Runtime, root: &Path, bundle: &Path) -> io::Result<()> {
    let id = format!("bench-crowd-{}", std::process::id());
    let bundle = bundle.display().to_string();
    call(
        &ours.program,
        root,
        &["run", "--keep", "--bundle", &bundle, &id],
    )?;
    let record = fs::read_to_string(root.join(&id).join("state.json"))?;
    for n in 0..CROWD {
        let name = format!("{id}-{n}");
        let dir = root.join(&name);
        fs::create_dir(&dir)?;
        let record = record.replace(&format!("{id:?}"), &json!(name).to_string());
        fs::write(dir.join("state.json"), record)?;
    }
    call(&ours.program, root, &["delete", &id])
}

/// Whether commands of one container are slower where a thousand others are recorded.
fn crowd(ours: &Runtime, scratch: &Path) -> io::Result<String> {
    let bundle = scratch.join("default-spec");
    let (alone, crowded): (PathBuf, PathBuf) = (scratch.join("alone"), scratch.join("crowd"));
    populate(ours, &crowded, &bundle)?;
    let mut contenders: Vec<Contender<'_>> = [("alone", &alone), ("coffer-oci", &crowded)]
        .into_iter()
        .map(|(name, root)| {
            let bundle = &bundle;
            let mut n = 0_u32;
            Contender {
                name: name.to_owned(),
                run: Box::new(move || {
                    n += 1;
                    let id = format!("bench-{}-{n}", root.display().to_string().len());
                    let words = bundle.display().to_string();
                    call(
                        &ours.program,
                        root,
                        &["run", "--keep", "--bundle", &words, &id],
                    )?;
                    call(&ours.program, root, &["state", &id])?;
                    call(&ours.program, root, &["delete", &id])
                }),
            }
        })
        .collect();
    let samples = measure(&mut contenders, 2, 20)?;
    let table = multiples(&contenders, &samples, 0);
    Ok(format!(
        "\n`run --keep`, `state`, `delete` without other containers (alone) and beside {CROWD}:\n\n{table}"
    ))
}
