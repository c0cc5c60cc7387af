//! One repository at its endpoints: mirrors first, the registry last.
//!
//! Every question is asked at each endpoint that may answer it until one does; the error of the last
//! resort tells what each has said.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use image::{Document, FetchError, FetchErrorKind as Kind, Reference, Remote, Source, Stopped};
use reqwest::{
    Method, Response, Url,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap},
};
use tokio::runtime::Handle;

use crate::{
    blob::Blob,
    client::{Ask, Inner, Registry, headers},
    credentials::{Credentials, Said},
    docker_config,
    error::{Error, transport},
    hosts::{self, Endpoint},
};

/// What we can read, as registries want to be told.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
const DIGEST: &str = "docker-content-digest";
/// How often a wait looks whether its work is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// One repository, seen with somebody's credentials. Calls block; they run on `handle`'s runtime.
#[derive(Debug)]
pub struct Session {
    pub(crate) inner: Arc<Inner>,
    pub(crate) reference: Reference,
    pub(crate) endpoints: Vec<(Endpoint, Option<Credentials>)>,
    pub(crate) scope: String,
    pub(crate) handle: Handle,
    /// The endpoint that answered last: blobs are asked for there first.
    preferred: AtomicUsize,
}

impl Registry {
    /// A session for `reference`, with the credentials that the caller has said, or else those of
    /// the configured files. Reads files; connects nothing.
    ///
    /// # Errors
    /// What is said cannot be meant, or a hosts.toml or auth.json is wrong.
    pub fn session(
        &self,
        reference: &Reference,
        said: &Said,
        access: Access,
        handle: Handle,
    ) -> Result<Session, Error> {
        let refused = |text: String| Error::new(Kind::Refused, text);
        let settings = &self.inner.settings;
        let found = hosts::endpoints(&settings.host_dirs, reference.registry()).map_err(refused)?;
        let meant = said
            .mean()
            .map_err(|text| refused(format!("the credentials for {reference}: {text}")))?;
        let mut endpoints = Vec::new();
        for endpoint in found {
            let credentials = match &meant {
                Some(meant) if is_for(said, &endpoint, reference) => Some(meant.clone()),
                _ => from_files(settings, &endpoint, reference),
            };
            endpoints.push((endpoint, credentials));
        }
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        Ok(Session {
            inner: Arc::clone(&self.inner),
            scope: format!("repository:{}:{actions}", reference.repository()),
            reference: reference.clone(),
            endpoints,
            handle,
            preferred: AtomicUsize::new(0),
        })
    }
}

/// Whether what the caller said is for this endpoint: the registry's own, or the one that it names.
fn is_for(said: &Said, endpoint: &Endpoint, reference: &Reference) -> bool {
    if said.server_address.is_empty() {
        return endpoint.is_registry;
    }
    let server = docker_config::normal(&said.server_address);
    let server = server.split('/').next().unwrap_or_default();
    server == place(endpoint) || endpoint.is_registry && server == reference.registry()
}

