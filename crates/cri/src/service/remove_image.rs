//! RemoveImage. Layers that a container stands on stay until it is removed.

use super::Service;
use crate::{error::Error, events::Action, task::blocking};

impl Service {
    /// Removes an image; one that is unknown is success.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn remove_image(&self, name: &str) -> Result<(), Error> {
        let (service, name) = (self.clone(), name.to_owned());
        self.detached(async move {
            blocking(move || {
                let name = service.image_word(&name)?;
                let in_use = |layer: &image::LayerId| service.layer_in_use(layer);
                let id = service.images.get(&name)?.map(|image| image.id);
                let removed = service.images.remove(&name, &in_use)?;
                if let (true, Some(id)) = (removed, id) {
                    service.events.image(Action::Remove, &id, &name);
                }
                Ok::<_, Error>(())
            })
            .await
        })
        .await
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
