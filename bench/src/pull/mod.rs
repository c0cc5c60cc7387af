//! A pull with its unpacking into an empty store: coffer against Debian's containerd, podman, and
//! skopeo with umoci, and all of them against what the machine itself can do.
//!
//! ```text
//! bench pull ─► unshare --net --mount ─► bench stage-pull
//!                                          ├ registry on 127.0.0.1, from memory    (crate testing)
//!                                          ├ each round: floor, then every tool in a shuffled order
//!                                          └ tables
//! ```
//! The registry is our own, in this process: it serves whole blobs from memory with one write, so
//! that of two cores as much as possible is left to whoever pulls. It is the same for all.

mod content;
mod floor;
mod tools;
mod watch;

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use testing::{image::digest, registry::Server};

use crate::{
    alternate::Dice,
    scratch::Scratch,
    stats::{Sample, Summary, median, ms, ratio},
    table::markdown,
};
use content::Form;
use floor::Floor;
use tools::{Cost, Tool};

/// The word that runs the measurement itself, in namespaces of its own.
pub(crate) const STAGE: &str = "stage-pull";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Measures in namespaces of its own and returns the markdown report. `only`: names of tools and of
/// forms; where none of a kind is named, all of it.
///
/// # Errors
/// A program that is not there or fails.
pub(crate) fn report(bin: &Path, rounds: usize, only: &[String]) -> io::Result<String> {
    let output = Command::new("unshare")
        .args(["--net", "--mount", "/bin/sh", "-c"])
        .arg("ip link set lo up && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe()?)
        .args([STAGE, "--rounds", &rounds.to_string(), "--bin"])
        .arg(bin)
        .args(only)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the pulls: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The measurement.
///
/// # Errors
/// As [`report`].
pub(crate) fn stage(bin: &Path, rounds: usize, only: &[String]) -> io::Result<String> {
    eprintln!("bench: making the image");
    let tars = content::tars()?;
    let raw: u64 = tars.iter().map(|tar| tar.len() as u64).sum();
    let tools = named(only, Tool::ALL, Tool::name);
    let mut out = String::new();
    // ext4 without a journal looks again and again at inodes that were freed in the last minutes before it
    // takes others: the files of all stores stay until the end, without what was in them.
    let scratch = Scratch::new("coffer-bench-pull", &std::env::temp_dir())?;
    for form in named(only, Form::ALL, Form::name) {
        let blobs = form.pack_all(&tars)?;
        let packed: u64 = blobs.iter().map(|blob| blob.len() as u64).sum();
        let server = Server::start()?;
        let name = publish(&server, form, &tars, &blobs)?;
        let hosts = Scratch::new("coffer-bench-hosts", &std::env::temp_dir())?;
        let at = hosts.path().join(server.host());
        fs::create_dir_all(&at)?;
        fs::write(
            at.join("hosts.toml"),
            // containerd 1.6 takes no file without the table.
            format!("server = {:?}\n[host]\n", server.url()),
        )?;
        let pulls = Pulls {
            bin,
            scratch: &scratch.path().join(form.name()),
            hosts: hosts.path(),
            name: &name,
            form,
            blobs: &blobs,
            tars: &tars,
        };
        let known: Vec<Tool> = tools.iter().copied().filter(|t| t.knows(form)).collect();
        let (floors, costs) = pulls.measure(&known, rounds).inspect_err(|_| {
            // The form before took many minutes.
            eprintln!("{out}");
        })?;
        out += &format!(
            "\n{}: {} layers, {} files, {} MB packed, {} MB unpacked; {rounds} rounds:\n\n",
            form.name(),
            tars.len(),
            content::FILES,
            packed / 1_000_000,
            raw / 1_000_000,
        );
        out += &table(&known, &floors, &costs);
    }
    Ok(out)
}

/// What words name, or all where they name nothing of the kind.
fn named<T: Copy, const N: usize>(
    words: &[String],
    all: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Vec<T> {
    let wanted = |thing: &T| {
        let mut words = words.iter();
        words.any(|word| name(*thing).starts_with(word.as_str()))
    };
    let found: Vec<T> = all.into_iter().filter(wanted).collect();
    if found.is_empty() { all.into() } else { found }
}

fn publish(server: &Server, form: Form, tars: &[Vec<u8>], blobs: &[Vec<u8>]) -> io::Result<String> {
    let diff_ids: Vec<String> = tars.iter().map(|tar| digest(tar)).collect();
    let config = serde_json::to_vec(&json!({
        "os": "linux",
        "architecture": testing::image::native_architecture(),
        "config": { "Cmd": ["/bin/true"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))?;
    let described = |kind: &str, data: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": digest(data),
            "size": data.len(),
        })
    };
    let kind = format!("layer.v1.tar+{}", form.name());
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described("config.v1+json", &config),
        "layers": blobs.iter().map(|blob| described(&kind, blob)).collect::<Vec<_>>(),
    }))?;
    server.put_blob(&config);
    for blob in blobs {
        server.put_blob(blob);
    }
    Ok(server.put_manifest("bench/app", form.name(), MANIFEST, manifest))
}

