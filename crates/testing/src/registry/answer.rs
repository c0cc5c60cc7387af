//! What the registry answers.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use data_encoding::BASE64;

use super::{Auth, Fault, Seen, Shared, http};
use crate::image::digest;

struct Answer {
    status: String,
    headers: Vec<(String, String)>,
    body: Body,
}

/// Whole blobs are many megabytes, and asked for again and again: they are shared, not copied.
struct Body {
    data: Arc<Vec<u8>>,
    from: usize,
}

impl Body {
    fn new(data: Vec<u8>) -> Body {
        Body {
            data: Arc::new(data),
            from: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.data.get(self.from..).unwrap_or_default()
    }
}

impl Answer {
    fn new(status: &str) -> Answer {
        Answer {
            status: status.to_owned(),
            headers: Vec::new(),
            body: Body::new(Vec::new()),
        }
    }

    fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: Vec<u8>) -> Answer {
        self.body = Body::new(body);
        self
    }

    fn part(mut self, data: Arc<Vec<u8>>, from: usize) -> Answer {
        self.body = Body { data, from };
        self
    }
}

/// Answers all requests of one connection.
pub(super) fn all(
    server: &Shared,
    socket: &TcpStream,
    stream: impl Read + Write,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some((seen, body)) = http::request(&mut stream)? {
        let fault = fault(server, &seen);
        server.state().seen.push(seen.clone());
        if fault == Some(Fault::Mute) {
            thread::sleep(Duration::from_secs(60));
            return Ok(());
        }
        let mut answer = right(server, &seen, body, fault == Some(Fault::NoRange));
        match &fault {
            Some(Fault::Answer {
                status,
                headers,
                body,
            }) => {
                answer = Answer::new(status).body(body.clone());
                answer.headers.clone_from(headers);
            }
            Some(Fault::Body(body)) => answer.body = Body::new(body.clone()),
            Some(Fault::Digest(digest)) => {
                answer
                    .headers
                    .retain(|(name, _)| name != "docker-content-digest");
                if !digest.is_empty() {
                    answer = answer.header("docker-content-digest", digest);
                }
            }
            _ => {}
        }
        let head = seen.method == "HEAD";
        if !send(socket, stream.get_mut(), &answer, head, fault.as_ref())? {
            return Ok(());
        }
    }
    Ok(())
}

fn fault(server: &Shared, seen: &Seen) -> Option<Fault> {
    let line = format!("{} {}", seen.method, seen.target);
    let mut state = server.state();
    let found = state
        .faults
        .iter_mut()
        .find(|(part, times, _)| *times > 0 && line.contains(part.as_str()))?;
    found.1 -= 1;
    Some(found.2.clone())
}

