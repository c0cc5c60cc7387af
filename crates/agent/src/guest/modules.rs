//! Kernel modules out of the image. modprobe may not be there, and the image's files are all that is needed:
//!
//! ```text
//!  /etc/modules                          names, one a line; # begins a comment
//!  /lib/modules/<release>/modules.dep    file: what it needs, the last of which is loaded first
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

const LIST: &str = "/etc/modules";

/// The modules that there are: what to load for a name, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Index(BTreeMap<String, Vec<String>>);

/// Loads what `/etc/modules` names, each after what it needs. No list, nothing to load.
pub(super) fn load_listed() {
    let Ok(list) = fs::read_to_string(LIST) else {
        return;
    };
    let (dir, index) = match index() {
        Ok(found) => found,
        Err(e) => return log::error!("cannot load modules: {e}"),
    };
    for name in names(&list) {
        if let Err(e) = index.load(&dir, name, "") {
            log::error!("cannot load module {name}: {e}");
        }
    }
}

/// Loads one module, after what it needs, with parameters such as `name=value`.
///
/// # Errors
/// The image does not have it, or the kernel refuses it.
pub(crate) fn load_named(name: &str, parameters: &[String]) -> io::Result<()> {
    let (dir, index) = index()?;
    index.load(&dir, name, &parameters.join(" "))
}

/// The image's modules and their directory.
fn index() -> io::Result<(PathBuf, Index)> {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let dir = PathBuf::from("/lib/modules").join(release);
    let dep = dir.join("modules.dep");
    let text = fs::read_to_string(&dep);
    let text = text.map_err(|e| told(format!("cannot read {}: {e}", dep.display()), e.kind()))?;
    Ok((dir, Index::parse(&text)))
}

fn told(text: String, kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, text)
}

/// Loads one file; a module that is loaded or built in already is fine.
fn load(path: &Path, parameters: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let parameters = std::ffi::CString::new(parameters)?;
    match rustix::system::finit_module(&file, &parameters, 0) {
        Err(e) if e != Errno::EXIST => Err(e.into()),
        _ => Ok(()),
    }
}

impl Index {
    fn load(&self, dir: &Path, name: &str, parameters: &str) -> io::Result<()> {
        let files = self.0.get(&plain(name)).ok_or_else(|| {
            let dep = dir.join("modules.dep");
            told(
                format!("{} does not have it", dep.display()),
                io::ErrorKind::NotFound,
            )
        })?;
        for (n, file) in files.iter().enumerate() {
            let own = if n + 1 == files.len() { parameters } else { "" };
            load(&dir.join(file), own).map_err(|e| told(format!("{file}: {e}"), e.kind()))?;
        }
        Ok(())
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        Self(
            lines
                .map(|(file, needs)| {
                    let order = needs.split_whitespace().rev().chain([file.trim()]);
                    (plain(file.trim()), order.map(str::to_owned).collect())
                })
                .collect(),
        )
    }
}

/// A module's name as the kernel has it.
fn plain(text: &str) -> String {
    let file = text.rsplit('/').next().unwrap_or(text);
    file.strip_suffix(".ko").unwrap_or(file).replace('-', "_")
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    let lines = list
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default());
    lines.map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_most_deeply_is_loaded_first() {
        let index = Index::parse(
            "kernel/v/virtio-blk.ko: kernel/v/virtio.ko kernel/v/virtio_ring.ko\nkernel/v/virtio_ring.ko:\n",
        );
        let order = [
            "kernel/v/virtio_ring.ko",
            "kernel/v/virtio.ko",
            "kernel/v/virtio-blk.ko",
        ];
        assert_eq!(index.0[&plain("virtio-blk")], order);
        assert_eq!(index.0["virtio_ring"], ["kernel/v/virtio_ring.ko"]);
    }

    #[test]
    fn a_list_has_comments_and_empty_lines() {
        let list: Vec<_> = names("# modules\nvirtio_blk\n\n overlay # layers\n").collect();
        assert_eq!(list, ["virtio_blk", "overlay"]);
    }
}
