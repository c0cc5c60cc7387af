//! PushImage: an image of the store to its registry.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use image::Reference;
use registry::{Access, Pushed, Said, Watch};
use tokio::runtime::Handle;

use super::Service;
use crate::{error::Error, task::blocking};

/// What is to be pushed, where to, and as whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct PushRequest {
    /// Name or id of an image that is here.
    pub image: String,
    /// The name at the registry; empty: `image`.
    pub to: String,
    /// Credentials.
    pub auth: Said,
}

impl Service {
    /// Pushes an image; `watch` is told how far it is. Ends soon after `stopped` is set.
    ///
    /// # Errors
    /// A field that makes no sense; [`Error::ImageNotFound`]; the registry's.
    pub(crate) async fn push_image(
        &self,
        request: PushRequest,
        watch: impl Fn(Pushed) + Send + Sync + 'static,
        stopped: Arc<AtomicBool>,
    ) -> Result<Reference, Error> {
        let to = if request.to.is_empty() {
            &request.image
        } else {
            &request.to
        };
        let reference = self.image_name("to", to)?;
        let (registry, service) = (self.registry.clone(), self.clone());
        let handle = Handle::current();
        blocking(move || {
            let session = registry.session(&reference, &request.auth, Access::Push, handle)?;
            let watch: Watch = Arc::new(watch);
            let image = service.image_word(&request.image)?;
            let pushed = service.images.with_content(&image, |content| {
                let mut blobs = content.blobs.clone();
                // The manifest comes first, and is sent last.
                let (digest, _, file) = blobs.remove(0);
                let manifest = std::fs::read(&file).map_err(Error::file("read", &file))?;
                let content = registry::Content {
                    manifest,
                    digest,
                    media_type: content.media_type.clone(),
                    blobs,
                };
                let stopped = || stopped.load(Ordering::Relaxed);
                session
                    .push(&content, &watch, &stopped)
                    .map_err(Error::from)
            })?;
            match pushed {
                Some(done) => done.map(|()| reference),
                None => Err(Error::ImageNotFound {
                    name: request.image.clone(),
                }),
            }
        })
        .await
    }
}
