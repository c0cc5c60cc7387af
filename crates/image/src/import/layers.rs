//! Fetches and unpacks the layers that are missing, in parallel.
//!
//! ```text
//!  source -> sha256 -> blob file          one thread a layer         another thread a layer
//!               \-> decompress -> pipe.rs ==================> sha256 -> untar
//! ```
//! One worker takes layers from the bottom up, the others the largest first: what takes longest is
//! not to begin last and alone. A layer that needs to look at those below (a directory that its tar
//! does not name) waits on the board until they are done. The lowest unfinished one never waits, and
//! is begun when the first worker has done what it had: so there is always progress. A layer whose tar does
//! not describe the root directory, which is then as below, is put aside for that, and completed by whoever
//! completes the last one below it. What another pull of this store is bringing is waited for, not brought
//! again (sharing.rs).

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    Chosen, From, Layer,
    arriving::{self, Arriving, stopped},
    board::{Board, Brought, Key, Unpacked, below},
    early::Early,
    sharing::{Arrivals, Blob, Claim, Claimed, Made, Passing},
};
use crate::{
    Error, Limits, Progress, Remote, Source, Store,
    digests::{CHUNK, Digests},
    layout::{Disk, Layout},
    pipe::{Cancel, Stop, pipe},
    stack::Stack,
    state::{self, LayerRecord},
    store::lock,
    unpack::{self, Usage},
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
    /// Where layers come from that have no file.
    pub(super) remote: Option<&'a dyn Source>,
    /// What is brought at the same time.
    pub(super) arrivals: &'a Arrivals,
    /// Blobs and what comes out of them, hashed together.
    pub(super) digests: &'a Digests,
    /// What is written early; `None`: it is never said to be there.
    pub(super) disk: Option<&'a Disk>,
    /// The store that may have got meanwhile what `known` lacks; `None`: all is made anew.
    pub(super) store: Option<&'a Store>,
}

impl Job<'_> {
    fn stored_layer(&self, chain: &str) -> Option<PathBuf> {
        let state = self.store?.state();
        let layer = state.layers.get(chain)?;
        Some(self.layout.diff(&layer.dir))
    }

    fn stored_blob(&self, blob: &Remote) -> Option<PathBuf> {
        let known = self.store?.state().needed_blobs().get(&*blob.digest) == Some(&blob.size);
        let path = self.layout.blob(&blob.digest);
        let whole = known && fs::metadata(&path).is_ok_and(|meta| meta.len() == blob.size);
        whole.then_some(path)
    }
}

struct Task<'a> {
    layer: &'a Layer,
    index: usize,
    /// The layer is missing; otherwise only the blob is.
    makes: bool,
    /// This task fetches the blob; others that need it wait.
    fetches: bool,
}

/// Fetches and unpacks what is missing.
pub(super) fn unpack_all<'a>(job: &Job<'a>, chosen: &'a [Chosen]) -> Result<Brought, Error> {
    let tasks = tasks(job, chosen);
    let board = Board::new(job.known, job.cancel, job.progress);
    let first_error = Mutex::new(None);
    let workers = match job.remote {
        Some(_) => FETCHES,
        None => thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_MAX),
    };
    let workers = workers.min(tasks.len());
    let makes = tasks.iter().filter(|task| task.makes);
    let packed = makes.map(|task| task.layer.blob.size).sum();
    let early = job.disk.and_then(|_| Early::new(packed, workers));
    let fail = |error| {
        lock(&first_error).get_or_insert(error);
        job.cancel.fail();
        board.failed();
    };
    let left = Mutex::new(tasks);
    // A function, so that the lock is not held while the task is done.
    let take = |lowest| next(&mut lock(&left), lowest);
    thread::scope(|scope| {
        for number in 0..workers {
            let (take, board) = (&take, &board);
            let (early, fail) = (early.as_ref(), &fail);
            scope.spawn(move || {
                let _worker = early.map(Early::worker);
                while let Some(task) = take(number == 0) {
                    if let Err(error) = one(job, &task, board, early) {
                        return fail(error);
                    }
                }
            });
        }
        // What could not be written is told here and now: the last sync will not hear of it.
        if let (Some(early), Some(disk)) = (&early, job.disk)
            && early.is_due()
            && let Err(error) = disk.sync()
        {
            fail(error);
        }
    });
    match first_error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(board.into_brought()),
    }
}

