//! The image that is pulled: files of this machine's /usr in eight layers, so that content, names and
//! sizes are those of real software.
//!
//! ```text
//!  /usr/{bin,lib,share}  files and links, in an order drawn by a hash of the upper directories
//!        │ pieces of directories picked until there are FILES, small or large as the mean needs
//!        ▼
//!  sorted by path ──► 8 layers, 24 … 4 % of the bytes each; every layer names its directories
//! ```
//! The same machine gives the same image each time; another one gives other bytes of the same shape.

use std::{
    collections::BTreeSet,
    fs, io,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use flate2::{Compression, write::GzEncoder};
use testing::layer::{Entry, Layer};

/// Files and symbolic links in the image.
pub(crate) const FILES: u64 = 11_500;
/// Bytes of all files, roughly.
pub(crate) const BYTES: u64 = 500_000_000;
/// Percent of the bytes.
const LAYERS: [u64; 8] = [24, 20, 16, 12, 10, 8, 6, 4];
/// The root and names of a path, `/usr/lib/one/part`, below which is one piece of software.
const TREE: usize = 5;
/// Files of a directory that are taken or left together.
const PIECE: usize = 16;
/// Larger ones would leave no room for the many small ones.
const FILE_MAX: u64 = 24 << 20;

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Gzip,
    Zstd,
}

impl Form {
    pub(crate) const ALL: [Form; 2] = [Form::Gzip, Form::Zstd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Form::Gzip => "gzip",
            Form::Zstd => "zstd",
        }
    }

    /// The levels that builders use: 6 and 3.
    fn pack(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Form::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
                encoder.write_all(data)?;
                encoder.finish()
            }
            Form::Zstd => zstd::encode_all(data, 3),
        }
    }

    pub(crate) fn unpack<'a>(self, data: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Form::Gzip => Box::new(flate2::bufread::GzDecoder::new(data)),
            Form::Zstd => Box::new(zstd::Decoder::with_buffer(data)?),
        })
    }

    /// All layers packed, each in a thread.
    pub(crate) fn pack_all(self, tars: &[Vec<u8>]) -> io::Result<Vec<Vec<u8>>> {
        thread::scope(|scope| {
            let threads: Vec<_> = tars
                .iter()
                .map(|tar| scope.spawn(move || self.pack(tar)))
                .collect();
            let results = threads.into_iter().map(|thread| {
                let died = |_| Err(io::Error::other("a compressing thread has died"));
                thread.join().unwrap_or_else(died)
            });
            results.collect()
        })
    }
}

struct Found {
    path: PathBuf,
    size: u64,
}

/// The layers as tars.
///
/// # Errors
/// This machine has not enough files, or they cannot be read.
pub(crate) fn tars() -> io::Result<Vec<Vec<u8>>> {
    let mut picked = pick(find()?)?;
    picked.sort_by(|a, b| a.path.cmp(&b.path));
    let total: u64 = picked.iter().map(|file| file.size).sum();
    let (mut tars, mut files, mut done, mut share) = (Vec::new(), picked.iter(), 0, 0);
    for percent in LAYERS {
        share += percent;
        let (mut layer, mut dirs) = (Layer::new(), BTreeSet::new());
        while done < total * share / 100 {
            let Some(file) = files.next() else { break };
            layer = add(layer, &mut dirs, &file.path)?;
            done += file.size;
        }
        tars.push(layer);
    }
    Ok(tars.into_iter().map(Layer::finish).collect())
}

fn add(mut layer: Layer, dirs: &mut BTreeSet<PathBuf>, path: &Path) -> io::Result<Layer> {
    let name = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    let parents: Vec<&Path> = path.ancestors().skip(1).collect();
    for dir in parents.into_iter().rev().map(name) {
        if !dir.as_os_str().is_empty() && dirs.insert(dir.clone()) {
            layer = layer.dir(&format!("{}/", dir.display()), 0o755);
        }
    }
    let (inside, meta) = (name(path), fs::symlink_metadata(path)?);
    let mut entry = Entry::new("", tar::EntryType::Regular);
    entry.name = inside.as_os_str().as_bytes();
    entry.mode = meta.permissions().mode() & 0o7777;
    if meta.is_symlink() {
        let target = fs::read_link(path)?;
        entry.kind = tar::EntryType::Symlink;
        entry.link = target.as_os_str().as_bytes();
        return Ok(layer.entry(&entry));
    }
    let data = fs::read(path)?;
    entry.data = &data;
    Ok(layer.entry(&entry))
}

fn find() -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = ["bin", "lib", "share"]
        .iter()
        .map(|dir| Path::new("/usr").join(dir))
        .collect();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            // Bytes that are not UTF-8 would need PAX records in the directories' names.
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() && path.to_str().is_some() {
                let size = entry.metadata()?.len();
                found.push(Found { path, size });
            } else if kind.is_symlink() {
                found.push(Found { path, size: 0 });
            }
        }
    }
    found.retain(|file| file.size <= FILE_MAX);
    // Trees stay together, so that the image has as many directories as software has.
    found.sort_by_cached_key(|file| {
        let dir = file.path.parent().unwrap_or(&file.path);
        let tree: PathBuf = dir.components().take(TREE).collect();
        (drawn(&tree), file.path.clone())
    });
    Ok(found)
}

/// FNV-1a: any order that has nothing to do with names will do.
fn drawn(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Takes files in pieces, those of a directory that come one after the other, but only pieces that
/// lead towards the mean of [`BYTES`] / [`FILES`]. Single files would do as well for the mean, and
/// leave three times as many directories as software has.
fn pick(found: Vec<Found>) -> io::Result<Vec<Found>> {
    let (mut picked, mut bytes) = (Vec::new(), 0);
    let mean = BYTES / FILES;
    let mut found = found.into_iter().peekable();
    while let Some(first) = found.next_if(|_| (picked.len() as u64) < FILES) {
        let dir = first.path.parent().map(Path::to_owned);
        let mut piece = vec![first];
        while piece.len() < PIECE
            && let Some(next) = found.next_if(|next| next.path.parent() == dir.as_deref())
        {
            piece.push(next);
        }
        let count = picked.len() as u64;
        piece.truncate(usize::try_from(FILES - count).unwrap_or(usize::MAX));
        let size: u64 = piece.iter().map(|file| file.size).sum();
        let usual = mean * piece.len() as u64;
        let fits = if bytes > count * mean {
            size <= usual
        } else {
            size >= usual && bytes + size <= BYTES
        };
        if fits {
            bytes += size;
            picked.append(&mut piece);
        }
    }
    if (picked.len() as u64) < FILES || bytes < BYTES / 10 * 9 {
        let text = format!(
            "/usr has not enough for the image: {} files with {bytes} bytes could be picked",
            picked.len()
        );
        return Err(io::Error::other(text));
    }
    Ok(picked)
}
