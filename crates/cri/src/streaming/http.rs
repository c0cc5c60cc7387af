//! The HTTP side of the streaming server: one request a connection, which becomes a stream.
//!
//! ```text
//! GET /exec/<token>                 no WebSocket upgrade  ─► 400, 405 or 426 with what to do
//!   Upgrade: websocket              no known subprotocol  ─► 400 with those that are known
//!   Sec-WebSocket-Protocol: …       no such token         ─► 404, whatever the reason
//!                                   else                  ─► 101; the connection is the stream's
//! ```
//! Whether a token exists is looked at last: nothing before depends on it, and a request that could
//! not become a stream does not use it up. SPDY/3.1, which older clients ask for, gets a 426.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{
    AttachRequest, ExecRequest, Kind, PortForwardRequest, Request,
    attach::{self, Attached},
    exec, forward, session,
    websocket::{self, Codec, Limits, Socket, Wanted},
};
use crate::{error::Error, options::StreamOptions, service::Service};

/// Most connections, streams included.
const MOST: u32 = 512;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// Largest head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Pause after a connection could not be accepted.
const AGAIN: Duration = Duration::from_millis(100);
/// How long streams may take to end with the daemon.
const LEAVING: Duration = Duration::from_secs(2);
/// Most ports of one stream: channels are bytes, and 255 is not for data.
pub(super) const PORTS: usize = 127;

/// The listening server.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    idle: Duration,
}

/// What every connection needs.
struct Hub {
    service: Service,
    limits: Limits,
}

impl Server {
    /// Listens.
    pub(super) fn bind(options: &StreamOptions) -> std::io::Result<(Server, SocketAddr)> {
        let listener = std::net::TcpListener::bind(options.address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let idle = options.idle_timeout;
        Ok((Server { listener, idle }, address))
    }

    /// Serves until `ending` is true, then ends the streams.
    pub(crate) async fn serve(&self, service: &Service, mut ending: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MOST as usize));
        let hub = Arc::new(Hub {
            service: service.clone(),
            limits: Limits {
                idle: self.idle,
                ending: ending.clone(),
            },
        });
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = ending.wait_for(|ending| *ending) => break,
            };
            match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    tokio::spawn(connection(Arc::clone(&hub), stream, place));
                }
                (Ok(_), Err(_)) => {
                    tracing::warn!(
                        MOST,
                        "a client of streams was turned away: all places are taken"
                    );
                }
                (Err(error), _) => {
                    // Too many files, say: it ends one connection, never the server.
                    tracing::warn!(%error, "a connection for a stream could not be taken");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
        let all = places.acquire_many(MOST);
        if tokio::time::timeout(LEAVING, all).await.is_err() {
            tracing::info!("streams still end; what they ran is ended by its agent");
        }
    }
}

async fn connection(hub: Arc<Hub>, stream: TcpStream, place: OwnedSemaphorePermit) {
    // Keys are typed one by one: each goes out at once.
    let _ = stream.set_nodelay(true);
    let place = Arc::new(place);
    let mut ending = hub.limits.ending.clone();
    let answer = service_fn(move |request| {
        let (hub, place) = (Arc::clone(&hub), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(&hub, request, &place).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a connection for a stream");
        },
        _ = ending.wait_for(|ending| *ending) => {}
    }
}

type Answer = Response<Full<Bytes>>;

/// Answers a request; a good one starts its stream. An attach is answered when its view of the output
/// is open: a client that is connected misses nothing from then on.
async fn answer(
    hub: &Arc<Hub>,
    request: HttpRequest<Incoming>,
    place: &Arc<OwnedSemaphorePermit>,
) -> Answer {
    let accepted = match accept(&request) {
        Ok(accepted) => accepted,
        Err(refusal) => return refusal,
    };
    let Some(prepared) = hub
        .service
        .streaming
        .take(accepted.kind, &accepted.token)
        .and_then(|prepared| with_ports(prepared, request.uri().query()))
    else {
        return nothing_here();
    };
    if let Request::PortForward(forward) = &prepared
        && forward.ports.is_empty()
    {
        let why = "no ports: name them in PortForward or as ?port=8080 in the URL";
        return refuse(StatusCode::BAD_REQUEST, why);
    }
    let (hub, place) = (Arc::clone(hub), Arc::clone(place));
    let codec = accepted.codec;
    let (ready, is_ready) = oneshot::channel();
    // A task of its own, which goes on when the client goes away: what it opens it also closes.
    tokio::spawn(async move {
        let stage = Stage::open(&hub.service, prepared).await;
        let _ = ready.send(());
        let socket = match hyper::upgrade::on(request).await {
            Ok(upgraded) => socket(upgraded).await,
            Err(error) => {
                tracing::debug!(%error, "a stream did not come about");
                None
            }
        };
        match socket {
            Some(socket) => stage.run(&hub, codec, socket).await,
            None => stage.close().await,
        }
        drop(place);
    });
    // An error means that the task is gone, and with it the upgrade, which then fails by itself.
    let _ = is_ready.await;
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.key);
    if !codec.name.is_empty() {
        let name = HeaderValue::from_static(codec.name);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    answer
}

/// A request that can become a stream, if its token is good.
#[derive(Debug)]
struct Accepted {
    kind: Kind,
    token: String,
    codec: Codec,
    /// The answer to the client's key.
    key: HeaderValue,
}

#[expect(clippy::result_large_err, reason = "an answer as good as the other")]
fn accept<B>(request: &HttpRequest<B>) -> Result<Accepted, Answer> {
    let mut segments = request.uri().path().split('/').skip(1);
    let (kind, token) = match (segments.next(), segments.next(), segments.next()) {
        (Some(kind), Some(token), None) => match Kind::of_path(kind) {
            Some(kind) => (kind, token.to_owned()),
            None => return Err(nothing_here()),
        },
        _ => return Err(nothing_here()),
    };
    let headers = request.headers();
    if has_word(headers, header::UPGRADE, "spdy/3.1") {
        let why = "SPDY/3.1 is not spoken here: connect with a WebSocket (v5.channel.k8s.io)";
        return Err(upgrade_required(why));
    }
    if !has_word(headers, header::CONNECTION, "upgrade")
        || !has_word(headers, header::UPGRADE, "websocket")
    {
        let why = "this is the address of a stream: connect with a WebSocket (v5.channel.k8s.io)";
        return Err(upgrade_required(why));
    }
    if request.method() != Method::GET {
        let why = "a WebSocket is opened with GET";
        let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, why);
        let get = HeaderValue::from_static("GET");
        answer.headers_mut().insert(header::ALLOW, get);
        return Err(answer);
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(upgrade_required("only version 13 of WebSocket is spoken"));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok())
        .ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing"))?;
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let codec = Codec::choose(offered.filter_map(|value| value.to_str().ok()))
        .map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    Ok(Accepted {
        kind,
        token,
        codec,
        key,
    })
}

