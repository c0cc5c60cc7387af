//! An OCI image layout on disk as the tar stream that the daemon reads: `oci-layout` and
//! `index.json` first, so that it knows early what it gets, then the blobs. And back: the archive that
//! the daemon sends as a layout on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::error::Error;

/// Whether `path` is the directory of an OCI image layout; the error names what is missing.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    for file in ["oci-layout", "index.json"] {
        if !path.join(file).is_file() {
            return Err(Error::State {
                message: format!("{} is no OCI image layout: no {file} in it", path.display()),
                hint: "give an archive file, a layout directory, or - for standard input".into(),
            });
        }
    }
    Ok(())
}

/// Bytes of all files in the layout: what the stream is about to carry.
pub(crate) fn size(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            total += size(&entry.path())?;
        } else if kind.is_file() {
            total += entry.metadata()?.len();
        }
    }
    Ok(total)
}

/// Makes a layout in the directory `to` of an archive; docker's list, which is no part of a layout, is
/// left out.
pub(crate) fn read(from: impl Read, to: &Path) -> io::Result<()> {
    let blobs = to.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let path = match name.strip_prefix("blobs/sha256/") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                blobs.join(hex)
            }
            None if name == "oci-layout" || name == "index.json" => to.join(&name),
            None if name == "manifest.json" => continue,
            _ => {
                let text = format!("the archive holds {name:?}, which is no part of a layout");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)?;
        io::copy(&mut entry, &mut file)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Writes the layout as tar.
pub(crate) fn write(path: &Path, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    for name in ["oci-layout", "index.json"] {
        tar.append_file(name, &mut File::open(path.join(name))?)?;
    }
    let mut blobs = Vec::new();
    for algorithm in sorted(&path.join("blobs"))? {
        for blob in sorted(&path.join("blobs").join(&algorithm))? {
            let inside = Path::new("blobs").join(&algorithm).join(&blob);
            let size = fs::metadata(path.join(&inside))?.len();
            blobs.push((size, inside));
        }
    }
    // Small ones first: manifests and configurations are needed before layers.
    blobs.sort();
    for (_, inside) in blobs {
        tar.append_file(&inside, &mut File::open(path.join(&inside))?)?;
    }
    tar.into_inner()?.flush()
}

fn sorted(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let names: io::Result<Vec<_>> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect();
    let mut names = names?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_blobs_come_before_large_ones() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        assert!(check(dir.path()).is_err(), "no index.json yet");
        fs::write(dir.path().join("index.json"), "{}").unwrap();
        fs::write(blobs.join("aa"), vec![0; 4096]).unwrap();
        fs::write(blobs.join("bb"), "{}").unwrap();
        check(dir.path()).unwrap();
        assert_eq!(size(dir.path()).unwrap(), 4096 + 6);
        let mut bytes = Vec::new();
        write(dir.path(), &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "oci-layout",
                "index.json",
                "blobs/sha256/bb",
                "blobs/sha256/aa"
            ]
        );
    }
}
