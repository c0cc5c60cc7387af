//! What is wrong with a request to create a container.

use std::{io, path::PathBuf};

/// Why no runtime-spec document can be made. Each names the field of the request, as the contract
/// calls it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A field has a value that it can't have.
    #[error("{field}: {what}")]
    Invalid {
        /// The field, `linux.security_context.run_as_user` say.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// A field asks for something that does not work here.
    #[error("{field} is not supported: {why}")]
    Unsupported {
        /// The field.
        field: String,
        /// Why, and since when or where it would work.
        why: String,
    },
    /// Neither the request nor the image names a program.
    #[error("no command: neither the request nor image {image:?} says what to run")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// The image's own configuration is wrong.
    #[error("image {image:?}: {what}")]
    Image {
        /// The image.
        image: String,
        /// What is wrong.
        what: String,
    },
    /// Something of the host that a field names can't be used.
    #[error("{field}: cannot {act} {}", path.display())]
    Host {
        /// The field.
        field: String,
        /// What was attempted: "resolve", "read" …
        act: &'static str,
        /// The path on the host.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl SpecError {
    pub(crate) fn invalid(field: impl Into<String>, what: impl Into<String>) -> SpecError {
        SpecError::Invalid {
            field: field.into(),
            what: what.into(),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>, why: impl Into<String>) -> SpecError {
        SpecError::Unsupported {
            field: field.into(),
            why: why.into(),
        }
    }

    /// Whether the caller's request is at fault, rather than the node.
    pub fn is_callers_fault(&self) -> bool {
        !matches!(self, SpecError::Host { .. })
    }
}
