//! What no program can go below: every layer's digests and its decompression, spread over the cores,
//! and the disk that takes the blobs and the files. Beside them, and not in the floor: what the
//! filesystem takes for the files themselves, made from memory with the fewest calls; and both
//! together, which is what a pull consists of, for it has no other cores to make the files on.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::content::Form;

/// The times; the larger one of the first two is the floor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// Digest of the blobs, decompression, digest of what comes out.
    pub(crate) compute: Duration,
    /// One file with as many bytes as blobs and tars have, written and fsynced.
    pub(crate) disk: Duration,
    /// Every file and directory made and written, spread over the cores, and one sync.
    pub(crate) files: Duration,
    /// Digests and decompression and the files, spread over the cores, and one sync. No blob is written.
    pub(crate) together: Duration,
}

impl Floor {
    pub(crate) fn larger(self) -> Duration {
        self.compute.max(self.disk)
    }
}

/// Measures all, one after the other; what is written to `dir` stays.
///
/// # Errors
/// Layers that do not unpack, or the disk's.
pub(crate) fn measure(
    dir: &Path,
    form: Form,
    blobs: &[Vec<u8>],
    tars: &[Vec<u8>],
) -> io::Result<Floor> {
    fs::create_dir_all(dir)?;
    // The large blobs first.
    let mut compute: Vec<(Job, &[u8])> = blobs
        .iter()
        .flat_map(|blob| [(Job::Unpack, blob.as_slice()), (Job::Digest, blob)])
        .collect();
    compute.sort_by_key(|(job, blob)| (*job == Job::Digest, std::cmp::Reverse(blob.len())));
    let make = tars.iter().map(|tar| (Job::Files, tar.as_slice()));
    let make: Vec<_> = make.collect();
    // One queue: two cores do all of it.
    let both = [make.clone(), compute.clone()].concat();

    let work = |name: &str, jobs: &[(Job, &[u8])]| {
        spread(jobs, |at, (job, data)| match job {
            Job::Files => files(&dir.join(format!("{name}-{at}")), data),
            Job::Unpack => digest(form, true, data),
            Job::Digest => digest(form, false, data),
        })
    };
    let synced = |name: &str, jobs: &[(Job, &[u8])]| {
        rustix::fs::sync();
        let began = Instant::now();
        work(name, jobs)?;
        rustix::fs::syncfs(File::open(dir)?)?;
        io::Result::Ok(began.elapsed())
    };
    let bytes = blobs.iter().chain(tars).map(Vec::len).sum();
    Ok(Floor {
        compute: work("compute", &compute)?,
        disk: disk(&dir.join("floor"), bytes)?,
        files: synced("files", &make)?,
        together: synced("together", &both)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// A tar's files.
    Files,
    /// A blob, decompressed, and the digest of what comes out.
    Unpack,
    /// The digest of a blob.
    Digest,
}

/// Does all jobs with as many threads as there are cores.
fn spread<T: Sync>(
    jobs: &[T],
    work: impl Fn(usize, &T) -> io::Result<()> + Sync,
) -> io::Result<Duration> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match jobs.get(at) {
                Some(job) => work(at, job)?,
                None => return Ok(()),
            }
        }
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().try_for_each(|thread| {
            let died = |_| Err(io::Error::other("a measuring thread has died"));
            thread.join().unwrap_or_else(died)
        })
    })?;
    Ok(began.elapsed())
}

fn digest(form: Form, unpack: bool, blob: &[u8]) -> io::Result<()> {
    let mut hasher = Sha256::new();
    if unpack {
        let mut reader = form.unpack(blob)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                length => hasher.update(&buffer[..length]),
            }
        }
    } else {
        hasher.update(blob);
    }
    std::hint::black_box(hasher.finalize());
    Ok(())
}

/// A file of a benchmark: nothing that anybody relies on.
fn create(path: impl AsRef<Path>) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).open(path)
}

fn disk(path: &Path, bytes: usize) -> io::Result<Duration> {
    let block = vec![0x5a; 1 << 20];
    let began = Instant::now();
    let mut file = create(path)?;
    let mut left = bytes;
    while left > 0 {
        let length = left.min(block.len());
        file.write_all(&block[..length])?;
        left -= length;
    }
    file.sync_all()?;
    Ok(began.elapsed())
}

fn files(dir: &Path, data: &[u8]) -> io::Result<()> {
    fs::create_dir(dir)?;
    for entry in tar::Archive::new(data).entries()? {
        let entry = entry?;
        let path = dir.join(entry.path()?);
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir(path)?,
            tar::EntryType::Symlink => {
                let target = entry.link_name()?.unwrap_or_default();
                std::os::unix::fs::symlink(target, path)?;
            }
            _ => {
                let start = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(entry.size()).unwrap_or(0));
                let content = data.get(start..end).unwrap_or_default();
                create(path)?.write_all(content)?;
            }
        }
    }
    Ok(())
}
