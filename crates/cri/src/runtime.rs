//! The daemon as a library: open, serve.

use std::{future::Future, io, time::Duration};

use tokio::{net::UnixListener, sync::watch};

use crate::{
    error::Error,
    layout::Layout,
    lock::{self, DirLock, LockError},
    options::Options,
    server,
    service::Service,
    streaming,
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
    /// The streaming server has no address to listen on.
    #[error(
        "cannot listen for exec, attach and port-forward on {address}: stream.address must be an \
             address of this machine with a free port"
    )]
    Stream {
        /// The address.
        address: std::net::SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A directory or the image store.
    #[error(transparent)]
    State(#[from] Error),
}

/// An open daemon: its directories are taken, its pods are known and watched.
#[derive(Debug)]
pub struct Runtime {
    service: Service,
    streams: streaming::Server,
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
        let address = options.stream.address;
        let (streaming, streams) = streaming::open(&options.stream)
            .map_err(|source| OpenError::Stream { address, source })?;
        let service = blocking(move || {
            let images = image::Store::open(&layout.root)?;
            for finding in images.findings() {
                tracing::error!(finding, "the image store has set something aside");
            }
            Ok::<_, Error>(Service::new(options, images, streaming))
        })
        .await?;
        service.collect_what_is_freed();
        service.recover(wait).await?;
        Ok(Runtime {
            service,
            streams,
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
        let (end, ending) = watch::channel(false);
        let calls = async {
            let shutdown = async {
                shutdown.await;
                end.send_replace(true);
            };
            let served = server::serve(self.service.clone(), listener, shutdown, DRAIN).await;
            // Also when it failed.
            end.send_replace(true);
            served
        };
        let (served, ()) = tokio::join!(calls, self.streams.serve(&self.service, ending));
        served
    }
}
