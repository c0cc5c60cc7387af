//! The daemon as a library: open, serve.

use std::{future::Future, io, time::Duration};

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
