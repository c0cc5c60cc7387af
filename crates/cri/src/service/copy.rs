//! CopyOut and CopyIn: files out of a container and into one, as a tar stream.
//!
//! ```text
//! created, running   /proc/<pid>/root, opened once; the agent is asked before and after, so the pid was
//!                    the container's                          → all that it sees, volumes too
//! exited             its layers, mounted by descriptor and attached nowhere      → its own files
//! ```
//! What an exited container had mounted (volumes) is not mounted any more and not seen.

use std::{
    collections::BTreeSet,
    io::{self, BufReader, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use image::copy::{self, Copied, CopyInto};
use sandbox::ContainerStatus;
use sys::overlay::Overlay;
use tokio::sync::mpsc;

use super::{
    Service,
    chunks::{Chunks, Sink},
    stop_container::SIGNAL,
};
use crate::{
    domain::Id,
    error::Error,
    spec::RootfsFiles,
    state::{Container, ContainerState},
    task::blocking,
};

/// Exited containers that something is being copied into: an overlay has one writer.
static WRITTEN: Mutex<BTreeSet<Id>> = Mutex::new(BTreeSet::new());

/// A container's tree.
pub(super) struct Root {
    fd: OwnedFd,
    _turn: Option<Turn>,
}

impl Root {
    /// The texts of its user databases; one that can't be read is taken to be absent. Blocks.
    pub(super) fn user_files(&self) -> RootfsFiles {
        let read = |path: &str| {
            let bytes = sys::in_root::read(&self.fd, Path::new(path), image::user::FILE_MAX);
            Some(String::from_utf8_lossy(&bytes.ok()?).into_owned())
        };
        RootfsFiles {
            passwd: read("/etc/passwd"),
            group: read("/etc/group"),
        }
    }
}

/// The right to write to an exited container.
struct Turn(Id);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        written.remove(&self.0);
    }
}

impl Service {
    /// Sends what `path` leads to in a container as a tar stream to `chunks`, with an error as its
    /// last item. A symbolic link at the path's end is sent itself, unless `follow`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::State`] while it is being created or removed.
    pub(crate) async fn copy_out(
        &self,
        id: &str,
        path: PathBuf,
        follow: bool,
        chunks: mpsc::Sender<Result<Vec<u8>, Error>>,
    ) -> Result<(), Error> {
        let root = self.root(id, false).await?;
        tokio::task::spawn_blocking(move || {
            let mut sink = Sink::new(chunks.clone());
            let copied = copy::copy_out(root.fd.as_fd(), &path, follow, &mut sink)
                .and_then(|()| sink.flush().map_err(copy::Error::Gone));
            // A client that is gone hears nothing.
            if let Err(error) = copied {
                let _ = chunks.blocking_send(Err(error.into()));
            }
        });
        Ok(())
    }

    /// Unpacks the tar stream that comes in `chunks` below the directory `path` of a container.
    ///
    /// # Errors
    /// As [`Service::copy_out`]; [`Error::Copy`], and then what was unpacked before stays.
    pub(crate) async fn copy_in(
        &self,
        id: &str,
        path: PathBuf,
        how: CopyInto,
        chunks: mpsc::Receiver<Result<Vec<u8>, io::Error>>,
    ) -> Result<Copied, Error> {
        let root = self.root(id, true).await?;
        blocking(move || {
            let source = BufReader::with_capacity(256 << 10, Chunks::new(chunks));
            copy::copy_in(root.fd.as_fd(), &path, source, how)
        })
        .await
    }

    /// The tree of a container that somebody only looks at.
    ///
    /// # Errors
    /// As [`Service::copy_out`].
    pub(super) async fn root_of(&self, container: &Container) -> Result<Root, Error> {
        self.root(container.id().as_str(), false).await
    }

    /// A container's tree, by descriptor.
    async fn root(&self, id: &str, write: bool) -> Result<Root, Error> {
        let container = self.containers.resolve(id)?;
        match container.state() {
            ContainerState::Created { pid } | ContainerState::Running { pid, .. } => {
                self.live_root(&container, pid).await
            }
            ContainerState::Exited(_) => self.ended_root(&container, write).await,
            ContainerState::Creating { .. } => Err(container.not("is being created")),
            ContainerState::Removing { .. } => Err(container.not("is being removed")),
        }
    }

    async fn live_root(&self, container: &Container, pid: i32) -> Result<Root, Error> {
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let sandbox = pod.sandbox_within(SIGNAL).await?;
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        let fd = blocking(move || {
            sys::in_root::dir(&path).map_err(Error::file("open the container's root", path))
        })
        .await;
        // The agent has not reaped it yet: the number was never another process's.
        let states = sandbox.list().await?;
        let lives = states.iter().any(|state| {
            state.id == container.id().as_str()
                && state.pid == pid
                && state.status != ContainerStatus::Exited
        });
        if !lives {
            return Err(container.not("ended just now: ask again"));
        }
        Ok(Root {
            fd: fd?,
            _turn: None,
        })
    }

    async fn ended_root(&self, container: &Container, write: bool) -> Result<Root, Error> {
        let id = container.id().clone();
        let turn = if write {
            let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
            if !written.insert(id.clone()) {
                return Err(container.not("is being copied into by another call: wait for it"));
            }
            Some(Turn(id.clone()))
        } else {
            None
        };
        let layer = self.layout.layer(&id);
        let overlay = overlay(&container.facts().image.layers, &layer, write);
        let fd = blocking(move || {
            sys::overlay::detached(&overlay).map_err(Error::file("mount the layers of", layer))
        })
        .await?;
        Ok(Root { fd, _turn: turn })
    }
}

/// A container's layers; only to look at them its own is one of those below, so that looking never
/// disturbs who writes.
fn overlay(image: &[PathBuf], layer: &Path, write: bool) -> Overlay {
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    let mut lowers = image.to_vec();
    if write {
        return Overlay {
            lowers,
            writable: Some((upper, work)),
        };
    }
    lowers.insert(0, upper);
    Overlay {
        lowers,
        writable: None,
    }
}

impl From<copy::Error> for Error {
    fn from(error: copy::Error) -> Error {
        Error::Copy(Arc::new(error))
    }
}
