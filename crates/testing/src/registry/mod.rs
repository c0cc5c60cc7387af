//! A registry that does as it is told: right, wrong, slow, or not at all.
//!
//! ```text
//! let registry = Server::start()?;                       // plain http on 127.0.0.1, a free port
//! registry.put("lib/app", "1", &builder.build()?);
//! registry.fault("/blobs/", 2, Fault::Reset { after: 1000 });   // the next two requests
//! … registry.seen() …                                    // what was asked, with which secrets
//! ```
//! One thread a connection, HTTP/1.1 with connections kept. Everything is in memory.

mod answer;
mod distribution;
mod http;
mod tls;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub use distribution::{Distribution, Setup};
pub use tls::Authority;

use crate::image::{Built, File, digest};

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status, these headers, this body, instead of the right answer.
    Answer {
        /// `503 Service Unavailable`
        status: &'static str,
        /// Besides the content's length.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// The connection is reset after so many bytes of the body.
    Reset {
        /// Bytes.
        after: usize,
    },
    /// Nothing more comes after so many bytes of the body; the connection stays.
    Hang {
        /// Bytes.
        after: usize,
    },
    /// So many bytes of the body a second.
    Slow {
        /// Bytes.
        rate: usize,
    },
    /// The body is this, with the right headers otherwise.
    Body(Vec<u8>),
    /// The length says so many bytes more than come; then the connection ends.
    LongLength {
        /// Bytes.
        more: usize,
    },
    /// A range is answered with the whole.
    NoRange,
    /// `Docker-Content-Digest` is this; none where it is empty.
    Digest(String),
    /// Nothing is answered at all.
    Mute,
}

/// How the registry wants to know who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    Nobody,
    /// Basic.
    Basic {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// Bearer tokens from `/token` of the same server, for whom knows the password.
    Token {
        /// Name; empty: everybody gets a token.
        user: String,
        /// Password.
        password: String,
    },
    /// Bearer tokens for an identity token.
    Identity(String),
    /// This challenge, whatever is sent.
    Challenge(String),
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `GET`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Its body, where it is short.
    pub body: Vec<u8>,
}

impl Seen {
    /// Its `Authorization`.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

#[derive(Debug, Default)]
struct State {
    /// By digest.
    blobs: BTreeMap<String, Arc<Vec<u8>>>,
    /// By `repository:tag` and `repository@digest`: type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    faults: Vec<(String, usize, Fault)>,
    seen: Vec<Seen>,
    auth: Auth,
    tokens: u64,
    uploads: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    address: SocketAddr,
    tls: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// The registry; it ends when this is dropped.
#[derive(Debug)]
pub struct Server(Arc<Shared>);

impl Server {
    /// A registry in the clear, on a free port of 127.0.0.1 in this thread's network namespace.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start() -> io::Result<Server> {
        Server::serve(TcpListener::bind(("127.0.0.1", 0))?, None)
    }

    /// A registry that speaks TLS, with a certificate of `authority`.
    ///
    /// # Errors
    /// No port or certificate can be had.
    pub fn start_tls(authority: &Authority) -> io::Result<Server> {
        let config = authority.server()?;
        Server::serve(TcpListener::bind(("127.0.0.1", 0))?, Some(config))
    }

    fn serve(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> io::Result<Server> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            ended: AtomicBool::new(false),
            address: listener.local_addr()?,
            tls: tls.is_some(),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if server.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (server, tls) = (Arc::clone(&server), tls.clone());
                thread::spawn(move || connection(&server, stream, tls));
            }
        });
        Ok(Server(shared))
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Adds an image; answers its reference with the tag.
    pub fn put(&self, repository: &str, tag: &str, image: &Built) -> String {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.put_files(repository, tag, &image.blobs, &image.manifest, kind)
    }

    /// Adds the blobs of a layout; the manifest or index with this digest gets the tag.
    pub fn put_files(
        &self,
        repository: &str,
        tag: &str,
        files: &[File],
        top: &str,
        media_type: &str,
    ) -> String {
        for (_, data) in files {
            let digest = digest(data);
            let text = String::from_utf8_lossy(data);
            // Manifests of an index are asked for by digest.
            if text.contains("\"schemaVersion\"") {
                let kind = if text.contains("\"manifests\"") {
                    "application/vnd.oci.image.index.v1+json"
                } else {
                    "application/vnd.oci.image.manifest.v1+json"
                };
                let name = format!("{repository}@{digest}");
                let mut state = self.0.state();
                state
                    .manifests
                    .insert(name, (kind.to_owned(), data.clone()));
            }
            self.0.state().blobs.insert(digest, Arc::new(data.clone()));
        }
        let data = self.blob(top).unwrap_or_default();
        self.put_manifest(repository, tag, media_type, data)
    }

    /// Adds any bytes as the manifest of a tag.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        data: Vec<u8>,
    ) -> String {
        let mut state = self.0.state();
        let by_digest = format!("{repository}@{}", digest(&data));
        let entry = (media_type.to_owned(), data);
        state.manifests.insert(by_digest, entry.clone());
        state.manifests.insert(format!("{repository}:{tag}"), entry);
        format!("{}/{repository}:{tag}", self.host())
    }

    /// Adds a blob.
    pub fn put_blob(&self, data: &[u8]) -> String {
        let digest = digest(data);
        let data = Arc::new(data.to_vec());
        self.0.state().blobs.insert(digest.clone(), data);
        digest
    }

    /// A blob that is there, also one that was pushed.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let blob = self.0.state().blobs.get(digest).cloned();
        blob.map(|blob| blob.as_ref().clone())
    }

    /// The manifest behind a tag or digest of a repository.
    #[must_use]
    pub fn manifest(&self, repository: &str, word: &str) -> Option<Vec<u8>> {
        let mark = if word.contains(':') { '@' } else { ':' };
        let state = self.0.state();
        let found = state.manifests.get(&format!("{repository}{mark}{word}"));
        found.map(|(_, data)| data.clone())
    }

    /// The next `times` requests whose `METHOD path` holds `part` go wrong.
    pub fn fault(&self, part: &str, times: usize, fault: Fault) {
        self.0.state().faults.push((part.to_owned(), times, fault));
    }

    /// How the registry wants to know who asks, from now on.
    pub fn auth(&self, auth: Auth) {
        self.0.state().auth = auth;
    }

    /// Tokens that were given are worth nothing any more.
    pub fn revoke_tokens(&self) {
        self.0.state().tokens += 1;
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.0.state().seen.clone()
    }

    /// `METHOD path` of all requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let line = |seen: &Seen| format!("{} {}", seen.method, seen.target);
        self.seen().iter().map(line).collect()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.0.state().seen.clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        // Wakes the listener; where it is in another network namespace, its process ends soon.
        let _ = TcpStream::connect_timeout(&self.0.address, Duration::from_millis(100));
    }
}

fn connection(server: &Shared, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
    let _ = stream.set_nodelay(true);
    // A test that has failed must not leave a thread behind for ever.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(120)));
    let _ = match tls {
        None => answer::all(server, &stream, &stream),
        Some(config) => match rustls::ServerConnection::new(config) {
            Ok(connection) => answer::all(
                server,
                &stream,
                rustls::StreamOwned::new(connection, &stream),
            ),
            Err(error) => Err(io::Error::other(error)),
        },
    };
}
