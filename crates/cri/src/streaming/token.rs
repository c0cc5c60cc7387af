//! Tokens: what a client has to show to get the stream that was prepared for it.
//!
//! ```text
//! Exec, Attach, PortForward (unix socket, root) ──► keep ──► token, in the URL of the answer
//! GET /exec/<token>          (TCP, anybody)     ──► take ──► the request, once
//!                                    no client within a minute ──► forgotten
//! ```
//! A token is 256 random bits, so it can't be guessed; it is good for one stream of its kind; and
//! what waits is bounded in number and bytes. Tokens are never logged.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{AttachRequest, ExecRequest, PortForwardRequest};
use crate::{domain::Id, error::Error};

/// How long a token waits for its client.
const LIFETIME: Duration = Duration::from_secs(60);
/// Most tokens that wait.
const MOST: usize = 1000;
/// Most bytes of the requests that wait: commands can be long.
const MOST_BYTES: usize = 16 << 20;

/// A prepared stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A command in a container.
    Exec(ExecRequest),
    /// The first process of a container.
    Attach(AttachRequest),
    /// Ports of a pod.
    PortForward(PortForwardRequest),
}

/// The kinds of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    Attach,
    PortForward,
}

impl Kind {
    /// Its segment of a URL.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::Attach => "attach",
            Kind::PortForward => "portforward",
        }
    }

    /// The kind of a URL's segment.
    pub(crate) fn of_path(path: &str) -> Option<Kind> {
        [Kind::Exec, Kind::Attach, Kind::PortForward]
            .into_iter()
            .find(|kind| kind.path() == path)
    }
}

impl Request {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Request::Exec(_) => Kind::Exec,
            Request::Attach(_) => Kind::Attach,
            Request::PortForward(_) => Kind::PortForward,
        }
    }

    /// About how much memory it holds.
    fn bytes(&self) -> usize {
        const REST: usize = 512;
        REST + match self {
            Request::Exec(exec) => exec.command.iter().map(|word| word.len() + 32).sum(),
            Request::Attach(_) => 0,
            Request::PortForward(forward) => 2 * forward.ports.len(),
        }
    }
}

/// The tokens that wait for their clients.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    waiting: Mutex<HashMap<String, Waiting>>,
}

struct Waiting {
    request: Request,
    until: Instant,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Tokens {
    /// Keeps a request for the client that will show the answered token.
    ///
    /// # Errors
    /// [`Error::Busy`] when too much waits already; [`Error::Random`].
    pub(crate) fn keep(&self, request: Request) -> Result<String, Error> {
        self.keep_at(request, Instant::now())
    }

    fn keep_at(&self, request: Request, now: Instant) -> Result<String, Error> {
        // An id is 32 bytes of the kernel's random source, in hex.
        let random = Id::random().map_err(|e| Error::Random(std::sync::Arc::new(e)))?;
        let token = String::from(random);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, one| one.until > now);
        let bytes: usize = waiting.values().map(|one| one.request.bytes()).sum();
        if waiting.len() >= MOST || bytes + request.bytes() > MOST_BYTES {
            return Err(Error::Busy {
                what: format!(
                    "{} streams were asked for within a minute and no client has come for them",
                    waiting.len()
                ),
            });
        }
        let until = now + LIFETIME;
        waiting.insert(token.clone(), Waiting { request, until });
        Ok(token)
    }

    /// Hands a request out; the token is void from now on. `None`: it never was, it was used, it is
    /// too old, or it is for another kind of stream, and the caller must not tell which.
    pub(crate) fn take(&self, kind: Kind, token: &str) -> Option<Request> {
        self.take_at(kind, token, Instant::now())
    }

    fn take_at(&self, kind: Kind, token: &str, now: Instant) -> Option<Request> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(token)?.request.kind() != kind {
            return None;
        }
        let found = waiting.remove(token)?;
        (found.until > now).then_some(found.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &str) -> Request {
        Request::Exec(ExecRequest {
            container: Id::random().unwrap(),
            command: vec![command.to_owned()],
            tty: false,
            stdin: false,
            stdout: true,
            stderr: true,
            otherwise: crate::spec::Otherwise::default(),
        })
    }

    #[test]
    fn a_token_works_once_for_its_own_kind() {
        let tokens = Tokens::default();
        let request = exec("ls");
        let token = tokens.keep(request.clone()).unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(tokens.take(Kind::Attach, &token), None);
        assert_eq!(tokens.take(Kind::Exec, &token), Some(request));
        assert_eq!(tokens.take(Kind::Exec, &token), None);
        assert_eq!(tokens.take(Kind::Exec, ""), None);
    }

    #[test]
    fn a_token_ends_after_a_minute() {
        let tokens = Tokens::default();
        let start = Instant::now();
        let (early, late) = (
            tokens.keep_at(exec("a"), start).unwrap(),
            tokens.keep_at(exec("b"), start).unwrap(),
        );
        let just_before = start + LIFETIME - Duration::from_millis(1);
        assert!(tokens.take_at(Kind::Exec, &early, just_before).is_some());
        assert!(
            tokens
                .take_at(Kind::Exec, &late, start + LIFETIME)
                .is_none()
        );
        assert!(tokens.take_at(Kind::Exec, &late, just_before).is_none());
    }

    #[test]
    fn what_waits_is_bounded_until_it_is_old() {
        let tokens = Tokens::default();
        let start = Instant::now();
        for _ in 0..MOST {
            tokens.keep_at(exec("a"), start).unwrap();
        }
        let error = tokens.keep_at(exec("a"), start).unwrap_err();
        assert_eq!(error.code(), crate::Code::ResourceExhausted);
        tokens.keep_at(exec("a"), start + LIFETIME).unwrap();
        assert_eq!(tokens.waiting.lock().unwrap().len(), 1);

        let long = "x".repeat(MOST_BYTES / 3);
        for _ in 0..2 {
            tokens.keep_at(exec(&long), start + LIFETIME).unwrap();
        }
        assert!(tokens.keep_at(exec(&long), start + LIFETIME).is_err());
    }

    #[test]
    fn a_kind_is_told_by_its_path() {
        for kind in [Kind::Exec, Kind::Attach, Kind::PortForward] {
            assert_eq!(Kind::of_path(kind.path()), Some(kind));
        }
        assert_eq!(Kind::of_path("logs"), None);
    }
}
