//! RemoveImage, which takes an image with all its names as CRI has it, and UntagImage, which people
//! mean by `rmi TAG`. Layers that a container stands on stay until it is removed.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::Service;
use crate::{error::Error, events::Action, task::blocking};

/// What a store does at a name, but to layers that are in use.
type Take = fn(&image::Store, &str, &dyn Fn(&image::LayerId) -> bool) -> Result<bool, image::Error>;

impl Service {
    /// Removes an image with all its names; one that is unknown is success.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn remove_image(&self, name: &str) -> Result<(), Error> {
        self.take_image(name, image::Store::remove).await
    }

    /// Takes a tag away, and the image with its last one; one that is unknown is success.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn untag_image(&self, name: &str) -> Result<(), Error> {
        self.take_image(name, image::Store::untag).await
    }

    async fn take_image(&self, name: &str, take: Take) -> Result<(), Error> {
        let (service, name) = (self.clone(), name.to_owned());
        self.detached(async move {
            blocking(move || {
                let name = service.image_word(&name)?;
                let in_use = |layer: &image::LayerId| service.layer_in_use(layer);
                let id = service.images.get(&name)?.map(|image| image.id);
                let removed = take(&service.images, &name, &in_use)?;
                if let (true, Some(id)) = (removed, id) {
                    service.events.image(Action::Remove, &id, &name);
                }
                Ok::<_, Error>(())
            })
            .await
        })
        .await
    }

    /// From here on, what a removal had to leave for a pull, an import, an export or a container that
    /// was being made goes when that has ended. Needs a tokio runtime.
    pub(crate) fn collect_what_is_freed(&self) {
        let (inner, handle) = (Arc::downgrade(&self.inner), Handle::current());
        self.images.when_freed(move || {
            let Some(inner) = inner.upgrade() else { return };
            handle.spawn(async move {
                if let Err(error) = (Service { inner }).collect_layers().await {
                    tracing::warn!(error = error.chain(), "layers that nobody needs stay");
                }
            });
        });
    }

    /// Removes layers that nobody needs any more, after the last container on them has gone.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn collect_layers(&self) -> Result<u64, Error> {
        let service = self.clone();
        blocking(move || {
            let in_use = |layer: &image::LayerId| service.layer_in_use(layer);
            service.images.gc(&in_use)
        })
        .await
    }
}
