//! A blob as a stream that does not break: what is missing is asked for again from where it stopped.
//!
//! ```text
//!  connection lost    the rest by Range, at the same endpoint, then at the next
//!  too slow           less than `min_rate` over `stall`: the next endpoint, or an error
//! ```
//! Only time spent waiting for the network counts as slow: a reader that takes its time is not the
//! registry's fault.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use bytes::Bytes;
use image::{FetchError, FetchErrorKind as Kind, Remote, Stopped};
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, RANGE},
};

use crate::{
    client::headers,
    error::{Error, transport},
    session::Session,
};

/// Bytes after which a connection counts as one that works: breaks before it are forgiven.
const PROGRESS: u64 = 32 << 10;
const BACKOFF: Duration = Duration::from_millis(200);

pub(crate) struct Blob<'a> {
    session: &'a Session,
    blob: Remote,
    stopped: Stopped<'a>,
    /// Places that are still to be asked, the current one first.
    places: Vec<Place>,
    tried: Vec<(String, Error)>,
    response: Option<Response>,
    chunk: Bytes,
    /// Bytes that came.
    at: u64,
    /// Bytes to leave out, where an endpoint knows no ranges.
    skip: u64,
    breaks: u32,
    /// Bytes that had come at the last break.
    broke_at: u64,
    meter: Meter,
}

#[derive(Debug, Clone)]
enum Place {
    Endpoint(usize),
    Url(String),
}

impl<'a> Blob<'a> {
    /// Asks for the blob; on return its first endpoint has answered.
    pub(crate) fn open(
        session: &'a Session,
        blob: &Remote,
        stopped: Stopped<'a>,
    ) -> Result<Self, Error> {
        let endpoints = session.order(|endpoint| endpoint.pull);
        let places = endpoints.into_iter().map(Place::Endpoint);
        let urls = blob.urls.iter().cloned().map(Place::Url);
        let settings = &session.inner.settings;
        let mut this = Self {
            places: places.chain(urls).collect(),
            session,
            blob: blob.clone(),
            stopped,
            tried: Vec::new(),
            response: None,
            chunk: Bytes::new(),
            at: 0,
            skip: 0,
            breaks: 0,
            broke_at: 0,
            meter: Meter::new(settings.stall, settings.min_rate),
        };
        this.connect()?;
        Ok(this)
    }

    /// Connects to the current place, or to the next ones when it does not answer.
    fn connect(&mut self) -> Result<(), Error> {
        while let Some(place) = self.places.first().cloned() {
            let asked = self.session.wait(self.stopped, self.request(&place));
            match asked.and_then(|answer| self.accept(answer)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => self.give_up(error),
            }
        }
        let what = format!(
            "fetch blob {} of {}",
            self.blob.digest, self.session.reference
        );
        Err(Error::all(&what, std::mem::take(&mut self.tried)))
    }

    async fn request(&self, place: &Place) -> Result<Response, Error> {
        let range = match self.at {
            0 => HeaderMap::new(),
            at => headers([(RANGE, &format!("bytes={at}-"))]),
        };
        match place {
            Place::Endpoint(at) => {
                let path = format!("blobs/{}", self.blob.digest);
                self.session.ask(*at, Method::GET, &path, range).await
            }
            Place::Url(url) => self.session.inner.foreign(url, range).await,
        }
    }

    fn accept(&mut self, answer: Response) -> Result<(), Error> {
        self.skip = 0;
        if self.at > 0 {
            match answer.status() {
                StatusCode::PARTIAL_CONTENT => {
                    let start = answer
                        .headers()
                        .get(CONTENT_RANGE)
                        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes "))
                        .and_then(|range| range.split_once('-')?.0.trim().parse::<u64>().ok());
                    if start != Some(self.at) {
                        let text = format!("asked for bytes from {}, it sends others", self.at);
                        return Err(Error::new(Kind::Invalid, text));
                    }
                }
                _ => self.skip = self.at,
            }
        }
        self.response = Some(answer);
        self.meter.restart();
        Ok(())
    }

    /// Turns to the next place.
    fn give_up(&mut self, error: Error) {
        let place = match self.places.remove(0) {
            Place::Endpoint(at) => self.session.name(at),
            Place::Url(url) => url,
        };
        self.tried.push((place, error));
        self.response = None;
        self.breaks = 0;
    }

    /// The next bytes; none at the end.
    fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            let Some(mut response) = self.response.take() else {
                self.connect()?;
                continue;
            };
            let read = self.meter.chunk(&mut response);
            match self.session.wait(self.stopped, read) {
                Ok(Some(mut chunk)) => {
                    self.response = Some(response);
                    let skip = chunk
                        .len()
                        .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                    self.skip -= skip as u64;
                    let _ = chunk.split_to(skip);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.at += chunk.len() as u64;
                    return Ok(chunk);
                }
                Ok(None) => {
                    // Kept, so that the next read finds the end again.
                    self.response = Some(response);
                    return Ok(Bytes::new());
                }
                Err(error) if error.kind() == Kind::Cancelled => return Err(error),
                Err(error) => self.broken(error)?,
            }
        }
    }

    fn broken(&mut self, error: Error) -> Result<(), Error> {
        if self.at >= self.broke_at.saturating_add(PROGRESS) {
            self.breaks = 0;
        }
        self.broke_at = self.at;
        let patience = self.session.inner.settings.retries;
        if error.kind() == Kind::TimedOut || !error.is_passing() || self.breaks >= patience {
            let text = format!("after {} of {} bytes: {error}", self.at, self.blob.size);
            self.give_up(Error::new(error.kind(), text));
            return self.connect();
        }
        tracing::debug!(blob = %self.blob.digest, at = self.at, %error, "resuming");
        let pause = BACKOFF * (1 << self.breaks.min(5));
        self.breaks += 1;
        self.session.wait(self.stopped, async {
            tokio::time::sleep(pause).await;
            Ok(())
        })
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let next = self.next();
            self.chunk = next.map_err(|error| io::Error::other(FetchError::from(error)))?;
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// How fast bytes come, over windows of waiting time.
#[derive(Debug)]
struct Meter {
    window: Duration,
    least: u64,
    waited: Duration,
    bytes: u64,
}

impl Meter {
    fn new(window: Duration, rate: u64) -> Self {
        Self {
            window,
            least: rate.saturating_mul(window.as_secs()).max(1),
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    fn restart(&mut self) {
        (self.waited, self.bytes) = (Duration::ZERO, 0);
    }

    async fn chunk(&mut self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        loop {
            let left = self.window.saturating_sub(self.waited);
            let began = Instant::now();
            let read = tokio::time::timeout(left, response.chunk()).await;
            self.waited += began.elapsed();
            let chunk = match read {
                Ok(chunk) => Some(chunk.map_err(transport)?),
                Err(_) => None,
            };
            if let Some(Some(chunk)) = &chunk {
                self.bytes += chunk.len() as u64;
            }
            if self.waited >= self.window {
                if self.bytes < self.least && !matches!(chunk, Some(None)) {
                    let text = format!(
                        "the transfer has stalled: {} bytes in {} s, and {} are the least",
                        self.bytes,
                        self.window.as_secs_f32(),
                        self.least
                    );
                    return Err(Error::new(Kind::TimedOut, text));
                }
                self.restart();
            }
            if let Some(chunk) = chunk {
                return Ok(chunk);
            }
        }
    }
}
