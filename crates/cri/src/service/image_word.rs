//! What a client means by an image's name: ids stay, and a name without a registry gets the default.

use image::{Reference, qualify};

use super::Inner;
use crate::{checks::invalid, error::Error};

impl Inner {
    /// A name that is to be fetched, given or sent to.
    ///
    /// # Errors
    /// It is no reference, or it names no registry and there is no default; `field` is named.
    pub(crate) fn image_name(&self, field: &str, text: &str) -> Result<Reference, Error> {
        qualify(text, &self.default_registry)
            .and_then(|text| text.parse())
            .map_err(|error: image::ReferenceError| invalid(field, error.to_string()))
    }

    /// A word by which an image of the store is looked for: a name, an id, or a prefix of one.
    ///
    /// # Errors
    /// It names no registry, there is no default, and no image has an id like that.
    pub(crate) fn image_word(&self, text: &str) -> Result<String, Error> {
        match qualify(text, &self.default_registry) {
            Ok(same) if same == text => Ok(same.into_owned()),
            other => {
                let found = self.images.get(text).ok().flatten();
                let id = found.is_some_and(|image| image.id["sha256:".len()..].starts_with(text));
                if id {
                    return Ok(text.to_owned());
                }
                Ok(other.map_err(image::Error::from)?.into_owned())
            }
        }
    }
}
