//! Images to and from registries and archives.

use cri_api::node::{self, node_client::NodeClient};

use super::{Daemon, MAX_ANSWER, limited, of};
use crate::error::Error;

/// What is to be pulled.
#[derive(Debug, Clone, Default)]
pub(crate) struct PullWanted {
    /// Name with a tag or digest.
    pub(crate) image: String,
    /// Empty: the node's own.
    pub(crate) platform: String,
    /// Empty: what the node has in its files.
    pub(crate) username: String,
    /// The same.
    pub(crate) password: String,
}

/// How far a blob is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// Digest of its blob.
    pub(crate) digest: String,
    /// Its bytes.
    pub(crate) total: u64,
    /// Those that came or went.
    pub(crate) bytes: u64,
    /// It is where it should be.
    pub(crate) done: bool,
    /// It was there before.
    pub(crate) existed: bool,
}

/// An image that was pulled.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    /// Its id.
    pub(crate) id: String,
    /// Names by which it can be used.
    pub(crate) names: Vec<String>,
    /// Bytes of its content.
    pub(crate) size: u64,
}

/// What a prune has removed.
#[derive(Debug, Clone)]
pub(crate) struct Pruned {
    /// The images.
    pub(crate) images: Vec<Pulled>,
    /// Bytes that are free now.
    pub(crate) freed: u64,
}

/// What is to be pushed.
#[derive(Debug, Clone, Default)]
pub(crate) struct PushWanted {
    /// Name or id.
    pub(crate) image: String,
    /// Name at the registry; empty: the same.
    pub(crate) to: String,
    /// Empty: what the node has in its files.
    pub(crate) username: String,
    /// The same.
    pub(crate) password: String,
}

fn transfer(layer: node::LayerProgress) -> Transfer {
    Transfer {
        digest: layer.digest,
        total: layer.total,
        bytes: layer.bytes,
        done: layer.done,
        existed: layer.existed,
    }
}

impl Daemon {
    fn transfers(&self) -> NodeClient<tonic::transport::Channel> {
        NodeClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// Pulls an image and passes on how far it is. Dropping the future cancels the pull.
    pub(crate) async fn pull(
        &self,
        what: &str,
        wanted: PullWanted,
        mut heard: impl FnMut(Vec<Transfer>),
    ) -> Result<Pulled, Error> {
        let request = node::PullImageRequest {
            image: wanted.image,
            platform: wanted.platform,
            username: wanted.username,
            password: wanted.password,
        };
        let mut client =
            NodeClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let answer = client.pull_image(request).await;
        let mut events = answer.map_err(of(what))?.into_inner();
        while let Some(event) = events.message().await.map_err(of(what))? {
            match event.event {
                Some(node::pull_image_event::Event::Progress(progress)) => {
                    heard(progress.layers.into_iter().map(transfer).collect());
                }
                Some(node::pull_image_event::Event::Done(image)) => {
                    return Ok(Pulled {
                        id: image.id,
                        names: image.names,
                        size: image.size,
                    });
                }
                None => {}
            }
        }
        Err(Error::Answer {
            what: what.to_owned(),
            missing: "an end",
        })
    }

    /// Pushes an image and passes on how far it is; answers its name there.
    pub(crate) async fn push(
        &self,
        what: &str,
        wanted: PushWanted,
        mut heard: impl FnMut(Transfer),
    ) -> Result<String, Error> {
        let request = node::PushImageRequest {
            image: wanted.image,
            to: wanted.to,
            username: wanted.username,
            password: wanted.password,
        };
        let answer = self.transfers().push_image(request).await;
        let mut events = answer.map_err(of(what))?.into_inner();
        while let Some(event) = events.message().await.map_err(of(what))? {
            match event.event {
                Some(node::push_image_event::Event::Progress(layer)) => heard(transfer(layer)),
                Some(node::push_image_event::Event::Done(name)) => return Ok(name),
                None => {}
            }
        }
        Err(Error::Answer {
            what: what.to_owned(),
            missing: "an end",
        })
    }

    /// Gives an image one more name.
    pub(crate) async fn tag(&self, image: &str, name: &str) -> Result<(), Error> {
        let request = node::TagImageRequest {
            image: image.to_owned(),
            name: name.to_owned(),
        };
        let answer = self.transfers().tag_image(limited(request)).await;
        answer.map(drop).map_err(of(&format!("tag {image}")))
    }

    /// Takes a tag away, and the image with the last of its tags; by id, the image.
    pub(crate) async fn untag(&self, image: &str) -> Result<(), Error> {
        let request = node::UntagImageRequest {
            image: image.to_owned(),
        };
        let answer = self.transfers().untag_image(limited(request)).await;
        answer
            .map(drop)
            .map_err(of(&format!("remove image {image}")))
    }

    /// Removes images that nothing uses: those without a tag, or all.
    pub(crate) async fn prune_images(&self, all: bool) -> Result<Pruned, Error> {
        let request = node::PruneImagesRequest { all };
        let answer = self.transfers().prune_images(limited(request)).await;
        let answer = answer.map_err(of("prune images"))?.into_inner();
        let image = |image: node::ImportedImage| Pulled {
            id: image.id,
            names: image.names,
            size: image.size,
        };
        Ok(Pruned {
            images: answer.images.into_iter().map(image).collect(),
            freed: answer.freed_bytes,
        })
    }

    /// Keeps an image from garbage collection, or no longer does.
    pub(crate) async fn pin_image(&self, image: &str, pinned: bool) -> Result<(), Error> {
        let request = node::PinImageRequest {
            image: image.to_owned(),
            pinned,
        };
        let answer = self.transfers().pin_image(limited(request)).await;
        answer.map(drop).map_err(of(&format!("pin {image}")))
    }

    /// What is wrong with an image's content on the disk. It may take long.
    pub(crate) async fn verify_image(&self, image: &str) -> Result<Vec<String>, Error> {
        let request = node::VerifyImageRequest {
            image: image.to_owned(),
        };
        let answer = self.transfers().verify_image(request).await;
        let answer = answer.map_err(of(&format!("verify {image}")))?;
        Ok(answer.into_inner().problems)
    }

    /// Images as one archive, in pieces to `take`; answers its bytes.
    pub(crate) async fn export(
        &self,
        images: &[String],
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let what = format!("export {}", images.join(", "));
        let request = node::ExportImagesRequest {
            images: images.to_vec(),
        };
        let answer = self.transfers().export_images(request).await;
        let mut chunks = answer.map_err(of(&what))?.into_inner();
        let mut bytes = 0;
        while let Some(message) = chunks.message().await.map_err(of(&what))? {
            take(&message.chunk)?;
            bytes += message.chunk.len() as u64;
        }
        Ok(bytes)
    }
}
