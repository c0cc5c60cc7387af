//! `coffer-oci run` of a static `true` against Debian's crun and runc on the same bundles.
//!
//! crun 1.8 refuses to run where v1 and v2 control groups are mixed ("hybrid"), so on such a machine
//! all three run in a private mount namespace from which the v2 hierarchy is unmounted.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::alternate::{Contender, comparison, measure};
use crate::seccomp::default_profile::runtime_default;

/// One spec to compare on: what it adds to the default document of `runc spec`.
struct Case {
    name: &'static str,
    change: fn(&mut Value),
}

const CASES: &[Case] = &[
    Case {
        name: "default spec",
        change: |_| {},
    },
    Case {
        name: "with memory, cpu and pids limits",
        change: limits,
    },
    Case {
        name: "with the RuntimeDefault seccomp profile",
        change: seccomp,
    },
    Case {
        name: "host network",
        change: host_network,
    },
];

/// The hidden first argument of the second start, inside the private mount namespace.
pub(crate) const STAGE: &str = "oci-stage";

/// As [`report`], in a mount namespace in which crun runs too.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report_privately(coffer_oci: &Path, rounds: usize) -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let unified = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        (right.starts_with("cgroup2 ") && point != "/sys/fs/cgroup").then(|| point.to_owned())
    });
    let Some(unified) = unified else {
        return report(coffer_oci, rounds);
    };
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c"])
        .arg("umount \"$1\" && shift && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe()?)
        .arg(unified)
        .args([STAGE, "--rounds", &rounds.to_string(), "--coffer-oci"])
        .arg(coffer_oci)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "the comparison: {}",
            output.status
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Compares all programs on all cases and returns the markdown report.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report(coffer_oci: &Path, rounds: usize) -> io::Result<String> {
    let scratch = tempfile::Builder::new().prefix("coffer-bench").tempdir()?;
    let mut out = String::new();
    for case in CASES {
        let bundle = scratch.path().join(case.name.replace(' ', "-"));
        make_bundle(&bundle, case.change)?;
        let programs = [
            ("coffer-oci", coffer_oci.to_path_buf()),
            ("crun", PathBuf::from("crun")),
            ("runc", PathBuf::from("runc")),
        ];
        let mut contenders: Vec<Contender<'_>> = programs
            .iter()
            .map(|(name, program)| {
                let root = scratch.path().join(format!("state-{name}"));
                let bundle = bundle.clone();
                let mut n = 0_u32;
                Contender {
                    name: (*name).to_owned(),
                    run: Box::new(move || {
                        n += 1;
                        run_once(program, &root, &bundle, &format!("bench-{name}-{n}"))
                    }),
                }
            })
            .collect();
        let samples = measure(&mut contenders, 3, rounds)?;
        let names = programs.each_ref().map(|(name, _)| *name);
        out.push_str(&format!(
            "\n`run true`, {}, {rounds} rounds:\n\n",
            case.name
        ));
        out.push_str(&comparison(&names, &samples));
    }
    Ok(out)
}

fn run_once(program: &Path, root: &Path, bundle: &Path, id: &str) -> io::Result<()> {
    let output = Command::new(program)
        .arg("--root")
        .arg(root)
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {said}", output.status)))
}

/// The default document of `runc spec` without a terminal, over a rootfs that holds busybox only.
fn make_bundle(bundle: &Path, change: fn(&mut Value)) -> io::Result<()> {
    let rootfs = bundle.join("rootfs");
    for dir in ["bin", "proc", "sys", "dev", "tmp"] {
        fs::create_dir_all(rootfs.join(dir))?;
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/true"))?;
    let made = Command::new("runc")
        .arg("spec")
        .current_dir(bundle)
        .status()?;
    if !made.success() {
        return Err(io::Error::other(format!("runc spec: {made}")));
    }
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/true"]);
    // A hard limit above ours needs CAP_SYS_RESOURCE, which a nested root may lack.
    spec["process"]["rlimits"] = json!([]);
    change(&mut spec);
    fs::write(&path, serde_json::to_vec_pretty(&spec)?)
}

fn limits(spec: &mut Value) {
    spec["linux"]["resources"]["memory"] = json!({ "limit": 256 << 20 });
    spec["linux"]["resources"]["cpu"] =
        json!({ "shares": 512, "quota": 50_000, "period": 100_000 });
    spec["linux"]["resources"]["pids"] = json!({ "limit": 128 });
}

/// What a pod's container gets by default: an allow list of some 350 calls on three architectures.
fn seccomp(spec: &mut Value) {
    let profile = runtime_default(&BTreeSet::new());
    spec["linux"]["seccomp"] = serde_json::to_value(profile).unwrap_or_default();
}

fn host_network(spec: &mut Value) {
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|n| n["type"] != "network");
    }
    // sysfs of a network namespace that is not ours cannot be mounted anew in a user's sandbox.
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|m| m["type"] != "sysfs");
    }
}