/// Whether a header that is a list of words has this one, in any case.
fn has_word(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        let words = value.to_str().unwrap_or_default().split(',');
        words
            .map(str::trim)
            .any(|one| one.eq_ignore_ascii_case(word))
    })
}

/// Port-forward whose ports are named by the client when it connects (`?port=80&port=81,82`), as
/// kubelets let it; among those that were named before, if any were. `None`: others.
fn with_ports(request: Request, query: Option<&str>) -> Option<Request> {
    let Request::PortForward(mut forward) = request else {
        return Some(request);
    };
    let mut said = Vec::new();
    let pairs = query.unwrap_or_default().split('&');
    for value in pairs.filter_map(|pair| pair.strip_prefix("port=")) {
        // A comma is often written as %2C.
        for port in value.replace("%2C", ",").replace("%2c", ",").split(',') {
            match port.parse::<u16>() {
                Ok(port) if port > 0 && said.len() < PORTS => said.push(port),
                _ => return None,
            }
        }
    }
    if !said.is_empty() {
        let allowed = |port| forward.ports.is_empty() || forward.ports.contains(port);
        if !said.iter().all(allowed) {
            return None;
        }
        forward.ports = said;
    }
    Some(Request::PortForward(forward))
}

/// The same words for every path and token that is not there.
fn nothing_here() -> Answer {
    let why = "there is no such stream: its URL works once, within a minute";
    refuse(StatusCode::NOT_FOUND, why)
}

fn upgrade_required(why: &str) -> Answer {
    let mut answer = refuse(StatusCode::UPGRADE_REQUIRED, why);
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    answer
}

fn refuse(status: StatusCode, why: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{why}\n")));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The WebSocket of an upgraded connection.
async fn socket(upgraded: Upgraded) -> Option<Socket> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let stream = parts.io.into_inner();
    let read = parts.read_buf.to_vec();
    let config = Some(websocket::config());
    Some(WebSocketStream::from_partially_read(stream, read, Role::Server, config).await)
}

/// A stream between its request and its client.
enum Stage {
    Exec(ExecRequest),
    Attach(AttachRequest, Result<Attached, Error>),
    PortForward(PortForwardRequest),
}

impl Stage {
    /// Does what must be done before the client hears that it is connected.
    async fn open(service: &Service, request: Request) -> Stage {
        match request {
            Request::Exec(request) => Stage::Exec(request),
            Request::Attach(request) => {
                let opened = Attached::open(service, &request).await;
                Stage::Attach(request, opened)
            }
            Request::PortForward(request) => Stage::PortForward(request),
        }
    }

    /// Runs the stream to its end.
    async fn run(self, hub: &Hub, codec: Codec, socket: Socket) {
        let (service, limits) = (&hub.service, &hub.limits);
        match self {
            Stage::Exec(request) => {
                let wanted = Wanted {
                    stdin: request.stdin,
                    stdout: request.stdout,
                    stderr: request.stderr,
                };
                let (session, remote) = session::pair();
                tokio::join!(
                    websocket::process(socket, codec, remote, wanted, limits),
                    exec::run(service, request, session),
                );
            }
            Stage::Attach(request, opened) => {
                let wanted = Wanted {
                    stdin: request.stdin,
                    stdout: request.stdout,
                    stderr: request.stderr,
                };
                let (session, remote) = session::pair();
                tokio::join!(
                    websocket::process(socket, codec, remote, wanted, limits),
                    attach::run(request, opened, session),
                );
            }
            Stage::PortForward(request) => {
                let (ports, remote) = forward::pair(request.ports.len(), codec.closes);
                tokio::join!(
                    websocket::ports(socket, codec, remote, limits),
                    forward::run(service, request, ports),
                );
            }
        }
    }

    /// Undoes what [`open`](Self::open) did, for a client that went away before it was connected.
    async fn close(self) {
        if let Stage::Attach(request, Ok(attached)) = self {
            attached.leave(&request).await;
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
