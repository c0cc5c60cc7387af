//! What can go wrong with an image, said on what.

use std::{io, path::PathBuf};

use crate::source::{FetchError, FetchErrorKind};

/// An image operation that failed. The source, where there is one, is not repeated in the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no image reference.
    #[error(transparent)]
    Reference(#[from] crate::ReferenceError),
    /// A file operation of the store failed.
    #[error("{act} {path}")]
    Io {
        /// What was attempted.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("read the image archive")]
    Read {
        /// What the reader said.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("write the image archive")]
    Write {
        /// What the writer said.
        source: io::Error,
    },
    /// What comes is no image, or says something that cannot be.
    #[error("the image is invalid: {0}")]
    Invalid(String),
    /// What comes is over a limit.
    #[error("the image is refused: {0}")]
    Limit(String),
    /// Content does not have the digest by which it is called.
    #[error("{what} has digest {actual}, expected {expected}")]
    Digest {
        /// Which content.
        what: String,
        /// The digest that was promised.
        expected: String,
        /// The digest that it has.
        actual: String,
    },
    /// A layer cannot be unpacked.
    #[error("unpack layer {digest}")]
    Layer {
        /// The layer blob.
        digest: String,
        /// Entry and cause.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// The archive is at fault, not this machine.
        hostile: bool,
    },
    /// No manifest for this machine.
    #[error("the image is for {found}, and this machine needs {wanted}")]
    Platform {
        /// `os/arch` of what is there.
        found: String,
        /// `os/arch` of this machine.
        wanted: String,
    },
    /// The archive names no image.
    #[error("the archive does not name its image{0}: give a name (--name)")]
    Unnamed(String),
    /// An id prefix fits more than one image.
    #[error("image id {prefix} is ambiguous: {first} and {second} start with it")]
    Ambiguous {
        /// The prefix asked for.
        prefix: String,
        /// One image.
        first: String,
        /// Another.
        second: String,
    },
    /// Content could not be fetched; its text says from where and why.
    #[error("{1}")]
    Fetch(FetchErrorKind, String),
    /// The caller cancelled.
    #[error("the work on the image was cancelled")]
    Cancelled,
    /// The store's database failed.
    #[error("{act} in the image database")]
    Database {
        /// What was attempted.
        act: &'static str,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has the store open.
    #[error("the image store {0} is in use by another process")]
    InUse(PathBuf),
    /// A record of the store cannot be read.
    #[error("the image store's record {what} is damaged")]
    Corrupt {
        /// Which record.
        what: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image was held against its digests, and something is wrong with it.
    #[error("image {image} is not what its digests say: {problems}; remove it and fetch it again")]
    Unsound {
        /// The image.
        image: String,
        /// What is wrong.
        problems: String,
    },
    /// A path within a root filesystem cannot be read.
    #[error("read {path} in the image: {problem}")]
    Rootfs {
        /// The path asked for.
        path: String,
        /// Why not.
        problem: String,
    },
}

impl Error {
    /// The caller's input is at fault (gRPC INVALID_ARGUMENT), not the store.
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        if let Self::Layer { hostile, .. } = self {
            return *hostile;
        }
        matches!(
            self,
            Self::Reference(_)
                | Self::Invalid(_)
                | Self::Limit(_)
                | Self::Digest { .. }
                | Self::Platform { .. }
                | Self::Unnamed(_)
                | Self::Ambiguous { .. }
                | Self::Rootfs { .. }
        )
    }

    /// The error with all its causes in one line, for a place that shows one line only.
    #[must_use]
    pub fn sentence(&self) -> String {
        sentence(self)
    }

    /// What a failpoint makes of an injected error.
    #[cfg(feature = "failpoints")]
    pub(crate) fn injected(text: String) -> Self {
        Self::Io {
            act: "go on with",
            path: PathBuf::from("the work"),
            source: io::Error::other(text),
        }
    }

    pub(crate) fn io(
        act: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { act, path, source }
    }
}

impl From<FetchError> for Error {
    fn from(error: FetchError) -> Self {
        match error.kind() {
            FetchErrorKind::Cancelled => Self::Cancelled,
            kind => Self::Fetch(kind, sentence(&error)),
        }
    }
}

fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
