//! `coffer-oci` against Debian's crun and runc, youki where it is given, and against what the kernel
//! alone costs (`oci_floor.c`), on the same bundles.
//!
//! crun 1.8 refuses to run where v1 and v2 control groups are mixed ("hybrid"), so on such a machine
//! all of them run in a private mount namespace from which the v2 hierarchy is unmounted.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::alternate::{Contender, measure};
use crate::oci_floor::Floor;
use crate::seccomp::default_profile::runtime_default;
use crate::stats::{Sample, Summary, ms};
use crate::table::markdown;
use crate::{oci_life as life, oci_size as size};

/// One spec to compare on: what it adds to the default document of `runc spec`.
struct Case {
    name: &'static str,
    change: fn(&mut Value),
    net: Net,
    /// What the floor is told of it.
    filter: bool,
    limits: bool,
}

/// Whose network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Net {
    Own,
    Host,
    Joined,
}

const PLAIN: Case = Case {
    name: "default spec",
    change: |_| {},
    net: Net::Own,
    filter: false,
    limits: false,
};

const CASES: &[Case] = &[
    PLAIN,
    Case {
        name: "with memory, cpu and pids limits",
        change: limits,
        limits: true,
        ..PLAIN
    },
    Case {
        name: "with the RuntimeDefault seccomp profile",
        change: seccomp,
        filter: true,
        ..PLAIN
    },
    Case {
        name: "joined network namespace",
        net: Net::Joined,
        ..PLAIN
    },
    Case {
        name: "host network",
        change: host_network,
        net: Net::Host,
        ..PLAIN
    },
];

/// The hidden first argument of the second start, inside the private mount namespace.
pub(crate) const STAGE: &str = "oci-stage";

/// As [`report`], in a mount namespace in which crun runs too.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report_privately(
    coffer_oci: &Path,
    youki: Option<&Path>,
    rounds: usize,
) -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let unified = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        (right.starts_with("cgroup2 ") && point != "/sys/fs/cgroup").then(|| point.to_owned())
    });
    let Some(unified) = unified else {
        return report(coffer_oci, youki, rounds);
    };
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c"])
        .arg("umount \"$1\" && shift && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe()?)
        .arg(unified)
        .args([STAGE, "--rounds", &rounds.to_string(), "--coffer-oci"])
        .arg(coffer_oci)
        .args(youki.map(|path| format!("--youki={}", path.display())))
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

/// A runtime under comparison.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
}

/// Ours, and those of others that are there.
pub(crate) fn runtimes(coffer_oci: &Path, youki: Option<&Path>) -> Vec<Runtime> {
    let mut list = vec![
        ("coffer-oci", coffer_oci.to_path_buf()),
        ("crun", PathBuf::from("crun")),
        ("runc", PathBuf::from("runc")),
    ];
    list.extend(youki.map(|path| ("youki", path.to_path_buf())));
    list.into_iter()
        .map(|(name, program)| Runtime { name, program })
        .collect()
}

/// Compares all programs on all cases and returns the markdown report.
///
/// # Errors
///
/// A program that cannot be run or that fails.
pub(crate) fn report(coffer_oci: &Path, youki: Option<&Path>, rounds: usize) -> io::Result<String> {
    // State is on a tmpfs, as it is on a node (/run): a disk's filesystem would be measured, too.
    let scratch = tempfile::Builder::new()
        .prefix("coffer-bench")
        .tempdir_in("/dev/shm")?;
    let floor = Floor::build(scratch.path())?;
    let network = Network::new()?;
    let mut out = String::new();
    let runtimes = runtimes(coffer_oci, youki);
    for case in CASES {
        let bundle = scratch.path().join(case.name.replace(' ', "-"));
        make_bundle(&bundle, |spec| {
            (case.change)(spec);
            if case.net == Net::Joined {
                join_network(spec, &network.path());
            }
        })?;
        let net = match case.net {
            Net::Own => "-".to_owned(),
            Net::Host => "host".to_owned(),
            Net::Joined => network.path(),
        };
        let mut contenders: Vec<Contender<'_>> = vec![Contender {
            name: "floor".to_owned(),
            run: Box::new(|| floor.run(&bundle, case.filter, case.limits, &net)),
        }];
        contenders.extend(runtimes.iter().map(|runtime| {
            let root = scratch.path().join(format!("state-{}", runtime.name));
            let bundle = bundle.clone();
            let mut n = 0_u32;
            Contender {
                name: runtime.name.to_owned(),
                run: Box::new(move || {
                    n += 1;
                    let id = format!("bench-{}-{}-{n}", std::process::id(), runtime.name);
                    run_once(&runtime.program, &root, &bundle, &id)
                }),
            }
        }));
        let samples = measure(&mut contenders, 3, rounds)?;
        out.push_str(&format!(
            "\n`run true`, {}, {rounds} rounds:\n\n",
            case.name
        ));
        out.push_str(&multiples(&contenders, &samples, 0));
    }
    out += &life::report(&floor, &runtimes, scratch.path(), rounds)?;
    out += &size::report(&runtimes, scratch.path())?;
    Ok(out)
}

