//! Push: blobs that the registry lacks, then the manifest that names them.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use image::{FetchErrorKind as Kind, Stopped};
use reqwest::{
    Body, Method, Url,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION},
};
use tokio::io::AsyncReadExt;

use crate::{
    client::{Ask, headers},
    error::Error,
    session::Session,
};

const CHUNK: usize = 256 << 10;

/// What is pushed: files by digest, and the manifest as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// `sha256:…` of them.
    pub digest: String,
    /// The manifest's type.
    pub media_type: String,
    /// Digest, bytes and file of configuration and layers.
    pub blobs: Vec<(String, u64, PathBuf)>,
}

/// How far a push is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// Bytes of a blob sent so far.
    Sent {
        /// Which.
        digest: String,
        /// So many.
        bytes: u64,
        /// Of so many.
        total: u64,
    },
    /// A blob is at the registry.
    Blob {
        /// Which.
        digest: String,
        /// It was there before.
        existed: bool,
    },
}

/// Is told how far a push is.
pub type Watch = Arc<dyn Fn(Pushed) + Send + Sync>;

impl Session {
    /// Pushes to the registry itself, under the reference's tag (or digest, where it has no tag).
    /// What is there already is not sent again.
    ///
    /// # Errors
    /// The registry cannot be asked, or does not take it; a file cannot be read; or `stopped`.
    pub fn push(
        &self,
        content: &Content,
        watch: &Watch,
        stopped: Stopped<'_>,
    ) -> Result<(), Error> {
        let at = self
            .endpoints
            .iter()
            .position(|(endpoint, _)| endpoint.is_registry && endpoint.push)
            .ok_or_else(|| {
                let registry = self.reference.registry();
                let text = format!("hosts.toml allows no push to {registry}");
                Error::new(Kind::Refused, text)
            })?;
        let failed = |what: String| {
            let place = self.name(at);
            move |error: Error| Error::new(error.kind(), format!("{what} to {place}: {error}"))
        };
        for (digest, size, file) in &content.blobs {
            let what = format!("push blob {digest} of {}", self.reference);
            self.wait(stopped, self.push_blob(at, digest, *size, file, watch))
                .map_err(failed(what))?;
        }
        let what = format!("push the manifest of {}", self.reference);
        self.wait(stopped, self.push_manifest(at, content))
            .map_err(failed(what))
    }

    async fn push_blob(
        &self,
        at: usize,
        digest: &str,
        size: u64,
        file: &std::path::Path,
        watch: &Watch,
    ) -> Result<(), Error> {
        let path = format!("blobs/{digest}");
        let existed = match self.ask(at, Method::HEAD, &path, HeaderMap::new()).await {
            Ok(_) => true,
            Err(error) if error.kind() == Kind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !existed {
            let mut tries = 0;
            // An upload that breaks begins anew: its session may be gone with the connection.
            while let Err(error) = self.upload(at, digest, size, file, watch).await {
                if !error.is_passing() || tries >= self.inner.settings.retries {
                    return Err(error);
                }
                tries += 1;
                tokio::time::sleep(Duration::from_millis(200) * tries).await;
            }
        }
        watch(Pushed::Blob {
            digest: digest.to_owned(),
            existed,
        });
        Ok(())
    }

    async fn upload(
        &self,
        at: usize,
        digest: &str,
        size: u64,
        file: &std::path::Path,
        watch: &Watch,
    ) -> Result<(), Error> {
        let empty = || Body::from(Bytes::new());
        let begun = self
            .send(at, Method::POST, "blobs/uploads/", HeaderMap::new(), &empty)
            .await?;
        let location = begun
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|location| begun.url().join(location).ok())
            .ok_or_else(|| Error::new(Kind::Invalid, "it begins an upload without a location"))?;
        let mut location: Url = location;
        location.query_pairs_mut().append_pair("digest", digest);
        // Opened here, so that a file that is gone is told as that.
        tokio::fs::metadata(file).await.map_err(|error| {
            Error::new(Kind::Refused, format!("read {}: {error}", file.display()))
        })?;
        let sent = Arc::new(AtomicU64::new(0));
        let body = || {
            sent.store(0, Ordering::Relaxed);
            stream(file.to_owned(), digest.to_owned(), size, &sent, watch)
        };
        let headers = headers([
            (CONTENT_TYPE, "application/octet-stream"),
            (CONTENT_LENGTH, &size.to_string()),
        ]);
        let upload = self.send_to(at, Method::PUT, location, headers, &body);
        // Bytes that are taken are progress; none in the whole window is a stall.
        let watchdog = async {
            let stall = self.inner.settings.stall;
            let mut before = None;
            loop {
                let now = sent.load(Ordering::Relaxed);
                if before == Some(now) {
                    return stall;
                }
                before = Some(now);
                tokio::time::sleep(stall).await;
            }
        };
        tokio::select! {
            done = upload => done.map(drop),
            stall = watchdog => {
                let text = format!("the transfer has stalled: no byte taken in {stall:?}");
                Err(Error::new(Kind::TimedOut, text))
            }
        }
    }

    async fn push_manifest(&self, at: usize, content: &Content) -> Result<(), Error> {
        let word = self.reference.tag().unwrap_or(&content.digest);
        let body = || Body::from(content.manifest.clone());
        let kind = headers([(CONTENT_TYPE, content.media_type.as_str())]);
        let path = format!("manifests/{word}");
        self.send(at, Method::PUT, &path, kind, &body)
            .await
            .map(drop)
    }

    async fn send(
        &self,
        at: usize,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: &(dyn Fn() -> Body + Sync),
    ) -> Result<reqwest::Response, Error> {
        let Some((endpoint, _)) = self.endpoints.get(at) else {
            return Err(Error::new(Kind::Refused, "no such endpoint"));
        };
        let url = self.url(endpoint, path);
        self.send_to(at, method, url, headers, body).await
    }

    async fn send_to(
        &self,
        at: usize,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: &(dyn Fn() -> Body + Sync),
    ) -> Result<reqwest::Response, Error> {
        let Some((endpoint, credentials)) = self.endpoints.get(at) else {
            return Err(Error::new(Kind::Refused, "no such endpoint"));
        };
        self.inner
            .ask(&Ask {
                endpoint,
                credentials: credentials.as_ref(),
                scope: &self.scope,
                method,
                url,
                headers,
                body: Some(body),
            })
            .await
    }
}

/// A file in chunks, told as they are taken.
fn stream(file: PathBuf, digest: String, total: u64, sent: &Arc<AtomicU64>, watch: &Watch) -> Body {
    let (sent, watch) = (Arc::clone(sent), Arc::clone(watch));
    let chunks = futures::stream::try_unfold(None, move |open| {
        let (file, digest) = (file.clone(), digest.clone());
        let (sent, watch) = (Arc::clone(&sent), Arc::clone(&watch));
        async move {
            let mut open = match open {
                Some(open) => open,
                None => tokio::fs::File::open(&file).await?,
            };
            let mut chunk = Vec::with_capacity(CHUNK);
            if (&mut open)
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .await?
                == 0
            {
                return Ok::<_, std::io::Error>(None);
            }
            let bytes = sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
            watch(Pushed::Sent {
                digest,
                bytes,
                total,
            });
            Ok(Some((Bytes::from(chunk), Some(open))))
        }
    });
    Body::wrap_stream(chunks)
}
