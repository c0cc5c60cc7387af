//! Which images stay: prune, pins, and whether what is there is sound.

use std::sync::atomic::AtomicBool;

use image::{LayerId, Pruned};

use super::Service;
use crate::{error::Error, events::Action, task::blocking};

impl Service {
    /// Removes images that no container uses and that are not pinned: those without a tag, or all.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn prune_images(&self, all: bool) -> Result<Pruned, Error> {
        let service = self.clone();
        self.detached(async move {
            blocking(move || {
                let in_use = |layer: &LayerId| service.layer_in_use(layer);
                let goes = |image: &image::Image| {
                    (all || image.repo_tags.is_empty()) && !service.image_in_use(image)
                };
                let pruned = service.images.prune(&goes, &in_use)?;
                for image in &pruned.images {
                    let name = image.repo_tags.first().or(image.repo_digests.first());
                    let name = name.unwrap_or(&image.id);
                    service.events.image(Action::Remove, &image.id, name);
                }
                Ok::<_, Error>(pruned)
            })
            .await
        })
        .await
    }

    /// Pins an image, or unpins it.
    ///
    /// # Errors
    /// [`Error::ImageNotFound`]; the image store's.
    pub(crate) async fn pin_image(&self, name: String, pinned: bool) -> Result<(), Error> {
        let service = self.clone();
        self.detached(async move {
            blocking(
                move || match service.images.pin(&service.image_word(&name)?, pinned)? {
                    true => Ok(()),
                    false => Err(Error::ImageNotFound { name }),
                },
            )
            .await
        })
        .await
    }

    /// What is wrong with an image's content; nothing if it is sound.
    ///
    /// # Errors
    /// [`Error::ImageNotFound`]; the image store's.
    pub(crate) async fn verify_image(&self, name: String) -> Result<Vec<String>, Error> {
        let (service, limits) = (self.clone(), self.limits);
        blocking(move || {
            let cancel = AtomicBool::new(false);
            let word = service.image_word(&name)?;
            match service.images.verify(&word, &limits, &cancel)? {
                Some(problems) => Ok(problems),
                None => Err(Error::ImageNotFound { name }),
            }
        })
        .await
    }

    /// Refuses an image whose content has changed on the disk. Blocks for as long as unpacking it
    /// takes.
    ///
    /// # Errors
    /// [`image::Error::Unsound`]; the image store's.
    pub(crate) fn check_image(&self, image: &image::Image) -> Result<(), Error> {
        let cancel = AtomicBool::new(false);
        let problems = self.images.verify(&image.id, &self.limits, &cancel)?;
        match problems.unwrap_or_default() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(image::Error::Unsound {
                image: image.id.clone(),
                problems: problems.join("; "),
            }
            .into()),
        }
    }

    /// Whether a container stands on exactly this image's layers.
    fn image_in_use(&self, image: &image::Image) -> bool {
        let layers = image.layers.iter();
        let layers: Vec<LayerId> = layers.filter_map(|diff| LayerId::of_diff(diff)).collect();
        self.layers_in_use(&layers)
    }
}
