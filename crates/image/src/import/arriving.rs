//! A blob on its way in: what comes from the source is hashed, written to its file, and handed on.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Mutex,
};

use sha2::{Digest, Sha256};

use crate::{
    Error,
    direct::{Buffer, Writer},
    pipe::{Cancel, digest_of},
    source::{FetchError, FetchErrorKind, Remote, Source, Stopped},
    store::lock,
};

/// Reads a blob from its source. At its end size and digest have been checked, so that who reads to
/// the end has the whole blob, and so has the file.
pub(super) struct Arriving<'a> {
    blob: &'a Remote,
    from: Box<dyn Read + Send + 'a>,
    path: PathBuf,
    /// Until the end.
    coming: Option<(Writer, Sha256)>,
    bytes: u64,
    /// What went wrong, in full: a read can only say that something did.
    failure: &'a Mutex<Option<Error>>,
}

impl<'a> Arriving<'a> {
    pub(super) fn new(
        source: &'a dyn Source,
        blob: &'a Remote,
        path: PathBuf,
        stopped: Stopped<'a>,
        failure: &'a Mutex<Option<Error>>,
    ) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        let writer = Writer::new(file, Buffer::default(), blob.size);
        let from = source.blob(blob, stopped).map_err(Error::from)?;
        Ok(Self {
            blob,
            from,
            path,
            coming: Some((writer, Sha256::new())),
            bytes: 0,
            failure,
        })
    }

    fn more(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = match self.from.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.more(buffer),
            Err(error) => return Err(fetch_failed(error)),
        };
        if length == 0 {
            return self.end().map(|()| 0);
        }
        self.bytes += length as u64;
        if self.bytes > self.blob.size {
            return Err(Error::Invalid(format!(
                "blob {} has more than the {} bytes that its descriptor says",
                self.blob.digest, self.blob.size
            )));
        }
        if let Some((writer, hasher)) = &mut self.coming {
            hasher.update(&buffer[..length]);
            writer
                .write(&buffer[..length])
                .map_err(Error::io("write", &self.path))?;
        }
        Ok(length)
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some((writer, hasher)) = self.coming.take() else {
            return Ok(());
        };
        if self.bytes != self.blob.size {
            return Err(Error::Invalid(format!(
                "blob {} has {} bytes, and its descriptor says {}",
                self.blob.digest, self.bytes, self.blob.size
            )));
        }
        let actual = digest_of(hasher);
        if actual != self.blob.digest {
            return Err(Error::Digest {
                what: "a blob from the registry".to_owned(),
                expected: self.blob.digest.clone(),
                actual,
            });
        }
        let finished = writer.finish();
        finished.map(drop).map_err(Error::io("write", &self.path))
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.more(buffer).map_err(|error| {
            let text = error.to_string();
            lock(self.failure).get_or_insert(error);
            io::Error::other(text)
        })
    }
}

/// The file of a blob, fetched and checked, without anybody who looks at its content.
pub(super) fn fetch(mut arriving: Arriving<'_>, tick: &dyn Fn(u64)) -> Result<(), Error> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = arriving.more(&mut buffer)?;
        tick(arriving.bytes);
        if length == 0 {
            return Ok(());
        }
    }
}

/// What a read of a source failed with.
pub(crate) fn fetch_failed(error: io::Error) -> Error {
    match error.downcast::<FetchError>() {
        Ok(error) => error.into(),
        Err(error) => FetchError::new(FetchErrorKind::Unavailable, error).into(),
    }
}

/// Whether the work is to end, as sources ask it.
pub(crate) fn stopped<'a>(cancel: &'a Cancel<'a>) -> impl Fn() -> bool + Sync + 'a {
    move || cancel.is_set()
}
