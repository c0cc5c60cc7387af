//! ListImages.

use image::Image;

use super::Service;
use crate::{error::Error, task::blocking};

impl Service {
    /// All images, or the one that `name` names; none when there is no such image.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn list_images(&self, name: &str) -> Result<Vec<Image>, Error> {
        let (service, name) = (self.clone(), name.to_owned());
        blocking(move || match name.as_str() {
            "" => Ok::<_, Error>(service.images.list()?),
            name => {
                let found = service.images.get(&service.image_word(name)?)?;
                Ok(found.into_iter().collect())
            }
        })
        .await
    }
}
