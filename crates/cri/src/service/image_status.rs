//! ImageStatus.

use image::Image;

use super::Service;
use crate::{error::Error, task::blocking};

impl Service {
    /// The image that `name` (a reference, an id or a unique prefix of one) names; `None` when there
    /// is none.
    ///
    /// # Errors
    /// The image store's: a text that is no reference, an ambiguous prefix.
    pub(crate) async fn image_status(&self, name: &str) -> Result<Option<Image>, Error> {
        let (service, name) = (self.clone(), name.to_owned());
        blocking(move || Ok::<_, Error>(service.images.get(&service.image_word(&name)?)?)).await
    }
}
