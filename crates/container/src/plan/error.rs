//! Why a document cannot be planned.

use crate::ErrorKind;

/// A document that cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field holds what cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as in the document.
        field: String,
        /// What is wrong with its value, which is quoted.
        reason: String,
    },
    /// A field asks for what this host or build cannot do.
    #[error("{field} is not supported: {reason}")]
    Unsupported {
        /// The field, as in the document.
        field: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl Error {
    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::InvalidSpec,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }
}
