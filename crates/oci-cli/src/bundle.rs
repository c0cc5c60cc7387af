//! A bundle: a directory with `config.json` and, usually, the root filesystem.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use oci::runtime::{Process, Spec, parse_form, parse_process, validate, validate_process};

use crate::error::Error;

/// A bundle whose document has been read and checked.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute, and with the links that it was given with: hooks and callers see it as they named it.
    pub(crate) path: PathBuf,
    /// Two KiB, which would be moved from frame to frame of the stack. Changed by [`Bundle::change`].
    pub(crate) spec: Box<Spec>,
    /// The file, as long as it says what `spec` does: printing that again is a tenth of a start's work.
    pub(crate) text: Option<Vec<u8>>,
    /// Absolute path of the root filesystem.
    pub(crate) rootfs: PathBuf,
}

impl Bundle {
    /// Reads the bundle in a directory, by default the current one; the document is `config.json` in
    /// it, or another file.
    pub(crate) fn load(dir: Option<&Path>, config: Option<&Path>) -> Result<Self, Error> {
        let dir = dir.unwrap_or(Path::new("."));
        let path = named(dir).map_err(Error::file("find the bundle", dir))?;
        let file = match config {
            None => path.join("config.json"),
            Some(file) => std::path::absolute(file).map_err(Error::file("find", file))?,
        };
        let text = sys::small_file::read(&file).map_err(Error::file("read the bundle's", &file))?;
        let parsed = parse_form(&text).map(|(spec, same)| (Box::new(spec), same));
        let (spec, same) = parsed.map_err(|source| Error::Document {
            path: file.clone(),
            source,
        })?;
        // What nobody reads of a document need not be text.
        let text = (same && std::str::from_utf8(&text).is_ok()).then_some(text);
        validate(&spec).map_err(|source| Error::Invalid { path: file, source })?;
        let root = spec
            .root
            .as_ref()
            .map(|root| root.path.as_str())
            .unwrap_or_default();
        let rootfs = path.join(root);
        let rootfs = sys::real_path(&rootfs)
            .map_err(Error::file("find the root filesystem (root.path)", &rootfs))?;
        Ok(Self {
            path,
            spec,
            text,
            rootfs,
        })
    }

    /// The document, to be changed.
    pub(crate) fn change(&mut self) -> &mut Spec {
        self.text = None;
        &mut self.spec
    }
}

/// A directory's absolute path. A `..` behind a link is not the directory before it: only then are links
/// resolved.
fn named(dir: &Path) -> io::Result<PathBuf> {
    if dir.components().any(|part| part == Component::ParentDir) {
        return sys::real_path(dir);
    }
    let path = std::path::absolute(dir)?;
    match fs::metadata(&path)?.is_dir() {
        true => Ok(path.components().collect()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Reads a process document for `exec`.
pub(crate) fn load_process(path: &Path) -> Result<Process, Error> {
    let text = fs::read(path).map_err(Error::file("read the process document", path))?;
    parse_process(&text).map_err(|source| Error::Document {
        path: path.to_owned(),
        source,
    })
}

/// Checks a process that was put together for `exec`.
pub(crate) fn check_process(process: &Process, from: &Path) -> Result<(), Error> {
    validate_process(process).map_err(|source| Error::Invalid {
        path: from.to_owned(),
        source,
    })
}
