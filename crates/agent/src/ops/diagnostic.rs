//! GetDiagnosticData: what a container left to be read when it has ended.
//!
//! ```text
//!  "termination-log"   the file that its annotation (or /dev/termination-log) names: the last 4 KiB
//! ```

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::agent::Agent;
use crate::container::Container;
use crate::error::Error;

const TERMINATION: &str = "termination-log";
const ANNOTATION: &str = "io.kubernetes.container.terminationMessagePath";
const DEFAULT: &str = "/dev/termination-log";
/// What the kubelet reads of it.
const MAX: u64 = 4096;

/// Reads it.
///
/// # Errors
/// A kind that is unknown; the container does not exist, or has left no such file.
pub(crate) async fn run(agent: &Arc<Agent>, kind: String, id: String) -> Result<String, Error> {
    if kind != TERMINATION {
        let why = format!("not a kind of diagnostic data; known: {TERMINATION}");
        return Err(Error::invalid(format!("log_type {kind:?}"), why));
    }
    let container = agent.table.get(&id)?;
    agent.slow(move || termination_log(&container)).await
}

fn termination_log(container: &Arc<Container>) -> Result<String, Error> {
    let spec = container.spec()?;
    let path = spec
        .annotations
        .get(ANNOTATION)
        .map_or(DEFAULT, String::as_str);
    let failed =
        |e: std::io::Error| Error::io("read", format!("{path} of container {}", container.id), e);
    let open = |dir: &Path, name: &Path| {
        let root = sys::in_root::dir(dir)?;
        sys::in_root::open(
            &root,
            name,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        )
    };
    // A mount's source is there after the end too; what is in the container itself ends with it.
    let mounted = spec.mounts.iter().find(|m| m.destination == path);
    let source = mounted.and_then(|m| m.source.as_deref()).map(Path::new);
    let opened = match (
        source.and_then(|s| Some((s.parent()?, s.file_name()?))),
        &spec.root,
    ) {
        (Some((dir, name)), _) => open(dir, Path::new(name)),
        (None, _) if container.init.exited().is_none() => {
            let root = PathBuf::from(format!("/proc/{}/root", container.init.pid));
            open(&root, Path::new(path))
        }
        (None, Some(root)) if !root.path.is_empty() => open(Path::new(&root.path), Path::new(path)),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let mut file = std::fs::File::from(opened.map_err(failed)?);
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(meta.len().saturating_sub(MAX)))
        .and_then(|_| file.take(MAX).read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