/// Sends; false when the connection is over.
fn send(
    socket: &TcpStream,
    out: &mut impl Write,
    answer: &Answer,
    head: bool,
    fault: Option<&Fault>,
) -> io::Result<bool> {
    let more = match fault {
        Some(Fault::LongLength { more }) => *more,
        _ => 0,
    };
    let mut text = format!("HTTP/1.1 {}\r\n", answer.status);
    for (name, value) in &answer.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let body = answer.body.bytes();
    let length = body.len() + more;
    text += &format!("content-length: {length}\r\n\r\n");
    out.write_all(text.as_bytes())?;
    if head {
        out.flush()?;
        return Ok(true);
    }
    let cut = |after: usize| &body[..after.min(body.len())];
    match fault {
        Some(Fault::Reset { after }) => {
            out.write_all(cut(*after))?;
            out.flush()?;
            // Lets what was sent arrive before the connection breaks.
            thread::sleep(Duration::from_millis(30));
            socket.shutdown(Shutdown::Both)?;
            Ok(false)
        }
        Some(Fault::Hang { after }) => {
            out.write_all(cut(*after))?;
            out.flush()?;
            // Until the client has enough.
            let _ = socket.set_read_timeout(Some(Duration::from_secs(60)));
            let mut reader = socket;
            let _ = reader.read(&mut [0]);
            Ok(false)
        }
        Some(Fault::Slow { rate }) => {
            for piece in body.chunks((rate / 10).max(1)) {
                out.write_all(piece)?;
                out.flush()?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(true)
        }
        _ => {
            out.write_all(body)?;
            out.flush()?;
            if more > 0 {
                socket.shutdown(Shutdown::Both)?;
            }
            Ok(more == 0)
        }
    }
}

fn right(server: &Shared, seen: &Seen, body: Vec<u8>, no_range: bool) -> Answer {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    if path == "/token" {
        return token(server, seen, query);
    }
    if let Some(answer) = stranger(server, seen) {
        return answer;
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Answer::new("404 Not Found");
    };
    if rest.is_empty() {
        return Answer::new("200 OK");
    }
    if let Some((repository, word)) = rest.split_once("/manifests/") {
        return manifest(server, seen, repository, word, body);
    }
    if let Some((repository, upload)) = rest.split_once("/blobs/uploads/") {
        return uploaded(server, seen, (repository, upload), query, body);
    }
    match rest.split_once("/blobs/") {
        Some((_, digest)) => blob(server, seen, digest, no_range),
        None => Answer::new("404 Not Found"),
    }
}

fn unknown(code: &str) -> Answer {
    let text = format!(r#"{{"errors":[{{"code":"{code}","message":"{code} is not here"}}]}}"#);
    Answer::new("404 Not Found")
        .header("content-type", "application/json")
        .body(text.into_bytes())
}

fn manifest(server: &Shared, seen: &Seen, repository: &str, word: &str, body: Vec<u8>) -> Answer {
    let mark = if word.contains(':') { '@' } else { ':' };
    let name = format!("{repository}{mark}{word}");
    if seen.method == "PUT" {
        let kind = seen
            .headers
            .get("content-type")
            .cloned()
            .unwrap_or_default();
        let digest = digest(&body);
        let mut state = server.state();
        let by_digest = format!("{repository}@{digest}");
        state
            .manifests
            .insert(by_digest, (kind.clone(), body.clone()));
        state.manifests.insert(name, (kind, body));
        return Answer::new("201 Created").header("docker-content-digest", &digest);
    }
    let state = server.state();
    match state.manifests.get(&name) {
        Some((kind, data)) => Answer::new("200 OK")
            .header("content-type", kind)
            .header("docker-content-digest", &digest(data))
            .body(data.clone()),
        None => unknown("MANIFEST_UNKNOWN"),
    }
}

fn blob(server: &Shared, seen: &Seen, digest: &str, no_range: bool) -> Answer {
    let Some(data) = server.state().blobs.get(digest).cloned() else {
        return unknown("BLOB_UNKNOWN");
    };
    let start = seen.headers.get("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    match start {
        Some(start) if !no_range && start < data.len() => {
            let range = format!("bytes {start}-{}/{}", data.len() - 1, data.len());
            Answer::new("206 Partial Content")
                .header("content-range", &range)
                .part(data, start)
        }
        _ => Answer::new("200 OK").part(data, 0),
    }
}

fn uploaded(
    server: &Shared,
    seen: &Seen,
    (repository, upload): (&str, &str),
    query: &str,
    body: Vec<u8>,
) -> Answer {
    match (seen.method.as_str(), upload) {
        ("POST", "") => {
            let mut state = server.state();
            state.uploads += 1;
            let number = state.uploads;
            drop(state);
            let place = format!("/v2/{repository}/blobs/uploads/{number}?_state=kept");
            Answer::new("202 Accepted").header("location", &place)
        }
        ("PUT", _) => {
            let said = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("digest="))
                .unwrap_or_default()
                .replace("%3A", ":");
            if said != digest(&body) || !query.contains("_state=kept") {
                return Answer::new("400 Bad Request");
            }
            server.state().blobs.insert(said.clone(), Arc::new(body));
            Answer::new("201 Created").header("docker-content-digest", &said)
        }
        _ => Answer::new("405 Method Not Allowed"),
    }
}

/// The answer for somebody who may not ask, if that is so.
fn stranger(server: &Shared, seen: &Seen) -> Option<Answer> {
    let auth = server.state().auth.clone();
    let basic = |user: &str, password: &str| {
        format!(
            "Basic {}",
            BASE64.encode(format!("{user}:{password}").as_bytes())
        )
    };
    let bearer = format!("Bearer token-{}", server.state().tokens);
    let (wanted, challenge) = match auth {
        Auth::Nobody => return None,
        Auth::Basic { user, password } => (basic(&user, &password), "Basic realm=\"x\"".to_owned()),
        Auth::Token { .. } | Auth::Identity(_) => (bearer, challenge(server, seen)),
        Auth::Challenge(challenge) => (String::new(), challenge),
    };
    if seen.authorization() == Some(&wanted) {
        return None;
    }
    let answer = Answer::new("401 Unauthorized").header("www-authenticate", &challenge);
    Some(answer.body(br#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}"#.to_vec()))
}

fn challenge(server: &Shared, seen: &Seen) -> String {
    let rest = seen.target.trim_start_matches("/v2/");
    let repository = rest.split("/manifests/").next().unwrap_or_default();
    let repository = repository.split("/blobs/").next().unwrap_or_default();
    let actions = if matches!(seen.method.as_str(), "GET" | "HEAD") {
        "pull"
    } else {
        "pull,push"
    };
    format!(
        "Bearer realm=\"{}/token\",service=\"test\",scope=\"repository:{repository}:{actions}\"",
        server.url()
    )
}

fn token(server: &Shared, seen: &Seen, query: &str) -> Answer {
    let auth = server.state().auth.clone();
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let known = match &auth {
        Auth::Token { user, .. } if user.is_empty() => true,
        Auth::Token { user, password } => {
            let wanted = BASE64.encode(format!("{user}:{password}").as_bytes());
            seen.authorization() == Some(&format!("Basic {wanted}"))
        }
        Auth::Identity(token) => {
            seen.method == "POST" && body.contains(&format!("refresh_token={token}&"))
        }
        _ => false,
    };
    if !known || !(query.contains("scope=") || body.contains("scope=")) {
        return Answer::new("401 Unauthorized");
    }
    let token = format!("token-{}", server.state().tokens);
    Answer::new("200 OK").body(format!(r#"{{"token":"{token}","expires_in":300}}"#).into_bytes())
}