struct Pulls<'a> {
    bin: &'a Path,
    scratch: &'a Path,
    hosts: &'a Path,
    name: &'a str,
    form: Form,
    blobs: &'a [Vec<u8>],
    tars: &'a [Vec<u8>],
}

impl Pulls<'_> {
    /// One uncounted round, then `rounds`: the floors, and the costs by tool.
    fn measure(&self, tools: &[Tool], rounds: usize) -> io::Result<(Vec<Floor>, Vec<Vec<Cost>>)> {
        let (mut floors, mut costs) = (Vec::new(), vec![Vec::new(); tools.len()]);
        let mut order: Vec<usize> = (0..tools.len()).collect();
        let mut dice = Dice::seeded();
        fs::create_dir(self.scratch)?;
        for round in 0..=rounds {
            eprintln!(
                "bench: {} pulls, round {round} of {rounds}",
                self.form.name()
            );
            rustix::fs::sync();
            let floor = floor::measure(
                &self.scratch.join(format!("{round}-floor")),
                self.form,
                self.blobs,
                self.tars,
            )?;
            dice.shuffle(&mut order);
            for &at in &order {
                let tool = tools[at];
                let dir = self.scratch.join(format!("{round}-{at}"));
                let cost = tool.pull(self.bin, &dir, self.hosts, self.name);
                let cost = cost.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", tool.name()))
                })?;
                eprintln!(
                    "bench:   {}: {} ms, {} ms of CPU, {} KiB",
                    tool.name(),
                    cost.wall.as_millis(),
                    cost.cpu.as_millis(),
                    cost.memory
                );
                if round > 0 {
                    costs[at].push(cost);
                }
            }
            if round > 0 {
                floors.push(floor);
            }
            empty(self.scratch)?;
        }
        Ok((floors, costs))
    }
}

/// Gives the disk its blocks back, and no inode.
fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let kind = entry?;
        if kind.is_dir() {
            empty(&path)?;
        } else if kind.is_file() {
            fs::File::options().write(true).truncate(true).open(&path)?;
        }
    }
    Ok(())
}

fn table(tools: &[Tool], floors: &[Floor], costs: &[Vec<Cost>]) -> String {
    let samples = |costs: &[Cost]| -> Vec<Sample> {
        let sample = |cost: &Cost| Sample {
            wall: cost.wall,
            cpu: cost.cpu,
        };
        costs.iter().map(sample).collect()
    };
    let floor: Vec<Sample> = floors
        .iter()
        .map(|floor| Sample {
            wall: floor.larger(),
            cpu: Duration::ZERO,
        })
        .collect();
    let own = costs
        .first()
        .map(|costs| samples(costs))
        .unwrap_or_default();
    let two = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let mut rows = Vec::new();
    for (tool, costs) in tools.iter().zip(costs) {
        let theirs = samples(costs);
        let Some(summary) = Summary::of(&theirs) else {
            continue;
        };
        let again = median(costs.iter().filter_map(|cost| cost.again).collect());
        let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or(0);
        rows.push(vec![
            tool.name().to_owned(),
            ms(summary.min),
            ms(summary.median),
            ms(summary.cpu),
            format!("{:.1}", memory as f64 / 1024.0),
            again.map_or("-".to_owned(), ms),
            two(ratio(&theirs, &own)),
            two(ratio(&theirs, &floor)),
        ]);
    }
    for (what, times) in [
        (
            "floor: digests, decompression",
            pick(floors, |floor| floor.compute),
        ),
        ("floor: disk", pick(floors, |floor| floor.disk)),
        ("beside it: files", pick(floors, |floor| floor.files)),
        (
            "beside it: digests, decompression, files",
            pick(floors, |floor| floor.together),
        ),
    ] {
        let least = times.iter().min().copied();
        let cells = [least, median(times)].map(|time| time.map_or("-".to_owned(), ms));
        let [least, middle] = cells;
        let mut row = vec![what.to_owned(), least, middle];
        row.resize(8, "-".to_owned());
        rows.push(row);
    }
    markdown(
        &[
            "program",
            "min ms",
            "median ms",
            "CPU ms",
            "peak MiB",
            "again ms",
            "it / coffer",
            "it / floor",
        ],
        &rows,
    )
}

fn pick(floors: &[Floor], time: impl Fn(&Floor) -> Duration) -> Vec<Duration> {
    floors.iter().map(time).collect()
}