/// Host and port as people write them.
fn place(endpoint: &Endpoint) -> String {
    let host = endpoint.base.host_str().unwrap_or_default();
    match endpoint.base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn from_files(
    settings: &crate::Settings,
    endpoint: &Endpoint,
    reference: &Reference,
) -> Option<Credentials> {
    let name = if endpoint.is_registry {
        reference.name()
    } else {
        format!("{}/{}", place(endpoint), reference.repository())
    };
    settings.auth_files.iter().find_map(|file| {
        // A slip in one file must not keep public images from being pulled.
        docker_config::find(file, &name).unwrap_or_else(|problem| {
            tracing::warn!(problem, "credentials are left out");
            None
        })
    })
}

impl Session {
    /// The address of a path of this repository; a mirror is told whose it mirrors.
    pub(crate) fn url(&self, endpoint: &Endpoint, path: &str) -> Url {
        let mut url = endpoint.url(self.reference.repository(), path);
        if !endpoint.is_registry {
            url.query_pairs_mut()
                .append_pair("ns", self.reference.registry());
        }
        url
    }

    /// Asks one endpoint.
    pub(crate) async fn ask(
        &self,
        at: usize,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Response, Error> {
        let Some((endpoint, credentials)) = self.endpoints.get(at) else {
            return Err(Error::new(Kind::Refused, "no such endpoint"));
        };
        let answer = self
            .inner
            .ask(&Ask {
                endpoint,
                credentials: credentials.as_ref(),
                scope: &self.scope,
                method,
                url: self.url(endpoint, path),
                headers,
                body: None,
            })
            .await;
        if answer.is_ok() {
            self.preferred.store(at, Ordering::Relaxed);
        }
        answer
    }

    /// The endpoints that may be asked, the one that answered last first.
    pub(crate) fn order(&self, may: impl Fn(&Endpoint) -> bool) -> Vec<usize> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let rest = (0..self.endpoints.len()).filter(|at| *at != preferred);
        std::iter::once(preferred)
            .chain(rest)
            .filter(|at| self.endpoints.get(*at).is_some_and(|(one, _)| may(one)))
            .collect()
    }

    pub(crate) fn name(&self, at: usize) -> String {
        self.endpoints
            .get(at)
            .map(|(endpoint, _)| endpoint.name())
            .unwrap_or_default()
    }

    /// Runs to the end, or until the caller wants no more.
    pub(crate) fn wait<T>(
        &self,
        stopped: Stopped<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.handle.block_on(async {
            let mut work = pin!(work);
            loop {
                match tokio::time::timeout(LOOK, &mut work).await {
                    Ok(done) => return done,
                    Err(_) if stopped() => return Err(Error::cancelled()),
                    Err(_) => {}
                }
            }
        })
    }

    fn word(&self) -> &str {
        let tag = self.reference.tag();
        self.reference.digest().or(tag).unwrap_or("latest")
    }

    async fn head(&self) -> Result<Option<String>, Error> {
        let word = self.word();
        let pinned = self.reference.digest().is_some();
        let mut tried = Vec::new();
        for at in self.order(|one| if pinned { one.pull } else { one.resolve }) {
            let accept = headers([(ACCEPT, MANIFESTS)]);
            let path = format!("manifests/{word}");
            match self.ask(at, Method::HEAD, &path, accept).await {
                Ok(answer) => {
                    let digest = answer.headers().get(DIGEST);
                    let digest = digest.and_then(|value| value.to_str().ok());
                    // Another algorithm, or nonsense: the manifest itself will tell.
                    let digest = digest.filter(|digest| is_sha256(digest));
                    return Ok(digest.map(str::to_owned));
                }
                // Some registries do not answer HEAD: ask for the whole.
                Err(error) if error.kind() == Kind::Invalid => return Ok(None),
                Err(error) => tried.push((self.name(at), error)),
            }
        }
        let what = format!("resolve {}", self.reference);
        Err(Error::all(&what, tried))
    }

    async fn get(&self, digest: Option<&str>, limit: u64) -> Result<Document, Error> {
        let word = digest.unwrap_or_else(|| self.word());
        let pinned = digest.is_some() || self.reference.digest().is_some();
        let mut tried = Vec::new();
        for at in self.order(|one| if pinned { one.pull } else { one.resolve }) {
            match self.get_at(at, word, limit).await {
                Ok(document) => return Ok(document),
                Err(error) => tried.push((self.name(at), error)),
            }
        }
        let what = format!("fetch the manifest {word} of {}", self.reference);
        Err(Error::all(&what, tried))
    }

    async fn get_at(&self, at: usize, word: &str, limit: u64) -> Result<Document, Error> {
        let accept = headers([(ACCEPT, MANIFESTS)]);
        let path = format!("manifests/{word}");
        let too_large = |bytes: u64| {
            let text = format!("the manifest has {bytes} bytes, more than {limit}");
            Error::new(Kind::Invalid, text)
        };
        let mut tries = 0;
        loop {
            let mut answer = self.ask(at, Method::GET, &path, accept.clone()).await?;
            let of = |answer: &Response, name| {
                let value = answer.headers().get(name);
                value.and_then(|value| value.to_str().ok().map(str::to_owned))
            };
            let said = of(&answer, CONTENT_LENGTH).and_then(|text| text.parse().ok());
            if let Some(bytes) = said.filter(|bytes| *bytes > limit) {
                return Err(too_large(bytes));
            }
            let media_type = of(&answer, CONTENT_TYPE).unwrap_or_default();
            if media_type.starts_with("text/html") {
                let text = "it answers HTML where a manifest should be (a login page or a proxy?)";
                return Err(Error::new(Kind::Invalid, text));
            }
            let read = async {
                let mut data = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(transport)? {
                    data.extend_from_slice(&chunk);
                    if data.len() as u64 > limit {
                        return Err(too_large(data.len() as u64));
                    }
                }
                Ok(data)
            };
            let stall = self.inner.settings.stall;
            let read = tokio::time::timeout(stall, read).await.unwrap_or_else(|_| {
                let text = format!("the manifest has not come in {} s", stall.as_secs_f32());
                Err(Error::new(Kind::TimedOut, text))
            });
            match read {
                Ok(data) => return Ok(Document { media_type, data }),
                Err(error)
                    if error.kind() == Kind::Unavailable && tries < self.inner.settings.retries =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl Source for Session {
    fn digest(&self, stopped: Stopped<'_>) -> Result<Option<String>, FetchError> {
        Ok(self.wait(stopped, self.head())?)
    }

    fn manifest(
        &self,
        digest: Option<&str>,
        limit: u64,
        stopped: Stopped<'_>,
    ) -> Result<Document, FetchError> {
        Ok(self.wait(stopped, self.get(digest, limit))?)
    }

    fn blob<'a>(
        &'a self,
        blob: &Remote,
        stopped: Stopped<'a>,
    ) -> Result<Box<dyn std::io::Read + Send + 'a>, FetchError> {
        Ok(Box::new(Blob::open(self, blob, stopped)?))
    }
}
