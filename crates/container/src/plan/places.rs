//! Where a document's mounts lie, by the text of their paths.

use std::path::{Component, Path, PathBuf};

use oci::runtime as spec;

use super::mounts::Context;

/// The document with its relative destinations, which start at the root (1.1 deprecates them), made
/// absolute, and a sentence for each; and with those that name the root filesystem by its path on the host
/// cut to what is in it, as with runc. `None` if there are none.
pub(super) fn rooted(
    spec: &spec::Spec,
    rootfs: Option<&Path>,
) -> Option<(spec::Spec, Vec<String>)> {
    let relative = |m: &spec::Mount| !m.destination.starts_with('/');
    let on_host = |m: &spec::Mount| {
        let root = rootfs.filter(|root| *root != Path::new("/"))?;
        let rest = Path::new(&m.destination).strip_prefix(root).ok()?;
        Some(Path::new("/").join(rest).to_string_lossy().into_owned())
    };
    let any = |m: &spec::Mount| relative(m) || on_host(m).is_some();
    if !spec.mounts.iter().any(any) {
        return None;
    }
    let mut rooted = spec.clone();
    let mut notes = Vec::new();
    for (index, mount) in rooted.mounts.iter_mut().enumerate() {
        if relative(mount) {
            let absolute = format!("/{}", mount.destination);
            notes.push(format!(
                "mounts[{index}].destination {:?} is relative, which is deprecated: it was taken for \
                 {absolute:?}",
                mount.destination
            ));
            mount.destination = absolute;
        } else if let Some(rest) = on_host(mount) {
            mount.destination = rest;
        }
    }
    Some((rooted, notes))
}

/// Where in the container a source is that lies in the root filesystem, below what `mounts` before
/// `index` mount there, or with that below it: what is bound is what they made, as with runc.
pub(super) fn inside(
    context: &Context<'_>,
    index: usize,
    source: &Path,
    recursive: bool,
) -> Option<String> {
    let root = context.options.rootfs.as_deref()?;
    let at = Path::new("/").join(plainly(source).strip_prefix(root).ok()?);
    let earlier = context.spec.mounts.get(..index).unwrap_or_default();
    let made = |m: &spec::Mount| {
        let place = plainly(Path::new(&m.destination));
        at.starts_with(&place) || (recursive && place.starts_with(&at))
    };
    let found = root != Path::new("/") && earlier.iter().any(made);
    found.then(|| at.to_string_lossy().into_owned())
}

/// A path without `.` and `..`, by its text.
fn plainly(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Whether two paths of the container are the same by their text.
pub(super) fn same_path(a: &str, b: &str) -> bool {
    Path::new(a).components().eq(Path::new(b).components())
}
