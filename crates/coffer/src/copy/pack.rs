//! A tar stream of files of ours.

use std::{
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

/// What did not go along, each with the reason.
pub(crate) type Skipped = Vec<String>;

/// Writes `source` as `name` and, where it is a directory, all that is below it. `contents` leaves the
/// directory's own name away: only what is in it is written. A link at `source` itself is followed if
/// `follow`; all others stay links. Blocks.
///
/// # Errors
/// With the path that could not be read.
pub(crate) fn pack(
    source: &Path,
    name: &Path,
    contents: bool,
    follow: bool,
    to: impl Write,
) -> Result<Skipped, (PathBuf, io::Error)> {
    let mut builder = Builder::new(to);
    builder.follow_symlinks(false);
    builder.sparse(false);
    let mut skipped = Vec::new();
    let root = if follow {
        source
            .canonicalize()
            .map_err(|error| (source.to_owned(), error))?
    } else {
        source.to_owned()
    };
    let mut waiting = Vec::new();
    if contents {
        below(&root, Path::new(""), &mut waiting)?;
    } else {
        waiting.push((root, name.to_owned()));
    }
    while let Some((path, name)) = waiting.pop() {
        let failed = |error| (path.clone(), error);
        let metadata = path.symlink_metadata().map_err(failed)?;
        let kind = metadata.file_type();
        if kind.is_socket() {
            skipped.push(format!("{}: a socket", path.display()));
        } else if kind.is_dir() {
            builder.append_dir(&name, &path).map_err(failed)?;
            below(&path, &name, &mut waiting)?;
        } else if kind.is_symlink() {
            let target = path.read_link().map_err(failed)?;
            let mut header = Header::new_gnu();
            header.set_metadata(&metadata);
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            builder
                .append_link(&mut header, &name, target)
                .map_err(failed)?;
        } else if kind.is_file() {
            let mut file = std::fs::File::open(&path).map_err(failed)?;
            builder.append_file(&name, &mut file).map_err(failed)?;
        } else {
            let mut header = Header::new_gnu();
            header.set_metadata(&metadata);
            header.set_size(0);
            if kind.is_block_device() || kind.is_char_device() {
                let (major, minor) = numbers(metadata.rdev());
                header.set_device_major(major).map_err(failed)?;
                header.set_device_minor(minor).map_err(failed)?;
            }
            builder
                .append_data(&mut header, &name, io::empty())
                .map_err(failed)?;
        }
    }
    let mut to = builder
        .into_inner()
        .map_err(|error| (source.to_owned(), error))?;
    to.flush().map_err(|error| (source.to_owned(), error))?;
    Ok(skipped)
}

fn numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

type Waiting = Vec<(PathBuf, PathBuf)>;

fn below(directory: &Path, name: &Path, waiting: &mut Waiting) -> Result<(), (PathBuf, io::Error)> {
    let failed = |error| (directory.to_owned(), error);
    let mut entries: Waiting = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.path(), name.join(entry.file_name())));
    }
    // Taken from the end: in order of names, a directory before what is in it.
    entries.sort_by(|a, b| b.cmp(a));
    waiting.extend(entries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn a_tree_goes_in_order_under_its_new_name() {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().join("tree");
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::fs::write(root.join("b/file"), "text").unwrap();
        std::fs::write(root.join("a"), "").unwrap();
        symlink("nowhere", root.join("c")).unwrap();
        let long = "x".repeat(150);
        std::fs::write(root.join(&long), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).unwrap();
        let mut tar = Vec::new();
        let skipped = pack(&root, Path::new("new"), false, false, &mut tar).unwrap();
        assert!(skipped.len() == 1 && skipped[0].ends_with("s: a socket"));
        let new = |rest: &str| format!("new/{rest}");
        assert_eq!(
            names(&tar),
            [
                "new",
                &new("a"),
                &new("b"),
                &new("b/file"),
                &new("c"),
                &new(&long)
            ]
            .map(|name| name.trim_end_matches('/').to_owned())
        );
        let mut tar = Vec::new();
        pack(&root, Path::new("new"), true, false, &mut tar).unwrap();
        assert_eq!(names(&tar)[..3], ["a", "b", "b/file"]);
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let (path, error) = pack(
            Path::new("/no/such"),
            Path::new("x"),
            false,
            false,
            Vec::new(),
        )
        .unwrap_err();
        assert_eq!(path, Path::new("/no/such"));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
