//! A blob on its way in: what comes from the source is hashed, written to its file, and handed on.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, Read},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use crate::{
    Error,
    digests::{Chunk, Digests, Stream},
    direct::{Buffer, Writer},
    pipe::{Cancel, fill},
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
    coming: Option<(Writer, Stream<'a>)>,
    bytes: u64,
    digests: &'a Digests,
    /// What came last.
    chunk: Arc<Chunk>,
    /// So much of it is taken.
    at: usize,
    /// What went wrong, in full: a read can only say that something did.
    failure: &'a Mutex<Option<Error>>,
}

impl<'a> Arriving<'a> {
    pub(super) fn new(
        source: &'a dyn Source,
        blob: &'a Remote,
        path: PathBuf,
        digests: &'a Digests,
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
            coming: Some((writer, digests.stream())),
            bytes: 0,
            digests,
            chunk: Arc::default(),
            at: 0,
            failure,
        })
    }

    /// The next chunk, of no bytes at the end.
    fn more(&mut self) -> Result<(), Error> {
        (self.chunk, self.at) = (Arc::default(), 0);
        let mut memory = self.digests.memory();
        let length = fill(&mut self.from, &mut memory).map_err(fetch_failed)?;
        if length == 0 {
            return self.end();
        }
        self.bytes += length as u64;
        if self.bytes > self.blob.size {
            return Err(Error::Invalid(format!(
                "blob {} has more than the {} bytes that its descriptor says",
                self.blob.digest, self.blob.size
            )));
        }
        self.chunk = self.digests.chunk(memory, length);
        if let Some((writer, hashed)) = &mut self.coming {
            hashed.add(&self.chunk);
            writer
                .write(self.chunk.bytes())
                .map_err(Error::io("write", &self.path))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some((writer, hashed)) = self.coming.take() else {
            return Ok(());
        };
        if self.bytes != self.blob.size {
            return Err(Error::Invalid(format!(
                "blob {} has {} bytes, and its descriptor says {}",
                self.blob.digest, self.bytes, self.blob.size
            )));
        }
        let actual = hashed.finish();
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

impl BufRead for Arriving<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.bytes().len() {
            self.more().map_err(|error| {
                let text = error.to_string();
                lock(self.failure).get_or_insert(error);
                io::Error::other(text)
            })?;
        }
        Ok(&self.chunk.bytes()[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// The file of a blob, fetched and checked, without anybody who looks at its content.
pub(super) fn fetch(mut arriving: Arriving<'_>, tick: &dyn Fn(u64)) -> Result<(), Error> {
    loop {
        arriving.more()?;
        tick(arriving.bytes);
        if arriving.chunk.bytes().is_empty() {
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
