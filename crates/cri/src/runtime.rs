//! The daemon as a library: open, serve.

use std::{future::Future, io, path::Path, time::Duration};

use tokio::net::UnixListener;

use crate::{
    error::Error,
    layout::Layout,
    lock::{self, DirLock, LockError},
    options::Options,
    server,
    service::Service,
    task::blocking,
};

/// How long calls that run may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(3);

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another daemon is there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A directory or the image store.
    #[error(transparent)]
    State(#[from] Error),
}

/// An open daemon: its directories are taken, its pods are known and watched.
#[derive(Debug)]
pub struct Runtime {
    service: Service,
    _locks: [DirLock; 2],
}

impl Runtime {
    /// Takes the directories, reads the records and sets right what the last daemon left.
    ///
    /// Needs a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`OpenError`]: another daemon, directories that can't be made, an image store that can't be
    /// opened. A damaged pod is none: it is set aside.
    pub async fn open(options: Options) -> Result<Runtime, OpenError> {
        let layout = Layout {
            root: options.root.clone(),
            state: options.state.clone(),
        };
        let wait = options.recovery_wait;
        let prepared = layout.clone();
        blocking(move || prepared.prepare()).await?;
        let locks = [lock::take(&layout.root)?, lock::take(&layout.state)?];
        let service = blocking(move || {
            let images = image::Store::open(&layout.root)?;
            for finding in images.findings() {
                tracing::error!(finding, "the image store has set something aside");
            }
            Ok::<_, Error>(Service::new(options, images))
        })
        .await?;
        service.recover(wait).await?;
        Ok(Runtime {
            service,
            _locks: locks,
        })
    }

    /// Answers calls on `listener` until `shutdown`. Pods go on when it returns.
    ///
    /// # Errors
    /// The transport's.
    pub async fn serve(
        &self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        server::serve(self.service.clone(), listener, shutdown, DRAIN).await
    }
}

/// Listens on a Unix socket that only its owner can open (0600). A socket of an earlier daemon is
/// replaced: open the [`Runtime`] first, it makes sure that there is no other.
///
/// # Errors
/// [`Error::File`] with the socket's path.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    let failed = |e| Error::file("listen on", path)(e);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    // By descriptor: a socket's path can't be longer than 107 bytes, a directory's can.
    let open = std::fs::File::open(dir).map_err(failed)?;
    let by_fd = |name: &std::ffi::OsStr| {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&open);
        Path::new("/proc/self/fd").join(fd.to_string()).join(name)
    };
    // Bound under another name and given its mode before anyone can know it.
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let hidden = by_fd(&hidden);
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&hidden, mode).map_err(failed)?;
    std::fs::rename(&hidden, by_fd(name)).map_err(failed)?;
    Ok(listener)
}

/// The tokio runtime that fits the daemon's budget of memory: two threads that serve, and as many
/// that block as work asks for, with small stacks and a short life.
///
/// # Errors
/// The kernel's, when threads can't be made.
pub fn tokio_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_stack_size(1 << 20)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_name("coffer")
        .enable_all()
        .build()
}