/// The lowest layer, or the largest.
fn next<'a>(left: &mut Vec<Task<'a>>, lowest: bool) -> Option<Task<'a>> {
    let sizes = left.iter().map(|task| task.layer.blob.size).enumerate();
    let largest = sizes.rev().max_by_key(|&(_, size)| size);
    let at = if lowest { 0 } else { largest?.0 };
    (at < left.len()).then(|| left.remove(at))
}

/// Each missing layer and blob once, bottom up; what is shared is reported at once.
fn tasks<'a>(job: &Job<'_>, chosen: &'a [Chosen]) -> Vec<Task<'a>> {
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
            let makes = !job.known.contains_key(&layer.chain) && seen.insert(&layer.chain);
            if makes || fetches {
                tasks.push(Task {
                    layer,
                    index,
                    makes,
                    fetches,
                });
            } else {
                let digest = layer.blob.digest.clone();
                (job.progress)(Progress::LayerDone {
                    digest,
                    index,
                    shared: true,
                });
            }
        }
    }
    tasks
}

/// Does one task, and tells the board of what is new.
fn one<'a>(
    job: &Job<'a>,
    task: &Task<'a>,
    board: &Board<'a>,
    early: Option<&Early>,
) -> Result<(), Error> {
    let layer = task.layer;
    let told = AtomicU64::new(0);
    let tell = |bytes: u64| {
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
    let count = Arc::new(AtomicU64::new(0));
    let tick = |bytes: u64| {
        let before = count.swap(bytes, Ordering::Relaxed);
        if let Some(early) = early.filter(|_| task.makes) {
            early.more(bytes.saturating_sub(before));
        }
        tell(bytes);
    };
    let mut claim = None;
    if task.makes {
        let stored = || job.stored_layer(&layer.chain);
        let layers = &job.arrivals.layers;
        match layers.claim(&layer.chain, &count, job.cancel, &tell, &stored)? {
            Claimed::Ours(ours) => claim = Some(ours),
            Claimed::Stored(path) => board.stored(layer, path)?,
            Claimed::Here(made) => board.here(layer, made)?,
        }
    }
    let (failure, stopped) = (Mutex::new(None), stopped(job.cancel));
    let content = content(
        job,
        task,
        board,
        &Wire {
            count: &count,
            tell: &tell,
            failure: &failure,
            stopped: &stopped,
        },
    )?;
    let shared = claim.is_none();
    let blob = match (claim, content) {
        (Some(claim), content) => {
            let made = match content {
                Content::File(file) => {
                    let blob = File::open(&file).map_err(Error::io("open", &file))?;
                    let blob = BufReader::with_capacity(CHUNK, blob);
                    unpack_one(job, layer, board, blob, &tick, &Turns::NONE)
                }
                Content::Arriving(from, blob) => {
                    let blob = Mutex::new(Some(blob));
                    let turns = Turns {
                        waits: &|| {
                            if let Some(blob) = &*lock(&blob) {
                                blob.claim.let_go();
                            }
                        },
                        // Before the layer is done: who finds that need not fetch this.
                        whole: &|| {
                            let blob = lock(&blob).take();
                            let kept = blob.map(|blob| blob.arrived(layer, board));
                            if let Some(Err(error)) = kept {
                                lock(&failure).get_or_insert(error);
                            }
                        },
                    };
                    unpack_one(job, layer, board, *from, &tick, &turns)
                }
            };
            // What came over the network explains best why nothing could be made of it.
            if let Some(error) = lock(&failure).take() {
                return Err(error);
            }
            let (made, root_is_below) = made?;
            let unpacked = Unpacked {
                layer,
                index: task.index,
                claim,
                made: Arc::new(made),
            };
            return board.unpacked(unpacked, root_is_below);
        }
        (None, Content::Arriving(from, blob)) => {
            arriving::fetch(*from, &tick)?;
            Some(blob)
        }
        (None, Content::File(_)) => None,
    };
    if let Some(blob) = blob {
        blob.arrived(layer, board)?;
    }
    (job.progress)(Progress::LayerDone {
        digest: layer.blob.digest.clone(),
        index: task.index,
        shared,
    });
    Ok(())
}

/// What a blob on its way is watched by.
struct Wire<'a> {
    count: &'a Arc<AtomicU64>,
    tell: &'a (dyn Fn(u64) + Sync),
    failure: &'a Mutex<Option<Error>>,
    stopped: &'a (dyn Fn() -> bool + Sync),
}

