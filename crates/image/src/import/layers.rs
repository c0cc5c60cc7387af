//! Unpacks the layers that are missing, in parallel.
//!
//! Workers take layers from the bottom up. One that needs to look at the layers below (a directory
//! that its tar does not name) waits on the board until those are done; the lowest unfinished layer
//! never waits, so there is always progress.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Chosen, Layer};
use crate::{
    Error, Limits, Progress,
    layout::Layout,
    pipe::{Cancel, pipe},
    stack::Stack,
    state::{self, LayerRecord},
    unpack,
};

/// More threads than this only compete for the disk.
const WORKERS_MAX: usize = 4;

/// What all layers of an import share.
pub(super) struct Job<'a> {
    pub(super) layout: &'a Layout,
    /// Layers of the store, by chain id: their directories.
    pub(super) known: &'a BTreeMap<String, PathBuf>,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
    pub(super) cancel: &'a Cancel<'a>,
}

/// A layer in its passing directory, complete.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) path: PathBuf,
    pub(super) record: LayerRecord,
}

struct Task<'a> {
    layer: &'a Layer,
    index: usize,
    path: PathBuf,
}

/// What is done, for those who wait for it.
struct Board<'a> {
    done: Mutex<BTreeMap<String, PathBuf>>,
    bell: Condvar,
    cancel: &'a Cancel<'a>,
}

/// Unpacks what is missing; `passing` names every directory that is made, also on failure.
pub(super) fn unpack_all(
    job: &Job<'_>,
    chosen: &[Chosen],
    passing: &mut Vec<PathBuf>,
) -> Result<Vec<Made>, Error> {
    let tasks = tasks(job, chosen, passing);
    let board = Board {
        done: Mutex::new(job.known.clone()),
        bell: Condvar::new(),
        cancel: job.cancel,
    };
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let first_error = Mutex::new(None);
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(WORKERS_MAX);
    thread::scope(|scope| {
        for _ in 0..workers.min(tasks.len()) {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match one(job, task, &board) {
                        Ok(layer) => {
                            board.post(&task.layer.chain, layer.path.join("diff"));
                            lock(&made).push(layer);
                        }
                        Err(error) => {
                            lock(&first_error).get_or_insert(error);
                            job.cancel.fail();
                            board.bell.notify_all();
                            return;
                        }
                    }
                }
            });
        }
    });
    match first_error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(made.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each missing layer once, bottom up; what is shared is reported at once.
fn tasks<'a>(job: &Job<'_>, chosen: &'a [Chosen], passing: &mut Vec<PathBuf>) -> Vec<Task<'a>> {
    let mut seen = HashSet::new();
    let mut tasks = Vec::new();
    for image in chosen {
        (job.progress)(Progress::Layers {
            total: image.layers.len(),
        });
        for (index, layer) in image.layers.iter().enumerate() {
            if job.known.contains_key(&layer.chain) || !seen.insert(&layer.chain) {
                let digest = layer.blob.clone();
                (job.progress)(Progress::LayerDone {
                    digest,
                    index,
                    shared: true,
                });
                continue;
            }
            let path = job.layout.passing("new");
            passing.push(path.clone());
            tasks.push(Task { layer, index, path });
        }
    }
    tasks
}

fn one(job: &Job<'_>, task: &Task<'_>, board: &Board<'_>) -> Result<Made, Error> {
    let Task { layer, index, path } = task;
    let diff = path.join("diff");
    let mut make = fs::DirBuilder::new();
    make.mode(0o700)
        .create(path)
        .map_err(Error::io("make directory", path))?;
    make.mode(0o755)
        .create(&diff)
        .map_err(Error::io("make directory", &diff))?;
    // The umask has taken bits away; a layer that does not describe its root gets this.
    fs::set_permissions(&diff, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(Error::io("set the mode of", &diff))?;
    let blob = File::open(&layer.file).map_err(Error::io("open", &layer.file))?;
    let consumed = AtomicU64::new(0);
    let tick = || {
        (job.progress)(Progress::Unpack {
            digest: layer.blob.clone(),
            index: *index,
            bytes: consumed.load(Ordering::Relaxed),
            total: layer.size,
        });
    };
    let digest = thread::scope(|scope| {
        let (producer, pipe) = pipe(job.cancel, &tick);
        scope.spawn(|| producer.run(blob, job.limits, &consumed));
        let mut lower = || board.wait(&layer.below);
        let mut pipe = unpack::unpack(pipe, &diff, &mut lower, job.limits)?;
        Ok(pipe.digest())
    })
    .map_err(|error: unpack::Error| failed(layer, error.sorted()))?;
    match digest {
        Some(digest) if digest == layer.diff_id => {}
        other => {
            return Err(Error::Digest {
                what: format!("layer {}, unpacked,", layer.blob),
                expected: layer.diff_id.clone(),
                actual: other.unwrap_or_default(),
            });
        }
    }
    let (bytes, inodes) = usage(&diff).map_err(Error::io("measure", &diff))?;
    let record = LayerRecord {
        version: state::VERSION,
        chain: layer.chain.clone(),
        diff_id: layer.diff_id.clone(),
        dir: String::new(),
        bytes,
        inodes,
    };
    let json = serde_json::to_vec(&record).map_err(|error| Error::Database {
        act: "print a layer's record",
        source: error.into(),
    })?;
    let file = path.join("layer.json");
    fs::write(&file, json).map_err(Error::io("write", &file))?;
    (job.progress)(Progress::LayerDone {
        digest: layer.blob.clone(),
        index: *index,
        shared: false,
    });
    Ok(Made {
        path: path.clone(),
        record,
    })
}

fn failed(layer: &Layer, error: unpack::Error) -> Error {
    let digest = layer.blob.clone();
    match error {
        unpack::Error::Cancelled => Error::Cancelled,
        unpack::Error::Limit(text) => Error::Limit(format!("layer {digest}: {text}")),
        unpack::Error::Io { entry, source, .. } => Error::Io {
            act: "unpack a layer's entry",
            path: entry.into(),
            source,
        },
        error => {
            let hostile = error.is_invalid_input();
            Error::Layer {
                digest,
                source: Box::new(error),
                hostile,
            }
        }
    }
}

impl Board<'_> {
    fn post(&self, chain: &str, diff: PathBuf) {
        lock(&self.done).insert(chain.to_owned(), diff);
        self.bell.notify_all();
    }

    fn wait(&self, chains: &[String]) -> Result<Stack, unpack::Error> {
        let mut done = lock(&self.done);
        loop {
            if let Some(paths) = chains
                .iter()
                .map(|chain| done.get(chain).cloned())
                .collect()
            {
                return Ok(Stack(paths));
            }
            if self.cancel.is_set() {
                return Err(unpack::Error::Cancelled);
            }
            // The caller's wish to cancel rings no bell.
            let wait = self.bell.wait_timeout(done, Duration::from_millis(50));
            done = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Bytes allocated and inodes below `dir`, hard links counted once.
fn usage(dir: &Path) -> std::io::Result<(u64, u64)> {
    let (mut bytes, mut inodes) = (0, 0);
    let mut linked = HashSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let meta = fs::symlink_metadata(&dir)?;
        bytes += meta.blocks() * 512;
        inodes += 1;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                todo.push(entry.path());
            } else if meta.nlink() == 1 || linked.insert(meta.ino()) {
                bytes += meta.blocks() * 512;
                inodes += 1;
            }
        }
    }
    Ok((bytes, inodes))
}
