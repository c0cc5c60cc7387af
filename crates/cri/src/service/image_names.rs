//! Names of images, and images as archives.

use std::{io::Write as _, sync::atomic::AtomicBool};

use image::Image;
use tokio::sync::mpsc;

use super::{Service, chunks::Sink};
use crate::{error::Error, events::Action, task::blocking};

impl Service {
    /// Gives an image one more name; answers the image.
    ///
    /// # Errors
    /// A name that makes no sense; [`Error::ImageNotFound`]; the store's.
    pub(crate) async fn tag_image(&self, image: String, name: String) -> Result<Image, Error> {
        let reference = self.image_name("name", &name)?;
        let service = self.clone();
        self.detached(async move {
            blocking(move || {
                let image = service.image_word(&image)?;
                let unknown = || Error::ImageNotFound {
                    name: image.clone(),
                };
                if !service.images.tag(&image, &reference)? {
                    return Err(unknown());
                }
                let name = reference.pinned().to_string();
                let tagged = service.images.get(&name)?.ok_or_else(unknown)?;
                service.events.image(Action::Tag, &tagged.id, &name);
                Ok(tagged)
            })
            .await
        })
        .await
    }

    /// Sends images as one archive to `chunks`, with an error as its last item.
    pub(crate) fn export_images(
        &self,
        names: Vec<String>,
        chunks: mpsc::Sender<Result<Vec<u8>, Error>>,
    ) {
        let service = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut sink = Sink::new(chunks.clone());
            let cancel = AtomicBool::new(false);
            let words = names.iter().map(|name| service.image_word(name));
            let done = words.collect::<Result<Vec<_>, _>>().and_then(|names| {
                match service.images.export(&names, &mut sink, &cancel)? {
                    None => sink
                        .flush()
                        .map_err(|source| image::Error::Write { source }.into()),
                    Some(name) => Err(Error::ImageNotFound { name }),
                }
            });
            // A client that is gone hears nothing.
            if let Err(error) = done {
                let _ = chunks.blocking_send(Err(error));
            }
        });
    }
}
