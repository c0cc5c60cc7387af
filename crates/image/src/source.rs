//! Where a pull gets its content from: what the store asks of a registry client, and how that fails.

use std::{fmt, io::Read};

/// Asks whether the work is cancelled; a source that waits asks it several times a second.
pub type Stopped<'a> = &'a (dyn Fn() -> bool + Sync);

/// One repository at one or several registries.
///
/// The store checks every size and digest itself: a source may be lied to.
pub trait Source: Sync {
    /// The digest that the reference means now, in one cheap question; `None` where the registry
    /// does not say.
    ///
    /// # Errors
    /// The registry cannot be asked, or does not know the reference.
    fn digest(&self, stopped: Stopped<'_>) -> Result<Option<String>, FetchError>;

    /// The manifest or index with this digest, or, with `None`, what the reference means now; at
    /// most `limit` bytes.
    ///
    /// # Errors
    /// As [`digest`](Self::digest), or it is larger.
    fn manifest(
        &self,
        digest: Option<&str>,
        limit: u64,
        stopped: Stopped<'_>,
    ) -> Result<Document, FetchError>;

    /// The bytes of a blob, from its start.
    ///
    /// # Errors
    /// The registry cannot be asked, or does not have it. An error of a read carries a
    /// [`FetchError`] where it is the source's.
    fn blob<'a>(
        &'a self,
        blob: &Remote,
        stopped: Stopped<'a>,
    ) -> Result<Box<dyn Read + Send + 'a>, FetchError>;
}

/// A manifest or index as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the registry calls it; empty if it does not say.
    pub media_type: String,
    /// The bytes that the digest is about.
    pub data: Vec<u8>,
}

/// A blob as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// `sha256:…`
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Where else it may be: layers that registries do not hold ("foreign").
    pub urls: Vec<String>,
}

/// Why content could not be fetched.
#[derive(Debug)]
pub struct FetchError {
    kind: FetchErrorKind,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The registry does not know it.
    NotFound,
    /// The registry wants credentials, or others.
    Unauthenticated,
    /// The registry knows the credentials, and they are not enough.
    Denied,
    /// No registry could be reached, or it fails: trying later may help.
    Unavailable,
    /// It answers, but not in time.
    TimedOut,
    /// It answers nonsense.
    Invalid,
    /// Configuration or request are wrong on this side.
    Refused,
    /// The work was cancelled.
    Cancelled,
}

impl FetchError {
    /// An error of this kind; `source` says all.
    pub fn new(
        kind: FetchErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    /// Who can do something about it.
    #[must_use]
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}
