//! What can go wrong at a registry, with every endpoint that was tried.

use image::{FetchError, FetchErrorKind as Kind};

/// A request that failed at all endpoints. Its text says what was attempted, where, and what each
/// endpoint answered; never a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: Kind,
    text: String,
    /// No connection came about.
    connecting: bool,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            connecting: false,
        }
    }

    /// The same error with more words.
    pub(crate) fn said(self, text: String) -> Self {
        Self { text, ..self }
    }

    /// Whether the host was not reached at all.
    pub(crate) fn is_connecting(&self) -> bool {
        self.connecting
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "cancelled")
    }

    /// Who can do something about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether trying the same again may help.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::TimedOut)
    }

    /// One error of the answers of several endpoints. The kind is that of the registry itself, the
    /// last; a mirror that lacks something says nothing about it.
    pub(crate) fn all(what: &str, mut tried: Vec<(String, Self)>) -> Self {
        let Some((_, last)) = tried.last() else {
            let text = format!("{what}: no configured endpoint may be asked for this");
            return Self::new(Kind::Refused, text);
        };
        let kind = last.kind;
        if let [(place, error)] = tried.as_mut_slice() {
            return Self::new(kind, format!("{what} from {place}: {}", error.text));
        }
        let answers: Vec<String> = tried
            .iter()
            .map(|(place, error)| format!("{place}: {}", error.text))
            .collect();
        Self::new(
            kind,
            format!(
                "{what}: {} endpoints failed: {}",
                tried.len(),
                answers.join("; ")
            ),
        )
    }
}

impl From<Error> for FetchError {
    fn from(error: Error) -> Self {
        Self::new(error.kind, error)
    }
}

/// A transport error in one line, with its causes and without the URL, which may hold a signature.
pub(crate) fn transport(error: reqwest::Error) -> Error {
    let connecting = error.is_connect();
    // A connection that does not come about in time is none: DEADLINE_EXCEEDED is for who answers late.
    let kind = if connecting {
        Kind::Unavailable
    } else if error.is_timeout() {
        Kind::TimedOut
    } else if error.is_builder() || error.is_redirect() {
        Kind::Refused
    } else {
        Kind::Unavailable
    };
    let error_timed_out = error.is_timeout();
    let error = error.without_url();
    let mut parts = vec![error.to_string()];
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let text = error.to_string();
        // Layers of libraries like to repeat one another.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    let text = parts.join(": ");
    let hint = if text.contains("UnknownIssuer") {
        " (its certificate is signed by an authority that is not known here: give it as `ca` in the \
         registry's hosts.toml)"
    } else if connecting && error_timed_out {
        " (nobody answers at its addresses: is there a route, and no firewall? \
         `registry.connect_timeout` is how long is waited)"
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        " (it does not speak TLS: if it is a plain http registry, say so in its hosts.toml)"
    } else {
        ""
    };
    Error {
        kind,
        text: format!("{text}{hint}"),
        connecting,
    }
}
