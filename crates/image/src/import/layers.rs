//! Fetches and unpacks the layers that are missing, in parallel.
//!
//! ```text
//!  source -> sha256 -> blob file          one thread a layer         another thread a layer
//!               \-> decompress -> pipe.rs ==================> sha256 -> untar
//! ```
//! Workers take layers from the bottom up. One that needs to look at the layers below (a directory
//! that its tar does not name) waits on the board until those are done; the lowest unfinished layer
//! never waits, so there is always progress.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::Read,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Chosen, From, Layer,
    arriving::{self, Arriving, stopped},
};
use crate::{
    Error, Limits, Progress, Source,
    layout::Layout,
    pipe::{Cancel, Stop, pipe},
    stack::Stack,
    state::{self, LayerRecord},
    store::lock,
    unpack,
};

/// More threads than this only compete for the disk.
const WORKERS_MAX: usize = 4;
/// Layers on their way from a registry at a time: while some wait for the network others unpack.
const FETCHES: usize = 4;
/// Blob bytes between two reports of progress.
const STEP: u64 = 64 << 10;

/// What all layers of an import share.
pub(super) struct Job<'a> {
    pub(super) layout: &'a Layout,
    /// Layers of the store, by chain id: their directories.
    pub(super) known: &'a BTreeMap<String, PathBuf>,
    pub(super) limits: &'a Limits,
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
    pub(super) cancel: &'a Cancel<'a>,
    /// Where layers come from that have no file, and the directory for their blobs.
    pub(super) remote: Option<(&'a dyn Source, &'a Path)>,
}

/// The file of a blob that arrives.
pub(super) fn arrived(dir: &Path, digest: &str) -> PathBuf {
    dir.join(digest.trim_start_matches("sha256:"))
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
    /// Its directory; `None`: the layer is there, only the blob is not.
    path: Option<PathBuf>,
    /// This task fetches the blob; others that need it wait.
    fetches: bool,
}

/// What is done, for those who wait for it.
struct Board<'a> {
    done: Mutex<BTreeMap<Key, PathBuf>>,
    bell: Condvar,
    cancel: &'a Cancel<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Chain(String),
    Blob(String),
}

