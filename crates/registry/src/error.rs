//! What can go wrong at a registry, with every endpoint that was tried.

use image::{FetchError, FetchErrorKind as Kind};

/// A request that failed at all endpoints. Its text says what was attempted, where, and what each
/// endpoint answered; never a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: Kind,
    text: String,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
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
    let kind = if error.is_timeout() {
        Kind::TimedOut
    } else if error.is_builder() || error.is_redirect() {
        Kind::Refused
    } else {
        Kind::Unavailable
    };
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
    } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
        " (it does not speak TLS: if it is a plain http registry, say so in its hosts.toml)"
    } else {
        ""
    };
    Error::new(kind, format!("{text}{hint}"))
}
