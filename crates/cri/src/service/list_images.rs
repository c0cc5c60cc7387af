//! ListImages.

use std::sync::Arc;

use image::Image;

use super::Service;
use crate::{error::Error, task::blocking};

impl Service {
    /// All images, or the one that `name` names; none when there is no such image.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn list_images(&self, name: &str) -> Result<Vec<Image>, Error> {
        let images = Arc::clone(&self.images);
        let name = name.to_owned();
        blocking(move || match name.as_str() {
            "" => images.list(),
            name => Ok(images.get(name)?.into_iter().collect()),
        })
        .await
    }
}