/// A blob that can be read.
enum Content<'a> {
    File(PathBuf),
    Arriving(Box<Arriving<'a>>, Coming<'a>),
}

/// A blob that this task brings.
struct Coming<'a> {
    claim: Claim<'a, Blob>,
    place: Passing,
}

impl Coming<'_> {
    /// It has come, whole.
    fn arrived(self, layer: &Layer, board: &Board<'_>) -> Result<(), Error> {
        let blob = Arc::new(Blob::new(self.place)?);
        self.claim.done(&blob);
        board.blob(layer, blob);
        Ok(())
    }
}

fn content<'a>(
    job: &Job<'a>,
    task: &Task<'a>,
    board: &Board<'_>,
    wire: &Wire<'a>,
) -> Result<Content<'a>, Error> {
    let layer = task.layer;
    let source = match (&layer.from, job.remote) {
        (From::File(file), _) => return Ok(Content::File(file.clone())),
        (From::Source, Some(source)) if task.fetches => source,
        (From::Source, _) => {
            let key = [Key::Blob(layer.blob.digest.clone())];
            let paths = board.wait(&key).map_err(|error| layer.failed(error))?;
            return Ok(Content::File(paths.into_iter().next().unwrap_or_default()));
        }
    };
    let stored = || job.stored_blob(&layer.blob);
    let (blobs, digest) = (&job.arrivals.blobs, &layer.blob.digest);
    match blobs.claim(digest, wire.count, job.cancel, &wire.tell, &stored)? {
        Claimed::Stored(path) => {
            board.stored_blob(layer, path.clone());
            Ok(Content::File(path))
        }
        Claimed::Here(blob) => {
            let path = blob.content();
            board.blob(layer, blob);
            Ok(Content::File(path))
        }
        Claimed::Ours(claim) => {
            let place = Passing::new(job.layout.passing_blob());
            let path = place.path().to_owned();
            let from = Arriving::new(
                source,
                &layer.blob,
                path,
                job.digests,
                wire.stopped,
                wire.failure,
            )?;
            Ok(Content::Arriving(Box::new(from), Coming { claim, place }))
        }
    }
}

/// What others that want the same blob are told of while a layer is made.
struct Turns<'a> {
    /// Layers below are waited for now.
    waits: &'a (dyn Fn() + Sync),
    /// The blob was read to its end.
    whole: &'a (dyn Fn() + Sync),
}

impl Turns<'_> {
    const NONE: Turns<'static> = Turns {
        waits: &|| (),
        whole: &|| (),
    };
}

/// Also whether its root directory is to be as below.
fn unpack_one(
    job: &Job<'_>,
    layer: &Layer,
    board: &Board<'_>,
    blob: impl BufRead + Send,
    tick: &(dyn Fn(u64) + Sync),
    turns: &Turns<'_>,
) -> Result<(Made, bool), Error> {
    let place = Passing::new(job.layout.passing("new"));
    let path = place.path();
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
    let below = below(layer);
    let below = || match board.look(&below) {
        Some(paths) => Ok(paths),
        None => {
            (turns.waits)();
            board.wait(&below)
        }
    };
    let may_go_on = || {
        let wait = below();
        wait.map(drop)
            .map_err(|_| std::io::Error::other(Stop::Cancelled))
    };
    let (digest, usage, root_is_below) = thread::scope(|scope| {
        let (producer, pipe) = pipe(job.cancel, job.digests, &tick);
        scope.spawn(|| producer.run(blob, job.limits, &consumed, &may_go_on));
        let mut lower = || below().map(Stack);
        let mut unpacked = unpack::unpack(pipe, &diff, &mut lower, job.limits, turns.whole)?;
        let digest = unpacked.src.digest();
        Ok((digest, unpacked.usage, unpacked.root_is_below))
    })
    .map_err(|error: unpack::Error| layer.failed(error.sorted()))?;
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
    let Usage { bytes, inodes } = match usage {
        Some(usage) => usage,
        None => Usage::measured(&diff).map_err(Error::io("measure", &diff))?,
    };
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
    Ok((Made::new(place, record)?, root_is_below))
}
