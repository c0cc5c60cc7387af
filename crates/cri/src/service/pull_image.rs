//! PullImage: an image from its registry into the store.
//!
//! ```text
//! resolve (one question) ─► known? names only, done
//!                        ─► join the flight of this digest (pulls.rs) ─► Store::pull in a thread
//! ```
//! A caller that goes away cancels the pull, unless another waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use image::{
    Document, FetchError, Image, Platform, PullOptions, Reference, Remote, Source, Stopped,
};
use registry::{Access, Said, Session};
use tokio::{runtime::Handle, sync::watch};

use super::Service;
use crate::{
    checks::invalid,
    error::Error,
    events::Action,
    pulls::{Key, Seat, View},
    task::blocking,
};

/// What is to be pulled, and as whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct PullRequest {
    /// Name, with a tag or digest.
    pub image: String,
    /// `linux/arm64/v8`; `None`: this machine's.
    pub platform: Option<String>,
    /// Credentials.
    pub auth: Said,
}

/// A session whose reference is resolved already.
struct Resolved<'a> {
    session: &'a Session,
    digest: Option<String>,
}

impl Source for Resolved<'_> {
    fn digest(&self, _: Stopped<'_>) -> Result<Option<String>, FetchError> {
        Ok(self.digest.clone())
    }

    fn manifest(
        &self,
        digest: Option<&str>,
        limit: u64,
        stopped: Stopped<'_>,
    ) -> Result<Document, FetchError> {
        self.session.manifest(digest, limit, stopped)
    }

    fn blob<'a>(
        &'a self,
        blob: &Remote,
        stopped: Stopped<'a>,
    ) -> Result<Box<dyn std::io::Read + Send + 'a>, FetchError> {
        self.session.blob(blob, stopped)
    }
}

/// Sets a flag when its owner is gone.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Service {
    /// Pulls an image; its layers are told to `view` on the way. Dropping the future cancels it.
    ///
    /// # Errors
    /// A field that makes no sense; the registry's; the image store's.
    pub(crate) async fn pull_image(
        &self,
        request: PullRequest,
        view: Option<watch::Sender<View>>,
    ) -> Result<Image, Error> {
        let reference = self.image_name("image.image", &request.image)?;
        let platform = request
            .platform
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| {
                text.parse::<Platform>()
                    .map_err(|error| invalid("platform", error.to_string()))
            })
            .transpose()?;
        let options = PullOptions {
            platform,
            limits: self.limits,
        };
        let (registry, handle) = (self.registry.clone(), Handle::current());
        let gone = Gone(Arc::default());
        let stopped = Arc::clone(&gone.0);
        let asked = reference.clone();
        let (session, digest) = blocking(move || {
            let session = registry.session(&asked, &request.auth, Access::Pull, handle)?;
            let digest = session
                .digest(&|| stopped.load(Ordering::Relaxed))
                .map_err(image::Error::from)?;
            Ok::<_, Error>((Arc::new(session), digest))
        })
        .await?;

        let key = Key {
            digest: digest.clone().unwrap_or_else(|| reference.to_string()),
            platform: options
                .platform
                .as_ref()
                .map(|platform| format!("{platform:?}"))
                .unwrap_or_default(),
        };
        let job = Job {
            service: self.clone(),
            reference,
            session,
            digest,
            options,
        };
        loop {
            let seat = self.pulls.join(&key);
            if seat.leads {
                job.clone().start(&seat);
            }
            let ended = tokio::select! {
                ended = seat.wait() => ended,
                () = forward(&seat, view.as_ref()) => seat.wait().await,
            };
            // What came between the last look and the end: of a quick pull that is all.
            if let Some(view) = &view {
                view.send_replace(seat.view().borrow().clone());
            }
            if seat.leads {
                return ended;
            }
            // The one who led has pulled under its own name and with its own credentials: what it
            // fetched is here now, and the next turn only adds a name; or it failed, and this is
            // the turn of the next.
        }
    }
}

/// What one pull needs.
#[derive(Clone)]
struct Job {
    service: Service,
    reference: Reference,
    session: Arc<Session>,
    digest: Option<String>,
    options: PullOptions,
}

impl Job {
    fn start(self, seat: &Seat) {
        let flight = seat.flight();
        tokio::task::spawn_blocking(move || {
            let source = Resolved {
                session: &self.session,
                digest: self.digest.clone(),
            };
            let progress = |progress| flight.tell(progress);
            let service = &self.service;
            let name = self.reference.pinned().to_string();
            let known = service.images.get(&name).ok().flatten();
            let result = service.images.pull(
                &self.reference,
                &source,
                &self.options,
                &progress,
                flight.cancel(),
            );
            if let Ok(image) = &result
                && known.as_ref() != Some(image)
            {
                let name = self.reference.to_string();
                service.events.image(Action::Pull, &image.id, &name);
            }
            Seat::land(&service.pulls, &flight, result.map_err(Error::from));
        });
    }
}

/// Tells how far the flight is, for ever.
async fn forward(seat: &Seat, to: Option<&watch::Sender<View>>) {
    let mut view = seat.view();
    if let Some(to) = to {
        loop {
            to.send_replace(view.borrow_and_update().clone());
            if view.changed().await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}