/// The table of what was measured: CPU as multiples of the contender `base`, and ours against each.
pub(crate) fn multiples(
    contenders: &[Contender<'_>],
    samples: &[Vec<Sample>],
    base: usize,
) -> String {
    let cpu = |at: usize| {
        let samples = samples.get(at).map(Vec::as_slice).unwrap_or_default();
        Summary::of(samples).map_or(0., |summary| summary.cpu.as_secs_f64())
    };
    let ours = contenders
        .iter()
        .position(|contender| contender.name == "coffer-oci")
        .unwrap_or(0);
    let name = contenders.get(base).map_or("", |contender| &contender.name);
    let rows: Vec<Vec<String>> = contenders
        .iter()
        .zip(samples)
        .enumerate()
        .filter_map(|(at, (contender, samples))| {
            let summary = Summary::of(samples)?;
            Some(vec![
                contender.name.clone(),
                ms(summary.min),
                ms(summary.median),
                ms(summary.cpu),
                format!("{:.2}", cpu(at) / cpu(base)),
                format!("{:.2}", cpu(ours) / cpu(at)),
            ])
        })
        .collect();
    let head = [
        "program",
        "min ms",
        "median ms",
        "CPU ms",
        &format!("CPU / {name}"),
        "coffer-oci CPU / it",
    ];
    markdown(&head, &rows)
}

/// A network namespace to join, held by a process that sleeps in it.
struct Network(Child);

impl Network {
    fn new() -> io::Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 3600"])
            .stdout(Stdio::piped())
            .spawn()?;
        // It says so once it is inside.
        if let Some(mut stdout) = holder.stdout.take() {
            stdout.read_exact(&mut [0; 6])?;
        }
        Ok(Self(holder))
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run_once(program: &Path, root: &Path, bundle: &Path, id: &str) -> io::Result<()> {
    let bundle = bundle.to_string_lossy();
    let done = call(program, root, &["run", "--bundle", &bundle, id]);
    if done
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)
    {
        // The container of one that hung is still there.
        let _ = call(program, root, &["delete", "--force", id]);
    }
    done
}

/// No command takes this long, save one that hangs.
const LIMIT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Runs a command to its end. Its container keeps stdio, so that goes nowhere; what went wrong is in
/// a file.
pub(crate) fn call(program: &Path, root: &Path, words: &[&str]) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let log = root.with_extension("stderr");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut child = Command::new(program)
        .arg("--root")
        .arg(root)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(options.open(&log)?)
        .spawn()?;
    let pidfd = sys::pidfd::open(i32::try_from(child.id()).map_err(io::Error::other)?)?;
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LIMIT))?;
    if ended == 0 {
        child.kill()?;
    }
    let status = child.wait()?;
    if ended == 0 {
        let took = format!("{words:?}: not done after {} seconds", LIMIT.tv_sec);
        return Err(io::Error::new(io::ErrorKind::TimedOut, took));
    }
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log)?;
    Err(io::Error::other(format!(
        "{words:?}: {status}: {}",
        said.trim()
    )))
}

/// The default document of `runc spec` without a terminal, over a rootfs that holds busybox only.
pub(crate) fn make_bundle(bundle: &Path, change: impl FnOnce(&mut Value)) -> io::Result<()> {
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
        mounts.retain(|m| m["type"] != "sysfs" && m["type"] != "cgroup");
    }
}

fn join_network(spec: &mut Value, path: &str) {
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        for namespace in namespaces.iter_mut().filter(|n| n["type"] == "network") {
            namespace["path"] = json!(path);
        }
    }
}
