//! `shared_mounts` of CreateContainer: a directory or file of one container, seen in another.
//!
//! ```text
//!  helper thread: into the source's mount namespace, its path as that container sees it, a detached
//!  copy of the mount there --> attached below the agent's state (a storage) --> bound by the spec
//! ```

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::agent::Agent;
use crate::container::Container;
use crate::error::Error;
use crate::storage::{Driver, Storage, Tree};

/// One of them: containers by id, or by the name that their annotations give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedMount {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) from_path: PathBuf,
    pub(crate) to: String,
    pub(crate) to_path: PathBuf,
}

/// Opens what is shared with the new container, whose id or name is in `names`, and writes it into its
/// spec; returns the storages that carry it. Blocks.
///
/// # Errors
/// The other container or its path does not exist, or the container is not running.
pub(crate) fn open_all(
    agent: &Agent,
    shared: &[SharedMount],
    names: &[&str],
    spec: &mut Spec,
) -> Result<Vec<Storage>, Error> {
    let mut storages = Vec::new();
    for (n, shared) in shared.iter().enumerate() {
        // The list may be the pod's: what is for others is theirs.
        if !names.contains(&shared.to.as_str()) {
            continue;
        }
        let all = agent.table.all();
        let source = all
            .iter()
            .find(|c| c.id == shared.from || c.label.as_deref() == Some(shared.from.as_str()));
        let source = source.ok_or_else(|| Error::NoContainer(shared.from.clone()))?;
        let tree = tree(source, &shared.from_path)?;
        let id = names.first().copied().unwrap_or_default();
        let point = agent
            .state
            .dir
            .join(format!("storages.d/shared-{id}-{n}/mount"));
        spec.mounts.push(Mount {
            destination: shared.to_path.display().to_string(),
            type_: Some("bind".into()),
            source: Some(point.display().to_string()),
            options: ["rbind", "rprivate"].map(str::to_owned).to_vec(),
            ..Mount::default()
        });
        storages.push(Storage {
            driver: Driver::Tree(tree),
            source: String::new(),
            fstype: String::new(),
            options: Vec::new(),
            mount_point: point,
            directories: Vec::new(),
            fs_group: None,
            shared: false,
        });
    }
    Ok(storages)
}

/// A copy of the mount at `path`, as `container` sees it.
fn tree(container: &Arc<Container>, path: &Path) -> Result<Tree, Error> {
    let failed = |e: std::io::Error| {
        let what = format!("{} of container {}", path.display(), container.id);
        Error::io("share", what, e)
    };
    if container.init.exited().is_some() {
        let why = "it has ended: nothing of it can be shared";
        return Err(Error::Precondition(format!(
            "container {}: {why}",
            container.id
        )));
    }
    let namespace = format!("/proc/{}/ns/mnt", container.init.pid);
    let namespace = open(namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.map_err(|e| failed(e.into()))?;
    let thread = std::thread::Builder::new()
        .name("in-mntns".into())
        .stack_size(256 * 1024);
    std::thread::scope(|scope| {
        let started = thread.spawn_scoped(scope, || -> std::io::Result<OwnedFd> {
            sys::thread::unshare(UnshareFlags::FS)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
            let root = sys::in_root::dir(Path::new("/"))?;
            let found = sys::in_root::open(&root, path, OFlags::PATH)?;
            sys::mount::detached_copy_of(&found)
        });
        let ended = started.map_err(failed)?.join();
        let ended = ended.unwrap_or_else(|_| Err(std::io::Error::other("the thread died")));
        ended.map(|fd| Tree(Arc::new(fd))).map_err(failed)
    })
}
