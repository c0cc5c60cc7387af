//! ImportImage: an archive that the client sends, into the image store.
//!
//! ```text
//! client ─► chunks (bounded channel) ─► a thread that may block: Store::import ─► events ─► client
//! ```
//! A client that goes away cancels the import, and nothing of it stays.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use image::{Image, ImportOptions, Progress};
use tokio::sync::mpsc;

use super::{Service, chunks::Chunks};
use crate::{error::Error, events::Action};

/// What an import says on its way.
#[derive(Debug, Clone)]
pub(crate) enum ImportEvent {
    /// Bytes of the archive read so far.
    Read(u64),
    /// A layer is there; `true`: it was before.
    Layer(String, bool),
    /// All is there.
    Done(Vec<Image>),
}

/// Bytes between two reports of progress.
const STEP: u64 = 1 << 20;

impl Service {
    /// Imports the archive that comes in `chunks`; events and the result go to `events`. An error
    /// among the chunks, or an end of the stream before the archive's, fails the import.
    pub(crate) fn import_image(
        &self,
        name: String,
        chunks: mpsc::Receiver<Result<Vec<u8>, io::Error>>,
        events: mpsc::Sender<Result<ImportEvent, Error>>,
    ) {
        let (images, bus) = (Arc::clone(&self.images), self.events.clone());
        let (limits, default) = (self.limits, self.default_registry.clone());
        tokio::task::spawn_blocking(move || {
            let name = match image::qualify(&name, &default) {
                Ok(name) => name.into_owned(),
                Err(error) => {
                    let _ = events.blocking_send(Err(image::Error::from(error).into()));
                    return;
                }
            };
            let options = ImportOptions {
                name: (!name.is_empty()).then_some(name),
                limits,
            };
            let cancel = AtomicBool::new(false);
            let told = std::sync::atomic::AtomicU64::new(0);
            let send = |event| {
                // The client is gone: whoever reads is told to stop.
                if events.blocking_send(Ok(event)).is_err() {
                    cancel.store(true, Ordering::Relaxed);
                }
            };
            let progress = |progress: Progress| match progress {
                Progress::Read { bytes }
                    if bytes >= told.load(Ordering::Relaxed).saturating_add(STEP) =>
                {
                    told.store(bytes, Ordering::Relaxed);
                    send(ImportEvent::Read(bytes));
                }
                Progress::LayerDone { digest, shared, .. } => {
                    send(ImportEvent::Layer(digest, shared));
                }
                _ => {}
            };
            let mut source = Chunks::new(chunks);
            let result = images.import(&mut source, &options, &progress, &cancel);
            for image in result.iter().flatten() {
                let name = image.repo_tags.first().or(image.repo_digests.first());
                bus.image(Action::Import, &image.id, name.unwrap_or(&image.id));
            }
            // A client that is gone hears nothing; the images are there.
            let _ = events.blocking_send(result.map(ImportEvent::Done).map_err(Error::from));
        });
    }
}