/// Fetches and unpacks what is missing; `passing` names every directory that is made, also on failure.
pub(super) fn unpack_all(
    job: &Job<'_>,
    chosen: &[Chosen],
    passing: &mut Vec<PathBuf>,
) -> Result<Vec<Made>, Error> {
    let tasks = tasks(job, chosen, passing);
    let board = Board {
        done: Mutex::new(
            job.known
                .iter()
                .map(|(chain, path)| (Key::Chain(chain.clone()), path.clone()))
                .collect(),
        ),
        bell: Condvar::new(),
        cancel: job.cancel,
    };
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let first_error = Mutex::new(None);
    let workers = match job.remote {
        Some(_) => FETCHES,
        None => thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_MAX),
    };
    thread::scope(|scope| {
        for _ in 0..workers.min(tasks.len()) {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match one(job, task, &board) {
                        Ok(layer) => lock(&made).extend(layer),
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

/// Each missing layer and blob once, bottom up; what is shared is reported at once.
fn tasks<'a>(job: &Job<'_>, chosen: &'a [Chosen], passing: &mut Vec<PathBuf>) -> Vec<Task<'a>> {
    let (mut seen, mut fetched) = (HashSet::new(), HashSet::new());
    let mut tasks = Vec::new();
    for image in chosen {
        let layers = image.layers.iter();
        (job.progress)(Progress::Plan {
            layers: layers
                .map(|layer| (layer.blob.digest.clone(), layer.blob.size))
                .collect(),
        });
        for (index, layer) in image.layers.iter().enumerate() {
            let fetches = matches!(layer.from, From::Source) && fetched.insert(&layer.blob.digest);
            let there = job.known.contains_key(&layer.chain) || !seen.insert(&layer.chain);
            if there && !fetches {
                let digest = layer.blob.digest.clone();
                (job.progress)(Progress::LayerDone {
                    digest,
                    index,
                    shared: true,
                });
                continue;
            }
            let path = (!there).then(|| job.layout.passing("new"));
            passing.extend(path.clone());
            tasks.push(Task {
                layer,
                index,
                path,
                fetches,
            });
        }
    }
    tasks
}

/// Does one task and posts what it made.
fn one(job: &Job<'_>, task: &Task<'_>, board: &Board<'_>) -> Result<Option<Made>, Error> {
    let layer = task.layer;
    let told = AtomicU64::new(0);
    let tick = |bytes: u64| {
        let before = told.load(Ordering::Relaxed);
        if bytes >= before.saturating_add(STEP) || bytes == layer.blob.size && bytes != before {
            told.store(bytes, Ordering::Relaxed);
            (job.progress)(Progress::Unpack {
                digest: layer.blob.digest.clone(),
                index: task.index,
                bytes,
                total: layer.blob.size,
            });
        }
    };
    let failure = Mutex::new(None);
    let stopped = stopped(job.cancel);
    let opened = match (&layer.from, job.remote) {
        (From::File(file), _) => Opened::File(file.clone()),
        (From::Source, Some((source, dir))) if task.fetches => {
            let file = arrived(dir, &layer.blob.digest);
            let blob = Arriving::new(source, &layer.blob, file.clone(), &stopped, &failure)?;
            Opened::Arriving(Box::new(blob), file)
        }
        (From::Source, _) => {
            let key = [Key::Blob(layer.blob.digest.clone())];
            let paths = board.wait(&key).map_err(|error| failed(layer, error))?;
            Opened::File(paths.into_iter().next().unwrap_or_default())
        }
    };
    let made = match (&task.path, opened) {
        (Some(path), Opened::File(file)) => {
            let blob = File::open(&file).map_err(Error::io("open", &file))?;
            Some(unpack_one(job, task, path, board, blob, &tick)?)
        }
        (Some(path), Opened::Arriving(blob, file)) => {
            let made = unpack_one(job, task, path, board, *blob, &tick);
            // What came over the network explains best why nothing could be made of it.
            if let Some(error) = lock(&failure).take() {
                return Err(error);
            }
            let made = made?;
            board.post(Key::Blob(layer.blob.digest.clone()), file);
            Some(made)
        }
        (None, Opened::Arriving(blob, file)) => {
            arriving::fetch(*blob, &tick)?;
            board.post(Key::Blob(layer.blob.digest.clone()), file);
            None
        }
        (None, Opened::File(_)) => None,
    };
    if let Some(made) = &made {
        board.post(Key::Chain(layer.chain.clone()), made.path.join("diff"));
    }
    (job.progress)(Progress::LayerDone {
        digest: layer.blob.digest.clone(),
        index: task.index,
        shared: made.is_none(),
    });
    Ok(made)
}

/// A blob that can be read.
enum Opened<'a> {
    File(PathBuf),
    /// With the file that it goes to.
    Arriving(Box<Arriving<'a>>, PathBuf),
}

fn unpack_one(
    job: &Job<'_>,
    task: &Task<'_>,
    path: &Path,
    board: &Board<'_>,
    blob: impl Read + Send,
    tick: &(dyn Fn(u64) + Sync),
) -> Result<Made, Error> {
    let layer = task.layer;
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
    let consumed = AtomicU64::new(0);
    let tick = || tick(consumed.load(Ordering::Relaxed));
    let below: Vec<Key> = layer.below.iter().cloned().map(Key::Chain).collect();
    let may_go_on = || {
        let wait = board.wait(&below);
        wait.map(drop)
            .map_err(|_| std::io::Error::other(Stop::Cancelled))
    };
    let digest = thread::scope(|scope| {
        let (producer, pipe) = pipe(job.cancel, &tick);
        scope.spawn(|| producer.run(blob, job.limits, &consumed, &may_go_on));
        let mut lower = || board.wait(&below).map(Stack);
        let mut pipe = unpack::unpack(pipe, &diff, &mut lower, job.limits)?;
        Ok(pipe.digest())
    })
    .map_err(|error: unpack::Error| failed(layer, error.sorted()))?;
    match digest {
        Some(digest) if digest == layer.diff_id => {}
        other => {
            return Err(Error::Digest {
                what: format!("layer {}, unpacked,", layer.blob.digest),
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
    Ok(Made {
        path: path.to_owned(),
        record,
    })
}

fn failed(layer: &Layer, error: unpack::Error) -> Error {
    let digest = layer.blob.digest.clone();
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
    fn post(&self, key: Key, path: PathBuf) {
        lock(&self.done).insert(key, path);
        self.bell.notify_all();
    }

    /// The paths of all keys, once they are there.
    fn wait(&self, keys: &[Key]) -> Result<Vec<PathBuf>, unpack::Error> {
        let mut done = lock(&self.done);
        loop {
            if let Some(paths) = keys.iter().map(|key| done.get(key).cloned()).collect() {
                return Ok(paths);
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
