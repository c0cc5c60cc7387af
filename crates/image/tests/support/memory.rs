//! A registry that is only memory: what a pull gets, without a network.

use std::io::{Cursor, Read};

use image::{Document, FetchError, FetchErrorKind, Remote, Source, Stopped};
use testing::image::Built;

/// One image at a source.
pub(crate) struct Memory<'a>(pub(crate) &'a Built);

impl Memory<'_> {
    fn find(&self, digest: &str) -> Result<&[u8], FetchError> {
        let name = format!("blobs/{}", digest.replace(':', "/"));
        let found = self.0.blobs.iter().find(|(file, _)| *file == name);
        found
            .map(|(_, data)| data.as_slice())
            .ok_or_else(|| FetchError::new(FetchErrorKind::NotFound, "no such blob"))
    }
}

impl Source for Memory<'_> {
    fn digest(&self, _: Stopped<'_>) -> Result<Option<String>, FetchError> {
        Ok(Some(self.0.manifest.clone()))
    }

    fn manifest(
        &self,
        digest: Option<&str>,
        _: u64,
        _: Stopped<'_>,
    ) -> Result<Document, FetchError> {
        Ok(Document {
            media_type: String::new(),
            data: self.find(digest.unwrap_or(&self.0.manifest))?.to_vec(),
        })
    }

    fn blob<'a>(
        &'a self,
        blob: &Remote,
        _: Stopped<'a>,
    ) -> Result<Box<dyn Read + Send + 'a>, FetchError> {
        Ok(Box::new(Cursor::new(self.find(&blob.digest)?)))
    }
}
